"""How good predictions are for each speaker, each length, or each value of another column.

    columns = columns_of(test, ["group", "length"])
    found = of(actual, predicted, columns, labels=..., offsets=..., positives=["fraud"], ...)

A slice is the rows with one value of a column. Who looks at many slices finds a weak one by chance
alone; so each figure of a slice that is compared with the whole has a chance of its lag `p` that is
corrected for all of these comparisons (Holm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import stdtr

from birnn.data.sequences import Labelled, Sequences
from birnn.evaluation import intervals, metrics
from birnn.evaluation.checks import LEAST_SEQUENCES
from birnn.evaluation.metrics import Ints
from birnn.evaluation.significance import holm
from birnn.files import pieces
from birnn.files.reading import first_few

MOST = 50  # slices of a column: those with the most rows
WEAK = 0.05  # the chance of calling any slice weak where all are as good as the whole

Mask = npt.NDArray[np.bool_]
Rows = Callable[[slice], Mask]
"""Says which of some rows count."""


@dataclass(frozen=True, slots=True)
class Column:
    """A text for each of N rows, as its place, `codes` (N,), among different texts."""

    codes: Ints
    values: list[str]

    def of(self, known: Labelled, folder: Path | None) -> Column:
        """What the labels have that are there; see `Labelled.of`."""
        return replace(self, codes=known.of(self.codes, folder))


Names = npt.NDArray[Any] | Column
"""Text for each row, (N,)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric on a slice.

    Attributes:
        name: as in `metrics.json`.
        value: the figure; None where it is not defined, such as the recall of a class that the
            slice does not hold.
        low: low end of its 95 % interval; None where it rests on too few groups.
        high: high end of it.
        p: chance of as large a lag behind all rows in a slice that is as good as they are,
            corrected for the number of comparisons; None where nothing is compared: F1, and figures
            that rest on fewer than `LEAST_SEQUENCES` groups.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows with one value of a column.

    Attributes:
        column: its name.
        value: the value.
        sequences: how many have such rows.
        rows: how many there are.
        figures: accuracy, F1 (macro, of the classes that occur here), and the recall of each
            positive class.
        without: the positive classes that do not occur here, so that nobody knows how well they are
            found.
    """

    column: str
    value: str
    sequences: int
    rows: int
    figures: list[Figure]
    without: list[str]

    @property
    def weak(self) -> bool:
        """Whether it is weaker than all rows by more than chance explains."""
        return _least_p(self) < WEAK


@dataclass(frozen=True, slots=True)
class Sliced:
    """Slices, the weakest first, and how many small ones are left out."""

    slices: list[Slice]
    left_out: int

    @property
    def sentence(self) -> str:
        """Say which slices are weak, and how that was decided."""
        if not self.slices:
            return "There is one value alone: no slices to compare."
        weak = [f"{one.column} {one.value!r}" for one in self.slices if one.weak]
        compared = sum(f.p is not None for one in self.slices for f in one.figures)
        found = f"{len(weak)} of {len(self.slices)} slices are weaker than all rows together"
        text = f"{found}, by more than chance explains (corrected for {compared} comparisons, Holm)"
        if weak:
            text += f": {first_few(weak)}"
        if self.left_out:
            text += f"; {self.left_out} smaller ones are left out"
        for label in sorted({label for one in self.slices for label in one.without}):
            without = (one for one in self.slices if label in one.without)
            named = first_few(f"{one.column} {one.value!r}" for one in without)
            text += f". No row of {label!r} in {named}: how well it is found there is unknown"
        return f"{text}."


def positives(actual: Ints, labels: Sequence[str], critical: Sequence[str] = ()) -> list[str]:
    """Name the classes whose recall matters: the critical ones, or else the rarer one of two."""
    if critical or len(labels) != 2:
        return list(critical)
    counts = np.sum([np.bincount(some, minlength=2) for (some,) in pieces.of(actual)], axis=0)
    return [labels[int(counts.argmin())]]


def columns_of(
    test: Sequences,
    names: Sequence[str],
    kept: Mapping[str, pa.ChunkedArray] = MappingProxyType({}),
    folder: Path | None = None,
) -> dict[str, Column]:
    """Give columns by which prepared sequences can be sliced, (labels,) each.

    Args:
        test: the sequences.
        names: some of `group`, left out where the table has none, `length`, in buckets, and those
            of kept columns.
        kept: (labels,) what travels with the rows, by the column's name.
        folder: for temporary files that take the columns; memory does where None.
    """
    offsets, found = test.label_offsets, dict[str, Column]()
    if "group" in names and test.grouped:
        found["group"] = _repeated(_encoded(test.groups), offsets, folder)
    if "length" in names:
        bucket = metrics.length_buckets(test.lengths)
        ends = [test.lengths[bucket == i] for i in range(int(bucket.max()) + 1)]
        spans = [f"{one.min()} to {one.max()} steps" for one in ends]
        found["length"] = _repeated(Column(bucket.astype(np.int8), spans), offsets, folder)
    chosen = [name for name in names if name in kept and name not in found]
    return found | {name: _encoded(kept[name].combine_chunks()) for name in chosen}


def _encoded(text: pa.Array) -> Column:
    encoded = pc.if_else(pc.equal(pc.fill_null(text, ""), ""), "(none)", text).dictionary_encode()
    return Column(encoded.indices.to_numpy(), encoded.dictionary.to_pylist())


def _repeated(of_sequences: Column, offsets: Ints, folder: Path | None) -> Column:
    """What a sequence has, for each of its rows."""
    codes = pieces.empty((int(offsets[-1]),), of_sequences.codes.dtype, folder)
    for chosen, rows in pieces.whole(offsets):
        sizes = np.diff(offsets[chosen.start : chosen.stop + 1])
        codes[rows] = np.repeat(of_sequences.codes[chosen], sizes)
        pieces.release(codes)
    return Column(codes, of_sequences.values)


def of(
    actual: Ints,
    predicted: Ints,
    columns: Mapping[str, Names],
    *,
    labels: Sequence[str],
    offsets: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    positives: Sequence[str],
    folder: Path | None = None,
) -> Sliced:
    """Score each slice of each column; a column with one value alone has none.

    Args:
        actual: (N,) see `birnn.evaluation.metrics`.
        predicted: (N,) see there.
        columns: (N,) each, by the column's name.
        labels: names of the classes.
        offsets: (S + 1,) see there.
        groups: (S,) the number of the group of each sequence: what is independent.
        positives: classes whose recall is given; see `positives`.
        folder: see `birnn.evaluation.metrics`.
    """
    judged = _Judged(actual, predicted, list(labels), offsets, groups, list(positives), folder)
    found, left_out = list[Slice](), 0
    for column, names in columns.items():
        place, values, rows = _places(names, folder)
        if len(values) > 1:
            largest = np.argsort(-rows, kind="stable")
            left_out += len(largest[MOST:])
            for number in largest[:MOST].tolist():
                inside = pieces.computed(partial(np.equal, number), place, bool, folder)
                found.append(_slice(judged, column, values[number], inside))
    return Sliced(sorted(_corrected(found), key=_strength), left_out)


def _places(names: Names, folder: Path | None) -> tuple[Ints, list[str], npt.NDArray[np.int64]]:
    """Number the names (N,) in their order; give them, and how often each occurs."""
    if not isinstance(names, Column):
        encoded = pd.Categorical(names)
        names = Column(encoded.codes, [*map(str, encoded.categories)])
    rows = np.zeros(len(names.values), np.int64)
    for (some,) in pieces.of(names.codes):
        rows += np.bincount(some, minlength=len(rows))
    order = sorted(np.flatnonzero(rows).tolist(), key=names.values.__getitem__)
    place = np.zeros(len(rows), np.min_scalar_type(len(rows)))
    place[order] = np.arange(len(order))
    codes = pieces.computed(place.__getitem__, names.codes, place.dtype, folder)
    return codes, [names.values[number] for number in order], rows[order]


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is sliced; see `of`."""

    actual: Ints
    predicted: Ints
    labels: list[str]
    offsets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    positives: list[str]
    folder: Path | None

    def of_class(self, label: str) -> Rows:
        """Which of some rows are of a class."""
        number = self.labels.index(label)
        return lambda rows: self.actual[rows] == number

    def of_sequences(self, inside: Rows) -> npt.NDArray[np.int64]:
        """How many of some rows each sequence has, (S,)."""
        found = np.zeros(len(self.groups), np.int64)
        for chosen, rows in pieces.whole(self.offsets):
            starts = self.offsets[chosen] - rows.start
            found[chosen] = np.add.reduceat(inside(rows), starts, dtype=np.int64)
            pieces.release(self.actual, self.predicted)
        return found

    def of_groups(self, inside: Rows) -> npt.NDArray[np.float64]:
        """How many of some rows each group has, (G,)."""
        return np.bincount(self.groups, self.of_sequences(inside)).astype(np.float64, copy=False)


