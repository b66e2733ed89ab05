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
from pathlib import Path
from typing import Any

import pyarrow as pa

from birnn.errors import DataError
from birnn.files import addresses, named, shards
from birnn.files.reading import Skipped, first_few, kind, one_line
from birnn.files.tables import SPLITS
from birnn.sources import arrays, conll, fasta, folders, guessed_tables, lists, roles, table, words
from birnn.sources.columns import is_text, standard_split
from birnn.sources.guessed_tables import Guess
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
PLAIN = ("", ".txt", ".text")
KNOWN = (".csv", ".tsv", ".psv", ".parquet", *SOURCES, ".json", *lists.ARROW)
SPANS = ("spans", "annotations", "entities", "paragraphs")


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
    path, skipped = _within(path), skipped or Skipped()
    files = _of_splits(path, skipped) if path.is_dir() else {}
    first = addresses.place(files.get("train", path))
    section = dict(files) or {"path": str(path)}
    parts = guessed_tables.parts_of(first)
    if not parts:
        raise DataError(f"{first}: expected files in it, found an empty folder")
    if within := folders.within(first) if first.is_dir() else []:
        return _of_folders(first, within, section, task, skipped)
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
        return guessed_tables.of_table(path, parts, section, task, skipped)
    if source == "arrays":
        given = {"task": arrays.task_of(parts[0])} | given
    if source == "text" and kind(parts[0]) in lists.LINES:
        section |= _texts_in_lines(parts[0])
    if source == "fasta" and (pattern := fasta.pattern_of(parts[0])):
        given |= {"label_pattern": pattern}
    if source in ("text", "conll", "columns"):
        given = guessed_tables.encoded(parts[0]) | given
    if source in ("conll", "columns"):
        given |= _of_words(parts[0], given.get("encoding"), skipped)
        return Guess({"source": "conll", **section, **given})
    return Guess({"source": source, **section, **given})


def _of_folders(
    path: Path, within: Sequence[Path], section: dict[str, Any], task: str | None, skipped: Skipped
) -> Guess:
    """Guess how to read files in folders whose names say something of them.

    Raises:
        DataError: each folder has splits of its own; or files are of a kind that has no folders.
    """
    inner = {folder: guessed_tables.parts_of(folder) for folder in within}
    if split := [one for one in within if _of_splits(one, Skipped())]:
        names = " and in ".join(one.name for one in split)
        raise DataError(
            f"{path}: expected one data set, found splits in {names}; choose one of them, such as "
            f"{split[0]}"
        )
    parts = [part for found in inner.values() for part in found]
    if not parts:
        raise DataError(f"{path}: expected files in its folders, found none")
    if parts[0].is_file() and _is_one_text(parts[0]):
        return _of_texts(path, inner, section, skipped)
    with addresses.opened(parts[0]) as begin:
        if _source(begin) != "table":
            raise DataError(
                f"{path}: expected tables or texts in folders for each class, found "
                f"{kind(begin)} files; put all into one folder, and their labels into them"
            )
        files = [begin, *parts[1:]]
        return guessed_tables.of_table(path, files, section, task, skipped, within)


def _of_texts(
    path: Path, inner: Mapping[Path, Sequence[Path]], section: dict[str, Any], skipped: Skipped
) -> Guess:
    """Guess how to read folders of texts."""
    given: dict[str, Any] = {}
    for part in (part for found in inner.values() for part in found[: guessed_tables.MOST_PARTS]):
        with addresses.opened(part) as file:
            given = given or guessed_tables.encoded(file)
    none = [one.name for one in inner if one.name.lower() in roles.WITHOUT_LABEL]
    guessed_tables.note_folders(path, [*inner], "label", skipped)
    named = {"unlabelled": none} if none else {}
    return Guess({"source": "text", **section, "folders": "label", **named, **given})


def _is_one_text(path: Path) -> bool:
    """Whether a file in the folder of a class is a text as a whole: by a name that says no other.

    In some collections, what stands behind the last point is a number.
    """
    return kind(path) in PLAIN or not (kind(path) in KNOWN or table.mend(path))


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
    return texts | guessed_tables.beside(columns, texts)


def _within(path: Path) -> Path:
    """The folder that is all there is in a folder, as `data` is of Hugging Face's repositories."""
    while path.is_dir() and len(parts := guessed_tables.parts_of(path)) == 1 and parts[0].is_dir():
        path = parts[0]
    return path


def _of_splits(path: Path, skipped: Skipped) -> dict[str, str]:
    """The file or folder of each split, where names hold `train`, `test` and so on."""
    found: dict[str, list[Path]] = {}
    for part in guessed_tables.parts_of(path):
        found.setdefault(_split_of(part.name), []).append(part)
    if "test" not in found:
        return {}
    others = found.pop("", [])
    places = {name: _one_place(path, files) for name, files in found.items()}
    if others:
        what = f"files whose names name no split ({first_few(one.name for one in others)})"
        skipped.add(what, str(path), len(others))
    return {name: str(places[name]) for name in SPLITS if name in places}


def _one_place(folder: Path, files: Sequence[Path]) -> Path:
    """A file or folder, or the pattern of the shards of a split.

    Raises:
        DataError: there are several that are no shards.
    """
    if len(files) == 1:
        return files[0]
    if found := shards.pattern([one.name for one in files]):
        pattern = addresses.place(f"{folder}/{found}")
        if {one.name for one in pattern.iterdir()} == {one.name for one in files}:
            return pattern
    raise DataError(
        f"{folder}: expected a file or folder for each split, found {files[0].name} and "
        f"{files[1].name}; put the files of each split into a folder of its own"
    )


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
    if uncertain and words.sample(path, guessed_tables.encoded(path).get("encoding")) is not None:
        return "columns"
    known = ", ".join(KNOWN)
    raise DataError(
        f"{path}: expected a name that ends in {known}, perhaps .gz, or .yaml{table.mend(path)}"
    )


def _has_words(path: Path) -> bool:
    """Whether a file with tabs has a word a line and empty lines between sentences, not rows."""
    found = words.sample(path, guessed_tables.encoded(path).get("encoding"))
    if found is None or any(" " in word for word in found.values(0)):
        return False
    header = {re.sub(r"[\W_]", "", name.lower()) for name in found.rows[0]}
    named = all(header & {*roles.NAMES[role]} for role in ("token", "label"))
    if named and not {*map(str.lower, found.rows[0])} <= conll.HEADER:
        return False  # names of columns, which the reader of sentences would take for a word
    return not header & {*roles.NAMES["sequence"], "text", "texts"}


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
