"""The sequence table, checked as it streams by: columns, types, numbers, order.

for batch in checked(batches, task="tagging", where="my.csv"): ...
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError
from birnn.files import hashing
from birnn.files.hashing import Seen
from birnn.files.reading import Skipped
from birnn.files.tables import (
    SPLITS,
    TEXT_COLUMNS,
    Form,
    Mask,
    Rows,
    changes,
    feature_names,
    kept_names,
)

ROW_NUMBERS = re.compile(r"__index_level_\d+__")
MOST_STEPS = 2**31
EXACT = 2**53  # up to which float64 holds each whole number
LARGEST = float(np.finfo(np.float32).max)  # that a model can read without scaling
OTHERS = "leave the column out (data.ignore), let it travel with the rows (data.keep), or encode it"
TIMES = "leave it out (data.ignore), let it travel (data.keep), or set data.time: seconds"
COMPOSED = ("group", "token", "label")  # an id stays as it is, so that users find it again
MISSING = "missing numbers"  # of which `Skipped.first` keeps the first place
FILE, UNIT = b"birnn.file", b"birnn.unit"
"""Where a batch's schema metadata may name the file that its rows come from, and what they are."""


Absent = Sequence[float] | Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a table may have that another may not.

    Attributes:
        labels: that stand for none; an empty one always does.
        numbers: whether features may be missing; they become NaN then.
        absent: numbers that stand for missing ones, in all features or by their names.
        joined: whether a sequence may begin in one file and go on in the next; if None, it may, and
            a line says so.
        parts: whether it goes into parts, so that it may have any number of steps in all.
    """

    labels: Collection[str] = ()
    numbers: bool = False
    absent: Absent = ()
    joined: bool | None = None
    parts: bool = False

    def marks(self, name: str) -> Sequence[float]:
        """Those numbers of a feature."""
        return self.absent.get(name, ()) if isinstance(self.absent, Mapping) else self.absent


NOTHING_MORE = Allowed()


def checked(
    batches: Iterable[pa.RecordBatch],
    *,
    task: str,
    where: str,
    labelled: bool = True,
    max_steps: int | None = None,
    form: Form | None = "NFC",
    skipped: Skipped | None = None,
    allowed: Allowed = NOTHING_MORE,
) -> Iterator[pa.RecordBatch]:
    """Bring record batches to the table's types and refuse what cannot be trained on.

    Text columns become strings, features float64; the columns are in the order of the first batch.
    A label that is not there is null: the step, or the sequence, is unlabelled.

    Args:
        batches: consecutive rows, of one file or several; see `from_file`.
        task: `tagging`, or `classification`, where all rows of a sequence carry one label.
        where: what to call the source in messages, where its batches name no file.
        labelled: whether a `label` column must be there.
        max_steps: how many steps a sequence may have.
        form: the form of Unicode to which tokens, labels and groups are brought, so that a letter
            is the same however its accents are encoded; None leaves them as they are.
        skipped: counts the values that this changes.
        allowed: what else it may have.

    Raises:
        DataError: a column is missing or of a wrong type; a value is missing, NaN or infinite;
            sequences are interleaved; a label, group or split changes within a sequence; a group
            is in two splits; a sequence or the table is too long; there are no rows.
    """
    place, skipped = _Place(where, None if allowed.parts else MOST_STEPS), skipped or Skipped()
    order = _Order(task, max_steps, allowed.joined, skipped)
    names: list[str] = []
    for batch in batches:
        place.enter(batch)
        check_columns(batch.schema, place.where, labelled=labelled)
        _check_absent(batch.schema, place.where, allowed)
        if batch.num_rows == 0:
            continue
        typed = _typed(batch, place, allowed, skipped)
        if form is not None:
            typed = _composed(typed, form, place, skipped)
        if allowed.labels and "label" in typed.schema.names:
            typed = _without(typed, allowed.labels)
        names = names or typed.schema.names
        if _unlike(typed, names, place):
            typed = typed.select(names)
        order.check(typed, place)
        place.leave(typed)
        yield typed
    if not names:
        raise DataError(f"{where}: expected rows, found none")


class _Place:
    """Where a batch lies: its file, and how many rows of the file come before it."""

    def __init__(self, where: str, most: int | None) -> None:
        self.where, self.unit, self.rows, self.total = where, "row", 0, 0
        self.most = most
        self.before = ""  # the file before this one

    def enter(self, batch: pa.RecordBatch) -> None:
        """Take up the batch's file, if it names one."""
        noted = batch.schema.metadata or {}
        where = noted.get(FILE, self.where.encode()).decode()
        self.unit = noted.get(UNIT, self.unit.encode()).decode()
        if where != self.where:
            self.before = self.where if self.total else ""
            self.where, self.rows = where, 0

    def leave(self, batch: pa.RecordBatch) -> None:
        """Go on to what follows a batch."""
        self.rows += batch.num_rows
        self.total += batch.num_rows
        if self.most is not None and self.total > self.most:
            raise DataError(f"{self.where}: expected up to {self.most} steps in all, found more")

    def row(self, row: int | np.integer[Any]) -> str:
        """Name a row of the batch."""
        return f"{self.where}, {self.unit} {self.rows + int(row) + 1}"


