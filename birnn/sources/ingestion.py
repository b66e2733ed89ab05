"""The data that params describe, as one checked stream, whatever their source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from birnn import params
from birnn.errors import DataError
from birnn.files import table_checks, tables
from birnn.files.hashing import Seen
from birnn.files.reading import Skipped, fields, kind, one_line
from birnn.params import (
    ArraysData,
    ConllData,
    Data,
    FastaData,
    FileData,
    HMMData,
    SktimeData,
    TableData,
    TextData,
)
from birnn.sources import arrays, conll, fasta, hmm, sktime, table, text

SOURCES = {
    **dict.fromkeys((".parquet",), "table"),
    **dict.fromkeys((".jsonl", ".ndjson"), "text"),
    **dict.fromkeys((".conllu", ".conll", ".bio", ".iob", ".iob2"), "conll"),
    **dict.fromkeys((".fasta", ".fa", ".fna", ".faa"), "fasta"),
    **dict.fromkeys((".npz",), "arrays"),
    **dict.fromkeys((".ts",), "sktime"),
}
TABLES = (".csv", ".tsv")
POSITIONS = ("arrays", "sktime")  # where the features of a file have numbers for names
PLACES = {
    *("path", "train", "validation", "test", "classes", "labels", "name"),
    *("max_steps", "longer"),
}
"""What of a section says where data lie, and which of them to train on."""


def rows(data: Data, skipped: Skipped) -> Iterator[pa.RecordBatch]:
    """Stream the rows of the sequence table; see `birnn.files.table_checks.checked`.

    Args:
        data: the section of params.yaml.
        skipped: counts what readers leave out.

    Raises:
        DataError: the data are missing, broken, or cannot be trained on.
    """
    limit, longer = (None, "") if isinstance(data, HMMData) else (data.max_steps, data.longer)
    refused = limit if longer == "refuse" else None
    checked = table_checks.checked(
        read(data, skipped), task=data.task, where=name(data), max_steps=refused
    )
    return checked if limit is None or longer == "refuse" else cut(checked, limit, skipped)


def cut(
    batches: Iterable[pa.RecordBatch], max_steps: int, skipped: Skipped
) -> Iterator[pa.RecordBatch]:
    """Leave out the steps of each sequence after its first `max_steps`, and count them.

    Args:
        batches: consecutive rows of the sequence table, checked.
        max_steps: how many to keep.
        skipped: counts the others.
    """
    last, before = None, 0
    for batch in batches:
        starts = tables.sequence_starts(batch["sequence"])
        lengths = np.diff(np.append(starts, batch.num_rows))
        step = np.arange(batch.num_rows) - np.repeat(starts, lengths)
        if batch["sequence"][0].as_py() == last:
            step[: lengths[0]] += before
        last, before = batch["sequence"][-1].as_py(), int(step[-1]) + 1
        beyond = step >= max_steps
        if beyond.any():
            first = batch["sequence"][int(beyond.argmax())].as_py()
            skipped.add("steps beyond data.max_steps", f"sequence {first!r}", int(beyond.sum()))
        if not beyond.all():
            yield batch.filter(pa.array(~beyond))


def read(data: Data, skipped: Skipped, *, labelled: bool = True) -> Iterator[pa.RecordBatch]:
    """Open the source that `data.source` names.

    Args:
        data: the section of params.yaml.
        skipped: counts what readers leave out.
        labelled: whether labels are read; a table is given as it is.
    """
    knobs: dict[str, Any] = {"labelled": labelled, "skipped": skipped}
    match data:
        case HMMData():
            lengths = data.model_dump(include={"sequences", "min_steps", "max_steps", "seed"})
            return hmm.read(chain(data), mean_steps=data.mean_steps or data.max_steps, **lengths)
        case TableData():
            return _files(data.files, lambda path, _: table.read(path))
        case TextData():
            return _texts(data, **knobs)
        case ConllData():
            return _files(data.files, partial(_sentences, data, Seen(), **knobs))
        case FastaData():
            return _records(data, **knobs)
        case ArraysData():
            read_file = partial(arrays.read, task=data.task, labelled=labelled)
            return _files(data.files, lambda path, prefix: read_file(path, prefix=prefix))
        case SktimeData():
            files = data.files if data.name is None else sktime.shipped(data.name)
            return _files(files, lambda path, prefix: sktime.read(path, prefix=prefix, **knobs))


def reading(data: Data) -> dict[str, Any]:
    """Say how files are read, whatever their names: the part of the section that a model keeps."""
    return {} if isinstance(data, HMMData) else data.model_dump(exclude=PLACES)


def unlabelled(
    path: Path, known: Mapping[str, Any], features: Collection[str], skipped: Skipped
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a file that is to be predicted.

    Args:
        path: a sequence table, or a file of the kind that the model was trained on.
        known: how those were read; see `reading`.
        features: the columns of a table to read as numbers.
        skipped: counts what readers leave out.

    Raises:
        DataError: the file is missing or broken, or of another kind.
    """
    source = known.get("source", "table")
    if source == "table" or _is_table(path, known.get("encoding")):
        return table.read(path, features)
    kinds = {**SOURCES, **dict.fromkeys(TABLES, "text"), ".json": ""}
    if kinds.get(kind(path), source) != source:
        raise DataError(
            f"{path}: expected a sequence table, or a file as in training (source {source}), "
            f"found a name in {kind(path)}"
        )
    rows = read(params.data({**known, "path": str(path)}), skipped, labelled=False)
    return _alike(rows, features, path) if source in POSITIONS else rows


