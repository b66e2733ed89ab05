"""Which sequences train, validate and test: a stable choice by hash.

A sequence's split depends on the name of its group (or its own id) alone. So it stays where it is
when data grows, and a retrained model is never tested on what its predecessor has trained on.
Where asked, each class is divided by itself, or the later sequences are held out; see
`stratification` and `times`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.data.sequences import steps_of
from birnn.data.stratification import Stratifier
from birnn.data.times import Later
from birnn.errors import DataError, ParamsError
from birnn.files import parts, paths, records, tables, threads
from birnn.files.parts import Place
from birnn.files.summary import Summary
from birnn.files.tables import Chunk
from birnn.params import Prepare

Offsets = npt.NDArray[np.int64]
Named = tuple[pa.Table, Offsets, npt.NDArray[np.str_]]
"""Whole sequences, where each begins, and the names of their splits."""

VERBS = {"train": "train on", "validation": "validate on", "test": "test on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """What decides which sequences train, validate and test.

    Attributes:
        validation: share of the names to validate on.
        test: share of the names to test on; without a meaning where there are folds.
        folds: into how many parts to divide the names, each of which is tested on in its turn.
        fold: whose turn it is, from 1. `validation` is then a share of the other folds.
        stratify: whether each class is divided in these shares; see `birnn.data.stratification`.
        by: the column by whose order the later sequences are held out; see `birnn.data.times`.
    """

    validation: float
    test: float
    folds: int | None = None
    fold: int | None = None
    stratify: bool = False
    by: str | None = None

    @classmethod
    def of(cls, prepare: Prepare) -> Splitting:
        """Take it from params.yaml."""
        return cls(
            validation=prepare.split.validation,
            test=prepare.split.test,
            folds=prepare.folds,
            fold=prepare.fold,
            stratify=prepare.stratify,
            by=prepare.split_by,
        )


def assign(names: Iterable[str], how: Splitting) -> npt.NDArray[np.str_]:
    """Name the split of each sequence, `train`, `validation` or `test`, by its group or its id."""
    names = list(names)
    position = _positions(names)
    if how.folds is not None and how.fold is not None:
        tested, held_out = np.floor(position * how.folds) == how.fold - 1, _validated(names, how)
    else:
        tested, held_out = position < how.test, position < how.test + how.validation
    return np.select([tested, held_out], ["test", "validation"], "train")


def _validated(names: Iterable[str], how: Splitting) -> npt.NDArray[np.bool_]:
    """By another hash than that of the fold, or each fold would be validated on its neighbour."""
    return _positions(f"validation of {name}" for name in names) < how.validation


class _Divider:
    """Names the splits of sequences, chunk by chunk from the beginning of a table.

    Args:
        how: what decides where the table does not.
        named: the splits that occur in the `split` column of the whole table. Where `validation` is
            not among them, its share of the training sequences is held out.
        again: gives the chunks of the table once more, for an order in time.
    """

    def __init__(
        self, how: Splitting, named: Collection[str], again: Callable[[], Iterable[Chunk]]
    ) -> None:
        if named and how.folds is not None:
            raise ParamsError(
                "prepare.folds: expected null for data that name their own splits, found "
                f"{how.folds}"
            )
        self.how = replace(how, test=0) if named else how
        self.named = named
        if how.stratify:
            self.stratifier = _stratifier(self.how)
        if how.by is not None and "validation" not in named:
            later = Later(how.by, validation=how.validation, test=self.how.test)
            self.later = later.fit(again(), only="train" if named else None)

    def split_of_each(self, table: pa.Table, offsets: Offsets) -> npt.NDArray[np.str_]:
        """Name the split of each sequence of the next chunk."""
        wanted = {"sequence", "group", "split", self.how.by}
        read = [name for name in table.schema.names if name in wanted]
        heads = tables.spelled(table.select(read).take(pa.array(offsets[:-1])))
        split = np.full(len(heads), "train", dtype="<U10")
        if self.named:
            split = np.array(heads["split"].to_pylist(), dtype="<U10")
        if "validation" in self.named:
            return split
        ours = split == "train"
        classes = _classes(table, offsets) if self.how.stratify else None
        split[ours] = self._chosen(
            heads.filter(pa.array(ours)), None if classes is None else classes[ours]
        )
        return split

    def _chosen(
        self, heads: pa.Table, classes: npt.NDArray[np.object_] | None
    ) -> npt.NDArray[np.str_]:
        if self.how.by is not None:
            return self.later.splits(heads)
        grouped = "group" in heads.schema.names
        names = heads["group" if grouped else "sequence"].to_pylist()
        if classes is None:
            return assign(names, self.how)
        chosen = np.array(
            [
                self.stratifier.split_of(name, held, group=grouped)
                for name, held in zip(names, classes, strict=True)
            ],
            dtype=np.str_,
        )
        if self.how.fold is None:
            return chosen
        tested, held_out = chosen == str(self.how.fold), _validated(names, self.how)
        return np.select([tested, held_out], ["test", "validation"], "train")


def _stratifier(how: Splitting) -> Stratifier:
    if how.folds is not None:
        folds = [str(number) for number in range(1, how.folds + 1)]
        return Stratifier(dict.fromkeys(folds, 1 / how.folds), (), _position)
    shares = {"train": 1 - how.validation - how.test, "validation": how.validation}
    return Stratifier(shares | {"test": how.test}, ("train", "test", "validation"), _position)


def _classes(table: pa.Table, offsets: Offsets) -> npt.NDArray[np.object_]:
    """The classes that each sequence holds, (sequences,) sets."""
    encoded = table["label"].combine_chunks().dictionary_encode()
    names, codes = encoded.dictionary.to_pylist(), pc.fill_null(encoded.indices, -1).to_numpy()
    sequence = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    pairs = np.unique(np.column_stack([sequence, codes])[codes >= 0], axis=0)
    found = np.array([set() for _ in offsets], dtype=object)[:-1]
    for number, code in pairs.tolist():
        found[number].add(names[code])
    return found


def chosen(chunk: Chunk, how: Splitting, split: str) -> pa.Table:
    """What a chunk holds of one split, by name alone: its table names none, and has no order."""
    table, offsets = chunk
    kept = _Divider(how, (), lambda: ()).split_of_each(table, offsets) == split
    return part(table, offsets, kept)[0]


def divide(
    chunks: Callable[[], Iterable[Chunk]],
    how: Splitting,
    named: Collection[str],
    wanted: Collection[str],
) -> Iterator[tuple[str, Chunk]]:
    """Divide a table among splits, in one pass over it, or in two by an order in time.

    Args:
        chunks: gives whole sequences and their offsets from the beginning of the table; see
            `birnn.files.tables.chunks`.
        how: what decides where the table's `split` column does not.
        named: the splits that occur in that column of the whole table. Where `validation` is not
            among them, its share of the training sequences is held out.
        wanted: some of `train`, `validation` and `test`.

    Yields:
        The name of a split, and what a chunk holds of it, unless that is nothing.

    Raises:
        ParamsError: folds of a table that says itself what to test on, or an order by a column that
            it does not have.
        DataError: a time that is none.
    """
    # The names come in order, from a divider that may remember; what is kept of a chunk, from it.
    for found in threads.mapped(partial(_parts, wanted), named_chunks(chunks, how, named)):
        yield from found


def named_chunks(
    chunks: Callable[[], Iterable[Chunk]], how: Splitting, named: Collection[str]
) -> Iterator[Named]:
    """Name the split of each sequence, chunk by chunk; see `divide`."""
    divider = _Divider(how, named, chunks)
    for table, offsets in chunks():
        yield table, offsets, divider.split_of_each(table, offsets)


def _parts(wanted: Collection[str], divided: Named) -> list[tuple[str, Chunk]]:
    """What a chunk holds of each split."""
    table, offsets, names = divided
    found = [(split, names == split) for split in wanted]
    return [(split, part(table, offsets, kept)) for split, kept in found if kept.any()]


def part(table: pa.Table, offsets: Offsets, kept: npt.NDArray[np.bool_]) -> Chunk:
    """Some sequences of a table, (sequences,) bool, and where each begins."""
    lengths = np.diff(offsets)
    rows = table.filter(pa.array(np.repeat(kept, lengths))).combine_chunks()
    return rows, np.concatenate([[0], np.cumsum(lengths[kept])])


def held_out(table: pa.Table, offsets: Offsets, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Choose by chance what to validate on: each class in its share, and whole groups.

    The first that holds a class is for training, so none is held out as a whole. Where there are so
    few groups that chance gives all to training, the last one that it can spare is held out.

    Args:
        table: whole sequences, with `label`, and perhaps `group`.
        offsets: where each begins.
        share: of the sequences or groups; 0 for none.
        seed: decides which.

    Returns:
        (sequences,) whether each is held out.
    """
    held = np.zeros(len(offsets) - 1, dtype=bool)
    if share == 0:
        return held
    grouped, shares = "group" in table.schema.names, {"train": 1 - share, "validation": share}
    names = table["group" if grouped else "sequence"].take(offsets[:-1]).to_pylist()
    classes = _classes(table, offsets)
    stratifier = Stratifier(shares, ("train",), lambda name: _position(f"{seed} {name}"))
    drawn = np.random.default_rng(seed).permutation(len(held)).tolist()
    for number in drawn:
        split = stratifier.split_of(names[number], classes[number], group=grouped)
        held[number] = split == "validation"
    return held if held.any() else _last_spare([names[n] for n in drawn], np.array(names), classes)


