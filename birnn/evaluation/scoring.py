"""Anybody's predictions, in a table beside the true labels, scored as `evaluate` scores its own.

scored = read("predictions.csv")
scored.metrics()                                   # flat, as in metrics.json
for table in tables(scored): Console().print(table)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv
from rich.markup import escape
from rich.table import Table

from birnn.data.sequences import rows_by_group
from birnn.errors import DataError
from birnn.evaluation import checks, intervals, metrics, verdict
from birnn.evaluation.intervals import Interval
from birnn.evaluation.verdict import Aims, Basis, Verdict
from birnn.files.table_checks import text_column
from birnn.files.tables import natural_order, sequence_starts

SUFFIXES = {".csv": ",", ".tsv": "\t", ".parquet": ""}
PREFIX = "probability_"
MOST_COLUMNS, MOST_PAIRS = 12, 20  # of a confusion matrix on a terminal; of its pairs otherwise


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
    """

    where: str
    labels: list[str]
    actual: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64] | None
    offsets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]

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


def read(path: str | Path) -> Scored:
    """Read a table with `sequence`, `actual` or `label`, `predicted`, and `probability_LABEL`.

    Other columns are ignored. A class without a `probability_LABEL` has probability 0 where other
    classes have one.

    Raises:
        DataError: the file is missing or is not what its name says, a column or a value is missing,
            or the rows of a sequence are not together.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    try:
        table = _parquet(path) if path.suffix == ".parquet" else _text(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        message = " ".join(str(error).split())
        raise DataError(f"{path}: expected {path.suffix[1:]}, found: {message}") from None
    return _scored(table, str(path))


def _parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(_wanted(file.schema_arrow.names, str(path)))


def _text(path: Path) -> pa.Table:
    parse = csv.ParseOptions(delimiter=SUFFIXES[path.suffix], newlines_in_values=True)
    with csv.open_csv(path, parse_options=parse) as reader:
        names = _wanted(reader.schema.names, str(path))
    types = {name: pa.float64() if name.startswith(PREFIX) else pa.string() for name in names}
    convert = csv.ConvertOptions(
        column_types=types, include_columns=names, strings_can_be_null=False
    )
    return csv.read_csv(path, parse_options=parse, convert_options=convert)


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


def _scored(table: pa.Table, where: str) -> Scored:
    if not table.num_rows:
        raise DataError(f"{where}: expected rows, found none")
    columns = {name: table[name].combine_chunks() for name in table.schema.names}
    named = {name: column for name, column in columns.items() if not name.startswith(PREFIX)}
    texts = {
        name: text_column(column, f"column `{name}`", where, 0) for name, column in named.items()
    }
    ids, predicted = texts["sequence"], texts["predicted"]
    actual = texts["actual" if "actual" in texts else "label"]
    offsets = _offsets(ids, where)
    given = {name.removeprefix(PREFIX): columns[name] for name in columns.keys() - named.keys()}
    occurring = {*actual.unique().to_pylist(), *predicted.unique().to_pylist()}
    labels = natural_order(occurring | given.keys())
    return Scored(
        where=where,
        labels=labels,
        actual=_indices(actual, labels),
        predicted=_indices(predicted, labels),
        probabilities=_probabilities(given, labels, where) if given else None,
        offsets=offsets,
        groups=_groups(texts.get("group", ids), offsets, where),
    )


def _indices(column: pa.Array, labels: list[str]) -> npt.NDArray[np.int64]:
    return np.asarray(pc.index_in(column, pa.array(labels, pa.string())).to_numpy(), dtype=np.int64)


def _probabilities(
    given: Mapping[str, pa.Array], labels: list[str], where: str
) -> npt.NDArray[np.float64]:
    found = np.zeros((len(next(iter(given.values()))), len(labels)))
    for label, column in given.items():
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise DataError(
                f"{where}, column `{PREFIX}{label}`: expected numbers, found {column.type}"
            )
        numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        found[:, labels.index(label)] = numbers
    return found


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


def tables(scored: Scored, sure: Mapping[str, Interval]) -> Iterator[Table]:
    """Draw the metrics with 95 % intervals, each class, and each bucket of lengths.

    Args:
        scored: what was scored.
        sure: what `Scored.intervals` gives.
    """
    found = scored.metrics()
    yield _headlines(scored, found, sure)
    yield _confusion(scored)
    yield _by_class(scored, found, sure)
    yield _by_length(scored)


def _headlines(scored: Scored, found: Mapping[str, float], sure: Mapping[str, Interval]) -> Table:
    sequences, rows = len(scored.offsets) - 1, len(scored.actual)
    table = _table(f"{rows} rows of {sequences} sequences", "metric", "value", "95 % interval")
    table.caption = intervals.in_brackets(len(np.unique(scored.groups)), sequences)
    table.caption_justify = "left"
    of_class = {
        f"{figure}_{label}"
        for figure in ("precision", "recall", "f1", "support")
        for label in scored.labels
    }
    for name in (name for name in found if name not in of_class):
        table.add_row(name, f"{found[name]:.4f}", _ends(sure.get(name)))
    return table


def _confusion(scored: Scored) -> Table:
    """Counts, a row for each true class and a column for each answer; of many classes, the pairs
    that are confused most.
    """
    counts = metrics.confusion(scored.actual, scored.predicted, len(scored.labels))
    if len(scored.labels) <= MOST_COLUMNS:
        table = _table("true classes by answers", "true", *map(escape, scored.labels))
        for label, row in zip(scored.labels, counts.tolist(), strict=True):
            table.add_row(escape(label), *map(str, row))
        return table
    table = _table("most frequent confusions", "true", "answer", "count")
    wrong = counts - np.diag(np.diagonal(counts))
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS].tolist():
        actual, answer = divmod(cell, len(scored.labels))
        names = escape(scored.labels[actual]), escape(scored.labels[answer])
        table.add_row(*names, str(wrong[actual, answer]))
    return table


def judge(scored: Scored, sure: Mapping[str, Interval], aims: Aims) -> Verdict:
    """Grade predictions; see `birnn.evaluation.verdict`.

    Args:
        scored: what to grade.
        sure: what `Scored.intervals` gives.
        aims: what to reach.
    """
    found, labels = scored.metrics(), scored.labels
    ends = {name: (one.low, one.high) for name, one in sure.items()}
    counts = metrics.confusion(scored.actual, scored.predicted, len(labels))
    table = metrics.per_class(counts, labels)
    paradox = checks.accuracy_paradox(
        table["support"],
        np.nan_to_num(table["recall"]),
        accuracy=found["accuracy"],
        intervals=dict.fromkeys(intervals.names(labels), (0.0, 1.0)) | ends,
        labels=labels,
        critical=aims.critical,
    )
    rows, groups = rows_by_group(scored.offsets, scored.groups)
    present = metrics.present(scored.actual[rows], labels, groups)
    return verdict.verdict(Basis(found, ends, present, [paradox]), aims)


def _by_class(scored: Scored, found: Mapping[str, float], sure: Mapping[str, Interval]) -> Table:
    table = _table("by class", "class", "precision", "recall", "f1", "support")
    for label in scored.labels:
        names = [f"{figure}_{label}" for figure in ("precision", "recall", "f1")]
        shown = [
            f"{found[name]:.4f} {_ends(sure.get(name))}" if name in found else "" for name in names
        ]
        table.add_row(escape(label), *shown, f"{found[f'support_{label}']:.0f}")
    return table


def _by_length(scored: Scored) -> Table:
    found: dict[str, Any] = metrics.by_length(
        scored.actual,
        scored.predicted,
        num_classes=len(scored.labels),
        offsets=scored.offsets,
        lengths=np.diff(scored.offsets),
    )
    table = _table("by length", "rows", "sequences", "accuracy", "f1_macro", "f1_weighted")
    for row in zip(*found.values(), strict=True):
        shortest, longest, sequences, _, *figures = row
        span = str(shortest) if shortest == longest else f"{shortest} to {longest}"
        table.add_row(span, str(sequences), *(f"{figure:.4f}" for figure in figures))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _ends(interval: Interval | None) -> str:
    return "" if interval is None else f"({interval.low:.4f} to {interval.high:.4f})"
