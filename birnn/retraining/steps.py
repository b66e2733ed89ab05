"""One retraining: refresh the data, run the pipeline, judge, promote or keep, record, notify.

    outcome = retrain(params.load())
    approve(chosen, 4)           # what `retrain.approval: manual` waits for
    rollback(chosen)             # the previous version serves again

All work happens in a copy of the checkout. Before the decision is written to the record, a failure
rolls back; after it, the next attempt completes what the record says. So checkout, registry and
record always agree; see `birnn.retraining.recovery`.

Like a stage, it takes all of `params.yaml`, and gives plain values to the functions that it calls.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from birnn.errors import RegistryError, RetrainingError
from birnn.files import paths
from birnn.params import Params
from birnn.retraining import attempts, candidate, decisions, gate, workspace
from birnn.retraining.attempts import Attempt, Reproduce
from birnn.retraining.judged import Check
from birnn.retraining.recovery import (
    RECORD,
    Aliases,
    Outcome,
    Record,
    failures_told,
    mended,
    needed,
    out_of_reach,
    settle,
    undo,
)
from birnn.tracking import registry, runs, store
from birnn.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    DECISION,
    PREVIOUS,
    UNDECIDED,
    Registry,
    Version,
)


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
        with failures_told(chosen.problem):
            found = mended(chosen.problem)
            decided = _attempted(chosen, found, reproduce)
        if isinstance(decided, Outcome):
            attempts.end()
            return decided
        outcome = settle(decided, found)
    if outcome.decision == "postponed":
        raise RegistryError(outcome.sentence)
    return outcome


def _attempted(chosen: Params, found: Registry | None, reproduce: Reproduce) -> Record | Outcome:
    """Go up to the decision, or leave all as it was."""
    with store.reached():
        champion = found.aliased(CHAMPION) if found else None
    attempt = Attempt(attempts.begin(), chosen, found, champion, reproduce)
    try:
        return _decided(attempt)
    except BaseException:
        undo(attempt.name, found, restore=True)
        raise


def plan(chosen: Params) -> list[str]:
    """Say what `retrain` would do, and do nothing."""
    wanted = chosen.retrain
    changed, champion = workspace.changed(Path.cwd()), None
    if store.has_store():
        with store.reached():
            champion = registry.connect(chosen.problem).aliases()[CHAMPION]
    rival = "no champion" if champion is None else f"the champion, version {champion}"
    return [
        f"refresh: {shlex.join(wanted.refresh) if wanted.refresh else 'nothing'}",
        f"train: on {wanted.when}; `dvc repro` has {'work' if changed else 'nothing'} to do now",
        f"judge: {chosen.candidate} against {rival}",
        f"promote: {'at once' if wanted.approval == 'automatic' else 'after approval'}",
    ]


def approve(chosen: Params, number: int) -> Outcome:
    """Promote a version that waits for approval.

    Raises:
        RegistryError: there is no such version, it does not wait, or MLflow is out of reach.
        RetrainingError: a retraining runs.
    """
    with attempts.locked():
        found = needed(mended(chosen.problem))
        with store.reached():
            version, aliases = found.version(number), found.aliases()
        was = version.tags.get(DECISION, "registered by hand")
        if was != "waiting":
            raise RegistryError(f"version {number}: expected one that waits, found one {was}")
        record = _about(version, "promoted", f"Version {number} serves now: approved.", aliases)
        return settle({"attempt": attempts.begin(), "problem": chosen.problem, **record}, found)


def rollback(chosen: Params) -> Outcome:
    """Let the previous version serve again; the one that it replaces becomes the previous one.

    Raises:
        RegistryError: there is no previous version, or MLflow is out of reach.
        RetrainingError: a retraining runs.
    """
    with attempts.locked():
        found = needed(mended(chosen.problem))
        with store.reached():
            now, back, aliases = found.aliased(CHAMPION), found.aliased(PREVIOUS), found.aliases()
        if now is None or back is None:
            raise RegistryError(f"{chosen.problem}: expected a previous version, found none")
        reason = f"Version {back.number} serves again, in the place of {now.number}."
        record = _about(now, "rolled back", reason, aliases)
        return settle({"attempt": attempts.begin(), "problem": chosen.problem, **record}, found)


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
    attempt.reproduce(copy)  # it does not need MLflow
    if not _answers(attempt.chosen.problem):
        attempt = replace(attempt, registry=None)
    if known := _known(attempt, copy):
        workspace.adopt(copy, root)
        return _unchanged(known)
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
    hashes = candidate.hashes(folder, attempt.model)
    with store.reached():
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
        now = runs.data_sha256(attempt.copy / paths.PREPARED)
        same = now == champion.tags["data_sha256"]
        return Outcome("skipped", "The data are those of the champion.") if same else None
    with store.reached():
        findings = candidate.drifted(attempt, found, champion)
    if any(finding.drifted for finding in findings):
        return None
    reason = "The data are like those of the champion: nothing has drifted."
    record = {"problem": attempt.chosen.problem, "decision": "skipped", "reason": reason}
    decisions.append(RECORD, {**record, "drift": [asdict(finding) for finding in findings]})
    return Outcome("skipped", reason)


def _judged(attempt: Attempt, found: Registry) -> Record:
    """Register the challenger, judge it, and say what becomes of it."""
    challenger, champion = candidate.register(attempt, found), attempt.champion
    checks = candidate.checks(attempt, found, challenger)
    findings = candidate.drifted(attempt, found, champion) if champion else []
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
    if not gate.promotes(checks):
        failed = " ".join(check.sentence for check in checks if not check.passed)
        return "kept", f"Version {number} does not serve. {failed}"
    if approval == "manual":
        how = f"`birnn retrain --approve {number}`"
        return "waiting", f"Version {number} passed all checks and waits for {how}."
    return "promoted", f"Version {number} serves now: it passed all checks."
