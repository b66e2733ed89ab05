"""One setting of a search: trained with each seed, on the training and the validation split alone.

The functions are those of the stage `train`. What a training needs to go on after a kill lies in a
folder of the setting's own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from optuna import TrialPruned

from birnn import params
from birnn.model import devices, history, train, training
from birnn.model.history import Epoch
from birnn.model.train import Prepared
from birnn.params import Entry, Knobs, Params
from birnn.tracking import runs
from birnn.tracking.runs import TrainingRun

Report = Callable[[int, float], None]
"""Told of a number of epochs and the metric after them; raises `TrialPruned` to stop a training."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is to be trained.

    Attributes:
        chosen: all params.
        model: the name of the one that is searched for.
        values: of the keys that are searched.
        tags: of its runs in MLflow.
    """

    chosen: Params
    model: str
    values: Knobs
    tags: Mapping[str, str]

    def entry(self, seed: int) -> Entry:
        """What is trained with one seed, by this process alone."""
        base = params.entry(self.chosen, self.model).model_dump()
        return Entry.model_validate({**base, **self.values, "seed": seed, "workers": 1})


def seeds(chosen: Params, model: str) -> list[int]:
    """With each of which a setting is trained."""
    return list(chosen.sweep.seeds) or [params.entry(chosen, model).seed]


@dataclass(frozen=True, slots=True)
class Followed:
    """Tells a run in MLflow of each epoch, and then the search; the model itself is not kept."""

    run: TrainingRun
    metric: str
    before: int
    report: Report

    def log_epoch(self, epoch: Epoch, seconds: float | None) -> None:
        """See `birnn.model.train.Log`."""
        self.run.log_epoch(epoch, seconds)
        self.report(self.before + epoch.epoch, figure(epoch, self.metric))

    def log_model(self, folder: Path) -> None:
        """See `birnn.model.train.Log`."""


def figure(epoch: Epoch, metric: str) -> float:
    """The metric of the validation split after an epoch."""
    return epoch.validation_loss if metric == "loss" else epoch.validation_accuracy


def value(setting: Setting, data: Prepared, folder: Path, report: Report) -> float:
    """Train a setting with each of its seeds.

    Args:
        setting: what to train.
        data: what is learned from; the test split is no part of it.
        folder: for what the trainings need meanwhile.
        report: told of every epoch; those of a further seed are counted on from `max_epochs`.

    Returns:
        The mean of the metric over the seeds, each at the epoch that is kept.

    Raises:
        TrialPruned: `report` has stopped a training.
        TrainingError: a loss is no longer a number.
    """
    metric = setting.chosen.sweep.metric
    reached: list[float] = []
    for seed in seeds(setting.chosen, setting.model):
        entry = setting.entry(seed)
        kept = _trained(setting, entry, data, folder / str(seed), len(reached), report)
        if kept is None:
            raise TrialPruned
        reached.append(figure(kept, metric))
    return statistics.fmean(reached)


def _trained(
    setting: Setting, entry: Entry, data: Prepared, folder: Path, done: int, report: Report
) -> Epoch | None:
    """The epoch that is kept; None where the training was stopped, which is not its failure."""
    options = training.options(entry)
    model = train.network(entry, data, options)
    knobs = params.of_run(setting.chosen, setting.model) | entry.model_dump()
    with runs.training_run(
        setting.chosen.problem,
        setting.model,
        params=knobs | {"precision": options.precision},
        data=data.folder,
        base=params.of_last_commit(setting.chosen.problem, setting.model),
        device=devices.name(options.device),
        tags=setting.tags,
    ) as run:
        log = Followed(run, setting.chosen.sweep.metric, done * entry.max_epochs, report)
        output = train.Output(folder, {}, folder)
        try:
            epochs = train.train(model, data, options, {}, output=output, log=log)
        except TrialPruned:
            run.tag({"pruned": "true"})
            return None
        kept = history.kept(epochs)
        figures = {"loss": kept.validation_loss, "accuracy": kept.validation_accuracy}
        run.log_figures({f"validation.{name}": value for name, value in figures.items()})
    return kept
