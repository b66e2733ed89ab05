"""Whether a GPU computes what it should, and how fast: five minutes, each row kept as it ends.

    python -m benchmarks.gpu --json gpu.json           # make gpu-check
    python -m benchmarks.gpu --device cpu --quick      # the same code on a CPU, in seconds

What must be right comes first. It needs torch (2.11 or later), numpy, pyarrow, rich, safetensors
and scikit-learn, and neither pytest nor MLflow nor pydantic: a machine that is lent for its GPU may
have none of them. The pipeline runs at the end, where DVC and MLflow are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import epochs, gpu_checks
from benchmarks.gpu_checks import Figures, WrongError
from birnn.errors import BirnnError
from birnn.model import devices

ROOT = Path(__file__).parents[1]
SIZES = [(batch, hidden) for hidden in (32, 128, 512) for batch in (64, 256)]
SLOWEST = {"packed": 1.0, "dense": 0.7}
"""How many times as fast as these birnn must be at least; dense is wrong, and computes no order."""

PEERS = (*SLOWEST, "birnn")

Row = tuple[str, Callable[[], Figures]]


def main() -> None:
    """Run the rows, print each, and keep all in a file; exit with 1 if one is wrong."""
    arguments = _arguments()
    device = devices.choose(arguments.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    if arguments.fingerprint:
        print(gpu_checks.fingerprint(device, stopped=arguments.fingerprint == "stopped"))
        return
    if arguments.bad_length is not None:
        gpu_checks.take_bad_length(device, arguments.bad_length)
        return
    console, began, rows = Console(width=120), time.monotonic(), list[dict[str, Any]]()
    for name, call in _rows(device, quick=arguments.quick):
        late = time.monotonic() - began > arguments.seconds
        rows.append({"name": name, "left out": "no time"} if late else _done(name, call))
        console.print_json(json.dumps(rows[-1]))
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    wrong = [row["name"] for row in rows if "wrong" in row]
    console.print(f"{len(rows)} rows, {len(wrong)} wrong" + "".join(f"; {one}" for one in wrong))
    sys.exit(1 if wrong else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="auto", help="cuda or cpu; by default what is there")
    parser.add_argument("--quick", action="store_true", help="few cases, small sizes, no speeds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where rows are kept")
    parser.add_argument("--seconds", type=float, default=300, help="after which no row begins")
    parser.add_argument("--fingerprint", choices=["whole", "stopped"], help=argparse.SUPPRESS)
    parser.add_argument("--bad-length", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _rows(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """In the order in which a machine that is lent for minutes should do them."""
    yield "machine", lambda: _machine(device)
    for name, check in gpu_checks.CHECKS.items():

        def call(check: Callable[..., Figures] = check) -> Figures:
            with gpu_checks.as_on_gpu(device), gpu_checks.without_warnings():
                return check(device, quick)

        yield name, call
    if quick:
        return
    for cell in epochs.CELLS:
        for batch, hidden in SIZES:
            yield f"speed, {cell}", _speed(cell, (batch, hidden), device, tf32=False)
    yield "speed in TF32, LSTM", _speed("LSTM", (64, 512), device, tf32=True)
    yield "pipeline", _pipeline


def _done(name: str, call: Callable[[], Figures]) -> dict[str, Any]:
    """A row: what was found, or what was wrong; one row's failure does not end the others."""
    began = time.monotonic()
    try:
        found = call()
    except (WrongError, BirnnError, RuntimeError, Warning) as error:
        found = {"wrong": f"{type(error).__name__}: {error}"[:1000]}
    return {"name": name, "seconds": round(time.monotonic() - began, 2)} | found


def _machine(device: torch.device) -> Figures:
    return {
        "device": devices.name(device),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "cuda": torch.version.cuda,
    }


def _speed(
    cell: Any, size: tuple[int, int], device: torch.device, *, tf32: bool
) -> Callable[[], Figures]:
    """Real steps a second of an epoch, of birnn and of its peers, all in one precision."""

    def measured() -> Figures:
        devices.use_tf32(device, wanted=tf32 and device.type == "cuda")
        split = epochs.draw(2000)
        row = epochs.measure_one(split, cell, size, device, repetitions=3, names=PEERS)
        devices.use_tf32(device, wanted=False)
        speeds, ours = row["speeds"], row["speeds"]["birnn"]
        figures: Figures = {"batch": size[0], "hidden": size[1], "speeds": speeds}
        slow = [
            f"{ours / speeds[name]:.2f} times {name}"
            for name, least in SLOWEST.items()
            if ours < least * speeds[name]
        ]
        return figures | ({"wrong": f"too slow: {', '.join(slow)}"} if slow else {})

    return measured


def _pipeline() -> Figures:
    """The whole of it in a clone; its result is near enough to the committed one."""
    lacking = [name for name in ("dvc", "mlflow", "pydantic") if find_spec(name) is None]
    if lacking:
        return {"left out": f"expected {', '.join(lacking)} to be installed"}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        environment = {**os.environ, "PYTHONPATH": str(clone), "MLFLOW_TRACKING_URI": ""}
        for command in (
            ["git", "clone", "--quiet", str(ROOT), str(clone)],
            [sys.executable, "-m", "dvc", "repro", "--force"],
            [sys.executable, "-c", "from birnn.cli import main; main()", "verify"],
        ):
            where = clone if clone.exists() else ROOT
            finished = subprocess.run(
                command, cwd=where, env=environment, capture_output=True, text=True, check=False
            )
            if finished.returncode != 0:
                said = (finished.stdout + finished.stderr).strip()[-500:]
                raise WrongError(f"{' '.join(command)}: {said}")
    return {"verify": finished.stdout.strip().splitlines()[:1]}


if __name__ == "__main__":
    main()
