"""The clock of one machine: a command at the times of a cron expression, one at a time.

    run("0 3 * * *", ["birnn", "retrain"])       # returns when SIGTERM or SIGINT comes

Times that passed while one was running, or while the machine slept, are made up for by one run. The
command is a process of its own, so that nothing it does can stop the clock.

The clock notes the next time in the checkout until it is told to stop; so `birnn status` sees that
a clock was killed, and the next clock tells people.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from birnn.files import console, records
from birnn.retraining import cron as crontab
from birnn.retraining import notifications
from birnn.retraining.cron import Cron
from birnn.tracking import store

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger


INTERRUPTED = {128 + signal.SIGINT, 128 + signal.SIGTERM}  # which is no failure


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
        self.failures = self.failures + 1 if status and status not in INTERRUPTED else 0
        if not status:
            return
        said = f"ended with status {status}"
        console.say(f"{' '.join(self.command)}: {said}")
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
    times = crontab.parse(cron)
    from apscheduler.schedulers.background import BackgroundScheduler

    _tell_missed()
    job, stop, scheduler = Job(command), threading.Event(), BackgroundScheduler()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    once_late = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}

    def tick() -> None:
        _note(cron, times)
        job.run()

    scheduler.add_job(tick, _trigger(times), **once_late)
    _note(cron, times)
    scheduler.start()
    stop.wait()
    scheduler.pause()
    job.stop()
    scheduler.shutdown()
    _path().unlink(missing_ok=True)


def _trigger(times: Cron) -> BaseTrigger:
    """The times as APScheduler asks for them; it compares times of one zone by the wall clock."""
    from apscheduler.triggers.base import BaseTrigger

    class Trigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
        def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
            following = times.after(max(previous, now) if previous else now)
            return None if following is None else following.astimezone(UTC)

    return Trigger()


def due() -> Due | None:
    """When the clock of this checkout will run its command; None without a clock."""
    return records.read(_path(), Due) if _path().exists() else None


def _note(cron: str, times: Cron) -> None:
    if (following := times.after(datetime.now().astimezone())) is not None:
        records.write(_path(), Due(cron, following.isoformat(timespec="seconds")))


def _tell_missed() -> None:
    """Tell people of a time that passed because the clock before this one was killed."""
    if (missed := due()) is not None and missed.passed:
        body = f"The clock was killed: what was due at {missed.time} did not happen."
        console.say(body)
        notifications.send("birnn schedule: missed", body, "failure")


def _path() -> Path:
    return store.root() / store.STATE / "schedule.json"
