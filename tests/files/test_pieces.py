"""Arrays in pieces, and on the disk."""

from pathlib import Path

import numpy as np
import pytest

from birnn.files import pieces


def test_all_rows_come_once_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "ROWS", 4)
    rows, doubled = np.arange(10), 2 * np.arange(10)
    found = list(pieces.of(rows, doubled))
    assert [len(one) for one, _ in found] == [4, 4, 2]
    assert np.concatenate([one for one, _ in found]).tolist() == rows.tolist()
    assert all((2 * one == other).all() for one, other in found)


def test_sequences_stay_whole() -> None:
    lengths = np.random.default_rng(0).integers(1, 9, 50)
    lengths[20] = 100  # longer than a piece
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ends = 0, 0
    for chosen, rows in pieces.whole(offsets, 16):
        assert (chosen.start, rows.start) == ends
        assert (offsets[chosen.start], offsets[chosen.stop]) == (rows.start, rows.stop)
        assert rows.stop - rows.start < 16 + 9 or lengths[chosen].max() == 100
        ends = chosen.stop, rows.stop
    assert ends == (50, offsets[-1])
    assert list(pieces.whole(np.zeros(1, np.int64))) == []


def test_an_array_on_disk_keeps_what_is_put_in(tmp_path: Path) -> None:
    found = pieces.empty((1000, 3), np.float32, tmp_path / "folder")
    expected = np.random.default_rng(0).random((1000, 3), np.float32)
    for begin in range(0, 1000, 100):
        found[begin : begin + 100] = expected[begin : begin + 100]
        pieces.release(found[begin:, 1])  # a view of it will do
    assert found.tolist() == expected.tolist()
    assert [*(tmp_path / "folder").iterdir()] == []


def test_no_rows_need_no_file(tmp_path: Path) -> None:
    assert pieces.empty((0, 3), np.float32, tmp_path / "folder").shape == (0, 3)
    assert not (tmp_path / "folder").exists()


def test_too_little_room_is_told_of_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises((OSError, OverflowError)):
        pieces.empty((1 << 55,), np.uint8, tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("many", [0.0, 0.9])
@pytest.mark.parametrize("rows", [7, 300, 1 << 18])
def test_numbers_are_put_in_order(
    many: float, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ROWS", rows)
    rng = np.random.default_rng(0)
    numbers = np.where(rng.random(5000) < many, 0.5, rng.random(5000)).astype(np.float32)
    for folder in (None, tmp_path):
        np.testing.assert_array_equal(pieces.ordered(numbers, folder), sorted(numbers))
    assert len(pieces.ordered(numbers[:0], tmp_path)) == 0
    assert [*tmp_path.iterdir()] == []


def test_what_is_computed_and_chosen_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ROWS", 7)
    numbers = np.random.default_rng(0).random((50, 2))
    inside = pieces.computed(lambda row: row[:, 0] < 0.5, numbers, bool, tmp_path)
    assert inside.tolist() == [bool(first < 0.5) for first, _ in numbers]
    found = pieces.chosen(inside, numbers, tmp_path)
    assert found.tolist() == [[*row] for row in numbers if row[0] < 0.5]
