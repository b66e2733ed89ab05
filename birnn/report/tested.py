"""All that the files say of trained and tested models, lined up and concluded from.

results = [read(name, "models", "evaluation") for name in ("bidirectional", "forward")]
rows = ladder([result.rung for result in results], limits={}, average="macro")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birnn.errors import DataError
from birnn.files import atomic, digests, paths
from birnn.model import history
from birnn.model.history import Epoch

if TYPE_CHECKING:  # `birnn summary` draws a table, and should not wait for these
    import pandas as pd

    from birnn.evaluation.checks import Check
    from birnn.evaluation.comparison import Rung
    from birnn.evaluation.outs import Confusion, Point
    from birnn.evaluation.resampling import Difference
    from birnn.evaluation.slices import Sliced
    from birnn.evaluation.verdict import Verdict
    from birnn.params import Knobs


LIMITS = {
    "per_step": "limit: one step",
    "filtering": "limit: past",
    "smoothing": "limit: whole",
}
MEASURES = ("accuracy", "precision", "recall", "f1", "log_loss")
VERDICT_FIGURES = ("accuracy", "precision", "recall", "f1")


@dataclass(frozen=True)
class Result:
    """All that the files say of one trained and tested model.

    Attributes:
        name: its name in the matrix.
        bidirectional: whether it reads in both directions.
        params: that it was trained with, by its own description.
        metrics: the tree of `metrics.json`.
        intervals: low and high end of the metrics that have an interval.
        checks: what `checks.json` holds.
        operating_points: the tree of `operating_points.json`.
        epochs: the rows of `history.csv`.
        confusion: counts, a row for each true class.
        per_class: precision, recall, F1 and support of each class.
        by_length: the same measures for each bucket of sequence lengths.
        by_position: accuracy by the distance of a step from either end of its sequence.
        calibration: how probable answers were said to be, and how many were right.
        precision_recall: points of the curve of each class.
        confusions: the tree of `confusions.json`.
        trace: the tree of `trace.json`.
        slices: how good it is for each group and length.
        sha256: the hash of weights and description.
    """

    name: str
    sha256: str
    bidirectional: bool
    params: Knobs
    metrics: dict[str, float]
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
    trace: dict[str, Any]
    slices: Sliced

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
    from birnn.evaluation.slices import Sliced
    from birnn.model import saved_model

    model, tested = Path(models) / name, Path(evaluation) / name
    try:
        sha256 = digests.sha256(model / paths.WEIGHTS, model / paths.DESCRIPTION)
        architecture = atomic.read_json(model / paths.DESCRIPTION)["architecture"]
        return Result(
            name=name,
            sha256=sha256,
            bidirectional=architecture["bidirectional"],
            params=saved_model.params_of(model),
            metrics=atomic.read_json(tested / paths.METRICS),
            intervals=_intervals(tested / paths.INTERVALS),
            checks=[Check(**one) for one in atomic.read_json(tested / paths.CHECKS)],
            operating_points=atomic.read_json(tested / paths.OPERATING_POINTS),
            epochs=history.read(model / paths.HISTORY),
            confusion=_confusion(tested / paths.CONFUSION),
            per_class=_csv(tested / paths.PER_CLASS),
            by_length=_csv(tested / paths.BY_LENGTH),
            by_position=_csv(tested / paths.BY_POSITION),
            calibration=_csv(tested / paths.CALIBRATION),
            precision_recall=_csv(tested / paths.PRECISION_RECALL),
            confusions=atomic.read_json(tested / paths.CONFUSIONS),
            trace=atomic.read_json(tested / paths.TRACE),
            slices=Sliced.from_json(atomic.read_json(tested / paths.SLICES)),
        )
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run `dvc repro` first") from None


def _intervals(path: Path) -> dict[str, tuple[float, float]]:
    return {name: (ends["low"], ends["high"]) for name, ends in atomic.read_json(path).items()}


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


def ladder(
    rungs: Sequence[Rung], limits: Mapping[str, float], average: str
) -> list[dict[str, Any]]:
    """Line up what was measured, and the best that is possible where it is known.

    Returns:
        A row each with `name` and, for each of `MEASURES`, None or a `value` with the ends of its
        interval, `low` and `high`, where it has one.
    """
    rows = [{"name": rung.name, **_figures(rung, average)} for rung in rungs]
    rows += [{"name": LIMITS[name], "accuracy": {"value": limit}} for name, limit in limits.items()]
    return [dict.fromkeys(MEASURES) | row for row in rows]


def _figures(rung: Rung, average: str) -> dict[str, dict[str, float]]:
    figures = {}
    for measure, name in _names(average).items():
        if name in rung.metrics:
            ends = rung.intervals.get(name)
            interval = {} if ends is None else {"low": ends[0], "high": ends[1]}
            figures[measure] = {"value": rung.metrics[name], **interval}
    return figures


def _names(average: str) -> dict[str, str]:
    """The flat name of each measure."""
    plain = ("accuracy", "log_loss")
    return {name: name if name in plain else f"{name}_{average}" for name in MEASURES}


def to_compare(results: Sequence[Result]) -> tuple[Result, Result] | None:
    """Find a model that reads in both directions, and one that reads in one."""
    both = next((result for result in results if result.bidirectional), None)
    one = next((result for result in results if not result.bidirectional), None)
    return None if both is None or one is None else (both, one)


def second_direction(differences: Mapping[str, Difference] | None, average: str) -> str:
    """Say in a sentence what reading in both directions is worth.

    Args:
        differences: between a model that does and one that does not; None without the two.
        average: which F1 to name.
    """
    if differences is None:
        return "The models all read in the same directions: nothing to compare."
    accuracy, f1 = differences["accuracy"], differences[f"f1_{average}"]
    return (
        f"The second direction is worth {_points(accuracy, 'accuracy')} and "
        f"{_points(f1, f'F1, {average}')}; it helps accuracy in "
        f"{100 * accuracy.share_better:.0f} % of resamples."
    )


def _points(gain: Difference, of: str) -> str:
    low, high = 100 * gain.low, 100 * gain.high
    return f"{100 * gain.estimate:+.1f} points of {of} (95 % interval {low:+.1f} to {high:+.1f})"


def worst_first(checks: Iterable[Check]) -> list[Check]:
    """Put the checks that failed before those that warn, and those that pass last."""
    return sorted(checks, key=lambda check: ("fail", "warn", "pass").index(check.status))


def headlines(results: Sequence[Result], average: str) -> list[dict[str, Any]]:
    """Line up the figures of all models that have an interval, with its ends."""
    return [
        {
            "model": result.name,
            "metric": name,
            "value": result.metrics[name],
            "low": low,
            "high": high,
        }
        for result in results
        for name, (low, high) in result.intervals.items()
        if name in _names(average).values()
    ]


def conclusion(
    result: Result, verdict: Verdict, checks: Sequence[Check], average: str
) -> dict[str, Any]:
    """Give the tree of `verdict.json`: the grade of a model, why, its figures and its checks."""
    figures = {name: result.metrics[_names(average)[name]] for name in VERDICT_FIGURES}
    return {
        "grade": verdict.grade,
        "model": result.name,
        "sentence": verdict.sentence,
        "reasons": verdict.reasons,
        **figures,
        "checks": [asdict(check) for check in checks],
    }
