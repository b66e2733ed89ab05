"""Times as people write them: their forms, and whether they go back within a sequence."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.files.reading import Skipped
from birnn.files.tables import changes

CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?")
ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:?\d\d.*)?")
POINTS = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}(?: \d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?)?")
SLASHES = re.compile(r"\d{1,4}/\d{1,2}/\d{1,4}(?: .*)?")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
LEAST_EPOCH = 6e8  # seconds since 1970, in 1989; less is some other number


def is_time(text: str) -> bool:
    """Whether a text is a date, a time of day, or both."""
    return any(form.fullmatch(text) for form in (CLOCK, ISO, POINTS, SLASHES))


def form_of(text: str) -> str | None:
    """How to read a time: as pandas names it, or `clock` or `number`; None of what is none."""
    if ISO.fullmatch(text):
        return "ISO8601"
    if CLOCK.fullmatch(text):
        return "clock"
    if POINTS.fullmatch(text):
        clock = {0: "", 1: " %H:%M", 2: " %H:%M:%S"}[text.count(":")]
        return "%d.%m.%Y" + clock + (".%f" if text.count(".") == 3 else "")
    return "number" if NUMBER.fullmatch(text) else None


class Backwards:
    """Notes where times that travel with the rows go back within a sequence.

    Steps are read in the order of the file. If times say another one, the network learns from
    sequences that never were, and nothing else tells. A time of day alone is not looked at, since
    it goes back at midnight, nor is 01/02/2026, which may be in January or in February.
    """

    def __init__(self, skipped: Skipped) -> None:
        self.skipped = skipped
        self.last: dict[str, tuple[str, float]] = {}  # of each column, and of which sequence

    def look(self, texts: pa.Array, name: str, ids: pa.Array, where: str, row: int) -> None:
        """Look at the next rows of a file.

        Args:
            texts: what may be times; "" where there is none.
            name: of the column.
            ids: of the rows' sequences.
            where: what to call the file.
            row: how many rows came before these.
        """
        times = _seconds(texts)
        if times is None or not len(times):
            return
        begins = changes(ids)
        id_above, above = self.last.get(name, (None, 0.0))
        begins[0] = id_above != ids[0].as_py()
        back = np.flatnonzero((np.diff(times, prepend=above) < 0) & ~begins)
        if len(back):
            what = f"rows as they stand though `{name}` goes back in their sequence"
            place = f"{where}, row {row + int(back[0]) + 1}"
            self.skipped.note(f"{what} (sort them if it should not)", place, len(back))
        self.last[name] = (ids[-1].as_py(), float(times[-1]))


def _seconds(texts: pa.Array) -> npt.NDArray[np.float64] | None:
    """Times in some unit, NaN where there is none; None if these are no times."""
    column = pc.if_else(pc.equal(texts, ""), None, texts)
    known = column.drop_null()
    form = form_of(known[0].as_py()) if len(known) else None
    if form is None or form == "clock":
        return None
    try:
        if form == "number":
            return _since_1970(column.cast(pa.float64()))
        if form != "ISO8601":
            return _numbers(pc.strptime(column, format=form, unit="s", error_is_null=True))
        return _numbers(_of_iso(column))
    except pa.ArrowInvalid:  # they are not all of one form
        return None


def _of_iso(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:  # they name zones
        return column.cast(pa.timestamp("us", "UTC"))


def _since_1970(numbers: pa.Array) -> npt.NDArray[np.float64] | None:
    least = pc.min(numbers).as_py()
    return _numbers(numbers) if least is not None and least >= LEAST_EPOCH else None


def _numbers(column: pa.Array) -> npt.NDArray[np.float64]:
    whole = column if pa.types.is_floating(column.type) else column.cast(pa.int64())
    return np.asarray(whole.to_numpy(zero_copy_only=False), dtype=np.float64)
