"""Champion and challenger on the same current test sequences, each read in its own way.

A model knows how to read raw sequences: its encoding is kept with it. So the champion answers anew
for the sequences of today, and its figures of the past count for nothing.

    rows = list(splits.read_one(Path("data/raw"), Splitting.of(prepare), "test"))
    said = ask(Path("models/bidirectional"), rows, ["a", "b"], cpu, where="the champion")
    compared = take(said.answers, ~np.isin(contents(rows), trained_on))
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from birnn.data import copies, sequences
from birnn.data.copies import Known
from birnn.data.encoding import Encoding
from birnn.data.sequences import UNLABELLED, Sequences, steps_of
from birnn.errors import DataError
from birnn.evaluation import baselines
from birnn.files import tables
from birnn.files.hashing import Hashes
from birnn.files.reading import Skipped
from birnn.files.tables import Chunk, Precision
from birnn.model import operating_points, prediction, saved_model
from birnn.model.networks import SequenceModel
from birnn.retraining.judged import Answers
from birnn.sources import inspection

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

TIMES = 5  # that a model is timed; the shortest counts, which others on the machine disturb least


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model says of raw sequences.

    Attributes:
        answers: its answers, with the classes in the order asked for.
        encoded: the sequences as the model reads them, in some parts.
        network: the model.
        precision: to which it rounds features before it scales them.
        labels: the classes that it knows.
        readable: (S,) which sequences it answers for in service: those that lack no number, where
            it has learned from none that do.
    """

    answers: Answers
    encoded: list[Sequences]
    network: SequenceModel
    precision: Precision
    labels: Sequence[str]
    readable: Mask


def sha256(chunks: Iterable[Chunk]) -> str:
    """Hash raw sequences with all that is said of them, whatever the parts they come in."""
    digest = hashlib.sha256()
    for table, _ in chunks:
        digest.update(_row_hashes(table, sorted(table.schema.names)).tobytes())
    return digest.hexdigest()


def contents(chunks: Iterable[Chunk], precision: Precision = "float64") -> Hashes:
    """Hash what a model may read of each raw sequence, (S,); equal ones have equal hashes.

    Args:
        chunks: the sequences.
        precision: to which the model rounds features.
    """
    found = [
        inspection.contents(table.select(_inputs(table)), at, precision) for table, at in chunks
    ]
    return np.concatenate([np.zeros(0, np.uint64), *found])


def _inputs(table: pa.Table) -> list[str]:
    token = ["token"] if "token" in table.schema.names else []
    return sorted([*tables.feature_names(table.schema), *token])


def _row_hashes(table: pa.Table, columns: list[str]) -> npt.NDArray[np.uint64]:
    frame = table.select(columns).to_pandas()
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)


def in_raw_units(
    chunks: Iterable[Chunk],
    encoding: Encoding,
    path: Path,
    *,
    centre: Floats | None = None,
    filled: bool = True,
) -> Sequences:
    """Put raw sequences into one file and map it: features as they came, tokens spelled out.

    So data of different times can be compared, whatever their encodings have learned.

    Args:
        chunks: the sequences.
        encoding: names the task, the classes and the features.
        path: where to.
        centre: (F,) what to take off the features before they become float32; see `centre`.
        filled: whether missing numbers are filled in; else they stay NaN.
    """
    width = len(encoding.features)
    plain = replace(
        encoding,
        mean=[0.0] * width if centre is None else centre.tolist(),
        scale=[1.0] * width,
        scaling="none" if centre is None else "global",
        frame=1,
        missing=encoding.missing if filled else "refuse",
        masked=[],
        vocabulary=[] if encoding.tokens else None,
    )
    sequences.write((plain.encode(*chunk) for chunk in chunks), path)
    return sequences.read(path)


def centre(table: pa.Table, encoding: Encoding) -> Floats:
    """Give a value of each feature that is about as large as the others, (F,) float64.

    Once it is taken off, float32 tells apart what is small beside its offset, such as an air
    pressure of 101325.002.
    """
    columns = (table[name].to_numpy().astype(float) for name in encoding.features)
    known = (column[~np.isnan(column)] for column in columns)
    return np.array([np.median(one) if len(one) else 0.0 for one in known], dtype=np.float64)


