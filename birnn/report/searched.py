"""The search for settings in the report, where `birnn sweep` has made one.

found = of("tagging", "data/prepared")         # None where there was none, or on other data
drawn = pictures(found)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from birnn.report import figures
from birnn.sweep import outcome
from birnn.sweep.outcome import MEASURES, Outcome, Tried

PICTURE = "search"


def of(problem: str, folder: Path) -> Outcome | None:
    """Read what a search has found, if it was on the data that are in a folder."""
    found = outcome.read(problem)
    return found if found and found.data == outcome.data_sha256(folder) else None


def pictures(found: Outcome | None) -> dict[str, str]:
    """Draw what was reached by each setting that was tried, and the best so far."""
    if found is None or found.best is None:
        return {}
    drawn = [*_dots("trained", _trained(found), 0), *_dots("stopped early", _pruned(found), 2)]
    drawn.append(figures.Line("best so far", _best_so_far(found), 0))
    ends = (0, max(one.place for one in found.tried))
    if found.default is not None and found.default.value is not None:
        level = [(place, found.default.value) for place in ends]
        drawn.append(figures.Line("params.yaml as it was", level, 1, dashed=True))
    title = f"{MEASURES[found.metric].capitalize()} by setting that was tried"
    picture = figures.lines(drawn, title=title, x="trial", y=MEASURES[found.metric])
    return {PICTURE: picture}


def _trained(found: Outcome) -> list[Tried]:
    return sorted(found.finished, key=lambda one: one.place)


def _pruned(found: Outcome) -> list[Tried]:
    return [one for one in found.tried if one.pruned]


def _dots(name: str, tried: list[Tried], accent: int) -> Iterator[figures.Line]:
    """A dot each, which nothing joins."""
    for one in tried:
        if one.value is not None:
            yield figures.Line(name, [(one.place, one.value)], accent, dots=True)


def _best_so_far(found: Outcome) -> list[figures.Point]:
    """A stair, which goes on to the last trial."""
    better = min if found.metric == "loss" else max
    points: list[figures.Point] = []
    for one in _trained(found):
        if one.value is not None:
            level = better(points[-1][1], one.value) if points else one.value
            points += [(one.place, points[-1][1])] if points else []
            points.append((one.place, level))
    return [*points, (max(one.place for one in found.tried), points[-1][1])]
