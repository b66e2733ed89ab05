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
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, AnyStr

import numpy as np

from birnn.errors import DataError
from birnn.files import bounds
from birnn.files.reading import (
    DELIMITERS,
    LONGEST_FIELD,
    SAMPLE_LINES,
    Skipped,
    delimiter_of,
    usual_delimiter,
)
from birnn.params import TableData

BUFFER_BYTES = 1 << 22
SAMPLE_ROWS = 1000
LEAST_BLOCK, MOST_BLOCK = 1 << 20, 1 << 27  # bytes; a row must fit into one
WESTERN = "cp1252"  # also known as ANSI; Latin-1 is a part of it
ONCE = "+" if sys.version_info >= (3, 11, 5) else ""
"""Makes a repetition possessive, which saves time; Python's first versions of that were wrong."""
COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
PLAIN_QUOTE = 'write a quote that is a plain character as """"'


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to read a file.

    Attributes:
        encoding: of the text, as Python names it.
        delimiter: what stands between fields.
        quoted: whether there is a quote anywhere in the file.
        block: bytes that are read at a time.
        header: the names of the columns.
        sample: the first rows, as text.
    """

    encoding: str
    delimiter: str
    quoted: bool
    block: int
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
        DataError: there is no header, the bytes are text in no encoding, or quotes do not close.
    """
    csv.field_size_limit(LONGEST_FIELD)
    encoding = data.encoding or _wide(path)
    head = _head(path, encoding)
    delimiter = _delimiter(data, path, head)
    look = _Look(path, encoding, delimiter, len(next(_rows(head, delimiter), [])))
    for block in blocks(path, encoding):
        look.at(block)
    look.end()
    if encoding is None and look.not_utf8 is not None:
        encoding = look.western()
        head = _head(path, encoding)
    sample = _rows(head, delimiter)
    header = next(sample, [])
    if not header:
        raise DataError(f"{path}: expected a header and rows, found nothing")
    if data.encoding is None and encoding is not None:
        skipped.note(f"files in {encoding} (data.encoding can name another)", str(path))
    if look.several:
        what = "rows of several lines, with line ends between quotes"
        skipped.note(what, f"{path}, line {look.first}", look.several)
    if data.delimiter is None and delimiter != usual_delimiter(path):
        skipped.note(f"files with {DELIMITERS[delimiter]} between fields", str(path))
    longest = max(map(len, head.split("\n")), default=0)
    return Dialect(
        encoding=encoding or "utf-8",
        delimiter=delimiter,
        quoted=look.quoted,
        block=min(max(LEAST_BLOCK, 4 * longest), MOST_BLOCK),
        header=header,
        sample=[*islice(sample, rows)],
    )


def header(path: Path, data: TableData) -> list[str]:
    """The names of the columns alone; nothing where the file is empty."""
    text = _head(path, data.encoding or _wide(path))
    return next(_rows(text, _delimiter(data, path, text)), [])


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


def decimal(path: Path, columns: Sequence[Sequence[str]], skipped: Skipped) -> str:
    """Tell whether numbers have a decimal comma or point.

    Args:
        path: the file, for messages.
        columns: values that are to be numbers.
        skipped: told of a comma.

    Raises:
        DataError: commas stand where they may be decimal or between thousands.
    """
    values = [value for column in columns for value in column]
    commas = [value for value in values if COMMA.fullmatch(value) or THOUSANDS.fullmatch(value)]
    if not commas or any(POINT.fullmatch(value) for value in values):
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
            while block := raw.read(BUFFER_BYTES):
                yield block + _rest(raw, path)
        return
    try:
        with text(path, encoding, "strict") as lines:
            while characters := lines.read(BUFFER_BYTES):
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
    """The encoding that a byte order mark names; UTF-8 needs none."""
    with bounds.opened(path) as file:
        begin = file.read(2)
    return "utf-16" if begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else None


def _head(path: Path, encoding: str | None) -> str:
    """The first lines, whole."""
    try:
        with text(path, encoding) as file:
            return file.read(BUFFER_BYTES) + _rest(file, path)
    except UnicodeError as error:
        raise DataError(_other(path, encoding, error)) from None


def _delimiter(data: TableData, path: Path, head: str) -> str:
    """The one that params name, or else the one that is found."""
    if data.delimiter is not None:
        return "\t" if data.delimiter == "tab" else data.delimiter
    return delimiter_of(head[: 1 << 16].splitlines()[:SAMPLE_LINES], path)