def ask(
    folder: Path, rows: list[Chunk], labels: Sequence[str], device: torch.device, *, where: str
) -> Asked:
    """Let a model answer for raw sequences.

    What it says of sequences that it cannot read is of no use; see `Asked.readable`. A class that
    the model does not know it never gives; one that is none of `labels` it may not
    give, and its probability is shared out among the others.

    Args:
        folder: the model's weights and description.
        rows: the sequences.
        labels: names of the classes in the order of the answer.
        device: where to compute.
        where: what to call the model in messages.

    Raises:
        DataError: the model reads columns that the table does not have.
    """
    network, encoding, thresholds = saved_model.load(folder)
    encoded, readable = _encoded(encoding, rows, where=where)
    shares = np.concatenate(
        [prediction.probabilities(network, part, device=device) for part in encoded]
    )
    actual = np.concatenate([_actual(*part, encoding.task, labels) for part in rows])
    lengths = np.concatenate([part.lengths for part in encoded])
    rows_of = np.concatenate([np.diff(part.label_offsets) for part in encoded])
    arranged = _arranged(shares, encoding.labels, labels)
    by_index = {labels.index(one): least for one, least in thresholds.items() if one in labels}
    answers = Answers(
        actual=actual,
        predicted=operating_points.decide(arranged, by_index),
        probabilities=arranged,
        offsets=np.concatenate([[0], np.cumsum(rows_of)]),
        lengths=lengths,
        groups=_numbers(pa.concat_arrays([part.groups for part in encoded])),
    )
    return Asked(answers, encoded, network, encoding.precision, encoding.labels, readable)


def _numbers(groups: pa.StringArray) -> npt.NDArray[np.int64]:
    return np.asarray(groups.dictionary_encode().indices.to_numpy(), dtype=np.int64)


def _encoded(encoding: Encoding, rows: list[Chunk], *, where: str) -> tuple[list[Sequences], Mask]:
    """Encode without the labels, of which a model may not know all, and say what it can read."""
    for table, _ in rows:
        if missing := [name for name in encoding.columns if name not in table.schema.names]:
            raise DataError(
                f"{where}: expected the column `{missing[0]}`, found "
                f"{', '.join(table.schema.names)}; "
                "give data with other columns another name under `problem`"
            )
    strict = encoding.missing == "refuse"
    if strict:  # so that the answers for all sequences stay in one order
        encoding = replace(encoding, missing="mean", fills=encoding.mean)
    batches, skipped = (batch for table, _ in rows for batch in table.to_batches()), Skipped()
    chunks = [*prediction.prepared(encoding, batches, where=where, skipped=skipped)]
    encoded = [encoding.encode(*chunk) for chunk in chunks]
    whole = [_is_whole(*chunk, encoding.features if strict else ()) for chunk in chunks]
    if encoding.task == "tagging" and skipped.counts:
        raise DataError(
            f"{where}: expected up to {encoding.max_steps} steps in a sequence (data.longer: cut), "
            "found more, which it does not read; give data that are cut elsewhere another name "
            "under `problem`"
        )
    return encoded, np.concatenate(whole)


def _is_whole(table: pa.Table, offsets: npt.NDArray[np.int64], features: Collection[str]) -> Mask:
    """Which sequences (S,) lack no number."""
    lacking = np.zeros(table.num_rows, dtype=np.int64)
    for name in features:
        lacking |= np.isnan(table[name].to_numpy())
    whole: Mask = np.add.reduceat(lacking, offsets[:-1]) == 0
    return whole


def _actual(
    table: pa.Table, offsets: npt.NDArray[np.int64], task: str, labels: Sequence[str]
) -> npt.NDArray[np.int64]:
    column = table["label"] if task == "tagging" else table["label"].take(offsets[:-1])
    index = pc.index_in(column, pa.array(labels, pa.string()), skip_nulls=True)
    return np.asarray(pc.fill_null(index, UNLABELLED).to_numpy(), np.int64)


