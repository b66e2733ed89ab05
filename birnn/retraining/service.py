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
from dataclasses import dataclass

from birnn.errors import RegistryError
from birnn.files import atomic, paths
from birnn.params import Params
from birnn.retraining import attempts
from birnn.retraining.recovery import (
    JUDGED_WITH,
    PREDECESSOR,
    RESTORED,
    Aliases,
    Outcome,
    Record,
    mended,
    named,
    needed,
    settle,
)
from birnn.tracking import registry, store
from birnn.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    DECISION,
    PREVIOUS,
    Registry,
    Version,
)

KEPT_FILES = "result"  # of a run: what `birnn.retraining.workspace.pack` put together


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


def approve(chosen: Params, number: int, *, comment: str = "") -> Outcome:
    """Promote a version that waits for approval, or was rolled back by mistake.

    Args:
        chosen: params.yaml of the checkout.
        number: of the version.
        comment: why, for those who read the record later.

    Raises:
        RegistryError: there is no such version, it does not wait, another version serves than the
            one with which it was judged, or MLflow is out of reach.
        RetrainingError: a retraining runs.
    """
    with attempts.locked():
        found = needed(mended(chosen.problem))
        with store.reached():
            version, aliases = found.version(number), found.aliases()
        _check_approvable(version, aliases[CHAMPION])
        record = about(version, "promoted", f"Version {number} serves now: approved.", aliases)
        return _carried_out(chosen, found, version, {**record, "comment": comment})


def _check_approvable(version: Version, champion: int | None) -> None:
    was = version.tags.get(DECISION, "registered by hand")
    if was not in ("waiting", "rolled back"):
        raise RegistryError(f"version {version.number}: expected one that waits, found one {was}")
    if (judged := version.tags.get(JUDGED_WITH, "an unknown one")) != named(champion):
        raise RegistryError(
            f"version {version.number}: expected one that was judged with the champion, version "
            f"{named(champion)}, found one judged with {judged}; `birnn retrain` judges the model "
            "of the present data and params with the champion"
        )


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
            way, aliases = _way_back(found, to), found.aliases()
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
        return f"would be done: {_way_back(found, to).reason}"


def _way_back(found: Registry, to: int | None) -> WayBack:
    versions = {version.number: version for version in found.versions()}
    aliases = found.aliases()
    now = versions.get(aliases[CHAMPION] or 0)
    back = to if to is not None else _before(versions, now, aliases[PREVIOUS])
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
    return WayBack(now, chosen, _before(versions, chosen, None))


def _before(
    versions: dict[int, Version], version: Version | None, otherwise: int | None
) -> int | None:
    """The newest version that served before another and was not rolled back.

    Args:
        versions: all, by number.
        version: the other one.
        otherwise: the one before it, where that was not noted yet.
    """
    seen: set[int] = set()
    while version is not None and version.number not in seen:
        seen.add(version.number)
        noted = version.tags.get(PREDECESSOR, named(otherwise))
        version = versions.get(int(noted)) if noted.isdecimal() else None
        if version is not None and version.tags.get(DECISION) == "promoted":
            return version.number
        otherwise = None
    return None


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
    if found.has(version.run_id, KEPT_FILES):
        whole = found.attached(version.run_id, KEPT_FILES, whole)
    fetched = found.fetch(version.number, attempts.state() / "fetched")
    if name := version.tags.get("model"):  # none, where somebody has registered it by hand
        shutil.copytree(fetched, whole / paths.MODELS / name, dirs_exist_ok=True)
        atomic.move(whole, attempts.state() / "checkout")


def held(champion: Version | None) -> bool:
    """Say whether promotions wait for approval, because the champion serves by a rollback."""
    return champion is not None and champion.tags.get(RESTORED) == "yes"


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
