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
from birnn.files.reading import Skipped, first_few, kind, one_line
from birnn.files.tables import SPLITS
from birnn.sources import arrays, conll, dialect, headers, lists, roles, table, words
from birnn.sources.columns import is_text, standard_split
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
UNCERTAIN = ("", ".txt", ".dat", ".data", ".tags", ".train", ".dev", ".test", ".testa", ".testb")
"""Endings of files that may hold words with columns beside them."""
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
    skipped = skipped or Skipped()
    files = _of_splits(path, skipped) if path.is_dir() else {}
    first = addresses.place(files.get("train", path))
    section = dict(files) or {"path": str(path)}
    parts = _parts(first)
    if not parts:
        raise DataError(f"{first}: expected files in it, found an empty folder")
    with addresses.opened(parts[0]) as begin:
        return _of_files(first, [begin, *parts[1:]], section, task, skipped)


def _of_files(
    path: Path, parts: list[Path], section: dict[str, Any], task: str | None, skipped: Skipped
) -> Guess:
    """Guess how to read a file, or those of a folder, by the first."""
    source = _source(parts[0])
    given = {"task": task} if task else {}
    if source == "lists":
        return _of_lists(parts[0], section, task, skipped)
    if source == "table":
        return _of_table(path, parts, section, task, skipped)
    if source == "arrays":
        given = {"task": arrays.task_of(parts[0])} | given
    if source == "text" and kind(parts[0]) in lists.LINES:
        section |= _texts_in_lines(parts[0])
    if source in ("text", "conll", "columns"):
        given = _encoded(parts[0]) | given
    if source in ("conll", "columns"):
        given |= _of_words(parts[0], given.get("encoding"), skipped)
        return Guess({"source": "conll", **section, **given})
    return Guess({"source": source, **section, **given})


def _of_words(path: Path, encoding: str | None, skipped: Skipped) -> dict[str, Any]:
    """How to read tagged sentences, where not by the file's name alone."""
    if kind(path) == ".conllu" or (found := words.sample(path, encoding)) is None:
        return {}
    given = words.section(found, skipped)
    by_name = kind(path) in conll.SUFFIXES and given["format"] == "columns"
    return {key: value for key, value in given.items() if not (by_name and key == "format")}


def _texts_in_lines(path: Path) -> dict[str, Any]:
    """Guess what a file with an object a line calls its texts and classes."""
    columns = [Column(*one) for one in lists.sample(path).items()]
    texts = roles.texts_of(columns, roles.label_of(columns, []), sure=True)
    if texts is None:
        found = one_line(", ".join(one.name for one in columns))
        raise DataError(
            f"{path}: expected lists, or texts under `text`, found {found}; {lists.OF_STEPS}"
        )
    return texts | _beside(columns, texts)


def _beside(columns: Sequence[Column], texts: Mapping[str, str]) -> dict[str, Any]:
    """The columns beside texts: of groups and splits, and what travels with them."""
    named = {texts.get("text", "text"), texts.get("label", "label")}
    return roles.beside_texts([one for one in columns if one.name not in named])


def _parts(path: Path) -> list[Path]:
    """The files that are data; a missing one is named by whoever reads it."""
    if not path.is_dir():
        return [path]
    return reading.parts(path)


def _of_splits(path: Path, skipped: Skipped) -> dict[str, str]:
    """The file or folder of each split, where names hold `train`, `test` and so on."""
    found: dict[str, list[Path]] = {}
    for part in _parts(path):
        found.setdefault(_split_of(part.name), []).append(part)
    if "test" not in found:
        return {}
    others = found.pop("", [])
    for several in (files for files in found.values() if len(files) > 1):
        raise DataError(
            f"{path}: expected a file or folder for each split, found {several[0].name} and "
            f"{several[1].name}; put the files of each split into a folder of its own"
        )
    if others:
        what = f"files whose names name no split ({first_few(one.name for one in others)})"
        skipped.add(what, str(path), len(others))
    return {name: str(found[name][0]) for name in SPLITS if name in found}


def _split_of(name: str) -> str:
    """The split that a file's name begins with, or has later on, as `en-ud-train.conllu`."""
    parts = [standard_split(word) for word in re.split(r"[^a-z]+", name.lower())]
    return next((part for part in parts if part in SPLITS), "")


