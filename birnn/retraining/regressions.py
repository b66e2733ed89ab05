"""Whether a new model falls behind in any class, or on sequences of any length.

Groups of sequences are what is independent; a sequence without a group is its own. Classes and
buckets of lengths are compared by the linearised difference and Student's t (see `_p_values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.special import stdtr

from birnn.evaluation import checks, metrics
from birnn.evaluation.significance import holm
from birnn.files.reading import first_few
from birnn.retraining.judged import Answers, Check, Ints

LEAST_OF_A_KIND = checks.LEAST_SEQUENCES
"""Groups, of a class or a bucket of lengths that is judged by itself."""
LEVEL = 0.05
"""The chance of refusing for a class or a length where none falls by more than the margin."""


class _Ratios(NamedTuple):
    """K ratios of totals over groups, such as the F1 of K classes."""

    value: npt.NDArray[np.float64]  # (K,)
    influence: csr_array  # (G, K) what each group adds to it, to first order; sums to 0
    based_on: csr_array  # (G, K) not 0 where the ratio is based on the group


class _Falls(NamedTuple):
    """By how much K figures of the champion are above the challenger's."""

    what: list[str]
    before: npt.NDArray[np.float64]  # (K,)
    now: npt.NDArray[np.float64]  # (K,)
    p: npt.NDArray[np.float64]  # (K,) that chance alone makes more than the margin of a fall


def no_falls(
    challenger: Answers,
    champion: Answers,
    *,
    labels: Sequence[str],
    class_margin: float,
    length_margin: float,
) -> list[Check]:
    """Compare every class and every bucket of lengths that has enough groups."""
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
        unit = "groups" if challenger.num_groups < len(challenger) else "sequences"
        named = first_few(map(repr, left_out))
        text = f"{found[0].sentence} Too few {unit} to judge {named}."
        found[0] = replace(found[0], sentence=text)
    return found


def _common_classes(answers: Answers, num_classes: int) -> list[int]:
    """Return the classes that occur in enough groups."""
    present = _by_class(answers, answers.actual, num_classes)
    return np.flatnonzero(_groups(present) >= LEAST_OF_A_KIND).tolist()


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
    rows = _by_bucket(challenger, np.diff(challenger.offsets), bucket)
    judged = np.flatnonzero(_groups(rows) >= LEAST_OF_A_KIND)
    members = [challenger.lengths[bucket == i] for i in judged]
    spans = [f"{part.min()} to {part.max()} steps" for part in members]
    before, now = (_accuracy(answers, bucket, judged) for answers in (champion, challenger))
    return _falls(spans, before, now, margin)


def _fall_check(name: str, metric: str, falls: _Falls, margin: float) -> Check:
    figures = {"margin": margin}
    fallen = []
    for what, before, now, p in zip(*falls, strict=True):
        figures |= {f"fall_{what}": float(before - now), f"p_{what}": float(p)}
        if p < LEVEL:
            text = f"{metric} of {what!r} fell from {before:.3f} to {now:.3f} (p {p:.2g})."
            fallen.append((now - before, text))
    worst_first = [text for _, text in sorted(fallen)]
    otherwise = f"{metric} fell by more than {margin:g} in none of the {name}."
    return Check(name, not fallen, figures, checks.sentences(worst_first) or otherwise)


def _falls(what: list[str], before: _Ratios, now: _Ratios, margin: float) -> _Falls:
    return _Falls(what, before.value, now.value, _p_values(before, now, margin))


def _p_values(before: _Ratios, now: _Ratios, margin: float) -> npt.NDArray[np.float64]:
    """Return the chances (K,) of falls such as these, or larger ones, if the true are the margin.

    A ratio of totals A / B over groups changes by (a - A / B * b) / B, to first order, with a
    group that adds a and b (Cochran, Sampling Techniques, 1977, chapter 6). The fall varies as
    the sum of the differences of the two models' changes does: paired, so that what makes a
    group hard for both cancels out. Degrees of freedom are one fewer than the groups with a
    say. Where all differences are 0, as for two equal models, the fall is certain.
    """
    apart = before.influence - now.influence
    number = _groups(before.based_on + now.based_on)
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


def _groups(counts: csr_array) -> npt.NDArray[np.int64]:
    """How many groups have any of each, (K,)."""
    return np.asarray((counts != 0).sum(axis=0), dtype=np.int64)
