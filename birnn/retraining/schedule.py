"""The clock of one machine: a command at the times of a cron expression, one at a time.

    run("0 3 * * *", ["birnn", "retrain"])       # returns when SIGTERM or SIGINT comes

Times that passed while one was running, or while the machine slept, are made up for by one run. The
command is a process of its own, so that nothing it does can stop the clock.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Sequence

from birnn.errors import ParamsError

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class Job:
    """A command that runs again and again, and can be ended.

    Attributes:
        command: its words.
        process: the newest one.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Run the command to its end, and say how it ended where that is not status 0."""
        self.process = subprocess.Popen(self.command)
        if status := self.process.wait():
            print(f"{' '.join(self.command)}: ended with status {status}", flush=True)

    def stop(self) -> None:
        """Pass SIGTERM on to the command if it runs, and wait for its end."""
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
    job, stop, scheduler = Job(command), threading.Event(), BackgroundScheduler()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    once_late = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    scheduler.add_job(job.run, trigger, **once_late)
    scheduler.start()
    stop.wait()
    scheduler.pause()
    job.stop()
    scheduler.shutdown()


def with_named_days(cron: str) -> str:
    """Name the days of the week: to cron Sunday is 0 and 7, and APScheduler counts from Monday."""
    *fields, days = cron.split() or [""]
    named = re.sub(r"(?<![/\d])[0-7](?!\d)", lambda found: DAYS[int(found[0]) % 7], days)
    return " ".join([*fields, named])
