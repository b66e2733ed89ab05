"""Print the benchmarks, every peer in the same run: `python -m benchmarks`.

On the GPU, where there is one, those of training, and nothing of the CPU: `--device cpu` for that.
`--quick` takes seconds and shows that everything runs; `--json FILE` keeps the raw figures.
"""

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import epochs, lengths, memory, padding, prediction
from benchmarks.timing import matmul_speed
from birnn.kernel import library
from birnn.model import devices


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
    device = devices.choose(arguments.device)
    speed = matmul_speed(device)
    console.print(f"\n{_name(device)}, torch {torch.__version__}")
    console.print(f"float32 product of 2048 x 2048 matrices: {speed / 1e9:,.0f} GFLOP/s\n")
    training = epochs.measure(device, quick=arguments.quick)
    console.print(epochs.table(training, speed))
    calls = lengths.measure(device, quick=arguments.quick)
    console.print(lengths.table(calls))
    results: list[object] = [
        {"device": _name(device), "matmul": speed, "training": training, "calls": calls}
    ]
    if device.type == "cpu":
        by_padding = padding.measure(arguments.threads, quick=arguments.quick)
        console.print(padding.table(by_padding))
        answers = prediction.measure(quick=arguments.quick)
        console.print(prediction.table(answers))
        peaks = memory.measure(quick=arguments.quick)
        console.print(memory.table(peaks))
        more = {"padding": by_padding, "prediction": answers, "memory": peaks}
        results.append({"device": _name(device)} | more)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = f"{devices.processor()}, {library.name()}"
    return f"CPU ({processor}), {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
