"""One retraining at a time, and the state by which the next one knows what a killed one left.

with locked():
    name = begin()           # .birnn/retraining/attempt.json
    attempt = Attempt(name, params.load(), registry, champion, reproduce)
    ...
    end()
"""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import psutil
from filelock import Timeout

from birnn.errors import INTERRUPTS, RetrainingError, without_secrets
from birnn.files import atomic, locks, records
from birnn.params import Params
from birnn.tracking import store
from birnn.tracking.registry import Registry, Version


@dataclass(frozen=True, slots=True)
class Last:
    """The last attempt.

    Attributes:
        time: at which it ended; UTC, ISO 8601, seconds.
        ended: its decision, `failed` or `interrupted`.
        reason: why.
        failures: how many have failed one after the other, up to it.
    """

    time: str
    ended: str
    reason: str
    failures: int

    def tags(self) -> dict[str, str]:
        """The same as tags of a registered model."""
        return {f"last_attempt_{name}": str(value) for name, value in asdict(self).items()}

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> Last | None:
        """Read what `tags` gave; None from other ones."""
        said = {name.removeprefix("last_attempt_"): value for name, value in tags.items()}
        if not {field.name for field in fields(cls)} <= said.keys():
            return None
        return cls(said["time"], said["ended"], said["reason"], int(said["failures"]))


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds the lock.

    Attributes:
        pid: its number.
        host: the machine that it runs on.
        start: since when; UTC, ISO 8601, seconds.
    """

    pid: int
    host: str
    start: str


class Reproduce(Protocol):
    """How the pipeline is run: by `workspace.reproduce`, or in a workflow engine's own way."""

    def __call__(self, folder: Path, *targets: str) -> None:
        """Run the pipeline of a copy, or what leads to some stages of it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What all steps of one retraining share.

    Attributes:
        name: that no other attempt has.
        chosen: `params.yaml` of the checkout.
        registry: None while MLflow is out of reach.
        champion: the version that serves, if one does.
        reproduce: how the pipeline is run.
    """

    name: str
    chosen: Params
    registry: Registry | None
    champion: Version | None
    reproduce: Reproduce

    @property
    def model(self) -> str:
        """The one of `models` that wants to serve, of which the verdict speaks."""
        return self.chosen.candidate

    @property
    def copy(self) -> Path:
        """Where the pipeline runs."""
        return state() / "checkout"


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock of retrainings, which the system lets go of however the process ends.

    Raises:
        RetrainingError: another process holds it, or this is not a checkout.
    """
    if not Path("dvc.yaml").is_file():
        raise RetrainingError(f"{Path.cwd()}: expected dvc.yaml, found none; go to the checkout")
    folder = store.root() / store.STATE
    folder.mkdir(exist_ok=True)
    holder = folder / "retraining.json"
    try:
        lock = locks.acquired(store.lock_path("retraining"), timeout=0)
    except Timeout:
        raise RetrainingError(f"another retraining runs: {_holder(holder)}; wait for it") from None
    try:
        start = datetime.now(UTC).isoformat(timespec="seconds")
        records.write(holder, Holder(os.getpid(), socket.gethostname(), start))
        yield
    finally:
        lock.release()


def runs_now() -> bool:
    """Say whether a retraining is at work."""
    try:
        with locks.held(store.lock_path("retraining"), timeout=0):
            return False
    except Timeout:
        return True


def last() -> Last | None:
    """How the last attempt ended, if there was one."""
    path = _last()
    return records.read(path, Last) if path.exists() else None


def note(ended: str, reason: str) -> Last:
    """Keep how an attempt ended, for those who watch that retrainings go on."""
    before = last()
    failed = ended in ("failed", "postponed")
    count = (before.failures if before else 0) + 1 if failed else 0
    found = Last(datetime.now(UTC).isoformat(timespec="seconds"), ended, reason, count)
    records.write(_last(), found)
    return found


def ended_by(error: BaseException) -> tuple[str, str]:
    """How an attempt ended that something has broken off, and why: `failed`, or `interrupted`.

    A machine that is shut down is no failure, of which people would have to be alarmed.
    """
    if isinstance(error, INTERRUPTS):
        return "interrupted", "Somebody, or the machine's shutdown, has ended the attempt."
    return "failed", without_secrets(error) or type(error).__name__


def _last() -> Path:
    return store.root() / store.STATE / "last_attempt.json"


def _holder(path: Path) -> str:
    """Who holds the lock, by what the last one noted that did; another may hold it without that."""
    if not path.is_file():
        return "it has just begun"
    who = records.read(path, Holder)
    if who.host == socket.gethostname() and not _runs(who):
        return f"another process holds {store.lock_path('retraining')} (`fuser` says which)"
    return f"process {who.pid} on {who.host}, since {who.start}"


def _runs(who: Holder) -> bool:
    """Whether that process still runs here; its number may have been given to another since."""
    try:
        begun = psutil.Process(who.pid).create_time()
    except psutil.Error:
        return False
    return begun < datetime.fromisoformat(who.start).timestamp() + 1


def state() -> Path:
    """The folder with all that an attempt needs, which is there until it ends."""
    return store.root() / store.STATE / "retraining"


def begin() -> str:
    """Note that an attempt begins, and give it a name."""
    name = uuid.uuid4().hex
    atomic.write_json(state() / "attempt.json", name)
    return name


def current() -> str | None:
    """The name of the attempt that has not ended, or None."""
    noted = state() / "attempt.json"
    return atomic.read_json(noted) if noted.exists() else None


def end() -> None:
    """Remove the state."""
    shutil.rmtree(state(), ignore_errors=True)
