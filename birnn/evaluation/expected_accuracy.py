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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from birnn.evaluation.intervals import HIGH, over
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
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    hits, misses = np.count_nonzero(right), np.count_nonzero(~right)
    aim = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    columns = _columns(confidence)
    # Newton's steps end so near to the maximum that its digits do not depend on the CPU.
    soft = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(
        np.tile(columns[:, 1:], (2, 1)),
        np.repeat([1, 0], len(right)),
        sample_weight=np.concatenate([aim, 1 - aim]),
    )
    intercept, slope = float(soft.intercept_[0]), float(soft.coef_[0, 0])
    found = Calibration(intercept, slope, [], len(np.unique(groups)))
    chances = found.chances(confidence)
    inverse = np.linalg.pinv((columns * (chances * (1 - chances))[:, np.newaxis]).T @ columns)
    _, score = _by_group(columns * (aim - chances)[:, np.newaxis], offsets, groups)
    spread = score.T @ score * _few(len(score))  # White's, clustered (Liang and Zeger, 1986)
    return replace(found, covariance=(inverse @ spread @ inverse).tolist())


def checked(
    known: Calibration, confidence: Floats, right: Mask, offsets: Ints, groups: Ints
) -> Calibration:
    """Note how far the expected accuracy is off on other sequences whose labels are known."""
    chances = known.chances(confidence)
    mean = _mean(chances - right, offsets, groups)
    reach = mean.reach(_of_fit(known, confidence, chances), known.groups)
    of = OnTest(
        expected=float(chances.mean()),
        accuracy=float(right.mean()),
        low=mean.value - reach,
        high=mean.value + reach,
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
    chances = known.chances(confidence)
    mean = _mean(chances, offsets, groups)
    reach = mean.reach(_of_fit(known, confidence, chances), known.groups)
    inside = mean.value * (1 - mean.value)
    low, high = expit(logit(mean.value) + np.array([-1, 1]) * reach / inside).tolist()
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
    """A mean of rows, its variance over groups, and how many groups there are."""

    value: float
    variance: float
    groups: int

    def reach(self, of_fit: float, fitted_on: int) -> float:
        """Half of a 95 % interval, where the fit on so many groups adds a variance of its own.

        Degrees of freedom are Welch and Satterthwaite's.
        """
        total = self.variance + of_fit
        if not total:
            return 0.0
        parts = ((self.variance, self.groups), (of_fit, fitted_on))
        each = sum(part**2 / max(number - 1, 1) for part, number in parts)
        return float(stdtrit(total**2 / each, HIGH) * np.sqrt(total))


def _mean(rows: NDArray[np.float64], offsets: Ints, groups: Ints) -> _Mean:
    """The spread of a ratio is that of the groups' residuals (Cochran, Sampling Techniques)."""
    value = float(rows.mean())
    number, residual = _by_group((rows - value)[:, np.newaxis], offsets, groups)
    variance = float((residual**2).sum()) / len(rows) ** 2 * _few(number)
    return _Mean(value, variance, number)


def _by_group(
    rows: NDArray[np.float64], offsets: Ints, groups: Ints
) -> tuple[int, NDArray[np.float64]]:
    """How many groups there are, and the sum of the rows (N, K) of each, (G, K)."""
    _, group = np.unique(groups, return_inverse=True)
    of_row = np.repeat(group, np.diff(offsets))
    number = int(group.max()) + 1
    sums = [np.bincount(of_row, column, number) for column in rows.T]
    return number, np.column_stack(sums)


def _few(groups: int) -> float:
    return groups / max(groups - 1, 1)


def _of_fit(known: Calibration, confidence: Floats, chances: Floats) -> float:
    """The variance that the fit gives to the mean of the chances (the delta method)."""
    gradient = (_columns(confidence) * (chances * (1 - chances))[:, np.newaxis]).mean(axis=0)
    return float(gradient @ np.array(known.covariance) @ gradient)


def _columns(confidence: Floats) -> NDArray[np.float64]:
    """One and the log odds of the confidence, (N, 2)."""
    odds = logit(np.clip(confidence.astype(np.float64), SUREST, 1 - SUREST))
    return np.column_stack([np.ones(len(odds)), odds])
