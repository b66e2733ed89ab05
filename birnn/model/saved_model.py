"""The two files that keep a model: its weights, and its description.

save(model, encoding, {"fraud": 0.2}, "models/bidirectional", params={"hidden_size": 32})
saved = read("models/bidirectional")                         # arrays; loads no torch
predictor = predicting(saved)                                # what computes probabilities
model, encoding, thresholds = load("models/bidirectional")   # a module of torch
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from safetensors.numpy import load_file

from birnn.data.encoding import Encoding
from birnn.errors import DataError, DeviceError
from birnn.files import atomic
from birnn.files.paths import DESCRIPTION, WEIGHTS
from birnn.kernel import library
from birnn.model import description
from birnn.model.architecture import Architecture
from birnn.model.inference import Network, Weights

if TYPE_CHECKING:  # who predicts needs no schema, and no torch
    from birnn.model.networks import SequenceModel
    from birnn.model.prediction import Predicts
    from birnn.params import Knob, Knobs


@dataclass(frozen=True, slots=True)
class Saved:
    """A trained model as its files say it.

    Attributes:
        architecture: its shapes.
        weights: float32, under the names of `torch.nn`.
        encoding: how a table is encoded for it.
        thresholds: from which probability on a critical class is called, by the class's name.
    """

    architecture: Architecture
    weights: Weights
    encoding: Encoding
    thresholds: dict[str, float]


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
    from safetensors.torch import save as serialized  # which imports torch

    folder = Path(folder)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic.replacing(folder / WEIGHTS) as partial:
        partial.write_bytes(serialized(weights))
    tree = {**described(model.architecture, encoding, thresholds), "params": dict(params)}
    atomic.write_json(folder / DESCRIPTION, tree)


def described(
    architecture: Architecture, encoding: Encoding, thresholds: Mapping[str, float]
) -> dict[str, object]:
    """Give the tree of all that prediction needs beside the weights."""
    return {
        "architecture": asdict(architecture),
        "encoding": encoding.to_json(),
        "thresholds": dict(thresholds),
    }


def read(folder: str | Path) -> Saved:
    """Read a model back.

    Args:
        folder: with `weights.safetensors` and `model.json`, as `save` or the stage `train` writes
            them.

    Raises:
        DataError: a file is missing or broken, or the two do not belong together.
    """
    found, path = description.read(folder), Path(folder) / WEIGHTS
    description.check_header(path, found.architecture)
    weights = load_file(path)
    description.check_finite(weights, path)
    return Saved(found.architecture, weights, found.encoding, found.thresholds)


def predicting(saved: Saved, device: str = "cpu") -> Predicts:
    """Make what computes a model's probabilities.

    Args:
        saved: the model.
        device: `cpu`, `auto`, `cuda` or `mps`; see `birnn.model.devices.choose`.

    Returns:
        On a CPU the kernel, which loads no torch; elsewhere, and where there is no kernel, torch.

    Raises:
        DeviceError: the device is not there; or there is neither a kernel nor torch.
    """
    on_cpu = device == "cpu" or (device == "auto" and not has_gpu())
    if on_cpu and library.wanted():
        return Network(saved.architecture, saved.weights)
    try:
        from birnn.model import devices
    except ModuleNotFoundError:
        raise DeviceError(
            f"{device}: expected torch, or a kernel for the CPU, found neither "
            f"({library.why_none() or 'torch is not installed'}); `pip install torch`"
        ) from None
    return network(saved).to(devices.choose(device))


def has_gpu() -> bool:
    """Whether there may be a GPU that torch computes on; found out without importing it."""
    there = sys.platform != "linux" or any(Path(place).exists() for place in GPU_DEVICES)
    return there and find_spec("torch") is not None


GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA's driver, of AMD's, and of Windows' for Linux."""


def network(saved: Saved | Predicts) -> SequenceModel:
    """Make a model's module of torch, in evaluation mode; a module of torch is given as it is.

    Raises:
        DataError: it is an ONNX graph, of whose layers nothing is known.
    """
    import torch

    from birnn.model.networks import SequenceModel

    if isinstance(saved, SequenceModel):
        return saved
    if not isinstance(saved, (Saved, Network)):
        raise DataError("expected a model's folder or address, found a graph; a trace needs layers")
    made = SequenceModel(saved.architecture)
    made.load_state_dict({name: torch.tensor(array) for name, array in saved.weights.items()})
    return made.eval()


def load(folder: str | Path) -> tuple[SequenceModel, Encoding, dict[str, float]]:
    """Read a model back as a module of torch; see `read` and `network`.

    Returns:
        The network in evaluation mode; how a table is encoded for it; and from which probability on
        a critical class is called, by the name of the class.

    Raises:
        DataError: see `read`.
    """
    saved = read(folder)
    return network(saved), saved.encoding, saved.thresholds


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
