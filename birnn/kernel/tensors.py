"""What the kernel may read of torch's tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def check(tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape or dtype, or on another device, with a ValueError."""
    if tensor.dtype != dtype or tensor.device.type != "cpu" or tuple(tensor.shape) != shape:
        raise ValueError(
            f"expected {dtype} of shape {shape} on a CPU, found {tensor.dtype} of shape "
            f"{tuple(tensor.shape)} on {tensor.device}"
        )


def read(tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Give a tensor with its numbers side by side, after `check`."""
    check(tensor, dtype, shape)
    return tensor.contiguous()