def _source(path: Path) -> str:
    suffix = kind(path)
    if suffix == ".tsv" and path.is_file() and _has_words(path):
        return "columns"
    if suffix in (".csv", ".tsv", ".psv", *table.SHEETS):
        return "table" if suffix not in table.SHEETS else table.refused(path)
    if suffix == ".parquet" or suffix in lists.LINES:
        nested = any(lists.is_list(one.type) for one in lists.schema(path))
        return "lists" if nested else SOURCES.get(suffix, "table")
    if suffix in (*lists.JSON, *lists.ARROW):
        return "lists"
    if suffix in SOURCES:
        return SOURCES[suffix]
    uncertain = path.is_file() and (suffix in UNCERTAIN or suffix.endswith("_conll"))
    if uncertain and words.sample(path, _encoded(path).get("encoding")) is not None:
        return "columns"
    known = ", ".join(KNOWN)
    raise DataError(
        f"{path}: expected a name that ends in {known}, perhaps .gz, or .yaml{table.mend(path)}"
    )


def _encoded(path: Path) -> dict[str, str]:
    """The key that names the encoding, where it is not UTF-8."""
    if kind(path) == ".parquet":
        return {}
    with table.understood(path):
        found = dialect.encoding_of(path)
    return {"encoding": found} if found else {}


def _has_words(path: Path) -> bool:
    """Whether a file with tabs has a word a line and empty lines between sentences, not rows."""
    found = words.sample(path, _encoded(path).get("encoding"))
    if found is None or any(" " in word for word in found.values(0)):
        return False
    header = {re.sub(r"[\W_]", "", name.lower()) for name in found.rows[0]}
    return not header & {*roles.NAMES["sequence"], "text", "texts"}


def _of_table(
    path: Path, parts: list[Path], section: dict[str, Any], task: str | None, skipped: Skipped
) -> Guess:
    """Guess what the columns of a table are; or a file of texts."""
    columns = _sample(parts[0])
    token = roles.by_name(columns, "token")
    label = roles.label_of(columns, [token])
    _check_is_class(path, label)
    sequence = roles.sequence_of(columns, [token, label])
    texts = _texts_in_table(path, columns, label, sequence, token, skipped)
    if texts is not None:
        given = _encoded(parts[0]) | ({"task": task} if task else {})
        return Guess({"source": "text", **section, **texts, **given, **_beside(columns, texts)})
    if sequence is None and len(parts) == 1:
        raise DataError(_not_found(path, columns))
    _check_alike(parts, [one for one in (sequence, label) if one is not None])
    ids = sequence.down if sequence else ["" for _ in columns[0].values]
    rest = [one for one in columns if one not in (label, sequence)]
    found = {"sequence": sequence, "label": label} | roles.others_of(rest, ids, token)
    own = {role: one.name for role, one in found.items() if one and one.name != role}
    rest = [one for one in rest if one not in found.values()]
    ways = _ways(parts, sequence, rest) | roles.leftovers(rest)
    _note_doubts(parts[0], sequence, label, rest, skipped)
    if label is not None:
        _check_held_out(section, label.name)
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
    path: Path,
    sequence: Column | None,
    label: Column | None,
    rest: Sequence[Column],
    skipped: Skipped,
) -> None:
    """Note what was guessed without a name that says so, or against most of the values."""
    guessed = {
        "sequence": sequence and not roles.is_called_sequence(sequence) and sequence,
        "label": label and not roles.is_called_label(label) and label,
    }
    for role, column in guessed.items():
        if column:
            what = f"column `{column.name}` as the {role}, since no name says which one is"
            skipped.note(what, str(path))
    for one in rest:
        if one.kind == "text" and (others := unread(one.values)):
            what = f"column `{one.name}` as text, which no model reads, since {others[0][:60]!r} "
            skipped.note(f"{what}is no number", str(path), len(others))


def _texts_in_table(
    path: Path,
    columns: Sequence[Column],
    label: Column | None,
    sequence: Column | None,
    token: Column | None,
    skipped: Skipped,
) -> dict[str, str] | None:
    """How to read a file with a text a row, of words or of letters; None if it is none."""
    if (letters := roles.letters_of(columns, label)) is not None:
        own = {"text": letters.name, "label": label.name if label else "label"}
        skipped.note(
            f"column `{letters.name}` as texts, of which each letter is a token", str(path)
        )
        own = {key: name for key, name in own.items() if key != name}
        return own | {"tokens": "pattern", "pattern": r"\S"}
    if sequence is not None and sequence.name == "sequence":
        return None
    rest = [one for one in columns if one not in (label, sequence, token)]
    numbers = [one for one in rest if one.kind != "text" and not one.counts_rows]
    texts = roles.texts_of(columns, label, sure=sequence is None or not (token or numbers))
    if texts is not None:
        _check_is_one_class(path, columns, texts)
    return texts


