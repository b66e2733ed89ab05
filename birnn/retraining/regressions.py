"""Whether a new model falls behind in any class, or on sequences of any length.

A class or a bucket of lengths may have ten sequences, and the correction for many of them asks for
the far ends of the distribution, which few resamples reach; so these are compared by the linearised
difference and Student's t (see `_p_values`).
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
from birnn.retraining.judged import Answers, Check, Ints

LEAST_OF_A_KIND = checks.LEAST_SEQUENCES
"""Of a class or a bucket of lengths that is judged by itself."""
LEVEL = 0.05
"""The chance of refusing for a class or a length where none falls by more than the margin."""


class _Ratios(NamedTuple):
    """K ratios of totals over sequences, such as the F1 of K classes."""

    value: npt.NDArray[np.float64]  # (K,)
    influence: csr_array  # (S, K) what each sequence adds to it, to first order; sums to 0
    based_on: csr_array  # (S, K) not 0 where the ratio is based on the sequence


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
    number = np.asarray((before.based_on + now.based_on != 0).sum(axis=0))
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
