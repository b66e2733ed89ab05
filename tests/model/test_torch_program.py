"""The exported program: in torch alone the probabilities of the model, at lengths of any kind."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Once
from small_models import encoding_for
from test_inference import READS, build, drawn

from birnn.errors import DataError
from birnn.model import exported, exporting, prediction, torch_program
from birnn.model.networks import SequenceModel
from birnn.model.padded import Padded
from birnn.model.saved_model import Saved
from birnn.serving import served

CLASSIFYING = {"task": "classification", "num_layers": 2}
Program = Callable[[str], Path]
MODELS: dict[str, dict[str, Any]] = {
    "plain": {"cell": "LSTM", **READS["features"]},
    "features": {"cell": "RNN", **READS["features"]},
    "tokens, forward": {"cell": "LSTM", "num_layers": 3, "bidirectional": False, **READS["tokens"]},
    "all": {"cell": "GRU", **READS["all"]},
    "all states": {"cell": "LSTM", "head": "all", **CLASSIFYING, **READS["all"]},
    "letters": {"cell": "LSTM", "head": "all", **CLASSIFYING, **READS["letters"]},
    "last, forward": {"cell": "GRU", "head": "last", "bidirectional": False, **CLASSIFYING},
}
DAILY = ("tokens, forward", "all states")  # of which there is everything once
MORE = {
    f"{cell}-{head}": {"cell": cell, "head": head, **CLASSIFYING, **READS["all"]}
    for cell in ("RNN", "GRU", "LSTM")
    for head in ("last", "mean", "max", "all")
}


def saved(model: SequenceModel) -> Saved:
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    return Saved(model.architecture, weights, encoding_for(model.architecture), {"b": 0.25})


@pytest.fixture(scope="session")
def program(once: Once) -> Program:
    """The function that exports one of the models, once: that takes seconds."""

    def made(name: str) -> Path:
        model = saved(build(**{**MODELS, **MORE}[name]))
        folder = once(f"program-{name}", lambda place: exporting.write(model, place / "m.pt2"))
        return folder / "m.pt2"

    return made


class Loaded:
    """A program that is asked as a network is."""

    def __init__(self, model: SequenceModel, file: Path) -> None:
        self.architecture, self.module = model.architecture, torch.export.load(file).module()

    def probabilities(self, batch: Padded) -> Any:
        inputs = exported.inputs(self.architecture, batch)
        found = self.module(**{name: torch.from_numpy(one) for name, one in inputs.items()})
        shares = found.numpy()
        return shares[batch.real] if self.architecture.task == "tagging" else shares


def compared(model: SequenceModel, file: Path) -> None:
    loaded = Loaded(model, file)
    for lengths in ([3, 1, 14, 1, 5], [1], [300, 2], [7] * 40):
        sequences = drawn(model, lengths)
        expected = prediction.probabilities(model, sequences)
        found = prediction.probabilities(loaded, sequences)
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name not in DAILY)) for name in MODELS]
)
def test_the_same_probabilities_at_any_length(name: str, program: Program) -> None:
    compared(build(**MODELS[name]), program(name))


@pytest.mark.long
@pytest.mark.parametrize("name", MORE)
def test_the_same_for_every_kind_of_model(name: str, program: Program) -> None:
    compared(build(**MORE[name]), program(name))


def test_what_is_past_a_length_changes_nothing(program: Program) -> None:
    module = torch.export.load(program("plain")).module()
    values, lengths = torch.randn(2, 9, 4), torch.tensor([9, 4])
    expected = module(values=values, lengths=lengths)
    values[1, 4:] = torch.nan
    found = module(values=values, lengths=lengths)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1, :4], expected[1, :4])


def test_nothing_in_it_is_pickled_and_no_path_of_this_machine_is_told(program: Program) -> None:
    files = zipfile.ZipFile(program("all states"))  # of what reads all that can be read
    told = {name: files.read(name) for name in files.namelist()}
    assert told.pop("archive/data/sample_inputs/model.pt") == b""
    assert not [name for name, one in told.items() if one[:1] == b"\x80" and name.endswith(".pt")]
    here = str(Path(torch_program.__file__).parents[2]).encode()
    assert not [name for name, one in told.items() if here in one]
    for name in ("model_weights_config", "model_constants_config"):
        [config] = [one for path, one in told.items() if path.endswith(f"{name}.json")]
        assert b'"use_pickle": false' in config
        assert b'"use_pickle": true' not in config


ASKS = """
import sys, torch
module = torch.export.load(sys.argv[1]).module()
print(module(values=torch.ones(2, 7, 4), lengths=torch.tensor([7, 2])).shape)
assert not [name for name in sys.modules if name.partition(".")[0] == "birnn"]
"""


@pytest.mark.slow
def test_is_loaded_without_birnn_and_described(tmp_path: Path, program: Program) -> None:
    file = program("plain")
    done = subprocess.run(
        [sys.executable, "-c", ASKS, str(file)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "torch.Size([2, 7, 3])\n", done.stderr
    with pytest.raises(DataError, match=r"m\.pt2: expected a model's folder, .* unpickle"):
        served.load(str(file))
    assert "values" in file.with_suffix(".json").read_text(encoding="utf-8")
