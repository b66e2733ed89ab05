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

from birnn.data import chance, fingerprints, near_copies, near_texts
from birnn.data.chance import Chance
from birnn.data.fingerprints import Ints, Letters, Runs
from birnn.data.near_copies import LEAST_NUMBERS, Natural, Sketches
from birnn.data.near_texts import Rare, Texts
from birnn.data.sequences import Sequences
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


class _Look(NamedTuple):
    """How to look at sequences: letters of runs of steps and of shapes, and as `Texts` say."""

    run: int
    shape_run: int
    factor: npt.NDArray[np.float32]
    longest: int
    frequency: near_texts.Counts


class _Prints(NamedTuple):
    """What is taken of each of S sequences; `bags` are the sketches of tokens, (S, 4)."""

    exact: Hashes
    letters: Ints
    shape_letters: Ints
    runs: Runs
    shape_runs: Runs
    sketches: Sketches
    bags: Hashes
    rare: Rare


class _Measured(NamedTuple):
    """What is measured on samples of training sequences; see `Known` and `Reading`."""

    steps: Chance
    shapes: Chance
    natural: Natural
    natural_text: Natural


def remember(train: Sequences) -> Known:
    """Take what is needed to know training sequences again."""
    look, measured = _measure(train)
    return _known(train, look, measured, None)


def compare(train: Sequences, others: Sequence[Sequences]) -> list[Copies]:
    """Find what training has seen of some splits, as `find` does of each.

    Of train no more is held than what the others have too, and little for each sequence.
    """
    look, measured = _measure(train)
    prints = [_prints(other, look) for other in others]
    known = _known(train, look, measured, prints)
    return [_found(known, one, other) for one, other in zip(prints, others, strict=True)]


def _measure(train: Sequences) -> tuple[_Look, _Measured]:
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
    look = _Look(_run(likely, train), _run(shapes, train), factor, longest, frequency)
    natural = near_copies.natural(train, factor)
    train.release()
    return look, _Measured(likely, shapes, natural, natural_text)


def _known(
    train: Sequences, look: _Look, measured: _Measured, others: Sequence[_Prints] | None
) -> Known:
    """Put together what is remembered: all, or what others may have in common with it."""
    sought = None if others is None else _sought(others)
    prints = _prints(train, look, sought)
    steps, shapes = measured.steps, measured.shapes
    keys, first = np.unique(prints.rare.keys, return_index=True)
    rare = Rare(keys, prints.rare.owner[first])
    return Known(
        steps=Reading(steps, look.run, *_telling(prints.exact, prints.runs, steps)),
        shapes=Reading(shapes, look.shape_run, *_telling(prints.exact, prints.shape_runs, shapes)),
        factor=look.factor,
        natural=measured.natural,
        exact=prints.exact,
        letters=prints.letters,
        numbers=_numbers(train),
        sketches=prints.sketches,
        texts=Texts(look.longest, look.frequency, measured.natural_text, prints.bags, rare),
    )


class _Sought(NamedTuple):
    """Different numbers in order: those that are looked up."""

    runs: Hashes
    shape_runs: Hashes
    rare: Hashes


def _sought(others: Sequence[_Prints]) -> _Sought:
    codes = (
        [one.runs.codes for one in others],
        [one.shape_runs.codes for one in others],
        [one.rare.keys for one in others],
    )
    return _Sought(*(np.unique(np.concatenate(one)) for one in codes))


def _run(likely: Chance, train: Sequences) -> int:
    """Of how many letters runs are."""
    lengths = np.arange(SHORTEST_RUN, LONGEST_RUN + 1)
    rare = likely.rare(lengths, float(train.offsets[-1]) ** 2)
    return int(lengths[rare][0]) if rare.any() else 0


def _numbers(split: Sequences) -> Ints:
    numbers: Ints = split.lengths * (split.values.shape[1] + (split.tokens is not None))
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


def _prints(split: Sequences, look: _Look, sought: _Sought | None = None) -> _Prints:
    """Look once at every step; of runs and phrases take those that are sought, or all."""
    codes = split.token_codes()
    parts = [
        _of_block(split, rows, bounds, codes, look, sought)
        for rows, bounds in fingerprints.blocks(split)
    ]
    first = np.concatenate([[0], np.cumsum([len(part.exact) for part in parts])])
    columns = list(zip(*parts, strict=True))
    parts.clear()  # what is joined is let go of, one print after the other
    return _Prints(*(_joined(columns.pop(0), first) for _ in _Prints._fields))


