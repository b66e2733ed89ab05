"""A model that `birnn export` has written, run by ONNX Runtime: neither torch nor the kernel.

saved = read("model.onnx")       # and model.json beside it
shares = saved.network.probabilities(batch)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birnn.data.encoding import Encoding
from birnn.errors import DataError
from birnn.files import atomic, digests
from birnn.kernel.arrays import Floats
from birnn.model import description, exported
from birnn.model.architecture import Architecture
from birnn.model.exported import description_path
from birnn.model.padded import Padded


class OnnxNetwork:
    """A graph that predicts.

    Args:
        architecture: of the model that it was made from.
        session: of ONNX Runtime.
    """

    def __init__(self, architecture: Architecture, session: Any) -> None:
        self.architecture, self._session = architecture, session

    def probabilities(self, batch: Padded) -> Floats:
        """Compute the probability of each class; see `birnn.model.inference.Network`."""
        given = exported.inputs(self.architecture, batch)
        (shares,) = self._session.run(["probabilities"], given)
        found: Floats = shares[batch.real] if self.architecture.task == "tagging" else shares
        return found


@dataclass(frozen=True, slots=True)
class Exported:
    """What `birnn export` has written.

    Attributes:
        network: computes.
        encoding: how a table is encoded for it.
        thresholds: from which probability on a critical class is called, by the class's name.
    """

    network: OnnxNetwork
    encoding: Encoding
    thresholds: dict[str, float]


def read(path: str | Path) -> Exported:
    """Read a graph and its description.

    Raises:
        DataError: a file is missing or broken, the two do not belong together, or the package
            onnxruntime is not there.
    """
    path = Path(path)
    beside = description_path(path)
    for one in (path, beside):
        if not one.is_file():
            raise DataError(f"{one}: no such file; `birnn export MODEL {path.name}` writes it")
    tree = atomic.read_json(beside)
    found = description.of_tree(tree, str(beside))
    if digests.sha256(path) != tree.get("sha256"):
        raise DataError(f"{beside}: expected the description of {path}, found that of another file")
    graph = OnnxNetwork(found.architecture, _session(path))
    return Exported(graph, found.encoding, found.thresholds)


TELEMETRY_OFF = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
"""What ONNX Runtime obeys: else it reports to its maker, from the moment at which it is imported.

Versions differ in the name.
"""


def _session(path: Path) -> Any:
    for name in TELEMETRY_OFF:
        os.environ.setdefault(name, "1")
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as refusals
    except ModuleNotFoundError:
        raise DataError(
            f"{path}: expected the package onnxruntime, found none; `pip install 'birnn[onnx]'`"
        ) from None
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False  # it would keep what the longest batch took
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except (refusals.Fail, refusals.InvalidGraph, refusals.InvalidProtobuf) as error:
        found = " ".join(str(error).split())
        raise DataError(f"{path}: expected an ONNX graph, found: {found}") from None
