"""One retraining: refresh the data, run the pipeline, judge, promote or keep, record, notify.

    outcome = retrain(params.load())
    approve(chosen, 4)           # what `retrain.approval: manual` waits for
    rollback(chosen)             # the previous version serves again

All work happens in a copy of the checkout. The record is the point of no return: until it is on the
disk, what was done is thrown away; from then on, aliases and files only follow what it says.
Whoever comes after a killed retraining does the one or the other, so that checkout, registry and
record always tell of the same decision.

Like a stage, it takes all of `params.yaml`: it plays the part of one, and hands on plain values.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from birnn import (
    attempts,
    challenge,
    decisions,
    files,
    notifications,
    promotion,
    registry,
    report,
    tracking,
    workspace,
)
from birnn.attempts import Attempt, Reproduce
from birnn.errors import RegistryError, RetrainingError
from birnn.params import Params
from birnn.promotion import Check
from birnn.registry import CHALLENGER, CHAMPION, DECISION, PREVIOUS, UNDECIDED, Registry, Version

RECORD, PAGE = Path("decisions.jsonl"), Path("report/retraining.html")

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


def retrain(chosen: Params, *, reproduce: Reproduce = workspace.reproduce) -> Outcome:
    """Make one attempt; the working directory is the checkout.

    Args:
        chosen: its `params.yaml`.
        reproduce: how the pipeline is run.

    Raises:
        RetrainingError: another one runs, or the refreshing or a stage failed.
        RegistryError: MLflow is out of reach; what was trained then waits in the checkout.
        DataError: the champion cannot read the data.
    """
    with attempts.locked():
        with _failures_told(chosen.problem):
            found = _mended(chosen.problem)
            decided = _attempted(chosen, found, reproduce)
        if isinstance(decided, Outcome):
            attempts.end()
            return decided
        outcome = _settle(decided, found)
    if outcome.decision == "postponed":
        raise RegistryError(outcome.sentence)
    return outcome


def _attempted(chosen: Params, found: Registry | None, reproduce: Reproduce) -> Record | Outcome:
    """Go up to the decision, or leave all as it was."""
    with tracking.reached():
        champion = found.aliased(CHAMPION) if found else None
    attempt = Attempt(attempts.begin(), chosen, found, champion, reproduce)
    try:
        return _decided(attempt)
    except BaseException:
        _undo(attempt.name, found, restore=True)
        raise


def plan(chosen: Params) -> list[str]:
    """Say what `retrain` would do, and do nothing."""
    wanted = chosen.retrain
    changed, champion = workspace.changed(Path.cwd()), None
    if tracking.has_store():
        with tracking.reached():
            champion = registry.connect(chosen.problem).aliases()[CHAMPION]
    rival = "no champion" if champion is None else f"the champion, version {champion}"
    return [
        f"refresh: {shlex.join(wanted.refresh) if wanted.refresh else 'nothing'}",
        f"train: on {wanted.when}; `dvc repro` has {'work' if changed else 'nothing'} to do now",
        f"judge: {next(iter(chosen.models))} against {rival}",
        f"promote: {'at once' if wanted.approval == 'automatic' else 'after approval'}",
    ]


def approve(chosen: Params, number: int) -> Outcome:
    """Promote a version that waits for approval.

    Raises:
        RegistryError: there is no such version, it does not wait, or MLflow is out of reach.
        RetrainingError: a retraining runs.
    """
    with attempts.locked():
        found = _needed(_mended(chosen.problem))
        with tracking.reached():
            version, aliases = found.version(number), found.aliases()
        was = version.tags.get(DECISION, "registered by hand")
        if was != "waiting":
            raise RegistryError(f"version {number}: expected one that waits, found one {was}")
        record = _about(version, "promoted", f"Version {number} serves now: approved.", aliases)
        return _settle({"attempt": attempts.begin(), "problem": chosen.problem, **record}, found)


def rollback(chosen: Params) -> Outcome:
    """Let the previous version serve again; the one that it replaces becomes the previous one.

    Raises:
        RegistryError: there is no previous version, or MLflow is out of reach.
        RetrainingError: a retraining runs.
    """
    with attempts.locked():
        found = _needed(_mended(chosen.problem))
        with tracking.reached():
            now, back, aliases = found.aliased(CHAMPION), found.aliased(PREVIOUS), found.aliases()
        if now is None or back is None:
            raise RegistryError(f"{chosen.problem}: expected a previous version, found none")
        reason = f"Version {back.number} serves again, in the place of {now.number}."
        record = _about(now, "rolled back", reason, aliases)
        return _settle({"attempt": attempts.begin(), "problem": chosen.problem, **record}, found)


def _about(version: Version, decision: str, reason: str, aliases: Aliases) -> Record:
    """The part that all records share; `aliases` become what the decision makes of them."""
    number, champion, previous = version.number, aliases[CHAMPION], aliases[PREVIOUS]
    after = {
        "promoted": {
            PREVIOUS: champion,
            CHAMPION: number,
            CHALLENGER: None if aliases[CHALLENGER] == number else aliases[CHALLENGER],
        },
        "rolled back": {**aliases, PREVIOUS: champion, CHAMPION: previous},
    }.get(decision, {**aliases, CHALLENGER: number})
    return {
        "decision": decision,
        "reason": reason,
        "version": number,
        "run": version.run_id,
        "champion": champion,
        "aliases": after,
    }


def _needed(found: Registry | None) -> Registry:
    if found is None:
        raise _out_of_reach()
    return found


def _out_of_reach() -> RegistryError:
    return RegistryError(
        f"{tracking.without_secrets(tracking.store_uri())}: expected an answer from MLflow, found "
        "none; promotion waits, and what was trained lies in models/: once MLflow answers, run "
        "`birnn backfill`, and `birnn retrain` again"
    )


# --- after the record, after a failure, after a kill ----------------------------------------------


def _settle(record: Record, found: Registry | None) -> Outcome:
    """Write the record, and do what it says."""
    _finish(decisions.append(RECORD, record), found)
    return Outcome(record["decision"], record["reason"], record.get("version"))


def _finish(record: Record, found: Registry | None) -> None:
    """Do what a record says; to do it again changes nothing."""
    files.write_text(PAGE, report.render("retraining.html.j2", record=record))
    if found is not None and "version" in record:
        found = replace(found, problem=record["problem"])
        with tracking.reached():
            found.decide(record["version"], record["decision"])
            found.point(record["aliases"])
            _attach(found, record)
    if (attempts.state() / "checkout/dvc.lock").exists():
        workspace.adopt(attempts.state() / "checkout", Path.cwd())
    attempts.end()
    _tell(record)


def _attach(found: Registry, record: Record) -> None:
    """Hang the record and its page on the run."""
    noted = attempts.state() / "decision.json"
    files.write_json(noted, record)
    for path in (noted, PAGE):
        found.log(record["run"], path)


def _mended(problem: str) -> Registry | None:
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
            _undo(attempts.current(), found, restore=False)
        else:
            _finish(record, _needed(found) if "version" in record else None)
    return found


def _unfinished() -> Record | None:
    """The record of the attempt that was killed, if it came so far."""
    name = attempts.current()
    records = decisions.read(RECORD) if name else []
    return next((one for one in records if one.get("attempt") == name), None)


def _undo(attempt: str | None, found: Registry | None, *, restore: bool) -> None:
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
        with suppress(RegistryError), tracking.reached():
            found.discard(attempt or "")
            tracking.close_orphans(found.client)
    attempts.end()


def _empty(folder: Path) -> None:
    """Remove all that is in a folder, which may itself be a link or a mount."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _failures_told(problem: str) -> Iterator[None]:
    """Record and tell why an attempt failed, and let it fail."""
    try:
        yield
    except BaseException as error:
        reason = str(error) or type(error).__name__
        _tell(
            decisions.append(RECORD, {"problem": problem, "decision": "failed", "reason": reason})
        )
        raise


