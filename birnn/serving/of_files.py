"""What `birnn predict` does: a model's answers for files, as tables that stream.

    with asked(["new/*.csv"], source) as files:
        for table in answers(served, files, Options(spans=True), skipped): ...

Beside each answer stand the columns by which it can be joined to its step: `file` where there are
several, `sequence`, for tagging `step` (from 0) and `token`, and those that travel with the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.data.encoding import Encoding
from birnn.data.in_training import TrainedOn
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.evaluation import cuts, spans
from birnn.files import addresses, engines
from birnn.files.paths import PREPARED
from birnn.files.reading import Skipped
from birnn.files.tables import Chunk
from birnn.model import prediction
from birnn.serving.served import Served
from birnn.sources import asked, ingestion
from birnn.sources.asked import File

EXPLAINED = 100  # steps of a sequence whose answers are explained
IMPORTANT = "important_steps"


@dataclass(frozen=True, slots=True)
class Options:
    """What is wanted.

    Attributes:
        explain: whether to say which steps have changed an answer the most.
        spans: whether to give a row a span, of labels that tell of spans, not a row a step.
        prepared: the folder of prepared data, to tell which sequences were in training.
    """

    explain: bool = False
    spans: bool = False
    prepared: Path = PREPARED


@dataclass(slots=True)
class Told:
    """What is said when all answers are there.

    Attributes:
        sequences: how many there were.
        seen: how many of them training had.
        first: the id of the first of these.
        as_text: the files that were taken for sentences.
    """

    sequences: int = 0
    seen: int = 0
    first: str = ""
    as_text: list[str] = field(default_factory=list)

    def note(self, answered: _Answered) -> None:
        """Count the sequences of a chunk."""
        if len(answered.seen) and not self.seen:
            self.first = answered.seen[0].as_py()
        self.sequences += answered.sequences
        self.seen += len(answered.seen)

    def sentences(self) -> list[str]:
        """A line for each thing that there is to say."""
        said = [f"read as text, one sentence a line: {name}" for name in self.as_text]
        if self.seen:
            said.append(
                f"warning: {self.seen:,} of {self.sequences:,} sequences were in training, the "
                f"first is {self.first!r}; how good their answers are says little about new ones"
            )
        return said


def answers(
    model: Served, files: Sequence[File], options: Options, skipped: Skipped, told: Told
) -> Iterator[pa.Table]:
    """Predict files, one after the other.

    Args:
        model: answers.
        files: what to predict; see `birnn.sources.asked`.
        options: what is wanted.
        skipped: counts what readers leave out.
        told: is filled on the way.

    Yields:
        Tables of one schema, in the order of the sequences.

    Raises:
        DataError: a file is missing, broken, of another kind than in training, or its columns that
            travel are others than in the first one; or spans are wanted of other labels.
    """
    encoding = model.encoding
    if options.spans:
        check_spans(encoding)
    trained_on = TrainedOn.of(options.prepared, encoding)
    schema: pa.Schema | None = None
    for file in files:
        for _, one in engines.paired(
            partial(_answered, model, options, trained_on),
            _chunks(file, encoding, skipped, told),
            threaded=False,
            portable=prediction.is_portable(model.network),
        ):
            told.note(one)
            table = one.table
            if len(files) > 1:
                table = table.add_column(0, "file", pa.repeat(file.name, len(table)))
            schema = schema or table.schema
            if table.schema.names != schema.names:
                raise DataError(
                    f"{file.name}: expected the columns {', '.join(schema.names)} as in "
                    f"{files[0].name}, found {', '.join(table.schema.names)}; predict it alone"
                )
            yield table


def check_spans(encoding: Encoding) -> None:
    """Refuse labels that do not tell of spans.

    Raises:
        DataError: they are others.
    """
    if encoding.task != "tagging" or spans.span_notation(encoding.labels) is None:
        shown = ", ".join(encoding.labels[:5])
        raise DataError(f"--spans: expected labels such as B-X, I-X and O, found {shown}")


def _chunks(file: File, encoding: Encoding, skipped: Skipped, told: Told) -> Iterator[Chunk]:
    known = encoding.reading
    with addresses.opened(file.path) as path:
        if asked.are_sentences(path, known):
            told.as_text.append(file.name)
            rows = asked.sentences(path, known, skipped, encoding.form)
        else:
            rows = ingestion.unlabelled(path, known, encoding.features, skipped, form=encoding.form)
        yield from prediction.prepared(encoding, rows, where=str(path), skipped=skipped)


class _Answered(NamedTuple):
    """The answers for a chunk, and the ids of its sequences that were in training."""

    table: pa.Table
    sequences: int
    seen: pa.StringArray


def _answered(
    model: Served, options: Options, trained_on: TrainedOn | None, chunk: Chunk
) -> _Answered:
    sequences = model.encoding.encode(*chunk)
    seen = sequences.ids.slice(0, 0)
    if trained_on is not None:
        seen = sequences.ids.filter(pa.array(trained_on.seen(sequences)))
    return _Answered(_table(model, chunk, sequences, options), len(sequences), seen)


def _table(model: Served, chunk: Chunk, sequences: Sequences, options: Options) -> pa.Table:
    encoding, thresholds = model.encoding, model.thresholds
    shares = prediction.probabilities(model.network, sequences)
    if options.spans:
        classes = prediction.decide(shares, encoding, thresholds)
        return _of_spans(sequences, chunk[0], encoding, shares, classes)
    kept: dict[str, Any] = {}
    if sequences.tagging:
        kept["step"] = pa.array(_steps(sequences).astype(np.int32))
        if "token" in chunk[0].schema.names:
            kept["token"] = chunk[0]["token"]
    kept |= prediction.kept_beside(chunk, encoding)
    if options.explain:
        kept[IMPORTANT] = _important(model, sequences)
    found = prediction.table(sequences, encoding, thresholds, shares, labelled=False, kept=kept)
    if not options.explain:
        return found
    names = [name for name in found.schema.names if name != IMPORTANT]
    place = names.index("predicted") + 1
    return found.select([*names[:place], IMPORTANT, *names[place:]])


def _steps(sequences: Sequences) -> npt.NDArray[np.int64]:
    """The number of each step within its sequence, from 0."""
    begins = np.repeat(sequences.offsets[:-1], sequences.lengths)
    steps: npt.NDArray[np.int64] = np.arange(len(begins)) - begins
    return steps


def _important(model: Served, sequences: Sequences) -> pa.Array:
    """For each label the steps that have changed it the most, as `7 (+0.31) 3 (-0.12)`."""
    found = []
    for number in range(len(sequences)):
        one = sequences.select(np.array([number]))
        turns = cuts.turns(
            model.network, model.encoding, model.thresholds, one, most_steps=EXPLAINED
        )
        found += [" ".join(f"{step} ({change:+.2f})" for step, change in each) for each in turns]
    return pa.array(found, pa.string())


def _of_spans(
    sequences: Sequences,
    rows: pa.Table,
    encoding: Encoding,
    shares: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
) -> pa.Table:
    """A row a span: its first and last step, its text where steps have tokens, its confidence.

    The confidence is the mean probability of the answers for its steps.
    """
    found = spans.found(classes, encoding.labels, sequences.offsets)
    assert found is not None
    steps = _steps(sequences)
    owner = np.searchsorted(sequences.offsets, found.first, side="right") - 1
    sure = np.concatenate([[0], np.cumsum(shares[np.arange(len(classes)), classes], dtype=float)])
    lengths = found.last + 1 - found.first
    columns: dict[str, Any] = {
        "sequence": sequences.ids.take(pa.array(owner)),
        "first": pa.array(steps[found.first].astype(np.int32)),
        "last": pa.array(steps[found.last].astype(np.int32)),
        "kind": pa.array(found.kind, pa.string()),
    }
    if "token" in rows.schema.names:
        texts = [
            " ".join(rows["token"][first : last + 1].to_pylist())
            for first, last in zip(found.first.tolist(), found.last.tolist(), strict=True)
        ]
        columns["text"] = pa.array(texts, pa.string())
    confidence = (sure[found.last + 1] - sure[found.first]) / np.maximum(lengths, 1)
    columns["confidence"] = pa.array(confidence.astype(np.float32))
    return pa.table(columns)
