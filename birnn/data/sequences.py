"""Sequences of different lengths as flat values and offsets, the one form in which data flows.

Step `t` of sequence `i` is row `offsets[i] + t` of `values`, and of `tokens`. On disk it is one
Arrow IPC record batch, uncompressed, so that reading is a memory map and nothing is copied until a
batch is made.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError
from birnn.files import arrow, atomic, hashing, parts, pieces, spools

COUNTED = 1 << 23  # labels or tokens at a time, which become numbers of 8 bytes for that
Counts = npt.NDArray[np.int64]
UNLABELLED = -1  # the label of a step or a sequence that has none


class Tally(NamedTuple):
    """How many labels a split has, or a part of it.

    Attributes:
        sequences: that there are.
        labels: places for a label: steps for tagging, sequences for classification.
        known: of these, how many have one.
        labelled: sequences that have a label.
        classes: how often each occurs, (classes,) int64; none behind the last that does.
        tokens: how often each place of the vocabulary occurs, the unknown first; None without.
    """

    sequences: int
    labels: int
    known: int
    labelled: int
    classes: Counts
    tokens: Counts | None

    def plus(self, other: Tally) -> Tally:
        """Add what there is in another part."""
        tokens = self.tokens
        if tokens is not None and other.tokens is not None:
            # Behind the vocabulary, which both have, each part has names of its own.
            places = min(len(tokens), len(other.tokens))
            tokens = tokens[:places] + other.tokens[:places]
        width = max(len(self.classes), len(other.classes))
        classes = [np.pad(one, (0, width - len(one))) for one in (self.classes, other.classes)]
        return Tally(
            self.sequences + other.sequences,
            self.labels + other.labels,
            self.known + other.known,
            self.labelled + other.labelled,
            np.sum(classes, axis=0),
            tokens,
        )


class Labelled(NamedTuple):
    """What figures rest on: the labels that are there, of the sequences that have some.

    Attributes:
        rows: which of a split's labels these are; all where it is a slice.
        labels: (N,) int32 class indices.
        offsets: (S + 1,) int64, where the labels of each sequence begin.
        lengths: (S,) int64 steps of each sequence, those without a label among them.
        groups: (S,) int64 from 0, the number of the group of each sequence.
        chosen: (S,) int64, which of the split's sequences these are.
    """

    rows: npt.NDArray[np.bool_] | slice
    labels: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.int64]

    def of(self, rows: npt.NDArray[Any], folder: Path | None = None) -> npt.NDArray[Any]:
        """What a split has for each of its labels, for those that are there.

        Args:
            rows: (labels, ...) of the split.
            folder: for a temporary file, where some have none; see `birnn.files.pieces`.
        """
        return rows if isinstance(self.rows, slice) else pieces.chosen(self.rows, rows, folder)


@dataclass(frozen=True, slots=True)
class Sequences:
    """Some labelled sequences.

    Attributes:
        values: (steps, features) float32; without features its width is 0.
        offsets: (sequences + 1,) int64, from 0 to steps.
        labels: int32 class indices; (steps,) for tagging, (sequences,) for classification;
            `UNLABELLED` where there is none.
        ids: a string for each sequence.
        groups: a string for each sequence; its id where the table has no groups.
        tagging: whether there is a label for each step, not for each sequence.
        tokens: (steps,) int32, places in the dictionary; None where steps have no tokens.
        dictionary: what each place spells. The first is "", for a token of which nothing is known;
            then comes the vocabulary, and after it what else occurs, so that it can be spelled.
        mapped: the file that the arrays are views of, if they are.
    """

    values: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    ids: pa.StringArray
    groups: pa.StringArray
    tagging: bool
    tokens: npt.NDArray[np.int32] | None = None
    dictionary: pa.StringArray | None = None
    mapped: mmap.mmap | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Steps of each sequence, (sequences,) int64."""
        return np.diff(self.offsets)

    @property
    def longest(self) -> int:
        """Steps of the longest sequence; 0 of none."""
        return shortest_and_longest(self.offsets)[1]

    @property
    def label_offsets(self) -> npt.NDArray[np.int64]:
        """Where each sequence's labels begin, (sequences + 1,) int64."""
        return self.offsets if self.tagging else np.arange(len(self) + 1)

    @property
    def group_numbers(self) -> npt.NDArray[np.int64]:
        """A number for the group of each sequence, (sequences,) int64 from 0."""
        if not self.grouped:  # an id comes once
            return np.arange(len(self))
        return np.asarray(self.groups.dictionary_encode().indices.to_numpy(), dtype=np.int64)

    @property
    def grouped(self) -> bool:
        """Whether the groups are more than the sequences' own ids."""
        for start in range(0, len(self), pieces.ROWS):
            of_some = (one.slice(start, pieces.ROWS) for one in (self.groups, self.ids))
            if not next(of_some).equals(next(of_some)):
                return True
            self.release()
        return False

    @property
    def complete(self) -> bool:
        """Whether every label is there."""
        return all((some != UNLABELLED).all() for (some,) in pieces.of(self.labels))

    def labelled(self, folder: Path | None = None) -> Labelled:
        """Leave out steps and sequences without a label, which no figure may count.

        Where there are such, temporary files of `folder` take what is left of labels; if it is
        None, memory does.
        """
        every = np.arange(len(self))
        offsets, lengths, groups = self.label_offsets, self.lengths, self.group_numbers
        if self.complete:
            return Labelled(slice(None), self.labels, offsets, lengths, groups, every)
        known = pieces.computed(lambda some: some != UNLABELLED, self.labels, bool, folder)
        counts = np.zeros(len(self), np.int64)
        for some, rows in pieces.whole(offsets):
            starts = offsets[some] - rows.start
            counts[some] = np.add.reduceat(known[rows], starts, dtype=np.int64)
        chosen = every[counts > 0]
        return Labelled(
            rows=known,
            labels=pieces.chosen(known, self.labels, folder),
            offsets=np.concatenate([[0], np.cumsum(counts[chosen])]),
            lengths=lengths[chosen],
            groups=np.unique(groups[chosen], return_inverse=True)[1].astype(np.int64),
            chosen=chosen,
        )

    def release(self) -> None:
        """Let go of the pages that were read, so that memory does not grow to the file's size."""
        if self.mapped is not None:
            spools.release(self.mapped)

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
            tokens=None if self.tokens is None else self.tokens[rows],
            dictionary=self.dictionary,
        )

    def tally(self) -> Tally:
        """Count the labels, and the tokens, in bounded memory if all labels are known."""
        counts = _counted(self.labels, self.release)
        unknown, labelled = int(counts[0]), len(self)
        if unknown:
            known = self.labels != UNLABELLED
            labelled = int(np.logical_or.reduceat(known, self.label_offsets[:-1]).sum())
        numbers = (len(self), len(self.labels), len(self.labels) - unknown, labelled)
        return Tally(*numbers, counts[1:], self.token_counts())

    def token_counts(self, places: int | None = None) -> npt.NDArray[np.int64] | None:
        """How often each place of the dictionary occurs, or each of the first ones."""
        if self.tokens is None or self.dictionary is None:
            return None
        counts = np.zeros(len(self.dictionary), np.int64)
        for start in range(0, len(self.tokens), COUNTED):
            part = self.tokens[start : start + COUNTED]
            counts += np.bincount(part, minlength=len(counts))
            self.release()
        return counts[:places]

    def token_codes(self) -> npt.NDArray[np.uint64] | None:
        """A number for each place of the dictionary; a token's is the same in every split."""
        if self.dictionary is None:
            return None
        return hashing.of_text(self.dictionary)


