"""How large a model is, and what it costs, by formula: the same on every machine.

size = size_of(architecture, steps=640)
size.parameters, size.multiply_adds, size.memory
"""

from __future__ import annotations

from dataclasses import dataclass

from birnn.files import room
from birnn.kernel.calls import GATES
from birnn.model.architecture import Architecture

FLOAT = 4  # bytes
COPIES = 5  # of each parameter in training: itself, gradient, two moments of Adam, best epoch's
KEPT = {"RNN": 2, "GRU": 5, "LSTM": 6}
"""Numbers of a unit and step that the kernel keeps for the backward pass: gates, state, cell."""

LANES = 16
"""Units are kept in whole vectors of the CPU, of so many at most."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a model costs.

    Attributes:
        parameters: how many are learned.
        multiply_adds: that one step of a sequence takes; without letters, since these are read once
            for each distinct token, and without what a classifier computes once a sequence.
        memory: bytes at the peak of training in float32: parameters and what the optimizer keeps of
            them, and what the backward pass needs of the steps of one batch. Without data, letters
            and what libraries take for themselves.
    """

    parameters: int
    multiply_adds: int
    memory: int


def size_of(architecture: Architecture, steps: int) -> Size:
    """Compute it.

    Args:
        architecture: of the model.
        steps: of the largest batch, padding included.
    """
    a, directions = architecture, 1 + architecture.bidirectional
    states, linear = a.hidden_size * directions, _linear(a)
    widths = [a.width, *[states] * (a.num_layers - 1)]  # what each layer reads of a step
    recurrent = sum(directions * _weights(a.cell, width, a.hidden_size) for width in widths)
    biases = a.num_layers * directions * 2 * GATES[a.cell] * a.hidden_size
    kept = directions * -(-a.hidden_size // LANES) * LANES * KEPT[a.cell]
    numbers = sum(width + kept for width in widths)
    parameters = a.tokens * a.embedding_size + _letters(a) + recurrent + biases
    parameters += linear + a.classes
    if a.task == "tagging":
        numbers += states + 2 * a.classes  # what is scored, scores and their logarithms
    return Size(
        parameters=parameters,
        multiply_adds=recurrent + (linear if a.task == "tagging" else 0),
        memory=FLOAT * (COPIES * parameters + steps * numbers),
    )


def check_room(architecture: Architecture, steps: int) -> None:
    """Refuse a training for which this machine has too little memory.

    Args:
        architecture: of the model.
        steps: of the largest batch, padding included.

    Raises:
        NoRoomError: says how much it needs, and how much is here.
    """
    needed = size_of(architecture, steps)
    what = f"a model with {needed.parameters:,} parameters, in batches of up to {steps:,} steps"
    advice = "lower model.hidden_size, train.batch_size or train.batch_steps"
    room.check_memory(needed.memory, what, advice)


def _weights(cell: str, width: int, hidden_size: int) -> int:
    """Of one direction of a layer, without biases; each is multiplied once a step."""
    return GATES[cell] * hidden_size * (width + hidden_size)


def _linear(a: Architecture) -> int:
    states = a.hidden_size * (1 + a.bidirectional)
    return states * (3 if a.head == "all" else 1) * a.classes


def _letters(a: Architecture) -> int:
    """The embedding of letters and the GRU that reads them both ways."""
    if not a.characters:
        return 0
    hidden_size = a.character_hidden_size
    direction = _weights("GRU", a.character_size, hidden_size) + 2 * GATES["GRU"] * hidden_size
    return (len(a.characters) + 1) * a.character_size + 2 * direction
