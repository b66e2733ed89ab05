"""Copies of training sequences among the test sequences, found without comparing every pair.

A sequence gets a number that only an equal sequence has, and a sketch from which one can tell how
much two sequences have in common: MinHash over short runs of tokens or rounded features (Broder
1997). Pairs to look at come from banding (Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, chapter 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.files.hashing import Hashes, mixed

BANDS, ROWS = 10, 6
SIMILAR = 0.7
"""Share of their runs that nearly equal sequences have in common. At 80 % a pair is found in 95 of
100 cases."""
RUN_OF_TOKENS = 3
RUN_OF_NUMBERS = 8
GRID = 0.5
"""Features are rounded to this many standard deviations: noise of a hundredth seldom shows."""
LEAST_NUMBERS = 8
LEAST_RUNS = 4
"""Shorter sequences may be equal (numbers) or nearly equal (runs) by chance."""

_BLOCK = 1 << 22  # numbers handled at a time

Mask = npt.NDArray[np.bool_]


class Fingerprints(NamedTuple):
    """What is compared of S sequences.

    Attributes:
        exact: (S,) equal for sequences of the same content.
        sketch: (S, 60) uint16; two sequences agree in about as many columns as they share runs.
        numbers: (S,) steps times features.
        run: how many numbers make a run.
    """

    exact: Hashes
    sketch: npt.NDArray[np.uint16]
    numbers: npt.NDArray[np.int64]
    run: int


class Copies(NamedTuple):
    """What training has seen of S test sequences.

    Attributes:
        repeated: (S,) the very same content; short sequences coincide by chance.
        copied: (S,) the same or nearly the same, and too long for that to be chance.
    """

    repeated: Mask
    copied: Mask


def of(
    values: npt.NDArray[Any],
    offsets: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.integer[Any]] | None = None,
    codes: Hashes | None = None,
) -> Fingerprints:
    """Take the fingerprints of sequences.

    Args:
        values: (N, F) features with a standard deviation of about one; F may be 0 beside tokens.
        offsets: (S + 1,) where each sequence begins and ends; none is empty.
        tokens: (N,) the token of each step, if there are any.
        codes: what each of them counts as; without it, they count as the numbers that they are.
    """
    width = values.shape[1] + (tokens is not None)
    steps = -(-RUN_OF_NUMBERS // width) if tokens is None else RUN_OF_TOKENS
    parts = []
    for rows, bounds in _blocks(offsets, max(1, _BLOCK // width)):
        words = _words(tokens, codes, rows)
        plain = values[rows] + 0  # makes -0.0 and 0.0 one number
        exact = _exact(_codes(plain.view(f"i{plain.itemsize}")) + words, bounds)
        parts.append((exact, _sketch(_codes(np.floor(plain / GRID)) + words, bounds, steps)))
    exact, sketch = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Fingerprints(exact, sketch, np.diff(offsets) * width, steps * width)


def copies(train: Fingerprints, test: Fingerprints) -> Copies:
    """Find test sequences that occur in train.

    Short sequences coincide by chance, within train as across the splits. So a match counts as a
    copy only if the sequence is more than twice as long as any that has a twin within train.
    """
    repeated = np.isin(test.exact, train.exact)
    copied = repeated & _unnatural(train, test, _equal_twins(train), LEAST_NUMBERS)
    alike = _alike(train, test) & _unnatural(train, test, _twins(train), LEAST_RUNS * test.run)
    return Copies(repeated, copied | alike)


def _unnatural(train: Fingerprints, test: Fingerprints, twins: Mask, least: int) -> Mask:
    natural = train.numbers[twins].max(initial=0)
    unnatural: Mask = (test.numbers > 2 * natural) & (test.numbers >= least)
    return unnatural


def _equal_twins(train: Fingerprints) -> Mask:
    _, place, count = np.unique(train.exact, return_inverse=True, return_counts=True)
    twins: Mask = count[place] > 1
    return twins


def _twins(train: Fingerprints) -> Mask:
    twins = np.zeros(len(train.exact), dtype=bool)
    for keys in _keys(train.sketch):
        order = np.argsort(keys)
        pairs = _similar(train.sketch[order[1:]], train.sketch[order[:-1]])
        twins[order[1:][pairs]] = twins[order[:-1][pairs]] = True
    return twins


def _alike(train: Fingerprints, test: Fingerprints) -> Mask:
    alike = np.zeros(len(test.exact), dtype=bool)
    for keys, wanted in zip(_keys(train.sketch), _keys(test.sketch), strict=True):
        order = np.argsort(keys)
        place = np.searchsorted(keys, wanted, sorter=order)
        found = order[np.minimum(place, len(keys) - 1)]
        alike |= _similar(train.sketch[found], test.sketch)
    return alike


def _keys(sketch: npt.NDArray[np.uint16]) -> Iterator[Hashes]:
    """Hash each band of the sketch, (S,) at a time."""
    for band in np.split(sketch, BANDS, axis=1):
        yield _codes(band)


def _similar(one: npt.NDArray[np.uint16], other: npt.NDArray[np.uint16]) -> Mask:
    similar: Mask = (one == other).mean(axis=1) >= SIMILAR
    return similar


def _blocks(
    offsets: npt.NDArray[np.int64], steps: int
) -> Iterator[tuple[slice, npt.NDArray[np.int64]]]:
    """Cut after whole sequences: some rows, and the offsets of the sequences in them."""
    cuts = np.searchsorted(offsets, np.arange(0, offsets[-1], steps))
    for first, last in zip(cuts, [*cuts[1:], len(offsets) - 1], strict=True):
        if first < last:
            bounds = offsets[first : last + 1]
            yield slice(bounds[0], bounds[-1]), bounds - bounds[0]


def _words(
    tokens: npt.NDArray[np.integer[Any]] | None, codes: Hashes | None, rows: slice
) -> Hashes | np.uint64:
    """Hash the token of each step; 0 where there are none."""
    if tokens is None:
        return np.uint64(0)
    # Once more than positions and features, with which they are added up.
    return mixed(_codes(tokens[rows] if codes is None else codes[tokens[rows]]))


def _exact(codes: Hashes, bounds: npt.NDArray[np.int64]) -> Hashes:
    position = np.arange(len(codes)) - np.repeat(bounds[:-1], np.diff(bounds))
    return np.add.reduceat(mixed(codes + mixed(position)), bounds[:-1])


def _sketch(codes: Hashes, bounds: npt.NDArray[np.int64], steps: int) -> npt.NDArray[np.uint16]:
    runs = _runs(codes, bounds, steps)
    odd = np.random.default_rng(0).integers(2**63, size=BANDS * ROWS, dtype=np.uint64) * 2 + 1
    least = [mixed(np.minimum.reduceat(runs * factor, bounds[:-1])) for factor in odd]
    return np.stack(least, axis=1).astype(np.uint16)


def _runs(codes: Hashes, bounds: npt.NDArray[np.int64], steps: int) -> Hashes:
    """Hash each step with those after it, up to the end of its sequence."""
    left = np.repeat(bounds[1:], np.diff(bounds)) - np.arange(len(codes))
    runs = mixed(codes)
    for ahead in range(1, steps):
        after = np.where(ahead < left, np.roll(codes, -ahead), 0)
        runs = mixed(runs + after)
    return runs


def _codes(rows: npt.NDArray[Any]) -> Hashes:
    """Hash each row of whole numbers."""
    numbers = rows.astype(np.int64).reshape(len(rows), -1)
    column = mixed(np.arange(numbers.shape[1]))
    total: Hashes = mixed(numbers.view(np.uint64) + column).sum(axis=1, dtype=np.uint64)
    return total
