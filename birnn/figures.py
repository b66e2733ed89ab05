"""The pictures of the report, as SVG text that is the same for the same data."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from birnn import history
from birnn.history import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that colour-blind readers can tell apart: Okabe and Ito, "Color universal design" (2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "birnn",
}


def curves(histories: Mapping[str, Sequence[Epoch]]) -> str:
    """Draw loss and accuracy by epoch for each model, training dashed, the kept epoch marked."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3), layout="constrained")
        for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for (model, epochs), colour in zip(histories.items(), cycle(COLOURS), strict=False):
                _curve(axes, measure, model, epochs, colour)
            axes.set_xlabel("epoch")
            axes.set_ylabel("cross entropy" if measure == "loss" else measure)
        figure.axes[0].legend(frameon=False)
        return svg(figure, "Loss and accuracy by epoch")


def _curve(axes: Axes, measure: str, model: str, epochs: Sequence[Epoch], colour: str) -> None:
    number = [epoch.epoch for epoch in epochs]
    train = [getattr(epoch, f"train_{measure}") for epoch in epochs]
    validation = [getattr(epoch, f"validation_{measure}") for epoch in epochs]
    axes.plot(number, train, "--", color=colour, alpha=0.6, label=f"{model}, training")
    axes.plot(number, validation, color=colour, label=f"{model}, validation")
    kept = history.best(epochs)
    axes.plot(kept.epoch, getattr(kept, f"validation_{measure}"), "o", color=colour)


def bars_by_length(tables: Mapping[str, Sequence[Mapping[Any, Any]]], measure: str) -> str:
    """Draw a measure for each bucket of sequence lengths, the models side by side."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 2.6), layout="constrained")
        axes = figure.subplots()
        width = 0.8 / len(tables)
        for place, (model, rows) in enumerate(tables.items()):
            left = [index + (place - (len(tables) - 1) / 2) * width for index in range(len(rows))]
            axes.bar(
                left, [row[measure] for row in rows], width, label=model, color=COLOURS[place % 6]
            )
            names = [_span(int(row["shortest"]), int(row["longest"])) for row in rows]
            axes.set_xticks(range(len(rows)), names)
        axes.set_xlabel("steps in the sequence")
        axes.set_ylabel(measure.replace("_", " "))
        axes.set_ylim(0, 1)
        figure.legend(frameon=False, ncols=len(tables), loc="outside upper left")
        return svg(figure, f"{measure} by sequence length")


def _span(shortest: int, longest: int) -> str:
    return str(shortest) if shortest == longest else f"{shortest} to {longest}"


def svg(figure: Figure, title: str) -> str:
    """Write a figure as an `<svg>` element for HTML, with a text alternative and no fixed size."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    element = text.getvalue().partition("<svg ")[2]
    element = re.sub(r'(width|height)="[\d.]+pt" ', "", element, count=2)
    return f'<svg role="img" aria-label="{title}" {element}'
