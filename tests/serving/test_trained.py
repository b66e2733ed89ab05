"""A model as people ask it from Python: the numbers of `predict`, whatever form sequences have."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import birnn
from birnn.data.encoding import Encoding
from birnn.errors import DataError
from birnn.model import exporting, prediction, saved_model
from birnn.model.architecture import Architecture
from birnn.model.networks import SequenceModel
from birnn.serving.trained import TrainedModel, load

LENGTHS = [4, 1, 9]
WORDS = Encoding("tagging", ["a", "b"], [], [], [], ["the", "dog", "é"], "deghoté", form="NFC")
BOTH = replace(WORDS, features=["x"], mean=[0.0], scale=[1.0])


def drawn(features: int = 2) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, features)) for length in LENGTHS]


def frame_of(arrays: list[Any]) -> pd.DataFrame:
    names = np.repeat(["s", "q", "r"], LENGTHS)
    return pd.DataFrame(np.concatenate(arrays), columns=["x", "y"]).assign(sequence=names)


def saved(folder: Path, encoding: Encoding, **changes: Any) -> TrainedModel:
    torch.manual_seed(0)
    tokens = {"tokens": 4, "embedding_size": 3} if encoding.tokens else {"embedding_size": 0}
    shape: dict[str, Any] = {
        "task": encoding.task,
        "cell": "GRU",
        "features": len(encoding.inputs),
        "hidden_size": 4,
        "num_layers": 1,
        "dropout": 0.0,
        "bidirectional": True,
        "classes": len(encoding.labels),
        **tokens,
        **changes,
    }
    saved_model.save(SequenceModel(Architecture(**shape)), encoding, {}, folder)
    return load(folder)


def by_table(folder: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """What `birnn predict` says."""
    loaded = saved_model.load(folder)
    rows = pa.Table.from_pandas(frame).to_batches()
    found: pd.DataFrame = pa.concat_tables(
        prediction.of_table(*loaded, rows, where="here")
    ).to_pandas()
    return found


class TestNumbers:
    def test_lists_and_frames_get_what_the_command_says(self, trained: Path) -> None:
        model, arrays = load(trained), drawn()
        frame = frame_of(arrays)
        expected = by_table(trained, frame)
        shares = expected[[f"probability_{label}" for label in model.labels]].to_numpy()
        probable = model.predict_proba(arrays)
        assert [len(one) for one in probable] == LENGTHS
        assert np.concatenate(probable).tobytes() == shares.tobytes()
        assert np.concatenate(model.predict(arrays)).tolist() == expected["predicted"].tolist()
        answers = model.predict_proba(frame)
        assert answers.to_numpy().tobytes() == shares.tobytes()
        assert [*answers.columns] == model.labels == ["a", "b", "c"]
        assert answers.index.names == ["sequence", "step"]
        assert answers.index[4] == ("q", 0)
        assert model.predict(frame).tolist() == expected["predicted"].tolist()

    def test_each_sequence_alone(self, trained: Path) -> None:
        model, arrays = load(trained), drawn()
        for one, among in zip(arrays, model.predict_proba(arrays), strict=True):
            (alone,) = model.predict_proba([one])
            assert alone.tobytes() == among.tobytes()

    def test_of_classification_a_row_a_sequence(self, tmp_path: Path, trained: Path) -> None:
        encoding = replace(saved_model.read(trained).encoding, task="classification", max_steps=3)
        model, arrays = saved(tmp_path / "m", encoding), drawn()
        assert model.predict(arrays).shape == (3,)
        assert model.predict_proba(arrays).shape == (3, 3)
        assert model.predict(frame_of(arrays)).index.tolist() == ["s", "q", "r"]
        cut = [one[:3] for one in arrays]
        np.testing.assert_array_equal(model.predict_proba(cut), model.predict_proba(arrays))

    @pytest.mark.parametrize("scaling", ["none", "global", "per_sequence", "asinh"])
    @pytest.mark.parametrize("missing", ["zero", "last", "mask"])
    def test_of_all_kinds_of_scaling(self, tmp_path: Path, scaling: Any, missing: Any) -> None:
        encoding = Encoding(
            task="classification",
            labels=["a", "b"],
            features=["x", "y"],
            mean=[1.0, 2.0],
            scale=[0.5, 2.0],
            scaling=scaling,
            frame=2,
            missing=missing,
            fills=[0.5, 0.25],
            precision="float64",
            masked=["y"] if missing == "mask" else [],
        )
        model, arrays = saved(tmp_path / "m", encoding), drawn()
        arrays[0][1, 1] = arrays[1][0, 0] = np.nan
        expected = by_table(tmp_path / "m", frame_of(arrays))
        shares = expected[["probability_a", "probability_b"]].to_numpy()
        assert model.predict_proba(arrays).tobytes() == shares.tobytes()

    def test_of_tokens(self, tmp_path: Path) -> None:
        model = saved(tmp_path / "m", WORDS)
        sentences = [["the", "dog"], ["e\u0301"], ["never", "the"]]
        frame = pd.DataFrame(
            {"sequence": [0, 0, 1, 2, 2], "token": [word for one in sentences for word in one]}
        )
        expected = by_table(tmp_path / "m", frame)["probability_a"].to_numpy()
        found = np.concatenate(model.predict_proba(sentences))[:, 0]
        assert found.tobytes() == expected.tobytes()
        composed = model.predict_proba([["\u00e9"]])[0]
        assert model.predict_proba([["e\u0301"]])[0].tobytes() == composed.tobytes()

    def test_of_a_graph(self, tmp_path: Path, trained: Path) -> None:
        pytest.importorskip("onnxruntime")
        exporting.write(saved_model.read(trained), tmp_path / "m.onnx")
        graph, model = load(tmp_path / "m.onnx"), load(trained)
        for one, other in zip(
            graph.predict_proba(drawn()), model.predict_proba(drawn()), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-5)
        with pytest.raises(DataError, match="expected a model's folder or address, found a graph"):
            graph.trace(drawn()[0])


def test_is_the_name_birnn_load(trained: Path) -> None:
    model = birnn.load(trained)
    assert (model.task, model.features) == ("tagging", ["x", "y"])
    assert repr(model).startswith("<tagging of 3 classes by ")


def test_traces(trained: Path) -> None:
    found = load(trained).trace(drawn()[0])
    assert (found.steps, len(found.answers)) == (4, 4)
    frame = frame_of(drawn())
    assert load(trained).trace(frame[frame["sequence"] == "r"]).sequence == "r"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "the sequences: expected some, found none"),
        (np.zeros((3, 2)), r"expected a list of sequences, found one array; .*: \[array\]"),
        (
            [np.zeros((3, 5))],
            r"sequence 0: expected numbers of shape \(steps, 2\), for x, y",
        ),
        ([np.zeros((3, 2)), [[1, 2], [3]]], r"sequence 1: .* found something else"),
        ([[["a", "b"]]], "sequence 0: expected numbers"),
        ([np.zeros((0, 2))], "sequence 0: expected steps, found none"),
        ([[[1, 2]], [[0, 0], [0, np.nan]]], "sequence 1, step 1, column `y`: expected a finite"),
        ([[[1, np.inf]]], "sequence 0, step 0, column `y`: expected a finite number, found inf"),
        ([[[1, 1e39]]], "column `y`: expected a finite number, found 1e"),
        (pd.DataFrame({"sequence": [1], "x": [1.0]}), "expected a column `y` as in training"),
    ],
)
def test_mistakes(trained: Path, given: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as refused:
        load(trained).predict(given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["the dog"], "sequence 0: expected a list of tokens, found a text; cut it into tokens"),
        ([["the"], []], "sequence 1: expected a list of tokens, found something else"),
        ([["the", 3]], "sequence 0: expected a list of tokens, found something else"),
        ([["the", ""]], "row 2, column `token`: value missing"),
    ],
)
def test_mistakes_with_tokens(tmp_path: Path, given: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        saved(tmp_path / "m", WORDS).predict(given)


def test_tokens_and_numbers_come_in_frames(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", BOTH)
    with pytest.raises(DataError, match="a data frame with the columns sequence, x, token, since"):
        model.predict([["the"]])
    frame = pd.DataFrame({"sequence": ["s", "s"], "x": [1.0, 2.0], "token": ["the", "dog"]})
    assert len(model.predict(frame)) == 2