def _tell(record: Mapping[str, Any]) -> None:
    notifications.send(f"{record['problem']}: {record['decision']}", record["reason"])


# --- from data to a decision ----------------------------------------------------------------------


def _decided(attempt: Attempt) -> Record | Outcome:
    """Train where there is something new, judge, and give the record of the decision."""
    root, copy = Path.cwd(), attempt.copy
    if attempt.chosen.retrain.refresh:
        _refresh(attempt.chosen.retrain.refresh)
    if not workspace.changed(root) and (known := _known(attempt, root)):
        return _unchanged(known)
    workspace.create(root, copy)
    if calm := _calm(attempt):
        return calm
    attempt.reproduce(copy)  # which goes on also where MLflow is out of reach
    if not _answers(attempt.chosen.problem):
        attempt = replace(attempt, registry=None)
    if known := _known(attempt, copy):
        workspace.adopt(copy, root)
        return _unchanged(known)
    head = {"attempt": attempt.name, "problem": attempt.chosen.problem}
    if attempt.registry is None:
        return {**head, "decision": "postponed", "reason": str(_out_of_reach())}
    with tracking.reached():
        return {**head, **_judged(attempt, attempt.registry)}


def _answers(problem: str) -> bool:
    try:
        registry.connect(problem)
    except RegistryError:
        return False
    return True


