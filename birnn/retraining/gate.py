"""Whether a new model is really better: a pure function of what two models answer.

    found = checks(challenger, champion, bounds, labels=["a", "b"], ...)
    promotes(found)     # True where all have passed

Every check must pass, so no correction for many tests is needed: a model that should fail one of
them passes with at most the chance of that one (Berger, Multiparameter Hypothesis Testing and
Acceptance Sampling, 1982). Classes and lengths are different: a fall of *any* one refuses the
model. There Holm's correction over all of them keeps the chance of a wrong refusal, of a model that
falls nowhere by more than the margin, at 5 %.

Groups of sequences are what is independent (a sequence without a group is its own), never the
sequences or steps of one. The 95 % interval of the headline's difference leaves a model of equal
quality one chance in forty to be called better; see `birnn.evaluation.intervals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from birnn import params
from birnn.data.sequences import rows_by_group
from birnn.evaluation import headlines, intervals, metrics
from birnn.evaluation.baselines import BAG
from birnn.evaluation.checks import calibration
from birnn.evaluation.intervals import Difference
from birnn.evaluation.verdict import Grade
from birnn.model import operating_points
from birnn.model.operating_points import Wanted
from birnn.retraining.judged import Answers, Check, Ints
from birnn.retraining.regressions import no_falls

Aim = Literal["superior", "not_inferior"]

LEAST_GROUPS = 30
"""Of the test set. Fewer do not show what new groups will be like."""
ROUNDING = 1e-4
"""By how much probabilities of one model may differ, since batches of another shape are summed in
another order; and the share of labels for which that may decide between two classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a challenger must show.

    Attributes:
        average: of the F1 that decides; of whole spans where labels mark spans.
        critical: what a class must reach, by its name.
        aim: to be better, or to be no worse by `margin`.
        margin: by which the headline may be lower; for `not_inferior`.
        class_margin: by which the F1 of a class may fall.
        length_margin: by which the accuracy in a bucket of lengths may fall.
        calibration_margin: by which the calibration error may rise.
        latency_ratio: how many times as long the challenger may take.
    """

    average: Literal["macro", "weighted"]
    critical: Mapping[str, Wanted]
    aim: Aim
    margin: float
    class_margin: float
    length_margin: float
    calibration_margin: float
    latency_ratio: float


def bounds(evaluate: params.Evaluate, retrain: params.Retrain) -> Bounds:
    """What params.yaml asks of a challenger."""
    return Bounds(
        average=evaluate.average,
        critical=operating_points.wanted(evaluate.critical),
        aim=retrain.aim,
        margin=retrain.margin,
        class_margin=retrain.class_margin,
        length_margin=retrain.length_margin,
        calibration_margin=retrain.calibration_margin,
        latency_ratio=retrain.latency_ratio,
    )


def promotes(found: Sequence[Check]) -> bool:
    """Say whether a model may serve: where there are checks, and all have passed."""
    return bool(found) and all(check.passed for check in found)


def checks(
    challenger: Answers,
    champion: Answers | None,
    bounds: Bounds,
    *,
    labels: Sequence[str],
    baselines: Mapping[str, Ints],
    verdict: Grade,
    latency: tuple[float, float] | None,
    reloaded: Answers,
) -> list[Check]:
    """Judge a challenger by the floor, by baselines, and by the champion on the same sequences.

    Args:
        challenger: its answers.
        champion: those of the model in service; None where there is none, and then what compares
            with it is left out. Both are about the same sequences, in the same order.
        bounds: what the challenger must show.
        labels: names of the C classes, of both models.
        baselines: classes (N,) that each baseline gives, by its name.
        verdict: on the challenger; see `birnn.evaluation.verdict`.
        latency: seconds that challenger and champion take for the same work, if measured.
        reloaded: answers of the challenger as the registry gives it back.

    Returns:
        The checks that apply. Of a test set too small to compare on, only those that need no
        comparison, and one that says so and does not pass.
    """
    scores = metrics.metrics(
        challenger.actual, challenger.predicted, None, labels=labels, offsets=challenger.offsets
    )
    headline = headlines.leading(scores, bounds.average)
    found = [
        _enough_sequences(challenger),
        _absolute_floor(verdict, headline, scores),
        *([_critical_classes(bounds.critical, scores)] if bounds.critical else []),
        _reloaded(challenger, reloaded),
        *([_latency(*latency, bounds.latency_ratio)] if latency else []),
    ]
    if not found[0].passed:
        return found
    # A baseline has no thresholds: without them, both answer by one rule.
    surest = replace(challenger, predicted=challenger.probabilities.argmax(axis=1))
    for name, classes in baselines.items():
        gain = _gain(surest if bounds.critical else challenger, classes, headline, labels)
        found.append(_beats(name, gain, challenger))
    if champion is None:
        return found
    _assert_same_sequences(challenger, champion)
    gain = _gain(challenger, champion.predicted, headline, labels)
    return [
        *found,
        _headline(headline, scores[headline], gain, challenger, bounds),
        *no_falls(
            challenger,
            champion,
            labels=labels,
            class_margin=bounds.class_margin,
            length_margin=bounds.length_margin,
        ),
        _calibration(challenger, champion, bounds.calibration_margin),
    ]


def _assert_same_sequences(challenger: Answers, champion: Answers) -> None:
    assert np.array_equal(challenger.actual, champion.actual), "not about the same labels"
    assert np.array_equal(challenger.offsets, champion.offsets), "not about the same sequences"
    assert np.array_equal(challenger.groups, champion.groups), "not about the same groups"


def _enough_sequences(answers: Answers) -> Check:
    passed = answers.num_groups >= LEAST_GROUPS
    grouped = answers.num_groups < len(answers)
    unit = "groups of test sequences" if grouped else "test sequences"
    sentence = f"There are {answers.num_groups} {unit} to judge on"
    if not passed:
        sentence += f", too few: expected at least {LEAST_GROUPS}; add {unit}"
    figures: dict[str, float] = {"sequences": len(answers), "groups": answers.num_groups}
    return Check("enough_sequences", passed, figures, f"{sentence}.")


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


def _gain(challenger: Answers, other: Ints, headline: str, labels: Sequence[str]) -> Difference:
    """What the challenger's headline is worth over that of other classes (N,)."""
    return intervals.difference(
        challenger.actual,
        challenger.predicted,
        other,
        labels=labels,
        offsets=challenger.offsets,
        groups=challenger.groups,
    )[headline]


