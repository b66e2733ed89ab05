"""A training that is stopped: how its run ends, and that the next one goes on as if nothing was."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import checkout
import pytest
import yaml
from conftest import run_stage
from mlflow.entities import Run

from birnn.files import console
from birnn.model import history
from birnn.model.batching import Batch
from birnn.tracking import runs, store

EPOCHS = 60  # more than are over before the signal arrives
OUTS = ("history.csv", "model.json", "weights.safetensors")


@pytest.fixture(scope="module")
def start(
    prepared: Path,
    small_params: Callable[[], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A working directory in which a training of many epochs is to be done."""
    folder = tmp_path_factory.mktemp("start")
    shutil.copytree(prepared / "data", folder / "data")
    tree = small_params()
    tree["model"]["dropout"] = 0.25
    tree["train"] |= {"max_epochs": EPOCHS, "patience": EPOCHS}
    (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return folder


@pytest.fixture
def place(start: Path, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with an MLflow store."""
    monkeypatch.chdir(runs_root)
    return Path(shutil.copytree(start, runs_root, dirs_exist_ok=True))


@pytest.fixture(scope="module")
def undisturbed(
    start: Path,
    empty_store: Path,
    stage: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, bytes]:
    """What the training writes if nobody stops it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(empty_store, folder)
    shutil.copytree(start, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", "")
        stage("train", "forward")
    return outs(folder)


def outs(place: Path) -> dict[str, bytes]:
    return {name: (place / "models/forward" / name).read_bytes() for name in OUTS}


def all_runs() -> list[Run]:
    """The newest comes first."""
    client = store.connect()
    return list(client.search_runs([store.experiment(client, "small")]))


def statuses() -> list[str]:
    return [run.info.status for run in all_runs()]


def train(place: Path) -> None:
    """Do what `python -m stages.train forward` does, in a process of its own that says nothing."""
    os.chdir(place)
    os.environ.update(checkout.environment(place))
    with Path(os.devnull).open("w") as sys.stdout:
        run_stage("train", "forward")


def stopped(place: Path, *, after: int, by: signal.Signals) -> int:
    """Run the stage until as many epochs are over, stop it, and give its exit status."""
    rows = place / "models/forward/history.csv"
    rows.unlink(missing_ok=True)  # as DVC does
    process = checkout.processes().Process(target=train, args=(place,))
    process.start()
    try:
        while not (rows.exists() and rows.read_text().count("\n") > after):
            assert process.is_alive()
            time.sleep(0.001)
        assert process.pid is not None
        os.kill(process.pid, by)
        process.join()
        assert process.exitcode is not None
        return int(process.exitcode)
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
def test_that_is_stopped_three_times_ends_with_the_same_bytes(
    place: Path,
    stage: Callable[..., None],
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert stopped(place, after=1, by=signal.SIGKILL) == -signal.SIGKILL
    assert statuses() == ["RUNNING"]
    assert stopped(place, after=5, by=signal.SIGKILL) == -signal.SIGKILL
    assert statuses() == ["RUNNING", "KILLED"]
    assert stopped(place, after=9, by=signal.SIGTERM) == 143
    assert statuses() == ["KILLED", "KILLED", "KILLED"]
    assert not (place / "models/forward/weights.safetensors").exists()

    trained: list[str] = []

    def spy(batches: Iterable[Batch], name: str) -> Iterable[Batch]:
        trained.append(name)
        return batches

    monkeypatch.setattr(console, "track", spy)
    stage("train", "forward")
    assert outs(place) == undisturbed
    assert trained[-1] == f"epoch {EPOCHS}"
    assert 0 < len(trained) <= EPOCHS - 9  # nine or more were not trained again
    assert statuses() == ["FINISHED", "KILLED", "KILLED", "KILLED"]
    rows = history.read(place / "models/forward/history.csv")
    points = store.connect().get_metric_history(all_runs()[0].info.run_id, "validation_loss")
    assert [(p.step, p.value) for p in points] == [(r.epoch, r.validation_loss) for r in rows]
    assert not list((place / ".birnn/resume").iterdir())


def test_that_another_experiment_has_finished_too(
    place: Path, stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(run: runs.Run, folder: Path) -> None:
        (state,) = (place / ".birnn/resume").glob("*.safetensors")
        state.unlink()

    monkeypatch.setattr(runs.Run, "log_model", finish)
    stage("train", "forward")
    assert statuses() == ["FINISHED"]


def test_whose_loss_stays_finite_but_high_says_so_once(
    place: Path, stage: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    tree = yaml.safe_load((place / "params.yaml").read_text())
    tree["train"] |= {"learning_rate": 1e7, "max_epochs": 3}
    (place / "params.yaml").write_text(yaml.safe_dump(tree))
    stage("train", "forward")
    message = capsys.readouterr().err
    assert message.startswith("warning: epoch 1: expected a loss near ")
    assert message.endswith("lower train.learning_rate\n")
    assert message.count("\n") == 1
    assert statuses() == ["FINISHED"]


def test_that_diverges_has_failed(
    place: Path, stage: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    tree = yaml.safe_load((place / "params.yaml").read_text())
    tree["train"]["learning_rate"] = 1e38
    (place / "params.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(SystemExit) as ended:
        stage("train", "forward")
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("error: epoch ")
    assert message.endswith("lower train.learning_rate\n")
    assert statuses() == ["FAILED"]
    assert not (place / "models/forward/weights.safetensors").exists()
