"""Whether a new model falls behind: in a class, on sequences of any length, in its calibration.

    found = [falls(challenger, champion, margins, labels=labels, fall=0.2), ...]
    refused = corrected(found)

Groups of sequences are what is independent; a sequence without a group is its own. Each figure is
compared by the linearised difference and Student's t (see `Falls.p`). The chance with which a fall
that matters would be seen, the power, is stated with each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.special import ndtr, stdtr, stdtrit

from birnn.evaluation import checks, metrics
from birnn.evaluation.significance import holm
from birnn.retraining.judged import Answers, Ints

LEAST_OF_A_KIND = checks.LEAST_SEQUENCES
"""Groups, of a class or a bucket of lengths that is judged by itself."""
LEVEL = 0.05
"""The chance of refusing a model that is as good, for any fall."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """By how much the F1 of a class, the accuracy of a length and the calibration may be worse."""

    classes: float
    lengths: float
    calibration: float


class _Ratios(NamedTuple):
    """K ratios of totals over groups, such as the F1 of K classes."""

    value: Floats  # (K,)
    influence: csr_array  # (G, K) what each group adds to it, to first order; sums to 0
    based_on: csr_array  # (G, K) not 0 where the ratio is based on the group


class Falls(NamedTuple):
    """By how much K figures of another model are above the challenger's.

    Attributes:
        kind: `classes`, `lengths` or `calibration`.
        what: of which class or length each is.
        before: (K,) the other model's figures.
        now: (K,) the challenger's.
        margin: that a figure may fall by.
        error: (K,) standard error of the fall.
        freedom: (K,) degrees of freedom of that error.
        matters: (K,) a fall of the figure that must not be missed.
        error_then: (K,) what the error would be with it.
    """

    kind: str
    what: list[str]
    before: Floats
    now: Floats
    margin: float
    error: Floats
    freedom: Floats
    matters: Floats
    error_then: Floats

    @property
    def down(self) -> bool:
        """Whether it is worse if a figure is lower; an error is worse if it is higher."""
        return self.kind != "calibration"

    @property
    def fall(self) -> Floats:
        """(K,), positive where the challenger is worse."""
        return self.before - self.now if self.down else self.now - self.before

    @property
    def p(self) -> Floats:
        """The chances (K,) of falls such as these, or larger ones, if nothing has fallen.

        Where the two models differ in nothing, the fall is certain.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            p = stdtr(self.freedom, -self.fall / self.error)
        return np.where(self.error > 0, p, (self.fall <= 0).astype(float))

    def refused(self, p: Floats) -> npt.NDArray[np.bool_]:
        """Which falls (K,) are larger than the margin, and no chance.

        Args:
            p: corrected p-values (K,); see `corrected`.
        """
        refused: npt.NDArray[np.bool_] = (p < LEVEL) & (self.fall > self.margin)
        return refused

    def power(self, tests: int) -> Floats:
        """The chances (K,) of refusing for falls that matter, if the other tests find nothing.

        Student's t with a noncentral mean by the normal approximation of Abramowitz and Stegun
        (Handbook of Mathematical Functions, 1964, 26.7.10).

        Args:
            tests: that are corrected for together, this many times one.
        """
        needed = stdtrit(self.freedom, 1 - LEVEL / tests)
        spread = np.sqrt(1 + needed**2 / (2 * self.freedom))
        with np.errstate(divide="ignore", invalid="ignore"):
            no_chance = self.matters / self.error_then - needed * (1 - 1 / (4 * self.freedom))
            beyond = (self.matters - self.margin) / self.error_then
        power = np.minimum(ndtr(no_chance / spread), ndtr(beyond))
        certain = (self.matters > self.margin).astype(float)
        return np.where(self.error_then > 0, power, certain)


def falls(
    challenger: Answers,
    other: Answers,
    margins: Margins,
    *,
    labels: Sequence[str],
    fall: float,
) -> list[Falls]:
    """Compare every class and bucket of lengths that has enough groups, and the calibration.

    Args:
        challenger: its answers.
        other: those of the champion or of the reference, for the same sequences.
        margins: by which figures may fall.
        labels: names of the C classes.
        fall: one that matters, of the recall of a class or of the accuracy of a length.
    """
    return [
        _of_classes(challenger, other, labels, margins.classes, fall),
        _of_lengths(challenger, other, margins.lengths, fall),
        _of_calibration(challenger, other, margins.calibration, fall),
    ]


