"""Random numbers with which a model begins: the same on every CPU."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def uniform_(tensor: Tensor, bound: float) -> Tensor:
    """Fill a tensor from U(-bound, bound), in place.

    torch's own `uniform_` multiplies and adds, which some CPUs round once and others twice. Its
    `rand` only scales by a power of two.
    """
    drawn = torch.rand(tensor.shape, dtype=torch.float32)
    return tensor.copy_(drawn.mul_(2 * bound).sub_(bound))
