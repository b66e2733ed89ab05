"""One word for how good a model is, and the sentences that say why.

    found = verdict(Basis(metrics, intervals, present, checks, gain), aims)
    found.sentence     # "bad: recall of 'fraud' is 0.12 (0.08 to 0.17), below 0.50"

A model is good where every average is above its upper bar, every class is known well enough and is
found, no check fails, and a baseline without context is not better. Averages hide a class that is
missed, and a figure behind a failed check may be wrong; so neither stands beside "good".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from birnn import params
from birnn.evaluation import headlines
from birnn.evaluation.checks import LEAST_SEQUENCES, Check
from birnn.evaluation.headlines import Figure
from birnn.files.reading import MOST_NAMED, first_few
from birnn.model import operating_points
from birnn.model.operating_points import Wanted

Grade = Literal["good", "fair", "bad"]
Finding = tuple[Grade, str]


@dataclass(frozen=True, slots=True)
class Aims:
    """What a model must reach.

    Attributes:
        average: which precision, recall and F1 to look at.
        bars: for `accuracy`, `precision`, `recall` and `f1`.
        critical: what to reach, by the name of the class.
    """

    average: Literal["macro", "weighted"]
    bars: Mapping[str, params.Bar]
    critical: Mapping[str, Wanted]


def aims(chosen: params.Evaluate) -> Aims:
    """What params.yaml aims at."""
    bars = {
        "accuracy": chosen.bars.accuracy,
        "precision": chosen.bars.precision,
        "recall": chosen.bars.recall,
        "f1": chosen.bars.f1,
    }
    return Aims(chosen.average, bars, operating_points.wanted(chosen.critical))


@dataclass(frozen=True, slots=True)
class Basis:
    """What a verdict rests on.

    Attributes:
        metrics: by flat name, as `birnn.evaluation.metrics.metrics` gives them.
        intervals: low and high end of some of them.
        present: test sequences in which each class occurs, or groups of them where there are some.
        checks: of the pitfalls.
        gain: in the F1 that leads, over a baseline that sees one step at a time.
        baseline: what to call that.
        unseen: classes of the test split that train does not have.
        costs: of 1,000 labels, by the name of a critical class: with its threshold, and without.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    present: Mapping[str, int] = field(default_factory=dict)
    checks: Sequence[Check] = ()
    gain: Figure | None = None
    baseline: str = "each step alone"
    costs: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    unseen: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grade, what critical classes reach, and the reasons: the decisive ones, and classes that
    train does not have.
    """

    grade: Grade
    reached: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        return f"{self.grade}: {'; '.join((*self.reached, *self.reasons))}"


def verdict(basis: Basis, aims: Aims) -> Verdict:
    """Grade a model.

    It is bad if an average or a class is below its bar, a critical class misses what it must reach,
    training has seen what it is tested on, or a baseline without context is clearly better. It is
    fair at best where a check fails, or a class is in fewer than `LEAST_SEQUENCES` test sequences.

    Of a critical class, what it must reach is judged and nothing else: to find more of it, a
    threshold gives precision away, and that is what was asked for.
    """
    reached, missed = _critical(basis, aims.critical)
    strange = _unseen(basis)
    findings = [
        *_failed_checks(basis.checks),
        *missed,
        *strange,
        *_classes(basis, aims),
        *_averages(basis.metrics, aims),
        *_baseline(basis),
    ]
    grades: tuple[Grade, ...] = ("bad", "fair")
    for grade in grades:
        if reasons := tuple(text for found, text in findings if found == grade):
            also = tuple(text for found, text in strange if found != grade)
            return Verdict(grade, reached, (*reasons, *also))
    return Verdict("good", reached, tuple(text for _, text in findings))


def _failed_checks(checks: Sequence[Check]) -> list[Finding]:
    """Leakage makes every figure worthless; other failures leave some that can be believed."""
    return [
        (
            "bad" if check.name == "leakage" else "fair",
            f"the check for {check.name.replace('_', ' ')} failed, so do not believe {check.doubt}",
        )
        for check in checks
        if check.status == "fail"
    ]


def _averages(metrics: Mapping[str, float], aims: Aims) -> list[Finding]:
    findings: list[Finding] = []
    for bar_name, metric in headlines.judged(metrics, aims.average).items():
        value, bar = metrics.get(metric), aims.bars.get(bar_name)
        name = metric.removesuffix(f"_{aims.average}").replace("_", " ")
        if bar is None or value is None:  # the precision of spans where none is predicted
            continue
        if value < bar.bad_below:
            findings.append(("bad", f"{name} {value:.3f} is below {bar.bad_below:.2f}"))
        elif value > bar.good_above:
            findings.append(("good", f"{name} {value:.3f} is above {bar.good_above:.2f}"))
        else:
            findings.append(("fair", f"{name} {value:.3f} is not above {bar.good_above:.2f}"))
    return findings


def _classes(basis: Basis, aims: Aims) -> list[Finding]:
    """A class that is missed, or rarely right where it is called; and classes too rare to say."""
    findings: list[Finding] = []
    prefix = "span_" if headlines.of_spans(basis.metrics) else ""
    left_out = {*aims.critical, *basis.unseen}
    others = [label for label in basis.present if label not in left_out]
    rare = [label for label in others if basis.present[label] < LEAST_SEQUENCES]
    for label in others:
        for figure in ("recall", "precision"):
            name, bar = f"{prefix}{figure}_{label}", aims.bars.get(figure)
            value = basis.metrics.get(name)
            if label not in rare and value is not None and bar and value < bar.bad_below:
                text = f"{figure} of {label!r} is {_measured(basis, name)}"
                findings.append(("bad", f"{text}, below {bar.bad_below:.2f}"))
    if rare:
        named = first_few(f"{label!r} ({basis.present[label]})" for label in rare)
        text = f"too few test sequences to say how well a class is found: {named}"
        findings.append(("fair", text))
    return _shortened(findings)


def _unseen(basis: Basis) -> list[Finding]:
    """Classes that no model could learn; as bad as any that is missed, where they are not rare."""
    rows = {label: basis.metrics.get(f"support_{label}", 0) for label in basis.unseen}
    if not any(rows.values()):
        return []
    common = any(basis.present.get(label, 0) >= LEAST_SEQUENCES for label in rows)
    named = first_few(f"{label!r} ({count:.0f})" for label, count in rows.items() if count)
    text = f"labels of test that train does not have, each counted as answered wrongly: {named}"
    return [("bad" if common else "fair", text)]


def _shortened(findings: list[Finding]) -> list[Finding]:
    bad = [text for grade, text in findings if grade == "bad"]
    if len(bad) <= MOST_NAMED:
        return findings
    kept: list[Finding] = [("bad", text) for text in bad[:MOST_NAMED]]
    more = f"{len(bad) - MOST_NAMED} more figures of classes are below their bars"
    kept.append(("bad", more))
    return [*kept, *(one for one in findings if one[0] != "bad")]


def _measured(basis: Basis, name: str) -> str:
    """A figure of a class with its interval, where it has one."""
    ends = basis.intervals.get(name)
    interval = f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else ""
    return f"{basis.metrics[name]:.2f}{interval}"


def _critical(
    basis: Basis, critical: Mapping[str, Wanted]
) -> tuple[tuple[str, ...], list[Finding]]:
    """What critical classes reach, in sentences, and what they miss."""
    reached: list[str] = []
    missed: list[Finding] = []
    for label, wanted in critical.items():
        if not basis.metrics.get(f"support_{label}"):
            text = f"the test set holds no {label!r}, so nobody knows how well it is found"
            missed.append(("fair", text))
        elif basis.metrics[f"{wanted.figure}_{label}"] < wanted.at_least:
            missed.append(("bad", _miss(basis, label, wanted)))
        else:
            other = "precision" if wanted.figure == "recall" else "recall"
            text = f"{wanted.figure} of {label!r} is {_measured(basis, f'{wanted.figure}_{label}')}"
            text += f", wanted {wanted.at_least:.2f}, at a {other} of "
            reached.append(text + _measured(basis, f"{other}_{label}") + _price(basis, label))
    return tuple(reached), missed


def _price(basis: Basis, label: str) -> str:
    if label not in basis.costs:
        return ""
    served, otherwise = basis.costs[label]
    return f", and a cost of {served:.1f} in 1,000 labels where no threshold has {otherwise:.1f}"


def _miss(basis: Basis, label: str, wanted: Wanted) -> str:
    measured = _measured(basis, f"{wanted.figure}_{label}")
    share = 100 * basis.metrics[f"{wanted.figure}_{label}"]
    text = (
        f"{100 - share:.0f} % of the positives of {label!r} are missed"
        if wanted.figure == "recall"
        else f"only {share:.0f} % of what is called {label!r} is that"
    )
    return f"{text} ({wanted.figure} {measured}, wanted {wanted.at_least:.2f})"


def _baseline(basis: Basis) -> list[Finding]:
    gain = basis.gain
    if gain is None or gain.low is None or gain.high is None or gain.high >= 0:
        return []
    text = f"a model without context ({basis.baseline}) is better by {-100 * gain.value:.1f}"
    text += f" points of F1 ({-100 * gain.high:.1f} to {-100 * gain.low:.1f})"
    return [("bad", text)]
