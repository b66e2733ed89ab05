"""Whether a new model is really better: a pure function of what two models answer.

    found = checks(challenger, champion, labels=["a", "b"], aim="superior", ...)
    promotes(found)     # True where all have passed

All checks must pass. Testing many things of which *all* must be shown needs no correction: a model
that fails one of them gets through with at most the chance of that one (Berger, Multiparameter
Hypothesis Testing and Acceptance Sampling, 1982). It is otherwise with classes and lengths, where
a fall of *any* one refuses the model. There the chance of refusing one that falls nowhere by more
than the margin is kept to 5 % by Holm's correction over all of them together.

Sequences are what is independent, never the steps of one. The headline is compared by resampling
whole sequences, both models on the same ones; its 95 % interval leaves a model of equal quality one
chance in forty to be called better. A class or a bucket of lengths may have ten sequences, and the
correction asks for the far ends of the distribution, which few resamples reach; so these are
compared by the linearised difference and Student's t (see `_p_values`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.special import stdtr

from birnn import checks as pitfalls
from birnn import metrics
from birnn.significance import holm
from birnn.verdict import Grade, Wanted

Aim = Literal["superior", "not_inferior"]
Headline = Literal["f1_macro", "f1_weighted", "accuracy"]
Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]

LEAST_SEQUENCES = 30
"""Of the test set. With fewer, intervals from resampling are too narrow."""
LEAST_DIFFERING = 10
"""Sequences in which two models differ. If there are three, an equally good model is right in all
of them in an eighth of cases, and its interval would call it better."""
LEAST_OF_A_KIND = pitfalls.LEAST_SEQUENCES
"""Of a class or a bucket of lengths that is judged by itself."""
LEVEL = 0.05
"""The chance of refusing for a class or a length where none falls by more than the margin."""
ROUNDING = 1e-4
"""By how much probabilities of one model may differ, since batches of another shape are summed in
another order; and the share of labels for which that may decide between two classes."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of the test sequences, beside what is true.

    Attributes:
        actual: (N,) true class of each label.
        predicted: (N,) class that the model gives.
        probabilities: (N, C) that it gives each class.
        offsets: (S + 1,) int64, where the labels of each sequence begin; see
            `Sequences.label_offsets`.
        lengths: (S,) int64 steps of each sequence.
    """

    actual: Ints
    predicted: Ints
    probabilities: Floats
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which labels are predicted right, (N,)."""
        right: npt.NDArray[np.bool_] = self.actual == self.predicted
        return right


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Attributes:
        name: what it asks for, such as `headline`.
        passed: whether it is so.
        figures: what this rests on.
        sentence: the finding, for a newcomer.
    """

    name: str
    passed: bool
    figures: dict[str, float]
    sentence: str


def promotes(found: Sequence[Check]) -> bool:
    """Say whether a model may serve: where there are checks, and all have passed."""
    return bool(found) and all(check.passed for check in found)


def checks(
    challenger: Answers,
    champion: Answers | None,
    *,
    labels: Sequence[str],
    baselines: Mapping[str, Ints],
    verdict: Grade,
    critical: Mapping[str, Wanted],
    headline: Headline,
    aim: Aim,
    margin: float,
    class_margin: float,
    length_margin: float,
    calibration_margin: float,
    latency: tuple[float, float] | None,
    latency_ratio: float,
    reloaded: Answers,
    resamples: int,
    seed: int,
) -> list[Check]:
    """Judge a challenger by the floor, by baselines, and by the champion on the same sequences.

    Args:
        challenger: its answers.
        champion: those of the model in service; None where there is none, and then what compares
            with it is left out. Both are about the same sequences, in the same order.
        labels: names of the C classes, of both models.
        baselines: classes (N,) that each baseline gives, by its name.
        verdict: on the challenger; see `birnn.verdict`.
        critical: what a class must reach, by its name.
        headline: the metric that decides.
        aim: to be better, or to be no worse by `margin`.
        margin: by which the headline may be lower; for `not_inferior`.
        class_margin: by which the F1 of a class may fall.
        length_margin: by which the accuracy in a bucket of lengths may fall.
        calibration_margin: by which the calibration error may rise.
        latency: seconds that challenger and champion take for the same work, if measured.
        latency_ratio: how many times as long the challenger may take.
        reloaded: answers of the challenger as the registry gives it back.
        resamples: how often sequences are drawn anew.
        seed: of these draws.

    Returns:
        The checks that apply. Of a test set too small to compare on, only those that need no
        comparison, and one that says so and does not pass.
    """
    scores = metrics.metrics(
        challenger.actual, challenger.predicted, None, labels=labels, offsets=challenger.offsets
    )
    found = [
        _enough_sequences(len(challenger)),
        _absolute_floor(verdict, headline, scores),
        *([_critical_classes(critical, scores)] if critical else []),
        _reloaded(challenger, reloaded),
        *([_latency(*latency, latency_ratio)] if latency else []),
    ]
    if not found[0].passed:
        return found
    draws: dict[str, Any] = {"labels": labels, "resamples": resamples, "seed": seed}
    for name, classes in baselines.items():
        found.append(_beats(name, _gain(challenger, classes, headline, **draws)))
    if champion is None:
        return found
    _assert_same_sequences(challenger, champion)
    gain = _gain(challenger, champion.predicted, headline, **draws)
    return [
        *found,
        _headline(headline, scores[headline], gain, aim, margin),
        *_no_falls(
            challenger,
            champion,
            labels=labels,
            class_margin=class_margin,
            length_margin=length_margin,
        ),
        _calibration(challenger, champion, calibration_margin),
    ]


def _assert_same_sequences(challenger: Answers, champion: Answers) -> None:
    assert np.array_equal(challenger.actual, champion.actual), "not about the same labels"
    assert np.array_equal(challenger.offsets, champion.offsets), "not about the same sequences"


# --- without a champion ---------------------------------------------------------------------------


def _enough_sequences(number: int) -> Check:
    passed = number >= LEAST_SEQUENCES
    sentence = f"There are {number} test sequences to judge on"
    if not passed:
        sentence += f", too few: expected at least {LEAST_SEQUENCES}; add test sequences"
    return Check("enough_sequences", passed, {"sequences": number}, f"{sentence}.")


def _absolute_floor(verdict: Grade, headline: str, scores: Mapping[str, float]) -> Check:
    figures = {headline: scores[headline]}
    sentence = f"The verdict is {verdict}, with {headline} {scores[headline]:.3f}."
    return Check("absolute_floor", verdict != "bad", figures, sentence)


def _critical_classes(critical: Mapping[str, Wanted], scores: Mapping[str, float]) -> Check:
    figures: dict[str, float] = {}
    missed = []
    for label, wanted in critical.items():
        if not scores.get(f"support_{label}"):
            missed.append(f"The test set holds no {label!r}, so nobody knows how well it is found.")
            continue
        aims = {"recall": wanted.min_recall, "precision": wanted.min_precision}
        for name, least in aims.items():
            reached = scores[f"{name}_{label}"]
            figures[f"{name}_{label}"] = reached
            if least is not None and reached < least:
                missed.append(f"{name.title()} of {label!r} is {reached:.3f}, wanted {least:.3f}.")
    sentence = " ".join(missed) or "Each critical class reaches what is wanted."
    return Check("critical_classes", not missed, figures, sentence)


def _reloaded(tested: Answers, reloaded: Answers) -> Check:
    if tested.probabilities.shape != reloaded.probabilities.shape:
        sentence = "The model reloaded from the registry answers for other sequences."
        return Check("reloaded", False, {}, sentence)
    off = float(np.abs(tested.probabilities - reloaded.probabilities).max(initial=0))
    others = int(np.count_nonzero(tested.predicted != reloaded.predicted))
    figures = {"largest_difference": off, "other_classes": others}
    passed = off <= ROUNDING and others <= ROUNDING * len(tested.predicted)
    sentence = "The model reloaded from the registry predicts the same."
    if not passed:
        sentence = f"The model reloaded from the registry gives {others} labels another class,"
        sentence += f" and probabilities that differ by up to {off:.1g}."
    return Check("reloaded", passed, figures, sentence)


def _latency(challenger: float, champion: float, most: float) -> Check:
    figures = {"challenger": challenger, "champion": champion, "most_times": most}
    sentence = f"It takes {challenger:.3g} s where the champion takes {champion:.3g} s"
    return Check(
        "latency",
        challenger <= most * champion,
        figures,
        f"{sentence} (allowed: {most:g} times as long).",
    )


# --- headline -------------------------------------------------------------------------------------


class _Gain(NamedTuple):
    """What the challenger's headline is worth over another's, with a 95 % interval."""

    estimate: float
    low: float
    high: float
    share_better: float
    differing: int  # sequences in which one of the two is right where the other is wrong

    @property
    def superior(self) -> bool:
        return self.low > 0 and self.differing >= LEAST_DIFFERING

    def __str__(self) -> str:
        text = f"{self.estimate:+.3f} (95 % interval {self.low:+.3f} to {self.high:+.3f}"
        few = f", from only {self.differing} sequences in which they differ"
        return f"{text}{few if self.differing < LEAST_DIFFERING else ''})"


def _gain(
    challenger: Answers, other: Ints, headline: str, *, labels: Sequence[str], **draws: int
) -> _Gain:
    gains = metrics.difference(
        challenger.actual,
        challenger.predicted,
        other,
        labels=labels,
        offsets=challenger.offsets,
        **draws,
    )
    apart = challenger.right != (challenger.actual == other)
    differing = np.count_nonzero(np.logical_or.reduceat(apart, challenger.offsets[:-1]))
    return _Gain(*gains[headline], int(differing))


def _beats(name: str, gain: _Gain) -> Check:
    sentence = f"It is {'better' if gain.superior else 'not clearly better'} than {name!r}: {gain}."
    return Check(f"beats {name}", gain.superior, gain._asdict(), sentence)


def _headline(headline: str, score: float, gain: _Gain, aim: Aim, margin: float) -> Check:
    passed = gain.superior if aim == "superior" else gain.low > -margin
    figures = {"challenger": score, "champion": score - gain.estimate, **gain._asdict()}
    if aim == "not_inferior":
        figures["margin"] = margin
    word = "better" if aim == "superior" else f"no worse by {margin:g}"
    sentence = f"The challenger is {'' if passed else 'not shown to be '}{word}: {headline}"
    return Check("headline", passed, figures, f"{sentence} {score:.3f}, {gain}.")


# --- classes and lengths --------------------------------------------------------------------------


class _Ratios(NamedTuple):
    """K ratios of totals over sequences, such as the F1 of K classes."""

    value: npt.NDArray[np.float64]  # (K,)
    influence: csr_array  # (S, K) what each sequence adds to it, to first order; sums to 0
    has_say: csr_array  # (S, K) not 0 where a sequence has a say


class _Falls(NamedTuple):
    """By how much K figures of the champion are above the challenger's."""

    what: list[str]
    before: npt.NDArray[np.float64]  # (K,)
    now: npt.NDArray[np.float64]  # (K,)
    p: npt.NDArray[np.float64]  # (K,) that chance alone makes more than the margin of a fall