def _superior(gain: Difference) -> bool:
    return gain.low > 0 and not gain.too_few


def _said(gain: Difference, answers: Answers) -> str:
    text = f"{gain.estimate:+.3f} (95 % interval {gain.low:+.3f} to {gain.high:+.3f}"
    over = intervals.over(answers.num_groups, len(answers))
    few = f", of which they differ in only {gain.differing}" if gain.too_few else ""
    return f"{text}, over {over}{few})"


def _beats(name: str, gain: Difference, challenger: Answers) -> Check:
    """Compare with a baseline.

    A bag of steps knows all of a sequence but the order. Where the order tells nothing no model is
    better; so the challenger must not be worse than it.
    """
    said = _said(gain, challenger)
    if name == BAG:
        passed = gain.high >= 0
        sentence = f"It is {'not worse' if passed else 'worse'} than {name!r}: {said}."
        return Check(f"not worse than {name}", passed, gain._asdict(), sentence)
    passed = _superior(gain)
    sentence = f"It is {'better' if passed else 'not clearly better'} than {name!r}: {said}."
    return Check(f"beats {name}", passed, gain._asdict(), sentence)


def _headline(
    headline: str, score: float, gain: Difference, challenger: Answers, bounds: Bounds
) -> Check:
    aim, margin = bounds.aim, bounds.margin
    passed = _superior(gain) if aim == "superior" else gain.low > -margin
    figures = {"challenger": score, "champion": score - gain.estimate, **gain._asdict()}
    if aim == "not_inferior":
        figures["margin"] = margin
    word = "better" if aim == "superior" else f"no worse by {margin:g}"
    sentence = f"The challenger is {'' if passed else 'not shown to be '}{word}: {headline}"
    said = _said(gain, challenger)
    return Check("headline", passed, figures, f"{sentence} {score:.3f}, {said}.")


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
    rows, offsets = rows_by_group(answers.offsets, answers.groups)
    figures = calibration(confidence[rows], right[rows], offsets).figures
    return max(0.0, figures["calibration_error"] - figures["by_chance"])
