"""Times that travel with the rows, and say another order than the rows have."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.files.reading import Skipped
from birnn.sources.moments import Backwards, form_of

START = datetime(2026, 1, 31, 23, 59, 50)
FORMS: dict[str, Any] = {
    "ISO 8601": lambda time: time.isoformat(),
    "with a blank": lambda time: str(time),
    "with a zone": lambda time: time.isoformat() + "+01:00",
    "in UTC": lambda time: time.isoformat() + "Z",
    "points": lambda time: time.strftime("%d.%m.%Y %H:%M:%S"),
    "seconds": lambda time: time.replace(tzinfo=UTC).timestamp(),
    "seconds as text": lambda time: str(time.replace(tzinfo=UTC).timestamp()),
    "milliseconds": lambda time: int(time.replace(tzinfo=UTC).timestamp() * 1000),
    "datetime": lambda time: time,
    "datetime with a zone": lambda time: time.replace(tzinfo=UTC),
    "date": lambda time: time.date(),
}


def looked(ids: list[str], times: list[Any], size: int = 1000) -> Skipped:
    """What is noted of a file whose rows come so many at a time."""
    skipped = Skipped()
    backwards = Backwards(skipped)
    for start in range(0, len(ids), size):
        part = slice(start, start + size)
        texts = pc.fill_null(pa.array(times[part]).cast(pa.string()), "")
        backwards.look(texts, "time", pa.array(ids[part]), "a.csv", start)
    return skipped


class TestBackwards:
    @given(
        steps=st.lists(st.tuples(st.sampled_from("aab"), st.integers(-1, 2)), min_size=1),
        size=st.integers(1, 7),
    )
    @pytest.mark.parametrize("form", FORMS)
    def test_each_step_back_is_counted(
        self, form: str, steps: list[tuple[str, int]], size: int
    ) -> None:
        ids = [name for name, _ in steps]
        days = np.cumsum([step for _, step in steps])
        written = [FORMS[form](START + timedelta(days=int(day))) for day in days]
        back = [
            row + 1
            for row in range(1, len(ids))
            if ids[row] == ids[row - 1] and days[row] < days[row - 1]
        ]
        skipped = looked(ids, written, size)
        assert skipped.noted.total() == len(back)
        assert [*skipped.first.values()] == [f"a.csv, row {row}" for row in back[:1]]

    def test_is_said_in_a_line(self) -> None:
        assert looked(["a"] * 3, ["2026-01-02", "2026-01-01", "2026-01-03"]).sentences() == [
            "read: rows as they stand though `time` goes back in their sequence (sort them if it "
            "should not), 1 in all, the first in a.csv, row 2"
        ]

    @pytest.mark.parametrize(
        "times",
        [
            ["23:59:59", "00:00:01"],  # midnight
            ["02/01/2026", "01/02/2026"],  # which is the month?
            ["2", "1"],
            [2.5, 1.0],
            ["2026-01-02", "soon"],
            ["b", "a"],
            ["", ""],
            [None, None],
            [True, False],
        ],
    )
    def test_of_what_says_no_order(self, times: list[Any]) -> None:
        assert looked(["a", "a"], times).sentences() == []

    def test_a_time_that_is_missing_says_none(self) -> None:
        for none in ("", None):
            assert looked(["a"] * 3, ["2026-01-02", none, "2026-01-01"]).sentences() == []

    def test_daylight_saving_ends(self) -> None:
        """The clock goes back, the time does not."""
        times = ["2026-10-25T02:59:00+02:00", "2026-10-25T02:01:00+01:00"]
        assert looked(["a", "a"], times).sentences() == []


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2026-01-31", "ISO8601"),
        ("12:30", "clock"),
        ("31.01.2026 12:30", "%d.%m.%Y %H:%M"),
        ("31.01.2026 12:30:01.5", "%d.%m.%Y %H:%M:%S.%f"),
        ("-3.5", "number"),
        ("1.7672256e+09", "number"),
        ("31/01/2026", None),
        ("soon", None),
    ],
)
def test_forms(text: str, form: str | None) -> None:
    assert form_of(text) == form
