"""After the record, after a failure, after a kill: checkout, registry and record agree again.

Before the decision is written to the record (`decisions.jsonl`, on the disk before anything else
happens), a failure rolls back: the new version is discarded, and the data are put back. After it,
the next attempt completes the decision: tags, aliases, the attached record, the checkout's files.
Each of these steps may be done twice, because a kill may come between any two of them.

Other checkouts may use the same registry meanwhile. A decision rests on the champion of its moment:
where another one serves when it is carried out, it is overtaken, and moves no champion.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from birnn.errors import RegistryError
from birnn.files import atomic, console, paths
from birnn.params import lock
from birnn.report import pages
from birnn.retraining import attempts, decisions, notifications, workspace
from birnn.retraining.lineage import JUDGED_WITH, PREDECESSOR, REFERENCE, RESTORED, named
from birnn.tracking import registry, runs, store
from birnn.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    DECISION,
    PREVIOUS,
    Registry,
    Version,
)

RECORD, PAGE = Path("decisions.jsonl"), paths.REPORT / "retraining.html"

DECIDED_IN, GATE = "decided_in", "gate_sha256"
"""Tags of versions: the attempt that decided, and the settings of the checks in it."""

SERVING = ("promoted", "rolled back")  # decisions by which another version comes to serve
KINDS: dict[str, notifications.Kind] = {
    "failed": "failure",
    "postponed": "failure",
    "promoted": "success",
    "rolled back": "warning",
    "overtaken": "warning",
    "waiting": "warning",
}

Record = dict[str, Any]
Aliases = Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a retraining ended.

    Attributes:
        decision: `promoted` and `kept` are about the champion, a `waiting` version waits for
            approval, an `overtaken` one was judged with a champion that serves no longer, and with
            `skipped` and `unchanged` nothing was trained.
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
        f"{store.shown_uri()}: expected an answer from MLflow, found "
        "none; promotion waits, and what was trained lies in DVC's cache: once MLflow answers, "
        "run `birnn retrain` again"
    )


def settle(record: Record, found: Registry | None) -> Outcome:
    """Write the record, and do what it says."""
    written = decisions.append(RECORD, {**record, **decisions.signature()})
    return _finish(written, found)


def about(version: Version, decision: str, reason: str, aliases: Aliases) -> Record:
    """The part that all records share; `aliases` become what the decision makes of them."""
    number, champion = version.number, aliases[CHAMPION]
    after = {
        "promoted": {
            PREVIOUS: champion,
            CHAMPION: number,
            CHALLENGER: None if aliases[CHALLENGER] == number else aliases[CHALLENGER],
        },
        "rolled back": aliases,
    }.get(decision, {**aliases, CHALLENGER: number})
    return {
        "decision": decision,
        "reason": reason,
        "version": number,
        "run": version.run_id,
        "champion": champion,
        "aliases": after,
    }


def _finish(record: Record, found: Registry | None) -> Outcome:
    """Do what a record says; to do it again changes nothing."""
    found = replace(found, problem=record["problem"]) if found and "version" in record else None
    if found is not None:
        with store.reached():
            record = _overtaken(record, found.aliases())
    atomic.write_text(PAGE, pages.render("retraining.html.j2", record=record))
    if found is not None:
        with store.reached():
            _carry_out(record, found)
    if record["decision"] in SERVING:
        _adopt(attempts.state() / "checkout")
    attempts.end()
    tell(record)
    return Outcome(record["decision"], record["reason"], record.get("version"))


def _adopt(copy: Path) -> None:
    """Give the checkout the files of the model that serves from now on, if they are there."""
    if (copy / lock.PATH).exists():
        workspace.adopt(copy, Path.cwd())
    elif copy.exists():
        workspace.adopt_model(copy, Path.cwd())


def _overtaken(record: Record, now: Aliases) -> Record:
    """Take a decision back where another version has come to serve since it was made."""
    if now[CHAMPION] in (record["champion"], record["aliases"][CHAMPION]):
        return record
    reason = (
        f"Version {record['version']} was judged with version {named(record['champion'])}, but "
        f"version {named(now[CHAMPION])} has come to serve meanwhile: `birnn retrain` judges again."
    )
    after = {**now, CHALLENGER: record["version"]}
    name = f"{record['attempt']}-overtaken"
    taken = {**record, "attempt": name, "decision": "overtaken", "reason": reason, "aliases": after}
    decisions.add(RECORD, [taken])
    return taken


def _carry_out(record: Record, found: Registry) -> None:
    """Hang the record and its page on the run, tag versions, and move the aliases."""
    kept = attempts.state() / f"{record['attempt']}.json"
    atomic.write_json(kept, record)
    found.log(record["run"], kept, registry.RECORDS)
    found.log(record["run"], PAGE)
    for number, tags in noted(record):
        found.note(number, tags)
    found.point(record["aliases"])


def noted(record: Record) -> list[tuple[int, dict[str, str]]]:
    """The tags by which versions say what was decided, in the order in which to write them."""
    serves = record["decision"] in SERVING
    served = [(record["aliases"][CHAMPION], _service(record))] if serves else []
    return [*served, (record["version"], _decision(record))]


def _decision(record: Record) -> dict[str, str]:
    """What the tags of a version say of the decision about it."""
    judged = {
        JUDGED_WITH: named(record["champion"]),
        REFERENCE: named(record.get(REFERENCE)),
        GATE: record.get(GATE, ""),
    }
    return {
        "reason": record["reason"],
        "decided_at": record["time"],
        "decided_by": signed(record),
        "comment": record.get("comment", ""),
        DECIDED_IN: record["attempt"],
        **(judged if "checks" in record else {}),
        DECISION: record["decision"],
    }


def _service(record: Record) -> dict[str, str]:
    """What the tags of a version say of when and why it came to serve."""
    restored = record["decision"] == "rolled back"
    replaced = {} if restored else {PREDECESSOR: named(record["champion"])}
    return {
        "serves_since": record["time"],
        "serves_because": " ".join(filter(None, [record["reason"], record.get("comment")])),
        "serves_by": signed(record),
        RESTORED: "yes" if restored else "no",
        **replaced,
    }


def signed(record: Record) -> str:
    """Who decided, and where."""
    return f"{record.get('by', 'somebody')} on {record.get('host', 'some machine')}"


def gather(found: Registry) -> int:
    """Add the decisions of other checkouts to the record; say how many there were."""
    known = {record.get("attempt") for record in decisions.read(RECORD)}
    with store.reached(), TemporaryDirectory() as folder:
        behind = {
            version.run_id
            for version in found.versions()
            if version.tags.get(DECIDED_IN) not in {None, *known}
        }
        others = {
            name: found.attached(run, f"decisions/{name}.json", folder)
            for run in behind
            for name in found.records(run)
            if name not in known
        }
        decisions.add(RECORD, [atomic.read_json(path) for path in others.values()])
    return len(others)


def mended(problem: str) -> Registry | None:
    """Put in order what a killed retraining has left; give the registry, if it answers.

    Raises:
        RegistryError: a decision must be carried out first, and MLflow is out of reach.
    """
    try:
        found = registry.connect(problem)
    except RegistryError as error:
        console.say(f"promotion will wait: {error}")
        found = None
    if attempts.state().exists():
        workspace.end_orphans()
        if (record := _unfinished()) is None:
            undo(attempts.current(), found, restore=False)
        else:
            _finish(record, needed(found) if "version" in record else None)
    if found is not None:
        gather(found)
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
        _empty(paths.EXTERNAL)
        shutil.copytree(before, paths.EXTERNAL, symlinks=True, dirs_exist_ok=True)
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
        ended, reason = attempts.ended_by(error)
        failed = {"problem": problem, "decision": ended, "reason": reason}
        tell(decisions.append(RECORD, {**failed, **decisions.signature()}))
        raise


def tell(record: Mapping[str, Any]) -> None:
    """Notify people of a decision."""
    title = f"{record['problem']}: {record['decision']}"
    notifications.send(title, record["reason"], KINDS.get(record["decision"], "info"))
