"""The pitfalls of evaluation: named checks that each say in a sentence what they found.

A check takes small arrays and tables. It ends in `pass`; in `warn` where something deserves a look;
or in `fail` where the metrics should not be believed until it is mended. Where chance could look
like a fault, a check wants significance at the 1 % level over all that it looks at (Bonferroni),
with sequences, not steps, as what is independent; and an effect large enough to matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtr

from birnn.evaluation.metrics import CALIBRATION_BINS as BINS
from birnn.evaluation.metrics import calibration_bin

Status = Literal["pass", "warn", "fail"]
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]
Finding = tuple[Status, str]

SIGNIFICANCE = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Attributes:
        name: the pitfall, such as `leakage`.
        status: `pass`, `warn` or `fail`.
        figures: what the status rests on.
        sentence: the finding, for a newcomer.
    """

    name: str
    status: Status
    figures: Mapping[str, float]
    sentence: str


def _check(name: str, figures: Mapping[str, Any], findings: list[Finding], otherwise: str) -> Check:
    """Conclude: the worst of the findings gives the status; without any, the check passes."""
    statuses = {status for status, _ in findings}
    status: Status = "fail" if "fail" in statuses else "warn" if statuses else "pass"
    sentence = " ".join(text for _, text in findings) or otherwise
    return Check(name, status, {key: float(value) for key, value in figures.items()}, sentence)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


# --- accuracy paradox -----------------------------------------------------------------------------

HIGH_ACCURACY = 0.85  # from here on, people believe a model
LOW_RECALL = 0.5
LEAST_ROWS = 10  # with fewer, a low recall may be chance


def accuracy_paradox(
    support: Ints,
    recall: Floats,
    *,
    accuracy: float,
    intervals: Mapping[str, tuple[float, float]],
    labels: Sequence[str],
) -> Check:
    """Does the accuracy come from a common class, while another is missed?

    It fails where accuracy is high, and either its interval reaches down to the share of the most
    common class, or a class has an interval of recall that lies below one half. It warns where
    accuracy is not high, or where the recall of a class is low but its interval is wide.

    Args:
        support: (C,) test rows of each class.
        recall: (C,) share of them that is found.
        accuracy: of the same predictions.
        intervals: low and high end of `accuracy` and `recall_LABEL`, as far as they are known.
        labels: names of the C classes.
    """
    common = int(support.argmax())
    share = float(support[common] / support.sum())
    serious: Status = "fail" if accuracy >= HIGH_ACCURACY else "warn"
    figures = {"accuracy": accuracy, "majority_share": share}
    findings: list[Finding] = []
    blind = f"always saying {labels[common]!r}, which is right in {_percent(share)} of cases"
    if intervals.get("accuracy", (accuracy, accuracy))[0] <= share:
        text = f"An accuracy of {_percent(accuracy)} is not clearly better than {blind}."
        findings.append((serious, text))
    for c in np.flatnonzero(support).tolist():
        high = intervals.get(f"recall_{labels[c]}", (recall[c], recall[c]))[1]
        if recall[c] < LOW_RECALL and (support[c] >= LEAST_ROWS or high < LOW_RECALL):
            figures[f"recall_{labels[c]}"] = float(recall[c])
            text = f"Accuracy is {_percent(accuracy)}, but only {_percent(recall[c])} of"
            text += f" {labels[c]!r} is found."
            findings.append((serious if high < LOW_RECALL else "warn", text))
    otherwise = f"An accuracy of {_percent(accuracy)} is better than {blind}; no class is missed."
    return _check("accuracy_paradox", figures, findings, otherwise)


# --- leakage --------------------------------------------------------------------------------------

MANY_COPIES = 0.01  # share of the test sequences
GIVEAWAY, SUSPICIOUS = 0.98, 0.90  # share of the most common label's errors that a feature mends


def feature_scores(
    values: Floats, labels: Ints, offsets: Ints, *, names: Sequence[str]
) -> dict[str, float]:
    """Say how well each feature predicts the label on its own.

    Args:
        values: (N, F) some two or more sequences from all over train; 20 000 rows are enough.
        labels: (N,) class index of each row.
        offsets: (S + 1,) where each sequence begins and ends.
        names: of the F features.

    Returns:
        The share of the errors of always giving the most common label that a small decision tree
        on the feature avoids, learned from every second sequence, measured on the others.
    """
    from sklearn.tree import DecisionTreeClassifier  # takes a second to import

    told = np.repeat(np.arange(len(offsets) - 1) % 2 == 0, np.diff(offsets))
    leaves = 4 * len(np.unique(labels))
    errors = np.count_nonzero(~told) - np.bincount(labels[~told]).max()
    scores = {}
    for column, name in zip(values.T[:, :, np.newaxis], names, strict=True):
        tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=5, random_state=0)
        answers = tree.fit(column[told], labels[told]).predict(column[~told])
        wrong = np.count_nonzero(answers != labels[~told])
        scores[name] = max(0.0, 1 - wrong / errors) if errors else 0.0
    return scores


