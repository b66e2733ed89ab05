"""What the stages before training take, in one thread and more: `python -m benchmarks.stages`.

Draws sequences of a known process, and reads them once more as a user's Parquet file. The threads
take turns, run after run, and all must give the same bytes. Seconds of CPU hardly depend on what
else the machine does; those of the clock do.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
STAGES = ("generate", "prepare")
MEAN_STEPS = 37.0
DRAWN: dict[str, Any] = {
    "source": "hmm",
    "task": "tagging",
    "seed": 4,
    "min_steps": 3,
    "max_steps": 250,
    "mean_steps": MEAN_STEPS,
    "features": 8,
    "classes": 5,
    "stay": 0.7,
    "separation": 5.0,
    "lookalikes": 2,
}


class Run(NamedTuple):
    """One run of a stage: seconds by the clock, seconds of all CPUs, and the most memory, in MB."""

    clock: float
    cpu: float
    memory: float


def main() -> None:
    """Run each stage on each kind of input, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000_000, help="about how many")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count()])
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    table = Table("input", "stage", "threads")
    for heading in ("clock, s", "CPU, s", "times as fast", "steps / CPU s", "memory, MB"):
        table.add_column(heading, justify="right")
    for row in rows(arguments.steps, arguments.threads, arguments.repetitions):
        table.add_row(*row)
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    console.print(table)


def rows(steps: int, threads: list[int], repetitions: int) -> Iterator[list[str]]:
    """Give the rows of the table, and refuse other bytes than those of the first run."""
    with TemporaryDirectory() as place:
        drawn = {**DRAWN, "sequences": round(steps / MEAN_STEPS)}
        read = {"source": "table", "task": "tagging", "path": f"{place}/drawn.parquet"}
        for kind, data in {"drawn": drawn, "Parquet": read}.items():
            folder = Path(place) / kind
            folder.mkdir()
            tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
            (folder / "params.yaml").write_text(yaml.safe_dump({**tree, "data": data}))
            for stage in STAGES:
                found = in_turn(folder, stage, threads, repetitions)
                for count, runs in found.items():
                    clock, cpu, memory = (median(kind) for kind in zip(*runs, strict=True))
                    ratio = median(
                        one.clock / other.clock
                        for one, other in zip(found[threads[0]], runs, strict=True)
                    )
                    figures = f"{clock:.1f}", f"{cpu:.1f}", f"{ratio:.2f}", f"{steps / cpu:,.0f}"
                    yield [kind, stage, str(count), *figures, f"{memory:.0f}"]
            (folder / "data/raw/sequences.parquet").rename(f"{place}/drawn.parquet")


def in_turn(folder: Path, stage: str, threads: list[int], repetitions: int) -> dict[int, list[Run]]:
    """Run a stage again and again, in so many threads in turn."""
    found: dict[int, list[Run]] = {count: [] for count in threads}
    written = set()
    for _ in range(repetitions):
        for count in threads:
            found[count].append(run(folder, stage, count))
            written.add(digest(folder / "data"))
    assert len(written) == 1, f"{stage}: the bytes depend on the number of threads"
    return found


def run(folder: Path, stage: str, threads: int) -> Run:
    """Run a stage in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", f"stages.{stage}"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment)
    _, status, used = os.wait4(process.pid, 0)  # which tells what this one process has used
    clock, process.returncode = time.perf_counter() - begun, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"stage {stage}: expected exit status 0, found {process.returncode}")
    return Run(clock, used.ru_utime + used.ru_stime, memory_of(used))


def memory_of(used: resource.struct_rusage) -> float:
    """The most memory that a process held, in MB; macOS counts it in bytes, Linux in kilobytes."""
    return used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def digest(folder: Path) -> str:
    """One hash of all files."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


if __name__ == "__main__":
    main()
