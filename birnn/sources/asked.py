"""The files of which a model is asked: folders, patterns, standard input, and plain sentences.

with asked(["new/*.csv", "-"], source="table") as files:
    for file in files: ...                        # file.path to read, file.name to call it
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa

from birnn.errors import DataError
from birnn.files import addresses, named
from birnn.files.reading import Skipped, kind, lines
from birnn.files.tables import Form
from birnn.params import TextData
from birnn.sources import text

STDIN, STDIN_NAME = "-", "standard input"
MAGIC = set("*?[")  # letters of a pattern
PARTS = ("table", "lists")  # sources for which a folder holds the parts of one table
SUFFIX_OF = {"conll": ".txt", "text": ".txt", "fasta": ".fa", "lists": ".jsonl"}
LOOKED_AT = 1000  # lines, to tell plain sentences from columns
PARQUET = b"PAR1"


class File(NamedTuple):
    """A file, and what to call it in messages and answers."""

    path: Path
    name: str


@contextmanager
def asked(given: Sequence[str | Path], source: str) -> Iterator[list[File]]:
    """Find the files that are meant; standard input is put into a temporary one.

    Args:
        given: files, folders, also in a bucket, patterns such as `new/*.csv`, and `-` for standard
            input.
        source: of the data that the model was trained on.

    Raises:
        DataError: a pattern matches nothing, a folder is empty, or one of them is a pipe.
    """
    with TemporaryDirectory() as folder:
        try:
            yield [file for one in given for file in _files(str(one), source, Path(folder))]
        except DataError as error:
            spooled = str(Path(folder) / STDIN_NAME)  # whose place is nobody's business
            raise DataError(str(error).replace(spooled, STDIN_NAME)) from None


def _files(given: str, source: str, folder: Path) -> list[File]:
    if given == STDIN:
        return [File(_spooled(source, folder), STDIN_NAME)]
    path = addresses.place(given)
    there = path.exists() and not isinstance(path, addresses.Matching)
    if set(given) & MAGIC and not addresses.is_address(given) and not there:
        place = Path(path.anchor or ".")
        found = sorted(place.glob(str(path.relative_to(path.anchor))))
        if not found:
            raise DataError(f"{given}: expected a pattern of files that are there, found none")
        return [file for one in found for file in _files(str(one), source, folder)]
    if path.is_dir() and source not in PARTS:
        named.check_input(path)
        parts = sorted(part for part in path.iterdir() if part.is_file() and part.name[0] != ".")
        if not parts:
            raise DataError(f"{path}: expected files, found none")
        return [File(part, str(part)) for part in parts]
    return [File(path, given)]


def _spooled(source: str, folder: Path) -> Path:
    """Put standard input into a file, whose name says what it seems to be."""
    with (folder / "raw").open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    with (folder / "raw").open("rb") as file:
        begin = file.read(1 << 12)
    if begin.startswith(PARQUET):
        suffix = ".parquet"
    elif begin.lstrip().startswith(b"{"):
        suffix = ".jsonl"
    else:
        header = begin.split(b"\n", 1)[0].replace(b"\t", b",").replace(b";", b",")
        fields = [field.strip(b' "\r') for field in header.split(b",")]
        table = source == "table" or b"sequence" in fields
        suffix = ".csv" if table else SUFFIX_OF.get(source, ".csv")
    return (folder / "raw").rename(folder / f"{STDIN_NAME}{suffix}")


def are_sentences(path: Path, known: Mapping[str, object]) -> bool:
    """Say whether a file for a model of tagged sentences has one sentence a line.

    A `.txt` file may as well have one token a line, in columns, with an empty line after each
    sentence. It is taken for sentences where the number of words differs from line to line, or
    where there are several words a line and no line is empty.

    Args:
        path: the file.
        known: how the files of training were read; see `birnn.sources.ingestion.reading`.
    """
    if known.get("source") != "conll" or path.is_dir() or kind(path) != ".txt":
        return False
    widths = [len(line.split()) for line in islice(lines(path), LOOKED_AT)]
    while widths and not widths[-1]:
        widths.pop()
    some = {width for width in widths if width}
    return len(some) > 1 or (some != {1} and 0 not in widths and bool(some))


def sentences(
    path: Path, known: Mapping[str, object], skipped: Skipped, form: Form | None
) -> Iterator[pa.RecordBatch]:
    """Read one sentence a line, cut at blanks; its number is its id.

    Raises:
        DataError: the file is missing, or not in the encoding of training.
    """
    named.check_input(path)
    section: dict[str, Any] = {"source": "text", "path": str(path)}
    if isinstance(encoding := known.get("encoding"), str):
        section["encoding"] = encoding
    return text.read_lines(TextData.model_validate(section), path, None, "", skipped, form)
