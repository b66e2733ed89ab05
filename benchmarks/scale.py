"""What a million steps cost in each stage: seconds of one core, bytes on the disk, most memory.

    python -m benchmarks.scale [SEQUENCES [PART_STEPS]]

With `PART_STEPS` the data are in parts of so many steps, else in one file each. Every stage runs on
two sets, of which one has four times as many sequences as the other; the difference is the cost of
more data, without what a process needs to start. Seconds are those of the processor, which other
work on the machine changes little. `docs/scale.md` shows the result.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from birnn.files import atomic

ROOT = Path(__file__).parents[1]
MODEL = "bidirectional"
EPOCHS = 2
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
    """LSTM 32 in both directions on numeric sequences of 3 to 250 steps, for two epochs."""
    path = ROOT / "examples/variable-length.yaml"
    tree: dict[str, dict[str, object]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["data"] |= {"sequences": sequences}
    tree["train"] |= {"max_epochs": EPOCHS, "device": "cpu"}
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


def rows(sequences: int, part_steps: int | None, place: Path) -> Iterator[str]:
    """A table: what each stage costs more for a million steps more."""
    few, small = measured(place / "small", sequences, part_steps)
    many, large = measured(place / "large", 4 * sequences, part_steps)
    millions = (many - few) / 1e6
    yield f"{sequences} and {4 * sequences} sequences, {few} and {many} steps"
    yield f"{'stage':10} {'s':>8} {'MB':>8} {'MB of memory':>14} {'at most, MB':>12}"
    for stage in STAGES:
        one, other = small[stage], large[stage]
        yield (
            f"{stage:10} {(other.seconds - one.seconds) / millions:8.2f}"
            f" {(other.size - one.size) / millions / 1e6:8.1f}"
            f" {(other.memory - one.memory) / millions / 1e6:14.1f} {other.memory / 1e6:12.0f}"
        )


def main() -> None:
    """Measure, and print the table."""
    sequences = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    part_steps = int(sys.argv[2]) if len(sys.argv) > 2 else None
    with TemporaryDirectory() as place:
        for row in rows(sequences, part_steps, Path(place)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
