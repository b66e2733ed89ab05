"""A limit of time for a user's regular expression, which may be so bad that it would never end.

    with limit(10, lambda: "data.pattern: expected ..., found ..."):
        pattern.findall(text)

Python can end a search in its main thread alone.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from birnn.errors import DataError


@contextmanager
def limit(seconds: float, message: Callable[[], str]) -> Iterator[None]:
    """End what the block does when it has computed for too long; nothing in other threads.

    Args:
        seconds: of the process's CPUs, outside of the system.
        message: what to say then.

    Raises:
        DataError: says it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise DataError(message())

    before = signal.signal(signal.SIGVTALRM, end)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
