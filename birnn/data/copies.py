"""Which test sequences training has seen: copies, overlapping windows, near copies.

    known = copies.remember(train)
    found = copies.find(known, test)
    found.seen.sum(), found.expected
    found, other = copies.compare(train, [test, validation])    # the same, and nothing is kept

Windows that overlap are found by what their steps hold and, where each was scaled on its own, by
which way numbers go from step to step.

What counts as seen follows from what is in the sequences, not from how often they repeat: a match
counts where, at the rate at which letters of independent sequences coincide, not even a hundredth
of one would be expected among all pairs; see `birnn.data.chance`. So short sentences may repeat,
and a dozen real numbers may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data import chance, fingerprints, lookups, near_copies, near_texts, prints, shelves
from birnn.data.chance import Chance
from birnn.data.fingerprints import Ints, Letters, Runs
from birnn.data.near_copies import LEAST_NUMBERS, Natural, Sketches
from birnn.data.near_texts import Rare, Texts
from birnn.data.prints import Look
from birnn.data.sequences import Sequences
from birnn.data.shelves import Shelf
from birnn.files import pieces
from birnn.files.hashing import Hashes

SHARE = 1 / 3
"""Of a sequence's runs that an overlap has in common with training. Windows that overlap by half
with one that was trained on have nearly half of them in common."""
SHORTEST_RUN, LONGEST_RUN = 4, 64  # letters
SAMPLE = 4000  # sequences or more, by which phrases are judged
FREQUENT = 10
"""Sequences in which a run may occur without being frequent."""
FREQUENT_SHARE, FREQUENT_SHARE_OF_REAL = 0.02, 0.25
"""Share of the sequences in which a run is frequent by nature: a common phrase, or the head of a
protocol. Runs of real numbers are so only where they occur nearly everywhere."""

Mask = npt.NDArray[np.bool_]


class Reading(NamedTuple):
    """The runs of training sequences, where their steps are read as letters in one way.

    Attributes:
        chance: how likely independent sequences coincide.
        run: letters of a run; 0 where no run is long enough to be no chance.
        runs: (R,) different numbers of runs, in order, but for the frequent ones.
        owner: (R,) a sequence with that run.
    """

    chance: Chance
    run: int
    runs: Hashes
    owner: Ints

    def arrays(self) -> dict[str, Any]:
        """Give what a file can hold."""
        return self._asdict() | {"chance": np.array(astuple(self.chance))}

    @classmethod
    def of_arrays(cls, found: Mapping[str, Any]) -> Reading:
        """Take it back."""
        following, usual, longer = found["chance"].tolist()
        likely = Chance(following, int(usual), longer)
        return cls(likely, int(found["run"]), found["runs"], found["owner"])


NO_READING = Reading(Chance(1.0, 0, 1.0), 0, np.zeros(0, np.uint64), np.zeros(0, np.int64))


class Known(NamedTuple):
    """What is remembered of training sequences, to know them again.

    Attributes:
        steps: their runs by what steps hold.
        shapes: by which way numbers go; see `birnn.data.fingerprints.of_shapes`.
        factor: (F,) see `birnn.data.near_copies.regression`.
        natural: how far independent sequences of numbers are apart.
        exact: (S,) a number of each sequence's content.
        letters: (S,) of each; one, if the others follow from those before them.
        numbers: (S,) steps times features, or tokens.
        sketches: what near copies of numbers are found by.
        texts: what near copies of tokens are found by.
    """

    steps: Reading
    shapes: Reading
    factor: npt.NDArray[np.float32]
    natural: Natural
    exact: Hashes
    letters: Ints
    numbers: Ints
    sketches: Sketches
    texts: Texts

    def write(self, path: Path) -> None:
        """Keep it in a file."""
        parts = self._asdict()
        for name in ("natural", "sketches"):
            parts |= parts.pop(name)._asdict()
        parts |= parts.pop("steps").arrays()
        texts = self.texts._asdict() | {"natural": np.array(self.texts.natural)}
        texts |= texts.pop("rare")._asdict()
        parts |= _named(SHAPES, parts.pop("shapes").arrays())
        del parts["texts"]
        np.savez(path, **parts, **_named(TEXTS, texts))

    @classmethod
    def read(cls, path: Path) -> Known:
        """Read what `write` has kept; files of 0.3.0 have no shapes and no texts."""
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Any] = dict(file)
        shapes, texts = _unnamed(SHAPES, found), _unnamed(TEXTS, found)
        if texts:
            texts["natural"] = Natural(*texts["natural"])
            texts["longest"] = int(texts["longest"])
            texts["rare"] = Rare(*(texts.pop(name) for name in Rare._fields))
        found["steps"] = Reading.of_arrays(found)
        found["shapes"] = Reading.of_arrays(shapes) if shapes else NO_READING
        found["texts"] = Texts(**texts) if texts else near_texts.nothing()
        found["natural"] = Natural(*(found[name] for name in Natural._fields))
        found["sketches"] = Sketches(*(found[name] for name in Sketches._fields))
        return cls(*(found[name] for name in cls._fields))


SHAPES, TEXTS = "shapes.", "texts."  # what begins the names of parts in a file


def _named(prefix: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: part for name, part in parts.items()}


def _unnamed(prefix: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): part for name, part in found.items() if name.startswith(prefix)
    }


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


class _Measured(NamedTuple):
    """What is measured on samples of training sequences; see `Known` and `Reading`."""

    steps: Chance
    shapes: Chance
    natural: Natural
    natural_text: Natural


def remember(train: Sequences) -> Known:
    """Take what is needed to know training sequences again."""
    look, measured = _measure(train)
    taken = prints.of(train, look)
    steps, shapes = measured.steps, measured.shapes
    keys, first = np.unique(taken.rare.keys, return_index=True)
    rare = Rare(keys, taken.rare.owner[first])
    return Known(
        steps=Reading(steps, look.run, *_telling(taken.exact, taken.runs, steps)),
        shapes=Reading(shapes, look.shape_run, *_telling(taken.exact, taken.shape_runs, shapes)),
        factor=look.factor,
        natural=measured.natural,
        exact=taken.exact,
        letters=taken.letters,
        numbers=_numbers(train),
        sketches=taken.sketches,
        texts=Texts(look.longest, look.frequency, measured.natural_text, taken.bags, rare),
    )


def compare(
    train: Sequences, others: Sequence[Sequences], folder: Path | None = None
) -> list[Copies]:
    """Find what training has seen of some splits, as `find` does of each.

    What is taken of their sequences lies in temporary files of a folder, or in memory where None.
    """
    look, measured = _measure(train)
    known = shelves.of(train, look, folder)
    kinds = lookups.repeats(known.exact, len(train), folder)
    found = list[Copies]()
    for other in others:
        taken = shelves.of(other, look, folder)
        found.append(_concluded(_seen(train, known, kinds, measured, other, taken)))
    return found


def _measure(train: Sequences) -> tuple[Look, _Measured]:
    codes, none = train.token_codes(), near_texts.nothing()
    likely, shapes = chance.measure(train, codes), NO_READING.chance
    natural_text, frequency, longest = none.natural, none.frequency, none.longest
    if codes is not None:
        longest = near_texts.longest(likely, float(np.diff(_sample(train, codes).offsets).mean()))
        frequency = _frequency(train, codes, longest)
        natural_text = near_texts.natural(_sample(train, codes), longest, frequency)
    if train.values.shape[1]:
        shapes = chance.measure(train, codes, shapes=True)
    factor = near_copies.regression(train)
    look = Look(_run(likely, train), _run(shapes, train), factor, longest, frequency)
    natural = near_copies.natural(train, factor)
    train.release()
    return look, _Measured(likely, shapes, natural, natural_text)


def _run(likely: Chance, train: Sequences) -> int:
    """Of how many letters runs are."""
    lengths = np.arange(SHORTEST_RUN, LONGEST_RUN + 1)
    rare = likely.rare(lengths, float(train.offsets[-1]) ** 2)
    return int(lengths[rare][0]) if rare.any() else 0


def _width(split: Sequences) -> int:
    """How many numbers a step has, or tokens."""
    return int(split.values.shape[1]) + (split.tokens is not None)


def _numbers(split: Sequences) -> Ints:
    numbers: Ints = split.lengths * _width(split)
    return numbers


def _sample(train: Sequences, codes: Hashes) -> Letters:
    """The letters of some sequences from all over."""
    every = max(1, len(train) // SAMPLE)
    some = train.select(np.arange(0, len(train), every))
    return fingerprints.letters(fingerprints.of_steps(some, slice(None), codes), some.offsets)


def _frequency(train: Sequences, codes: Hashes, longest: int) -> near_texts.Counts:
    """In how many sequences phrases occur."""
    counts = np.zeros(1 << near_texts.TABLE, np.uint32)
    for rows, bounds in fingerprints.blocks(train):
        text = fingerprints.letters(fingerprints.of_steps(train, rows, codes), bounds)
        counts += near_texts.frequency(near_texts.phrases(text, longest))
    return counts


def _places(ordered: Hashes, wanted: Hashes) -> Ints:
    """Where numbers are, or would be, among others in order."""
    places: Ints = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return places


def _telling(exact: Hashes, runs: Runs, likely: Chance) -> tuple[Hashes, Ints]:
    """The runs that are not frequent, each once and in order, and a sequence that has it."""
    owners = np.unique(runs.owner)
    contents = np.unique(exact[owners])
    first, _ = _occurrences(exact, contents)
    repeats = owners[first[_places(contents, exact[owners])] < owners]
    kept = ~np.isin(runs.owner, repeats)
    codes, owner = runs.codes[kept], runs.owner[kept]
    order = np.lexsort((owner, codes))
    codes, owner = codes[order], owner[order]
    once = np.ones(len(codes), dtype=bool)  # of each sequence
    once[1:] = (codes[1:] != codes[:-1]) | (owner[1:] != owner[:-1])
    found, place, times = np.unique(codes[once], return_index=True, return_counts=True)
    telling = times <= _frequent(likely, _different(exact))
    return found[telling], owner[once][place[telling]]


def _occurrences(exact: Hashes, contents: Hashes) -> tuple[Ints, Ints]:
    """The first of sequences that has each of some contents, which are in order; and how many do.

    The first is behind all of them where none has it.
    """
    first, times = np.full(len(contents), len(exact)), np.zeros(len(contents), np.int64)
    for start in range(0, len(exact) if len(contents) else 0, pieces.ROWS):
        some = exact[start : start + pieces.ROWS]
        at = _places(contents, some)
        found = np.flatnonzero(contents[at] == some)
        np.minimum.at(first, at[found], start + found)
        times += np.bincount(at[found], minlength=len(times))
    return first, times


def _different(exact: Hashes) -> int:
    """How many contents there are."""
    ordered = np.sort(exact)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + min(1, len(exact))


class _Seen(NamedTuple):
    """What was found of S sequences by themselves, before it is said what of it is no chance.

    Attributes:
        rare: (S,) which are no chance if they are repeated, read by their steps.
        moved_rare: the same, read by their shapes.
        times: (S,) how often their content is in training.
        twin: (S,) a training sequence that has it.
        frequent: in how many it may be without being frequent by nature; None where none is.
        overlap: (S,) which share runs of steps with training.
        neighbour: (S,) a training sequence that shows it.
        moved: (S,) which share runs of shapes.
        moved_from: likewise.
        near: (S,) which are as near to a training sequence as is no chance.
        nearest: likewise.
        again: the share of the usual training sequences that are repeated.
    """

    rare: Mask
    moved_rare: Mask
    times: Ints
    twin: Ints
    frequent: float
    overlap: Mask
    neighbour: Ints
    moved: Mask
    moved_from: Ints
    near: Mask
    nearest: Ints
    again: float


def find(known: Known, test: Sequences) -> Copies:
    """Find the sequences that are no chance, and those that are repeated whether chance or not."""
    look = Look(
        known.steps.run,
        known.shapes.run,
        known.factor,
        known.texts.longest,
        known.texts.frequency,
    )
    taken, numbers = prints.of(test, look), _numbers(test)
    pairs, likely = float(len(known.exact)) * len(test), known.steps.chance
    twin, times = _twins(known, taken.exact)
    overlap, neighbour = _overlaps(known.steps, taken.runs, len(test))
    moved, moved_from = _overlaps(known.shapes, taken.shape_runs, len(test))
    if known.texts.frequency.size:
        fewest, nearest = near_texts.nearest(known.texts, taken.bags, taken.rare)
        limit = near_texts.limit(known.texts.natural, taken.letters, pairs)
    else:
        fewest, nearest = near_copies.nearest(known.sketches, taken.sketches)
        limit = known.natural.limit(test.lengths, pairs)
    return _concluded(
        _Seen(
            rare=_rare(likely, taken.letters, numbers, pairs),
            moved_rare=_rare(known.shapes.chance, taken.shape_letters, numbers, pairs),
            times=times,
            twin=twin,
            frequent=_by_nature(likely, len(known.exact)),
            overlap=overlap,
            neighbour=neighbour,
            moved=moved,
            moved_from=moved_from,
            near=fewest <= limit,
            nearest=nearest,
            again=_again(known.exact[~_rare(likely, known.letters, known.numbers, pairs)]),
        )
    )


def _seen(
    train: Sequences,
    known: Shelf,
    kinds: npt.NDArray[np.uint8],
    measured: _Measured,
    test: Sequences,
    taken: Shelf,
) -> _Seen:
    """The same of what lies on shelves; `kinds`: see `birnn.data.lookups.repeats`."""
    pairs, likely, shapes = float(len(train)) * len(test), measured.steps, measured.shapes

    def rare(by: Chance, letters: Ints) -> Mask:
        return pieces.computed(
            lambda some, start, end: _rare(by, some, (end - start) * _width(test), pairs),
            [letters, test.offsets[:-1], test.offsets[1:]],
            bool,
            None,
        )

    twin, times = shelves.twins(known, taken)
    different = sum(int(np.count_nonzero(some != lookups.AGAIN)) for (some,) in pieces.of(kinds))
    overlap, neighbour = shelves.overlaps(
        known.runs, taken.runs, taken.run_counts, kinds, _frequent(likely, different), SHARE
    )
    moved, moved_from = shelves.overlaps(
        known.shape_runs,
        taken.shape_runs,
        taken.shape_run_counts,
        kinds,
        _frequent(shapes, different),
        SHARE,
    )
    near, nearest = _near(known, measured, test, taken, pairs)
    return _Seen(
        rare=rare(likely, taken.letters),
        moved_rare=rare(shapes, taken.shape_letters),
        times=times,
        twin=twin,
        frequent=_by_nature(likely, len(train)),
        overlap=overlap,
        neighbour=neighbour,
        moved=moved,
        moved_from=moved_from,
        near=near,
        nearest=nearest,
        again=_again_of(train, known, kinds, likely, pairs),
    )


def _again_of(
    train: Sequences, known: Shelf, kinds: npt.NDArray[np.uint8], likely: Chance, pairs: float
) -> float:
    """As `_again`; what is repeated is as long as what it repeats, and so as usual."""
    usual, again = 0, 0
    for letters, kind, start, end in pieces.of(
        known.letters, kinds, train.offsets[:-1], train.offsets[1:]
    ):
        of_these = ~_rare(likely, letters, (end - start) * _width(train), pairs)
        usual += int(np.count_nonzero(of_these))
        again += int(np.count_nonzero(of_these & (kind != lookups.ALONE)))
    return again / max(usual, 1)


def _near(
    known: Shelf, measured: _Measured, test: Sequences, taken: Shelf, pairs: float
) -> tuple[Mask, Ints]:
    """Which sequences are nearly those of training, as far as that is no chance, and where."""
    texts = known.bags.shape[1] > 0
    find_in = shelves.nearest_bags if texts else shelves.nearest_outlines
    fewest, nearest = find_in(known, taken)

    def near(some: Ints, letters: Ints, start: Ints, end: Ints) -> Mask:
        if texts:
            return some <= near_texts.limit(measured.natural_text, letters, pairs)
        return some <= measured.natural.limit(end - start, pairs)

    given = [fewest, taken.letters, test.offsets[:-1], test.offsets[1:]]
    return pieces.computed(near, given, bool, None), nearest


def _concluded(seen: _Seen) -> Copies:
    """Say what is no chance."""
    repeated = seen.times > 0
    exact = repeated & seen.rare & (seen.times <= seen.frequent)
    overlap = seen.overlap & seen.rare & ~repeated
    moved = seen.moved & seen.moved_rare & ~repeated & ~overlap
    near = seen.near & seen.rare & ~repeated & ~overlap & ~moved
    sources = [seen.twin, seen.neighbour, seen.moved_from, seen.nearest]
    source = np.select([exact, overlap, moved, near], sources, -1)
    expected = int(np.count_nonzero(~seen.rare)) * seen.again
    return Copies(repeated, exact, overlap | moved, near, source, expected)


def _rare(likely: Chance, letters: Ints, numbers: Ints, pairs: float) -> Mask:
    """Which sequences are no chance if they are repeated."""
    return likely.rare(letters, pairs) & (numbers >= LEAST_NUMBERS) & (letters > 1)


def _twins(known: Known, wanted: Hashes) -> tuple[Ints, Ints]:
    """The first known sequence of the same content, and how many there are."""
    contents, at = np.unique(wanted, return_inverse=True)
    first, times = _occurrences(known.exact, contents)
    return first[at], times[at]


def _by_nature(likely: Chance, sequences: int) -> float:
    """In how many of so many sequences a content may occur without being frequent by nature."""
    return _frequent(likely, sequences) if likely.discrete else np.inf


def _frequent(likely: Chance, sequences: int) -> float:
    """In how many sequences something may occur without being frequent by nature."""
    share = FREQUENT_SHARE if likely.discrete else FREQUENT_SHARE_OF_REAL
    return max(FREQUENT, share * sequences)


def _overlaps(known: Reading, runs: Runs, sequences: int) -> tuple[Mask, Ints]:
    """Which sequences have enough of their runs in common with training, and one to show it."""
    source = np.full(sequences, -1)
    if not len(known.runs):
        return source >= 0, source
    at = _places(known.runs, runs.codes)
    found = known.runs[at] == runs.codes
    source[runs.owner[found]] = known.owner[at[found]]
    common = np.bincount(runs.owner[found], minlength=sequences)
    everything = np.bincount(runs.owner, minlength=sequences)
    return (common > 0) & (common >= SHARE * everything), source


def _again(usual: Hashes) -> float:
    """Which share of the usual training sequences is repeated: others are as often."""
    if not len(usual):
        return 0.0
    ordered = np.sort(usual)
    again = np.append(ordered[1:] == ordered[:-1], False)
    again[1:] |= again[:-1].copy()
    return float(again.mean())
