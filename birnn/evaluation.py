"""From predictions on the test split to the files that a person, DVC and MLflow read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from birnn import checks, files, history, metrics, prediction
from birnn.checks import Check
from birnn.encoding import Encoding
from birnn.history import Epoch
from birnn.sequences import Sequences

METRICS, INTERVALS = "metrics.json", "intervals.json"
CHECKS, OPERATING_POINTS = "checks.json", "operating_points.json"
PREDICTIONS = "predictions.parquet"
CONFUSION, CONFUSION_COUNTS = "confusion.csv", "confusion_counts.csv"
PER_CLASS, BY_LENGTH = "per_class.csv", "by_length.csv"
PRECISION_RECALL, CALIBRATION = "precision_recall.csv", "calibration.csv"

Shares = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Predicted:
    """A split and what a model says of it.

    Attributes:
        split: the sequences, with their true labels.
        encoding: names the classes.
        thresholds: of the critical classes; see `birnn.prediction.decide`.
        shares: (labels, classes) probabilities in the order of the split's labels.
    """

    split: Sequences
    encoding: Encoding
    thresholds: Mapping[str, float]
    shares: Shares

    @property
    def classes(self) -> Classes:
        """The predicted class of each label."""
        return prediction.decide(self.shares, self.encoding, self.thresholds)


def write(
    folder: str | Path, test: Predicted, epochs: Sequence[Epoch], *, resamples: int, seed: int
) -> dict[str, float]:
    """Score predictions and write all of `evaluate` but the operating points.

    Args:
        folder: where to, such as `evaluation/bidirectional`.
        test: the test split and what the model says of it.
        epochs: how the model was trained.
        resamples: how often sequences are drawn anew for the intervals.
        seed: of these draws.

    Returns:
        The tree of `metrics.json`.
    """
    folder = Path(folder)
    with files.replacing(folder / PREDICTIONS) as partial:
        table = prediction.table(
            test.split, test.encoding, test.thresholds, test.shares, labelled=True
        )
        pq.write_table(table, partial)
    actual, predicted = test.split.labels, test.classes
    what: dict[str, Any] = {"labels": test.encoding.labels, "offsets": test.split.label_offsets}
    found = metrics.metrics(actual, predicted, test.shares, **what)
    sure = metrics.intervals(actual, predicted, **what, resamples=resamples, seed=seed)
    files.write_json(folder / METRICS, found)
    files.write_json(folder / INTERVALS, {name: ends._asdict() for name, ends in sure.items()})
    _write_tables(folder, test, predicted)
    found_checks = [asdict(check) for check in check(test, predicted, sure, epochs)]
    files.write_json(folder / CHECKS, found_checks)
    return found


def _write_tables(folder: Path, test: Predicted, predicted: Classes) -> None:
    actual, labels = test.split.labels, test.encoding.labels
    counts = metrics.confusion(actual, predicted, len(labels))
    by_length = metrics.by_length(
        actual,
        predicted,
        num_classes=len(labels),
        offsets=test.split.label_offsets,
        lengths=test.split.lengths,
    )
    _write_csv(pd.DataFrame(counts, index=labels, columns=labels), folder / CONFUSION, "actual")
    _write_csv(_long(counts, labels), folder / CONFUSION_COUNTS)
    _write_csv(metrics.per_class(counts, labels), folder / PER_CLASS)
    _write_csv(by_length, folder / BY_LENGTH)
    _write_csv(metrics.calibration(actual, test.shares), folder / CALIBRATION)
    curves = metrics.precision_recall(actual, test.shares, labels=labels)
    _write_csv(curves, folder / PRECISION_RECALL)


def check(
    test: Predicted,
    predicted: Classes,
    intervals: Mapping[str, tuple[float, float]],
    epochs: Sequence[Epoch],
) -> list[Check]:
    """Look for the pitfalls that one model can fall into; see `birnn.checks`.

    Args:
        test: the test split and what the model says of it.
        predicted: its `classes`.
        intervals: low and high end of the metrics.
        epochs: how the model was trained.
    """
    actual, offsets, labels = test.split.labels, test.split.label_offsets, test.encoding.labels
    table = metrics.per_class(metrics.confusion(actual, predicted, len(labels)), labels)
    right = predicted == actual
    present = checks.label_counts(actual, offsets, len(labels)).present
    return [
        checks.accuracy_paradox(
            table["support"],
            np.nan_to_num(table["recall"]),
            accuracy=float(right.mean()),
            intervals=intervals,
            labels=labels,
        ),
        checks.overfitting(
            np.array([epoch.train_loss for epoch in epochs]),
            np.array([epoch.validation_loss for epoch in epochs]),
            kept=list(epochs).index(history.best(epochs)),
        ),
        checks.sequence_length(
            np.add.reduceat(right.astype(np.int64), offsets[:-1]),
            np.diff(offsets),
            test.split.lengths,
            metrics.length_buckets(test.split.lengths),
        ),
        checks.calibration(test.shares.max(axis=1), test.shares.argmax(axis=1) == actual, offsets),
        checks.rare_classes(present, labels=labels),
    ]


def write_operating_points(
    folder: str | Path, validation: Predicted, test: Predicted, wanted: Mapping[str, Any]
) -> None:
    """Write what the thresholds give, beside what the most probable class would give.

    Args:
        folder: where to, such as `evaluation/bidirectional`.
        validation: what the thresholds were chosen on.
        test: the test split.
        wanted: what to reach, by the name of the critical class, as `params.yaml` says it.
    """
    rows = {
        "validation": (validation, validation.classes),
        "test": (test, test.classes),
        "test_argmax": (test, test.shares.argmax(axis=1)),
    }
    points = {
        label: {"threshold": threshold, "wanted": wanted.get(label)}
        | {row: _figures(found, classes, label) for row, (found, classes) in rows.items()}
        for label, threshold in test.thresholds.items()
    }
    files.write_json(Path(folder) / OPERATING_POINTS, points)


def _figures(found: Predicted, classes: Classes, label: str) -> dict[str, float | None]:
    """Precision and recall of one class; None where the split does not hold it."""
    column = found.encoding.labels.index(label)
    actual, called = found.split.labels == column, classes == column
    right, support, calls = (int(rows.sum()) for rows in (actual & called, actual, called))
    if not support:
        return {"precision": None, "recall": None}
    return {"precision": right / max(calls, 1), "recall": right / support}


def _long(counts: npt.NDArray[np.int64], labels: list[str]) -> metrics.Table:
    """A row for each pair of classes, as plots want it."""
    size = len(labels)
    return {
        "actual": np.repeat(labels, size),
        "predicted": np.tile(labels, size),
        "count": counts.ravel(),
    }


def _write_csv(
    table: pd.DataFrame | metrics.Table, path: Path, index_name: str | None = None
) -> None:
    text: Any = pd.DataFrame(table).to_csv(
        index=index_name is not None, index_label=index_name, lineterminator="\n"
    )
    files.write_text(path, text)
