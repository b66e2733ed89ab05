"""From rows in memory to a trained model, by the functions that the stages call.

learned = learn(rows, offsets, chosen)
learned.probabilities(given)
learned = Learned.of_files(learned.files())     # what a pickle holds: bytes and JSON
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import ValidationError

from birnn.data import encoding, sequences, splits, vectors
from birnn.data.encoding import Encoding
from birnn.errors import InputError
from birnn.estimators.inputs import Given
from birnn.files import paths
from birnn.model import devices, prediction, saved_model, training
from birnn.model import train as stage
from birnn.model.history import Epoch
from birnn.model.networks import SequenceModel
from birnn.params import Entry, Knobs, Prepare
from birnn.params.complaints import complaint
from birnn.params.schema import Section

Ints = npt.NDArray[np.int64]
Checked = TypeVar("Checked", bound=Section)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the arguments of an estimator come to.

    Attributes:
        task: `tagging` or `classification`.
        entry: the network and its training.
        prepare: how features and tokens are read.
        share: of the sequences, or groups, to validate on; 0 for none.
        class_weights: what each class counts, by its name in the model; None where `entry` says it.
    """

    task: str
    entry: Entry
    prepare: Prepare
    share: float
    class_weights: Mapping[str, float] | None = None


def section(kind: type[Checked], values: Mapping[str, object]) -> Checked:
    """Check values as those of params.yaml are checked.

    Raises:
        InputError: names each one that is wrong.
    """
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in values.items()
    }
    try:
        return kind(**plain)
    except ValidationError as error:
        found = [complaint(dict(details)) for details in error.errors(include_url=False)]
        raise InputError("; ".join(found)) from None


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained model.

    Attributes:
        model: the network.
        encoding: how a table is encoded for it.
        params: that it was trained with, by their flat names.
    """

    model: SequenceModel
    encoding: Encoding
    params: Knobs

    def save(self, folder: str | Path) -> None:
        """Write it as the stage `train` does."""
        saved_model.save(self.model, self.encoding, {}, folder, params=self.params)

    def files(self) -> dict[str, bytes]:
        """The files of the model, by their names."""
        with TemporaryDirectory() as folder:
            self.save(folder)
            return {name: (Path(folder) / name).read_bytes() for name in _FILES}

    @classmethod
    def of_files(cls, files: Mapping[str, bytes]) -> Learned:
        """Read it back from them; no code runs, whoever has made them.

        Raises:
            DataError: they are no model.
        """
        with TemporaryDirectory() as folder:
            for name in _FILES:
                (Path(folder) / name).write_bytes(files[name])
            model, encoded, _ = saved_model.load(folder)
            return cls(model, encoded, saved_model.params_of(folder))

    def probabilities(self, given: Given, device: str) -> npt.NDArray[np.float32]:
        """Of each class for each label, (labels, classes) in the order of `encoding.labels`.

        Raises:
            DataError: a column is missing, or a number.
        """
        found = []
        chosen = devices.choose(device)
        with devices.undisturbed():
            devices.limit_threads(prediction.BATCH_SIZE * self.model.architecture.sums)
            for chunk in prediction.prepared(self.encoding, [given.batch()], where="X"):
                encoded = self.encoding.encode(*chunk)
                found.append(prediction.probabilities(self.model, encoded, device=chosen))
        return np.concatenate(found)


_FILES = (paths.WEIGHTS, paths.DESCRIPTION)


def learn(rows: pa.Table, offsets: Ints, chosen: Chosen) -> tuple[Learned, list[Epoch]]:
    """Train as the stages do, within somebody else's program, which is left as it was.

    Args:
        rows: checked, of all sequences.
        offsets: where each begins.
        chosen: how.

    Raises:
        DataError: no sequence is left to validate on.
        InputError: likewise.
        ParamsError: params that do not go together.
        TrainingError: the loss is no longer a number.
    """
    held = splits.held_out(rows, offsets, chosen.share, chosen.entry.seed)
    if chosen.share and not held.any():
        raise InputError(
            f"validation_fraction: expected a sequence to validate on, found none of {len(held)} "
            "sample(s) that training can spare; give more, or set it to 0"
        )
    fitted = encoding.fit(
        lambda: [splits.part(rows, offsets, ~held)],
        encoding.Options.of(chosen.prepare),
        task=chosen.task,
    )
    learned_from = fitted.encode(*splits.part(rows, offsets, ~held))
    validation = fitted.encode(*splits.part(rows, offsets, held)) if held.any() else learned_from
    sequences.check_labelled(validation, "validation")
    data = stage.Prepared(Path(), fitted, learned_from, validation, vectors.NONE)
    with devices.undisturbed():
        options = training.options(chosen.entry)
        if chosen.class_weights is not None:
            counts = tuple(float(chosen.class_weights[name]) for name in fitted.labels)
            options = replace(options, class_weights=counts)
        model = stage.network(chosen.entry, data, options)
        progress = training.fit(
            model, data.train, data.validation, options, resume=None, on_epoch=lambda _: None
        )
    return Learned(model.eval(), fitted, chosen.entry.model_dump()), progress.history