def _no_falls(
    challenger: Answers,
    champion: Answers,
    *,
    labels: Sequence[str],
    class_margin: float,
    length_margin: float,
) -> list[Check]:
    """Compare every class and every bucket of lengths that has enough sequences."""
    judged = _common_classes(challenger, len(labels))
    classes = _class_falls(challenger, champion, labels, judged, class_margin)
    lengths = _length_falls(challenger, champion, length_margin)
    p = holm(np.concatenate([classes.p, lengths.p]))
    left_out = [label for c, label in enumerate(labels) if c not in judged]
    found = [
        _fall_check("classes", "F1", classes._replace(p=p[: len(judged)]), class_margin),
        _fall_check("lengths", "Accuracy", lengths._replace(p=p[len(judged) :]), length_margin),
    ]
    if left_out:
        text = f"{found[0].sentence} Too few sequences to judge {', '.join(map(repr, left_out))}."
        found[0] = replace(found[0], sentence=text)
    return found


def _common_classes(answers: Answers, num_classes: int) -> list[int]:
    """Return the classes that occur in enough sequences."""
    present = _by_class(answers.actual, None, answers.offsets, num_classes)
    present.sum_duplicates()
    sequences = np.bincount(present.indices, minlength=num_classes)
    return np.flatnonzero(sequences >= LEAST_OF_A_KIND).tolist()


