"""The course of a training, epoch by epoch: `history.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

from birnn.files import atomic

Keep = Literal["loss", "accuracy", "last"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of `history.csv`; losses are mean cross entropies in nats per label.

    The training figures are means over the epoch, taken while the weights change; those of the
    validation split are taken at its end. `kept` marks the epoch whose weights are the model.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    train_accuracy: float
    validation_accuracy: float
    learning_rate: float
    kept: bool = False


def marked(history: Sequence[Epoch], by: Keep = "loss") -> list[Epoch]:
    """Mark the epoch to keep: the first with the lowest validation loss or highest accuracy, or the
    last one.
    """
    faults: dict[Keep, Callable[[Epoch], float]] = {
        "loss": lambda epoch: epoch.validation_loss,
        "accuracy": lambda epoch: -epoch.validation_accuracy,
        "last": lambda epoch: -epoch.epoch,
    }
    best = min(history, key=faults[by]).epoch
    return [replace(epoch, kept=epoch.epoch == best) for epoch in history]


def kept(history: Iterable[Epoch]) -> Epoch:
    """The epoch that is marked."""
    return next(epoch for epoch in history if epoch.kept)


def sentence(epochs: Sequence[Epoch]) -> str:
    """Say which epoch was kept, and how good it is."""
    best = kept(epochs)
    return (
        f"kept epoch {best.epoch} of {len(epochs)}, "
        f"validation loss {best.validation_loss:.4f}, accuracy {best.validation_accuracy:.4f}"
    )


def write(history: Iterable[Epoch], path: str | Path) -> None:
    """Write one row an epoch; floats in full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(epoch), "kept": int(epoch.kept)} for epoch in history)
    atomic.write_text(path, text.getvalue())


def read(path: str | Path) -> list[Epoch]:
    """Read the epochs back, to the last digit."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [Epoch(epoch=int(row.pop("epoch")), kept=bool(row.pop("kept")), **row) for row in rows]