def _unlike(batch: pa.RecordBatch, names: list[str], place: _Place) -> bool:
    """Whether columns must be brought into order; every file of a table has the same."""
    found = batch.schema.names
    for name in sorted(set(found) ^ set(names)):
        expected = "a" if name in names else "no"
        raise DataError(
            f"{place.where}: expected {expected} column `{name}`, as in the first file, "
            f"found {', '.join(found)}"
        )
    return bool(found != names)


def from_file(batch: pa.RecordBatch, path: str | Path, unit: str = "row") -> pa.RecordBatch:
    """Note for messages where rows come from, unless that is known already.

    Args:
        batch: the rows.
        path: their file.
        unit: what to call them: `row` where they are the file's own, `step` where it has none.
    """
    if FILE in (batch.schema.metadata or {}):
        return batch
    return batch.replace_schema_metadata({FILE: str(path), UNIT: unit})


def filled(batches: Iterable[pa.RecordBatch], path: str, what: str) -> Iterator[pa.RecordBatch]:
    """Pass rows on, and refuse a file without any: what is left would be taken for the whole."""
    found = 0
    for batch in batches:
        found += batch.num_rows
        yield batch
    if not found:
        raise DataError(f"{path}: expected {what}, found none")


def check_columns(
    schema: pa.Schema,
    where: str,
    *,
    labelled: bool = True,
    steps: bool = True,
    found: Sequence[str] = (),
) -> None:
    """Refuse a table whose columns are not those of a sequence table.

    Args:
        schema: its columns.
        where: what to call it in messages.
        labelled: whether a `label` column must be there.
        steps: whether there must be something to tell steps apart by, a token or a feature.
        found: what its file calls the columns, if not the same.

    Raises:
        DataError: names the column that is missing, doubled, or one too many.
    """
    names = schema.names
    check_doubled(names, where)
    for name in names:
        if set(name) & {"\n", "\r"}:
            raise DataError(
                f"{where}: expected names of columns in one line, found {name!r}; rename it"
            )
        if not name or ROW_NUMBERS.fullmatch(name):
            raise DataError(
                f"{where}: expected a name for each column, found {name!r}; if these are the row "
                "numbers of pandas, save with index=False"
            )
    shown = "found " + ", ".join(found or names)
    for name in ("sequence", "label") if labelled else ("sequence",):
        if name not in names:
            advice = f"; if it has another name, set data.columns.{name}"
            raise DataError(f"{where}: expected a column `{name}`, {shown}{advice}")
    if steps and "token" not in names and not feature_names(schema):
        raise DataError(f"{where}: expected `token` or at least one feature column, {shown}")


def check_doubled(names: Sequence[str], where: str) -> None:
    """Refuse columns that have one name.

    Raises:
        DataError: names the first of them.
    """
    if len({*names}) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: expected each column once, found `{name}` twice; rename one")


def _check_absent(schema: pa.Schema, where: str, allowed: Allowed) -> None:
    features = feature_names(schema)
    for name in allowed.absent if isinstance(allowed.absent, Mapping) else ():
        if name not in features:
            found = ", ".join(features)
            raise DataError(f"{where}: expected a feature `{name}` (data.absent), found {found}")