def leakage(
    *,
    repeated: Mask,
    copied: Mask,
    shared_groups: int,
    feature_scores: Mapping[str, float],
    headline: tuple[float, float] | None = None,
) -> Check:
    """Does the test set hold what training has seen, or a feature give the answer away?

    Args:
        repeated: (S,) which test sequences occur in train; see `birnn.data.fingerprints.Copies`.
        copied: (S,) which do so, exactly or nearly, though they are too long for chance.
        shared_groups: how many groups have sequences both in train and in test.
        feature_scores: of each feature alone, from the function of this name; empty for tokens.
        headline: the headline metric on all test sequences, and on those that train has not seen.
    """
    seen = int(np.count_nonzero(repeated | copied))
    figures: dict[str, Any] = {
        "repeated": np.count_nonzero(repeated),
        "copied": np.count_nonzero(copied),
        "shared_groups": shared_groups,
        **{f"feature_{name}": score for name, score in feature_scores.items()},
    }
    findings = _feature_findings(feature_scores)
    if shared_groups:
        text = f"{shared_groups} groups have sequences both in train and in test."
        findings.append(("fail", text))
    if copied.any():
        text = f"{copied.sum()} of {len(copied)} test sequences are copies of training sequences."
        findings.append(("fail" if copied.mean() >= MANY_COPIES else "warn", text))
    otherwise = "Training has seen nothing of the test set."
    if seen:
        otherwise = (
            f"{seen} test sequences occur in train, but are so short that this happens by chance."
        )
    check = _check("leakage", figures, findings, otherwise)
    return _without_seen(check, *headline) if seen and headline else check


def _feature_findings(feature_scores: Mapping[str, float]) -> list[Finding]:
    return [
        (
            "fail" if score >= GIVEAWAY else "warn",
            f"Feature {name!r} alone avoids {_percent(score)} of the errors of a blind guess.",
        )
        for name, score in feature_scores.items()
        if score >= SUSPICIOUS
    ]


def _without_seen(check: Check, headline: float, unseen: float) -> Check:
    sentence = f"{check.sentence} Without what training has seen, the headline is {unseen:.3f}"
    figures = {**check.figures, "headline": headline, "headline_unseen": unseen}
    return Check(check.name, check.status, figures, f"{sentence} instead of {headline:.3f}.")


# --- overfitting ----------------------------------------------------------------------------------

LARGE_GAP, HUGE_GAP = (0.1, 1.5), (0.3, 3.0)  # nats above the training loss, and times as high
LATE_RISE = (0.01, 1.2)  # the same for validation losses, above the best


def overfitting(train_loss: Floats, validation_loss: Floats, *, kept: int) -> Check:
    """Has the model learned the training sequences by heart?

    Args:
        train_loss: (E,) mean cross entropy in nats, epoch by epoch.
        validation_loss: (E,) the same on the validation sequences.
        kept: position of the epoch whose weights were kept.
    """
    train, validation = train_loss[kept], validation_loss[kept]
    best, last = validation_loss.min(), validation_loss[-1]
    figures = {
        "train_loss": train,
        "validation_loss": validation,
        "last_train_loss": train_loss[-1],
        "last_validation_loss": last,
    }
    findings: list[Finding] = []
    if _apart(train, validation, LARGE_GAP):
        text = f"The kept model's loss is {train:.3f} in training but {validation:.3f} on new data."
        findings.append(("fail" if _apart(train, validation, HUGE_GAP) else "warn", text))
    if _apart(best, validation, LATE_RISE):
        text = f"The kept epoch's validation loss of {validation:.3f} was {best:.3f} before."
        findings.append(("fail", text))
    elif _apart(validation, last, LATE_RISE) and _apart(train_loss[-1], last, HUGE_GAP):
        text = f"Training went on until the validation loss rose from {validation:.3f} to"
        findings.append(("warn", f"{text} {last:.3f}; the kept epoch is the better one."))
    return _check("overfitting", figures, findings, "The model does as well on new sequences.")


