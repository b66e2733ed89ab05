"""Scores as tables for a terminal; see `birnn.evaluation.scoring`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from birnn.evaluation import intervals, metrics
from birnn.evaluation.intervals import Interval
from birnn.evaluation.scoring import Scored
from birnn.evaluation.slices import Sliced
from birnn.files import console

MOST_COLUMNS, MOST_PAIRS = 12, 20  # of a confusion matrix on a terminal; of its pairs otherwise


def on_terminal(scored: Scored, sure: Mapping[str, Interval]) -> Iterator[Table]:
    """Draw the metrics with 95 % intervals, each class, and each bucket of lengths.

    Args:
        scored: what was scored.
        sure: what `Scored.intervals` gives.
    """
    found = scored.metrics()
    yield _headlines(scored, found, sure)
    yield _confusion(scored)
    yield _by_class(scored, found, sure)
    yield _by_length(scored)
    if scored.columns:
        yield _by_slice(scored.slices())


def _by_slice(found: Sliced) -> Table:
    figures = [figure.name for figure in found.slices[0].figures] if found.slices else []
    table = _table("by slice, the weakest first", "slice", "sequences", "rows")
    for name in figures:
        table.add_column(name, justify="right")
        if name != "f1_macro":
            table.add_column("p", justify="right")
    for one in found.slices:
        cells = []
        for figure in one.figures:
            ends = None if figure.low is None or figure.high is None else (figure.low, figure.high)
            shown = "none there" if figure.value is None else f"{figure.value:.4f}"
            cells.append(f"{shown} {_ends(ends)}".strip())
            if figure.name != "f1_macro":
                cells.append("" if figure.p is None else f"{figure.p:.4f}")
        name = console.cell(f"{one.column} {one.value}")
        table.add_row(name, str(one.sequences), str(one.rows), *cells)
    table.caption = console.cell(found.sentence)
    return table


def _headlines(scored: Scored, found: Mapping[str, float], sure: Mapping[str, Interval]) -> Table:
    sequences, rows = len(scored.offsets) - 1, len(scored.actual)
    table = _table(f"{rows} rows of {sequences} sequences", "metric", "value", "95 % interval")
    table.caption = intervals.in_brackets(len(np.unique(scored.groups)), sequences)
    table.caption_justify = "left"
    of_class = {
        f"{figure}_{label}"
        for figure in ("precision", "recall", "f1", "support")
        for label in scored.labels
    }
    for name in (name for name in found if name not in of_class):
        table.add_row(name, f"{found[name]:.4f}", _ends(sure.get(name)))
    return table


def _confusion(scored: Scored) -> Table:
    """Counts, a row for each true class and a column for each answer; of many classes, the pairs
    that are confused most.
    """
    counts = metrics.confusion(scored.actual, scored.predicted, len(scored.labels))
    if len(scored.labels) <= MOST_COLUMNS:
        table = _table("true classes by answers", "true", *map(console.cell, scored.labels))
        for label, row in zip(scored.labels, counts.tolist(), strict=True):
            table.add_row(console.cell(label), *map(str, row))
        return table
    table = _table("most frequent confusions", "true", "answer", "count")
    wrong = counts - np.diag(np.diagonal(counts))
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS].tolist():
        actual, answer = divmod(cell, len(scored.labels))
        names = console.cell(scored.labels[actual]), console.cell(scored.labels[answer])
        table.add_row(*names, str(wrong[actual, answer]))
    return table


def _by_class(scored: Scored, found: Mapping[str, float], sure: Mapping[str, Interval]) -> Table:
    table = _table("by class", "class", "precision", "recall", "f1", "support")
    for label in scored.labels:
        names = [f"{figure}_{label}" for figure in ("precision", "recall", "f1")]
        shown = [
            f"{found[name]:.4f} {_ends(sure.get(name))}" if name in found else "" for name in names
        ]
        table.add_row(console.cell(label), *shown, f"{found[f'support_{label}']:.0f}")
    return table


def _by_length(scored: Scored) -> Table:
    found: dict[str, Any] = metrics.by_length(
        scored.actual,
        scored.predicted,
        num_classes=len(scored.labels),
        offsets=scored.offsets,
        lengths=np.diff(scored.offsets),
    )
    table = _table("by length", "rows", "sequences", "accuracy", "f1_macro", "f1_weighted")
    for row in zip(*found.values(), strict=True):
        shortest, longest, sequences, _, *figures = row
        span = str(shortest) if shortest == longest else f"{shortest} to {longest}"
        table.add_row(span, str(sequences), *(f"{figure:.4f}" for figure in figures))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _ends(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"({interval[0]:.4f} to {interval[1]:.4f})"
