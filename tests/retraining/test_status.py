"""What is said of the model that serves, and when somebody must look."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from birnn.files import atomic
from birnn.params import Params
from birnn.retraining import attempts, schedule, status
from birnn.retraining.attempts import Last
from birnn.retraining.lineage import JUDGED_WITH, named
from birnn.retraining.status import Service
from birnn.tracking import registry, runs
from birnn.tracking.registry import Version


@pytest.fixture
def chosen(
    runs_root: Path, small_params: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Params:
    monkeypatch.chdir(runs_root)
    return Params.model_validate(small_params())


def due_in(hours: float) -> str:
    time = (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="seconds")
    atomic.write_json(".birnn/schedule.json", {"cron": "0 3 * * *", "time": time})
    return time


def test_before_the_first_model(chosen: Params) -> None:
    assert status.status(chosen).lines == [
        "serves: nothing yet for small",
        "since: -",
        "why: -",
        "waits: nothing",
        "next attempt: not known here; the last one: none",
    ]


def test_makes_no_store(chosen: Params) -> None:
    Path("mlflow.db").unlink()
    assert status.status(chosen).alarms == []
    assert not Path("mlflow.db").exists()


def test_says_what_serves_and_why_in_five_lines(chosen: Params, trained: Path) -> None:
    for name in ("test.arrow", "encoding.json"):
        Path(name).touch()
    known = registry.connect("small")
    run = runs.run_of_model("small", "bidirectional", trained, params={}, data=Path())
    tags = {"model": "bidirectional", "model_sha256": runs.model_sha256(trained)}
    numbers = [known.register(run.id, tags).number for _ in range(4)]
    served = {"serves_since": "2026-01-02", "serves_by": "me on x", "serves_because": "Better."}
    known.note(2, served)
    known.note(3, {"decision": "waiting", "judged_with": "1"})  # with a champion of the past
    known.note(4, {"decision": "waiting", "judged_with": "2"})
    known.point({"champion": 2, "previous": 1, "challenger": numbers[-1]})
    known.remember(Last("2026-01-03T00:00:00+00:00", "kept", "No better.", 0).tags())
    time = due_in(5)
    found = status.status(chosen)
    assert found.lines == [
        "serves: version 2 of small; models/bidirectional is not here: "
        "`birnn predict --model champion` fetches it",
        "since: 2026-01-02, by me on x; `birnn rollback` goes to version 1",
        "why: Better.",
        "waits: version 4, for `birnn retrain --approve 4`; judged again if approved: 3",
        f"next attempt: {time}, by `birnn schedule`; "
        "the last one: kept at 2026-01-03T00:00:00+00:00",
    ]
    assert found.alarms == []


def test_says_how_a_version_that_waits_would_change_the_answers() -> None:
    tags = {"shadow": "version 4 answers 2.0 % in another way.", JUDGED_WITH: named(None)}
    waiting = Version(4, "run", tags)
    said = status._waiting(Service(waiting=(waiting,)))
    assert said == (
        "waits: version 4, for `birnn retrain --approve 4` (version 4 answers 2.0 % in another way)"
    )


class TestAlarm:
    def test_of_what_did_not_happen(self, chosen: Params) -> None:
        time = due_in(-1)
        (alarm,) = status.status(chosen).alarms
        assert alarm.startswith(f"the attempt due at {time} did not happen")

    @pytest.mark.parametrize(("hours", "alarms"), [(None, 0), (26.0, 0), (24.0, 1)])
    def test_of_an_attempt_that_is_too_old(
        self, chosen: Params, hours: float | None, alarms: int
    ) -> None:
        time = datetime.now(UTC) - timedelta(hours=25)
        last = {"time": time.isoformat(), "ended": "kept", "reason": "No better.", "failures": 0}
        atomic.write_json(".birnn/last_attempt.json", last)
        assert len(status.status(chosen, hours=hours).alarms) == alarms

    def test_where_none_has_ended_ever(self, chosen: Params) -> None:
        assert len(status.status(chosen, hours=24).alarms) == 1

    def test_of_failures_until_one_succeeds(self, chosen: Params) -> None:
        attempts.note("failed", "steps.csv: broken")
        assert status.status(chosen).alarms == ["the last attempt failed: steps.csv: broken"]
        attempts.note("postponed", "MLflow is away")
        assert status.status(chosen).alarms == ["the last 2 attempts failed: MLflow is away"]
        attempts.note("unchanged", "Nothing to do.")
        assert status.status(chosen).alarms == []

    def test_of_a_killed_one_that_runs_no_more(self, chosen: Params) -> None:
        Path("dvc.yaml").touch()
        with attempts.locked():
            attempts.begin()
            due_in(-1)
            found = status.status(chosen)
            assert found.alarms == []
            assert found.lines[-1].startswith("next attempt: one runs now")
        Path(".birnn/schedule.json").unlink()
        assert status.status(chosen).alarms == [
            "an attempt was killed: the next `birnn retrain` puts things in order"
        ]


def test_a_clock_that_was_killed_is_told_by_the_next_one(
    chosen: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    time = due_in(-1)
    schedule._tell_missed()
    said = f"The clock was killed: what was due at {time} did not happen.\n"
    assert capsys.readouterr().out == said
    due_in(1)
    schedule._tell_missed()
    assert capsys.readouterr().out == ""
