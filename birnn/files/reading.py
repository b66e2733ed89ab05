"""Text files line by line, compressed or not, and what readers leave out on purpose.

A fault in a file is one `DataError` that names the file, and the line where that can be known.
"""

from __future__ import annotations

import csv
import io
import os
import re
import weakref
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO

from birnn.errors import BirnnError, DataError
from birnn.files import bounds, console, shards

SAMPLE_LINES = 50
LONGEST_FIELD = 1 << 26  # characters; what an opening quote without its end may swallow
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|"}
"""What may stand between fields, and how to call it."""
SEPARATOR = re.compile(r'"?sep=([,;|\t])"?\r?\n', re.IGNORECASE)
"""What spreadsheets write above a header to name the delimiter."""
NO_TEXT = (
    "expected text, found a byte of zero; is the file whole? if it is in UTF-16, name its "
    "data.encoding"
)
JOINED = (
    "expected a byte order mark at the file's beginning alone, found one more, as of files that "
    "were joined; take it away, and the header that may stand behind it"
)
SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Skipped:
    """What readers have left out, changed or found out: how often, and the first place."""

    counts: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, place: str, count: int = 1) -> None:
        """Count things of the kind `what`; the place is kept if it is the kind's first."""
        self.counts[what] += count
        self.first.setdefault(what, place)

    def change(self, what: str, place: str, count: int = 1) -> None:
        """Count values that were read as others than they are; see `add`."""
        self.changed[what] += count
        self.first.setdefault(what, place)

    def note(self, what: str, place: str, count: int = 1) -> None:
        """Count what was read in one of several ways that there are; see `add`."""
        self.noted[what] += count
        self.first.setdefault(what, place)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Where the block fails, say on standard error what was left out: it may be the cause."""
        try:
            yield
        except BirnnError:
            for line in self.sentences():
                console.say(line, error=True)
            raise

    def sentences(self) -> list[str]:
        """One line for each kind of thing."""
        kinds = {"left out": self.counts, "changed": self.changed, "read": self.noted}
        return [
            f"{done}: {what}, {count} in all, the first in {self.first[what]}"
            for done, counts in kinds.items()
            for what, count in counts.items()
        ]


def lines(path: str | Path, encoding: str | None = None) -> Iterator[str]:
    """Read a text file line by line, line ends included; a name in `.gz` is decompressed.

    Only a line feed ends a line, so that their number is that of `wc -l`. A byte order mark is
    passed over.

    Args:
        path: the file.
        encoding: what `data.encoding` says; UTF-8 where None, and params have no such key.

    Raises:
        DataError: the file is missing, cut or not gzip, or a line is too long, not in the encoding,
            holds the line ends of an old Mac, which would make one line of many, bytes of zero, or
            the mark of another file that was joined to it.
    """
    try:
        with opened(path, encoding or "utf-8") as file:
            reader = _Reader()
            weakref.finalize(reader, file.close)
            for number, line in enumerate(bounds.whole_lines(file, path), 1):
                if "\r" in line and "\r" in line.rstrip("\r\n"):
                    raise DataError(
                        f"{path}, line {number}: expected a line feed at the end of each line, "
                        "found a carriage return within; save it with the line ends of Unix"
                    )
                if "\0" in line:
                    raise DataError(f"{path}, line {number}: {NO_TEXT}")
                if line.startswith("\ufeff") and number > 1:
                    raise DataError(f"{path}, line {number}: {JOINED}")
                yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeError as error:
        line_number = _undecodable(path, encoding or "utf-8")
        place = f", line {line_number}" if line_number else ""
        hint = "save it as UTF-8" + ("" if encoding is None else ", or name its data.encoding")
        raise DataError(
            f"{path}{place}: expected text in {encoding or 'utf-8'}, found {error.args[-1]}; {hint}"
        ) from None
    except FileNotFoundError:
        raise DataError(missing(path)) from None
    except (EOFError, OSError, zlib.error) as error:
        expected = "gzip" if str(path).lower().endswith(".gz") else "a text file"
        raise DataError(f"{path}: expected {expected}, found: {one_line(error)}") from None


class _Reader:
    """Lives as long as somebody reads a file; then the file is closed.

    Who stops halfway, at a fault, may be part of a circle of references. Python takes a circle
    apart in any order, and warns of a file that it comes to before the `with` that would close it.
    """


def fields(
    path: str | Path,
    encoding: str | None = None,
    *,
    quotes: bool = True,
    hint: str = "",
    skipped: Skipped,
) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV or TSV file row by row, its header first.

    Args:
        path: a name in `.tsv` or `.tsv.gz` stands for tabs, any other for commas, unless the header
            has another delimiter.
        encoding: see `lines`.
        quotes: whether quotes may enclose a field; if not, they are characters like others. In a
            TSV file they may not enclose the end of a line: such a quote is more likely a plain
            character, and would swallow rows.
        hint: what else may be done about quotes that do not close.
        skipped: counts empty lines, and is told of another delimiter.

    Yields:
        The line on which a row ends, and its fields.

    Raises:
        DataError: names the line whose quotes do not close, or which has too few or many fields.
    """
    csv.field_size_limit(LONGEST_FIELD)
    source = lines(path, encoding)
    start = [*islice(source, SAMPLE_LINES)]
    named = SEPARATOR.match(start[0]) if start else None
    delimiter = named[1] if named else delimiter_of(start, path)
    if delimiter != usual_delimiter(path):
        skipped.note(f"files with {DELIMITERS[delimiter]} between fields", str(path))
    reader = csv.reader(
        chain(["\n", *start[1:]] if named else start, source),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    last = width = 0
    try:
        for row in reader:
            if delimiter == "\t" and reader.line_num > last + 1:
                raise csv.Error("a quote that encloses the end of a line")
            last, width = reader.line_num, width or len(row)
            if not row and named and last == 1:
                continue
            if not row:
                skipped.add("empty lines", f"{path}, line {last}")
            elif len(row) != width:
                found = f"found {len(row)}: {delimiter.join(row)[:60]!r}"
                raise DataError(f"{path}, line {last}: expected {width} fields, {found}")
            else:
                yield last, row
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: expected fields, found: {one_line(error)}{hint}"
        ) from None


