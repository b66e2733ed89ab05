"""Hashes of 64 bits for many names at once, and a memory of them that is small.

Two of n different names share a hash with a chance of about n^2 / 2^65: three in a million for ten
million names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.unsignedinteger[Any]]
LONGEST_RUN = 1 << 22


def mixed(numbers: npt.NDArray[Any]) -> Hashes:
    """Scatter 64 bits: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    bits = numbers.astype(np.uint64)  # a copy, which the rest changes in place: half the time
    bits += np.uint64(0x9E3779B97F4A7C15)
    shifted = np.empty_like(bits)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits ^= np.right_shift(bits, np.uint64(shift), out=shifted)
        bits *= np.uint64(factor)
    bits ^= np.right_shift(bits, np.uint64(31), out=shifted)
    return bits


def of_text(column: pa.StringArray) -> Hashes:
    """Hash strings by their bytes: tabulation hashing, with a computed table.

    Args:
        column: S strings without nulls.

    Returns:
        (S,) uint64, of equal strings the same.
    """
    bounds = np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1]
    letters = np.frombuffer(column.buffers()[2] or b"", np.uint8)[bounds[0] : bounds[-1]]
    lengths = np.diff(bounds)
    position = np.arange(len(letters)) - np.repeat(bounds[:-1] - bounds[0], lengths)
    return of_rows(mixed((position << 8) + letters), lengths)


def of_rows(rows: Hashes, lengths: npt.NDArray[np.integer[Any]]) -> Hashes:
    """Add up the hashes of consecutive rows: (S,) sums of `lengths` rows each, some of none."""
    sums = np.zeros(len(lengths), dtype=np.uint64)
    filled = lengths > 0
    if filled.any():
        starts = np.cumsum(lengths) - lengths
        sums[filled] = np.add.reduceat(rows, starts[filled])
    return sums


class Seen:
    """The keys that have come by, each with the number that came with it first.

    Keys are kept in sorted runs, which are merged when they are of about one size, so that memory
    is that of keys and numbers, and each is moved a few times only (O'Neil et al. 1996).
    """

    def __init__(self) -> None:
        self.runs: list[tuple[Hashes, Numbers]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self.runs)

    def add(
        self, keys: Hashes, numbers: Numbers | None = None
    ) -> tuple[npt.NDArray[np.bool_], Numbers]:
        """Look keys up, and keep those that are new.

        Args:
            keys: (N,) hashes.
            numbers: (N,) what to keep with each; a zero of one byte where None.

        Returns:
            (N,) whether the key came by before, in an earlier call or earlier in this one; and (N,)
            the number that came with it first, which is its own where it is new.
        """
        if numbers is None:
            numbers = np.zeros(len(keys), dtype=np.uint8)
        order = np.argsort(keys, kind="stable")
        keys, numbers = keys[order], numbers[order]
        heads = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
        known, first = self._look_up(keys[heads], numbers[heads])
        sizes = np.diff(np.append(heads, len(keys)))
        again = np.repeat(known, sizes)
        again[np.setdiff1d(np.arange(len(keys)), heads, assume_unique=True)] = True
        self._keep(keys[heads][~known], first[~known])
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return again[back], np.repeat(first, sizes)[back]

    def _look_up(self, keys: Hashes, numbers: Numbers) -> tuple[npt.NDArray[np.bool_], Numbers]:
        known, first = np.zeros(len(keys), dtype=bool), numbers.copy()
        for run, kept in self.runs:
            place = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            found = run[place] == keys
            known |= found
            first[found] = kept[place[found]]
        return known, first

    def _keep(self, keys: Hashes, numbers: Numbers) -> None:
        while self.runs and len(self.runs[-1][0]) <= len(keys) < LONGEST_RUN:
            run, kept = self.runs.pop()
            keys, numbers = np.concatenate([run, keys]), np.concatenate([kept, numbers])
            order = np.argsort(keys, kind="stable")
            keys, numbers = keys[order], numbers[order]
        if len(keys):
            self.runs.append((keys, numbers))
