"""How good a set of predictions is, and how sure one can be of it.

Everything here is a function of arrays. A row is a step (tagging) or a sequence (classification).
The arguments that the functions share:

    actual, predicted   (N,) integers, positions in `labels`
    probabilities       (N, C) floats, a distribution a row, columns in the order of `labels`
    labels              the names of all C classes, those absent from the rows included
    offsets             (S + 1,) integers: sequence i is the rows offsets[i] to offsets[i + 1],
                        at least one; `arange(N + 1)` for classification
    folder              for temporary files that take what is as long as the rows; None to hold
                        it in memory

Undefined figures are what scikit-learn makes of them with `zero_division=0`: zero for a class that
occurs among the actual or the predicted rows only, no figure and no part in an average for one
that occurs in neither. No metric is ever NaN, and nothing here warns.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birnn.errors import DataError
from birnn.evaluation.spans import kind_tallies, span_notation
from birnn.evaluation.tallies import by_group
from birnn.files import pieces
from birnn.model.operating_points import tallies_at_thresholds

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
Counts = NDArray[Any]
"""Whole numbers of any type: float64 where they come out of a product of matrices."""
Table = dict[str, NDArray[Any]]
"""Columns of one length by name, as `pandas.DataFrame` and `pyarrow.table` take them."""

HEADLINES = (
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "mcc",
)
SPAN_HEADLINES = ("span_precision", "span_recall", "span_f1")

SUM_TOLERANCE = 0.01
"""How far from one a row of probabilities may sum: tables are often rounded to three digits."""
LEAST_PROBABILITY = float(np.finfo(np.float32).eps)
"""That the log loss reckons with. Models give float32; a table of them, read as float64, is to
score the same."""
CALIBRATION_BINS = 15
CURVE_POINTS = 200


def metrics(
    actual: Ints,
    predicted: Ints,
    probabilities: Floats | None,
    *,
    labels: Sequence[str],
    offsets: Ints,
    folder: Path | None = None,
) -> dict[str, float]:
    """Return every metric that is defined for these rows, by its flat name.

    The `HEADLINES` and per class `support_LABEL` are always there. `precision_LABEL`,
    `recall_LABEL` and `f1_LABEL` need a class that occurs among the actual or the predicted rows;
    `span_precision`, `span_recall` and `span_f1` need labels in BIO, IOBES or IOB1 notation and a
    span somewhere; with `_KIND` behind, as `span_support_KIND`, they are of one kind of span. With
    `probabilities` come also

    - `log_loss`: in nats, of probabilities clipped at `LEAST_PROBABILITY`;
    - `average_precision_macro`, `roc_auc_macro`: one class against the rest, averaged over the
      classes for which they are defined, that is, with an actual row and, for the second, also a
      row of another class;
    - `calibration_error`: the expected calibration error, from the bins of `calibration`.

    Raises:
        DataError: There are no rows, a row of probabilities is not a distribution, or the name of
            a label makes two metrics of one name.
    """
    if not len(actual):
        raise DataError("expected at least one row to score, found none: check the table's rows")
    counts = confusion(actual, predicted, len(labels))
    found = _named(HEADLINES, headline_values(counts))
    if kinds := kind_tallies(actual, predicted, labels, offsets):
        found |= _named(SPAN_HEADLINES, precision_recall_f1(*np.sum([*kinds.values()], axis=0)))
        found |= _span_metrics({kind: tally for kind, tally in kinds.items() if kind})
    if probabilities is not None:
        found |= _probability_metrics(actual, probabilities, folder)
    by_class = _class_metrics(counts, labels)
    if clash := found.keys() & by_class.keys():
        raise DataError(f"expected one metric a name, found two {min(clash)!r}: rename the label")
    return found | by_class


def confusion(actual: Ints, predicted: Ints, num_classes: int) -> NDArray[np.int64]:
    """Return the counts (C, C) int64: a row for the actual class, a column for the predicted."""
    counts = np.zeros(num_classes**2, np.int64)
    for some, said in pieces.of(actual, predicted):
        counts += np.bincount(cell_of_each(some, said, num_classes), minlength=len(counts))
    return counts.reshape(num_classes, num_classes)


def per_class(counts: NDArray[np.int64], labels: Sequence[str]) -> Table:
    """Return label, precision, recall, f1, support and predicted (both in rows), one row a class.

    `counts` comes from `confusion`. The figures of a class that does not occur are NaN.
    """
    support, guessed = counts.sum(axis=1), counts.sum(axis=0)
    figures = np.nan_to_num(precision_recall_f1(np.diagonal(counts), support, guessed))
    figures[:, support + guessed == 0] = np.nan
    columns = dict(zip(("precision", "recall", "f1"), figures, strict=True))
    names = np.array(labels, dtype=object)
    return {"label": names, **columns, "support": support, "predicted": guessed}


def by_length(
    actual: Ints, predicted: Ints, *, num_classes: int, offsets: Ints, lengths: Ints
) -> Table:
    """Return how good the predictions are for short and for long sequences, one row a bucket.

    Args:
        actual: (N,) see above.
        predicted: (N,) see above.
        num_classes: C.
        offsets: (S + 1,) see above.
        lengths: (S,) steps of each sequence; for tagging that is `diff(offsets)`.

    Returns:
        shortest and longest (steps, both inclusive), sequences, rows, accuracy, f1_macro and
        f1_weighted of each bucket of `length_buckets`.
    """
    bucket = length_buckets(lengths)
    num_buckets = int(bucket.max()) + 1
    counts = np.zeros((num_buckets, num_classes, num_classes), np.int64)
    for chosen, rows in pieces.whole(offsets):
        cells = np.repeat(bucket[chosen], np.diff(offsets[chosen.start : chosen.stop + 1]))
        cells *= num_classes**2
        cells += cell_of_each(actual[rows], predicted[rows], num_classes)
        counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
        pieces.release(actual, predicted)
    figures = dict(zip(HEADLINES, headline_values(counts).T, strict=True))
    members = [lengths[bucket == i] for i in range(num_buckets)]
    return {
        "shortest": np.array([part.min() for part in members]),
        "longest": np.array([part.max() for part in members]),
        "sequences": np.bincount(bucket),
        "rows": counts.sum(axis=(1, 2)),
        **{name: figures[name] for name in ("accuracy", "f1_macro", "f1_weighted")},
    }


def length_buckets(lengths: Ints, *, most: int = 5, least_sequences: int = 20) -> NDArray[np.int64]:
    """Return the bucket (S,) of each sequence, 0 for the shortest.

    The edges are quantiles of the lengths, at most `most` buckets of about `least_sequences`
    sequences or more each. Equal lengths share a bucket, so there may be fewer.
    """
    num_buckets = max(1, min(most, len(lengths) // least_sequences))
    ends = len(lengths) * np.arange(1, num_buckets) // num_buckets
    edges = np.unique(np.sort(lengths)[ends - 1])
    bucket: NDArray[np.int64] = np.searchsorted(edges[edges < lengths.max()], lengths)
    return bucket


def calibration(actual: Ints, probabilities: Floats) -> Table:
    """Return how often the most probable class is right, beside how probable it is said to be.

    Fifteen bins of equal width over the top class's probability, (0, 1/15] and so on; columns
    confidence and accuracy (both means) and rows; empty bins are left out. The expected
    calibration error is the mean of |accuracy - confidence| weighted by rows (Guo et al., On
    Calibration of Modern Neural Networks, 2017, equation 3). A tie goes to the first class.
    """
    sure, right, rows = np.zeros((3, CALIBRATION_BINS))
    for labels, shares in pieces.of(actual, probabilities):
        confidence = shares.max(axis=1).astype(np.float64)
        bins = calibration_bin(confidence)
        np.add.at(sure, bins, confidence)
        np.add.at(right, bins, shares.argmax(axis=1) == labels)
        rows += np.bincount(bins, minlength=len(rows))
    kept = rows > 0
    return {
        "confidence": sure[kept] / rows[kept],
        "accuracy": right[kept] / rows[kept],
        "rows": rows[kept].astype(np.int64),
    }


def calibration_bin(confidence: Floats) -> NDArray[np.int64]:
    """Return the bin of each row, (N,), from 0; see `calibration`."""
    return np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, None)


def precision_recall(
    actual: Ints, probabilities: Floats, *, labels: Sequence[str], folder: Path | None = None
) -> Table:
    """Return the precision-recall curve of each class against the rest, from low recall to high.

    Columns label, threshold, precision and recall: a class that is called from the threshold on
    has this precision and recall. At most `CURVE_POINTS` points a class, evenly spaced in recall;
    a class without an actual row has no curve.
    """
    present = _present(actual)
    curves = [_curve(*_against_rest(actual, probabilities, c, folder), folder) for c in present]
    sizes = [len(threshold) for threshold, _, _ in curves]
    names = np.array(labels, dtype=object)[present]
    threshold, precision, recall = (np.concatenate(column) for column in zip(*curves, strict=True))
    return {
        "label": np.repeat(names, sizes),
        "threshold": threshold,
        "precision": precision,
        "recall": recall,
    }


def cell_of_each(actual: Ints, predicted: Ints, num_classes: int) -> NDArray[np.int64]:
    """Return the cell of a flat confusion matrix that each row counts in, (N,)."""
    return actual.astype(np.int64) * num_classes + predicted


def precision_recall_f1(right: Counts, actual: Counts, predicted: Counts) -> NDArray[np.float64]:
    """Return precision, recall and F1, (3, ...), NaN where nothing was predicted or is actual."""
    with np.errstate(invalid="ignore"):
        shares = right / predicted, right / actual, 2 * right / (actual + predicted)
    stacked: NDArray[np.float64] = np.stack(shares)
    return stacked


def headline_values(counts: Counts) -> NDArray[np.float64]:
    """Return the `HEADLINES` (..., 9) of a stack of confusion matrices (..., C, C).

    The closed forms of scikit-learn's functions, which take one set of rows at a time and warn
    about absent classes; buckets of lengths ask for several. `mcc` is 0 where it is 0 / 0.
    """
    support, guessed = counts.sum(axis=-1), counts.sum(axis=-2)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    shares = np.nan_to_num(precision_recall_f1(right, support, guessed))
    total = support.sum(axis=-1)
    macro = shares.sum(axis=-1) / (support + guessed > 0).sum(axis=-1)
    weighted = (shares * support).sum(axis=-1) / total
    accuracy = right.sum(axis=-1) / total
    balanced = shares[1].sum(axis=-1) / (support > 0).sum(axis=-1)
    return np.stack([accuracy, balanced, *macro, *weighted, _mcc(right, support, guessed)], axis=-1)


def _mcc(right: Counts, support: Counts, guessed: Counts) -> NDArray[np.float64]:
    """Matthews correlation of C classes, from the counts of each class."""
    support, guessed = support.astype(np.float64), guessed.astype(np.float64)
    squares = (support * guessed, support**2, guessed**2)
    return correlation(
        right.sum(axis=-1), support.sum(axis=-1), *(each.sum(axis=-1) for each in squares)
    )


def correlation(
    right: Counts, total: Counts, products: Counts, support: Counts, guessed: Counts
) -> NDArray[np.float64]:
    """Return Matthews correlation, 0 where it is 0 / 0: R_K of Gorodkin 2004.

    Args:
        right: (...) right rows.
        total: (...) rows.
        products: (...) actual times predicted rows of each class, summed over the classes.
        support: (...) the same of squares of the actual rows.
        guessed: (...) the same of squares of the predicted rows.
    """
    together = right * total - products
    apart = np.sqrt((total**2 - support) * (total**2 - guessed))  # exact where all is right
    mcc: NDArray[np.float64] = np.zeros_like(apart)
    np.divide(together, apart, out=mcc, where=apart > 0)
    return mcc


def _named(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    return {n: float(v) for n, v in zip(names, values, strict=True) if not np.isnan(v)}


def _class_metrics(counts: NDArray[np.int64], labels: Sequence[str]) -> dict[str, float]:
    table = per_class(counts, labels)
    found: dict[str, float] = {}
    for figure in ("precision", "recall", "f1"):
        found |= _named([f"{figure}_{label}" for label in labels], table[figure])
    support = table["support"].tolist()
    return found | {f"support_{label}": n for label, n in zip(labels, support, strict=True)}


def _span_metrics(kinds: Mapping[str, Sequence[int]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for kind, tally in kinds.items():
        names = [f"{name}_{kind}" for name in SPAN_HEADLINES]
        found |= _named(names, precision_recall_f1(*np.array(tally, np.float64)))
        found[f"span_support_{kind}"] = tally[1]
    return found


def present(
    actual: Ints,
    labels: Sequence[str],
    offsets: NDArray[np.int64],
    groups: NDArray[np.int64] | None = None,
) -> dict[str, int]:
    """Return in how many groups each class occurs, or each kind of span where labels name some.

    It is what the figures of a class rest on: neither the steps of one sequence are independent nor
    the sequences of one group. Without `groups`, (S,), each sequence is its own.
    """
    groups = np.arange(len(offsets) - 1) if groups is None else groups
    notation, names, kind = span_notation(labels), list(labels), None
    if notation is not None and notation.names != [""]:
        kind, names = notation.kind, notation.names

    def classes(rows: slice) -> list[Ints]:
        return [actual[rows] if kind is None else kind[actual[rows]]]

    found = by_group(classes, offsets, groups, len(names))
    counts = np.bincount(found.label, minlength=len(names)).tolist()
    return {name: count for name, count in zip(names, counts, strict=True) if name}


def check_probabilities(probabilities: Floats, tolerance: float = SUM_TOLERANCE) -> None:
    """Raise DataError for the first row that is not a distribution, within a tolerance."""
    before = 0
    for (some,) in pieces.of(probabilities):
        total = some.sum(axis=1, dtype=np.float64)
        sound = (np.abs(total - 1) <= tolerance) & (some.min(axis=1) >= 0)
        if not sound.all():
            row = int(np.argmin(sound))
            raise DataError(
                f"expected probabilities of 0 or more that sum to 1 in every row, found "
                f"{_short(some[row])} in row {before + row + 1}: give the model's own probabilities"
            )
        before += len(some)


def _short(values: Floats) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:5])
    return shown + (", ..." if len(values) > 5 else "")


def _probability_metrics(
    actual: Ints, probabilities: Floats, folder: Path | None
) -> dict[str, float]:
    check_probabilities(probabilities)
    bins = calibration(actual, probabilities)
    gap = np.abs(bins["accuracy"] - bins["confidence"])
    return {
        "log_loss": _log_loss(actual, probabilities),
        **_ranking_metrics(actual, probabilities, folder),
        "calibration_error": float(np.average(gap, weights=bins["rows"])),
    }


def _log_loss(actual: Ints, probabilities: Floats) -> float:
    """As scikit-learn's `log_loss` of float32, without its (N, C) arrays."""
    total = 0.0
    for labels, shares in pieces.of(actual, probabilities):
        hit = np.take_along_axis(shares, labels[:, np.newaxis], axis=1).astype(np.float64)
        total += np.log(np.clip(hit, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)).sum()
    return float(-total / len(actual))


