"""The sequence table: the tidy form in which sequences come in and predictions go out.

One row a step, the rows of a sequence together and in order. Columns: `sequence` (id); numeric
features or one `token`; `label`; optionally `group` (never divided between splits) and `split`.

    batches = checked(source, task="tagging", where="speech.csv")    # Arrow record batches
    write(batches, "data/raw/sequences.parquet")
    for table, offsets in chunks("data/raw/sequences.parquet"): ...   # whole sequences

Everything streams: what is held is a chunk of rows and the ids that were seen.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from birnn import files
from birnn.errors import DataError

SPLITS = ("train", "validation", "test")
TEXT_COLUMNS = ("sequence", "group", "split", "token", "label")
CHUNK_ROWS = 1 << 17


def feature_names(schema: pa.Schema) -> list[str]:
    """The columns that hold numeric features, in the table's order."""
    return [name for name in schema.names if name not in TEXT_COLUMNS]


def checked(
    batches: Iterable[pa.RecordBatch], *, task: str, where: str, labelled: bool = True
) -> Iterator[pa.RecordBatch]:
    """Bring record batches to the table's types and refuse what cannot be trained on.

    Text columns become strings, features float32.

    Args:
        batches: consecutive rows, all with one schema.
        task: `tagging`, or `classification`, where all rows of a sequence carry one label.
        where: what to call the source in messages, such as the file's name.
        labelled: whether a `label` column must be there.

    Raises:
        DataError: a column is missing or of a wrong type; a value is missing, NaN or infinite;
            sequences are interleaved; a label, group or split changes within a sequence; a group
            is in two splits; there are no rows.
    """
    rows = 0
    order = _Order(task, where)
    for batch in batches:
        if rows == 0:
            check_columns(batch.schema, where, labelled=labelled)
        typed = _typed(batch, where, rows)
        order.check(typed, rows)
        rows += typed.num_rows
        yield typed
    if rows == 0:
        raise DataError(f"{where}: expected rows, found none")


def check_columns(schema: pa.Schema, where: str, *, labelled: bool = True) -> None:
    """Refuse a table whose columns are not those of a sequence table.

    Raises:
        DataError: names the column that is missing, doubled, or one too many.
    """
    names = schema.names
    found = "found " + ", ".join(names)
    for name in ("sequence", "label") if labelled else ("sequence",):
        if name not in names:
            raise DataError(f"{where}: expected a column `{name}`, {found}")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{where}: expected each column once, found `{doubled[0]}` twice")
    if "token" in names and feature_names(schema):
        extra = feature_names(schema)[0]
        raise DataError(
            f"{where}: expected `token` or numeric features, found both; drop `{extra}`"
        )
    if "token" not in names and not feature_names(schema):
        raise DataError(f"{where}: expected `token` or at least one feature column, {found}")


def _typed(batch: pa.RecordBatch, where: str, rows: int) -> pa.RecordBatch:
    """The columns that the table has, in its order and types."""
    text = [name for name in TEXT_COLUMNS if name in batch.schema.names]
    columns = {name: text_column(batch[name], f"column `{name}`", where, rows) for name in text}
    for name in feature_names(batch.schema):
        columns[name] = _numbers(batch[name], f"column `{name}`", where, rows)
    return pa.RecordBatch.from_pydict(columns)


