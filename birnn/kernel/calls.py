"""What the kernel is told of a call: shapes, and where numbers lie.

Whatever has a shape and an address will do: torch's tensors for those who train, NumPy's arrays for
those who predict. What it points to must be contiguous, and live until the call returns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from birnn.kernel import library
from birnn.kernel.library import CELLS, Call, Dropout, Linear, Loss, Pool, address

GATES: Final[dict[str, int]] = {"RNN": 1, "GRU": 3, "LSTM": 4}


def weights(cell: str, given: Sequence[Any]) -> Call:
    """Describe the weights of a recurrent layer.

    Args:
        cell: RNN (with tanh), GRU or LSTM.
        given: of each direction weight_ih, weight_hh, bias_ih and bias_hh, as in `torch.nn`.
    """
    call = Call(cell=CELLS[cell], directions=len(given) // 4, threads=library.threads())
    call.hidden, call.features = given[1].shape[1], given[0].shape[1]
    point(call.weights, given)
    return call


def shapes(cell: str, features: int, hidden: int, directions: int) -> list[tuple[int, ...]]:
    """The shapes of what `weights` takes."""
    gates = GATES[cell] * hidden
    return [(gates, features), (gates, hidden), (gates,), (gates,)] * directions


def linear(values: Any, weight: Any) -> Linear:
    """Describe a linear layer: (..., inputs) and (outputs, inputs).

    Raises:
        ValueError: the widths differ.
    """
    outputs, inputs = weight.shape
    if values.shape[-1] != inputs:
        raise ValueError(f"expected values of width {inputs}, found {values.shape[-1]}")
    return Linear(
        rows=math.prod(values.shape[:-1]),
        inputs=inputs,
        outputs=outputs,
        values=address(values),
        weights=address(weight),
        threads=library.threads(),
    )


def pool(shape: Sequence[int], lengths: Any, at: Any) -> Pool:
    """Describe the summary of (batch, steps, width) over the steps of each sequence."""
    batch, steps, width = shape
    return Pool(
        batch=batch,
        steps=steps,
        width=width,
        lengths=address(lengths),
        at=address(at),
        threads=library.threads(),
    )


def dropout(values: Any, output: Any, share: float, seed: int) -> Dropout:
    """Describe a dropout: a share of the values becomes zero, and the others are scaled up."""
    return Dropout(
        count=math.prod(values.shape),
        values=address(values),
        output=address(output),
        seed=seed,
        below=min(round(share * 2**32), 2**32 - 1),
        scale=0.0 if share == 1 else 1 / (1 - share),
        threads=library.threads(),
    )


def loss(logits: Any) -> Loss:
    """Describe scores, (..., classes)."""
    return Loss(
        rows=math.prod(logits.shape[:-1]),
        classes=logits.shape[-1],
        logits=address(logits),
        threads=library.threads(),
    )


def point(table: Any, given: Sequence[Any]) -> None:
    """Write the addresses of a layer's weights, or of their gradients, into a table."""
    for number, array in enumerate(given):
        table[number // 4][number % 4] = address(array)
