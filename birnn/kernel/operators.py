"""The recurrence as operators of torch, for what is compiled.

`torch.compile` cannot look into the kernel. It keeps these two operators whole, for any batch and
any number of steps. What is exported has `birnn.model.scanned` instead, and needs no birnn.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from birnn.kernel import calls, recurrence
from birnn.kernel.recurrence import Start


@torch.library.custom_op(
    "birnn::layer",
    mutates_args=(),
    schema="(str cell, Tensor values, Tensor lengths, Tensor? states, Tensor? cells, "
    "Tensor[] weights) -> (Tensor, Tensor, Tensor)",
)
def _layer(
    cell: str,
    values: Tensor,
    lengths: Tensor,
    states: Tensor | None,
    cells: Tensor | None,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Give output and cells as `recurrence.layer` does, and what the backward pass needs."""
    recurrence.check_lengths(lengths, values.shape[1])
    arrays = recurrence.checked(cell, values, lengths, weights, Start(states, cells))
    call = recurrence.described(cell, arrays)
    saved = torch.empty(_size_kept(cell, values, weights))
    output, last = recurrence.forward(call, recurrence.packed(cell, weights), saved=saved)
    return output, last, saved


def _size_kept(cell: str, values: Tensor, weights: list[Tensor]) -> int:
    """Room for as many steps as the padded batch has: how many are real is not known beforehand."""
    directions, hidden = len(weights) // 4, weights[1].shape[1]
    floats = calls.saved_floats(cell, hidden)
    return directions * values.shape[0] * values.shape[1] * floats


@_layer.register_fake
def _(cell: str, values: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    weights = others[-1]
    directions, hidden = len(weights) // 4, weights[1].shape[1]
    output = values.new_empty(values.shape[0], values.shape[1], directions * hidden)
    last = values.new_empty(directions if cell == "LSTM" else 0, values.shape[0], hidden)
    return output, last, values.new_empty(_size_kept(cell, values, weights))


@torch.library.custom_op(
    "birnn::layer_backward",
    mutates_args=(),
    schema="(str cell, Tensor[] read, Tensor[] weights, bool[] begun, Tensor[] grads) -> Tensor[]",
)
def _backward(
    cell: str,
    read: list[Tensor],
    weights: list[Tensor],
    begun: list[bool],
    grads: list[Tensor],
) -> list[Tensor]:
    """Give the gradients of values, of start states and cells where they are, and of weights.

    Args:
        cell: the kind of the recurrence.
        read: values, lengths, what the forward pass has kept, and start states and cells.
        weights: of each direction.
        begun: whether there are start states, and start cells.
        grads: of output and cells.
    """
    values, lengths, saved, *others = read
    given = iter(others)
    start = Start(*(next(given) if there else None for there in begun))
    arrays = recurrence.checked(cell, values, lengths, weights, start)
    call = recurrence.described(cell, arrays)
    found = recurrence.gradients(call, arrays, saved, (grads[0], grads[1]), [True, *begun])
    return [grad.clone() if grad._is_view() else grad for grad in found if grad is not None]


@_backward.register_fake
def _(*inputs: Any) -> list[Tensor]:
    (values, _, _, *others), weights = inputs[1:3]
    return [torch.empty_like(one) for one in (values, *others, *weights)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    cell, values, lengths, states, cells, weights = inputs
    ctx.cell, ctx.begun = cell, [states is not None, cells is not None]
    begun = [one for one in (states, cells) if one is not None]
    ctx.save_for_backward(values, lengths, output[2], *begun, *weights)
    ctx.mark_non_differentiable(*output[1 if cell != "LSTM" else 2 :])


def _back(ctx: Any, grads: Tensor, cell_grads: Tensor, _: object) -> tuple[Any, ...]:
    first = 3 + sum(ctx.begun)
    read, weights = ctx.saved_tensors[:first], ctx.saved_tensors[first:]
    if cell_grads is None:  # of what is not differentiable
        cell_grads = grads.new_zeros(0, read[0].shape[0], weights[1].shape[1])
    found = _backward(ctx.cell, list(read), list(weights), ctx.begun, [grads, cell_grads])
    given = iter(found)
    at_values = next(given)
    at_start = [next(given) if there else None for there in ctx.begun]
    return None, at_values, None, *at_start, list(given)


_layer.register_autograd(_back, setup_context=_keep)


def layer(
    cell: str,
    values: Tensor,
    lengths: Tensor,
    weights: list[Tensor],
    start: Start = recurrence.NOTHING,
) -> tuple[Tensor, Tensor]:
    """Compute a layer; see `birnn.kernel.recurrence.layer`."""
    output, last, _ = _layer(cell, values, lengths, start.states, start.cells, weights)
    return output, last
