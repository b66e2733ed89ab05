"""Columns that wait in temporary files until all of them have come, so that memory does not grow.

column = Texts(TemporaryFile(), TemporaryFile())
for names in chunks: column.take(names)
column.array()                  # a view of the files
"""

from __future__ import annotations

import io
import mmap
import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.errors import DataError

COPY_BYTES = 1 << 26
MOST_BYTES = 2**31 - 1  # of texts, whose places are numbers of 4 bytes


class Numbers:
    """Numbers of one type, one array behind the other."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.mapped: mmap.mmap | None = None

    @classmethod
    def beside(cls, folder: Path | None) -> Numbers:
        """In a temporary file of a folder; where None, in memory."""
        if folder is None:
            return cls(io.BytesIO())
        folder.mkdir(parents=True, exist_ok=True)
        found = cls(TemporaryFile(dir=folder))  # noqa: SIM115  it goes with what it is of
        weakref.finalize(found, found.file.close)  # where nobody asks for the array
        return found

    def take(self, numbers: npt.NDArray[Any]) -> None:
        """Put an array on disk."""
        self.file.write(np.ascontiguousarray(numbers).data)

    def buffer(self) -> pa.Buffer:
        """All of them; nothing more can be taken."""
        self.mapped = mapped(self.file)
        return buffer(self.mapped)

    def array(self, dtype: npt.DTypeLike, width: int | None = None) -> npt.NDArray[Any]:
        """All of them, (N,) or (N, width), as `buffer` has them; the file needs no name any more.

        `birnn.files.pieces.release` lets go of what was read of it.
        """
        if isinstance(self.file, io.BytesIO):
            found = np.frombuffer(self.file.getvalue(), dtype)
        else:
            self.mapped = mapped(self.file)
            found = np.frombuffer(b"" if self.mapped is None else self.mapped, dtype)
        self.file.close()
        return found if width is None else found.reshape(-1, width)


class Ends:
    """Where each of many runs ends, which chunks count from their own beginning."""

    def __init__(self, file: IO[bytes], dtype: npt.DTypeLike) -> None:
        self.numbers, self.dtype = Numbers(file), np.dtype(dtype)
        self.last, self.count = 0, 0
        self.numbers.take(np.zeros(1, self.dtype))

    def take(self, offsets: npt.NDArray[Any]) -> None:
        """Put behind the others the runs that begin and end at (N + 1,) places."""
        ends = (offsets[1:] - offsets[0]).astype(np.int64) + self.last
        self.numbers.take(ends.astype(self.dtype))
        self.last, self.count = int(ends[-1]) if len(ends) else self.last, self.count + len(ends)

    def buffer(self) -> pa.Buffer:
        """Where all begin and the last one ends."""
        return self.numbers.buffer()


class Texts:
    """Texts, without nulls, one column behind the other."""

    def __init__(self, texts: IO[bytes], ends: IO[bytes]) -> None:
        self.letters, self.ends = Numbers(texts), Ends(ends, np.int32)

    def take(self, column: pa.StringArray) -> None:
        """Put a column on disk.

        Raises:
            DataError: all texts together take more bytes than a column can have.
        """
        _, places, letters = column.buffers()
        bounds = np.frombuffer(places, np.int32)[column.offset :][: len(column) + 1]
        if self.ends.last + int(bounds[-1] - bounds[0]) > MOST_BYTES:
            raise DataError(
                "expected ids or groups of up to 2 GB in a split, found more; give shorter ones"
            )
        self.letters.take(np.frombuffer(letters or b"", np.uint8)[bounds[0] : bounds[-1]])
        self.ends.take(bounds)

    def array(self) -> pa.StringArray:
        """All of them."""
        buffers = [None, self.ends.buffer(), self.letters.buffer()]
        return pa.Array.from_buffers(pa.string(), self.ends.count, buffers, null_count=0)


class Sink:
    """A file for pyarrow to write to, which lets go of what it has copied from mapped files."""

    closed = False

    def __init__(self, file: IO[bytes], copied: Iterable[mmap.mmap | None]) -> None:
        self.file, self.mapped = file, [one for one in copied if one is not None]

    def write(self, data: bytes | pa.Buffer) -> int:
        """Write all of it, and say how many bytes these are."""
        view = memoryview(data)
        for start in range(0, len(view), COPY_BYTES):
            self.file.write(view[start : start + COPY_BYTES])
            for one in self.mapped:
                release(one)
        return len(view)

    def tell(self) -> int:
        """How many bytes were written."""
        return self.file.tell()

    def flush(self) -> None:
        """Hand over what waits to be written."""
        self.file.flush()

    def close(self) -> None:
        """Leave closing to the one who opened the file."""


def mapped(file: IO[bytes]) -> mmap.mmap | None:
    """Map a file into memory; an empty one cannot be."""
    if not file.seek(0, os.SEEK_END):
        return None
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def buffer(found: mmap.mmap | None) -> pa.Buffer:
    """What a mapped file holds."""
    return pa.py_buffer(b"" if found is None else found)


def release(found: mmap.mmap) -> None:
    """Let go of the pages of a mapped file; they are read again when they are used."""
    if hasattr(found, "madvise"):  # not on Windows
        found.madvise(mmap.MADV_DONTNEED)
