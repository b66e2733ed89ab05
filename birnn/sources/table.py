"""The user's own sequence table, in a CSV, TSV or Parquet file or in a folder of such parts."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from birnn.errors import DataError
from birnn.files.reading import kind, missing, one_line
from birnn.files.table_checks import check_columns, check_doubled, from_file
from birnn.files.tables import TEXT_COLUMNS

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
ABSENT = ["", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
"""What stands for a missing number, of what pandas takes for one."""
BUFFER_BYTES = 1 << 22
BROKEN = (pa.ArrowException, csv.Error, EOFError, OSError, UnicodeDecodeError, zlib.error)
"""What pyarrow, csv and gzip raise for files that are not theirs."""
PLAIN_QUOTE = 'write a quote that is a plain character as """"'
PLACE = re.compile(r"(?:In CSV column #(?P<column>\d+): )?Row #(?P<row>\d+)")


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
        if path.name.lower().endswith(suffix) and not path.is_dir():
            return suffix
    found = ", found a folder" if path.is_dir() else ""
    raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}{found}")


def _file(path: Path, features: Collection[str] | None) -> Iterator[pa.RecordBatch]:
    suffix = _suffix(path)
    try:
        yield from _parquet(path) if suffix == ".parquet" else _csv(path, features)
    except FileNotFoundError:
        raise DataError(missing(path)) from None
    except UnicodeEncodeError as error:  # what is not UTF-8 comes as surrogates; see `_text`
        found = f"found the column name {error.object!r}; save it as UTF-8"
        raise DataError(f"{path}: expected UTF-8, {found}") from None
    except BROKEN as error:
        raise DataError(f"{path}: expected {suffix[1:]}, found: {one_line(error)}") from None


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
    delimiter = "\t" if kind(path) == ".tsv" else ","
    with _text(path) as file:
        header = next(filter(None, csv.reader(file, delimiter=delimiter)), [])
    if not header:
        raise DataError(f"{path}: expected a header and rows, found nothing")
    if features is None:
        check_columns(pa.schema([(name, pa.string()) for name in header]), str(path))
    else:
        check_doubled(header, str(path))
    _check_quotes(path, delimiter)
    types = {name: pa.float64() for name in (header if features is None else features)}
    types |= dict.fromkeys(TEXT_COLUMNS, pa.string())
    rows = 0
    try:
        for batch in _csv_batches(path, types, delimiter, threads=True):
            _check_lines(batch, path, rows)
            rows += batch.num_rows
            yield batch
    except pa.ArrowInvalid:
        _raise_with_line(path, header, types, delimiter)
        raise


def _csv_batches(
    path: Path, types: Mapping[str, pa.DataType], delimiter: str, *, threads: bool
) -> Iterator[pa.RecordBatch]:
    convert = arrow_csv.ConvertOptions(
        column_types=types, null_values=ABSENT, strings_can_be_null=False
    )
    parse = arrow_csv.ParseOptions(delimiter=delimiter)
    read_options = arrow_csv.ReadOptions(use_threads=threads)
    compressed = "gzip" if path.name.lower().endswith(".gz") else None
    with (
        pa.input_stream(path, compression=compressed) as file,
        arrow_csv.open_csv(file, read_options, parse, convert) as reader,
    ):
        yield from (batch for batch in reader if batch.num_rows)


def _check_quotes(path: Path, delimiter: str) -> None:
    """Refuse quotes that enclose a part of a field only, or never close, at both ends of a file.

    pyarrow leaves them out. What they swallow between the ends is seen by `_check_lines`.
    """
    well = _well_quoted(delimiter)
    for start, lines in _ends(path):
        matched = well.match(b"\n" + lines)
        end = matched.end() - 1 if matched else 0
        if end < len(lines):
            with _bytes(path) as file:
                line = file.read(start + end).count(b"\n") + 1
            found = lines[end : end + 60].split(b"\n")[0].decode(errors="replace")
            raise DataError(
                f"{path}, line {line}: expected a quoted field to end before the next "
                f"{delimiter!r} or the line's end, found {found!r}; {PLAIN_QUOTE}"
            )


def _ends(path: Path) -> Iterator[tuple[int, bytes]]:
    """The first lines of a file and its last ones, each with its place; only the first of gzip."""
    with _bytes(path) as file:
        head = file.read(BUFFER_BYTES) + file.readline()
        yield 0, head
        if not isinstance(file, gzip.GzipFile) and file.read(1):
            file.seek(max(len(head) - 1, path.stat().st_size - BUFFER_BYTES))
            file.readline()
            yield file.tell(), file.read()


def _check_lines(batch: pa.RecordBatch, path: Path, rows: int) -> None:
    """Refuse a field that holds the end of a line: a quote in it is plain, and swallowed rows."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not pa.types.is_string(column.type) or column.buffers()[2] is None:
            continue
        if b"\n" in column.buffers()[2].to_pybytes():
            found = pc.match_substring(column, "\n")
            if pc.any(found).as_py():
                line = _line_of_row(path, rows + pc.index(found, value=True).as_py() + 2)
                raise DataError(
                    f"{path}, line {line}, column `{name}`: expected a row in one line, found the "
                    f"end of a line between quotes; {PLAIN_QUOTE}"
                )


def _well_quoted(delimiter: str) -> re.Pattern[bytes]:
    """A pattern that matches lines up to the first quoted field that does not end as it should."""
    begin, end = f"(?<=[{delimiter}\n])", f"(?=[{delimiter}\r\n]|\\Z)"
    field = f'{begin}"[^"\n]*+(?:""[^"\n]*+)*+"{end}'
    return re.compile(f'(?:[^"]++|(?<![{delimiter}\n])"|{field})*+'.encode())


def _raise_with_line(
    path: Path, header: list[str], types: Mapping[str, pa.DataType], delimiter: str
) -> None:
    """Read once more in one thread, since only then pyarrow knows the row that is wrong."""
    try:
        for _ in _csv_batches(path, types, delimiter, threads=False):
            pass
    except pa.ArrowInvalid as error:
        message = one_line(error)
        found = PLACE.search(message)
        if found is None:
            what = "rows, found none" if "Empty CSV" in message else f"CSV, found: {message}"
            raise DataError(f"{path}: expected {what}") from None
        place = f"{path}, line {_line_of_row(path, int(found['row']))}"
        if found["column"]:
            place += f", column `{header[int(found['column'])]}`"
        raise DataError(f"{place}: {_plainly(message)}") from None


def _plainly(message: str) -> str:
    """What pyarrow says of a row, in the words that other readers use."""
    if value := re.search(r"invalid value '(.*)'", message):
        return f"expected a number, found {value[1][:60]!r}; drop the column or encode it"
    if widths := re.search(r"Expected (\d+) columns, got (\d+): (.*)", message):
        return f"expected {widths[1]} fields, found {widths[2]}: {widths[3][:60]!r}"
    if "UTF8" in message:
        return "expected text in UTF-8, found other bytes; save it as UTF-8"
    return f"expected CSV, found: {message}"


def _line_of_row(path: Path, row: int) -> int:
    """The line of a row, of which the first is the header; pyarrow does not count empty ones."""
    with _text(path) as file:
        filled = (number for number, line in enumerate(file, 1) if line.strip("\r\n"))
        return next(islice(filled, row - 1, None), row)


def _bytes(path: Path) -> IO[bytes]:
    packed = path.name.lower().endswith(".gz")
    return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")


def _text(path: Path) -> io.TextIOWrapper:
    raw = _bytes(path)
    return io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
