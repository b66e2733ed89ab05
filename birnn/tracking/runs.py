"""One MLflow run a trained model, found again by the model's hash.

    with training_run("tagging", "bidirectional", params={...}, data=...) as run:
        run.log_epoch(epoch)                              # while it trains
        run.log_model("models/bidirectional")             # weights, history, servable model
    run = run_of_model("tagging", "bidirectional", "models/bidirectional", ...)
    run.log_evaluation("evaluation/bidirectional")

A run that is interrupted ends as KILLED, one that fails as FAILED.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from birnn.errors import INTERRUPTS, RegistryError
from birnn.files import atomic, digests, installed, locks, paths, scores
from birnn.kernel import library
from birnn.model import history
from birnn.model.history import Epoch
from birnn.params import Knob, of_last_commit
from birnn.tracking import descriptions
from birnn.tracking.descriptions import plain_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image
from birnn.tracking.servable import log
from birnn.tracking.store import (
    STATE,
    connect,
    experiment,
    lock,
    lock_path,
    mirrored,
    reached,
    root,
    warn,
)

METRICS_PER_CALL, PARAMS_PER_CALL, TAG_LENGTH = 1000, 100, 8000  # MLflow's limits
METRIC_NAMES = "metric_names.json"
LISTED_LENGTH = 200  # of names of files in a tag
NO_TAGS: Mapping[str, str] = MappingProxyType({})
LONG_TRAINING = 60.0  # seconds from which on it is worth knowing what the machine is doing


@dataclass(frozen=True)
class Run:
    """An MLflow run, by its id."""

    client: MlflowClient
    id: str

    def log_epoch(self, epoch: Epoch, seconds: float | None = None) -> None:
        """Add one point to each curve, and how long the epoch took where that is known."""
        figures = asdict(epoch)
        del figures["kept"]  # which epoch that is shows only at the end
        if seconds is not None:
            figures["seconds_an_epoch"] = seconds
        self._log_metrics(figures, step=figures.pop("epoch"))

    def log_model(self, folder: str | Path) -> None:
        """Attach the model: its files, its hash, the kept epoch's figures, and a servable form.

        A tag `thresholds` names those of the critical classes.
        """
        folder = Path(folder)
        kept = asdict(history.kept(history.read(folder / paths.HISTORY)))
        del kept["learning_rate"], kept["kept"]
        self._log_metrics({f"best_{name}": value for name, value in kept.items()})
        thresholds = atomic.read_json(folder / paths.DESCRIPTION)["thresholds"]
        if thresholds:
            named = (f"{label}: {threshold:.4g}" for label, threshold in thresholds.items())
            self.set_tags({"thresholds": ", ".join(named)})
        log(self.id, folder)
        # Last, since by it a run is found: one that was cut off before is made anew.
        self.client.set_tag(self.id, "model_sha256", model_sha256(folder))

    def log_evaluation(self, folder: str | Path) -> None:
        """Attach what `evaluate` wrote: the test metrics that are new, and all its files.

        A tag `checks` names those that did not pass.
        """
        self.log_figures(scores.read(Path(folder) / paths.METRICS).flat())
        checks = atomic.read_json(Path(folder) / paths.CHECKS)
        self.log_checks([(one["name"], one["status"]) for one in checks])
        self.client.log_artifacts(self.id, str(folder), "evaluation")

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Log those that are new, or have another value now.

        The artifact `metric_names.json` gives the own name of each that MLflow would not take.
        """
        known = self.client.get_run(self.id).data.metrics
        new = {name: v for name, v in figures.items() if known.get(plain_name(name)) != v}
        self._log_metrics(new)
        spelled = {plain_name(name): name for name in figures if plain_name(name) != name}
        if spelled and new:
            self.client.log_dict(self.id, spelled, METRIC_NAMES)

    def log_checks(self, checks: Iterable[tuple[str, str]]) -> None:
        """Name in a tag `checks` those that did not pass.

        Args:
            checks: name and status of each.
        """
        alarms = [f"{name}: {status}" for name, status in checks if status != "pass"]
        self.set_tags({"checks": ", ".join(alarms) or "pass"})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, those that are there too."""
        for name, value in tags.items():
            self.client.set_tag(self.id, name, value[:TAG_LENGTH])

    def log_report(self, folder: str | Path, pictures: Mapping[str, str]) -> None:
        """Attach the report, and each of its pictures as an SVG file."""
        self.client.log_artifacts(self.id, str(folder), "report")
        with TemporaryDirectory() as place:
            for name, svg in pictures.items():
                atomic.write_text(Path(place) / f"{name}.svg", svg)
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
        points = [Metric(plain_name(key), value, now, step) for key, value in figures.items()]
        for start in range(0, len(points), METRICS_PER_CALL):
            self.client.log_batch(self.id, metrics=points[start : start + METRICS_PER_CALL])


class TrainingRun:
    """What a training tells a run, for as long as MLflow answers.

    Attributes:
        run: None from the moment on at which MLflow is out of reach.
    """

    def __init__(self) -> None:
        self.run: Run | None = None

    def log_epoch(self, epoch: Epoch, seconds: float | None = None) -> None:
        """Add one point to each curve."""
        self._tell(lambda run: run.log_epoch(epoch, seconds))

    def log_model(self, folder: str | Path) -> None:
        """Attach the model."""
        self._tell(lambda run: run.log_model(folder))

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Log figures that are no curves."""
        self._tell(lambda run: run.log_figures(figures))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._tell(lambda run: run.set_tags(tags))

    def end(self, status: str) -> None:
        """Close the run, at the second try where its end has hit the store within a write."""
        run = self.run
        self._tell(lambda run: run.client.set_terminated(run.id, status))
        if self.run is None and run is not None:
            self.run = run
            self._tell(lambda run: run.client.set_terminated(run.id, status))

    def _tell(self, say: Callable[[Run], None]) -> None:
        if self.run is None:
            return
        try:
            with reached():
                say(self.run)
        except RegistryError as error:
            self.run = None
            warn(error)


