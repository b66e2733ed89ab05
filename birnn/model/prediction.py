"""What a trained model says of sequences: probabilities, classes, and the table that people read.

saved = saved_model.read("models/bidirectional")
model = saved_model.predicting(saved)
for table in of_table(model, saved.encoding, saved.thresholds, batches, where="new.csv"): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.data.encoding import Encoding, class_names
from birnn.data.sequences import Sequences, steps_of
from birnn.errors import DataError
from birnn.files import engines, pieces, table_checks, tables
from birnn.files.reading import Skipped
from birnn.files.table_checks import Absent, Allowed
from birnn.files.tables import Chunk
from birnn.model import description, operating_points, padded
from birnn.model.architecture import Architecture
from birnn.model.inference import Network
from birnn.model.padded import Padded

if TYPE_CHECKING:  # it takes seconds to import, and prediction on a CPU needs none
    import torch

    from birnn.model.networks import SequenceModel

BATCH_SIZE, BATCH_STEPS = 128, 1 << 16  # bounds on memory, whatever the lengths


class Predicts(Protocol):
    """What computes probabilities: the kernel, torch, or ONNX Runtime."""

    @property
    def architecture(self) -> Architecture:
        """Its shapes."""

    def probabilities(self, batch: Padded) -> npt.NDArray[np.float32]:
        """Give a row a real step for tagging, a row a sequence for classification."""


def probabilities(
    model: Predicts,
    sequences: Sequences,
    *,
    device: torch.device | None = None,
    folder: Path | None = None,
) -> npt.NDArray[np.float32]:
    """Compute the probability of each class for each label of the sequences.

    Args:
        model: a trained model.
        sequences: what to predict.
        device: where a module of torch is to compute; where it is, if not given.
        folder: for a temporary file that takes what is found; if not given, memory does.

    Returns:
        (labels, classes) float32 in the order of `sequences.labels`: a row a step for tagging, a
        row a sequence for classification.
    """
    if device is not None:
        cast("SequenceModel", model).to(device)
    rows = sequences.label_offsets
    found = pieces.empty((rows[-1], model.architecture.classes), np.float32, folder)
    spell = bool(model.architecture.characters)
    batches = padded.in_order(
        sequences, batch_size=BATCH_SIZE, batch_steps=BATCH_STEPS, spell=spell
    )
    for batch, shares in engines.paired(
        model.probabilities, batches, threaded=False, portable=is_portable(model)
    ):
        found[steps_of(rows, batch.indices)] = shares
        pieces.release(found)
    return found


def is_portable(model: Predicts) -> bool:
    """Whether a model gives the same bytes on other machines: in the kernel, unlike torch."""
    return isinstance(model, Network)


def decide(
    shares: npt.NDArray[Any], encoding: Encoding, thresholds: Mapping[str, float]
) -> npt.NDArray[np.int64]:
    """Choose a class for each label, (labels,) class indices.

    Args:
        shares: (labels, classes) from `probabilities`.
        encoding: names the classes.
        thresholds: from which probability on a critical class is called, by its name; see
            `birnn.model.operating_points.decide`. Without any, the most probable class is chosen.
    """
    by_index = {encoding.labels.index(label): value for label, value in thresholds.items()}
    return operating_points.decide(shares, by_index)


def table(
    sequences: Sequences,
    encoding: Encoding,
    thresholds: Mapping[str, float],
    shares: npt.NDArray[Any],
    *,
    labelled: bool,
    kept: Mapping[str, pa.ChunkedArray] = MappingProxyType({}),
    rows: slice = slice(None),
) -> pa.Table:
    """Put predictions into the sequence table's form, one row a label.

    Args:
        sequences: what was predicted.
        encoding: names the classes.
        thresholds: of the critical classes; see `decide`.
        shares: (labels, classes) from `probabilities`.
        labelled: whether to show the true labels too.
        kept: (labels,) what travels with the rows, by the column's name.
        rows: which of the labels.

    Returns:
        Columns `sequence`, where labelled `group` (if there are groups) and `label` (null where
        there is none), those that are kept, `predicted`, and `probability_LABEL` for each class.
    """
    names = pa.array(encoding.labels)
    start, stop, _ = rows.indices(len(shares))
    places = np.arange(start, stop)
    owner = pa.array(np.searchsorted(sequences.label_offsets, places, side="right") - 1)
    columns = {"sequence": sequences.ids.take(owner)}
    if labelled and sequences.grouped:
        columns["group"] = sequences.groups.take(owner)
    if labelled:
        columns["label"] = class_names(sequences.labels[rows], encoding.names)
    for name, values in kept.items():
        columns.setdefault(name, values.slice(start, stop - start))
    columns["predicted"] = names.take(pa.array(decide(shares[rows], encoding, thresholds)))
    for index, label in enumerate(encoding.labels):
        columns[f"probability_{label}"] = pa.array(shares[rows, index])
    return pa.table(columns)


def of_table(
    model: Predicts,
    encoding: Encoding,
    thresholds: Mapping[str, float],
    batches: Iterable[pa.RecordBatch],
    *,
    where: str,
    device: torch.device | None = None,
    skipped: Skipped | None = None,
) -> Iterator[pa.Table]:
    """Predict a sequence table as it streams by; what travels with its rows goes into the answer.

    Args:
        model: a trained model.
        encoding: the one that it was trained with.
        thresholds: of its critical classes; see `decide`.
        batches: consecutive rows of the table.
        where: what to call the table in messages, such as the file's name.
        device: see `probabilities`.
        skipped: see `prepared`.

    Yields:
        Predictions in the form of `table`, without labels, in the order of the sequences.

    Raises:
        DataError: see `prepared`.
    """
    for chunk in prepared(encoding, batches, where=where, skipped=skipped):
        sequences = encoding.encode(*chunk)
        shares = probabilities(model, sequences, device=device)
        description.check_probabilities(shares, where)
        kept = kept_beside(chunk, encoding)
        yield table(sequences, encoding, thresholds, shares, labelled=False, kept=kept)


def kept_beside(chunk: Chunk, encoding: Encoding) -> dict[str, pa.ChunkedArray]:
    """What travels with the rows of whole sequences, a value a label, by the column's name."""
    return tables.kept(chunk[0], None if encoding.task == "tagging" else chunk[1])


