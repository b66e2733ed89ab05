"""One training, from the prepared data to the files of a model.

    data = Prepared.read(Path("data/prepared"))
    model = network(params.Model(), data, options)
    epochs = train(model, data, options, {}, output=..., log=run)

A training that was killed goes on where it stopped: its state is kept outside of the outs, named by
all that decides its result.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from birnn.data import parted, sequences, vectors
from birnn.data.encoding import Encoding
from birnn.data.parted import Parts
from birnn.data.sequences import Sequences
from birnn.data.vectors import Vectors
from birnn.files import console, digests, paths, records
from birnn.kernel import library
from birnn.model import (
    devices,
    distributed,
    history,
    operating_points,
    prediction,
    saved_model,
    sizes,
    training,
)
from birnn.model.architecture import Architecture, of_params
from birnn.model.batching import Batch
from birnn.model.checkpoint import File, Progress
from birnn.model.distributed import ALONE, Group
from birnn.model.history import Epoch
from birnn.model.networks import SequenceModel
from birnn.model.operating_points import Wanted
from birnn.model.training import Options, complaint

if TYPE_CHECKING:  # a machine that is lent for its GPU may have no pydantic
    from birnn import params
    from birnn.params import Knobs


Fit = Callable[..., Progress]
"""`birnn.model.training.fit`, or what has it done elsewhere."""


class Log(Protocol):
    """Who is told how a training goes, such as a run in MLflow."""

    def log_epoch(self, epoch: Epoch, seconds: float | None) -> None:
        """Take note of an epoch and how long it took; of those that a training is resumed from once
        more, without.
        """

    def log_model(self, folder: Path) -> None:
        """Take note of the files of the model."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a trained model goes.

    Attributes:
        folder: of the model and its history.
        params: to note in the model's description, by their flat names.
        states: where trainings keep how far they are.
    """

    folder: Path
    params: Knobs
    states: Path


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` has written, as far as a training reads it."""

    folder: Path
    encoding: Encoding
    train: Sequences | Parts
    validation: Sequences | Parts
    pretrained: Vectors

    @classmethod
    def read(cls, folder: Path) -> Prepared:
        """Read the encoding and the vectors, and map the splits.

        Validation chooses among models that know the classes of train, and no others: labels of
        classes that are in validation alone are left out here.

        Raises:
            DataError: a file is missing, or no label of validation is left.
        """
        encoding = records.read(folder / paths.ENCODING, Encoding)
        validation = parted.read(folder / paths.VALIDATION)
        if encoding.unseen:
            validation = parted.known(validation, len(encoding.labels))
            sequences.check_known(validation.tally().known, len(validation), "validation")
        return cls(
            folder=folder,
            encoding=encoding,
            train=parted.read(folder / paths.TRAIN),
            validation=validation,
            pretrained=vectors.load(folder / paths.VECTORS),
        )


def planned(chosen: params.Model, data: Prepared, options: Options) -> Architecture:
    """What the network is to be; what is wrong with it is found before it is made.

    Raises:
        ParamsError: see `birnn.model.architecture.of_params`.
        NoRoomError: this machine has too little memory.
    """
    architecture = of_params(chosen, data.encoding, data.pretrained)
    if options.device.type == "cpu":
        sizes.check_room(architecture, _most_steps(data.train, options))
    return architecture


def network(chosen: params.Model, data: Prepared, options: Options) -> SequenceModel:
    """Seed torch, and make the network with which a training begins.

    Raises:
        ParamsError: see `planned`.
        NoRoomError: likewise.
    """
    architecture = planned(chosen, data, options)
    settle(options, architecture)
    if options.device.type == "cpu" and library.why_none() and distributed.leads():
        console.say(
            f"note: torch computes, so other CPUs get other digits: {library.why_none()}",
            error=True,
        )
    model = SequenceModel(architecture)
    model.start_from(data.pretrained)
    return model


def settle(options: Options, architecture: Architecture) -> None:
    """Seed torch, and settle how and in how many threads it computes."""
    devices.make_deterministic(options.seed, options.device)
    devices.use_tf32(options.device, wanted=options.precision == "tf32")
    devices.limit_threads(options.batch_size * architecture.sums)


def _most_steps(data: Sequences | Parts, options: Options) -> int:
    """Steps of the largest batch, padding included, if the longest sequences are together."""
    longest = data.longest
    most = longest * min(options.batch_size, len(data))
    return most if options.batch_steps is None else max(longest, min(most, options.batch_steps))


def train(
    model: SequenceModel,
    data: Prepared,
    options: Options,
    critical: Mapping[str, Wanted],
    *,
    output: Output,
    log: Log,
    group: Group = ALONE,
    fit: Fit = training.fit,
) -> list[Epoch]:
    """Train, and keep files and log in step with every epoch.

    Args:
        model: trained in place.
        data: what it learns from.
        options: how.
        critical: what each critical class must reach.
        output: where the leading process writes the model and its history.
        log: told of every epoch, and at last of the model; by the leading process alone.
        group: the processes that train together.
        fit: what does; see `birnn.model.training.fit` and `birnn.model.ranks`.

    Returns:
        The epochs so far, of which one is kept; in processes that do not lead, none.
    """
    epochs: list[Epoch] = []
    began: list[float] = []
    state = output.states / f"{_name(model.architecture, data, options)}.safetensors"

    def note(epoch: Epoch) -> None:
        if group.leads:
            epochs[:] = history.marked([*epochs, epoch], options.keep)
            complaints = [complaint(one, len(data.encoding.labels)) for one in epochs]
            if complaints[-1] and not any(complaints[:-1]):
                console.say(f"warning: {complaints[-1]}", error=True)
            history.write(epochs, output.folder / paths.HISTORY)
            log.log_epoch(epoch, time.perf_counter() - began[-1] if began else None)

    def track(batches: Iterable[Batch], description: str) -> Iterable[Batch]:
        began.append(time.perf_counter())
        return console.track(batches, description)

    fit(
        model,
        data.train,
        data.validation,
        options,
        resume=File(state),
        on_epoch=note,
        group=group,
        track=track,
    )
    if group.leads:
        thresholds = _thresholds(model, data, options, critical) if critical else {}
        saved_model.save(model, data.encoding, thresholds, output.folder, params=output.params)
        log.log_model(output.folder)
        # An experiment beside this one may have had the same training, and be done with it.
        state.unlink(missing_ok=True)
    return epochs


def _thresholds(
    model: SequenceModel, data: Prepared, options: Options, critical: Mapping[str, Wanted]
) -> dict[str, float]:
    """From which probability on the model is to answer with each critical class."""
    validation = parted.whole(data.validation)
    said = prediction.probabilities(model, validation, device=options.device)
    known = validation.labelled()
    labels, actual = data.encoding.labels, known.labels
    return operating_points.thresholds(critical, labels, actual, said[known.rows])


def _name(architecture: Architecture, data: Prepared, options: Options) -> str:
    """The hash of all that decides what comes out of a training."""
    chosen = asdict(options) | {"device": options.device.type}
    return digests.sha256_of_text(
        json.dumps([asdict(architecture), chosen, torch.__version__, digest(data.folder)])
    )


def digest(folder: Path) -> str:
    """The hash of the prepared data that a training reads.

    Raises:
        FileNotFoundError: a file is missing.
    """
    names = (paths.TRAIN, paths.VALIDATION, paths.VECTORS)
    return digests.sha256(*(folder / name for name in names))
