"""The pitfalls that lie in the data: what train and test have in common, and where they differ.

The checks of `birnn.evaluation.checks` on prepared splits; a sample of train is enough for some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.data import fingerprints
from birnn.data.fingerprints import Fingerprints
from birnn.data.sequences import Sequences, rows_by_group
from birnn.evaluation import checks, metrics
from birnn.evaluation.checks import Check

LOOKED_AT = 20_000  # steps of train that tell whether a feature gives the label away


def leakage(
    train: Sequences,
    test: Sequences,
    predicted: npt.NDArray[np.integer[Any]],
    *,
    features: Sequence[str],
    labels: Sequence[str],
    headline: str,
) -> Check:
    """Look for what training has seen of the test split; see `birnn.evaluation.checks.leakage`.

    Args:
        train: the training split, its features scaled.
        test: the test split.
        predicted: (labels,) what a model says of it.
        features: names of the features, one for each of the values.
        labels: names of the classes.
        headline: the metric that is also given without the sequences that train has seen.
    """
    seen = fingerprints.copies(_fingerprints(train), _fingerprints(test))
    kept = ~(seen.repeated | seen.copied)
    everything = _score(test, predicted, np.ones(len(test), dtype=bool), labels, headline)
    unseen = _score(test, predicted, kept, labels, headline) if kept.any() else None
    return checks.leakage(
        repeated=seen.repeated,
        copied=seen.copied,
        shared_groups=len(_names(train.groups) & _names(test.groups)),
        feature_scores=_feature_scores(train, features),
        headline=None if unseen is None else (everything, unseen),
    )


def label_shift(train: Sequences, test: Sequences, *, labels: Sequence[str]) -> Check:
    """Compare how frequent the classes are; see `birnn.evaluation.checks.label_shift`."""
    counts = []
    for split in (train, test):
        rows, groups = rows_by_group(split.label_offsets, split.group_numbers)
        counts.append(checks.label_counts(split.labels[rows], groups, len(labels)))
    return checks.label_shift(*counts, labels=labels)


def _fingerprints(split: Sequences) -> Fingerprints:
    return fingerprints.of(split.values, split.offsets, split.tokens, split.token_codes())


def _names(groups: pa.StringArray) -> set[str]:
    return set(groups.unique().to_pylist())


def _score(
    test: Sequences,
    predicted: npt.NDArray[np.integer[Any]],
    kept: npt.NDArray[np.bool_],
    labels: Sequence[str],
    headline: str,
) -> float:
    """The headline on some of the test sequences."""
    sizes = np.diff(test.label_offsets)
    rows = np.repeat(kept, sizes)
    found = metrics.metrics(
        test.labels[rows],
        predicted[rows],
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
    return checks.feature_scores(sample.values, labels, sample.offsets, names=features)