def _typed(
    batch: pa.RecordBatch, place: _Place, allowed: Allowed, skipped: Skipped
) -> pa.RecordBatch:
    """The columns that the table has, in its order and types."""
    columns = {}
    for name in (name for name in TEXT_COLUMNS if name in batch.schema.names):
        what, may_miss = f"column `{name}`", name == "label"
        column = whole_numbers(batch[name]) if may_miss else batch[name]
        columns[name] = text_column(
            column, what, place.where, place.rows, may_miss=may_miss, unit=place.unit
        )
    for name in feature_names(batch.schema):
        given = _present(batch[name], marks) if (marks := allowed.marks(name)) else batch[name]
        columns[name] = _numbers(given, f"column `{name}`", place, missing=allowed.numbers)
        if allowed.numbers and (row := pc.index(pc.is_nan(columns[name]), value=True).as_py()) >= 0:
            skipped.first.setdefault(MISSING, f"{place.row(row)}, column `{name}`")
    for name in kept_names(batch.schema):
        columns[name] = pc.fill_null(batch[name].cast(pa.string()), "")
    return pa.RecordBatch.from_pydict(columns)


def _present(column: pa.Array, marks: Sequence[float]) -> pa.Array:
    """Take numbers away that stand for missing ones, also where they were kept as float32."""
    types = pa.types
    kinds = (types.is_floating, types.is_integer, types.is_decimal)
    if not any(is_one(column.type) for is_one in kinds):
        return column
    single = column.type == pa.float32()
    wanted = [float(np.float32(mark)) if single else float(mark) for mark in marks]
    found = pc.is_in(column.cast(pa.float64(), safe=False), pa.array(wanted, pa.float64()))
    return pc.if_else(found, pa.scalar(None, column.type), column)


def _without(batch: pa.RecordBatch, unlabelled: Collection[str]) -> pa.RecordBatch:
    """Take labels away that stand for none."""
    none = pc.is_in(batch["label"], pa.array([*unlabelled], pa.string()))
    labels = pc.if_else(none, pa.scalar(None, pa.string()), batch["label"])
    return batch.set_column(batch.schema.get_field_index("label"), "label", labels)


def whole_numbers(labels: pa.Array) -> pa.Array:
    """Bring 1.0 back to 1: pandas makes floats of whole numbers where one of them is missing."""
    if not pa.types.is_floating(labels.type):
        return labels
    values = labels.to_numpy(zero_copy_only=False)
    absent = np.isnan(values)
    known = values[~absent]
    if not (np.abs(known) <= EXACT).all() or (known % 1 != 0).any():
        return labels
    return pa.array(np.where(absent, 0, values).astype(np.int64), mask=absent)


def _composed(batch: pa.RecordBatch, form: Form, place: _Place, skipped: Skipped) -> pa.RecordBatch:
    """Bring text to one form of Unicode (Unicode Standard Annex 15), and count what changes."""
    for number, name in enumerate(batch.schema.names):
        if name in COMPOSED and not pc.all(pc.string_is_ascii(batch[name])).as_py():
            composed = composed_text(batch[name], form)
            changed = pc.not_equal(composed, batch[name])
            if count := pc.sum(changed).as_py():
                first = place.row(pc.index(changed, value=True).as_py())
                skipped.change(f"column `{name}`, to the form {form} of Unicode", first, count)
                batch = batch.set_column(number, name, composed)
    return batch


