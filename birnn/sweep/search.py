"""The search itself: any number of processes that share one study of Optuna's.

    found = run(params.load(), storage="sqlite:////somewhere/sweep.db")

A study is named by the hash of all that decides what is found, so a search that was stopped goes on
where it was. Each process takes the lowest place that is free, trains it, and says what came out.
The place of a process that has died is free again: at once where its lock can be seen, which the
system lets go of, and else when it has not been heard of for a while.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna import Study, TrialPruned
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import MedianPruner, NopPruner
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError

from birnn import params
from birnn.errors import SweepError, TrainingError, without_secrets
from birnn.files import console, digests, paths
from birnn.model.train import Prepared
from birnn.params import Knobs, Params
from birnn.sweep import outcome, space
from birnn.sweep import trial as trials
from birnn.sweep.outcome import Outcome, Tried
from birnn.sweep.space import PLACE
from birnn.sweep.trial import Setting
from birnn.tracking import runs, store

STORAGE = "OPTUNA_STORAGE"  # the variable that Optuna's own commands read
DATABASE = "sweep.db"  # in the root
LOST_AFTER = 60  # seconds without a word of a process on another machine
BEATS = 4  # words in that time
POLL = 0.5  # seconds between two looks at what other processes do
WAIT = 60  # seconds for another process that writes into SQLite
TRIES = 6  # to make the tables of a storage, while another machine does
UNPRUNED = 5  # settings that are trained to their end before others are compared with them
PROCESS = "process"
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


class Next(Enum):
    """What a process is to do."""

    TRAIN = "train"
    WAIT = "wait"
    END = "end"


class _TakenError(Exception):
    """Another process has taken the place that this one was to train."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search that this process takes part in.

    Attributes:
        chosen: all params.
        model: the name of the one that is searched for.
        data: what is learned from.
        study: of Optuna.
        parent: the id of the run in MLflow below which those of the trainings are; empty where
            MLflow is out of reach.
        process: the name of this process.
    """

    chosen: Params
    model: str
    data: Prepared
    study: Study
    parent: str
    process: str

    def train(self, trial: Trial) -> float:
        """Train what is drawn for a trial.

        Raises:
            TrialPruned: it was stopped, or its loss is no longer a number.
        """
        if PLACE not in trial.user_attrs:
            raise _TakenError
        trial.set_user_attr(PROCESS, self.process)
        place = trial.user_attrs[PLACE]
        settings = self._settings(trial, place)
        trial.set_user_attr("settings", settings)
        folder = _folder(self.study) / str(place)
        tags = {
            "sweep": self.study.study_name,
            "mlflow.parentRunId": self.parent,
            "trial": str(place),
            "data_sha256": self.study.user_attrs["data"],
        }
        setting = Setting(self.chosen, self.model, settings, tags)

        def report(step: int, value: float) -> None:
            trial.report(value, step)
            if place and trial.should_prune():
                raise TrialPruned

        try:
            value = trials.value(setting, self.data, folder, report)
        except TrainingError as error:
            console.say(f"trial {place}: {error}", error=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise TrialPruned from None
        except TrialPruned:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return value

    def _settings(self, trial: Trial, place: int) -> Knobs:
        """Those that are drawn; first of all those of params.yaml, which Optuna is told of."""
        tried = self.chosen.sweep.space
        if place:
            return space.drawn(trial, tried)
        default: Knobs = self.study.user_attrs["default"]
        known = space.inside(default, tried)
        space.drawn(trial, {key: axis for key, axis in tried.items() if key in known})
        return default


def run(
    chosen: Params, *, trials: int | None = None, storage: str = "", lost_after: int = LOST_AFTER
) -> Outcome:
    """Take part in a search until it is done, and write what was found.

    Args:
        chosen: all params.
        trials: settings to try; `sweep.trials` if not given.
        storage: a URL of SQLAlchemy's; without it, SQLite in the root.
        lost_after: seconds without a word after which a process on another machine counts as dead.

    Raises:
        SweepError: there is nothing to search, or the storage does not answer.
        DataError: `prepare` has not run.
    """
    if not chosen.sweep.space:
        raise SweepError("sweep.space: expected keys to search in params.yaml, found none")
    model = chosen.sweep.model or chosen.candidate
    data = Prepared.read(paths.PREPARED)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _reached(storage), _alive() as process:
        study = _study(chosen, model, storage, lost_after)
        parent = _parent(chosen, model, study)
        search = Search(chosen, model, data, study, parent, process)
        while (step := _next(search, trials or chosen.sweep.trials)) is not Next.END:
            if step is Next.WAIT:
                time.sleep(POLL)
                continue
            try:
                study.optimize(search.train, n_trials=1, catch=(_TakenError,), callbacks=[_say])
            except UpdateFinishedTrialError:  # slept for so long that it was taken for dead
                continue
        found = _outcome(search)
    outcome.write(found)
    _clean(study)
    _log(search, found)
    return found


def _folder(study: Study) -> Path:
    """Where what trainings need to go on after a kill lies meanwhile."""
    return store.root() / store.STATE / "sweep" / study.study_name


@contextmanager
def _reached(storage: str) -> Iterator[None]:
    """Turn what a storage raises into one line."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ArgumentError, ModuleNotFoundError) as error:
        said = " ".join(str(error.__cause__ or error).split())[:300]
        raise SweepError(
            f"{store.shown(_url(storage))}: expected a storage of Optuna's, found: "
            f"{without_secrets(said, storage)}"
        ) from error


