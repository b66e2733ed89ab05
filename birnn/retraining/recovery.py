"""After the record, after a failure, after a kill: checkout, registry and record agree again.

Before the decision is written to the record (`decisions.jsonl`, on the disk before anything else
happens), a failure rolls back: the new version is discarded, and the data are put back. After it,
the next attempt completes the decision: tags, aliases, the attached record, the checkout's files.
Each of these steps may be done twice, because a kill may come between any two of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from birnn.errors import RegistryError
from birnn.files import atomic, paths
from birnn.report import pages
from birnn.retraining import attempts, decisions, notifications, workspace
from birnn.tracking import registry, runs, store
from birnn.tracking.registry import (
    Registry,
)

RECORD, PAGE = Path("decisions.jsonl"), paths.REPORT / "retraining.html"

Record = dict[str, Any]
Aliases = Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a retraining ended.

    Attributes:
        decision: `promoted` and `kept` are about the champion, a `waiting` version waits for
            approval, and with `skipped` and `unchanged` nothing was trained.
        sentence: the same in words.
        version: that was judged, if one was.
    """

    decision: str
    sentence: str
    version: int | None = None


def needed(found: Registry | None) -> Registry:
    """Give the registry.

    Raises:
        RegistryError: MLflow is out of reach.
    """
    if found is None:
        raise out_of_reach()
    return found


def out_of_reach() -> RegistryError:
    """What is said where promotion has to wait for MLflow."""
    return RegistryError(
        f"{store.without_secrets(store.store_uri())}: expected an answer from MLflow, found "
        "none; promotion waits, and what was trained lies in models/: once MLflow answers, run "
        "`birnn backfill`, and `birnn retrain` again"
    )


def settle(record: Record, found: Registry | None) -> Outcome:
    """Write the record, and do what it says."""
    _finish(decisions.append(RECORD, record), found)
    return Outcome(record["decision"], record["reason"], record.get("version"))


def _finish(record: Record, found: Registry | None) -> None:
    """Do what a record says; to do it again changes nothing."""
    atomic.write_text(PAGE, pages.render("retraining.html.j2", record=record))
    if found is not None and "version" in record:
        found = replace(found, problem=record["problem"])
        with store.reached():
            found.decide(record["version"], record["decision"])
            found.point(record["aliases"])
            _attach(found, record)
    if (attempts.state() / "checkout/dvc.lock").exists():
        workspace.adopt(attempts.state() / "checkout", Path.cwd())
    attempts.end()
    tell(record)


def _attach(found: Registry, record: Record) -> None:
    """Hang the record and its page on the run."""
    noted = attempts.state() / "decision.json"
    atomic.write_json(noted, record)
    for path in (noted, PAGE):
        found.log(record["run"], path)


def mended(problem: str) -> Registry | None:
    """Put in order what a killed retraining has left; give the registry, if it answers.

    Raises:
        RegistryError: a decision must be carried out first, and MLflow is out of reach.
    """
    try:
        found = registry.connect(problem)
    except RegistryError as error:
        print(f"promotion will wait: {error}")
        found = None
    if attempts.state().exists():
        workspace.end_orphans()
        if (record := _unfinished()) is None:
            undo(attempts.current(), found, restore=False)
        else:
            _finish(record, needed(found) if "version" in record else None)
    return found


def _unfinished() -> Record | None:
    """The record of the attempt that was killed, if it came so far."""
    name = attempts.current()
    records = decisions.read(RECORD) if name else []
    return next((one for one in records if one.get("attempt") == name), None)


def undo(attempt: str | None, found: Registry | None, *, restore: bool) -> None:
    """Leave things as they were before an attempt.

    Args:
        attempt: its name.
        found: where it may have registered a version.
        restore: whether to put back data that it has replaced. Not after a kill: between that and
            now people may have brought newer ones, and the next refreshing comes anyway.
    """
    before = attempts.state() / "external"
    if restore and before.exists():
        _empty(workspace.EXTERNAL)
        shutil.copytree(before, workspace.EXTERNAL, symlinks=True, dirs_exist_ok=True)
    if found is not None:
        with suppress(RegistryError), store.reached():
            found.discard(attempt or "")
            runs.close_orphans(found.client)
    attempts.end()


def _empty(folder: Path) -> None:
    """Remove all that is in a folder, which may itself be a link or a mount."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def failures_told(problem: str) -> Iterator[None]:
    """Record and tell why an attempt failed, and let it fail."""
    try:
        yield
    except BaseException as error:
        reason = str(error) or type(error).__name__
        tell(decisions.append(RECORD, {"problem": problem, "decision": "failed", "reason": reason}))
        raise


def tell(record: Mapping[str, Any]) -> None:
    """Notify people of a decision."""
    notifications.send(f"{record['problem']}: {record['decision']}", record["reason"])
