"""What people hold in Python, as rows of the sequence table.

A sequence an item: arrays of (steps, features) or (steps,), or lists of tokens, in a list, a Series
or an array; a three-dimensional array; a frame whose columns hold lists. Or a row a step: a frame
with a column `sequence`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from birnn.errors import DataError, InputError, ParamsError
from birnn.files import table_checks
from birnn.files.table_checks import Allowed
from birnn.files.tables import sequence_starts

Array = npt.NDArray[Any]
SHOWN = 60  # letters of what was found
ONE_A_SEQUENCE = "arrays of numbers, (steps, features) or (steps,), or lists of tokens"


@dataclass(frozen=True, slots=True)
class Given:
    """Sequences, end to end.

    Attributes:
        columns: `sequence` and what a model reads, perhaps `group` and `label`, a row a step.
        offsets: (sequences + 1,) int64, where each begins.
        long: whether they came as a row a step, and so go back.
    """

    columns: dict[str, Any]
    offsets: npt.NDArray[np.int64]
    long: bool = False

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def features(self) -> int:
        """Numbers of a step."""
        return len(self.columns.keys() - {"sequence", "token", "group", "label"})

    def repeated(self, values: Array) -> Array:
        """The value of each sequence on each of its steps."""
        return np.repeat(values, np.diff(self.offsets))

    def batch(self) -> pa.RecordBatch:
        """The rows, which call themselves steps in messages."""
        return table_checks.from_file(pa.RecordBatch.from_pydict(self.columns), "X", "step")

    def checked(self, task: str, *, missing: bool) -> pa.Table:
        """The rows, as a network can be trained on them.

        Raises:
            DataError: see `birnn.files.table_checks.checked`.
        """
        allowed = Allowed(numbers=missing)
        rows = table_checks.checked([self.batch()], task=task, where="X", allowed=allowed)
        return pa.Table.from_batches([*rows])


@contextmanager
def explained() -> Iterator[None]:
    """Raise a user's mistake as what scikit-learn expects of one.

    Raises:
        InputError: which is a ValueError.
    """
    try:
        yield
    except (DataError, ParamsError) as error:
        raise InputError(str(error)) from None


def read(given: Any, *, missing: bool = True) -> Given:
    """Read sequences in any of the forms above.

    Args:
        given: the sequences.
        missing: whether numbers may be missing.

    Raises:
        InputError: they are in none of the forms, or empty; or a number is missing.
        TypeError: a sparse matrix.
    """
    if isinstance(given, pd.DataFrame):
        return _long(given) if "sequence" in given.columns else _nested(given)
    if hasattr(given, "toarray"):
        raise TypeError("X: expected dense arrays, found a sparse matrix; use X.toarray()")
    if hasattr(given, "__array__") and not isinstance(given, np.ndarray | pd.Series):
        given = np.asarray(given)
    if (
        isinstance(given, str | bytes | dict)
        or not hasattr(given, "__len__")
        or not _dimensions(given)
    ):
        raise InputError(f"X: expected {ONE_A_SEQUENCE}, one a sequence, found {_shown(given)}")
    items = [*given]
    if not items:
        raise InputError("X: expected sequences, found none (0 sample(s))")
    return _items(items, missing)


def _dimensions(given: Any) -> int:
    """Of an array; what is none has one at least."""
    return given.ndim if isinstance(given, np.ndarray) else 1


def _items(items: list[Any], missing: bool) -> Given:
    """One sequence an item."""
    arrays = [_array(item, f"X[{number}]") for number, item in enumerate(items)]
    lengths = np.array([len(array) for array in arrays], np.int64)
    if (lengths == 0).any():
        empty = int((lengths == 0).argmax())
        raise InputError(
            f"X[{empty}]: expected a step, found none: {_too_few((len(items), 0))} Leave it out"
        )
    widths = {_width(array) for array in arrays}
    if len(widths) > 1:
        first = next(n for n, array in enumerate(arrays) if _width(array) != _width(arrays[0]))
        raise InputError(
            f"X[{first}]: expected {_words(_width(arrays[0]))} as in X[0], found "
            f"{_words(_width(arrays[first]))}"
        )
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.concatenate(arrays)
    columns: dict[str, Any] = {"sequence": np.repeat(np.arange(len(items)), lengths)}
    if widths == {None}:
        columns["token"] = pa.array(flat.tolist(), pa.string())
        return Given(columns, offsets)
    if not missing:
        _check_finite(flat, offsets)
    flat = flat.reshape(len(flat), -1)
    columns |= {f"x{number + 1}": flat[:, number] for number in range(flat.shape[1])}
    return Given(columns, offsets)


def _array(item: Any, place: str) -> Array:
    """Steps of numbers as float64, of tokens as objects."""
    if isinstance(item, str | bytes) or not hasattr(item, "__len__"):
        hint = "; split it into words or letters" if isinstance(item, str) else ""
        raise InputError(
            f"{place}: expected {ONE_A_SEQUENCE}, found {_shown(item)}{hint}. Reshape your data"
        )
    if len(item) and isinstance(next(iter(item)), str):
        return _tokens(item, place)
    return _numbers(item, place)


def _tokens(item: Any, place: str) -> Array:
    found = np.empty(len(item), object)
    found[:] = [*item]
    for token in found:
        if not isinstance(token, str) or not token:
            raise InputError(f"{place}: expected tokens that are text, found {_shown(token)}")
    return found


def _numbers(item: Any, place: str) -> Array:
    try:
        given = np.asarray(item)
        array = given if given.dtype.kind == "c" else given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{place}: expected {ONE_A_SEQUENCE}, found {_shown(item)}: {error}"
        ) from None
    if array.dtype.kind == "c":
        raise InputError(f"{place}: expected real numbers. Complex data not supported")
    if 0 in array.shape[1:]:
        raise InputError(f"{place}: {_too_few(array.shape)}")
    if array.ndim not in (1, 2):
        raise InputError(f"{place}: expected {ONE_A_SEQUENCE}, found the shape {array.shape}")
    return array


def _too_few(shape: tuple[int, ...]) -> str:
    """In scikit-learn's words."""
    return f"0 feature(s) (shape={shape}) while a minimum of 1 is required."


