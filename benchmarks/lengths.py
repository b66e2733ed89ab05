"""Long sequences: one call of a bidirectional layer, forward alone and with its gradients.

32 sequences, lengths from half to all of the steps, 32 features. `packed` is right and its
gradients take a time that grows with the square of the length, so they are left out above 1000
steps; `dense` is wrong past each length and is what speed could be.
"""

from collections.abc import Callable
from typing import TypedDict

import torch
from rich.table import Table
from torch import Tensor, nn

from benchmarks.peers import dense, packed
from benchmarks.timing import in_turn, once
from birnn.model.architecture import Cell
from birnn.model.recurrent import VariableLengthRNN

BATCH, FEATURES = 32, 32
PEERS = ["packed", "dense", "birnn"]
MOST_PACKED_STEPS = 1000


class Row(TypedDict):
    """One line of the table; seconds of a call by peer."""

    cell: Cell
    hidden: int
    steps: int
    gradients: bool
    seconds: dict[str, float]


def measure(device: torch.device, *, quick: bool) -> list[Row]:
    """Time a call of every peer, for every length and size."""
    sizes: list[tuple[Cell, int]] = [("LSTM", 32), ("LSTM", 128), ("GRU", 128)]
    return [
        _measure(cell, hidden, steps, gradients, device)
        for cell, hidden in (sizes[:1] if quick else sizes)
        for steps in ([50] if quick else [100, 1000, 4000])
        for gradients in (False, True)
    ]


def table(rows: list[Row]) -> Table:
    """Milliseconds, and how many times faster than the packed call and than the dense one."""
    result = Table(title=f"One call on {BATCH} long sequences, milliseconds")
    result.caption = f"packed gradients, quadratic in time, only up to {MOST_PACKED_STEPS} steps"
    for heading in ["cell, hidden, steps", "", *PEERS, "/ packed", "/ dense", "us / real step"]:
        result.add_column(heading, justify="right")
    for row in rows:
        seconds = row["seconds"]
        ratios = [seconds.get(name, 0) / seconds["birnn"] for name in ("packed", "dense")]
        result.add_row(
            f"{row['cell']} {row['hidden']} {row['steps']}",
            "with gradients" if row["gradients"] else "forward",
            *(f"{1e3 * seconds[name]:,.1f}" if name in seconds else "-" for name in PEERS),
            *(f"{ratio:.2f}" if ratio else "-" for ratio in ratios),
            f"{1e6 * seconds['birnn'] / int(_lengths(row['steps']).sum()):.2f}",
        )
    return result


def _measure(cell: Cell, hidden: int, steps: int, gradients: bool, device: torch.device) -> Row:
    lengths = _lengths(steps)
    values = torch.randn(BATCH, steps, FEATURES, device=device)
    theirs = getattr(nn, cell)(FEATURES, hidden, batch_first=True, bidirectional=True).to(device)
    ours = VariableLengthRNN(FEATURES, hidden, cell).to(device)
    peers: dict[str, Callable[[], Tensor]] = {
        "dense": lambda: dense(theirs, values, lengths),
        "birnn": lambda: ours(values, lengths)[0],
    }
    calls = {name: _call(peer, gradients) for name, peer in peers.items()}
    seconds = in_turn(calls, 3, device)
    if steps <= MOST_PACKED_STEPS or not gradients:
        slow = _call(lambda: packed(theirs, values, lengths), gradients)
        if device.type != "cpu":  # where the first call also loads cuDNN's kernels
            slow()
        seconds["packed"] = once(slow, device)
    return Row(cell=cell, hidden=hidden, steps=steps, gradients=gradients, seconds=seconds)


def _lengths(steps: int) -> Tensor:
    return torch.linspace(steps / 2, steps, BATCH).round().long()


def _call(peer: Callable[[], Tensor], gradients: bool) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            peer()

    def both() -> None:
        output = peer()
        output.backward(torch.ones_like(output))  # type: ignore[no-untyped-call]

    return both if gradients else forward
