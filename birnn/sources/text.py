"""Labelled texts, cut into tokens.

They come from a CSV, TSV, JSONL, Parquet or Arrow file with a column of texts and one of labels,
from one file for each class with one text a line, or from a folder for each with one text a file.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError
from birnn.files import addresses, arrow, bounds, table_checks, timed
from birnn.files.reading import Skipped, fields, first_few, kind, lines, missing, one_line
from birnn.files.tables import KEPT, Form
from birnn.params import TextData
from birnn.sources import folders, objects
from birnn.sources.columns import is_text, standard_splits

COLUMNS = {".parquet": bounds.parquet_batches, ".arrow": arrow.batches, ".feather": arrow.batches}
"""What reads files that hold columns."""
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", *COLUMNS)
BATCH_ROWS = 1024
TEXT_NAME = re.compile(r"(?:\.te?xt)?(?:\.gz)?$", re.IGNORECASE)
"""What in the name of a text is no part of its id."""
QUOTES = "; if quotes are plain characters, set data.quotes: false"
BATCH_CHARACTERS = 1 << 20
LEAST_SECONDS, CHARACTERS_A_SECOND = 10.0, 300_000  # to find tokens by a pattern; usual: 5,000,000

Tokenise = Callable[[pa.StringArray], pa.ListArray]
Row = tuple[str, str | None, int, list[str]]
"""A text, its label, its line, and what stands beside it."""
OF_ROWS = ("sequence", "token", "label")
"""What `data.keep` may name beside the columns of the file."""


class Text(NamedTuple):
    """A text, its label and id, and the line on which it ends; no label where it is to be found.

    Beside it are its group, its split and what travels with it, each with the name of its column.
    The file is named where each text has its own.
    """

    text: str
    label: str | None
    id: str
    line: int
    file: str = ""
    beside: tuple[tuple[str, str], ...] = ()


def read(
    data: TextData,
    path: str | Path,
    prefix: str = "",
    *,
    labelled: bool = True,
    skipped: Skipped | None = None,
    form: Form | None = "NFC",
) -> Iterator[pa.RecordBatch]:
    """Stream the texts of a `.csv`, `.tsv`, `.jsonl` or `.parquet` file, as tokens.

    The number of its row is a text's id, so that it stays what it is when rows are added.

    Args:
        data: says what the columns are called, and how tokens are found.
        path: the file; without labels also one with a text a line.
        prefix: put before the numbers that serve as ids.
        labelled: whether labels are read.
        skipped: counts texts without a token, empty lines, and texts in another form of Unicode.
        form: of Unicode, to which texts are brought before a pattern looks for tokens, in which an
            accent by itself may be no letter; None leaves them as they are.

    Raises:
        DataError: the file is missing or is not what its name says, a column is missing, a line has
            too many fields or too few, a key is missing, or a text is not in the encoding.
    """
    skipped = skipped or Skipped()
    if kind(path) not in SUFFIXES:
        if labelled:
            known = ", ".join(SUFFIXES)
            raise DataError(f"{path}: expected a name that ends in {known}, or with .gz")
        _check_is_no_table(path, data)
        yield from read_lines(data, path, None, prefix, skipped, form)
        return
    label = data.label if labelled else None
    plan = _Plan(path, data, labelled, skipped)
    if kind(path) in (".jsonl", ".ndjson"):
        rows = _jsonl(path, data.text, label, data.encoding, skipped, plan)
    elif kind(path) in COLUMNS:
        rows = _columns(path, data.text, label, plan)
    else:
        hint = QUOTES if data.quotes else ""
        found = fields(path, data.encoding, quotes=data.quotes, hint=hint, skipped=skipped)
        rows = _csv(path, data.text, label, found, plan)
    texts = (
        Text(
            content,
            name,
            f"{prefix}{number:06d}",
            line,
            beside=tuple(zip(plan.beside, row, strict=True)),
        )
        for number, (content, name, line, row) in enumerate(rows, 1)
    )
    composed = _composed(texts, path, form, skipped)
    yield from _batches(composed, path, tokeniser(data.pattern), skipped)


class _Plan:
    """Which columns stand beside the texts of a file, and which are left out.

    Attributes:
        beside: the file's own name of each by its name in the sequence table.
    """

    def __init__(self, path: str | Path, data: TextData, labelled: bool, skipped: Skipped) -> None:
        self.path, self.data, self.labelled, self.skipped = path, data, labelled, skipped
        self.beside: dict[str, str] = {}

    def of(self, names: Sequence[str]) -> list[str]:
        """Decide it by the names of the columns, and give those to read.

        Raises:
            DataError: a column is missing that is to stand beside texts to train on.
        """
        data, wanted = self.data, list[tuple[str, str, str]]()
        if self.labelled:  # neither says anything of a text to predict
            roles = {"group": data.group, "split": data.split}
            wanted += [(f"data.{role}", role, name) for role, name in roles.items() if name]
        keep = [name for name in data.keep if name in names or name not in OF_ROWS]
        wanted += [("data.keep", KEPT + name, name) for name in keep]
        for key, _, name in wanted:
            if name not in names and self.labelled:
                found = ", ".join(names)
                raise DataError(f"{self.path}: expected a column `{name}` ({key}), found {found}")
        self.beside = {role: name for _, role, name in wanted if name in names}
        known = {data.text, data.label, *self.beside.values(), ""}
        if self.labelled and (others := [name for name in names if name not in known]):
            what = f"columns beside text and label ({first_few(others)})"
            self.skipped.add(what, str(self.path), len(others))
        return [*self.beside.values()]


def _check_is_no_table(path: str | Path, data: TextData) -> None:
    """Refuse a file that would be read as a text a line, and begins like a table of texts."""
    first = next(iter(lines(path, data.encoding)), "")
    for delimiter in (",", ";", "\t", "|"):
        header = [name.strip(' "\r\n') for name in first.split(delimiter)]
        if len(header) > 1 and data.text in header:
            raise DataError(
                f"{path}: expected a text a line, found the header of a table with a column "
                f"`{data.text}`; let the name end in .csv or .tsv, or leave out the first line"
            )


def read_lines(
    data: TextData,
    path: str | Path,
    label: str | None,
    prefix: str,
    skipped: Skipped,
    form: Form | None = "NFC",
) -> Iterator[pa.RecordBatch]:
    """Stream the texts of a file with one text a line; see `read`."""
    texts = (
        Text(line, label, f"{prefix}{number:06d}", number)
        for number, line in enumerate(lines(path, data.encoding), 1)
    )
    composed = _composed(texts, path, form, skipped)
    yield from _batches(composed, path, tokeniser(data.pattern), skipped)


def read_classes(
    data: TextData, classes: Mapping[str, str], skipped: Skipped
) -> Iterator[pa.RecordBatch]:
    """Stream the texts of a file for each class, which has one text a line; see `read`.

    Raises:
        DataError: see `read`; or there are no texts of a class.
    """
    for label, path in classes.items():
        with addresses.opened(addresses.place(path)) as file:
            batches = read_lines(data, file, label, f"{label}-", skipped)
            for batch in table_checks.filled(batches, path, f"texts of the class {label!r}"):
                yield table_checks.from_file(batch, path, "step")


def read_files(
    data: TextData,
    path: str | Path,
    prefix: str = "",
    *,
    labelled: bool = True,
    skipped: Skipped | None = None,
    form: Form | None = "NFC",
) -> Iterator[pa.RecordBatch]:
    """Stream texts of which each is a file, in the folder of its class; see `read`.

    The names of folder and file are a text's id, such as `pos/1`.

    Raises:
        DataError: see `read`; or a file is no text by its name.
    """
    skipped, where = skipped or Skipped(), addresses.place(path)

    def texts() -> Iterator[Text]:
        for file, folder in folders.files(where, named="label", needed=labelled, skipped=skipped):
            if kind(file) in SUFFIXES or file.is_dir():
                raise DataError(f"{file}: expected a text, found {kind(file) or 'a folder'}")
            name = TEXT_NAME.sub("", file.name)
            with addresses.opened(file) as one:
                content = "".join(lines(one, data.encoding))
            before = f"{prefix}{folder}/" if folder else prefix
            label = folder if labelled and folder else None
            yield Text(content, label, f"{before}{name}", 1, str(file))

    composed = _composed(texts(), path, form, skipped)
    yield from _batches(composed, path, tokeniser(data.pattern), skipped)


def _composed(
    texts: Iterator[Text], path: str | Path, form: Form | None, skipped: Skipped
) -> Iterator[Text]:
    for text in texts:
        if form is None or unicodedata.is_normalized(form, text.text):
            yield text
        else:
            place = f"{text.file or path}, line {text.line}"
            skipped.change(f"texts, to the form {form} of Unicode", place)
            yield text._replace(text=unicodedata.normalize(form, text.text))


def tokeniser(pattern: str | None) -> Tokenise:
    """Make the function that cuts texts into lists of tokens: at blanks, or by a pattern."""
    if pattern is None:
        return _words
    compiled = re.compile(pattern)

    def matches(texts: pa.StringArray) -> pa.ListArray:
        found: list[list[str]] = []
        given = texts.to_pylist()
        seconds = LEAST_SECONDS + sum(map(len, given)) / CHARACTERS_A_SECOND
        with timed.limit(seconds, lambda: _endless(given[len(found)], seconds)):
            found.extend(
                [token[0] for token in compiled.finditer(text) if token[0]] for text in given
            )
        return pa.array(found, pa.list_(pa.string()))

    return matches


def _endless(text: str, seconds: float) -> str:
    return (
        f"data.pattern: expected one that finds tokens within {seconds:.0f} seconds, found that it "
        f"takes longer, now in {text[:60]!r}; let no repetition stand in another, as in (a+)+"
    )


def _words(texts: pa.StringArray) -> pa.ListArray:
    """Cut at blanks; a text of blanks alone has no words."""
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts))
    found = pc.not_equal(words.flatten(), "")
    if pc.all(found).as_py():
        return words
    lengths = pc.not_equal(pc.list_element(words, 0), "").cast(pa.int32())
    lengths = pc.multiply(words.value_lengths(), lengths).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, words.flatten().filter(found))


def _batches(
    texts: Iterable[Text], path: str | Path, tokenise: Tokenise, skipped: Skipped
) -> Iterator[pa.RecordBatch]:
    held: list[Text] = []
    characters = 0
    for text in texts:
        held.append(text)
        characters += len(text.text)
        if characters >= BATCH_CHARACTERS:
            yield _batch(held, path, tokenise, skipped)
            held, characters = [], 0
    if held:
        yield _batch(held, path, tokenise, skipped)


def _batch(
    texts: list[Text], path: str | Path, tokenise: Tokenise, skipped: Skipped
) -> pa.RecordBatch:
    tokens = tokenise(pa.array([text.text for text in texts], pa.string()))
    lengths = tokens.value_lengths().to_numpy()
    for number in np.flatnonzero(lengths == 0).tolist():
        one = texts[number]
        skipped.add("texts without a token", f"{one.file or path}, line {one.line}")
    rows = pa.array(np.repeat(np.arange(len(texts)), lengths))
    columns = {
        "sequence": pa.array([text.id for text in texts]).take(rows),
        "token": tokens.flatten(),
    }
    if texts[0].label is not None:
        columns["label"] = pa.array([text.label for text in texts]).take(rows)
    for place, (name, _) in enumerate(texts[0].beside):
        beside = pa.array([text.beside[place][1] for text in texts])
        if name == "split":
            beside = standard_splits(beside, str(path), skipped)
        columns[name] = beside.take(rows)
    return pa.RecordBatch.from_pydict(columns)


def _csv(
    path: str | Path,
    text: str,
    label: str | None,
    rows: Iterator[tuple[int, list[str]]],
    plan: _Plan,
) -> Iterator[Row]:
    _, header = next(rows, (0, []))
    texts = _column(header, text, path)
    labels = None if label is None else _column(header, label, path)
    beside = [header.index(name) for name in plan.of(header)]
    for line, row in rows:
        name = None if labels is None else row[labels]
        yield row[texts], name, line, [row[place] for place in beside]


def _columns(path: str | Path, text: str, label: str | None, plan: _Plan) -> Iterator[Row]:
    """The texts of a file with columns; what is missing is empty."""
    number = 0
    try:
        for batch in COLUMNS[kind(path)](path, BATCH_ROWS):
            found = [text] if label is None else [text, label]
            if not number:
                plan.of(batch.schema.names)
            for name in found:
                _column(batch.schema.names, name, path)
                if name == text and not is_text(batch[name].type):
                    what = batch[name].type
                    raise DataError(f"{path}, column `{name}`: expected text, found {what}")
            names = [*found, *plan.beside.values()]
            columns = [table_checks.whole_numbers(batch[name]).cast(pa.string()) for name in names]
            for row in zip(*(pc.fill_null(one, "").to_pylist() for one in columns), strict=True):
                number += 1
                yield row[0], None if label is None else row[1], number, [*row[len(found) :]]
    except FileNotFoundError:
        raise DataError(missing(path)) from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: expected {kind(path)[1:]}, found: {one_line(error)}") from None


def _column(header: list[str], name: str, path: str | Path) -> int:
    if header.count(name) != 1:
        found = ", ".join(map(repr, header))[:200] if header else "nothing"
        raise DataError(f"{path}: expected one column `{name}`, found {found}")
    return header.index(name)


def _jsonl(
    path: str | Path,
    text: str,
    label: str | None,
    encoding: str,
    skipped: Skipped,
    plan: _Plan,
) -> Iterator[Row]:
    begun = False
    for number, line in enumerate(lines(path, encoding), 1):
        place = f"{path}, line {number}"
        if not line.strip():
            skipped.add("empty lines", place)
            continue
        tree = objects.of_line(line, place)
        content = _string(tree, text, place)
        name = None if label is None else _label(tree, label, place)
        beside = plan.beside.values() if begun else plan.of([*tree])
        begun = True
        yield content, name, number, [_plain(tree.get(key)) for key in beside]


def _plain(value: object) -> str:
    """What travels with a text, as text; nothing where it is null."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _label(tree: Mapping[str, Any], key: str, place: str) -> str:
    """The class, "" where it is null: such a text is unlabelled."""
    return "" if key in tree and tree[key] is None else _string(tree, key, place)


def _string(tree: Mapping[str, Any], key: str, place: str) -> str:
    value = tree.get(key)
    if isinstance(value, bool) or value is None or not isinstance(value, str | int):
        found = "nothing" if key not in tree else repr(value)[:60]
        raise DataError(f"{place}, key `{key}`: expected text, found {found}")
    try:
        return str(value).encode().decode()
    except UnicodeEncodeError:
        raise DataError(f"{place}, key `{key}`: expected text, found half a character") from None
