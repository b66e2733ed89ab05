"""The data that params describe, as one checked stream, whatever their source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa

from birnn import params
from birnn.errors import DataError
from birnn.files import addresses, named, table_checks, tables, threads
from birnn.files.hashing import Seen
from birnn.files.reading import Skipped, kind, missing
from birnn.files.reading import parts as in_folder
from birnn.files.table_checks import Allowed
from birnn.files.tables import Form
from birnn.params import (
    ArraysData,
    ConllData,
    Data,
    FastaData,
    FileData,
    HMMData,
    ListsData,
    SktimeData,
    TableData,
    TextData,
)
from birnn.sources import arrays, conll, fasta, folders, guesses, hmm, lists, sktime, table, text

TABLES = (".csv", ".tsv", ".psv")
POSITIONS = ("arrays", "sktime")  # where the features of a file have numbers for names
ReadFile = Callable[[str | Path, str], Iterator[pa.RecordBatch]]
"""Called with a path, and with what to put before ids that are only numbers."""
PLACES = {
    *("path", "train", "validation", "test", "classes", "labels", "name"),
    *("max_steps", "longer", "joined", "unlabelled"),
}
"""What of a section says where data lie, and which of them to train on."""


def rows(data: Data, skipped: Skipped, *, parts: bool = False) -> Iterator[pa.RecordBatch]:
    """Stream the rows of the sequence table; see `birnn.files.table_checks.checked`.

    Numbers and labels may be missing: `prepare` says what becomes of them.

    Args:
        data: the section of params.yaml.
        skipped: counts what readers leave out.
        parts: whether they go into parts.

    Raises:
        DataError: the data are missing, broken, or cannot be trained on.
    """
    kept = cut_after(data)
    refused = None if isinstance(data, HMMData) or kept is not None else data.max_steps
    checked = table_checks.checked(
        read(data, skipped),
        task=data.task,
        where=name(data),
        max_steps=refused,
        skipped=skipped,
        allowed=Allowed(
            () if isinstance(data, HMMData) else data.unlabelled,
            numbers=True,
            absent=() if isinstance(data, HMMData) else data.absent,
            joined=isinstance(data, TableData) and data.joined,
            parts=parts,
        ),
    )
    return checked if kept is None else tables.cut(checked, kept, skipped)


def ahead(data: Data, skipped: Skipped, *, parts: bool = False) -> Iterator[pa.RecordBatch]:
    """Let another thread make a few batches of rows in advance; see `rows`.

    Not where params have a regular expression: a bad one can be ended in the main thread alone.
    """
    found = rows(data, skipped, parts=parts)
    patterns = (getattr(data, name, None) for name in ("pattern", "label_pattern"))
    return found if any(pattern is not None for pattern in patterns) else threads.ahead(found)


def cut_after(data: Data) -> int | None:
    """How many steps of each sequence are read where longer ones are cut; None where they are not.

    It belongs to the model, which must not read more when it predicts than it was tested on.
    """
    return None if isinstance(data, HMMData) or data.longer == "refuse" else data.max_steps


def read(
    data: Data, skipped: Skipped, *, labelled: bool = True, form: Form | None = "NFC"
) -> Iterator[pa.RecordBatch]:
    """Open the source that `data.source` names.

    Args:
        data: the section of params.yaml.
        skipped: counts what readers leave out.
        labelled: whether labels are read; a table is given as it is.
        form: of Unicode, to which texts are brought before they are cut into tokens.
    """
    match data:
        case HMMData():
            return hmm.read(data)
        case TableData() | ListsData():
            return _files(data.files, _reader(data, skipped, labelled, form))
        case TextData(classes=dict(classes)):
            for path in classes.values():
                named.check_input(path)
            found = text.read_classes(data, classes, skipped)
        case TextData(folders=str()):
            found = _files(data.files, _reader(data, skipped, labelled, form))
        case SktimeData(name=str(shipped)):
            found = _files(sktime.shipped(shipped), _reader(data, skipped, labelled, form))
        case _:
            found = _files(
                data.files, _fetching(_reader(data, skipped, labelled, form)), of_one=True
            )
    keep = [name for name in data.keep if not isinstance(data, TextData) or name in text.OF_ROWS]
    return _keeping(found, keep) if keep else found


def _fetching(read_file: ReadFile) -> ReadFile:
    """Let a source that reads files here read them in a bucket too."""

    def read(path: str | Path, prefix: str) -> Iterator[pa.RecordBatch]:
        with addresses.opened(addresses.place(path)) as file:
            yield from read_file(file, prefix)

    return read


def _keeping(batches: Iterable[pa.RecordBatch], keep: Collection[str]) -> Iterator[pa.RecordBatch]:
    """Let columns that the model reads travel with the rows too, where a source has no others.

    Raises:
        DataError: there is no such column.
    """
    for batch in batches:
        found = batch.schema.names
        for name in keep:
            if tables.KEPT + name in found:  # the file has a column of that name
                continue
            if name not in found:
                raise DataError(f"data.keep: expected some of {', '.join(found)}, found {name!r}")
            batch = batch.append_column(tables.KEPT + name, batch[name])
        yield batch


def _reader(data: Data, skipped: Skipped, labelled: bool, form: Form | None) -> ReadFile:
    """How a source reads one file."""
    match data:
        case TextData():
            read_texts = text.read_files if data.folders else text.read
            return partial(read_texts, data, labelled=labelled, skipped=skipped, form=form)
        case ConllData():
            return partial(conll.read, data, labelled=labelled, seen=Seen(), skipped=skipped)
        case ListsData():
            return partial(lists.read, data, labelled=labelled, skipped=skipped, seen=Seen())
        case FastaData():
            return lambda path, _: fasta.read(data, path, labelled=labelled, skipped=skipped)
        case ArraysData():
            return partial(arrays.read, data, labelled=labelled)
        case SktimeData():
            return partial(sktime.read, labelled=labelled, skipped=skipped)
        case TableData():
            return partial(_tables, data, labelled, skipped, set())
        case _:
            raise AssertionError(data.source)  # drawn, not read


def _tables(
    data: TableData,
    labelled: bool,
    skipped: Skipped,
    taken: set[str],
    path: str | Path,
    prefix: str,
) -> Iterator[pa.RecordBatch]:
    return table.read(
        path, prefix=prefix, data=data, labelled=labelled, skipped=skipped, taken=taken
    )


def reading(data: Data) -> dict[str, object]:
    """Say how files are read, whatever their names: the part of the section that a model keeps."""
    return {} if isinstance(data, HMMData) else data.model_dump(exclude=PLACES)


def unlabelled(
    path: Path,
    known: Mapping[str, object],
    features: Collection[str],
    skipped: Skipped,
    *,
    form: Form | None = "NFC",
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a file that is to be predicted.

    Args:
        path: a sequence table, or a file of the kind that the model was trained on.
        known: how those were read; see `reading`.
        features: the columns of a table to read as numbers.
        skipped: counts what readers leave out.
        form: of Unicode, to which texts were brought; see `read`.

    Raises:
        DataError: the file is missing or broken, or of another kind.
        ParamsError: `known` is of a broken model.
    """
    named.check_input(path)
    source = known.get("source", "table")
    if source == "table":
        section = {"task": "tagging", **known, "source": "table", "path": str(path)}
        read_as = params.data(section)
        assert isinstance(read_as, TableData)
        return table.read(path, features, data=read_as, labelled=False, skipped=skipped)
    if source == "lists" and _has_lists(path):
        as_lists = params.data({**known, "path": str(path)})
        assert isinstance(as_lists, ListsData)
        return lists.read(as_lists, path, labelled=False, features=features, skipped=skipped)
    if _is_table(path, source):
        return table.read(path, features, labelled=False, skipped=skipped)
    kinds = {**guesses.SOURCES, **dict.fromkeys(TABLES, "text"), ".json": ""}
    if kinds.get(kind(path), source) != source and (kind(path), source) != (".tsv", "conll"):
        raise DataError(
            f"{path}: expected a sequence table, or a file as in training (source {source}), "
            f"found a name in {kind(path)}"
        )
    data = params.data({**known, "path": str(path)})
    rows = read(data, skipped, labelled=False, form=form)
    return _alike(rows, features, path) if source in POSITIONS else rows


