"""From predictions on the test split to the files that a person, DVC and MLflow read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from birnn import params
from birnn.data.encoding import Encoding
from birnn.data.sequences import UNLABELLED, Labelled, Sequences
from birnn.evaluation import (
    checks,
    data_checks,
    expected_accuracy,
    intervals,
    metrics,
    padding,
    slices,
    trace,
    worst,
)
from birnn.evaluation.checks import Check
from birnn.evaluation.intervals import Interval
from birnn.files import atomic, paths, pieces, records, scores
from birnn.files.scores import Scores
from birnn.model import devices, history, prediction, saved_model
from birnn.model.history import Epoch
from birnn.model.networks import SequenceModel
from birnn.model.operating_points import Wanted

POSITION_COLUMNS = ("counted_from", "first", "last", "rows", "accuracy")
SINGLE_POSITIONS, WIDER_POSITIONS = 10, 10  # steps that are counted singly, then ever wider groups
MOST_ANSWERS, ANSWERS_A_LINE = 1000, 25  # that are kept in git, to compare other results with
MOST_CONFUSIONS, EXAMPLES, CONTEXT = 6, 2, 3  # pairs; examples of each; steps around a mistake
ROW_GROUP = 1 << 20  # rows of `predictions.parquet` that are put together at a time

Shares = npt.NDArray[np.float32]
Classes = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ends:
    """Of an interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Reached:
    """Of one class, in rows: `right` of `predicted` make precision, of `support` recall.

    Both are None where the split does not hold the class, and so are intervals that rest on
    too few groups. `cost` is that of 1,000 labels, where params say what errors cost.
    """

    precision: float | None
    recall: float | None
    right: int
    predicted: int
    support: int
    precision_interval: Ends | None
    recall_interval: Ends | None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """What `operating_points.json` says of a critical class: what is wanted, what its threshold
    gives, and what the most probable class would give.
    """

    threshold: float
    wanted: Wanted | None
    validation: Reached
    test: Reached
    test_argmax: Reached


@dataclass(frozen=True, slots=True)
class Around:
    """A step near a mistake, counted from 1; its token and its class, where it has them."""

    step: int
    word: str | None
    actual: str | None
    predicted: str


@dataclass(frozen=True, slots=True)
class Example:
    """A mistake.

    `step` counts from 1, None where the label is the sequence's; `probability` is that of the wrong
    class; `context` are the steps around it; `kept` is what travels with the row.
    """

    sequence: str
    steps: int
    step: int | None
    probability: float
    context: list[Around]
    kept: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Confusion:
    """What `confusions.json` says of a pair; `share` is of the rows of the actual class."""

    actual: str
    predicted: str
    count: int
    share: float
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Predicted:
    """A split and what a model says of it.

    Attributes:
        split: the sequences, with their true labels.
        encoding: names the classes.
        thresholds: of the critical classes; see `birnn.model.prediction.decide`.
        shares: (labels, classes) probabilities in the order of the split's labels.
        kept: (labels,) what travels with the rows, by the column's name.
        folder: for temporary files that take arrays as large as `shares`; None to hold them in
            memory.
    """

    split: Sequences
    encoding: Encoding
    thresholds: Mapping[str, float]
    shares: Shares
    kept: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def classes(self) -> Classes:
        """The predicted class of each label, in as few bytes as hold its number."""
        return self.decided(self.thresholds)

    def decided(self, thresholds: Mapping[str, float]) -> Classes:
        """The class of each label with other thresholds, such as none."""
        return pieces.computed(
            lambda some: prediction.decide(some, self.encoding, thresholds),
            self.shares,
            np.min_scalar_type(self.shares.shape[1]),
            self.folder,
        )

    def scored(self) -> Scored:
        """What figures rest on: the labels that are there, and what is said of them."""
        known, names = self.split.labelled(self.folder), self.encoding.names
        return Scored(
            labels=names,
            known=known,
            predicted=known.of(self.classes, self.folder),
            shares=self._shares(known, len(names)),
            folder=self.folder,
        )

    def _shares(self, known: Labelled, classes: int) -> Shares:
        """The probabilities of the labels that are there, of all classes."""
        shares = known.of(self.shares, self.folder)
        if classes == shares.shape[1]:
            return shares
        found = pieces.empty((len(shares), classes), np.float32, self.folder)
        for wider, some in pieces.of(found, shares):
            wider[:, : some.shape[1]] = some
            wider[:, some.shape[1] :] = 0  # train lacks it: it never gets probability
        return found


