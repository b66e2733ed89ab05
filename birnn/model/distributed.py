"""Several processes that train one model together, as `torchrun` starts them.

Every process sees the same global batches and computes the gradient of its own share of each; the
sum over the processes is the gradient of the whole batch. One process alone needs none of this.

    torchrun --nproc-per-node 2 -m stages.train bidirectional
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a training: `rank` is this one's number, from 0 to `size` - 1."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and talks to MLflow."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the processes."""
        if self.size > 1:
            moved = tensor.to(_device())
            distributed.all_reduce(moved)
            tensor.copy_(moved)

    def share(self, content: bytes) -> bytes:
        """Give every process the bytes that the leading one has."""
        if self.size == 1:
            return content
        length = torch.tensor(len(content) if self.leads else 0, device=_device())
        distributed.broadcast(length, src=0)
        buffer = torch.zeros(int(length), dtype=torch.uint8, device=_device())
        if self.leads and content:
            buffer.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        distributed.broadcast(buffer, src=0)
        return buffer.cpu().numpy().tobytes()


ALONE = Group()


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Join the processes that `torchrun` has started with this one; alone without it.

    Args:
        device: that this process computes on; see `birnn.model.devices.choose`.
    """
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def _device() -> torch.device:
    """Where messages live: NCCL sends what is on the GPU, gloo what is in memory."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
