"""The servable model, loaded and served as MLflow does it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from mlflow.exceptions import MlflowException

from birnn.data.encoding import Encoding
from birnn.files import atomic
from birnn.kernel import library
from birnn.model import history, prediction, saved_model
from birnn.model.architecture import Architecture
from birnn.model.history import Epoch
from birnn.model.networks import SequenceModel
from birnn.tracking import runs, servable

LABELS = ["no", "ja é", "10"]
CPU = torch.device("cpu")


@pytest.fixture
def place(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are kept; what loading a model adds to `sys.path` is taken off again."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(tempfile, "tempdir", str(runs_root))
    return runs_root


def save(folder: Path, *, task: str, columns: str) -> None:
    """A model with random weights; it knows 3 features, 20 tokens and how they look, or both."""
    torch.manual_seed(0)
    features = ["x", "heart rate", "é"] if "features" in columns else []
    scale = [float(number) for number in range(1, len(features) + 1)]
    words = [f"w{number}" for number in range(20)] if "tokens" in columns else None
    encoding = Encoding(task, LABELS, features, scale, scale, words, "0123456789w")
    embedded: dict[str, Any] = {
        "embedding_size": 4,
        "tokens": 21,
        "characters": encoding.characters,
        "character_size": 3,
        "character_hidden_size": 2,
    }
    architecture = Architecture(
        task=task,
        cell="LSTM",
        features=len(features),
        hidden_size=5,
        num_layers=2,
        dropout=0.5,
        bidirectional=True,
        classes=len(LABELS),
        **(embedded if words else {"embedding_size": 0}),
    )
    saved_model.save(SequenceModel(architecture), encoding, {}, folder)
    history.write([Epoch(1, 1.0, 1.0, 0.5, 0.5, 0.01, kept=True)], folder / "history.csv")


def log(folder: Path, place: Path) -> str:
    """Log the model to a run of its own; give the name by which MLflow finds it."""
    atomic.write_json(place / "prepared/encoding.json", {})
    run = runs.run_of_model("tagging", "a", folder, params={}, data=place / "prepared")
    return f"runs:/{run.id}/model"


def table(lengths: list[int], columns: str) -> pd.DataFrame:
    """A request; some of its tokens are not in the vocabulary."""
    rng = np.random.default_rng(1)
    request = {"sequence": np.repeat([f"s{number}" for number in range(len(lengths))], lengths)}
    if "features" in columns:
        request |= {name: rng.standard_normal(sum(lengths)) for name in ("x", "heart rate", "é")}
    if "tokens" in columns:
        request["token"] = np.array([f"w{n}" for n in rng.integers(25, size=sum(lengths))])
    return pd.DataFrame(request)


def directly(folder: Path, request: pd.DataFrame) -> pd.DataFrame:
    """What the library predicts, without MLflow."""
    batches = pa.Table.from_pandas(request, preserve_index=False).to_batches()
    predicted = prediction.of_table(*saved_model.load(folder), batches, where="here", device=CPU)
    frame: pd.DataFrame = pa.concat_tables(predicted).to_pandas()
    return frame


@pytest.mark.parametrize("task", ["tagging", "classification"])
@pytest.mark.parametrize("columns", ["features", "tokens", "features and tokens"])
def test_predicts_what_the_library_predicts(place: Path, task: str, columns: str) -> None:
    save(place / "m", task=task, columns=columns)
    loaded = mlflow.pyfunc.load_model(log(place / "m", place))
    for lengths in ([1], [4, 1, 2], [300, 7]):  # no number of steps is built in
        request = table(lengths, columns)
        served = loaded.predict(request)
        pd.testing.assert_frame_equal(served, directly(place / "m", request))
        assert len(served) == (sum(lengths) if task == "tagging" else len(lengths))


class TestRequest:
    @pytest.mark.parametrize("how", ["refuse", "last"])
    def test_may_lack_numbers_as_training_data_may(self, place: Path, how: str) -> None:
        save(place / "m", task="tagging", columns="features")
        description = atomic.read_json(place / "m" / "model.json")
        fills = [] if how == "refuse" else [7.0, 8.0, 9.0]
        description["encoding"] |= {"missing": how, "fills": fills}
        atomic.write_json(place / "m" / "model.json", description)
        loaded = mlflow.pyfunc.load_model(log(place / "m", place))
        request = table([3, 2], "features")
        request.loc[[2, 3], "x"] = np.nan  # the last step of a sequence, the first of the next
        if how == "refuse":
            with pytest.raises(MlflowException, match="the request, row 3, column `x`: expected a"):
                loaded.predict(request)
            return
        filled = request.assign(x=[*request["x"][:2], request["x"][1], 7.0, request["x"][4]])
        pd.testing.assert_frame_equal(loaded.predict(request), loaded.predict(filled))

    def test_may_have_more_columns(self, place: Path) -> None:
        save(place / "m", task="tagging", columns="features")
        loaded = mlflow.pyfunc.load_model(log(place / "m", place))
        request = table([3, 2], "features")
        wider = request.assign(label="no", note="x")[["label", *reversed(request.columns), "note"]]
        pd.testing.assert_frame_equal(loaded.predict(wider), loaded.predict(request))

    def test_must_have_the_features_and_whole_sequences(self, place: Path) -> None:
        save(place / "m", task="tagging", columns="features")
        loaded = mlflow.pyfunc.load_model(log(place / "m", place))
        request = table([2, 2], "features")
        with pytest.raises(MlflowException, match=r"missing inputs \['x'\]"):
            loaded.predict(request.drop(columns="x"))
        with pytest.raises(MlflowException, match="the request, row 3: sequence 's0' goes on"):
            loaded.predict(request.iloc[[0, 2, 1]])


def test_requirements_are_not_compared_with_what_is_installed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are made of it; MLflow would first list the files of all packages, for a second."""
    asked: list[str] = []
    monkeypatch.setattr(
        "mlflow.utils.requirements_utils._check_requirement_satisfied", asked.append
    )
    save(place / "m", task="tagging", columns="features")
    log(place / "m", place)
    assert asked == []


