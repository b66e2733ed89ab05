"""Which test sequences training has seen: copies, overlapping windows, near copies.

    known = copies.remember(train)
    found = copies.find(known, test)
    found.seen.sum(), found.expected

What counts as seen follows from what is in the sequences, not from how often they repeat: a match
counts where, at the rate at which letters of independent sequences coincide, not even a hundredth
of one would be expected among all pairs; see `birnn.data.chance`. So short sentences may repeat,
and a dozen real numbers may not.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data import chance, fingerprints, near_copies
from birnn.data.chance import Chance
from birnn.data.fingerprints import Ints, Runs
from birnn.data.near_copies import Natural, Sketches
from birnn.data.sequences import Sequences
from birnn.files.hashing import Hashes

SHARE = 1 / 3
"""Of a sequence's runs that an overlap has in common with training. Windows that overlap by half
with one that was trained on have nearly half of them in common."""
LEAST_NUMBERS = 8  # fewer are equal by chance
SHORTEST_RUN, LONGEST_RUN = 4, 64  # letters
FREQUENT = 10
"""Sequences in which a run may occur without being frequent."""
FREQUENT_SHARE, FREQUENT_SHARE_OF_REAL = 0.02, 0.25
"""Share of the sequences in which a run is frequent by nature: a common phrase, or the head of a
protocol. Runs of real numbers are so only where they occur nearly everywhere."""

Mask = npt.NDArray[np.bool_]


class Known(NamedTuple):
    """What is remembered of training sequences, to know them again.

    Attributes:
        chance: how likely independent sequences coincide.
        run: letters of a run; 0 where no run is long enough to be no chance.
        factor: (F,) see `birnn.data.near_copies.regression`.
        natural: how far independent sequences are apart.
        exact: (S,) a number of each sequence's content.
        letters: (S,) of each; one, if the others follow from those before them.
        numbers: (S,) steps times features, or tokens.
        runs: (R,) different numbers of runs, in order, but for the frequent ones.
        owner: (R,) a sequence with that run.
        sketches: what near copies are found by.
    """

    chance: Chance
    run: int
    factor: npt.NDArray[np.float32]
    natural: Natural
    exact: Hashes
    letters: Ints
    numbers: Ints
    runs: Hashes
    owner: Ints
    sketches: Sketches

    def write(self, path: Path) -> None:
        """Keep it in a file."""
        parts = self._asdict() | {"chance": np.array(astuple(self.chance))}
        for name in ("natural", "sketches"):
            parts |= parts.pop(name)._asdict()
        np.savez(path, **parts)

    @classmethod
    def read(cls, path: Path) -> Known:
        """Read what `write` has kept."""
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Any] = dict(file)
        following, usual, longer = found["chance"].tolist()
        found["chance"], found["run"] = Chance(following, int(usual), longer), int(found["run"])
        found["natural"] = Natural(*(found[name] for name in Natural._fields))
        found["sketches"] = Sketches(*(found[name] for name in Sketches._fields))
        return cls(*(found[name] for name in cls._fields))


@dataclass(frozen=True, slots=True)
class Copies:
    """What training has seen of S test sequences.

    Attributes:
        repeated: (S,) the very same content.
        exact: (S,) of these, which are no chance.
        overlap: (S,) of the others, those that share long runs of steps with training sequences.
        near: (S,) of the others, those that are equal but for noise, an offset or a scale.
        source: (S,) place of a training sequence that shows it; -1 without.
        expected: how many are expected to be repeated by chance.
    """

    repeated: Mask
    exact: Mask
    overlap: Mask
    near: Mask
    source: Ints
    expected: float

    @property
    def seen(self) -> Mask:
        """(S,) exactly, in parts or nearly, and not by chance."""
        seen: Mask = self.exact | self.overlap | self.near
        return seen


class _Prints(NamedTuple):
    """What is taken of each of S sequences."""

    exact: Hashes
    letters: Ints
    numbers: Ints
    runs: Runs
    sketches: Sketches


def remember(train: Sequences) -> Known:
    """Take what is needed to know training sequences again."""
    likely = chance.measure(train, train.token_codes())
    lengths = np.arange(SHORTEST_RUN, LONGEST_RUN + 1)
    rare = likely.rare(lengths, float(train.offsets[-1]) ** 2)
    run = int(lengths[rare][0]) if rare.any() else 0
    factor = near_copies.regression(train)
    prints = _prints(train, run, factor)
    runs, owner = _telling(prints, likely)
    natural = near_copies.natural(train, factor)
    return Known(
        likely,
        run,
        factor,
        natural,
        prints.exact,
        prints.letters,
        prints.numbers,
        runs,
        owner,
        prints.sketches,
    )


def _prints(split: Sequences, run: int, factor: npt.NDArray[np.float32]) -> _Prints:
    """Look once at every step."""
    codes, first, parts = split.token_codes(), 0, []
    for rows, bounds in fingerprints.blocks(split):
        steps = fingerprints.of_steps(split, rows, codes)
        text = fingerprints.letters(steps, bounds)
        runs = fingerprints.runs(text, run) if run else Runs(steps[:0], bounds[:0])
        values = split.values[rows] if codes is None else split.values[rows, :0]  # of numbers alone
        sketches = near_copies.sketch(values, bounds, factor)
        parts.append(
            (
                fingerprints.exact(steps, bounds),
                fingerprints.telling(text),
                runs.codes,
                runs.owner + first,
                sketches.signs,
                sketches.lengths,
            )
        )
        first += len(bounds) - 1
    exact, letters, hashes, owner, signs, lengths = map(np.concatenate, zip(*parts, strict=True))
    numbers = split.lengths * (split.values.shape[1] + (codes is not None))
    return _Prints(exact, letters, numbers, Runs(hashes, owner), Sketches(signs, lengths))


def _telling(prints: _Prints, likely: Chance) -> tuple[Hashes, Ints]:
    """The runs that are not frequent, each once and in order, and a sequence that has it."""
    _, first = np.unique(prints.exact, return_index=True)
    different = np.zeros(len(prints.exact), dtype=bool)
    different[first] = True
    kept = different[prints.runs.owner]
    codes, owner = prints.runs.codes[kept], prints.runs.owner[kept]
    order = np.lexsort((owner, codes))
    codes, owner = codes[order], owner[order]
    once = np.ones(len(codes), dtype=bool)  # of each sequence
    once[1:] = (codes[1:] != codes[:-1]) | (owner[1:] != owner[:-1])
    runs, place, times = np.unique(codes[once], return_index=True, return_counts=True)
    telling = times <= _frequent(likely, len(first))
    return runs[telling], owner[once][place[telling]]


def find(known: Known, test: Sequences) -> Copies:
    """Find the sequences that are no chance, and those that are repeated whether chance or not."""
    prints = _prints(test, known.run, known.factor)
    pairs = float(len(known.exact)) * len(test)
    rare = _rare(known.chance, prints.letters, prints.numbers, pairs)
    repeated, twin, frequent = _twins(known, prints.exact)
    parts, neighbour = _overlaps(known, prints.runs, len(test))
    fewest, nearest = near_copies.nearest(known.sketches, prints.sketches)
    alike = fewest <= known.natural.limit(test.lengths, pairs)
    exact = repeated & rare & ~frequent
    overlap = parts & rare & ~repeated
    near = alike & rare & ~repeated & ~overlap
    source = np.select([exact, overlap, near], [twin, neighbour, nearest], -1)
    usual = ~_rare(known.chance, known.letters, known.numbers, pairs)
    expected = _expected(known.exact[usual], int(np.count_nonzero(~rare)))
    return Copies(repeated, exact, overlap, near, source, expected)


def _rare(likely: Chance, letters: Ints, numbers: Ints, pairs: float) -> Mask:
    """Which sequences are no chance if they are repeated."""
    return likely.rare(letters, pairs) & (numbers >= LEAST_NUMBERS) & (letters > 1)


def _twins(known: Known, wanted: Hashes) -> tuple[Mask, Ints, Mask]:
    """Which sequences are known, where, and which of them so often that it is their nature."""
    contents, first, times = np.unique(known.exact, return_index=True, return_counts=True)
    at = np.minimum(np.searchsorted(contents, wanted), len(contents) - 1)
    often = times[at] > _frequent(known.chance, len(known.exact))
    return contents[at] == wanted, first[at], often & known.chance.discrete


def _frequent(likely: Chance, sequences: int) -> float:
    """In how many sequences something may occur without being frequent by nature."""
    share = FREQUENT_SHARE if likely.discrete else FREQUENT_SHARE_OF_REAL
    return max(FREQUENT, share * sequences)


def _overlaps(known: Known, runs: Runs, sequences: int) -> tuple[Mask, Ints]:
    """Which sequences have enough of their runs in common with training, and one to show it."""
    source = np.full(sequences, -1)
    if not len(known.runs):
        return source >= 0, source
    at = np.minimum(np.searchsorted(known.runs, runs.codes), len(known.runs) - 1)
    found = known.runs[at] == runs.codes
    source[runs.owner[found]] = known.owner[at[found]]
    common = np.bincount(runs.owner[found], minlength=sequences)
    everything = np.bincount(runs.owner, minlength=sequences)
    return (common > 0) & (common >= SHARE * everything), source


def _expected(usual: Hashes, others: int) -> float:
    """How many of so many others are repeated if they are as the usual training sequences are."""
    _, place, times = np.unique(usual, return_inverse=True, return_counts=True)
    return others * float((times[place] > 1).mean()) if len(place) else 0.0
