"""Sequences of one table that come from one origin, though their ids differ.

    for line in notes(whole_sequences(rows)): print(line)

Half of the sequences, by a hash of their ids, are looked up in the other half. So of two that
belong together one is found in every second case; of twenty such pairs at least one, but for one
time in a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from birnn.data import copies, sequences, splits
from birnn.data.encoding import Encoding
from birnn.data.splits import Splitting
from birnn.files.tables import Chunk, feature_names

HALVES = Splitting(validation=0.0, test=0.5)
LEAST_SEQUENCES = 40  # fewer may all be in one half


@dataclass(frozen=True, slots=True)
class Related:
    """What was found of one half of the sequences in the other.

    Attributes:
        sequences: that were looked up.
        found: how many of them are copies, overlaps or near copies, and no chance.
        first: ids of the first two that belong together.
    """

    sequences: int
    found: int
    first: tuple[str, str]


def related(chunks: Iterable[Chunk]) -> Related:
    """Look for sequences that belong together; steps pass through temporary files.

    Args:
        chunks: whole sequences, `LEAST_SEQUENCES` or more.
    """
    with TemporaryDirectory() as folder:
        paths = {split: Path(folder) / split for split in ("train", "test")}
        halves = splits.divide(lambda: map(_plain, chunks), HALVES, [], [*paths])
        sequences.write_each(((half, _encoded(chunk)) for half, chunk in halves), paths)
        known, others = (sequences.read(path) for path in paths.values())
        found = copies.find(copies.remember(known), others)
        count, first = int(found.seen.sum()), ("", "")
        if count:
            place = int(found.seen.argmax())
            first = (others.ids[place].as_py(), known.ids[found.source[place]].as_py())
        return Related(len(others), count, first)


def _plain(chunk: Chunk) -> Chunk:
    """What a model reads, and ids: they alone are to say which half a sequence is in."""
    table, offsets = chunk
    read = [name for name in table.schema.names if name not in ("split", "label")]
    return table.select(read), offsets


def _encoded(chunk: Chunk) -> sequences.Sequences:
    table, offsets = chunk
    features, tokens = feature_names(table.schema), "token" in table.schema.names
    zeros, ones = [0.0] * len(features), [1.0] * len(features)
    plain = Encoding("", [], features, zeros, ones, [] if tokens else None, scaling="none")
    return plain.encode(table, offsets)


def notes(chunks: Iterable[Chunk]) -> Iterator[str]:
    """Say which sequences belong together, in a line; nothing where the table names groups."""
    rest = iter(chunks)
    first = next(rest)
    if "group" in first[0].schema.names:
        return
    found = related(chain([first], rest))
    if found.found:
        one, other = map(repr, found.first)
        yield (
            f"copies of another sequence, overlaps with it or near copies: {found.found:,} of "
            f"{found.sequences:,} looked up, such as {one} and {other}; put the name of their "
            "origin (recording, speaker, document) into a column `group`, or they are divided "
            "between train and test"
        )
