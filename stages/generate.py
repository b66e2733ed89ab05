"""Bring sequences in, from the user's files or a known process, as one checked table.

    python -m stages.generate

Reads `data`, `run.part_steps`, `run.store` and how `prepare` splits from params.yaml, and
data/external/, or the bucket that data/external/objects.csv lists.
Writes data/raw/sequences.parquet, a file or a folder of parts, and data/raw/summary.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from birnn import errors
from birnn.data import splits
from birnn.data.splits import Splitting
from birnn.files import (
    atomic,
    console,
    engines,
    installed,
    listing,
    parts,
    paths,
    records,
    room,
    tables,
    threads,
)
from birnn.files.reading import Skipped
from birnn.files.summary import Summary
from birnn.files.table_checks import MISSING
from birnn.files.tables import Chunk
from birnn.params import HMMData, Params, load
from birnn.sources import hmm, in_parts, ingestion, inspection
from birnn.sources.limits import Best


def main() -> None:
    """Run the stage."""
    params, skipped = load(), Skipped()
    data = params.data
    if isinstance(data, HMMData):
        threads.keep_memory()
    if isinstance(data, HMMData) and params.run.store is None:
        what = f"data with {data.sequences:,} sequences of {data.features:,} features"
        room.check_disk(hmm.table_size(data), paths.RAW, what, "lower one of these")
    listing.check(ingestion.paths_of(data))
    with engines.chosen(params.run.engine), skipped.told():
        summary = (as_one if params.run.part_steps is None else as_parts)(params, skipped)
    summary = replace(
        summary,
        left_out=dict(skipped.counts),
        changed=dict(skipped.changed),
        noted=dict(skipped.noted),
        first_missing=skipped.first.get(MISSING, ""),
        cut_after=ingestion.cut_after(data),
        reading=ingestion.reading(data),
    )
    records.write(paths.RAW / paths.SUMMARY, summary)
    prepare = params.prepare
    noted = inspection.notes(summary, prepare.missing, by_chance=prepare.by_chance)
    for line in (*skipped.sentences(), *noted):
        console.say(line, error=True)


def as_one(params: Params, skipped: Skipped) -> Summary:
    """Write the table as one file, in one pass, each part of it in a thread: read, write, count."""
    data = params.data
    with atomic.replacing(parts.cleared(paths.RAW / paths.SEQUENCES)) as path:
        rows = tables.written(ingestion.ahead(data, skipped), path)
        chunks, again = tables.whole_sequences(tables.of_rows(rows)), partial(tables.chunks, path)
        if isinstance(data, HMMData):
            return with_limits(params, data, chunks, again)
        where = ingestion.name(data)
        return inspection.summary(chunks, again, task=data.task, where=where, skipped=skipped)


def with_limits(
    params: Params, data: HMMData, chunks: Iterator[Chunk], again: Callable[[], Iterator[Chunk]]
) -> Summary:
    """Count, and compute the accuracy limits on the sequences that `prepare` will test on."""
    how, best = Splitting.of(params.prepare), Best(hmm.chain_of(data), data.task)

    def add(chunk: Chunk) -> None:
        for batch in splits.chosen(chunk, how, "test").to_batches():
            best.add(batch)

    passed, where = threads.aside(add, chunks), ingestion.name(data)
    summary = inspection.summary(passed, again, task=data.task, where=where)
    return limited(summary, best)


def as_parts(params: Params, skipped: Skipped) -> Summary:
    """Write the table as parts, and put together what each of them tells."""
    data, run = params.data, params.run
    assert run.part_steps is not None
    tested = partial(splits.chosen, how=Splitting.of(params.prepare), split="test")
    where, best = ingestion.name(data), None
    with parts.writing(paths.RAW / paths.SEQUENCES, run.store or "") as folder:
        again = partial(tables.chunks, folder.path)
        if isinstance(data, HMMData):
            best = Best(hmm.chain_of(data), data.task)
            drawn = in_parts.drawn(data, run.part_steps, folder, tested)
            looks = in_parts.put_together(drawn, folder, best)
        else:
            folder.finish([*in_parts.read(data, run.part_steps, folder, skipped)])
            looks = in_parts.looked_at(data.task, parts.of(folder.path))
        summary = inspection.summary_of_looks(
            looks, again, task=data.task, where=where, skipped=skipped
        )
    return summary if best is None else limited(summary, best)


def limited(summary: Summary, best: Best) -> Summary:
    """Put the accuracy limits beside what was counted."""
    overall, by_length = best.limits()
    return replace(summary, limits=overall, limits_by_length=by_length)


if __name__ == "__main__":
    with errors.reported():
        installed.check()
        main()
