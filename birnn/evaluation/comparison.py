"""The ladder of context: the models on the test split, beside baselines that see less.

Each rung is scored on the same test labels.
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
from birnn.evaluation import baselines, metrics
from birnn.evaluation.intervals import intervals

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


def floor(train: Sequences, test: Sequences, *, labels: Sequence[str], seed: int) -> list[Rung]:
    """Score the baselines: the majority class of train, and a look at each step alone.

    Args:
        train: what the baselines learn from.
        test: what they answer for.
        labels: names of the classes.
        seed: of what the second one learns from.
    """
    actual, offsets = test.labels, test.label_offsets
    return [
        Rung(
            name,
            metrics.metrics(actual, classes, None, labels=labels, offsets=offsets),
            {
                name: (one.low, one.high)
                for name, one in intervals(
                    actual, classes, labels=labels, offsets=offsets, groups=test.group_numbers
                ).items()
            },
        )
        for name, classes in baselines.answers(train, test, labels=labels, seed=seed).items()
    ]


def predicted(path: str | Path, labels: Sequence[str]) -> Classes:
    """Read the predicted classes back from a table that `evaluate` has written.

    Raises:
        DataError: the file is missing.
    """
    try:
        column = pq.read_table(path, columns=["predicted"])["predicted"]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    return np.asarray(pc.index_in(column, pa.array(labels)).to_numpy())
