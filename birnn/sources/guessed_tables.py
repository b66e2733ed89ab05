"""What the columns of a table are, or what folders say of files: the `data` section, guessed.

found = of_table(path, [path], {"path": "my.csv"}, None, skipped)
found.section        # {"source": "table", "task": "tagging", "path": ..., "columns": {...}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from birnn.errors import DataError
from birnn.files import addresses, bounds, reading
from birnn.files.reading import Skipped, first_few, kind, one_line
from birnn.sources import dialect, headers, lists, roles, table
from birnn.sources.headers import unread
from birnn.sources.roles import Column

SAMPLE_ROWS = 20_000
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


def parts_of(path: Path) -> list[Path]:
    """The files that are data; a missing one is named by whoever reads it."""
    if not path.is_dir():
        return [path]
    return reading.parts(path)


def encoded(path: Path) -> dict[str, str]:
    """The key that names the encoding, where it is not UTF-8."""
    if kind(path) == ".parquet":
        return {}
    with table.understood(path):
        found = dialect.encoding_of(path)
    return {"encoding": found} if found else {}


def beside(columns: Sequence[Column], texts: Mapping[str, str]) -> dict[str, Any]:
    """The columns beside texts: of groups and splits, and what travels with them."""
    named = {texts.get("text", "text"), texts.get("label", "label")}
    return roles.beside_texts([one for one in columns if one.name not in named])


def of_table(
    path: Path,
    parts: list[Path],
    section: dict[str, Any],
    task: str | None,
    skipped: Skipped,
    folders: Sequence[Path] = (),
) -> Guess:
    """Guess what the columns of a table are; or a file of texts.

    Args:
        path: the file or folder.
        parts: the files, of which the first is looked at.
        section: says where they lie.
        task: `tagging` or `classification`, if it is known.
        skipped: told of what was guessed without a name that says so.
        folders: those in which the files lie, where their names say something.

    Raises:
        DataError: no column can be a sequence's id or a label.
    """
    columns = sample(parts[0])
    token = roles.by_name(columns, "token")
    label = called = roles.label_of(columns, [token])
    repeats = bool(folders and label and _repeats(label.name, parts))
    if folders and label and (repeats or not roles.is_called_label(label)):
        columns = [one for one in columns if not repeats or one is not label]
        label = None
    _check_is_class(path, label)
    sequence = _sequence_of(columns, [token, label], sure=bool(folders))
    texts = _texts_in_table(path, columns, label, sequence, token, skipped)
    if texts is not None and not folders:
        given = encoded(parts[0]) | ({"task": task} if task else {})
        return Guess({"source": "text", **section, **texts, **given, **beside(columns, texts)})
    if sequence is None and len(parts) == 1 and not folders:
        raise DataError(_not_found(path, columns))
    _check_alike(parts, [one for one in (sequence, label) if one is not None])
    ids = sequence.down if sequence else ["" for _ in columns[0].values]
    rest = [one for one in columns if one not in (label, sequence)]
    found = {"sequence": sequence, "label": label} | roles.others_of(rest, ids, token)
    own = {role: one.name for role, one in found.items() if one and one.name != role}
    rest = [one for one in rest if one not in found.values()]
    ways = _ways(parts, sequence, rest) | roles.leftovers(rest)
    ways |= _ways_of_folders(path, folders, label, skipped)
    if repeats and called:
        ways["ignore"] = [*ways.get("ignore", ()), called.name]
    _note_doubts(parts[0], sequence, label, rest, skipped)
    if label is not None:
        _check_held_out(section, label.name)
    single = _is_single(label, ids, parts) if label is not None else bool(folders)
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


def _sequence_of(
    columns: Sequence[Column], others: Sequence[Column | None], *, sure: bool
) -> Column | None:
    """The column with the ids of sequences; one that its name says it is, where it must be sure."""
    found = roles.sequence_of(columns, others)
    return None if sure and found and not roles.is_called_sequence(found) else found


def _ways_of_folders(
    path: Path, folders: Sequence[Path], label: Column | None, skipped: Skipped
) -> dict[str, Any]:
    """What names of folders are: labels, unless a column has them."""
    if not folders:
        return {}
    what = "group" if label else "label"
    note_folders(path, folders, what, skipped)
    return {"folders": what}


def note_folders(path: Path, folders: Sequence[Path], what: str, skipped: Skipped) -> None:
    """Say that names of folders are taken for labels, or for groups."""
    names = first_few(repr(one.name) for one in folders)
    skipped.note(f"names of folders as {what}s ({names})", str(path), len(folders))


def _repeats(label: str, parts: Sequence[Path]) -> bool:
    """Whether a column says the same as the name of each file's folder, here or in a bucket."""
    for part in (parts[0], parts[-1]):
        with addresses.opened(part) as file:
            values = {
                one for column in sample(file) if column.name == label for one in column.filled
            }
        if {one.casefold() for one in values} != {Path(str(part)).parent.name.casefold()}:
            return False
    return True


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
        for part in parts_of(addresses.place(section[split])) if split in section else ():
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
            others += sample(file)
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


def sample(path: Path) -> list[Column]:
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
