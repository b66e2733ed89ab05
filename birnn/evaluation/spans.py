"""Spans of tags, as entities are: from B- and I- labels, by the rules of conlleval.

For `actual`, `predicted`, `labels` and `offsets` see `birnn.evaluation.metrics`.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birnn.files import pieces

Ints = NDArray[np.integer[Any]]
Counts = NDArray[Any]


class Notation(NamedTuple):
    """What the labels say of spans, an entry a label."""

    kind: NDArray[np.int64]  # what kind of span it is in, -1 for O
    opens: NDArray[np.bool_]  # B or S: begins a span whatever came before
    closes: NDArray[np.bool_]  # E or S: ends a span whatever comes next
    names: list[str]  # of the kinds; "" where labels have none


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
        names=kinds,
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
    first, code = _spans(tags, offsets, notation)
    last = code // len(notation.kind) - first * len(tags)
    return Found(first, last, [notation.names[kind] for kind in notation.kind[tags[first]]])


def span_tallies(
    actual: Ints, predicted: Ints, labels: Sequence[str], offsets: Ints
) -> tuple[Counts, Counts, Counts] | None:
    """Return right, actual and predicted spans of each sequence, (S,) each; None without spans.

    A span is right where one with the same first row, last row and kind is predicted.
    """
    notation = span_notation(labels)
    if notation is None:
        return None
    found = np.zeros((3, len(offsets) - 1), np.int32)
    for chosen, rows in pieces.whole(offsets):
        bounds = offsets[chosen.start : chosen.stop + 1] - rows.start
        begun = _first_rows(actual[rows], predicted[rows], bounds, notation)
        for tally, first in zip(found, begun, strict=True):
            sequence = np.searchsorted(bounds, first, side="right") - 1
            tally[chosen] = np.bincount(sequence, minlength=len(bounds) - 1)
    return found[0], found[1], found[2]


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
    """Return how many spans of each kind are right, actual and predicted; empty without spans.

    The kind is "" where labels have none.
    """
    notation = span_notation(labels)
    if notation is None:
        return {}
    counts = np.zeros((3, len(notation.names)), np.int64)
    for chosen, rows in pieces.whole(offsets):
        some, said = actual[rows], predicted[rows]
        bounds = offsets[chosen.start : chosen.stop + 1] - rows.start
        right, first, first_predicted = _first_rows(some, said, bounds, notation)
        for count, tags in zip(
            counts, (some[right], some[first], said[first_predicted]), strict=True
        ):
            count += np.bincount(notation.kind[tags], minlength=counts.shape[1])
    columns = zip(notation.names, *counts.tolist(), strict=True)
    return {name: (right, actual, predicted) for name, right, actual, predicted in columns}