def _apart(train: float, validation: float, gap: tuple[float, float]) -> bool:
    return bool(validation - train > gap[0] and validation > gap[1] * train)


# --- sequence length ------------------------------------------------------------------------------

WORSE, MUCH_WORSE = 0.05, 0.15  # accuracy below that of all others


def sequence_length(right: Ints, rows: Ints, lengths: Ints, bucket: Ints) -> Check:
    """Are short or long sequences predicted much worse than the others?

    Args:
        right: (S,) rows of each test sequence that are predicted right.
        rows: (S,) its rows.
        lengths: (S,) its steps.
        bucket: (S,) the bucket of lengths that it is in, from 0.
    """
    accuracy = right.sum() / rows.sum()
    figures = {"accuracy": accuracy}
    findings: list[Finding] = []
    num_buckets = int(bucket.max()) + 1
    for i in range(num_buckets):
        inside = bucket == i
        if min(inside.sum(), (~inside).sum()) < 2:
            continue
        drop, chance = _drop(right, rows, inside)
        if drop >= WORSE and chance < SIGNIFICANCE / num_buckets:
            own = right[inside].sum() / rows[inside].sum()
            span = f"{lengths[inside].min()} to {lengths[inside].max()}"
            figures[f"accuracy_{span.replace(' ', '_')}"] = own
            text = f"With {span} steps accuracy is {_percent(own)}, on the whole"
            text += f" {_percent(accuracy)}."
            findings.append(("fail" if drop >= MUCH_WORSE else "warn", text))
    otherwise = "Short and long sequences are predicted about equally well."
    return _check("sequence_length", figures, findings, otherwise)


def _drop(right: Ints, rows: Ints, inside: Mask) -> tuple[float, float]:
    """Return how far accuracy inside is below that outside, and the chance of so much by luck.

    One-sided Welch's t for two ratios, whose spread is that of the sequences' residuals (Cochran,
    Sampling Techniques, 1977, chapter 6), with the degrees of freedom of the part inside.
    """
    means, variances = [], []
    for part in (inside, ~inside):
        size, total = np.count_nonzero(part), rows[part].sum()
        mean = right[part].sum() / total
        residual = right[part] - mean * rows[part]
        means.append(float(mean))
        variances.append(float(residual @ residual) / total**2 * size / (size - 1))
    drop, error = means[1] - means[0], sum(variances) ** 0.5
    if not error:
        return drop, float(drop <= 0)
    return drop, float(stdtr(np.count_nonzero(inside) - 1, -drop / error))


# --- calibration ----------------------------------------------------------------------------------

OFF, FAR_OFF = 0.05, 0.15


def calibration(confidence: Floats, right: Mask, offsets: Ints) -> Check:
    """Is an answer that is called 90 % probable right in 90 % of cases?

    The figure is the expected calibration error of `metrics.calibration`, less what it would be by
    chance for a model whose probabilities are exact.

    Args:
        confidence: (N,) probability of the most probable class of each test row.
        right: (N,) whether that class is the actual one.
        offsets: (S + 1,) where each sequence begins and ends.
    """
    sequence = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    column = calibration_bin(confidence)
    cells = (len(offsets) - 1) * BINS
    total = np.bincount(sequence * BINS + column, right - confidence, minlength=cells)
    surplus = total.reshape(-1, BINS) / len(right)  # of right answers, by sequence and bin
    error = np.abs(surplus.sum(axis=0)).sum()
    # The mean of |x| is sqrt(2 / pi) of the standard deviation for a normal x of mean 0.
    chance = np.sqrt(2 / np.pi * (surplus**2).sum(axis=0)).sum()
    said, was = confidence.mean(dtype=np.float64), right.mean()
    figures = {"calibration_error": error, "by_chance": chance, "confidence": said, "accuracy": was}
    text = f"The model is {_percent(said)} sure of its answers, and {_percent(was)} are right"
    findings: list[Finding] = []
    if error - chance > OFF:
        status: Status = "fail" if error - chance > FAR_OFF else "warn"
        findings.append((status, f"{text}; its probabilities are off by {_percent(error)}."))
    return _check("calibration", figures, findings, f"{text}: one can believe its probabilities.")


# --- rare classes and label shift -----------------------------------------------------------------

