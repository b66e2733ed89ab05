"""One retraining: refresh the data, run the pipeline, judge, promote or keep, record, notify.

    outcome = retrain(params.load())

All work happens in a copy of the checkout. Before the decision is written to the record, a failure
rolls back; after it, the next attempt completes what the record says. So checkout, registry and
record always agree; see `birnn.retraining.recovery`. The checkout's own files change only where
the new model serves.

Like a stage, it takes all of `params.yaml`, and gives plain values to the functions that it calls.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from birnn.errors import RegistryError, RetrainingError
from birnn.files import atomic, paths
from birnn.params import Params
from birnn.retraining import attempts, candidate, decisions, gate, judging, lineage, workspace
from birnn.retraining.attempts import Attempt, Reproduce
from birnn.retraining.judged import Check
from birnn.retraining.lineage import JUDGED_WITH
from birnn.retraining.recovery import (
    GATE,
    RECORD,
    Outcome,
    Record,
    failures_told,
    mended,
    out_of_reach,
    settle,
    undo,
)
from birnn.sources import ingestion
from birnn.tracking import registry, runs, store
from birnn.tracking.registry import CHAMPION, DECISION, UNDECIDED, Registry, Version


def retrain(chosen: Params, *, reproduce: Reproduce = workspace.reproduce) -> Outcome:
    """Make one attempt; the working directory is the checkout.

    Args:
        chosen: its `params.yaml`.
        reproduce: how the pipeline is run.

    Raises:
        RetrainingError: another one runs, or the refreshing or a stage failed.
        RegistryError: MLflow is out of reach; what was trained then waits in DVC's cache.
        DataError: the champion cannot read the data.
    """
    with attempts.locked():
        try:
            outcome = _retrained(chosen, reproduce)
        except BaseException as error:
            _note(chosen.problem, *attempts.ended_by(error))
            raise
        _note(chosen.problem, outcome.decision, outcome.sentence)
    if outcome.decision == "postponed":
        raise RegistryError(outcome.sentence)
    return outcome


def _retrained(chosen: Params, reproduce: Reproduce) -> Outcome:
    with failures_told(chosen.problem):
        found = mended(chosen.problem)
        decided = _attempted(chosen, found, reproduce)
    if isinstance(decided, Outcome):
        attempts.end()
        return decided
    return settle(decided, found)


def _note(problem: str, ended: str, reason: str) -> None:
    """Keep how the attempt ended, here and in MLflow, for those who watch that they go on."""
    last = attempts.note(ended, reason)
    with suppress(RegistryError), store.reached():
        registry.connect(problem).remember(last.tags())


def _attempted(chosen: Params, found: Registry | None, reproduce: Reproduce) -> Record | Outcome:
    """Go up to the decision, or leave all as it was."""
    with store.reached():
        champion = lineage.champion(found) if found else None
    attempt = Attempt(attempts.begin(), chosen, found, champion, reproduce)
    try:
        return _decided(attempt)
    except BaseException:
        undo(attempt.name, found, restore=True)
        raise


def plan(chosen: Params) -> list[str]:
    """Say what `retrain` would do, and do nothing.

    Raises:
        DataError: a file of the data is not there, and nothing is to bring it.
    """
    wanted = chosen.retrain
    if not wanted.refresh:
        ingestion.check_there(chosen.data)
    changed, champion = workspace.changed(Path.cwd()), None
    if store.has_store():
        with store.reached():
            champion = registry.connect(chosen.problem).aliases()[CHAMPION]
    rival = "no champion" if champion is None else f"the champion, version {champion}"
    return [
        f"refresh: {_program(wanted.refresh) if wanted.refresh else 'nothing'}",
        f"train: on {wanted.when}; `dvc repro` has {'work' if changed else 'nothing'} to do now",
        f"judge: {chosen.candidate} against {rival}",
        f"promote: {'at once' if wanted.approval == 'automatic' else 'after approval'}",
    ]


def _decided(attempt: Attempt) -> Record | Outcome:
    """Train where there is something new, judge, and give the record of the decision."""
    root, copy = Path.cwd(), attempt.copy
    if attempt.chosen.retrain.refresh:
        _refresh(attempt.chosen.retrain.refresh)
    if not workspace.changed(root) and (settled := _settled(attempt, root)):
        return _unchanged(settled)
    workspace.create(root, copy)
    if calm := _calm(attempt):
        return calm
    attempt.reproduce(copy)  # it does not need MLflow
    if not _answers(attempt.chosen.problem):
        attempt = replace(attempt, registry=None)
    if settled := _settled(attempt, copy):
        if attempt.champion and settled.number == attempt.champion.number:
            workspace.adopt(copy, root)
        return _unchanged(settled)
    head = {"attempt": attempt.name, "problem": attempt.chosen.problem}
    if attempt.registry is None:
        return {**head, "decision": "postponed", "reason": str(out_of_reach())}
    with store.reached():
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
    shutil.copytree(paths.EXTERNAL, partial, symlinks=True)
    atomic.move(partial, attempts.state() / "external")
    wanted = f"retrain.refresh: expected `{_program(command)}` to end with status 0"
    try:
        done = subprocess.run(command, env=workspace.environment(), check=False)
    except OSError as error:
        raise RetrainingError(f"{wanted}, found: {error.strerror}") from None
    if done.returncode:
        raise RetrainingError(f"{wanted}, found {done.returncode}")


def _program(command: Sequence[str]) -> str:
    """The name of a program alone: there may be secrets among its arguments."""
    return Path(command[0]).name


def _settled(attempt: Attempt, folder: Path) -> Version | None:
    """Find the version that is the model in a folder, if there is nothing to judge anew.

    A model that does not serve is judged anew where the settings of the checks have changed, or
    another champion has come. One that has served is not: it would be what a rollback took away.
    """
    known = _known(attempt, folder)
    if known is None or known.tags[DECISION] in ("promoted", "rolled back"):
        return known
    judged = {
        GATE: judging.settings_sha256(attempt.chosen),
        JUDGED_WITH: judging.rival(attempt.champion),
    }
    return known if judged.items() <= known.tags.items() else None


def _known(attempt: Attempt, folder: Path) -> Version | None:
    """Find the version that is the model in a folder, trained and tested on the data there."""
    if attempt.registry is None:
        return None
    hashes = candidate.hashes(folder, attempt.model)
    with store.reached():
        decided = [
            one for one in attempt.registry.versions() if one.tags.get(DECISION) != UNDECIDED
        ]
    return next((one for one in decided if hashes.items() <= one.tags.items()), None)


def _unchanged(known: Version) -> Outcome:
    decision = known.tags[DECISION]
    was = "waits for approval" if decision == "waiting" else f"was {decision}"
    same = "Data and code are unchanged: nothing to train."
    return Outcome("unchanged", f"{same} Version {known.number} {was}.", known.number)


def _calm(attempt: Attempt) -> Outcome | None:
    """Say that nothing is trained, where `retrain.when` waits for what has not come."""
    when, found, champion = attempt.chosen.retrain.when, attempt.registry, attempt.champion
    if when == "schedule" or found is None or champion is None:
        return None
    attempt.reproduce(attempt.copy, "prepare")
    if when == "data":
        now = runs.data_sha256(attempt.copy / paths.PREPARED)
        same = now == champion.tags["data_sha256"]
        return Outcome("skipped", "The data are those of the champion.") if same else None
    with store.reached():
        changes = candidate.drifted(attempt, found, champion)
    if changes.any:
        return None
    reason = f"The data are like those of the champion: nothing has drifted. {changes.sentence}"
    record = {"problem": attempt.chosen.problem, "decision": "skipped", "reason": reason}
    decisions.append(RECORD, {**record, **judging.noted(changes)})
    return Outcome("skipped", reason)


def _judged(attempt: Attempt, found: Registry) -> Record:
    """Register the challenger if it is new, judge it, and say what becomes of it."""
    challenger = _known(attempt, attempt.copy) or candidate.register(attempt, found)
    kept = workspace.pack(Path.cwd(), attempt.copy, attempts.state() / candidate.KEPT_FILES)
    found.log(challenger.run_id, kept, f"retraining/{candidate.KEPT_FILES}")
    return judging.judged(attempt, found, challenger, _concluded)


def _concluded(number: int, checks: Sequence[Check], attempt: Attempt) -> tuple[str, str]:
    if not gate.promotes(checks):
        failed = " ".join(check.sentence for check in checks if not check.passed)
        return "kept", f"Version {number} does not serve. {failed}"
    passed = f"Version {number} passed all checks and waits for `birnn retrain --approve {number}`"
    if lineage.held(attempt.champion):
        return "waiting", f"{passed}, as all do after a rollback until one is approved."
    if attempt.chosen.retrain.approval == "manual":
        return "waiting", f"{passed}."
    return "promoted", f"Version {number} serves now: it passed all checks."
