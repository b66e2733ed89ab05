"""The test sequences that a model does worst on, so that people can look at them.

    for one in worst(test, encoding, shares, classes): print(one.sequence, one.accuracy, one.loss)

What fails most is often labelled wrongly, cut off or of another kind; only a person can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.data.encoding import Encoding, class_names
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.evaluation import trace
from birnn.files import pieces

Classes = npt.NDArray[np.integer[Any]]

MOST = 5
MOST_STEPS, MOST_FEATURES = 40, 8  # that are shown
LEAST_SHARE = 1e-12  # of the true class, so that the loss is finite
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Tag:
    """One label: the true class (None without a label), the predicted one, and the probability of
    the true one.
    """

    actual: str | None
    predicted: str
    probability: float


@dataclass(frozen=True, slots=True)
class Worst:
    """A sequence that a model does badly on.

    Attributes:
        sequence: its id.
        steps: how many it has.
        accuracy: share of its labels that are right.
        loss: cross entropy in nats, the mean over its labels.
        tags: of each of the first steps; of a classifier, the one of the sequence.
        words: the tokens of the first steps; empty where steps have no tokens.
        values: (features, steps) what the model reads of the first features and steps, encoded;
            empty where steps have tokens.
        kept: what travels with the first labels, by the column's name.
    """

    sequence: str
    steps: int
    accuracy: float
    loss: float
    tags: list[Tag]
    words: list[str]
    values: list[list[float]]
    kept: dict[str, list[str]] = field(default_factory=dict)


def worst(
    test: Sequences,
    encoding: Encoding,
    shares: npt.NDArray[np.float32],
    classes: Classes,
    kept: Mapping[str, pa.ChunkedArray] = MappingProxyType({}),
) -> list[Worst]:
    """Find the sequences of the lowest accuracy, and among equals of the highest loss.

    Args:
        test: the test split.
        encoding: names the classes.
        shares: (labels, classes) probabilities.
        classes: (labels,) predicted class indices.
        kept: (labels,) what travels with the rows, by the column's name.

    Returns:
        `MOST` at most, the worst first; none whose labels are all right.
    """
    hits, counts, nats = np.zeros((3, len(test)))  # of each sequence; those that have labels
    for chosen, rows in pieces.whole(test.label_offsets):
        labels, starts = test.labels[rows], test.label_offsets[chosen] - rows.start
        known = labels != UNLABELLED
        probability = _of_actual(shares[rows], labels).astype(np.float64)
        loss = np.where(known, -np.log(np.maximum(probability, LEAST_SHARE)), 0)
        each = (known & (classes[rows] == labels), known, loss)
        for sums, amounts in zip((hits, counts, nats), each, strict=True):
            sums[chosen] = np.add.reduceat(amounts, starts, dtype=np.float64)
        pieces.release(shares, classes)
    labelled = np.flatnonzero(counts)
    hits, counts, nats = hits[labelled], counts[labelled], nats[labelled]
    right, loss = hits / counts, np.round(nats / counts, DIGITS)
    ranked = np.lexsort([-loss, right])[:MOST]
    ranked = ranked[right[ranked] < 1]
    return [
        Worst(
            sequence=test.ids[number].as_py(),
            steps=int(test.lengths[number]),
            accuracy=float(right[place]),
            loss=float(loss[place]),
            tags=_tags(test, encoding, shares, classes, number),
            words=_words(test, number),
            values=_values(test, number),
            kept=_kept(test, kept, number),
        )
        for place, number in zip(ranked.tolist(), labelled[ranked].tolist(), strict=True)
    ]


def _of_actual(
    shares: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
    """The probability of each label's class, (labels,); 0 of one that is none of the model's."""
    answered = (labels >= 0) & (labels < shares.shape[1])
    column = np.where(answered, labels, 0)
    return np.where(answered, shares[np.arange(len(labels)), column], np.float32(0))


def _tags(
    test: Sequences,
    encoding: Encoding,
    shares: npt.NDArray[np.float32],
    classes: Classes,
    number: int,
) -> list[Tag]:
    start, end = test.label_offsets[number : number + 2].tolist()
    rows = np.arange(start, min(end, start + MOST_STEPS))
    names = class_names(test.labels[rows], encoding.names)
    sure = _of_actual(shares[rows], test.labels[rows])
    return [
        Tag(
            actual=actual,
            predicted=encoding.labels[classes[row]],
            probability=round(float(probability), DIGITS),
        )
        for row, actual, probability in zip(rows.tolist(), names.to_pylist(), sure, strict=True)
    ]


def _kept(
    test: Sequences, kept: Mapping[str, pa.ChunkedArray], number: int
) -> dict[str, list[str]]:
    start, end = test.label_offsets[number : number + 2].tolist()
    shown = min(end - start, MOST_STEPS)
    return {name: column.slice(start, shown).to_pylist() for name, column in kept.items()}


def _steps(test: Sequences, number: int) -> npt.NDArray[np.int64]:
    start, end = test.offsets[number : number + 2].tolist()
    return np.arange(start, min(end, start + MOST_STEPS))


def _words(test: Sequences, number: int) -> list[str]:
    return trace.words(test, _steps(test, number)) or []


def _values(test: Sequences, number: int) -> list[list[float]]:
    if test.tokens is not None:
        return []
    shown = test.values[_steps(test, number), :MOST_FEATURES].T
    return [[round(float(value), DIGITS) for value in row] for row in shown]
