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

from birnn.model import history

ROOT = Path(__file__).parents[1]
MODELS = ("bidirectional", "forward")
OLD_CPU = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
}
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


def start(folder: Path, *command: str, **settings: str) -> "subprocess.Popen[str]":
    """Start a command in a clone, with its code; DVC's files outside of it go beside it."""
    beside = folder.parent / f"{folder.name}-dvc"
    own = {"PYTHONPATH": str(folder), "DVC_SITE_CACHE_DIR": str(beside)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment() | own | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a command, which must not fail, and give what it printed."""
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def run(folder: Path, *command: str, **settings: str) -> str:
    return finish(start(folder, *command, **settings))


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
        run(first, "birnn", "summary")
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
        names = MODELS if "foreach" in stage else ("",)
        keys = stage.get("do", stage)
        listed = [*keys["outs"], *keys.get("metrics", []), *keys.get("plots", [])]
        outs = [out if isinstance(out, str) else next(iter(out)) for out in listed]
        yield from (folder / out.replace("${key}", name) for out in outs for name in names)


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs(folder: Path) -> dict[str, Run]:
    """All MLflow runs in a clone's store, by the name of the model; each name is there once."""
    runs_root = client(folder)
    experiments = [found.experiment_id for found in runs_root.search_experiments()]
    found = list(runs_root.search_runs(experiments))
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
    validation = metrics.pop("validation")
    assert metrics.items() <= run.data.metrics.items()
    assert run.data.metrics["validation.accuracy"] == validation["accuracy"]
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
        assert lines[-2] == "report/report.html"
        assert lines[-1].startswith("identical: ")


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
        titles = ("Confusion", "F1 by sequence length", "Reliability", "Validation loss by epoch")
        assert not [one for one in titles if any(f"{one}, {name}" not in page for name in MODELS)]
        assert "Loss by epoch" in page
        assert "Accuracy by epoch" in page

    def test_has_stages_for_the_models_of_the_params(self, copy: Path) -> None:
        shutil.copy(ROOT / "examples/cells.yaml", copy / "params.yaml")
        cells = yaml.safe_load((copy / "params.yaml").read_text())["models"]
        listed = run(copy, "dvc", "stage", "list", "--name-only").splitlines()
        expected = [f"{stage}@{name}" for stage in ("train", "evaluate") for name in cells]
        assert sorted(listed) == sorted(["generate", "prepare", *expected, "report"])

    def test_restores_what_was_deleted_and_birnn_its_runs(self, copy: Path) -> None:
        for out in outs(copy):
            out.unlink()
        output = run(copy, "dvc", "repro")
        assert output.count("is cached - skipping run") == STAGES
        assert not (copy / "mlflow.db").exists()
        run(copy, "birnn", "backfill")
        check_runs(copy)


class TestVerify:
    @pytest.mark.long
    def test_what_an_older_cpu_makes_is_identical_or_equivalent(self, copy: Path) -> None:
        run(copy, "dvc", "repro", "--force", "--single-item", "train@forward", **OLD_CPU)
        run(copy, "dvc", "repro", **OLD_CPU)
        made, found = run(copy, "birnn", "verify", **OLD_CPU).splitlines()
        assert made.startswith("The result of the last commit was made on processor ")
        assert found.startswith(("identical: ", "equivalent: "))
        assert run(copy, "birnn", "summary").splitlines()[-1] == found

    @pytest.mark.long
    def test_what_another_seed_makes_is_different(self, copy: Path) -> None:
        params = yaml.safe_load((copy / "params.yaml").read_text())
        params["train"]["patience"] = 1
        params["train"]["seed"] += 1
        (copy / "params.yaml").write_text(yaml.safe_dump(params))
        run(copy, "dvc", "repro", "train@forward")
        verified = start(copy, "birnn", "verify")
        output, _ = verified.communicate()
        assert verified.returncode == 1
        assert output.splitlines()[-1] == (
            "different: prepare: params.yaml: train.seed: 2 in the last commit, 3 here"
        )


class TestBareClone:
    """What git alone brings along."""

    @pytest.fixture
    def bare(self, first: Path, tmp_path: Path) -> Path:
        run(first, "git", "clone", "--quiet", ".", str(tmp_path / "bare"))
        return tmp_path / "bare"

    def test_has_the_figures_of_the_last_commit(self, bare: Path, tmp_path: Path) -> None:
        shown = json.loads(run(bare, "dvc", "metrics", "show", "--json"))[""]["data"]
        for name in MODELS:
            assert shown[f"evaluation/{name}/metrics.json"]["data"]["accuracy"] > 0
        assert json.loads(run(bare, "dvc", "metrics", "diff", "--all", "--json", "HEAD"))
        run(bare, "dvc", "plots", "show", "--out", str(tmp_path / "plots"))
        page = (tmp_path / "plots/index.html").read_text(encoding="utf-8")
        for title in ("Loss by epoch", "F1 by sequence length", "Confusion, forward"):
            assert title in page

    def test_has_no_result_to_verify(self, bare: Path) -> None:
        verified = start(bare, "birnn", "verify")
        output, _ = verified.communicate()
        assert verified.returncode == 1
        assert "data/raw/sequences.parquet: no such file here; run `dvc repro`" in output


class TestExperiment:
    def test_in_the_queue_gives_the_bytes_of_another_clone(self, first: Path, queued: Path) -> None:
        assert (queued / "dvc.lock").read_bytes() == (first / "dvc.lock").read_bytes()

    def test_in_the_queue_leaves_its_runs_behind(self, queued: Path) -> None:
        assert not list(queued.glob(".dvc/tmp/exps/**/dvc.yaml"))  # where it ran is gone
        check_runs(queued)
        assert {run.data.tags["DVC_EXP_NAME"] for run in runs(queued).values()} == {"again"}

    @pytest.mark.parametrize(
        "way",
        [pytest.param([], id="here", marks=pytest.mark.long), pytest.param(["--temp"], id="temp")],
    )
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
