"""Files that a user names: what is read must be a file, and what is written none of the inputs.

check_input("new.csv")
with output("predicted.csv", inputs=["new.csv"]) as partial: ...
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from birnn.errors import DataError
from birnn.files import atomic

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")  # `Path` leaves one slash; one letter may be a drive


def check_input(path: str | Path) -> None:
    """Refuse what cannot be read twice, such as a pipe, for which opening would wait in silence.

    A path that is missing passes: who opens it says so.

    Raises:
        DataError: it, or what is in it where it is a folder, is neither a file nor a folder.
    """
    path = Path(path)
    for one in (path, *(path.iterdir() if path.is_dir() else ())):
        if one.exists() and not one.is_file() and not one.is_dir():
            raise DataError(
                f"{one}: expected a file, found a pipe or a device; write what comes from it into "
                "a file first, because it is read more than once"
            )


@contextmanager
def output(path: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[Path]:
    """Give a temporary name for what takes the place of `path`; see `birnn.files.atomic.replacing`.

    A link is written through, and an earlier file's permissions stay.

    Args:
        path: where to.
        inputs: files and folders that are read meanwhile.

    Raises:
        DataError: the path is one of the inputs or in one of them, a pipe or a device, or an
            address such as `s3://bucket/name.csv`, where nothing is written.
    """
    check_output(path, inputs)
    place = Path(path).resolve()
    with atomic.replacing(place) as partial:
        yield partial
        if place.exists():
            shutil.copymode(place, partial)


def check_output(path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse an output early; see `output`."""
    if ADDRESS.match(str(path)):
        raise DataError(
            f"{path}: expected a path on this machine, found an address; write it here, and bring "
            "it there"
        )
    place = Path(path).resolve()
    if place.exists() and not place.is_file() and not place.is_dir():
        raise DataError(f"{path}: expected the name of a file, found a pipe or a device")
    for given in map(Path, inputs):
        same = place.exists() and given.exists() and place.samefile(given)
        if same or (given.is_dir() and given.resolve() in place.parents):
            raise DataError(
                f"{path}: expected another place than the input, {given}, which it would replace "
                "or become a part of; choose another name"
            )


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends to an output, whole or not at all."""
    with output(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
