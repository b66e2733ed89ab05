"""How likely it is that two independent sequences have a run of letters in common.

Measured on random pairs of training sequences: the longest common run of each pair, and how often a
common run of one letter goes on to two, and so on. Beyond what common phrases and heads make
frequent, the chance falls by that factor with each letter (Karlin and Altschul, PNAS 1990; Arratia
and Waterman, Annals of Probability 1985).

Copies among the training sequences would make this look like nature. But a sequence has only some
copies or neighbours among all others, so the fifth of the pairs with the longest run in common is
left out: in the others, copies are too few to count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from birnn.data import fingerprints
from birnn.data.fingerprints import Ints, Letters
from birnn.data.sequences import Sequences
from birnn.files.hashing import Hashes

PAIRS = 1000
STEPS = 64  # of each sequence, from a random one on
LEFT_OUT = 0.2
ENOUGH = 100  # runs, to see how many go on
NO_MATCH = 3
"""Matches that there may be on average where none is seen, with 95 % confidence (rule of three)."""
GRID = 1e-3
"""Changes from step to step are compared to this part of their spread, for rounding."""
RARE = 0.01
"""Coincidences expected among all that is compared: where there are fewer, one is no chance."""

Window = tuple[Ints, Ints]  # steps of some sequences, and where each begins among them


@dataclass(frozen=True, slots=True)
class Chance:
    """That independent sequences have letters in common.

    Attributes:
        following: that the next letters are equal where these are.
        usual: letters of the longest run that many pairs have in common.
        longer: that a longer one begins at a pair of places, at most.
    """

    following: float
    usual: int
    longer: float

    @property
    def discrete(self) -> bool:
        """Whether letters coincide at all: then some runs may be frequent by nature."""
        return self.usual > 0

    def rare(self, letters: Ints, pairs: float) -> npt.NDArray[np.bool_]:
        """Whether common runs of so many letters are no chance among so many pairs of places."""
        beyond = np.maximum(letters - self.usual, 0)
        expected = pairs * self.longer * self.following ** np.maximum(beyond - 1.0, 0)
        return np.asarray((beyond > 0) & (expected < RARE))


def pairs(sequences: int, number: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw pairs of different sequences, by their places."""
    one = rng.integers(sequences, size=number)
    return one, (one + rng.integers(1, sequences, number)) % sequences


def measure(train: Sequences, codes: Hashes | None, *, shapes: bool = False) -> Chance:
    """Measure it on a sample.

    Args:
        train: the training sequences.
        codes: what each token counts as.
        shapes: whether letters are the shapes of `fingerprints.of_shapes`, not what steps hold.
    """
    if len(train) < 2:
        return Chance(1.0, STEPS, 1.0)
    rng = np.random.default_rng(0)
    windows = [_windows(train.offsets, side, rng) for side in pairs(len(train), PAIRS, rng)]
    common, places = _common(
        fingerprints.letters(_letters_of(train, rows, bounds, codes, shapes), bounds)
        for rows, bounds in windows
    )
    kept = _without_longest(common)
    first = max(int(common[kept, 0].sum()), NO_MATCH) / int(places[kept].sum())
    following = max(first, _going_on(common))
    if codes is None and not shapes:
        moved, of = _common(_changes(train, windows))
        usual = _without_longest(moved)
        following = max(
            following, max(int(moved[usual, 0].sum()), NO_MATCH) / max(int(of[usual].sum()), 1)
        )
    longest = int(np.count_nonzero(common[kept].any(axis=0)))
    return Chance(min(following, 1.0), longest, LEFT_OUT / max(float(places.mean()), 1.0))


def _letters_of(
    train: Sequences, rows: Ints, bounds: Ints, codes: Hashes | None, shapes: bool
) -> Hashes:
    steps = fingerprints.of_steps(train, rows, codes)
    return fingerprints.of_shapes(train.values[rows], steps, bounds) if shapes else steps


def _without_longest(common: Ints) -> Ints:
    """The pairs that are kept."""
    longest = (common > 0).sum(axis=1)
    kept: Ints = np.lexsort((common[:, 0], longest))[: PAIRS - int(LEFT_OUT * PAIRS)]
    return kept


def _going_on(common: Ints) -> float:
    """The share of common runs that are one letter longer; the highest of the first lengths.

    Runs of exactly so many letters, so that a long common phrase counts for nothing.
    """
    places = common.sum(axis=0)
    runs = places[:-1] - places[1:]  # of so many letters or more
    exact = runs[:-1] - runs[1:]
    shares = [max(exact[n + 1], NO_MATCH) / exact[n] for n in range(3) if exact[n] >= ENOUGH]
    return float(max(shares, default=0.0))


def _windows(offsets: Ints, chosen: Ints, rng: np.random.Generator) -> Window:
    """Some steps of each chosen sequence, from a random one on."""
    lengths = offsets[chosen + 1] - offsets[chosen]
    taken = np.minimum(lengths, STEPS)
    starts = offsets[chosen] + rng.integers(lengths - taken + 1)
    bounds = np.concatenate([[0], np.cumsum(taken)])
    return np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], taken), bounds


def _changes(train: Sequences, windows: list[Window]) -> Iterator[Letters]:
    """Hash how the features change from each step to the next.

    Where whole numbers are equal at one step, they are so at the next if they change equally; this
    is seen also where equal steps are too rare to see it in what follows them.
    """
    values = [train.values[rows].astype(np.float64) for rows, _ in windows]
    spread = np.maximum(np.concatenate(values).std(axis=0), np.finfo(np.float64).tiny)
    for steps, (_, bounds) in zip(values, windows, strict=True):
        inside = np.ones(len(steps), dtype=bool)
        inside[bounds[:-1]] = False
        moved = np.rint(np.diff(steps, axis=0) / (GRID * spread)).astype(np.int64)
        codes = fingerprints.of_numbers(moved.view(np.uint64))[inside[1:]]
        yield Letters(codes, np.concatenate([[0], np.cumsum(np.diff(bounds) - 1)]))


def _common(texts: Iterable[Letters]) -> tuple[Ints, Ints]:
    """Count common runs of each length.

    Returns:
        (PAIRS, STEPS) places at which a common run of 1, 2, ... letters begins; and (PAIRS,) how
        many pairs of places were compared.
    """
    one, other = texts
    left, right = _padded(one, 0), _padded(other, 1)
    counts = np.zeros((PAIRS, STEPS), np.int64)
    for start in range(0, PAIRS, 100):
        part = slice(start, start + 100)
        equal = left[part, :, np.newaxis] == right[part, np.newaxis, :]
        going = equal
        for length in range(STEPS):
            counts[part, length] = np.count_nonzero(going, axis=(1, 2))
            if not counts[part, length].any():
                break
            going = going[:, :-1, :-1] & equal[:, length + 1 :, length + 1 :]
    return counts, np.diff(one.offsets) * np.diff(other.offsets)


def _padded(text: Letters, side: int) -> Hashes:
    """(PAIRS, STEPS) letters, and behind them a number that the other side does not have."""
    sizes = np.diff(text.offsets)
    padded = np.full((PAIRS, STEPS), side, np.uint64)
    padded[np.arange(STEPS) < sizes[:, np.newaxis]] = text.codes
    return padded
