"""Work on a stream in several threads, with the same result as in one.

    for result in threads.mapped(function, items): ...     # many items at a time, results in order
    for item in threads.ahead(items): ...                  # another thread makes a few in advance
    for item in threads.aside(function, items): ...        # another thread works on what passes

Results come in the order of the items, and what has to see one item after the other sees them in
that order. So no byte of what is made depends on the number of threads. A few items are held at a
time. numpy and pyarrow let go of the interpreter's lock while they compute, so threads suffice.

There are as many threads as pyarrow, torch and the kernel use: what the environment variable
OMP_NUM_THREADS says, or else as many as there are CPUs that the process may use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 8  # threads; more would only wait for what must be done in order, and hold more items
AHEAD = 2  # items that lie between two threads


def keep_memory() -> None:
    """Let pyarrow take memory from the system's allocator, which keeps what is free for what comes.

    Its own pool hands memory back as soon as it is free, and pays for each page again: a tenth of
    the time of a stage that works on chunks of one size. Where sizes vary, as in readers of text,
    the system's keeps more with every million rows.
    """
    pa.set_memory_pool(pa.system_memory_pool())


def count() -> int:
    """How many threads to compute in, 1 or more."""
    cpus: int = pa.cpu_count()
    return min(cpus, MOST)


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """Call a function with each item, several at a time, and give the results in order.

    Args:
        function: what it returns depends on its item alone.
        items: taken by the thread that takes the results.

    Raises:
        Exception: what the first of the items raises, or the function for it, once the results
            before it are taken.
    """
    if count() == 1:
        yield from map(function, items)
        return
    with _pool(count()) as pool:
        yield from in_order(lambda item: pool.submit(function, item), items)


def in_order(
    begin: Callable[[Item], Future[Result]], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """Begin the work on some items more than there are threads, and give the results in order."""
    waiting: deque[Future[Result] | Exception] = deque()
    for _, future in begun(begin, items):
        waiting.append(future)
        if len(waiting) > count():
            yield _result(waiting.popleft())
    while waiting:
        yield _result(waiting.popleft())


def _result(future: Future[Result] | Exception) -> Result:
    if isinstance(future, Exception):
        raise future
    return future.result()


def begun(
    begin: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item | None, Result | Exception]]:
    """Begin the work on items, and give each beside what `begin` returns, to wait for.

    If an item cannot be made or begun, the last thing given is the reason, which waits for its
    turn.
    """
    try:
        for item in items:
            yield item, begin(item)
    except Exception as error:  # noqa: BLE001  it is raised again, in its turn
        yield None, error


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Let another thread make a few items before they are asked for."""
    if count() == 1:
        yield from items
        return
    source, end = iter(items), object()
    try:
        with _pool(1) as pool:
            waiting = deque(pool.submit(next, source, end) for _ in range(AHEAD))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, source, end))
                yield item  # type: ignore[misc]
    finally:
        if isinstance(source, Generator):
            source.close()  # whoever stops early closes the files that it has opened


def aside(function: Callable[[Item], object], items: Iterable[Item]) -> Iterator[Item]:
    """Pass items on while another thread calls a function with each, one after the other.

    Raises:
        Exception: what the items or the function raise.
    """
    if count() == 1:
        for item in items:
            function(item)
            yield item
        return
    waiting: deque[Future[object]] = deque()
    with _pool(1) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD:
                waiting.popleft().result()
            yield item
        while waiting:
            waiting.popleft().result()


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads that have ended when the block has: what waits is dropped if it fails."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
