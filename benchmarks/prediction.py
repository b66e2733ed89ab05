"""Prediction on a CPU: a bidirectional layer on a batch, beside what people deploy.

64 sequences, 32 features; `mixed` lengths from 3 to 250 steps, `equal` ones of 200. ONNX Runtime
gets `sequence_lens`; OpenVINO reads the same file (`pip install onnx onnxruntime openvino`). Who
does not give the same output is not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypedDict

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from benchmarks.peers import packed
from benchmarks.timing import in_turn
from birnn.kernel import library
from birnn.kernel.calls import GATES
from birnn.model.architecture import Cell
from birnn.model.recurrent import VariableLengthRNN

BATCH, FEATURES = 64, 32
PEERS = ["packed", "torch", "onnxruntime", "openvino", "birnn"]
RATIOS = ["packed", "torch", "onnxruntime", "openvino"]
ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}  # of torch's gates, in ONNX
CLOSE = 1e-5


class Row(TypedDict):
    """One line of the table; seconds of a call by peer."""

    cell: Cell
    hidden: int
    lengths: str
    seconds: dict[str, float]


def measure(*, quick: bool) -> list[Row]:
    """Time a call of every peer, for every cell, size and kind of lengths."""
    cells: list[Cell] = ["LSTM", "GRU", "RNN"]
    return [
        _measure(cell, hidden, lengths, quick=quick)
        for cell in cells
        for hidden in ([10] if quick else [10, 32, 128, 256])
        for lengths in ("mixed", "equal")
    ]


def table(rows: list[Row]) -> Table:
    """Milliseconds, and how many times faster than each peer."""
    result = Table(title=f"One prediction of {BATCH} sequences, milliseconds")
    result.caption = "- is not installed, or gives another output"
    for heading in ["cell, hidden", "lengths", *PEERS, *(f"{name} / birnn" for name in RATIOS)]:
        result.add_column(heading, justify="right")
    for row in rows:
        seconds = row["seconds"]
        ratios = [seconds.get(name, 0) / seconds["birnn"] for name in RATIOS]
        result.add_row(
            f"{row['cell']} {row['hidden']}",
            row["lengths"],
            *(f"{1e3 * seconds[name]:,.1f}" if name in seconds else "-" for name in PEERS),
            *(f"{ratio:.2f}" if ratio else "-" for ratio in ratios),
        )
    return result


def _measure(cell: Cell, hidden: int, kind: str, *, quick: bool) -> Row:
    torch.manual_seed(0)
    lengths = torch.full((BATCH,), 200) if kind == "equal" else torch.randint(3, 251, (BATCH,))
    lengths[0] = lengths[0] if kind == "equal" else 250
    values = torch.randn(BATCH, int(lengths.max()), FEATURES)
    ours = VariableLengthRNN(FEATURES, hidden, cell).eval()
    theirs = getattr(torch.nn, cell)(FEATURES, hidden, batch_first=True, bidirectional=True)
    theirs.load_state_dict(ours.state_dict())

    def with_torch() -> Tensor:
        with library.off():
            output: Tensor = ours(values, lengths)[0]
            return output

    peers: dict[str, Callable[[], Any]] = {
        "packed": lambda: packed(theirs, values, lengths),
        "torch": with_torch,
        "birnn": lambda: ours(values, lengths)[0],
        **_deployed(cell, ours, values, lengths),
    }
    with torch.inference_mode():
        expected = peers["packed"]()
        right = {
            name: call for name, call in peers.items() if _gap(call(), expected, lengths) < CLOSE
        }
        assert {"packed", "torch", "birnn"} <= right.keys()
        seconds = in_turn(right, 1 if quick else 7, torch.device("cpu"))
    return Row(cell=cell, hidden=hidden, lengths=kind, seconds=seconds)


def _gap(found: Any, expected: Tensor, lengths: Tensor) -> float:
    """The largest difference at a real step."""
    if not isinstance(found, Tensor):  # (T, directions, B, H)
        found = torch.from_numpy(found).permute(2, 0, 1, 3).flatten(2)
    real = torch.arange(expected.shape[1]) < lengths[:, None]
    return float((found - expected)[real].abs().max())


def _deployed(
    cell: str, layer: VariableLengthRNN, values: Tensor, lengths: Tensor
) -> dict[str, Callable[[], Any]]:
    """ONNX Runtime and OpenVINO, of those that are installed, in as many threads as torch."""
    if not (find_spec("onnx") and find_spec("onnxruntime")):
        return {}
    model = _onnx(cell, layer)
    given = {
        "values": values.transpose(0, 1).contiguous().numpy(),
        "lengths": lengths.int().numpy(),
    }
    peers = {"onnxruntime": _onnxruntime(model, given)}
    if find_spec("openvino"):
        peers["openvino"] = _openvino(model, given)
    return peers


def _onnxruntime(model: bytes, given: dict[str, Any]) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, given)[0]


def _openvino(model: bytes, given: dict[str, Any]) -> Callable[[], Any]:
    import openvino

    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    hints["INFERENCE_PRECISION_HINT"] = "f32"
    request = core.compile_model(core.read_model(model), "CPU", hints).create_infer_request()
    return lambda: request.infer(given)[0]


def _onnx(cell: str, layer: VariableLengthRNN) -> bytes:
    """The layer as one node of ONNX, with the lengths as an input."""
    import onnx
    from onnx import TensorProto, helper

    state = {name: weight.detach().numpy() for name, weight in layer.state_dict().items()}

    def ordered(name: str) -> Any:
        parts = np.split(state[name], GATES[cell])
        return np.concatenate([parts[place] for place in ORDERS[cell]])

    suffixes = ("_l0", "_l0_reverse")
    biases = [[ordered(f"bias_{of}{one}") for of in ("ih", "hh")] for one in suffixes]
    weights = {
        "w": np.stack([ordered(f"weight_ih{one}") for one in suffixes]),
        "r": np.stack([ordered(f"weight_hh{one}") for one in suffixes]),
        "b": np.stack([np.concatenate(pair) for pair in biases]),
    }
    names = ["values", "w", "r", "b", "lengths"]
    options: dict[str, Any] = {"direction": "bidirectional", "hidden_size": layer.hidden_size}
    if cell == "GRU":
        options["linear_before_reset"] = 1
    node = helper.make_node(cell, names, ["output"], **options)
    inputs = [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, ["T", "B", FEATURES]),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"]),
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)]
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "layer", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return bytes(model.SerializeToString())
