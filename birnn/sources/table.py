"""The user's own sequence table, in a CSV, TSV or Parquet file or in a folder of such parts."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from birnn.errors import DataError
from birnn.reading import missing, one_line
from birnn.tables import TEXT_COLUMNS, from_file

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
BUFFER_BYTES = 1 << 22


def read(path: str | Path, features: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a table, as they are.

    In CSV and TSV the columns of the sequence table are read as text (so that the id `007` stays
    what it is) and all others as numbers.

    Args:
        path: a file in `.csv`, `.tsv` (both perhaps with `.gz`) or `.parquet`, or a folder of such
            files, all of one kind, which are read in the order of their names. Those that begin
            with a dot or an underscore are passed over.
        features: the columns to read as numbers, where others are of no interest; all where None.

    Raises:
        DataError: a file is missing, is not what its name says, or a field is not a number.
    """
    for part in _parts(Path(path)):
        yield from (from_file(batch, part) for batch in _file(part, features))


def _parts(path: Path) -> list[Path]:
    if not path.is_dir():
        _suffix(path)
        return [path]
    parts = sorted(part for part in path.iterdir() if part.name[0] not in "._")
    if not parts:
        raise DataError(f"{path}: expected files in {', '.join(SUFFIXES)}, found an empty folder")
    if len({_suffix(part) for part in parts}) > 1:
        names = f"{parts[0].name} and {parts[-1].name}"
        raise DataError(f"{path}: expected parts of one kind, found {names} among others")
    return parts


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")


def _file(path: Path, features: Collection[str] | None) -> Iterator[pa.RecordBatch]:
    try:
        yield from _parquet(path) if path.suffix == ".parquet" else _csv(path, features)
    except FileNotFoundError:
        raise DataError(missing(path)) from None
    except UnicodeEncodeError as error:  # what is not UTF-8 comes as surrogates; see `_opened`
        found = f"found the column name {error.object!r}; save it as UTF-8"
        raise DataError(f"{path}: expected UTF-8, {found}") from None
    except (pa.ArrowException, csv.Error, EOFError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected {path.suffix[1:]}, found: {one_line(error)}") from None


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    rows = 0
    with pq.ParquetFile(
        path,
        buffer_size=BUFFER_BYTES,  # without it, whole columns of a row group are read
        pre_buffer=False,  # with it, what was read is kept until the end
        page_checksum_verification=True,
    ) as file:
        for batch in file.iter_batches():
            rows += batch.num_rows
            yield batch
        if rows != file.metadata.num_rows:  # a damaged page may end early without an error
            raise DataError(f"{path}: expected {file.metadata.num_rows} rows, found {rows}")


def _csv(path: Path, features: Collection[str] | None) -> Iterator[pa.RecordBatch]:
    delimiter = "\t" if ".tsv" in path.suffixes[-2:] else ","
    with _opened(path) as file:
        header = next(filter(None, csv.reader(file, delimiter=delimiter)), [])
    types = {name: pa.float64() for name in (header if features is None else features)}
    types |= dict.fromkeys(TEXT_COLUMNS, pa.string())
    rows = 0
    try:
        for batch in _csv_batches(path, types, delimiter, threads=True):
            _check_quotes(batch, delimiter, path, rows)
            rows += batch.num_rows
            yield batch
    except pa.ArrowInvalid:
        _raise_with_line(path, header, types, delimiter)
        raise


def _csv_batches(
    path: Path, types: Mapping[str, pa.DataType], delimiter: str, *, threads: bool
) -> Iterator[pa.RecordBatch]:
    convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    parse = arrow_csv.ParseOptions(delimiter=delimiter)
    read_options = arrow_csv.ReadOptions(use_threads=threads)
    with arrow_csv.open_csv(path, read_options, parse, convert) as reader:
        yield from (batch for batch in reader if batch.num_rows)


def _check_quotes(batch: pa.RecordBatch, delimiter: str, path: Path, rows: int) -> None:
    """Refuse a field with a line in it: its quote is a plain character that swallowed rows."""
    for name in set(TEXT_COLUMNS) & set(batch.schema.names):
        if b"\n" not in (batch[name].buffers()[2] or pa.py_buffer(b"")).to_pybytes():
            continue
        swallowed = pc.match_substring_regex(batch[name], f"(?s)\n.*{delimiter}|{delimiter}.*\n")
        if pc.any(swallowed).as_py():
            row = rows + pc.index(swallowed, value=True).as_py() + 1
            raise DataError(
                f"{path}, row {row}, column `{name}`: found the end of a line between quotes; "
                'write a quote that is a plain character as """"'
            )


def _raise_with_line(
    path: Path, header: list[str], types: Mapping[str, pa.DataType], delimiter: str
) -> None:
    """Read once more in one thread, since only then pyarrow knows the line that is wrong."""
    try:
        for _ in _csv_batches(path, types, delimiter, threads=False):
            pass
    except pa.ArrowInvalid as error:
        message = re.sub(r"Row #(\d+)", r"line \1", one_line(error))
        names = dict(enumerate(header))
        message = re.sub(
            r"In CSV column #(\d+)", lambda m: f"column `{names.get(int(m[1]))}`", message
        )
        raise DataError(f"{path}: {one_line(message)}") from None


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
