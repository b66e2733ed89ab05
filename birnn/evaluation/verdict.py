"""One word for how good a model is, and the sentences that say why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from birnn import params
from birnn.model import operating_points
from birnn.model.operating_points import Wanted

Grade = Literal["good", "fair", "bad"]


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
class Verdict:
    """A grade and its reasons, the decisive ones alone."""

    grade: Grade
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        return f"{self.grade}: {'; '.join(self.reasons)}"


def verdict(metrics: Mapping[str, float], aims: Aims) -> Verdict:
    """Grade a model.

    It is bad if one figure is below its bar or a critical class misses what it must reach, and
    good if all figures are above their upper bars. With a critical class that the test set does
    not hold it is fair at best.

    Args:
        metrics: by flat name, as `birnn.evaluation.metrics.metrics` gives them.
        aims: what it must reach.
    """
    findings = _headline_findings(metrics, aims.average, aims.bars)
    for label, wanted in aims.critical.items():
        findings += _critical_findings(metrics, label, wanted)
    grades: tuple[Grade, ...] = ("bad", "fair")
    for grade in grades:
        if reasons := tuple(text for found, text in findings if found == grade):
            return Verdict(grade, reasons)
    return Verdict("good", tuple(text for _, text in findings))


def _headline_findings(
    metrics: Mapping[str, float], average: str, bars: Mapping[str, params.Bar]
) -> list[tuple[Grade, str]]:
    findings: list[tuple[Grade, str]] = []
    for name, bar in bars.items():
        value = metrics[name if name == "accuracy" else f"{name}_{average}"]
        if value < bar.bad_below:
            findings.append(("bad", f"{name} {value:.3f} is below {bar.bad_below:.2f}"))
        elif value > bar.good_above:
            findings.append(("good", f"{name} {value:.3f} is above {bar.good_above:.2f}"))
        else:
            findings.append(("fair", f"{name} {value:.3f} is not above {bar.good_above:.2f}"))
    return findings


def _critical_findings(
    metrics: Mapping[str, float], label: str, wanted: Wanted
) -> list[tuple[Grade, str]]:
    if not metrics.get(f"support_{label}"):
        return [("fair", f"the test set holds no {label!r}, so nobody knows how well it is found")]
    recall, precision = metrics[f"recall_{label}"], metrics[f"precision_{label}"]
    findings: list[tuple[Grade, str]] = []
    if wanted.min_recall is not None and recall < wanted.min_recall:
        text = f"{100 * (1 - recall):.0f} % of the positives of {label!r} are missed"
        findings.append(("bad", f"{text} (recall {recall:.2f}, wanted {wanted.min_recall:.2f})"))
    if wanted.min_precision is not None and precision < wanted.min_precision:
        text = f"only {100 * precision:.0f} % of what is called {label!r} is that"
        text += f" (precision {precision:.2f}, wanted {wanted.min_precision:.2f})"
        findings.append(("bad", text))
    return findings
