"""A trace, as tables for a terminal; see `birnn.evaluation.trace`."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from birnn.evaluation.trace import Said, Trace, shape


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
        answers.add_row(*(escape(cell) for cell in cells))
    return [layers, answers]


def _shown(said: Said | None) -> str:
    return "" if said is None else f"{said.label} {said.probability:.2f}"