def _has_lists(path: Path) -> bool:
    """Whether a file has one sequence a row, not one step."""
    first = lists.parts(path)[0] if path.is_dir() else path
    if kind(first) != ".parquet":
        return kind(first) in lists.SUFFIXES
    return any(lists.is_list(field.type) for field in lists.schema(first))


def _is_table(path: Path, source: object) -> bool:
    columns = (*TABLES, ".parquet") if source == "text" else TABLES
    if kind(path) in columns and path.is_file():
        return "sequence" in table.header(path)
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


def check_there(data: Data) -> None:
    """Refuse data of which a file is not there, before anything is done with them.

    Raises:
        DataError: names the file, and why it may not be there.
    """
    for path in paths_of(data):
        if not addresses.place(path).exists():
            raise DataError(missing(path))


def paths_of(data: Data) -> list[str]:
    """All files and folders that the section names, and folders in these that it reads."""
    files = [] if isinstance(data, HMMData) else [*data.files.values()]
    if isinstance(data, TableData | TextData) and data.folders is not None:
        outer = [one for one in map(addresses.place, files) if one.is_dir()]
        files += [str(inner) for one in outer for inner in folders.within(one)]
    match data:
        case TextData(classes=dict(classes)):
            files += classes.values()
        case FastaData(labels=str(labels)):
            files.append(labels)
    return files


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


