"""Which sequences train, validate and test: a stable choice by hash.

A sequence's split depends on the name of its group (or its own id) alone. So it stays where it is
when data grows, and a retrained model is never tested on what its predecessor has trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.errors import DataError, ParamsError
from birnn.files import paths, records, tables
from birnn.files.summary import Summary
from birnn.files.tables import Chunk
from birnn.params import Prepare

VERBS = {"train": "train on", "validation": "validate on", "test": "test on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """What decides which sequences train, validate and test.

    Attributes:
        validation: share of the names to validate on.
        test: share of the names to test on; without a meaning where there are folds.
        folds: into how many parts to divide the names, each of which is tested on in its turn.
        fold: whose turn it is, from 1. `validation` is then a share of the other folds.
    """

    validation: float
    test: float
    folds: int | None = None
    fold: int | None = None

    @classmethod
    def of(cls, prepare: Prepare) -> Splitting:
        """Take it from params.yaml."""
        validation, test = prepare.split.validation, prepare.split.test
        return cls(validation=validation, test=test, folds=prepare.folds, fold=prepare.fold)


def assign(names: Iterable[str], how: Splitting) -> npt.NDArray[np.str_]:
    """Name the split of each sequence, `train`, `validation` or `test`, by its group or its id."""
    names = list(names)
    position = np.array([_position(name) for name in names])
    if how.folds is not None and how.fold is not None:
        # By another hash, or each fold would be validated on its neighbour.
        second = np.array([_position(f"validation of {name}") for name in names])
        tested, held_out = np.floor(position * how.folds) == how.fold - 1, second < how.validation
    else:
        tested, held_out = position < how.test, position < how.test + how.validation
    return np.select([tested, held_out], ["test", "validation"], "train")


def of_table(
    table: pa.Table,
    starts: npt.NDArray[np.int64],
    how: Splitting,
    named: Collection[str],
) -> npt.NDArray[np.str_]:
    """Name the split of each sequence of a sequence table; its `split` column overrides the hash.

    Args:
        table: whole sequences.
        starts: the row at which each begins.
        how: what decides where the table does not.
        named: the splits that occur in the `split` column of the whole table. Where `validation` is
            not among them, its share of the training sequences is held out by the hash.

    Raises:
        ParamsError: folds of a table that says itself what to test on.
    """
    key = "group" if "group" in table.schema.names else "sequence"
    names = table[key].take(starts).to_pylist()
    if "split" not in table.schema.names:
        return assign(names, how)
    if how.folds is not None:
        raise ParamsError(
            f"prepare.folds: expected null for data that name their own splits, found {how.folds}"
        )
    split = np.array(table["split"].take(starts).to_pylist(), dtype=np.str_)
    if "validation" in named:
        return split
    held_out = assign(names, replace(how, test=0)) == "validation"
    return np.where((split == "train") & held_out, "validation", split)


def divide(
    chunks: Iterable[Chunk], how: Splitting, named: Collection[str], wanted: Collection[str]
) -> Iterator[tuple[str, Chunk]]:
    """Divide chunks of a table among the splits that are wanted, in one pass over them.

    Args:
        chunks: whole sequences and their offsets; see `birnn.files.tables.chunks`.
        how: see `of_table`.
        named: see `of_table`.
        wanted: some of `train`, `validation` and `test`.

    Yields:
        The name of a split, and what a chunk holds of it, unless that is nothing.
    """
    for table, offsets in chunks:
        names, lengths = of_table(table, offsets[:-1], how, named), np.diff(offsets)
        for split in wanted:
            kept = names == split
            if kept.any():
                rows = table.filter(pa.array(np.repeat(kept, lengths))).combine_chunks()
                yield split, (rows, np.concatenate([[0], np.cumsum(lengths[kept])]))


def read(
    raw: Path, how: Splitting, wanted: Collection[str] = tables.SPLITS
) -> Iterator[tuple[str, Chunk]]:
    """Read the sequences of some splits from `data/raw/` in one pass; see `divide`.

    Raises:
        DataError: a split has none; told at the end.
    """
    summary = records.read(raw / paths.SUMMARY, Summary)
    chunks = tables.chunks(raw / paths.SEQUENCES)
    found = set()
    for split, chunk in divide(chunks, how, list(summary.splits), wanted):
        found.add(split)
        yield split, chunk
    for split in wanted:
        if split not in found:
            mend = "add some" if split in summary.splits else "add sequences, or raise its share"
            raise DataError(
                f"prepare.split: expected sequences to {VERBS[split]}, found none of "
                f"{summary.sequences} in the {split} split; {mend}"
            )


def read_one(raw: Path, how: Splitting, split: str) -> Iterator[Chunk]:
    """Read the sequences of one split; see `read`."""
    return (chunk for _, chunk in read(raw, how, [split]))


def _position(name: str) -> float:
    """A point in [0, 1) that only the name decides."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
