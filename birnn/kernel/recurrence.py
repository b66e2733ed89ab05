"""One recurrent layer, in one or two directions, on sequences of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birnn.kernel import calls, tensors
from birnn.kernel.library import CELLS, Call


class Start(NamedTuple):
    """What a layer begins with, (directions, batch, hidden) each; zeros for None."""

    states: Tensor | None = None
    cells: Tensor | None = None


NOTHING: Final = Start()


def check_lengths(lengths: Tensor, steps: int) -> None:
    """Refuse what is no length, or is out of the padded batch.

    Args:
        lengths: (batch,).
        steps: of the padded batch.

    Raises:
        ValueError: lengths that are no integers, or one below 1 or above steps. The latter is not
            checked where the lengths are on a GPU, because that would wait for it.
    """
    if lengths.dtype.is_floating_point or lengths.dtype == torch.bool:
        raise ValueError(f"lengths should be integers, but found {lengths.dtype}; round them first")
    if lengths.device.type != "cpu":
        return
    shortest, longest = (int(length) for length in lengths.aminmax())
    if shortest < 1 or longest > steps:
        raise ValueError(
            f"lengths should be from 1 to the {steps} steps of the values, but found {shortest} to "
            f"{longest}; leave empty sequences out of the batch"
        )


def packed(cell: str, weights: Sequence[Tensor]) -> Tensor:
    """Lay the weights of a layer out as the kernel multiplies with them.

    Args:
        cell: RNN, GRU or LSTM.
        weights: of each direction weight_ih, weight_hh, bias_ih and bias_hh, as in `torch.nn`.
    """
    weights = [weight.contiguous() for weight in weights]
    call = calls.weights(cell, weights)
    made = torch.empty(calls.packed_floats(call))
    calls.pack(call, made)
    return made


def layer(
    cell: str,
    values: Tensor,
    lengths: Tensor,
    weights: Sequence[Tensor],
    start: Start = NOTHING,
    ready: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute a layer; the gradients of all that goes in are defined, once.

    Args:
        cell: RNN (with tanh), GRU or LSTM.
        values: (batch, steps, features) float32 on a CPU; what lies past a length is not read.
        lengths: (batch,) int64 from 1 to steps.
        weights: see `packed`.
        start: the states, and for the LSTM the cells, to begin with.
        ready: what `packed` gives for these weights, if somebody has it.

    Returns:
        output: (batch, steps, directions x hidden), zero past each length.
        cells: (directions, batch, hidden), the LSTM's cells after each direction's last step; empty
            for other cells.

    Raises:
        MemoryError: there is too little memory.
    """
    needed = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (values, *weights, *start)
    )
    if needed:
        found = _Layer.apply(cell, values, lengths, *start, *weights)  # type: ignore[no-untyped-call]
        return found[0], found[1]
    ready = packed(cell, weights) if ready is None else ready
    arrays = checked(cell, values, lengths, weights, start)
    return forward(described(cell, arrays), ready, saved=None)


class _Loan(np.ndarray[tuple[int], np.dtype[np.float32]]):
    """A view of a block of memory that is free again when it is gone."""

    def __del__(self) -> None:
        if isinstance(self.base, np.ndarray):
            FREE.append(self.base)


FREE: Final[list[npt.NDArray[np.float32]]] = []
"""Blocks that nobody uses; never more than have been lent at a time."""


