"""Print the benchmarks, every peer in the same run: `python -m benchmarks`.

    python -m benchmarks --json benchmarks/results/cpu.json    # ten minutes on two quiet cores
    python -m benchmarks --quick                               # seconds: whether everything runs

On the GPU, where there is one, those of training, and nothing of the CPU: `--device cpu` for that.
`--json FILE` keeps the raw figures, and the name of the CPU; `python -m benchmarks.quoted` puts
them into docs/speed.md.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import epochs, lengths, memory, padding, prediction, throughput
from benchmarks.timing import matmul_speed
from birnn.kernel import library
from birnn.model import devices

PACKAGES = ("torch", "onnxruntime", "openvino", "jax", "flax", "keras")
Measured = tuple[str, Callable[[], Any], Callable[[Any], Table]]


def main() -> None:
    """Run the tables on one device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repetition")
    parser.add_argument("--device", default="auto", help="cuda or cpu; by default what is there")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the raw figures")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    device, began = devices.choose(arguments.device), time.monotonic()
    speed = matmul_speed(device)
    found: dict[str, object] = {"device": _name(device), "matmul": speed, "versions": _versions()}
    console.print(f"\n{_name(device)}, torch {torch.__version__}")
    console.print(f"float32 product of 2048 x 2048 matrices: {speed / 1e9:,.0f} GFLOP/s\n")
    for name, measure, table in _tables(device, arguments.threads, speed, arguments.quick):
        found[name] = measure()
        console.print(table(found[name]))
        console.print(f"{time.monotonic() - began:,.0f} seconds so far\n")
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _tables(device: torch.device, threads: int, speed: float, quick: bool) -> Iterator[Measured]:
    """What each table is called, what measures it, and what prints it."""
    training = partial(epochs.table, matmul=speed)
    yield "training", partial(epochs.measure, device, quick=quick), training
    yield "calls", partial(lengths.measure, device, quick=quick), lengths.table
    if device.type == "cpu":
        yield "throughput", partial(throughput.measure, quick=quick), throughput.table
        yield "prediction", partial(prediction.measure, quick=quick), prediction.table
        yield "padding", partial(padding.measure, threads, quick=quick), padding.table
        yield "memory", partial(memory.measure, quick=quick), memory.table


def _versions() -> dict[str, str]:
    """Of the peers that are installed."""
    return {name: version(name) for name in PACKAGES if find_spec(name)}


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = f"{devices.processor()}, {library.name()}"
    return f"CPU ({processor}), {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
