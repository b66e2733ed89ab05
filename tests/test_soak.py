"""Weeks of retrainings, and kills at random moments; a year and fifty with `make test-long`."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import checkout
import numpy as np
import pandas as pd
import pytest
import torch

from birnn import params
from birnn.data import splits
from birnn.data.splits import Splitting
from birnn.errors import RetrainingError
from birnn.evaluation import metrics
from birnn.files.tables import Chunk
from birnn.model import saved_model
from birnn.retraining import answering, attempts, decisions, steps
from birnn.tracking import registry
from birnn.tracking.registry import Registry

MARGIN = 0.05
KILLS = 50
KEPT_WEEKS, A_WEEK = 5, 80  # of data, and sequences of each
NEVER = -KEPT_WEEKS
pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with the data of the first week."""
    found = checkout.make(tmp_path / "checkout", recent(0), margin=MARGIN)
    checkout.enter(found, monkeypatch)
    yield found
    shutil.rmtree(tmp_path)


class Season(NamedTuple):
    """How many weeks there are, and in which of them something happens."""

    weeks: int
    flipped: int
    broken: int
    shrunken: int
    identical: int
    killed: int

    def week(self, number: int) -> pd.DataFrame:
        """The data of a week and of those before it, which move by two deviations in a year."""
        rows = recent(number - (number == self.identical), self.shrunken)
        return checkout.flipped(rows) if number == self.flipped else rows


def recent(number: int, shrunken: int = NEVER) -> pd.DataFrame:
    """What came in that week and in those before it."""
    return pd.concat(delivered(one, shrunken) for one in range(number, number + KEPT_WEEKS))


def delivered(number: int, shrunken: int) -> pd.DataFrame:
    """What came in one week."""
    sequences = range(A_WEEK * number, A_WEEK * (number + 1))
    few = (0.48, 0.48, 0.04) if number == shrunken + KEPT_WEEKS - 1 else ()
    return checkout.table(sequences, shift=number / 26, shares=few)


def retrain() -> str:
    return steps.retrain(params.load(), reproduce=checkout.reproduce).decision


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
        labels = saved_model.load(folder)[1].labels
        cpu = torch.device("cpu")
        found = answering.ask(folder, rows, labels, cpu, where="it").answers
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


SEASONS = [
    Season(7, flipped=1, broken=2, shrunken=3, identical=5, killed=6),
    Season(52, flipped=12, broken=20, shrunken=28, identical=36, killed=44),
]


@pytest.mark.long
@pytest.mark.parametrize("season", SEASONS)
def test_a_season(place: Path, tmp_path: Path, season: Season) -> None:
    """Week after week there is a valid champion, never worse than the one before it."""
    assert retrain() == "promoted"
    service = Service()
    ended = {}
    for number in range(1, season.weeks):
        before = service.champion
        ended[number] = one_week(season, number, place)
        service.check_in_order()
        if number != season.broken:
            check_no_worse(service, before, place, tmp_path)
    assert ended[season.flipped] == "kept"
    assert ended[season.broken] == "failed"
    assert ended[season.identical] == "unchanged"
    normal = ended.keys() - {season.flipped, season.broken, season.identical, season.shrunken}
    assert {ended[number] for number in normal} <= {"promoted", "kept"}
    assert [ended[number] for number in normal].count("promoted") >= len(normal) // 2
    reasons = {record["decision"]: record["reason"] for record in decisions.read("decisions.jsonl")}
    assert "steps.csv" in reasons["failed"]


def one_week(season: Season, number: int, place: Path) -> str:
    checkout.write_table(place, season.week(number))
    if number == season.broken:
        (place / checkout.TABLE).write_text("sequence,x,y,label\ns1,1.0,oops,a\n")
        with pytest.raises(RetrainingError, match=r"steps\.csv"):
            retrain()
        return "failed"
    if number == season.killed:
        checkout.killed(checkout.processes(), place, kill_at="birnn.retraining.candidate.checks")
    found = retrain()
    if number == season.flipped:
        assert "The verdict is bad" in decisions.read("decisions.jsonl")[-1]["reason"]
    return found


def held_out_rows(place: Path) -> list[Chunk]:
    return list(splits.read_one(place / "data/raw", Splitting.of(params.load().prepare), "test"))


def check_no_worse(service: Service, before: int, place: Path, tmp_path: Path) -> None:
    """By the margin and what chance makes of a hundred sequences."""
    now = service.champion
    rows = held_out_rows(place)
    old, new = (service.accuracy(version, rows, tmp_path) for version in (before, now))
    assert new > old - MARGIN


@pytest.mark.long
def test_kills(place: Path, tmp_path: Path) -> None:
    """Killed at any moment, users have a champion, and the next retraining succeeds.

    `TestKill` in tests/retraining/test_steps.py is the short version, at moments that matter.
    """
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
        rows = held_out_rows(place)
        assert service.accuracy(service.champion, rows, tmp_path) > 0.5
        decisions.read("decisions.jsonl")
        assert retrain() in ("promoted", "kept", "unchanged")
        service.check_in_order()
    assert killed > KILLS // 3
