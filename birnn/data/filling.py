"""What a model reads where a number is missing.

`refuse`  nothing: data with missing numbers are refused
`mean`    the mean of the column in the training split
`zero`    0, in the unit of the column
`last`    the last number of the sequence before it; the mean where there is none
`mask`    the mean; and for each column that lacks numbers in the training split one more feature,
          which is 1 where the number is missing, else 0

Numbers are filled in before they are scaled, so a model is the same as if its user had done it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from birnn.errors import DataError
from birnn.files.reading import first_few

Filling = Literal["refuse", "mean", "zero", "last", "mask"]
Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


def check(kind: Filling, missing: Mapping[str, int], first: str) -> None:
    """Refuse missing numbers where nobody has said what to read there.

    Args:
        kind: what is to be read.
        missing: how many numbers are missing in which column.
        first: the place of the first of them.

    Raises:
        DataError: there are some, and `kind` is `refuse`.
    """
    if kind != "refuse" or not missing:
        return
    named = first_few(f"`{name}` ({count:,})" for name, count in missing.items())
    raise DataError(
        f"{first}: expected a number, found nothing (missing in all: {named}); fill it in, or set "
        f"prepare.missing to {', '.join(get_args(Filling)[1:-1])} or {get_args(Filling)[-1]}"
    )


class Means:
    """Adds up the known numbers of each feature, chunk by chunk, without a unit of its own."""

    def __init__(self, features: int) -> None:
        self.count = np.zeros(features, np.int64)
        self.total = np.zeros(features)
        self.lacking = np.zeros(features, dtype=bool)

    def add(self, raw: Floats) -> None:
        """Look at some more steps, (steps, features), NaN where a number is missing."""
        known = ~np.isnan(raw)
        self.count += known.sum(axis=0)
        self.total += np.where(known, raw, 0).sum(axis=0)
        self.lacking |= ~known.all(axis=0)

    def take(self, other: Means) -> Means:
        """Add what another one has seen of steps that come after these."""
        self.count += other.count
        self.total += other.total
        self.lacking |= other.lacking
        return self

    def result(self) -> npt.NDArray[np.float64]:
        """Give the mean of each feature, (features,), NaN of one without any number."""
        means: npt.NDArray[np.float64] = np.where(
            self.count > 0, self.total / np.maximum(self.count, 1), np.nan
        )
        return means


def filled(kind: Filling, raw: Floats, offsets: npt.NDArray[np.int64], fills: Floats) -> Floats:
    """Put numbers where some are missing.

    Args:
        kind: how; see above.
        raw: (steps, features), NaN where a number is missing.
        offsets: where each sequence begins, (sequences + 1,).
        fills: (features,) what to put where the sequence itself does not say.

    Returns:
        (steps, features) without NaN; as they are where `kind` is `refuse`.
    """
    if kind == "refuse" or not (missing := np.isnan(raw)).any():
        return raw
    if kind != "last":
        return np.where(missing, fills, raw)
    steps = np.arange(len(raw))[:, None]
    last = np.maximum.accumulate(np.where(missing, -1, steps), axis=0)
    begins = np.repeat(offsets[:-1], np.diff(offsets))[:, None]
    before = np.take_along_axis(raw, np.maximum(last, 0), axis=0)
    return np.where(last >= begins, before, fills)