def _is_table(path: Path, encoding: str | None) -> bool:
    if kind(path) in TABLES and path.is_file():
        return "sequence" in _header(path, encoding)
    return path.is_dir() or kind(path) == ".parquet"


def _alike(
    batches: Iterable[pa.RecordBatch], features: Collection[str], path: Path
) -> Iterator[pa.RecordBatch]:
    """Refuse other features than in training, where they have no names of their own."""
    for batch in batches:
        found = len(tables.feature_names(batch.schema))
        if found != len(features):
            raise DataError(
                f"{path}: expected {len(features)} features as in training, found {found}"
            )
        yield batch


def name(data: Data) -> str:
    """What to call the data in messages."""
    match data:
        case TextData(classes=dict(classes)):
            return ", ".join(classes.values())
        case SktimeData(name=str(shipped)):
            return shipped
        case FileData():
            return ", ".join(data.files.values())
        case _:
            return data.source


def of_file(path: Path, task: str | None = None) -> Data:
    """Describe the data of a file by its name, and by the header of a CSV or TSV file.

    Args:
        path: a data file of any kind, a folder of parts of a table, or a file of params.
        task: `tagging` or `classification`; by default what the source is for, and `tagging` for a
            table.

    Raises:
        DataError: the name has none of the known endings.
        ParamsError: the file of params is wrong, or the source is not for the task.
    """
    if path.suffix in (".yaml", ".yml"):
        return params.load(path).data
    section = {"source": _source(path), "path": str(path)}
    if section["source"] == "table":
        section["task"] = "tagging"
    elif section["source"] == "arrays":
        section["task"] = arrays.task_of(path)
    return params.data(section | ({"task": task} if task else {}))


def _source(path: Path) -> str:
    suffix = kind(path)
    if suffix in TABLES and not path.is_dir():
        return _source_of_header(path)
    if not path.is_dir() and suffix not in SOURCES:
        known = ", ".join((*TABLES, *SOURCES))
        raise DataError(f"{path}: expected a name that ends in {known}, perhaps .gz, or .yaml")
    return "table" if path.is_dir() else SOURCES[suffix]


