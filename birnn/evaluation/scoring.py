"""Anybody's predictions, in a table beside the true labels, scored as `evaluate` scores its own.

scored = read("predictions.csv")
scored.metrics()                                   # flat, as in metrics.json
for table in score_tables.on_terminal(scored, scored.intervals()): Console().print(table)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from birnn.errors import DataError
from birnn.evaluation import data_checks, intervals, metrics, slices, verdict
from birnn.evaluation.intervals import Interval
from birnn.evaluation.slices import Sliced
from birnn.evaluation.verdict import Aims, Basis, Verdict
from birnn.files import addresses, named
from birnn.files.reading import SAMPLE_LINES, SEPARATOR, delimiter_of, first_few, lines
from birnn.files.summary import NO_LABELS
from birnn.files.table_checks import composed_text, text_column
from birnn.files.tables import PREFIX, natural_order, sequence_starts

SUFFIXES = (".csv", ".tsv", ".parquet")
SHARES = {sign: re.compile(rf";[01]{sign}\d+(?=[;\r\n])") for sign in (",", r"\.")}
"""Probabilities with a decimal comma, and with a point."""
ROWS_AT_ONCE = 16_384
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
MOST_DIGITS = 6  # to which probabilities are taken to be rounded; float32 has no more
MOST_ROUNDING = 0.1  # that rounding may take from a sum; more is no distribution
EXACT_SUM = 1e-5  # within which a sum is one, up to what float32 rounds


@dataclass(frozen=True, slots=True)
class Scored:
    """Predictions and what is true.

    Attributes:
        where: what to call them in messages.
        labels: names of the C classes: all that occur or have a probability, in natural order.
        actual: (N,) positions in `labels`.
        predicted: (N,) positions in `labels`.
        probabilities: (N, C), or None.
        offsets: (S + 1,) the rows at which each sequence begins and ends.
        groups: (S,) the number of the group of each sequence, or its own where there are none.
        columns: (N,) text by the name of a column by which to slice.
        notes: what was read as something else than what stands in the table, a sentence each.
    """

    where: str
    labels: list[str]
    actual: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64] | None
    offsets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def slices(self) -> Sliced:
        """Score each value of the columns; see `birnn.evaluation.slices.of`."""
        return slices.of(
            self.actual,
            self.predicted,
            self.columns,
            labels=self.labels,
            offsets=self.offsets,
            groups=self.groups,
            positives=slices.positives(self.actual, self.labels),
        )

    def metrics(self) -> dict[str, float]:
        """Give every metric; see `birnn.evaluation.metrics.metrics`.

        Raises:
            DataError: a row of probabilities is not a distribution.
        """
        try:
            return metrics.metrics(
                self.actual,
                self.predicted,
                self.probabilities,
                labels=self.labels,
                offsets=self.offsets,
            )
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from None

    def intervals(self) -> dict[str, Interval]:
        """Give the 95 % intervals of metrics; see `birnn.evaluation.intervals`."""
        return intervals.intervals(
            self.actual,
            self.predicted,
            labels=self.labels,
            offsets=self.offsets,
            groups=self.groups,
        )


def score(path: str | Path) -> dict[str, float]:
    r"""Give every metric of a table with `sequence`, `actual` or `label`, and `predicted`.

    Args:
        path: a CSV, TSV or Parquet file; see `read`. With columns `probability_LABEL`, it gets the
            metrics of probabilities too.

    Returns:
        Each metric by its flat name; see `birnn.evaluation.metrics.metrics`.

    Raises:
        DataError: the file is not such a table, or a row of probabilities is not a distribution.

    Example:
        >>> rows = ["sequence,actual,predicted", "s1,cat,cat", "s1,dog,cat", "s2,dog,dog"]
        >>> _ = Path("predictions.csv").write_text("\n".join([*rows, "s2,dog,dog"]))
        >>> metrics = score("predictions.csv")
        >>> metrics["accuracy"], metrics["support_dog"]
        (0.75, 3)
    """
    return read(path).metrics()


def read(path: str | Path, by: str | None = None) -> Scored:
    """Read a table with `sequence`, `actual` or `label`, `predicted`, and `probability_LABEL`.

    Other columns are ignored. Classes that are numbers are equal as numbers: `1.0` is `1`, as
    pandas writes it beside a missing value. Rounded probabilities are scaled to a sum of one.
    Rows without a true label are left out, and a note says how many.

    Args:
        path: a CSV, TSV or Parquet file, here or in a bucket.
        by: another column, to slice by.

    Raises:
        DataError: the file is missing or is not what its name says, a column or a value is missing,
            the rows of a sequence are not together, no predicted class is an actual one, a class
            has no probability where others have one, or a row of probabilities is no distribution.
    """
    path = addresses.place(path)
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    named.check_input(path)
    read_file = _parquet if path.suffix == ".parquet" else _text
    try:
        with addresses.opened(path, folders=False) as file:
            names, given = read_file(file, by)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        message = " ".join(str(error).split())
        raise DataError(f"{path}: expected {path.suffix[1:]}, found: {message}") from None
    known = _known(names, str(path))
    scored = _scored(names, given, known, str(path))
    return scored if by is None else replace(scored, columns={by: _names(names[by])[known]})


def _names(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """The values to slice by as text; a missing one is a value too."""
    text = pc.fill_null(column.cast(pa.string()), "")
    return np.asarray(pc.if_else(pc.equal(text, ""), "(none)", text).to_numpy(), dtype=object)


@dataclass(frozen=True, slots=True)
class Given:
    """The probabilities of a table.

    Attributes:
        names: of the classes they are given for, as the columns say, each in NFC.
        shares: (N, names), one array, since the metrics need it as a whole.
    """

    names: list[str]
    shares: npt.NDArray[np.float64]


def _parquet(path: Path, by: str | None) -> tuple[pa.Table, Given]:
    """Read some rows at a time, so that no probability is held twice."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        columns = _with(by, file.schema_arrow.names, str(path))
        schema = pa.schema([file.schema_arrow.field(name) for name in columns])
        batches = file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns)
        return _divided(schema, batches, file.metadata.num_rows, path, by)


