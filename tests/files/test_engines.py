"""An engine changes who works, and nothing else; `tests/test_ray.py` has Ray."""

import operator
import os
import sys

import pyarrow as pa
import pytest

from birnn.errors import EngineError
from birnn.files import cluster, engines, processes


def doubled(number: int) -> int:
    return 2 * number


def test_local_is_this_process() -> None:
    with engines.chosen("local"):
        assert [*engines.mapped(doubled, range(9))] == [*range(0, 18, 2)]


@pytest.mark.skipif(not processes.FORKS, reason="elsewhere threads do the work")
def test_much_work_is_done_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pa, "cpu_count", lambda: 2)
    for steps, here in ((engines.LEAST_STEPS - 1, True), (engines.LEAST_STEPS, False)):
        found = {*engines.mapped(lambda _: os.getpid(), range(5), steps=steps)}
        assert (found == {os.getpid()}) is here


@pytest.mark.parametrize("threaded", [True, False])
def test_items_come_beside_their_results(threaded: bool) -> None:
    found = engines.paired(operator.neg, range(5), threaded=threaded)
    assert [*found] == [(number, -number) for number in range(5)]


def test_another_engine_works_until_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_elsewhere", lambda _, items: ((one, -1) for one in items))
    assert [*engines.mapped(doubled, [1])] == [-1]
    assert [*engines.paired(doubled, [1])] == [(1, -1)]
    assert [*engines.paired(doubled, [1], portable=False)] == [(1, 2)]


def test_without_ray_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'birnn\[ray\]'"), engines.chosen("ray"):
        pass


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("127.0.0.1:9", "expected a Ray cluster at 127.0.0.1:9, found none"),
        ("ray://127.0.0.1:10001", "expected HOST:PORT, auto or local, found 'ray://"),
        ("somewhere", "expected HOST:PORT, auto or local"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, address: str, complaint: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EngineError, match=complaint) as raised, cluster.connected():
        pass
    assert "\n" not in str(raised.value)


def test_another_version_is_one_line() -> None:
    (name, here), *others = cluster.versions()
    assert name == "birnn"
    cluster.check_versions(((name, here), *others))
    with pytest.raises(EngineError, match=r"expected birnn 0.1 on every machine, found"):
        cluster.check_versions((("birnn", "0.1"), *others))
