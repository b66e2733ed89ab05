"""Which sequences train, validate and test: a stable choice by hash.

A sequence's split depends on the name of its group (or its own id) alone. So it stays where it is
when data grows, and a retrained model is never tested on what its predecessor has trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def assign(names: Iterable[str], *, validation: float, test: float) -> npt.NDArray[np.str_]:
    """Name the split of each sequence: `train`, `validation` or `test`.

    Args:
        names: the group of each sequence, or its id.
        validation: share of the names to validate on.
        test: share of the names to test on.
    """
    position = np.array([_position(name) for name in names])
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
) -> npt.NDArray[np.str_]:
    """Name the split of each sequence of a sequence table; its `split` column overrides the hash.

    Args:
        table: whole sequences.
        starts: the row at which each begins.
        validation: share of the names to validate on.
        test: share of the names to test on.
        named: the splits that occur in the `split` column of the whole table. Where `validation` is
            not among them, its share of the training sequences is held out by the hash.
    """
    key = "group" if "group" in table.schema.names else "sequence"
    names = table[key].take(starts).to_pylist()
    if "split" not in table.schema.names:
        return assign(names, validation=validation, test=test)
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
) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
    """Keep the sequences of one split from chunks of a table, as `birnn.tables.chunks` gives them.

    Chunks of which nothing is left are passed over. For the other arguments see `of_table`.
    """
    for table, offsets in chunks:
        names = of_table(table, offsets[:-1], validation=validation, test=test, named=named)
        kept = names == split
        if kept.any():
            lengths = np.diff(offsets)
            rows = table.filter(pa.array(np.repeat(kept, lengths))).combine_chunks()
            yield rows, np.concatenate([[0], np.cumsum(lengths[kept])])


def _position(name: str) -> float:
    """A point in [0, 1) that only the name decides."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
