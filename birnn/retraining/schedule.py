"""The clock of one machine: a command at the times of a cron expression, one at a time.

    run("0 3 * * *", ["birnn", "retrain"])       # returns when SIGTERM or SIGINT comes

Times that passed while one was running, or while the machine slept, are made up for by one run. The
command is a process of its own, so that nothing it does can stop the clock.

The clock notes the next time in the checkout until it is told to stop; so `birnn status` sees that
a clock was killed, and the next clock tells people.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from birnn.errors import ParamsError
from birnn.files import records
from birnn.retraining import notifications
from birnn.tracking import store

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class Due:
    """When a clock will run its command.

    Attributes:
        cron: its cron expression.
        time: the next time; ISO 8601, with the offset from UTC.
    """

    cron: str
    time: str

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return datetime.fromisoformat(self.time) < datetime.now().astimezone()


class Job:
    """A command that runs again and again, and can be ended.

    Attributes:
        command: its words.
        process: the newest one.
        failures: how many have failed one after the other.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self._stopped = False

    def run(self) -> None:
        """Run the command to its end, and say how it ended where that is not status 0.

        People are told where the command cannot have told them itself, because it was killed, and
        where it failed again.
        """
        self.process = subprocess.Popen(self.command)
        status = self.process.wait()
        self.failures = self.failures + 1 if status else 0
        if not status:
            return
        said = f"ended with status {status}"
        print(f"{' '.join(self.command)}: {said}", flush=True)
        if not self._stopped and (status < 0 or self.failures > 1):
            body = f"{self.command[-1]} {said}, {self.failures} in a row; `birnn status` says more"
            notifications.send("birnn schedule: failed", body, "failure")

    def stop(self) -> None:
        """Pass SIGTERM on to the command if it runs, and wait for its end."""
        self._stopped = True
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def run(cron: str, command: Sequence[str]) -> None:
    """Run a command at the times of a cron expression, until SIGTERM or SIGINT.

    A command that runs then gets SIGTERM, and is waited for.

    Args:
        cron: minute, hour, day of the month, month, day of the week; in local time.
        command: its words.

    Raises:
        ParamsError: `cron` is not a cron expression, or APScheduler is not installed.
    """
    try:
        from apscheduler.schedulers.background import BackgroundScheduler
        from apscheduler.triggers.cron import CronTrigger
    except ImportError:
        raise ParamsError(
            "expected APScheduler, found none; pip install 'birnn[retrain]'"
        ) from None
    try:
        trigger = CronTrigger.from_crontab(with_named_days(cron))
    except ValueError as error:
        raise ParamsError(f"--cron: expected a cron expression, found {cron!r}: {error}") from None
    _tell_missed()
    job, stop, scheduler = Job(command), threading.Event(), BackgroundScheduler()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    once_late = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}

    def tick() -> None:
        _note(cron, trigger)
        job.run()

    scheduler.add_job(tick, trigger, **once_late)
    _note(cron, trigger)
    scheduler.start()
    stop.wait()
    scheduler.pause()
    job.stop()
    scheduler.shutdown()
    _path().unlink(missing_ok=True)


def due() -> Due | None:
    """When the clock of this checkout will run its command; None without a clock."""
    return records.read(_path(), Due) if _path().exists() else None


def _note(cron: str, trigger: Any) -> None:
    now = datetime.now(trigger.timezone)
    following = trigger.get_next_fire_time(now, now)
    if following is None:  # such as the 30th of February
        return
    records.write(_path(), Due(cron, following.isoformat(timespec="seconds")))


def _tell_missed() -> None:
    """Tell people of a time that passed because the clock before this one was killed."""
    if (missed := due()) is not None and missed.passed:
        body = f"The clock was killed: what was due at {missed.time} did not happen."
        print(body, flush=True)
        notifications.send("birnn schedule: missed", body, "failure")


def _path() -> Path:
    return store.root() / store.STATE / "schedule.json"


def with_named_days(cron: str) -> str:
    """Name the days of the week: to cron Sunday is 0 and 7, and APScheduler counts from Monday."""
    *fields, days = cron.split() or [""]
    named = re.sub(r"(?<![/\d])[0-7](?!\d)", lambda found: DAYS[int(found[0]) % 7], days)
    return " ".join([*fields, named])