def usual_delimiter(path: str | Path) -> str:
    """What stands between fields by the name of a file."""
    return {".tsv": "\t", ".psv": "|"}.get(kind(path), ",")


def delimiter_of(lines: Iterable[str], path: str | Path) -> str:
    """Tell what stands between fields: the usual thing, unless it makes one column, others more.

    Args:
        lines: the first ones, with the header.
        path: of the file, whose name says what is usual.
    """
    usual, start = usual_delimiter(path), [line for line in lines if line.strip()]
    widths = {
        delimiter: [len(row) for row in csv.reader(start, delimiter=delimiter) if row]
        for delimiter in (usual, *(one for one in DELIMITERS if one != usual))
    }
    several = {one: found for one, found in widths.items() if found and found[0] > 1}
    if usual in several or not several:
        return usual
    return max(several, key=lambda one: (len(set(several[one][:-1])) <= 1, several[one][0]))


def missing(path: str | Path) -> str:
    """What is said of a file that is not there, and why it is not, where that can be known."""
    place, root = Path(path), os.environ.get("DVC_ROOT")
    for one in (place, *place.parents):
        if one.name and one.with_name(f"{one.name}.dvc").is_file():
            return f"{path}: no such file, which DVC keeps ({one}.dvc); run `dvc pull {one}`"
    if root and not place.is_absolute() and (Path(root) / place).exists():
        return (
            f"{path}: no such file here, in a copy of {root} with only what git and DVC know; "
            f"run there `dvc add {path} && git add {place}.dvc {place.parent}/.gitignore`"
        )
    return f"{path}: no such file; put it there, or correct the path"


def kind(path: str | Path) -> str:
    """The ending of a name that says what is in the file, in small letters and without `.gz`."""
    return Path(Path(path).name.lower().removesuffix(".gz")).suffix


NO_DATA = ("README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "CITATION")
OF_HUGGING_FACE = ("state.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json")
"""What `save_to_disk` and the hub put beside data."""


def parts(folder: Path) -> list[Path]:
    """What lies in a folder of data, by name; without notes, and what programs keep beside data.

    Raises:
        DataError: a shard is missing; see `birnn.files.shards`.
    """

    def is_data(path: Path) -> bool:
        known = path.suffix.lower() in (".md", ".lock", ".dvc") or path.stem.upper() in NO_DATA
        return path.name[0] not in "._~" and not known and path.name not in OF_HUGGING_FACE

    return shards.ordered(folder, filter(is_data, folder.iterdir()))


MOST_NAMED = 5
"""Classes, features or lengths in a sentence: of a hundred, nobody would read all."""


def first_few(names: Iterable[str]) -> str:
    """`'a', 'b', 'c', 'd', 'e' and 75 more`."""
    names = [*names]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def one_line(found: object) -> str:
    """What another library says, or what stands in a file, without its line breaks."""
    return " ".join(str(found).split()) or type(found).__name__


def opened(path: str | Path, encoding: str, errors: str = "strict") -> IO[str]:
    """Open a text file, compressed or not."""
    return io.TextIOWrapper(bounds.opened(path), encoding, errors, newline="\n")


def _undecodable(path: str | Path, encoding: str) -> int | None:
    """The first line that is not in the encoding, where lines can be told without it."""
    try:
        with opened(path, encoding, "surrogateescape") as file:
            numbered = enumerate(bounds.whole_lines(file, path), 1)
            wrong = (number for number, line in numbered if SURROGATES.search(line))
            return next(wrong, None)
    except (EOFError, OSError, UnicodeError, zlib.error):
        return None
