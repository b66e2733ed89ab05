"""Which metrics lead: of whole spans where labels mark spans, otherwise averages over the classes.

Where most steps belong to no span, accuracy hardly moves when one is missed; so it is shown there,
and neither judged nor compared.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

MEASURES = ("accuracy", "precision", "recall", "f1", "log_loss")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, and its 95 % interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


def of_spans(metrics: Collection[str]) -> bool:
    """Say whether some metrics, by flat name, are those of labels that mark spans."""
    return "span_f1" in metrics


def averaged_over(metrics: Collection[str], average: str) -> str:
    """Say in a word what precision, recall and F1 are averages over."""
    return "spans" if of_spans(metrics) else average


def names(metrics: Collection[str], average: str) -> dict[str, str]:
    """Give the flat name of the metric that stands for each of `MEASURES`.

    Args:
        metrics: flat names, as `birnn.evaluation.metrics.metrics` gives them.
        average: `macro` or `weighted`, over the classes.
    """
    shares = {name: f"{name}_{average}" for name in ("precision", "recall", "f1")}
    if of_spans(metrics):
        shares = {name: f"span_{name}" for name in shares}
    return {"accuracy": "accuracy", **shares, "log_loss": "log_loss"}


def leading(metrics: Collection[str], average: str) -> str:
    """Give the metric by which models are compared."""
    return names(metrics, average)["f1"]


def judged(metrics: Collection[str], average: str) -> dict[str, str]:
    """Give the metrics that a verdict rests on, by the name of their bar; the first one leads."""
    found = names(metrics, average)
    bars = ("f1", "precision", "recall") if of_spans(metrics) else MEASURES[:-1]
    return {bar: found[bar] for bar in bars}
