"""All that the files say of trained and tested models, lined up and concluded from.

results = [read(name, "models", "evaluation") for name in ("bidirectional", "forward")]
rows = ladder([result.rung for result in results], limits={}, average="macro")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from birnn.errors import DataError
from birnn.evaluation import headlines
from birnn.evaluation.headlines import MEASURES, Figure
from birnn.files import atomic, digests, paths, records, scores
from birnn.model import history
from birnn.model.history import Epoch

if TYPE_CHECKING:  # `birnn summary` draws a table, and should not wait for these
    import pandas as pd

    from birnn.evaluation.checks import Check
    from birnn.evaluation.comparison import Rung
    from birnn.evaluation.expected_accuracy import OnTest
    from birnn.evaluation.intervals import Difference
    from birnn.evaluation.outs import Confusion, Point
    from birnn.evaluation.padding import Padding
    from birnn.evaluation.slices import Sliced
    from birnn.evaluation.trace import Trace
    from birnn.evaluation.worst import Worst
    from birnn.model.architecture import Architecture
    from birnn.params import Knobs

LIMITS = {
    "per_step": "limit: one step",
    "bag": "limit: bag of steps",
    "filtering": "limit: past",
    "smoothing": "limit: whole",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one way to predict; None where a figure is not."""

    name: str
    accuracy: Figure | None
    precision: Figure | None
    recall: Figure | None
    f1: Figure | None
    log_loss: Figure | None


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model beside the others: what it is, costs and reaches.

    `multiply_adds` are those of a step, `memory` is in bytes; see `birnn.model.sizes.Size`.
    The figures of the validation split are None where `evaluate` did not write them.
    """

    name: str
    cell: str
    hidden_size: int
    layers: int
    directions: int
    parameters: int
    multiply_adds: int
    memory: int
    validation_accuracy: float | None
    validation_f1: float | None
    accuracy: float


@dataclass(frozen=True, slots=True)
class Compared:
    """What `comparison.json` says.

    Attributes:
        ladder: the models beside baselines, and what is possible.
        second_direction: in a sentence, what it is worth.
        intervals: what the ends in brackets are over, such as 20 groups of sequences.
        over_baseline: what the first model gains over a baseline without context, in the F1 that
            leads; None where that rests on too little.
        models: side by side, the candidate first.
    """

    ladder: list[Row]
    second_direction: str
    intervals: str
    over_baseline: Figure | None
    models: list[ModelRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Headline:
    """A figure of a model that has an interval."""

    model: str
    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """All that the files say of one trained and tested model.

    Attributes:
        name: its name in the matrix.
        architecture: what it is.
        params: that it was trained with, by its own description.
        metrics: of the test split, as all that follows but the epochs.
        validation: metrics of the validation split.
        intervals: low and high end of the metrics that have an interval.
        checks: what `checks.json` holds.
        operating_points: of the critical classes, by name.
        epochs: the rows of `history.csv`.
        confusion: counts, a row for each true class.
        per_class: precision, recall, F1 and support of each class.
        by_length: the same measures for each bucket of sequence lengths.
        by_position: accuracy by the distance of a step from either end of its sequence.
        calibration: how probable answers were said to be, and how many were right.
        precision_recall: points of the curve of each class.
        confusions: what `confusions.json` holds.
        trace: what `trace.json` holds.
        slices: how good it is for each group and length.
        padding: what `padding.json` holds.
        worst: what `worst.json` holds.
        without_labels: how well accuracy can be estimated without labels.
        sha256: the hash of weights and description.
    """

    name: str
    sha256: str
    architecture: Architecture
    params: Knobs
    metrics: Mapping[str, float]
    validation: Mapping[str, float]
    intervals: dict[str, tuple[float, float]]
    checks: list[Check]
    operating_points: dict[str, Point]
    epochs: list[Epoch]
    confusion: pd.DataFrame
    per_class: pd.DataFrame
    by_length: pd.DataFrame
    by_position: pd.DataFrame
    calibration: pd.DataFrame
    precision_recall: pd.DataFrame
    confusions: list[Confusion]
    trace: Trace
    slices: Sliced
    padding: Padding
    worst: list[Worst]
    without_labels: OnTest

    @property
    def bidirectional(self) -> bool:
        """Whether it reads in both directions."""
        return self.architecture.bidirectional

    @property
    def rung(self) -> Rung:
        """Its place on the ladder."""
        from birnn.evaluation.comparison import Rung

        return Rung(self.name, self.metrics, self.intervals)


def read(name: str, models: str | Path, evaluation: str | Path) -> Result:
    """Read what `train` and `evaluate` wrote about a model.

    Raises:
        DataError: a file is missing.
    """
    from birnn.evaluation.checks import Check
    from birnn.evaluation.outs import Confusion, Point
    from birnn.evaluation.padding import Padding
    from birnn.evaluation.slices import Sliced
    from birnn.evaluation.trace import Trace
    from birnn.evaluation.worst import Worst
    from birnn.model import saved_model
    from birnn.model.architecture import Architecture

    model, tested = Path(models) / name, Path(evaluation) / name
    try:
        sha256 = digests.sha256(model / paths.WEIGHTS, model / paths.DESCRIPTION)
        described = atomic.read_json(model / paths.DESCRIPTION)
        scored = scores.read(tested / paths.METRICS)
        return Result(
            name=name,
            sha256=sha256,
            architecture=Architecture(**described["architecture"]),
            params=saved_model.params_of(model),
            metrics=scored.test,
            validation=scored.validation,
            intervals=_intervals(tested / paths.INTERVALS),
            checks=records.read(tested / paths.CHECKS, list[Check]),
            operating_points=records.read(tested / paths.OPERATING_POINTS, dict[str, Point]),
            epochs=history.read(model / paths.HISTORY),
            confusion=_confusion(tested / paths.CONFUSION),
            per_class=_csv(tested / paths.PER_CLASS),
            by_length=_csv(tested / paths.BY_LENGTH),
            by_position=_csv(tested / paths.BY_POSITION),
            calibration=_csv(tested / paths.CALIBRATION),
            precision_recall=_csv(tested / paths.PRECISION_RECALL),
            confusions=records.read(tested / paths.CONFUSIONS, list[Confusion]),
            trace=records.read(tested / paths.TRACE, Trace),
            slices=records.read(tested / paths.SLICES, Sliced),
            padding=records.read(tested / paths.PADDING, Padding),
            worst=records.read(tested / paths.WORST, list[Worst]),
            without_labels=_without_labels(tested / paths.EXPECTED_ACCURACY),
        )
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run `dvc repro` first") from None


def _intervals(path: Path) -> dict[str, tuple[float, float]]:
    """Those that there are; an entry without ends says why it has none."""
    tree = atomic.read_json(path)
    return {name: (one["low"], one["high"]) for name, one in tree.items() if one["low"] is not None}


def _without_labels(path: Path) -> OnTest:
    from birnn.evaluation.expected_accuracy import Calibration

    found = records.read(path, Calibration).on_test
    assert found is not None  # `evaluate` never leaves it out
    return found


def _csv(path: Path) -> pd.DataFrame:
    """Read a table; names of classes stay text, be they `1`, `NA` or `null`."""
    import pandas as pd

    return pd.read_csv(
        path,
        dtype={"label": str},
        keep_default_na=False,
        na_values={"precision": "", "recall": "", "f1": ""},
    )


def _confusion(path: Path) -> pd.DataFrame:
    """Read counts whose rows and columns bear names of classes, be they `actual` or `label`."""
    import pandas as pd

    table = pd.read_csv(path, header=None, index_col=0, dtype=str, keep_default_na=False)
    return table[1:].astype(int).set_axis(table.iloc[0], axis="columns")


def ladder(rungs: Sequence[Rung], limits: Mapping[str, float], average: str) -> list[Row]:
    """Line up what was measured, and the best that is possible where it is known."""
    none = dict.fromkeys(MEASURES)
    measured = [Row(rung.name, **{**none, **_figures(rung, average)}) for rung in rungs]
    possible = [
        Row(LIMITS[name], **{**none, "accuracy": Figure(limit)}) for name, limit in limits.items()
    ]
    return [*measured, *possible]


def _figures(rung: Rung, average: str) -> dict[str, Figure]:
    return {
        measure: Figure(rung.metrics[name], *rung.intervals.get(name, ()))
        for measure, name in headlines.names(rung.metrics, average).items()
        if name in rung.metrics
    }


def to_compare(results: Sequence[Result]) -> tuple[Result, Result] | None:
    """Find a model that reads in both directions, and one that reads in one.

    The first two that are the same but for that, or else the first of each kind.
    """
    both = [result for result in results if result.bidirectional]
    one = [result for result in results if not result.bidirectional]
    pairs = list(product(both, one))
    alike = (pair for pair in pairs if _one_way(pair[0]) == _one_way(pair[1]))
    return next(alike, next(iter(pairs), None))


def _one_way(result: Result) -> Architecture:
    return replace(result.architecture, bidirectional=False)


def second_direction(
    differences: Mapping[str, Difference] | None,
    average: str,
    over: str,
    pair: Sequence[str] = (),
) -> str:
    """Say in a sentence what reading in both directions is worth.

    Args:
        differences: between a model that does and one that does not; None without the two, empty
            where a single group was tested.
        average: which F1 to name.
        over: what was tested, such as `20 groups of sequences`.
        pair: the names of the two, where there are others too.
    """
    if differences is None:
        return "The models all read in the same directions: nothing to compare."
    if not differences:
        return f"What the second direction is worth cannot be told from {over}."
    f1, averaged = headlines.leading(differences, average), headlines.averaged_over
    shown = {"accuracy": "accuracy", f1: f"F1, {averaged(differences, average)}"}
    first, second = sorted(shown, key=lambda name: name == "accuracy", reverse=f1 != "span_f1")
    worth = (
        f"The second direction{_of(pair)} is worth {_points(differences[first], shown[first])} and "
        f"{_points(differences[second], shown[second])}"
    )
    if differences[first].too_few:
        differing = f"the models differ in {differences[first].differing} of {over}"
        return f"{worth}; {differing}, too few for an interval."
    return f"{worth}, over {over}."


def _of(pair: Sequence[str]) -> str:
    return f" ({' beside '.join(pair)})" if pair else ""


def _points(gain: Difference, of: str) -> str:
    worth = f"{100 * gain.estimate:+.1f} points of {of}"
    if gain.too_few:
        return worth
    return f"{worth} (95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def worst_first(checks: Iterable[Check]) -> list[Check]:
    """Put the checks that failed before those that warn, and those that pass last."""
    return sorted(checks, key=lambda check: ("fail", "warn", "pass").index(check.status))


def intervals(results: Sequence[Result], average: str) -> list[Headline]:
    """Line up the figures of all models that have an interval, with its ends."""
    return [
        Headline(result.name, name, result.metrics[name], low, high)
        for result in results
        for name, (low, high) in result.intervals.items()
        if name in headlines.names(result.metrics, average).values()
    ]
