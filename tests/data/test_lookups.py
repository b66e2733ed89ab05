"""Numbers are looked up as if all were held, however they are cut and however often each occurs."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from birnn.data import lookups
from birnn.data.lookups import AGAIN, ALONE, FIRST, Entries
from birnn.files import pieces

Numbers = list[list[int]]  # of each sequence


def drawn(sequences: int, rng: np.random.Generator) -> Numbers:
    """Some numbers a sequence, of which a few are in most of them."""
    sizes = rng.integers(0, 6, sequences)
    return [rng.choice([1, 2, *range(50, 400)], size).tolist() for size in sizes]


def entries(numbers: Numbers, folder: Path, block: int) -> Entries:
    found = Entries(folder, len(numbers))
    for first in range(0, len(numbers), block):
        some = numbers[first : first + block]
        owner = np.repeat(np.arange(first, first + len(some)), [len(one) for one in some])
        found.take(np.array([*chain(*some)], np.uint64), owner)
    return found


@pytest.mark.parametrize(("rows", "block"), [(1 << 18, 1000), (20, 7)])
def test_found_as_by_a_dictionary(
    rows: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ROWS", rows)
    monkeypatch.setattr(pieces, "SAMPLED", 2)
    rng = np.random.default_rng(0)
    known, asked = drawn(200, rng), drawn(90, rng)
    kinds = rng.integers(0, 3, len(known)).astype(np.uint8)
    expected = []
    for owner, numbers in enumerate(asked):
        for rank, number in enumerate(numbers):
            have = [n for n, one in enumerate(known) if number in one and kinds[n] != AGAIN]
            expected += [(owner, rank, have[0], len(have))] if have else []
    places = entries(known, tmp_path, block), entries(asked, tmp_path, block)
    found = [
        row
        for some in lookups.found(*places, kinds)
        for row in zip(*(column.tolist() for column in some), strict=True)
    ]
    assert sorted(found) == expected
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("rows", "block"), [(1 << 18, 1000), (20, 7)])
def test_which_sequences_repeat_others(
    rows: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ROWS", rows)
    contents = [[int(one)] for one in np.random.default_rng(0).integers(0, 150, 200)]
    kinds = lookups.repeats(entries(contents, tmp_path, block), len(contents), tmp_path)
    for place, (content, kind) in enumerate(zip(contents, kinds.tolist(), strict=True)):
        if content in contents[:place]:
            assert kind == AGAIN
        else:
            assert kind == (FIRST if content in contents[place + 1 :] else ALONE)


def test_nothing_is_found_in_nothing(tmp_path: Path) -> None:
    none, some = entries([[], []], tmp_path, 1), entries([[1], [2]], tmp_path, 1)
    assert list(lookups.found(some, none)) == list(lookups.found(none, some)) == []
