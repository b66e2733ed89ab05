"""How a CSV file is written: its encoding, delimiter, decimal sign and quotes.

    found = dialect.find(path, data, skipped)

What params do not name is found in the file, and a line says so. What could be read in two ways is
refused, with the key that decides.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, AnyStr

from birnn.errors import DataError
from birnn.files import bounds
from birnn.files.reading import (
    DELIMITERS,
    JOINED,
    LONGEST_FIELD,
    NO_TEXT,
    SAMPLE_LINES,
    SEPARATOR,
    Skipped,
    delimiter_of,
    first_few,
    usual_delimiter,
)
from birnn.params import TableData
from birnn.sources.quotes import Quotes

BUFFER_BYTES = 1 << 22
LOOK_BYTES = 80 << 10  # at a time; for arrays above 128 kB the system gives new memory each time
SAMPLE_ROWS = 1000
LEAST_BLOCK, WIDE_BLOCK, MOST_BLOCK = 1 << 20, 1 << 23, 1 << 27  # bytes; a row must fit into one
WESTERN = "cp1252"  # also known as ANSI; Latin-1 is a part of it
COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to read a file.

    Attributes:
        encoding: of the text, as Python names it.
        delimiter: what stands between fields.
        ends_within: whether there is the end of a line between quotes.
        block: bytes that are read at a time.
        skip: lines above the header, of which there is one at most: `sep=;`.
        header: the names of the columns.
        sample: the first rows, as text.
    """

    encoding: str
    delimiter: str
    ends_within: bool
    block: int
    skip: int
    header: list[str]
    sample: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The values of a column in the first rows."""
        place = self.header.index(name)
        return [row[place] for row in self.sample if len(row) == len(self.header)]


def find(path: Path, data: TableData, skipped: Skipped, *, rows: int = SAMPLE_ROWS) -> Dialect:
    """Look through a file for how it is written.

    Args:
        path: a file of text, perhaps `.gz`.
        data: what is known already.
        skipped: told what was found that a reader would not expect.
        rows: how many to give as a sample.

    Raises:
        DataError: there is no header, or one that most rows have more fields than; the bytes are
            text in no encoding; or quotes do not close.
    """
    csv.field_size_limit(LONGEST_FIELD)
    encoding = data.encoding or _wide(path)
    skip, head = _head(path, encoding)
    delimiter = _delimiter(data, path, skip, head)
    look = _Look(path, encoding, delimiter, len(next(_rows(head, delimiter), [])))
    for block in blocks(path, encoding):
        look.at(block)
    look.quotes.end()
    if encoding is None and look.not_utf8 is not None:
        encoding = look.western()
        skip, head = _head(path, encoding)
    found = _rows(head, delimiter)
    header, sample = next(found, []), [*islice(found, rows)]
    if not header:
        raise DataError(f"{path}: expected a header and rows, found nothing")
    _check_width(path, header, sample)
    _check_blanks(path, f"\n{head}", delimiter, [header, *sample[:SAMPLE_ROWS]])
    _note_blanks(path, header, skipped)
    if data.encoding is None and encoding is not None:
        skipped.note(f"files in {encoding} (data.encoding can name another)", str(path))
    if look.quotes.several:
        what = "rows of several lines, with line ends between quotes"
        skipped.note(what, look.place(look.quotes.first), look.quotes.several)
    if data.delimiter is None and delimiter != usual_delimiter(path):
        skipped.note(f"files with {DELIMITERS[delimiter]} between fields", str(path))
    longest = max(map(len, head.split("\n")), default=0)
    return Dialect(
        encoding=encoding or "utf-8",
        delimiter=delimiter,
        ends_within=look.quotes.ends_within,
        block=_block(longest),
        skip=int(skip is not None),
        header=header,
        sample=sample,
    )


def _block(longest: int) -> int:
    """How many bytes to read at a time: some rows at least, and many where that is no matter."""
    return min(max(LEAST_BLOCK, 4 * longest, min(1000 * longest, WIDE_BLOCK)), MOST_BLOCK)


def header(path: Path, data: TableData) -> list[str]:
    """The names of the columns alone; nothing where the file is empty."""
    skip, text = _head(path, data.encoding or _wide(path))
    return next(_rows(text, _delimiter(data, path, skip, text)), [])


def _check_width(path: Path, header: list[str], sample: list[list[str]]) -> None:
    """Refuse what stands above a header, and a header without a name for R's names of rows."""
    widths = Counter(map(len, sample))
    width, count = widths.most_common(1)[0] if sample else (0, 0)
    if width > len(header) and 2 * count > len(sample):
        advice = "leave out what stands above the header"
        if not any(row[-1] for row in sample if len(row) == width):
            advice = "take what stands between fields away from the end of each row"
        elif width == len(header) + 1:
            advice = "if the first are R's names of rows, write them with row.names = FALSE"
        raise DataError(
            f"{path}: expected a header with {width} names, as the rows below have fields, found "
            f"{len(header)}: {','.join(header)[:60]!r}; {advice}"
        )


