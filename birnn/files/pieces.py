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
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import numpy.typing as npt

ROWS = 1 << 18  # of a piece
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


def release(*arrays: Array) -> None:
    """Let go of the pages of arrays that are on disk; they are read again when they are used."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        base = base.obj if isinstance(base, memoryview) else base
        if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):  # not on Windows
            base.madvise(mmap.MADV_DONTNEED)
