"""Batches of sequences of about the same length, so that little of a batch is padding.

    for batch in epoch(train, batch_size=32, seed=1, number=3): ...    # shuffled, for training
    for batch in in_order(test, batch_size=32): ...                    # by length, for prediction

A batch is gathered straight from the flat values, without a loop over its sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birnn import buckets
from birnn.distributed import ALONE, Group
from birnn.losses import IGNORED
from birnn.sequences import Sequences, steps_of

RELEASE_BYTES = 1 << 28  # read from a mapped file, after which its pages are let go
PAGE_BYTES = 1 << 12  # the least that reading a sequence costs


@dataclass(frozen=True, slots=True)
class Batch:
    """Some sequences side by side.

    Attributes:
        values: (batch, steps, features) float32 or (batch, steps) int64 tokens; zero is padding.
        lengths: (batch,) int64.
        labels: (batch, steps) int64 for tagging, `IGNORED` in the padding; else (batch,) int64.
        indices: (batch,) int64 numpy array; which sequences these are.
        count: labels in the batch; where several processes share it, in all of its shares.
    """

    values: Tensor
    lengths: Tensor
    labels: Tensor
    indices: npt.NDArray[np.int64]
    count: int

    def to(self, device: torch.device) -> Batch:
        """Copy to a device without waiting for the copy to end."""
        return replace(
            self,
            values=self.values.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True)
class Resident:
    """A split that lies on a device, so that its batches are made there and none is copied.

    Attributes:
        host: the same split in memory; it tells lengths without asking the device.
        values: as in `Sequences`, on the device.
        labels: likewise.
        offsets: likewise.
    """

    host: Sequences
    values: Tensor
    labels: Tensor
    offsets: Tensor

    def gather(self, indices: npt.NDArray[np.int64]) -> Batch:
        """Put some sequences side by side, as `gather` does, without waiting for the device."""
        longest = int((self.host.offsets[indices + 1] - self.host.offsets[indices]).max())
        chosen = _sent(torch.from_numpy(indices), self.values.device)
        starts = self.offsets[chosen]
        lengths = self.offsets[chosen + 1] - starts
        steps = torch.arange(longest, device=chosen.device)
        real = steps < lengths[:, None]
        rows = torch.where(real, starts[:, None] + steps, 0)
        values = self.values[rows]
        padding = ~real.view(*real.shape, *[1] * (values.ndim - 2))
        tagging = self.host.tagging
        labels = self.labels[rows].masked_fill(~real, IGNORED) if tagging else self.labels[chosen]
        return Batch(
            values=values.masked_fill(padding, 0),
            lengths=lengths,
            labels=labels,
            indices=indices,
            count=_count(self.host, indices),
        )


def placed(sequences: Sequences, device: torch.device) -> Sequences | Resident:
    """Put a split onto a GPU if it takes no more than half of its free memory."""
    size = sequences.values.nbytes + 2 * sequences.labels.nbytes
    if device.type != "cuda" or size > torch.cuda.mem_get_info(device)[0] // 2:
        return sequences
    return resident(sequences, device)


def resident(sequences: Sequences, device: torch.device) -> Resident:
    """Copy a split to a device."""
    kind = torch.int64 if sequences.values.ndim == 1 else torch.float32
    return Resident(
        host=sequences,
        values=torch.tensor(sequences.values, dtype=kind, device=device),
        labels=torch.tensor(sequences.labels, dtype=torch.int64, device=device),
        offsets=torch.tensor(sequences.offsets, device=device),
    )


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device; only from pinned memory can a GPU fetch it while the host goes on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def epoch(
    sequences: Sequences | Resident,
    *,
    batch_size: int,
    batch_steps: int | None = None,
    seed: int,
    number: int,
    group: Group = ALONE,
) -> Iterator[Batch]:
    """Give every sequence once, in batches of about one length, in an order drawn for the epoch.

    Args:
        sequences: the split to train on.
        batch_size: sequences in a batch at most.
        batch_steps: steps in a batch at most, padding included; a longer sequence stands alone.
        seed: of the whole training.
        number: of the epoch; an epoch's batches do not depend on those before it.
        group: the processes that divide each batch among them.
    """
    lengths = _host(sequences).lengths
    batches = buckets.shuffled(
        lengths, batch_size=batch_size, batch_steps=batch_steps, seed=seed, number=number
    )
    yield from _gathered(sequences, batches, group)


def in_order(
    sequences: Sequences | Resident,
    *,
    batch_size: int,
    batch_steps: int | None = None,
    group: Group = ALONE,
) -> Iterator[Batch]:
    """Give every sequence once, from the shortest to the longest."""
    lengths = _host(sequences).lengths
    order = np.argsort(lengths, kind="stable")
    yield from _gathered(sequences, buckets.cut(order, lengths, batch_size, batch_steps), group)


def _host(sequences: Sequences | Resident) -> Sequences:
    return sequences.host if isinstance(sequences, Resident) else sequences


def _gathered(
    sequences: Sequences | Resident, batches: Iterable[npt.NDArray[np.int64]], group: Group
) -> Iterator[Batch]:
    """Gather one batch after the other, in bounded memory however large the mapped file is."""
    held = 0
    for indices in batches:
        batch = _share(sequences, indices, group)
        yield batch
        held += batch.values.nbytes + len(indices) * PAGE_BYTES
        if held > RELEASE_BYTES:
            _host(sequences).release()
            held = 0


def _share(sequences: Sequences | Resident, indices: npt.NDArray[np.int64], group: Group) -> Batch:
    """Gather this process's part of a batch; without one, a sequence that counts for nothing."""
    if group.size == 1:
        return gather(sequences, indices)
    count = _count(_host(sequences), indices)
    own = indices[group.rank :: group.size]
    if len(own):
        return replace(gather(sequences, own), count=count)
    batch = gather(sequences, indices[:1])
    return replace(batch, labels=torch.full_like(batch.labels, IGNORED), count=count)


def _count(sequences: Sequences, indices: npt.NDArray[np.int64]) -> int:
    """The number of labels that some sequences have."""
    if not sequences.tagging:
        return len(indices)
    return int((sequences.offsets[indices + 1] - sequences.offsets[indices]).sum())


def gather(sequences: Sequences | Resident, indices: npt.NDArray[np.int64]) -> Batch:
    """Put some sequences side by side, padded to the longest of them."""
    if isinstance(sequences, Resident):
        return sequences.gather(indices)
    lengths = sequences.offsets[indices + 1] - sequences.offsets[indices]
    real = np.arange(lengths.max()) < lengths[:, None]
    rows = steps_of(sequences.offsets, indices)
    kind = np.int64 if sequences.values.ndim == 1 else np.float32
    values = np.zeros(real.shape + sequences.values.shape[1:], kind)
    values[real] = sequences.values[rows]
    if sequences.tagging:
        labels = np.full(real.shape, IGNORED)
        labels[real] = sequences.labels[rows]
    else:
        labels = sequences.labels[indices].astype(np.int64)
    return Batch(
        values=torch.from_numpy(values),
        lengths=torch.from_numpy(lengths),
        labels=torch.from_numpy(labels),
        indices=indices,
        count=_count(sequences, indices),
    )