def _slice(judged: _Judged, column: str, value: str, inside: Mask) -> Slice:
    labels, folder = judged.labels, judged.folder
    actual, predicted = (
        pieces.chosen(inside, one, folder) for one in (judged.actual, judged.predicted)
    )
    sizes = judged.of_sequences(inside.__getitem__)
    chosen = sizes > 0
    sure = intervals.intervals(
        actual,
        predicted,
        labels=labels,
        offsets=np.concatenate([[0], np.cumsum(sizes[chosen])]),
        groups=judged.groups[chosen],
        folder=folder,
    )
    counts = metrics.confusion(actual, predicted, len(labels))
    f1 = float(metrics.headline_values(counts)[metrics.HEADLINES.index("f1_macro")])
    figures = [
        _share("accuracy", judged, lambda rows: np.ones(rows.stop - rows.start, bool), inside),
        Figure("f1_macro", f1),
        *(
            _share(f"recall_{label}", judged, judged.of_class(label), inside)
            for label in judged.positives
        ),
    ]
    support = dict(zip(labels, counts.sum(axis=1).tolist(), strict=True))
    return Slice(
        column=column,
        value=value,
        sequences=int(np.count_nonzero(chosen)),
        rows=len(actual),
        figures=[_between(figure, sure) for figure in figures],
        without=[one for one in judged.positives if not support[one]],
    )


