"""How much a file may become in memory: what a small one may hide is refused while it is read.

    with opened("data.csv.gz") as file: ...               # bytes; a gzip file may expand so far
    for line in whole_lines(file, "data.csv.gz"): ...      # none of them longer than a limit
    for batch in parquet_batches("data.parquet", rows=65536): ...

Two megabytes of gzip may hold two gigabytes of zeros, and a kilobyte of Parquet a list of as many
numbers as one likes. The limits are far above what data have that one can train on.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, AnyStr

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from birnn.errors import DataError
from birnn.files import looks, named

FREE = 1 << 28  # bytes that each file may become
EXPANSION = 200  # bytes that one of a compressed file may become beyond that; of tables, 5 to 50
LONGEST_LINE = 1 << 26  # characters or bytes
LONGEST_TEXT = 1 << 16  # bytes of a value that stands in a column of text
BATCH_BYTES = 1 << 26  # of columns, about which are held at a time
MOST_VALUES = 1 << 27  # in a column of a row group, where rows have lists
MOST_BYTES, MOST_STEPS = 1 << 29, 10_000_000  # of one sequence, in all columns
GZIP = b"\x1f\x8b"  # with which it begins
NUMBER = 8  # bytes of a number, or of the place of a text


class _Expanding(io.RawIOBase):
    """What a gzip file holds, as long as it is in proportion to its size."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.done = path, 0
        self.file = gzip.GzipFile(path)
        self.most = max(FREE, EXPANSION * Path(path).stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        found = self.file.readinto(buffer)  # type: ignore[arg-type]
        self.done += found
        if self.done > self.most:
            raise DataError(_too_much(self.path))
        return found

    def close(self) -> None:
        self.file.close()
        super().close()


def opened(path: str | Path) -> IO[bytes]:
    """Open a file for its bytes, compressed or not.

    Raises:
        DataError: it is no file, but a pipe, say; by its first bytes it is no text; while it is
            read: it expands out of proportion.
    """
    named.check_input(path)
    packed, place = str(path).lower().endswith(".gz"), Path(path)  # messages name `path`
    with place.open("rb") as file:
        begin = file.read(looks.LONGEST)
    if packed and begin and not begin.startswith(GZIP):
        what = looks.of_bytes(begin) or "other bytes; if it is not packed, take .gz off its name"
        raise DataError(f"{path}: expected gzip, found {what}")
    found = looks.of_bytes(begin)
    if not packed and found and not found.endswith(place.suffix.lower() or "-"):
        raise DataError(f"{path}: expected text, found {found}")
    return io.BufferedReader(_Expanding(path), 1 << 20) if packed else place.open("rb")


def check_archive(path: str | Path) -> None:
    """Refuse a `.npz` file that expands out of all proportion.

    Raises:
        DataError: it does.
        OSError, zipfile.BadZipFile: it is missing or broken.
    """
    with zipfile.ZipFile(path) as file:
        size = sum(one.file_size for one in file.infolist())
    check_expansion(size, path)


def check_expansion(size: int, path: str | Path) -> None:
    """Refuse a file of which so many bytes become out of proportion.

    Raises:
        DataError: they do.
    """
    if size > max(FREE, EXPANSION * Path(path).stat().st_size):
        raise DataError(_too_much(path))


def _too_much(path: str | Path) -> str:
    return (
        f"{path}: expected a file that holds up to {EXPANSION} times its own size, or "
        f"{FREE >> 20} MB, found more; if all of that are data, save it without compression"
    )


def whole_lines(file: IO[AnyStr], path: str | Path) -> Iterator[AnyStr]:
    """Read line by line, each with its end.

    Raises:
        DataError: one is too long to be held.
    """
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) >= LONGEST_LINE:
            check_line(line, f"{path}, line {number}")
        yield line


def check_line(line: str | bytes, place: str) -> None:
    """Refuse a line of which `readline(LONGEST_LINE)` has given a part.

    Raises:
        DataError: names its place.
    """
    if len(line) >= LONGEST_LINE:
        raise DataError(
            f"{place}: expected lines of up to {LONGEST_LINE >> 20} MB, found a longer one; is a "
            "quote not closed? write long sequences with a row a step, or as Parquet"
        )


