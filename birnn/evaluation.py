"""From predictions on the test split to the files that a person, DVC and MLflow read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from birnn import files, metrics, prediction
from birnn.encoding import Encoding
from birnn.sequences import Sequences

METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"
CONFUSION, CONFUSION_COUNTS = "confusion.csv", "confusion_counts.csv"
PER_CLASS, BY_LENGTH = "per_class.csv", "by_length.csv"


def write(
    folder: str | Path, test: Sequences, encoding: Encoding, shares: npt.NDArray[np.float32]
) -> dict[str, float]:
    """Score predictions and write all that `evaluate` gives.

    Args:
        folder: where to, such as `evaluation/bidirectional`.
        test: the sequences that were predicted, with their true labels.
        encoding: names the classes.
        shares: (labels, classes) probabilities in the order of `test.labels`.

    Returns:
        The tree of `metrics.json`.
    """
    folder = Path(folder)
    with files.replacing(folder / PREDICTIONS) as partial:
        pq.write_table(prediction.table(test, encoding, shares, labelled=True), partial)
    predicted, labels = shares.argmax(axis=1), encoding.labels
    counts = metrics.confusion(test.labels, predicted, len(labels))
    _write_csv(pd.DataFrame(counts, index=labels, columns=labels), folder / CONFUSION, "actual")
    _write_csv(_long(counts, labels), folder / CONFUSION_COUNTS)
    _write_csv(pd.DataFrame(metrics.per_class(counts, labels)), folder / PER_CLASS)
    by_length = metrics.by_length(
        test.labels,
        predicted,
        num_classes=len(labels),
        offsets=test.label_offsets,
        lengths=test.lengths,
    )
    _write_csv(pd.DataFrame(by_length), folder / BY_LENGTH)
    found = metrics.metrics(
        test.labels, predicted, shares, labels=labels, offsets=test.label_offsets
    )
    files.write_json(folder / METRICS, found)
    return found


def _long(counts: npt.NDArray[np.int64], labels: list[str]) -> pd.DataFrame:
    """A row for each pair of classes, as plots want it."""
    size = len(labels)
    return pd.DataFrame(
        {
            "actual": np.repeat(labels, size),
            "predicted": np.tile(labels, size),
            "count": counts.ravel(),
        }
    )


def _write_csv(table: pd.DataFrame, path: Path, index_name: str | None = None) -> None:
    text: Any = table.to_csv(
        index=index_name is not None, index_label=index_name, lineterminator="\n"
    )
    files.write_text(path, text)