def _divided(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], rows: int, path: Path, by: str | None
) -> tuple[pa.Table, Given]:
    """The columns of names, and the probabilities, of a table in parts."""
    ours = natural_order(name for name in schema.names if name.startswith(PREFIX))
    for name in ours:
        kind = schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise DataError(f"{path}, column `{name}`: expected numbers, found {kind}")
    classes = [unicodedata.normalize("NFC", name.removeprefix(PREFIX)) for name in ours]
    for name in classes:
        if classes.count(name) > 1:
            raise DataError(
                f"{path}: expected one column of probabilities for a class, found two for {name!r} "
                "that differ in how Unicode composes accents; leave one out"
            )
    shares, others, begin = np.empty((rows, len(ours))), list[pa.RecordBatch](), 0
    texts = [name for name in schema.names if name not in ours or name == by]
    for batch in batches:
        others.append(batch.select(texts))
        for column, name in enumerate(ours):
            numbers = batch[name].cast(pa.float64(), safe=False)
            shares[begin : begin + len(numbers), column] = numbers.to_numpy(zero_copy_only=False)
        begin += batch.num_rows
    names = pa.Table.from_batches(others, pa.schema([schema.field(name) for name in texts]))
    return names, Given(classes, shares[:begin])


def _with(by: str | None, names: list[str], where: str) -> list[str]:
    wanted = _wanted(names, where)
    if by is not None and by not in names:
        raise DataError(f"{where}: expected a column `{by}` to slice by, found {', '.join(names)}")
    return wanted if by is None or by in wanted else [*wanted, by]


def _text(path: Path, by: str | None) -> tuple[pa.Table, Given]:
    start = [*islice(lines(path), SAMPLE_LINES)]
    named_sign = SEPARATOR.match(start[0]) if start else None
    delimiter = named_sign[1] if named_sign else delimiter_of(start, path)
    skip = csv.ReadOptions(skip_rows=int(named_sign is not None))
    comma, point = (any(map(form.search, start[1:])) for form in SHARES.values())
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with csv.open_csv(path, skip, parse) as reader:
        names = _with(by, reader.schema.names, str(path))
    types = {name: pa.float64() if name.startswith(PREFIX) else pa.string() for name in names}
    convert = csv.ConvertOptions(
        column_types=types,
        include_columns=names,
        strings_can_be_null=False,
        decimal_point="," if comma and not point else ".",
    )
    table = csv.read_csv(path, skip, parse, convert)
    return _divided(table.schema, table.to_batches(), table.num_rows, path, by)


def _wanted(names: list[str], where: str) -> list[str]:
    """The columns to read: the sequence, what is true, what is predicted, and probabilities."""
    found = "found " + ", ".join(names)
    actual = "actual" if "actual" in names else "label"
    for name in ("sequence", actual, "predicted"):
        if name not in names:
            either = "`actual` or `label`" if name == "label" else f"`{name}`"
            raise DataError(f"{where}: expected a column {either}, {found}")
    wanted = ["sequence", actual, "predicted", *({"group"} & set(names))]
    wanted += [name for name in names if name.startswith(PREFIX)]
    for name in wanted:
        if names.count(name) > 1:
            raise DataError(f"{where}: expected each column once, found `{name}` twice")
    return wanted


