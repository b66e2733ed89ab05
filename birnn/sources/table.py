"""The user's own sequence table, in a CSV, TSV or Parquet file or in a folder of such parts."""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from birnn.errors import DataError
from birnn.files import addresses, bounds, looks, parts, reading
from birnn.files.reading import Skipped, missing, one_line
from birnn.files.table_checks import OTHERS, TIMES, from_file
from birnn.params import TableData
from birnn.sources import dialect, folders
from birnn.sources.columns import Columns
from birnn.sources.dialect import Dialect
from birnn.sources.moments import is_time

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".psv", ".psv.gz", ".parquet")
SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
PACKED = (".zip", ".bz2", ".xz", ".zst", ".lz4", ".7z", ".rar", ".tar", ".tgz", ".z")
OF_OTHERS = {
    **dict.fromkeys((".dta",), "pandas.read_stata"),
    **dict.fromkeys((".sav", ".zsav"), "pandas.read_spss"),
    **dict.fromkeys((".sas7bdat", ".xpt"), "pandas.read_sas"),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), "pandas.read_hdf or h5py"),
    **dict.fromkeys((".pkl", ".pickle"), "pandas.read_pickle, if you trust it,"),
    **dict.fromkeys((".orc",), "pandas.read_orc"),
    **dict.fromkeys((".mat",), "scipy.io.loadmat"),
    **dict.fromkeys((".arff",), "scipy.io.arff.loadarff"),
    **dict.fromkeys((".npy",), "numpy.load"),
    **dict.fromkeys((".edf", ".bdf"), "mne or pyedflib"),
    **dict.fromkeys((".hea",), "wfdb"),
    **dict.fromkeys((".wav", ".flac", ".mp3"), "a library for sound, whose frames are the steps,"),
    **dict.fromkeys((".xml", ".html", ".htm"), "a parser"),
}
"""What reads the files of other programs."""
OF_LETTERS = (".gb", ".gbk", ".embl", ".fastq", ".fq")
PLAIN_TEXT = (".txt", ".dat", ".data", ".tab", ".asc", ".log")
ABSENT = [
    *("", "#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan"),
    *("null", "-nan", "-NaN", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),  # all as in pandas
    *("?", "-", "--", ".", "NaT"),  # of UCI, of tables for people, of SAS, of times
    *("#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"),  # of spreadsheets
]
"""What stands for a missing number."""
BATCH_ROWS, BUFFER_BYTES = 1 << 16, 1 << 22
BROKEN = (pa.ArrowException, csv.Error, EOFError, OSError, UnicodeDecodeError, zlib.error)
"""What pyarrow, csv and gzip raise for files that are not theirs."""
PLACE = re.compile(r"(?:In CSV column #(?P<column>\d+): )?Row #(?P<row>\d+)")
PLAIN = TableData(source="table", task="tagging", path="-")
"""A table whose columns have the names of the sequence table."""
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