LEAST_SEQUENCES = 10
"""With ten, the 95 % interval of a recall is about 0.6 wide; with fewer it says nothing."""
LEAST_EXPECTED = 5  # sequences, for the normal approximation
SHIFT, LARGE_SHIFT = (0.05, 1.5), (0.2, 3.0)  # difference of the shares, or ratio


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How often each class occurs, and what it takes to know how sure that is.

    Attributes:
        sequences: S.
        rows: N.
        rows_squared: the sum of (rows of a sequence) ** 2.
        count: (C,) rows of the class.
        count_squared: (C,) the sum of (its rows in a sequence) ** 2.
        product: (C,) the sum of (its rows in a sequence) * (rows of the sequence).
        present: (C,) sequences in which it occurs.
    """

    sequences: int
    rows: int
    rows_squared: float
    count: Floats
    count_squared: Floats
    product: Floats
    present: Ints


def label_counts(labels: Ints, offsets: Ints, num_classes: int) -> LabelCounts:
    """Count the classes of S sequences: labels (N,) class indices, offsets (S + 1,) into them."""
    lengths = np.diff(offsets)
    cells = np.repeat(np.arange(len(lengths)), lengths) * num_classes + labels
    pairs, times = np.unique(cells, return_counts=True)
    sequence, label = np.divmod(pairs, num_classes)

    def per_label(weights: Ints) -> Floats:
        return np.bincount(label, weights, minlength=num_classes).astype(np.float64)

    return LabelCounts(
        sequences=len(lengths),
        rows=len(labels),
        rows_squared=float(lengths @ lengths),
        count=per_label(times),
        count_squared=per_label(times**2),
        product=per_label(times * lengths[sequence]),
        present=np.bincount(label, minlength=num_classes),
    )


def rare_classes(present: Ints, *, labels: Sequence[str]) -> Check:
    """Are there enough test sequences of every class for an honest figure?

    Args:
        present: (C,) test sequences in which each class occurs.
        labels: names of the C classes.
    """
    rare = np.flatnonzero(present < LEAST_SEQUENCES).tolist()
    figures = {"sequences": present.min()}
    figures |= {f"sequences_{labels[c]}": present[c] for c in rare}
    named = ", ".join(f"{labels[c]!r} ({present[c]})" for c in rare)
    text = f"Too few test sequences for an honest figure: {named}."
    status: Status = "fail" if len(rare) == len(present) else "warn"
    otherwise = f"Every class occurs in at least {present.min()} test sequences."
    return _check("rare_classes", figures, [(status, text)] if rare else [], otherwise)


def label_shift(train: LabelCounts, test: LabelCounts, *, labels: Sequence[str]) -> Check:
    """Are the classes as frequent in test as they were in train?

    The two splits are compared as two random samples of sequences, class by class; a class that
    one would expect in fewer than five sequences of a split is left alone.
    """
    before, now = train.count / train.rows, test.count / test.rows
    figures = {"total_variation": np.abs(before - now).sum() / 2}
    findings: list[Finding] = []
    for c in np.flatnonzero(_shift_is_significant(train, test)).tolist():
        if _differ(before[c], now[c], SHIFT):
            figures |= {f"train_{labels[c]}": before[c], f"test_{labels[c]}": now[c]}
            text = f"{labels[c]!r} makes up {100 * before[c]:.1f} % of train but"
            text += f" {100 * now[c]:.1f} % of test."
            findings.append(("fail" if _differ(before[c], now[c], LARGE_SHIFT) else "warn", text))
    otherwise = "The classes are as frequent in test as in train."
    return _check("label_shift", figures, findings, otherwise)


def _differ(one: float, other: float, bounds: tuple[float, float]) -> bool:
    low, high = sorted((one, other))
    return high - low >= bounds[0] or high >= bounds[1] * low


def _shift_is_significant(train: LabelCounts, test: LabelCounts) -> Mask:
    """(C,) Two-sided z test of two ratios with a spread that is pooled over both splits."""
    share = (train.count + test.count) / (train.rows + test.rows)
    sequences = train.sequences + test.sequences
    squares = [
        part.count_squared - 2 * share * part.product + share**2 * part.rows_squared
        for part in (train, test)
    ]
    spread = (squares[0] + squares[1]) / sequences
    variance = spread * (train.sequences / train.rows**2 + test.sequences / test.rows**2)
    expected = (train.present + test.present) / sequences
    enough = expected * min(train.sequences, test.sequences) >= LEAST_EXPECTED
    limit = ndtri(1 - SIGNIFICANCE / (2 * len(share)))
    difference = np.abs(train.count / train.rows - test.count / test.rows)
    significant: Mask = enough & (difference > limit * np.sqrt(np.maximum(variance, 0)))
    return significant
