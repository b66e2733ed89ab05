"""What serves, since when, why, what waits, and when the next attempt is due.

    found = status(params.load(), hours=26)
    found.lines, found.alarms

All but the next attempt is read from the registry, so each checkout says the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from birnn.files import paths
from birnn.files.reading import first_few
from birnn.params import Params
from birnn.retraining import attempts, lineage, schedule
from birnn.retraining.attempts import Last
from birnn.retraining.lineage import JUDGED_WITH, named
from birnn.retraining.schedule import Due
from birnn.tracking import registry, runs, store
from birnn.tracking.registry import CHAMPION, DECISION, PREVIOUS, SHADOW, Version

PATIENCE = timedelta(minutes=5)  # after which an attempt that was due has not happened


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to say.

    Attributes:
        lines: five of them.
        alarms: what somebody must look at; nothing where all is in order.
    """

    lines: list[str]
    alarms: list[str]


@dataclass(frozen=True, slots=True)
class Service:
    """What the registry knows.

    Attributes:
        champion: the version that serves.
        previous: the number of the one to which a rollback would go.
        waiting: those that an approval would let serve, the newest first.
        last: the newest attempt.
    """

    champion: Version | None = None
    previous: int | None = None
    waiting: tuple[Version, ...] = ()
    last: Last | None = None


def status(chosen: Params, *, hours: float | None = None) -> Status:
    """Look at registry, schedule and attempts; nothing is changed.

    Args:
        chosen: `params.yaml` of the checkout.
        hours: within which an attempt must have ended, in any checkout; without, only a schedule
            of this one says when one was due.

    Raises:
        RegistryError: MLflow is out of reach.
    """
    found = _service(chosen.problem) if store.has_store() else Service()
    known = [one for one in (found.last, attempts.last()) if one is not None]
    last = max(known, key=lambda one: datetime.fromisoformat(one.time), default=None)
    due, runs_now = schedule.due(), attempts.runs_now()
    lines = [*_serving(chosen.problem, found), _waiting(found), _next(due, last, runs_now=runs_now)]
    return Status(lines, [] if runs_now else _alarms(due, last, hours))


def _service(problem: str) -> Service:
    found = registry.connect(problem)
    with store.reached():
        aliases, versions, tags = found.aliases(), found.versions(), found.remembered()
    champion = next((one for one in versions if one.number == aliases[CHAMPION]), None)
    waiting = tuple(one for one in versions if one.tags.get(DECISION) == "waiting")
    return Service(champion, aliases[PREVIOUS], waiting, Last.of_tags(tags))


def _serving(problem: str, found: Service) -> list[str]:
    champion = found.champion
    if champion is None:
        return [f"serves: nothing yet for {problem}", "since: -", "why: -"]
    tags = champion.tags
    since, by = tags.get("serves_since", "not recorded"), tags.get("serves_by", "not recorded")
    return [
        f"serves: version {champion.number} of {problem}; {_in_checkout(champion)}",
        f"since: {since}, by {by}; `birnn rollback` goes to version {named(found.previous)}",
        f"why: {tags.get('serves_because', 'not recorded')}",
    ]


def _in_checkout(champion: Version) -> str:
    """Say whether the checkout has the model that serves."""
    folder = paths.MODELS / champion.tags.get("model", "")
    try:
        same = runs.model_sha256(folder) == champion.tags.get("model_sha256")
    except OSError:
        return f"{folder} is not here: `birnn predict --model champion` fetches it"
    return f"{folder} is the same" if same else f"{folder} is another model"


def _waiting(found: Service) -> str:
    rule = " (since the rollback, all wait)" if lineage.held(found.champion) else ""
    champion = named(found.champion.number if found.champion else None)
    now = [one for one in found.waiting if one.tags.get(JUDGED_WITH) == champion]
    how = [
        f"version {one.number}, for `birnn retrain --approve {one.number}`{_shadow(one)}"
        for one in now
    ]
    if older := [str(one.number) for one in found.waiting if one not in now]:
        how.append(f"judged again if approved: {first_few(older)}")
    return f"waits: {'; '.join(how) or 'nothing'}{rule}"


def _shadow(version: Version) -> str:
    """How it would change the answers, where somebody has looked."""
    said = version.tags.get(SHADOW)
    return f" ({said.removesuffix('.')})" if said else ""


def _next(due: Due | None, last: Last | None, *, runs_now: bool) -> str:
    when = f"{due.time}, by `birnn schedule`" if due else "not known here"
    ended = f"{last.ended} at {last.time}" if last else "none"
    return f"next attempt: {'one runs now' if runs_now else when}; the last one: {ended}"


def _alarms(due: Due | None, last: Last | None, hours: float | None) -> list[str]:
    now, found = datetime.now(UTC), []
    ended = datetime.fromisoformat(last.time) if last else None
    if due and datetime.fromisoformat(due.time) + PATIENCE < now:
        found.append(f"the attempt due at {due.time} did not happen: start `birnn schedule` again")
    if hours is not None and (ended is None or ended + timedelta(hours=hours) < now):
        found.append(f"no attempt has ended within {hours:g} hours: look at what starts them")
    if attempts.current() is not None:
        found.append("an attempt was killed: the next `birnn retrain` puts things in order")
    if last and last.failures:
        count = f"{last.failures} attempts" if last.failures > 1 else "attempt"
        found.append(f"the last {count} failed: {last.reason}")
    return found
