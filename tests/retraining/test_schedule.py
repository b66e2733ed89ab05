"""A clock that runs one command at a time and stops when it is told to."""

import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

import checkout
import pytest

from birnn.errors import ParamsError
from birnn.retraining import notifications, schedule

SLOW = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(60)"
EVERY_SECOND = """
import sys
from datetime import timedelta

from birnn.retraining import schedule
from birnn.retraining.cron import Cron

Cron.after = lambda _, moment: moment + timedelta(seconds=1)  # not to wait for a minute
"""
CLOCK = f"""{EVERY_SECOND}
schedule.run("* * * * *", sys.argv[1:])
"""


@pytest.mark.parametrize("cron", ["", "61 3 * * *", "0 3 31 2 *"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(ParamsError, match="--cron: expected a cron expression"):
        schedule.run(cron, ["true"])


class TestJob:
    @pytest.mark.parametrize(
        ("ends", "told"),
        [
            ("os._exit(1)", [2, 3]),
            ("os.kill(os.getpid(), 9)", [1, 2, 3]),
            ("os._exit(0)", []),
            ("os._exit(143)", []),
        ],
    )
    def test_tells_of_what_the_command_cannot_tell(
        self, monkeypatch: pytest.MonkeyPatch, ends: str, told: list[int]
    ) -> None:
        """That it was killed, and that it fails again and again."""
        sent: list[tuple[str, str]] = []
        monkeypatch.setattr(notifications, "send", lambda _, body, kind: sent.append((body, kind)))
        job = schedule.Job([sys.executable, "-SEc", f"import os; {ends}"])
        for _ in range(3):
            job.run()
        assert [kind for _, kind in sent] == ["failure"] * len(told)
        said = [f", {count} in a row" in body for (body, _), count in zip(sent, told, strict=True)]
        assert all(said)

    def test_says_how_the_command_failed(self, capfd: pytest.CaptureFixture[str]) -> None:
        schedule.Job([sys.executable, "-c", "raise SystemExit(3)"]).run()
        assert capfd.readouterr().out.endswith("ended with status 3\n")

    def test_that_is_over_can_be_stopped(self) -> None:
        job = schedule.Job(["true"])
        job.stop()
        job.run()
        job.stop()


def wait_for(path: Path, seconds: float) -> None:
    end = datetime.now() + timedelta(seconds=seconds)
    while not path.exists():
        assert datetime.now() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_and_the_clock(tmp_path: Path, number: signal.Signals) -> None:
    """Also where the command is at work."""
    clock = [sys.executable, "-c", CLOCK, sys.executable, "-c", SLOW]
    process = subprocess.Popen(clock, cwd=tmp_path)
    wait_for(tmp_path / "begun", 30)
    assert (tmp_path / ".birnn/schedule.json").exists()
    process.send_signal(number)
    assert process.wait(timeout=10) == 0
    assert not (tmp_path / ".birnn/schedule.json").exists()


@pytest.mark.slow
def test_retrains_at_a_tick(served: Path, tmp_path: Path) -> None:
    """Of a clock that runs faster, in a checkout in which nothing is new."""
    place = checkout.copy(served, tmp_path / "checkout")
    program = f"{EVERY_SECOND}\nfrom birnn.cli import main; main()"
    process = checkout.python(place, program, "schedule", "--cron", "* * * * *")
    assert process.stdout is not None
    said = list(takewhile(lambda line: "nothing to train" not in line, process.stdout))
    assert process.poll() is None, said  # else its output has ended, and nothing was said
    process.terminate()
    process.communicate()
    assert process.returncode == 0


@pytest.mark.long
def test_trains_and_retrains_a_minute_apart(tmp_path: Path) -> None:
    place = checkout.make(tmp_path / "checkout", checkout.table(range(200)))
    count = "import pathlib, time; pathlib.Path(f'tick-{time.time_ns()}').touch()"
    checkout.write_params(place, refresh=[sys.executable, "-c", count])
    process = checkout.command(place, "schedule", "--cron", "* * * * *")
    end = datetime.now() + timedelta(seconds=180)
    while len([*place.glob("tick-*")]) < 2:
        assert process.poll() is None
        assert datetime.now() < end
        time.sleep(0.2)
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 0
    first, second, *_ = sorted(int(path.name.split("-")[1]) for path in place.glob("tick-*"))
    assert second - first > 30e9
    assert "promoted: Version 1 serves now" in output
