"""Checks that look for faults of a new model: what falls, and how surely a fall would be seen.

    found = compare(challenger, served, margins, labels=["a", "b"], fall=0.2, over_bag=None)
    checks(found, "", 0.2)

All of them refuse together, so all p-values are corrected together, whatever they are about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from birnn.evaluation.checks import sentences
from birnn.evaluation.intervals import HIGH, Difference
from birnn.files.reading import first_few
from birnn.retraining import regressions
from birnn.retraining.judged import Answers, Check, Served
from birnn.retraining.regressions import Falls, Floats, Margins

POWER = 0.8
"""With which a fall that matters should be seen; with less, the checks say so."""
METRICS = {"classes": "F1", "lengths": "Accuracy", "calibration": "The calibration error"}
MATTERS = {"classes": "recall", "lengths": "accuracy"}
UNSEEN = " Warning: "


@dataclass(frozen=True, slots=True)
class Faults:
    """What was compared, with chances that are corrected for all that was.

    Attributes:
        champion: falls from the champion, of each kind.
        of_champion: their corrected p-values, (K,) of each kind.
        reference: falls from the reference; nothing where there is none.
        of_reference: their corrected p-values. 1 where the champion is no better than the
            challenger: to refuse would keep what is worse.
        below_bag: the corrected p-value of being worse than the bag of steps, if that was asked.
        tests: how many p-values there are.
    """

    champion: list[Falls]
    of_champion: list[Floats]
    reference: list[Falls]
    of_reference: list[Floats]
    below_bag: float | None
    tests: int


def compare(
    challenger: Answers,
    served: Served,
    margins: Margins,
    *,
    labels: Sequence[str],
    fall: float,
    over_bag: Difference | None,
) -> Faults:
    """Compare with champion and reference, as `birnn.retraining.regressions` does.

    Args:
        challenger: its answers.
        served: those of the champion, which there must be, and perhaps of the reference.
        margins: by which figures may fall.
        labels: names of the classes.
        fall: one that matters.
        over_bag: by how much the challenger is better than the bag of steps, if that was asked.
    """
    assert served.champion is not None
    champion, *reference = (
        regressions.falls(challenger, one, margins, labels=labels, fall=fall)
        for one in (served.champion, served.reference)
        if one is not None
    )
    others = [] if over_bag is None else [chance(over_bag)]
    both = [*champion, *(one for falls in reference for one in falls)]
    p = regressions.corrected(both, others)
    of_reference = [
        np.where(one.now <= kept.before if one.down else one.now >= kept.before, corrected, 1.0)
        for one, kept, corrected in zip(both[3:], champion, p[3:], strict=False)
    ]
    return Faults(
        champion=champion,
        of_champion=p[:3],
        reference=both[3:],
        of_reference=of_reference,
        below_bag=None if over_bag is None else float(p[-1][0]),
        tests=sum(len(part) for part in p),
    )


def chance(gain: Difference) -> float:
    """The chance of a gain as low of a model that is as good; normal, by its interval."""
    reach = gain.high - gain.estimate
    return float(ndtr(ndtri(HIGH) * gain.estimate / reach)) if reach > 0 else 1.0


def checks(found: Faults, left_out: str, fall: float) -> list[Check]:
    """Say of classes, lengths and calibration whether they fell, and would be seen to fall.

    Args:
        found: what was compared with the champion.
        left_out: of which classes nothing can be said, in words, or "".
        fall: one that matters.
    """
    each = zip(found.champion, found.of_champion, strict=True)
    return [_check(falls, p, found.tests, left_out, fall) for falls, p in each]


def _check(falls: Falls, p: Floats, tests: int, left_out: str, fall: float) -> Check:
    power = falls.power(tests)
    figures = {"margin": falls.margin}
    for each in zip(falls.what, falls.fall, p, power, strict=True):
        what, *found = each
        for name, figure in zip(("fall", "p", "power"), found, strict=True):
            figures[f"{name}_{what}"] = float(figure)
    if falls.kind == "calibration":
        figures |= {"challenger": float(falls.now[0]), "champion": float(falls.before[0])}
    fallen = fell(falls, p)
    said = sentences(fallen) or _otherwise(falls)
    if falls.kind == "classes":
        said += left_out
    warning = "" if fallen else _blind(falls, power, fall)
    return Check(falls.kind, not fallen, figures, said + warning)


def fell(falls: Falls, p: Floats) -> list[str]:
    """Say what fell, the most first."""
    worse = sorted(np.flatnonzero(falls.refused(p)), key=lambda i: -falls.fall[i])
    if not falls.down:
        return [f"{_calibration(falls)} (p {p[i]:.2g})." for i in worse]
    return [
        f"{METRICS[falls.kind]} of {falls.what[i]!r} fell from {falls.before[i]:.3f} to "
        f"{falls.now[i]:.3f} (p {p[i]:.2g})."
        for i in worse
    ]


def _otherwise(falls: Falls) -> str:
    if not falls.down:
        return f"{_calibration(falls)}."
    metric = METRICS[falls.kind]
    return f"{metric} fell by more than {falls.margin:g} in none of the {falls.kind}."


def _calibration(falls: Falls) -> str:
    now, before = falls.now[0], falls.before[0]
    said = f"{METRICS[falls.kind]} is {now:.3f}, before it was {before:.3f}"
    return f"{said}; allowed: {falls.margin:g} more"


def _blind(falls: Falls, power: Floats, fall: float) -> str:
    """Warn of falls that would hardly be seen."""
    weak = np.flatnonzero(power < POWER)
    if not len(weak) or falls.kind not in MATTERS:
        return ""
    named = first_few(f"{falls.what[i]!r} ({100 * power[i]:.0f} %)" for i in weak)
    return (
        f"{UNSEEN}a fall of {MATTERS[falls.kind]} by {fall:g} would be seen with a chance of less "
        f"than {100 * POWER:.0f} % in {named}; with more test sequences it is higher."
    )


def blind_spots(found: Sequence[Check]) -> str:
    """Repeat the warnings of some checks."""
    said = [check.sentence.partition(UNSEEN) for check in found]
    return "".join(f"{mark}{text}" for _, mark, text in said)


def enough_power(found: Sequence[Check], least: float) -> Check:
    """Say whether each fall that matters would be seen with the chance that is asked for."""
    powers = {
        f"{name.removeprefix('power_')} ({check.name})": figure
        for check in found
        for name, figure in check.figures.items()
        if name.startswith("power_")
    }
    weak = [f"{name} {100 * power:.0f} %" for name, power in powers.items() if power < least]
    sentence = f"Each fall that matters would be seen with a chance of {100 * least:.0f} %."
    if weak:
        sentence = f"A fall that matters would be seen too rarely: {first_few(weak)}; wanted "
        sentence += f"{100 * least:.0f} % (retrain.least.power): add test sequences."
    figures: Mapping[str, float] = {"least": min(powers.values(), default=1.0), "wanted": least}
    return Check("power", not weak, dict(figures), sentence)


def reference(found: Faults, gain: Difference, *, shown: bool, said: str) -> Check:
    """Say whether the challenger is no worse than the reference.

    Args:
        found: what was compared with the reference.
        gain: by how much the headline is better than that of the reference.
        shown: whether the headline passes.
        said: the finding about the headline.
    """
    figures: dict[str, float] = gain._asdict()
    fallen = []
    for falls, p in zip(found.reference, found.of_reference, strict=True):
        figures |= {
            f"fall_{what}": float(by) for what, by in zip(falls.what, falls.fall, strict=True)
        }
        fallen += fell(falls, p)
    text = [said, *fallen] if fallen or not shown else [said, "Nothing else fell."]
    return Check(
        "reference", shown and not fallen, figures, f"Against the reference: {sentences(text)}"
    )