def parquet_batches(path: str | Path, rows: int, buffer_size: int = 0) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a Parquet file; text that is the same in many places is held once.

    Args:
        path: the file.
        rows: of a batch, at most; fewer where they are large.
        buffer_size: bytes that are read at a time; whole columns of a row group where 0.

    Raises:
        DataError: a text is too long, rows are too large, or fewer than the file says.
        pyarrow.ArrowException, OSError: it is no Parquet.
    """
    with pq.ParquetFile(path, pre_buffer=False) as file:
        schema, size, found = file.schema_arrow, _rows_at_once(file, path, rows), 0
        text = _leaves(file, [field.name for field in schema if _is_text(_element(field.type))])
    with pq.ParquetFile(
        path,
        buffer_size=buffer_size,
        pre_buffer=False,  # with it, what was read is kept until the end
        page_checksum_verification=True,
        read_dictionary=text,
    ) as file:
        for batch in file.iter_batches(batch_size=size):
            for part in parts(batch, path):
                found += part.num_rows
                yield _expanded(part, schema)
        if found != file.metadata.num_rows:  # a damaged page may end early without an error
            raise DataError(f"{path}: expected {file.metadata.num_rows} rows, found {found}")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _element(kind: pa.DataType) -> pa.DataType:
    """What a list holds; another type as it is."""
    return kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind


def _leaves(file: pq.ParquetFile, names: list[str]) -> list[str]:
    """The paths of columns, as the file calls them."""
    paths = [file.schema.column(number).path for number in range(len(file.schema))]
    within = tuple(f"{name}." for name in names)
    return [one for one in paths if one in names or one.startswith(within)]


def _rows_at_once(file: pq.ParquetFile, path: str | Path, rows: int) -> int:
    """How many rows to hold at a time, by what the file says of their size."""
    largest = 1
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        size = 0
        for column in map(group.column, range(group.num_columns)):
            if column.num_values > max(MOST_VALUES, group.num_rows):
                raise DataError(
                    f"{path}, column `{column.path_in_schema.partition('.')[0]}`: expected lists "
                    f"with up to {MOST_VALUES} values in a row group, found {column.num_values}; "
                    "divide long sequences, or write smaller row groups"
                )
            size += max(column.total_uncompressed_size, NUMBER * column.num_values)
        largest = max(largest, size // max(1, group.num_rows))
    return max(1, min(rows, BATCH_BYTES // largest))


def parts(batch: pa.RecordBatch, path: str | Path) -> Iterator[pa.RecordBatch]:
    """Cut rows so that there is room for their text where it does not stand once any more.

    Raises:
        DataError: a text that stands once, in a dictionary, is too long.
    """
    sizes = np.ones(batch.num_rows, np.int64)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        counts: int | np.ndarray[Any, np.dtype[np.int64]] = 1
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            counts = pc.fill_null(column.value_lengths(), 0).to_numpy().astype(np.int64)
            column = column.flatten()
        if pa.types.is_dictionary(column.type):
            sizes += counts * _longest(column.dictionary, f"{path}, column `{name}`")
    places = np.cumsum(sizes) // BATCH_BYTES
    for start, end in pairwise([0, *np.flatnonzero(np.diff(places)) + 1, batch.num_rows]):
        yield batch.slice(start, end - start)


def _longest(texts: pa.Array, where: str) -> int:
    """Bytes of the longest text."""
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        return NUMBER
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > LONGEST_TEXT:
        raise DataError(
            f"{where}: expected texts of up to {LONGEST_TEXT} bytes, found one of {longest}; "
            "shorten it, or leave the column out of the file"
        )
    return int(longest)


def _expanded(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Give text the type that it has in the file."""
    columns = [
        column if pa.types.is_dictionary(field.type) else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    fields = [field.with_type(one.type) for field, one in zip(schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, schema.metadata))


def check_repeated(lengths: np.ndarray[Any, Any], texts: Iterable[pa.Array], place: str) -> None:
    """Refuse names of sequences that take too much memory once they stand on each step.

    Args:
        lengths: (N,) steps of each sequence.
        texts: columns of N values; those that are no text count for nothing.
        place: where they come from, for messages.

    Raises:
        DataError: see `check_size`.
    """
    sizes = np.full(len(lengths), NUMBER, np.int64)
    for column in texts:
        if _is_text(column.type):
            sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    check_size(int(lengths.max(initial=0)), int((sizes * lengths).max(initial=0)), place)


def check_size(steps: int, size: int, place: str, advice: str = "divide it") -> None:
    """Refuse a sequence that takes too much memory.

    Args:
        steps: that it has.
        size: bytes of all of them.
        place: what to call it in messages.
        advice: what to do about it.

    Raises:
        DataError: there are more than `MOST_STEPS` or `MOST_BYTES`.
    """
    if steps > MOST_STEPS or size > MOST_BYTES:
        raise DataError(
            f"{place}: expected a sequence of up to {MOST_STEPS:,} steps and "
            f"{MOST_BYTES >> 20} MB, found more; {advice}"
        )
