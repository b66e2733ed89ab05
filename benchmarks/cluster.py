"""The most memory of a process where a Ray cluster works: of the command, and of its workers.

    python -m benchmarks.cluster 27000 108000 --part-steps 250000

Each stage and a prediction start a cluster of their own on this machine, one worker a core; on sets
of so many sequences, in one file each, or in parts. Linux says how much a process has held at most,
with what it shares with others, such as results that lie in Ray's store. `docs/scale.md` shows what
was found.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml

from benchmarks import scale

TABLE = "data/raw/sequences.parquet"
STEPS = {
    "generate": ["stages.generate"],
    "prepare": ["stages.prepare"],
    "train": ["stages.train", scale.MODEL],
    "evaluate": ["stages.evaluate", scale.MODEL],
    "predict": ["birnn.cli", "predict", TABLE, "--device", "ray", "--output", "answers.parquet"],
}
EVERY = 0.2  # seconds
HELD = re.compile(r"^(VmHWM|RssShmem):\s+(\d+) kB$", re.MULTILINE)


class Held(NamedTuple):
    """MB of the command, of its largest worker, what that shares with others, and Ray's store."""

    command: int = 0
    worker: int = 0
    shared: int = 0
    store: int = 0

    def with_process(self, process: psutil.Process, *, command: bool) -> Held:
        """Look at one more process."""
        try:
            name = " ".join(process.cmdline())
            text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        except (OSError, psutil.Error):  # it has ended
            return self
        found = {key: int(size) // 1024 for key, size in HELD.findall(text)}
        most, shared = found.get("VmHWM", 0), found.get("RssShmem", 0)
        if command:
            return self._replace(command=max(self.command, most))
        if name.startswith("ray::"):
            return self._replace(worker=max(self.worker, most), shared=max(self.shared, shared))
        return self._replace(store=max(self.store, shared))


def measured(folder: Path, command: list[str]) -> Held:
    """Run a step in a folder."""
    script = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); name = sys.argv[1];"
        "sys.argv[:2] = [name];"
        "from birnn import cli;"
        "cli.main() if name == 'birnn.cli'"
        " else runpy.run_module(name, run_name='__main__', alter_sys=True)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", script, str(scale.ROOT), *command], cwd=folder
    )
    process, held = psutil.Process(program.pid), Held()
    while program.poll() is None:
        try:
            below = process.children(recursive=True)
        except psutil.Error:
            continue
        held = held.with_process(process, command=True)
        for one in below:
            held = held.with_process(one, command=False)
        time.sleep(EVERY)
    if program.returncode:
        raise SystemExit(program.returncode)
    return held


def rows(sizes: list[int], part_steps: int | None, place: Path) -> Iterator[str]:
    """A table."""
    heads = " ".join(f"{name:>8}" for name in Held._fields)
    yield f"{'sequences':>10} {'step':10} {heads}, MB"
    for sequences in sizes:
        folder = place / str(sequences)
        folder.mkdir()
        params = scale.params(sequences, part_steps)
        params["run"] = {"engine": "ray", "part_steps": part_steps}
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        for name, command in STEPS.items():
            found = measured(folder, command)
            yield f"{sequences:10} {name:10} " + " ".join(f"{size:8}" for size in found)


if __name__ == "__main__":
    scale.tabulate(rows)
