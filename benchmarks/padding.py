"""How the share of padding matters: one call with its gradients, in one thread and in more.

64 sequences of up to 100 steps, 32 features, every cell and size. The shorter half of the sequences
makes the share of padding, up to 80 %. `dense` computes the padding too, and is wrong; the others
give the same output before they are timed.
"""

from collections.abc import Callable
from typing import TypedDict

import torch
from rich.table import Table
from torch import Tensor, nn

from benchmarks.peers import dense, packed, with_kernel, without_kernel
from benchmarks.timing import in_turn
from birnn.model.architecture import Cell
from birnn.model.recurrent import VariableLengthRNN

BATCH, STEPS, FEATURES = 64, 100, 32
CELLS: tuple[Cell, ...] = ("LSTM", "GRU", "RNN")
HIDDEN = (10, 32, 128)
SHARES = (0.0, 0.4, 0.8)
PEERS = ("packed", "dense", "torch", "birnn")
CLOSE = 1e-5
CPU = torch.device("cpu")


class Row(TypedDict):
    """One line of the table; real steps a second by peer."""

    cell: Cell
    hidden: int
    threads: int
    padding: float
    speeds: dict[str, float]


def measure(threads: int, *, quick: bool) -> list[Row]:
    """Time a call of every peer, for each cell, size, number of threads and share of padding."""
    return [
        _measure(cell, hidden, count, share)
        for cell in CELLS
        for hidden in (HIDDEN[:1] if quick else HIDDEN)
        for count in sorted({1, threads})
        for share in (SHARES[-1:] if quick else SHARES)
    ]


def table(rows: list[Row]) -> Table:
    """Thousand real steps a second, and how many times that is of others."""
    result = Table(title=f"One call on {BATCH} sequences by padding, thousand real steps a second")
    headings = ["cell, hidden", "threads", "padding", *PEERS]
    for heading in [*headings, *(f"birnn / {name}" for name in PEERS[:-1])]:
        result.add_column(heading, justify="right")
    for row in rows:
        speeds = row["speeds"]
        result.add_row(
            f"{row['cell']} {row['hidden']}",
            str(row["threads"]),
            f"{row['padding']:.0%}",
            *(f"{speeds[name] / 1e3:,.0f}" for name in PEERS),
            *(f"{speeds['birnn'] / speeds[name]:.2f}" for name in PEERS[:-1]),
        )
    return result


def lengths(share: float) -> Tensor:
    """From all steps down to what makes this share of padding, (BATCH,) int64."""
    shortest = STEPS * (1 - 2 * share)
    if shortest >= 1:
        return torch.linspace(STEPS, shortest, BATCH).round().long()
    mean = STEPS * (1 - share)  # a few are long: 1 + (STEPS - 1) x^power has this mean
    power = (STEPS - 1) / (mean - 1) - 1
    return (1 + (STEPS - 1) * torch.linspace(1, 0, BATCH) ** power).round().long()


def _measure(cell: Cell, hidden: int, threads: int, share: float) -> Row:
    torch.manual_seed(0)
    real = lengths(share)
    values = torch.randn(BATCH, STEPS, FEATURES)
    ours = VariableLengthRNN(FEATURES, hidden, cell)
    theirs = getattr(nn, cell)(FEATURES, hidden, batch_first=True, bidirectional=True)
    theirs.load_state_dict(ours.state_dict())
    outputs: dict[str, Callable[[], Tensor]] = {
        "packed": lambda: packed(theirs, values, real),
        "dense": lambda: dense(theirs, values, real),
        "birnn": lambda: ours(values, real)[0],
    }
    assert float((outputs["packed"]() - outputs["birnn"]()).detach().abs().max()) < CLOSE
    peers = {name: _with_gradients(call) for name, call in outputs.items()}
    peers["torch"] = without_kernel(peers["birnn"])
    peers["birnn"] = with_kernel(peers["birnn"])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    seconds = in_turn(peers, 3, CPU)
    torch.set_num_threads(before)
    speeds = {name: int(real.sum()) / time for name, time in seconds.items()}
    padding = 1 - int(real.sum()) / (BATCH * STEPS)
    return Row(cell=cell, hidden=hidden, threads=threads, padding=padding, speeds=speeds)


def _with_gradients(call: Callable[[], Tensor]) -> Callable[[], object]:
    def both() -> None:
        call().square().mean().backward()  # type: ignore[no-untyped-call]

    return both
