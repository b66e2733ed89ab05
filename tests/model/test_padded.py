"""Runs of rows side by side, by the kernel and without it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from birnn.kernel import library
from birnn.model import padded

STARTS, LENGTHS = np.array([4, 0, 9, 2]), np.array([3, 5, 1, 0])
FLAT: dict[str, npt.NDArray[Any]] = {
    "values": np.arange(30, dtype=np.float32).reshape(10, 3),
    "no width": np.zeros((10, 0), np.float32),
    "whole numbers": np.arange(10, dtype=np.int32),
    "every other": np.arange(20, dtype=np.int32)[::2],
    "short": np.arange(10, dtype=np.int8),
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("off", [False, True])
def test_side_by_side(name: str, off: bool) -> None:
    flat = FLAT[name]
    padding = -1 if flat.ndim == 1 else 0
    if off:
        with library.off():
            found = padded.side_by_side(flat, STARTS, LENGTHS, padding)
    else:
        found = padded.side_by_side(flat, STARTS, LENGTHS, padding)
    assert found.shape == (4, 5, *flat.shape[1:])
    assert found.dtype == (np.int64 if flat.dtype.kind == "i" else np.float32)
    for row, start, length in zip(found, STARTS, LENGTHS, strict=True):
        assert (row[:length] == flat[start : start + length]).all()
        assert (row[length:] == padding).all()