def _check_is_one_class(path: Path, columns: Sequence[Column], texts: Mapping[str, str]) -> None:
    """Refuse texts with a tag for each word.

    Raises:
        DataError: labels have as many words as texts.
    """
    by_name = {one.name: one.values for one in columns}
    given = by_name[texts.get("text", "text")]
    tags_of = by_name.get(texts.get("label", "label"), given[:0])
    pairs = zip(given, tags_of, strict=False)
    counts = [(len(text.split()), len(tags.split())) for text, tags in pairs]
    if any(tags > 1 for _, tags in counts) and all(words == tags for words, tags in counts):
        raise DataError(
            f"{path}: expected one label for each text, found as many as it has words; write the "
            'words and tags of each row as lists, {"tokens": [...], "tags": [...]} in JSON Lines'
        )


def _check_alike(parts: Sequence[Path], needed: Sequence[Column]) -> None:
    """Refuse a folder of which some files lack the ids or the labels.

    Raises:
        DataError: names one of them.
    """
    for part in parts[1:MOST_PARTS]:
        with addresses.opened(part) as file:
            names = table.header(file)
        if absent := [one.name for one in needed if one.name not in names]:
            raise DataError(
                f"{part}: expected a column `{absent[0]}` as in {parts[0].name}, found "
                f"{one_line(first_few(names))}; if labels are in a file of their own, join the two "
                "into one table, by pandas.merge say"
            )


def _check_held_out(section: Mapping[str, str], label: str) -> None:
    """Refuse a test split without labels, as competitions give it.

    Raises:
        DataError: names its file.
    """
    for split in ("validation", "test"):
        for part in _parts(addresses.place(section[split])) if split in section else ():
            with addresses.opened(part) as file:
                names = table.header(file)
            if label not in names:
                raise DataError(
                    f"{part}: expected a column `{label}` to compare answers with, found none; "
                    "leave the file out, train on the others, and ask `birnn predict` about it"
                )


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


def _ways(parts: Sequence[Path], sequence: Column | None, rest: Sequence[Column]) -> dict[str, Any]:
    """How files are read, where not as the sequence table; each may have its own decimal sign."""
    path = parts[0]
    found: dict[str, Any] = {}
    if sequence is None:
        found["file"] = "sequence"
    elif len(sequence.values) > len(sequence.filled) == sequence.distinct:
        found["fill_down"] = True
    if kind(path) != ".parquet" and len(parts) == 1:
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


def _of_lists(path: Path, section: dict[str, Any], task: str | None, skipped: Skipped) -> Guess:
    """Guess what the columns of a file with one sequence a row are."""
    schema = lists.schema(path)
    columns = [Column(name, []) for name in schema.names]
    nested = [one for one in columns if lists.is_list(schema.field(one.name).type)]
    found = {role: roles.by_name(nested, role) for role in ("token", "label")}
    if found["label"] is None:
        found["label"] = roles.by_name(columns, "label") or roles.list_of_classes(
            nested, found["token"]
        )
    if found["token"] is None and found["label"] is not None:
        left = [one for one in nested if one is not found["label"]]
        if not left:
            _check_is_one_label(path, schema.field(found["label"].name))
        words = [one for one in left if is_text(schema.field(one.name).type.value_type)]
        if len(left) == len(words) == 1:
            found["token"] = words[0]
            what = f"column `{words[0].name}` as the token, since no name says which one is"
            skipped.note(what, str(path))
    single = [one for one in columns if one not in nested]
    found |= {role: roles.by_name(single, role) for role in ("sequence", "group")}
    if found["label"] is None:
        advice = "name it in data.columns of a file of params, and check that"
        if {*SPANS} & {*schema.names}:
            advice = lists.OF_SPANS
        elif {*map(standard_split, schema.names)} <= {*SPLITS}:
            advice = "write each split into a file of its own"
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


def _check_is_one_label(path: Path, label: pa.Field) -> None:
    """Refuse texts with a list of labels, or of places that are marked."""
    if lists.is_list(label.type):
        marked = pa.types.is_struct(label.type.value_type)
        advice = lists.OF_SPANS if marked else "write the one that is to be learned, as text"
        raise DataError(
            f"{path}, column `{label.name}`: expected one label for each text, or a list of tokens "
            f"beside it, found a list; {advice}"
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
