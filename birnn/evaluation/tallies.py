"""How often classes occur in groups of sequences, counted a piece of the labels at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data.sequences import steps_of
from birnn.files import pieces

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
    lists: Callable[[slice], Sequence[Ints]], offsets: Ints, groups: Ints, num_classes: int
) -> Tally:
    """Count the classes of each group.

    Args:
        lists: gives K lists of classes for some of N rows; below 0 where one counts nowhere.
        offsets: (S + 1,) where the rows of each sequence begin.
        groups: (S,) the number of the group of each sequence, from 0.
        num_classes: C.
    """
    found = []
    for chosen, rows in pieces.whole(offsets):
        sizes = np.diff(offsets[chosen.start : chosen.stop + 1])
        start = np.repeat(groups[chosen] * num_classes, sizes)
        each = [(start + one)[one >= 0] for one in lists(rows)]
        codes, place = np.unique(np.concatenate(each), return_inverse=True)
        cells = place * len(each) + np.repeat(np.arange(len(each)), [len(one) for one in each])
        times = np.bincount(cells, minlength=len(codes) * len(each)).astype(np.int32)
        found.append((codes, times.reshape(-1, len(each))))
    codes = np.concatenate([codes for codes, _ in found])
    times = np.concatenate([times for _, times in found])
    if (np.diff(codes) <= 0).any():  # a group goes on in another piece
        codes, place = np.unique(codes, return_inverse=True)
        together = np.zeros((len(codes), times.shape[1]), np.int32)
        np.add.at(together, place, times)
        times = together
    group = (codes // num_classes).astype(np.int32)
    return Tally(group, (codes % num_classes).astype(np.int32), times)


def of_groups(
    offsets: Ints, groups: Ints
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Put the rows of each group together, as if it were one sequence, some groups at a time.

    Args:
        offsets: (S + 1,) where the rows of each sequence begin.
        groups: (S,) the number of its group, from 0.

    Yields:
        The rows of some groups, and where those of each group begin.
    """
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, np.diff(offsets)).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    first = np.concatenate([[0], np.cumsum(np.bincount(groups))])
    for chosen, rows in pieces.whole(bounds):
        sequences = order[first[chosen.start] : first[chosen.stop]]
        yield steps_of(offsets, sequences), bounds[chosen.start : chosen.stop + 1] - rows.start
