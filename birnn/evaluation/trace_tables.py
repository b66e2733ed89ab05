"""Traces as tables for a terminal; see `birnn.evaluation.trace` and `batch_trace`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from birnn.evaluation.batch_trace import BatchTrace
from birnn.evaluation.trace import Said, Trace, shape
from birnn.files import console

MOST_NUMBERS = 12  # lengths, or sizes, that are written out


def on_terminal(found: Trace) -> list[Table]:
    """Draw a trace as two tables: the layers, and the answers."""
    layers = Table("layer", "shape", "from", "to", "first values")
    for layer in found.flow:
        first = " ".join(f"{value:+.2f}" for value in layer.values[0][:6])
        layers.add_row(
            layer.name, shape(1, layer.shape), f"{layer.low:.2f}", f"{layer.high:.2f}", first
        )
    answers = Table("step", "true", "both", "forward", "backward", "past only", "turned by step")
    for answer in found.answers:
        said = (answer.both, answer.forward, answer.backward, answer.cut_off)
        step = f"{answer.step}" + (f" {answer.word}" if answer.word else "")
        turn = f"{answer.turned_at}: {answer.turned_by:+.2f}" if answer.turned_at else ""
        cells = [step, answer.actual or "", *(_shown(one) for one in said), turn]
        answers.add_row(*(console.cell(cell) for cell in cells))
    return [layers, answers]


def of_batch(found: BatchTrace) -> Table:
    """Draw the way of a batch: of each part the shape, the axes, and what goes wrong there."""
    table = Table(
        *("part", "shape", "axes", "what is easy to get wrong here"),
        title=(
            f"lengths {_numbers(found.lengths)}; {100 * found.padding:.1f} % padding; "
            f"batch_sizes if packed: {_numbers(found.batch_sizes)}"
        ),
        title_justify="left",
        show_lines=True,
    )
    for part in found.parts:
        size = shape(part.shape[0], part.shape[1:])
        axes = console.cell(f"({', '.join(part.axes)})")
        table.add_row(part.name, size, axes, console.cell(part.slip))
    return table


def _numbers(values: Sequence[int]) -> str:
    """The first of some numbers."""
    shown = " ".join(map(str, values[:MOST_NUMBERS]))
    return shown + (" ..." if len(values) > MOST_NUMBERS else "")


def _shown(said: Said | None) -> str:
    return "" if said is None else f"{said.label} {said.probability:.2f}"
