"""The whole pipeline, as a user runs it: fresh clones of this checkout, DVC, git and MLflow."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Once
from mlflow import MlflowClient
from mlflow.entities import Run

from birnn import history

ROOT = Path(__file__).parents[1]
MODELS = ("bidirectional", "forward")
STAGES = 7  # with one `train` and one `evaluate` a model
pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    """This process's, without what would lead out of the clone; the same Python comes first."""
    outside = ("DVC", "GIT", "MLFLOW")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
    return kept | {
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def start(folder: Path, *command: str) -> "subprocess.Popen[str]":
    """Start a command in a clone, with its code; DVC's files outside of it go beside it."""
    beside = folder.parent / f"{folder.name}-dvc"
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(folder), "DVC_SITE_CACHE_DIR": str(beside)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a command, which must not fail, and give what it printed."""
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def run(folder: Path, *command: str) -> str:
    return finish(start(folder, *command))


def clone(folder: Path, params: dict[str, Any]) -> None:
    """Copy what git knows of this checkout, and all that is new in it, with other params."""
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "config", "user.name", "a")
    run(folder, "git", "config", "user.email", "a@example.org")
    commit(folder)


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "x")


@pytest.fixture(scope="session")
def clones(once: Once, small_params: Callable[[], dict[str, Any]]) -> tuple[Path, Path]:
    """Two clones, one after `dvc repro` and one after a queued experiment without a change.

    Both run at the same time.
    """

    def make(shared: Path) -> None:
        first, second = shared / "first", shared / "second"
        for folder in (first, second):
            clone(folder, small_params())
        repro = start(first, "dvc", "repro")
        try:
            run(second, "dvc", "exp", "run", "--queue", "--name", "again")
            run(second, "dvc", "exp", "run", "--run-all")
            run(second, "dvc", "exp", "apply", "again")
        finally:
            finish(repro)
        commit(first)

    shared = once("clones", make)
    return shared / "first", shared / "second"


@pytest.fixture
def first(clones: tuple[Path, Path]) -> Path:
    """A clone after `dvc repro`, to be left as it is."""
    return clones[0]


@pytest.fixture
def queued(clones: tuple[Path, Path]) -> Path:
    """A clone with the results of a queued experiment, to be left as it is."""
    return clones[1]


@pytest.fixture
def copy(first: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed, without the MLflow store."""
    ignore = shutil.ignore_patterns("mlflow.db", "mlartifacts", ".birnn", "__pycache__")
    return Path(shutil.copytree(first, tmp_path / "copy", ignore=ignore))


def outs(folder: Path) -> Iterator[Path]:
    """All that dvc.yaml says will be written."""
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values():
        names = MODELS if "matrix" in stage else ("",)
        yield from (
            folder / out.replace("${item.model}", name) for out in stage["outs"] for name in names
        )


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs(folder: Path) -> dict[str, Run]:
    """All MLflow runs in a clone's store, by the name of the model; each name is there once."""
    store = client(folder)
    experiments = [found.experiment_id for found in store.search_experiments()]
    found = list(store.search_runs(experiments))
    named = {run.data.tags["model"]: run for run in found}
    assert len(named) == len(found)
    return named


def artifacts(folder: Path, run: Run, path: str) -> set[str]:
    return {info.path for info in client(folder).list_artifacts(run.info.run_id, path)}


def check_runs(folder: Path) -> None:
    """A store holds one run a model, and each has all that belongs to it."""
    found = runs(folder)
    assert found.keys() == set(MODELS)
    for one in found.values():
        check_whole(folder, one)


def check_whole(folder: Path, run: Run) -> None:
    """A run has its curves, its test metrics, its model, its files and the report."""
    assert run.info.status == "FINISHED"
    name = run.data.tags["model"]
    rows = history.read(folder / "models" / name / "history.csv")
    points = client(folder).get_metric_history(run.info.run_id, "train_loss")
    assert [(p.step, p.value) for p in points] == [(row.epoch, row.train_loss) for row in rows]
    metrics = json.loads((folder / "evaluation" / name / "metrics.json").read_text())
    assert metrics.items() <= run.data.metrics.items()
    accuracy = client(folder).get_metric_history(run.info.run_id, "accuracy")
    assert [point.value for point in accuracy] == [metrics["accuracy"]]
    assert "evaluation/confusion.csv" in artifacts(folder, run, "evaluation")
    assert "report/report.html" in artifacts(folder, run, "report")
    (model,) = client(folder).search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    (logged,) = Path(model.artifact_location.removeprefix("file://")).rglob("weights.safetensors")
    assert logged.read_bytes() == (folder / "models" / name / "weights.safetensors").read_bytes()


class TestRepro:
    def test_writes_all_outs(self, first: Path) -> None:
        assert not [out for out in outs(first) if not out.is_file() or not out.stat().st_size]

    def test_runs_nothing_a_second_time(self, first: Path) -> None:
        output = run(first, "dvc", "repro")
        assert output.count("didn't change, skipping") == STAGES
        assert "Running stage" not in output

    def test_logs_a_run_a_model(self, first: Path) -> None:
        check_runs(first)

    def test_ends_with_a_table_of_the_models(self, first: Path) -> None:
        lines = run(first, "birnn", "summary").splitlines()
        assert [name for name in MODELS if any(f" {name} " in line for line in lines)] == [*MODELS]
        assert lines[-1] == "report/report.html"


class TestDVC:
    def test_shows_the_metrics_of_both_models(self, first: Path) -> None:
        shown = json.loads(run(first, "dvc", "metrics", "show", "--json"))
        for name in MODELS:
            path = f"evaluation/{name}/metrics.json"
            metrics = shown[""]["data"][path]["data"]
            assert metrics == json.loads((first / path).read_text())

    def test_draws_the_plots(self, first: Path, tmp_path: Path) -> None:
        output = run(first, "dvc", "plots", "show", "--out", str(tmp_path))
        assert output.strip() == (tmp_path / "index.html").as_uri()
        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        for plot in yaml.safe_load((first / "dvc.yaml").read_text())["plots"]:
            assert all(title in page for title in plot)

    def test_restores_what_was_deleted_and_birnn_its_runs(self, copy: Path) -> None:
        for out in outs(copy):
            out.unlink()
        output = run(copy, "dvc", "repro")
        assert output.count("is cached - skipping run") == STAGES
        assert not (copy / "mlflow.db").exists()
        for _ in range(2):
            run(copy, "birnn", "backfill")
            check_runs(copy)


class TestExperiment:
    def test_in_the_queue_gives_the_bytes_of_another_clone(self, first: Path, queued: Path) -> None:
        assert (queued / "dvc.lock").read_bytes() == (first / "dvc.lock").read_bytes()

    def test_in_the_queue_leaves_its_runs_behind(self, queued: Path) -> None:
        assert not list(queued.glob(".dvc/tmp/exps/**/dvc.yaml"))  # where it ran is gone
        check_runs(queued)
        assert {run.data.tags["DVC_EXP_NAME"] for run in runs(queued).values()} == {"again"}

    @pytest.mark.parametrize("way", [[], ["--temp"]], ids=["here", "temp"])
    def test_with_another_value(self, copy: Path, way: list[str]) -> None:
        change = ["-S", "train.learning_rate=0.02", "--name", "faster"]
        run(copy, "dvc", "exp", "run", *way, *change, "train@forward")
        (found,) = runs(copy).values()
        assert found.info.status == "FINISHED"
        assert found.data.params["learning_rate"] == "0.02"
        assert found.data.tags["DVC_EXP_NAME"] == "faster"
        if way:
            assert not list(copy.glob(".dvc/tmp/exps/**/dvc.yaml"))
            run(copy, "dvc", "exp", "apply", "faster")
        (changes,) = json.loads(run(copy, "dvc", "params", "diff", "--json")).values()
        assert changes.keys() == {"train.learning_rate"}
        assert changes["train.learning_rate"]["new"] == 0.02