def read(
    path: str | Path,
    features: Collection[str] | None = None,
    prefix: str = "",
    *,
    data: TableData = PLAIN,
    labelled: bool = True,
    skipped: Skipped | None = None,
    taken: set[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a table, under the names of the sequence table.

    In CSV and TSV the columns with names in them are read as text (so that the id `007` stays what
    it is) and all others as numbers. `true` and `false` are 1 and 0. Columns that travel with the
    rows are called `keep:NAME` here.

    Args:
        path: a file in `.csv`, `.tsv` (both perhaps with `.gz`) or `.parquet`, or a folder of such
            files, all of text or all Parquet, which are read in the order of their names. Those
            that begin with a dot or an underscore are passed over. It may lie in a bucket.
        features: the columns to read as numbers, where others are of no interest; all where None.
        prefix: put before ids that are names of folders and files, where splits may share them.
        data: what the columns are called, and how files are written.
        labelled: whether there must be labels, and all columns that params name.
        skipped: told how a file is written, where a reader might think otherwise.
        taken: the names of files that were sequences in splits that were read before.

    Raises:
        DataError: a file is missing, is not what its name says, or a field is not a number.
    """
    skipped = skipped or Skipped()
    columns = Columns(
        data, skipped, labelled=labelled, features=features, prefix=prefix, taken=taken
    )
    for name, folder, part in _parts(addresses.place(path), columns):
        with part as file:
            yield from (from_file(batch, name) for batch in _file(file, columns, folder))


def header(path: Path, data: TableData = PLAIN) -> list[str]:
    """The names of the columns of a file, as they stand there; nothing where it is empty."""
    with understood(path):
        if _suffix(path) == ".parquet":
            with pq.ParquetFile(path) as file:
                return list(file.schema_arrow.names)
        return dialect.header(path, data)


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Say in one line what other libraries raise for a file that is missing or broken."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(missing(path)) from None
    except BROKEN as error:
        found = f"found {what}" if (what := looks.of(path)) else f"found: {one_line(error)}"
        raise DataError(f"{path}: expected {_kind(path)}, {found}") from None


def _parts(path: Path, columns: Columns) -> Iterator[tuple[str, str, AbstractContextManager[Path]]]:
    """What to call each file, the folder that says something of it, and the file to open."""
    if parts.is_indexed(path):  # a table of the pipeline, which may lie in a store
        yield from ((str(place), "", place.opened()) for place in parts.of(path))
    else:
        for file, folder in _files(path, columns):
            yield str(file), folder, addresses.opened(file)


def _files(path: Path, columns: Columns) -> list[tuple[Path, str]]:
    named, labelled, skipped = columns.data.folders, columns.labelled, columns.skipped
    if named and (labelled or path.is_dir()):
        found = [*folders.files(path, named=named, needed=labelled, skipped=skipped)]
    elif not path.is_dir():
        _suffix(path)
        return [(path, "")]
    else:
        found = [(part, "") for part in reading.parts(path)]
    if not found:
        raise DataError(f"{path}: expected files in {', '.join(SUFFIXES)}, found an empty folder")
    kinds = {_suffix(part) == ".parquet": part.name for part, _ in found}
    if len(kinds) > 1:
        names = f"{kinds[False]} and {kinds[True]}"
        raise DataError(f"{path}: expected parts of one kind, found {names} among others")
    return found


def _kind(path: Path) -> str:
    """What a file is expected to be, by its name."""
    known = (suffix[1:] for suffix in SUFFIXES if path.name.lower().endswith(suffix))
    return next(known, "gzip" if path.suffix == ".gz" else "text")


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and not path.is_dir():
            return suffix
    return refused(path)


def refused(path: Path) -> str:
    """Refuse a file by its name, and say what to do with a spreadsheet."""
    raise DataError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}{mend(path)}")


def mend(path: Path) -> str:
    """What to do with a file that no reader is for, after what was expected."""
    name = path.name.lower()
    if path.is_dir():
        return ", found a folder; let one folder hold all files, whose columns say what they are"
    if name.endswith(SHEETS):
        return "; open the spreadsheet and save the sheet as CSV"
    if name.endswith(PACKED):
        return "; unpack it, and pack it with gzip if it is to be small"
    if by := OF_OTHERS.get(reading.kind(path)):
        return f"; read it by {by} and save a table as Parquet or CSV"
    if reading.kind(path) in OF_LETTERS:
        return "; turn it into FASTA, by Biopython say"
    if name.endswith(".ann"):
        return "; export marked texts as CoNLL"
    if name.removesuffix(".gz").endswith(PLAIN_TEXT) or "." not in name:
        return "; if it is a table with a header, let its name end in .csv or .tsv"
    return ""


def _file(path: Path, columns: Columns, folder: str) -> Iterator[pa.RecordBatch]:
    with understood(path):
        parquet = _suffix(path) == ".parquet"
        yield from _parquet(path, columns, folder) if parquet else _csv(path, columns, folder)


def _parquet(path: Path, columns: Columns, folder: str) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        plan = columns.plan(file.schema_arrow.names, str(path), folder)
    # without a size of the buffer, whole columns of a row group are read
    for batch in bounds.parquet_batches(path, BATCH_ROWS, buffer_size=BUFFER_BYTES):
        if (filled := columns.filled(batch, plan)).num_rows:
            yield columns.batch(filled, plan)


def _csv(path: Path, columns: Columns, folder: str) -> Iterator[pa.RecordBatch]:
    found = dialect.find(path, columns.data, columns.skipped)
    plan = columns.plan(found.header, str(path), folder)
    numbers = [name for name in plan.features if name != plan.time]
    point = columns.data.decimal or dialect.decimal(
        path, [found.column(name) for name in numbers], columns.skipped, found.delimiter
    )
    types = dict.fromkeys(plan.read, pa.string())
    types |= {name: _number_type(path, name, found.column(name)) for name in numbers}
    try:
        for batch in _csv_batches(path, types, found, point, threads=True):
            if (filled := columns.filled(batch, plan)).num_rows:
                yield columns.batch(filled, plan)
    except pa.ArrowInvalid:
        _raise_with_line(path, types, found, point)
        raise


def _number_type(path: Path, name: str, sample: list[str]) -> pa.DataType:
    """The type of a column of numbers by its first rows: `true` and `false` are numbers too.

    Raises:
        DataError: it holds times.
    """
    values = [value for value in sample if value]
    if values and all(value in (*TRUE, *FALSE) for value in values):
        return pa.bool_()
    for value in values[:1]:
        if is_time(value):
            raise DataError(
                f"{path}, column `{name}`: expected numbers, found the time {value!r}; {TIMES}"
            )
    return pa.float64()


def _csv_batches(
    path: Path, types: Mapping[str, pa.DataType], found: Dialect, point: str, *, threads: bool
) -> Iterator[pa.RecordBatch]:
    convert = arrow_csv.ConvertOptions(
        column_types=types,
        include_columns=[*types],
        null_values=ABSENT,
        strings_can_be_null=False,
        true_values=TRUE,
        false_values=FALSE,
        decimal_point=point,
    )
    parse = arrow_csv.ParseOptions(delimiter=found.delimiter, newlines_in_values=found.ends_within)
    read_options = arrow_csv.ReadOptions(
        use_threads=threads,
        block_size=found.block,
        encoding=found.encoding,
        skip_rows=found.skip,
    )
    with (
        _bytes(path, uncut=found.ends_within) as file,
        arrow_csv.open_csv(file, read_options, parse, convert) as reader,
    ):
        yield from (batch for batch in reader if batch.num_rows)


def _bytes(path: Path, *, uncut: bool) -> pa.NativeFile:
    if uncut:
        return pa.PythonFile(_Uncut(bounds.opened(path)), "r")
    compressed = "gzip" if path.name.lower().endswith(".gz") else None
    return pa.input_stream(path, compression=compressed)


class _Uncut:
    r"""A file of which no part ends between `\r` and `\n`.

    pyarrow takes the `\n` away that a part begins with, if the last one has ended with `\r`, also
    between quotes (25.0).
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.held = file, b""
        self.close = file.close

    @property
    def closed(self) -> bool:
        """As of any file."""
        return self.file.closed

    def read(self, size: int) -> bytes:
        """The next bytes, `size` or a few less; none at the end."""
        found = self.held + self.file.read(size - len(self.held))
        self.held = b"\r" if len(found) > 1 and found.endswith(b"\r") else b""
        return found.removesuffix(self.held)


def _raise_with_line(
    path: Path, types: Mapping[str, pa.DataType], found: Dialect, point: str
) -> None:
    """Read once more in one thread, since only then pyarrow knows the row that is wrong."""
    try:
        for _ in _csv_batches(path, types, found, point, threads=False):
            pass
    except pa.ArrowInvalid as error:
        message = one_line(error)
        if "straddling" in message or "block size" in message.lower():
            raise DataError(
                f"{path}: expected rows of up to {found.block >> 20} MB, found a longer one; is it "
                "a whole sequence, with data.source: lists? is a quote not closed?"
            ) from None
        if "Empty CSV" in message:
            raise DataError(f"{path}: expected rows, found none") from None
        place = PLACE.search(message)
        if place is None:
            raise DataError(f"{path}: expected CSV, found: {message}") from None
        line = f"{path}, line {_line_of_row(path, found, int(place['row']))}"
        if place["column"]:
            line += f", column `{found.header[int(place['column'])]}`"
        raise DataError(f"{line}: {_plainly(message)}") from None


def _plainly(message: str) -> str:
    """What pyarrow says of a row, in the words that other readers use."""
    if value := re.search(r"invalid value '(.*)'", message):
        text = value[1]
        advice = TIMES if is_time(text) else OTHERS
        if dialect.COMMA.fullmatch(text):
            advice = "write a decimal point, or set data.decimal: ',' if all numbers have a comma"
        elif dialect.POINT.fullmatch(text):
            advice = "write a decimal comma as in the other numbers, or leave out data.decimal"
        return f"expected a number, found {text[:60]!r}; {advice}"
    if widths := re.search(r"Expected (\d+) columns, got (\d+): (.*)", message):
        return f"expected {widths[1]} fields, found {widths[2]}: {widths[3][:60]!r}"
    if "UTF8" in message:
        return "expected text in UTF-8, found other bytes; save it as UTF-8"
    return f"expected CSV, found: {message}"


def _line_of_row(path: Path, found: Dialect, row: int) -> int:
    """The line at which a row begins, of which the first is the header.

    pyarrow counts no empty lines; nor is what stands within quotes a row.
    """
    with dialect.text(path, found.encoding) as file:
        lines, last, begun = csv.reader(file, delimiter=found.delimiter), 0, 0
        for fields in lines:
            begun += bool(fields)
            if begun == row:
                return last + 1
            last = lines.line_num
    return row
