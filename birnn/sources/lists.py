"""One sequence a row, its steps in lists: how Hugging Face, and pandas, keep sequences.

    {"id": "7", "tokens": ["Ada", "waits"], "ner_tags": ["B-PER", "O"]}

JSON Lines, JSON (an array of objects, objects one after the other, or an array under `data`),
Parquet, and Arrow files or streams.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError
from birnn.files import addresses, arrow, bounds, looks, reading
from birnn.files.hashing import Seen
from birnn.files.reading import Skipped, kind, lines, missing, one_line
from birnn.files.table_checks import check_doubled, from_file, text_column
from birnn.files.tables import KEPT, TEXT_COLUMNS
from birnn.params import ListsData
from birnn.sources import objects
from birnn.sources.columns import is_text, standard_splits
from birnn.sources.conll import distinct

LINES, JSON, ARROW = (".jsonl", ".ndjson"), (".json",), (".arrow", ".feather")
SUFFIXES = (*LINES, *JSON, ".parquet", *ARROW)
BATCH_ROWS, BATCH_CHARACTERS = 256, 1 << 20
BROKEN = (pa.ArrowException, EOFError, OSError, OverflowError, UnicodeError, zlib.error)
UNLABELLED = -100
"""The number that Hugging Face gives to a step without a label."""

OF_STEPS = "if each row is a step, write it as CSV or Parquet"
OF_SPANS = (
    "if places of letters are marked, as in Prodigy, Label Studio or doccano, export them as "
    "CoNLL, or as a list of tokens and one of tags"
)

A_SEQUENCE = 'write an object for each sequence, such as {"tokens": ["a", "b"], "tags": ["O", "O"]}'

Counts = npt.NDArray[np.int64]


class Rows(NamedTuple):
    """Some rows of a file, and what to call the first of them."""

    batch: pa.RecordBatch
    unit: str
    numbers: list[int]


def read(
    data: ListsData,
    path: str | Path,
    prefix: str = "",
    *,
    labelled: bool = True,
    features: Collection[str] | None = None,
    skipped: Skipped | None = None,
    seen: Seen | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream the sequences of a file, or of all files of a folder, as rows of the sequence table.

    Args:
        data: what the columns are called. A column with lists of numbers is a feature; one with
            lists of K numbers each is K features, NAME_1 and so on. Beside tokens, only columns
            that `columns.features` names are features: other numbers may be those of classes.
        path: the file or folder.
        prefix: put before the numbers that serve as ids where there is no column for them.
        labelled: whether labels are read, and all columns that params name must be there.
        features: those that a model reads, where others are of no interest.
        skipped: counts sequences without a step, steps with the label -100, and ids that are there
            twice: the number of the row takes their place.
        seen: the ids of files that were read before.

    Raises:
        DataError: a file is missing or broken; a column is missing, or no list; lists of a row
            have different lengths; a label is none of the class numbers.
    """
    seen = Seen() if seen is None else seen
    steps = _Steps(data, prefix, labelled, features, skipped or Skipped(), seen)
    for part in parts(addresses.place(path)):
        with addresses.opened(part) as file:
            steps.begin(file)
            for rows in _rows(file):
                found = steps.of(rows)
                if found.num_rows:
                    yield from_file(found, file, "step")


def parts(path: Path) -> list[Path]:
    """The files of a folder, in the order of their names; or the one file."""
    found = [path]
    if path.is_dir():
        found = reading.parts(path)
    for part in found:
        if kind(part) not in SUFFIXES or part.is_dir():
            known = ", ".join(SUFFIXES)
            raise DataError(f"{part}: expected a name that ends in {known}, or with .gz")
    if not found:
        raise DataError(f"{path}: expected files in {', '.join(SUFFIXES)}, found an empty folder")
    return found


def schema(path: Path) -> pa.Schema:
    """The columns of a file by its first rows, or of the first file of a folder.

    Raises:
        DataError: see `read`.
    """
    part = parts(path)[0]
    with addresses.opened(part) as file:
        first = next(_rows(file), None)
    if first is None:
        raise DataError(f"{part}: expected rows, found none")
    return first.batch.schema


def sample(path: Path) -> dict[str, list[str]]:
    """The first rows of a file as text, by the names of its columns."""
    first = next(_rows(path), None)
    if first is None:
        return {}
    found: dict[str, list[str]] = {}
    for name in first.batch.schema.names:
        values = first.batch[name].to_pylist()
        found[name] = ["" if value is None else str(value) for value in values]
    return found


