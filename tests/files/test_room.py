"""What does not fit is refused before it is begun, in one sentence with both sizes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from birnn import params
from birnn.data.sequences import Sequences
from birnn.errors import BirnnError, ParamsError
from birnn.files import room
from birnn.model import sizes, train, training
from birnn.model.architecture import Architecture
from birnn.sources import hmm


def test_says_both_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(room, "memory", lambda: 24 * 10**9)
    monkeypatch.setattr(room, "disk", lambda _: 1_500_000_000)
    room.check_memory(23 * 10**9, "data", "lower it")
    room.check_disk(10**9, tmp_path, "data", "lower it")
    with pytest.raises(BirnnError, match="needs about 60 GB of memory; 24 are here; lower it"):
        room.check_memory(60 * 10**9, "data", "lower it")
    with pytest.raises(BirnnError, match=f"needs about 2.0 GB of disk in {tmp_path}; 1.5 are here"):
        room.check_disk(2 * 10**9, tmp_path, "data", "lower it")


def test_looks_at_this_machine(tmp_path: Path) -> None:
    assert 10**8 < room.memory() < 10**14
    assert 0 < room.disk(tmp_path / "not/there/yet") < 10**16


def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert room.memory() == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert room.memory() > 10**8


DRAWN = {
    "source": "hmm",
    "task": "tagging",
    "sequences": 1000,
    "min_steps": 10,
    "max_steps": 10,
    "features": 8,
    "classes": 5,
    "stay": 0.6,
    "separation": 3.0,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": 10**9}, "data.features: expected less than or equal to 65536"),
        ({"classes": 10**9}, "data.classes: expected less than or equal to 10000"),
        ({"sequences": 10**8, "max_steps": 100, "min_steps": 100}, "about 10,000,000,000; lower"),
        ({"min_steps": 10**9, "max_steps": 10**9}, "about 1,000,000,000,000; lower"),
        ({"features": 65_536, "classes": 10_000}, "GB of memory"),
        ({"min_steps": 10**6, "max_steps": 2**30, "mean_steps": 10**6}, "GB of memory"),
    ],
)
def test_of_data_that_are_drawn(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, int], said: str
) -> None:
    monkeypatch.setattr(room, "memory", lambda: 8 * 10**9)
    with pytest.raises((BirnnError, ParamsError)) as raised:
        next(hmm.read(params.data({**DRAWN, **changes})))  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory", lambda: 24 * 10**9)
    shape = Architecture("tagging", "LSTM", 8, 0, 20_000, 1, 0.0, bidirectional=True, classes=5)
    said = r"a model with 3,201,800,005 parameters, .* needs about 64 GB of memory; 24 are here"
    with pytest.raises(BirnnError, match=said):
        sizes.check_room(shape, steps=320)


def test_of_the_largest_batch(ragged: Callable[..., Sequences]) -> None:
    data = ragged([3, 50, 7])
    options = training.options(params.Entry(device="cpu", batch_size=2, batch_steps=60))
    assert train._most_steps(data, options) == 60
    options = training.options(params.Entry(device="cpu", batch_size=2))
    assert train._most_steps(data, options) == 100
