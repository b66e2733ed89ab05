"""The ladder of context: the models on the test split, beside baselines that see less.

Each rung is scored on the same test labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from birnn.files import pieces

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


def rung(
    name: str,
    test: Sequences,
    classes: Classes,
    labels: Sequence[str],
    folder: Path | None = None,
) -> Rung:
    """Score answers to the test labels.

    Args:
        name: what to call them.
        test: the sequences.
        classes: (labels,) class indices.
        labels: names of the classes.
        folder: for temporary files that take what is long; memory does where None.
    """
    known = test.labelled(folder)
    actual, offsets, classes = known.labels, known.offsets, known.of(classes, folder)
    sure = intervals(
        actual, classes, labels=labels, offsets=offsets, groups=known.groups, folder=folder
    )
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
    path: str | Path,
    test: Sequences,
    encoding: Encoding,
    *,
    thresholds: bool,
    folder: Path | None = None,
) -> Predicted:
    """Read the predicted classes back from a table that `evaluate` has written.

    Args:
        path: the table.
        test: the test split.
        encoding: names the classes.
        thresholds: whether some classes are called from a threshold on.
        folder: for temporary files that take the classes; memory does where None.

    Raises:
        DataError: the file is missing, or about other sequences or labels.
    """
    columns = [f"probability_{label}" for label in encoding.labels] if thresholds else []
    names, offsets = pa.array(encoding.labels, pa.string()), test.label_offsets
    size, kind, end = len(test.labels), np.min_scalar_type(len(encoding.labels)), 0
    served = pieces.empty((size,), kind, folder)
    most = pieces.empty((size,), kind, folder) if thresholds else served
    for batch in _batches(path, ["sequence", "label", "predicted", *columns]):
        start, end = end, end + batch.num_rows
        if end > len(served):
            raise _others(path)
        owner = np.searchsorted(offsets, np.arange(start, end), side="right") - 1
        asked = {
            "sequence": test.ids.take(pa.array(owner)),
            "label": class_names(test.labels[start:end], encoding.names),
        }
        if not batch.select([*asked]).equals(pa.record_batch(asked)):
            raise _others(path)
        served[start:end] = pc.index_in(batch["predicted"], names).to_numpy()
        if thresholds:
            shares = np.column_stack([batch[column].to_numpy() for column in columns])
            most[start:end] = shares.argmax(axis=1)
        pieces.release(served, most)
        test.release()
    if end < len(served):
        raise _others(path)
    return Predicted(served, most)


def _batches(path: str | Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(pieces.ROWS, columns=columns)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None


def _others(path: str | Path) -> DataError:
    return DataError(
        f"{path}: expected predictions of the test sequences in data/prepared, found others; "
        "run `dvc repro`"
    )
