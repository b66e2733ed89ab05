"""Settings beside each other: trials in groups that differ in some params, over seeds.

    found = grouped(trials, by=["hidden_size"], over=["seed"], metric="f1_macro")
    print(found.sentence)                 # the best by validation, and its test score, once

The validation split decides, since whoever chooses by the test split finds it too good afterwards:
so a test score is given for the best group alone.
"""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from birnn.errors import DataError
from birnn.files import console, named
from birnn.report import figures
from birnn.tracking import trials
from birnn.tracking.trials import Trial

if TYPE_CHECKING:
    import pandas as pd

LOW_IS_GOOD = ("log_loss", "calibration_error", "loss")
SECTIONS = ("model.", "train.")  # whose keys have their own names in runs


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, standard deviation (NaN for a single value) and number of values."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Describe some values."""
        if not values:
            return NONE
        sd = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), sd, len(values))

    def __str__(self) -> str:
        return f"{self.mean:.4f}" + ("" if math.isnan(self.sd) else f" ± {self.sd:.4f}")


NONE = Spread(math.nan, math.nan, 0)


@dataclass(frozen=True, slots=True)
class Group:
    """Trials of a model with the same values of some params.

    Attributes:
        values: of `model` and of these params, in order.
        validation: the metric on the validation split, over the trials.
        test: the same on the test split.
        trials: themselves.
    """

    values: tuple[str, ...]
    validation: Spread
    test: Spread
    trials: list[Trial]

    def __str__(self) -> str:
        return ", ".join(self.values)


@dataclass(frozen=True, slots=True)
class Groups:
    """What was compared.

    Attributes:
        metric: by its flat name.
        keys: `model`, and the params that the groups differ in.
        groups: the best by validation first.
        mixed: params that differ within a group, too.
    """

    metric: str
    keys: tuple[str, ...]
    groups: list[Group]
    mixed: list[str]

    @property
    def sentence(self) -> str:
        """The best by validation, with its test score."""
        best = self.groups[0]
        named = ", ".join(
            f"{key} {value}" for key, value in zip(self.keys, best.values, strict=True)
        )
        if not best.test.n:
            return (
                f"Best by validation: {named}. None was tested; `birnn sweep --apply` writes the "
                "best of a search to params.yaml, and `make repro` tests it."
            )
        return (
            f"Best by validation: {named}. Its {self.metric} on the test split: "
            f"{best.test} (n = {best.test.n})."
        )


def grouped(found: Sequence[Trial], by: Sequence[str], over: Sequence[str], metric: str) -> Groups:
    """Put trials into groups.

    Args:
        found: the trials.
        by: params to tell groups apart; without any, all that differ between trials.
        over: params whose values are repetitions, such as `seed`.
        metric: by which groups are ranked, on the validation split.

    Raises:
        DataError: there is no such param or metric.
    """
    differing = _differing(found)
    repeated = {_known(key, found) for key in over}
    keys = tuple(_known(key, found) for key in by) or tuple(
        key for key in differing if key not in repeated
    )
    members: dict[tuple[str, ...], list[Trial]] = {}
    for trial in found:
        values = (trial.model, *(trial.params.get(key, "") for key in keys))
        members.setdefault(values, []).append(trial)
    groups = [_group(values, own, metric) for values, own in members.items()]
    sign = 1 if metric in LOW_IS_GOOD else -1
    inside = {key for own in members.values() for key in _differing(own)} - repeated
    if not any("." in key for key in repeated) and any(
        len({trial.data for trial in own}) > 1 for own in members.values()
    ):
        inside.add("content of the data")
    return Groups(
        metric=metric,
        keys=("model", *keys),
        groups=sorted(groups, key=lambda group: sign * group.validation.mean),
        mixed=sorted(inside - {*keys}),
    )