@dataclass(frozen=True, slots=True)
class Scored:
    """The labels of a split that are there, and what a model says of them.

    Attributes:
        labels: names of the C classes, those included that train does not have.
        known: the labels, by sequence.
        predicted: (N,) class indices.
        shares: (N, C) probabilities.
        folder: see `Predicted`.
    """

    labels: list[str]
    known: Labelled
    predicted: Classes
    shares: Shares
    folder: Path | None


def predict(
    folder: Path,
    split: Sequences,
    prepared: Encoding,
    device: torch.device,
    aside: Path | None = None,
) -> Predicted:
    """Ask a saved model for the probabilities of all labels of a split.

    Args:
        folder: of the model.
        split: what it is asked about.
        prepared: how the split was encoded.
        device: where to compute.
        aside: the folder for temporary files; see `Predicted`.

    Raises:
        DataError: the model has learned from data that were encoded in another way: its classes
            would be taken for others of the same number.
    """
    saved = saved_model.read(folder)
    prepared.check_same(saved.encoding, str(folder))
    devices.limit_threads(prediction.BATCH_SIZE * saved.architecture.sums)
    model = saved_model.predicting(saved, device.type)
    shares = prediction.probabilities(model, split, folder=aside)
    return Predicted(split, saved.encoding, saved.thresholds, shares, folder=aside)


def write(
    folder: str | Path,
    test: Predicted,
    epochs: Sequence[Epoch],
    *,
    validation: Predicted | None = None,
    limits: Mapping[int, float] | None = None,
) -> dict[str, float]:
    """Score predictions and write all of `evaluate` but the operating points and the trace.

    Args:
        folder: where to, such as `evaluation/bidirectional`.
        test: the test split and what the model says of it.
        epochs: how the model was trained.
        validation: the validation split, whose metrics go beside those of the test split.
        limits: the best accuracy that is possible for each length of a sequence, if that is known.

    Returns:
        The metrics of the test split.
    """
    folder = Path(folder)
    _write_predictions(folder / paths.PREDICTIONS, test)
    scored = test.scored()
    known, found = scored.known, _metrics(scored)
    sure = intervals.intervals(
        known.labels,
        scored.predicted,
        labels=scored.labels,
        offsets=known.offsets,
        groups=known.groups,
        folder=test.folder,
    )
    held_out = {} if validation is None else _metrics(validation.scored())
    scores.write(folder / paths.METRICS, Scores(found, held_out))
    records.write(
        folder / paths.INTERVALS, _with_reasons(sure, found, scored.labels, scored.known.groups)
    )
    _write_tables(folder, test, scored)
    records.write(folder / paths.CHECKS, check(test, scored, sure, epochs, limits or {}))
    return found


def _write_predictions(path: Path, test: Predicted) -> None:
    with atomic.replacing(path) as partial, ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for start in range(0, len(test.shares), ROW_GROUP):
            table = prediction.table(
                test.split,
                test.encoding,
                test.thresholds,
                test.shares,
                labelled=True,
                kept=test.kept,
                rows=slice(start, start + ROW_GROUP),
            )
            none = pa.array(np.zeros(table.num_rows, test.shares.dtype))
            for label in test.encoding.unseen:  # which the model cannot answer with
                table = table.append_column(f"probability_{label}", none)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(partial, table.schema))
            writer.write_table(table)
            pieces.release(test.shares)


