"""Copies from memory to a GPU for which the host does not wait."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device; where it is there already, it is the same tensor.

    Only from pinned memory can CUDA fetch it while the host goes on: a copy from other memory waits
    for all that the GPU still has to do. On MPS the host does wait: there, torch reads the source
    later, when it may be gone (pytorch/pytorch#189690, open in torch 2.13).
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def sent_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy some tensors to a device in one go, the one with the widest elements first."""
    if all(tensor.device == device for tensor in tensors):
        return list(tensors)
    parts = [tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors]
    there = sent(torch.cat(parts), device).split_with_sizes([len(part) for part in parts])
    return [
        part.view(tensor.dtype).view(tensor.shape)
        for part, tensor in zip(there, tensors, strict=True)
    ]
