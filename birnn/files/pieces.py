"""Arrays that are gone over in pieces, and those that lie in a temporary file, not in memory.

    shares = pieces.empty((labels, classes), np.float32, Path("evaluation"))
    for actual, some in pieces.of(labels, shares): ...

What is computed of a piece is small, however many rows there are; and what was read of a file is
let go of before the next piece.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import numpy.typing as npt

ROWS = 1 << 18  # of a piece
SAMPLED = 256  # of the rows of a piece, where pieces are put in order together
Array = npt.NDArray[Any]


def of(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Give the same rows of some arrays of one length, a piece at a time."""
    for start in range(0, len(arrays[0]), ROWS):
        yield tuple(one[start : start + ROWS] for one in arrays)
        release(*arrays)


def whole(offsets: npt.NDArray[np.integer[Any]], rows: int = 0) -> Iterator[tuple[slice, slice]]:
    """Cut after whole sequences: some sequences, and their rows; of a longer one, all.

    Args:
        offsets: (sequences + 1,) where the rows of each begin.
        rows: of a piece, about; `ROWS` where 0.
    """
    cuts = np.searchsorted(offsets, np.arange(0, max(1, offsets[-1]), rows or ROWS)).tolist()
    for first, last in zip(cuts, [*cuts[1:], len(offsets) - 1], strict=True):
        if first < last:
            yield slice(first, last), slice(int(offsets[first]), int(offsets[last]))
            release(offsets)


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike, folder: Path | None) -> Array:
    """Give an array to fill.

    Args:
        shape: of it.
        dtype: of it.
        folder: for a file that takes it, and is gone when nothing refers to the array; where None,
            memory takes it.

    Raises:
        OSError: the disk has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if folder is None or not size:
        return np.empty(shape, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process that writes
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        mapped = mmap.mmap(file.fileno(), size)
    return np.frombuffer(mapped, dtype).reshape(shape)


def computed(
    function: Callable[..., Array],
    arrays: Array | Sequence[Array],
    dtype: npt.DTypeLike,
    folder: Path | None,
) -> Array:
    """Give what a function says of each of some rows.

    Args:
        function: takes some rows of each array, and gives a number for each row.
        arrays: one, or several of one length.
        dtype: of the numbers.
        folder: see `empty`.
    """
    given = [arrays] if isinstance(arrays, np.ndarray) else arrays
    found = empty((len(given[0]),), dtype, folder)
    for numbers, *some in of(found, *given):
        numbers[:] = function(*some)
    return found


def chosen(mask: npt.NDArray[np.bool_], array: Array, folder: Path | None) -> Array:
    """Give the rows of an array that a mask chooses; for `folder` see `empty`."""
    size = sum(int(np.count_nonzero(inside)) for (inside,) in of(mask))
    found, end = empty((size, *array.shape[1:]), array.dtype, folder), 0
    for inside, some in of(mask, array):
        start, end = end, end + int(np.count_nonzero(inside))
        found[start:end] = some[inside]
        release(found)
    return found


def ordered(numbers: Array, folder: Path | None) -> Array:
    """Sort numbers; for `folder` see `empty`.

    On disk, some rows at a time are put in order. The numbers between two of a sample are then
    taken from all of these runs and put in order in turn, so that few are held.
    """
    if folder is None or len(numbers) <= ROWS:
        return np.sort(numbers)
    sorted_, found = (empty(numbers.shape, numbers.dtype, folder) for _ in range(2))
    for run, some in of(sorted_, numbers):
        run[:] = np.sort(some)
    runs = [sorted_[start : start + ROWS] for start in range(0, len(numbers), ROWS)]
    sample = np.sort(np.concatenate([run[:: max(1, ROWS // SAMPLED)] for run in runs]))
    ends, place = np.unique(sample[::SAMPLED]), 0
    below, upto = (
        np.array([np.searchsorted(run, ends, side) for run in runs]).T for side in ("left", "right")
    )
    stops = np.vstack([below[1:], [len(run) for run in runs]])
    for end, same, firsts, lasts in zip(
        ends, (upto - below).sum(axis=1).tolist(), upto, stops, strict=True
    ):
        found[place : place + same] = end  # however many these are
        cut = zip(runs, firsts.tolist(), lasts.tolist(), strict=True)
        between = np.sort(np.concatenate([run[first:last] for run, first, last in cut]))
        found[place + same : place + same + len(between)] = between
        place += same + len(between)
        release(sorted_, found)
    return found


def release(*arrays: Array) -> None:
    """Let go of the pages of arrays that are on disk; they are read again when they are used."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        base = base.obj if isinstance(base, memoryview) else base
        if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):  # not on Windows
            base.madvise(mmap.MADV_DONTNEED)