def _counted(labels: npt.NDArray[np.int32], release: Callable[[], None]) -> Counts:
    """How many labels there are of none and of each class, (1 + classes,)."""
    counts = np.zeros(1, np.int64)
    for start in range(0, len(labels), COUNTED):
        more = np.bincount(labels[start : start + COUNTED] + 1, minlength=len(counts))
        more[: len(counts)] += counts
        counts = more.astype(np.int64)
        release()
    return counts


def check_labelled(split: Sequences, name: str) -> None:
    """Refuse a split without any label, of which nothing can be learned or measured.

    Raises:
        DataError: it has none.
    """
    check_known(int(np.count_nonzero(split.labels != UNLABELLED)), len(split), name)


def check_known(known: int, sequences: int, name: str) -> None:
    """Refuse a split of which no label is known; see `check_labelled`."""
    if not known:
        raise DataError(
            f"the {name} split: expected labels, found none in {sequences} sequences; add some"
        )


def shortest_and_longest(offsets: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Steps of the shortest and of the longest sequence; 0 of none."""
    lengths = (end - start for start, end in pieces.of(offsets[:-1], offsets[1:]))
    found = [(int(some.min()), int(some.max())) for some in lengths if len(some)]
    return min((one for one, _ in found), default=0), max((one for _, one in found), default=0)


def steps_of(
    offsets: npt.NDArray[np.integer[Any]], indices: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The rows of `values` that belong to some sequences, one sequence after the other."""
    lengths = offsets[indices + 1] - offsets[indices]
    ends = np.cumsum(lengths)
    starts = offsets[indices] - (ends - lengths)
    rows: npt.NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(starts, lengths)
    return rows


def write(chunks: Iterable[Sequences], path: str | Path) -> None:
    """Stream chunks of sequences into one Arrow file; see `write_each`."""
    write_each((("", chunk) for chunk in chunks), {"": path})


def write_each(chunks: Iterable[tuple[str, Sequences]], paths: Mapping[str, str | Path]) -> None:
    """Stream chunks into several Arrow files at a time, each whole or not at all.

    Args:
        chunks: each with the name of its file.
        paths: of each name.

    Raises:
        DataError: there are no sequences for a file.
    """
    with ExitStack() as stack:
        spools = {name: stack.enter_context(_spooled(path)) for name, path in paths.items()}
        for name, chunk in chunks:
            spools[name].take(chunk)


@contextmanager
def _spooled(path: str | Path) -> Iterator[_Spool]:
    """Give a spool, and make one file of what it holds at the end.

    All that sequences hold passes through temporary files, so memory does not grow with the data.
    The chunks' dictionaries are joined: each begins as the first one does, and what it adds is put
    behind what those before it have added.
    """
    with ExitStack() as stack:
        partial = stack.enter_context(atomic.replacing(parts.cleared(Path(path))))
        spool = _Spool(lambda: stack.enter_context(TemporaryFile(dir=partial.parent)))
        yield spool
        if spool.first is None:
            raise DataError(f"{path}: expected at least one sequence, found none")
        batch = spool.record_batch(spool.first)
        raw = stack.enter_context(partial.open("wb"))
        sink = spools.Sink(raw, spool.mapped())
        with pa.ipc.new_file(pa.PythonFile(sink, "w"), batch.schema) as writer:
            writer.write_batch(batch)


class _Spool:
    """Where sequences wait on disk until all chunks have come; the dictionary is in memory."""

    def __init__(self, file: Callable[[], IO[bytes]]) -> None:
        self.values, self.tokens, self.labels = (spools.Numbers(file()) for _ in range(3))
        self.offsets = spools.Ends(file(), np.int64)
        self.ids, self.groups = (spools.Texts(file(), file()) for _ in range(2))
        self.dictionary: pa.StringArray | None = None
        self.first: Sequences | None = None  # empty, but of the kind of all

    def take(self, chunk: Sequences) -> None:
        """Put a chunk on disk."""
        if self.first is None:
            self.first = _emptied(chunk)
        self.values.take(chunk.values)
        self.labels.take(chunk.labels)
        if chunk.tokens is not None:
            self.tokens.take(self._joined(chunk.dictionary)[chunk.tokens])
        self.offsets.take(chunk.offsets)
        self.ids.take(chunk.ids)
        self.groups.take(chunk.groups)
        chunk.release()

    def _joined(self, dictionary: pa.StringArray) -> npt.NDArray[np.int32]:
        """Join a chunk's dictionary to those before it, and say where its places are now."""
        known = dictionary.slice(0, 0) if self.dictionary is None else self.dictionary
        self.dictionary, places = joined(known, dictionary)
        return places

    def record_batch(self, like: Sequences) -> pa.RecordBatch:
        """All that came, as views of the files."""
        flat = (one.buffer() for one in (self.values, self.tokens, self.labels))
        offsets = pa.Array.from_buffers(
            pa.int64(), self.offsets.count + 1, [None, self.offsets.buffer()], null_count=0
        )
        names = self.ids.array(), self.groups.array()
        return _record_batch(like, offsets, *names, self.dictionary, *flat)

    def mapped(self) -> Iterator[mmap.mmap | None]:
        """The files that the record batch is a view of."""
        texts = (of for one in (self.ids, self.groups) for of in (one.letters, one.ends.numbers))
        for one in (self.values, self.tokens, self.labels, self.offsets.numbers, *texts):
            yield one.mapped


def _emptied(chunk: Sequences) -> Sequences:
    """Of the same kind, without sequences."""
    return replace(
        chunk,
        values=chunk.values[:0].copy(),
        offsets=np.zeros(1, np.int64),
        labels=chunk.labels[:0].copy(),
        ids=chunk.ids.slice(0, 0),
        groups=chunk.groups.slice(0, 0),
        tokens=None,
        dictionary=None,
        mapped=None,
    )


def joined(
    known: pa.StringArray, others: pa.StringArray
) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """Put behind known names those of others that are new.

    Returns:
        All names, and the place of each of the others among them, (others,) int32.
    """
    places = pc.index_in(others, known)
    new = places.is_null()
    found = pc.fill_null(places, 0).to_numpy().copy()
    added = new.to_numpy(zero_copy_only=False)
    found[added] = len(known) + np.arange(added.sum())
    return pa.concat_arrays([known, others.filter(new)]), found


def _record_batch(
    like: Sequences,
    offsets: pa.Int64Array,
    ids: pa.StringArray,
    groups: pa.StringArray,
    dictionary: pa.StringArray | None,
    values: pa.Buffer,
    tokens: pa.Buffer,
    labels: pa.Buffer,
) -> pa.RecordBatch:
    """What a file holds; `like` are sequences of the same kind."""
    steps, width = offsets[-1].as_py(), like.values.shape[1]
    flat = pa.Array.from_buffers(pa.float32(), steps * width, [None, values])
    kind = pa.list_(flat.type, width)  # FixedSizeListArray.from_arrays refuses a width of 0
    rows = pa.Array.from_buffers(kind, steps, [None], children=[flat])
    classes = pa.Array.from_buffers(pa.int32(), labels.size // 4, [None, labels])
    if like.tagging:
        classes = pa.LargeListArray.from_arrays(offsets, classes)
    columns = {
        "sequence": ids,
        "group": groups,
        "values": pa.LargeListArray.from_arrays(offsets, rows),
        "label": classes,
    }
    if dictionary is not None:
        places = pa.Array.from_buffers(pa.int32(), steps, [None, tokens])
        # `safe` would read all places, and keep their pages in memory.
        spelled = pa.DictionaryArray.from_arrays(places, dictionary, safe=False)
        columns["token"] = pa.LargeListArray.from_arrays(offsets, spelled)
    return pa.RecordBatch.from_pydict(columns)


def read(path: str | Path) -> Sequences:
    """Map an Arrow file of sequences into memory; the arrays are read-only views of the file.

    Of a split in parts, they are joined in a temporary file, which is as large as all of them;
    `birnn.data.parted` reads one after the other.

    Raises:
        DataError: the file, or a part, is missing or is not one that `write` has made.
    """
    return _joined(Path(path)) if parts.is_parted(path) else read_file(path)


def _joined(folder: Path) -> Sequences:
    chunks = (chunk for place in parts.of(folder) for chunk in _of_place(place))
    with TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True
    ) as temporary:
        path = Path(temporary, "all.arrow")
        write(chunks, path)
        return read_file(path)  # which stays mapped when its name is gone


def _of_place(place: parts.Place) -> Iterator[Sequences]:
    with opened(place) as split:
        yield split


@contextmanager
def opened(place: parts.Place) -> Iterator[Sequences]:
    """Map a part of a split into memory until the block ends; see `read`.

    Raises:
        DataError: it is missing, or is not what the index says.
    """
    with place.opened() as path:
        split = read_file(path, str(place), place.check_columns)
        place.check_counts(len(split), int(split.offsets[-1]))
        yield split


def write_part(split: Sequences, folder: parts.Folder, number: int) -> parts.Written:
    """Write a part of a split, which is held in memory."""
    tokens = np.zeros(0, np.int32) if split.tokens is None else split.tokens
    flat = [pa.py_buffer(np.ascontiguousarray(one)) for one in (split.values, tokens, split.labels)]
    offsets = pa.array(split.offsets - split.offsets[0], pa.int64())
    batch = _record_batch(split, offsets, split.ids, split.groups, split.dictionary, *flat)
    with folder.file(parts.name(number, ".arrow")) as path:
        with pa.ipc.new_file(str(path), batch.schema) as writer:
            writer.write_batch(batch)
        return folder.kept(path, batch.schema.names, split.lengths)


def concatenated(chunks: Sequence[Sequences]) -> Sequences:
    """Put chunks one behind the other in memory, one or more of a kind."""
    first, dictionary = chunks[0], chunks[0].dictionary
    tokens: npt.NDArray[np.int32] | None = None
    if dictionary is not None:
        places = []
        for chunk in chunks:
            dictionary, found = joined(dictionary, chunk.dictionary)
            places.append(found[chunk.tokens])
        tokens = np.concatenate(places)
    return Sequences(
        values=np.concatenate([chunk.values for chunk in chunks]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([c.lengths for c in chunks]))]),
        labels=np.concatenate([chunk.labels for chunk in chunks]),
        ids=pa.concat_arrays([chunk.ids for chunk in chunks]),
        groups=pa.concat_arrays([chunk.groups for chunk in chunks]),
        tagging=first.tagging,
        tokens=tokens,
        dictionary=dictionary,
    )


