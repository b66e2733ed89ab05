"""Softmax, cross entropy and Adam."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from birnn.kernel import calls, library, tensors
from birnn.kernel.library import address


def softmax(logits: Tensor) -> Tensor:
    """Compute the softmax over the last dimension, without gradient."""
    if not library.serves(logits):
        return logits.softmax(dim=-1)
    logits = logits.contiguous()
    found = torch.empty_like(logits)
    calls.softmax(logits, found)
    return found


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    scales: Tensor,
    *,
    weights: Tensor | None = None,
    gamma: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Compute the total of all labels' scaled losses, and a tally of what is not scaled.

    Args:
        logits: (labels, classes) float32 on a CPU that the kernel serves.
        labels: (labels,) int64 classes; what is below 0 counts for nothing.
        scales: (labels,) float32, what the loss of each is multiplied with.
        weights: (classes,) what a label of each class counts; 1 where None.
        gamma: exponent of the focal loss; see `birnn.model.losses.cross_entropy`.

    Returns:
        The total, in nats, and a tally of three, float64: the losses that are not scaled, the right
        answers, and the labels that count.

    Raises:
        ValueError: a label is no class.
    """
    if len(labels) and int(labels.max()) >= logits.shape[1]:
        raise ValueError(f"expected labels below {logits.shape[1]}, found {int(labels.max())}")
    tally = torch.empty(3, dtype=torch.float64)
    total: Tensor = _CrossEntropy.apply(logits, labels, scales, weights, gamma, tally)  # type: ignore[no-untyped-call]
    return total, tally


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        scales: Tensor,
        weights: Tensor | None,
        gamma: float,
        tally: Tensor,
    ) -> Tensor:
        rows, classes = logits.shape
        logits = tensors.read(logits, torch.float32, (rows, classes))
        labels = tensors.read(labels, torch.int64, (rows,))
        scales = tensors.read(scales, torch.float32, (rows,))
        if weights is not None:
            weights = tensors.read(weights, torch.float32, (classes,))
        losses = logits.new_empty(rows)
        grads = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        total, counts = calls.cross_entropy(logits, labels, scales, weights, gamma, losses, grads)
        if grads is not None:
            ctx.save_for_backward(grads)
        tally.copy_(torch.tensor(counts, dtype=torch.float64))
        return logits.new_tensor(total)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (grads,) = ctx.saved_tensors
        return grads * grad, None, None, None, None, None


def adam_step(
    parameters: Sequence[Tensor],
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    step: int,
    learning_rate: float,
    weight_decay: float,
    clip_norm: float,
) -> None:
    """Clip a gradient and move parameters against it; see `birnn.model.adam.Adam`.

    Args:
        parameters: contiguous float32 on a CPU, changed in place.
        gradient: of all of them, laid end to end.
        mean: the moments of the gradients before, laid out like it and changed in place.
        square: likewise.
        step: how many with this one, from 1.
        learning_rate: the step size.
        weight_decay: this times the parameters is added to the gradient.
        clip_norm: a gradient longer than this is shortened to it.
    """
    sizes = [parameter.numel() for parameter in parameters]
    if not all(parameter.is_contiguous() for parameter in parameters):
        raise ValueError("expected contiguous parameters")
    call = library.Adam(
        count=len(sizes),
        size=sum(sizes),
        parameters=(ctypes.c_void_p * len(sizes))(*map(address, parameters)),
        sizes=(ctypes.c_ssize_t * len(sizes))(*sizes),
        gradient=address(gradient),
        mean=address(mean),
        square=address(square),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        step=step,
        threads=library.threads(),
    )
    library.check_memory(library.kernel().adam(call))
    for parameter in parameters:  # who saved one for a gradient is to notice
        torch.autograd.graph.increment_version(parameter)
