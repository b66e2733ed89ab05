"""Folders within a folder, whose names say something of the files in them: `walking/001.csv`.

for file, folder in files(Path("data/har"), named="label", skipped=skipped): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from birnn.errors import DataError
from birnn.files import reading
from birnn.files.reading import Skipped, first_few


def files(path: Path, *, named: str, needed: bool, skipped: Skipped) -> Iterator[tuple[Path, str]]:
    """Give each file of the folders in a folder, and the name of its own.

    Args:
        path: the folder; or one of files alone, or a file, such as may be asked about, with "" for
            a name.
        named: what the folders' names are.
        needed: whether there must be folders.
        skipped: counts files beside folders, which are left out.

    Raises:
        DataError: there are none; or a shard is missing.
    """
    inner = within(path) if path.is_dir() else []
    if needed and not inner:
        raise DataError(f"{path}: expected a folder in it for each {named}, found none")
    if not path.is_dir():
        yield path, ""
        return
    if others := [one.name for one in reading.parts(path) if inner and one not in inner]:
        what = f"files beside folders whose names are {named}s ({first_few(others)})"
        skipped.add(what, str(path), len(others))
    for folder in inner:
        yield from ((file, folder.name) for file in reading.parts(folder))
    if not inner:
        yield from ((file, "") for file in reading.parts(path))


def within(path: Path) -> Sequence[Path]:
    """The folders in a folder."""
    return [one for one in reading.parts(path) if one.is_dir()]