def test_requirements_are_pinned_as_they_were_tested(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save(place / "m", task="tagging", columns="features")
    address = log(place / "m", place)
    assert "mismatches" not in capfd.readouterr().err
    logged = Path(mlflow.artifacts.download_artifacts(address))
    lines = (logged / "requirements.txt").read_text().splitlines()
    assert f"pyarrow=={version('pyarrow')}" in lines
    assert all(re.fullmatch(r"[a-z]+==[0-9.]+", line) for line in lines)
    assert servable.COMPILER in Path(__file__).parents[2].joinpath("constraints.txt").read_text()


ALONE = """
import importlib.metadata, json, re, sys
needed, seen = json.loads(sys.argv[2]), set()
while needed:
    name = re.match("[A-Za-z0-9._-]+", needed.pop())[0].lower().replace("_", "-")
    if name not in seen:
        seen.add(name)
        try:
            wanted = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another system
            continue
        needed += [one for one in wanted if "extra ==" not in one]
provided = importlib.metadata.packages_distributions()

class Refuse:
    def find_spec(self, name, path=None, target=None):
        own = [one.lower().replace("_", "-") for one in provided.get(name.partition(".")[0], [])]
        if own and not seen & {*own} and "birnn" not in own:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import mlflow, pandas as pd
loaded = mlflow.pyfunc.load_model(sys.argv[1])
request = pd.DataFrame({"sequence": ["a", "a"], "x": 1.0, "heart rate": 2.0, "é": 3.0})
print(len(loaded.predict(request)), "torch" in sys.modules, "torch" in seen)
"""


@pytest.mark.slow
@pytest.mark.skipif(not library.is_there(), reason="needs the kernel")
def test_requirements_suffice_and_hold_no_torch(place: Path) -> None:
    save(place / "m", task="tagging", columns="features")
    logged = Path(mlflow.artifacts.download_artifacts(log(place / "m", place)))
    lines = (logged / "requirements.txt").read_text().splitlines()
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(logged), json.dumps(lines)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "2 False False\n", done.stderr


def test_nothing_is_pickled(place: Path) -> None:
    save(place / "m", task="tagging", columns="tokens")
    logged = Path(mlflow.artifacts.download_artifacts(log(place / "m", place)))
    found = {path.suffix for path in logged.rglob("*") if path.is_file()}
    assert found <= {
        "",
        ".c",
        ".css",
        ".csv",
        ".h",
        ".j2",
        ".json",
        ".py",
        ".safetensors",
        ".txt",
        ".typed",
        ".yaml",
        ".yml",
    }


@contextmanager
def server(uri: str, folder: Path) -> Iterator[str]:
    """Serve a model on a free port as a user would, in a session of its own to end it whole."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "--model-uri", uri, "--env-manager", "local"]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=os.environ | {"PATH": programs, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/ping", process)
        yield f"{address}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server answers."""
    for _ in range(600):
        assert process.poll() is None
        try:
            urllib.request.urlopen(address).close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(address)


def post(address: str, request: pd.DataFrame) -> Any:
    body = json.dumps({"dataframe_split": request.to_dict("split")}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as response:
        return json.load(response)["predictions"]


@pytest.mark.slow
def test_server_predicts_what_the_library_predicts(place: Path) -> None:
    save(place / "m", task="tagging", columns="features")
    request = table([5, 1, 40], "features")
    with server(log(place / "m", place), place) as address:
        served = pd.DataFrame(post(address, request))
        pd.testing.assert_frame_equal(served, directly(place / "m", request), check_dtype=False)
        wrong = {
            "missing inputs ['x']": request.drop(columns="x"),
            "the request, row 3: sequence 's0' goes on": request.iloc[[0, 5, 1]],
        }
        for message, sent in wrong.items():
            with pytest.raises(urllib.error.HTTPError, match="400") as refused:
                post(address, sent)
            answer = json.load(refused.value)
            assert message in answer["message"]
            assert "stack_trace" not in answer
