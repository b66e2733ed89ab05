"""Predictions: each sequence on its own merits, in the order that it came in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.files.reading import Skipped
from birnn.model import prediction
from birnn.model.architecture import Architecture
from birnn.model.networks import SequenceModel

Ragged = Callable[..., Sequences]
LENGTHS = [3, 1, 4, 1, 5, 9, 2, 6]
CPU = torch.device("cpu")
NAMES = ["1", "NA", "<script>"]
FEATURES = Encoding("tagging", NAMES, ["x", "y"], [1.0, 2.0], [2.0, 4.0])
TOKENS = Encoding("tagging", NAMES, [], [], [], ["the", "NA", "1"], "1ANeht")
BOTH = replace(FEATURES, vocabulary=TOKENS.vocabulary, characters=TOKENS.characters)


def build(
    encoding: Encoding, *, features: int | None = None, characters: bool = False
) -> SequenceModel:
    torch.manual_seed(0)
    architecture = Architecture(
        task=encoding.task,
        cell="LSTM",
        features=len(encoding.features) if features is None else features,
        tokens=0 if encoding.vocabulary is None else len(encoding.vocabulary) + 1,
        embedding_size=6 if encoding.tokens else 0,
        characters=encoding.characters if characters else "",
        character_size=3,
        character_hidden_size=4,
        hidden_size=8,
        num_layers=2,
        dropout=0.5,
        bidirectional=True,
        classes=3,
    )
    return SequenceModel(architecture)


@pytest.mark.parametrize("tagging", [True, False])
@pytest.mark.parametrize("features", [4, 0])
class TestProbabilities:
    def predict(self, of: Sequences) -> np.ndarray[Any, np.dtype[np.float32]]:
        task = "tagging" if of.tagging else "classification"
        encoding = replace(FEATURES if of.tokens is None else TOKENS, task=task)
        width = of.values.shape[1]
        network = build(encoding, features=width, characters=of.tokens is not None)
        return prediction.probabilities(network, of, device=CPU)

    def test_like_one_sequence_at_a_time(
        self, ragged: Ragged, features: int, tagging: bool
    ) -> None:
        drawn = ragged(LENGTHS, features=features, tagging=tagging)
        alone = [self.predict(drawn.select(np.array([index]))) for index in range(len(drawn))]
        found = self.predict(drawn)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.concatenate(alone), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)

    def test_the_order_of_sequences_changes_nothing(
        self, ragged: Ragged, features: int, tagging: bool
    ) -> None:
        drawn = ragged(LENGTHS, features=features, tagging=tagging)
        order = np.array([5, 2, 7, 0, 1, 6, 4, 3])
        shuffled = drawn.select(order)
        pieces = np.split(self.predict(shuffled), shuffled.label_offsets[1:-1])
        back = np.concatenate([pieces[place] for place in np.argsort(order)])
        np.testing.assert_allclose(back, self.predict(drawn), rtol=1e-5, atol=1e-6)

    def test_batches_change_nothing(
        self, ragged: Ragged, monkeypatch: pytest.MonkeyPatch, features: int, tagging: bool
    ) -> None:
        drawn = ragged(LENGTHS, features=features, tagging=tagging)
        whole = self.predict(drawn)
        monkeypatch.setattr(prediction, "BATCH_SIZE", 3)
        np.testing.assert_allclose(self.predict(drawn), whole, rtol=1e-5, atol=1e-6)


class TestTable:
    SHARES = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1]], dtype=np.float32)

    def test_a_row_for_each_step(self, ragged: Ragged) -> None:
        drawn = replace(ragged([2, 1]), labels=np.array([0, 1, 2], np.int32))
        found = prediction.table(drawn, FEATURES, {}, self.SHARES, labelled=True)
        assert found.to_pydict() == {
            "sequence": ["s0", "s0", "s1"],
            "group": ["g0", "g0", "g0"],
            "label": ["1", "NA", "<script>"],
            "predicted": ["NA", "<script>", "1"],
            "probability_1": self.SHARES[:, 0].tolist(),
            "probability_NA": self.SHARES[:, 1].tolist(),
            "probability_<script>": self.SHARES[:, 2].tolist(),
        }

    def test_thresholds_decide(self, ragged: Ragged) -> None:
        drawn = ragged([2, 1])
        found = prediction.table(drawn, FEATURES, {"<script>": 0.3}, self.SHARES, labelled=False)
        assert found["predicted"].to_pylist() == ["<script>", "<script>", "1"]
        assert found["probability_NA"].to_pylist() == self.SHARES[:, 1].tolist()

    def test_a_row_for_each_sequence(self, ragged: Ragged) -> None:
        drawn = ragged([2, 1, 3], tagging=False)
        found = prediction.table(drawn, FEATURES, {}, self.SHARES, labelled=False)
        assert found["sequence"].to_pylist() == ["s0", "s1", "s2"]
        assert "label" not in found.schema.names


ROWS: dict[str, list[Any]] = {
    "sequence": ["b", "b", "a", "c", "c", "c"],
    "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "y": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
}
WORDS: dict[str, list[Any]] = {
    "sequence": ["b", "b", "a", "c", "c", "c"],
    "token": ["the", "hat", "é", "hat", "The", "NA"],
}


def predict(
    rows: dict[str, list[Any]],
    cuts: Sequence[int] = (),
    task: str = "tagging",
    thresholds: dict[str, float] | None = None,
    characters: bool = False,
) -> pa.Table:
    """Predict a table that comes in parts."""
    read = FEATURES if "token" not in rows else BOTH if "x" in rows else TOKENS
    encoding = replace(read, task=task)
    batch = pa.record_batch(rows)
    edges = [0, *cuts, batch.num_rows]
    parts = [batch.slice(start, end - start) for start, end in pairwise(edges)]
    network = build(encoding, characters=characters)
    return pa.concat_tables(
        prediction.of_table(network, encoding, thresholds or {}, parts, where="new.csv", device=CPU)
    )


class TestOfTable:
    def test_values_are_scaled_as_in_training(self) -> None:
        values = (np.column_stack([ROWS["x"], ROWS["y"]]) - FEATURES.mean) / FEATURES.scale
        steps = torch.tensor(values[3:], dtype=torch.float32)[None]
        expected = build(FEATURES).eval()(steps, torch.tensor([3])).softmax(dim=-1)[0]
        found = predict(ROWS)
        columns = [found[f"probability_{name}"].to_numpy()[3:] for name in NAMES]
        np.testing.assert_allclose(np.column_stack(columns), expected.detach(), rtol=1e-5)

    @pytest.mark.parametrize("task", ["tagging", "classification"])
    @pytest.mark.parametrize("cuts", [(1,), (2,), (1, 4, 5), (3, 4)])
    @pytest.mark.parametrize("rows", [ROWS, WORDS, WORDS | ROWS])
    def test_it_may_come_in_parts(
        self, cuts: tuple[int, ...], task: str, rows: dict[str, list[Any]]
    ) -> None:
        characters = "token" in rows
        whole = predict(rows, task=task, characters=characters)
        parts = predict(rows, cuts, task, characters=characters)
        assert parts["sequence"].to_pylist() == whole["sequence"].to_pylist()
        for name in NAMES:
            one, other = (of[f"probability_{name}"].to_numpy() for of in (parts, whole))
            np.testing.assert_allclose(one, other, rtol=1e-5)

    @pytest.mark.parametrize("frame", [1, 2])
    def test_sequences_are_cut_as_in_training(self, frame: int) -> None:
        task = "tagging" if frame == 1 else "classification"
        cut = replace(FEATURES, task=task, max_steps=4, frame=frame)
        rng = np.random.default_rng(0)
        rows = pa.record_batch(
            {"sequence": ["a"] * 10 + ["b"] * 3, "x": rng.normal(size=13), "y": rng.normal(size=13)}
        )
        network, skipped = build(cut, features=2 * frame), Skipped()
        few = pa.RecordBatch.from_pylist([*rows.to_pylist()[:4], *rows.to_pylist()[10:]])
        found, expected = (
            pa.concat_tables(
                prediction.of_table(
                    network, cut, {}, batches, where="n.csv", device=CPU, skipped=skipped
                )
            )
            for batches in ([rows.slice(0, 5), rows.slice(5)], [few])
        )
        assert found.equals(expected)
        assert found.num_rows == (7 if task == "tagging" else 2)
        assert skipped.sentences() == [
            "left out: steps beyond data.max_steps, 6 in all, the first in sequence 'a'"
        ]

    def test_accents_are_read_however_they_are_encoded(self) -> None:
        known = replace(TOKENS, vocabulary=["n\u00e9", "the"], form="NFC")
        network = build(known)
        said = [
            pa.concat_tables(
                prediction.of_table(network, encoding, {}, [rows], where="n.csv", device=CPU)
            )
            for encoding in (known, replace(known, form=None))
            for rows in (
                pa.record_batch({"sequence": ["a", "a"], "token": ["the", text]})
                for text in ("n\u00e9", "ne\u0301")
            )
        ]
        assert said[0].equals(said[1])
        assert not said[2].equals(said[3])  # as models of 0.2.0 have learned it

    def test_thresholds_decide(self) -> None:
        plain, found = predict(ROWS), predict(ROWS, thresholds={"NA": 0.0})
        assert found["predicted"].to_pylist() == ["NA"] * 6
        assert found.drop_columns("predicted").equals(plain.drop_columns("predicted"))

    def test_the_order_is_that_of_the_table(self) -> None:
        assert predict(ROWS)["sequence"].to_pylist() == ROWS["sequence"]
        classes = predict(ROWS, task="classification")
        assert classes["sequence"].to_pylist() == ["b", "a", "c"]

    def test_other_columns_are_ignored(self) -> None:
        more: dict[str, list[Any]] = {**ROWS, "note": ["n"] * 6, "label": [None] * 6}
        assert predict(dict(reversed(more.items()))).equals(predict(ROWS))

    def test_unknown_tokens(self) -> None:
        rows: dict[str, list[Any]] = {"sequence": ["a"] * 3, "token": ["the", "never", "seen"]}
        other = {**rows, "token": ["the", "seen", "never"]}
        assert predict(rows).equals(predict(other))
        one, two = (predict(each, characters=True) for each in (rows, other))
        assert not one.equals(two)  # how they look still tells them apart

    def test_tokens_beside_features(self) -> None:
        found = predict(WORDS | ROWS)
        assert not found.equals(predict({**WORDS, **ROWS, "x": ROWS["y"]}))
        assert not found.equals(predict({**WORDS, **ROWS, "token": ["the"] * 6}))

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ({"sequence": ["a"], "x": [1.0]}, "expected a column `y` as in training, found seq"),
            ({"sequence": ["a"], "token": ["t"], "x": [1]}, "expected a column `y` as in training"),
            ({"x": [1.0], "y": [1.0]}, "expected a column `sequence` as in training, found x, y"),
            ({**ROWS, "y": [1, 2, None, 4, 5, 6]}, "new.csv, row 3, column `y`: expected a finite"),
            ({**ROWS, "sequence": list("ababab")}, "new.csv, row 3: sequence 'a' goes on after"),
            ({**ROWS, "y": ["high"] * 6}, "new.csv, column `y`: expected numbers, found string"),
        ],
    )
    def test_mistakes(self, rows: dict[str, list[Any]], expected: str) -> None:
        with pytest.raises(DataError) as refused:
            predict(rows)
        assert str(refused.value).startswith("new.csv")
        assert expected in str(refused.value)

    def test_tokens_are_missing(self) -> None:
        rows = pa.record_batch({"sequence": ["a"], "note": ["t"]})
        found = prediction.of_table(build(TOKENS), TOKENS, {}, [rows], where="new.csv", device=CPU)
        with pytest.raises(DataError, match=r"new\.csv: expected a column `token` as in training"):
            list(found)

    def test_no_rows(self) -> None:
        found = prediction.of_table(build(FEATURES), FEATURES, {}, [], where="new.csv", device=CPU)
        with pytest.raises(DataError, match=r"new\.csv: expected rows, found none"):
            list(found)