def of_file(path: Path, task: str | None = None, skipped: Skipped | None = None) -> Data:
    """Describe the data of a file; see `birnn.sources.guesses.of`.

    Args:
        path: a data file of any kind, a folder, or a file of params.
        task: `tagging` or `classification`; by default what the labels look like.
        skipped: told of columns of text that were perhaps meant as numbers.

    Raises:
        DataError: the name has none of the known endings, or no column can be a sequence's id.
        ParamsError: the file of params is wrong, or the source is not for the task.
    """
    path = addresses.place(path)
    named.check_input(path)
    if path.suffix in (".yaml", ".yml"):
        return params.load(path).data
    return params.data(guesses.of(path, task, skipped).section)


def _files(
    files: Mapping[str, str], read_file: ReadFile, *, of_one: bool = False
) -> Iterator[pa.RecordBatch]:
    """Read one file after the other, with a `split` column where each is an official split.

    Args:
        files: the path of each split, or of `""`, where there is one path for all.
        read_file: reads one of them.
        of_one: whether it reads no folder, so that the files of one are read one after the other.
    """
    for split, path in files.items():
        named.check_input(path)
        batches = _parts_of(path, read_file, f"{split}-" if split else "", of_one=of_one)
        if split:
            batches = table_checks.filled(batches, path, f"sequences for data.{split}")
        for batch in batches:
            if split and "split" in batch.schema.names:
                raise DataError(f"{path}: expected no column `split` beside data.{split}; drop it")
            if split:
                batch = batch.append_column("split", pa.array([split] * batch.num_rows))
            yield table_checks.from_file(batch, path, "step")


def _parts_of(
    path: str, read_file: ReadFile, prefix: str, *, of_one: bool
) -> Iterator[pa.RecordBatch]:
    """Read a file, or the files of a folder; numbers that serve as ids follow the file's name."""
    folder = addresses.place(path)
    if not (of_one and folder.is_dir()):
        yield from read_file(path, prefix)
        return
    for part in in_folder(folder):
        yield from read_file(str(part), f"{prefix}{part.name.split('.')[0]}-")
