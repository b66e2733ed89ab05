"""What a search has found so far: `sweep/PROBLEM.json`, which the report shows.

    outcome.write(found)
    found = outcome.read("tagging")          # None where there was no search
    print(found.sentence)

It holds no time and no name of a machine: the same search gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from birnn.files import console, digests, paths, records
from birnn.params import PATH, Knob, Knobs, writing

if TYPE_CHECKING:
    from rich.table import Table

MOST_SHOWN = 10
MEASURES = {"loss": "validation loss", "accuracy": "validation accuracy"}


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting that was tried.

    Attributes:
        place: counted from 0, which is that of the settings in params.yaml.
        settings: its values of the keys that are searched.
        value: the metric of the validation split, a mean over the seeds; of a stopped training the
            best that it has reached, and None where it failed at once.
        epochs: that were trained, with all seeds together.
        pruned: whether its training was stopped.
    """

    place: int
    settings: Knobs
    value: float | None
    epochs: int
    pruned: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search has found so far.

    Attributes:
        problem: the name of the problem.
        model: the one of `models` that was searched for.
        metric: by which settings are judged.
        data: the hash of what was read, see `data_sha256`.
        seeds: with each of which a setting was trained.
        tried: in the order of their places.
    """

    problem: str
    model: str
    metric: Literal["loss", "accuracy"]
    data: str
    seeds: list[int]
    tried: list[Tried] = field(default_factory=list)

    @property
    def finished(self) -> list[Tried]:
        """Those that were trained to their end, the best first; among equals the first tried."""
        sign = 1 if self.metric == "loss" else -1
        known = [
            (sign * one.value, one.place, one)
            for one in self.tried
            if one.value is not None and not one.pruned
        ]
        return [one for *_, one in sorted(known, key=lambda found: found[:2])]

    @property
    def best(self) -> Tried | None:
        """The best, if one was trained to its end."""
        return next(iter(self.finished), None)

    @property
    def default(self) -> Tried | None:
        """The settings of params.yaml when the search began, if they were trained to their end."""
        return next((one for one in self.finished if one.place == 0), None)

    @property
    def sentence(self) -> str:
        """Say whether something better than the settings of params.yaml was found."""
        pruned = sum(one.pruned for one in self.tried)
        many = f"{len(self.tried)} settings tried, {pruned} of them stopped early"
        best, default = self.best, self.default
        if best is None:
            return f"{many}; none was trained to its end."
        reached = f"{MEASURES[self.metric]} {best.value:.4f}"
        if default is None:
            return f"{many}. The best has a {reached}: {spelled(best.settings)}."
        if best.place == 0:
            return f"{many}. None is better than those of params.yaml, with a {reached}."
        return (
            f"{many}. The best has a {reached}, those of params.yaml {default.value:.4f}: "
            f"{spelled(best.settings)}."
        )


def spelled(settings: Knobs) -> str:
    """Settings in one line."""
    return ", ".join(f"{key} {shown(value)}" for key, value in settings.items())


def shown(value: Knob) -> str:
    """A value with as many digits as one reads."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def place(problem: str, root: Path = Path()) -> Path:
    """The file of a problem's search."""
    return root / paths.SWEEP / f"{problem}.json"


def write(found: Outcome) -> None:
    """Write it into the working directory, whole or not at all."""
    path = place(found.problem)
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write(path, found)


def read(problem: str, root: Path = Path()) -> Outcome | None:
    """Read it; None where there was no search.

    Raises:
        DataError: the file holds something else.
    """
    path = place(problem, root)
    return records.read(path, Outcome) if path.exists() else None


def applied(found: Outcome, path: Path = Path(PATH)) -> str:
    """Write the best settings into params.yaml, and say what has changed there."""
    if found.best is None:
        return f"{path}: not changed, since no setting was trained to its end"
    changed = writing.apply(path, found.model, found.best.settings)
    if not changed:
        return f"{path}: not changed, it holds the best settings"
    return f"{path}: changed {', '.join(changed)}; run `make repro` to train and test with them"


def data_sha256(folder: Path) -> str:
    """The hash of what a search reads of the prepared data, which the test split is no part of."""
    names = (paths.ENCODING, paths.TRAIN, paths.VALIDATION, paths.VECTORS)
    return digests.sha256(*(folder / name for name in names))


def table(found: Outcome) -> Table:
    """Draw the best settings for a terminal, and those of params.yaml below them."""
    from rich.table import Table

    ranked = found.finished
    keys = [*dict.fromkeys(key for one in ranked for key in one.settings)]
    drawn = Table("trial", *map(console.cell, keys), "epochs", MEASURES[found.metric])
    for one in _few(ranked):
        values = (console.cell(shown(one.settings[key])) for key in keys)
        drawn.add_row(str(one.place), *values, str(one.epochs), f"{one.value:.4f}")
    return drawn


def _few(ranked: list[Tried]) -> Iterable[Tried]:
    yield from ranked[:MOST_SHOWN]
    yield from (one for one in ranked[MOST_SHOWN:] if one.place == 0)