def _check_blanks(path: Path, text: str, delimiter: str, rows: list[list[str]]) -> None:
    """Refuse quotes behind blanks, which are characters like others there.

    Between the quotes of a field, both are a part of it.
    """
    for number, row in enumerate(rows):
        for value in row:
            if value[:1] != " " or not (inner := value.strip())[:1] == inner[-1:] == '"' != inner:
                continue
            if any(before + value in text for before in (delimiter, "\n", "\r")):
                place = f"row {number}" if number else "header"
                raise DataError(
                    f"{path}, {place}: expected quotes next to what stands between fields, "
                    f"found {value[:60]!r}; take the blanks away"
                )


def _note_blanks(path: Path, header: list[str], skipped: Skipped) -> None:
    """Tell of blanks around the names of columns."""
    if spaced := [name for name in header if name.strip() != name]:
        named = first_few(map(repr, spaced))
        what = f"names of columns with blanks around them, as they are ({named})"
        skipped.note(what, str(path), len(spaced))


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    return filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def encoding_of(path: Path) -> str | None:
    """Tell the encoding of a file of text; None for UTF-8.

    Raises:
        DataError: it cannot be told.
    """
    if (wide := _wide(path)) is not None:
        return wide
    look = _Look(path, None, ",", 1)
    for block in blocks(path, None):
        look.at_text(block)
    return look.western() if look.not_utf8 is not None else None


def decimal(
    path: Path, columns: Sequence[Sequence[str]], skipped: Skipped, delimiter: str = ","
) -> str:
    """Tell whether numbers have a decimal comma or point.

    Args:
        path: the file, for messages.
        columns: values that are to be numbers.
        skipped: told of a comma, and of points that may stand between thousands.
        delimiter: semicolons speak for a country where a comma is decimal.

    Raises:
        DataError: commas stand where they may be decimal or between thousands.
    """
    values = [value for column in columns for value in column]
    commas = [one for one in values if "," in one]
    commas = [one for one in commas if COMMA.fullmatch(one) or THOUSANDS.fullmatch(one)]
    points = [one for one in values if "." in one] if commas or delimiter == ";" else []
    points = [one for one in points if POINT.fullmatch(one)]
    if delimiter == ";" and points and all(GROUPED.fullmatch(value) for value in points):
        what = f"numbers such as {points[0]!r} with a decimal point, not one between thousands"
        skipped.note(what, str(path), len(points))
    if not commas or points:
        return "."
    if all(THOUSANDS.fullmatch(value) for value in commas):
        raise DataError(
            f"{path}: expected numbers that can be read in one way, found {commas[0]!r}; if the "
            "comma is a decimal one, set data.decimal: ','; else write them without it"
        )
    skipped.note("files with a decimal comma in numbers", str(path))
    return ","


def text(path: Path, encoding: str | None, errors: str = "surrogateescape") -> io.TextIOWrapper:
    """Open a file as text, with the line ends that it has."""
    chosen = "utf-8-sig" if encoding in (None, "utf-8") else encoding
    return io.TextIOWrapper(bounds.opened(path), encoding=chosen, errors=errors, newline="")


def blocks(path: Path, encoding: str | None) -> Iterator[bytes]:
    """Read whole lines, some megabytes at a time: in UTF-8 where the encoding is known, else as
    they are.
    """
    if encoding is None:
        with bounds.opened(path) as raw:
            mark = raw.read(len(codecs.BOM_UTF8))
            first = b"" if mark == codecs.BOM_UTF8 else mark
            while block := first + raw.read(LOOK_BYTES):
                yield block + _rest(raw, path)
                first = b""
        return
    try:
        with text(path, encoding, "strict") as lines:
            while characters := lines.read(LOOK_BYTES):
                yield (characters + _rest(lines, path)).encode()
    except UnicodeError as error:
        raise DataError(_other(path, encoding, error)) from None