def text_column(column: pa.Array, name: str, where: str, rows: int) -> pa.Array:
    """Bring a column of names to strings, none of them missing.

    Args:
        column: strings, a dictionary of them, or whole numbers.
        name: what to call it in messages.
        where: what to call its table.
        rows: how many rows of the table come before it.

    Raises:
        DataError: it is of another type, or a value is missing or empty.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind) or pa.types.is_nested(kind):
        raise DataError(f"{where}, {name}: expected text or whole numbers, found {kind}")
    try:
        column = column.cast(pa.string())
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{where}, {name}, after row {rows}: expected UTF-8 text, found: {error}"
        ) from None
    missing = pc.fill_null(pc.equal(column, ""), fill_value=True).to_numpy(zero_copy_only=False)
    if missing.any():
        raise DataError(f"{where}, row {rows + int(missing.argmax()) + 1}, {name}: value missing")
    return column


def _numbers(column: pa.Array, name: str, where: str, rows: int) -> pa.Array:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"{where}, {name}: expected numbers, found {kind}; drop or encode it")
    column = column.cast(pa.float32(), safe=False)
    bad = ~np.isfinite(column.to_numpy(zero_copy_only=False))
    if bad.any():
        row = int(bad.argmax())
        found = column[row].as_py()
        raise DataError(
            f"{where}, row {rows + row + 1}, {name}: expected a finite number, "
            f"found {'nothing' if found is None else found}; fill it in or drop the sequence"
        )
    return column


class _Order:
    """What can only be seen across rows: where sequences begin, and what must not change in one."""

    def __init__(self, task: str, where: str) -> None:
        self.constant = ["group", "split"] + (["label"] if task == "classification" else [])
        self.where = where
        self.last: pa.RecordBatch | None = None
        self.seen: set[str] = set()
        self.split_of: dict[str, str] = {}

    def check(self, batch: pa.RecordBatch, rows: int) -> None:
        """Look at one more batch, whose first row is the table's row `rows` (from zero)."""
        joined = batch if self.last is None else pa.concat_batches([self.last, batch])
        first = rows - (joined.num_rows - batch.num_rows)
        starts = sequence_starts(joined["sequence"])
        self._check_constant(joined, starts, first)
        self._check_interleaved(joined, starts if self.last is None else starts[1:], first)
        self._check_splits(joined.take(pa.array(starts)), starts + first)
        self.last = joined.slice(joined.num_rows - 1)

    def _check_interleaved(
        self, batch: pa.RecordBatch, starts: npt.NDArray[np.int64], first: int
    ) -> None:
        for row, name in zip(
            starts.tolist(), batch["sequence"].take(starts).to_pylist(), strict=True
        ):
            if name in self.seen:
                raise DataError(
                    f"{self.where}, row {first + row + 1}: sequence {name!r} goes on after another "
                    "one began; give each sequence its own id and keep its rows together"
                )
            self.seen.add(name)

    def _check_constant(
        self, batch: pa.RecordBatch, starts: npt.NDArray[np.int64], first: int
    ) -> None:
        inside = np.ones(batch.num_rows, dtype=bool)
        inside[starts] = False
        for name in self.constant:
            if name in batch.schema.names:
                changed = _changes(batch[name]) & inside
                if changed.any():
                    row = int(changed.argmax())
                    raise DataError(
                        f"{self.where}, row {first + row + 1}, column `{name}`: expected "
                        f"{batch[name][row - 1].as_py()!r} on every row of sequence "
                        f"{batch['sequence'][row].as_py()!r}, found {batch[name][row].as_py()!r}"
                    )

    def _check_splits(self, heads: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> None:
        if "split" not in heads.schema.names:
            return
        key = "group" if "group" in heads.schema.names else "sequence"
        names, splits = heads[key].to_pylist(), heads["split"].to_pylist()
        for row, name, split in zip(rows.tolist(), names, splits, strict=True):
            place = f"{self.where}, row {row + 1}, column `split`"
            if split not in SPLITS:
                raise DataError(f"{place}: expected {', '.join(SPLITS)}, found {split!r}")
            if self.split_of.setdefault(name, split) != split:
                raise DataError(
                    f"{place}: expected {self.split_of[name]!r} as on the other rows of {key} "
                    f"{name!r}, found {split!r}; a {key} belongs to one split"
                )


def _changes(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one in the row above; the first row counts as a change."""
    changes = np.ones(len(column), dtype=bool)
    changes[1:] = pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return changes


def sequence_starts(ids: pa.Array) -> npt.NDArray[np.int64]:
    """The rows at which a new sequence begins."""
    return np.flatnonzero(_changes(ids))


def write(batches: Iterable[pa.RecordBatch], path: Path) -> None:
    """Stream record batches into a Parquet file."""
    stream = iter(batches)
    first = next(stream)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_batch(first)
        for batch in stream:
            writer.write_batch(batch)


def chunks(
    path: str | Path, rows: int = CHUNK_ROWS
) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
    """Read a Parquet sequence table back, about `rows` rows at a time.

    Yields:
        A table of whole sequences, and their offsets in it, (sequences + 1,) int64.

    Raises:
        DataError: the file is missing or is not Parquet.
    """
    try:
        with pq.ParquetFile(path) as file:
            yield from whole_sequences(file.iter_batches(batch_size=rows))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: expected Parquet, found {error}; run `dvc repro`") from None


def whole_sequences(
    batches: Iterable[pa.RecordBatch],
) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
    """Cut a stream of rows between sequences, never within one; see `chunks`."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        cut = _last_start(held, batch)
        if cut is None:
            held.append(batch)
            continue
        yield _chunk([*held, batch.slice(0, cut)])
        held = [batch.slice(cut)]
    if held:
        yield _chunk(held)


def _last_start(held: list[pa.RecordBatch], batch: pa.RecordBatch) -> int | None:
    """The row at which the batch's last sequence begins; None if all was begun before it."""
    start = int(sequence_starts(batch["sequence"])[-1])
    if start == 0 and (not held or held[-1]["sequence"][-1].equals(batch["sequence"][0])):
        return None
    return start


def _chunk(batches: list[pa.RecordBatch]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    table = pa.Table.from_batches([batch for batch in batches if batch.num_rows]).combine_chunks()
    starts = sequence_starts(table["sequence"].chunk(0))
    return table, np.append(starts, table.num_rows)


def summary(path: str | Path, *, task: str, where: str) -> dict[str, Any]:
    """Count what a Parquet sequence table holds.

    Args:
        path: the file, as `write` has made it.
        task: `tagging` or `classification`.
        where: what to call the source in messages.

    Returns:
        The tree of `summary.json`: numbers of sequences, steps and features (or distinct tokens),
        quantiles of the lengths, each class's count and share (of steps for tagging, of sequences
        for classification), and the number of sequences in each split that the table names.

    Raises:
        DataError: all labels are the same.
    """
    lengths: list[npt.NDArray[np.int64]] = []
    labels, named, tokens = Counter[str](), Counter[str](), set[str]()
    features: list[str] = []
    for table, offsets in chunks(path):
        heads = table.take(offsets[:-1])
        lengths.append(np.diff(offsets))
        labels.update(value_counts((table if task == "tagging" else heads)["label"]))
        features = feature_names(table.schema)
        if "split" in table.schema.names:
            named.update(value_counts(heads["split"]))
        if "token" in table.schema.names:
            tokens.update(table["token"].unique().to_pylist())
    if len(labels) == 1:
        (only,) = labels
        raise DataError(
            f"{where}, column `label`: expected two classes or more, found only {only!r}; "
            "add sequences of another class"
        )
    joined = np.concatenate(lengths)
    return {
        "task": task,
        "sequences": len(joined),
        "steps": int(joined.sum()),
        **({"tokens": len(tokens)} if tokens else {"features": features}),
        "lengths": _quantiles(joined),
        "labels": {
            name: {"count": labels[name], "share": labels[name] / labels.total()}
            for name in natural_order(labels)
        },
        "splits": {name: named[name] for name in SPLITS if name in named},
    }


def value_counts(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs."""
    counted = column.value_counts()
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort names as a person would: as numbers where all are numbers, else by the alphabet."""
    ordered = sorted(names)
    return sorted(ordered, key=int) if all(name.isdecimal() for name in ordered) else ordered


def _quantiles(lengths: npt.NDArray[np.int64]) -> dict[str, float]:
    shares = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}
    found = np.quantile(lengths, list(shares.values())).tolist()
    return {"mean": float(lengths.mean()), **dict(zip(shares, found, strict=True))}


def export(batches: Iterable[pa.Table], path: Path) -> None:
    """Stream tables into a `.csv` or `.parquet` file, whole or not at all; `-` is standard output.

    Raises:
        DataError: the name ends in something else.
    """
    if str(path) == "-":
        _write_csv(batches, sys.stdout.buffer)
        return
    if path.suffix not in (".csv", ".parquet"):
        raise DataError(f"{path}: expected a name that ends in .csv or .parquet")
    with files.replacing(path) as partial:
        if path.suffix == ".parquet":
            write((batch for table in batches for batch in table.to_batches()), partial)
        else:
            with partial.open("wb") as file:
                _write_csv(batches, file)


def _write_csv(batches: Iterable[pa.Table], file: IO[bytes]) -> None:
    for number, table in enumerate(batches):
        csv.write_csv(table, file, csv.WriteOptions(include_header=number == 0))
