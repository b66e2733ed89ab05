"""What a million steps cost in each stage: seconds of one core, bytes on the disk, most memory.

    python -m benchmarks.scale 50000 200000
    python -m benchmarks.scale --part-steps 1000000 10000 100000 1000000

Every stage runs on sets of so many sequences, in one file each, or in parts. Seconds are those of
the processor, which other work on the machine changes little. What a set costs more than the one
before it, divided by the steps that it has more, is the cost of more data, without what a process
needs to start. `docs/scale.md` shows the result.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from birnn.files import atomic

ROOT = Path(__file__).parents[1]
MODEL = "bidirectional"
STAGES = {
    "generate": ("data/raw",),
    "prepare": ("data/prepared",),
    "train": (f"models/{MODEL}",),
    "evaluate": (f"evaluation/{MODEL}",),
    "report": ("report",),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a stage: seconds of a core, bytes of its files, and its largest memory in bytes."""

    seconds: float
    size: int
    memory: int


def params(sequences: int, part_steps: int | None) -> dict[str, object]:
    """LSTM 32 in both directions on numeric sequences of 3 to 250 steps, for an epoch."""
    path = ROOT / "examples/variable-length.yaml"
    tree: dict[str, dict[str, object]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["data"] |= {"sequences": sequences}
    tree["train"] |= {"max_epochs": 1, "device": "cpu"}
    models = {MODEL: {"bidirectional": True}}
    return {**tree, "models": models, "run": {"part_steps": part_steps}}


def measured(folder: Path, sequences: int, part_steps: int | None) -> tuple[int, dict[str, Cost]]:
    """Run all stages in a folder; how many steps there were, and what each stage has cost."""
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(params(sequences, part_steps)), "utf-8")
    costs = {stage: _cost(folder, stage) for stage in STAGES}
    return int(atomic.read_json(folder / "data/raw/summary.json")["steps"]), costs


def _cost(folder: Path, stage: str) -> Cost:
    arguments = [MODEL] if stage in ("train", "evaluate") else []
    script = (
        "import resource, runpy, sys; sys.path.insert(0, sys.argv.pop(1));"
        f"runpy.run_module('stages.{stage}', run_name='__main__', alter_sys=True);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", script, str(ROOT), *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    files = (path for place in STAGES[stage] for path in (folder / place).rglob("*"))
    size = sum(path.stat().st_size for path in files if path.is_file())
    return Cost(seconds, size, int(done.stdout.split()[-1]) * 1024)


def rows(sizes: list[int], part_steps: int | None, place: Path) -> Iterator[str]:
    """A table: what each stage costs, and how much more a million steps more."""
    names = f"{'sequences':>10} {'steps':>10} {'stage':10} {'s':>8} {'MB':>8} {'memory, MB':>11}"
    yield f"{names}, and of a million steps more"
    before, last = 0, dict.fromkeys(STAGES, Cost(0, 0, 0))
    for sequences in sizes:
        steps, costs = measured(place / str(sequences), sequences, part_steps)
        for stage, cost in costs.items():
            more, millions = last[stage], (steps - before) / 1e6
            yield (
                f"{sequences:10} {steps:10} {stage:10} {cost.seconds:8.1f} {cost.size / 1e6:8.1f}"
                f" {cost.memory / 1e6:11.0f} {(cost.seconds - more.seconds) / millions:8.2f} s"
                f" {(cost.size - more.size) / millions / 1e6:8.1f} MB"
                f" {(cost.memory - more.memory) / millions / 1e6:8.1f} MB of memory"
            )
        before, last = steps, costs


def tabulate(rows: Callable[[list[int], int | None, Path], Iterator[str]]) -> None:
    """Take sizes from the command line, measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sequences", type=int, nargs="+")
    parser.add_argument("--part-steps", type=int)
    asked = parser.parse_args()
    with TemporaryDirectory() as place:
        for row in rows(asked.sequences, asked.part_steps, Path(place)):
            print(row, flush=True)


if __name__ == "__main__":
    tabulate(rows)
