"""The two files that keep a model: its weights, and its description.

save(model, encoding, {"fraud": 0.2}, "models/bidirectional", params={"hidden_size": 32})
model, encoding, thresholds = load("models/bidirectional")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from safetensors.torch import load_file
from safetensors.torch import save as serialized

from birnn.data.encoding import Encoding
from birnn.files import atomic
from birnn.files.paths import DESCRIPTION, WEIGHTS
from birnn.model import description
from birnn.model.networks import SequenceModel

if TYPE_CHECKING:  # who predicts needs no schema
    from birnn.params import Knob, Knobs


def save(
    model: SequenceModel,
    encoding: Encoding,
    thresholds: Mapping[str, float],
    folder: str | Path,
    *,
    params: Mapping[str, Knob] = MappingProxyType({}),
) -> None:
    """Write weights and description; together they are enough to predict with.

    Args:
        model: the network.
        encoding: the one that it was trained with.
        thresholds: from which probability on a class is called; see
            `birnn.model.prediction.decide`.
        folder: where to.
        params: that it was trained with, by their flat names; for people, not for prediction.
    """
    folder = Path(folder)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic.replacing(folder / WEIGHTS) as partial:
        partial.write_bytes(serialized(weights))
    tree = {
        "architecture": asdict(model.architecture),
        "encoding": encoding.to_json(),
        "thresholds": dict(thresholds),
        "params": dict(params),
    }
    atomic.write_json(folder / DESCRIPTION, tree)


def load(folder: str | Path) -> tuple[SequenceModel, Encoding, dict[str, float]]:
    """Read a model back, on the CPU and ready to predict.

    Args:
        folder: with `weights.safetensors` and `model.json`, as `save` or the stage `train` writes
            them.

    Returns:
        The network in evaluation mode; how a table is encoded for it; and from which probability on
        a critical class is called, by the name of the class.

    Raises:
        DataError: a file is missing or broken, or the two do not belong together.

    Example:
        >>> model, encoding, thresholds = load("models/bidirectional")
        >>> encoding.task, encoding.labels
        ('tagging', ['c0', 'c1', 'c2'])
    """
    described, path = description.read(folder), Path(folder) / WEIGHTS
    description.check_header(path, described.architecture)
    weights = load_file(path)
    description.check_finite(weights, path)
    model = SequenceModel(described.architecture)
    model.load_state_dict(weights)
    return model.eval(), described.encoding, described.thresholds


def params_of(folder: str | Path) -> Knobs:
    """Read what a model was trained with; of one of 0.2.0, what its architecture says of that.

    Raises:
        DataError: the description is missing or broken.
    """
    return description.read(folder).params


def encoding_of(folder: str | Path) -> Encoding:
    """Read how the data were prepared that a model has learned from.

    Raises:
        DataError: the description is missing or broken.
    """
    return description.read(folder).encoding
