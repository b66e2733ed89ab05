"""A broken or hostile model is refused in one line, before memory is taken for it."""

import copy
import json
import os
import random
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from birnn.data.encoding import Encoding
from birnn.errors import DataError
from birnn.model import description, networks, prediction, saved_model
from birnn.model.architecture import Architecture

CPU = torch.device("cpu")
ROWS = {
    "sequence": ["1", "1", "1", "2", "2"],
    "x": [0.5, 1.5, -1.0, 0.0, 2.0],
    "y": [1.0, 2.0, 3.0, 4.0, 5.0],
    "token": ["the", "dog", "the", "unheard", "d"],
}
WORDS = ["the", "dog"]
HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 10**9, 10**18, 10**30, 2**63, 0.5, -0.0, 1e300, 1e-320),
    *(float("nan"), float("inf"), "", "tagging", "GRU", "LSTM", "RNN", "\ud800", "\x1b[2J", "x"),
    *([], [None], [[]], {}, {"a": {}}, [0, 1, 2], ["a", "a", "b"], [1e308] * 2, ["sequence"]),
    *("mean", "all", "per_sequence", "asinh", "mask", "last", "NFC", "a" * 10_000),
]


@pytest.fixture(scope="module", params=["numbers", "words"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights: a tagger of numbers, or a classifier of both, by letters too."""
    torch.manual_seed(0)
    if request.param == "numbers":
        shape = Architecture("tagging", "LSTM", 2, 0, 4, 2, 0.0, bidirectional=True, classes=3)
        encoding = Encoding("tagging", ["a", "b", "c"], ["x", "y"], [1.0, 2.0], [0.5, 2.0])
    else:
        alphabet = "".join(sorted("dehgot"))
        shape = Architecture(
            *("classification", "GRU", 2, 4, 3, 1, 0.0),
            bidirectional=False,
            classes=3,
            tokens=3,
            head="all",
            characters=alphabet,
            character_size=3,
            character_hidden_size=2,
        )
        encoding = Encoding(
            *("classification", ["a", "b", "c"], ["x"], [1.0], [0.5], WORDS, alphabet),
            scaling="per_sequence",
        )
    place = tmp_path_factory.mktemp(request.param)
    saved_model.save(networks.SequenceModel(shape), encoding, {"b": 0.25}, place, params={"p": 1})
    return place


def predicted(folder: Path) -> pa.Table:
    """What the model that lies there says of some rows."""
    model, encoding, thresholds = saved_model.load(folder)
    rows = pa.RecordBatch.from_pydict(ROWS)
    return pa.concat_tables(
        prediction.of_table(model, encoding, thresholds, [rows], where="rows", device=CPU)
    )


def changed(folder: Path, copied: Path, section: str, key: str, value: Any) -> Path:
    """A copy with another value in its description."""
    shutil.copytree(folder, copied, dirs_exist_ok=True)
    tree = json.loads((folder / "model.json").read_text())
    tree[section] = tree[section] | {key: value} if key else value
    (copied / "model.json").write_text(json.dumps(tree))
    return copied


def test_what_was_saved_is_read(folder: Path) -> None:
    found = description.read(folder)
    assert found.thresholds == {"b": 0.25}
    assert found.params == {"p": 1}
    shares = [name for name in predicted(folder).column_names if name.startswith("probability_")]
    assert shares == ["probability_a", "probability_b", "probability_c"]


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("encoding", "frame", 0, "encoding.frame: expected a whole number from 1 to"),
        ("encoding", "frame", 10**9, "encoding.frame: expected a whole number from 1 to"),
        ("encoding", "frame", 2, "architecture.features: expected what fits"),
        ("encoding", "labels", [1, 2, 3], "encoding.labels: expected a list of different texts"),
        ("encoding", "labels", ["a", "a", "b"], "encoding.labels: expected a list of different"),
        ("encoding", "labels", ["a", "b", "\ud800"], "encoding.labels: expected a list of"),
        ("encoding", "labels", ["a", "b"], "architecture.classes: expected what fits"),
        ("encoding", "scale", [0.0, 1.0], "encoding.scale: expected a list of numbers above 0"),
        ("encoding", "scale", [1.0], "encoding.scale: expected what fits"),
        ("encoding", "mean", [float("nan"), 0.0], "encoding.mean: expected a list of finite"),
        ("encoding", "features", ["x", "token"], "encoding.features: expected names of columns"),
        ("encoding", "max_steps", 0, "encoding.max_steps: expected null or a number of steps"),
        ("encoding", "reading", [], "encoding.reading: expected an object, found a list of 0"),
        ("encoding", "missing", "mean", "encoding.fills: expected what fits"),
        ("encoding", "new", 1, "encoding: expected keys that this version of birnn knows"),
        ("architecture", "hidden_size", 10**9, "hidden_size: expected a whole number from 1 to"),
        ("architecture", "hidden_size", True, "hidden_size: expected a whole number from 1 to"),
        ("architecture", "hidden_size", 60_000, "bytes of weights as in model.json"),
        ("architecture", "num_layers", 10**9, "architecture.num_layers: expected a whole number"),
        ("architecture", "dropout", 1, "architecture.dropout: expected a number from 0 to below"),
        ("architecture", "cell", ["LSTM"], "architecture.cell: expected one of RNN, GRU, LSTM"),
        ("thresholds", "z", 0.5, "thresholds: expected what fits the rest of the file"),
        ("thresholds", "a", 7, "thresholds.a: expected a number from -1e-06 to 1"),
        ("thresholds", "", None, "thresholds: expected an object, found nothing"),
        ("params", "p", [1], "params.p: expected text, a number, true, false or null"),
    ],
)
def test_a_value_that_no_model_has(
    tmp_path: Path, trained: Path, section: str, key: str, value: Any, said: str
) -> None:
    place = changed(trained, tmp_path / "m", section, key, value)
    with pytest.raises(DataError) as raised:
        saved_model.load(place)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < len(str(place)) + 300


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_weights_that_are_no_numbers(tmp_path: Path, folder: Path, value: float) -> None:
    shutil.copytree(folder, tmp_path / "m")
    weights = load_file(tmp_path / "m/weights.safetensors")
    weights["linear.bias"][1] = value
    save_file(weights, tmp_path / "m/weights.safetensors")
    with pytest.raises(DataError, match=r"linear.bias: expected numbers up to 1e\+15, found"):
        saved_model.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("linear.bias"), r"linear.bias: expected 3 of F32 .*, found nothing"),
        (lambda w: w.update(other=torch.ones(1)), "other: expected nothing .*, found 1 of F32"),
        (
            lambda w: w.update({"linear.bias": w["linear.bias"].double()}),
            "linear.bias: expected 3 of F32 .*, found 3 of F64",
        ),
        (
            lambda w: w.update({"linear.weight": w["linear.weight"].T.contiguous()}),
            "linear.weight: expected 3 x 8 of F32 .*, found 8 x 3 of F32",
        ),
    ],
)
def test_other_weights_than_the_description_says(
    tmp_path: Path, trained: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    shutil.copytree(trained, tmp_path / "m")
    weights = load_file(tmp_path / "m/weights.safetensors")
    change(weights)
    save_file(weights, tmp_path / "m/weights.safetensors")
    with pytest.raises(DataError, match=said):
        saved_model.load(tmp_path / "m")


def test_a_description_that_is_very_deep(tmp_path: Path, trained: Path) -> None:
    shutil.copytree(trained, tmp_path / "m")
    (tmp_path / "m/model.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match="expected JSON"):
        saved_model.load(tmp_path / "m")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_pipe_in_the_place_of_a_file(tmp_path: Path, trained: Path, name: str) -> None:
    shutil.copytree(trained, tmp_path / "m")
    (tmp_path / "m" / name).unlink()
    os.mkfifo(tmp_path / "m" / name)
    with pytest.raises(DataError, match=f"{name}: expected"):
        saved_model.load(tmp_path / "m")


def test_answers_that_are_no_numbers(trained: Path) -> None:
    model, encoding, thresholds = saved_model.load(trained)
    with torch.no_grad():
        model.linear.bias[0] = float("nan")
    rows = pa.RecordBatch.from_pydict(ROWS)
    with pytest.raises(DataError, match="rows: expected probabilities, found what is no number"):
        [*prediction.of_table(model, encoding, thresholds, [rows], where="rows", device=CPU)]


class Mutations:
    """Changes of the files of a model, by chance."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.tree = json.loads((folder / "model.json").read_text())
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}

    def of(self, name: str) -> bytes:
        """Another content of a file: some bytes changed, or a value."""
        own = self._value if name == "model.json" else self._weights
        return self.random.choice([self._bytes, own, own])(self.files[name])

    def _value(self, _content: bytes) -> bytes:
        tree = copy.deepcopy(self.tree)
        for _ in range(self.random.choice([1, 1, 1, 2, 5])):
            inside: Any = self.random.choice([tree, *(one for one in tree.values() if one)])
            while True:
                key = self.random.choice([*(inside if isinstance(inside, dict) else [])] or [None])
                if key is None or not isinstance(inside[key], dict) or self.random.random() < 0.2:
                    break
                inside = inside[key]
            self._put(inside, key)
        return json.dumps(tree).encode()

    def _put(self, inside: Any, key: Any) -> None:
        if key is None:
            return
        values = inside[key]
        if isinstance(values, list) and values and self.random.random() < 0.5:
            values[self.random.randrange(len(values))] = self.random.choice(HOSTILE)
        elif self.random.random() < 0.15:
            del inside[key]
        else:
            inside[key] = copy.deepcopy(self.random.choice(HOSTILE))

    def _bytes(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(self.random.choice([1, 1, 2, 8])):
            place = self.random.randrange(len(changed))
            changed[place : place + 1] = self.random.choice(
                [b"", b"\0", b"9", b"-", b"e9", self.random.randbytes(1), b"[" * 2000]
            )
        return bytes(changed[: self.random.choice([len(changed)] * 4 + [place])])

    def _weights(self, content: bytes) -> bytes:
        """A number of the weights, or of the header."""
        (length,) = struct.unpack("<Q", content[:8])
        changed = bytearray(content)
        if self.random.random() < 0.6:
            place = 8 + length + 4 * self.random.randrange((len(content) - 8 - length) // 4)
            values = [float("nan"), float("inf"), -1e38, 1e38, 1e14, -1e14, 0.0, 1e-45]
            changed[place : place + 4] = struct.pack("<f", self.random.choice(values))
        elif self.random.random() < 0.5:
            digits = [at for at in range(8, 8 + length) if chr(content[at]).isdigit()]
            at = self.random.choice(digits)
            changed[at : at + 1] = self.random.choice([b"0", b"1", b"7", b"9"])
        else:
            changed[:8] = struct.pack("<Q", self.random.choice([0, 2, 1 << 20, 1 << 40, 1 << 63]))
        return bytes(changed)


def fuzzed(folder: Path, place: Path, name: str, times: int) -> int:
    """Change a file again and again; count how often the model is refused."""
    mutations, refused = Mutations(folder, seed=times), 0
    shutil.copytree(folder, place, dirs_exist_ok=True)
    for _ in range(times):
        (place / name).write_bytes(mutations.of(name))
        try:
            table = predicted(place)
        except DataError:
            refused += 1
            continue
        labels = [one.removeprefix("probability_") for one in table.column_names[2:]]
        shares = np.column_stack([table[one].to_numpy() for one in table.column_names[2:]])
        assert {*table["predicted"].to_pylist()} <= {*labels}
        assert ((shares >= 0) & (shares <= 1)).all()
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    (place / name).write_bytes(mutations.files[name])
    return refused


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_no_mutation_gives_nonsense(folder: Path, tmp_path: Path, name: str) -> None:
    assert fuzzed(folder, tmp_path, name, 100) > 25


@pytest.mark.long
@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_none_of_thousands_gives_nonsense_or_takes_memory(
    folder: Path, tmp_path: Path, name: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert fuzzed(folder, tmp_path, name, 5000) > 1000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000, "kB"
