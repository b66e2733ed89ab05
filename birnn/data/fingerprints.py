"""Numbers by which sequences are compared without looking at every pair.

A sequence gets a number that only an equal sequence has, and numbers of some runs of its steps:
where two sequences have a long enough run in common, they have one of these numbers in common, at
whatever step the run begins (winnowing: Schleimer, Wilkerson and Aiken, SIGMOD 2003).

Steps that repeat the one before them are taken together, with their number, into one *letter*. So
silence, or a sensor that hangs, is one letter long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data.sequences import Sequences
from birnn.files import pieces
from birnn.files.hashing import Hashes, mixed

Ints = npt.NDArray[np.int64]

WINDOW = 8
"""Of this many runs that follow each other, at least one is kept; a power of two."""

ANGLES = 256
"""Parts of a circle. Numbers that were scaled again differ by rounding, a millionth of that."""

LONGEST_PERIOD, REPEATED = 8, 0.7
"""A run is periodic if so many of its letters equal the one that is a period before."""

_BLOCK, _BLOCK_STEPS = 1 << 21, 1 << 19  # numbers and steps handled at a time
_MULTIPLIER = np.uint64(0x5851F42D4C957F2D)  # odd; Knuth's of MMIX
_NONE = np.uint64(2**64 - 1)


class Letters(NamedTuple):
    """The letters of S sequences: `codes` (N,) uint64 and where each begins, `offsets` (S + 1,)."""

    codes: Hashes
    offsets: Ints


class Runs(NamedTuple):
    """Runs of letters: `codes` (R,) uint64, and the sequence that each is in, `owner` (R,)."""

    codes: Hashes
    owner: Ints


def blocks(split: Sequences) -> Iterator[tuple[slice, Ints]]:
    """Cut after whole sequences: some steps, and the offsets of the sequences in them."""
    offsets, width = split.offsets, split.values.shape[1] + (split.tokens is not None)
    for chosen, rows in pieces.whole(offsets, min(_BLOCK_STEPS, max(1, _BLOCK // width))):
        yield rows, offsets[chosen.start : chosen.stop + 1] - rows.start
        split.release()


def of_steps(split: Sequences, rows: slice | Ints, codes: Hashes | None) -> Hashes:
    """Hash what each of some steps holds, (N,) uint64.

    Args:
        split: the sequences.
        rows: which steps.
        codes: what each token counts as; see `Sequences.token_codes`.
    """
    total = np.uint64(0) if codes is None or split.tokens is None else codes[split.tokens[rows]]
    values = split.values[rows] + np.float32(0)  # makes -0.0 and 0.0 one number
    return mixed(of_numbers(values.view(np.uint32)) + total)


def of_numbers(rows: npt.NDArray[Any]) -> Hashes:
    """Hash each row of whole numbers, (N,) uint64."""
    total = np.zeros(len(rows), np.uint64)
    for column in range(rows.shape[1]):
        total += mixed(rows[:, column].astype(np.uint64) + np.uint64(column << 40))
    return total


def of_shapes(values: npt.NDArray[np.floating[Any]], steps: Hashes, bounds: Ints) -> Hashes:
    """Hash which way features go at each step, whatever their scale and offset, (N,) uint64.

    It is the angle between the last two changes of each feature, in `ANGLES` parts of a circle. The
    first two steps of a sequence have no such angle, and count as what they hold.

    Args:
        values: (N, F).
        steps: (N,) see `of_steps`.
        bounds: (S + 1,) where each sequence begins.
    """
    changes = np.diff(values.astype(np.float64), axis=0)
    turns = np.arctan2(changes[1:], changes[:-1]) * (ANGLES / (2 * np.pi))
    shapes = steps.copy()
    # Whole parts are in the middle of one, since changes that are equal, or none, are frequent.
    parts = np.where(np.isnan(turns), ANGLES, np.rint(turns) % ANGLES)  # a missing number is a part
    shapes[2:] = mixed(of_numbers(parts.astype(np.int64)) + np.uint64(1))
    for first in (bounds[:-1], bounds[:-1] + 1):
        first = first[first < len(steps)]
        shapes[first] = steps[first]
    return shapes


def exact(steps: Hashes, bounds: Ints) -> Hashes:
    """Hash each sequence's steps in their order, (S,) uint64."""
    position = np.arange(len(steps)) - np.repeat(bounds[:-1], np.diff(bounds))
    return np.add.reduceat(mixed(steps + mixed(position)), bounds[:-1])


