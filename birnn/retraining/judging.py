"""A version is judged with the champion of this moment, and a record says what follows.

    record = judged(attempt, registry, version, concluded)

It may be the one that was just trained, or one that was trained some time ago and waits: then it
answers for the test sequences of today as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from birnn.files import digests
from birnn.params import Params
from birnn.retraining import candidate, decisions, faults, gate, lineage
from birnn.retraining.attempts import Attempt
from birnn.retraining.drift import Drift
from birnn.retraining.judged import Check
from birnn.retraining.lineage import REFERENCE, named
from birnn.retraining.recovery import GATE, RECORD, Record, about
from birnn.retraining.shadowed import shadowed
from birnn.tracking.registry import Registry, Version

Concluded = Callable[[int, Sequence[Check], Attempt], tuple[str, str]]
"""What follows from the checks of a version: the decision, and why."""


def judged(attempt: Attempt, found: Registry, challenger: Version, concluded: Concluded) -> Record:
    """Judge a version, and say what becomes of it.

    Where somebody lets another version serve meanwhile, it is judged again, with that one.

    Args:
        attempt: whose copy holds the data, prepared, and perhaps the challenger's training.
        found: the registry.
        challenger: the version.
        concluded: what follows from the checks.
    """
    while True:
        checks = candidate.checks(attempt, found, challenger)
        champion = lineage.champion(found)
        if rival(champion) == rival(attempt.champion):
            break
        attempt = replace(attempt, champion=champion)
    changes = candidate.drifted(attempt, found, champion) if champion else None
    test_sha256, sample = candidate.test_sha256(attempt), candidate.test_sample(attempt)
    used = 1 + decisions.uses(decisions.read(RECORD), test_sha256, sample)
    decision, reason = concluded(challenger.number, checks, attempt)
    reason += faults.blind_spots(checks) if decision in ("promoted", "waiting") else ""
    reason += decisions.staleness(used)
    return {
        **about(challenger, decision, reason, found.aliases()),
        "checks": [asdict(check) for check in checks],
        **noted(changes),
        "test_uses": round(used, 2),
        **shadowed(attempt, challenger),
        "test_sample": sample,
        **{name: value for name, value in challenger.tags.items() if name.endswith("sha256")},
        "test_sha256": test_sha256,
        REFERENCE: _reference(checks, found, challenger, champion),
        GATE: settings_sha256(attempt.chosen),
    }


def _reference(
    checks: Sequence[Check], found: Registry, challenger: Version, champion: Version | None
) -> int:
    """The number of the reference from then on, if the challenger comes to serve."""
    if champion is None or gate.sets_reference(checks):
        return challenger.number
    versions = {version.number: version for version in found.versions()}
    return (lineage.reference(versions, champion) or champion).number


def rival(champion: Version | None) -> str:
    """The champion as tags have it."""
    return named(champion.number if champion else None)


def settings_sha256(chosen: Params) -> str:
    """Hash what params.yaml says of the checks and of approval: other settings, other decisions."""
    retrain = chosen.retrain.model_dump(exclude={"when", "refresh", "psi_limit", "shadow"})
    said = {"evaluate": chosen.evaluate.model_dump(), "retrain": retrain}
    return digests.sha256_of_text(json.dumps(said, sort_keys=True))


def noted(changes: Drift | None) -> Record:
    """What the record says of drift."""
    if changes is None:
        return {"drift": []}
    findings = [asdict(finding) for finding in changes.findings]
    return {"drift": findings, "drift_compared": changes.sentence}
