"""Flat values and offsets, in memory and in Arrow files."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.data import sequences
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.errors import DataError

Ragged = Callable[..., Sequences]

LENGTHS = {
    "several": [3, 1, 4, 2],
    "single steps": [1, 1, 1],
    "one sequence": [5],
    "one step in all": [1],
}
COLUMNS: dict[str, dict[str, Any]] = {
    "features": {"features": 4},
    "one feature": {"features": 1},
    "tokens": {"features": 0},
    "features and tokens": {"features": 2, "tokens": True},
}


def assert_same(found: Sequences, expected: Sequences) -> None:
    """Values, shapes and types."""
    for name in ("values", "offsets", "labels", "tokens"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
    assert (found.ids, found.groups) == (expected.ids, expected.groups)
    assert found.dictionary == expected.dictionary
    assert found.tagging == expected.tagging


def spelled(of: Sequences) -> list[str]:
    """What the places of the dictionary spell."""
    assert of.dictionary is not None
    names: list[str] = of.dictionary.to_pylist()
    return names


def words(of: Sequences, start: int, end: int) -> list[str]:
    """The tokens of some steps, spelled out."""
    if of.tokens is None:
        return []
    names = spelled(of)
    return [names[place] for place in of.tokens[start:end].tolist()]


def slices(of: Sequences) -> list[tuple[Any, ...]]:
    """Everything about each sequence, by a plain loop."""
    places = zip(pairwise(of.offsets.tolist()), pairwise(of.label_offsets.tolist()), strict=True)
    return [
        (name, group, of.values[a:b].tolist(), words(of, a, b), of.labels[c:d].tolist())
        for name, group, ((a, b), (c, d)) in zip(
            of.ids.to_pylist(), of.groups.to_pylist(), places, strict=True
        )
    ]


@pytest.mark.parametrize("tagging", [True, False], ids=["tagging", "classification"])
@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("lengths", LENGTHS)
class TestFiles:
    def test_round_trip(
        self, tmp_path: Path, ragged: Ragged, lengths: str, columns: str, tagging: bool
    ) -> None:
        written = ragged(LENGTHS[lengths], **COLUMNS[columns], tagging=tagging)
        sequences.write([written], tmp_path / "x.arrow")
        assert_same(sequences.read(tmp_path / "x.arrow"), written)

    def test_chunks_leave_no_trace(
        self, tmp_path: Path, ragged: Ragged, lengths: str, columns: str, tagging: bool
    ) -> None:
        whole = ragged(LENGTHS[lengths], **COLUMNS[columns], tagging=tagging)
        sequences.write([whole], tmp_path / "whole.arrow")
        single = (whole.select(np.array([index])) for index in range(len(whole)))
        sequences.write(single, tmp_path / "chunks.arrow")
        assert (tmp_path / "chunks.arrow").read_bytes() == (tmp_path / "whole.arrow").read_bytes()


texts = st.text(max_size=3).map(lambda text: "w" + text)
vocabularies = st.lists(texts, max_size=4, unique=True)
dictionaries = st.lists(st.lists(texts, unique=True, max_size=5), min_size=1, max_size=4)


class TestDictionaries:
    @given(vocabulary=vocabularies, added=dictionaries, data=st.data())
    def test_each_chunk_may_add_its_own(
        self, vocabulary: list[str], added: list[list[str]], data: st.DataObject
    ) -> None:
        chunks = [self.chunk(vocabulary, new, data) for new in added]
        expected = [row for chunk in chunks for row in slices(chunk)]
        with TemporaryDirectory() as folder:
            sequences.write(chunks, Path(folder, "x.arrow"))
            found = sequences.read(Path(folder, "x.arrow"))
            assert slices(found) == expected
            names = spelled(found)
        assert len(names) == len(set(names))
        assert names[: len(vocabulary) + 1] == ["", *vocabulary]

    def chunk(self, vocabulary: list[str], new: list[str], data: st.DataObject) -> Sequences:
        """One sequence of tokens that are known, and of others."""
        known = ["", *vocabulary]
        names = [*known, *(name for name in new if name not in known)]
        drawn = data.draw(st.lists(st.integers(0, len(names) - 1), min_size=1, max_size=6))
        ids = pa.array(["s"])
        return Sequences(
            values=np.zeros((len(drawn), 0), np.float32),
            offsets=np.array([0, len(drawn)]),
            labels=np.zeros(len(drawn), np.int32),
            ids=ids,
            groups=ids,
            tagging=True,
            tokens=np.array(drawn, np.int32),
            dictionary=pa.array(names, pa.string()),
        )

    def test_counts(self, ragged: Ragged, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = ragged([9, 40], features=0)
        monkeypatch.setattr(sequences, "COUNTED", 7)
        counts = drawn.token_counts()
        assert counts is not None
        spelled_out = words(drawn, 0, 49)
        assert counts.tolist() == [spelled_out.count(name) for name in spelled(drawn)]
        assert ragged([9]).token_counts() is None

    def test_a_token_has_one_code_in_all(self, ragged: Ragged) -> None:
        one = ragged([9], features=0)
        other = replace(one, dictionary=pa.array([*reversed(spelled(one)), "new"]))
        codes, others = one.token_codes(), other.token_codes()
        assert codes is not None
        assert others is not None
        assert codes.tolist() == others[9::-1].tolist()
        assert len(set(others.tolist())) == 11


class TestWrite:
    def test_any_layout_in_memory(self, tmp_path: Path, ragged: Ragged) -> None:
        drawn = ragged([2, 3])
        turned = replace(drawn, values=np.asfortranarray(drawn.values))
        sequences.write([turned], tmp_path / "x.arrow")
        assert_same(sequences.read(tmp_path / "x.arrow"), drawn)

    def test_reading_copies_nothing(self, tmp_path: Path, ragged: Ragged) -> None:
        sequences.write([ragged([20_000])], tmp_path / "x.arrow")
        before = pa.total_allocated_bytes()
        found = sequences.read(tmp_path / "x.arrow")
        assert pa.total_allocated_bytes() - before < found.values.nbytes
        assert not found.values.flags.writeable
        assert not found.labels.flags.writeable

    def test_pages_that_are_let_go_come_back(self, tmp_path: Path, ragged: Ragged) -> None:
        drawn = ragged([2, 3])
        drawn.release()  # is not a view of a file: nothing happens
        sequences.write([drawn], tmp_path / "x.arrow")
        found = sequences.read(tmp_path / "x.arrow")
        for _ in range(2):
            assert_same(found, drawn)
            found.release()

    def test_no_sequences(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"x\.arrow: expected at least one sequence, found non"):
            sequences.write([], tmp_path / "x.arrow")
        assert list(tmp_path.iterdir()) == []

    def test_a_failure_on_the_way_leaves_the_old_file(self, tmp_path: Path, ragged: Ragged) -> None:
        def failing() -> Iterator[Sequences]:
            yield ragged([2, 3])
            raise DataError("label 'z' is new")

        (tmp_path / "x.arrow").write_text("old")
        with pytest.raises(DataError, match="label 'z' is new"):
            sequences.write(failing(), tmp_path / "x.arrow")
        assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]

    def test_several_files_at_a_time(self, tmp_path: Path, ragged: Ragged) -> None:
        parts = [("a", ragged([2, 3])), ("b", ragged([1])), ("a", ragged([4]))]
        paths = {name: tmp_path / name for name in "abc"}
        with pytest.raises(DataError, match="c: expected at least one sequence, found none"):
            sequences.write_each(parts, paths)
        assert list(tmp_path.iterdir()) == []
        paths.pop("c")
        sequences.write_each(parts, paths)
        for name, path in paths.items():
            sequences.write([part for of, part in parts if of == name], tmp_path / "alone")
            assert path.read_bytes() == (tmp_path / "alone").read_bytes()


class TestRead:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"x\.arrow: no such file; run `dvc repro` first"):
            sequences.read(tmp_path / "x.arrow")

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
    def test_a_file_that_was_cut(self, tmp_path: Path, ragged: Ragged, share: float) -> None:
        path = tmp_path / "x.arrow"
        sequences.write([ragged([2, 3])], path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"x\.arrow: expected a prepared split, found"):
            sequences.read(path)

    @pytest.mark.parametrize(
        "batches",
        [[], [{"x": [1]}], [{"sequence": ["a"], "group": ["a"], "values": [1], "label": [1]}]],
        ids=["nothing", "other columns", "other types"],
    )
    def test_another_arrow_file(self, tmp_path: Path, batches: list[dict[str, Any]]) -> None:
        schema = pa.schema({"x": pa.int64()})
        records = [pa.record_batch(columns) for columns in batches]
        with pa.ipc.new_file(
            str(tmp_path / "x.arrow"), records[0].schema if records else schema
        ) as writer:
            for record in records:
                writer.write_batch(record)
        with pytest.raises(DataError, match=r"x\.arrow: expected a prepared split, found"):
            sequences.read(tmp_path / "x.arrow")

    def test_another_format(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"x": [1]}), tmp_path / "x.arrow")
        with pytest.raises(DataError, match=r"x\.arrow: expected a prepared split, found"):
            sequences.read(tmp_path / "x.arrow")


indices = st.lists(st.integers(0, 3), max_size=6).map(lambda found: np.array(found, np.int64))


class TestSelect:
    @given(chosen=indices, tagging=st.booleans(), columns=st.sampled_from([*COLUMNS]))
    def test_like_a_plain_loop(
        self,
        ragged: Ragged,
        chosen: np.ndarray[Any, np.dtype[np.int64]],
        tagging: bool,
        columns: str,
    ) -> None:
        drawn = ragged([3, 1, 4, 2], tagging=tagging, **COLUMNS[columns])
        every = slices(drawn)
        assert slices(drawn.select(chosen)) == [every[index] for index in chosen]

    @given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=8), data=st.data())
    def test_rows(self, lengths: list[int], data: st.DataObject) -> None:
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=10))
        expected = [row for index in chosen for row in range(offsets[index], offsets[index + 1])]
        assert sequences.steps_of(offsets, np.array(chosen, np.int64)).tolist() == expected


def test_lengths(ragged: Ragged) -> None:
    drawn = ragged([3, 1, 4])
    assert len(drawn) == 3
    assert drawn.lengths.tolist() == [3, 1, 4]
    assert drawn.label_offsets.tolist() == [0, 3, 4, 8]
    assert ragged([3, 1, 4], tagging=False).label_offsets.tolist() == [0, 1, 2, 3]


class TestLabelled:
    """What is left for figures, where some labels are missing."""

    @pytest.mark.parametrize("tagging", [True, False])
    def test_all_of_it_without_a_copy(self, ragged: Ragged, tagging: bool) -> None:
        split = ragged([2, 1, 3], tagging=tagging)
        found = split.labelled()
        assert found.labels is split.labels
        assert found.offsets.tolist() == split.label_offsets.tolist()
        assert found.groups.tolist() == split.group_numbers.tolist()
        assert found.chosen.tolist() == [0, 1, 2]

    @given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 99), st.booleans())
    def test_like_a_plain_loop(
        self, ragged: Ragged, lengths: list[int], seed: int, tagging: bool
    ) -> None:
        split = ragged(lengths, tagging=tagging, seed=seed)
        gone = np.random.default_rng(seed).random(len(split.labels)) < 0.5
        split = replace(split, labels=np.where(gone, sequences.UNLABELLED, split.labels))
        found = split.labelled()
        kept = [
            (number, [label for label in split.labels[start:end].tolist() if label >= 0])
            for number, (start, end) in enumerate(pairwise(split.label_offsets.tolist()))
        ]
        kept = [(number, labels) for number, labels in kept if labels]
        assert found.chosen.tolist() == [number for number, _ in kept]
        parts = np.split(found.labels, found.offsets[1:-1]) if kept else []
        assert [part.tolist() for part in parts] == [labels for _, labels in kept]
        assert split.labels[found.rows].tolist() == found.labels.tolist()
        assert found.lengths.tolist() == split.lengths[found.chosen].tolist()
        names = np.array(split.groups.to_pylist())[found.chosen]
        same = names[:, None] == names
        assert (same == (found.groups[:, None] == found.groups)).all()
        assert set(found.groups.tolist()) == set(range(len(set(names.tolist()))))


def test_what_was_compressed_is_refused(ragged: Ragged, tmp_path: Path) -> None:
    """Nobody but a stranger has written it, and it may take any amount of memory."""
    path, compressed = tmp_path / "train.arrow", tmp_path / "compressed.arrow"
    sequences.write([ragged([500])], path)
    with pa.ipc.open_file(path) as file:
        batch = file.get_batch(0)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(compressed, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    with pytest.raises(DataError, match=r"compressed\.arrow: expected compressed record batches"):
        sequences.read(compressed)


@pytest.mark.parametrize("tagging", [True, False])
@pytest.mark.parametrize("unlabelled", [True, False])
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_tally(
    ragged: Ragged, monkeypatch: pytest.MonkeyPatch, tagging: bool, unlabelled: bool, at_once: int
) -> None:
    monkeypatch.setattr(sequences, "COUNTED", at_once)
    split = ragged([3, 1, 4, 2], tagging=tagging, tokens=True)
    labels = split.labels.copy()
    if unlabelled:
        labels[: split.label_offsets[2]] = UNLABELLED
    found = replace(split, labels=labels).tally()
    known = labels[labels != UNLABELLED]
    assert (found.sequences, found.labels, found.known) == (4, len(labels), len(known))
    assert found.labelled == (2 if unlabelled else 4)
    assert found.classes.tolist() == np.bincount(known).tolist()
    assert found.tokens is not None
    assert split.tokens is not None
    assert found.tokens.tolist() == np.bincount(split.tokens, minlength=10).tolist()
