"""What goes through a trained model, layer by layer, and what each half of it says of a sequence.

    found = explain(model, encoding, thresholds, test.select([telling(model, test)]), labelled=True)
    found.flow       # input, forward states, backward states, ..., with shapes and values
    found.answers    # what both halves, each half alone, and the past alone say
    for table in on_terminal(found): console.print(table)

**A half alone**: the other direction's states are set to zero wherever the part above the recurrent
layers reads them (every step's output of the top layer, and its last state), and the linear layer
answers from what is left, with the weights and the bias that it learned for both. Of several
layers the top one alone is halved: its states still rest on both directions of the layer below.

**The future cut off**: the prediction for the sequence's first t steps, as if it ended there.

Everything is read off the running network with hooks on `model.rnn` and `model.linear`, so that a
trace shows what a prediction computes, not what this module believes that it computes.
"""

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