def _width(array: Array) -> int | None:
    """Features of a step; None of tokens."""
    if array.dtype == object:
        return None
    return array.shape[1] if array.ndim == 2 else 1


def _words(width: int | None) -> str:
    return "tokens" if width is None else f"{width} features a step"


def _check_finite(flat: Array, offsets: npt.NDArray[np.int64]) -> None:
    bad = ~np.isfinite(flat.reshape(len(flat), -1)).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        sequence = int(np.searchsorted(offsets, row, side="right")) - 1
        found = "NaN" if np.isnan(flat[row]).any() else "inf"
        raise InputError(
            f"X[{sequence}], step {row - int(offsets[sequence])}: expected a finite number, found "
            f"{found}; fill it in, or set missing"
        )


def _long(frame: pd.DataFrame) -> Given:
    """One row a step."""
    if not len(frame):
        raise InputError("X: expected rows, found none (0 sample(s))")
    columns = {str(name): pa.array(frame[name], from_pandas=True) for name in frame.columns}
    columns.pop("split", None)
    ids = columns["sequence"]
    if ids.null_count:
        raise InputError("X, column `sequence`: expected an id on every row, found none on some")
    offsets = np.append(sequence_starts(ids), len(ids)).astype(np.int64)
    return Given(columns, offsets, long=True)


def _nested(frame: pd.DataFrame) -> Given:
    """One sequence a row, a feature or the tokens a column."""
    parts: dict[str, Given] = {}
    for name in frame.columns:
        values = frame[name]
        if not len(values) or not all(pd.api.types.is_list_like(value) for value in values):
            raise InputError(
                "X: expected a column `sequence`, for a row a step, or columns of lists, for a "
                f"sequence a row; found {', '.join(map(str, frame.columns)):.{SHOWN}}"
            )
        parts[str(name)] = _items([*values], missing=True)
    columns: dict[str, Any] = {}
    first = next(iter(parts.values()))
    for name, part in parts.items():
        if not np.array_equal(part.offsets, first.offsets):
            row = int((np.diff(part.offsets) != np.diff(first.offsets)).argmax())
            raise InputError(f"X, row {row}, column `{name}`: expected as many steps as before it")
        own = {key: value for key, value in part.columns.items() if key != "sequence"}
        only = len(own) == 1
        for key, value in own.items():
            columns["token" if key == "token" else name if only else f"{name}_{key[1:]}"] = value
    return Given({"sequence": first.columns["sequence"], **columns}, first.offsets)


