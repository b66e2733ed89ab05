"""Which sequences go into a batch together: those of about one length, to save padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

JITTER = 0.01  # lengths are blurred by 1 % before sorting, so that batches differ between epochs
MOST_BINS = 24  # of the histogram of lengths


def shuffled(
    lengths: npt.NDArray[np.int64],
    *,
    batch_size: int,
    batch_steps: int | None = None,
    seed: int,
    number: int,
) -> list[npt.NDArray[np.int64]]:
    """Draw the batches of one epoch as arrays of indices; see `birnn.model.batching.epoch`."""
    generator = np.random.default_rng([seed, number])
    order = generator.permutation(len(lengths))
    blurred = lengths[order] * generator.uniform(1 - JITTER, 1 + JITTER, len(order))
    order = order[np.argsort(blurred, kind="stable")]
    # What fills no batch is divided at random between the shortest and the longest: left to the
    # longest alone, the same sequence could be a batch of its own in every epoch. The rest moves.
    least = 1 if batch_steps else (len(order) - 1) % batch_size + 1  # so that batches are no more
    head = int(generator.integers(least, batch_size, endpoint=True))
    first = cut(order, lengths, head, batch_steps and max(1, batch_steps * head // batch_size))[0]
    batches = [first, *cut(order[len(first) :], lengths, batch_size, batch_steps)]
    return [batches[position] for position in generator.permutation(len(batches))]


def cut(
    order: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    batch_size: int,
    batch_steps: int | None = None,
) -> list[npt.NDArray[np.int64]]:
    """Cut an order of indices into batches, each as large as the two bounds allow."""
    batches, start = [], 0
    while start < len(order):
        batch = order[start : start + batch_size]
        if batch_steps is not None:
            padded = np.maximum.accumulate(lengths[batch]) * np.arange(1, len(batch) + 1)
            batch = batch[: max(1, np.searchsorted(padded, batch_steps, side="right"))]
        batches.append(batch)
        start += len(batch)
    return batches


def padding_share(lengths: npt.NDArray[np.int64], batches: list[npt.NDArray[np.int64]]) -> float:
    """Steps of padding divided by all steps that a pass over the batches computes."""
    computed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - int(lengths.sum()) / computed


def alive(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count the sequences that have a step at each time, (longest,): torch's `batch_sizes`."""
    return len(lengths) - np.cumsum(np.bincount(lengths))[:-1]


class BothWays(NamedTuple):
    """The batches of one pass, as arrays of indices."""

    at_random: list[npt.NDArray[np.int64]]
    as_batched: list[npt.NDArray[np.int64]]


def both_ways(
    lengths: npt.NDArray[np.int64], *, batch_size: int, batch_steps: int | None, seed: int
) -> BothWays:
    """Batch sequences in a random order, and as training batches them in its first epoch."""
    order = np.random.default_rng(seed).permutation(len(lengths))
    return BothWays(
        at_random=cut(order, lengths, batch_size, batch_steps),
        as_batched=shuffled(
            lengths, batch_size=batch_size, batch_steps=batch_steps, seed=seed, number=1
        ),
    )


@dataclass(frozen=True, slots=True)
class Packing:
    """What `packing.json` says.

    Attributes:
        sequences: of each split.
        steps: of each split.
        edges: where the bins of the histogram begin, in steps, and where the last one ends; a bin
            holds its beginning and not its end.
        histogram: of each split, how many sequences have a length in each bin.
        padding_at_random: share of padding in batches of sequences as they come.
        padding_as_batched: share of padding in the batches that training uses.
        duplicates: sequences that repeat an earlier one.
        conflicts: those of them that have other labels.
    """

    sequences: dict[str, int]
    steps: dict[str, int]
    edges: list[int]
    histogram: dict[str, list[int]]
    padding_at_random: float
    padding_as_batched: float
    duplicates: int
    conflicts: int


def packing(
    lengths: Mapping[str, npt.NDArray[np.int64]],
    *,
    batch_size: int,
    batch_steps: int | None,
    seed: int,
    duplicates: int,
    conflicts: int,
) -> Packing:
    """Say what padding costs, with the training sequences as they come and as batched here.

    Args:
        lengths: steps of each sequence, by split.
        batch_size: see `cut`.
        batch_steps: see `cut`.
        seed: of the order.
        duplicates: see `Packing`.
        conflicts: see `Packing`.
    """
    train = lengths["train"]
    batches = both_ways(train, batch_size=batch_size, batch_steps=batch_steps, seed=seed)
    edges = _edges(np.concatenate(list(lengths.values())))
    return Packing(
        sequences={split: len(steps) for split, steps in lengths.items()},
        steps={split: int(steps.sum()) for split, steps in lengths.items()},
        edges=edges.tolist(),
        histogram={
            split: np.histogram(steps, edges)[0].tolist() for split, steps in lengths.items()
        },
        padding_at_random=padding_share(train, batches.at_random),
        padding_as_batched=padding_share(train, batches.as_batched),
        duplicates=duplicates,
        conflicts=conflicts,
    )


def _edges(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bins of as many whole steps each, from the shortest to beyond the longest."""
    shortest, longest = int(lengths.min()), int(lengths.max())
    width = -(-(longest - shortest + 1) // MOST_BINS)
    return np.arange(shortest, longest + width + 1, width)
