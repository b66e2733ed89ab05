"""Several processes that train one model together: `train.workers` in params.yaml.

Every process sees the same global batches and computes the gradient of its own share of each; the
sum over the processes is the gradient of the whole batch. One process alone needs none of this.

    launch(2, ["-m", "stages.train", "bidirectional"])          # on this machine
    torchrun --nnodes 2 ... -m stages.train bidirectional       # on several, started by hand

`birnn.model.ranks` lets a Ray cluster start them.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import torch
from torch import Tensor, distributed

from birnn.errors import ParamsError, Terminated


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

    def first(self, text: str) -> str:
        """Give every process the first text that one has; empty where none has any."""
        if self.size == 1:
            return text
        found: list[str] = [""] * self.size
        distributed.all_gather_object(found, text)
        return next(filter(None, found), "")

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


def started() -> int | None:
    """How many processes `torchrun` has started with this one; None where it has not."""
    size = os.environ.get("WORLD_SIZE")
    return None if size is None else int(size)


def leads() -> bool:
    """Whether this process is the first of those that `torchrun` has started, or alone."""
    return int(os.environ.get("RANK", "0")) == 0


def check(workers: int) -> None:
    """Refuse to train in another number of processes than params.yaml says, which decides bytes.

    Raises:
        ParamsError: `torchrun` has started others.
    """
    found = started()
    if found not in (None, workers):
        raise ParamsError(
            f"train.workers: expected {found}, as many as `torchrun` has started, found {workers}"
        )


def launch(size: int, arguments: Sequence[str]) -> None:
    """Run Python on this machine in several processes that belong together, as `torchrun` does.

    Args:
        size: how many.
        arguments: of each.

    Raises:
        SystemExit: one has failed, and has said why; or a signal has come.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, pa.cpu_count() // size)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="birnn-ranks-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=size,
            run_id="birnn",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)(*arguments)
        except ChildFailedError:
            raise SystemExit(1) from None
        except SignalException as error:
            raise Terminated(128 + error.sigval) from None


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Join the processes that `torchrun` or Ray has started with this one; alone without.

    Args:
        device: that this process computes on; see `birnn.model.devices.choose`.
    """
    if started() is None:
        yield ALONE
        return
    if distributed.is_initialized():  # by Ray, which also ends it
        yield Group(distributed.get_rank(), distributed.get_world_size())
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
