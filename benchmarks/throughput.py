"""Prediction of many sequences, beside a loop that people write without birnn.

2000 sequences as in `benchmarks.epochs`. `packed` takes them in the order of the file, 64 at a
time, through pad_sequence, pack_padded_sequence, torch.nn and softmax; birnn is what `predict` and
`evaluate` call, which orders them by length. Both give the same probabilities before they are
timed.
"""

from collections.abc import Callable
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from rich.table import Table
from torch.nn.utils.rnn import pad_sequence

from benchmarks import epochs
from benchmarks.peers import with_kernel
from benchmarks.timing import in_turn
from birnn.data.sequences import Sequences
from birnn.model import prediction
from birnn.model.architecture import Cell
from birnn.model.inference import Network

BATCH = 64
CELLS: tuple[Cell, ...] = ("LSTM", "GRU", "RNN")
PEERS = ("packed", "birnn")
CLOSE = 1e-5
Floats = npt.NDArray[np.float32]


class Row(TypedDict):
    """One line of the table; steps a second by peer."""

    cell: Cell
    hidden: int
    speeds: dict[str, float]


def measure(*, quick: bool) -> list[Row]:
    """Time both ways, for every cell and size."""
    split = epochs.draw(100 if quick else 2000)
    sizes = (10,) if quick else (128, 32)
    return [_measure(split, cell, hidden, quick=quick) for cell in CELLS for hidden in sizes]


def table(rows: list[Row]) -> Table:
    """Thousand steps a second, and how many times as fast birnn is."""
    result = Table(title="Prediction of many sequences, thousand steps a second")
    for heading in ["cell, hidden", *PEERS, "birnn / packed"]:
        result.add_column(heading, justify="right")
    for row in rows:
        speeds = row["speeds"]
        result.add_row(
            f"{row['cell']} {row['hidden']}",
            *(f"{speeds[name] / 1e3:,.0f}" for name in PEERS),
            f"{speeds['birnn'] / speeds['packed']:.1f}",
        )
    return result


def _measure(split: Sequences, cell: Cell, hidden: int, *, quick: bool) -> Row:
    torch.manual_seed(0)
    theirs = epochs.Tagger(cell, hidden, packed=True).eval()
    weights = {name: weight.numpy() for name, weight in theirs.state_dict().items()}
    ours = Network(epochs.architecture(cell, hidden), weights)
    calls: dict[str, Callable[[], object]] = {
        "packed": lambda: _in_file_order(theirs, split),
        "birnn": with_kernel(lambda: prediction.probabilities(ours, split)),
    }
    gap = np.abs(_in_file_order(theirs, split) - prediction.probabilities(ours, split)).max()
    assert gap < CLOSE, f"expected the probabilities of torch, found them {gap} apart"
    seconds = in_turn(calls, 1 if quick else 5, torch.device("cpu"))
    speeds = {name: len(split.values) / time for name, time in seconds.items()}
    return Row(cell=cell, hidden=hidden, speeds=speeds)


@torch.inference_mode()
def _in_file_order(model: epochs.Tagger, split: Sequences) -> Floats:
    sequences = torch.split(torch.from_numpy(split.values), split.lengths.tolist())
    found = []
    for first in range(0, len(split), BATCH):
        some = sequences[first : first + BATCH]
        lengths, batch = torch.tensor([*map(len, some)]), pad_sequence([*some], batch_first=True)
        real = torch.arange(batch.shape[1]) < lengths[:, None]
        found.append(model(batch, lengths).softmax(dim=2)[real])
    result: Floats = torch.cat(found).numpy()
    return result
