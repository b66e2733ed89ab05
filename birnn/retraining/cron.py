"""The times of a cron expression, as cron itself understands it.

    every = parse("30 2 1 * mon")       # the first of each month, and each Monday
    every.after(datetime.now().astimezone())

APScheduler finds the dates; where its rules are others than those of cron (`man 5 crontab`, `man 8
cron` of Vixie cron), this module has cron's:

- Where day of the month and day of the week are both given, either will do.
- The days of the week count from Sunday, which is 0 and 7.
- Where clocks go back, a time of the hour that comes twice is one time; where they go forward, a
  time that does not exist is made up for. Only what runs at every hour or minute goes by real time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from birnn.errors import ParamsError

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
SHIFT = timedelta(hours=3)  # that clocks go back or forward by at most
TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """When something is to happen.

    Attributes:
        walls: APScheduler's triggers, any of which will do, as if clocks never changed.
        zone: the time zone of the clock on the wall.
        repeats: whether what comes in an hour that comes twice comes twice as well.
    """

    walls: tuple[Any, ...]
    zone: tzinfo
    repeats: bool

    def after(self, moment: datetime) -> datetime | None:
        """The first time after a moment, in local time; None if none ever comes.

        Args:
            moment: with its offset from UTC.
        """
        begin = moment.astimezone(self.zone).replace(tzinfo=None) - SHIFT
        first: datetime | None = None
        for wall in self._shown(begin):
            if first is not None and wall > first.replace(tzinfo=None) + SHIFT:
                break
            later = [time for time in self._times(wall) if _utc(time) > _utc(moment)]
            first = min([*later, *([first] if first else [])], key=_utc, default=None)
        return first

    def _shown(self, begin: datetime) -> Iterator[datetime]:
        """What a clock on the wall shows at all times from one on."""
        now = begin.replace(tzinfo=UTC)
        while True:
            found = [wall.get_next_fire_time(None, now) for wall in self.walls]
            times = [time for time in found if time is not None]
            if not times:
                return
            yield min(times).replace(tzinfo=None)
            now = min(times) + TICK

    def _times(self, wall: datetime) -> Iterator[datetime]:
        """The moments at which a clock shows that; where it never does, the one that would."""
        first, again = (wall.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1))
        yield _utc(first).astimezone(self.zone)
        if self.repeats and _utc(again) > _utc(first):
            yield _utc(again).astimezone(self.zone)


def _utc(time: datetime) -> datetime:
    """Moments of one zone compare by what the wall shows; in UTC by when they are."""
    return time.astimezone(UTC)


def parse(cron: str, zone: tzinfo | None = None) -> Cron:
    """Read a cron expression.

    Args:
        cron: minute, hour, day of the month, month, day of the week.
        zone: the time zone; this machine's where None.

    Raises:
        ParamsError: it is none, its time never comes, or APScheduler is not installed.
    """
    try:
        from apscheduler.triggers.cron import CronTrigger
        from tzlocal import get_localzone
    except ImportError:
        raise ParamsError(
            "expected APScheduler, found none; pip install 'birnn[retrain]'"
        ) from None
    expected = "--cron: expected a cron expression"
    try:
        walls = [
            CronTrigger.from_crontab(" ".join(fields), timezone=UTC)
            for fields in _alternatives(cron)
        ]
    except ValueError as error:
        raise ParamsError(f"{expected}, found {cron!r}: {error}") from None
    minute, hour, *_ = cron.split()
    repeats = minute.startswith("*") or hour.startswith("*")
    found = Cron(tuple(walls), zone or get_localzone(), repeats)
    if found.after(datetime.now(UTC)) is None:
        raise ParamsError(f"{expected} whose time comes, found {cron!r}: there is no such day")
    return found


def _alternatives(cron: str) -> Iterator[list[str]]:
    """The expressions of which any will do: two where both days are given, which cron reads so."""
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(f"expected five fields, found {len(fields)}")
    *time, day, month, weekday = fields
    weekday = named_days(weekday)
    if day.startswith("*") or fields[4].startswith("*"):
        yield [*time, day, month, weekday]
    else:
        yield [*time, day, month, "*"]
        yield [*time, "*", month, weekday]


def named_days(field: str) -> str:
    """Name the days of the week one by one: APScheduler counts them from Monday, cron from Sunday.

    Raises:
        ValueError: there is no such day.
    """
    if field == "*":
        return field
    numbers = {number for part in field.split(",") for number in _numbers(part)}
    return ",".join(DAYS[number] for number in sorted(numbers))


def _numbers(part: str) -> Iterator[int]:
    """The days that `2`, `1-5`, `fri-sun`, `*/2` or `1-5/2` stand for."""
    days, slash, step = part.partition("/")
    first, _, last = (day.strip() for day in ("0-6" if days == "*" else days).partition("-"))
    begin = _number(first)
    end = _number(last) if last else 6 if slash else begin
    if end < begin:  # up to Sunday
        end += 7
    if slash and not (step.isdecimal() and int(step)):
        raise ValueError(f"expected a step of 1 or more, found {step!r}")
    for number in range(begin, end + 1, int(step) if slash else 1):
        yield number % 7


def _number(day: str) -> int:
    if day.lower() in DAYS:
        return DAYS.index(day.lower())
    if not (day.isascii() and day.isdecimal() and int(day) <= 7):
        raise ValueError(f"expected a day of the week from 0 to 7 or {', '.join(DAYS)}")
    return int(day)