def read_file(
    path: str | Path, name: str = "", check: Callable[[list[str]], None] | None = None
) -> Sequences:
    """Map one file of sequences; see `read`.

    Args:
        path: of the file.
        name: what to call it in messages; as it is called if empty.
        check: called with the columns that it has.
    """
    try:
        arrow.check(path, most=0)  # what was compressed may take any amount of memory
        with Path(path).open("rb") as file:
            mapped = spools.mapped(file)
        whole = spools.buffer(mapped)
        batch = pa.ipc.open_file(whole).get_batch(0)
        if check is not None:
            check(batch.schema.names)
        values, labels = batch["values"], batch["label"]
        tagging = pa.types.is_large_list(labels.type)
        tokens = batch["token"].values if "token" in batch.schema.names else None
        view, width = partial(_view, mapped, whole.address), values.type.value_type.list_size
        return Sequences(
            values=view(values.values.flatten()).reshape(len(values.values), width),
            offsets=view(values.offsets),
            labels=view(labels.values if tagging else labels),
            ids=batch["sequence"],
            groups=batch["group"],
            tagging=tagging,
            tokens=None if tokens is None else view(tokens.indices),
            dictionary=None if tokens is None else tokens.dictionary,
            mapped=mapped,
        )
    except FileNotFoundError:
        raise DataError(f"{name or path}: no such file; run `dvc repro` first") from None
    except (AttributeError, KeyError, OSError, ValueError) as error:
        raise DataError(f"{name or path}: expected a prepared split, found {error}") from None


def _view(mapped: mmap.mmap | None, address: int, column: pa.Array) -> npt.NDArray[Any]:
    """What a column holds, as an array of which `pieces.release` knows the file."""
    found: npt.NDArray[Any] = column.to_numpy()
    if mapped is None or not found.size:
        return found
    return np.frombuffer(mapped, found.dtype, len(found), found.ctypes.data - address)
