"""Sequences of numbers from NumPy's `.npz` files, read without pickle and bit by bit.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib import format as npy

from birnn.errors import DataError
from birnn.files import bounds
from birnn.files.reading import missing, one_line
from birnn.params import ArraysData

BATCH_STEPS, LONGEST_NAME = 1 << 16, 1 << 12
NUMBERS, TEXTS = "biuf", "biufSU"
BROKEN = (
    *(EOFError, IndexError, KeyError, NotImplementedError, OSError, OverflowError, SyntaxError),
    *(RecursionError, RuntimeError, TypeError, ValueError, pa.ArrowException),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What zipfile, numpy's reader of headers and pyarrow raise for files that are not theirs."""

Array = npt.NDArray[Any]


class Header(NamedTuple):
    """What an array is, before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read(
    data: ArraysData, path: str | Path, prefix: str = "", *, labelled: bool = True
) -> Iterator[pa.RecordBatch]:
    """Stream the sequences of one file.

    It holds `values`, (N, T, F) with padding or (S, F) one sequence after the other; `lengths`,
    (N,), which may be left out where nothing is padded; `labels`, (N,) for classification, (N, T)
    or (S,) for tagging; and perhaps `groups` and `ids`, (N,).

    Args:
        data: says what the task is.
        path: the file.
        prefix: put before the numbers that serve as ids where there are none.
        labelled: whether there are `labels`.

    Raises:
        DataError: names the array that is missing, has a wrong shape or type, or is cut.
    """
    try:
        bounds.check_archive(path)
        with zipfile.ZipFile(path) as file:
            yield from _Arrays(file, path, data.task, labelled).batches(prefix)
    except FileNotFoundError:
        raise DataError(missing(path)) from None
    except BROKEN as error:
        raise DataError(f"{path}: expected .npz, found: {one_line(error)}") from None


def task_of(path: str | Path) -> str:
    """Tell the task by the shape of `labels`, if it can be told; see `read`."""
    try:
        with zipfile.ZipFile(path) as file:
            labels = _shape(file, "labels")
            alone = "lengths.npy" not in file.namelist()
            sequences = _shape(file, "values")[:1] if alone else _shape(file, "lengths")
    except BROKEN:
        return "classification"
    return "classification" if labels == sequences else "tagging"


def _shape(file: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with file.open(f"{name}.npy") as member:
        return _header(member).shape


class _Arrays:
    """The arrays of one file, their shapes checked."""

    def __init__(self, file: zipfile.ZipFile, path: str | Path, task: str, labelled: bool) -> None:
        self.file, self.path, self.task = file, path, task
        self.names = {name.removesuffix(".npy") for name in file.namelist()}
        self.values = self._checked("values", NUMBERS)
        self.labels = self._checked("labels", TEXTS) if labelled else None
        self.padded = len(self.values.shape) == 3
        if len(self.values.shape) not in (2, 3) or 0 in self.values.shape:
            self._refuse("values", "the shape (N, T, F) or (S, F)", self.values.shape)
        longest = self.values.shape[1] if self.padded else 1
        bounds.check_size(longest, _row_size(self.values), f"{self.path}, array values")
        self.lengths = self._lengths()
        self._check_sizes()

    def batches(self, prefix: str) -> Iterator[pa.RecordBatch]:
        """Give the steps without padding, some sequences at a time."""
        ids = self._of_sequences("ids") if "ids" in self.names else None
        if ids is not None and (ids[1:] == ids[:-1]).any():
            double = int((ids[1:] == ids[:-1]).argmax()) + 1
            self._refuse(f"ids[{double}]", "an id of its own", ids[double])
        groups = self._of_sequences("groups") if "groups" in self.names else None
        of_sequences = self.labels is not None and self.task == "classification"
        labels = self._of_sequences("labels") if of_sequences else None
        for rows, values, tags in self._padded() if self.padded else self._flat():
            columns = {"sequence": _numbered(rows, prefix) if ids is None else pa.array(ids[rows])}
            if groups is not None:
                columns["group"] = pa.array(groups[rows])
            if labels is not None or tags is not None:
                columns["label"] = pa.array(tags if labels is None else labels[rows])
            for number, feature in enumerate(values.astype(np.float64).T, 1):
                columns[f"feature_{number}"] = pa.array(feature)
            yield pa.RecordBatch.from_pydict(columns)

    def _padded(self) -> Iterator[tuple[Array, Array, Array | None]]:
        longest = self.values.shape[1]
        size = max(1, BATCH_STEPS // longest)
        start = 0
        for values, tags in self._blocks(size):
            real = np.arange(longest) < self.lengths[start : start + len(values), None]
            rows = np.repeat(np.arange(start, start + len(values)), real.sum(axis=1))
            yield rows, values[real], None if tags is None else tags[real]
            start += len(values)

    def _flat(self) -> Iterator[tuple[Array, Array, Array | None]]:
        ends = np.cumsum(self.lengths)
        start = 0
        size = max(1, min(BATCH_STEPS, bounds.BATCH_BYTES // _row_size(self.values)))
        for values, tags in self._blocks(size):
            steps = np.arange(start, start + len(values))
            yield np.searchsorted(ends, steps, side="right"), values, tags
            start += len(values)

    def _blocks(self, size: int) -> Iterator[tuple[Array, Array | None]]:
        """Read values, and labels for tagging, in step."""
        values = self._rows("values", self.values, size)
        if self.labels is None or self.task == "classification":
            yield from ((block, None) for block in values)
            return
        yield from zip(values, self._rows("labels", self.labels, size), strict=True)

    def _rows(self, name: str, header: Header, size: int) -> Iterator[Array]:
        """Read an array, `size` rows at a time."""
        row = _row_size(header)
        with self.file.open(f"{name}.npy") as member:
            _header(member)
            for start in range(0, header.shape[0], size):
                number = min(size, header.shape[0] - start)
                block = np.frombuffer(member.read(number * row), header.dtype)
                yield block.reshape(number, *header.shape[1:])
            member.read(1)  # what follows the last byte is the checksum

    def _of_sequences(self, name: str) -> Array:
        """Read an array with an entry for each sequence."""
        header = self._checked(name, TEXTS)
        if header.shape != self.lengths.shape:
            self._refuse(name, f"the shape {self.lengths.shape}", header.shape)
        return np.concatenate([*self._rows(name, header, BATCH_STEPS)])

    def _checked(self, name: str, kinds: str) -> Header:
        """Read what an array is; see that it is there, of a good type, and whole."""
        if name not in self.names:
            found = ", ".join(map(repr, sorted(self.names))) or "nothing"
            raise DataError(f"{self.path}: expected an array `{name}`, found {found}")
        with self.file.open(f"{name}.npy") as member:
            header = _header(member)
            start = member.tell()
        if header.dtype.kind not in kinds:
            known = {NUMBERS: "numbers", TEXTS: "text or whole numbers"}
            expected = known.get(kinds, "whole numbers")
            mend = "join lists of different lengths" if kinds == NUMBERS else "save .astype(str)"
            hint = f"; {mend}" if header.dtype.hasobject else ""
            self._refuse(name, expected + hint, header.dtype)
        if header.dtype.itemsize > LONGEST_NAME:
            self._refuse(name, f"texts of up to {LONGEST_NAME} bytes", header.dtype)
        size = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
        rest = self.file.getinfo(f"{name}.npy").file_size - start
        if size != rest:
            self._refuse(name, f"{size} bytes", rest)
        return header

    def _lengths(self) -> npt.NDArray[np.int64]:
        if "lengths" not in self.names and self.padded:
            return np.full(self.values.shape[0], self.values.shape[1])
        header = self._checked("lengths", "iu")
        if len(header.shape) != 1 or header.shape == (0,):
            self._refuse("lengths", "the shape (N,)", header.shape)
        lengths = np.concatenate([*self._rows("lengths", header, BATCH_STEPS)])
        most = self.values.shape[1] if self.padded else self.values.shape[0]
        wrong = (lengths < 1) | (lengths > most)
        if wrong.any():
            place = int(wrong.argmax())
            self._refuse(f"lengths[{place}]", f"1 to {most}", lengths[place])
        return lengths.astype(np.int64)

    def _check_sizes(self) -> None:
        steps, sequences = self.values.shape[:-1], self.lengths.shape
        found = self.values.shape[0] if self.padded else int(self.lengths.sum())
        expected = len(self.lengths) if self.padded else self.values.shape[0]
        if found != expected:
            what = "rows of `values`" if self.padded else "steps in `lengths`"
            raise DataError(f"{self.path}: expected {expected} {what}, found {found}")
        shape = steps if self.task == "tagging" else sequences
        if self.labels is not None and self.labels.shape != shape:
            self._refuse("labels", f"the shape {shape} for {self.task}", self.labels.shape)

    def _refuse(self, name: str, expected: str, found: object) -> None:
        raise DataError(f"{self.path}, array {name}: expected {expected}, found {found}")


def _numbered(rows: Array, prefix: str) -> pa.StringArray:
    """Ids of sequences by their numbers, from 1, for each step one."""
    first = int(rows[0])
    names = [f"{prefix}{number:06d}" for number in range(first + 1, int(rows[-1]) + 2)]
    return pa.array(names, pa.string()).take(pa.array(rows - first))


def _row_size(header: Header) -> int:
    """Bytes of what one place of the first axis holds."""
    return int(np.prod(header.shape[1:], dtype=object)) * header.dtype.itemsize


def _header(member: IO[bytes]) -> Header:
    version = npy.read_magic(member)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_columns, dtype = read_header(member)
    if by_columns and len(shape) > 1:
        raise ValueError("an array in Fortran's order; save numpy.ascontiguousarray of it")
    return Header(shape, dtype)
