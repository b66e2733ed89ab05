"""MLflow as in production: PostgreSQL, artifacts in S3, passwords, two writers at once."""

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import services
import yaml
from conftest import ROOT

from birnn.errors import RegistryError
from birnn.files import records
from birnn.sweep.outcome import Outcome
from birnn.tracking import registry, runs, store

pytestmark = pytest.mark.long
WRITER = """
import sys
from pathlib import Path
from birnn.model.history import Epoch
from birnn.tracking import runs

name, folder, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
with runs.training_run("written", name, params={"cell": "GRU"}, data=data) as training:
    for number in range(1, 31):
        training.log_epoch(Epoch(number, 1 / number, 1 / number, 0.5, 0.5, 0.01))
    training.log_model(folder)
print(training.run.id)
"""


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The addresses of PostgreSQL, of S3 and of MLflow."""
    folder = tmp_path_factory.mktemp("server")
    with (
        services.postgres() as database,
        services.s3() as address,
        services.mlflow(database, address, folder) as uri,
    ):
        yield database, address, uri


@pytest.fixture
def client(production: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the environment of a user holds: three variables, and no key of S3."""
    known = {
        "MLFLOW_TRACKING_URI": production[2],
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": services.ADMIN,
    }
    for name in services.KEYS:
        monkeypatch.delenv(name, raising=False)
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    return known


def process(folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder), **variables}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> str:
    said, complained = process.communicate(timeout=300)
    assert (process.returncode, complained) == (0, "")
    return said


def test_two_writers_at_once(
    production: tuple[str, str, str],
    client: dict[str, str],
    trained: Path,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = prepared / "data/prepared"
    writers = [
        process(tmp_path / name, sys.executable, "-c", WRITER, name, str(trained), str(data))
        for name in ("first", "second")
    ]
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    said = [ended(writer).split() for writer in writers]
    assert [len(words) for words in said] == [1, 1]  # MLflow itself would print addresses
    for name, (found,) in zip(("first", "second"), said, strict=True):
        run = store.connect().get_run(found)
        assert (run.info.run_name, run.info.status) == (name, "FINISHED")
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        points = store.connect().get_metric_history(found, "train_loss")
        assert [point.step for point in points] == list(range(1, 31))
        known = registry.connect("written")
        version = known.register(found, {"model_sha256": runs.model_sha256(trained)})
        folder = known.fetch(version.number, tmp_path / f"fetched-{name}")
        names = ["model.json", "weights.safetensors"]
        assert filecmp.cmpfiles(folder, trained, names, shallow=False)[0] == names
    kept = [one.key for one in services.bucket(production[1]).objects.all()]
    assert sum(key.endswith("weights.safetensors") for key in kept) == 2


def test_processes_search_with_their_study_in_postgresql(
    production: tuple[str, str, str],
    client: dict[str, str],
    prepared: Path,
    small_params: Callable[[], dict[str, Any]],
    tmp_path: Path,
) -> None:
    """Each in a checkout of its own, as on two machines that share no folder."""
    tree = small_params()
    space = {"learning_rate": {"low": 0.003, "high": 0.1, "log": True}}
    tree["sweep"] = {"trials": 6, "space": space}
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        shutil.copytree(prepared / "data", folder / "data")
        (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    database = services.another(production[0], "sweep")
    machines = [process(one, "birnn", "sweep", OPTUNA_STORAGE=database) for one in folders]
    for machine in machines:
        ended(machine)
    first, second = (records.read(one / "sweep/small.json", Outcome) for one in folders)
    assert first == second
    assert [one.place for one in first.tried] == [0, 1, 2, 3, 4, 5]
    assert not (folders[0] / "sweep.db").exists()


def test_a_wrong_password_is_one_line_without_it(
    client: dict[str, str], runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in client.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong secret")
    with pytest.raises(RegistryError) as caught, store.reached():
        store.connect()
    assert "\n" not in str(caught.value)
    assert "wrong secret" not in str(caught.value)
    assert client["MLFLOW_TRACKING_URI"] in str(caught.value)