def class_names(noted: bytes, label: str) -> list[str] | None:
    """The names of classes in what Hugging Face notes of a file; None without any."""
    try:
        found = json.loads(noted)["info"]["features"][label]
        inner = found.get("feature", found)
        return [str(name) for name in inner["names"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def is_list(found: pa.DataType) -> bool:
    """Whether a column has lists."""
    types = pa.types
    return bool(
        types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found)
    )


def _rows(path: Path) -> Iterator[Rows]:
    """The rows of a file of any kind, some at a time."""
    try:
        if kind(path) in LINES:
            yield from _of_lines(path)
        elif kind(path) in JSON:
            yield from _of_json(path)
        else:
            number = 1
            read_file = bounds.parquet_batches if kind(path) == ".parquet" else arrow.batches
            for batch in read_file(path, BATCH_ROWS):
                yield Rows(batch, "row", [*range(number, number + batch.num_rows)])
                number += batch.num_rows
    except FileNotFoundError:
        raise DataError(missing(path)) from None
    except BROKEN as error:
        found = f"found {what}" if (what := looks.of(path)) else f"found: {one_line(error)}"
        raise DataError(f"{path}: expected {kind(path)[1:]}, {found}") from None


def _of_lines(path: Path) -> Iterator[Rows]:
    held: list[dict[str, Any]] = []
    numbers: list[int] = []
    size = 0
    for number, line in enumerate(lines(path), 1):
        if not line.strip():
            continue
        held.append(objects.of_line(line, f"{path}, line {number}"))
        numbers.append(number)
        size += len(line)
        if size >= BATCH_CHARACTERS:
            yield _columns(held, path, "line", numbers)
            held, numbers, size = [], [], 0
    if held:
        yield _columns(held, path, "line", numbers)


def _of_json(path: Path) -> Iterator[Rows]:
    held: list[dict[str, Any]] = []
    count = 0
    for value in objects.of_file(path):
        within = value.get("data") if isinstance(value, dict) else None
        for row in within if isinstance(within, list) else [value]:
            count += 1
            if not isinstance(row, dict):
                found = str(row)[:60]
                raise DataError(
                    f"{path}, row {count}: expected an object, found {found!r}; {A_SEQUENCE}"
                )
            held.append(row)
        if len(held) >= BATCH_ROWS:
            yield _columns(held, path, "row", [*range(count - len(held) + 1, count + 1)])
            held = []
    if held:
        yield _columns(held, path, "row", [*range(count - len(held) + 1, count + 1)])


def _columns(held: list[dict[str, Any]], path: Path, unit: str, numbers: list[int]) -> Rows:
    """Objects as columns, whose types are those of their values."""
    names = [*dict.fromkeys(name for row in held for name in row)]
    columns = {}
    for name in names:
        values = [row.get(name) for row in held]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeError):
            wrong = next((n for n, value in enumerate(values) if not _fits(value)), 0)
            found = values[wrong]
            spans = isinstance(found, list) and isinstance(found[0], list | dict)
            raise DataError(
                f"{path}, {unit} {numbers[wrong]}, key `{name}`: expected lists of numbers or of "
                f"text, of one kind in all rows, found {str(found)[:60]!r}"
                f"{f'; {OF_SPANS}' if spans else ''}"
            ) from None
    return Rows(pa.RecordBatch.from_pydict(columns), unit, [*numbers])


def _fits(value: object) -> bool:
    try:
        pa.array([value])
    except (pa.ArrowException, OverflowError, UnicodeError):
        return False
    return True


