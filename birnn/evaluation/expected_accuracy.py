"""How accurate answers without labels are expected to be, from how sure a model is of them.

    known = calibrate(confidence, right, offsets, groups)       # on validation
    known = checked(known, confidence, right, offsets, groups)  # on test
    found = estimate(known, confidence, drifted=["feature x"])       # on new data
    found.accuracy, found.believed, found.sentence

A model's confidence is the probability of the class that it answers. Networks are often too sure,
so confidence is calibrated first: the chance to be right is a logistic function of its log odds
(Platt, Probabilistic Outputs for Support Vector Machines, 1999). The mean of these chances over
new answers is their expected accuracy.

That holds as long as answers of the same confidence are right as often as before. It does not where
the data are others: a model can be sure and wrong of what it has never seen (Ovadia and others, Can
You Trust Your Model's Uncertainty, 2019). So an estimate goes with two checks, and says whether it
can be believed: how far it was off on the test split, whose labels are known, and whether the data
have drifted.

Arguments that functions share:

    confidence   (N,) floats from 0 to 1: the probability of the class that is answered
    right        (N,) booleans: whether that class is the true one
    offsets      (S + 1,) integers: where the rows of each sequence begin
    groups       (S,) integers: the number of the group of each sequence; see
                 `birnn.evaluation.intervals`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.special import expit, logit, stdtrit

from birnn.evaluation.intervals import HIGH, over
from birnn.files import pieces
from birnn.files.reading import first_few

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

LEAST_GROUPS = 10  # to calibrate with, and to check with
FAR_OFF = 0.02
"""By which an estimate may be off on the test split, or by what chance explains."""
SUREST = 1e-7  # what a confidence counts as at most short of 1: about float32's step there


@dataclass(frozen=True, slots=True)
class OnTest:
    """How far expected accuracy was off where the labels are known.

    Attributes:
        expected: the expected accuracy.
        accuracy: the true one.
        low: end of the 95 % interval of expected - accuracy.
        high: the other end.
        groups: that the interval rests on.
    """

    expected: float
    accuracy: float
    low: float
    high: float
    groups: int

    @property
    def error(self) -> float:
        """By how much it was too high."""
        return self.expected - self.accuracy

    @property
    def sentence(self) -> str:
        """What it was, for a newcomer."""
        said = f"Without their labels, {100 * self.expected:.1f} % of the test answers are"
        said += f" expected to be right, and {100 * self.accuracy:.1f} % are"
        if self.groups > 1:
            said += f" (95 % interval of the difference: {100 * self.low:+.1f} to"
            said += f" {100 * self.high:+.1f} points)"
        if self.off:
            return f"{said}: do not believe such an estimate for other answers."
        return f"{said}."

    @property
    def off(self) -> bool:
        """Whether it was off by more than `FAR_OFF`, and by more than chance explains."""
        return abs(self.error) > FAR_OFF and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often a model is right, by how sure it is: what `expected_accuracy.json` holds.

    Attributes:
        intercept: of the log odds of being right.
        slope: by which they grow with the log odds of the confidence.
        covariance: of the two, 2 by 2, over groups.
        groups: of validation sequences that it was fitted on.
        on_test: how far it was off on the test split.
    """

    intercept: float
    slope: float
    covariance: list[list[float]]
    groups: int
    on_test: OnTest | None = None

    def chances(self, confidence: Floats) -> NDArray[np.float64]:
        """Return the chance of each answer to be right, (N,)."""
        chances: NDArray[np.float64] = expit(
            _columns(confidence) @ np.array([self.intercept, self.slope])
        )
        return chances


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected accuracy of answers without labels.

    Attributes:
        accuracy: expected share of right answers.
        low: end of its 95 % interval; None where it rests on a single group.
        high: the other end.
        answers: how many.
        groups: how many groups, or sequences without groups, they belong to.
        believed: whether nothing speaks against it.
        sentence: the estimate, for a newcomer; and why it cannot be believed.
    """

    accuracy: float
    low: float | None
    high: float | None
    answers: int
    groups: int
    believed: bool
    sentence: str


def confidence(probabilities: Floats, classes: Ints) -> Floats:
    """Return how sure a model is of its answers, (N,).

    Args:
        probabilities: (N, C) of each class.
        classes: (N,) that are answered, whether the most probable or by a threshold.
    """
    return np.take_along_axis(probabilities, classes[:, np.newaxis], axis=1)[:, 0]


def calibrate(confidence: Floats, right: Mask, offsets: Ints, groups: Ints) -> Calibration:
    """Learn how often answers are right, by how sure the model is of them.

    Right and wrong count as Platt's smoothed 0 and 1, so a validation split without a mistake does
    not make the model certain.
    """
    hits = _hits(right)
    aims = 1 / (len(right) - hits + 2), (hits + 1) / (hits + 2)

    def fall(line: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How the log loss falls with the intercept and the slope, and how that changes."""
        slope, curvature = np.zeros(2), np.zeros((2, 2))
        for sure, hit in pieces.of(confidence, right):
            columns = _columns(sure)
            chances = expit(columns @ line)
            slope += columns.T @ (np.where(hit, aims[1], aims[0]) - chances)
            curvature -= (columns * (chances * (1 - chances))[:, np.newaxis]).T @ columns
        return slope / len(right), curvature / len(right)

    # It ends so near to the maximum that its digits do not depend on the CPU.
    line = root(fall, np.zeros(2), jac=True, options={"xtol": 1e-13}).x
    found = Calibration(float(line[0]), float(line[1]), [], len(np.unique(groups)))

    def scores(rows: slice) -> NDArray[np.float64]:
        pieces.release(confidence, right)
        aim = np.where(right[rows], aims[1], aims[0])
        chances = found.chances(confidence[rows])
        return _columns(confidence[rows]) * (aim - chances)[:, np.newaxis]

    score = _by_group(scores, offsets, groups)
    inverse = np.linalg.pinv(-fall(line)[1] * len(right))
    spread = score.T @ score * _few(len(score))  # White's, clustered (Liang and Zeger, 1986)
    return replace(found, covariance=(inverse @ spread @ inverse).tolist())


