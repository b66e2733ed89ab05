"""What training minimises: cross entropy, for unbalanced classes weighted or focal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from birnn.data.sequences import UNLABELLED
from birnn.kernel import library
from birnn.kernel import losses as kernel_losses

IGNORED = UNLABELLED  # the label of padding too


def cross_entropy(
    logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, gamma: float = 0.0
) -> Tensor:
    """Compute the loss of each label.

    Args:
        logits: (labels, classes) float32.
        labels: (labels,) int64; `IGNORED` ones count for nothing.
        weights: (classes,) what a label of each class counts; 1 where None.
        gamma: exponent of the focal loss, which turns down labels that are already certain: each is
            multiplied by (1 - p) ** gamma (Lin et al., Focal Loss for Dense Object Detection, 2017,
            equation 4). At 0 it is the cross entropy.

    Returns:
        (labels,) in nats; 0 for `IGNORED` ones.
    """
    loss = functional.cross_entropy(
        logits, labels, weight=weights, ignore_index=IGNORED, reduction="none"
    )
    if gamma > 0:
        known = labels.clamp(min=0)
        log_share = logits.log_softmax(dim=1).gather(1, known[:, None]).squeeze(1)
        # Above 0, since the power of 0 has no gradient for a gamma below 1.
        doubt = (-log_share.expm1()).clamp(min=torch.finfo(log_share.dtype).tiny)
        loss = loss * doubt**gamma
    return loss


def total(
    logits: Tensor,
    labels: Tensor,
    scales: Tensor,
    *,
    weights: Tensor | None = None,
    gamma: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Add up the losses of all labels, each times its own factor.

    Args:
        logits: (labels, classes) float32.
        labels: (labels,) int64; `IGNORED` ones count for nothing.
        scales: (labels,) float32, the factors.
        weights: see `cross_entropy`.
        gamma: see `cross_entropy`.

    Returns:
        The total, and a tally of three: the losses without the factors, the right answers, and the
        labels that count.
    """
    if library.serves(logits):
        return kernel_losses.cross_entropy(logits, labels, scales, weights=weights, gamma=gamma)
    loss = cross_entropy(logits, labels, weights=weights, gamma=gamma)
    right = (logits.argmax(dim=1) == labels).sum()
    tally = torch.stack([loss.detach().sum(), right, (labels != IGNORED).sum()])
    return (loss * scales).sum(), tally


def balanced(counts: npt.NDArray[np.int64], classes: int) -> Tensor:
    """Weigh each class by the inverse of its frequency, with a mean of 1 over all labels.

    The rule of scikit-learn's `class_weight="balanced"`; a class without labels gets weight 1.

    Args:
        counts: how often each class occurs, perhaps without those behind the last that does.
        classes: that there are.
    """
    counts = np.pad(counts, (0, classes - len(counts)))
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.tensor(np.where(counts > 0, weights, 1.0), dtype=torch.float32)
