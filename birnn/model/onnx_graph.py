"""A trained model as an ONNX graph, for runtimes without birnn and without torch.

content = model(saved)    # bytes; its inputs and output are those of `birnn.model.exported`

Every operation is one of opset 17. The cells are ONNX's own, whose gates stand in another order
than torch's: https://onnx.ai/onnx/operators/onnx__LSTM.html and its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from birnn.errors import DataError
from birnn.kernel.arrays import Floats
from birnn.model.architecture import Architecture
from birnn.model.exported import shapes
from birnn.model.inference import NAMES, Weights, halves
from birnn.model.saved_model import Saved

OPSET, IR = 17, 8  # of 2022, which runtimes of that year read
ORDERS: Final = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""Which of torch's gates (GRU: r z n; LSTM: i f g o) come first in ONNX (z r h; i o f c)."""


def model(saved: Saved) -> bytes:
    """Make the graph; the same model gives the same bytes.

    Raises:
        DataError: the package onnx is not there.
    """
    onnx = _onnx()
    a, build = saved.architecture, _Graph()
    steps = _steps(build, a, saved.weights)
    output, last = _recurrent(
        build, "rnn", a.cell, a.num_layers, saved.weights, steps, "lengths", a.bidirectional
    )
    read = output if a.task == "tagging" else _summary(build, a, output, last)
    weight = build.constant("linear.weight", saved.weights["linear.weight"].T)
    bias = build.constant("linear.bias", saved.weights["linear.bias"])
    scores = build.add("Add", [build.add("MatMul", [read, weight]), bias])
    build.nodes.append(onnx.helper.make_node("Softmax", [scores], ["probabilities"], axis=-1))
    kinds = {"values": onnx.TensorProto.FLOAT}
    given = [
        onnx.helper.make_tensor_value_info(name, kinds.get(name, onnx.TensorProto.INT64), shape)
        for name, shape in shapes(a).items()
    ]
    shape = ["batch", "steps", a.classes] if a.task == "tagging" else ["batch", a.classes]
    found = onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, shape)
    graph = onnx.helper.make_graph(build.nodes, a.task, given, [found], build.constants)
    made = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="birnn",
    )
    onnx.checker.check_model(made, full_check=True)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _onnx() -> Any:
    try:
        import onnx
    except ModuleNotFoundError:
        raise DataError(
            "export: expected the package onnx, found none; `pip install 'birnn[onnx]'`"
        ) from None
    return onnx


class _Graph:
    """Nodes and constants as they are added, each result under a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one result, and give the name of that."""
        return self.several(kind, inputs, 1, **attributes)[0]

    def several(self, kind: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Add a node with some results, and give their names."""
        names = [f"{kind}_{len(self.nodes)}_{number}" for number in range(count)]
        self.nodes.append(_onnx().helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """Add a constant, and give its name."""
        made = _onnx().numpy_helper.from_array(np.ascontiguousarray(array), name)
        if all(known.name != name for known in self.constants):
            self.constants.append(made)
        return name

    def numbers(self, *values: int) -> str:
        """Add a constant of some whole numbers."""
        return self.constant("_".join(["int", *map(str, values)]), np.array(values, np.int64))


def _steps(build: _Graph, a: Architecture, weights: Weights) -> str:
    """What the recurrent layers read, (batch, steps, width)."""
    parts = ["values"] if a.features else []
    if a.tokens:
        table = build.constant("embedding.weight", weights["embedding.weight"])
        parts.append(build.add("Gather", [table, "tokens"]))
    if a.characters:
        name = "letters.embedding.weight"
        rows = build.add("Gather", [build.constant(name, weights[name]), "letters"])
        _, last = _recurrent(build, "letters.rnn", "GRU", 1, weights, rows, "letter_lengths", True)
        parts.append(build.add("Gather", [last, "places"]))
    return parts[0] if len(parts) == 1 else build.add("Concat", parts, axis=2)


def _recurrent(
    build: _Graph,
    prefix: str,
    cell: str,
    count: int,
    weights: Weights,
    steps: str,
    lengths: str,
    bidirectional: bool,
) -> tuple[str, str]:
    """Layers on (batch, steps, width): (batch, steps, states), and the last states of the top one.

    ONNX's cells read and give time first: (steps, batch, width) to (steps, directions, batch,
    hidden) and (directions, batch, hidden).
    """
    sizes = build.add("Cast", [lengths], to=_onnx().TensorProto.INT32)
    last = ""
    for number in range(count):
        given = [_stacked(prefix, cell, number, weights, half) for half in halves(bidirectional)]
        hidden = weights[f"{prefix}.weight_hh_l{number}"].shape[1]
        names = [
            build.constant(f"{prefix}.{kind}_l{number}", np.stack([one[place] for one in given]))
            for place, kind in enumerate("WRB")
        ]
        attributes = {"linear_before_reset": 1} if cell == "GRU" else {}
        by_time = build.add("Transpose", [steps], perm=[1, 0, 2])
        output, last = build.several(
            cell,
            [by_time, *names, sizes],
            2,
            hidden_size=hidden,
            direction="bidirectional" if bidirectional else "forward",
            **attributes,
        )
        side_by_side = build.add("Transpose", [output], perm=[2, 0, 1, 3])
        width = hidden * (1 + bidirectional)
        steps = build.add("Reshape", [side_by_side, build.numbers(0, 0, width)])
    by_sequence = build.add("Transpose", [last], perm=[1, 0, 2])
    return steps, build.add("Reshape", [by_sequence, build.numbers(0, width)])


def _stacked(
    prefix: str, cell: str, number: int, weights: Weights, half: str
) -> tuple[Floats, Floats, Floats]:
    """W, R and B of a direction, whose gates are in ONNX's order."""
    found = [_reordered(cell, weights[f"{prefix}.{name}_l{number}{half}"]) for name in NAMES]
    return found[0], found[1], np.concatenate(found[2:])


def _reordered(cell: str, weight: Floats) -> Floats:
    gates = np.split(weight, len(ORDERS[cell]))
    return np.concatenate([gates[place] for place in ORDERS[cell]])


def _summary(build: _Graph, a: Architecture, output: str, last: str) -> str:
    """What the linear layer reads of a sequence, (batch, width)."""
    if a.head == "last":
        return last
    zero, one = (build.constant(f"scalar_{n}", np.array(n, np.int64)) for n in (0, 1))
    steps = build.add("Gather", [build.add("Shape", [output]), one])
    places = build.add("Range", [zero, steps, one])
    ends = build.add("Unsqueeze", ["lengths", build.numbers(1)])
    real = build.add("Unsqueeze", [build.add("Less", [places, ends]), build.numbers(2)])
    parts = {"last": last}
    if a.head in ("mean", "all"):
        nothing = build.constant("nothing", np.array(0, np.float32))
        kept = build.add("Where", [real, output, nothing])
        total = build.add("ReduceSum", [kept, build.numbers(1)], keepdims=0)
        count = build.add("Cast", [ends], to=_onnx().TensorProto.FLOAT)
        parts["mean"] = build.add("Div", [total, count])
    if a.head in ("max", "all"):
        least = build.constant("least", np.array(-math.inf, np.float32))
        kept = build.add("Where", [real, output, least])
        parts["max"] = build.add("ReduceMax", [kept], axes=[1], keepdims=0)
    if a.head != "all":
        return parts[a.head]
    return build.add("Concat", [parts["last"], parts["mean"], parts["max"]], axis=1)
