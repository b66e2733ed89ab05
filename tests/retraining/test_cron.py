"""When cron would run something, also where clocks go back or forward."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from birnn.errors import ParamsError
from birnn.retraining import cron

BERLIN = ZoneInfo("Europe/Berlin")  # back on 25 October 2026 at 3, forward on 28 March 2027 at 2
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def times(expression: str, begin: datetime, end: datetime) -> list[datetime]:
    """All times between two moments, in UTC."""
    every, found, moment = cron.parse(expression, BERLIN), [], begin
    while (following := every.after(moment)) is not None and following.astimezone(UTC) < end:
        found.append(following.astimezone(UTC))
        moment = following
    assert all(before < after for before, after in pairwise(found))
    return found


def minutes(begin: datetime, end: datetime) -> Iterator[datetime]:
    while begin < end:
        yield begin
        begin += timedelta(minutes=1)


def matches(field: str, value: int, least: int, most: int) -> bool:
    for part in field.split(","):
        span, _, step = part.partition("/")
        ends = f"{least}-{most}" if span == "*" else span
        first, _, last = ends.partition("-")
        if value in range(int(first), int(last or first) + 1, int(step or 1)):
            return True
    return False


def by_the_manual(expression: str, moment: datetime) -> bool:
    """Whether cron runs it in a minute of UTC; of a time that does not exist it says nothing."""
    wall = moment.astimezone(BERLIN)
    minute, hour, day, month, weekday = expression.split()
    sunday = wall.isoweekday() % 7
    in_month = matches(day, wall.day, 1, 31)
    in_week = matches(weekday, sunday, 0, 7) or (sunday == 0 and matches(weekday, 7, 0, 7))
    starred = day.startswith("*") or weekday.startswith("*")
    once = not minute.startswith("*") and not hour.startswith("*")
    return (
        matches(minute, wall.minute, 0, 59)
        and matches(hour, wall.hour, 0, 23)
        and matches(month, wall.month, 1, 12)
        and ((in_month and in_week) if starred else (in_month or in_week))
        and not (once and wall.fold)
    )


def test_are_those_of_the_manual_over_weeks_in_which_clocks_go_back() -> None:
    begin, end = datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)
    clock, draw = [*minutes(begin, end)], random.Random(0)
    for _ in range(8):
        expression = " ".join(
            [
                draw.choice(["0", "30", "*/20", "5,35", "10-12"]),
                draw.choice(["2", "*", "1-3", "2,14", "*/6"]),
                draw.choice(["*", "25", "1", "*/2", "24-26"]),
                draw.choice(["*", "10", "10-11"]),
                draw.choice(["*", "0", "7", "1-5", "*/2", "5-7", "0,3"]),
            ]
        )
        found = times(expression, begin - timedelta(microseconds=1), end)
        assert found == [one for one in clock if by_the_manual(expression, one)], expression


class TestDays:
    def test_either_will_do_where_both_are_given(self) -> None:
        """APScheduler takes a Monday that is the first of a month alone."""
        begin = datetime(2026, 11, 1, tzinfo=BERLIN)
        found = times("0 3 1 * 1", begin, begin + timedelta(days=31))
        days = [one.astimezone(BERLIN).day for one in found]
        assert days == [1, 2, 9, 16, 23, 30, 1]

    @pytest.mark.parametrize(
        ("field", "named"),
        [
            ("*", "*"),
            ("0", "sun"),
            ("7", "sun"),
            ("1-5", "mon,tue,wed,thu,fri"),
            ("1,3,5", "mon,wed,fri"),
            ("*/2", "sun,tue,thu,sat"),
            ("0-6", ",".join(DAYS)),
            ("5-7", "sun,fri,sat"),
            ("fri-sun", "sun,fri,sat"),
            ("fri-mon", "sun,mon,fri,sat"),
            ("MON", "mon"),
            ("1-5/2", "mon,wed,fri"),
            ("2/2", "tue,thu,sat"),
        ],
    )
    def test_of_the_week_are_those_of_cron(self, field: str, named: str) -> None:
        assert cron.named_days(field) == named

    def test_sunday_is_sunday(self) -> None:
        found = cron.parse("0 3 * * 0").after(datetime.now().astimezone())
        assert found is not None
        assert found.strftime("%A %H:%M") == "Sunday 03:00"


class TestClocksThatChange:
    def test_run_once_what_comes_twice(self) -> None:
        begin = datetime(2026, 10, 24, 12, tzinfo=BERLIN)
        found = times("30 2 * * *", begin, begin + timedelta(days=3))
        assert [one.isoformat() for one in found] == [
            "2026-10-25T00:30:00+00:00",
            "2026-10-26T01:30:00+00:00",
            "2026-10-27T01:30:00+00:00",
        ]

    def test_run_by_real_time_what_runs_each_hour(self) -> None:
        begin = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
        found = times("0 * * * *", begin, begin + timedelta(hours=5))
        assert [one.hour for one in found] == [23, 0, 1, 2, 3]
        begin = datetime(2027, 3, 27, 22, 30, tzinfo=UTC)
        found = times("0 * * * *", begin, begin + timedelta(hours=5))
        assert [one.hour for one in found] == [23, 0, 1, 2, 3]

    def test_make_up_for_a_time_that_does_not_exist(self) -> None:
        begin = datetime(2027, 3, 27, 12, tzinfo=BERLIN)
        found = times("30 2 * * *", begin, begin + timedelta(days=3))
        assert [one.isoformat() for one in found] == [
            "2027-03-28T01:30:00+00:00",
            "2027-03-29T00:30:00+00:00",
            "2027-03-30T00:30:00+00:00",
        ]

    @pytest.mark.parametrize("expression", ["*/15 * * * *", "*/15 2 * * *", "15 2,3 * * *"])
    @pytest.mark.parametrize("day", [datetime(2026, 10, 25, 3), datetime(2027, 3, 28, 3)])
    def test_let_no_time_come_before_its_moment(self, expression: str, day: datetime) -> None:
        every = cron.parse(expression, BERLIN)
        begin = day.replace(tzinfo=BERLIN).astimezone(UTC) - timedelta(hours=4)
        for moment in minutes(begin, begin + timedelta(hours=6)):
            following = every.after(moment)
            assert following is not None
            assert following.astimezone(UTC) > moment


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "expected five fields, found 0"),
        ("every night", "expected five fields, found 2"),
        ("0 3 * *", "expected five fields, found 4"),
        ("61 3 * * *", "found '61 3 * * *': "),
        ("0 3 * * 8", "expected a day of the week from 0 to 7 or sun, mon"),
        ("0 3 * * */0", "expected a step of 1 or more, found '0'"),
        ("0 3 * * 1-5/x", "expected a step of 1 or more, found 'x'"),
        ("0 3 31 2 *", "whose time comes, found '0 3 31 2 *': there is no such day"),
        ("0 3 31 4,6,9,11 *", "there is no such day"),
        ("0 3 30 2 */2", "there is no such day"),
    ],
)
def test_of_what_is_none_are_refused(expression: str, message: str) -> None:
    with pytest.raises(ParamsError, match="--cron: expected a cron expression") as refused:
        cron.parse(expression)
    assert message in str(refused.value)


def test_leap_days_come() -> None:
    found = cron.parse("0 3 29 2 *").after(datetime(2026, 11, 1, tzinfo=UTC))
    assert found is not None
    assert found.date().isoformat() == "2028-02-29"