def _refresh(command: Sequence[str]) -> None:
    """Run what brings new data; a copy of the old is kept until the attempt ends.

    Raises:
        RetrainingError: the command failed.
    """
    partial = attempts.state() / "external.partial"
    shutil.copytree(workspace.EXTERNAL, partial, symlinks=True)
    partial.replace(attempts.state() / "external")
    wanted = f"retrain.refresh: expected `{shlex.join(command)}` to end with status 0"
    try:
        done = subprocess.run(command, env=workspace.environment(), check=False)
    except OSError as error:
        raise RetrainingError(f"{wanted}, found: {error.strerror}") from None
    if done.returncode:
        raise RetrainingError(f"{wanted}, found {done.returncode}")


def _known(attempt: Attempt, folder: Path) -> Version | None:
    """Find the version that is the model in a folder, judged on the data there."""
    if attempt.registry is None:
        return None
    hashes = challenge.hashes(folder, attempt.model)
    with tracking.reached():
        decided = [
            one for one in attempt.registry.versions() if one.tags.get(DECISION) != UNDECIDED
        ]
    return next((one for one in decided if hashes.items() <= one.tags.items()), None)


def _unchanged(known: Version) -> Outcome:
    decision = known.tags[DECISION]
    was = "waits for approval" if decision == "waiting" else f"was {decision}"
    sentence = f"Data and code are unchanged: nothing to train. Version {known.number} {was}."
    return Outcome("unchanged", sentence, known.number)


def _calm(attempt: Attempt) -> Outcome | None:
    """Say that nothing is trained, where `retrain.when` waits for what has not come."""
    when, found, champion = attempt.chosen.retrain.when, attempt.registry, attempt.champion
    if when == "schedule" or found is None or champion is None:
        return None
    attempt.reproduce(attempt.copy, "prepare")
    if when == "data":
        now = tracking.data_sha256(attempt.copy / challenge.PREPARED)
        same = now == champion.tags["data_sha256"]
        return Outcome("skipped", "The data are those of the champion.") if same else None
    with tracking.reached():
        findings = challenge.drifted(attempt, found, champion)
    if any(finding.drifted for finding in findings):
        return None
    reason = "The data are like those of the champion: nothing has drifted."
    record = {"problem": attempt.chosen.problem, "decision": "skipped", "reason": reason}
    decisions.append(RECORD, {**record, "drift": [asdict(finding) for finding in findings]})
    return Outcome("skipped", reason)


def _judged(attempt: Attempt, found: Registry) -> Record:
    """Register the challenger, judge it, and say what becomes of it."""
    challenger, champion = challenge.register(attempt, found), attempt.champion
    checks = challenge.checks(attempt, found, challenger)
    findings = challenge.drifted(attempt, found, champion) if champion else []
    used = decisions.uses(decisions.read(RECORD), challenger.tags["test_sha256"])
    decision, reason = _concluded(challenger.number, checks, attempt.chosen.retrain.approval)
    return {
        **_about(challenger, decision, reason, found.aliases()),
        "checks": [asdict(check) for check in checks],
        "drift": [asdict(finding) for finding in findings],
        "test_uses": used + 1,
        **{name: value for name, value in challenger.tags.items() if name.endswith("sha256")},
    }


def _concluded(number: int, checks: Sequence[Check], approval: str) -> tuple[str, str]:
    if not promotion.promotes(checks):
        failed = " ".join(check.sentence for check in checks if not check.passed)
        return "kept", f"Version {number} does not serve. {failed}"
    if approval == "manual":
        how = f"`birnn retrain --approve {number}`"
        return "waiting", f"Version {number} passed all checks and waits for {how}."
    return "promoted", f"Version {number} serves now: it passed all checks."
