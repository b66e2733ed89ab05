"""What padding would do to a model's answers if the network read it: a common mistake, measured.

    found = measure(model, encoding, thresholds, test, seed=1)
    found.accuracy, found.slips[0].accuracy     # without the mistake, and with it

Batches of sequences of different lengths are padded. Who calls `torch.nn.LSTM` on such a batch
without packing lets the network read the padding: the backward direction begins in it, and the last
states are those after it. Here the same weights run both ways on the same batches of test
sequences. Sequences of one length need no padding; each of their batches then gets one more
sequence, of twice the length, whose answers are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from birnn.data import buckets
from birnn.data.encoding import Encoding
from birnn.data.sequences import Labelled, Sequences
from birnn.evaluation import intervals, metrics
from birnn.model import batching, prediction
from birnn.model.networks import SequenceModel

Reading = Literal["every step", "last states", "output[:, -1]", "summary"]

BATCH_SIZE, BATCH_STEPS = 64, 1 << 16  # as tutorials have it; a bound on memory
MOST_STEPS = 1 << 18  # of the test split that are run, padding included
LAST_STEPS = 10  # that are counted one by one from the end
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Some labels, and the accuracy on them.

    Attributes:
        first: the shortest length in steps, or a step counted from the end, from 1.
        last: the longest length, or the same step.
        labels: how many.
        exact: accuracy of the model.
        dense: accuracy where it reads the padding.
    """

    first: int
    last: int
    labels: int
    exact: float
    dense: float


@dataclass(frozen=True, slots=True)
class Slip:
    """One way to let padding in, and what it does.

    Attributes:
        reading: what the linear layer reads: of a tagger `every step`; of a classifier the
            `last states` after the padding (`h_n`) and `output[:, -1]`, or a `summary` of all
            steps, those of padding too.
        accuracy: with the mistake.
        change: of the accuracy by the mistake.
        low: low end of its 95 % interval; None where there is none.
        high: high end of it.
        changed: share of the answers that are others.
        moved: how far a label's probabilities move: the largest change of its classes, on average.
        by_length: by the length of the sequence.
        from_end: of a tagger, by the distance of a step from the end of its sequence.
    """

    reading: Reading
    accuracy: float
    change: float
    low: float | None
    high: float | None
    changed: float
    moved: float
    by_length: list[Group]
    from_end: list[Group]


@dataclass(frozen=True, slots=True)
class Padding:
    """What `padding.json` says.

    Attributes:
        sequences: of the test split that were run, in random batches.
        batch_size: of these batches, at most.
        beside_longer: whether one of twice the length was put into each batch.
        share: of padding among the steps of these sequences.
        accuracy: of the model as it is.
        slips: the mistakes.
    """

    sequences: int
    batch_size: int
    beside_longer: bool
    share: float
    accuracy: float
    slips: list[Slip]


class _Batch(NamedTuple):
    """Sequences that run together, of which the first `own` are measured."""

    sequences: Sequences
    own: int


class _Said(NamedTuple):
    """What a model says of each label."""

    shares: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


def measure(
    model: SequenceModel,
    encoding: Encoding,
    thresholds: Mapping[str, float],
    test: Sequences,
    *,
    seed: int,
) -> Padding:
    """Run a model with and without the mistake on sequences of the test split.

    Args:
        model: a trained model, on the CPU.
        encoding: the one that it was trained with.
        thresholds: of its critical classes; see `birnn.model.prediction.decide`.
        test: the test split.
        seed: of the batches.
    """
    order = np.random.default_rng(seed).permutation(len(test))
    order = order[np.isin(order, test.labelled().chosen)]
    cut = _first(buckets.cut(order, test.lengths, BATCH_SIZE, BATCH_STEPS), test.lengths)
    drawn = test.select(np.concatenate(cut))
    beside_longer = bool((test.lengths == test.lengths[0]).all())
    select = _beside_longer if beside_longer else Sequences.select
    batches = [_Batch(select(test, one), len(one)) for one in cut]
    known = drawn.labelled()

    def say() -> _Said:
        shares = _probabilities(model, batches)[known.rows]
        return _Said(shares, prediction.decide(shares, encoding, thresholds))

    exact, slips = say(), []
    for reading in _readings(model):
        with dense(model, reading):
            found = say()
        change = intervals.difference(
            known.labels,
            found.classes,
            exact.classes,
            labels=encoding.names,
            offsets=known.offsets,
            groups=known.groups,
        )
        slips.append(_slip(reading, drawn, exact, found, change.get("accuracy")))
    computed = sum(batch.own * int(batch.sequences.lengths.max()) for batch in batches)
    return Padding(
        sequences=len(drawn),
        batch_size=BATCH_SIZE,
        beside_longer=beside_longer,
        share=1 - int(drawn.lengths.sum()) / computed,
        accuracy=float((exact.classes == known.labels).mean()),
        slips=slips,
    )