def one_each(values: Any, given: Given, name: str) -> Array:
    """A value of each sequence; of a frame with a row a step it may stand on each row.

    Raises:
        InputError: there are not as many, or one changes within a sequence.
    """
    found = np.asarray(values)
    if found.ndim != 1:
        raise InputError(f"{name}: expected one value a sequence, found the shape {found.shape}")
    if given.long and len(found) == given.offsets[-1] != len(given):
        firsts: Array = found[given.offsets[:-1]]
        changed = found != given.repeated(firsts)
        if changed.any():
            row = int(changed.argmax())
            raise InputError(f"{name}, row {row}: expected one value a sequence, found another")
        return firsts
    if len(found) != len(given):
        raise InputError(
            f"{name}: expected one value for each of the {len(given)} sequences, found {len(found)}"
        )
    return found


def one_a_step(labels: Any, given: Given) -> Array:
    """The labels of all steps, end to end; of a frame with a row a step they may come so.

    Raises:
        InputError: there are not as many as steps.
    """
    if given.long and len(labels) == given.offsets[-1] and not _is_ragged(labels):
        return np.asarray(labels)
    lengths = np.diff(given.offsets)
    if len(labels) != len(given):
        raise InputError(
            f"y: expected labels for each of the {len(given)} sequences, found {len(labels)}"
        )
    flat: list[Any] = []
    for number, (own, length) in enumerate(zip(labels, lengths, strict=True)):
        if isinstance(own, str) or not hasattr(own, "__len__"):
            raise InputError(f"y[{number}]: expected a label for each step, found {_shown(own)}")
        if len(own) != length:
            raise InputError(f"y[{number}]: expected {length} labels, one a step, found {len(own)}")
        flat += [*own]
    whole = np.empty(len(flat), object)
    whole[:] = flat
    return whole


def _is_ragged(labels: Any) -> bool:
    return any(pd.api.types.is_list_like(one) for one in labels)


def classes(labels: Array) -> Array:
    """The distinct labels in order, in their own type; what is missing is none.

    Raises:
        InputError: fewer than two, of types that cannot be ordered, or that look the same as text.
    """
    known = labels[~absent(labels)]
    if len({isinstance(label, str) for label in known.tolist()}) > 1:
        raise InputError("y: expected labels of one type, found text and others")
    try:
        found = np.unique(np.array(known.tolist()) if known.dtype == object else known)
    except (TypeError, ValueError):
        raise InputError("y: expected labels of one type, found several") from None
    if len(found) < 2:
        only = f"only one class, {found.tolist()[0]!r}" if len(found) else "no label"
        raise InputError(f"y: expected two classes or more, found {only}")
    names = texts(found)
    if "" in names or len({*names}) < len(found):
        raise InputError(
            "y: expected classes with different names, found two alike, or an empty one"
        )
    return found


def absent(labels: Array) -> npt.NDArray[np.bool_]:
    """Where there is no label."""
    return np.asarray(pd.isna(labels), dtype=bool)


def texts(found: Array) -> list[str]:
    """What classes are called in a model."""
    return [unicodedata.normalize("NFC", str(one)) for one in found.tolist()]


def named(labels: Array, known: Array) -> pa.Array:
    """Labels as the table has them, null where one is missing."""
    none = absent(labels)
    filled = np.where(none, known[0], labels)
    places = np.searchsorted(known, np.array(filled.tolist()) if filled.dtype == object else filled)
    names = pa.array(texts(known), pa.string()).take(pa.array(places))
    return pa.array(names.to_pylist(), pa.string(), mask=none) if none.any() else names


def parted(values: Array, given: Given) -> Array | list[Array]:
    """What is said of each step, in the form in which the steps came."""
    if given.long:
        return values
    bounds: Sequence[int] = given.offsets[1:-1].tolist()
    return np.split(values, bounds)


def _shown(found: object) -> str:
    return (
        f"{type(found).__name__} {found!r:.{SHOWN}}"
        if isinstance(found, str)
        else (f"{type(found).__name__}")
    )
