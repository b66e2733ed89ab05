"""Numbers of sequences that are looked up among those of others, where all are too many to hold.

entries = Entries(Path("report"), len(split))
for codes, owner in blocks: entries.take(codes, owner)
for found in lookups.found(known, asked): found.owner, found.source

Each block is put on disk in the order of its numbers. Then all numbers up to some limit are taken
from every block, and those up to the next (as in a hash join by partitions: Kitsuregawa and others,
New Generation Computing 1983). A number may occur any number of times.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data.fingerprints import Ints
from birnn.files import pieces, spools
from birnn.files.hashing import Hashes

NOWHERE = -1
ALONE, FIRST, AGAIN = 0, 1, 2


class Block(NamedTuple):
    """Some entries in the order of their numbers, and of equal ones in that of the sequences.

    Attributes:
        codes: (E,) the numbers.
        owner: (E,) the sequence of each.
        rank: (E,) its place among those of the sequence.
    """

    codes: Hashes
    owner: npt.NDArray[np.integer[Any]]
    rank: npt.NDArray[np.int32]


class Entries:
    """Numbers that sequences have, each with its sequence and its place among those."""

    def __init__(self, folder: Path | None, sequences: int) -> None:
        self.kind = np.min_scalar_type(max(sequences - 1, 0))
        self._spools = [spools.Numbers.beside(folder) for _ in Block._fields]
        self._ends = [0]
        self._all: Block | None = None

    def take(self, codes: Hashes, owner: Ints) -> None:
        """Put those of a block on disk; owners rise."""
        order = np.argsort(codes, kind="stable")
        rank = (np.arange(len(owner)) - np.searchsorted(owner, owner)).astype(np.int32)
        columns = list[npt.NDArray[Any]]([codes, owner.astype(self.kind), rank])
        for spool, column in zip(self._spools, columns, strict=True):
            spool.take(column[order])
        self._ends.append(self._ends[-1] + len(codes))

    @property
    def whole(self) -> Block:
        """All blocks, one behind the other; nothing more can be taken."""
        if self._all is None:
            codes, owner, rank = self._spools
            self._all = Block(codes.array(np.uint64), owner.array(self.kind), rank.array(np.int32))
        return self._all

    def limits(self) -> Hashes:
        """Numbers, in order, between two of which few different ones lie, or `pieces.ROWS` all."""
        every, parts = max(1, pieces.ROWS // pieces.SAMPLED), []
        for start, end in zip(self._ends[:-1], self._ends[1:], strict=True):
            parts.append(self.whole.codes[start:end:every])
        pieces.release(self.whole.codes)
        sample = np.sort(np.concatenate([np.zeros(0, np.uint64), *parts]))
        return np.unique(sample[:: pieces.SAMPLED])

    def between(self, limits: Hashes) -> Iterator[list[slice]]:
        """Say where in each block numbers from one limit up to the next are."""
        cuts = []
        for start, end in zip(self._ends[:-1], self._ends[1:], strict=True):
            places = start + np.searchsorted(self.whole.codes[start:end], limits)
            cuts.append(np.append(places, end))
        for number in range(len(limits)):
            yield [slice(int(cut[number]), int(cut[number + 1])) for cut in cuts]

    def at(self, places: list[slice]) -> Iterator[Block]:
        """Give the entries at some places, block by block."""
        for some in places:
            if some.start < some.stop:
                codes, owner, rank = self.whole
                yield Block(codes[some], owner[some], rank[some])
                pieces.release(*self.whole)


class Found(NamedTuple):
    """Entries of which the number is known.

    Attributes:
        owner: (E,) the sequence that has it.
        rank: (E,) see `Block`.
        source: (E,) the first of the known sequences that have it.
        times: (E,) how many do.
    """

    owner: npt.NDArray[np.integer[Any]]
    rank: npt.NDArray[np.int32]
    source: Ints
    times: Ints


def found(
    known: Entries, asked: Entries, kinds: npt.NDArray[np.uint8] | None = None
) -> Iterator[Found]:
    """Look entries up, some at a time.

    Args:
        known: where.
        asked: which.
        kinds: (S,) of the known sequences, as `repeats` says: those that repeat an earlier one do
            not count.
    """
    limits = asked.limits()
    for ours, theirs in zip(asked.between(limits), known.between(limits), strict=True):
        sought = np.unique(np.concatenate([_different(some.codes) for some in asked.at(ours)]))
        source, times = np.full(len(sought), NOWHERE), np.zeros(len(sought), np.int64)
        for some in known.at(theirs):
            _count(some, sought, source, times, kinds)
            if kinds is not None:
                pieces.release(kinds)
        for some in asked.at(ours):
            at = np.searchsorted(sought, some.codes)
            hit = times[at] > 0
            if hit.any():
                at = at[hit]
                yield Found(some.owner[hit], some.rank[hit], source[at], times[at])


def _different(ordered: Hashes) -> Hashes:
    found: Hashes = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return found


def _count(
    some: Block, sought: Hashes, source: Ints, times: Ints, kinds: npt.NDArray[np.uint8] | None
) -> None:
    """Add how many sequences of a block have each sought number, and note the first that has it."""
    at = np.minimum(np.searchsorted(sought, some.codes), len(sought) - 1)
    hit = np.flatnonzero(sought[at] == some.codes)
    at, owner = at[hit], some.owner[hit]
    if kinds is not None:
        kept = kinds[owner] != AGAIN
        at, owner = at[kept], owner[kept]
    if not len(at):
        return
    once = np.append(True, (at[1:] != at[:-1]) | (owner[1:] != owner[:-1]))
    at, owner = at[once], owner[once]
    times += np.bincount(at, minlength=len(times))
    new = np.append(True, at[1:] != at[:-1]) & (source[at] == NOWHERE)
    source[at[new]] = owner[new]


def repeats(entries: Entries, sequences: int, folder: Path | None) -> npt.NDArray[np.uint8]:
    """Say of sequences with a number each whether it is `ALONE`, `FIRST` of equals, or `AGAIN`.

    Returns:
        (S,) uint8, on disk where there is a folder.
    """
    kind = pieces.empty((sequences,), np.uint8, folder)
    for some in found(entries, entries):
        again = np.where(some.source == some.owner, np.where(some.times > 1, FIRST, ALONE), AGAIN)
        kind[some.owner] = again
        pieces.release(kind)
    return kind