class _Look:
    """What is seen of a file, block by block: other bytes than UTF-8, and quotes out of place."""

    def __init__(self, path: Path, encoding: str | None, delimiter: str, width: int) -> None:
        self.path, self.encoding = path, encoding
        self.delimiter, self.width = delimiter, width
        self.quoted, self.utf8, self.is_western = False, False, True
        self.not_utf8: int | None = None  # the first byte that is not
        self.done = 0  # bytes that are looked at
        self.left = b"\n"  # of a quoted field that goes on in the next block
        self.several, self.first = 0, 0  # rows of several lines, and the line of the first
        sign = re.escape(delimiter)
        begin, end = f"(?<=[{sign}\n])", f"(?=[{sign}\r\n]|\\Z)"
        field = f'{begin}"[^"]*{ONCE}(?:""[^"]*{ONCE})*{ONCE}"{end}'
        parts = f'[^"]+{ONCE}|(?<![{sign}\n])"|(?P<field>{field})'
        self.part = re.compile(parts.encode())
        self.well = re.compile(f"(?:{parts})*{ONCE}".encode())
        self.broken = re.compile(f'{begin}"[^"\n]*\n'.encode())

    def at(self, block: bytes) -> None:
        """Look at some more lines of a table."""
        if b'"' in block or self.left != b"\n":
            self.quoted = True
            self.left = self._check_quotes(self.left + block)
        self.at_text(block)

    def at_text(self, block: bytes) -> None:
        """Look at some more lines, whatever they hold."""
        if not block.isascii():
            self._check_encoding(block)
        self.done += len(block)

    def end(self) -> None:
        """Refuse a quote that is open where the file ends."""
        if self.left != b"\n":
            self._refuse(self.left[1:], self.done)

    def western(self) -> str:
        """The encoding of a file that is not in UTF-8, if it can be told.

        Raises:
            DataError: a part of it is in UTF-8, or it is not in the Western encoding either.
        """
        if self.utf8 or not self.is_western:
            place = f"{self.path}, line {self._line(self.not_utf8 or 0)}"
            advice = "save it as UTF-8, or name its data.encoding"
            raise DataError(f"{place}: expected text in UTF-8, found other bytes; {advice}")
        return WESTERN

    def _check_encoding(self, block: bytes) -> None:
        """Note what is UTF-8, what is not, and whether it may be the Western encoding."""
        decoded = block.decode("utf-8", "surrogateescape")
        other = re.search("[\ud800-\udfff]", decoded)
        self.utf8 |= re.search("[^\x00-\x7f\ud800-\udfff\ufeff]", decoded) is not None
        if other is None:
            return
        if self.not_utf8 is None:
            self.not_utf8 = self.done + len(decoded[: other.start()].encode())
        try:
            block.decode(WESTERN)
        except UnicodeDecodeError:
            self.is_western = False

    def _check_quotes(self, lines: bytes) -> bytes:
        """Refuse quotes that enclose a part of a field; give what an open one holds so far."""
        if _is_plain(lines, self.delimiter):
            return b"\n"
        matched = self.well.match(lines)
        end = matched.end() if matched else 0
        rest = lines[end:]
        if rest and (len(rest) > BUFFER_BYTES or not OPEN.fullmatch(rest)):
            self._refuse(rest, self.done + len(lines) - len(self.left))
        if not rest and not self.broken.search(lines):
            return b"\n"
        start = self._check_lines(lines[:end], self.done - len(self.left), whole=not rest)
        return lines[start - 1 :] if rest else b"\n"

    def _check_lines(self, lines: bytes, place: int, *, whole: bool) -> int:
        """Refuse line ends between quotes where each line may be a row of its own; count others.

        A quote that is a plain character swallows the rows up to the next one. These are rows by
        themselves, with as many fields as the header; the lines of a text in quotes are not.

        Args:
            lines: well-formed fields, after the end of a line.
            place: the byte at which they begin.
            whole: whether they end with a row.

        Returns:
            Where the last row begins.
        """
        start, several = 1, 0
        for found in self.part.finditer(lines):
            part = found[0]
            if found["field"]:
                several += b"\n" in part
            elif b"\n" in part:
                if several:
                    self._check_row(lines[start : found.start() + part.index(b"\n")], place + start)
                start, several = found.start() + part.rindex(b"\n") + 1, 0
        if several and whole and not lines.endswith(b"\n"):
            self._check_row(lines[start:], place + start)
        return start

    def _check_row(self, row: bytes, place: int) -> None:
        """Tell whether a row of several lines is one row."""
        lines = row.split(b"\n")
        sign = self.delimiter.encode()
        if all(line.count(sign) == self.width - 1 for line in lines):
            raise DataError(
                f"{self.path}, line {self._line(place)}: expected a row in one line, found the end "
                f"of a line between quotes, and rows on each side of it; {PLAIN_QUOTE}"
            )
        if not self.several:
            self.first = self._line(place)
        self.several += 1

    def _refuse(self, rest: bytes, end: int) -> None:
        """Name the line of a fault, from which it is `rest` up to the byte `end`."""
        found = rest[:60].split(b"\n")[0].decode(errors="replace")
        place = f"{self.path}, line {self._line(end - len(rest))}"
        raise DataError(
            f"{place}: expected a quoted field to end before the next {self.delimiter!r} or the "
            f"line's end, found {found!r}; {PLAIN_QUOTE}"
        )

    def _line(self, place: int) -> int:
        """The line of a byte."""
        number = 1
        for block in blocks(self.path, self.encoding):
            number += block[:place].count(b"\n")
            place -= len(block)
            if place <= 0:
                break
        return number


def _is_plain(lines: bytes, delimiter: str) -> bool:
    """Whether quotes enclose whole fields, and no quote or end of a line stands in one.

    Most files are so, and to see it takes a tenth of the time that patterns take.

    Args:
        lines: the end of a line, and what follows.
        delimiter: what stands between fields.
    """
    letters = np.frombuffer(lines + b"\n", np.uint8)
    quotes = np.flatnonzero(letters == ord('"'))
    if len(quotes) % 2:
        return False
    bounds = np.zeros(256, dtype=bool)
    bounds[[ord("\n"), ord(delimiter)]] = True
    begin = bounds[letters[quotes[::2] - 1]].all()
    bounds[ord("\r")] = True
    end = bounds[letters[quotes[1::2] + 1]].all()
    within = np.searchsorted(quotes, np.flatnonzero(letters == ord("\n"))) % 2  # of a pair
    return bool(begin and end and not within.any())


OPEN = re.compile(f'"[^"]*{ONCE}(?:""[^"]*{ONCE})*{ONCE}'.encode())
"""A quoted field that has not ended yet."""