def _metrics(of: Scored) -> dict[str, float]:
    return metrics.metrics(
        of.known.labels,
        of.predicted,
        of.shares,
        labels=of.labels,
        offsets=of.known.offsets,
        folder=of.folder,
    )


def _with_reasons(
    sure: Mapping[str, Interval],
    found: Mapping[str, float],
    labels: Sequence[str],
    groups: Classes,
) -> dict[str, dict[str, float | str | None]]:
    """The tree of `intervals.json`: an entry also for a metric that has no interval."""
    number = len(np.unique(groups))
    reason = "it rests on a single group"
    if number < intervals.LEAST_GROUPS:
        reason = f"it needs {intervals.LEAST_GROUPS} independent groups, and there are {number}"
    none: dict[str, float | str | None] = {"low": None, "high": None, "reason": reason}
    return {
        name: {**sure[name]._asdict()} if name in sure else none
        for name in intervals.names(labels)
        if name in found
    }


def _write_tables(folder: Path, test: Predicted, scored: Scored) -> None:
    actual, labels, classes = scored.known.labels, scored.labels, test.classes
    counts = metrics.confusion(actual, scored.predicted, len(labels))
    by_length = metrics.by_length(
        actual,
        scored.predicted,
        num_classes=len(labels),
        offsets=scored.known.offsets,
        lengths=scored.known.lengths,
    )
    _write_csv(
        pd.DataFrame(counts, index=labels, columns=labels), folder / paths.CONFUSION, "actual"
    )
    _write_csv(_long(counts, labels), folder / paths.CONFUSION_COUNTS)
    _write_csv(metrics.per_class(counts, labels), folder / paths.PER_CLASS)
    records.write(folder / paths.ANSWERS, answers(classes))
    _write_csv(by_length, folder / paths.BY_LENGTH)
    _write_csv(by_position(test.split, classes), folder / paths.BY_POSITION)
    records.write(folder / paths.CONFUSIONS, confusions(test, classes, counts))
    _write_csv(metrics.calibration(actual, scored.shares), folder / paths.CALIBRATION)
    curves = metrics.precision_recall(actual, scored.shares, labels=labels, folder=test.folder)
    _write_csv(curves, folder / paths.PRECISION_RECALL)


@dataclass(frozen=True, slots=True)
class Sample:
    """What `answers.json` says: how many labels were predicted, and the classes' numbers of some,
    in lines.
    """

    labels: int
    sample: list[str]