def letters(steps: Hashes, bounds: Ints) -> Letters:
    """Take repeated steps together."""
    new = np.ones(len(steps), dtype=bool)
    new[1:] = steps[1:] != steps[:-1]
    new[bounds[:-1]] = True
    starts = np.flatnonzero(new)
    offsets = np.searchsorted(starts, bounds)
    if len(starts) == len(steps):
        return Letters(steps, offsets)
    times = np.diff(np.append(starts, len(steps)))
    return Letters(np.where(times > 1, mixed(steps[starts] + mixed(times)), steps[starts]), offsets)


def runs(text: Letters, length: int) -> Runs:
    """Hash some runs of `length` letters: of each `WINDOW` that follow each other, the least.

    A sequence with fewer runs than that gets one, and none if it is shorter than a run.
    """
    codes, offsets = text
    sizes = np.diff(offsets)
    ahead = np.repeat(offsets[1:], sizes) - np.arange(len(codes))  # letters up to the end
    telling = (ahead >= length) & ~_periodic(codes, length)
    least = hashes = np.where(telling, _rolled(codes, length), _NONE)
    for step in (1, 2, 4):
        least = np.minimum(least, np.append(least[step:], np.full(step, _NONE))[: len(least)])
    owner = np.repeat(np.arange(len(sizes)), sizes)
    whole = ahead >= length + WINDOW - 1
    few = (sizes >= length) & (sizes < length + WINDOW - 1)
    whole[offsets[:-1][few]] = True
    if few.any():
        least[offsets[:-1][few]] = np.minimum.reduceat(hashes, offsets[:-1])[few]
    least, owner = least[whole], owner[whole]
    new = least != _NONE
    new[1:] &= (least[1:] != least[:-1]) | (owner[1:] != owner[:-1])
    return Runs(least[new], owner[new])


def telling(text: Letters) -> Ints:
    """How many letters each sequence has, (S,); one, if it repeats itself all the time."""
    codes, offsets = text
    sizes = np.diff(offsets)
    periodic = np.zeros(len(sizes), dtype=bool)
    for period in range(2, LONGEST_PERIOD + 1):
        again, first = _repeated(codes, period), np.minimum(offsets[:-1] + period, offsets[1:])
        inside = offsets[1:] - first
        enough = inside >= max(period, 3)
        periodic |= enough & (again[offsets[1:]] - again[first] >= REPEATED * inside)
    return np.where(periodic, 1, sizes)


def _periodic(codes: Hashes, length: int) -> npt.NDArray[np.bool_]:
    """Which runs repeat themselves after a few letters, as ACACAC does: they tell little."""
    places = len(codes) - length + 1
    periodic = np.zeros(len(codes), dtype=bool)
    for period in range(2, min(LONGEST_PERIOD, length // 2) + 1 if places > 0 else 2):
        again = _repeated(codes, period)
        inside = length - period
        periodic[:places] |= again[length:] - again[period:-inside] >= REPEATED * inside
    return periodic


def _repeated(codes: Hashes, period: int) -> npt.NDArray[np.int32]:
    """How many of the letters before each place equal the one a period before them, (N + 1,)."""
    again = np.zeros(len(codes) + 1, np.int32)
    np.cumsum(codes[period:] == codes[:-period], out=again[period + 1 :])
    return again


def _rolled(codes: Hashes, length: int) -> Hashes:
    """Hash each run of `length` codes: a polynomial, by differences of its sums (Rabin, Karp)."""
    if len(codes) < length:
        return np.full(len(codes), _NONE)
    factors = np.full(len(codes), _MULTIPLIER)
    factors[0] = 1
    powers = np.multiply.accumulate(factors)
    factors[1:] = pow(int(_MULTIPLIER), -1, 2**64)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(codes * powers)])
    shifts = np.multiply.accumulate(factors)[: len(codes) - length + 1]
    rolled = mixed((sums[length:] - sums[:-length]) * shifts)
    return np.append(rolled, np.full(length - 1, _NONE))
