"""The prepared splits in parts: each part of the table becomes a part of each split.

    divided = splits.divided(raw, how, summary)
    encoded = learned(divided, options, summary)
    packing, tokens = write(divided, encoded, folder, batching, summary)

Each step of work is a function of a part's description, so that it can be done anywhere; what must
be known of all of them is put together in their order.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from birnn.data import buckets, encoding, kept, sequences, splits
from birnn.data.buckets import Computed, Packing
from birnn.data.encoding import Encoding, Options
from birnn.data.sequences import Counts, Sequences, Tally, steps_of
from birnn.data.splits import Divided
from birnn.files import engines, parts, paths, tables
from birnn.files.parts import Folder, Written
from birnn.files.summary import Summary
from birnn.files.tables import Chunk
from birnn.params import Train

Result = TypeVar("Result")
KEPT = "kept"  # beside the names of the splits
NOTHING = Computed(0, 0)


class Batching(NamedTuple):
    """How training batches; see `birnn.data.buckets`."""

    batch_size: int
    batch_steps: int | None
    seed: int

    @classmethod
    def of(cls, train: Train) -> Batching:
        """Take it from params.yaml."""
        return cls(train.batch_size, train.batch_steps, train.seed)


class Piece(NamedTuple):
    """A part of a split: what is written, how long its sequences are, and what labels they have."""

    written: Written
    lengths: dict[int, int]
    tally: Tally


class Made(NamedTuple):
    """What one part of the table becomes.

    Attributes:
        pieces: of the splits that it has something of.
        kept: what travels with its test rows, if anything does.
        passed: what a pass over its training sequences computes.
    """

    pieces: dict[str, Piece]
    kept: Written | None
    passed: Computed


def learned(divided: Sequence[Divided], options: Options, summary: Summary) -> Encoding:
    """Fit an encoding on the training sequences of all parts; see `birnn.data.encoding.fit`."""

    def mapped(function: Callable[[Chunk], Result]) -> Iterator[Result]:
        learn = partial(_of_train, function)
        for results in engines.mapped(learn, divided, steps=_steps(divided)):
            yield from results

    return encoding.fit_mapped(
        mapped,
        options,
        task=summary.task,
        max_steps=summary.cut_after,
        reading=summary.reading,
        unseen=summary.not_in_train,
        steps=summary.steps,
    )


def _steps(divided: Sequence[Divided]) -> int:
    return parts.steps_here(one.place for one in divided)


def _of_train(function: Callable[[Chunk], Result], divided: Divided) -> list[Result]:
    return [function(chunk) for _, chunk in divided.chunks(["train"])]


def make(
    encoded: Encoding, folders: Mapping[str, Folder], batching: Batching, divided: Divided
) -> Made:
    """Encode one part of the table, and write what it becomes, under its own number.

    Its sequences are in the order of `birnn.data.splits.in_part`.

    Args:
        encoded: learned from all parts.
        folders: where to, by the name of the split; of `KEPT`, what travels with rows.
        batching: of the training.
        divided: the part.
    """
    number, pieces = divided.place.part.number, dict[str, Piece]()
    read = _read(encoded, divided, keeps=KEPT in folders)
    kept_part, passed = None, NOTHING
    for split in [split for split in tables.SPLITS if split in read]:
        one = read.pop(split)
        found, order = sequences.concatenated(one.chunks), splits.in_part(np.concatenate(one.rows))
        rows, found = steps_of(found.label_offsets, order), found.select(order)
        written = sequences.write_part(found, folders[split], number)
        pieces[split] = Piece(written, dict(Counter(found.lengths.tolist())), found.tally())
        if split == "train":
            passed = buckets.computed(found.lengths, **batching._asdict(), part=number)
        if one.beside:
            table = pa.concat_tables(one.beside).take(rows)
            kept_part = kept.write_part(table, folders[KEPT], number, found.lengths)
    return Made(pieces, kept_part, passed)


class Read(NamedTuple):
    """What a part of the table holds of a split, chunk by chunk.

    Attributes:
        chunks: encoded.
        rows: of the table, for each sequence.
        beside: what travels with the rows, for each label.
    """

    chunks: list[Sequences]
    rows: list[Counts]
    beside: list[pa.Table]


def _read(encoded: Encoding, divided: Divided, *, keeps: bool) -> dict[str, Read]:
    found: dict[str, Read] = {}
    for split, (table, offsets) in divided.chunks():
        chunks, rows, beside = found.setdefault(split, Read([], [], []))
        chunks.append(encoded.encode(table, offsets))
        rows.append(np.diff(offsets))
        if split == "test" and keeps:
            labelled = None if encoded.task == "tagging" else offsets
            beside.append(pa.table(tables.kept(table, labelled)))
    return found


@dataclass(slots=True)
class Sum:
    """Of the parts of a split, as they come: what is written, and what is in it."""

    written: list[Written] = field(default_factory=list)
    lengths: Counter[int] = field(default_factory=Counter)
    tally: Tally | None = None

    def add(self, piece: Piece) -> None:
        """Take up the next part."""
        self.written.append(piece.written)
        self.lengths.update(piece.lengths)
        self.tally = piece.tally if self.tally is None else self.tally.plus(piece.tally)


@dataclass(slots=True)
class Sums:
    """Of all that parts of the table become, as they come."""

    splits: dict[str, Sum] = field(
        default_factory=lambda: {split: Sum() for split in tables.SPLITS}
    )
    kept: list[Written] = field(default_factory=list)
    passed: Computed = NOTHING

    def add(self, made: Made) -> None:
        """Take up the next part."""
        for split, piece in made.pieces.items():
            self.splits[split].add(piece)
        if made.kept is not None:
            self.kept.append(made.kept)
        self.passed = Computed(*map(operator.add, self.passed, made.passed))

    def check(self, summary: Summary) -> None:
        """Refuse a split without sequences, or without a label.

        Raises:
            DataError: there is one.
        """
        found = [split for split, one in self.splits.items() if one.written]
        splits.check_found(found, tables.SPLITS, summary)
        for split, one in self.splits.items():
            assert one.tally is not None
            sequences.check_known(one.tally.known, one.tally.sequences, split)


class Wrote(NamedTuple):
    """What `packing.json` says, and how often each place of the vocabulary is in train."""

    packing: Packing
    tokens: Counts | None


def write(
    divided: Sequence[Divided],
    encoded: Encoding,
    folder: Path,
    batching: Batching,
    summary: Summary,
) -> Wrote:
    """Encode and write all parts, several at a time.

    Args:
        divided: the parts of the table.
        encoded: learned from them.
        folder: of the prepared data.
        batching: of the training.
        summary: of the table.

    Raises:
        DataError: a split has no sequence, or no label.
    """
    place, names = divided[0].place, {split: f"{split}.arrow" for split in tables.SPLITS}
    if any(name.startswith(tables.KEPT) for name in place.columns):
        names[KEPT] = paths.KEPT
    else:
        kept.write_none(folder / paths.KEPT)
    sums = Sums()
    with ExitStack() as stack:
        folders = {
            name: stack.enter_context(parts.writing(folder / file, place.store))
            for name, file in names.items()
        }
        prepare = partial(make, encoded, folders, batching)
        for made in engines.mapped(prepare, divided, steps=_steps(divided)):
            sums.add(made)
        sums.check(summary)
        for split, one in sums.splits.items():
            folders[split].finish(one.written)
        if KEPT in folders:
            folders[KEPT].finish(sums.kept)
    packing = buckets.packing_of(
        {split: one.lengths for split, one in sums.splits.items()},
        sums.passed,
        duplicates=summary.duplicates,
        conflicts=summary.conflicts,
    )
    tally, places = sums.splits["train"].tally, len(encoded.vocabulary or ()) + 1
    return Wrote(packing, tally.tokens[:places] if tally and tally.tokens is not None else None)
