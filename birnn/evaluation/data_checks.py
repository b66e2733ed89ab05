"""The pitfalls that lie in the data: what train and test have in common, and where they differ.

The checks of `birnn.evaluation.checks` on prepared splits; a sample of train is enough for some.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.data import copies
from birnn.data.sequences import UNLABELLED, Labelled, Sequences
from birnn.evaluation import checks, intervals, metrics
from birnn.evaluation.checks import Check, Headlines, LabelCounts, SeenBefore
from birnn.evaluation.intervals import Interval
from birnn.evaluation.metrics import Ints
from birnn.files import pieces

SHOWN = 3  # sequences that are named
LOOKED_AT = 20_000  # steps of train that tell whether a feature gives the label away


@dataclass(frozen=True, slots=True)
class Splits:
    """The prepared splits."""

    train: Sequences
    validation: Sequences
    test: Sequences


def leakage(
    splits: Splits,
    predicted: npt.NDArray[np.integer[Any]],
    *,
    features: Sequence[str],
    labels: Sequence[str],
    headline: str,
    folder: Path | None = None,
) -> Check:
    """Look for what training has seen of the test split; see `birnn.evaluation.checks.leakage`.

    Args:
        splits: the sequences, their features scaled.
        predicted: (labels,) what a model says of the test split.
        features: names of the features, one for each of the values.
        labels: names of the classes.
        headline: the metric that is also given with and without what training has seen.
        folder: for temporary files that take what is long; memory does where None.
    """
    found = _seen_before(splits, folder)
    known = splits.test.labelled(folder)
    seen = (found.test.repeated | found.test.seen)[known.chosen]
    scores = None
    if seen.any() and not seen.all():
        everything = np.ones(len(seen), dtype=bool)
        scores = Headlines(
            *(
                _score(known, known.of(predicted, folder), kept, labels, headline, folder)
                for kept in (everything, seen, ~seen)
            )
        )
    return checks.leakage(
        found, feature_scores=_feature_scores(splits.train, features), headlines=scores
    )


def _seen_before(splits: Splits, folder: Path | None) -> SeenBefore:
    test, validation = copies.compare(splits.train, [splits.test, splits.validation], folder)
    (tuned,) = copies.compare(splits.validation, [splits.test], folder)
    shown = np.flatnonzero(test.seen)[:SHOWN]
    return SeenBefore(
        test=test,
        test_in_validation=tuned.seen & ~test.seen,
        validation=validation,
        examples=[
            (splits.test.ids[place].as_py(), splits.train.ids[test.source[place]].as_py())
            for place in shown.tolist()
        ],
        shared_groups=_shared(splits.train, splits.test),
    )


def accuracy_paradox(
    actual: Ints,
    predicted: Ints,
    sure: Mapping[str, Interval],
    *,
    labels: Sequence[str],
    critical: Collection[str],
) -> Check:
    """Look for the accuracy paradox in answers; see `birnn.evaluation.checks`.

    Args:
        actual: (N,) true classes.
        predicted: (N,) classes that are answered.
        sure: the intervals of their metrics.
        labels: names of the classes.
        critical: those that are called from a threshold on.
    """
    table = metrics.per_class(metrics.confusion(actual, predicted, len(labels)), labels)
    return checks.accuracy_paradox(
        table["support"],
        np.nan_to_num(table["recall"]),
        accuracy=float((actual == predicted).mean()),
        intervals=dict.fromkeys(intervals.names(labels), (0.0, 1.0))  # where none is known
        | {name: (one.low, one.high) for name, one in sure.items()},
        labels=labels,
        critical=critical,
    )


def label_shift(
    train: Sequences, test: Sequences, *, labels: Sequence[str], folder: Path | None = None
) -> Check:
    """Compare how frequent the classes are; see `birnn.evaluation.checks.label_shift`."""
    counts = (_label_counts(split, len(labels), folder) for split in (train, test))
    return checks.label_shift(*counts, labels=labels)


def _label_counts(split: Sequences, classes: int, folder: Path | None) -> LabelCounts:
    grouped = split.grouped
    if split.complete and not grouped:  # nothing of what follows, which takes memory
        return checks.label_counts(split.labels, split.label_offsets, classes)
    known = split.labelled(folder)
    groups = known.groups if grouped else None
    return checks.label_counts(known.labels, known.offsets, classes, groups)


def _shared(train: Sequences, test: Sequences) -> int:
    """How many groups two splits have in common; only those of the second are held."""
    if not (train.grouped or test.grouped):
        return 0  # an id comes once
    names, found = test.groups.unique(), []
    for start in range(0, len(train), pieces.ROWS):
        part = train.groups.slice(start, pieces.ROWS)
        found.append(part.filter(pc.is_in(part, value_set=names)).unique())
        train.release()
    return len(pa.concat_arrays(found).unique())


def _score(
    test: Labelled,
    predicted: npt.NDArray[np.integer[Any]],
    kept: npt.NDArray[np.bool_],
    labels: Sequence[str],
    headline: str,
    folder: Path | None,
) -> float:
    """The headline on some of the test sequences."""
    sizes, inside = np.diff(test.offsets), pieces.empty((len(test.labels),), np.bool_, folder)
    for chosen, rows in pieces.whole(test.offsets):
        inside[rows] = np.repeat(kept[chosen], sizes[chosen])
        pieces.release(inside)
    found = metrics.metrics(
        pieces.chosen(inside, test.labels, folder),
        pieces.chosen(inside, predicted, folder),
        None,
        labels=labels,
        offsets=np.concatenate([[0], np.cumsum(sizes[kept])]),
    )
    return found[headline]


def _feature_scores(train: Sequences, features: Sequence[str]) -> dict[str, float]:
    """Ask `birnn.evaluation.checks.feature_scores` about sequences from all over train."""
    if not features or len(train) < 2:
        return {}
    every = min(-(-int(train.offsets[-1]) // LOOKED_AT), len(train) // 2)
    sample = train.select(np.arange(0, len(train), every))
    labels = sample.labels if sample.tagging else np.repeat(sample.labels, sample.lengths)
    known = labels != UNLABELLED
    offsets = np.concatenate([[0], np.cumsum(known)])[sample.offsets]
    return checks.feature_scores(sample.values[known], labels[known], offsets, names=features)
