"""A search on a small problem: what it trains, what it never opens, and that it goes on."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import checkout
import optuna
import pytest
import yaml
from conftest import ROOT, _root_is

from birnn import cli, params
from birnn.errors import DataError, RegistryError, SweepError, TrainingError
from birnn.report import groups
from birnn.sweep import outcome, search, trial
from birnn.sweep.outcome import Outcome
from birnn.tracking import runs, store, trials

SPACE = {
    "learning_rate": {"low": 0.003, "high": 0.1, "log": True},
    "hidden_size": {"low": 4, "high": 12},
}
Place = Callable[..., Path]


@pytest.fixture
def place(
    prepared: Path,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_params: Callable[[], dict[str, Any]],
) -> Place:
    """The function that makes a checkout to search in, and goes there."""

    def made(name: str, *, epochs: int = 3, sequences: str = "", **sweep: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(prepared / "data", folder / "data")
        shutil.copy(empty_store, folder)
        tree = small_params()
        tree["train"]["max_epochs"] = epochs
        tree["sweep"] = {"trials": 4, "space": SPACE, **sweep}
        (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        monkeypatch.chdir(folder)
        _root_is(folder, monkeypatch)
        return folder

    return made


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let searches go without MLflow, which takes longer than these trainings."""

    @contextmanager
    def none(*_: object, **__: object) -> Iterator[runs.TrainingRun]:
        yield runs.TrainingRun()

    monkeypatch.setattr(runs, "training_run", none)
    monkeypatch.setattr(runs, "parent", lambda *_: "")


def searched(**options: Any) -> Outcome:
    return search.run(params.load(), **options)


def written(folder: Path) -> bytes:
    return (folder / "sweep/small.json").read_bytes()


def children(client: Any) -> list[Any]:
    (experiment,) = client.search_experiments(filter_string="name = 'small'")
    found = client.search_runs([experiment.experiment_id])
    return [run for run in found if "mlflow.parentRunId" in run.data.tags]


