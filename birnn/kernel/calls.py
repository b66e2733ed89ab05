"""The calls of the kernel: what each reads, and where it writes.

Whatever has a shape and an address will do: torch's tensors for those who train, NumPy's arrays for
those who predict. Both come here, so they give the same bytes. What is handed over must be
contiguous and of the right dtype and shape, which the callers check, and live until the call
returns.
"""

from __future__ import annotations

import ctypes
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
    call = Call(cell=CELLS[cell], directions=len(given) // 4)
    call.hidden, call.features = given[1].shape[1], given[0].shape[1]
    _point(call.weights, given)
    return call


def shapes(cell: str, features: int, hidden: int, directions: int) -> list[tuple[int, ...]]:
    """The shapes of what `weights` takes."""
    gates = GATES[cell] * hidden
    return [(gates, features), (gates, hidden), (gates,), (gates,)] * directions


def write_gradients(call: Call, at_weights: Sequence[Any]) -> None:
    """Say where `layer_back` writes the gradients of the weights."""
    _point(call.weight_grads, at_weights)


def packed_floats(call: Call) -> int:
    """How many numbers `pack` writes."""
    floats = library.kernel().packed_floats(call.cell, call.features, call.hidden)
    return int(call.directions * floats)


def pack(call: Call, packed: Any) -> None:
    """Lay the weights of a layer out as the kernel multiplies with them."""
    call.packed = address(packed)
    library.kernel().pack(call, call.packed)


def saved_floats(cell: str, hidden: int) -> int:
    """How many numbers `layer_back` needs of one step in one direction."""
    return int(library.kernel().saved_floats(CELLS[cell], hidden))


def read(call: Call, values: Any, lengths: Any, start: Sequence[Any] = (None, None)) -> None:
    """Describe what a recurrent layer reads beside its weights.

    Args:
        call: from `weights`.
        values: (batch, steps, features) float32; what lies past a length is not read.
        lengths: (batch,) int64, from 1 to steps.
        start: states and cells to begin with, (directions, batch, hidden); zeros for None.
    """
    call.batch, call.steps, _ = values.shape
    call.threads = library.threads()
    call.values, call.lengths = address(values), address(lengths)
    call.start_states, call.start_cells = map(address, start)


def layer(call: Call, output: Any, *, cells: Any, saved: Any, packed: Any = None) -> None:
    """Compute a recurrent layer.

    Args:
        call: which `read` has completed.
        output: (batch, steps, directions x hidden), written.
        cells: of the LSTM after the last step, (directions, batch, hidden), written; or None.
        saved: what `layer_back` needs, written, or None: `saved_floats` for each real step and
            direction.
        packed: what `pack` has written; None where it did so in this very call.

    Raises:
        MemoryError: there is too little memory.
    """
    if packed is not None:
        call.packed = address(packed)
    call.output, call.last_cells, call.saved = address(output), address(cells), address(saved)
    library.check_memory(library.kernel().forward(call))


def layer_back(
    call: Call,
    output_grads: Any,
    cell_grads: Any,
    at_values: Any,
    *,
    at_start: Sequence[Any] = (None, None),
    saved: Any = None,
) -> None:
    """Compute the gradients of a recurrent layer.

    Args:
        call: which `read` and `write_gradients` have completed.
        output_grads: (batch, steps, directions x hidden).
        cell_grads: of the LSTM's last cells; zeros for None.
        at_values: (directions, batch, steps, features) or None; its first part is written.
        at_start: of states and cells to begin with, written; None where nobody asks.
        saved: what `layer` has written; None where it did so in this very call.

    Raises:
        MemoryError: there is too little memory.
    """
    if saved is not None:
        call.saved = address(saved)
    call.value_grads = address(at_values)
    call.output_grads, call.last_cell_grads = address(output_grads), address(cell_grads)
    call.start_state_grads, call.start_cell_grads = map(address, at_start)
    library.check_memory(library.kernel().backward(call))


def linear(values: Any, weight: Any, bias: Any, output: Any) -> None:
    """Compute a linear layer: (..., inputs), (outputs, inputs), (outputs,) to (..., outputs).

    Raises:
        MemoryError: there is too little memory.
    """
    call = _linear(values, weight)
    call.bias, call.output = address(bias), address(output)
    library.check_memory(library.kernel().linear_forward(call))


def linear_back(
    values: Any, weight: Any, output_grads: Any, at_values: Any, at_weight: Any, at_bias: Any
) -> None:
    """Compute its gradients; those of the values are not wanted where None.

    Raises:
        MemoryError: there is too little memory.
    """
    call = _linear(values, weight)
    call.output_grads, call.value_grads = address(output_grads), address(at_values)
    call.weight_grads, call.bias_grads = address(at_weight), address(at_bias)
    library.check_memory(library.kernel().linear_backward(call))


def _linear(values: Any, weight: Any) -> Linear:
    outputs, inputs = weight.shape
    return Linear(
        rows=math.prod(values.shape[:-1]),
        inputs=inputs,
        outputs=outputs,
        values=address(values),
        weights=address(weight),
        threads=library.threads(),
    )


def add_rows(grads: Any, rows: Any, to: Any) -> None:
    """Add (..., width) to rows of a table, (rows, width), one after the other.

    The numbers of the rows are int64; that the table has them is not checked.
    """
    count, width = math.prod(rows.shape), to.shape[1]
    library.kernel().embedding_backward(address(grads), address(rows), count, width, address(to))


def pool(values: Any, lengths: Any, mean: Any, most: Any, at: Any) -> None:
    """Compute mean and maximum over the steps of each sequence.

    Args:
        values: (batch, steps, width).
        lengths: (batch,) int64, from 1 to steps.
        mean: (batch, width), written.
        most: likewise.
        at: (batch, width) int32, written: at which step each maximum is.
    """
    call = _pool(values, lengths, at)
    call.values, call.mean, call.most = address(values), address(mean), address(most)
    library.kernel().pool(call)


def pool_back(lengths: Any, at: Any, mean_grads: Any, most_grads: Any, at_values: Any) -> None:
    """Write the gradient of the values from those of mean and maximum; zeros for None."""
    call = _pool(at_values, lengths, at)
    call.mean_grads, call.most_grads = address(mean_grads), address(most_grads)
    call.value_grads = address(at_values)
    library.kernel().pool_back(call)


def _pool(values: Any, lengths: Any, at: Any) -> Pool:
    batch, steps, width = values.shape
    return Pool(
        batch=batch,
        steps=steps,
        width=width,
        lengths=address(lengths),
        at=address(at),
        threads=library.threads(),
    )


def dropout(values: Any, output: Any, share: float, seed: int) -> None:
    """Zero a share of the values, by a seed and the place of each, and scale the others up."""
    call = Dropout(
        count=math.prod(values.shape),
        values=address(values),
        output=address(output),
        seed=seed,
        below=min(round(share * 2**32), 2**32 - 1),
        scale=0.0 if share == 1 else 1 / (1 - share),
        threads=library.threads(),
    )
    library.kernel().dropout(call)


def softmax(logits: Any, output: Any) -> None:
    """Compute the softmax of (..., classes) over the last dimension.

    Raises:
        MemoryError: there is too little memory.
    """
    call = _loss(logits)
    call.output = address(output)
    library.check_memory(library.kernel().softmax(call))


def cross_entropy(
    logits: Any, labels: Any, scales: Any, weights: Any, gamma: float, losses: Any, at_logits: Any
) -> tuple[float, list[float]]:
    """Compute the total of all labels' scaled losses; see `birnn.kernel.losses.cross_entropy`.

    Args:
        logits: (labels, classes).
        labels: (labels,) int64, below classes; what is below 0 counts for nothing.
        scales: (labels,) what the loss of each is multiplied with.
        weights: (classes,) what a label of each class counts; 1 where None.
        gamma: exponent of the focal loss.
        losses: (labels,) room for those of each, written.
        at_logits: the gradient of the total, written; None where nobody asks.

    Returns:
        The total, and a tally of three: losses that are not scaled, right answers, and labels that
        count.

    Raises:
        MemoryError: there is too little memory.
    """
    call, totals = _loss(logits), (ctypes.c_double * 4)()
    call.labels, call.scales, call.losses = address(labels), address(scales), address(losses)
    call.class_weights, call.gamma, call.output = address(weights), gamma, address(at_logits)
    library.check_memory(library.kernel().cross_entropy(call, totals))
    return totals[0], totals[1:]


def _loss(logits: Any) -> Loss:
    return Loss(
        rows=math.prod(logits.shape[:-1]),
        classes=logits.shape[-1],
        logits=address(logits),
        threads=library.threads(),
    )


def _point(table: Any, given: Sequence[Any]) -> None:
    """Write the addresses of a layer's weights, or of their gradients, into a table."""
    for number, array in enumerate(given):
        table[number // 4][number % 4] = address(array)
