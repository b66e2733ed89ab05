"""Train one model of the matrix; a training that was killed goes on where it stopped.

    python -m stages.train bidirectional
    torchrun --nproc-per-node 2 -m stages.train bidirectional    # the same batches, shared out

Reads `problem`, `model`, `models`, `train` and `evaluate.critical` from params.yaml, and
data/prepared/.
Writes models/MODEL/{weights.safetensors,model.json,history.csv}, and a run in MLflow.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from birnn import errors, params
from birnn.data import sequences, vectors
from birnn.data.encoding import Encoding
from birnn.data.vectors import Vectors
from birnn.errors import DataError, ParamsError
from birnn.files import atomic, console, digests
from birnn.model import (
    devices,
    distributed,
    history,
    networks,
    operating_points,
    prediction,
    saved_model,
    training,
)
from birnn.model.distributed import Group
from birnn.model.history import Epoch
from birnn.model.recurrent import GATES
from birnn.tracking import runs, store

PREPARED, MODELS = Path("data/prepared"), Path("models")


def main(name: str) -> None:
    """Run the stage for one model."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that its run ends as KILLED
    chosen = params.load()
    architecture = params.architecture(chosen, name)
    device = devices.choose(chosen.train.device)
    precision = devices.precision(chosen.train.precision, device)
    chosen = chosen.model_copy(
        update={"train": chosen.train.model_copy(update={"precision": precision})}
    )
    encoding = Encoding(**atomic.read_json(PREPARED / "encoding.json"))
    check_critical(chosen.evaluate.critical, encoding)
    devices.make_deterministic(chosen.train.seed, device)
    devices.limit_threads(
        chosen.train.batch_size * architecture.hidden_size * GATES[architecture.cell]
    )
    pretrained = vectors.load(PREPARED / "vectors.safetensors")
    network = networks.SequenceModel(describe(architecture, encoding, pretrained))
    network.start_from(pretrained)
    with distributed.joined() as group:
        if not group.leads:
            fit(network, chosen.train, device, group, on_epoch=lambda _: None)
            return
        knobs = params.of_run(chosen, name)
        with runs.training_run(chosen.problem, name, params=knobs, data=PREPARED) as run:
            train(network, encoding, chosen, device, group, MODELS / name, run)


def check_critical(critical: Mapping[str, params.Critical], encoding: Encoding) -> None:
    """Refuse what could only be found out after training: critical classes that are not there.

    Raises:
        ParamsError: a critical class is none of the classes.
        DataError: the validation split does not hold it.
    """
    if unknown := critical.keys() - set(encoding.labels):
        raise ParamsError(
            f"evaluate.critical: expected classes among {', '.join(encoding.labels)}, "
            f"found {min(unknown)!r}"
        )
    if critical:
        present = np.unique(sequences.read(PREPARED / "validation.arrow").labels)
        for label in critical:
            if encoding.labels.index(label) not in present:
                raise DataError(
                    f"evaluate.critical: expected validation labels {label!r} to choose its "
                    "threshold on, found none; raise prepare.split.validation"
                )


def describe(
    chosen: params.Model, encoding: Encoding, pretrained: Vectors
) -> networks.Architecture:
    """Join what params.yaml chooses with what the data fixes.

    Raises:
        ParamsError: letters of steps that have no tokens, or a head for tagging.
    """
    if chosen.characters and not encoding.tokens:
        raise ParamsError("model.characters: expected false without tokens, found true")
    if chosen.head != "last" and encoding.task == "tagging":
        raise ParamsError(f"model.head: expected last for tagging, found {chosen.head}")
    knobs = chosen.model_dump()
    knobs["characters"] = encoding.characters if chosen.characters else ""
    knobs["embedding_size"] = (pretrained.width or chosen.embedding_size) if encoding.tokens else 0
    return networks.Architecture(
        task=encoding.task,
        features=len(encoding.inputs),
        tokens=0 if encoding.vocabulary is None else len(encoding.vocabulary) + 1,
        classes=len(encoding.labels),
        **knobs,
    )


def train(
    network: networks.SequenceModel,
    encoding: Encoding,
    chosen: params.Params,
    device: torch.device,
    group: Group,
    folder: Path,
    run: runs.TrainingRun,
) -> None:
    """Train, and keep files and run in step with every epoch."""
    epochs: list[Epoch] = []

    def log(epoch: Epoch) -> None:
        epochs[:] = history.marked([*epochs, epoch], chosen.train.keep)
        history.write(epochs, folder / "history.csv")
        run.log_epoch(epoch)

    fit(network, chosen.train, device, group, on_epoch=log)
    thresholds = choose_thresholds(network, encoding, chosen.evaluate.critical, device)
    saved_model.save(network, encoding, thresholds, folder)
    run.log_model(folder)
    # An experiment beside this one may have had the same training, and be done with it.
    resume_path(network.architecture, chosen.train, device).unlink(missing_ok=True)
    kept = history.kept(epochs)
    print(
        f"{folder}: kept epoch {kept.epoch} of {len(epochs)}, "
        f"validation loss {kept.validation_loss:.4f}, accuracy {kept.validation_accuracy:.4f}"
    )


def fit(
    network: networks.SequenceModel,
    chosen: params.Train,
    device: torch.device,
    group: Group,
    on_epoch: Callable[[Epoch], None],
) -> None:
    """Run the training loop on the prepared splits."""
    training.fit(
        network,
        sequences.read(PREPARED / "train.arrow"),
        sequences.read(PREPARED / "validation.arrow"),
        device=device,
        resume=resume_path(network.architecture, chosen, device),
        on_epoch=on_epoch,
        group=group,
        track=console.track,
        **chosen.model_dump(exclude={"device"}),
    )


def choose_thresholds(
    network: networks.SequenceModel,
    encoding: Encoding,
    critical: Mapping[str, params.Critical],
    device: torch.device,
) -> dict[str, float]:
    """Find on validation from which probability on each critical class is called."""
    if not critical:
        return {}
    validation = sequences.read(PREPARED / "validation.arrow")
    shares = prediction.probabilities(network, validation, device=device)
    thresholds = {}
    for label, aim in critical.items():
        column = encoding.labels.index(label)
        point = operating_points.choose(
            validation.labels == column,
            shares[:, column],
            wanted=aim.wanted,
            at_least=aim.at_least + aim.margin,
        )
        thresholds[label] = point.threshold
    return thresholds


def resume_path(
    architecture: networks.Architecture, chosen: params.Train, device: torch.device
) -> Path:
    """Where a training keeps its state: named by the hash of all that decides its result."""
    what = [asdict(architecture), chosen.model_dump(), device.type, torch.__version__]
    names = ("train.arrow", "validation.arrow", "vectors.safetensors")
    data = digests.sha256(*(PREPARED / name for name in names))
    name = digests.sha256_of_text(json.dumps([*what, data]))
    return store.root() / store.STATE / "resume" / f"{name}.safetensors"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.train MODEL")
    with errors.reported():
        main(sys.argv[1])
