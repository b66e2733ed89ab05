"""Streams through threads: the order, the failures and the end of what one thread would give."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.files import threads

Way = Callable[[Iterable[int]], Iterator[int]]


def doubled(number: int) -> int:
    if number < 0:
        raise ValueError(f"negative: {number}")
    time.sleep(0.001 * (number % 3))  # later ones may be done first
    return 2 * number


WAYS: dict[str, Way] = {
    "mapped": lambda items: (one // 2 for one in threads.mapped(doubled, items)),
    "ahead": threads.ahead,
    "aside": lambda items: threads.aside(doubled, items),
}


@pytest.fixture(params=[1, 2, 5], autouse=True)
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pa, "cpu_count", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize("way", WAYS)
class TestAll:
    def test_give_the_items_in_order(self, way: str) -> None:
        assert list(WAYS[way](range(30))) == list(range(30))
        assert list(WAYS[way]([])) == []

    def test_raise_what_the_items_raise_after_what_came_before(self, way: str) -> None:
        def items() -> Iterator[int]:
            yield from range(3)
            raise OSError("broken")

        taken: list[int] = []
        with pytest.raises(OSError, match="broken"):
            taken.extend(WAYS[way](items()))
        assert taken == [0, 1, 2]

    def test_hold_a_few_items_at_a_time(self, way: str, count: int) -> None:
        made = 0

        def items() -> Iterator[int]:
            nonlocal made
            for number in range(1000):
                made = number + 1
                yield number

        stream = WAYS[way](items())
        next(stream)
        time.sleep(0.01)
        assert made <= count + threads.AHEAD + 1

    def test_end_their_threads_and_the_items_when_left_early(self, way: str) -> None:
        closed, before = [], threading.active_count()

        def items() -> Iterator[int]:
            try:
                yield from range(1000)
            finally:
                closed.append(True)

        stream = WAYS[way](items())
        assert next(stream) == 0
        stream.close()  # type: ignore[attr-defined]
        del stream
        assert (closed, threading.active_count()) == ([True], before)


def test_mapped_raises_for_the_first_item_that_fails() -> None:
    """Even where a later one, or what gives the items, fails sooner."""

    def items() -> Iterator[int]:
        yield from (1, -2, -3)
        raise OSError("broken")

    with pytest.raises(ValueError, match="negative: -2"):
        list(threads.mapped(doubled, items()))


def test_aside_raises_what_the_function_raises() -> None:
    with pytest.raises(ValueError, match="negative: -1"):
        list(threads.aside(doubled, [3, 2, 1, -1]))


def test_aside_has_worked_on_every_item_at_the_end() -> None:
    seen: list[int] = []
    for _ in threads.aside(seen.append, range(20)):
        pass
    assert seen == list(range(20))


@settings(deadline=None)  # it starts threads, which other processes may hold up
@given(items=st.lists(st.integers(0, 9), max_size=20))
def test_ways_can_be_chained(items: list[int]) -> None:
    seen: list[int] = []
    stream = threads.aside(seen.append, threads.mapped(doubled, threads.ahead(items)))
    assert list(stream) == [2 * one for one in items] == seen


def test_count_is_that_of_pyarrow_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for cpus in (1, 3, 500):
        monkeypatch.setattr(pa, "cpu_count", lambda cpus=cpus: cpus)
        found.append(threads.count())
    assert found == [1, 3, threads.MOST]