def _present(actual: Ints) -> list[int]:
    """The classes that occur."""
    counts = (np.flatnonzero(np.bincount(some)) for (some,) in pieces.of(actual))
    return sorted({int(label) for found in counts for label in found})


def _against_rest(
    actual: Ints, probabilities: Floats, label: int, folder: Path | None
) -> tuple[NDArray[np.bool_], Floats]:
    """Which rows are of one class, and its probability, (N,) each."""
    return (
        pieces.computed(lambda some: some == label, actual, bool, folder),
        pieces.computed(lambda some: some[:, label], probabilities, probabilities.dtype, folder),
    )


def _ranking_metrics(actual: Ints, probabilities: Floats, folder: Path | None) -> dict[str, float]:
    found: dict[str, list[float]] = {"average_precision_macro": [], "roc_auc_macro": []}
    for label in _present(actual):
        precision, auc = _ranking(*_against_rest(actual, probabilities, label, folder), folder)
        found["average_precision_macro"].append(precision)
        if auc is not None:
            found["roc_auc_macro"].append(auc)
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def _ranking(
    positive: NDArray[np.bool_], score: Floats, folder: Path | None
) -> tuple[float, float | None]:
    """Return average precision and the area under ROC, from one sort for the two of them.

    Equal scores are one threshold. The area is None where every row is positive.
    """
    hits, precision, area = np.count_nonzero(positive), 0.0, 0.0
    false, true = 0, 0  # of the lowest threshold so far
    for wrong, right, _ in tallies_at_thresholds(positive, score, folder):
        gained = np.diff(right, prepend=true) / hits
        precision += float(np.sum(gained * right / (right + wrong)))
        area += float(np.trapezoid(np.append(true, right), np.append(false, wrong)))
        false, true = int(wrong[-1]), int(right[-1])
    return precision, area / (hits * false) if false else None


def _curve(
    positive: NDArray[np.bool_], score: Floats, folder: Path | None
) -> tuple[Floats, Floats, Floats]:
    """Return thresholds, precision and recall, (points,) each."""
    hits, wanted = np.count_nonzero(positive), np.zeros(0)
    found = list[tuple[Floats, Floats, Floats]]()
    for wrong, right, threshold in tallies_at_thresholds(positive, score, folder):
        recall = right / hits
        if not found:
            wanted = np.linspace(recall[0], 1, CURVE_POINTS)
        reached = wanted <= recall[-1]
        # The highest threshold that has the recall is the one with the highest precision.
        kept = np.unique(np.searchsorted(recall, wanted[reached]))
        found.append((threshold[kept], (right / (right + wrong))[kept], recall[kept]))
        wanted = wanted[~reached]
    thresholds, precision, recall = map(np.concatenate, zip(*found, strict=True))
    return thresholds, precision, recall
