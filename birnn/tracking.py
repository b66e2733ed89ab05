"""MLflow as a mirror of the files: one run a trained model, found again by the model's hash.

    with training_run("tagging", "bidirectional", params={...}, data=...) as run:
        run.log_epoch(epoch)                              # while it trains
        run.log_model("models/bidirectional")             # weights, history, servable model
    run = run_of_model("tagging", "bidirectional", "models/bidirectional", ...)
    run.log_evaluation("evaluation/bidirectional")

The store is `MLFLOW_TRACKING_URI`, or else SQLite in the root of the repository. DVC names the root
in `DVC_ROOT`; in a queued experiment that is the parent repository, so its runs outlive it.

Where MLflow is out of reach the stages go on with a warning: the files are the truth, and
`birnn backfill` makes the runs from them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout

from birnn import files, history
from birnn.errors import RegistryError
from birnn.history import Epoch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from PIL.Image import Image

METRICS_PER_CALL, NAME_LENGTH = 1000, 250  # MLflow's limits
NOT_SEARCHED = {"batch_steps", "clip_norm", "device", "max_epochs", "patience"}  # no params of runs
LONG_TRAINING = 60.0  # seconds from which on it is worth knowing what the machine is doing
ARTIFACTS = "mlartifacts"  # in the root
PLACES = (  # the columns of MLflow's tables that hold places of artifacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
STATE = ".birnn"  # in the root: locks, and the state of trainings that are under way
SQLITE = "sqlite:///"
SETTINGS = {  # of MLflow, which would ask a server that is out of reach for many minutes
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def root() -> Path:
    """The repository that keeps runs and locks."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def store_uri() -> str:
    """Where runs are kept; a relative place is one in the root, also for a stage in a copy."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if uri.startswith(SQLITE):  # in which SQLAlchemy takes %20 for a space
        return f"{SQLITE}{Path(str(root()).replace('%', '%25'), uri.removeprefix(SQLITE))}"
    return uri if ":" in uri or uri == "databricks" else str(root() / uri)


def has_store() -> bool:
    """Say whether there is a store already; a server is asked when it is connected to."""
    place = _store_path()
    return place is None or place.exists()


def _store_path() -> Path | None:
    """The file or folder of a store that is none of a server's."""
    uri = store_uri()
    place = Path(unquote(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else uri)
    return place if place.is_absolute() else None


def connect() -> MlflowClient:
    """Open the store; on the first time, make it. What the environment sets for MLflow holds."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient, set_tracking_uri  # takes a second to import

    for name, level in {"mlflow": "WARNING", "alembic": "WARNING", "urllib3": "ERROR"}.items():
        logging.getLogger(name).setLevel(level)
    set_tracking_uri(store_uri())
    with _lock("store"):  # two processes that make the tables at one time would both fail
        client = MlflowClient()
        client.search_experiments(max_results=1)
        place = _store_path()
        if place and root() in place.parents:  # what lies elsewhere does not move along
            _follow_move()
    return client


def _follow_move() -> None:
    """Give artifacts their new places where the repository was moved, or is a copy of another.

    Places have to be absolute: a queued experiment runs elsewhere than where its runs are kept.
    """
    from sqlalchemy import column, create_engine, func, table, text, update
    from sqlalchemy.pool import NullPool

    present = _artifacts().as_uri()
    engine = create_engine(store_uri(), poolclass=NullPool)
    with engine.begin() as store:
        stored = store.execute(text("SELECT name, artifact_location FROM experiments"))
        places = {place.removesuffix(f"/{quote(name)}") for name, place in stored if place}
        for old in places - {present}:
            if not old.endswith(f"/{ARTIFACTS}"):
                continue
            for name, place in PLACES:
                moved = func.replace(column(place), f"{old}/", f"{present}/")
                store.execute(update(table(name, column(place))).values({place: moved}))


def _artifacts() -> Path:
    return root() / ARTIFACTS


@contextmanager
def reached() -> Iterator[None]:
    """Turn what MLflow raises, such as when it is out of reach, into one line.

    Raises:
        RegistryError: MLflow did not answer, or refused.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        said = " ".join(str(error).split())
        expected = f"{without_secrets(store_uri())}: expected an answer from MLflow, found"
        raise RegistryError(f"{expected}: {without_secrets(said)[:300]}") from error


def without_secrets(text: str) -> str:
    """Take user and password out of addresses; messages go to logs, records and people."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


@contextmanager
def mirrored() -> Iterator[None]:
    """Let a stage go on without MLflow where it is out of reach, with one warning."""
    try:
        with reached():
            yield
    except RegistryError as error:
        _warn(error)


def _warn(error: RegistryError) -> None:
    print(f"warning: {error}; once it answers, run `birnn backfill`", file=sys.stderr)


def experiment(client: MlflowClient, problem: str) -> str:
    """Find the experiment of a problem, or make it; its artifacts get an absolute place."""
    with _lock("experiment"):
        found = client.get_experiment_by_name(problem)
        if found is not None:
            return str(found.experiment_id)
        remote = store_uri().startswith(("http", "databricks"))
        place = None if remote else (_artifacts() / problem).as_uri()
        return str(client.create_experiment(problem, artifact_location=place))


@dataclass(frozen=True)
class Run:
    """An MLflow run, by its id."""

    client: MlflowClient
    id: str

    def log_epoch(self, epoch: Epoch) -> None:
        """Add one point to each curve."""
        figures = asdict(epoch)
        del figures["kept"]  # which epoch that is shows only at the end
        self._log_metrics(figures, step=figures.pop("epoch"))

    def log_model(self, folder: str | Path) -> None:
        """Attach the model: its files, its hash, the kept epoch's figures, and a servable form."""
        folder = Path(folder)
        kept = asdict(history.kept(history.read(folder / "history.csv")))
        del kept["learning_rate"], kept["kept"]
        self._log_metrics({f"best_{name}": value for name, value in kept.items()})
        _log_servable(self.id, folder)
        # Last, since by it a run is found: one that was cut off before is made anew.
        self.client.set_tag(self.id, "model_sha256", model_sha256(folder))

    def log_evaluation(self, folder: str | Path) -> None:
        """Attach what `evaluate` wrote: the test metrics that are new, and all its files.

        A tag `checks` names those that did not pass.
        """
        known = self.client.get_run(self.id).data.metrics
        found = files.read_json(Path(folder) / "metrics.json").items()
        self._log_metrics({name: v for name, v in found if known.get(_name(name)) != v})
        checks = files.read_json(Path(folder) / "checks.json")
        alarms = [f"{one['name']}: {one['status']}" for one in checks if one["status"] != "pass"]
        self.client.set_tag(self.id, "checks", ", ".join(alarms) or "pass")
        self.client.log_artifacts(self.id, str(folder), "evaluation")

    def log_report(self, folder: str | Path, pictures: Mapping[str, str]) -> None:
        """Attach the report, and each of its pictures as an SVG file."""
        self.client.log_artifacts(self.id, str(folder), "report")
        with TemporaryDirectory() as place:
            for name, svg in pictures.items():
                files.write_text(Path(place) / f"{name}.svg", svg)
            self.client.log_artifacts(self.id, place, "pictures")

    def log_image(self, key: str, image: Image) -> None:
        """Attach an image that MLflow shows beside those of other runs with the same key.

        MLflow keeps all images of a key; one that it has is not attached again.
        """
        if not any(one.tobytes() == image.tobytes() for one in self._images(key)):
            self.client.log_image(self.id, image, key=key)

    def _images(self, key: str) -> Iterator[Image]:
        from PIL import Image

        with TemporaryDirectory() as place:
            for info in self.client.list_artifacts(self.id, "images"):
                if re.fullmatch(rf"images/{key}[+%].*\.png", info.path):
                    yield Image.open(self.client.download_artifacts(self.id, info.path, place))

    def _log_metrics(self, figures: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        points = [Metric(_name(key), value, now, step) for key, value in figures.items()]
        for start in range(0, len(points), METRICS_PER_CALL):
            self.client.log_batch(self.id, metrics=points[start : start + METRICS_PER_CALL])


class TrainingRun:
    """What a training tells a run, for as long as MLflow answers.

    Attributes:
        run: None from the moment on at which MLflow is out of reach.
    """

    def __init__(self) -> None:
        self.run: Run | None = None

    def log_epoch(self, epoch: Epoch) -> None:
        """Add one point to each curve."""
        self._tell(lambda run: run.log_epoch(epoch))

    def log_model(self, folder: str | Path) -> None:
        """Attach the model."""
        self._tell(lambda run: run.log_model(folder))

    def end(self, status: str) -> None:
        """Close the run."""
        self._tell(lambda run: run.client.set_terminated(run.id, status))

    def _tell(self, say: Callable[[Run], None]) -> None:
        if self.run is None:
            return
        try:
            with reached():
                say(self.run)
        except RegistryError as error:
            self.run = None
            _warn(error)


@contextmanager
def training_run(
    problem: str, model: str, *, params: Mapping[str, Any], data: Path
) -> Iterator[TrainingRun]:
    """Open a run for a training and close it with the state in which the training ended.

    It ends as FINISHED, as KILLED if the training is interrupted, as FAILED if it fails. A run
    that could not be closed, since its process died or MLflow was out of reach, is closed as
    KILLED by the next one.
    """
    training, process = TrainingRun(), uuid.uuid4().hex
    with _lock(f"runs/{process}"):
        with mirrored():
            client = connect()
            close_orphans(client)
            training.run = _create(client, problem, model, params, data, {"process": process})
        try:
            with _system_metrics(training.run):
                yield training
        except KeyboardInterrupt:
            training.end("KILLED")
            raise
        except BaseException:
            training.end("FAILED")
            raise
        training.end("FINISHED")
    if training.run:
        _lock_path(f"runs/{process}").unlink(missing_ok=True)


@contextmanager
def _system_metrics(run: Run | None) -> Iterator[None]:
    """Record what processor, memory, disk and GPU do, from the first minute of a training on."""
    if run is None:
        yield
        return
    started: list[Any] = []  # MLflow's monitor has no types

    def start() -> None:
        from mlflow.system_metrics import system_metrics_monitor

        started.append(system_metrics_monitor.SystemMetricsMonitor(run.id))  # type: ignore[no-untyped-call]
        started[0].start()

    timer = threading.Timer(LONG_TRAINING, start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        for monitor in started:
            monitor.finish()


def run_of_model(
    problem: str,
    model: str,
    folder: str | Path,
    *,
    params: Mapping[str, Any],
    data: Path,
) -> Run:
    """Find the run that trained a model, or fill one in from the model's files.

    A model has no run where DVC took it from its cache, or where another store was in use.
    """
    client = connect()
    with _lock("backfill"):  # two processes that miss a run must not both make it
        found = client.search_runs(
            [experiment(client, problem)],
            f"tags.model_sha256 = '{model_sha256(folder)}' and tags.model = '{model}'",
            max_results=1,
        )
        if found:
            return Run(client, found[0].info.run_id)
        epochs, process = history.read(Path(folder) / "history.csv"), uuid.uuid4().hex
        with _lock(f"runs/{process}"):
            tags = {"backfilled": "true", "process": process}
            run = _create(client, problem, model, params, data, tags)
            for epoch in epochs:
                run.log_epoch(epoch)
            run.log_model(folder)
            client.set_terminated(run.id, "FINISHED")
        _lock_path(f"runs/{process}").unlink(missing_ok=True)
        return run


def model_sha256(folder: str | Path) -> str:
    """The hash that names a model: of its weights and its description."""
    return files.sha256(Path(folder) / "weights.safetensors", Path(folder) / "model.json")


def data_sha256(folder: Path) -> str:
    """The hash that names the prepared data: of all splits and their encoding."""
    return files.sha256(*sorted(folder.glob("*.arrow")), folder / "encoding.json")


def params_sha256(params: Mapping[str, Any]) -> str:
    """The hash that names the params of a run."""
    return files.sha256_of_text(json.dumps(params, sort_keys=True))


def commit() -> str:
    """The commit that is checked out, or an empty string outside of git."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _create(
    client: MlflowClient,
    problem: str,
    model: str,
    params: Mapping[str, Any],
    data: Path,
    tags: Mapping[str, str],
) -> Run:
    from mlflow.entities import Param

    described = {
        "mlflow.runName": model,
        "mlflow.source.name": "birnn",
        "mlflow.source.git.commit": commit(),
        "DVC_EXP_NAME": os.environ.get("DVC_EXP_NAME", ""),
        "problem": problem,
        "model": model,
        "data_sha256": data_sha256(data),
        "params_sha256": params_sha256(params),
        **tags,
    }
    present = {name: value for name, value in described.items() if value}
    run = client.create_run(experiment(client, problem), tags=present)
    few = {name: value for name, value in params.items() if name not in NOT_SEARCHED}
    client.log_batch(run.info.run_id, params=[Param(k, str(v)) for k, v in few.items()])
    return Run(client, run.info.run_id)


def close_orphans(client: MlflowClient) -> None:
    """Close the runs of processes that have died: the system has let go of their locks."""
    for path in (root() / STATE / "runs").glob("*.lock"):
        try:
            with FileLock(path, timeout=0):
                _close(client, path.stem)
        except Timeout:
            continue
        path.unlink(missing_ok=True)


def _close(client: MlflowClient, process: str) -> None:
    experiments = [found.experiment_id for found in client.search_experiments()]
    for run in client.search_runs(experiments, f"tags.process = '{process}'"):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")


def _lock_path(name: str) -> Path:
    path = root() / STATE / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _lock(name: str) -> FileLock:
    return FileLock(_lock_path(name))


def _name(metric: str) -> str:
    """A name that MLflow takes; class names may hold any character, and `/` would make a path."""
    letters = (letter if letter.isalnum() or letter in "_-. :" else "_" for letter in metric)
    return "".join(letters)[:NAME_LENGTH]


def _log_servable(run_id: str, folder: Path) -> None:
    """Log a pyfunc model made of code, weights and JSON; MLflow's PyTorch formats would pickle."""
    import mlflow

    package = Path(__file__).parent
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided")  # the signature is
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(package / "serving.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(package)],
            signature=_signature(files.read_json(folder / "model.json")["encoding"]),
            pip_requirements=["mlflow", "pandas", "pyarrow", "safetensors", "torch"],
        )


def _signature(encoding: Mapping[str, Any]) -> ModelSignature:
    """Written by hand: one inferred from an example would fix the number of steps."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    values = [ColSpec("double", name) for name in encoding["features"]]
    tokens = [ColSpec("string", "token")] if encoding["vocabulary"] is not None else []
    shares = [ColSpec("float", f"probability_{label}") for label in encoding["labels"]]
    return ModelSignature(
        inputs=Schema([ColSpec("string", "sequence"), *values, *tokens]),
        outputs=Schema([ColSpec("string", "sequence"), ColSpec("string", "predicted"), *shares]),
    )