def _source_of_header(path: Path) -> str:
    header = _header(path)
    for column, source in (("sequence", "table"), ("text", "text")):
        if column in header:
            return source
    found = one_line(", ".join(header)) if header else "nothing"
    raise DataError(
        f"{path}: expected a column `sequence` (a table of steps) or `text`, found {found}; "
        "for other names write them into a file of params and check that"
    )


def _header(path: Path, encoding: str | None = None) -> list[str]:
    """The names of the columns of a CSV or TSV file."""
    _, header = next(fields(path, encoding, skipped=Skipped()), (0, []))
    return header


def chain(data: HMMData) -> hmm.Chain:
    """Draw the chain that the params describe."""
    knobs = data.model_dump(include={"classes", "features", "stay", "separation", "shares", "seed"})
    if data.states is None:
        return hmm.tagging_chain(lookalikes=data.lookalikes, **knobs)
    return hmm.classification_chain(states=data.states, **knobs)


def _files(
    files: Mapping[str, str], read_file: Callable[[str, str], Iterator[pa.RecordBatch]]
) -> Iterator[pa.RecordBatch]:
    """Read one file after the other, with a `split` column where each is an official split.

    Args:
        files: the path of each split, or of `""`, where there is one path for all.
        read_file: called with a path, and with what to put before ids that are only numbers.
    """
    for split, path in files.items():
        batches = read_file(path, f"{split}-" if split else "")
        for batch in _some(batches, path, f"sequences for data.{split}") if split else batches:
            if split and "split" in batch.schema.names:
                raise DataError(f"{path}: expected no column `split` beside data.{split}; drop it")
            if split:
                batch = batch.append_column("split", pa.array([split] * batch.num_rows))
            yield table_checks.from_file(batch, path, "step")


def _some(batches: Iterable[pa.RecordBatch], path: str, what: str) -> Iterator[pa.RecordBatch]:
    """Pass rows on, and refuse a file without any: what is left would be taken for the whole."""
    found = 0
    for batch in batches:
        found += batch.num_rows
        yield batch
    if not found:
        raise DataError(f"{path}: expected {what}, found none")


def _texts(data: TextData, *, labelled: bool, skipped: Skipped) -> Iterator[pa.RecordBatch]:
    knobs = data.model_dump(include={"encoding", "pattern"}) | {"skipped": skipped}
    if data.classes is None:
        known = data.model_dump(include={"text", "quotes"})
        known["label"] = data.label if labelled else None
        yield from _files(data.files, lambda path, prefix: _text(path, prefix, known, knobs))
        return
    for label, path in data.classes.items():
        batches = text.read_lines(path, label, **knobs)
        for batch in _some(batches, path, f"texts of the class {label!r}"):
            yield table_checks.from_file(batch, path, "step")


def _text(
    path: str, prefix: str, columns: Mapping[str, Any], knobs: Mapping[str, Any]
) -> Iterator[pa.RecordBatch]:
    """Read a file with columns, or, where labels are of no interest, one text a line."""
    if columns["label"] is None and not text.has_columns(path):
        return text.read_lines(path, None, prefix=prefix, **knobs)
    return text.read(path, prefix=prefix, **columns, **knobs)


def _records(data: FastaData, **knobs: Any) -> Iterator[pa.RecordBatch]:
    knobs |= data.model_dump(include={"label_pattern", "kmer", "stride"})
    knobs["labels"] = None if data.labels is None else fasta.read_labels(data.labels)
    return _files(data.files, lambda path, _: fasta.read(path, **knobs))


def _sentences(
    data: ConllData, seen: Seen, path: str, prefix: str, *, labelled: bool, skipped: Skipped
) -> Iterator[pa.RecordBatch]:
    form = conll.chosen_format(
        path,
        conllu=None if data.format is None else data.format == "conllu",
        labelled=labelled,
        **data.model_dump(include={"token", "label", "separator", "comments"}),
    )
    documents = data.group == "document" and labelled
    return conll.read(
        path,
        form,
        encoding=data.encoding,
        documents=documents,
        prefix=prefix,
        seen=seen,
        skipped=skipped,
    )