def _url(storage: str) -> str:
    return storage or f"sqlite:///{store.root() / DATABASE}"


def _study(chosen: Params, model: str, storage: str, lost_after: int) -> Study:
    """Open the study of a search; the first process makes it."""
    url, sweep = _url(storage), chosen.sweep
    local = {"connect_args": {"timeout": WAIT}} if url.startswith("sqlite") else {}
    sha256 = outcome.data_sha256(paths.PREPARED)
    default = params.entry(chosen, model).model_dump()
    identity = {
        "data": sha256,
        "base": {key: value for key, value in default.items() if key not in sweep.space},
        "sweep": sweep.model_dump(exclude={"trials"}),
    }
    named = digests.sha256_of_text(json.dumps(identity, sort_keys=True))[:8]
    after = sweep.prune_after
    with store.lock("sweep"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of the signs of life
        kept = _storage(url, local, lost_after)
        study = optuna.create_study(
            storage=kept,
            sampler=space.Sampler(sweep.seed),
            pruner=MedianPruner(UNPRUNED, n_warmup_steps=after) if after else NopPruner(),
            study_name=f"{chosen.problem}-{model}-{named}",
            direction="minimize" if sweep.metric == "loss" else "maximize",
            load_if_exists=True,
        )
        if "default" not in study.user_attrs:
            study.set_user_attr("data", sha256)
            study.set_user_attr("default", {key: default[key] for key in sweep.space})
    return study


def _storage(url: str, local: dict[str, dict[str, int]], lost_after: int) -> RDBStorage:
    """Open a storage; of two machines that make its tables at once, one fails and tries again."""
    for tries in range(TRIES, 0, -1):
        try:
            return RDBStorage(
                url,
                engine_kwargs=local,
                heartbeat_interval=max(1, lost_after // BEATS),
                grace_period=lost_after,
            )
        except (IntegrityError, ProgrammingError, RuntimeError) as error:
            if tries == 1:  # a RuntimeError: tables of another version, or those of MLflow
                raise StorageInternalError(str(error)) from None
            time.sleep(POLL)
    raise AssertionError


def _next(search: Search, wanted: int) -> Next:
    """Take the lowest place that is free, if there is one, and say what to do."""
    study = search.study
    with store.lock("sweep"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
        _free_places(study)
        known = [one for one in _trials(study) if one.state is not TrialState.FAIL]
        taken = {one.user_attrs[PLACE] for one in known}
        free = next(place for place in range(len(taken) + 1) if place not in taken)
        states = {one.state for one in known}
        if TrialState.WAITING in states:
            return Next.TRAIN
        if free < wanted:
            default = study.user_attrs["default"]
            first = {} if free else space.inside(default, search.chosen.sweep.space)
            study.enqueue_trial(first, user_attrs={PLACE: free, PROCESS: search.process})
            return Next.TRAIN
    return Next.WAIT if TrialState.RUNNING in states else Next.END


def _trials(study: Study) -> list[FrozenTrial]:
    """Those that have a place; a process that came too late has left others."""
    return [one for one in study.get_trials(deepcopy=False) if PLACE in one.user_attrs]


def _free_places(study: Study) -> None:
    """Count as failed what processes trained that have died: the system let go of their locks."""
    for one in _trials(study):
        process = one.user_attrs.get(PROCESS, "")
        if one.state is TrialState.RUNNING and _is_dead(process):
            study.tell(one.number, state=TrialState.FAIL, skip_if_finished=True)


def _is_dead(process: str) -> bool:
    """Say whether a process has died here; of one on another machine nothing can be seen."""
    path = store.lock_path(f"sweep/{process}")
    if not process or not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return True
    except Timeout:
        return False


def _clean(study: Study) -> None:
    """Remove what a search that is done needs no more, and locks of processes that have died."""
    shutil.rmtree(_folder(study), ignore_errors=True)
    for path in _folder(study).parent.glob("*.lock"):
        if _is_dead(path.stem):
            path.unlink(missing_ok=True)


@contextmanager
def _alive() -> Iterator[str]:
    """Show others that this process is alive, under a name that no other has."""
    process = uuid.uuid4().hex
    with store.lock(f"sweep/{process}"):
        yield process
    store.lock_path(f"sweep/{process}").unlink(missing_ok=True)  # of one that failed it is needed


def _say(study: Study, trial: FrozenTrial) -> None:
    """Tell a person of a trial that is done."""
    if trial.state in DONE:
        one = _tried(study, trial)
        what = "none" if one.value is None else f"{one.value:.4f}"
        how = "stopped after" if one.pruned else "trained"
        settings = outcome.spelled(one.settings)
        console.say(f"trial {one.place}: {what}, {how} {one.epochs} epochs: {settings}")


def _tried(study: Study, trial: FrozenTrial) -> Tried:
    """What came out of a trial."""
    best = min if study.direction is optuna.study.StudyDirection.MINIMIZE else max
    reached = trial.intermediate_values.values()
    pruned = trial.state is TrialState.PRUNED
    return Tried(
        place=trial.user_attrs[PLACE],
        settings=trial.user_attrs["settings"],
        value=best(reached, default=None) if pruned else trial.value,
        epochs=len(reached),
        pruned=pruned,
    )


def _outcome(search: Search) -> Outcome:
    sweep = search.chosen.sweep
    done = {
        one.user_attrs[PLACE]: _tried(search.study, one)
        for one in reversed(_trials(search.study))  # of two for one place the first counts
        if one.state in DONE
    }
    return Outcome(
        problem=search.chosen.problem,
        model=search.model,
        metric=sweep.metric,
        data=search.study.user_attrs["data"],
        seeds=trials.seeds(search.chosen, search.model),
        tried=[done[place] for place in sorted(done)],
    )


def _parent(chosen: Params, model: str, study: Study) -> str:
    """The run below which those of all trainings are; the first process that can makes it."""
    with store.lock("sweep"), store.mirrored():
        if "run" not in study.user_attrs:
            name = f"sweep of {model}"
            study.set_user_attr("run", runs.parent(chosen.problem, study.study_name, name))
    return str(study.user_attrs.get("run", ""))


def _log(search: Search, found: Outcome) -> None:
    """Attach what was found to the parent's run."""
    if search.parent and found.best is not None and found.best.value is not None:
        with store.mirrored():
            run = runs.Run(store.connect(), search.parent)
            run.log_figures({f"best_validation_{found.metric}": found.best.value})
            run.set_tags({"mlflow.note.content": found.sentence})
            run.client.log_artifact(run.id, str(outcome.place(found.problem)), "sweep")
