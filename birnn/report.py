"""The report: what was learned, how well, and what the second direction is worth.

results = [read(name, "models", "evaluation") for name in ("bidirectional", "forward")]
page = html(results, summary=..., problem="tagging", average="macro")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from rich.table import Table

from birnn import files, history
from birnn.errors import DataError
from birnn.history import Epoch

LIMITS = {
    "per_step": "limit without context",
    "filtering": "limit with the past",
    "smoothing": "limit with past and future",
}
BARS = {  # below the first a model is bad, above the second it is good
    "accuracy": (0.60, 0.85),
    "precision": (0.50, 0.80),
    "recall": (0.50, 0.80),
    "f1": (0.50, 0.80),
}
MEASURES = ("accuracy", "precision", "recall", "f1", "log_loss")


@dataclass(frozen=True)
class Result:
    """All that the files say of one trained and tested model.

    Attributes:
        name: its name in the matrix.
        bidirectional: whether it reads in both directions.
        metrics: the tree of `metrics.json`.
        epochs: the rows of `history.csv`.
        confusion: counts, a row for each true class.
        per_class: precision, recall, F1 and support of each class.
        by_length: the same measures for each bucket of sequence lengths.
        sha256: the hash of weights and description.
    """

    name: str
    sha256: str
    bidirectional: bool
    metrics: dict[str, float]
    epochs: list[Epoch]
    confusion: pd.DataFrame
    per_class: pd.DataFrame
    by_length: pd.DataFrame


def read(name: str, models: str | Path, evaluation: str | Path) -> Result:
    """Read what `train` and `evaluate` wrote about a model.

    Raises:
        DataError: a file is missing.
    """
    model, tested = Path(models) / name, Path(evaluation) / name
    try:
        return Result(
            name=name,
            sha256=files.sha256(model / "weights.safetensors", model / "model.json"),
            bidirectional=files.read_json(model / "model.json")["architecture"]["bidirectional"],
            metrics=files.read_json(tested / "metrics.json"),
            epochs=history.read(model / "history.csv"),
            confusion=_confusion(tested / "confusion.csv"),
            per_class=_csv(tested / "per_class.csv"),
            by_length=_csv(tested / "by_length.csv"),
        )
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run `dvc repro` first") from None


def _csv(path: Path) -> pd.DataFrame:
    """Read a table; names of classes stay text, be they `1`, `NA` or `null`."""
    return pd.read_csv(
        path,
        dtype={"label": str},
        keep_default_na=False,
        na_values={"precision": "", "recall": "", "f1": ""},
    )


def _confusion(path: Path) -> pd.DataFrame:
    """Read counts whose rows and columns bear names of classes, be they `actual` or `label`."""
    table = pd.read_csv(path, header=None, index_col=0, dtype=str, keep_default_na=False)
    return table[1:].astype(int).set_axis(table.iloc[0], axis="columns")


def ladder(
    results: Sequence[Result], limits: dict[str, float], average: str
) -> list[dict[str, Any]]:
    """Line up the models with what a constant guess reaches and what no model can pass.

    Returns:
        A row each with `name` and the figures of `MEASURES`, None where it has no such figure.
    """
    support = results[0].confusion.sum(axis=1)
    rows: list[dict[str, Any]] = [
        {"name": f"always {support.idxmax()!r}", "accuracy": support.max() / support.sum()}
    ]
    for result in results:
        names = [m if m in ("accuracy", "log_loss") else f"{m}_{average}" for m in MEASURES]
        figures = zip(MEASURES, (result.metrics[name] for name in names), strict=True)
        rows.append({"name": result.name, **dict(figures)})
    rows += [{"name": LIMITS[name], "accuracy": limit} for name, limit in limits.items()]
    return [dict.fromkeys(MEASURES) | row for row in rows]


def second_direction(results: Sequence[Result], average: str) -> str:
    """Say in a sentence what reading in both directions is worth."""
    both = next((result for result in results if result.bidirectional), None)
    one = next((result for result in results if not result.bidirectional), None)
    if both is None or one is None:
        return "The models all read in the same directions: nothing to compare."
    gains = [
        100 * (both.metrics[name] - one.metrics[name]) for name in ("accuracy", f"f1_{average}")
    ]
    return (
        f"The second direction is worth {gains[0]:+.1f} points of accuracy and "
        f"{gains[1]:+.1f} points of F1 ({average})."
    )


def verdict(result: Result, average: str) -> dict[str, Any]:
    """Grade a model: `good`, `fair` or `bad`, with the sentence that says why."""
    figures = {"accuracy": result.metrics["accuracy"]}
    figures |= {m: result.metrics[f"{m}_{average}"] for m in ("precision", "recall", "f1")}
    grades = {_grade(value, *BARS[name]) for name, value in figures.items()}
    grade = next(grade for grade in ("bad", "fair", "good") if grade in grades)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    return {"grade": grade, "model": result.name, "sentence": f"{grade} ({shown})", **figures}


def _grade(value: float, bad_below: float, good_above: float) -> str:
    if value < bad_below:
        return "bad"
    return "good" if value > good_above else "fair"


def console_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Draw the ladder for a terminal."""
    table = Table()
    table.add_column("model")
    for measure in MEASURES:
        table.add_column(measure.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(row["name"], *(_figure(row.get(measure)) for measure in MEASURES))
    return table


def render(template: str, **content: Any) -> str:
    """Fill in one of the templates; all text from the data is escaped."""
    environment = Environment(
        loader=PackageLoader("birnn"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment.get_template(template).render(measures=MEASURES, **content)


def _figure(value: float | None) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.4f}"
