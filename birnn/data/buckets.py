"""Which sequences go into a batch together: those of about one length, to save padding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

JITTER = 0.01  # lengths are blurred by 1 % before sorting, so that batches differ between epochs
MOST_BINS = 24  # of the histogram of lengths


def part_order(parts: int, *, seed: int, number: int) -> list[int]:
    """Draw the order in which an epoch reads the parts of a split."""
    order: list[int] = np.random.default_rng([seed, number]).permutation(parts).tolist()
    return order


def shuffled(
    lengths: npt.NDArray[np.int64],
    *,
    batch_size: int,
    batch_steps: int | None = None,
    seed: int,
    number: int,
    part: int | None = None,
) -> list[npt.NDArray[np.int64]]:
    """Draw the batches of one epoch as arrays of indices; see `birnn.model.batching.epoch`.

    Of a split in parts, those of one of them, which depend on nothing that the others hold.
    """
    drawn = [seed, number] if part is None else [seed, number, part + 1]
    generator = np.random.default_rng(drawn)
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
    return 1 - int(lengths.sum()) / _computed(lengths, batches)


def alive(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count the sequences that have a step at each time, (longest,): torch's `batch_sizes`."""
    return len(lengths) - np.cumsum(np.bincount(lengths))[:-1]


class BothWays(NamedTuple):
    """The batches of one pass, as arrays of indices."""

    at_random: list[npt.NDArray[np.int64]]
    as_batched: list[npt.NDArray[np.int64]]


def both_ways(
    lengths: npt.NDArray[np.int64],
    *,
    batch_size: int,
    batch_steps: int | None,
    seed: int,
    part: int | None = None,
) -> BothWays:
    """Batch sequences in a random order, and as training batches them in its first epoch."""
    order = np.random.default_rng(seed).permutation(len(lengths))
    return BothWays(
        at_random=cut(order, lengths, batch_size, batch_steps),
        as_batched=shuffled(
            lengths,
            batch_size=batch_size,
            batch_steps=batch_steps,
            seed=seed,
            number=1,
            part=part,
        ),
    )


class Computed(NamedTuple):
    """Steps that a pass over some batches computes, padding included."""

    at_random: int
    as_batched: int


def computed(
    lengths: npt.NDArray[np.int64],
    *,
    batch_size: int,
    batch_steps: int | None,
    seed: int,
    part: int | None = None,
) -> Computed:
    """Count the steps that both ways of batching compute."""
    ways = both_ways(lengths, batch_size=batch_size, batch_steps=batch_steps, seed=seed, part=part)
    return Computed(*(_computed(lengths, batches) for batches in ways))


def _computed(lengths: npt.NDArray[np.int64], batches: list[npt.NDArray[np.int64]]) -> int:
    return sum(len(batch) * int(lengths[batch].max()) for batch in batches)


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
    passed = computed(lengths["train"], batch_size=batch_size, batch_steps=batch_steps, seed=seed)
    counted = {split: Counter(steps.tolist()) for split, steps in lengths.items()}
    return packing_of(counted, passed, duplicates=duplicates, conflicts=conflicts)


def packing_of(
    counted: Mapping[str, Mapping[int, int]], passed: Computed, *, duplicates: int, conflicts: int
) -> Packing:
    """Say what padding costs, of what was counted elsewhere.

    Args:
        counted: how many sequences have so many steps, by split.
        passed: what a pass over the training sequences computes.
        duplicates: see `Packing`.
        conflicts: see `Packing`.
    """
    steps = {split: _steps(counts) for split, counts in counted.items()}
    edges = _edges({length for counts in counted.values() for length in counts})
    return Packing(
        sequences={split: sum(counts.values()) for split, counts in counted.items()},
        steps=steps,
        edges=edges.tolist(),
        histogram={
            split: np.histogram([*counts], edges, weights=[*counts.values()])[0].tolist()
            for split, counts in counted.items()
        },
        padding_at_random=1 - steps["train"] / passed.at_random,
        padding_as_batched=1 - steps["train"] / passed.as_batched,
        duplicates=duplicates,
        conflicts=conflicts,
    )


def _steps(counts: Mapping[int, int]) -> int:
    return sum(length * number for length, number in counts.items())


def _edges(lengths: Collection[int]) -> npt.NDArray[np.int64]:
    """Bins of as many whole steps each, from the shortest to beyond the longest."""
    shortest, longest = min(lengths), max(lengths)
    width = -(-(longest - shortest + 1) // MOST_BINS)
    return np.arange(shortest, longest + width + 1, width)
