"""A small model with random weights, as several tests want it."""

from typing import Any

import torch

from birnn.data.encoding import Encoding
from birnn.model.architecture import Architecture
from birnn.model.networks import SequenceModel


def network(task: str = "tagging", **changes: Any) -> SequenceModel:
    """It reads four features and knows three classes."""
    torch.manual_seed(0)
    knobs: dict[str, Any] = {
        "cell": "GRU",
        "features": 4,
        "embedding_size": 0,
        "hidden_size": 5,
        "num_layers": 1,
        "dropout": 0.0,
        "bidirectional": True,
        "classes": 3,
    }
    return SequenceModel(Architecture(task, **(knobs | changes))).eval()


def encoding_for(shape: Architecture) -> Encoding:
    """One with which such a model can have been trained."""
    columns = [f"x{number}" for number in range(shape.features)]
    return Encoding(
        shape.task,
        [chr(ord("a") + number) for number in range(shape.classes)],
        columns,
        mean=[1.0] * len(columns),
        scale=[0.5] * len(columns),
        vocabulary=[*"vwxyz"] if shape.tokens else None,
        characters=shape.characters,
    )
