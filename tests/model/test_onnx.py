"""The exported graph: in ONNX Runtime the probabilities of the model, at lengths of any kind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from small_models import encoding_for
from test_inference import READS, build, drawn

from birnn.errors import DataError
from birnn.files import digests
from birnn.model import exporting, onnx_graph, onnx_network, prediction
from birnn.model.networks import SequenceModel
from birnn.model.saved_model import Saved

MODELS: dict[str, dict[str, Any]] = {
    **{
        f"{cell}-{reads}": {"cell": cell, **READS[reads]}
        for cell in ("RNN", "GRU", "LSTM")
        for reads in READS
    },
    "forward": {"bidirectional": False, "cell": "GRU"},
    "three layers": {"num_layers": 3},
    "three layers forward": {"num_layers": 3, "bidirectional": False, "cell": "GRU"},
    **{
        f"{head}-{both}": {
            "task": "classification",
            "head": head,
            "bidirectional": both,
            "num_layers": 2,
        }
        for head in ("last", "mean", "max", "all")
        for both in (True, False)
    },
}


def saved(model: SequenceModel) -> Saved:
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    return Saved(model.architecture, weights, encoding_for(model.architecture), {"b": 0.25})


@pytest.mark.parametrize("name", MODELS)
def test_the_same_probabilities_at_any_length(name: str, tmp_path: Path) -> None:
    model = build(**MODELS[name])
    exporting.write(saved(model), tmp_path / "m.onnx")
    network = onnx_network.read(tmp_path / "m.onnx").network
    for lengths in ([3, 1, 14, 1, 5], [1], [300, 2], [7] * 40):
        sequences = drawn(model, lengths)
        expected = prediction.probabilities(model, sequences)
        found = prediction.probabilities(network, sequences)
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_the_description_holds_what_prediction_needs(tmp_path: Path) -> None:
    model = build(**READS["letters"])
    exporting.write(saved(model), tmp_path / "m.onnx")
    tree = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert [*tree["inputs"]] == ["lengths", "tokens", "letters", "letter_lengths", "places"]
    read = onnx_network.read(tmp_path / "m.onnx")
    assert (read.encoding, read.thresholds) == (encoding_for(model.architecture), {"b": 0.25})
    assert read.network.architecture == model.architecture


def test_the_same_model_gives_the_same_bytes() -> None:
    model = saved(build(**READS["all"]))
    assert onnx_graph.model(model) == onnx_graph.model(model)


class TestMistakes:
    def test_another_name(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"m\.pt: expected a name that ends in \.onnx or \.pt2"):
            exporting.write(saved(build()), tmp_path / "m.pt")

    @pytest.mark.parametrize("name", ["m.onnx", "m.json"])
    def test_a_file_is_missing(self, tmp_path: Path, name: str) -> None:
        exporting.write(saved(build()), tmp_path / "m.onnx")
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=rf"{name}: no such file; `birnn export"):
            onnx_network.read(tmp_path / "m.onnx")

    def test_the_description_of_another_graph(self, tmp_path: Path) -> None:
        exporting.write(saved(build()), tmp_path / "m.onnx")
        exporting.write(saved(build(hidden_size=7)), tmp_path / "n.onnx")
        (tmp_path / "n.onnx").replace(tmp_path / "m.onnx")
        with pytest.raises(DataError, match=r"m\.json: expected the description of"):
            onnx_network.read(tmp_path / "m.onnx")

    @pytest.mark.parametrize("text", ["{}", "[]", '{"sha256": "0"}', "no JSON"])
    def test_another_description(self, tmp_path: Path, text: str) -> None:
        exporting.write(saved(build()), tmp_path / "m.onnx")
        (tmp_path / "m.json").write_text(text)
        with pytest.raises(DataError, match=r"m\.json: .*expected"):
            onnx_network.read(tmp_path / "m.onnx")

    def test_what_is_no_graph(self, tmp_path: Path) -> None:
        exporting.write(saved(build()), tmp_path / "m.onnx")
        (tmp_path / "m.onnx").write_bytes(b"no graph")
        tree = json.loads((tmp_path / "m.json").read_text())
        tree["sha256"] = digests.sha256(tmp_path / "m.onnx")
        (tmp_path / "m.json").write_text(json.dumps(tree))
        with pytest.raises(DataError, match=r"m\.onnx: expected an ONNX graph, found"):
            onnx_network.read(tmp_path / "m.onnx")


SLOW_TO_IMPORT = ("mlflow", "scipy", "sklearn", "torch")

WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
sys.argv = ["birnn", *{arguments!r}]
from birnn.cli import main
main()
"""


@pytest.mark.slow
def test_predicts_where_neither_torch_nor_a_compiler_is(tmp_path: Path, trained: Path) -> None:
    """An import hook stands for a machine without torch; `BIRNN_KERNEL` for one without kernel."""
    rows = "sequence,x,y\n" + "".join(f"s{n // 3},{n},{-n}\n" for n in range(7))
    (tmp_path / "new.csv").write_text(rows)

    def run(*arguments: str, missing: tuple[str, ...] = (), **environment: str) -> str:
        code = WITHOUT.format(missing=missing, arguments=arguments)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("export", str(trained), "m.onnx", missing=("torch",))
    predict = ("predict", "new.csv", "--model")
    expected = run(*predict, str(trained), missing=(*SLOW_TO_IMPORT, "onnx", "onnxruntime"))
    found = run(*predict, "m.onnx", missing=("torch", "onnx"), BIRNN_KERNEL="none")
    numbers = [
        np.array([line.split(",")[3:] for line in text.splitlines()[1:]], float)
        for text in (expected, found)
    ]
    assert numbers[0].shape == (7, 3)
    np.testing.assert_allclose(numbers[0], numbers[1], atol=1e-5)