def _known(table: pa.Table, where: str) -> npt.NDArray[np.int64]:
    """The rows that have a true label."""
    if not table.num_rows:
        raise DataError(f"{where}: expected rows, found none")
    column = table["actual" if "actual" in table.schema.names else "label"]
    absent = column.is_null(nan_is_null=True)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        absent = pc.or_kleene(absent, pc.equal(column, ""))
    known = np.flatnonzero(~np.asarray(absent.to_numpy(), dtype=bool))
    if not len(known):
        raise DataError(f"{where}: expected true labels, found none in {table.num_rows} rows")
    return known


def _unlabelled(known: npt.NDArray[np.int64], rows: int) -> str:
    """What is said of rows without a label."""
    if len(known) == rows:
        return ""
    first = int(np.setdiff1d(np.arange(rows), known, assume_unique=True)[0]) + 1
    return f"rows without a label are left out: {rows - len(known)} of {rows}, first row {first}"


def _unsure(actual: pa.StringArray) -> str:
    """What is said of classes that programs write where a label is missing."""
    found = sorted(NO_LABELS & {*actual.unique().to_pylist()})
    shown = ", ".join(map(repr, found))
    said = f"taken for classes: {shown}; where they stand for no label, leave them empty"
    return said if found else ""


def _scored(table: pa.Table, given: Given, known: npt.NDArray[np.int64], where: str) -> Scored:
    read = [name for name in _wanted(table.schema.names, where) if not name.startswith(PREFIX)]
    named = {name: table[name].combine_chunks() for name in read}
    true = "actual" if "actual" in named else "label"
    texts = {
        name: text_column(_whole(column), f"column `{name}`", where, 0, may_miss=name == true)
        for name, column in named.items()
    }
    offsets = _offsets(texts["sequence"], where)
    groups = _groups(texts.get("group", texts["sequence"]), offsets, where)
    kept = np.diff(np.searchsorted(known, offsets))  # rows that are left of each sequence
    actual, predicted = (
        composed_text(texts[name].take(pa.array(known)), "NFC") for name in (true, "predicted")
    )
    sides = [one.unique().to_pylist() for one in (actual, predicted)]
    spelling = _one_spelling(*sides, given.names)
    actual, predicted = (_spelled(one, spelling) for one in (actual, predicted))
    own = [spelling.get(name, name) for name in given.names]
    labels = _classes(actual, predicted, own, where)
    shares, rounded = _probabilities(own, given.shares, labels, where) if own else (None, None)
    unsure = _unsure(actual)
    notes = [_unlabelled(known, table.num_rows), unsure, _respelled(spelling), rounded]
    return Scored(
        where=where,
        labels=labels,
        actual=_indices(actual, labels),
        predicted=_indices(predicted, labels),
        probabilities=shares if shares is None or len(known) == len(shares) else shares[known],
        offsets=np.append(0, np.cumsum(kept[kept > 0])),
        groups=groups[kept > 0],
        notes=tuple(filter(None, notes)),
    )


def _whole(column: pa.Array) -> pa.Array:
    """Whole numbers that are stored as floats, as pandas stores them beside a missing value, as
    whole numbers; other columns as they are.
    """
    if not pa.types.is_floating(column.type):
        return column
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:  # not all of them are whole
        return column


def _one_spelling(*sides: Iterable[str]) -> dict[str, str]:
    """Find the names that are a number which an earlier side writes in another way.

    Args:
        sides: the classes that each column, or the names of columns, hold.

    Returns:
        The earliest spelling by each later one. Nothing where a name is no number, or where one
        side has two names of one number, such as versions 1.1 and 1.10.
    """
    first: dict[Decimal, str] = {}
    spelling: dict[str, str] = {}
    for names in map(list, sides):
        if not all(map(NUMBER.fullmatch, names)):
            return {}
        numbers = [*map(Decimal, names)]
        if len({*numbers}) < len(numbers):
            return {}
        for number, name in zip(numbers, names, strict=True):
            if first.setdefault(number, name) != name:
                spelling[name] = first[number]
    return spelling


