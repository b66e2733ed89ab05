"""The memory that training takes: how much a process grows by, each in a process of its own.

    python -m benchmarks.memory birnn LSTM 128     # one figure, in bytes

One epoch as in `benchmarks.epochs`: `birnn` with its kernel, `torch` without it, `packed` as people
write it. What a process has before the first batch does not count.
"""

import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import torch
from rich.table import Table

from birnn.model.architecture import Cell

PEERS = ("packed", "torch", "birnn")
CELLS: tuple[Cell, ...] = ("LSTM", "GRU", "RNN")


class Row(TypedDict):
    """One line of the table; bytes by peer."""

    cell: Cell
    hidden: int
    grown: dict[str, int]


def measure(*, quick: bool) -> list[Row]:
    """Ask a process for each figure."""
    return [
        Row(cell=cell, hidden=hidden, grown={name: _asked(name, cell, hidden) for name in PEERS})
        for cell in CELLS[: 1 if quick else None]
        for hidden in ([10] if quick else [32, 256])
    ]


def table(rows: list[Row]) -> Table:
    """In MB, and how many times birnn's that of others is."""
    result = Table(title="Memory that an epoch takes, MB")
    for heading in ["cell, hidden", *PEERS, *(f"{name} / birnn" for name in PEERS[:-1])]:
        result.add_column(heading, justify="right")
    for row in rows:
        grown = row["grown"]
        result.add_row(
            f"{row['cell']} {row['hidden']}",
            *(f"{grown[name] / 1e6:,.0f}" for name in PEERS),
            *(_ratio(grown[name], grown["birnn"]) for name in PEERS[:-1]),
        )
    return result


def _ratio(theirs: int, ours: int) -> str:
    return f"{theirs / ours:.2f}" if ours else "-"  # a small one fits into what was there before


def _asked(name: str, cell: Cell, hidden: int) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", name, cell, str(hidden)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak() -> int:
    """What the system says of this process; `getrusage` would begin with what its parent had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def main(name: str, cell: Cell, hidden: int) -> None:
    """Print how much this process grows by in an epoch, in bytes."""
    from benchmarks import epochs

    small, split = epochs.draw(10), epochs.draw(2000)
    for warm, batch in ((True, 10), (False, 64)):
        drawn = small if warm else split
        call = epochs.peers(drawn, cell, hidden, batch, torch.device("cpu"))[name]
        before = _peak()
        call()
        grown = _peak() - before
    print(grown)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))  # type: ignore[arg-type]