def _class_falls(
    challenger: Answers,
    champion: Answers,
    labels: Sequence[str],
    judged: list[int],
    margin: float,
) -> _Falls:
    before, now = (_f1(answers, len(labels), judged) for answers in (champion, challenger))
    return _falls([labels[c] for c in judged], before, now, margin)


def _length_falls(challenger: Answers, champion: Answers, margin: float) -> _Falls:
    bucket = metrics.length_buckets(challenger.lengths)
    members = [challenger.lengths[bucket == i] for i in range(int(bucket.max()) + 1)]
    spans = [f"{part.min()} to {part.max()} steps" for part in members]
    before, now = (_accuracy(answers, bucket) for answers in (champion, challenger))
    return _falls(spans, before, now, margin)


def _fall_check(name: str, metric: str, falls: _Falls, margin: float) -> Check:
    figures = {"margin": margin}
    fallen = []
    for what, before, now, p in zip(*falls, strict=True):
        figures |= {f"fall_{what}": float(before - now), f"p_{what}": float(p)}
        if p < LEVEL:
            fallen.append(f"{metric} of {what!r} fell from {before:.3f} to {now:.3f} (p {p:.2g}).")
    sentence = " ".join(fallen) or f"{metric} fell by more than {margin:g} in none of the {name}."
    return Check(name, not fallen, figures, sentence)


