"""Trained and tested models, from MLflow's runs or DVC's experiments, to be compared.

trials = of_runs("tagging")         # all finished runs of a problem
trials = of_experiments()           # the workspace, the last commit, and experiments on it
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from birnn import params
from birnn.errors import DataError, RegistryError
from birnn.files import paths, scores
from birnn.files.paths import EVALUATION
from birnn.files.scores import Scores
from birnn.tracking import store
from birnn.tracking.descriptions import own_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

VALIDATION = f"{scores.VALIDATION}."
SWEEP = "sweep"  # a tag of runs of a search for settings
FINISHED = "attributes.status = 'FINISHED'"


@dataclass(frozen=True, slots=True)
class Trial:
    """A model that was trained and tested once.

    Attributes:
        name: of the experiment, if it has one.
        model: its name among `models`.
        params: as text, by the names that `birnn.params.of_run` gives them.
        data: the hash of its data; empty where that is not known.
        scores: of its test and validation splits.
        run: the id of its run in MLflow; empty for DVC's experiments.
    """

    name: str
    model: str
    params: Mapping[str, str]
    data: str
    scores: Scores
    run: str = ""


def of_runs(problem: str) -> list[Trial]:
    """Read the finished and tested runs of a problem, the newest first.

    Of runs that repeat a training only the newest counts: it would give the same once more.

    Raises:
        RegistryError: MLflow is out of reach, or holds no such runs.
    """
    trials = list(distinct(_of_run(run) for run in _runs(problem) if SWEEP not in run.data.tags))
    if not trials:
        raise RegistryError(
            f"{problem}: expected tested runs in MLflow, found none; run `dvc repro`, "
            "or `birnn backfill` where there is a result"
        )
    return trials


def of_sweep(problem: str) -> list[Trial]:
    """Read the trainings of the last search for settings that were not stopped, untested as it is.

    Raises:
        RegistryError: MLflow is out of reach, or holds none.
    """
    runs = [run for run in _runs(problem) if SWEEP in run.data.tags]
    last = next((run.data.tags[SWEEP] for run in runs), "")
    trials = list(distinct(_of_run(run) for run in runs if run.data.tags[SWEEP] == last))
    if not trials:
        raise RegistryError(
            f"{problem}: expected trainings of a search in MLflow, found none; run `birnn sweep`"
        )
    return [replace(trial, scores=replace(trial.scores, test={})) for trial in trials]


def _runs(problem: str) -> list[Any]:
    """All finished runs of a problem, the newest first."""
    with store.reached():
        client = store.connect()
        found = client.get_experiment_by_name(problem)
        return list(_pages(client, found.experiment_id)) if found else []


def _pages(client: MlflowClient, experiment: str) -> Iterator[Any]:
    """All finished runs, of which MLflow gives a thousand at a time."""
    token = None
    while token is None or token:
        page = client.search_runs([experiment], FINISHED, page_token=token)
        yield from page
        token = page.token or ""


def _of_run(run: Any) -> Trial:
    tags = run.data.tags
    metrics = {own_name(name): value for name, value in run.data.metrics.items()}
    validation = {
        name.removeprefix(VALIDATION): value
        for name, value in metrics.items()
        if name.startswith(VALIDATION)
    }
    return Trial(
        name=tags.get("DVC_EXP_NAME", ""),
        model=tags.get("model", ""),
        params={own_name(name): value for name, value in run.data.params.items()},
        data=tags.get("data_sha256", ""),
        scores=Scores(test=metrics, validation=validation),
        run=run.info.run_id,
    )


def distinct(trials: Iterable[Trial]) -> Iterator[Trial]:
    """Leave out those without scores on the validation split, and all but the first of equals."""
    seen = set()
    for trial in trials:
        key = (trial.model, trial.data, *sorted(trial.params.items()))
        if trial.scores.validation and key not in seen:
            seen.add(key)
            yield trial


def curve(trial: Trial, metric: str) -> list[tuple[float, float]]:
    """Epochs and values of a curve of a run in MLflow, such as `validation_loss`."""
    with store.reached():
        points = store.connect().get_metric_history(trial.run, metric)
    return [(point.step, point.value) for point in points]


def of_experiments() -> list[Trial]:
    """Read the workspace, the last commit, and DVC's experiments that were made from it.

    Raises:
        DataError: DVC cannot list them, or none is done.
    """
    command = ["dvc", "exp", "show", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise DataError(f"`{' '.join(command)}`: expected a list, found: {said}")
    trials = [trial for state in _states(json.loads(done.stdout)) for trial in _of_state(*state)]
    if not trials:
        raise DataError("expected results of experiments, found none; run `dvc exp run`")
    return trials


def _states(shown: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and content of each state of the repository; queued and failed ones have none."""
    for state in shown:
        if state["data"]:
            yield state.get("name") or state["rev"], state["data"]
        for experiment in state.get("experiments") or []:
            yield from _states({**one, "experiments": None} for one in experiment["revs"][:1])


def _of_state(name: str, content: Mapping[str, Any]) -> Iterator[Trial]:
    chosen = params.parsed(_data(content["params"], params.PATH))
    for model in chosen.models if chosen else ():
        path = (EVALUATION / model / paths.METRICS).as_posix()
        if chosen and (tree := _data(content["metrics"], path)):
            knobs = {key: str(value) for key, value in params.of_run(chosen, model).items()}
            yield Trial(name, model, knobs, "", scores.of_tree(tree))


def _data(files: Mapping[str, Any], path: str) -> Any:
    return files.get(path, {}).get("data")
