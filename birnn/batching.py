"""Batches of sequences of about the same length, so that little of a batch is padding.

    for batch in epoch(train, batch_size=32, seed=1, number=3): ...    # shuffled, for training
    for batch in in_order(test, batch_size=32): ...                    # by length, for prediction

A batch is gathered straight from the flat values, without a loop over its sequences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birnn.sequences import Sequences, steps_of

IGNORED = -100  # the label of padding; the default `ignore_index` of torch's cross entropy
JITTER = 0.05  # lengths are blurred by 5 % before sorting, so that batches differ between epochs


@dataclass(frozen=True, slots=True)
class Batch:
    """Some sequences side by side.

    Attributes:
        values: (batch, steps, features) float32 or (batch, steps) int64 tokens; zero is padding.
        lengths: (batch,) int64.
        labels: (batch, steps) int64 for tagging, `IGNORED` in the padding; else (batch,) int64.
        indices: (batch,) int64 numpy array; which sequences these are.
    """

    values: Tensor
    lengths: Tensor
    labels: Tensor
    indices: npt.NDArray[np.int64]

    def to(self, device: torch.device) -> Batch:
        """Copy to a device without waiting for the copy to end."""
        return replace(
            self,
            values=self.values.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
        )


def epoch(sequences: Sequences, *, batch_size: int, seed: int, number: int) -> Iterator[Batch]:
    """Give every sequence once, in batches of about one length, in an order drawn for the epoch.

    Args:
        sequences: the split to train on.
        batch_size: sequences in a batch; the last one cut may be smaller.
        seed: of the whole training.
        number: of the epoch; an epoch's batches do not depend on those before it.
    """
    for indices in shuffled(sequences.lengths, batch_size=batch_size, seed=seed, number=number):
        yield gather(sequences, indices)


def in_order(sequences: Sequences, *, batch_size: int) -> Iterator[Batch]:
    """Give every sequence once, from the shortest to the longest."""
    for indices in cut(np.argsort(sequences.lengths, kind="stable"), batch_size):
        yield gather(sequences, indices)


def shuffled(
    lengths: npt.NDArray[np.int64], *, batch_size: int, seed: int, number: int
) -> list[npt.NDArray[np.int64]]:
    """Draw the batches of one epoch as arrays of indices; see `epoch`."""
    generator = np.random.default_rng([seed, number])
    order = generator.permutation(len(lengths))
    blurred = lengths[order] * generator.uniform(1 - JITTER, 1 + JITTER, len(order))
    batches = cut(order[np.argsort(blurred, kind="stable")], batch_size)
    return [batches[position] for position in generator.permutation(len(batches))]


def cut(order: npt.NDArray[np.int64], batch_size: int) -> list[npt.NDArray[np.int64]]:
    """Cut an order of indices into batches."""
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def gather(sequences: Sequences, indices: npt.NDArray[np.int64]) -> Batch:
    """Put some sequences side by side, padded to the longest of them."""
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
    )


def padding_share(lengths: npt.NDArray[np.int64], batches: list[npt.NDArray[np.int64]]) -> float:
    """Steps of padding divided by all steps that a pass over the batches computes."""
    computed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - int(lengths.sum()) / computed
