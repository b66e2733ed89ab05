"""Which code of birnn a repository of one's own runs: `birnn.lock.json`, a hash for each room.

Such a repository holds no code of birnn, by which DVC could see that a stage is out of date. Its
`dvc.yaml` depends on the hashes in this file instead, each stage on those of its own rooms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from birnn.errors import DataError
from birnn.files import atomic, digests
from birnn.files.reading import first_few

PATH = "birnn.lock.json"
VERSION = "birnn"
"""The key of the version, for people."""
STAGES = "stages"
LIBRARY = Path(__file__).parents[1]
LEFT_OUT = ("__pycache__", "shipped")  # made from the code, for one machine


def version() -> str:
    """The version that is installed."""
    return metadata.version("birnn")


def hashes(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """Hash the code that is installed.

    Args:
        keys: `rooms.data`, `stages.train` and so on.

    Returns:
        A SHA-256 by the first half of a key, and the second.
    """
    found: dict[str, dict[str, str]] = {}
    for key in sorted(keys):
        kind, _, name = key.partition(".")
        found.setdefault(kind, {})[name] = _hash(place(kind, name))
    return found


def code() -> str:
    """The version that is installed and a hash of its code, such as `0.2.0 (1f2e3d4c)`."""
    return f"{version()} ({_hash(LIBRARY)[:8]})"


def place(kind: str, name: str) -> Path:
    """Where a room or a stage lies: a folder, or one module."""
    if kind == STAGES:
        within = LIBRARY / STAGES  # of a wheel; in a checkout they stand beside the library
        folder = within if within.is_dir() else LIBRARY.parent / STAGES
        return folder / f"{name}.py"
    room = LIBRARY / name
    return room if room.is_dir() else room.with_suffix(".py")


def _hash(path: Path) -> str:
    if path.is_file():
        return digests.sha256(path)
    digest = hashlib.sha256()
    for name, file in sorted(_files(path)):
        digest.update(f"{name}\0{digests.sha256(file)}\n".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and not {*name.parts} & {*LEFT_OUT}:
            yield name.as_posix(), path


def differences(noted: dict[str, dict[str, str]]) -> list[str]:
    """The rooms and stages whose code is another one than noted.

    Args:
        noted: what `hashes` gave.
    """
    now = hashes(f"{kind}.{name}" for kind, names in noted.items() for name in names)
    return [
        name
        for kind, names in noted.items()
        for name, digest in names.items()
        if now[kind][name] != digest
    ]


def check() -> None:
    """Refuse to run a stage by other code than the repository notes, if it notes any.

    Its result would be taken for that of the code that is noted.

    Raises:
        DataError: another version is installed, or one whose code was changed.
    """
    if found := upgraded():
        raise DataError(f"{PATH}: expected {found}")


def upgraded() -> str:
    """Say that other code is installed than the repository notes, and how to take it.

    Returns:
        What was expected and found; empty where the repository notes none, or this one.
    """
    if not Path(PATH).exists():
        return ""
    noted = atomic.read_json(PATH)
    said = noted.pop(VERSION)
    noted.pop("files", None)
    changed = differences(noted)
    if not changed:
        return ""
    return (
        f"the code of birnn {version()}, which is installed, found that of {said}, with other "
        f"{first_few(changed)}; run `birnn init` to take what is installed, and `dvc repro` to run "
        f"the stages that use it, or install birnn {said}"
    )