def prepared(
    encoding: Encoding,
    batches: Iterable[pa.RecordBatch],
    *,
    where: str,
    skipped: Skipped | None = None,
    also: str = "",
) -> Iterator[Chunk]:
    """Bring a sequence table to what a model reads, as the data were that it was trained on.

    Whoever asks a model about raw sequences goes through this and `Encoding.encode`: the columns,
    the form of Unicode, and what is left of sequences that are cut are the model's own.

    Args:
        encoding: the one that the model was trained with.
        batches: consecutive rows of the table.
        where: what to call the table in messages, such as the file's name.
        skipped: counts the steps that are cut, and the values that are changed.
        also: another column to keep where it is there.

    Yields:
        Whole sequences and their offsets.

    Raises:
        DataError: a column is missing, or the table is not in order; see
            `birnn.files.table_checks.checked`.
    """
    chosen = (_columns(batch, encoding.columns, where, also) for batch in batches)
    rows = table_checks.checked(
        chosen,
        task=encoding.task,
        where=where,
        labelled=False,
        form=encoding.form,
        skipped=skipped,
        allowed=Allowed(numbers=encoding.missing != "refuse", absent=_absent(encoding)),
    )
    if encoding.max_steps is not None:
        rows = tables.cut(rows, encoding.max_steps, skipped or Skipped())
    return tables.whole_sequences(rows)


def _absent(encoding: Encoding) -> Absent:
    """The numbers that stood for missing ones in training; see `birnn.params.FileData`."""
    given = encoding.reading.get("absent")
    if isinstance(given, Mapping):
        return {str(name): _numbers(marks) for name, marks in given.items()}
    return _numbers(given)


def _numbers(given: object) -> list[float]:
    found = given if isinstance(given, list) else []
    return [float(one) for one in found if isinstance(one, int | float)]


def _columns(batch: pa.RecordBatch, needed: list[str], where: str, also: str) -> pa.RecordBatch:
    """Keep the columns that a model reads or that travel with the rows, and perhaps `also` another.

    Raises:
        DataError: one is missing, or there twice.
    """
    table_checks.check_doubled(batch.schema.names, where)
    for name in needed:
        if name not in batch.schema.names:
            found = ", ".join(batch.schema.names)
            raise DataError(f"{where}: expected a column `{name}` as in training, found {found}")
    others = [*({also} & set(batch.schema.names)), *tables.kept_names(batch.schema)]
    return batch.select([*needed, *others])
