"""The course of a training, epoch by epoch: `history.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from birnn import files


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of `history.csv`; losses are mean cross entropies in nats per label.

    The training figures are means over the epoch, taken while the weights change; those of the
    validation split are taken at its end.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    train_accuracy: float
    validation_accuracy: float
    learning_rate: float


def best(history: Iterable[Epoch]) -> Epoch:
    """The kept epoch: the first with the lowest validation loss."""
    return min(history, key=lambda epoch: epoch.validation_loss)


def write(history: Iterable[Epoch], path: str | Path) -> None:
    """Write one row an epoch; floats in full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    files.write_text(path, text.getvalue())


def read(path: str | Path) -> list[Epoch]:
    """Read the epochs back, to the last digit."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [
            Epoch(int(row.pop("epoch")), **{name: float(value) for name, value in row.items()})
            for row in csv.DictReader(file)
        ]
