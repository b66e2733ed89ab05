"""Classes are counted by group, however the rows are cut."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from birnn.evaluation import tallies
from birnn.files import pieces


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("rows", [5, 1000])
def test_against_a_count(
    rows: int, side_by_side: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ROWS", rows)
    rng = np.random.default_rng(0)
    lengths, groups = rng.integers(1, 9, 40), rng.permutation(np.arange(40) % 7)
    groups = np.sort(groups) if side_by_side else groups
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    one, other = rng.integers(0, 4, offsets[-1]), rng.integers(-1, 4, offsets[-1])
    found = tallies.by_group(lambda some: [one[some], other[some]], offsets, groups, 4, tmp_path)
    assert [*tmp_path.iterdir()] == []
    of_row = np.repeat(groups, lengths)
    counts = [Counter(zip(of_row.tolist(), each.tolist(), strict=True)) for each in (one, other)]
    entries = list(zip(found.group.tolist(), found.label.tolist(), strict=True))
    assert entries == sorted({*counts[0], *(cell for cell in counts[1] if cell[1] >= 0)})
    assert found.times.tolist() == [[count[cell] for count in counts] for cell in entries]


@pytest.mark.parametrize("rows", [5, 1000])
def test_rows_of_a_group_come_together(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "ROWS", rows)
    lengths, groups = np.array([3, 1, 4, 1, 5, 9, 2]), np.array([2, 0, 1, 2, 0, 1, 1])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    of_row, found = np.repeat(groups, lengths), list[list[int]]()
    for some, bounds in tallies.of_groups(offsets, groups):
        found += [some[start:end].tolist() for start, end in pairwise(bounds)]
    assert found == [np.flatnonzero(of_row == group).tolist() for group in range(3)]
