"""Prepared splits in parts: read one after the other, or as if they were one file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birnn.data import parted, sequences
from birnn.data.encoding import Encoding
from birnn.data.in_training import TrainedOn
from birnn.data.parted import Parts
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.errors import DataError
from birnn.files import parts, paths

Ragged = Callable[..., Sequences]
LENGTHS = [3, 1, 4, 1, 5, 9, 2, 6]
CUTS = [np.arange(3), np.arange(3, 7), np.arange(7, 8)]


def write(split: Sequences, path: Path, numbers: tuple[int, ...] = (0, 1, 2)) -> Parts:
    """Three parts of a split, in its order."""
    with parts.writing(path) as folder:
        written = [
            sequences.write_part(split.select(cut), folder, number)
            for cut, number in zip(CUTS, numbers, strict=True)
        ]
        folder.finish(written)
    found = parted.read(path)
    assert isinstance(found, Parts)
    return found


def assert_same(found: Sequences, expected: Sequences) -> None:
    for name in ("values", "offsets", "labels", "tokens"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
    assert (found.ids, found.groups, found.tagging) == (
        expected.ids,
        expected.groups,
        expected.tagging,
    )


@pytest.mark.parametrize("tagging", [True, False])
@pytest.mark.parametrize("columns", [{"features": 3}, {"features": 0}])
def test_together_they_are_the_split(
    tmp_path: Path, ragged: Ragged, tagging: bool, columns: Any
) -> None:
    split = ragged(LENGTHS, tagging=tagging, **columns)
    found = write(split, tmp_path / "x.arrow")
    assert_same(found.whole(), split)
    assert_same(sequences.read(tmp_path / "x.arrow"), split)
    assert len(found) == 8
    assert (found.steps, found.longest, found.tagging) == (31, 9, tagging)
    for name, expected in split.tally()._asdict().items():
        np.testing.assert_array_equal(getattr(found.tally(), name), expected)
    assert [one.name for one in tmp_path.iterdir()] == ["x.arrow"]  # and no temporary file


def test_each_in_the_order_asked_for(tmp_path: Path, ragged: Ragged) -> None:
    split = ragged(LENGTHS)
    found = write(split, tmp_path / "x.arrow", numbers=(0, 4, 7))
    read = [(number, part.ids.to_pylist()) for number, part in found.each([2, 0, 1])]
    assert read == [(7, ["s7"]), (0, ["s0", "s1", "s2"]), (4, ["s3", "s4", "s5", "s6"])]


def test_labels_of_classes_that_nobody_learns_are_left_out(tmp_path: Path, ragged: Ragged) -> None:
    split = ragged(LENGTHS)
    found = parted.known(write(split, tmp_path / "x.arrow"), 2)
    expected = np.where(split.labels < 2, split.labels, UNLABELLED)
    np.testing.assert_array_equal(found.whole().labels, expected)
    assert found.tally().known == (expected != UNLABELLED).sum()
    np.testing.assert_array_equal(parted.known(split, 2).labels, expected)


def test_a_file_is_no_folder(tmp_path: Path, ragged: Ragged) -> None:
    sequences.write([ragged(LENGTHS)], tmp_path / "x.arrow")
    assert_same(parted.whole(parted.read(tmp_path / "x.arrow")), ragged(LENGTHS))


def test_a_part_of_another_split(tmp_path: Path, ragged: Ragged) -> None:
    found = write(ragged(LENGTHS), tmp_path / "x.arrow")
    write(ragged(LENGTHS, seed=1), tmp_path / "y.arrow")  # of the same size
    (tmp_path / "y.arrow/part-00001.arrow").replace(tmp_path / "x.arrow/part-00000.arrow")
    with pytest.raises(DataError, match=r"x\.arrow/part-00000\.arrow: expected .* bytes .*, found"):
        list(found.each())


def test_what_training_had_is_found_in_any_part(tmp_path: Path, ragged: Ragged) -> None:
    encoding = Encoding("tagging", ["a", "b", "c"], ["w", "x", "y", "z"], [0.0] * 4, [1.0] * 4)
    encoding.write(tmp_path / paths.ENCODING)
    split = ragged(LENGTHS)
    write(split, tmp_path / paths.TRAIN)
    found = TrainedOn.of(tmp_path, encoding)
    assert found is not None
    assert found.seen(split).all()
    assert not found.seen(ragged(LENGTHS, seed=1)).any()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells of mapped files on Linux")
def test_to_join_them_hardly_any_of_the_files_stays_in_memory(
    tmp_path: Path, ragged: Ragged, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, many = ragged([1000] * 10, features=100), 10  # parts of 4 MB each
    with parts.writing(tmp_path / "train.arrow") as folder:
        folder.finish([sequences.write_part(split, folder, number) for number in range(many)])
    seen, take = list[int](), sequences._Spool.take

    def taken(spool: sequences._Spool, chunk: Sequences) -> None:
        take(spool, chunk)
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        seen.extend(int(line.split()[1]) for line in status if line.startswith("RssFile"))

    monkeypatch.setattr(sequences._Spool, "take", taken)
    assert len(sequences.read(tmp_path / "train.arrow")) == many * len(split)
    assert seen[-1] - seen[0] < 10_000  # kB