def answers(predicted: Classes) -> Sample:
    """Choose evenly spread predictions, few enough to be kept in git."""
    rows = np.unique(np.linspace(0, len(predicted) - 1, MOST_ANSWERS).astype(np.int64))
    lines = np.array_split(predicted[rows], -(-len(rows) // ANSWERS_A_LINE))
    return Sample(len(predicted), [" ".join(map(str, line)) for line in lines])


def by_position(test: Sequences, predicted: Classes) -> metrics.Table:
    """Return how good the predictions are near the beginning and near the end of sequences.

    Args:
        test: the sequences, with a label for each step; others have no positions, and no rows.
        predicted: (steps,) class indices.

    Returns:
        Columns counted_from (`beginning` or `end`), first and last (steps from there, from 1, both
        inclusive; single steps near the end that is counted from, more and more of them further
        away), rows and accuracy.
    """
    if not test.tagging:
        return {name: np.array([]) for name in POSITION_COLUMNS}
    rows, right = np.zeros((2, 2, test.longest), np.int64)  # from either end, at each distance
    for chosen, some in pieces.whole(test.offsets):
        bounds = test.offsets[chosen.start : chosen.stop + 1]
        lengths, labels = np.diff(bounds), test.labels[some]
        past = np.arange(len(labels)) - np.repeat(bounds[:-1] - bounds[0], lengths)
        left = np.repeat(lengths, lengths) - 1 - past
        known, hits = labels != UNLABELLED, predicted[some] == labels
        for end, distance in enumerate((past, left)):
            rows[end] += np.bincount(distance[known], minlength=len(rows[end]))
            right[end] += np.bincount(distance[known & hits], minlength=len(right[end]))
        pieces.release(predicted)
    ends = zip(rows, right, ("beginning", "end"), strict=True)
    tables = [_by_distance(*end) for end in ends]
    return {name: np.concatenate([table[name] for table in tables]) for name in POSITION_COLUMNS}


def _by_distance(
    rows: npt.NDArray[np.int64], right: npt.NDArray[np.int64], counted_from: str
) -> metrics.Table:
    """Put distances together; `rows` and `right` are those at each one, from 0."""
    furthest = int(np.flatnonzero(rows)[-1]) + 1
    single = np.arange(1, min(SINGLE_POSITIONS, furthest) + 1)
    wider = np.geomspace(len(single) + 1, furthest + 1, WIDER_POSITIONS + 1).astype(np.int64)
    first = np.union1d(single, wider[:-1][wider[:-1] <= furthest])
    rows, right = (np.add.reduceat(one[:furthest], first - 1) for one in (rows, right))
    kept = rows > 0  # steps may have no label
    return {
        "counted_from": np.repeat(np.array([counted_from], dtype=object), kept.sum()),
        "first": first[kept],
        "last": np.append(first[1:] - 1, furthest)[kept],
        "rows": rows[kept],
        "accuracy": right[kept] / rows[kept],
    }


def confusions(
    test: Predicted, predicted: Classes, counts: npt.NDArray[np.int64]
) -> list[Confusion]:
    """Return the most frequent confusions, each with the mistakes that the model was surest of.

    Args:
        test: the test split and what the model says of it.
        predicted: its `classes`.
        counts: their confusion matrix.
    """
    labels = test.encoding.names
    wrong = counts - np.diag(np.diagonal(counts))
    ranked = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    found: list[Confusion] = []
    for actual, called in zip(*np.unravel_index(ranked, wrong.shape), strict=True):
        if not wrong[actual, called]:
            break
        surest = _surest(test, predicted, int(actual), int(called))
        found.append(
            Confusion(
                actual=labels[actual],
                predicted=labels[called],
                count=int(wrong[actual, called]),
                share=int(wrong[actual, called]) / int(counts[actual].sum()),
                examples=[_example(test, predicted, row) for row in surest],
            )
        )
    return found


def _surest(test: Predicted, predicted: Classes, actual: int, called: int) -> list[int]:
    """The rows of a confusion that got the highest probability."""
    found, before = list[tuple[float, int]](), 0
    for labels, said, shares in pieces.of(test.split.labels, predicted, test.shares):
        rows = np.flatnonzero((labels == actual) & (said == called))
        sure = shares[rows, called]
        best = np.argsort(-sure, kind="stable")[:EXAMPLES]
        found += zip(-sure[best], before + rows[best], strict=True)
        before += len(labels)
    return [int(row) for _, row in sorted(found)[:EXAMPLES]]


def _example(test: Predicted, predicted: Classes, row: int) -> Example:
    split, labels = test.split, test.encoding.names
    number = int(np.searchsorted(split.label_offsets, row, side="right")) - 1
    start, end = split.label_offsets[number : number + 2].tolist()
    around = np.arange(max(start, row - CONTEXT), min(end, row + CONTEXT + 1))
    spelled = trace.words(split, around) if split.tagging else None
    context = [
        Around(
            step=step - start + 1,
            word=spelled[place] if spelled else None,
            actual=_name(labels, split.labels[step]),
            predicted=labels[predicted[step]],
        )
        for place, step in enumerate(around.tolist())
    ]
    return Example(
        sequence=split.ids[number].as_py(),
        steps=int(split.lengths[number]),
        step=row - start + 1 if split.tagging else None,
        probability=float(test.shares[row, predicted[row]]),
        context=context if split.tagging else [],
        kept={name: column[row].as_py() for name, column in test.kept.items()},
    )


def _name(labels: Sequence[str], label: int) -> str | None:
    return None if label == UNLABELLED else labels[label]


def write_examples(folder: str | Path, model: SequenceModel, test: Predicted, *, seed: int) -> None:
    """Write what a model does with single sequences and batches of the test split.

    That is its way through one telling sequence, its worst sequences, and what reading the padding
    of batches would do; see `birnn.evaluation.trace`, `worst` and `padding`.

    Args:
        folder: where to, such as `evaluation/bidirectional`.
        model: the network that made the predictions; it ends up on the CPU.
        test: the test split and what the model says of it.
        seed: of the batches.
    """
    encoding, thresholds = test.encoding, test.thresholds
    mistake = padding.measure(model, encoding, thresholds, test.split, seed=seed)
    records.write(Path(folder) / paths.PADDING, mistake)
    failures = worst.worst(test.split, encoding, test.shares, test.classes, test.kept)
    records.write(Path(folder) / paths.WORST, failures)
    one = test.split.select(np.array([trace.telling(model, test.split)]))
    found = trace.explain(model, test.encoding, test.thresholds, one, labelled=True)
    records.write(Path(folder) / paths.TRACE, found)


def write_slices(
    folder: str | Path,
    test: Predicted,
    names: Sequence[str],
    critical: Sequence[str],
) -> None:
    """Write how good predictions are for each group, length and kept column of `names`.

    See `birnn.evaluation.slices`.

    Args:
        folder: where to, such as `evaluation/bidirectional`.
        test: the test split and what the model says of it.
        names: by what to slice.
        critical: names of the critical classes.
    """
    scored = test.scored()
    known, columns = scored.known, slices.columns_of(test.split, names, test.kept, test.folder)
    found = slices.of(
        known.labels,
        scored.predicted,
        {name: one.of(known, test.folder) for name, one in columns.items()},
        labels=scored.labels,
        offsets=known.offsets,
        groups=known.groups,
        positives=slices.positives(known.labels, scored.labels, critical),
        folder=test.folder,
    )
    records.write(Path(folder) / paths.SLICES, found)


def check(
    test: Predicted,
    scored: Scored,
    sure: Mapping[str, Interval],
    epochs: Sequence[Epoch],
    limits: Mapping[int, float],
) -> list[Check]:
    """Look for the pitfalls that one model can fall into; see `birnn.evaluation.checks`.

    Args:
        test: the test split and what the model says of it.
        scored: its `scored`.
        sure: the intervals of the metrics.
        epochs: how the model was trained.
        limits: see `write`.
    """
    known, predicted, labels = scored.known, scored.predicted, scored.labels
    actual, offsets = known.labels, known.offsets
    right = np.zeros(len(known.chosen), np.int64)
    for chosen, rows in pieces.whole(offsets):
        hits = predicted[rows] == actual[rows]
        right[chosen] = np.add.reduceat(hits, offsets[chosen] - rows.start, dtype=np.int64)
        pieces.release(predicted, actual)
    present = checks.label_counts(actual, offsets, len(labels), known.groups).present
    confidence = pieces.computed(
        lambda shares: shares.max(axis=1), scored.shares, scored.shares.dtype, scored.folder
    )
    surest = pieces.computed(
        lambda true, shares: shares.argmax(axis=1) == true,
        [actual, scored.shares],
        bool,
        scored.folder,
    )
    return [
        data_checks.accuracy_paradox(
            actual, predicted, sure, labels=labels, critical=test.thresholds
        ),
        checks.overfitting(
            np.array([epoch.train_loss for epoch in epochs]),
            np.array([epoch.validation_loss for epoch in epochs]),
            kept=list(epochs).index(history.kept(epochs)),
        ),
        checks.sequence_length(
            right,
            np.diff(offsets),
            known.lengths,
            metrics.length_buckets(known.lengths),
            known.groups,
            possible=_possible(known, limits),
        ),
        checks.calibration(
            confidence, surest, offsets, known.groups, rare=checks.rare(present, labels)
        ),
        checks.rare_classes(
            present,
            labels=labels,
            unit="test sequences"
            if known.groups.max() + 1 == len(known.groups)
            else "groups of test sequences",
        ),
    ]


def _possible(test: Labelled, limits: Mapping[int, float]) -> npt.NDArray[np.float64] | None:
    """How many labels of each sequence the best possible model is expected to give right."""
    lengths = test.lengths.tolist()
    if not limits or not limits.keys() >= set(lengths):
        return None
    return np.array([limits[length] for length in lengths]) * np.diff(test.offsets)


def write_expected_accuracy(folder: str | Path, validation: Predicted, test: Predicted) -> None:
    """Write what estimates accuracy where there are no labels, and how far it is off on test.

    Args:
        folder: where to, such as `evaluation/bidirectional`.
        validation: the split that it is learned from.
        test: the split that it is checked on.
    """
    known = expected_accuracy.calibrate(*_sureness(validation))
    known = expected_accuracy.checked(known, *_sureness(test))
    records.write(Path(folder) / paths.EXPECTED_ACCURACY, known)


def _sureness(of: Predicted) -> tuple[npt.NDArray[np.floating[Any]], Mask, Classes, Classes]:
    """How sure the model is of its answers, whether they are right, and whose they are."""
    classes, split = of.classes, of.split
    sure = pieces.computed(
        expected_accuracy.confidence, [of.shares, classes], of.shares.dtype, of.folder
    )
    right = pieces.computed(np.equal, [classes, split.labels], bool, of.folder)
    return sure, right, split.label_offsets, split.group_numbers


def write_operating_points(
    folder: str | Path,
    validation: Predicted,
    test: Predicted,
    wanted: Mapping[str, Wanted],
    costs: Mapping[str, params.Cost] = MappingProxyType({}),
) -> None:
    """Write what the thresholds give, beside what the most probable class would give.

    Args:
        folder: where to, such as `evaluation/bidirectional`.
        validation: what the thresholds were chosen on.
        test: the test split.
        wanted: what to reach, by the name of the critical class.
        costs: of errors, likewise.
    """

    def reached(of: Predicted, classes: Classes, label: str) -> Reached:
        found = _reached(of, classes, label)
        if (cost := costs.get(label)) is None:
            return found
        missed, false = found.support - found.right, found.predicted - found.right
        total = missed * cost.missed + false * cost.false_alarm
        return replace(found, cost=1000 * total / len(of.split.labelled(of.folder).labels))

    most_probable = test.decided({})
    points = {
        label: Point(
            threshold=threshold,
            wanted=wanted.get(label),
            validation=reached(validation, validation.classes, label),
            test=reached(test, test.classes, label),
            test_argmax=reached(test, most_probable, label),
        )
        for label, threshold in test.thresholds.items()
    }
    records.write(Path(folder) / paths.OPERATING_POINTS, points)


def _reached(found: Predicted, classes: Classes, label: str) -> Reached:
    column, known = found.encoding.labels.index(label), found.split.labelled(found.folder)
    actual, called = (
        pieces.computed(lambda some: some == column, one, bool, found.folder)
        for one in (known.labels, known.of(classes, found.folder))
    )
    each = [
        (int((true & said).sum()), int(true.sum()), int(said.sum()))
        for true, said in pieces.of(actual, called)
    ]
    right, support, calls = (sum(counts) for counts in zip(*each, strict=True))
    return Reached(
        precision=right / max(calls, 1) if support else None,
        recall=right / support if support else None,
        right=right,
        predicted=calls,
        support=support,
        precision_interval=_share_ends(known, actual, called) if support else None,
        recall_interval=_share_ends(known, called, actual),
    )


def _share_ends(known: Labelled, part: Mask, whole: Mask) -> Ends | None:
    interval = intervals.of_share(part, whole, offsets=known.offsets, groups=known.groups)
    return None if interval is None else Ends(interval.low, interval.high)


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
    atomic.write_text(path, text)
