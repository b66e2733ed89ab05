"""Work in several processes of this machine, for items that are small and take long.

    for result in processes.mapped(function, items): ...

Threads share the interpreter's lock, and with it wait for each other a thousand times a second; to
make a part of a table in each of two takes three quarters of the time of one. Processes are forked,
so that they begin at once, with all that is imported, and a function need not be sent to them.

What a result is depends on its item alone, so no byte depends on how many processes there are.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa

from birnn.errors import EngineError
from birnn.files import threads

Item = TypeVar("Item")
Result = TypeVar("Result")

FORKS = sys.platform == "linux"  # elsewhere a process begins with nothing
PR_SET_PDEATHSIG = 1  # of Linux's prctl

_function: Callable[[Any], Any] | None = None  # of a process that works


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """Call a function with each item, in as many processes as there are threads to compute in.

    Args:
        function: what it returns depends on its item alone. It opens no connection that was opened
            before.
        items: taken one after the other, and sent.

    Raises:
        Exception: see `birnn.files.threads.mapped`.
        EngineError: a process was ended from outside.
    """
    if threads.count() == 1 or not FORKS:
        yield from threads.mapped(function, items)
        return
    try:
        with _pool(function) as pool:
            yield from threads.in_order(lambda item: pool.submit(_call, item), items)
    except BrokenProcessPool:
        raise EngineError(
            "a process that worked on parts of the data was ended from outside, perhaps for lack "
            "of memory; lower run.part_steps, or set OMP_NUM_THREADS to fewer processes"
        ) from None


@contextmanager
def _pool(function: Callable[[Any], Any]) -> Iterator[ProcessPoolExecutor]:
    """Give processes that have ended when the block has: what waits is dropped if it fails."""
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(threads.count(), fork, _begin, (function, os.getpid()))
    try:
        with warnings.catch_warnings():  # of threads, which hold no lock of ours
            warnings.simplefilter("ignore", DeprecationWarning)
            pool.submit(int).result()  # all are forked here
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(function: Callable[[Any], Any], parent: int) -> None:
    """Begin to work: in one thread, without a say in how the whole ends, and never without it."""
    global _function
    _function = function
    pa.set_cpu_count(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended meanwhile
        os._exit(1)


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)