def checked(
    known: Calibration, confidence: Floats, right: Mask, offsets: Ints, groups: Ints
) -> Calibration:
    """Note how far the expected accuracy is off on other sequences whose labels are known."""

    def error(rows: slice) -> NDArray[np.float64]:
        return known.chances(confidence[rows]) - right[rows]

    mean = _mean(known, confidence, error, offsets, groups)
    accuracy = _hits(right) / len(right)
    of = OnTest(
        expected=accuracy + mean.value,
        accuracy=accuracy,
        low=mean.value - mean.reach,
        high=mean.value + mean.reach,
        groups=mean.groups,
    )
    return replace(known, on_test=of)


def estimate(
    known: Calibration,
    confidence: Floats,
    *,
    offsets: Ints | None = None,
    groups: Ints | None = None,
    drifted: Sequence[str] | None = None,
) -> Estimate:
    """Estimate the accuracy of answers whose labels nobody knows yet.

    Args:
        known: of the model that answers.
        confidence: (N,) see above, N at least 1.
        offsets: (S + 1,) see above; without it, each row is a sequence.
        groups: (S,) see above; without it, each sequence is its own group.
        drifted: what has drifted since the model was trained, such as `feature x`; empty if
            nothing has, None if nobody has looked.
    """
    offsets = np.arange(len(confidence) + 1) if offsets is None else offsets
    groups = np.arange(len(offsets) - 1) if groups is None else groups
    mean = _mean(known, confidence, lambda rows: known.chances(confidence[rows]), offsets, groups)
    inside = mean.value * (1 - mean.value)
    low, high = expit(logit(mean.value) + np.array([-1, 1]) * mean.reach / inside).tolist()
    doubts = [*_doubts(known, drifted)]
    ends = (low, high) if mean.groups > 1 else (None, None)
    return Estimate(
        accuracy=mean.value,
        low=ends[0],
        high=ends[1],
        answers=len(confidence),
        groups=mean.groups,
        believed=not doubts,
        sentence=_sentence(known, mean, ends, len(offsets) - 1, doubts, drifted),
    )


