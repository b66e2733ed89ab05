"""Models that answer for raw sequences, compared with what the stages have made of them."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from birnn.data import sequences, splits
from birnn.data.encoding import Encoding
from birnn.data.splits import Splitting
from birnn.errors import DataError
from birnn.files import atomic
from birnn.files.tables import Chunk
from birnn.model import prediction, saved_model
from birnn.model.architecture import Architecture
from birnn.model.networks import SequenceModel
from birnn.retraining import answering
from birnn.retraining.judged import Answers

CPU = torch.device("cpu")
SPLITTING = Splitting(validation=0.15, test=0.15)


@pytest.fixture
def encoding(prepared: Path) -> Encoding:
    return Encoding(**atomic.read_json(prepared / "data/prepared/encoding.json"))


@pytest.fixture
def rows(prepared: Path) -> list[Chunk]:
    return list(splits.read_one(prepared / "data/raw", SPLITTING, "test"))


def saved(encoding: Encoding, folder: Path, labels: list[str], seed: int = 0) -> Path:
    """A model with random weights that knows some labels."""
    torch.manual_seed(seed)
    shape = Architecture(
        task=encoding.task,
        cell="GRU",
        features=len(encoding.features),
        embedding_size=0,
        hidden_size=4,
        num_layers=1,
        dropout=0.0,
        bidirectional=True,
        classes=len(labels),
    )
    saved_model.save(SequenceModel(shape), replace(encoding, labels=labels), {}, folder)
    return folder


def without_some(table: pa.Table, name: str) -> pa.Table:
    """Take the number of each 17th row away."""
    values = table[name].to_numpy().copy()
    values[::17] = np.nan
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


class TestAsk:
    def test_answers_as_for_the_prepared_split(
        self, prepared: Path, encoding: Encoding, rows: list[Chunk], tmp_path: Path
    ) -> None:
        folder = saved(encoding, tmp_path / "model", encoding.labels)
        asked = answering.ask(folder, rows, encoding.labels, CPU, where="it").answers
        test = sequences.read(prepared / "data/prepared/test.arrow")
        network, *_ = saved_model.load(folder)
        shares = prediction.probabilities(network, test, device=CPU)
        np.testing.assert_allclose(asked.probabilities, shares, atol=1e-6)
        np.testing.assert_array_equal(asked.actual, test.labels)
        np.testing.assert_array_equal(asked.predicted, shares.argmax(axis=1))
        np.testing.assert_array_equal(asked.offsets, test.label_offsets)
        np.testing.assert_array_equal(asked.lengths, test.lengths)

    def test_puts_classes_into_the_order_asked_for(
        self, encoding: Encoding, rows: list[Chunk], tmp_path: Path
    ) -> None:
        folder = saved(encoding, tmp_path / "model", encoding.labels)
        plain = answering.ask(folder, rows, encoding.labels, CPU, where="it").answers
        turned = answering.ask(folder, rows, encoding.labels[::-1], CPU, where="it").answers
        np.testing.assert_array_equal(turned.probabilities, plain.probabilities[:, ::-1])
        np.testing.assert_array_equal(turned.predicted, 2 - plain.predicted)
        np.testing.assert_array_equal(turned.actual, 2 - plain.actual)

    def test_of_classes_that_came_and_went(
        self, encoding: Encoding, rows: list[Chunk], tmp_path: Path
    ) -> None:
        first, second, third = encoding.labels
        folder = saved(encoding, tmp_path / "model", [first, "gone", second])
        shares = answering.ask(folder, rows, encoding.labels, CPU, where="it").answers.probabilities
        own = answering.ask(folder, rows, [first, "gone", second, third], CPU, where="it").answers
        assert not shares[:, 2].any()
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
        ratio = own.probabilities[:, 0] / own.probabilities[:, 2]
        np.testing.assert_allclose(shares[:, 0] / shares[:, 1], ratio, rtol=1e-4)

    def test_of_a_column_that_is_gone(
        self, encoding: Encoding, rows: list[Chunk], tmp_path: Path
    ) -> None:
        folder = saved(encoding, tmp_path / "model", encoding.labels)
        lost = [(table.drop_columns([encoding.features[0]]), at) for table, at in rows]
        with pytest.raises(DataError, match=f"it: expected the column `{encoding.features[0]}`"):
            answering.ask(folder, lost, encoding.labels, CPU, where="it")

    def test_what_lacks_numbers_is_read_by_models_that_know_such_data_alone(
        self, encoding: Encoding, rows: list[Chunk], tmp_path: Path
    ) -> None:
        """In service, others refuse it; for the rest they answer as if it were not there."""
        name = encoding.features[1]
        gaps = [(without_some(table, name), offsets) for table, offsets in rows]
        first = gaps[0][0][name].to_numpy()
        lacking = [
            np.isnan(table[name].to_numpy()[begin:end]).any()
            for table, offsets in gaps
            for begin, end in pairwise(offsets)
        ]
        assert np.isnan(first).any()
        assert not all(lacking)
        strict = saved(encoding, tmp_path / "strict", encoding.labels)
        whole = answering.ask(strict, rows, encoding.labels, CPU, where="it")
        asked = answering.ask(strict, gaps, encoding.labels, CPU, where="it")
        assert whole.readable.all()
        np.testing.assert_array_equal(asked.readable, np.logical_not(lacking))
        kept = asked.readable
        np.testing.assert_array_equal(
            answering.take(asked.answers, kept).probabilities,
            answering.take(whole.answers, kept).probabilities,
        )
        known = replace(encoding, missing="zero", fills=[0.0] * len(encoding.features))
        lenient = saved(known, tmp_path / "lenient", encoding.labels)
        assert answering.ask(lenient, gaps, encoding.labels, CPU, where="it").readable.all()

    def test_a_sequence_is_cut_as_the_model_has_learned(
        self, encoding: Encoding, rows: list[Chunk], tmp_path: Path
    ) -> None:
        folder = saved(replace(encoding, max_steps=3), tmp_path / "model", encoding.labels)
        with pytest.raises(DataError, match=r"it: expected up to 3 steps in a sequence \(data.lon"):
            answering.ask(folder, rows, encoding.labels, CPU, where="it")
        whole = replace(encoding, task="classification", max_steps=3)
        asked = answering.ask(
            saved(whole, tmp_path / "other", encoding.labels),
            rows,
            encoding.labels,
            CPU,
            where="it",
        )
        assert asked.answers.lengths.max() == 3


class TestHash:
    def test_of_all_rows_does_not_know_their_parts(self, rows: list[Chunk]) -> None:
        ((table, offsets),) = rows
        cut = offsets[5]
        parts = [
            (table.slice(0, cut), offsets[:6]),
            (table.slice(cut), offsets[5:] - cut),
        ]
        assert answering.sha256(parts) == answering.sha256(rows)
        assert list(answering.contents(parts)) == list(answering.contents(rows))

    def test_of_a_sequence_is_of_what_is_read_alone(self, rows: list[Chunk]) -> None:
        ((table, offsets),) = rows
        other = {"sequence": pa.array(["x"] * len(table)), "label": pa.array(["y"] * len(table))}
        renamed = table
        for name, column in other.items():
            renamed = renamed.set_column(renamed.schema.get_field_index(name), name, column)
        found = answering.contents(rows)
        assert len({*found.tolist()}) == len(offsets) - 1
        np.testing.assert_array_equal(answering.contents([(renamed, offsets)]), found)
        assert answering.sha256([(renamed, offsets)]) != answering.sha256(rows)

    def test_of_a_sequence_knows_order_and_length(self) -> None:
        values = pa.array([1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 1.0], pa.float32())
        table = pa.table({"sequence": ["s"] * 7, "x": values, "label": ["a"] * 7})
        hashes = answering.contents([(table, np.array([0, 2, 4, 6, 7]))]).tolist()
        assert hashes[0] == hashes[2]
        assert len({*hashes}) == 3


class TestInRawUnits:
    def test_gives_features_as_they_came(
        self, encoding: Encoding, rows: list[Chunk], tmp_path: Path
    ) -> None:
        plain = answering.in_raw_units(rows, encoding, tmp_path / "plain.arrow")
        raw = np.column_stack([rows[0][0][name] for name in encoding.features])
        np.testing.assert_array_equal(plain.values, raw)

    def test_tells_apart_what_is_small_beside_its_offset(self, tmp_path: Path) -> None:
        learned = Encoding("tagging", ["a"], ["p"], [0.0], [1.0], precision="float64")
        pressure = [101_325.0, 101_325.002, 101_325.001]
        table = pa.table({"sequence": ["s"] * 3, "p": pressure, "label": ["a"] * 3})
        centre = answering.centre(table, learned)
        chunk = (table, np.array([0, 3]))
        path = tmp_path / "plain.arrow"
        plain = answering.in_raw_units([chunk], learned, path, centre=centre)
        np.testing.assert_allclose(plain.values[:, 0] + centre, pressure, rtol=1e-12)

    def test_spells_tokens_out(self, tmp_path: Path) -> None:
        learned = Encoding("tagging", ["a"], [], [], [], vocabulary=["the"])
        said = ["the", "cat", "the"]
        table = pa.table({"sequence": ["s"] * 3, "token": said, "label": ["a"] * 3})
        chunk = (table, np.array([0, 3]))
        plain = answering.in_raw_units([chunk], learned, tmp_path / "plain.arrow")
        assert plain.dictionary is not None
        assert plain.dictionary.take(pa.array(plain.tokens)).to_pylist() == said


class TestTake:
    @pytest.mark.parametrize("tagging", [True, False])
    def test_keeps_the_labels_of_some_sequences(self, tagging: bool) -> None:
        lengths = np.array([2, 1, 3])
        rows = lengths if tagging else np.ones(3, dtype=int)
        offsets = np.concatenate([[0], np.cumsum(rows)])
        labels = np.arange(offsets[-1])
        answers = Answers(
            labels, labels, np.eye(len(labels)), offsets, lengths, np.array([0, 1, 1])
        )
        found = answering.take(answers, np.array([True, False, True]))
        expected = [0, 1, 3, 4, 5] if tagging else [0, 2]
        assert found.actual.tolist() == found.predicted.tolist() == expected
        assert found.probabilities.argmax(axis=1).tolist() == expected
        assert found.lengths.tolist() == [2, 3]
        assert found.groups.tolist() == [0, 1]
        assert found.offsets.tolist() == ([0, 2, 5] if tagging else [0, 1, 2])


def test_baselines_answer_for_the_same_sequences(
    prepared: Path, encoding: Encoding, rows: list[Chunk]
) -> None:
    test = sequences.read(prepared / "data/prepared/test.arrow")
    kept = np.arange(len(test)) % 2 == 0
    found = answering.without_context(prepared / "data/prepared", encoding.labels, kept, seed=1)
    whole = answering.without_context(
        prepared / "data/prepared", encoding.labels, np.ones(len(test), dtype=bool), seed=1
    )
    rows_of = sequences.steps_of(test.label_offsets, np.flatnonzero(kept))
    assert len(found) == 2
    for name, classes in found.items():
        np.testing.assert_array_equal(classes, whole[name][rows_of])
