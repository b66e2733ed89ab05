"""Where the items of a stream are worked on: on this machine, or on those of a Ray cluster.

    with engines.chosen("ray"):                       # `run.engine` of params.yaml
        for result in engines.mapped(function, items): ...

Results come in the order of the items, and each depends on its item alone. So no byte of what is
made depends on the engine, on how many work, on who is done first, or on who dies meanwhile.

A function is worth sending elsewhere where it takes longer than its item does to travel. What does
not goes through `birnn.files.threads` whatever the engine is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from birnn.files import processes, threads

Item = TypeVar("Item")
Result = TypeVar("Result")
Name = Literal["local", "ray"]
LEAST_STEPS = 4_000_000
"""Of data that items describe, for which processes are worth it; to begin two takes 0.1 s."""
Paired = Callable[[Callable[[Any], Any], Iterable[Any]], Generator[tuple[Any, Any], None, None]]

_elsewhere: Paired | None = None


@contextmanager
def chosen(name: Name) -> Iterator[None]:
    """Let an engine work on what passes through `mapped` and `paired`, until the block ends.

    Raises:
        EngineError: there is no such engine here; see `birnn.files.cluster.connected`.
    """
    global _elsewhere
    if name == "local":
        yield
        return
    from birnn.files import cluster

    with cluster.connected():
        before, _elsewhere = _elsewhere, cluster.paired
        try:
            yield
        finally:
            _elsewhere = before


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item], *, steps: int = 0
) -> Generator[Result, None, None]:
    """Call a function with each item, several at a time, and give the results in order.

    Args:
        function: what it returns depends on its item alone. It is sent once to each process that
            works.
        items: taken one after the other; a few more than there are workers are held.
        steps: of the data on this machine's disk that the items describe; 0 where they are data, or
            lie elsewhere.

    Raises:
        Exception: what the first of the items raises, or the function for it, once the results
            before it are taken.
    """
    if _elsewhere is None:
        here = threads.mapped if steps < LEAST_STEPS else processes.mapped
        return here(function, items)
    return (result for _, result in _elsewhere(function, items))


def paired(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threaded: bool = True,
    portable: bool = True,
) -> Generator[tuple[Item, Result], None, None]:
    """The same, and give each item beside its result, without sending it back.

    Args:
        function: see `mapped`.
        items: see `mapped`.
        threaded: whether several threads gain anything here; not where the function itself uses all
            cores.
        portable: whether another machine computes the same bytes; all is done here where not.
    """
    if _elsewhere is not None and portable:
        return _elsewhere(function, items)
    if threaded:
        return threads.mapped(lambda item: (item, function(item)), items)
    return ((item, function(item)) for item in items)