@contextmanager
def dense(model: SequenceModel, reading: Reading) -> Iterator[None]:
    """Let a model take every step of a batch for a real one, as a call without lengths does."""

    def forget(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        values, lengths, *rest = given
        return values, torch.full_like(lengths, values.shape[1]), *rest

    def last_outputs(_: nn.Module, __: Any, found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        output, last = found
        directions = output[:, -1].reshape(last.shape[1], -1, last.shape[2]).movedim(1, 0)
        return output, torch.cat([last[: -len(directions)], directions])

    handles = [model.register_forward_pre_hook(forget)]
    if reading == "output[:, -1]":
        handles.append(model.rnn.register_forward_hook(last_outputs))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _readings(model: SequenceModel) -> list[Reading]:
    if model.architecture.task == "tagging":
        return ["every step"]
    return ["last states", "output[:, -1]"] if model.architecture.head == "last" else ["summary"]


def _first(
    batches: list[npt.NDArray[np.int64]], lengths: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """As many of the first batches as hold `MOST_STEPS`, one at least."""
    computed = np.cumsum([len(batch) * int(lengths[batch].max()) for batch in batches])
    return batches[: max(1, int(np.searchsorted(computed, MOST_STEPS, side="right")))]


def _beside_longer(test: Sequences, batch: npt.NDArray[np.int64]) -> Sequences:
    """Select a batch of sequences of one length, and behind them one of twice that length.

    It is the first one, twice, end to end.
    """
    doubled = test.select(np.concatenate([batch, batch[[0, 0]]]))
    labels = doubled.labels if test.tagging else doubled.labels[:-1]
    return replace(
        doubled,
        offsets=np.delete(doubled.offsets, -2),
        labels=labels,
        ids=doubled.ids[:-1],
        groups=doubled.groups[:-1],
    )


@torch.inference_mode()
def _probabilities(model: SequenceModel, batches: Sequence[_Batch]) -> npt.NDArray[np.float32]:
    """(labels, classes) of the sequences that are measured."""
    spell, found = bool(model.architecture.characters), []
    for some, own in batches:
        batch = batching.gather(some, np.arange(len(some)), spell=spell)
        shares = model(*batch.inputs).softmax(dim=-1)[:own]
        real = shares[batching.real_steps(batch)[:own]] if some.tagging else shares
        found.append(real.numpy())
    return np.concatenate(found)


def _slip(
    reading: Reading,
    drawn: Sequences,
    exact: _Said,
    found: _Said,
    change: intervals.Difference | None,
) -> Slip:
    known = drawn.labelled()
    right = [one.classes == known.labels for one in (exact, found)]
    return Slip(
        reading=reading,
        accuracy=float(right[1].mean()),
        change=float(right[1].mean() - right[0].mean()),
        low=change and change.low,
        high=change and change.high,
        changed=float((exact.classes != found.classes).mean()),
        moved=round(float(np.abs(exact.shares - found.shares).max(axis=1).mean()), DIGITS),
        by_length=_by_length(known, *right),
        from_end=_from_end(drawn, *right) if drawn.tagging else [],
    )


def _by_length(
    drawn: Labelled, exact: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]
) -> list[Group]:
    bucket = metrics.length_buckets(drawn.lengths)
    of_label = np.repeat(bucket, np.diff(drawn.offsets))
    return [
        _group(int(part.min()), int(part.max()), exact[of_label == n], found[of_label == n])
        for n in range(int(bucket.max()) + 1)
        for part in [drawn.lengths[bucket == n]]
    ]


def _from_end(
    drawn: Sequences, exact: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]
) -> list[Group]:
    left = np.repeat(drawn.offsets[1:], drawn.lengths) - np.arange(len(drawn.labels))
    left = left[drawn.labelled().rows]
    return [
        _group(step, step, exact[left == step], found[left == step])
        for step in range(1, min(LAST_STEPS, int(left.max())) + 1)
        if (left == step).any()
    ]


def _group(
    first: int, last: int, exact: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]
) -> Group:
    return Group(first, last, len(exact), float(exact.mean()), float(found.mean()))
