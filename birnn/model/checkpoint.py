"""What a killed training needs to go on as if nothing had happened, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialized
from torch import Tensor, nn

from birnn.files import atomic
from birnn.model import history
from birnn.model.adam import Adam
from birnn.model.distributed import ALONE, Group
from birnn.model.history import Epoch


@dataclass(slots=True)
class Progress:
    """What training has reached: every epoch so far, and the weights of the best one."""

    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int:
        """The epoch that is kept so far; 0 before there is one."""
        return history.kept(self.history).epoch if self.history else 0


class Kept(Protocol):
    """Where a state is kept."""

    def read(self) -> bytes:
        """Give it; nothing where there is none."""

    def write(self, state: bytes) -> None:
        """Put another one in its place, whole or not at all."""


@dataclass(frozen=True, slots=True)
class File:
    """A state that is kept in a file."""

    path: Path

    def read(self) -> bytes:
        """See `Kept`."""
        return self.path.read_bytes() if self.path.exists() else b""

    def write(self, state: bytes) -> None:
        """See `Kept`."""
        with atomic.replacing(self.path) as partial:
            partial.write_bytes(state)


def save(kept: Kept, model: nn.Module, optimizer: Adam, progress: Progress) -> None:
    """Keep the state after an epoch."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in progress.best.items()}
    tensors |= {f"optimizer/{name}": value for name, value in optimizer.state_dict().items()}
    epochs = json.dumps([asdict(epoch) for epoch in progress.history]).encode()
    tensors["epochs"] = torch.frombuffer(bytearray(epochs), dtype=torch.uint8)
    kept.write(serialized({name: value.cpu().contiguous() for name, value in tensors.items()}))


def load(kept: Kept, model: nn.Module, optimizer: Adam, group: Group = ALONE) -> Progress:
    """Put model and optimizer back into the state that was saved; start anew if there is none.

    One that a crash of the machine has damaged counts as none. Of several processes the leading one
    reads it for all.
    """
    try:
        tensors = parse(group.share(kept.read() if group.leads else b""))
    except SafetensorError:
        return Progress()
    model.load_state_dict(_below(tensors, "model/"))
    optimizer.load_state_dict(_below(tensors, "optimizer/"))
    return Progress(_epochs(tensors), _below(tensors, "best/"))


def epochs(kept: Kept) -> list[Epoch]:
    """Read how far a training is; nothing where there is no state, or a damaged one."""
    try:
        return _epochs(parse(kept.read()))
    except SafetensorError:
        return []


def _epochs(tensors: dict[str, Tensor]) -> list[Epoch]:
    return [Epoch(**row) for row in json.loads(tensors["epochs"].numpy().tobytes())]


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