def _last_spare(
    drawn: list[str], names: npt.NDArray[np.str_], classes: npt.NDArray[np.object_]
) -> npt.NDArray[np.bool_]:
    """The last group of which all classes are in others too, (sequences,) bool; or none."""
    for name in reversed(dict.fromkeys(drawn)):
        own: npt.NDArray[np.bool_] = names == name
        if not own.all() and set().union(*classes[own]) <= set().union(*classes[~own]):
            return own
    return np.zeros(len(names), dtype=bool)


def read(
    raw: Path, how: Splitting, wanted: Collection[str] = tables.SPLITS
) -> Iterator[tuple[str, Chunk]]:
    """Read the sequences of some splits from `data/raw/` in one pass, in the prepared order.

    See `divide`; of a table in parts, see `Divided.by_length`. Text that comes again is a
    dictionary; see `birnn.files.tables.chunks`.

    Raises:
        DataError: a split has none; told at the end.
    """
    summary = records.read(raw / paths.SUMMARY, Summary)
    path, found = raw / paths.SEQUENCES, set()
    chunks = (
        (one for part in divided(raw, how, summary) for one in part.by_length(wanted))
        if parts.is_parted(path)
        else divide(partial(tables.chunks, path, coded=True), how, list(summary.splits), wanted)
    )
    for split, chunk in chunks:
        found.add(split)
        yield split, chunk
    check_found(found, wanted, summary)


