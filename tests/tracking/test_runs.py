"""MLflow as a mirror of the files, in a real SQLite store."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mlflow.entities import Run as Found
from mlflow.exceptions import MlflowException

from birnn import cli, params
from birnn.errors import RegistryError, Terminated, TrainingError
from birnn.files import atomic, digests
from birnn.model import history
from birnn.model.history import Epoch
from birnn.tracking import registry, runs, store

EPOCHS = [Epoch(1, 1.5, 1.25, 0.25, 0.5, 0.01), Epoch(2, 0.75, 0.5, 0.75, 0.625, 0.01, kept=True)]
NOBODY = "http://127.0.0.1:9"  # a port at which nobody answers
ARTIFACT_CACHE = "mlflow.tracking._tracking_service.utils._artifact_repos_cache"  # a process's
KNOBS: params.Knobs = {
    "cell": "GRU",
    "hidden_size": 4,
    "learning_rate": 0.01,
    "bidirectional": True,
}
PROCESS = """
import sys
from pathlib import Path
from birnn.tracking import runs

name, folder, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
with runs.training_run("tagging", name, params={}, data=data) as training:
    print(training.run.id, flush=True)
    sys.stdin.readline()
print(runs.run_of_model("tagging", "restored", folder, params={}, data=data).id, flush=True)
"""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for data/prepared/; tracking looks at its bytes alone."""
    folder = tmp_path_factory.mktemp("prepared")
    for name in ("encoding.json", "test.arrow", "train.arrow", "validation.arrow"):
        (folder / name).write_text(name)
    return folder


@contextmanager
def opened(*names: str, **described: Any) -> Iterator[runs.Run]:
    """The run of a training, in a store that answers."""
    with runs.training_run(*names, **described) as training:
        assert training.run is not None
        yield training.run


def found(run_id: str) -> Found:
    return store.connect().get_run(run_id)


def all_runs(problem: str = "tagging") -> list[Found]:
    client = store.connect()
    return list(client.search_runs([store.experiment(client, problem)]))


def curve(run_id: str, name: str) -> list[tuple[int, float]]:
    points = store.connect().get_metric_history(run_id, name)
    return [(point.step, point.value) for point in points]


