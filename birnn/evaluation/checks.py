"""The pitfalls of evaluation: named checks that each say in a sentence what they found.

A check takes small arrays and tables. It ends in `pass`; in `warn` where something deserves a look;
or in `fail` where the metrics should not be believed until it is mended. Where chance could look
like a fault, a check wants significance at the 1 % level over all that it looks at (Bonferroni),
with groups of sequences, not steps, as what is independent; and an effect large enough to matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtr, stdtrit

from birnn.data.copies import Copies
from birnn.evaluation.metrics import CALIBRATION_BINS as BINS
from birnn.evaluation.metrics import calibration_bin
from birnn.evaluation.tallies import of_groups
from birnn.files import pieces
from birnn.files.reading import MOST_NAMED, first_few

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

    @property
    def doubt(self) -> str:
        """What not to believe where it fails."""
        return DOUBTS.get(self.name, "the figures that it names")


DOUBTS = {
    "accuracy_paradox": "the accuracy",
    "calibration": "the probabilities, and the log loss",
    "label_shift": "averages over the classes where these are as frequent as in training",
    "leakage": "any figure of the test set",
    "overfitting": "figures of the training split",
    "rare_classes": "the figures of classes, and their averages",
    "sequence_length": "the averages for sequences of every length",
}


def _check(name: str, figures: Mapping[str, Any], findings: list[Finding], otherwise: str) -> Check:
    """Conclude: the worst of the findings gives the status; without any, the check passes."""
    statuses = {status for status, _ in findings}
    status: Status = "fail" if "fail" in statuses else "warn" if statuses else "pass"
    worst_first = sorted(findings, key=lambda finding: finding[0] == "warn")
    sentence = sentences([text for _, text in worst_first]) or otherwise
    return Check(name, status, {key: float(value) for key, value in figures.items()}, sentence)


def sentences(said: Sequence[str]) -> str:
    """Put the first few together, and say how many more there are."""
    more = [f"And {len(said) - MOST_NAMED} more."] if len(said) > MOST_NAMED else []
    return " ".join([*said[:MOST_NAMED], *more])


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
    critical: Collection[str] = (),
) -> Check:
    """Does the accuracy come from a common class, while another is missed?

    It fails where accuracy is high, and either its interval reaches down to the share of the most
    common class, or a class has an interval of recall that lies below one half. It warns where
    accuracy is not high, or where the recall of a class is low but its interval is wide.

    Critical classes have thresholds, which give accuracy away for what was asked of these classes.
    So they are left to the verdict, and an accuracy below that share is their price, not a fault.

    Args:
        support: (C,) test rows of each class.
        recall: (C,) share of them that is found.
        accuracy: of the same predictions.
        intervals: low and high end of `accuracy` and `recall_LABEL`, as far as they are known.
        labels: names of the C classes.
        critical: those that are called from a threshold on.
    """
    common = int(support.argmax())
    share = float(support[common] / support.sum())
    serious: Status = "fail" if accuracy >= HIGH_ACCURACY else "warn"
    figures = {"accuracy": accuracy, "majority_share": share}
    findings: list[Finding] = []
    blind = f"always saying {labels[common]!r}, which is right in {_percent(share)} of cases"
    no_better = intervals.get("accuracy", (accuracy, accuracy))[0] <= share
    if no_better and not critical:
        text = f"An accuracy of {_percent(accuracy)} is not clearly better than {blind}."
        findings.append((serious, text))
    others = (c for c in np.flatnonzero(support).tolist() if labels[c] not in critical)
    for c in sorted(others, key=lambda c: float(recall[c])):
        high = intervals.get(f"recall_{labels[c]}", (recall[c], recall[c]))[1]
        if recall[c] < LOW_RECALL and (support[c] >= LEAST_ROWS or high < LOW_RECALL):
            figures[f"recall_{labels[c]}"] = float(recall[c])
            text = f"Accuracy is {_percent(accuracy)}, but only {_percent(recall[c])} of"
            text += f" {labels[c]!r} is found."
            findings.append((serious if high < LOW_RECALL else "warn", text))
    otherwise = f"An accuracy of {_percent(accuracy)} is better than {blind}; no class is missed."
    if no_better:
        otherwise = f"An accuracy of {_percent(accuracy)} is not better than {blind}: the price of"
        otherwise += (
            f" the thresholds of {first_few(map(repr, critical))}. No other class is missed."
        )
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
    if told.all() or not told.any():  # where few steps have a label
        return {}
    leaves = 4 * len(np.unique(labels))
    errors = np.count_nonzero(~told) - np.bincount(labels[~told]).max()
    scores = {}
    for column, name in zip(values.T[:, :, np.newaxis], names, strict=True):
        tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=5, random_state=0)
        answers = tree.fit(column[told], labels[told]).predict(column[~told])
        wrong = np.count_nonzero(answers != labels[~told])
        scores[name] = max(0.0, 1 - wrong / errors) if errors else 0.0
    return scores


@dataclass(frozen=True, slots=True)
class SeenBefore:
    """What the splits have in common.

    Attributes:
        test: what training has seen of the test split.
        test_in_validation: (S,) which other test sequences are in the validation split.
        validation: what training has seen of the validation split.
        examples: ids of a few test sequences, each with that of a training sequence it is like.
        shared_groups: how many groups have sequences both in train and in test.
    """

    test: Copies
    test_in_validation: Mask
    validation: Copies
    examples: Sequence[tuple[str, str]] = ()
    shared_groups: int = 0


@dataclass(frozen=True, slots=True)
class Headlines:
    """The headline metric on all test sequences, on those that train has seen, and on the rest."""

    headline: float
    headline_seen: float
    headline_unseen: float


def leakage(
    found: SeenBefore, *, feature_scores: Mapping[str, float], headlines: Headlines | None = None
) -> Check:
    """Does the test set hold what training has seen, or a feature give the answer away?

    It fails where 1 % of the test sequences or more are known from training and that is no chance,
    and warns of fewer. Where validation shares sequences with another split it warns.

    Args:
        found: see `birnn.data.copies`.
        feature_scores: of each feature alone, from the function of this name; empty for tokens.
        headlines: if training has seen some test sequences, by chance or not, but not all.
    """
    test = found.test
    figures: dict[str, Any] = {
        "repeated": np.count_nonzero(test.repeated),
        "expected_by_chance": test.expected,
        "copied": np.count_nonzero(test.seen),
        "copied_share": test.seen.mean(),
        "exact_copies": np.count_nonzero(test.exact),
        "overlaps": np.count_nonzero(test.overlap),
        "near_copies": np.count_nonzero(test.near),
        "test_in_validation": np.count_nonzero(found.test_in_validation),
        "validation_copied": np.count_nonzero(found.validation.seen),
        "shared_groups": found.shared_groups,
        **{f"feature_{name}": score for name, score in feature_scores.items()},
    }
    findings = _feature_findings(feature_scores)
    if found.shared_groups:
        text = f"{found.shared_groups} groups have sequences both in train and in test."
        findings.append(("fail", text))
    findings += [*_copy_findings(test, found.examples), *_validation_findings(found)]
    by_chance = figures["repeated"] - figures["exact_copies"]
    otherwise = "Training has seen nothing of the test set."
    if by_chance:
        otherwise = f"{by_chance} test sequences occur in train, which happens by chance in such"
        otherwise += f" data (expected: {test.expected:.1f})."
    check = _check("leakage", figures, findings, otherwise)
    return _with_headlines(check, headlines) if headlines else check


def _copy_findings(test: Copies, examples: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    if not test.seen.any():
        return
    kinds = {"exact copies": test.exact, "overlaps": test.overlap, "near copies": test.near}
    counts = [f"{seen.sum()} {kind}" for kind, seen in kinds.items() if seen.any()]
    text = f"{test.seen.sum()} of {len(test.seen)} test sequences are copies of training sequences"
    text += f" or of parts of them ({', '.join(counts)}), which is no chance"
    if examples:
        pairs = ", ".join(f"{one!r} (in train: {other!r})" for one, other in examples)
        text += f": such as {pairs}. Give all sequences of one origin the same `group`"
    yield "fail" if test.seen.mean() >= MANY_COPIES else "warn", f"{text}."


def _validation_findings(found: SeenBefore) -> Iterator[Finding]:
    """Validation chooses the epoch and the thresholds, and is to be new to training as well."""
    shares = {
        "test sequences are copies of validation sequences": found.test_in_validation,
        "validation sequences are copies of training sequences": found.validation.seen,
    }
    for text, seen in shares.items():
        if seen.any():
            yield "warn", f"{seen.sum()} of {len(seen)} {text}."


def _feature_findings(feature_scores: Mapping[str, float]) -> list[Finding]:
    return [
        (
            "fail" if score >= GIVEAWAY else "warn",
            f"Feature {name!r} alone avoids {_percent(score)} of the errors of a blind guess.",
        )
        for name, score in feature_scores.items()
        if score >= SUSPICIOUS
    ]


def _with_headlines(check: Check, found: Headlines) -> Check:
    text = f"{check.sentence} On what training has seen, the headline is {found.headline_seen:.3f},"
    text += f" on the rest {found.headline_unseen:.3f}, on all {found.headline:.3f}."
    return replace(check, figures={**check.figures, **asdict(found)}, sentence=text)


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


def sequence_length(
    right: Ints,
    rows: Ints,
    lengths: Ints,
    bucket: Ints,
    groups: Ints | None = None,
    *,
    possible: Floats | None = None,
) -> Check:
    """Are short or long sequences predicted much worse than the others?

    Args:
        right: (S,) rows of each test sequence that are predicted right.
        rows: (S,) its rows.
        lengths: (S,) its steps.
        bucket: (S,) the bucket of lengths that it is in, from 0.
        groups: (S,) the number of its group; None where each is its own.
        possible: (S,) rows that the best possible model is expected to predict right, where that is
            known. Short sequences may be harder by nature; so what counts is how far accuracy is
            below what is possible.
    """
    groups = np.arange(len(rows)) if groups is None else groups
    accuracy = right.sum() / rows.sum()
    figures = {"accuracy": accuracy}
    findings: list[Finding] = []
    against = right if possible is None else right - possible
    buckets = [bucket == i for i in range(int(bucket.max()) + 1)]
    for inside in buckets:
        if min(len(np.unique(groups[part])) for part in (inside, ~inside)) < 2:
            continue
        drop, chance = _drop(against, rows, inside, groups)
        if drop >= WORSE and chance < SIGNIFICANCE / len(buckets):
            own, span = _share(right, rows, inside), _span(lengths[inside])
            figures[f"accuracy_{span.replace(' ', '_')}"] = own
            text = f"With {span} steps accuracy is {_percent(own)}, on the whole"
            text += f" {_percent(accuracy)}{_of_possible(possible, rows, inside)}."
            findings.append(("fail" if drop >= MUCH_WORSE else "warn", text))
    known = [inside for inside in buckets if len(np.unique(groups[inside])) > 1]
    if len(known) < 2:
        otherwise = "The test sequences are all of about one length, or too few to compare lengths."
        return _check("sequence_length", figures, findings, otherwise)
    known.sort(key=lambda inside: _share(right, rows, inside))
    spread = _spread(right, rows, known, groups)
    ends = [
        f"{_percent(_share(right, rows, inside))} with {_span(lengths[inside])} steps"
        f"{_of_possible(possible, rows, inside)}"
        for inside in (known[0], known[-1])
    ]
    otherwise = f"Accuracy goes from {' to '.join(ends)}: {100 * spread['spread']:.1f} points apart"
    otherwise += f" (95 % interval {100 * spread['spread_low']:.1f} to"
    otherwise += f" {100 * spread['spread_high']:.1f})."
    if spread["spread_low"] > 0 and possible is not None:
        otherwise += (
            " That is in the nature of the data: both are about as near to what is possible."
        )
    return _check("sequence_length", figures | spread, findings, otherwise)


def _spread(right: Ints, rows: Ints, known: Sequence[Mask], groups: Ints) -> dict[str, float]:
    """Say how far the worst and the best bucket, the first and the last, are apart.

    They are picked for being apart, so the 95 % interval is Bonferroni's over all pairs.
    """
    worst, best = known[0], known[-1]
    two = worst | best
    spread, error = _below(right[two], rows[two], worst[two], groups[two])
    tail = 0.025 / (len(known) * (len(known) - 1) / 2)
    least = min(len(np.unique(groups[inside])) for inside in (worst, best))
    reach = -float(stdtrit(least - 1, tail)) * error
    return {"spread": spread, "spread_low": spread - reach, "spread_high": spread + reach}


def _share(right: Floats | Ints, rows: Ints, inside: Mask) -> float:
    return float(right[inside].sum() / rows[inside].sum())


def _span(lengths: Ints) -> str:
    first, last = int(lengths.min()), int(lengths.max())
    return f"{first}" if first == last else f"{first} to {last}"


def _of_possible(possible: Floats | None, rows: Ints, inside: Mask) -> str:
    if possible is None:
        return ""
    return f" (possible: {_percent(_share(possible, rows, inside))})"


def _drop(right: Floats | Ints, rows: Ints, inside: Mask, groups: Ints) -> tuple[float, float]:
    """Return how far accuracy inside is below that outside, and the chance of so much by luck.

    One-sided Welch's t for two ratios, with the degrees of freedom of the part inside.
    """
    drop, error = _below(right, rows, inside, groups)
    if not error:
        return drop, float(drop <= 0)
    return drop, float(stdtr(len(np.unique(groups[inside])) - 1, -drop / error))


def _below(right: Floats | Ints, rows: Ints, inside: Mask, groups: Ints) -> tuple[float, float]:
    """Return how far accuracy inside is below that outside, and the standard error of that.

    The spread of a ratio is that of the groups' residuals (Cochran, Sampling Techniques, 1977,
    chapter 6).
    """
    means, variances = [], []
    for part in (inside, ~inside):
        total = rows[part].sum()
        mean = right[part].sum() / total
        residual = np.bincount(groups[part], right[part] - mean * rows[part])
        size = len(np.unique(groups[part]))
        means.append(float(mean))
        variances.append(float(residual @ residual) / total**2 * size / (size - 1))
    return means[1] - means[0], sum(variances) ** 0.5


# --- calibration ----------------------------------------------------------------------------------

OFF, FAR_OFF = 0.05, 0.15


def calibration(
    confidence: Floats,
    right: Mask,
    offsets: Ints,
    groups: Ints | None = None,
    *,
    rare: Sequence[str] = (),
) -> Check:
    """Is an answer that is called 90 % probable right in 90 % of cases?

    The figure is the expected calibration error of `metrics.calibration`, less what it would be by
    chance for a model whose probabilities are exact.

    Args:
        confidence: (N,) probability of the most probable class of each test row.
        right: (N,) whether that class is the actual one.
        offsets: (S + 1,) where each sequence begins and ends.
        groups: (S,) the number of its group, from 0; None where each is its own.
        rare: classes in fewer than `LEAST_SEQUENCES` test sequences, of which nobody can say it.
    """
    groups = np.arange(len(offsets) - 1) if groups is None else groups
    total, squares = np.zeros((2, BINS))  # of what is right beyond what was said, by group
    for rows, bounds in of_groups(offsets, groups):
        group, sure = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds)), confidence[rows]
        cells = group * BINS + calibration_bin(sure)
        surplus = np.bincount(cells, right[rows] - sure, minlength=(len(bounds) - 1) * BINS)
        total += surplus.reshape(-1, BINS).sum(axis=0)
        squares += (surplus.reshape(-1, BINS) ** 2).sum(axis=0)
        pieces.release(confidence, right)
    error = np.abs(total).sum() / len(right)
    # The mean of |x| is sqrt(2 / pi) of the standard deviation for a normal x of mean 0.
    chance = np.sqrt(2 / np.pi * squares).sum() / len(right)
    sums = [
        (sure.sum(dtype=np.float64), np.count_nonzero(hit))
        for sure, hit in pieces.of(confidence, right)
    ]
    said, was = (sum(each) / len(right) for each in zip(*sums, strict=True))
    figures = {"calibration_error": error, "by_chance": chance, "confidence": said, "accuracy": was}
    text = f"The model is {_percent(said)} sure of its answers, and {_percent(was)} are right"
    findings: list[Finding] = []
    if error - chance > OFF:
        status: Status = "fail" if error - chance > FAR_OFF else "warn"
        findings.append((status, f"{text}; its probabilities are off by {_percent(error)}."))
    elif chance > OFF:
        few = f"{text}; with {groups.max() + 1} test sequences chance alone makes probabilities"
        findings.append(("warn", f"{few} look off by {_percent(chance)}, so one cannot say more."))
    otherwise = f"{text}: one can believe its probabilities"
    if rare:
        otherwise += (
            f", but too few test sequences hold {first_few(map(repr, rare))} to say so of it"
        )
    return _check("calibration", figures, findings, f"{otherwise}.")


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


def label_counts(
    labels: Ints, offsets: Ints, num_classes: int, groups: Ints | None = None
) -> LabelCounts:
    """Count the classes of S sequences, or of groups of them.

    Args:
        labels: (N,) class indices.
        offsets: (S + 1,) where the labels of each sequence begin.
        num_classes: C.
        groups: (S,) the number of the group of each sequence, from 0.
    """
    count, squared, product, present = np.zeros((4, num_classes))
    number, rows_squared = 0, 0  # of groups; of their rows, which may be many
    for rows, bounds in of_groups(offsets, groups):
        lengths = np.diff(bounds)
        number += len(lengths)
        rows_squared += int(lengths @ lengths)
        cells = np.repeat(np.arange(len(lengths)), lengths) * num_classes + labels[rows]
        pairs, times = np.unique(cells, return_counts=True)
        group, label = np.divmod(pairs, num_classes)
        each = times, times**2, times * lengths[group], np.ones(len(times))
        for sums, amounts in zip((count, squared, product, present), each, strict=True):
            sums += np.bincount(label, amounts, num_classes)
    return LabelCounts(
        sequences=number,
        rows=len(labels),
        rows_squared=float(rows_squared),
        count=count,
        count_squared=squared,
        product=product,
        present=present.astype(np.int64),
    )


def rare_classes(present: Ints, *, labels: Sequence[str], unit: str = "test sequences") -> Check:
    """Are there enough independent test sequences of every class for an honest figure?

    Args:
        present: (C,) test sequences, or groups of them, in which each class occurs.
        labels: names of the C classes.
        unit: what was counted, in the plural.
    """
    found = dict(zip(labels, present.tolist(), strict=True))
    few = {label: found[label] for label in sorted(rare(present, labels), key=found.__getitem__)}
    figures = {"sequences": present.min()} | {f"sequences_{name}": few[name] for name in few}
    named = first_few(f"{label!r} ({count})" for label, count in few.items())
    text = f"Too few {unit} for an honest figure: {named}."
    status: Status = "fail" if len(few) == len(present) else "warn"
    otherwise = f"Every class occurs in at least {present.min()} {unit}."
    return _check("rare_classes", figures, [(status, text)] if few else [], otherwise)


def rare(present: Ints, labels: Sequence[str]) -> list[str]:
    """Name the classes that occur in fewer than `LEAST_SEQUENCES` test sequences, or groups."""
    return [name for name, count in zip(labels, present, strict=True) if count < LEAST_SEQUENCES]


def label_shift(train: LabelCounts, test: LabelCounts, *, labels: Sequence[str]) -> Check:
    """Are the classes as frequent in test as they were in train?

    The two splits are compared as two random samples of sequences, class by class; a class that
    one would expect in fewer than five sequences of a split is left alone.
    """
    before, now = train.count / train.rows, test.count / test.rows
    figures = {"total_variation": np.abs(before - now).sum() / 2}
    findings: list[Finding] = []
    strange = np.flatnonzero((train.count == 0) & (test.count > 0)).tolist()
    if strange:
        figures["not_in_train"] = test.count[strange].sum() / test.rows
        named = first_few(f"{labels[c]!r} ({test.count[c]:.0f})" for c in strange)
        text = f"Labels of test that train does not have: {named}; no model can learn them, and"
        findings.append(("warn", f"{text} each counts as answered wrongly."))
    shifted = np.flatnonzero(_shift_is_significant(train, test)).tolist()
    for c in sorted(shifted, key=lambda c: -abs(float(now[c] - before[c]))):
        if c not in strange and _differ(before[c], now[c], SHIFT):
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
