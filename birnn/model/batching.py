"""Batches of sequences of about the same length, so that little of a batch is padding.

    for batch in epoch(train, batch_size=32, seed=1, number=3): ...    # shuffled, for training
    for batch in in_order(test, batch_size=32): ...                    # by length, for prediction

They are batches of `birnn.model.padded` as tensors, wherever these lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birnn.data import buckets
from birnn.data.parted import Parts
from birnn.data.sequences import Sequences
from birnn.model import padded, spelling
from birnn.model.distributed import ALONE, Group
from birnn.model.losses import IGNORED
from birnn.model.padded import Padded
from birnn.model.spelling import Spelling
from birnn.model.transfers import sent


@dataclass(frozen=True, slots=True)
class Batch:
    """Some sequences side by side.

    Attributes:
        values: (batch, steps, features) float32, zero in the padding.
        lengths: (batch,) int64, in memory wherever the rest is, so that nobody has to ask a GPU.
        labels: (batch, steps) int64 for tagging, `IGNORED` in the padding; else (batch,) int64.
        indices: (batch,) int64 numpy array; which sequences these are.
        tokens: (batch, steps) int64, zero in the padding; None where steps have no tokens.
        spelling: what they look like; None where nobody asked.
        count: labels that a batch of the same pass has on average. The loss of each is divided by
            it, so that a label counts the same in a small batch as in a large one.
    """

    values: Tensor
    lengths: Tensor
    labels: Tensor
    indices: npt.NDArray[np.int64]
    tokens: Tensor | None = None
    spelling: Spelling[Tensor] | None = None
    count: float = 1.0

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor | None, Spelling[Tensor] | None]:
        """What a model reads, in the order in which it takes it."""
        return self.values, self.lengths, self.tokens, self.spelling

    def to(self, device: torch.device) -> Batch:
        """Copy all but the lengths to a device without waiting for the copy to end."""
        return replace(
            self,
            values=sent(self.values, device),
            labels=sent(self.labels, device),
            tokens=None if self.tokens is None else sent(self.tokens, device),
            spelling=self.spelling and _spelling_sent(self.spelling, device),
        )


@dataclass(frozen=True, slots=True)
class Resident:
    """A split that lies on a device, so that its batches are made there and none is copied.

    Its last row, one more than the split has, is what padding reads.

    Attributes:
        host: the same split in memory; it tells lengths without asking the device.
        values: (steps + 1, features) float32, on the device.
        labels: (steps + 1,) int64 for tagging, else (sequences,), likewise.
        tokens: (steps + 1,) int64, likewise; None where steps have no tokens.
    """

    host: Sequences
    values: Tensor
    labels: Tensor
    tokens: Tensor | None

    def gather(self, indices: npt.NDArray[np.int64], *, spell: bool) -> Batch:
        """Put some sequences side by side, as `gather` does, without waiting for the device."""
        starts = self.host.offsets[indices]
        lengths = self.host.offsets[indices + 1] - starts
        steps, padding = np.arange(lengths.max()), len(self.values) - 1
        rows = np.where(steps < lengths[:, None], starts[:, None] + steps, padding)
        there = torch.from_numpy(rows if self.host.tagging else np.append(rows, indices))
        there = sent(there.flatten(), self.values.device)
        chosen = there[: rows.size]
        labels = self.labels.index_select(0, chosen if self.host.tagging else there[rows.size :])
        return Batch(
            values=self.values.index_select(0, chosen).view(*rows.shape, self.values.shape[1]),
            lengths=torch.from_numpy(lengths),
            labels=labels.view(rows.shape) if self.host.tagging else labels,
            indices=indices,
            tokens=None
            if self.tokens is None
            else self.tokens.index_select(0, chosen).view(rows.shape),
            spelling=self._spell(indices) if spell and self.tokens is not None else None,
        )

    def _spell(self, indices: npt.NDArray[np.int64]) -> Spelling[Tensor]:
        """What the host finds out about tokens goes to the device while that computes."""
        assert self.host.tokens is not None
        starts, lengths = self.host.offsets[indices], self.host.lengths[indices]
        tokens = padded.side_by_side(self.host.tokens, starts, lengths)
        found = spelled(spelling.of(tokens, self.host.dictionary))
        return _spelling_sent(found, self.values.device)


def _spelling_sent(spelled: Spelling[Tensor], device: torch.device) -> Spelling[Tensor]:
    return spelled._replace(
        letters=sent(spelled.letters, device), places=sent(spelled.places, device)
    )


Split = Sequences | Resident | Parts
"""What batches are made of."""


def placed(splits: Iterable[Sequences | Parts], device: torch.device) -> list[Split]:
    """Put splits onto a GPU, in this order, as long as all take no more than half of what is free.

    The other half is for the training itself. A split in parts stays where it is.
    """
    if device.type != "cuda":
        return [*splits]
    left, found = torch.cuda.mem_get_info(device)[0] // 2, list[Split]()
    for split in splits:
        if isinstance(split, Parts):
            found.append(split)
            continue
        size = _bytes_on_device(split)
        found.append(resident(split, device) if size <= left else split)
        left -= size if size <= left else 0
    return found


def _bytes_on_device(split: Sequences) -> int:
    """What `resident` takes; whole numbers become twice as wide there."""
    tokens = 0 if split.tokens is None else split.tokens.nbytes
    return split.values.nbytes + 2 * (split.labels.nbytes + tokens)


def resident(sequences: Sequences, device: torch.device) -> Resident:
    """Copy a split to a device."""
    return Resident(
        host=sequences,
        values=_with_one_more(sequences.values, 0, device),
        labels=_with_one_more(sequences.labels, IGNORED, device)
        if sequences.tagging
        else torch.tensor(sequences.labels, dtype=torch.int64, device=device),
        tokens=None if sequences.tokens is None else _with_one_more(sequences.tokens, 0, device),
    )


def _with_one_more(flat: npt.NDArray[Any], last: int, device: torch.device) -> Tensor:
    """Copy rows to a device, with one more at the end; whole numbers become int64."""
    kind = torch.int64 if flat.dtype.kind == "i" else torch.float32
    made = torch.full((len(flat) + 1, *flat.shape[1:]), last, dtype=kind, device=device)
    made[:-1] = torch.from_numpy(np.array(flat))
    return made


def epoch(
    sequences: Split,
    *,
    batch_size: int,
    batch_steps: int | None = None,
    seed: int,
    number: int,
    spell: bool = False,
    group: Group = ALONE,
) -> Iterator[Batch]:
    """Give every sequence once, in batches of about one length, in an order drawn for the epoch.

    Of a split in parts, the order of the parts is drawn, and in each of them that of its batches;
    both depend on the seed, the epoch and the part alone, never on who reads them.

    Args:
        sequences: the split to train on.
        batch_size: sequences in a batch at most.
        batch_steps: steps in a batch at most, padding included; a longer sequence stands alone.
        seed: of the whole training.
        number: of the epoch; an epoch's batches do not depend on those before it.
        spell: whether to say what the tokens look like.
        group: the processes that divide each batch among them.
    """
    draw = partial(
        buckets.shuffled, batch_size=batch_size, batch_steps=batch_steps, seed=seed, number=number
    )
    if isinstance(sequences, Parts):
        count = _mean_labels(sequences, batch_size, batch_steps)
        order = buckets.part_order(len(sequences.places), seed=seed, number=number)
        for part, split in sequences.each(order):
            yield from _gathered(split, draw(split.lengths, part=part), spell, group, count)
    else:
        batches = draw(_host(sequences).lengths)
        yield from _gathered(sequences, batches, spell, group)


def in_order(
    sequences: Split,
    *,
    batch_size: int,
    batch_steps: int | None = None,
    spell: bool = False,
    group: Group = ALONE,
) -> Iterator[Batch]:
    """Give every sequence once, from the shortest to the longest, of each part by itself."""
    if isinstance(sequences, Parts):
        count = _mean_labels(sequences, batch_size, batch_steps)
        for _, split in sequences.each():
            batches = padded.by_length(split.lengths, batch_size, batch_steps)
            yield from _gathered(split, batches, spell, group, count)
    else:
        batches = padded.by_length(_host(sequences).lengths, batch_size, batch_steps)
        yield from _gathered(sequences, batches, spell, group)


def _mean_labels(split: Parts, batch_size: int, batch_steps: int | None) -> float:
    """How many labels a batch has on average, by the index of the parts alone.

    Where `batch_steps` bounds the batches, about: what they hold of padding is not known there.
    """
    parts = [place.part for place in split.places]
    batches = sum(
        max(-(-part.sequences // batch_size), -(-part.steps // batch_steps) if batch_steps else 0)
        for part in parts
    )
    return (split.steps if split.tagging else len(split)) / batches


def _host(sequences: Sequences | Resident) -> Sequences:
    return sequences.host if isinstance(sequences, Resident) else sequences


def _gathered(
    sequences: Sequences | Resident,
    batches: list[npt.NDArray[np.int64]],
    spell: bool,
    group: Group,
    count: float | None = None,
) -> Iterator[Batch]:
    host = _host(sequences)
    count = len(host.labels) / max(len(batches), 1) if count is None else count
    shares = (_share(sequences, indices, spell, group) for indices in batches)
    return padded.released(host, (replace(batch, count=count) for batch in shares))


def _share(
    sequences: Sequences | Resident, indices: npt.NDArray[np.int64], spell: bool, group: Group
) -> Batch:
    """Gather this process's part of a batch; without one, a sequence that counts for nothing."""
    own = indices[group.rank :: group.size]
    if len(own):
        return gather(sequences, own, spell=spell)
    batch = gather(sequences, indices[:1], spell=spell)
    return replace(batch, labels=torch.full_like(batch.labels, IGNORED))


def gather(
    sequences: Sequences | Resident, indices: npt.NDArray[np.int64], *, spell: bool = False
) -> Batch:
    """Put some sequences side by side, padded to the longest of them."""
    if isinstance(sequences, Resident):
        return sequences.gather(indices, spell=spell)
    return of(padded.gather(sequences, indices, spell=spell))


def of(batch: Padded) -> Batch:
    """The same as tensors, which share the memory of the arrays."""
    return Batch(
        values=torch.from_numpy(batch.values),
        lengths=torch.from_numpy(batch.lengths),
        labels=torch.from_numpy(batch.labels),
        indices=batch.indices,
        tokens=None if batch.tokens is None else torch.from_numpy(batch.tokens),
        spelling=None if batch.spelling is None else spelled(batch.spelling),
    )


def real_steps(batch: Batch) -> Tensor:
    """Which steps of a batch are no padding, (batch, steps) bool; some may have no label."""
    steps = torch.arange(batch.values.shape[1], device=batch.lengths.device)
    return steps < batch.lengths[:, None]


def spelled(found: Spelling[npt.NDArray[np.int64]]) -> Spelling[Tensor]:
    """The same as tensors."""
    return Spelling(*map(torch.from_numpy, found))
