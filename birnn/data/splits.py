"""Which sequences train, validate and test: a stable choice by hash.

A sequence's split depends on the name of its group (or its own id) alone. So it stays where it is
when data grows, and a retrained model is never tested on what its predecessor has trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.errors import DataError, ParamsError
from birnn.files import atomic, tables

VERBS = {"train": "train on", "validation": "validate on", "test": "test on"}


def assign(
    names: Iterable[str],
    *,
    validation: float,
    test: float,
    folds: int | None = None,
    fold: int | None = None,
) -> npt.NDArray[np.str_]:
    """Name the split of each sequence: `train`, `validation` or `test`.

    Args:
        names: the group of each sequence, or its id.
        validation: share of the names to validate on.
        test: share of the names to test on; without a meaning where there are folds.
        folds: into how many parts to divide the names, each of which is tested on in its turn.
        fold: whose turn it is, from 1. `validation` is then a share of the other folds.
    """
    names = list(names)
    position = np.array([_position(name) for name in names])
    if folds is not None and fold is not None:
        # By another hash, or each fold would be validated on its neighbour.
        held_out = np.array([_position(f"validation of {name}") for name in names]) < validation
        tested = np.floor(position * folds) == fold - 1
        return np.select([tested, held_out], ["test", "validation"], "train")
    return np.select(
        [position < test, position < test + validation], ["test", "validation"], "train"
    )


def of_table(
    table: pa.Table,
    starts: npt.NDArray[np.int64],
    *,
    validation: float,
    test: float,
    named: Collection[str],
    folds: int | None = None,
    fold: int | None = None,
) -> npt.NDArray[np.str_]:
    """Name the split of each sequence of a sequence table; its `split` column overrides the hash.

    Args:
        table: whole sequences.
        starts: the row at which each begins.
        validation: share of the names to validate on.
        test: share of the names to test on.
        named: the splits that occur in the `split` column of the whole table. Where `validation` is
            not among them, its share of the training sequences is held out by the hash.
        folds: see `assign`.
        fold: see `assign`.

    Raises:
        ParamsError: folds of a table that says itself what to test on.
    """
    key = "group" if "group" in table.schema.names else "sequence"
    names = table[key].take(starts).to_pylist()
    if "split" not in table.schema.names:
        return assign(names, validation=validation, test=test, folds=folds, fold=fold)
    if folds is not None:
        raise ParamsError(
            f"prepare.folds: expected null for data that name their own splits, found {folds}"
        )
    split = np.array(table["split"].take(starts).to_pylist(), dtype=np.str_)
    if "validation" in named:
        return split
    held_out = assign(names, validation=validation, test=0) == "validation"
    return np.where((split == "train") & held_out, "validation", split)


def select(
    chunks: Iterable[tuple[pa.Table, npt.NDArray[np.int64]]],
    split: str,
    *,
    validation: float,
    test: float,
    named: Collection[str],
    folds: int | None = None,
    fold: int | None = None,
) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
    """Keep the sequences of one split from chunks of a table; see `birnn.files.tables.chunks`.

    Chunks of which nothing is left are passed over. For the other arguments see `of_table`.
    """
    for table, offsets in chunks:
        names = of_table(
            table,
            offsets[:-1],
            validation=validation,
            test=test,
            named=named,
            folds=folds,
            fold=fold,
        )
        kept = names == split
        if kept.any():
            lengths = np.diff(offsets)
            rows = table.filter(pa.array(np.repeat(kept, lengths))).combine_chunks()
            yield rows, np.concatenate([[0], np.cumsum(lengths[kept])])


def read(
    raw: Path, split: str, **splitting: Any
) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
    """Read the sequences of one split from `data/raw/`, chunk by chunk.

    Args:
        raw: the folder.
        split: `train`, `validation` or `test`.
        splitting: what decides which they are; see `assign`.

    Raises:
        DataError: there are none.
    """
    summary = atomic.read_json(raw / "summary.json")
    chunks = tables.chunks(raw / "sequences.parquet")
    empty = True
    for chunk in select(chunks, split, named=list(summary["splits"]), **splitting):
        empty = False
        yield chunk
    if empty:
        mend = "add some" if split in summary["splits"] else "add sequences, or raise its share"
        raise DataError(
            f"prepare.split: expected sequences to {VERBS[split]}, found none of "
            f"{summary['sequences']} in the {split} split; {mend}"
        )


def _position(name: str) -> float:
    """A point in [0, 1) that only the name decides."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