def lent(floats: int) -> Tensor:
    """Give memory for what the backward pass needs, used again from batch to batch.

    Blocks of this size go back to the system when they are freed, and to get the pages of a new one
    takes up to a tenth of a training.
    """
    blocks = sorted(FREE, key=len)
    fitting = next((block for block in blocks if len(block) >= floats), None)
    replaced = fitting if fitting is not None else blocks[-1] if blocks else None
    FREE[:] = [block for block in FREE if block is not replaced]
    block = np.empty(floats, np.float32) if fitting is None else fitting
    return torch.from_numpy(block.view(_Loan))


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        values: Tensor,
        lengths: Tensor,
        states: Tensor | None,
        cells: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        arrays = checked(cell, values, lengths, weights, Start(states, cells))
        call, rows = described(cell, arrays), int(lengths.sum())
        saved = lent(call.directions * rows * calls.saved_floats(cell, call.hidden))
        output, last = forward(call, packed(cell, weights), saved=saved)
        ctx.call, ctx.present = call, [array is not None for array in arrays]
        ctx.save_for_backward(saved, *(array for array in arrays if array is not None))
        if cell != "LSTM":
            ctx.mark_non_differentiable(last)
        return output, last

    @staticmethod
    def backward(ctx: Any, grads: Tensor, cell_grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # once_differentiable is silent where `grads` is a constant
            raise RuntimeError("expected create_graph=False: a recurrence has no second gradient")
        saved, *kept = ctx.saved_tensors
        given = iter(kept)
        arrays = [next(given) if present else None for present in ctx.present]
        needed = [ctx.needs_input_grad[place] for place in (1, 3, 4)]
        at_values, *others = gradients(ctx.call, arrays, saved, (grads, cell_grads), needed)
        return None, at_values, None, *others


def gradients(
    call: Call,
    arrays: list[Tensor | None],
    saved: Tensor,
    grads: tuple[Tensor, Tensor],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of values, start states, start cells and weights.

    Args:
        call: of the layer.
        arrays: what went in, from `checked`.
        saved: what the forward pass has kept.
        grads: of output and cells.
        needed: whether those of values, start states and start cells are wanted.
    """
    values, states, cells, weights = arrays[0], arrays[2], arrays[3], arrays[4:]
    assert values is not None
    output_grads, cell_grads = grads[0].contiguous(), grads[1].contiguous()
    at_values = values.new_empty(call.directions, *values.shape) if needed[0] else None
    at_start = [
        torch.empty_like(array) if array is not None and need else None
        for array, need in zip((states, cells), needed[1:], strict=True)
    ]
    at_weights = [torch.empty_like(weight) for weight in weights if weight is not None]
    of_cells = cell_grads if call.cell == CELLS["LSTM"] else None
    calls.write_gradients(call, at_weights)
    calls.layer_back(call, output_grads, of_cells, at_values, at_start=at_start, saved=saved)
    return [None if at_values is None else at_values[0], *at_start, *at_weights]


def checked(
    cell: str,
    values: Tensor,
    lengths: Tensor,
    weights: Sequence[Tensor],
    start: Start,
) -> list[Tensor | None]:
    """What goes in, as the kernel may read it: of the right kinds and shapes, and contiguous."""
    batch, _, features = values.shape
    hidden, directions = weights[1].shape[1], len(weights) // 4
    shapes = calls.shapes(cell, features, hidden, directions)
    tensors.check(values, torch.float32, tuple(values.shape))
    tensors.check(lengths, torch.int64, (batch,))
    for weight, shape in zip(weights, shapes, strict=True):
        tensors.check(weight, torch.float32, shape)
    for given in start:
        if given is not None:
            tensors.check(given, torch.float32, (directions, batch, hidden))
    return [
        None if array is None else array.contiguous()
        for array in (values, lengths, *start, *weights)
    ]


def described(cell: str, arrays: list[Tensor | None]) -> Call:
    """The description of a layer's call, without what it writes."""
    values, lengths, states, cells, *weights = arrays
    present = [weight for weight in weights if weight is not None]
    assert values is not None
    call = calls.weights(cell, present)
    calls.read(call, values, lengths, (states, cells))
    return call


def forward(call: Call, ready: Tensor, *, saved: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute a layer that is described, and keep in `saved` what the backward pass needs."""
    output = torch.empty(call.batch, call.steps, call.directions * call.hidden)
    lstm = call.cell == CELLS["LSTM"]
    last = torch.empty(call.directions if lstm else 0, call.batch, call.hidden)
    calls.layer(call, output, cells=last if lstm else None, saved=saved, packed=ready)
    return output, last
