"""Sequences of different lengths as flat values and offsets, the one form in which data flows.

Step `t` of sequence `i` is row `offsets[i] + t` of `values`. On disk it is one Arrow IPC record
batch, uncompressed, so that reading is a memory map and nothing is copied until a batch is made.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn import files
from birnn.errors import DataError

COPY_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Sequences:
    """Some labelled sequences.

    Attributes:
        values: (steps, features) float32, or (steps,) int32 token indices.
        offsets: (sequences + 1,) int64, from 0 to steps.
        labels: int32 class indices; (steps,) for tagging, (sequences,) for classification.
        ids: a string for each sequence.
        groups: a string for each sequence; its id where the table has no groups.
        tagging: whether there is a label for each step, not for each sequence.
        mapped: the file that the arrays are views of, if they are.
    """

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    ids: pa.StringArray
    groups: pa.StringArray
    tagging: bool
    mapped: mmap.mmap | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Steps of each sequence, (sequences,) int64."""
        return np.diff(self.offsets)

    @property
    def label_offsets(self) -> npt.NDArray[np.int64]:
        """Where each sequence's labels begin, (sequences + 1,) int64."""
        return self.offsets if self.tagging else np.arange(len(self) + 1)

    def release(self) -> None:
        """Let go of the pages that were read, so that memory does not grow to the file's size."""
        if self.mapped is not None:
            _release(self.mapped)

    def select(self, indices: npt.NDArray[np.int64]) -> Sequences:
        """Copy some of the sequences, in the order given."""
        rows = steps_of(self.offsets, indices)
        return Sequences(
            values=self.values[rows],
            offsets=np.concatenate([[0], np.cumsum(self.lengths[indices])]),
            labels=self.labels[rows if self.tagging else indices],
            ids=self.ids.take(pa.array(indices)),
            groups=self.groups.take(pa.array(indices)),
            tagging=self.tagging,
        )


def steps_of(
    offsets: npt.NDArray[np.int64], indices: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The rows of `values` that belong to some sequences, one sequence after the other."""
    lengths = offsets[indices + 1] - offsets[indices]
    ends = np.cumsum(lengths)
    starts = offsets[indices] - (ends - lengths)
    rows: npt.NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(starts, lengths)
    return rows


def repeats(splits: Iterable[Sequences]) -> dict[str, int]:
    """Count sequences that occur more than once, in the same split or in several.

    Returns:
        `duplicates`: sequences whose values have occurred before; `conflicts`: those of them with
        other labels than the first time.
    """
    labels_of: dict[bytes, bytes] = {}
    found = {"duplicates": 0, "conflicts": 0}
    for sequences in splits:
        contents = _digests(sequences.values, sequences.offsets)
        answers = _digests(sequences.labels, sequences.label_offsets)
        for content, answer in zip(contents, answers, strict=True):
            first = labels_of.setdefault(content, answer)
            found["conflicts"] += first != answer
        found["duplicates"] += len(sequences)
        sequences.release()
    found["duplicates"] -= len(labels_of)
    return found


def _digests(values: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> Iterator[bytes]:
    for start, end in pairwise(offsets.tolist()):
        yield hashlib.blake2b(values[start:end].tobytes(), digest_size=16).digest()


def write(chunks: Iterable[Sequences], path: str | Path) -> None:
    """Stream chunks of sequences into one Arrow file, whole or not at all.

    Values and labels pass through temporary files, so memory does not grow with the data.

    Raises:
        DataError: there are no sequences.
    """
    with ExitStack() as stack:
        partial = stack.enter_context(files.replacing(path))
        spool = [stack.enter_context(TemporaryFile(dir=partial.parent)) for _ in range(2)]
        heads = [_spool(chunk, *spool) for chunk in chunks]
        if not heads:
            raise DataError(f"{path}: expected at least one sequence, found none")
        mapped = [_mapped(file) for file in spool]
        batch = _record_batch(heads, *map(pa.py_buffer, mapped))
        raw = stack.enter_context(partial.open("wb"))
        with pa.ipc.new_file(pa.PythonFile(_Sink(raw, mapped), "w"), batch.schema) as writer:
            writer.write_batch(batch)


def _spool(chunk: Sequences, values: IO[bytes], labels: IO[bytes]) -> Sequences:
    """Put a chunk's steps on disk; what is left of it is small, and empty of steps."""
    values.write(np.ascontiguousarray(chunk.values).data)
    labels.write(np.ascontiguousarray(chunk.labels).data)
    return replace(chunk, values=chunk.values[:0].copy(), labels=chunk.labels[:0].copy())


def _mapped(file: IO[bytes]) -> mmap.mmap:
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _release(mapped: mmap.mmap) -> None:
    if hasattr(mapped, "madvise"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED)


class _Sink:
    """A file for pyarrow to write to, which lets go of what it has copied from mapped files."""

    closed = False

    def __init__(self, file: IO[bytes], mapped: list[mmap.mmap]) -> None:
        self.file, self.mapped = file, mapped

    def write(self, data: bytes | pa.Buffer) -> int:
        view = memoryview(data)
        for start in range(0, len(view), COPY_BYTES):
            self.file.write(view[start : start + COPY_BYTES])
            for mapped in self.mapped:
                _release(mapped)
        return len(view)

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        """Leave closing to the one who opened the file."""


def _record_batch(heads: list[Sequences], values: pa.Buffer, labels: pa.Buffer) -> pa.RecordBatch:
    lengths = np.concatenate([head.lengths for head in heads])
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    steps, dtype = offsets[-1].as_py(), heads[0].values.dtype
    width = int(np.prod(heads[0].values.shape[1:], dtype=int))
    flat = pa.Array.from_buffers(pa.from_numpy_dtype(dtype), steps * width, [None, values])
    if heads[0].values.ndim == 2:
        flat = pa.FixedSizeListArray.from_arrays(flat, width)
    classes = pa.Array.from_buffers(pa.int32(), labels.size // 4, [None, labels])
    if heads[0].tagging:
        classes = pa.LargeListArray.from_arrays(offsets, classes)
    columns = {
        "sequence": pa.concat_arrays([head.ids for head in heads]),
        "group": pa.concat_arrays([head.groups for head in heads]),
        "values": pa.LargeListArray.from_arrays(offsets, flat),
        "label": classes,
    }
    return pa.RecordBatch.from_pydict(columns)


def read(path: str | Path) -> Sequences:
    """Map an Arrow file of sequences into memory; the arrays are read-only views of the file.

    Raises:
        DataError: the file is missing or is not one that `write` has made.
    """
    try:
        with Path(path).open("rb") as file:
            mapped = _mapped(file)
        batch = pa.ipc.open_file(pa.py_buffer(mapped)).get_batch(0)
        values, labels = batch["values"], batch["label"]
        tagging = pa.types.is_large_list(labels.type)
        return Sequences(
            values=_step_values(values.values),
            offsets=values.offsets.to_numpy(),
            labels=(labels.values if tagging else labels).to_numpy(),
            ids=batch["sequence"],
            groups=batch["group"],
            tagging=tagging,
            mapped=mapped,
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    except (AttributeError, KeyError, OSError, ValueError) as error:
        raise DataError(f"{path}: expected a prepared split, found {error}") from None


def _step_values(steps: pa.Array) -> npt.NDArray[Any]:
    if not pa.types.is_fixed_size_list(steps.type):
        return np.asarray(steps.to_numpy())
    return np.asarray(steps.flatten().to_numpy()).reshape(len(steps), steps.type.list_size)
