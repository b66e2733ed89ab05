"""Numbers that people and programs write where one is missing, and that are read as measured: -999.

ranges = Ranges()
ranges.add({"x": of_values(values)})           # chunk after chunk, in one pass
ranges.note(skipped, "my.csv")                 # a line for each of them
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.files.reading import Skipped, first_few

_NINES = [10.0**digits - 1 + part for digits in range(3, 10) for part in (0, 0.9, 0.99)]
_OF_PROGRAMS = (-999.25, 1e20, -1e20, 1e30, -1e30, 9.969209968386869e36, -(2.0**31), 2.0**31 - 1)
"""Of well logs (LAS), of grids, of netCDF, and of 32-bit integers."""
_KNOWN = [*_NINES, *(-one for one in _NINES), *_OF_PROGRAMS]
KNOWN = frozenset(_KNOWN) | {float(np.float32(one)) for one in _KNOWN}
"""What may stand for a missing number, in double and in single precision."""
LEAST, LEAST_SHARE = 3, 1e-4  # how often it must occur: in all, and of all numbers
ABOVE, BELOW, BELOW_ZERO = 1.5, 1.0, 0.1
"""How far off it must be, in widths of all others; the last where no other one is negative."""
RELATIVE = 0.5  # of the largest of the others, where some are negative or it is positive
MOST_NAMED = 3  # columns for which the key is written out


class Far(NamedTuple):
    """What a chunk tells of a column: how often numbers of `KNOWN` are its extremes, and the range
    of all others; (inf, -inf) where there are none.
    """

    counts: dict[float, int]
    low: float
    high: float
    numbers: int


def of_values(values: npt.NDArray[np.float64]) -> Far:
    """Look at the extremes of a column (steps,) float64, in which NaN is a missing number."""
    counts, numbers = dict[float, int](), len(values)
    while len(values):
        low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
        found = low if low in KNOWN else high
        if found not in KNOWN:
            return Far(counts, low, high, numbers) if low <= high else _nothing(counts, numbers)
        others = values != found
        counts[found] = len(values) - int(np.count_nonzero(others))
        values = values[others]
    return _nothing(counts, numbers)


def _nothing(counts: dict[float, int], numbers: int) -> Far:
    return Far(counts, np.inf, -np.inf, numbers)


class Ranges:
    """Adds up what chunks tell, by column."""

    def __init__(self) -> None:
        self.columns = dict[str, Far]()

    def add(self, chunk: Mapping[str, Far]) -> None:
        """Take up one more chunk."""
        for name, one in chunk.items():
            if (held := self.columns.get(name)) is not None:
                counts = held.counts
                if one.counts:  # as in hardly any chunk
                    counts = dict(Counter(counts) + Counter(one.counts))
                one = Far(
                    counts,
                    min(held.low, one.low),
                    max(held.high, one.high),
                    held.numbers + one.numbers,
                )
            self.columns[name] = one

    @property
    def found(self) -> dict[float, dict[str, int]]:
        """Numbers that seem to stand for missing ones: how often they are in which column."""
        found = dict[float, dict[str, int]]()
        for name, one in self.columns.items():
            for value in _suspicious(one):
                found.setdefault(value, {})[name] = one.counts[value]
        return dict(sorted(found.items()))

    def note(self, skipped: Skipped, where: str) -> None:
        """Say so, a line for each such number."""
        for value, columns in self.found.items():
            number = f"{value:.10g}"
            names = first_few(f"`{name}` ({count:,})" for name, count in columns.items())
            key = f"[{number}]"
            if len(columns) <= MOST_NAMED:
                key = "{" + ", ".join(f"{name}: {key}" for name in columns) + "}"
            skipped.note(
                f"{number} as measured, far outside all other numbers, in {names}; if it stands "
                f"for a missing one, set data.absent: {key}",
                where,
                sum(columns.values()),
            )


def _suspicious(column: Far) -> list[float]:
    """Those that are often there and far off, from the innermost to the outermost."""
    low, high, found = column.low, column.high, list[float]()
    if low > high:  # no other numbers to compare with
        return found
    for value in sorted(column.counts, key=abs):
        often = column.counts[value] >= max(LEAST, LEAST_SHARE * column.numbers)
        if often and _is_far(value, low, high):
            found.append(value)
        else:
            low, high = min(low, value), max(high, value)
    return found


def _is_far(value: float, low: float, high: float) -> bool:
    if low <= value <= high:
        return False
    width, size = high - low, max(abs(low), abs(high))
    off = value - high if value > high else low - value
    if value < 0 <= low:
        return off >= BELOW_ZERO * width
    return off >= max(RELATIVE * size, width * (ABOVE if value > high else BELOW))
