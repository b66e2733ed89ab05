"""The sequence table: the tidy form in which sequences come in and predictions go out.

One row a step, the rows of a sequence together and in order. Columns: `sequence` (id); numeric
features or one `token`; `label`; optionally `group` (never divided between splits), `split`, and
`keep:NAME`, text that no model reads.

    batches = checked(source, task="tagging", where="speech.csv")    # Arrow record batches
    write(batches, "data/raw/sequences.parquet")
    for table, offsets in chunks("data/raw/sequences.parquet"): ...   # whole sequences

A table may be a folder of parts (`birnn.files.parts`), each of which holds whole sequences.

Everything streams: what is held is a chunk of rows and the ids that were seen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from birnn.errors import DataError
from birnn.files import bounds, console, named, parts, threads
from birnn.files.reading import Skipped

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Chunk = tuple[pa.Table, npt.NDArray[np.int64]]
"""Whole sequences, and their offsets in the table, (sequences + 1,) int64."""

SPLITS = ("train", "validation", "test")
TEXT_COLUMNS = ("sequence", "group", "split", "token", "label")
CODED = ["sequence", "group", "split", "label"]
"""Text of which the rows of a chunk share few; tokens may be as many as the rows."""
KEPT = "keep:"
"""What the names of columns begin with that travel with the rows, and that no model reads."""
PREFIX = "probability_"
"""What the names of columns begin with that say how probable a class is."""
WRITTEN = (".csv", ".jsonl", ".parquet")
CHUNK_ROWS = 1 << 17
SAMPLE_ROWS = 10_000
PACKING: dict[str, Any] = {"compression": "lz4", "write_statistics": False}
"""A tenth larger than with zstd, written in half of the time; nobody asks for minima of columns."""
Form = Literal["NFC"]
Precision = Literal["float32", "float64"]
"""Of numbers before they are scaled; models of 0.2.0 and before had rounded them to float32."""


def feature_names(schema: pa.Schema) -> list[str]:
    """The columns that hold numeric features, in the table's order."""
    return [name for name in schema.names if name not in TEXT_COLUMNS and not name.startswith(KEPT)]


def kept_names(schema: pa.Schema) -> list[str]:
    """The columns that travel with the rows, as they are called in this table."""
    return [name for name in schema.names if name.startswith(KEPT)]


def kept(table: pa.Table, offsets: Rows | None = None) -> dict[str, pa.ChunkedArray]:
    """The columns that travel with the rows under their own names, a value for each label.

    Args:
        table: whole sequences.
        offsets: where each begins, if a label is that of a sequence: the first step's value is its.
    """
    chosen = table.select(kept_names(table.schema))
    rows = chosen if offsets is None else chosen.take(offsets[:-1])
    return {name.removeprefix(KEPT): rows[name] for name in rows.schema.names}


def changes(column: pa.Array | pa.ChunkedArray) -> Mask:
    """Where a value differs from the one in the row above; the first row counts as a change."""
    if pa.types.is_dictionary(column.type):
        column = _combined(column).indices
    changes = np.ones(len(column), dtype=bool)
    changes[1:] = pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return changes


