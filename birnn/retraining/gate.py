"""Whether a new model is really better: a pure function of what two models answer.

    found = checks(challenger, Served(champion, reference), bounds, labels=["a", "b"], ...)
    promotes(found)     # True where all have passed

Some checks ask for proof: that it is better than the champion, or no worse, and better than the
baselines. All must pass, so no correction for many tests is needed: a model that should fail one of
them passes with at most the chance of that one (Berger, Multiparameter Hypothesis Testing and
Acceptance Sampling, 1982). Others look for faults: a fall in any class or length, of calibration,
below the bag of steps. There each one refuses, so Holm's correction over all of them together keeps
the chance to refuse a model that is as good at 5 %. What falls by less than its margin is allowed.

The reference is an earlier model that is at least as good, in all that is measured, as those
that served before it. Compared with the last champion alone, one margin after the other could be
lost; see `sets_reference`.

Groups of sequences are what is independent (a sequence without a group is its own), never the
sequences or steps of one. The 95 % interval of the headline's difference leaves a model of equal
quality one chance in forty to be called better; see `birnn.evaluation.intervals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from birnn import params
from birnn.evaluation import headlines, intervals, metrics
from birnn.evaluation.baselines import BAG
from birnn.evaluation.intervals import HIGH, LEAST_DIFFERING, Difference
from birnn.evaluation.verdict import Grade
from birnn.files.reading import first_few
from birnn.model import operating_points
from birnn.model.operating_points import Wanted
from birnn.retraining import faults, regressions
from birnn.retraining.faults import METRICS
from birnn.retraining.judged import Answers, Check, Ints, Served
from birnn.retraining.regressions import LEVEL, Margins

Aim = Literal["superior", "not_inferior"]

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
        margins: by which classes, lengths and calibration may be worse.
        latency_ratio: how many times as long the challenger may take.
        least_groups: of test sequences, or sequences where there are no groups.
        least_of_class: groups in which each class occurs.
        least_power: with which each fall that matters must be seen.
        fall: that matters, of the recall of a class or the accuracy of a length.
    """

    average: Literal["macro", "weighted"]
    critical: Mapping[str, Wanted]
    aim: Aim
    margin: float
    margins: Margins
    latency_ratio: float
    least_groups: int
    least_of_class: int
    least_power: float
    fall: float


def bounds(evaluate: params.Evaluate, retrain: params.Retrain) -> Bounds:
    """What params.yaml asks of a challenger."""
    return Bounds(
        average=evaluate.average,
        critical=operating_points.wanted(evaluate.critical),
        aim=retrain.aim,
        margin=retrain.margin,
        margins=Margins(
            classes=retrain.class_margin,
            lengths=retrain.length_margin,
            calibration=retrain.calibration_margin,
        ),
        latency_ratio=retrain.latency_ratio,
        least_groups=retrain.least.groups,
        least_of_class=retrain.least.of_each_class,
        least_power=retrain.least.power,
        fall=retrain.fall,
    )


def promotes(found: Sequence[Check]) -> bool:
    """Say whether a model may serve: where there are checks, and all have passed."""
    return bool(found) and all(check.passed for check in found)


def sets_reference(found: Sequence[Check]) -> bool:
    """Say whether a model is to be the next reference, once it serves.

    It is shown to be better than the last one, and no figure of a class, a length or the
    calibration is lower, not even a little. So what a reference reaches cannot be lost in steps.
    """
    by_name = {check.name: check.figures for check in found}
    if "headline" not in by_name:
        return promotes(found)
    rest = [by_name[name] for name in ("reference",) if name in by_name] or [
        by_name[name] for name in ("headline", *METRICS)
    ]
    figures = {name: value for each in rest for name, value in each.items()}
    falls = [value for name, value in figures.items() if name.startswith("fall_")]
    better = figures["low"] > 0 and figures["differing"] >= LEAST_DIFFERING
    return better and max(falls, default=0.0) <= 0


def checks(
    challenger: Answers,
    served: Served,
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
        served: those of the model in service, and of the reference, for the same sequences in the
            same order. Where there is none, what compares with it is left out.
        bounds: what the challenger must show.
        labels: names of the C classes, of all models.
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
        _enough_sequences(challenger, labels, bounds),
        _absolute_floor(verdict, headline, scores),
        *([_critical_classes(bounds.critical, scores)] if bounds.critical else []),
        _reloaded(challenger, reloaded),
        *([_latency(*latency, bounds.latency_ratio)] if latency else []),
    ]
    if not found[0].passed:
        return found
    # A baseline has no thresholds: without them, both answer by one rule.
    surest = replace(challenger, predicted=challenger.probabilities.argmax(axis=1))
    asked = surest if bounds.critical else challenger
    over = {name: _gain(asked, one, headline, labels) for name, one in baselines.items()}
    found += [_beats(name, over[name], challenger) for name in over if name != BAG]
    if served.champion is None:
        return [*found, *([_not_worse(over[BAG], None, challenger)] if BAG in over else [])]
    leading = headline, scores[headline]
    return [*found, *_compared(challenger, served, bounds, labels, leading, over.get(BAG))]


