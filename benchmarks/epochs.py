"""Training epochs: steps a second of a bidirectional tagger on sequences of different lengths.

2000 sequences, lengths lognormal with mean 37 from 3 to 250 steps, 32 features, one of 5 labels at
every step, batches of 64, Adam. The peers train the same network, and differ in the batches and in
the recurrence:

    tutorial  random batches, pad_sequence, pack_padded_sequence, torch.nn, pad_packed_sequence
    packed    our batches by length, then as the tutorial
    dense     our batches by length, torch.nn over the padding too: wrong, and what speed could be
    keras     our batches by length, Keras 3 on JAX with masks; where they are installed
    flax      our batches by length, Flax on JAX with lengths; where they are installed
    torch     our batches and the recurrence that birnn has where it has no kernel
    birnn     our batches and our recurrence, as the training stage has them

Adam is torch's for all, but for birnn's own. `torch` and `birnn` train with the stage's own loop.
The first and those on JAX have a turn with 32 hidden units alone: they are slow, or compile long.
On a GPU all compute in one precision, TF32 or not, in torch's deterministic mode, as the stage
does, and on batches that are there already; `torch` and `keras` are for a CPU alone.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict

import numpy as np
import pyarrow as pa
import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from benchmarks import flax_peer, keras_peer, padded
from benchmarks.peers import dense, packed, with_kernel, without_kernel
from benchmarks.timing import in_turn
from birnn.data.sequences import Sequences
from birnn.kernel.calls import GATES
from birnn.model import batching, devices, training
from birnn.model.adam import Adam
from birnn.model.architecture import Architecture, Cell
from birnn.model.distributed import ALONE
from birnn.model.losses import IGNORED
from birnn.model.networks import SequenceModel

FEATURES, CLASSES = 32, 5
CELLS: list[Cell] = ["LSTM", "GRU", "RNN"]
PEERS = ["tutorial", "packed", "keras", "flax", "dense", "torch", "birnn"]
SLOW, SLOW_AT = ("tutorial", "keras", "flax"), 32  # hidden units
RATIOS = ["tutorial", "packed", "flax", "dense", "torch"]
Pairs = Iterable[tuple[Tensor, Tensor, Tensor]]  # values, lengths, labels


class Row(TypedDict):
    """One line of the table; speeds are real steps a second, by peer."""

    cell: Cell
    hidden: int
    batch: int
    speeds: dict[str, float]


class Tagger(nn.Module):
    """What people write without birnn: with packing, or wrongly without."""

    def __init__(self, cell: Cell, hidden: int, *, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        self.rnn = getattr(nn, cell)(FEATURES, hidden, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden, CLASSES)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(batch, steps, features) to logits, (batch, steps, classes)."""
        output = (packed if self.packed else dense)(self.rnn, values, lengths)
        logits: Tensor = self.linear(output)
        return logits


def measure(device: torch.device, *, quick: bool) -> list[Row]:
    """Time an epoch of every peer, for every cell and size."""
    if quick:
        few = draw(100)
        return [measure_one(few, cell, (64, 10), device, repetitions=1) for cell in CELLS]
    split = draw(2000)
    on_cpu = [(64, 256), (64, 128), (64, 32), (64, 10)]
    on_gpu = [(batch, hidden) for hidden in (32, 128, 512) for batch in (64, 256)]
    sizes = on_cpu if device.type == "cpu" else on_gpu
    return [
        measure_one(
            split, cell, size, device, repetitions=1 if size[1] == 256 else 3, names=_asked(size)
        )
        for cell in CELLS
        for size in sizes
    ]


def _asked(size: tuple[int, int]) -> Sequence[str]:
    """The slowest peers have a turn at one size alone, or the table would take half an hour."""
    return PEERS if size[1] == SLOW_AT else [name for name in PEERS if name not in SLOW]


def measure_one(
    split: Sequences,
    cell: Cell,
    size: tuple[int, int],
    device: torch.device,
    *,
    repetitions: int,
    names: Sequence[str] = PEERS,
) -> Row:
    """Time an epoch of each peer; the size is that of a batch, and the hidden units."""
    batch, hidden = size
    if device.type != "cpu":
        devices.make_deterministic(0, device)
    calls = peers(split, cell, hidden, batch, device)
    if device.type == "cpu" and {"keras", "flax"} & {*names}:
        calls |= _on_jax(split, cell, hidden, batch)
    chosen = {name: call for name, call in calls.items() if name in names}
    seconds = in_turn(chosen, repetitions, device)
    speeds = {name: len(split.values) / time for name, time in seconds.items()}
    return Row(cell=cell, hidden=hidden, batch=batch, speeds=speeds)


def draw(count: int) -> Sequences:
    """Draw sequences; the label is which of the first features is the largest."""
    generator, spread = np.random.default_rng(0), 0.7
    lengths = generator.lognormal(np.log(37) - spread**2 / 2, spread, count).round().clip(3, 250)
    offsets = np.concatenate([[0], np.cumsum(lengths.astype(np.int64))])
    values = generator.standard_normal((offsets[-1], FEATURES), dtype=np.float32)
    names = pa.array([str(number) for number in range(count)])
    labels = values[:, :CLASSES].argmax(axis=1).astype(np.int32)
    return Sequences(values, offsets, labels, ids=names, groups=names, tagging=True)