def _combined(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def sequence_starts(ids: pa.Array | pa.ChunkedArray) -> Rows:
    """The rows at which a new sequence begins."""
    return np.flatnonzero(changes(ids))


def write(batches: Iterable[pa.RecordBatch], path: Path) -> None:
    """Stream record batches into a Parquet file."""
    for _ in written(batches, path):
        pass


def written(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    """Pass record batches on as they are written into a Parquet file, which is whole at the end."""
    stream = iter(batches)
    for first in stream:
        with pq.ParquetWriter(path, first.schema, **PACKING, **_encodings(first)) as file:
            yield from threads.aside(file.write_batch, chain([first], stream))


def _encodings(first: pa.RecordBatch) -> dict[str, list[str]]:
    """How to write each column, by its first rows; both make it smaller, and faster to read.

    Text, and numbers that come again, as a dictionary; of others, all first bytes of the numbers
    together, then all second ones, and so on.
    """
    rows = first.slice(0, SAMPLE_ROWS)
    numbers = [field.name for field in first.schema if pa.types.is_floating(field.type)]
    various = [name for name in numbers if _are_various(rows[name])]
    repeated = [name for name in first.schema.names if name not in various]
    return {"use_dictionary": repeated, "use_byte_stream_split": various}


def _are_various(values: pa.Array) -> bool:
    """Whether more than one in four values is another than those before."""
    return bool(4 * pc.count_distinct(values).as_py() > len(values))


def write_parts(
    chunks: Iterable[Chunk], folder: parts.Folder, part_steps: int
) -> Iterator[parts.Written]:
    """Stream chunks into parts, each of which ends with the sequence that fills it.

    Args:
        chunks: whole sequences.
        folder: where to.
        part_steps: steps that a part has at least, but for the last one.

    Yields:
        Each part once it is written.
    """
    cut = _cut_into_parts(chunks, part_steps)
    for number, pieces in groupby(cut, key=itemgetter(0)):
        yield write_part((chunk for _, chunk in pieces), folder, number)


def _cut_into_parts(chunks: Iterable[Chunk], part_steps: int) -> Iterator[tuple[int, Chunk]]:
    """Cut chunks at the ends of parts, each piece with the number of its part."""
    number, steps = 0, 0
    for table, offsets in chunks:
        first = 0
        while first < len(offsets) - 1:
            end = int(np.searchsorted(offsets, offsets[first] + part_steps - steps))
            end = min(max(end, first + 1), len(offsets) - 1)
            start, stop = int(offsets[first]), int(offsets[end])
            yield number, (table.slice(start, stop - start), offsets[first : end + 1] - start)
            steps, first = steps + stop - start, end
            if steps >= part_steps:
                number, steps = number + 1, 0


def write_part(chunks: Iterable[Chunk], folder: parts.Folder, number: int) -> parts.Written:
    """Write chunks into a part of a table."""
    name, lengths, columns = parts.name(number, ".parquet"), list[Rows](), list[str]()

    def batches() -> Iterator[pa.RecordBatch]:
        for table, offsets in chunks:
            columns[:] = table.schema.names
            lengths.append(np.diff(offsets))
            yield from table.to_batches()

    with folder.file(name) as path:
        write(batches(), path)
        return folder.kept(path, columns, np.concatenate(lengths))


def chunks(path: str | Path, rows: int = CHUNK_ROWS, *, coded: bool = False) -> Iterator[Chunk]:
    """Read a Parquet sequence table back, about `rows` rows at a time.

    Args:
        path: a file, or a folder of parts.
        rows: a chunk has fewer, or more, by the last of its sequences.
        coded: whether to leave text that comes again as the dictionary that it is on disk, which
            takes half the time to work with; `spelled` makes it text.

    Raises:
        DataError: the file, or a part, is missing or is not Parquet.
    """
    if parts.is_parted(path):
        for place in parts.of(path):
            yield from chunks_of(place, rows, coded=coded)
    else:
        yield from _of_file(path, rows, coded=coded)


def chunks_of(
    place: parts.Place, rows: int = CHUNK_ROWS, *, coded: bool = False
) -> Iterator[Chunk]:
    """Read a part of a table; see `chunks`.

    Raises:
        DataError: it is missing, or is not what the index says.
    """
    sequences = steps = 0
    with place.opened() as path:
        for table, offsets in _of_file(path, rows, str(place), coded=coded):
            if not steps:
                place.check_columns(table.schema.names)
            sequences, steps = sequences + len(offsets) - 1, steps + table.num_rows
            yield table, offsets
    place.check_counts(sequences, steps)


def spelled(table: pa.Table) -> pa.Table:
    """Spell out text that was left as a dictionary."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            text = table[field.name].cast(field.type.value_type)
            table = table.set_column(place, field.name, text)
    return table


def _of_file(
    path: str | Path, rows: int, name: str = "", *, coded: bool = False
) -> Iterator[Chunk]:
    try:
        known = pq.read_metadata(path)
        text = [one for one in CODED if coded and one in known.schema.names]
        options: dict[str, Any] = {"metadata": known, "read_dictionary": text}
        # Else it keeps what was read.
        with pq.ParquetFile(path, pre_buffer=False, **options) as file:
            # Each piece of a file has a dictionary of its own, at whose end a batch ends.
            yield from whole_sequences(of_rows(file.iter_batches(batch_size=rows), rows))
    except FileNotFoundError:
        raise DataError(f"{name or path}: no such file; run `dvc repro` first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{name or path}: expected Parquet, found {error}; run `dvc repro`"
        ) from None


def of_rows(batches: Iterable[pa.RecordBatch], rows: int = CHUNK_ROWS) -> Iterator[pa.Table]:
    """Cut a stream of rows anew, into tables of so many, as a Parquet file is read back."""
    held, count = list[pa.RecordBatch](), 0
    for batch in batches:
        while count + batch.num_rows >= rows:
            head, batch = batch.slice(0, rows - count), batch.slice(rows - count)
            yield pa.Table.from_batches([*held, head])
            held, count = [], 0
        if batch.num_rows:
            held, count = [*held, batch], count + batch.num_rows
    if held:
        yield pa.Table.from_batches(held)


def whole_sequences(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[Chunk]:
    """Cut a stream of rows between sequences, never within one; see `chunks`.

    Raises:
        DataError: a sequence takes too much memory.
    """
    held: list[pa.Table] = []
    for batch in batches:
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        cut = _last_start(held, table)
        if cut is None:
            held.append(table)
            _check_size(held)
            continue
        yield _chunk([*held, table.slice(0, cut)])
        held = [table.slice(cut)]
    if held:
        yield _chunk(held)


def _check_size(held: list[pa.Table]) -> None:
    """Refuse a sequence that is too large to be held whole."""
    steps, size = sum(one.num_rows for one in held), sum(one.nbytes for one in held)
    place = f"sequence {held[-1]['sequence'][0].as_py()!r}"
    bounds.check_size(steps, size, place, "divide it, or set data.max_steps and data.longer: cut")


def _last_start(held: list[pa.Table], table: pa.Table) -> int | None:
    """The row at which the table's last sequence begins; None if all was begun before it."""
    start = int(sequence_starts(table["sequence"])[-1])
    first = table["sequence"][0].as_py()
    if start == 0 and (not held or held[-1]["sequence"][-1].as_py() == first):
        return None
    return start


def _chunk(tables: list[pa.Table]) -> Chunk:
    table = pa.concat_tables([table for table in tables if table.num_rows]).combine_chunks()
    starts = sequence_starts(table["sequence"].chunk(0))
    return table, np.append(starts, table.num_rows)


def cut(
    batches: Iterable[pa.RecordBatch], max_steps: int, skipped: Skipped
) -> Iterator[pa.RecordBatch]:
    """Leave out the steps of each sequence after its first `max_steps`, and count them.

    Args:
        batches: consecutive rows of the sequence table, checked.
        max_steps: how many to keep.
        skipped: counts the others.
    """
    last, before = None, 0
    for batch in batches:
        starts = sequence_starts(batch["sequence"])
        lengths = np.diff(np.append(starts, batch.num_rows))
        step = np.arange(batch.num_rows) - np.repeat(starts, lengths)
        if batch["sequence"][0].as_py() == last:
            step[: lengths[0]] += before
        last, before = batch["sequence"][-1].as_py(), int(step[-1]) + 1
        beyond = step >= max_steps
        if beyond.any():
            first = batch["sequence"][int(beyond.argmax())].as_py()
            skipped.add("steps beyond data.max_steps", f"sequence {first!r}", int(beyond.sum()))
        if not beyond.all():
            yield batch.filter(pa.array(~beyond))


def value_counts(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs."""
    counted = column.value_counts()
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort names as a person would: as numbers where all are numbers, else by the alphabet."""
    ordered = sorted(names)
    numbers = all(name.isdecimal() for name in ordered)
    return sorted(ordered, key=_size) if numbers else ordered


def _size(number: str) -> tuple[int, str]:
    """What orders numbers as `int` does, which refuses more than 4300 digits."""
    digits = number.lstrip("0")
    return len(digits), digits


def export(batches: Iterable[pa.Table], path: Path, inputs: Iterable[Path] = ()) -> None:
    """Stream tables into a file, whole or not at all; `-` is standard output, which gets CSV.

    Args:
        batches: of one schema.
        path: where to, `.csv`, `.jsonl` or `.parquet`.
        inputs: what is read meanwhile.

    Raises:
        DataError: the name ends in something else, or is that of an input.
    """
    if str(path) == "-":
        if sys.stdout.isatty():
            _show_csv(batches)
        else:
            _write_csv(batches, sys.stdout.buffer)
        return
    if path.suffix not in WRITTEN:
        raise DataError(f"{path}: expected a name that ends in {', '.join(WRITTEN)}")
    with named.output(path, inputs) as partial:
        if path.suffix == ".parquet":
            write((batch for table in batches for batch in table.to_batches()), partial)
        else:
            writer = _write_csv if path.suffix == ".csv" else _write_jsonl
            with partial.open("wb") as file:
                writer(batches, file)


def _write_csv(batches: Iterable[pa.Table], file: IO[bytes]) -> None:
    for number, table in enumerate(batches):
        csv.write_csv(table, file, csv.WriteOptions(include_header=number == 0))


def _write_jsonl(batches: Iterable[pa.Table], file: IO[bytes]) -> None:
    """One JSON object a line: text, whole numbers, and floats with the digits that they need."""
    for table in batches:
        parts: list[Any] = []
        for name in table.schema.names:
            key = json.dumps(name, ensure_ascii=False)
            parts += [f"{', ' if parts else '{'}{key}: ", _json(table[name].combine_chunks())]
        rows = pc.binary_join_element_wise(*parts, "}\n", "")
        file.write("".join(rows.to_pylist()).encode())


def _json(column: pa.Array) -> pa.Array:
    """Each value as JSON."""
    if pa.types.is_string(column.type):
        encoded = column.dictionary_encode()
        texts = [json.dumps(text, ensure_ascii=False) for text in encoded.dictionary.to_pylist()]
        column = pa.array(texts, pa.string()).take(encoded.indices)
    return pc.fill_null(column.cast(pa.string()), "null")


def _show_csv(batches: Iterable[pa.Table]) -> None:
    """The same for a person at a terminal, which control characters in ids would confuse."""
    for number, table in enumerate(batches):
        sink = pa.BufferOutputStream()
        csv.write_csv(table, sink, csv.WriteOptions(include_header=number == 0))
        console.say(sink.getvalue().to_pybytes().decode().removesuffix("\n"))