def _compared(
    challenger: Answers,
    served: Served,
    bounds: Bounds,
    labels: Sequence[str],
    leading: tuple[str, float],
    over_bag: Difference | None,
) -> list[Check]:
    """Compare with the champion and the reference.

    Args:
        challenger: its answers.
        served: those of a champion, and perhaps of a reference.
        bounds: what the challenger must show.
        labels: names of the classes.
        leading: the metric that decides, by name, and the challenger's figure.
        over_bag: by how much the challenger is better than the bag of steps, if that was asked.
    """
    headline, score = leading
    others = [one for one in (served.champion, served.reference) if one is not None]
    for other in others:
        _assert_same_sequences(challenger, other)
    over, *over_reference = (_gain(challenger, one.predicted, headline, labels) for one in others)
    found = faults.compare(
        challenger,
        served,
        bounds.margins,
        labels=labels,
        fall=bounds.fall,
        over_bag=over_bag,
    )
    judged = [_headline(headline, score, over, challenger, bounds)]
    judged += faults.checks(found, _left_out(challenger, labels), bounds.fall)
    if over_bag is not None:
        judged.insert(0, _not_worse(over_bag, found.below_bag, challenger))
    for gain in over_reference:
        shown = _superior(over) or bounds.aim == "superior" or gain.low > -bounds.margin
        said = f"{headline} {_said(gain, challenger)}."
        judged.append(faults.reference(found, gain, shown=shown, said=said))
    if bounds.least_power:
        judged.append(faults.enough_power(judged, bounds.least_power))
    return judged


def _assert_same_sequences(challenger: Answers, champion: Answers) -> None:
    assert np.array_equal(challenger.actual, champion.actual), "not about the same labels"
    assert np.array_equal(challenger.offsets, champion.offsets), "not about the same sequences"
    assert np.array_equal(challenger.groups, champion.groups), "not about the same groups"


def _enough_sequences(answers: Answers, labels: Sequence[str], bounds: Bounds) -> Check:
    unit = _unit(answers)
    few = [f"There are {answers.num_groups} {unit} to judge on"]
    if answers.num_groups < bounds.least_groups:
        few.append(f"too few: expected at least {bounds.least_groups}; add {unit}")
    with_class = regressions.groups_of_classes(answers, len(labels))
    rare = [
        f"{label!r} in {number}"
        for label, number in zip(labels, with_class, strict=True)
        if number < bounds.least_of_class
    ]
    if rare:
        few.append(f"and {first_few(rare)}: expected each class in {bounds.least_of_class} of them")
    figures: dict[str, float] = {"sequences": len(answers), "groups": answers.num_groups}
    return Check("enough_sequences", len(few) == 1, figures, f"{', '.join(few)}.")


def _unit(answers: Answers) -> str:
    grouped = answers.num_groups < len(answers)
    return "groups of test sequences" if grouped else "test sequences"


def _left_out(answers: Answers, labels: Sequence[str]) -> str:
    """Say of which classes nothing can be said by itself."""
    judged = regressions.judged_classes(answers, len(labels))
    named = [repr(label) for c, label in enumerate(labels) if c not in judged]
    unit = "groups" if answers.num_groups < len(answers) else "sequences"
    return f" Too few {unit} to judge {first_few(named)}." if named else ""


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
    passed = _superior(gain)
    sentence = f"It is {'better' if passed else 'not clearly better'} than {name!r}"
    figures = {**gain._asdict(), **_reach(gain)}
    return Check(f"beats {name}", passed, figures, f"{sentence}: {_said(gain, challenger)}.")


def _not_worse(gain: Difference, p: float | None, challenger: Answers) -> Check:
    """Compare with a bag of steps, which knows all of a sequence but the order.

    Where the order tells nothing no model is better; so the challenger must not be worse than it.
    """
    passed = gain.high >= 0 or (p is not None and p >= LEVEL)
    sentence = f"It is {'not worse' if passed else 'worse'} than {BAG!r}"
    sentence += f": {_said(gain, challenger)}."
    return Check(f"not worse than {BAG}", passed, gain._asdict(), sentence)


def _headline(
    headline: str, score: float, gain: Difference, challenger: Answers, bounds: Bounds
) -> Check:
    aim, margin = bounds.aim, bounds.margin
    passed = _superior(gain) if aim == "superior" else gain.low > -margin
    figures = {"challenger": score, "champion": score - gain.estimate, **gain._asdict()}
    figures |= _reach(gain)
    word = "better" if aim == "superior" else f"no worse by {margin:g}"
    sentence = f"The challenger is {'' if passed else 'not shown to be '}{word}: {headline}"
    sentence += f" {score:.3f}, {_said(gain, challenger)}."
    if aim == "not_inferior":
        figures |= {"margin": margin, "power": _passes_if_equal(gain, margin)}
        if figures["power"] < faults.POWER:
            sentence += f"{faults.UNSEEN}a model that is as good would be shown to be no worse with"
            sentence += f" a chance of {100 * figures['power']:.0f} %: add test sequences."
    return Check("headline", passed, figures, sentence)


def _reach(gain: Difference) -> dict[str, float]:
    """Say which gain would be shown in 80 % of such test sets, by the normal distribution."""
    reach = gain.estimate - gain.low
    return {"shown_in_80_percent": float(reach * (1 + ndtri(faults.POWER) / ndtri(HIGH)))}


def _passes_if_equal(gain: Difference, margin: float) -> float:
    """With which chance an equal model passes: its estimate is above the reach less the margin."""
    reach = gain.estimate - gain.low
    return float(ndtr(ndtri(HIGH) * (margin / reach - 1))) if reach > 0 else 1.0
