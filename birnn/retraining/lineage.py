"""Which version served before another, and which one is the reference: from tags of versions alone.

Each version that came to serve notes the one that it replaced, and the reference from then on: the
last one that was better than all before it, and worse in nothing. Both lead back step by step, and
pass by those that were rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping

from birnn.errors import RegistryError
from birnn.tracking.registry import CHAMPION, DECISION, Registry, Version

JUDGED_WITH, PREDECESSOR, REFERENCE, RESTORED = (
    "judged_with",
    "predecessor",
    "reference",
    "restored",
)
"""Tags of versions: the champion in the checks, the version that this one replaced, the reference
once it serves, and whether a rollback let it serve."""
SERVED = "promoted"

Versions = Mapping[int, Version]


def named(number: int | None) -> str:
    """A version's number as tags and people have it."""
    return "none" if number is None else str(number)


def champion(found: Registry) -> Version | None:
    """Look up the version that serves, if one does.

    Raises:
        RegistryError: none does, though one has served: a new model would be compared with none.
    """
    version = found.aliased(CHAMPION)
    served = [one.number for one in found.versions() if one.tags.get(DECISION) == SERVED]
    if version is None and served:
        raise RegistryError(
            f"{found.problem}: expected the alias `{CHAMPION}`, found none, though version "
            f"{max(served)} has served; give it back in MLflow, or choose another name under "
            "`problem` to begin anew"
        )
    return version


def before(versions: Versions, version: Version | None, otherwise: int | None) -> int | None:
    """The newest version that served before another and was not rolled back.

    Args:
        versions: all, by number.
        version: the other one.
        otherwise: the one before it, where that was not noted yet.
    """
    return _back(versions, version, PREDECESSOR, otherwise)


def reference(versions: Versions, champion: Version | None) -> Version | None:
    """The version with which a challenger is compared beside the champion.

    It is None where it is the champion. Where versions of earlier releases have not noted any, it
    is the first that served.
    """
    if champion is None:
        return None
    noted = champion.tags.get(REFERENCE)
    if noted == named(champion.number):
        return None
    number = _back(versions, champion, REFERENCE, None)
    if number is None:
        earlier = [
            one.number
            for one in versions.values()
            if one.tags.get(DECISION) == SERVED and one.number < champion.number
        ]
        number = min(earlier, default=None)
    return None if number is None or number == champion.number else versions[number]


def _back(
    versions: Versions, version: Version | None, tag: str, otherwise: int | None
) -> int | None:
    """Follow a tag from version to version, to one that serves or has served and is not bad."""
    seen: set[int] = set()
    while version is not None and version.number not in seen:
        seen.add(version.number)
        noted = version.tags.get(tag, named(otherwise))
        version = versions.get(int(noted)) if noted.isdecimal() else None
        if version is not None and version.tags.get(DECISION) == SERVED:
            return version.number
        otherwise = None
    return None


def held(champion: Version | None) -> bool:
    """Say whether promotions wait for approval, because the champion serves by a rollback."""
    return champion is not None and champion.tags.get(RESTORED) == "yes"
