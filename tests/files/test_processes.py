"""Streams through processes: what threads would give, and how processes end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from birnn.errors import DataError, EngineError
from birnn.files import processes, threads

pytestmark = pytest.mark.skipif(not processes.FORKS, reason="elsewhere threads do the work")


def doubled(number: int) -> int:
    if number < 0:
        raise DataError(f"negative: {number}")
    time.sleep(0.001 * (number % 3))  # later ones may be done first
    return 2 * number


@pytest.fixture(params=[2, 3], autouse=True)
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pa, "cpu_count", lambda: request.param)
    return int(request.param)


def test_results_come_in_the_order_of_the_items() -> None:
    assert [*processes.mapped(doubled, range(30))] == [*range(0, 60, 2)]
    assert [*processes.mapped(doubled, [])] == []


def test_a_function_need_not_be_sent(count: int) -> None:
    found = {*processes.mapped(lambda _: os.getpid(), range(50))}
    assert os.getpid() not in found
    assert 1 <= len(found) <= count


def test_one_computes_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pa, "cpu_count", lambda: 1)
    assert {*processes.mapped(lambda _: os.getpid(), range(3))} == {os.getpid()}


def test_a_failure_comes_after_what_came_before() -> None:
    taken: list[int] = []
    with pytest.raises(DataError, match="negative: -1"):
        taken.extend(processes.mapped(doubled, [0, 1, 2, -1, 3]))
    assert taken == [0, 2, 4]


def test_a_failure_of_the_items_too() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("broken")

    taken: list[int] = []
    with pytest.raises(OSError, match="broken"):
        taken.extend(processes.mapped(doubled, items()))
    assert taken == [0, 2, 4]


def test_none_is_left_when_the_stream_is_left() -> None:
    stream = processes.mapped(lambda _: os.getpid(), range(1000))
    worker = next(stream)
    os.kill(worker, 0)
    stream.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_one_that_is_killed_is_one_line() -> None:
    def dies(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(
        EngineError, match=r"^a process .* was ended from outside, perhaps for lack"
    ):
        list(processes.mapped(dies, range(9)))


def test_each_computes_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    before = pa.cpu_count()
    pa.set_cpu_count(2)
    try:
        assert {*processes.mapped(lambda _: threads.count(), range(9))} == {1}
        assert threads.count() == 2
    finally:
        pa.set_cpu_count(before)


SLEEPERS = """
import os, time
import pyarrow as pa
from birnn.files import processes

pa.set_cpu_count(2)

def sleep(number):
    os.write(1, b"%d\\n" % os.getpid())  # at once, or lines of two would mix
    time.sleep(60)

list(processes.mapped(sleep, range(2)))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_none_outlives_the_one_that_began_it(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLEEPERS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as began:
        assert began.stdout is not None
        workers = [int(began.stdout.readline()) for _ in range(2)]
        began.send_signal(number)
        began.wait(20)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{one}").exists() for one in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{one}").exists() for one in workers)