@pytest.mark.usefixtures("unlogged")
class TestSearch:
    def test_gives_the_same_twice_and_without_the_test_split(self, place: Place) -> None:
        first = place("first")
        found = searched()
        second = place("second")
        prepared = second / "data/prepared"
        for name in ("test.arrow", "kept.parquet"):
            (prepared / name).unlink()
        (prepared / "test.arrow").mkdir()  # whoever opens it fails
        shutil.rmtree(second / "data/raw")
        assert searched() == found
        assert written(second) == written(first)
        assert [one.place for one in found.tried] == [0, 1, 2, 3]
        assert found.tried[0].settings == {"learning_rate": 0.012, "hidden_size": 10}

    def test_goes_on_where_it_was(self, place: Place) -> None:
        place("whole")
        whole = searched()
        place("parts")
        assert searched(trials=2).tried == whole.tried[:2]
        assert searched() == whole
        assert searched(trials=1) == whole

    def test_applied_settings_do_not_begin_another_search(self, place: Place) -> None:
        folder = place("place", trials=3)
        found = searched()
        outcome.applied(found)
        best = found.best
        assert best
        changed = params.load().models["bidirectional"].model_dump()
        assert {key: changed[key] for key in best.settings} == best.settings
        assert searched() == found
        assert outcome.applied(found) == "params.yaml: not changed, it holds the best settings"
        assert not list((folder / ".birnn/sweep").iterdir())

    def test_other_data_are_another_search(self, place: Place) -> None:
        folder = place("place", trials=1)
        before = searched()
        encoding = folder / "data/prepared/encoding.json"
        encoding.write_text(encoding.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        after = searched()
        assert after.data != before.data
        assert len(after.tried) == 1

    def test_judges_by_the_mean_over_seeds(self, place: Place) -> None:
        place("one", trials=1)
        alone = [searched().tried[0].value]
        for seed in (5, 6):
            place(f"seed-{seed}", trials=1, seeds=[seed])
            alone.append(searched().tried[0].value)
        place("both", trials=1, seeds=[5, 6])
        (both,) = searched().tried
        assert alone[1]
        assert alone[2]
        assert both.value == pytest.approx((alone[1] + alone[2]) / 2, rel=1e-12)
        assert both.value != alone[0]
        assert both.epochs == 6

    def test_stops_what_is_worse_than_the_median(self, place: Place) -> None:
        space = {"learning_rate": {"choices": [0.1, 0.00001]}}
        place("place", trials=10, prune_after=1, space=space)
        found = searched()
        stopped = [one for one in found.tried if one.pruned]
        assert stopped
        assert {one.settings["learning_rate"] for one in stopped} == {0.00001}
        assert all(one.epochs < 3 for one in stopped)
        assert not found.tried[0].pruned

    def test_a_training_that_fails_counts_as_tried(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place("place", trials=2)

        def fail(*_: object) -> float:
            raise TrainingError("the loss is nan")

        monkeypatch.setattr(trial, "value", fail)
        found = searched()
        assert [(one.value, one.pruned) for one in found.tried] == [(None, True)] * 2
        assert "none was trained to its end" in found.sentence
        assert "trial 1: the loss is nan" in capsys.readouterr().err

    def test_of_which_nothing_is_heard_is_done_again(self, place: Place) -> None:
        """A trial of a process on another machine, whose lock cannot be seen."""
        place("place", trials=2)
        chosen = params.load()
        study = search._study(chosen, "bidirectional", "", lost_after=1)
        study.enqueue_trial({}, user_attrs={"place": 0, "process": "elsewhere"})
        with pytest.warns(UserWarning, match="Heartbeat"):
            lost = study.ask()
        storage = optuna.storages.RDBStorage(f"sqlite:///{store.root()}/sweep.db")
        storage.record_heartbeat(lost._trial_id)
        begun = time.monotonic()
        found = searched(lost_after=1)
        assert time.monotonic() - begun >= 1
        assert [one.place for one in found.tried] == [0, 1]

    @pytest.mark.parametrize(
        ("storage", "said"),
        [
            ("postgresql://me:secret@127.0.0.1:9/db", "postgresql://127.0.0.1:9: expected a stor"),
            ("sweep.db", "sweep.db: expected a storage of Optuna's, found: "),
        ],
    )
    def test_names_a_storage_that_does_not_answer(
        self, place: Place, storage: str, said: str
    ) -> None:
        place("place")
        with pytest.raises(SweepError) as caught:
            searched(storage=storage)
        assert str(caught.value).startswith(said)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_needs_a_space_and_data(self, place: Place) -> None:
        folder = place("place", space={})
        with pytest.raises(SweepError, match=r"sweep\.space: expected keys to search"):
            searched()
        folder = place("empty")
        shutil.rmtree(folder / "data")
        with pytest.raises(DataError, match=r"encoding\.json"):
            searched()


class TestRuns:
    def test_lie_below_one_and_are_compared_over_seeds(self, place: Place) -> None:
        place("place", trials=2, seeds=[1, 2])
        found = searched()
        client = store.connect()
        below = children(client)
        (parent,) = {run.data.tags["mlflow.parentRunId"] for run in below}
        assert len(below) == 4
        assert {run.info.status for run in below} == {"FINISHED"}
        top = client.get_run(parent)
        assert top.info.status == "FINISHED"
        assert found.best
        assert top.data.metrics == {"best_validation_loss": found.best.value}
        assert [one.path for one in client.list_artifacts(parent, "sweep")] == ["sweep/small.json"]
        compared = groups.grouped(trials.of_sweep("small"), [], ["seed"], "loss")
        assert [group.validation.n for group in compared.groups] == [2, 2]
        best = compared.groups[0].validation.mean
        assert best == pytest.approx(found.best.value)
        assert "None was tested" in compared.sentence
        with pytest.raises(RegistryError, match="expected tested runs"):
            trials.of_runs("small")

    def test_are_done_without_where_mlflow_is_out_of_reach(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place("with", trials=2)
        found = searched()
        place("without", trials=2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert searched() == found
        assert "expected an answer from MLflow" in capsys.readouterr().err


def running(one: optuna.trial.FrozenTrial) -> bool:
    """Say whether a trial is in the middle."""
    return one.state is optuna.trial.TrialState.RUNNING and bool(one.intermediate_values)


def sweep(folder: Path) -> None:
    """Do what `birnn sweep` does, in a process of its own that says nothing."""
    os.chdir(folder)
    os.environ.update(checkout.environment(folder))
    with Path(os.devnull).open("w") as sys.stdout:
        cli.app(["sweep"], standalone_mode=False)


def started(folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "DVC_ROOT": str(folder),
        **variables,
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.Popen(
        list(command), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
class TestProcesses:
    @pytest.mark.usefixtures("unlogged")
    def test_killed_and_started_again_finds_the_same(self, place: Place) -> None:
        whole = place("whole", epochs=6, trials=4)
        expected = searched()
        folder = place("killed", epochs=6, trials=4)
        process = checkout.processes().Process(target=sweep, args=(folder,))
        process.start()
        study = search._study(params.load(), "bidirectional", "", 60)
        while not any(one.user_attrs["place"] and running(one) for one in study.get_trials()):
            assert process.is_alive()
            time.sleep(0.02)
        process.kill()
        process.join()
        states = [one.state.name for one in study.get_trials()]
        found = searched()
        assert found == expected
        assert written(folder) == written(whole)
        after = [one.state.name for one in study.get_trials()]
        assert after.count("FAIL") == states.count("RUNNING")
        assert not list((folder / ".birnn/sweep").iterdir())

    @pytest.mark.long
    def test_share_a_search_as_tasks_of_slurm(self, place: Place) -> None:
        folder = place("slurm", trials=6)
        script = str(ROOT / "examples/sweep-slurm.sh")
        variables = {"SLURM_SUBMIT_DIR": str(folder), "OPTUNA_STORAGE": ""}
        tasks = [
            started(folder, "bash", script, SLURM_ARRAY_TASK_ID=str(number), **variables)
            for number in range(2)
        ]
        said = [task.communicate(timeout=300)[0] for task in tasks]
        assert [task.returncode for task in tasks] == [0, 0]
        assert [text.splitlines()[0][:6] for text in said] == ["task 0", "task 1"]
        places = [
            int(line.split()[1].rstrip(":"))
            for text in said
            for line in text.splitlines()
            if line.startswith("trial ")
        ]
        assert sorted(places) == [0, 1, 2, 3, 4, 5]
        found = json.loads(written(folder))
        assert [one["place"] for one in found["tried"]] == [0, 1, 2, 3, 4, 5]
        assert len({run.data.tags["mlflow.parentRunId"] for run in children(store.connect())}) == 1

    @pytest.mark.long
    def test_share_a_search_as_tasks_of_ray(self, place: Place) -> None:
        pytest.importorskip("ray", reason="ray is not installed")
        folder = place("ray", trials=4)
        script = str(ROOT / "examples/sweep_ray.py")
        said = started(folder, sys.executable, script, "2", RAY_ADDRESS="", OPTUNA_STORAGE="")
        said.communicate(timeout=300)
        assert said.returncode == 0
        assert [one["place"] for one in json.loads(written(folder))["tried"]] == [0, 1, 2, 3]


@pytest.mark.usefixtures("unlogged")
def test_a_database_of_mlflow_is_no_storage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place("place")
    monkeypatch.setattr(search, "POLL", 0.0)
    with pytest.raises(SweepError, match="expected a storage of Optuna's, found: ") as caught:
        searched(storage=f"sqlite:///{folder}/mlflow.db")
    assert "\n" not in str(caught.value)
