"""The sequence table in parts: written, and looked at, each part by itself where that is possible.

    folder.finish([*read(data, 10_000_000, folder, skipped)])         # the user's files, or
    looks = looked_at(data.task, parts.of(folder.path))
    looks = put_together(drawn(data, 10_000_000, folder, tested), folder, best)  # a known process

What parts hold depends on the data and on `part_steps` alone. Each step of work is a function of a
part's description, so that it can be done anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from birnn.files import engines, parts, table_checks, tables
from birnn.files.parts import Folder, Place, Written
from birnn.files.reading import Skipped
from birnn.files.tables import Chunk
from birnn.params import Data, HMMData
from birnn.sources import hmm, ingestion, inspection
from birnn.sources.inspection import Look
from birnn.sources.limits import Best


class Drawn(NamedTuple):
    """A part of a table of a known process: what it holds, and the limits on its test sequences."""

    written: Written
    looks: list[Look]
    best: Best


def draw(
    data: HMMData,
    folder: Folder,
    tested: Callable[[Chunk], pa.Table],
    numbered: tuple[int, range],
) -> Drawn:
    """Draw and write a part of a table of a known process.

    Args:
        data: the section of params.yaml.
        folder: where to.
        tested: gives the rows of the test sequences of a chunk.
        numbered: which part, and the part; see `birnn.sources.hmm.in_parts`.
    """
    number, part = numbered
    looks, best = list[Look](), Best(hmm.chain_of(data), data.task)
    rows = table_checks.checked(hmm.read_part(data, part), task=data.task, where=data.source)
    chunks = tables.whole_sequences(tables.of_rows(rows))

    def passed() -> Iterator[Chunk]:
        for chunk in inspection.watched(data.task, chunks, looks):
            best.add(tested(chunk))
            yield chunk

    return Drawn(tables.write_part(passed(), folder, number), looks, best)


def drawn(
    data: HMMData, part_steps: int, folder: Folder, tested: Callable[[Chunk], pa.Table]
) -> Iterator[Drawn]:
    """Draw and write all parts, several at a time; see `draw`."""
    numbered = enumerate(hmm.in_parts(data, part_steps))
    steps = 0 if folder.store else hmm.expected_steps(data)
    return engines.mapped(partial(draw, data, folder, tested), numbered, steps=steps)


def put_together(drawn: Iterable[Drawn], folder: Folder, best: Best) -> Iterator[Look]:
    """Add up the limits as parts come, pass their looks on, and write the index after the last."""
    written = list[Written]()
    for one in drawn:
        written.append(one.written)
        best.take(one.best)
        yield from one.looks
    folder.finish(written)


def read(data: Data, part_steps: int, folder: Folder, skipped: Skipped) -> Iterator[Written]:
    """Read the user's files as one stream, and cut it into parts."""
    rows = ingestion.ahead(data, skipped, parts=True)
    return tables.write_parts(tables.whole_sequences(tables.of_rows(rows)), folder, part_steps)


def looked_at(task: str, places: Sequence[Place]) -> Iterator[Look]:
    """Look at parts that are written, several at a time."""
    steps = parts.steps_here(places)
    for looks in engines.mapped(partial(inspection.of_part, task), places, steps=steps):
        yield from looks
