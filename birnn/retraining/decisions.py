"""The record of what was decided about models: one line of JSON each, never changed afterwards.

A line counts once its line end is on the disk. What a killed writer leaves without one counts for
nothing: readers skip it, and the next writer cuts it off. The file is a checkout's own copy: what
was decided about a version lies in MLflow too, and `add` brings what other checkouts have decided.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from birnn.errors import DataError
from birnn.files import atomic
from birnn.tracking import runs

Record = dict[str, Any]

_BLOCK = 1 << 16


def append(path: str | Path, record: Mapping[str, Any]) -> Record:
    """Add a record and the time (UTC, ISO 8601, seconds); return only when it is on the disk.

    Several processes may write at the same moment: they take turns, by a lock beside the file.

    Args:
        path: the file; it and its folder are made where they are missing.
        record: what JSON can hold; NaN and infinity are refused.

    Returns:
        The record as it was written, with `time`.

    Raises:
        ValueError: it holds NaN or infinity; nothing is written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        stamped = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **record}
        line = json.dumps(stamped, allow_nan=False).encode() + b"\n"
        with path.open("ab+") as file:
            _cut_torn_line(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    return stamped


def add(path: str | Path, records: Iterable[Record]) -> None:
    """Put in records that were made elsewhere, each at its time; those that are there stay."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        present = read(path)
        missing = [record for record in records if record not in present]
        if missing:
            both = sorted([*present, *missing], key=lambda record: str(record.get("time", "")))
            atomic.write_text(path, "".join(f"{json.dumps(record)}\n" for record in both))


def signature() -> Record:
    """Say who decides, where, and on which commit."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        who = "unknown"
    return {"by": who, "host": socket.gethostname(), "commit": runs.commit()}


def _cut_torn_line(file: IO[bytes]) -> None:
    """Shorten the file to its last line end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        end = start if found < 0 else start + found + 1
        if found >= 0:
            break
    file.truncate(end)


def _sync_folder(folder: Path) -> None:
    """Bring the name of a new file to the disk, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def read(path: str | Path) -> list[Record]:
    """Read all records, the oldest first; none where there is no file.

    Raises:
        DataError: a line that was finished is not a record.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    lines = content.split(b"\n")[:-1]
    return [_record(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _record(line: bytes, where: str) -> Record:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: expected JSON, found {error}; take the line out") from None
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a record, found {found!r}; take the line out")
    return found


def uses(records: Iterable[Mapping[str, Any]], test_sha256: str) -> int:
    """Count the decisions that were made on a test set.

    Each further use of the same test data makes the result more optimistic.

    A record of such a decision names the set's hash in `test_sha256`.
    """
    return sum(record.get("test_sha256") == test_sha256 for record in records)