def _differing(found: Sequence[Trial]) -> list[str]:
    """Params of which a model has more than one value, in the order in which they stand."""
    values: dict[str, dict[str, set[str]]] = {}
    for trial in found:
        for name, value in trial.params.items():
            values.setdefault(name, {}).setdefault(trial.model, set()).add(value)
    return [name for name, own in values.items() if any(len(few) > 1 for few in own.values())]


def _known(key: str, found: Sequence[Trial]) -> str:
    """The name of a param in runs: `model.cell` is `cell`.

    Raises:
        DataError: there is none.
    """
    plain = key
    for section in SECTIONS:
        plain = plain.removeprefix(section)
    names = {name for trial in found for name in trial.params}
    if plain not in names:
        near = difflib.get_close_matches(plain, names, n=1)
        hint = f"did you mean {near[0]}?" if near else "`birnn experiments` shows what differs"
        raise DataError(f"{key}: expected a key of model, train or data, found none; {hint}")
    return plain


def _group(values: tuple[str, ...], members: list[Trial], metric: str) -> Group:
    for trial in members:
        scores = trial.scores
        if metric not in scores.validation or (scores.test and metric not in scores.test):
            names = list(trial.scores.validation)
            near = difflib.get_close_matches(metric, names, n=3) or names[:3]
            raise DataError(
                f"--metric: expected a metric of {trial.model}, such as {', '.join(near)}, "
                f"found {metric!r}"
            )
    return Group(
        values,
        Spread.of([trial.scores.validation[metric] for trial in members]),
        Spread.of([trial.scores.test[metric] for trial in members if trial.scores.test]),
        members,
    )


def frame(found: Groups) -> pd.DataFrame:
    """A row a group; the test score stands in that of the best alone."""
    import pandas as pd

    rows = [
        {
            **dict(zip(found.keys, group.values, strict=True)),
            "n": group.validation.n,
            "validation_mean": group.validation.mean,
            "validation_sd": group.validation.sd,
            "test_mean": (NONE if number else group.test).mean,
            "test_sd": (NONE if number else group.test).sd,
        }
        for number, group in enumerate(found.groups)
    ]
    return pd.DataFrame(rows)


def write_csv(found: Groups, path: Path) -> None:
    """Write `frame` with all digits."""
    named.write_text(path, frame(found).to_csv(index=False, lineterminator="\n"))


def write_latex(found: Groups, path: Path) -> None:
    """Write `frame` as a table of the package booktabs."""
    table = frame(found).rename(columns=lambda name: name.replace("_", " "))
    text = table.to_latex(index=False, escape=True, float_format="%.4f", na_rep="")
    named.write_text(path, text)


def on_terminal(found: Groups) -> Table:
    """Draw the groups, the best first."""
    table = Table(*map(console.cell, found.keys), "n", console.cell(f"{found.metric}, validation"))
    for group in found.groups:
        values = (console.cell(value) for value in group.values)
        table.add_row(*values, str(group.validation.n), str(group.validation))
    return table


def picture(found: Groups) -> str:
    """Draw the loss on the validation split by epoch, a line a run, in the colour of its group."""
    drawn = [
        figures.Line(str(group), trials.curve(trial, "validation_loss"), accent)
        for accent, group in enumerate(found.groups[: figures.ACCENTS])
        for trial in group.trials
    ]
    title = "Loss on the validation split by epoch"
    return figures.standalone(figures.lines(drawn, title=title, x="epoch", y="cross entropy"))


def listed(found: Sequence[Trial], metric: str) -> Table:
    """Draw a row a trial: experiment, model, what differs, validation before test."""
    differing = _differing(found)
    keys = map(console.cell, differing)
    title = console.cell(metric)
    table = Table("experiment", "model", *keys, "validation", "test", title=title)
    for trial in found:
        scored = (trial.scores.validation, trial.scores.test)
        figures_ = [f"{one[metric]:.4f}" if metric in one else "" for one in scored]
        params = [console.cell(trial.params.get(name, "")) for name in differing]
        table.add_row(console.cell(trial.name), console.cell(trial.model), *params, *figures_)
    return table