def _arranged(
    shares: npt.NDArray[np.float32], own: Sequence[str], labels: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Put probabilities of a model's own classes into the order of others, (N, labels)."""
    found = np.zeros((len(shares), len(labels)), dtype=np.float32)
    for column, label in enumerate(labels):
        if label in own:
            found[:, column] = shares[:, own.index(label)]
    if set(own) - set(labels):
        found /= np.maximum(found.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return found


def tested(path: Path, like: Answers, labels: Sequence[str]) -> Answers:
    """Read what `evaluate` wrote down as a model's predictions.

    Args:
        path: the table of predictions.
        like: answers for the same sequences.
        labels: names of the classes, in order; some may be in the test split alone.
    """
    table = pq.read_table(path)
    names, none = pa.array(labels, pa.string()), np.zeros(table.num_rows, np.float32)
    columns = [f"probability_{label}" for label in labels]
    actual = pc.fill_null(pc.index_in(table["label"], names), UNLABELLED)
    return Answers(
        actual=np.asarray(actual.to_numpy()),
        predicted=np.asarray(pc.index_in(table["predicted"], names).to_numpy()),
        probabilities=np.column_stack(
            [table[name] if name in table.schema.names else none for name in columns]
        ),
        offsets=like.offsets,
        lengths=like.lengths,
        groups=like.groups,
    )


def seen(contents: Hashes, plain: Sequences, trained_on: Hashes, known: Known | None) -> Mask:
    """Which sequences (S,) a model was trained on, exactly or nearly.

    Args:
        contents: of the sequences, as `contents` gives them for the model's precision.
        plain: the sequences in raw units.
        trained_on: the hashes of what the model was trained on.
        known: what is remembered of these, to find near copies, if it was kept.
    """
    exact: Mask = np.isin(contents, trained_on)
    return exact if known is None else exact | copies.find(known, plain).seen


def take(answers: Answers, kept: Mask) -> Answers:
    """Keep the answers for some sequences, as far as they have labels."""
    known = np.concatenate([[0], np.cumsum(answers.actual != UNLABELLED)])
    counts = np.diff(known[answers.offsets])
    chosen = np.flatnonzero(kept & (counts > 0))
    rows = steps_of(answers.offsets, chosen)
    rows, lengths = rows[answers.actual[rows] != UNLABELLED], counts[chosen]
    return Answers(
        actual=answers.actual[rows],
        predicted=answers.predicted[rows],
        probabilities=answers.probabilities[rows],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        lengths=answers.lengths[chosen],
        groups=np.unique(answers.groups[chosen], return_inverse=True)[1],
    )


def without_context(
    prepared: Path, labels: Sequence[str], kept: Mask, *, seed: int
) -> Mapping[str, npt.NDArray[np.int64]]:
    """Answer for the test sequences as the baselines do, (N,) classes by the baseline's name.

    Args:
        prepared: the folder `data/prepared/`.
        labels: names of the classes.
        kept: (S,) for which sequences.
        seed: of what the second baseline learns from.
    """
    train, test = (sequences.read(prepared / f"{split}.arrow") for split in ("train", "test"))
    rows = steps_of(test.label_offsets, np.flatnonzero(kept))
    rows = rows[test.labels[rows] != UNLABELLED]
    answers = baselines.answers(train, test, labels=labels, seed=seed)
    return {name: classes[rows] for name, classes in answers.items()}


def latency(first: Asked, second: Asked, device: torch.device) -> tuple[float, float]:
    """Time two models on the same sequences, in turn; seconds each, at best."""
    seconds = [[_seconds(one, device) for one in (first, second)] for _ in range(TIMES)]
    fastest = np.min(seconds, axis=0)
    return float(fastest[0]), float(fastest[1])


def _seconds(asked: Asked, device: torch.device) -> float:
    begin = time.perf_counter()
    for part in asked.encoded:
        prediction.probabilities(asked.network, part, device=device)
    return time.perf_counter() - begin
