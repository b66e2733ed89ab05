"""What somebody's file is: the `data` section that reads it, guessed from names and first rows;
`birnn.sources.roles` guesses what its columns are for.

    found = guesses.of("maschine-7.csv")
    found.section        # {"source": "table", "task": "tagging", "columns": {...}, "keep": [...]}

A guess is shown to the user and written into params.yaml; reading itself never guesses what a
column is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from birnn.errors import DataError
from birnn.files import addresses, bounds, named, reading
from birnn.files.reading import Skipped, kind, lines, one_line
from birnn.files.tables import SPLITS
from birnn.sources import arrays, conll, dialect, headers, lists, roles, table
from birnn.sources.columns import SPLIT_NAMES
from birnn.sources.headers import unread
from birnn.sources.roles import Column

SOURCES = {
    **dict.fromkeys((".jsonl", ".ndjson"), "text"),
    **dict.fromkeys(conll.SUFFIXES, "conll"),
    **dict.fromkeys((".fasta", ".fa", ".fna", ".faa"), "fasta"),
    **dict.fromkeys((".npz",), "arrays"),
    **dict.fromkeys((".ts",), "sktime"),
}
"""Files that say by their names what is in them."""
KNOWN = (".csv", ".tsv", ".psv", ".parquet", *SOURCES, ".json", *lists.ARROW)
SAMPLE_ROWS = 20_000
SPANS = ("spans", "annotations", "entities", "paragraphs")
MOST_SLICES, MOST_PARTS = 20, 20


@dataclass(frozen=True, slots=True)
class Guess:
    """What was found.

    Attributes:
        section: for `data` in params.yaml.
        slices: columns that are kept and have a few values, by which a result can be divided.
    """

    section: dict[str, Any]
    slices: list[str] = field(default_factory=list)


def of(path: Path, task: str | None = None, skipped: Skipped | None = None) -> Guess:
    """Guess how to read a file or folder.

    Args:
        path: a data file, a folder of parts, or one with a file or folder for each split.
        task: `tagging` or `classification`, if it is known.
        skipped: told of columns of text that were perhaps meant as numbers.

    Raises:
        DataError: the name has none of the known endings, or no column can be a sequence's id or
            a label.
    """
    path = addresses.place(path)
    named.check_input(path)
    files = _of_splits(path) if path.is_dir() else {}
    first = addresses.place(files.get("train", path))
    section = _where(path, files)
    parts = _parts(first)
    if not parts:
        raise DataError(f"{first}: expected files in it, found an empty folder")
    with addresses.opened(parts[0]) as begin:
        return _of_files(first, [begin, *parts[1:]], section, task, skipped or Skipped())


def _of_files(
    path: Path, parts: list[Path], section: dict[str, Any], task: str | None, skipped: Skipped
) -> Guess:
    """Guess how to read a file, or those of a folder, by the first."""
    source = _source(parts[0])
    given = {"task": task} if task else {}
    if source == "lists":
        return _of_lists(parts[0], section, task)
    if source == "table":
        return _of_table(path, parts, section, task, skipped)
    if source == "arrays":
        given = {"task": arrays.task_of(parts[0])} | given
    if source == "text" and kind(parts[0]) in lists.LINES:
        section |= _texts_in_lines(parts[0])
    if source in ("text", "conll", "columns"):
        given = _encoded(parts[0]) | given
    if source == "columns":
        return Guess({"source": "conll", **section, "format": "columns", **given})
    return Guess({"source": source, **section, **given})


def _texts_in_lines(path: Path) -> dict[str, str]:
    """Guess what a file with an object a line calls its texts and classes."""
    columns = [Column(*one) for one in lists.sample(path).items()]
    texts = roles.texts_of(columns, roles.label_of(columns, []), sure=True)
    if texts is None:
        found = one_line(", ".join(one.name for one in columns))
        raise DataError(
            f"{path}: expected lists, or texts under `text`, found {found}; {lists.OF_STEPS}"
        )
    return texts


def _where(path: Path, files: Mapping[str, str]) -> dict[str, Any]:
    return dict(files) or {"path": str(path)}


def _parts(path: Path) -> list[Path]:
    """The files that are data; a missing one is named by whoever reads it."""
    if not path.is_dir():
        return [path]
    return [part for part in reading.parts(path) if not part.stem.endswith("info")]


def _of_splits(path: Path) -> dict[str, str]:
    """The file or folder of each split, where names begin with `train`, `test` and so on."""
    found: dict[str, str] = {}
    for part in _parts(path):
        word = re.split(r"[^a-z]", part.name.lower())[0]
        for split, names in SPLIT_NAMES.items():
            if word in names:
                if split in found:
                    raise DataError(
                        f"{path}: expected a file or folder for each split, found "
                        f"{Path(found[split]).name} and {part.name}; put the files of each split "
                        "into a folder of its own"
                    )
                found[split] = str(part)
    return {name: found[name] for name in SPLITS if name in found} if "test" in found else {}


def _source(path: Path) -> str:
    suffix = kind(path)
    if suffix in (".csv", ".tsv", ".psv", *table.SHEETS):
        return "table" if suffix not in table.SHEETS else table.refused(path)
    if suffix == ".parquet" or suffix in lists.LINES:
        nested = any(lists.is_list(one.type) for one in lists.schema(path))
        return "lists" if nested else SOURCES.get(suffix, "table")
    if suffix in (*lists.JSON, *lists.ARROW):
        return "lists"
    if suffix in SOURCES:
        return SOURCES[suffix]
    if path.is_file() and suffix in ("", ".txt", ".dat", ".data", ".tags") and _has_columns(path):
        return "columns"
    known = ", ".join(KNOWN)
    raise DataError(
        f"{path}: expected a name that ends in {known}, perhaps .gz, or .yaml{table.mend(path)}"
    )


def _encoded(path: Path) -> dict[str, str]:
    """The key that names the encoding, where it is not UTF-8."""
    with table.understood(path):
        found = dialect.encoding_of(path)
    return {"encoding": found} if found else {}


def _has_columns(path: Path) -> bool:
    """Whether a file has a token a line, columns beside it, and empty lines between sentences."""
    read = lines(path, _encoded(path).get("encoding"))
    begin = [conll.words(line.rstrip("\r\n")) for line, _ in zip(read, range(2000), strict=False)]
    words = [one for one in begin if one and one[0] != conll.DOCUMENT]
    ends = any(not one for one in begin[:-1])
    return ends and len({len(one) for one in words}) == 1 and len(words[0]) > 1


def _of_table(
    path: Path, parts: list[Path], section: dict[str, Any], task: str | None, skipped: Skipped
) -> Guess:
    """Guess what the columns of a table are; or a file of texts."""
    columns = _sample(parts[0])
    token = roles.by_name(columns, "token")
    label = roles.label_of(columns, [token])
    _check_is_class(path, label)
    sequence = roles.sequence_of(columns, [token, label])
    if sequence is None or sequence.name != "sequence":
        rest = [one for one in columns if one not in (label, sequence, token)]
        numbers = [one for one in rest if one.kind != "text" and not one.counts_rows]
        texts = roles.texts_of(columns, label, sure=sequence is None or not (token or numbers))
        if texts is not None:
            given = _encoded(parts[0]) | ({"task": task} if task else {})
            return Guess({"source": "text", **section, **texts, **given})
    if sequence is None and len(parts) == 1:
        raise DataError(_not_found(path, columns))
    ids = sequence.down if sequence else ["" for _ in columns[0].values]
    rest = [one for one in columns if one not in (label, sequence)]
    found = {"sequence": sequence, "label": label} | roles.others_of(rest, ids, token)
    own = {role: one.name for role, one in found.items() if one and one.name != role}
    rest = [one for one in rest if one not in found.values()]
    ways = _ways(parts[0], sequence, rest) | roles.leftovers(rest)
    _note_doubts(parts[0], label, rest, skipped)
    single = label is not None and _is_single(label, ids, parts)
    return Guess(
        {
            "source": "table",
            "task": task or ("classification" if single else "tagging"),
            **section,
            **({"columns": own} if own else {}),
            **ways,
        },
        [
            one.name
            for one in rest
            if one.name in ways.get("keep", ()) and 2 <= one.distinct <= MOST_SLICES
        ],
    )


def _note_doubts(
    path: Path, label: Column | None, rest: Sequence[Column], skipped: Skipped
) -> None:
    """Note what was guessed without a name that says so, or against most of the values."""
    if label and not roles.is_called_label(label):
        what = f"column `{label.name}` as the label, since no name says which one is"
        skipped.note(what, str(path))
    for one in rest:
        if one.kind == "text" and (others := unread(one.values)):
            what = f"column `{one.name}` as text, which no model reads, since {others[0][:60]!r} "
            skipped.note(f"{what}is no number", str(path), len(others))


def _is_single(label: Column, ids: Sequence[str], parts: Sequence[Path]) -> bool:
    """Whether a label seems to be that of the sequence; ids are empty where files are sequences."""
    if any(ids):
        return roles.is_constant(label, ids)
    others = list[Column]()
    for part in parts[1:MOST_PARTS]:
        with addresses.opened(part) as file:
            others += _sample(file)
    same = [label, *(one for one in others if one.name == label.name)]
    return len(label.values) > 1 and all(one.distinct <= 1 for one in same)


def _ways(path: Path, sequence: Column | None, rest: Sequence[Column]) -> dict[str, Any]:
    """How a file is read, where not as the sequence table."""
    found: dict[str, Any] = {}
    if sequence is None:
        found["file"] = "sequence"
    elif len(sequence.values) > len(sequence.filled) == sequence.distinct:
        found["fill_down"] = True
    if kind(path) != ".parquet":
        numbers = [one.values for one in rest if one.kind in ("whole", "number")]
        if dialect.decimal(path, numbers, Skipped()) == ",":
            found["decimal"] = ","
    return found


def _sample(path: Path) -> list[Column]:
    """The first rows of a table."""
    if kind(path) == ".parquet":
        with table.understood(path):
            batch = next(bounds.parquet_batches(path, SAMPLE_ROWS), None)
            if batch is None:
                return [Column(name, []) for name in table.header(path)]
        return [Column(name, _texts_of(batch[name])) for name in batch.schema.names]
    with table.understood(path):
        found = dialect.find(path, table.PLAIN, Skipped(), rows=SAMPLE_ROWS)
    columns = [Column(name, found.column(name)) for name in dict.fromkeys(found.header)]
    headers.check(path, [one.name for one in columns], [one.values for one in columns])
    return columns


def _texts_of(column: pa.Array) -> list[str]:
    if pa.types.is_duration(column.type):
        return ["" if value is None else str(value) for value in column.to_pylist()]
    try:
        return [value or "" for value in column.cast(pa.string()).to_pylist()]
    except pa.ArrowException:
        return [str(value) for value in column.to_pylist()]


def _check_is_class(path: Path, label: Column | None) -> None:
    """Refuse what a program for marking texts puts beside each."""
    for value in label.filled[:1] if label else ():
        if label and value.startswith(("[{", '{"', "[[")):
            raise DataError(
                f"{path}, column `{label.name}`: expected classes, found {value[:60]!r}; "
                f"{lists.OF_SPANS}"
            )


def _not_found(path: Path, columns: Sequence[Column]) -> str:
    found = one_line(", ".join(column.name for column in columns))
    if len(columns) == 1:
        return (
            f"{path}: expected commas, semicolons, tabs or | between names of columns, found one "
            f"name, {found[:60]!r}; if something else stands there, write one of these"
        )
    return (
        f"{path}: expected a column `sequence` (a table of steps) or `text`, or one whose values "
        f"come in runs, found {found}; name it in data.columns of a file of params, and check "
        "that; if each row is a sequence, write it with lists in JSON Lines or Parquet"
    )


def _of_lists(path: Path, section: dict[str, Any], task: str | None) -> Guess:
    """Guess what the columns of a file with one sequence a row are."""
    schema = lists.schema(path)
    columns = [Column(name, []) for name in schema.names]
    nested = [one for one in columns if lists.is_list(schema.field(one.name).type)]
    found = {role: roles.by_name(nested, role) for role in ("token", "label")}
    if found["label"] is None:
        found["label"] = roles.by_name(columns, "label") or roles.list_of_classes(
            nested, found["token"]
        )
    single = [one for one in columns if one not in nested]
    found |= {role: roles.by_name(single, role) for role in ("sequence", "group")}
    if found["label"] is None:
        advice = "name it in data.columns of a file of params, and check that"
        if {*SPANS} & {*schema.names}:
            advice = lists.OF_SPANS
        raise DataError(
            f"{path}: expected a column `label`, found {', '.join(schema.names)}; {advice}"
        )
    named = {role: one for role, one in found.items() if one is not None}
    rest = [one.name for one in columns if one not in named.values()]
    numbers = [name for name in rest if "token" not in named and _is_numeric(schema.field(name))]
    kept = [name for name in rest if name not in numbers]
    tagging = found["label"] in nested
    names = _class_names(schema, found["label"].name)
    own = {role: one.name for role, one in named.items() if one.name != role}
    return Guess(
        {
            "source": "lists",
            "task": task or ("tagging" if tagging else "classification"),
            **section,
            **({"columns": own} if own else {}),
            **({"names": names} if names else {}),
            **({"keep": kept} if kept else {}),
        }
    )


def _is_numeric(found: pa.Field) -> bool:
    within = found.type
    depth = 0
    while lists.is_list(within):
        within, depth = within.value_type, depth + 1
    types = pa.types
    return depth > 0 and bool(
        types.is_floating(within) or types.is_integer(within) or types.is_boolean(within)
    )


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """The names of classes that Hugging Face notes beside their numbers."""
    noted = (schema.metadata or {}).get(b"huggingface")
    return lists.class_names(noted, label) if noted else None
