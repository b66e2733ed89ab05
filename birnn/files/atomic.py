"""Files that are either whole or absent."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from birnn.errors import NO_ROOM, DataError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what is written there takes its place at the end.

    Parent folders are made. If the block raises, `path` is as it was and nothing is left over.
    The bytes reach the disk before the rename, so a power cut cannot leave an empty file either.

    Raises:
        OSError: names `path` where the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path, instead_of=partial):
            yield partial
            sync(partial)
            move(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Name a file in the error of a full disk, which has no name, or in the place of another."""
    try:
        yield
    except OSError as error:
        temporary = instead_of is not None and error.filename == str(instead_of)
        if error.errno and (error.errno in NO_ROOM or temporary):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def move(source: Path, place: Path) -> None:
    """Rename a file or folder, for good: after a power cut, too, it has the new name.

    What is in a folder is brought to the disk first; of a file, whoever wrote it has done that.
    """
    if source.is_dir():
        for one in source.rglob("*"):
            if one.is_file() and not one.is_symlink():
                sync(one)
    source.replace(place)
    sync_folder(place.parent)


def copy(source: Path, place: Path) -> None:
    """Copy a file or folder to a place where nothing is, whole or not at all."""
    if not source.is_dir():
        with replacing(place) as partial:
            shutil.copy(source, partial)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        shutil.copytree(source, partial)
        move(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync(path: Path) -> None:
    """Bring the bytes of a file, perhaps one that nobody may write to, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, tree: Any) -> None:
    """Write JSON that a person can read and a diff can show; NaN and infinity are refused."""
    write_text(path, json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file that a stage has written.

    Raises:
        DataError: it is missing, broken or no file.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise DataError(f"{path}: expected a file, found a folder, a pipe or a device")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    except (ValueError, RecursionError) as error:  # the latter of what is very deep
        raise DataError(f"{path}: expected JSON, found {error}; run `dvc repro` again") from None