def _spelled(column: pa.Array, spelling: Mapping[str, str]) -> pa.Array:
    encoded = column.dictionary_encode()
    names = [spelling.get(name, name) for name in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def _respelled(spelling: Mapping[str, str]) -> str:
    read = (f"{name!r} as {other!r}" for name, other in sorted(spelling.items()))
    return f"classes are equal as numbers: read {first_few(read)}" if spelling else ""


def _classes(actual: pa.Array, predicted: pa.Array, given: Sequence[str], where: str) -> list[str]:
    """The names of all classes, in natural order.

    Raises:
        DataError: columns of probabilities leave a class out, or, where there are none, no class is
            on both sides: then most likely one side has other names for the same classes.
    """
    true, said = ({*column.unique().to_pylist()} for column in (actual, predicted))
    if given and (without := (true | said) - {*given}):
        there = first_few(f"`{PREFIX}{name}`" for name in natural_order(given))
        raise DataError(
            f"{where}: expected a column `{PREFIX}{min(without)}`, as other classes have one, "
            f"found {there}; add it, with 0 where the model does not know the class, or leave out "
            "all of them"
        )
    if not given and not true & said:
        sides = (first_few(map(repr, natural_order(names))) for names in (true, said))
        found = "found actual {} and predicted {}".format(*sides)
        raise DataError(
            f"{where}: expected a predicted class that is an actual one, {found}; write both in "
            f"the same names, or give a column `{PREFIX}LABEL` for each class"
        )
    return natural_order(true | said | {*given})


def _indices(column: pa.Array, labels: list[str]) -> npt.NDArray[np.int64]:
    return np.asarray(pc.index_in(column, pa.array(labels, pa.string())).to_numpy(), dtype=np.int64)


def _probabilities(
    given: Sequence[str], shares: npt.NDArray[np.float64], labels: list[str], where: str
) -> tuple[npt.NDArray[np.float64], str]:
    """The probabilities (N, C), scaled to a sum of one where they are rounded, and a note of it.

    Args:
        given: of which class each column of `shares` is.
        shares: changed in place.
        labels: of all classes, in the order that is wanted.
        where: what to call the table in messages.
    """
    found = shares if [*given] == labels else shares[:, [given.index(name) for name in labels]]
    total = found.sum(axis=1, keepdims=True)
    rounded = ~(np.abs(total[:, 0] - 1) <= EXACT_SUM)  # NaN is not
    if not rounded.any():
        return found, ""
    try:
        metrics.check_probabilities(found, tolerance=_rounding(found))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    first = int(rounded.argmax())
    note = (
        f"probabilities are rounded: {int(rounded.sum())} of {len(found)} rows were scaled to a "
        f"sum of one, the first is row {first + 1} with {total[first, 0]:g}"
    )
    found /= total
    return found, note


def _rounding(probabilities: npt.NDArray[np.float64]) -> float:
    """How far from one a row may sum where all values are rounded to as few digits as these."""
    digits = next((d for d in range(1, MOST_DIGITS) if _has_digits(probabilities, d)), MOST_DIGITS)
    most: float = probabilities.shape[1] * 0.5 * 10.0**-digits
    return min(max(metrics.SUM_TOLERANCE, most), MOST_ROUNDING) + EXACT_SUM


def _has_digits(values: npt.NDArray[np.float64], digits: int) -> bool:
    parts = (values[row : row + ROWS_AT_ONCE] for row in range(0, len(values), ROWS_AT_ONCE))
    return all(np.allclose(part, part.round(digits), rtol=0, atol=1e-9) for part in parts)


def _offsets(ids: pa.Array, where: str) -> npt.NDArray[np.int64]:
    starts = sequence_starts(ids)
    heads = ids.take(pa.array(starts))
    if len(heads.unique()) < len(heads):
        first = dict(zip(reversed(heads.to_pylist()), reversed(range(len(heads))), strict=True))
        again = next(i for i, name in enumerate(heads.to_pylist()) if first[name] < i)
        raise DataError(
            f"{where}, row {starts[again] + 1}: sequence {heads[again].as_py()!r} goes on after "
            "another one began; keep its rows together"
        )
    return np.append(starts, len(ids))


def _groups(names: pa.Array, offsets: npt.NDArray[np.int64], where: str) -> npt.NDArray[np.int64]:
    rows = np.asarray(names.dictionary_encode().indices.to_numpy(), dtype=np.int64)
    groups: npt.NDArray[np.int64] = rows[offsets[:-1]]
    other = np.flatnonzero(rows != np.repeat(groups, np.diff(offsets)))
    if len(other):
        first = offsets[np.searchsorted(offsets, other[0], side="right") - 1]
        raise DataError(
            f"{where}, row {other[0] + 1}, column `group`: expected {names[first].as_py()!r} as in "
            f"the rows before it of this sequence, found {names[other[0]].as_py()!r}; give each "
            "sequence one group"
        )
    return groups


def judge(scored: Scored, sure: Mapping[str, Interval], aims: Aims) -> Verdict:
    """Grade predictions; see `birnn.evaluation.verdict`.

    Args:
        scored: what to grade.
        sure: what `Scored.intervals` gives.
        aims: what to reach.
    """
    found, labels = scored.metrics(), scored.labels
    ends = {name: (one.low, one.high) for name, one in sure.items()}
    paradox = data_checks.accuracy_paradox(
        scored.actual, scored.predicted, sure, labels=labels, critical=aims.critical
    )
    present = metrics.present(scored.actual, labels, scored.offsets, scored.groups)
    return verdict.verdict(Basis(found, ends, present, [paradox]), aims)