class _Steps:
    """Turns rows into steps; what is counted and remembered on the way."""

    def __init__(
        self,
        data: ListsData,
        prefix: str,
        labelled: bool,
        features: Collection[str] | None,
        skipped: Skipped,
        seen: Seen,
    ) -> None:
        self.seen = seen
        self.data, self.prefix, self.skipped = data, prefix, skipped
        self.labelled, self.features = labelled, features
        self.count, self.path = 0, Path()

    def begin(self, path: Path) -> None:
        """Go on to another file."""
        self.path = path

    def of(self, rows: Rows) -> pa.RecordBatch:
        """Give the steps of some sequences."""
        batch, where = rows.batch, str(self.path)
        check_doubled(batch.schema.names, where)
        roles = self._roles(batch.schema)
        features = self._features(batch.schema, roles)
        listed = self._listed(batch, roles, features)
        lengths = self._lengths(rows, listed)
        bounds.check_repeated(
            lengths, batch.columns, f"{where}, from {rows.unit} {rows.numbers[0]}"
        )
        steps = pa.array(np.repeat(np.arange(batch.num_rows), lengths))
        found = {"sequence": self._ids(rows, roles).take(steps)}
        self.count += batch.num_rows
        for role in ("group", "split", "label", "token"):
            if role in roles:
                self._check_single(batch, role, roles[role])
                column = self._flat(batch[roles[role]], steps)
                if role == "split":
                    column = standard_splits(column, str(self.path), self.skipped)
                found[role] = self._named(column, rows, lengths) if role == "label" else column
        for name in features:
            found |= self._numbers(batch[name], name, rows)
        for name in self.data.keep:
            if name in batch.schema.names:
                found[KEPT + name] = self._flat(batch[name], steps).cast(pa.string())
        for number in np.flatnonzero(lengths == 0).tolist():
            self.skipped.add("sequences without a step", self._place(rows, number))
        return pa.RecordBatch.from_pydict(found)

    def _check_single(self, batch: pa.RecordBatch, role: str, name: str) -> None:
        """Refuse a list where a sequence has one value."""
        several = role == "token" or (role == "label" and self.data.task == "tagging")
        if is_list(batch[name].type) and is_list(batch[name].type.value_type) and several:
            raise DataError(
                f"{self.path}, column `{name}`: expected a {role} for each step, found lists in "
                f"lists; {A_SEQUENCE}"
            )
        if is_list(batch[name].type) and not several:
            hint = "; for a label a step, set data.task: tagging" if role == "label" else ""
            raise DataError(
                f"{self.path}, column `{name}`: expected one {role} for each sequence, found "
                f"lists{hint}"
            )

    def _place(self, rows: Rows, number: int) -> str:
        return f"{self.path}, {rows.unit} {rows.numbers[number]}"

    def _roles(self, schema: pa.Schema) -> dict[str, str]:
        roles: dict[str, str] = {}
        for role in TEXT_COLUMNS:
            own = getattr(self.data.columns, role)
            name = own or role
            if name in schema.names and (role != "label" or self.labelled):
                roles[role] = name
            elif (role == "label" and self.labelled) or self._is_needed(role, own):
                advice = f"if it has another name, set data.columns.{role}"
                if not self.labelled:
                    advice = "rename it if it has another name than in training"
                raise DataError(
                    f"{self.path}: expected a column `{name}`, found {', '.join(schema.names)}; "
                    f"{advice}"
                )
        return roles

    def _is_needed(self, role: str, own: str | None) -> bool:
        """A file to predict needs neither labels nor groups."""
        return own is not None and (self.labelled or role == "token")

    def _features(self, schema: pa.Schema, roles: dict[str, str]) -> list[str]:
        """The columns with numbers; every other one must be named somewhere."""
        named = self.data.columns.features
        label = self.data.columns.label or "label"
        spoken_for = {*roles.values(), label, *self.data.ignore, *self.data.keep, *(named or [])}
        left = [name for name in schema.names if name not in spoken_for]
        if self.features is not None:
            wanted = [name for name in schema.names if self._is_read(name)]
            return [name for name in wanted if name not in roles.values()]
        if named is not None or "token" in roles:
            if left:
                raise DataError(
                    f"{self.path}: expected a part for each column, found none for {left[0]!r}; "
                    "name it in data.columns, or put it into data.ignore or data.keep"
                )
            return named or []
        if not left:
            raise DataError(
                f"{self.path}: expected `token` or a column with lists of numbers, found "
                f"{', '.join(schema.names)}; name them in data.columns; {OF_STEPS}"
            )
        return left

    def _is_read(self, name: str) -> bool:
        features = self.features or ()
        return name in features or f"{name}_1" in features

    def _listed(
        self, batch: pa.RecordBatch, roles: dict[str, str], features: list[str]
    ) -> list[str]:
        """The columns that have a value for each step."""
        named = [*features, *(roles[role] for role in ("token",) if role in roles)]
        if self.data.task == "tagging" and "label" in roles:
            named.append(roles["label"])
        for name in named:
            if name not in batch.schema.names:
                found = ", ".join(batch.schema.names)
                raise DataError(f"{self.path}: expected a column `{name}`, found {found}")
            if not is_list(batch[name].type):
                raise DataError(
                    f"{self.path}, column `{name}`: expected lists, a value for each step, found "
                    f"{batch[name].type}; put it into data.ignore or data.keep"
                )
        kept = [name for name in self.data.keep if name in batch.schema.names]
        return [*named, *(name for name in kept if is_list(batch[name].type))]

    def _lengths(self, rows: Rows, listed: list[str]) -> Counts:
        """Steps of each sequence; all lists of a row have one length."""
        if not listed:
            raise DataError(f"{self.path}: expected a column with lists, found none")
        first = None
        for name in listed:
            column = rows.batch[name]
            if column.null_count:
                row = pc.index(column.is_null(), value=True).as_py()
                raise DataError(f"{self._place(rows, row)}, key `{name}`: value missing")
            found = column.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
            first = found if first is None else first
            if (found != first).any():
                row = int((found != first).argmax())
                raise DataError(
                    f"{self._place(rows, row)}, key `{name}`: expected {first[row]} values as in "
                    f"`{listed[0]}`, found {found[row]}"
                )
        return np.asarray(first)

    def _ids(self, rows: Rows, roles: dict[str, str]) -> pa.Array:
        """An id for each row: the number of the row where there is none, or one that came by."""
        first, batch = self.count + 1, rows.batch
        numbers = [f"{self.prefix}{n:06d}" for n in range(first, first + batch.num_rows)]
        if "sequence" not in roles:
            return pa.array(numbers)
        column = batch[roles["sequence"]]
        names = text_column(column, f"column `{roles['sequence']}`", str(self.path), self.count)
        found = pa.array(distinct(names.to_pylist(), numbers, self.seen))
        again = pc.not_equal(found, names)
        if count := pc.sum(again).as_py():
            place = self._place(rows, pc.index(again, value=True).as_py())
            self.skipped.change("ids that came by before, to the number of the row", place, count)
        return found

    def _flat(self, column: pa.Array, steps: pa.Array) -> pa.Array:
        """The values of all steps; those of a sequence stand on each of its steps."""
        return column.flatten() if is_list(column.type) else column.take(steps)

    def _named(self, labels: pa.Array, rows: Rows, lengths: Counts) -> pa.Array:
        """Class numbers by their names; labels that are text as they are."""
        if is_text(labels.type) or not pa.types.is_integer(labels.type):
            return labels
        numbers = pc.fill_null(labels, UNLABELLED).to_numpy(zero_copy_only=False)
        ignored = numbers == UNLABELLED
        if ignored.any():
            row = int(np.searchsorted(np.cumsum(lengths), int(ignored.argmax()), side="right"))
            what = f"steps with the label {UNLABELLED} or none, as unlabelled"
            self.skipped.note(what, self._place(rows, row), int(ignored.sum()))
        if self.data.names is None:
            return pc.if_else(pa.array(ignored), None, labels)
        wrong = ~ignored & ~((numbers >= 0) & (numbers < len(self.data.names)))
        if wrong.any():
            step = int(wrong.argmax())
            row = int(np.searchsorted(np.cumsum(lengths), step, side="right"))
            raise DataError(
                f"{self._place(rows, row)}: expected class numbers from 0 to "
                f"{len(self.data.names) - 1} (data.names), found {numbers[step]}"
            )
        places = pa.array(np.where(ignored, 0, numbers).astype(np.int64), mask=ignored)
        return pa.array(self.data.names).take(places)

    def _numbers(self, column: pa.Array, name: str, rows: Rows) -> dict[str, pa.Array]:
        """The features of a column: one, or one for each number of a step."""
        values = column.flatten()
        if not is_list(values.type):
            self._check_numbers(values.type, name)
            return {name: values}
        widths = values.value_lengths().to_numpy(zero_copy_only=False)
        if values.null_count or not len(values) or (widths != widths[0]).any() or not widths[0]:
            found = sorted({*widths.tolist()})[:5]
            raise DataError(
                f"{self._place(rows, 0)} and after, key `{name}`: expected as many numbers in each "
                f"step, found {found}; is it steps within features? then turn it round"
            )
        self._check_numbers(values.flatten().type, name)
        table = np.asarray(values.flatten().to_numpy(zero_copy_only=False))
        table = table.reshape(-1, int(widths[0]))
        return {f"{name}_{n}": pa.array(one) for n, one in enumerate(table.T, 1)}

    def _check_numbers(self, found: pa.DataType, name: str) -> None:
        types = pa.types
        if not (types.is_integer(found) or types.is_floating(found) or types.is_boolean(found)):
            raise DataError(
                f"{self.path}, column `{name}`: expected lists of numbers, found lists of {found}; "
                "put it into data.ignore or data.keep, or name it in data.columns"
            )