def _doubts(known: Calibration, drifted: Sequence[str] | None) -> Iterator[str]:
    """Say why an estimate cannot be believed."""
    test = known.on_test
    for split, number in (("validation", known.groups), ("test", test.groups if test else 0)):
        if number < LEAST_GROUPS:
            yield f"it rests on {number} {split} groups, and {LEAST_GROUPS} are needed"
    if test and test.off:
        expected, were = 100 * test.expected, 100 * test.accuracy
        yield f"of the test split {expected:.1f} % were expected to be right, and {were:.1f} % were"
    if drifted:
        yield f"the data have drifted ({first_few(drifted)})"


def _sentence(
    known: Calibration,
    mean: _Mean,
    ends: tuple[float | None, float | None],
    sequences: int,
    doubts: Sequence[str],
    drifted: Sequence[str] | None,
) -> str:
    low, high = ends
    text = f"{100 * mean.value:.1f} % of these answers are expected to be right"
    if low is not None and high is not None:
        text += f" (95 % interval over {over(mean.groups, sequences)}:"
        text += f" {100 * low:.1f} to {100 * high:.1f} %)"
    if doubts:
        return f"{text}; do not believe it: {'; '.join(doubts)}."
    if test := known.on_test:
        text += f"; on the test split the estimate was off by {100 * test.error:+.1f} points"
    if drifted is None:
        text += "; it holds if the data are like those that the model has learned from"
    return f"{text}."


class _Mean(NamedTuple):
    """A mean of rows, half of its 95 % interval, and over how many groups that is."""

    value: float
    reach: float
    groups: int


def _mean(
    known: Calibration,
    confidence: Floats,
    rows: Callable[[slice], NDArray[np.float64]],
    offsets: Ints,
    groups: Ints,
) -> _Mean:
    """The mean of a chance in each row, where the fit adds a variance of its own.

    The spread of a ratio is that of the groups' residuals (Cochran, Sampling Techniques). The fit
    moves the mean of the chances with their gradient (the delta method). Degrees of freedom are
    Welch and Satterthwaite's.
    """

    def amounts(some: slice) -> NDArray[np.float64]:
        pieces.release(confidence)
        chances = known.chances(confidence[some])
        gradient = _columns(confidence[some]) * (chances * (1 - chances))[:, np.newaxis]
        return np.column_stack([rows(some), np.ones(len(chances)), gradient])

    sums = _by_group(amounts, offsets, groups)
    total, size = sums.sum(axis=0), len(confidence)
    value, number = float(total[0]) / size, len(sums)
    residual, gradient = sums[:, 0] - value * sums[:, 1], total[2:] / size
    variance = float(residual @ residual) / size**2 * _few(number)
    of_fit = float(gradient @ np.array(known.covariance) @ gradient)
    if not variance + of_fit:
        return _Mean(value, 0.0, number)
    parts = ((variance, number), (of_fit, known.groups))
    each = sum(part**2 / max(count - 1, 1) for part, count in parts)
    freedom = (variance + of_fit) ** 2 / each
    reach = float(stdtrit(freedom, HIGH) * np.sqrt(variance + of_fit))
    return _Mean(value, reach, number)


def _by_group(
    rows: Callable[[slice], NDArray[np.float64]], offsets: Ints, groups: Ints
) -> NDArray[np.float64]:
    """The sum of K numbers in each row, for each group, (G, K); `rows` gives those of some rows."""
    _, group = np.unique(groups, return_inverse=True)
    sums: NDArray[np.float64] | None = None
    for chosen, some in pieces.whole(offsets):
        each = np.add.reduceat(rows(some), offsets[chosen] - some.start, axis=0)
        if sums is None:
            sums = np.zeros((int(group.max()) + 1, each.shape[1]))
        np.add.at(sums, group[chosen], each)
    assert sums is not None
    return sums


def _hits(right: Mask) -> int:
    return sum(int(np.count_nonzero(some)) for (some,) in pieces.of(right))


def _few(groups: int) -> float:
    return groups / max(groups - 1, 1)


def _columns(confidence: Floats) -> NDArray[np.float64]:
    """One and the log odds of the confidence, (N, 2)."""
    odds = logit(np.clip(confidence.astype(np.float64), SUREST, 1 - SUREST))
    return np.column_stack([np.ones(len(odds)), odds])
