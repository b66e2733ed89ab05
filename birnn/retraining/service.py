"""Which version serves, by the word of a person: an approval, or a rollback.

    approve(chosen, 4)                 # what `retrain.approval: manual` waits for
    rollback(chosen)                   # the version before serves again
    rollback(chosen, to=2)             # a certain one does

All that is asked about versions is in the registry, so it is the same in each checkout. The version
that a promotion replaces is noted on the new one; so rollbacks go back step by step, and pass by
those that were rolled back themselves.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from birnn.errors import RegistryError
from birnn.files import atomic, paths
from birnn.params import Params
from birnn.retraining import attempts, candidate, gate, judging, lineage, workspace
from birnn.retraining.attempts import Attempt, Reproduce
from birnn.retraining.judged import Check
from birnn.retraining.lineage import JUDGED_WITH, named
from birnn.retraining.recovery import (
    GATE,
    Outcome,
    Record,
    about,
    failures_told,
    mended,
    needed,
    settle,
)
from birnn.tracking import registry, store
from birnn.tracking.registry import CHAMPION, DECISION, PREVIOUS, Registry, Version


@dataclass(frozen=True, slots=True)
class WayBack:
    """What a rollback does.

    Attributes:
        now: the version that serves.
        back: the one that will.
        previous: the one to which the next rollback would go, if there is one.
    """

    now: Version
    back: Version
    previous: int | None

    @property
    def reason(self) -> str:
        """The same in words."""
        return f"Version {self.back.number} serves again, in the place of {self.now.number}."


def approve(
    chosen: Params,
    number: int,
    *,
    comment: str = "",
    reproduce: Reproduce = workspace.reproduce,
) -> Outcome:
    """Promote a version that waits for approval, or was rolled back by mistake.

    Where it was judged with another champion than the one that serves, or by other settings, it is
    judged again first, on the test sequences of the present data. It is not trained again. If a
    check does not pass, it does not serve.

    Args:
        chosen: params.yaml of the checkout.
        number: of the version.
        comment: why, for those who read the record later.
        reproduce: how data are prepared, if it is judged again.

    Raises:
        RegistryError: there is no such version, it does not wait, or MLflow is out of reach.
        RetrainingError: a retraining runs, or the data cannot be prepared.
        DataError: the champion or the version cannot read the present data.
    """
    with attempts.locked():
        found = needed(mended(chosen.problem))
        with store.reached():
            version, champion = found.version(number), lineage.champion(found)
        was = version.tags.get(DECISION, "registered by hand")
        if was not in ("waiting", "rolled back"):
            raise RegistryError(f"version {number}: expected one that waits, found one {was}")
        if not _judged_now(version, champion, chosen):
            with failures_told(chosen.problem):
                return _judged_again(chosen, found, version, champion, reproduce, comment)
        with store.reached():
            reason = f"Version {number} serves now: approved."
            record = about(version, "promoted", reason, found.aliases())
        return _carried_out(chosen, found, version, {**record, "comment": comment})


def _judged_now(version: Version, champion: Version | None, chosen: Params) -> bool:
    """Say whether a version was judged with the champion of now, and by the settings of now."""
    settings = version.tags.get(GATE) or judging.settings_sha256(chosen)  # 0.2.0 noted none
    same = settings == judging.settings_sha256(chosen)
    return same and version.tags.get(JUDGED_WITH) == judging.rival(champion)


def _judged_again(
    chosen: Params,
    found: Registry,
    version: Version,
    champion: Version | None,
    reproduce: Reproduce,
    comment: str,
) -> Outcome:
    """Judge a version that waits with the champion of now, on the data of now."""
    attempt = Attempt(attempts.begin(), chosen, found, champion, reproduce)
    try:
        workspace.create(Path.cwd(), attempt.copy)
        reproduce(attempt.copy, "prepare")
        with store.reached():
            record = judging.judged(attempt, found, version, _approved)
            shutil.rmtree(attempt.copy)
            if record["decision"] == "promoted":
                _bring(found, version)
    except BaseException:
        attempts.end()
        raise
    head = {"attempt": attempt.name, "problem": chosen.problem, "comment": comment}
    return settle({**head, **record}, found)


def _approved(number: int, checks: Sequence[Check], attempt: Attempt) -> tuple[str, str]:
    rival = judging.rival(attempt.champion)
    if gate.promotes(checks):
        said = f"approved, and it passed all checks against version {rival}"
        return "promoted", f"Version {number} serves now: {said}."
    failed = " ".join(check.sentence for check in checks if not check.passed)
    return "kept", f"Version {number} does not serve: judged again, with version {rival}. {failed}"


def rollback(chosen: Params, to: int | None = None, *, comment: str = "") -> Outcome:
    """Let a version serve again that served before, such as the one before the champion.

    From then on promotions wait for approval, until one is approved.

    Args:
        chosen: params.yaml of the checkout.
        to: the version; without, the newest that served before and was not rolled back.
        comment: why, for those who read the record later.

    Raises:
        RegistryError: there is no such version, or MLflow is out of reach.
        RetrainingError: a retraining runs.
    """
    with attempts.locked():
        found = needed(mended(chosen.problem))
        with store.reached():
            way, aliases = way_back(found, to), found.aliases()
        after = {**aliases, PREVIOUS: way.previous, CHAMPION: way.back.number}
        record = about(way.now, "rolled back", way.reason, aliases)
        record |= {"aliases": after, "comment": comment}
        return _carried_out(chosen, found, way.back, record)


def rollback_plan(chosen: Params, to: int | None = None) -> str:
    """Say what `rollback` would do, and do nothing.

    Raises:
        RegistryError: there is no such version, or MLflow is out of reach.
    """
    found = registry.connect(chosen.problem)
    with store.reached():
        return f"would be done: {way_back(found, to).reason}"


def way_back(found: Registry, to: int | None) -> WayBack:
    """Find the version to which a rollback goes.

    Args:
        found: the registry.
        to: the version; without, the newest that served before and was not rolled back.

    Raises:
        RegistryError: there is no such version.
    """
    versions = {version.number: version for version in found.versions()}
    aliases = found.aliases()
    now = versions.get(aliases[CHAMPION] or 0)
    back = to if to is not None else lineage.before(versions, now, aliases[PREVIOUS])
    if now is None or back is None or back == now.number:
        raise RegistryError(
            f"{found.problem}: expected a previous version that was not rolled back, found none; "
            f"version {named(aliases[CHAMPION])} serves on"
        )
    chosen = found.version(back)
    if (was := chosen.tags.get(DECISION, "registered by hand")) != "promoted":
        raise RegistryError(
            f"version {back}: expected one that served and was not rolled back, found one {was}; "
            "`birnn retrain --approve` lets a version serve that waits or was rolled back"
        )
    return WayBack(now, chosen, lineage.before(versions, chosen, None))


def _carried_out(chosen: Params, found: Registry, serving: Version, record: Record) -> Outcome:
    """Bring the files of the version that will serve, decide, and do what follows."""
    attempt = attempts.begin()
    try:
        with store.reached():
            _bring(found, serving)
    except BaseException:
        attempts.end()
        raise
    return settle({"attempt": attempt, "problem": chosen.problem, **record}, found)


def _bring(found: Registry, version: Version) -> None:
    """Download what the checkout is to hold of a version, whole or not at all."""
    whole = attempts.state() / "partial"
    if found.has(version.run_id, candidate.KEPT_FILES):
        whole = found.attached(version.run_id, candidate.KEPT_FILES, whole)
    fetched = found.fetch(version.number, attempts.state() / "fetched")
    if name := version.tags.get("model"):  # none, where somebody has registered it by hand
        shutil.copytree(fetched, whole / paths.MODELS / name, dirs_exist_ok=True)
        atomic.move(whole, attempts.state() / "checkout")
