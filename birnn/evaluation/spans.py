"""Spans of tags, as entities are: from B- and I- labels, by the rules of conlleval.

For `actual`, `predicted`, `labels` and `offsets` see `birnn.evaluation.metrics`.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Counts = NDArray[Any]


class Notation(NamedTuple):
    """What the labels say of spans, an entry a label."""

    kind: NDArray[np.int64]  # what kind of span it is in, -1 for O
    opens: NDArray[np.bool_]  # B or S: begins a span whatever came before
    closes: NDArray[np.bool_]  # E or S: ends a span whatever comes next


def span_notation(labels: Sequence[str]) -> Notation | None:
    """Read BIO, IOBES or IOB1 labels: O, and B, I, E or S with or without -KIND; else None."""
    if not all(re.fullmatch(r"O|[BIES](-.+)?", label) for label in labels):
        return None
    tags = [label.partition("-")[::2] for label in labels]
    if not (any(kind for _, kind in tags) or {"B", "I", "O"} <= set(labels)):
        return None
    kinds = sorted({kind for _, kind in tags})
    return Notation(
        kind=np.array([kinds.index(kind) if prefix != "O" else -1 for prefix, kind in tags]),
        opens=np.array([prefix in {"B", "S"} for prefix, _ in tags]),
        closes=np.array([prefix in {"E", "S"} for prefix, _ in tags]),
    )


def _spans(tags: Ints, offsets: Ints, notation: Notation) -> tuple[Ints, Ints]:
    """Return the first row of each span, and a number that only the same span has.

    The rules are those of conlleval (Tjong Kim Sang and Buchholz 2000), with E and S as its
    ports read them: a tag other than O goes on with the span before it in the same sequence if
    that is of its kind, unless it is a B or S or comes after an E or S.
    """
    kind = notation.kind[tags]
    goes_on = np.zeros(len(tags), dtype=bool)
    goes_on[1:] = (kind[1:] >= 0) & (kind[1:] == kind[:-1])
    goes_on[1:] &= ~notation.opens[tags[1:]] & ~notation.closes[tags[:-1]]
    goes_on[offsets[:-1]] = False
    first = np.flatnonzero((kind >= 0) & ~goes_on)
    last = np.flatnonzero((kind >= 0) & ~np.append(goes_on[1:], False))
    num_kinds = len(notation.kind)
    return first, (first * len(tags) + last) * num_kinds + kind[first]


class Found(NamedTuple):
    """Spans, an entry each: first and last row, and kind, which is "" where labels have none."""

    first: Ints
    last: Ints
    kind: list[str]


def found(tags: Ints, labels: Sequence[str], offsets: Ints) -> Found | None:
    """Find the spans that tags tell of; None where the labels are not those of spans.

    Args:
        tags: (N,) class indices.
        labels: the names of the classes.
        offsets: (S + 1,) where each sequence begins.
    """
    notation = span_notation(labels)
    if notation is None:
        return None
    names = sorted({label.partition("-")[2] for label in labels})
    first, code = _spans(tags, offsets, notation)
    last = code // len(notation.kind) - first * len(tags)
    return Found(first, last, [names[kind] for kind in notation.kind[tags[first]]])


def span_tallies(
    actual: Ints, predicted: Ints, labels: Sequence[str], offsets: Ints
) -> tuple[Counts, Counts, Counts] | None:
    """Return right, actual and predicted spans of each sequence, (S,) each; None without spans.

    A span is right where one with the same first row, last row and kind is predicted.
    """
    notation = span_notation(labels)
    if notation is None:
        return None
    right, first, first_predicted = _first_rows(actual, predicted, offsets, notation)

    def tally(rows: Ints) -> Counts:
        sequence = np.searchsorted(offsets, rows, side="right") - 1
        return np.bincount(sequence, minlength=len(offsets) - 1)

    return tally(right), tally(first), tally(first_predicted)


def _first_rows(
    actual: Ints, predicted: Ints, offsets: Ints, notation: Notation
) -> tuple[Ints, Ints, Ints]:
    """Return where right, actual and predicted spans begin."""
    first, spans = _spans(actual, offsets, notation)
    first_predicted, spans_predicted = _spans(predicted, offsets, notation)
    return first[np.isin(spans, spans_predicted, assume_unique=True)], first, first_predicted


def kind_tallies(
    actual: Ints, predicted: Ints, labels: Sequence[str], offsets: Ints
) -> dict[str, tuple[int, int, int]]:
    """Return how many spans of each kind are right, actual and predicted; empty without kinds."""
    notation = span_notation(labels)
    names = sorted({label.partition("-")[2] for label in labels})
    if notation is None or names == [""]:
        return {}
    right, first, first_predicted = _first_rows(actual, predicted, offsets, notation)
    tags = (actual[right], actual[first], predicted[first_predicted])
    counts = [np.bincount(notation.kind[one], minlength=len(names)).tolist() for one in tags]
    return {name: (r, a, p) for name, r, a, p in zip(names, *counts, strict=True) if name}


def present_kinds(actual: Ints, labels: Sequence[str], offsets: Ints) -> dict[str, int] | None:
    """Return in how many sequences a span of each kind occurs; None without kinds."""
    notation = span_notation(labels)
    names = sorted({label.partition("-")[2] for label in labels})
    if notation is None or names == [""]:
        return None
    sequence = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    kinds = notation.kind[actual]
    pairs = np.unique(sequence[kinds >= 0] * len(names) + kinds[kinds >= 0])
    counts = np.bincount(pairs % len(names), minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True) if name}