def corrected(found: Sequence[Falls], others: Sequence[float] = ()) -> list[Floats]:
    """Correct the p-values of all falls for one another, by Holm; the last are those of `others`.

    A model is refused where any is below `LEVEL` and that fall is larger than its margin. So one
    that is as good is refused with that chance at most, by all of them together.
    """
    parts = [*(one.p for one in found), np.asarray(others, dtype=np.float64)]
    return np.split(holm(np.concatenate(parts)), np.cumsum([len(part) for part in parts])[:-1])


def judged_classes(answers: Answers, num_classes: int) -> list[int]:
    """Return the classes that occur in enough groups."""
    return np.flatnonzero(groups_of_classes(answers, num_classes) >= LEAST_OF_A_KIND).tolist()


def groups_of_classes(answers: Answers, num_classes: int) -> Ints:
    """Count the groups in which each class occurs, (C,)."""
    return _groups(_by_class(answers, answers.actual, num_classes))


def _of_classes(
    challenger: Answers, other: Answers, labels: Sequence[str], margin: float, fall: float
) -> Falls:
    judged = judged_classes(challenger, len(labels))
    before, now = (_f1(answers, len(labels), judged) for answers in (other, challenger))
    actual = _by_class(other, other.actual, len(labels))[:, judged]
    right = _by_class(other, other.actual, len(labels), other.right)[:, judged]
    found, all_rows = (np.asarray(part.sum(axis=0), dtype=np.float64) for part in (right, actual))
    # Labels that are found no longer are called another class: both of F1's totals have fewer.
    total = np.asarray(before.based_on.sum(axis=0), dtype=np.float64)
    share = _share(fall, found / all_rows)
    lost = share * found
    then = 2 * (found - lost) / (total - lost)
    of_one = (2 - then) / (total - lost)
    added = _clustering(_ratios(right, actual)) * share * (1 - share) * found * of_one**2
    return _falls("classes", [labels[c] for c in judged], before, now, margin, (then, added))


def _of_lengths(challenger: Answers, other: Answers, margin: float, fall: float) -> Falls:
    bucket = metrics.length_buckets(challenger.lengths)
    rows = _by_bucket(challenger, np.diff(challenger.offsets), bucket)
    judged = np.flatnonzero(_groups(rows) >= LEAST_OF_A_KIND)
    members = [challenger.lengths[bucket == i] for i in judged]
    spans = [f"{part.min()} to {part.max()} steps" for part in members]
    before, now = (_accuracy(answers, bucket, judged) for answers in (other, challenger))
    share = _share(fall, before.value)
    total = np.asarray(before.based_on.sum(axis=0), dtype=np.float64)
    added = _clustering(before) * share * (1 - share) * before.value / total
    then = before.value * (1 - share)
    return _falls("lengths", spans, before, now, margin, (then, added))


def _of_calibration(challenger: Answers, other: Answers, margin: float, fall: float) -> Falls:
    """Compare expected calibration errors, less what exact probabilities would have by chance."""
    before, now = _calibration(other), _calibration(challenger)
    rises = _falls("calibration", ["all labels"], before, now, margin, (now.value, 0.0))
    return rises._replace(matters=np.array([max(fall, 2 * margin)]))


def _share(fall: float, of: Floats) -> Floats:
    """Which share of the right labels is lost where a figure falls so much, or to nothing."""
    return np.minimum(1, fall / np.maximum(of, np.finfo(float).tiny))


def _clustering(ratios: _Ratios) -> Floats:
    """How many times more shares (K,) vary than of independent labels: Kish's design effect."""
    total = np.asarray(ratios.based_on.sum(axis=0), dtype=np.float64)
    alone = ratios.value * (1 - ratios.value) / total
    squares = np.asarray(ratios.influence.multiply(ratios.influence).sum(axis=0))
    effect: Floats = np.divide(squares, alone, out=np.ones_like(alone), where=alone > 0)
    return np.maximum(1, effect)


