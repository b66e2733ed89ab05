"""The tagger and the classifier, and the two files that keep one: weights and description.

model = SequenceModel(architecture)
logits = model(batch.values, batch.lengths)    # (batch, steps, classes) or (batch, classes)
save(model, encoding, {"fraud": 0.2}, "models/bidirectional")
model, encoding, thresholds = load("models/bidirectional")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from birnn import files
from birnn.encoding import Encoding
from birnn.errors import DataError
from birnn.recurrent import VariableLengthRNN

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything that fixes the shapes of a model.

    Attributes:
        task: `tagging` (a label for every step) or `classification` (one for the sequence).
        cell: `RNN`, `GRU` or `LSTM`.
        inputs: number of features, or of token indices (the unknown token's among them).
        embedding_size: width of a token's embedding; 0 where steps are feature vectors.
        hidden_size: hidden units of one direction.
        num_layers: recurrent layers.
        dropout: share of units zeroed between layers and before the linear layer, in training.
        bidirectional: whether a second direction reads each sequence from its end.
        classes: number of classes.
    """

    task: str
    cell: Literal["RNN", "GRU", "LSTM"]
    inputs: int
    embedding_size: int
    hidden_size: int
    num_layers: int
    dropout: float
    bidirectional: bool
    classes: int


class SequenceModel(nn.Module):
    """A recurrent network with a linear layer on every step, or on the last states."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.embedding = nn.Embedding(a.inputs, a.embedding_size) if a.embedding_size else None
        self.rnn = VariableLengthRNN(
            a.embedding_size or a.inputs,
            a.hidden_size,
            cell=a.cell,
            num_layers=a.num_layers,
            dropout=a.dropout,
            bidirectional=a.bidirectional,
        )
        self.dropout = nn.Dropout(a.dropout)
        self.linear = nn.Linear(a.hidden_size * (1 + a.bidirectional), a.classes)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Compute logits.

        Args:
            values: (batch, steps, features) float32, or (batch, steps) int64 tokens.
            lengths: (batch,) int64; what lies past them changes nothing.

        Returns:
            (batch, steps, classes) for tagging, (batch, classes) for classification.
        """
        steps = values if self.embedding is None else self.embedding(values)
        output, last = self.rnn(steps, lengths)
        if self.architecture.task == "classification":
            directions = 1 + self.architecture.bidirectional
            output = torch.cat(list(last[-directions:]), dim=1)
        logits: Tensor = self.linear(self.dropout(output))
        return logits


def save(
    model: SequenceModel, encoding: Encoding, thresholds: Mapping[str, float], folder: str | Path
) -> None:
    """Write weights and description; together they are enough to predict with.

    Args:
        model: the network.
        encoding: the one that it was trained with.
        thresholds: from which probability on a class is called; see `birnn.prediction.decide`.
        folder: where to.
    """
    folder = Path(folder)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with files.replacing(folder / WEIGHTS) as partial:
        save_file(weights, partial)
    description = {
        "architecture": asdict(model.architecture),
        "encoding": encoding.to_json(),
        "thresholds": dict(thresholds),
    }
    files.write_json(folder / DESCRIPTION, description)


def load(folder: str | Path) -> tuple[SequenceModel, Encoding, dict[str, float]]:
    """Read a model back, on the CPU and ready to predict.

    Raises:
        DataError: a file is missing or broken, or the two do not belong together.
    """
    folder = Path(folder)
    description = files.read_json(folder / DESCRIPTION)
    try:
        model = SequenceModel(Architecture(**description["architecture"]))
        model.load_state_dict(load_file(folder / WEIGHTS))
        encoding = Encoding(**description["encoding"])
        return model.eval(), encoding, _thresholds(description, encoding)
    except FileNotFoundError:
        raise DataError(f"{folder / WEIGHTS}: no such file; run `dvc repro` first") from None
    except (
        AttributeError,
        KeyError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        message = " ".join(str(error).split())
        raise DataError(
            f"{folder}: expected a model that `train` has saved, found: {message}"
        ) from None


def _thresholds(description: Mapping[str, Any], encoding: Encoding) -> dict[str, float]:
    thresholds = {label: float(value) for label, value in description["thresholds"].items()}
    if unknown := thresholds.keys() - set(encoding.labels):
        raise ValueError(f"a threshold for {min(unknown)!r}, which is none of the classes")
    return thresholds