class TestTrainingRun:
    def test_has_a_point_on_each_curve_for_each_epoch(self, runs_root: Path, data: Path) -> None:
        with runs.training_run("tagging", "forward", params=KNOBS, data=data) as training:
            for epoch in EPOCHS:
                training.log_epoch(epoch)
        (run,) = all_runs()
        assert curve(run.info.run_id, "train_loss") == [(1, 1.5), (2, 0.75)]
        assert curve(run.info.run_id, "validation_accuracy") == [(1, 0.5), (2, 0.625)]
        assert set(run.data.metrics) == set(Epoch.__slots__) - {"epoch", "kept"}

    def test_is_one_run_with_the_knobs_that_made_the_model(
        self, runs_root: Path, data: Path
    ) -> None:
        with opened("tagging", "forward", params=KNOBS, data=data) as run:
            assert found(run.id).info.status == "RUNNING"
        (only,) = all_runs()
        assert only.info.run_id == run.id
        assert only.info.run_name == "forward"
        assert only.data.params == {name: str(value) for name, value in KNOBS.items()}

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (None, "FINISHED"),
            (TrainingError("the loss is nan"), "FAILED"),
            (SystemExit(1), "FAILED"),
            (KeyboardInterrupt(), "KILLED"),
            (Terminated(143), "KILLED"),
        ],
    )
    def test_ends_as_the_training_does(
        self, runs_root: Path, data: Path, error: BaseException | None, status: str
    ) -> None:
        expected = nullcontext() if error is None else pytest.raises(type(error))
        with (
            expected,
            opened("tagging", "forward", params={}, data=data) as run,
        ):
            if error is not None:
                raise error
        assert found(run.id).info.status == status
        assert found(run.id).info.end_time is not None

    def test_is_tagged_with_what_it_was_made_of(
        self, runs_root: Path, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DVC_EXP_NAME", "rosy-tern")
        monkeypatch.chdir(runs_root)
        commit = repository(runs_root)
        with opened("tagging", "forward", params=KNOBS, data=data) as run:
            pass
        tags = found(run.id).data.tags
        names = ("problem", "model", "DVC_EXP_NAME", "mlflow.source.git.commit")
        assert [tags[name] for name in names] == ["tagging", "forward", "rosy-tern", commit]
        splits = [data / f"{name}.arrow" for name in ("test", "train", "validation")]
        assert tags["data_sha256"] == digests.sha256(*splits, data / "encoding.json")
        text = json.dumps(KNOBS, sort_keys=True)
        assert tags["params_sha256"] == digests.sha256_of_text(text)
        assert "uncommitted" not in tags

    def test_says_what_its_commit_does_not_hold(
        self, runs_root: Path, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository(runs_root)
        copy = runs_root / ".birnn/copy"  # as that in which a retraining runs
        copy.mkdir(parents=True)
        for name in ("birnn/losses.py", "params.yaml", "dvc.lock"):
            (runs_root / name).parent.mkdir(exist_ok=True)
            (runs_root / name).write_text("1")
        (runs_root / ".gitignore").write_text(".birnn\n")
        monkeypatch.chdir(copy)
        with opened("tagging", "forward", params={}, data=data) as run:
            pass
        assert found(run.id).data.tags["uncommitted"] == "birnn/losses.py, params.yaml"

    def test_has_all_params_however_many_and_long(self, runs_root: Path, data: Path) -> None:
        many = {f"data.{number}": number for number in range(150)}
        critical: params.Knobs = {"critical.a/b.min_recall": 0.8, "critical.a_b.min_recall": 0.7}
        critical |= {"data.classes": "x" * 7000}
        knobs = KNOBS | {"patience": 5, "device": "auto"} | many | critical
        with opened("tagging", "forward", params=knobs, data=data) as run:
            pass
        logged = found(run.id).data.params
        assert len(logged) == len(knobs)
        assert (logged["patience"], logged["data.149"]) == ("5", "149")
        assert logged["critical.a:solidus:b.min_recall"] == "0.8"
        assert logged["critical.a_b.min_recall"] == "0.7"
        assert len(logged["data.classes"]) == 6000

    def test_hash_of_params_is_that_of_earlier_versions(self) -> None:
        """Which named no params of data and preparation; by it old runs are found."""
        knobs = KNOBS | {"data.seed": 1, "prepare.frame": None}
        text = '{"bidirectional": true, "cell": "GRU", "hidden_size": 4, "learning_rate": 0.01}'
        assert runs.params_sha256(knobs) == digests.sha256_of_text(text)

    def test_says_in_name_and_note_what_is_new(self, runs_root: Path, data: Path) -> None:
        base = KNOBS | {"cell": "RNN", "data.seed": 1, "precision": "auto"}
        knobs = KNOBS | {"task": "tagging", "data.path": "t.csv", "precision": "fp32"}
        same: params.Knobs = {"task": "tagging", "data.path": "t.csv"}
        with opened("tagging", "forward", params=knobs, data=data, base=base | same) as run:
            pass
        with opened("tagging", "forward", params=knobs, data=data, base=knobs) as other:
            pass
        assert found(run.id).info.run_name == "forward, cell=GRU"
        assert found(run.id).data.tags["mlflow.note.content"].splitlines() == [
            "GRU, 4 units, both directions; tagging of t.csv.",
            "Differs from the last commit: cell GRU (was RNN).",
        ]
        assert found(other.id).info.run_name == "forward"
        note = found(other.id).data.tags["mlflow.note.content"].splitlines()
        assert note[1] == "All params are those of the last commit."

    def test_names_its_data(self, runs_root: Path, tmp_path: Path, data: Path) -> None:
        folder = Path(shutil.copytree(data, tmp_path / "counted"))
        counts = {"sequences": {"train": 7, "test": 2}, "steps": {"train": 70, "test": 20}}
        atomic.write_json(folder / "packing.json", counts)
        knobs = KNOBS | {"source": "table", "data.path": "t.csv"}
        with opened("tagging", "forward", params=knobs, data=folder) as run:
            pass
        inputs = found(run.id).inputs
        assert inputs is not None
        (found_input,) = inputs.dataset_inputs
        named = found_input.dataset
        assert (named.name, named.source_type) == ("tagging", "table")
        assert named.digest == runs.data_sha256(folder)[:8]
        assert json.loads(named.source) == {"uri": "t.csv"}
        profile = json.loads(str(named.profile))
        assert (profile["num_rows"], profile["num_sequences_train"]) == (90, 7)

    def test_says_how_long_epochs_took_where_that_is_known(
        self, runs_root: Path, data: Path
    ) -> None:
        with opened("tagging", "forward", params=KNOBS, data=data, device="cpu: x") as run:
            run.log_epoch(EPOCHS[0])  # of a training that is resumed
            run.log_epoch(EPOCHS[1], 0.25)
        assert curve(run.id, "seconds_an_epoch") == [(2, 0.25)]
        assert found(run.id).data.tags["device"] == "cpu: x"

    @pytest.mark.parametrize("seconds", [60.0, 0.0])
    def test_records_what_the_machine_does_when_it_takes_long(
        self, runs_root: Path, data: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
    ) -> None:
        monkeypatch.setattr(runs, "LONG_TRAINING", seconds)
        monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
        with opened("tagging", "forward", params={}, data=data) as run:
            deadline = time.monotonic() + (10 if seconds == 0 else 0)
            while not found(run.id).data.metrics and time.monotonic() < deadline:
                time.sleep(0.1)
        metrics = found(run.id).data.metrics
        assert ("system/cpu_utilization_percentage" in metrics) == (seconds == 0)
        assert not [one.name for one in threading.enumerate() if "SystemMetrics" in one.name]

    def test_has_no_tags_without_a_value(
        self, runs_root: Path, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DVC_EXP_NAME", raising=False)
        monkeypatch.chdir(runs_root)  # no git here
        with opened("tagging", "forward", params={}, data=data) as run:
            pass
        assert not {"DVC_EXP_NAME", "mlflow.source.git.commit"} & found(run.id).data.tags.keys()


def repository(folder: Path) -> str:
    """Make a git repository with one commit, and name the commit."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "--quiet", folder], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "x"], cwd=folder, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True)
    return head.stdout.decode().strip()


class TestStore:
    def test_is_in_the_repository_that_dvc_names(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / "parent"))
        assert store.store_uri() == f"sqlite:///{tmp_path}/parent/mlflow.db"

    def test_is_in_the_working_directory_without_dvc(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        monkeypatch.chdir(tmp_path)
        assert store.store_uri() == f"sqlite:///{tmp_path}/mlflow.db"

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ("https://mlflow.example.org", "https://mlflow.example.org"),
            ("databricks", "databricks"),
            ("postgresql://host/runs", "postgresql://host/runs"),
            ("sqlite:////there/runs.db", "sqlite:////there/runs.db"),
            ("sqlite:///runs.db", "sqlite:////root/of/runs.db"),
            ("./mlruns", "/root/of/mlruns"),
            ("/there/mlruns", "/there/mlruns"),
        ],
    )
    def test_is_where_the_user_says(
        self, monkeypatch: pytest.MonkeyPatch, said: str, expected: str
    ) -> None:
        monkeypatch.setenv("DVC_ROOT", "/root/of")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", said)
        assert store.store_uri() == expected

    @pytest.mark.parametrize("name", ["a%20b", "what?", "what?x=1", "a%3Fb", "50%", "a#b", "a&b@c"])
    def test_is_in_the_root_whatever_its_name(
        self, runs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        parent, root = tmp_path / "parent", tmp_path / "parent" / name
        root.mkdir(parents=True)
        shutil.move(runs_root / "mlflow.db", root)
        monkeypatch.setenv("DVC_ROOT", str(root))
        assert store.has_store()
        client = store.connect()
        run = client.create_run(store.experiment(client, "tagging")).info.run_id
        client.log_text(run, "content", "a.txt")
        assert [path.name for path in parent.iterdir()] == [name]
        assert {path.name for path in root.iterdir()} == {".birnn", "mlartifacts", "mlflow.db"}
        assert (root / "mlartifacts/tagging" / run / "artifacts/a.txt").read_text() == "content"

    def test_has_settings_of_sqlite(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs.db?timeout=30")
        assert store.store_uri() == f"sqlite:///{tmp_path}/runs.db?timeout=30"
        (tmp_path / "runs.db").touch()
        assert store.has_store()

    def test_is_there_or_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        assert not store.has_store()
        (tmp_path / "mlflow.db").touch()
        assert store.has_store()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
        assert store.has_store()

    def test_keeps_artifacts_in_an_absolute_place(self, runs_root: Path) -> None:
        client = store.connect()
        experiment = client.get_experiment(store.experiment(client, "speech"))
        assert experiment.artifact_location == f"file://{runs_root}/mlartifacts/speech"

    def test_has_one_experiment_a_problem(self, runs_root: Path) -> None:
        client = store.connect()
        ids = [store.experiment(client, name) for name in ("speech", "dna", "speech")]
        assert ids[0] == ids[2] != ids[1]


class TestDeletedExperiment:
    """Its name stays taken, so no other can be made."""

    @pytest.fixture
    def deleted(self, runs_root: Path, data: Path, trained: Path) -> str:
        run = runs.run_of_model("tagging", "forward", trained, params={}, data=data)
        client = store.connect()
        client.delete_experiment(store.experiment(client, "tagging"))
        return run.id

    def test_is_restored_for_a_training(
        self, deleted: str, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with opened("tagging", "second", params={}, data=data) as run:
            pass
        assert {one.info.run_id for one in all_runs()} == {deleted, run.id}
        said = capsys.readouterr().err
        assert said.startswith("note: the experiment 'tagging' was deleted in MLflow; it is restor")
        assert said.count("\n") == 1

    def test_is_restored_with_the_run_of_a_model(
        self, deleted: str, data: Path, trained: Path
    ) -> None:
        again = runs.run_of_model("tagging", "forward", trained, params={}, data=data)
        assert again.id == deleted


@pytest.fixture
def move_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a folder the root, as a new process finds it."""

    def enter(folder: Path) -> None:
        monkeypatch.setenv("DVC_ROOT", str(folder))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        monkeypatch.setattr(ARTIFACT_CACHE, OrderedDict())

    return enter


@pytest.fixture
def old(
    runs_root: Path, data: Path, trained: Path, tmp_path: Path, move_to: Callable[[Path], None]
) -> Path:
    """A root whose name URIs quote, with a run, and a champion that it has trained."""
    folder = tmp_path / "old é%20 place"
    folder.mkdir()
    shutil.move(runs_root / "mlflow.db", folder)
    move_to(folder)
    atomic.write_json(tmp_path / "evaluation/metrics.json", {"accuracy": 0.75})
    atomic.write_json(tmp_path / "evaluation/checks.json", [])
    run = runs.run_of_model("tagging", "forward", trained, params={}, data=data)
    run.log_evaluation(tmp_path / "evaluation")
    known = registry.connect("tagging")
    version = known.register(run.id, {}).number
    known.point({"champion": version, "previous": None, "challenger": None})
    return folder


def trace_of(folder: Path) -> None:
    """Keep what else holds a place, which birnn itself does not write."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as runs_root, runs_root:
        place = (folder / "mlartifacts/tagging").as_uri()
        runs_root.execute("PRAGMA foreign_keys = OFF")
        runs_root.execute(
            "INSERT INTO trace_tags (key, value, request_id) VALUES (?, ?, ?)",
            ("mlflow.artifactLocation", f"{place}/traces/t", "t"),
        )


def everything(folder: Path) -> str:
    """All that a store holds, as text."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as runs_root:
        return "\n".join(runs_root.iterdump())


class TestMove:
    @pytest.mark.parametrize("name", ["new", "new place", "new%20place", "né", "what?"])
    def test_takes_artifacts_along(
        self, old: Path, trained: Path, tmp_path: Path, move_to: Callable[[Path], None], name: str
    ) -> None:
        trace_of(old)
        new = tmp_path / name
        shutil.move(old, new)
        move_to(new)
        (run,) = all_runs()
        loaded = run.info.run_id, "evaluation/metrics.json", str(tmp_path)
        written = store.connect().download_artifacts(*loaded)
        assert atomic.read_json(written) == {"accuracy": 0.75}
        known = registry.connect("tagging")
        champion = known.aliased("champion")
        assert champion is not None
        fetched = known.fetch(champion.number, tmp_path / "fetched")
        assert runs.model_sha256(fetched) == runs.model_sha256(trained)
        assert (old / "mlartifacts").as_uri() not in everything(new)
        assert everything(new).count((new / "mlartifacts").as_uri()) == 4 + 1
        assert not old.exists()

    def test_is_where_new_runs_write(
        self,
        old: Path,
        data: Path,
        trained: Path,
        tmp_path: Path,
        move_to: Callable[[Path], None],
    ) -> None:
        new = tmp_path / "new place"
        shutil.move(old, new)
        move_to(new)
        with opened("tagging", "second", params={}, data=data) as run:
            run.log_model(trained)
            run.log_evaluation(tmp_path / "evaluation")
        assert (new / "mlartifacts/tagging" / run.id / "artifacts/evaluation").is_dir()
        assert not old.exists()

    def test_of_a_copy_leaves_the_first_alone(
        self, old: Path, data: Path, tmp_path: Path, move_to: Callable[[Path], None]
    ) -> None:
        new = tmp_path / "copy"
        shutil.copytree(old, new)
        for folder in (new, old):
            move_to(folder)
            with opened("tagging", "second", params={}, data=data) as run:
                run.log_evaluation(tmp_path / "evaluation")
            assert (folder / "mlartifacts/tagging" / run.id).is_dir()
            assert len(all_runs()) == 2
        assert new.as_uri() not in everything(old)
        assert old.as_uri() not in everything(new)


def test_a_store_outside_of_the_root_does_not_move(
    old: Path, tmp_path: Path, move_to: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(old)
    (tmp_path / "other").mkdir()
    move_to(tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{quote(str(old))}/mlflow.db")
    store.connect()
    assert everything(old) == before


def test_places_that_the_user_chose_stay(
    old: Path, tmp_path: Path, move_to: Callable[[Path], None]
) -> None:
    place = "file:///shared/mlartifacts/elsewhere"
    store.connect().create_experiment("speech", artifact_location=place)
    shutil.move(old, tmp_path / "new")
    move_to(tmp_path / "new")
    found = store.connect().get_experiment_by_name("speech")
    assert found is not None
    assert found.artifact_location == place


class TestModel:
    def test_brings_the_kept_epoch_and_its_hash(
        self, runs_root: Path, data: Path, trained: Path
    ) -> None:
        with runs.training_run("tagging", "forward", params={}, data=data) as training:
            training.log_model(trained)
        (run,) = all_runs()
        kept = {name: v for name, v in run.data.metrics.items() if "best" in name}
        assert kept == {
            "best_epoch": 2,
            "best_train_loss": 0.75,
            "best_validation_loss": 0.75,
            "best_train_accuracy": 0.5,
            "best_validation_accuracy": 0.625,
        }
        assert run.data.tags["model_sha256"] == runs.model_sha256(trained)
        assert run.info.status == "FINISHED"

    def test_is_found_again_by_its_hash(self, runs_root: Path, data: Path, trained: Path) -> None:
        with opened("tagging", "forward", params={}, data=data) as run:
            run.log_model(trained)
        again = runs.run_of_model("tagging", "forward", trained, params={}, data=data)
        assert again.id == run.id
        assert len(all_runs()) == 1

    def test_of_the_same_bytes_by_other_params_is_another_one(
        self, runs_root: Path, data: Path, trained: Path
    ) -> None:
        """As where a limit of epochs is raised that was not reached."""
        made = [
            runs.run_of_model(
                "tagging", "forward", trained, params={"max_epochs": epochs}, data=data
            ).id
            for epochs in (40, 50, 40)
        ]
        assert made[0] == made[2] != made[1]

    def test_is_filled_in_from_its_files(self, runs_root: Path, data: Path, trained: Path) -> None:
        run = runs.run_of_model("tagging", "forward", trained, params=KNOBS, data=data)
        (only,) = all_runs()
        assert only.info.run_id == run.id
        assert only.info.status == "FINISHED"
        assert only.data.tags["backfilled"] == "true"
        assert only.data.params == {name: str(value) for name, value in KNOBS.items()}
        rows = history.read(trained / "history.csv")
        expected = [(row.epoch, row.validation_loss) for row in rows]
        assert curve(run.id, "validation_loss") == expected
        again = runs.run_of_model("tagging", "forward", trained, params=KNOBS, data=data)
        assert again.id == run.id

    def test_has_a_run_of_its_own_for_each_name_and_problem(
        self, runs_root: Path, data: Path, trained: Path
    ) -> None:
        names = [("tagging", "forward"), ("tagging", "twin"), ("speech", "forward")]
        filled = [runs.run_of_model(*name, trained, params={}, data=data) for name in names]
        assert len({run.id for run in filled}) == 3


class TestOutOfReach:
    def test_training_goes_on_without_a_run(
        self,
        runs_root: Path,
        data: Path,
        trained: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
        with runs.training_run("tagging", "forward", params={}, data=data) as training:
            training.log_epoch(EPOCHS[0])
            training.log_model(trained)
        warned = capsys.readouterr().err
        assert warned.startswith(f"warning: {NOBODY}: expected an answer from MLflow, found: ")
        assert warned.endswith("; once it answers, run `birnn backfill`\n")
        assert warned.count("\n") == 1
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        assert all_runs() == []

    def test_from_the_middle_on_leaves_a_run_that_the_next_one_closes(
        self,
        runs_root: Path,
        data: Path,
        trained: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with runs.training_run("tagging", "forward", params={}, data=data) as training:
            training.log_epoch(EPOCHS[0])
            with monkeypatch.context() as patch:
                patch.setattr("mlflow.MlflowClient.log_batch", refuse)
                training.log_epoch(EPOCHS[1])
            training.log_model(trained)
        assert capsys.readouterr().err.count("warning: ") == 1
        assert [run.info.status for run in all_runs()] == ["RUNNING"]
        with opened("tagging", "backward", params={}, data=data):
            assert {run.info.run_name: run.info.status for run in all_runs()} == {
                "forward": "KILLED",
                "backward": "RUNNING",
            }
        filled = runs.run_of_model("tagging", "forward", trained, params={}, data=data)
        assert len(curve(filled.id, "train_loss")) == 3
        assert not [*(runs_root / ".birnn/runs").iterdir()]

    def test_an_interrupted_training_is_closed_all_the_same(
        self, runs_root: Path, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(runs.Run, "log_epoch", interrupt)
        opening = runs.training_run("tagging", "forward", params={}, data=data)
        with pytest.raises(KeyboardInterrupt), opening as training:
            training.log_epoch(EPOCHS[0])
        assert [run.info.status for run in all_runs()] == ["KILLED"]

    def test_is_one_line(self, runs_root: Path) -> None:
        with pytest.raises(RegistryError) as refused, store.reached():
            found("0" * 32)
        assert "\n" not in str(refused.value)

    def test_pipeline_goes_on_and_backfill_makes_up_for_it(
        self,
        runs_root: Path,
        prepared: Path,
        stage: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        shutil.copytree(prepared, runs_root, dirs_exist_ok=True)
        monkeypatch.chdir(runs_root)
        names = list(params.load().models)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
        for name in names:
            stage("train", name)
            stage("evaluate", name)
        stage("report")
        assert capsys.readouterr().err.count("warning: ") == 2 * len(names) + 1
        with pytest.raises(RegistryError, match=f"{NOBODY}: expected an answer"):
            cli.backfill()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        cli.backfill()
        assert {run.info.run_name for run in all_runs("small")} == {*names}
        for run in all_runs("small"):
            epochs = history.read(f"models/{run.info.run_name}/history.csv")
            expected = [(epoch.epoch, epoch.validation_loss) for epoch in epochs]
            assert curve(run.info.run_id, "validation_loss") == expected
            assert "f1_macro" in run.data.metrics


def refuse(*_: object, **__: object) -> None:
    raise MlflowException("the server is gone")


class TestEvaluation:
    def test_brings_metrics_and_files(self, runs_root: Path, data: Path, tmp_path: Path) -> None:
        metrics = {"accuracy": 0.75, "f1_macro": 0.5}
        run = evaluated(metrics, data, tmp_path / "evaluation")
        assert found(run.id).data.metrics == metrics
        assert found(run.id).data.tags["checks"] == "pass"
        written = run.client.download_artifacts(run.id, "evaluation/metrics.json", str(tmp_path))
        assert atomic.read_json(written) == metrics

    def test_is_tagged_with_the_checks_that_did_not_pass(
        self, runs_root: Path, data: Path, tmp_path: Path
    ) -> None:
        statuses = {"calibration": "warn", "overfitting": "pass", "accuracy_paradox": "fail"}
        checks = [{"name": name, "status": status} for name, status in statuses.items()]
        run = evaluated({"accuracy": 0.75}, data, tmp_path / "evaluation", checks)
        tag = found(run.id).data.tags["checks"]
        assert tag == "calibration: warn, accuracy_paradox: fail"

    def test_brings_no_figure_twice(self, runs_root: Path, data: Path, tmp_path: Path) -> None:
        run = evaluated({"accuracy": 0.75, "f1_$": 0.5}, data, tmp_path / "evaluation")
        atomic.write_json(tmp_path / "evaluation/metrics.json", {"accuracy": 0.875, "f1_$": 0.5})
        run.log_evaluation(tmp_path / "evaluation")
        assert curve(run.id, "accuracy") == [(0, 0.75), (0, 0.875)]
        assert curve(run.id, "f1_:dollar sign:") == [(0, 0.5)]

    @pytest.mark.parametrize(
        ("label", "shown"),
        [
            ("NN", "NN"),
            ("ß é 語", "ß é 語"),
            ("$", ":dollar sign:"),
            (".", "."),
            ("..", ".."),
            (":", ":colon:"),
            ("''", ":apostrophe::apostrophe:"),
            ("/", ":solidus:"),
            ("and//or", "and:solidus::solidus:or"),
            ("../up", "..:solidus:up"),
            ("end/", "end:solidus:"),
            ("100 %\n", "100 :percent sign::u000a:"),
            ("x" * 300, "x" * 238 + "-9c369a19"),
        ],
    )
    def test_takes_any_class_name(
        self, runs_root: Path, data: Path, tmp_path: Path, label: str, shown: str
    ) -> None:
        run = evaluated({f"f1_{label}": 0.5}, data, tmp_path / "evaluation")
        assert found(run.id).data.metrics == {f"f1_{shown}": 0.5}

    def test_has_one_metric_for_each_class_and_its_name(
        self, runs_root: Path, data: Path, tmp_path: Path
    ) -> None:
        """Also where only those characters differ that MLflow does not take."""
        classes = ["a/b", "a,b", "a;b", "a_b", "C+", "C*", "#", "$", "\u2600", "\u2602"]
        metrics = {f"recall_{name}": number / 16 for number, name in enumerate(classes)}
        metrics |= {f"support_{name}": number for number, name in enumerate(classes)}
        run = evaluated(metrics, data, tmp_path / "evaluation")
        logged = found(run.id).data.metrics
        assert len(logged) == len(metrics)
        place = run.client.download_artifacts(run.id, "metric_names.json", str(tmp_path))
        names = atomic.read_json(place)
        assert {names.get(name, name): value for name, value in logged.items()} == metrics
        assert "recall_a_b" not in names

    def test_takes_more_metrics_than_fit_into_a_call(
        self, runs_root: Path, data: Path, tmp_path: Path
    ) -> None:
        metrics = {f"recall_{number}": number / 4096 for number in range(1200)}
        run = evaluated(metrics, data, tmp_path / "evaluation")
        assert found(run.id).data.metrics == metrics


def evaluated(
    metrics: dict[str, Any], data: Path, folder: Path, checks: list[dict[str, str]] | None = None
) -> runs.Run:
    """Log these metrics to a new run."""
    atomic.write_json(folder / "metrics.json", metrics)
    atomic.write_json(folder / "checks.json", checks or [])
    with opened("tagging", "forward", params={}, data=data) as run:
        run.log_evaluation(folder)
    return run


@contextmanager
def processes(names: list[str], *arguments: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    """Start trainings at one time; each prints its run's id, and waits for a line to go on."""
    command = [sys.executable, "-c", PROCESS]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [*command, name, *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(*waiting: "subprocess.Popen[str]") -> None:
    for process in waiting:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.slow
@pytest.mark.long
def test_three_processes_on_an_empty_store_of_which_one_dies(
    tmp_path: Path, data: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with processes(["a", "b", "c"], trained, data) as started:
        begun = [line(process) for process in started]
        assert {run.info.run_id for run in all_runs()} == set(begun)
        assert {run.info.status for run in all_runs()} == {"RUNNING"}

        started[0].send_signal(signal.SIGKILL)
        started[0].wait()
        assert found(begun[0]).info.status == "RUNNING"
        with opened("tagging", "d", params={}, data=data):
            assert [found(run).info.status for run in begun] == ["KILLED", "RUNNING", "RUNNING"]

        go_on(started[1], started[2])  # which now miss the run of one model at the same time
        filled = {line(started[1]), line(started[2])}
        assert [found(run).info.status for run in begun] == ["KILLED", "FINISHED", "FINISHED"]
        (restored,) = [run for run in all_runs() if run.data.tags["model"] == "restored"]
        assert filled == {restored.info.run_id}
