"""Splits by time: the later sequences validate, the latest test.

A sequence's time is that of its first step, in a column of numbers or of times as ISO 8601 has
them; a group's is that of its earliest sequence, since a group is in one split. Equal times stay
together, so shares are kept as far as these allow. As data grow at their end, what was tested may
train later; what has trained is never tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError, ParamsError
from birnn.files.tables import KEPT, Chunk, spelled

Times = npt.NDArray[np.float64]


class Later:
    """Where in time validation and test begin.

    Args:
        column: holds the times.
        validation: share of the groups, or sequences, to validate on.
        test: share of them to test on.
    """

    def __init__(self, column: str, *, validation: float, test: float) -> None:
        self.column, self.shares = column, (test, validation)
        self.name = column  # in the table
        self.earliest: dict[str, float] = {}
        self.edges = (np.inf, np.inf)

    def fit(self, chunks: Iterable[Chunk], *, only: str | None = None) -> Later:
        """Look at all sequences, or only at those that the table puts into one split.

        Raises:
            ParamsError: the table has no such column.
            DataError: a time is missing, or is none.
        """
        for table, offsets in chunks:
            self.name = _place(self.column, table.schema.names)
            wanted = {"sequence", "group", "split", self.name}
            read = [name for name in table.schema.names if name in wanted]
            heads = spelled(table.select(read).take(pa.array(offsets[:-1])))
            if only is not None:
                heads = heads.filter(pc.equal(heads["split"], only))
            for name, time in zip(_names(heads), self._times(heads).tolist(), strict=True):
                self.earliest[name] = min(time, self.earliest.get(name, np.inf))
        times = np.sort(np.array([*self.earliest.values()]))
        ends = [len(times) - round(len(times) * sum(self.shares[:part])) for part in (1, 2)]
        test, validation = (times[end] if end < len(times) else np.inf for end in ends)
        self.edges = float(validation), float(test)
        return self

    def splits(self, heads: pa.Table) -> npt.NDArray[np.str_]:
        """Name the split of each sequence, of which the table has the first step."""
        times = np.array([self.earliest[name] for name in _names(heads)])
        validation, test = self.edges
        return np.select([times >= test, times >= validation], ["test", "validation"], "train")

    def _times(self, heads: pa.Table) -> Times:
        column = heads[self.name].combine_chunks()
        times = as_times(column)
        if (bad := np.isnan(times)).any():
            row = int(bad.argmax())
            raise DataError(
                f"sequence {heads['sequence'][row].as_py()!r}, column `{self.column}` "
                "(prepare.split_by): expected a number or a time as 2026-01-31T12:00:00, found "
                f"{column[row].as_py()!r} at its first step"
            )
        return times


def _place(column: str, names: Sequence[str]) -> str:
    """What the table calls a column, which may be one that travels with the rows."""
    for name in (column, KEPT + column):
        if name in names:
            return name
    found = ", ".join(name.removeprefix(KEPT) for name in names)
    raise ParamsError(
        f"prepare.split_by: expected a column of the table ({found}), found {column!r}"
    )


def _names(heads: pa.Table) -> list[str]:
    names: list[str] = heads["group" if "group" in heads.schema.names else "sequence"].to_pylist()
    return names


def as_times(column: pa.Array) -> Times:
    """Bring numbers, times, or text of either to numbers that are in their order; NaN for others.

    The text of a column is all numbers or all times.
    """
    if pa.types.is_temporal(column.type):
        moments = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return np.asarray(moments.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    text: Any = column.to_pandas()
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    if not np.isnan(numbers).all():
        return np.asarray(numbers)
    moments = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    stamps = moments.dt.as_unit("us").astype("int64").to_numpy().astype(np.float64)
    return np.where(moments.isna(), np.nan, stamps)
