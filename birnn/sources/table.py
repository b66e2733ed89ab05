"""The user's own sequence table, in a CSV or Parquet file."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from birnn.errors import DataError
from birnn.tables import TEXT_COLUMNS

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read(path: str | Path, features: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a `.csv`, `.csv.gz` or `.parquet` file, as they are.

    In a CSV file the columns of the sequence table are read as text (so that the id `007` stays
    what it is) and all others as numbers.

    Args:
        path: the file.
        features: the columns to read as numbers, where others are of no interest; all where None.

    Raises:
        DataError: the file is missing, is not what its name says, or a field is not a number.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    try:
        yield from _parquet(path) if path.suffix == ".parquet" else _csv(path, features)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; put it there, or correct data.path") from None
    except UnicodeEncodeError as error:  # what is not UTF-8 comes as surrogates; see `_opened`
        found = f"found the column name {error.object!r}; save it as UTF-8"
        raise DataError(f"{path}: expected UTF-8, {found}") from None
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        message = " ".join(str(error).split())
        raise DataError(f"{path}: expected {path.suffix[1:]}, found: {message}") from None


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches()


def _csv(path: Path, features: Collection[str] | None) -> Iterator[pa.RecordBatch]:
    with _opened(path) as file:
        header = next(filter(None, csv.reader(file)), [])
    types = {name: pa.float64() for name in (header if features is None else features)}
    types |= dict.fromkeys(TEXT_COLUMNS, pa.string())
    try:
        yield from _csv_batches(path, types, threads=True)
    except pa.ArrowInvalid:
        _raise_with_line(path, header, types)
        raise


def _csv_batches(
    path: Path, types: Mapping[str, pa.DataType], *, threads: bool
) -> Iterator[pa.RecordBatch]:
    convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    read_options = arrow_csv.ReadOptions(use_threads=threads)
    with arrow_csv.open_csv(path, read_options, convert_options=convert) as reader:
        yield from (batch for batch in reader if batch.num_rows)


def _raise_with_line(path: Path, header: list[str], types: Mapping[str, pa.DataType]) -> None:
    """Read once more in one thread, since only then pyarrow knows the line that is wrong."""
    try:
        for _ in _csv_batches(path, types, threads=False):
            pass
    except pa.ArrowInvalid as error:
        message = re.sub(r"Row #(\d+)", r"line \1", " ".join(str(error).split()))
        message = re.sub(
            r"In CSV column #(\d+)", lambda m: f"column `{header[int(m[1])]}`", message
        )
        raise DataError(f"{path}: {message}") from None


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