def table(rows: list[Row], matmul: float) -> Table:
    """Thousand steps a second, how many times that is of others, and how near to a product."""
    result = Table(title="One training epoch, thousand steps a second")
    headings = ["cell, hidden, batch", *PEERS, *(f"birnn / {name}" for name in RATIOS), "matmul"]
    for heading in headings:
        result.add_column(heading, justify="right")
    for row in rows:
        speeds = row["speeds"]
        result.add_row(
            f"{row['cell']} {row['hidden']} {row['batch']}",
            *(f"{speeds[name] / 1e3:,.0f}" if name in speeds else "-" for name in PEERS),
            *(_ratio(speeds, name) for name in RATIOS),
            f"{flops(row['cell'], row['hidden']) * speeds['birnn'] / matmul:.0%}",
        )
    return result


def _ratio(speeds: dict[str, float], name: str) -> str:
    return f"{speeds['birnn'] / speeds[name]:.2f}" if name in speeds else "-"


def flops(cell: Cell, hidden: int) -> int:
    """Operations that training on one step needs, only matrix products counted.

    2 for every weight in the forward pass, and twice as many in the backward pass: for the
    gradient of what the weight is multiplied with, and for its own.
    """
    recurrent = 2 * GATES[cell] * hidden * (FEATURES + hidden)
    return 3 * 2 * (recurrent + 2 * hidden * CLASSES)


def peers(
    split: Sequences, cell: Cell, hidden: int, batch: int, device: torch.device
) -> dict[str, Callable[[], object]]:
    """A call of each trains it for an epoch."""
    (placed,) = batching.placed([split], device)

    def by_length() -> Pairs:
        for made in batching.epoch(placed, batch_size=batch, seed=0, number=1):
            made = made.to(device)
            yield made.values, made.lengths, made.labels

    def at_random() -> Pairs:
        for values, lengths, labels in loader:
            yield values.to(device), lengths, labels.to(device)

    loader = _loader(split, batch)
    peers: dict[str, Callable[[], object]] = {
        "tutorial": _epoch(Tagger(cell, hidden, packed=True).to(device), at_random),
        "packed": _epoch(Tagger(cell, hidden, packed=True).to(device), by_length),
        "dense": _epoch(Tagger(cell, hidden, packed=False).to(device), by_length),
        "birnn": _stage(cell, hidden, batch, split, device),
    }
    if device.type == "cpu":
        peers["birnn"] = with_kernel(peers["birnn"])
        peers["torch"] = without_kernel(_stage(cell, hidden, batch, split, device))
    return peers


def _on_jax(
    split: Sequences, cell: Cell, hidden: int, batch: int
) -> dict[str, Callable[[], object]]:
    """Those of Keras and Flax that are installed."""
    peers: dict[str, Callable[[], object]] = {}
    batches = padded.of(batching.epoch(split, batch_size=batch, seed=0, number=1))
    if keras_peer.installed():
        sizes = {"features": FEATURES, "hidden": hidden, "classes": CLASSES}
        peers["keras"] = keras_peer.epoch(batches, cell=cell, **sizes)
    if flax_peer.installed():
        begun = Tagger(cell, hidden, packed=True)
        layers = {"rnn": begun.rnn, "linear": begun.linear}
        peers["flax"] = flax_peer.epoch(batches, cell=cell, hidden=hidden, **layers)
    return peers


def _epoch(model: nn.Module, batches: Callable[[], Pairs]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def train() -> None:
        for values, lengths, labels in batches():
            logits = model(values, lengths).flatten(0, 1)
            loss = nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return train


def _stage(
    cell: Cell, hidden: int, batch: int, split: Sequences, device: torch.device
) -> Callable[[], object]:
    """An epoch of the training stage."""
    model = SequenceModel(architecture(cell, hidden)).to(device)
    optimizer = Adam(model.parameters(), learning_rate=0.001, weight_decay=0.0, clip_norm=1.0)
    score = training.scorer(model, split.tally(), options(device, batch))
    (placed,) = batching.placed([split], device)

    def train() -> object:
        batches = batching.epoch(placed, batch_size=batch, seed=0, number=1)
        return training.one_pass(batches, score, optimizer, ALONE)

    return train


def options(device: torch.device, batch: int, precision: str = "fp32") -> training.Options:
    """Those of the training stage, for one epoch."""
    return training.Options(
        device=device,
        seed=0,
        batch_size=batch,
        max_epochs=1,
        patience=1,
        learning_rate=0.001,
        weight_decay=0.0,
        clip_norm=1.0,
        precision=precision,
    )


def _loader(split: Sequences, batch: int) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
    """As the tutorials have it: a dataset of sequences, shuffled, and pad_sequence."""
    bounds = split.offsets[1:-1]
    values = torch.from_numpy(split.values).tensor_split(torch.from_numpy(bounds))
    labels = torch.from_numpy(split.labels).long().tensor_split(torch.from_numpy(bounds))

    def collate(chosen: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        sequences, answers = zip(*chosen, strict=True)
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        padded = pad_sequence(list(answers), batch_first=True, padding_value=IGNORED)
        return pad_sequence(list(sequences), batch_first=True), lengths, padded

    pairs = list(zip(values, labels, strict=True))
    return DataLoader(pairs, batch, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]


def architecture(cell: Cell, hidden: int) -> Architecture:
    """Of the tagger that all peers are."""
    return Architecture(
        task="tagging",
        cell=cell,
        features=FEATURES,
        embedding_size=0,
        hidden_size=hidden,
        num_layers=1,
        dropout=0.0,
        bidirectional=True,
        classes=CLASSES,
    )
