"""A trained model as a file for other programs.

write(saved, "model.onnx")          # for ONNX Runtime and others; see `birnn.model.onnx_graph`
write(saved, "model.pt2")           # for torch; see `birnn.model.torch_program`

Both come with a description, `model.json`, which says how the inputs are made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from birnn.errors import DataError
from birnn.files import digests, named
from birnn.model import onnx_graph
from birnn.model.exported import GRAPH, INPUTS, PROGRAM, description_path, read_by
from birnn.model.saved_model import Saved, described


def write(saved: Saved, path: str | Path, inputs: Sequence[str | Path] = ()) -> None:
    """Write a model in the form that the end of the name asks for, and its description beside it.

    Args:
        saved: the model.
        path: where to, `.onnx` or `.pt2`.
        inputs: what must not be replaced.

    Raises:
        DataError: the name ends in something else, or is that of an input; or a package is not
            there.
    """
    path = Path(path)
    if path.suffix not in (GRAPH, PROGRAM):
        raise DataError(f"{path}: expected a name that ends in {GRAPH} or {PROGRAM}")
    for place in (path, description_path(path)):
        named.check_output(place, inputs)
    content = _content(saved, path.suffix)
    description = {
        **described(saved.architecture, saved.encoding, saved.thresholds),
        "inputs": {name: INPUTS[name] for name in read_by(saved.architecture)},
    }
    with named.output(path, inputs) as partial:
        partial.write_bytes(content)
        description["sha256"] = digests.sha256(partial)
    text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False)
    named.write_text(description_path(path), f"{text}\n")


def _content(saved: Saved, suffix: str) -> bytes:
    if suffix == GRAPH:
        return onnx_graph.model(saved)
    try:
        from birnn.model import torch_program
    except ModuleNotFoundError:
        raise DataError("export: expected torch, found none; `pip install torch`") from None
    return torch_program.program(saved)