@contextmanager
def training_run(
    problem: str,
    model: str,
    *,
    params: Mapping[str, Knob],
    data: Path,
    base: Mapping[str, Knob] | None = None,
    device: str = "",
    tags: Mapping[str, str] = NO_TAGS,
) -> Iterator[TrainingRun]:
    """Open a run for a training and close it with the state in which the training ended.

    Args:
        problem: names the experiment.
        model: which of `models` is trained.
        params: of the run.
        data: the folder of the prepared data.
        base: the params of the last commit; the run's name and note say where it differs.
        device: the processor or GPU that computes.
        tags: further ones; `data_sha256` in the place of the hash of all prepared data.

    It ends as FINISHED, as KILLED if the training is interrupted, as FAILED if it fails. A run
    that could not be closed, since its process died or MLflow was out of reach, is closed as
    KILLED by the next one.
    """
    training, process = TrainingRun(), uuid.uuid4().hex
    with lock(f"runs/{process}"):
        with mirrored():
            client = connect()
            close_orphans(client)
            arithmetic = library.name() if device.startswith("cpu") else "torch"
            own = {"process": process, "device": device, "arithmetic": arithmetic}
            own |= {**_said(model, params, base), **tags}
            training.run = _create(client, problem, model, params, data, own)
        try:
            with _system_metrics(training.run):
                yield training
        except INTERRUPTS:
            training.end("KILLED")
            raise
        except BaseException:
            training.end("FAILED")
            raise
        training.end("FINISHED")
    if training.run:
        lock_path(f"runs/{process}").unlink(missing_ok=True)


def parent(problem: str, sweep: str, name: str) -> str:
    """Make a run for others to lie below, and return its id; it trains nothing and is closed."""
    client = connect()
    tags = {"mlflow.runName": name, "problem": problem, "sweep": sweep}
    run = client.create_run(experiment(client, problem), tags=tags).info.run_id
    client.set_terminated(run, "FINISHED")
    return str(run)


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
    params: Mapping[str, Knob],
    data: Path,
    base: Mapping[str, Knob] | None = None,
) -> Run:
    """Find the run that trained a model, or fill one in from the model's files.

    A model has no run where DVC took it from its cache, or where another store was in use. Other
    params may give a model of the same bytes: that is another run.
    """
    client = connect()
    wanted = {
        "model_sha256": model_sha256(folder),
        "model": model,
        "params_sha256": params_sha256(params),
    }
    with lock("backfill"):  # two processes that miss a run must not both make it
        found = client.search_runs(
            [experiment(client, problem)],
            " and ".join(f"tags.{name} = '{value}'" for name, value in wanted.items()),
            max_results=1,
        )
        if found:
            return Run(client, found[0].info.run_id)
        epochs, process = history.read(Path(folder) / paths.HISTORY), uuid.uuid4().hex
        with lock(f"runs/{process}"):
            tags = {"backfilled": "true", "process": process, **_said(model, params, base)}
            run = _create(client, problem, model, params, data, tags)
            for epoch in epochs:
                run.log_epoch(epoch)
            run.log_model(folder)
            client.set_terminated(run.id, "FINISHED")
        lock_path(f"runs/{process}").unlink(missing_ok=True)
        return run


