"""How often classes occur in groups of sequences, counted a piece of the labels at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data.sequences import steps_of
from birnn.files import pieces, spools

Ints = npt.NDArray[np.integer[Any]]


class Tally(NamedTuple):
    """E entries, one where a class occurs in a group, in the order of groups and then of classes.

    Attributes:
        group: (E,) int32.
        label: (E,) int32, the class.
        times: (E, K) int32, how often each of K lists of classes has it there.
    """

    group: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    times: npt.NDArray[np.int32]


def by_group(
    lists: Callable[[slice], Sequence[Ints]],
    offsets: Ints,
    groups: Ints,
    num_classes: int,
    folder: Path | None = None,
) -> Tally:
    """Count the classes of each group.

    Args:
        lists: gives K lists of classes for some of N rows; below 0 where one counts nowhere.
        offsets: (S + 1,) where the rows of each sequence begin.
        groups: (S,) the number of the group of each sequence, from 0.
        num_classes: C.
        folder: for temporary files that take the entries of groups that lie side by side; without
            it, and for other groups, memory does.
    """
    each = _of_pieces(lists, offsets, groups, num_classes)
    if bool((groups[1:] >= groups[:-1]).all()):
        return _side_by_side(each, num_classes, folder)
    codes, times = next(each)
    for others, more in each:
        codes, times = _together([codes, others], [times, more])
    return Tally(*_divided(codes, num_classes), times)


def _of_pieces(
    lists: Callable[[slice], Sequence[Ints]], offsets: Ints, groups: Ints, num_classes: int
) -> Iterator[tuple[Ints, npt.NDArray[np.int32]]]:
    """The cells, group times C plus class, that occur in some rows, and how often: (E, K)."""
    for chosen, rows in pieces.whole(offsets):
        sizes = np.diff(offsets[chosen.start : chosen.stop + 1])
        start = np.repeat(groups[chosen] * num_classes, sizes)
        each = [(start + one)[one >= 0] for one in lists(rows)]
        codes, place = np.unique(np.concatenate(each), return_inverse=True)
        cells = place * len(each) + np.repeat(np.arange(len(each)), [len(one) for one in each])
        times = np.bincount(cells, minlength=len(codes) * len(each)).astype(np.int32)
        yield codes, times.reshape(-1, len(each))


def _side_by_side(
    each: Iterator[tuple[Ints, npt.NDArray[np.int32]]], num_classes: int, folder: Path | None
) -> Tally:
    """Put pieces behind one another; the last group of one may go on in the next."""
    group, label, times = (spools.Numbers.beside(folder) for _ in range(3))

    def take(codes: Ints, counts: npt.NDArray[np.int32]) -> None:
        for spool, part in zip((group, label), _divided(codes, num_classes), strict=True):
            spool.take(part)
        times.take(counts)

    held = next(each)
    for codes, counts in each:
        codes, counts = _together([held[0], codes], [held[1], counts])
        last = int(np.searchsorted(codes, codes[-1:] // num_classes * num_classes)[0])
        take(codes[:last], counts[:last])
        held = codes[last:], counts[last:]
    take(*held)
    return Tally(
        group.array(np.int32), label.array(np.int32), times.array(np.int32, held[1].shape[1])
    )


def _together(
    codes: Sequence[Ints], times: Sequence[npt.NDArray[np.int32]]
) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Add up what two pieces have of the same cells."""
    cells, place = np.unique(np.concatenate(codes), return_inverse=True)
    counts = np.zeros((len(cells), times[0].shape[1]), np.int32)
    np.add.at(counts, place, np.concatenate(times))
    return cells, counts


def _divided(codes: Ints, num_classes: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    group, label = np.divmod(codes, num_classes)
    return group.astype(np.int32), label.astype(np.int32)


def of_groups(
    offsets: Ints, groups: Ints | None
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Put the rows of each group together, as if it were one sequence, some groups at a time.

    Args:
        offsets: (S + 1,) where the rows of each sequence begin.
        groups: (S,) the number of its group, from 0; None where each is its own.

    Yields:
        The rows of some groups, and where those of each group begin.
    """
    if groups is None:
        for chosen, rows in pieces.whole(offsets):
            bounds = offsets[chosen.start : chosen.stop + 1] - rows.start
            yield np.arange(rows.start, rows.stop), bounds
        return
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, np.diff(offsets)).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    first = np.concatenate([[0], np.cumsum(np.bincount(groups))])
    for chosen, rows in pieces.whole(bounds):
        sequences = order[first[chosen.start] : first[chosen.stop]]
        yield steps_of(offsets, sequences), bounds[chosen.start : chosen.stop + 1] - rows.start
