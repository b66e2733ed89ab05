"""What stands before and after the recurrence, with the gradients of torch's functions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from birnn.kernel import calls, library, tensors


def linear(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute `torch.nn.functional.linear`: (..., inputs) to (..., outputs)."""
    if not library.serves(values):
        return functional.linear(values, weight, bias)
    return _Linear.apply(values, weight, bias)  # type: ignore[no-untyped-call, no-any-return]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        outputs, inputs = weight.shape
        values = tensors.read(values, torch.float32, (*values.shape[:-1], inputs))
        weight = tensors.read(weight, torch.float32, (outputs, inputs))
        bias = tensors.read(bias, torch.float32, (outputs,))
        output = values.new_empty(*values.shape[:-1], outputs)
        calls.linear(values, weight, bias, output)
        ctx.save_for_backward(values, weight)
        return output

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        at_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        at_weight, at_bias = torch.empty_like(weight), weight.new_empty(len(weight))
        calls.linear_back(values, weight, grads.contiguous(), at_values, at_weight, at_bias)
        return at_values, at_weight, at_bias


def embedding(rows: Tensor, weight: Tensor) -> Tensor:
    """Compute `torch.nn.functional.embedding`; gradients of equal rows are added in order."""
    if not library.serves(weight) or rows.device.type != "cpu":
        return functional.embedding(rows, weight)
    return _Embedding.apply(rows, weight)  # type: ignore[no-untyped-call, no-any-return]


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = weight.shape
        return functional.embedding(rows, weight)  # it checks the rows too

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[None, Tensor]:
        (rows,) = ctx.saved_tensors
        made = grads.new_zeros(ctx.shape)
        calls.add_rows(grads.contiguous(), rows.long().contiguous(), made)  # torch takes int32 too
        return None, made


def dropout(values: Tensor, share: float, training: bool) -> Tensor:
    """Zero a share of the elements in training and scale the others up, as torch's dropout does.

    Where the kernel draws, it draws by the place of an element and one number from torch's
    generator.
    """
    if not training or share == 0 or not library.serves(values):
        return functional.dropout(values, share, training)
    return _Dropout.apply(values, share, drawn_seed())  # type: ignore[no-untyped-call, no-any-return]


def drawn_seed() -> int:
    """Draw the 64 bits that a dropout begins with from torch's generator."""
    low, high = torch.randint(1 << 32, (2,)).tolist()
    return int(high << 32 | low)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, share: float, seed: int) -> Tensor:
        ctx.share, ctx.seed = share, seed
        return _dropped(values, share, seed)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None, None]:
        return _dropped(grads, ctx.share, ctx.seed), None, None


def _dropped(values: Tensor, share: float, seed: int) -> Tensor:
    values = values.contiguous()
    output = torch.empty_like(values)
    calls.dropout(values, output, share, seed)
    return output


def mean_and_most(values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean and the maximum over the steps of each sequence.

    Args:
        values: (batch, steps, width); without a kernel, zero past each length.
        lengths: (batch,) int64, from 1 to steps.

    Returns:
        Two of (batch, width). The kernel gives the gradient of a maximum to the first step that has
        it, torch to all of them in equal parts.
    """
    if not library.serves(values):
        padding = torch.arange(values.shape[1], device=values.device) >= lengths[:, None]
        most = values.masked_fill(padding[:, :, None], -math.inf).amax(dim=1)
        return values.sum(dim=1) / lengths[:, None], most
    return _Pool.apply(values, lengths)  # type: ignore[no-untyped-call, no-any-return]


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        batch, _, width = values.shape
        values, lengths = values.contiguous(), tensors.read(lengths, torch.int64, (batch,))
        mean, most = values.new_empty(batch, width), values.new_empty(batch, width)
        at = torch.empty(batch, width, dtype=torch.int32)
        calls.pool(values, lengths, mean, most, at)
        ctx.save_for_backward(lengths, at)
        ctx.shape = values.shape
        return mean, most

    @staticmethod
    def backward(ctx: Any, mean_grads: Tensor, most_grads: Tensor) -> tuple[Tensor, None]:
        lengths, at = ctx.saved_tensors
        made = mean_grads.new_empty(ctx.shape)
        calls.pool_back(lengths, at, mean_grads.contiguous(), most_grads.contiguous(), made)
        return made, None