def composed_text(column: pa.Array, form: Form) -> pa.Array:
    """Bring strings to a form of Unicode; pyarrow 25 gives NFD where it is asked for NFC."""
    encoded = column.dictionary_encode()
    names = [unicodedata.normalize(form, name) for name in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def text_column(
    column: pa.Array,
    name: str,
    where: str,
    rows: int,
    *,
    may_miss: bool = False,
    unit: str = "row",
) -> pa.Array:
    """Bring a column of names to strings, none of them missing unless they may; null then.

    Args:
        column: strings, a dictionary of them, or whole numbers.
        name: what to call it in messages.
        where: what to call its table.
        rows: how many rows of the table come before it.
        may_miss: whether values may be missing or empty.
        unit: what to call a row.

    Raises:
        DataError: it is of another type, or a value is missing or empty.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind) or pa.types.is_nested(kind):
        raise DataError(f"{where}, {name}: expected text or whole numbers, found {kind}")
    try:
        column = column.cast(pa.string())
        column.validate(full=True)
    except pa.ArrowException as error:
        raise DataError(
            f"{where}, {name}, after row {rows}: expected UTF-8 text, found: {error}"
        ) from None
    absent = pc.fill_null(pc.equal(column, ""), fill_value=True)
    missing = absent.to_numpy(zero_copy_only=False)
    if missing.any() and may_miss:
        return pc.if_else(absent, pa.scalar(None, pa.string()), column)
    if missing.any():
        place = f"{unit} {rows + int(missing.argmax()) + 1}"
        raise DataError(f"{where}, {place}, {name}: value missing")
    return column


def _numbers(column: pa.Array, name: str, place: _Place, *, missing: bool) -> pa.Array:
    where = place.where
    kind = column.type
    types = pa.types
    known = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if not known and not types.is_decimal(kind):
        advice = TIMES if pa.types.is_temporal(kind) else OTHERS
        raise DataError(f"{where}, {name}: expected numbers, found {kind}; {advice}")
    stored = column.cast(pa.float64(), safe=False)
    values = stored.to_numpy(zero_copy_only=False)
    bad = ~(np.abs(values) <= LARGEST)  # NaN is not
    if missing and bad.any():
        bad &= ~np.isnan(values)
        stored = pa.array(np.where(np.isnan(values), np.nan, values))  # of one kind, for hashes
    if bad.any():
        row = int(bad.argmax())
        found = column[row].as_py()
        shown = "nothing" if found is None else f"{found}"
        if np.isfinite(values[row]):
            shown += ", too large for float32"
        raise DataError(
            f"{place.row(row)}, {name}: expected a finite number, found {shown}; fill it in or "
            "drop the sequence"
        )
    if pa.types.is_integer(kind):
        whole = column.fill_null(0) if column.null_count else column
        exact, floats = whole.to_numpy(zero_copy_only=False), whole.cast(pa.float64(), safe=False)
        if np.abs(floats.to_numpy()).max() > EXACT:
            _check_rounding(exact, floats.to_numpy(), name, place)
    return stored


def _check_rounding(
    exact: npt.NDArray[np.integer[Any]],
    stored: npt.NDArray[np.float64],
    name: str,
    place: _Place,
) -> None:
    """Refuse times in nanoseconds and the like, where float64 makes one of a number and the next.

    What is small beside its offset is no matter here: models read it after their scaling has taken
    the mean off, and `birnn.data.encoding.fit` refuses it where there is no scaling.
    """
    lost = (exact[1:] != exact[:-1]) & (stored[1:] == stored[:-1])
    if lost.any():
        row = int(lost.argmax())
        raise DataError(
            f"{place.row(row + 1)}, {name}: expected numbers that float64 tells apart, found "
            f"{exact[row + 1]} after {exact[row]}; subtract a constant, such as the first one"
        )


class _Order:
    """What can only be seen across rows: where sequences begin, and what must not change in one."""

    def __init__(
        self, task: str, max_steps: int | None, joined: bool | None, skipped: Skipped
    ) -> None:
        self.joined, self.skipped = joined, skipped
        self.constant = ["group", "split"] + (["label"] if task == "classification" else [])
        self.max_steps = max_steps
        self.last: dict[str, str] = {}
        self.steps = 0  # of the sequence that the last batch ended in
        self.sequences, self.groups = Seen(), Seen()

    def check(self, batch: pa.RecordBatch, place: _Place) -> None:
        """Look at one more batch."""
        if "label" in self.constant and "label" in batch.schema.names:
            place_of = batch.schema.get_field_index("label")
            batch = batch.set_column(place_of, "label", batch["label"].fill_null(""))
        begins = changes(batch["sequence"])
        begins[0] = self.last.get("sequence") != batch["sequence"][0].as_py()
        same_split = "split" not in self.last or self.last["split"] == batch["split"][0].as_py()
        if place.rows == 0 and place.before and not begins[0] and same_split:
            self._check_seam(self.last["sequence"], place)
        starts = np.flatnonzero(begins)
        for name in self.constant:
            if name in batch.schema.names:
                self._check_constant(batch, name, begins, place)
        self._check_interleaved(batch["sequence"].take(starts), starts, place)
        self._check_splits(batch, starts, place)
        self._check_lengths(batch, starts, place)
        kept = {"sequence", *self.constant} & set(batch.schema.names)
        self.last = {name: batch[name][-1].as_py() for name in kept}

    def _check_seam(self, name: str, place: _Place) -> None:
        """A sequence that the last file ended with begins this one too: by chance, or goes on."""
        if self.joined is None:
            what = "sequences that go on in the next file"
            self.skipped.note(what, f"{place.before} and {place.where}: {name!r}")
        elif not self.joined:
            raise DataError(
                f"{place.where}: expected another sequence than the last one of {place.before}, "
                f"found {name!r} in both; give each its own id, or set data.joined: true if it "
                "goes on there"
            )

    def _check_constant(
        self, batch: pa.RecordBatch, name: str, begins: Mask, place: _Place
    ) -> None:
        changed = changes(batch[name])
        changed[0] = batch[name][0].as_py() != self.last.get(name)
        changed &= ~begins
        if changed.any():
            row = int(changed.argmax())
            expected = batch[name][row - 1].as_py() if row else self.last[name]
            hint = "; for a label a step, set data.task: tagging" if name == "label" else ""
            raise DataError(
                f"{place.row(row)}, column `{name}`: expected {expected!r} on every row of "
                f"sequence {batch['sequence'][row].as_py()!r}, found "
                f"{batch[name][row].as_py()!r}{hint}"
            )

    def _check_interleaved(self, ids: pa.StringArray, starts: Rows, place: _Place) -> None:
        again, _ = self.sequences.add(hashing.of_text(ids))
        if again.any():
            first = int(again.argmax())
            raise DataError(
                f"{place.row(starts[first])}: sequence {ids[first].as_py()!r} goes on after "
                f"another one began; give each its own id and keep its {place.unit}s together"
            )

    def _check_splits(self, batch: pa.RecordBatch, starts: Rows, place: _Place) -> None:
        if "split" not in batch.schema.names:
            return
        found = batch["split"].take(starts)
        split = pc.index_in(found, pa.array(SPLITS))
        if split.null_count:
            row = pc.index(split.is_null(), value=True).as_py()
            raise DataError(
                f"{place.row(starts[row])}, column `split`: expected {', '.join(SPLITS)}, "
                f"found {found[row].as_py()!r}"
            )
        if "group" in batch.schema.names:
            self._check_groups(batch["group"].take(starts), split, starts, place)

    def _check_groups(
        self, groups: pa.StringArray, split: pa.Int32Array, starts: Rows, place: _Place
    ) -> None:
        codes = split.to_numpy().astype(np.uint32)
        _, first = self.groups.add(hashing.of_text(groups), codes)
        if (first != codes).any():
            row = int((first != codes).argmax())
            raise DataError(
                f"{place.row(starts[row])}, column `split`: expected {SPLITS[first[row]]!r} as on "
                f"the other rows of group {groups[row].as_py()!r}, found {SPLITS[codes[row]]!r}; "
                "a group belongs to one split"
            )

    def _check_lengths(self, batch: pa.RecordBatch, starts: Rows, place: _Place) -> None:
        """Count steps, and refuse the first sequence that has more than it may."""
        edges = np.concatenate([[-self.steps], starts, [batch.num_rows]])
        lengths = np.diff(edges)
        self.steps = int(lengths[-1])
        if self.max_steps is not None and (lengths > self.max_steps).any():
            row = int(edges[(lengths > self.max_steps).argmax()]) + self.max_steps
            raise DataError(
                f"{place.row(row)}: expected up to {self.max_steps} steps (data.max_steps) in "
                f"sequence {batch['sequence'][row].as_py()!r}, found more; "
                "raise it, or set data.longer: cut"
            )
