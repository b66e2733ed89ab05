"""The columns of a user's table, under the names and in the types of the sequence table.

to_standard = Columns(data, skipped)
plan = to_standard.plan(names, "my.csv")
batch = to_standard.batch(batch, plan)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError
from birnn.files.reading import Skipped, first_few
from birnn.files.table_checks import ROW_NUMBERS, check_columns, check_doubled
from birnn.files.tables import KEPT, TEXT_COLUMNS, changes
from birnn.params import TableData
from birnn.sources.moments import Backwards, form_of

FILLED = ("sequence", "group", "split")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development", "testa"),
    "test": ("test", "testing", "testb"),
}
"""What people call the splits."""
UNITS = (("ns", 1e17, 1e9), ("us", 1e14, 1e6), ("ms", 1e11, 1e3), ("s", 0.0, 1.0))
"""Units of numbers that count from 1970: from which number on, and how many make a second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the columns of one file.

    Attributes:
        where: what to call the file in messages.
        roles: the file's own name of `sequence`, `label` and so on, by these.
        features: columns to read as numbers.
        kept: columns that travel with the rows.
        time: the column that becomes seconds; None for none.
        given: what the names of the file and of its folder say, by the standard names.
        before: put before ids, so that those of two folders stay distinct.
    """

    where: str
    roles: dict[str, str]
    features: list[str]
    kept: list[str]
    time: str | None
    given: dict[str, str]
    before: str = ""

    @property
    def read(self) -> list[str]:
        """All columns that are needed, each once."""
        return [*dict.fromkeys([*self.roles.values(), *self.features, *self.kept])]


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, in any of Arrow's types for it."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def standard_split(name: str) -> str:
    """The name that a split has here; another one as it is."""
    plain = name.strip().lower()
    return next((split for split, names in SPLIT_NAMES.items() if plain in names), name)


def standard_splits(column: pa.Array, where: str, skipped: Skipped) -> pa.Array:
    """Give splits the names that they have here, and say so."""
    encoded = column.cast(pa.string()).dictionary_encode()
    found = encoded.dictionary.to_pylist()
    standard = [standard_split(name) for name in found]
    if standard == found:
        return column
    named = pa.array(standard, pa.string()).take(encoded.indices)
    count = pc.sum(pc.not_equal(named, encoded.cast(pa.string()))).as_py()
    skipped.change("names of splits, to train, validation or test", where, count)
    return named


class Columns:
    """What params say of the columns, applied to one file after the other."""

    def __init__(
        self,
        data: TableData,
        skipped: Skipped,
        *,
        labelled: bool = True,
        features: Collection[str] | None = None,
        prefix: str = "",
        taken: set[str] | None = None,
    ) -> None:
        self.data, self.skipped, self.labelled = data, skipped, labelled
        self.prefix = prefix  # that tells ids of one split from those of another
        self.taken = set[str]() if taken is None else taken  # names of files in earlier splits
        self.features = features
        self.last: dict[str, str] = {}  # what stood last in columns that are filled down
        self.started: tuple[str, float] | None = None  # the last sequence, and when it began
        self.row, self.unit = 0, 1.0
        self.backwards = Backwards(skipped)

    def plan(self, names: Sequence[str], where: str, folder: str = "") -> Plan:
        """Decide what becomes of the columns of a file, of which one more begins.

        Args:
            names: of its columns.
            where: its path.
            folder: the one in which it lies, where names of folders say something.

        Raises:
            DataError: a column is missing, there twice, or has two parts.
        """
        self.last, self.started, self.row = {}, None, 0
        self.backwards = Backwards(self.skipped)
        names = self._named(names, where)
        check_doubled(names, where)
        given = self._given(where, folder)
        roles = self._roles(names, where, given)
        time = self._time(names, where)
        ignored = self._there(self.data.ignore, names, where, "ignore")
        kept = self._there(self.data.keep, names, where, "keep")
        taken = {*roles.values(), *ignored, *kept} - {time}
        features = self._features([name for name in names if name not in taken], names, where)
        if time is not None and time not in features:
            features.append(time)
        before = f"{self.prefix}{folder}/" if folder else ""
        plan = Plan(where, roles, features, kept, time, given, before)
        standard = [*roles, *features, *given]
        check_columns(
            pa.schema([(name, pa.string()) for name in dict.fromkeys(standard)]),
            where,
            labelled=self.labelled,
            steps=self.features is None or len(self.features) > 0,
            found=names,
        )
        return plan

    def _named(self, names: Sequence[str], where: str) -> list[str]:
        """Leave out columns without a name: what pandas counts, or a delimiter at each line's end.

        Where params name it, pandas' column is one like others.
        """
        wanted = {*self.data.ignore, *self.data.keep, *(self.data.columns.features or ())}
        kept = [name for name in names if name and not ROW_NUMBERS.fullmatch(name)]
        kept = [name for name in names if name in kept or name in wanted]
        if len(kept) < len(names):
            self.skipped.add("columns without a name", where, len(names) - len(kept))
        return kept

    def _roles(self, names: Sequence[str], where: str, given: dict[str, str]) -> dict[str, str]:
        roles: dict[str, str] = {}
        for role in TEXT_COLUMNS:
            own = getattr(self.data.columns, role)
            if role in given:
                if role in names and role not in self.data.ignore:
                    key = "file" if role == self.data.file else "folders"
                    what = "files" if key == "file" else key
                    raise DataError(
                        f"{where}: expected no column `{role}` where {what} are {role}s, found "
                        f"one; put it into data.ignore, or leave out data.{key}"
                    )
            elif own in names:
                roles[role] = own
            elif own is not None and self._is_needed(role, names):
                raise DataError(
                    f"{where}: expected a column `{own}` (data.columns.{role}), "
                    f"found {', '.join(names)}"
                )
            elif role in names and role not in (*self.data.ignore, *roles.values()):
                roles[role] = role
        self._check_single(roles, names, where)
        return roles

    def _check_single(self, roles: dict[str, str], names: Sequence[str], where: str) -> None:
        """Refuse a file with a column of the standard name beside the one that params name."""
        spoken_for = {*roles.values(), *self.data.ignore, *self.data.keep}
        for role, name in roles.items():
            if role in names and role not in spoken_for:
                raise DataError(
                    f"{where}: expected one column for {role}, found `{name}` and `{role}`; put "
                    f"`{role}` into data.ignore"
                )

    def _is_needed(self, role: str, names: Sequence[str]) -> bool:
        """A file to predict may be a sequence table, and needs neither labels nor groups."""
        if self.labelled:
            return True
        return role in ("sequence", "token") and role not in names

    def _given(self, where: str, folder: str) -> dict[str, str]:
        """What the names of a file and of its folder say."""
        name = Path(where).name.removesuffix(".gz").rsplit(".", 1)[0]
        given: dict[str, str] = {}
        if self.data.file != "part":
            given[self.data.file] = name if folder else self._distinct(name, where)
        if self.data.folders and folder and (self.labelled or self.data.folders != "label"):
            given[self.data.folders] = folder
        return given

    def _distinct(self, name: str, where: str) -> str:
        """The id of a sequence that is a file; a group of two splits is refused elsewhere."""
        if self.data.file == "sequence" and self.prefix and name in self.taken:
            what = "names of files that another split has, with the split before them"
            self.skipped.change(what, where)
            name = self.prefix + name
        self.taken.add(name)
        return name

    def _time(self, names: Sequence[str], where: str) -> str | None:
        if self.data.time is None:
            return None
        name = self.data.columns.time or "time"
        if name not in names:
            raise DataError(
                f"{where}: expected a column `{name}` for data.time, found {', '.join(names)}; "
                "name it in data.columns.time"
            )
        return name

    def _there(
        self, wanted: Sequence[str], names: Sequence[str], where: str, key: str
    ) -> list[str]:
        """Those of some columns that a file has; in training it must have all."""
        for name in wanted:
            if name not in names and self.labelled:
                found = ", ".join(names)
                raise DataError(f"{where}: expected a column `{name}` (data.{key}), found {found}")
        return [name for name in wanted if name in names]

    def _features(self, left: list[str], names: Sequence[str], where: str) -> list[str]:
        named = self.data.columns.features if self.features is None else [*self.features]
        if named is None:
            return left
        for name in named:
            if name not in names and self.features is None:
                found = ", ".join(names)
                raise DataError(
                    f"{where}: expected a column `{name}` (data.columns.features), found {found}"
                )
        others = [name for name in left if name not in named]
        if others and self.features is None:
            what = f"columns that data.columns.features does not name ({first_few(others)})"
            self.skipped.add(what, where, len(others))
        return [name for name in named if name in names]

    def filled(self, batch: pa.RecordBatch, plan: Plan) -> pa.RecordBatch:
        """Leave out rows without any value, as stand below the last one in spreadsheets."""
        if "sequence" not in plan.roles:  # each row of a file is a step
            return batch
        ids = batch[plan.roles["sequence"]]
        plain = pa.types.is_string(ids.type) and not ids.null_count
        if plain and pc.min(pc.binary_length(ids)).as_py() != 0:  # as in nearly all batches
            return batch
        blank = None
        for name in plan.read:
            found = _is_blank(batch[name])
            blank = found if blank is None else pc.and_(blank, found)
            if not pc.any(blank).as_py():
                return batch
        first = self.row + pc.index(blank, value=True).as_py() + 1
        count = pc.sum(blank).as_py()
        self.skipped.add("rows without a value", f"{plan.where}, row {first}", count)
        return batch.filter(pc.invert(blank))

    def batch(self, batch: pa.RecordBatch, plan: Plan) -> pa.RecordBatch:
        """Bring some rows of the file to the names and types of the sequence table.

        Raises:
            DataError: a name is missing that stands on the row above, or a time is none.
        """
        columns = {role: pa.array([name] * batch.num_rows) for role, name in plan.given.items()}
        for role, name in plan.roles.items():
            column = self._filled(batch[name], role, name, plan)
            if role == "split":
                column = standard_splits(column, plan.where, self.skipped)
            columns[role] = column
        if plan.before:
            ids = columns["sequence"].cast(pa.string())
            columns["sequence"] = pc.binary_join_element_wise(plan.before, ids, "")
        for name in plan.features:
            seconds = name == plan.time
            columns[name] = self._seconds(batch[name], columns, plan) if seconds else batch[name]
        for name in plan.kept:
            text = columns[KEPT + name] = _as_text(batch[name])
            self.backwards.look(text, name, columns["sequence"], plan.where, self.row)
        self.row += batch.num_rows
        return pa.RecordBatch.from_pydict(columns)

    def _filled(self, column: pa.Array, role: str, name: str, plan: Plan) -> pa.Array:
        """Repeat what stands on the first row of a sequence alone, if params say that it does."""
        # A label that is not there is that of a sequence without one, unless params say otherwise.
        of_label = self.data.fill_down and self.data.task == "classification"
        once = role in FILLED or (role == "label" and of_label)
        if not once or not (is_text(column.type) or column.null_count):
            return column
        text = column.cast(pa.string())
        empty = pc.fill_null(pc.equal(text, ""), fill_value=True)
        if not pc.any(empty).as_py():
            self.last[role] = text[-1].as_py() if len(text) else self.last.get(role, "")
            return column
        first = pc.index(empty, value=True).as_py()
        if not self.data.fill_down or (first == 0 and not self.last.get(role)):
            above = first > 0 or bool(self.last.get(role))
            advice = "; if it stands on its first row only, set data.fill_down: true"
            raise DataError(
                f"{plan.where}, row {self.row + first + 1}, column `{name}`: value missing"
                f"{advice if above and not self.data.fill_down else ''}"
            )
        whole = pc.if_else(empty, pa.scalar(None, pa.string()), text)
        if first == 0:
            whole = pa.concat_arrays([pa.array([self.last[role]]), whole])
        filled = pc.fill_null_forward(whole)[int(first == 0) :]
        self.last[role] = filled[-1].as_py()
        return filled

    def _seconds(self, column: pa.Array, columns: dict[str, pa.Array], plan: Plan) -> pa.Array:
        """Times as seconds since their sequence began."""
        times = self._times(column, plan)
        ids = columns["sequence"].cast(pa.string())
        begins = changes(ids)
        begins[0] = self.started is None or self.started[0] != ids[0].as_py()
        starts = np.flatnonzero(begins)
        first = times[starts]
        if not begins[0] and self.started is not None:
            starts, first = np.append(0, starts), np.append(self.started[1], first)
        since = np.repeat(first, np.diff(np.append(starts, len(times))))
        self.started = (ids[-1].as_py(), float(since[-1]))
        back = np.flatnonzero((np.diff(times, prepend=times[:1]) < 0) & ~begins)
        if len(back):
            row = int(back[0])
            raise DataError(
                f"{plan.where}, row {self.row + row + 1}, column `{plan.time}`: expected times "
                f"that do not go back in a sequence, found {column[row].as_py()}; sort its rows"
            )
        return pa.array(times - since)

    def _times(self, column: pa.Array, plan: Plan) -> npt.NDArray[np.float64]:
        """Seconds from any one moment; exact to a microsecond or so."""
        kind = column.type
        if is_text(kind):
            return self._parsed(column, plan)
        if pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
            whole = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
            found = whole.to_numpy(zero_copy_only=False)
            return np.asarray(found / {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit])
        if pa.types.is_date(kind):
            return np.asarray(column.cast(pa.date32()).cast(pa.int32()).to_numpy() * 86400.0)
        return self._counted(
            column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), plan
        )

    def _counted(self, numbers: npt.NDArray[np.float64], plan: Plan) -> npt.NDArray[np.float64]:
        """Numbers that count from 1970, or seconds from anywhere."""
        size = float(np.abs(numbers[0])) if len(numbers) else 0.0
        unit, _, a_second = next(one for one in UNITS if size >= one[1])
        if self.row == 0:
            self.skipped.note(f"column `{plan.time}` as a time in {unit}", plan.where)
            self.unit = a_second
        return numbers / self.unit

    def _parsed(self, column: pa.Array, plan: Plan) -> npt.NDArray[np.float64]:
        texts = pd.Series(column.to_pylist(), dtype=object)
        form = form_of(texts[0])
        try:
            found = _numbers(texts, form)
        except (ValueError, TypeError):
            row = next(row for row in texts.index if not _is_like(texts[row : row + 1], form))
            raise DataError(
                f"{plan.where}, row {self.row + row + 1}, column `{plan.time}`: expected a time "
                "such as 2026-01-31T12:00:00Z, 31.01.2026 12:00 or 12:00:00, like those above, "
                f"found {texts[row][:60]!r}"
            ) from None
        return self._counted(found, plan) if form == "number" else found


def _numbers(texts: pd.Series[Any], form: str | None) -> npt.NDArray[np.float64]:
    """Times of one form in seconds; numbers as they are."""
    if form is None:
        raise ValueError("no form of a time")
    if form == "number":
        return np.asarray(texts, dtype=np.float64)
    if form == "clock":
        whole = texts.where(texts.str.count(":") == 2, texts + ":00")
        return np.asarray(pd.to_timedelta(whole).dt.total_seconds())
    found: Any = pd.to_datetime(texts, format=form, utc=True)
    return np.asarray(found.astype("datetime64[us, UTC]").astype("int64") / 1e6)


def _is_like(text: pd.Series[Any], form: str | None) -> bool:
    try:
        _numbers(text, form)
    except (ValueError, TypeError):
        return False
    return True


def _is_blank(column: pa.Array) -> pa.Array:
    if is_text(column.type) and not pa.types.is_dictionary(column.type):
        return pc.fill_null(pc.equal(column, ""), fill_value=True)
    return column.is_null()


def _as_text(column: pa.Array) -> pa.Array:
    """What travels with the rows, as text; nothing where a value is missing."""
    try:
        return pc.fill_null(column.cast(pa.string()), "")
    except pa.ArrowException:
        return pa.array([str(value) for value in column.to_pylist()])