def _falls(
    kind: str,
    what: list[str],
    before: _Ratios,
    now: _Ratios,
    margin: float,
    planted: tuple[Floats, Floats | float],
) -> Falls:
    """Put together how sure falls are, and how sure they would be of planted ones.

    A ratio of totals A / B over groups changes by (a - A / B * b) / B, to first order, with a
    group that adds a and b (Cochran, Sampling Techniques, 1977, chapter 6). The fall varies as
    the sum of the differences of the two models' changes does: paired, so that what makes a
    group hard for both cancels out. Degrees of freedom are one fewer than the groups with a
    say.

    Args:
        kind: of the falls.
        what: of which class or length each is.
        before: the other model's figures.
        now: the challenger's.
        margin: that figures may fall by.
        planted: what figures would fall to, and how much their variance would grow, (K,) each.
    """
    apart = before.influence - now.influence
    number = _groups(before.based_on + now.based_on)
    freedom = np.maximum(number - 1, 1).astype(np.float64)
    variance = np.asarray(apart.multiply(apart).sum(axis=0)) * number / freedom
    then, added = planted
    return Falls(
        kind=kind,
        what=what,
        before=before.value,
        now=now.value,
        margin=margin,
        error=np.sqrt(variance),
        freedom=freedom,
        matters=before.value - then,
        error_then=np.sqrt(variance + added),
    )


def _ratios(part: csr_array, whole: csr_array) -> _Ratios:
    total = whole.sum(axis=0)
    value = part.sum(axis=0) / total
    influence = csr_array((part - whole.multiply(value)).multiply(1 / total))
    return _Ratios(value, influence, whole)


def _f1(answers: Answers, num_classes: int, judged: list[int]) -> _Ratios:
    """Return F1 of some classes: twice the right labels over the actual and the predicted ones."""
    actual, predicted = (
        _by_class(answers, classes, num_classes) for classes in (answers.actual, answers.predicted)
    )
    right = _by_class(answers, answers.actual, num_classes, answers.right)
    return _ratios((2 * right)[:, judged], (actual + predicted)[:, judged])


def _by_class(
    answers: Answers,
    classes: Ints,
    num_classes: int,
    kept: npt.NDArray[np.bool_] | slice = slice(None),
) -> csr_array:
    """Count the labels of each class in each group, (G, C)."""
    group, of_class = answers.group_of_row[kept], classes[kept]
    shape = answers.num_groups, num_classes
    return csr_array((np.ones(len(group)), (group, of_class)), shape=shape)


def _accuracy(
    answers: Answers, bucket: npt.NDArray[np.int64], judged: npt.NDArray[np.int64]
) -> _Ratios:
    """Return the accuracy in some buckets: right labels over labels."""
    right = np.add.reduceat(answers.right.astype(np.int64), answers.offsets[:-1])
    parts = (_by_bucket(answers, each, bucket) for each in (right, np.diff(answers.offsets)))
    return _ratios(*(part[:, judged] for part in parts))


def _by_bucket(answers: Answers, labels: Ints, bucket: npt.NDArray[np.int64]) -> csr_array:
    """Sum labels (S,) of sequences by group and bucket, (G, B)."""
    shape = answers.num_groups, int(bucket.max()) + 1
    return csr_array((labels.astype(np.float64), (answers.groups, bucket)), shape=shape)


def _calibration(answers: Answers) -> _Ratios:
    """Return the calibration error, (1,): a sum over bins of absolute totals, over the labels.

    To first order a group adds to a bin's absolute total what it adds to the total, with its sign.
    """
    right = answers.probabilities.argmax(axis=1) == answers.actual
    confidence = answers.probabilities.max(axis=1)
    figures = checks.calibration(confidence, right, answers.offsets, answers.groups).figures
    column, surplus = metrics.calibration_bin(confidence), right - confidence
    sign = np.sign(np.bincount(column, surplus, metrics.CALIBRATION_BINS))[column]
    group, size = answers.group_of_row, answers.num_groups
    part, whole = (
        csr_array(np.bincount(group, each, size)[:, np.newaxis])
        for each in (sign * surplus, np.ones(len(group)))
    )
    error = max(0.0, figures["calibration_error"] - figures["by_chance"])
    return _ratios(part, whole)._replace(value=np.array([error]))


def _groups(counts: csr_array) -> npt.NDArray[np.int64]:
    """How many groups have any of each, (K,)."""
    return np.asarray((counts != 0).sum(axis=0), dtype=np.int64)
