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

from birnn.data.encoding import Encoding, class_names
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.evaluation import metrics
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


def rung(name: str, test: Sequences, classes: Classes, labels: Sequence[str]) -> Rung:
    """Score answers to the test labels.

    Args:
        name: what to call them.
        test: the sequences.
        classes: (labels,) class indices.
        labels: names of the classes.
    """
    known = test.labelled()
    actual, offsets, classes = known.labels, known.offsets, classes[known.rows]
    sure = intervals(actual, classes, labels=labels, offsets=offsets, groups=known.groups)
    return Rung(
        name,
        metrics.metrics(actual, classes, None, labels=labels, offsets=offsets),
        {name: (one.low, one.high) for name, one in sure.items()},
    )


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a model says of the test labels, (labels,) class indices each.

    Attributes:
        served: with its thresholds, if it has any.
        most_probable: without them: the one rule by which models can be compared.
    """

    served: Classes
    most_probable: Classes


def predicted(
    path: str | Path, test: Sequences, encoding: Encoding, *, thresholds: bool
) -> Predicted:
    """Read the predicted classes back from a table that `evaluate` has written.

    Args:
        path: the table.
        test: the test split.
        encoding: names the classes.
        thresholds: whether some classes are called from a threshold on.

    Raises:
        DataError: the file is missing, or about other sequences or labels.
    """
    columns = [f"probability_{label}" for label in encoding.labels] if thresholds else []
    try:
        table = pq.read_table(path, columns=["sequence", "label", "predicted", *columns])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    names = pa.array(encoding.labels, pa.string())
    rows = np.repeat(np.arange(len(test)), np.diff(test.label_offsets))
    asked = {
        "sequence": test.ids.take(pa.array(rows)),
        "label": class_names(test.labels, encoding.names),
    }
    if not table.select(["sequence", "label"]).equals(pa.table(asked)):
        raise DataError(
            f"{path}: expected predictions of the test sequences in data/prepared, found others; "
            "run `dvc repro`"
        )
    served = np.asarray(pc.index_in(table["predicted"], names).to_numpy())
    if not thresholds:
        return Predicted(served, served)
    shares = np.column_stack([table[column].to_numpy() for column in columns])
    return Predicted(served, shares.argmax(axis=1))