def _between(figure: Figure, sure: Mapping[str, intervals.Interval]) -> Figure:
    if figure.value is None or figure.name not in sure:
        return figure
    return replace(figure, low=sure[figure.name].low, high=sure[figure.name].high)


def _share(name: str, judged: _Judged, counted: Rows, inside: Mask) -> Figure:
    """The share of right rows among those that are counted, and the chance of its lag.

    A share A / B of all rows and the share in a slice differ by a sum over groups, to first
    order: each adds its excess of right rows a - A / B * b, in the slice over the slice's rows and
    in all over all rows (Cochran, Sampling Techniques, 1977, chapter 6). Groups are independent,
    their rows are not. Since the excess is over the share of all, a slice in which all rows are
    wrong varies too. Where mistakes are rare, the chance comes out too large rather than too small.
    """

    def part(rows: slice) -> Mask:
        pieces.release(inside)
        return counted(rows) & inside[rows]

    def right(of: Rows) -> Rows:
        return lambda rows: of(rows) & (judged.actual[rows] == judged.predicted[rows])

    here, everywhere = (
        [judged.of_groups(rows) for rows in (right(one), one)] for one in (part, counted)
    )
    if not here[1].any():
        return Figure(name, None)
    value, whole = (float(hits.sum() / rows.sum()) for hits, rows in (here, everywhere))
    number = int(np.count_nonzero(here[1]))
    if number < LEAST_SEQUENCES or here[1].sum() == everywhere[1].sum():
        return Figure(name, value)
    one, other = ((hits - whole * rows) / rows.sum() for hits, rows in (here, everywhere))
    error = np.sqrt(np.sum((one - other) ** 2) * number / (number - 1))
    p = float(stdtr(number - 1, (value - whole) / error)) if error > 0 else 1.0
    return Figure(name, value, p=p)


def _corrected(found: Sequence[Slice]) -> list[Slice]:
    """Correct all chances for having looked at all of them."""
    compared = [f.p for f in chain.from_iterable(one.figures for one in found) if f.p is not None]
    left = iter(holm(np.array(compared)).tolist())
    return [
        replace(
            one,
            figures=[
                figure if figure.p is None else replace(figure, p=next(left))
                for figure in one.figures
            ],
        )
        for one in found
    ]


def _least_p(one: Slice) -> float:
    return min((figure.p for figure in one.figures if figure.p is not None), default=1.0)


def _strength(one: Slice) -> tuple[float, float]:
    """Orders slices: by what chance does not explain, then by the lowest of their shares."""
    shares = (figure.value for figure in one.figures if figure.value is not None)
    return _least_p(one), min(shares)