def _falls(what: list[str], before: _Ratios, now: _Ratios, margin: float) -> _Falls:
    return _Falls(what, before.value, now.value, _p_values(before, now, margin))


def _p_values(before: _Ratios, now: _Ratios, margin: float) -> npt.NDArray[np.float64]:
    """Return the chances (K,) of falls such as these, or larger ones, if the true are the margin.

    A ratio of totals A / B over sequences changes by (a - A / B * b) / B, to first order, with a
    sequence that adds a and b (Cochran, Sampling Techniques, 1977, chapter 6). The fall varies as
    the sum of the differences of the two models' changes does: paired, so that what makes a
    sequence hard for both cancels out. Degrees of freedom are one fewer than the sequences with a
    say. Where all differences are 0, as for two equal models, the fall is certain.
    """
    apart = before.influence - now.influence
    number = np.asarray((before.has_say + now.has_say != 0).sum(axis=0))
    error = np.sqrt(apart.multiply(apart).sum(axis=0) * number / np.maximum(number - 1, 1))
    beyond = before.value - now.value - margin
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stdtr(np.maximum(number - 1, 1), -beyond / error)
    return np.where(error > 0, p, (beyond <= 0).astype(float))


def _ratios(part: csr_array, whole: csr_array) -> _Ratios:
    total = whole.sum(axis=0)
    value = part.sum(axis=0) / total
    influence = csr_array((part - whole.multiply(value)).multiply(1 / total))
    return _Ratios(value, influence, whole)


def _f1(answers: Answers, num_classes: int, judged: list[int]) -> _Ratios:
    """Return F1 of some classes: twice the right labels over the actual and the predicted ones."""
    rows = answers.offsets, num_classes
    right = _by_class(answers.actual, answers.right, *rows)
    either = _by_class(answers.actual, None, *rows) + _by_class(answers.predicted, None, *rows)
    return _ratios((2 * right)[:, judged], either[:, judged])


def _by_class(
    classes: Ints, kept: npt.NDArray[np.bool_] | None, offsets: Ints, num_classes: int
) -> csr_array:
    """Count the labels of each class in each sequence, (S, C)."""
    ones = np.ones(len(classes)) if kept is None else kept.astype(np.float64)
    shape = len(offsets) - 1, num_classes
    return csr_array((ones, classes, offsets), shape=shape, copy=True)  # to sum duplicates in place


def _accuracy(answers: Answers, bucket: npt.NDArray[np.int64]) -> _Ratios:
    """Return the accuracy in each bucket: right labels over labels."""
    right = np.add.reduceat(answers.right.astype(np.float64), answers.offsets[:-1])
    rows = np.diff(answers.offsets).astype(np.float64)
    one_each = bucket, np.arange(len(bucket) + 1)
    return _ratios(csr_array((right, *one_each)), csr_array((rows, *one_each)))


# --- calibration ----------------------------------------------------------------------------------


def _calibration(challenger: Answers, champion: Answers, margin: float) -> Check:
    """Compare expected calibration errors, less what exact probabilities would have by chance."""
    now, before = _calibration_error(challenger), _calibration_error(champion)
    sentence = f"The calibration error is {now:.3f}, the champion's {before:.3f}"
    return Check(
        "calibration",
        now - before <= margin,
        {"challenger": now, "champion": before, "margin": margin},
        f"{sentence} (allowed: {margin:g} more).",
    )


def _calibration_error(answers: Answers) -> float:
    right = answers.probabilities.argmax(axis=1) == answers.actual
    confidence = answers.probabilities.max(axis=1)
    figures = pitfalls.calibration(confidence, right, answers.offsets).figures
    return max(0.0, figures["calibration_error"] - figures["by_chance"])
