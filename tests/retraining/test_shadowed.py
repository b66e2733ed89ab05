"""How a decision speaks of recent sequences, and that they stop none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from birnn.params import Params
from birnn.retraining.attempts import Attempt
from birnn.retraining.shadowed import shadowed
from birnn.tracking.registry import Registry

RECENT = "sequence,x,y\n" + "".join(f"s{n},{n},1\n" for n in range(20))


@pytest.fixture
def attempt(
    known: Registry, tmp_path: Path, small_params: Callable[[], dict[str, Any]]
) -> Callable[..., Attempt]:
    """Makes one that has version 1 as its champion."""

    def make(file: str | None, *, champion: bool = True) -> Attempt:
        tree = small_params() | {"problem": "problem", "retrain": {"shadow": file}}
        chosen = Params.model_validate(tree)
        return Attempt(
            name="one",
            chosen=chosen,
            registry=known,
            champion=known.version(1) if champion else None,
            reproduce=lambda *_: None,
        )

    return make


def test_compares_the_two_versions(
    attempt: Callable[..., Attempt], known: Registry, tmp_path: Path
) -> None:
    (tmp_path / "recent.csv").write_text(RECENT)
    said = shadowed(attempt(str(tmp_path / "recent.csv")), known.version(2))["shadow"]
    assert said.startswith("version 2 of problem answers 100.0 % (")
    assert known.version(2).tags["shadow"] == said


def test_says_nothing_without_a_file_or_a_champion(
    attempt: Callable[..., Attempt], known: Registry
) -> None:
    assert shadowed(attempt(None), known.version(2)) == {}
    assert shadowed(attempt("recent.csv", champion=False), known.version(1)) == {}


@pytest.mark.parametrize("content", [None, "", "sequence,x\ns,1\n"])
def test_a_file_that_cannot_be_read_stops_nothing(
    attempt: Callable[..., Attempt], known: Registry, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "recent.csv").write_text(content)
    said = shadowed(attempt(str(tmp_path / "recent.csv")), known.version(2))["shadow"]
    assert said.startswith("Not known how answers would change: ")
    assert "recent.csv" in said