def check_found(found: Collection[str], wanted: Iterable[str], summary: Summary) -> None:
    """Refuse a split without sequences.

    Raises:
        DataError: one that is wanted is not found.
    """
    for split in wanted:
        if split not in found:
            mend = "add some" if split in summary.splits else "add sequences, or raise its share"
            raise DataError(
                f"prepare.split: expected sequences to {VERBS[split]}, found none of "
                f"{summary.sequences} in the {split} split; {mend}"
            )


def read_one(raw: Path, how: Splitting, split: str) -> Iterator[Chunk]:
    """Read the sequences of one split, with their text spelled out; see `read`."""
    return ((tables.spelled(table), offsets) for _, (table, offsets) in read(raw, how, [split]))


@dataclass(frozen=True, slots=True)
class Divided:
    """A part of the table, and the splits of its sequences, so that anybody can divide it.

    Attributes:
        place: of the part.
        divider: names the splits of a chunk; None where only the whole table tells them.
        codes: (sequences,) the place in `SPLITS` of the split of each sequence then.
    """

    place: Place
    divider: _Divider | None = None
    codes: npt.NDArray[np.uint8] | None = None

    def chunks(self, wanted: Collection[str] = tables.SPLITS) -> Iterator[tuple[str, Chunk]]:
        """Read what the part holds of some splits; see `read`."""
        first = 0
        for table, offsets in tables.chunks_of(self.place, coded=True):
            if self.divider is not None:
                names = self.divider.split_of_each(table, offsets)
            else:
                assert self.codes is not None
                names = np.array(tables.SPLITS)[self.codes[first : first + len(offsets) - 1]]
            first += len(offsets) - 1
            yield from _parts(wanted, (table, offsets, names))

    def by_length(self, wanted: Collection[str]) -> Iterator[tuple[str, Chunk]]:
        """Read what the part holds of some splits, each as one chunk, in the prepared order."""
        held: dict[str, list[Chunk]] = {}
        for split, chunk in self.chunks(wanted):
            held.setdefault(split, []).append(chunk)
        for split, chunks in held.items():
            lengths = np.concatenate([np.diff(offsets) for _, offsets in chunks])
            order = in_part(lengths)
            rows = steps_of(np.concatenate([[0], np.cumsum(lengths)]), order)
            table = pa.concat_tables([table for table, _ in chunks]).take(rows).combine_chunks()
            yield split, (table, np.concatenate([[0], np.cumsum(lengths[order])]))


def in_part(lengths: Offsets) -> Offsets:
    """The order in which a prepared part has its sequences: from the shortest to the longest.

    So those of a batch lie together.

    Args:
        lengths: rows of each in the table.
    """
    return np.argsort(lengths, kind="stable")


def divided(raw: Path, how: Splitting, summary: Summary) -> list[Divided]:
    """Divide the parts of a table; an order in it, or in time, takes a look at all of them here.

    Raises:
        ParamsError: see `divide`.
        DataError: see `divide`.
    """
    path = raw / paths.SEQUENCES
    divider = _Divider(how, list(summary.splits), partial(tables.chunks, path, coded=True))
    if not how.stratify and how.by is None:
        return [Divided(place, divider) for place in parts.of(path)]
    return [Divided(place, codes=_codes(divider, place)) for place in parts.of(path)]


def _codes(divider: _Divider, place: Place) -> npt.NDArray[np.uint8]:
    order = np.argsort(tables.SPLITS)
    names = [divider.split_of_each(*chunk) for chunk in tables.chunks_of(place, coded=True)]
    found = np.searchsorted(np.array(tables.SPLITS), np.concatenate(names), sorter=order)
    return order[found].astype(np.uint8)


def _positions(names: Iterable[str]) -> npt.NDArray[np.float64]:
    """A point in [0, 1) for each name, which only the name decides."""
    digest = partial(hashlib.blake2b, digest_size=8)
    digests = b"".join([digest(name.encode()).digest() for name in names])
    return np.frombuffer(digests, ">u8").astype(np.float64) / 2**64


def _position(name: str) -> float:
    return float(_positions([name])[0])
