"""What the two lines of docs/dropin.md give: `python -m benchmarks.dropin`.

One training step (forward, loss, gradients) of a bidirectional layer on sequences of different
lengths, in three ways that take turns: `torch.nn` packed, as it is written today; the same code
with birnn's class, packed still; and birnn's class with lengths. `--quick` takes seconds.
"""

import argparse
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import birnn
from benchmarks.peers import packed
from benchmarks.timing import in_turn

BATCH, FEATURES, HIDDEN = 32, 32, 64
CELLS = ["LSTM", "GRU", "RNN"]
WAYS = ["torch.nn, packed", "birnn, packed", "birnn, lengths"]


def main() -> None:
    """Print seconds, and how many times as long as birnn with lengths each way takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dropin", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short sequences, one repetition")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    quick = arguments.quick
    rows = [(cell, steps) for steps in ([20] if quick else [50, 200]) for cell in CELLS]
    table = Table(
        title=f"One training step, {BATCH} sequences, {HIDDEN} hidden units, milliseconds"
    )
    for heading in ("cell, steps", *WAYS, "factor"):
        table.add_column(heading, justify="right")
    for cell, steps in rows:
        seconds = measure(cell, steps, repetitions=1 if quick else 5)
        times = [f"{1e3 * seconds[way]:,.1f}" for way in WAYS]
        factor = f"{seconds[WAYS[0]] / seconds[WAYS[2]]:.1f}"
        table.add_row(f"{cell} {steps}", *times, factor)
    Console().print(table)


def measure(cell: str, steps: int, repetitions: int) -> dict[str, float]:
    """The median seconds of each way; lengths from a tenth of the steps to all."""
    lengths = torch.linspace(steps / 10, steps, BATCH).round().long()
    lengths = lengths[torch.randperm(BATCH, generator=torch.Generator().manual_seed(0))]
    values = torch.randn(BATCH, steps, FEATURES)
    theirs = getattr(nn, cell)(FEATURES, HIDDEN, batch_first=True, bidirectional=True)
    ours = getattr(birnn, cell)(FEATURES, HIDDEN, batch_first=True, bidirectional=True)
    ways: dict[str, Callable[[], Tensor]] = {
        WAYS[0]: lambda: packed(theirs, values, lengths),
        WAYS[1]: lambda: packed(ours, values, lengths),
        WAYS[2]: lambda: ours(values, lengths=lengths)[0],
    }
    calls = {way: step(call) for way, call in ways.items()}
    return in_turn(calls, repetitions, torch.device("cpu"))


def step(call: Callable[[], Tensor]) -> Callable[[], None]:
    """The call, and the gradients of a loss of its output."""

    def taken() -> None:
        call().square().mean().backward()  # type: ignore[no-untyped-call]

    return taken


if __name__ == "__main__":
    main()
