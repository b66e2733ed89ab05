"""The ladder of context: the models on the test split, beside baselines that see less.

Each rung is scored on the same test labels, with intervals from the same resamples of sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.evaluation import baselines, metrics, resampling

Classes = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Rung:
    """How good one way to predict is.

    Attributes:
        name: what to call it.
        metrics: by flat name, as `birnn.evaluation.metrics.metrics` gives them.
        intervals: low and high end of those that have an interval.
    """

    name: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


def floor(
    train: Sequences, test: Sequences, *, labels: Sequence[str], resamples: int, seed: int
) -> list[Rung]:
    """Score the baselines: the majority class of train, and a look at each step alone.

    Args:
        train: what the baselines learn from.
        test: what they answer for.
        labels: names of the classes.
        resamples: how often sequences are drawn anew for the intervals.
        seed: of these draws, and of what the second one learns from.
    """
    actual, offsets = test.labels, test.label_offsets
    return [
        Rung(
            name,
            metrics.metrics(actual, classes, None, labels=labels, offsets=offsets),
            resampling.intervals(
                actual, classes, labels=labels, offsets=offsets, resamples=resamples, seed=seed
            ),
        )
        for name, classes in baselines.answers(train, test, labels=labels, seed=seed).items()
    ]


def predicted(path: str | Path, test: Sequences, labels: Sequence[str]) -> Classes:
    """Read the predicted classes back from a table that `evaluate` has written.

    Args:
        path: the table.
        test: the test split.
        labels: names of the classes.

    Raises:
        DataError: the file is missing, or about other sequences or labels.
    """
    try:
        table = pq.read_table(path, columns=["sequence", "label", "predicted"])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    names = pa.array(labels, pa.string())
    rows = np.repeat(np.arange(len(test)), np.diff(test.label_offsets))
    asked = {"sequence": test.ids.take(pa.array(rows)), "label": names.take(pa.array(test.labels))}
    if not table.select(["sequence", "label"]).equals(pa.table(asked)):
        raise DataError(
            f"{path}: expected predictions of the test sequences in data/prepared, found others; "
            "run `dvc repro`"
        )
    return np.asarray(pc.index_in(table["predicted"], names).to_numpy())
