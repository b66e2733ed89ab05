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
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from birnn.errors import DataError, without_secrets
from birnn.files import atomic, locks
from birnn.files.hashing import Hashes
from birnn.tracking import runs

Record = dict[str, Any]

SAMPLE, LAST = 256, "f" * 16  # hashes that are remembered of a test set; the highest there is
ERROR = 0.025  # the chance with which a headline passes that is not really better
MOST_ERROR = 0.2  # of all decisions on the same sequences together, from which on a line says so

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
    with locks.held(path.with_name(f".{path.name}.lock")):
        stamped = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **_harmless(record)}
        line = json.dumps(stamped, allow_nan=False).encode() + b"\n"
        with atomic.naming(path), path.open("ab+") as file:
            _cut_torn_line(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        atomic.sync_folder(path.parent)
    return stamped


def _harmless(value: Any) -> Any:
    """A record without secrets: it is pushed, and shown to people."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {key: _harmless(one) for key, one in value.items()}
    return [_harmless(one) for one in value] if isinstance(value, list | tuple) else value


def add(path: str | Path, records: Iterable[Record]) -> None:
    """Put in records that were made elsewhere, each at its time; those that are there stay."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.held(path.with_name(f".{path.name}.lock")):
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


def sample(contents: Hashes) -> list[str]:
    """Remember which sequences a test set holds: its lowest hashes, `SAMPLE` of them, as text.

    Args:
        contents: (S,) hashes of the sequences; see `birnn.retraining.answering.contents`.
    """
    return [f"{one:016x}" for one in np.unique(contents)[:SAMPLE]]


def uses(records: Iterable[Mapping[str, Any]], test_sha256: str, now: Sequence[str]) -> float:
    """Count the decisions that were made on a test set, each by the share of the set that it used.

    So a set does not become fresh because one sequence has been added.

    Args:
        records: of decisions; those about test data name its `test_sample`, or in 0.2.0 just its
            hash, `test_sha256`.
        test_sha256: the hash of the set.
        now: the `sample` of the set.
    """
    return sum(
        _overlap(now, record["test_sample"])
        if "test_sample" in record
        else record.get("test_sha256") == test_sha256
        for record in records
    )


def _overlap(now: Sequence[str], before: Sequence[str]) -> float:
    """The share of a set that is in an earlier one, from the hashes that both samples reach up to.

    Exact for sets of up to `SAMPLE` sequences, else within 0.06 in 19 of 20 cases where the two are
    of about one size (Beyer et al., On Synopses for Distinct-Value Estimation Under Multiset
    Operations, 2007). Of a set so small beside the earlier one that nothing is known: all of it.
    """
    reach = min(one[-1] if len(one) == SAMPLE else LAST for one in (now, before))
    seen = [one for one in now if one <= reach]
    return len({*seen} & {*before}) / len(seen) if seen else 1.0


def staleness(used: float) -> str:
    """Say that test data are no longer fresh, after so many decisions on them; "" where they are.

    In each, a model that should not serve passes with a chance of `ERROR` at most, so in any of
    them with at most the sum of these chances, however they depend on one another.
    """
    chance = used * ERROR
    if chance < MOST_ERROR:
        return ""
    return (
        f" The test sequences are no longer fresh: they have served {used:.3g} decisions, of which "
        "a model that should not serve passes one with a chance of up to "
        f"{100 * min(chance, 1):.0f} %. Bring new test sequences."
    )