def _of_block(
    split: Sequences,
    rows: slice,
    bounds: Ints,
    codes: Hashes | None,
    look: _Look,
    sought: _Sought | None,
) -> _Prints:
    steps = fingerprints.of_steps(split, rows, codes)
    text, values = fingerprints.letters(steps, bounds), split.values[rows]
    shapes = Letters(steps[:0], np.zeros_like(bounds))
    if values.shape[1]:
        shapes = fingerprints.letters(fingerprints.of_shapes(values, steps, bounds), bounds)
    bags, rare = np.zeros((len(bounds) - 1, 0), np.uint64), Rare(steps[:0], bounds[:0])
    if codes is not None and len(look.frequency):
        phrases = near_texts.phrases(text, look.longest)
        bags = near_texts.sketch(phrases, look.frequency)
        rare = near_texts.rarest(phrases, look.frequency)
    numbers = values if codes is None else values[:, :0]
    runs, shape_runs = _runs(text, look.run), _runs(shapes, look.shape_run)
    if sought is not None:
        runs = Runs(*_among(runs.codes, runs.owner, sought.runs))
        shape_runs = Runs(*_among(shape_runs.codes, shape_runs.owner, sought.shape_runs))
        rare = Rare(*_among(rare.keys, rare.owner, sought.rare))
    return _Prints(
        exact=fingerprints.exact(steps, bounds),
        letters=fingerprints.telling(text).astype(np.int32),
        shape_letters=fingerprints.telling(shapes).astype(np.int32),
        runs=runs,
        shape_runs=shape_runs,
        sketches=near_copies.sketch(numbers, bounds, look.factor),
        bags=bags,
        rare=rare,
    )


def _among(codes: Hashes, owner: Ints, sought: Hashes) -> tuple[Hashes, Ints]:
    kept = sought[_places(sought, codes)] == codes if len(sought) else np.zeros(len(codes), bool)
    return codes[kept], owner[kept]


def _places(ordered: Hashes, wanted: Hashes) -> Ints:
    """Where numbers are, or would be, among others in order."""
    places: Ints = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return places


def _runs(text: Letters, length: int) -> Runs:
    none = Runs(text.codes[:0], text.offsets[:0])
    return fingerprints.runs(text, length) if length and len(text.codes) else none


def _joined(column: tuple[Any, ...], first: Ints) -> Any:
    """Put the same print of all blocks together; owners count from the first block on."""
    kind: Any = type(column[0])
    if kind is np.ndarray:
        return np.concatenate(column)
    parts = [one._asdict() for one in column]
    for part, start in zip(parts, first, strict=False):
        if "owner" in part:
            part["owner"] = part["owner"] + start
    return kind(*(np.concatenate([part[name] for part in parts]) for name in kind._fields))


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


def find(known: Known, test: Sequences) -> Copies:
    """Find the sequences that are no chance, and those that are repeated whether chance or not."""
    look = _Look(
        known.steps.run,
        known.shapes.run,
        known.factor,
        known.texts.longest,
        known.texts.frequency,
    )
    return _found(known, _prints(test, look), test)


def _found(known: Known, prints: _Prints, test: Sequences) -> Copies:
    pairs = float(len(known.exact)) * len(test)
    likely, numbers = known.steps.chance, _numbers(test)
    rare = _rare(likely, prints.letters, numbers, pairs)
    repeated, twin, frequent = _twins(known, prints.exact)
    exact = repeated & rare & ~frequent
    overlap, neighbour = _overlaps(known.steps, prints.runs, len(test))
    overlap &= rare & ~repeated
    moved, moved_from = _overlaps(known.shapes, prints.shape_runs, len(test))
    moved &= _rare(known.shapes.chance, prints.shape_letters, numbers, pairs) & ~repeated & ~overlap
    near, nearest = _near(known, prints, test, pairs)
    near &= rare & ~repeated & ~overlap & ~moved
    source = np.select([exact, overlap, moved, near], [twin, neighbour, moved_from, nearest], -1)
    usual = ~_rare(likely, known.letters, known.numbers, pairs)
    expected = _expected(known.exact[usual], int(np.count_nonzero(~rare)))
    return Copies(repeated, exact, overlap | moved, near, source, expected)


def _near(known: Known, prints: _Prints, test: Sequences, pairs: float) -> tuple[Mask, Ints]:
    """Which sequences are nearly those of training, as far as that is no chance, and where."""
    if known.texts.frequency.size:
        fewest, place = near_texts.nearest(known.texts, prints.bags, prints.rare)
        limit = near_texts.limit(known.texts, prints.letters, pairs)
    else:
        fewest, place = near_copies.nearest(known.sketches, prints.sketches)
        limit = known.natural.limit(test.lengths, pairs)
    return fewest <= limit, place


def _rare(likely: Chance, letters: Ints, numbers: Ints, pairs: float) -> Mask:
    """Which sequences are no chance if they are repeated."""
    return likely.rare(letters, pairs) & (numbers >= LEAST_NUMBERS) & (letters > 1)


def _twins(known: Known, wanted: Hashes) -> tuple[Mask, Ints, Mask]:
    """Which sequences are known, where, and which of them so often that it is their nature."""
    contents, at = np.unique(wanted, return_inverse=True)
    first, times = (one[at] for one in _occurrences(known.exact, contents))
    often = times > _frequent(known.steps.chance, len(known.exact))
    return times > 0, first, often & known.steps.chance.discrete


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


def _expected(usual: Hashes, others: int) -> float:
    """How many of so many others are repeated if they are as the usual training sequences are."""
    if not len(usual):
        return 0.0
    ordered = np.sort(usual)
    again = np.append(ordered[1:] == ordered[:-1], False)
    again[1:] |= again[:-1].copy()
    return others * float(again.mean())