def in_checkout(problem: str, model: str, params: Mapping[str, Knob], root: Path = Path()) -> Run:
    """Find or fill in the run of a model of the pipeline; see `run_of_model`."""
    folder, data = root / paths.MODELS / model, root / paths.PREPARED
    base = of_last_commit(problem, model)
    return run_of_model(problem, model, folder, params=params, data=data, base=base)


def model_sha256(folder: str | Path) -> str:
    """The hash that names a model: of its weights and its description."""
    return digests.sha256(Path(folder) / paths.WEIGHTS, Path(folder) / paths.DESCRIPTION)


def data_sha256(folder: Path) -> str:
    """The hash that names the prepared data: of all splits and their encoding."""
    return digests.sha256(*sorted(folder.glob("*.arrow")), folder / paths.ENCODING)


def params_sha256(params: Mapping[str, Knob]) -> str:
    """The hash that names the params of model and training.

    Those with a dot in their name are of data and preparation, whose result `data_sha256` names,
    and of critical classes, whose thresholds are part of the model.
    """
    named = {name: value for name, value in params.items() if "." not in name}
    return digests.sha256_of_text(json.dumps(named, sort_keys=True))


def commit() -> str:
    """The commit that is checked out, or an empty string outside of git."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def uncommitted() -> str:
    """Name the code and params that the commit does not hold, or not like this; empty if it does.

    With such a commit alone a result cannot be repeated.
    """
    names = (".py", "dvc.yaml", "params.yaml", installed.PATH)
    inputs = [f":(top)*{name}" for name in names]
    command = ["git", "status", "--porcelain", "--untracked-files=all", "--", *inputs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = ", ".join(line[3:] for line in done.stdout.splitlines())
    return found if len(found) <= LISTED_LENGTH else f"{found[:LISTED_LENGTH]}..."


def _create(
    client: MlflowClient,
    problem: str,
    model: str,
    params: Mapping[str, Knob],
    data: Path,
    tags: Mapping[str, str],
) -> Run:
    from mlflow.entities import Param

    sha256 = tags.get("data_sha256") or data_sha256(data)
    described = {
        "mlflow.source.name": "birnn",
        "mlflow.source.git.commit": commit(),
        "uncommitted": uncommitted(),
        "DVC_EXP_NAME": os.environ.get("DVC_EXP_NAME", ""),
        "problem": problem,
        "model": model,
        "data_sha256": sha256,
        "params_sha256": params_sha256(params),
        **tags,
    }
    present = {name: value for name, value in described.items() if value}
    run = client.create_run(experiment(client, problem), tags=present).info.run_id
    logged = [Param(name, text) for name, text in descriptions.texts(params).items()]
    for start in range(0, len(logged), PARAMS_PER_CALL):
        client.log_batch(run, params=logged[start : start + PARAMS_PER_CALL])
    client.log_inputs(run, [descriptions.dataset(problem, params, data, sha256)])
    return Run(client, run)


def _said(
    model: str, params: Mapping[str, Knob], base: Mapping[str, Knob] | None
) -> dict[str, str]:
    """Name and note, for a person who looks through many runs."""
    changed = descriptions.differences(params, base)
    return {
        "mlflow.runName": descriptions.run_name(model, changed),
        "mlflow.note.content": descriptions.note(params, base),
    }


def close_orphans(client: MlflowClient) -> None:
    """Close the runs of processes that have died: the system has let go of their locks."""
    for path in (root() / STATE / "runs").glob("*.lock"):
        try:
            with locks.held(path, timeout=0):
                _close(client, path.stem)
        except Timeout:
            continue
        path.unlink(missing_ok=True)


def _close(client: MlflowClient, process: str) -> None:
    experiments = [found.experiment_id for found in client.search_experiments()]
    for run in client.search_runs(experiments, f"tags.process = '{process}'"):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
