"""A season of weekly retrainings, and kills at random moments; `make soak` makes it a year."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import checkout
import numpy as np
import pandas as pd
import pytest
import torch

from birnn import (
    attempts,
    decisions,
    judging,
    metrics,
    model,
    params,
    registry,
    retraining,
    splits,
    workspace,
)
from birnn.errors import RetrainingError
from birnn.judging import Chunk
from birnn.registry import Registry

WEEKS = int(os.environ.get("BIRNN_SOAK_WEEKS", "13"))
KILLS = int(os.environ.get("BIRNN_SOAK_KILLS", "10"))
MARGIN = 0.05
KEPT_WEEKS, A_WEEK = 5, 80  # of data, and sequences of each
FLIPPED, BROKEN, SHRUNKEN, IDENTICAL, KILLED = (WEEKS * part // 13 for part in (3, 5, 7, 9, 11))
pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with the data of the first week."""
    found = checkout.make(tmp_path / "checkout", week(0), margin=MARGIN)
    monkeypatch.chdir(found)
    monkeypatch.setattr(workspace, "dvc", checkout.dvc)
    for name, value in checkout.environment(found).items():
        monkeypatch.setenv(name, value)
    yield found
    shutil.rmtree(tmp_path)


def week(number: int) -> pd.DataFrame:
    """The data of a week and of those before it; they move slowly, by two deviations in a year."""
    rows = recent(number - (number == IDENTICAL))
    return checkout.flipped(rows) if number == FLIPPED else rows


def recent(number: int) -> pd.DataFrame:
    """What came in that week and in those before it."""
    return pd.concat(delivered(one) for one in range(number, number + KEPT_WEEKS))


def delivered(number: int) -> pd.DataFrame:
    """What came in one week."""
    sequences = range(A_WEEK * number, A_WEEK * (number + 1))
    few = (0.48, 0.48, 0.04) if number == SHRUNKEN + KEPT_WEEKS - 1 else ()
    return checkout.table(sequences, shift=number / 26, shares=few)


def retrain() -> str:
    return retraining.retrain(params.load(), reproduce=checkout.reproduce).decision


class Service:
    """What is served, as a user finds it in the registry."""

    def __init__(self) -> None:
        self.registry: Registry = registry.connect("small")

    @property
    def champion(self) -> int:
        found = self.registry.aliases()["champion"]
        assert found is not None
        return found

    def accuracy(self, version: int, rows: list[Chunk], place: Path) -> float:
        """F1 of a version on raw sequences; it must load and predict."""
        folder = self.registry.fetch(version, place / f"fetched/{version}-{time.time_ns()}")
        labels = model.load(folder)[1].labels
        cpu = torch.device("cpu")
        found = judging.ask(folder, rows, labels, cpu, where="it").answers
        assert np.isfinite(found.probabilities).all()
        scores = metrics.metrics(
            found.actual, found.predicted, None, labels=labels, offsets=found.offsets
        )
        return scores["f1_macro"]

    def check_in_order(self) -> None:
        """No run is under way, no version undecided, the record parses, no attempt is open."""
        client = self.registry.client
        experiments = [one.experiment_id for one in client.search_experiments()]
        assert not client.search_runs(experiments, "attributes.status = 'RUNNING'")
        decided = {version.tags["decision"] for version in self.registry.versions()}
        assert "undecided" not in decided
        attempted = [record.get("attempt") for record in decisions.read("decisions.jsonl")]
        named = [one for one in attempted if one]
        assert len({*named}) == len(named)
        assert not attempts.state().exists()


def test_a_season(place: Path, tmp_path: Path) -> None:
    """Week after week there is a valid champion, never worse than the one before it."""
    assert retrain() == "promoted"
    service = Service()
    ended = {}
    for number in range(1, WEEKS):
        before = service.champion
        ended[number] = one_week(number, place)
        service.check_in_order()
        if number != BROKEN:
            check_no_worse(service, before, place, tmp_path)
    assert ended[FLIPPED] == "kept"
    assert ended[BROKEN] == "failed"
    assert ended[IDENTICAL] == "unchanged"
    normal = {*range(1, WEEKS)} - {FLIPPED, BROKEN, IDENTICAL, SHRUNKEN}
    assert {ended[number] for number in normal} <= {"promoted", "kept"}
    assert [ended[number] for number in normal].count("promoted") >= len(normal) // 2
    reasons = {record["decision"]: record["reason"] for record in decisions.read("decisions.jsonl")}
    assert "steps.csv" in reasons["failed"]


def one_week(number: int, place: Path) -> str:
    checkout.write_table(place, week(number))
    if number == BROKEN:
        (place / checkout.TABLE).write_text("sequence,x,y,label\ns1,1.0,oops,a\n")
        with pytest.raises(RetrainingError, match=r"steps\.csv"):
            retrain()
        return "failed"
    if number == KILLED:
        checkout.killed(checkout.processes(), place, kill_at="birnn.challenge.checks")
    found = retrain()
    if number == FLIPPED:
        assert "The verdict is bad" in decisions.read("decisions.jsonl")[-1]["reason"]
    return found


def check_no_worse(service: Service, before: int, place: Path, tmp_path: Path) -> None:
    """By the margin and what chance makes of a hundred sequences."""
    now = service.champion
    splitting = params.load().prepare.splitting
    rows = list(splits.read(place / "data/raw", "test", **splitting))
    old, new = (service.accuracy(version, rows, tmp_path) for version in (before, now))
    assert new > old - MARGIN


def test_kills(place: Path, tmp_path: Path) -> None:
    """Killed at any moment, users have a champion, and the next retraining succeeds."""
    assert retrain() == "promoted"
    service, context = Service(), checkout.processes()
    rng = np.random.default_rng(0)
    begin = time.monotonic()
    checkout.write_table(place, recent(1))
    assert retrain() in ("promoted", "kept")
    whole = time.monotonic() - begin
    killed = 0
    for number in range(2, KILLS + 2):
        checkout.write_table(place, recent(number))
        checkout.killed(context, place, seconds=float(rng.uniform(0.1, whole)))
        killed += attempts.state().exists()
        rows = list(splits.read(place / "data/raw", "test", **params.load().prepare.splitting))
        assert service.accuracy(service.champion, rows, tmp_path) > 0.5
        decisions.read("decisions.jsonl")
        assert retrain() in ("promoted", "kept", "unchanged")
        service.check_in_order()
    assert killed > KILLS // 3
