"""What is taken of all sequences of a split, on disk, and what it has in common with another's.

train, test = (shelves.of(split, look, Path("report")) for split in splits)
shelves.overlaps(train.runs, test.runs, ...)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data import lookups, near_copies, prints
from birnn.data.fingerprints import Ints
from birnn.data.lookups import NOWHERE, Entries
from birnn.data.near_copies import BITS, Sketches
from birnn.data.prints import Look, Prints
from birnn.data.sequences import Sequences
from birnn.files import pieces
from birnn.files.hashing import Hashes

Mask = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.uint8]


class Shelf(NamedTuple):
    """As `birnn.data.prints.Prints`; `run_counts` (S,) int32 say how many runs each has."""

    exact: Entries
    letters: Ints
    shape_letters: Ints
    runs: Entries
    run_counts: Ints
    shape_runs: Entries
    shape_run_counts: Ints
    sketches: Sketches
    bags: Hashes
    rare: Entries


def of(split: Sequences, look: Look, folder: Path | None) -> Shelf:
    """Look once at every step.

    Args:
        split: the sequences.
        look: how to look at them.
        folder: for temporary files; memory takes it all where None.
    """
    size, words = len(split), BITS // 64

    def numbers(*shape: int, dtype: npt.DTypeLike = np.int32) -> npt.NDArray[Any]:
        return pieces.empty((size, *shape), dtype, folder)

    shelf = Shelf(
        exact=Entries(folder, size),
        letters=numbers(),
        shape_letters=numbers(),
        runs=Entries(folder, size),
        run_counts=numbers(),
        shape_runs=Entries(folder, size),
        shape_run_counts=numbers(),
        sketches=Sketches(numbers(words, dtype=np.uint64), numbers()),
        bags=numbers(words if len(look.frequency) else 0, dtype=np.uint64),
        rare=Entries(folder, size),
    )
    first = 0
    for block in prints.in_blocks(split, look):
        first = _put(shelf, block, first)
    return shelf


def _put(shelf: Shelf, block: Prints, first: int) -> int:
    """Put what is taken of a block behind those before it; say where the next one begins."""
    size = len(block.exact)
    place = slice(first, first + size)
    shelf.exact.take(block.exact, np.arange(first, place.stop))
    shelf.letters[place] = block.letters
    shelf.shape_letters[place] = block.shape_letters
    shelf.run_counts[place] = np.bincount(block.runs.owner, minlength=size)
    shelf.shape_run_counts[place] = np.bincount(block.shape_runs.owner, minlength=size)
    for entries, found in ((shelf.runs, block.runs), (shelf.shape_runs, block.shape_runs)):
        entries.take(found.codes, found.owner + first)
    for whole, part in zip(shelf.sketches, block.sketches, strict=True):
        whole[place] = part
    shelf.bags[place] = block.bags
    shelf.rare.take(block.rare.keys, block.rare.owner + first)
    pieces.release(shelf.letters, shelf.shape_letters, shelf.run_counts, shelf.shape_run_counts)
    pieces.release(*shelf.sketches, shelf.bags)
    return place.stop


def twins(train: Shelf, test: Shelf) -> tuple[Ints, Ints]:
    """The first training sequence of the same content, (S,), and how many there are, (S,)."""
    source, times = np.full(len(test.letters), NOWHERE), np.zeros(len(test.letters), np.int64)
    for found in lookups.found(train.exact, test.exact):
        source[found.owner], times[found.owner] = found.source, found.times
    return source, times


def overlaps(
    train: Entries, test: Entries, counts: Ints, kinds: Kinds, most: float, share: float
) -> tuple[Mask, Ints]:
    """Which sequences have enough of their runs in common with training, and one to show it.

    Args:
        train: the runs of training sequences.
        test: those of S others.
        counts: (S,) how many each of these has.
        kinds: of training sequences; see `birnn.data.lookups.repeats`.
        most: training sequences that a run may be in without being frequent.
        share: of its runs that a sequence has in common.
    """
    common, last = np.zeros(len(counts), np.int32), np.full(len(counts), -1, np.int32)
    source = np.full(len(counts), NOWHERE)
    for found in lookups.found(train, test, kinds):
        kept = found.times <= most
        owner, rank, known = found.owner[kept], found.rank[kept], found.source[kept]
        np.add.at(common, owner, 1)
        order = np.lexsort((rank, owner))
        ends = order[np.append(owner[order][1:] != owner[order][:-1], True)[: len(order)]]
        later = ends[rank[ends] > last[owner[ends]]]
        last[owner[later]], source[owner[later]] = rank[later], known[later]
    enough = pieces.computed(
        lambda some, every: (some > 0) & (some >= share * every), [common, counts], bool, None
    )
    return enough, source


def nearest_outlines(train: Shelf, test: Shelf) -> tuple[Ints, Ints]:
    """Find the most similar training sequence of numbers; see `near_copies.nearest`."""
    return near_copies.nearest(train.sketches, test.sketches)


def nearest_bags(train: Shelf, test: Shelf) -> tuple[Ints, Ints]:
    """Find the most similar training sequence that has a rare phrase in common; see `near_texts`.

    Returns:
        (S,) how many signs differ, more than `BITS` where none was found; and (S,) which one it is.
    """
    fewest, place = np.full(len(test.letters), BITS + 1), np.zeros(len(test.letters), np.int64)
    by = np.zeros(len(test.letters), np.int32)  # of which phrase of the sequence that is
    for found in lookups.found(train.rare, test.rare):
        apart = near_copies.differing(train.bags[found.source], test.bags[found.owner])
        order = np.lexsort((found.rank, apart, found.owner))
        owner = found.owner[order]
        begin = order[np.append(True, owner[1:] != owner[:-1])]
        owner, apart, rank = found.owner[begin], apart[begin], found.rank[begin]
        nearer = apart < fewest[owner]
        nearer |= (apart == fewest[owner]) & (rank < by[owner])
        at = owner[nearer]
        fewest[at], place[at], by[at] = apart[nearer], found.source[begin][nearer], rank[nearer]
        pieces.release(train.bags, test.bags)
    return fewest, place