def _rest(file: IO[AnyStr], path: Path) -> AnyStr:
    """What is left of the line that is being read."""
    line = file.readline(bounds.LONGEST_LINE)
    bounds.check_line(line, str(path))
    return line


def _other(path: Path, encoding: str | None, error: UnicodeError) -> str:
    found = f"found {error.args[-1]}; correct data.encoding"
    return f"{path}: expected text in {encoding}, {found}"


def _wide(path: Path) -> str | None:
    """The encoding that a byte order mark names, or zeros between letters; UTF-8 needs neither."""
    with bounds.opened(path) as file:
        begin = file.read(64)
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    low, high = begin[::2], begin[1::2]
    for encoding, zeros, letters in (("utf-16-le", high, low), ("utf-16-be", low, high)):
        if zeros and not any(zeros) and all(letters):
            return encoding
    return None


def _head(path: Path, encoding: str | None) -> tuple[str | None, str]:
    """The delimiter that a line above the header names, and the first lines from the header on."""
    try:
        with text(path, encoding) as file:
            found = file.read(BUFFER_BYTES) + _rest(file, path)
            named = SEPARATOR.match(found)
            return (named[1], found[named.end() :]) if named else (None, found)
    except UnicodeError as error:
        raise DataError(_other(path, encoding, error)) from None


def _delimiter(data: TableData, path: Path, named: str | None, head: str) -> str:
    """The one that params name, or the file, or else the one that is found."""
    if data.delimiter is not None:
        return "\t" if data.delimiter == "tab" else data.delimiter
    if named is not None:
        return named
    return delimiter_of(head[: 1 << 16].splitlines()[:SAMPLE_LINES], path)


class _Look:
    """What is seen of a file, block by block: other bytes than UTF-8, and quotes."""

    def __init__(self, path: Path, encoding: str | None, delimiter: str, width: int) -> None:
        self.path, self.encoding = path, encoding
        self.quotes = Quotes(delimiter, width, self.place)
        self.utf8, self.is_western = False, True
        self.not_utf8: int | None = None  # the first byte that is not
        self.done = 0  # bytes that are looked at

    def at(self, block: bytes) -> None:
        """Look at some more lines of a table."""
        self.quotes.add(block)
        self.at_text(block)

    def at_text(self, block: bytes) -> None:
        """Look at some more lines, whatever they hold.

        Raises:
            DataError: there are bytes of zero, or a mark that stands at the beginning of files.
        """
        if (zero := block.find(0)) >= 0:
            raise DataError(f"{self.place(self.done + zero)}: {NO_TEXT}")
        if not block.isascii():
            self._check_marks(block)
            self._check_encoding(block)
        self.done += len(block)

    def western(self) -> str:
        """The encoding of a file that is not in UTF-8, if it can be told.

        Raises:
            DataError: a part of it is in UTF-8, or it is not in the Western encoding either.
        """
        if self.utf8 or not self.is_western:
            advice = "save it as UTF-8, or name its data.encoding"
            raise DataError(
                f"{self.place(self.not_utf8 or 0)}: expected text in UTF-8, found other bytes; "
                f"{advice}"
            )
        return WESTERN

    def place(self, byte: int) -> str:
        """The line of a byte."""
        number = 1
        for block in blocks(self.path, self.encoding):
            number += block[:byte].count(b"\n")
            byte -= len(block)
            if byte <= 0:
                break
        return f"{self.path}, line {number}"

    def _check_marks(self, block: bytes) -> None:
        begins = block.startswith(codecs.BOM_UTF8)
        place = 0 if begins else block.find(b"\n" + codecs.BOM_UTF8) + 1
        if begins or place:
            raise DataError(f"{self.place(self.done + place)}: {JOINED}")

    def _check_encoding(self, block: bytes) -> None:
        """Note what is UTF-8, what is not, and whether it may be the Western encoding."""
        try:
            block.decode()
            self.utf8 = True
        except UnicodeDecodeError as error:
            if self.not_utf8 is None:
                self.not_utf8 = self.done + error.start
            self.utf8 |= not block.decode(errors="ignore").isascii()
            self.is_western &= _is_in(block, WESTERN)


def _is_in(block: bytes, encoding: str) -> bool:
    try:
        block.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
