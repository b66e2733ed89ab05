"""How good predictions are for each speaker, each length, or each value of another column.

    columns = columns_of(test, ["group", "length"])
    found = of(actual, predicted, columns, labels=..., offsets=..., positives=["fraud"], ...)

A slice is the rows with one value of a column. Who looks at many slices finds a weak one by chance
alone; so each figure of a slice that is compared with the whole has a chance of its lag `p` that is
corrected for all of these comparisons (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import stdtr

from birnn.data.sequences import Sequences
from birnn.evaluation import intervals, metrics
from birnn.evaluation.checks import LEAST_SEQUENCES
from birnn.evaluation.metrics import Ints
from birnn.evaluation.significance import holm
from birnn.files import pieces
from birnn.files.reading import first_few

MOST = 50  # slices of a column: those with the most rows
WEAK = 0.05  # the chance of calling any slice weak where all are as good as the whole

Mask = npt.NDArray[np.bool_]
Names = npt.NDArray[Any] | pd.Categorical
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
    return [labels[int(np.bincount(actual, minlength=2).argmin())]]


def columns_of(
    test: Sequences,
    names: Sequence[str],
    kept: Mapping[str, pa.ChunkedArray] = MappingProxyType({}),
) -> dict[str, Names]:
    """Give columns by which prepared sequences can be sliced, (labels,) text each.

    Args:
        test: the sequences.
        names: some of `group`, left out where the table has none, `length`, in buckets, and those
            of kept columns.
        kept: (labels,) what travels with the rows, by the column's name.
    """
    rows, found = np.diff(test.label_offsets), dict[str, Names]()
    if "group" in names and not test.groups.equals(test.ids):
        found["group"] = _repeated(_categories(test.groups), rows)
    if "length" in names:
        bucket = metrics.length_buckets(test.lengths)
        ends = [test.lengths[bucket == i] for i in range(int(bucket.max()) + 1)]
        spans = [f"{one.min()} to {one.max()} steps" for one in ends]
        found["length"] = _repeated(
            pd.Categorical.from_codes(bucket, categories=pd.Index(spans)), rows
        )
    chosen = [name for name in names if name in kept and name not in found]
    return found | {name: _categories(kept[name].combine_chunks()) for name in chosen}


def _categories(text: pa.Array) -> pd.Categorical:
    encoded = pc.if_else(pc.equal(pc.fill_null(text, ""), ""), "(none)", text).dictionary_encode()
    return pd.Categorical.from_codes(
        encoded.indices.to_numpy(), categories=encoded.dictionary.to_pylist()
    )


def _repeated(names: pd.Categorical[Any], times: npt.NDArray[np.int64]) -> pd.Categorical:
    return pd.Categorical.from_codes(np.repeat(names.codes, times), dtype=names.dtype)


def of(
    actual: Ints,
    predicted: Ints,
    columns: Mapping[str, Names],
    *,
    labels: Sequence[str],
    offsets: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    positives: Sequence[str],
) -> Sliced:
    """Score each slice of each column; a column with one value alone has none.

    Args:
        actual: (N,) see `birnn.evaluation.metrics`.
        predicted: (N,) see there.
        columns: (N,) text each, by the column's name.
        labels: names of the classes.
        offsets: (S + 1,) see there.
        groups: (S,) the number of the group of each sequence: what is independent.
        positives: classes whose recall is given; see `positives`.
    """
    judged = _Judged(actual, predicted, list(labels), offsets, groups, list(positives))
    found, left_out = list[Slice](), 0
    for column, names in columns.items():
        place, values, rows = _places(names)
        if len(values) > 1:
            largest = np.argsort(-rows, kind="stable")
            left_out += len(largest[MOST:])
            found += [
                _slice(judged, column, values[number], place == number)
                for number in largest[:MOST].tolist()
            ]
    return Sliced(sorted(_corrected(found), key=_strength), left_out)


def _places(names: Names) -> tuple[Ints, list[str], npt.NDArray[np.int64]]:
    """Number the names (N,) in their order; give them, and how often each occurs."""
    found = names if isinstance(names, pd.Categorical) else pd.Categorical(names)
    found = found.remove_unused_categories()
    values = sorted(map(str, found.categories))
    codes = found.reorder_categories(values).codes
    rows = np.zeros(len(values), np.int64)
    for (some,) in pieces.of(codes):
        rows += np.bincount(some, minlength=len(rows))
    return codes, values, rows


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is sliced; see `of`."""

    actual: Ints
    predicted: Ints
    labels: list[str]
    offsets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    positives: list[str]

    def rows_of(self, label: str) -> Mask:
        rows: Mask = self.actual == self.labels.index(label)
        return rows

    def of_sequences(self, rows: Mask) -> npt.NDArray[np.int64]:
        """How many of some rows each sequence has, (S,)."""
        return np.add.reduceat(rows, self.offsets[:-1], dtype=np.int64)

    def of_groups(self, rows: Mask) -> npt.NDArray[np.float64]:
        """How many of some rows each group has, (G,)."""
        return np.bincount(self.groups, self.of_sequences(rows)).astype(np.float64)


def _slice(judged: _Judged, column: str, value: str, inside: Mask) -> Slice:
    actual, predicted, labels = judged.actual[inside], judged.predicted[inside], judged.labels
    sizes = judged.of_sequences(inside)
    chosen = sizes > 0
    sure = intervals.intervals(
        actual,
        predicted,
        labels=labels,
        offsets=np.concatenate([[0], np.cumsum(sizes[chosen])]),
        groups=judged.groups[chosen],
    )
    scores = metrics.headline_values(metrics.confusion(actual, predicted, len(labels)))
    f1 = float(scores[metrics.HEADLINES.index("f1_macro")])
    all_rows = np.ones(len(inside), dtype=bool)
    figures = [
        _share("accuracy", judged, all_rows, inside),
        Figure("f1_macro", f1),
        *(
            _share(f"recall_{label}", judged, judged.rows_of(label), inside)
            for label in judged.positives
        ),
    ]
    return Slice(
        column=column,
        value=value,
        sequences=int(np.count_nonzero(chosen)),
        rows=len(actual),
        figures=[_between(figure, sure) for figure in figures],
        without=[one for one in judged.positives if not judged.rows_of(one)[inside].any()],
    )


def _between(figure: Figure, sure: Mapping[str, intervals.Interval]) -> Figure:
    if figure.value is None or figure.name not in sure:
        return figure
    return replace(figure, low=sure[figure.name].low, high=sure[figure.name].high)


def _share(name: str, judged: _Judged, counted: Mask, inside: Mask) -> Figure:
    """The share of right rows among those that are counted, and the chance of its lag.

    A share A / B of all rows and the share in a slice differ by a sum over groups, to first
    order: each adds its excess of right rows a - A / B * b, in the slice over the slice's rows and
    in all over all rows (Cochran, Sampling Techniques, 1977, chapter 6). Groups are independent,
    their rows are not. Since the excess is over the share of all, a slice in which all rows are
    wrong varies too. Where mistakes are rare, the chance comes out too large rather than too small.
    """
    right, parts = judged.actual == judged.predicted, (counted & inside, counted)
    here, everywhere = ([judged.of_groups(rows) for rows in (part & right, part)] for part in parts)
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
