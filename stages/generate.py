"""Bring sequences in, from the user's files or a known process, as one checked table.

    python -m stages.generate

Reads `data` and how `prepare` splits from params.yaml, and data/external/.
Writes data/raw/sequences.parquet and data/raw/summary.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from birnn import errors
from birnn.data import splits
from birnn.data.splits import Splitting
from birnn.files import atomic, console, engines, installed, paths, records, room, tables, threads
from birnn.files.reading import Skipped
from birnn.files.summary import Summary
from birnn.files.table_checks import MISSING
from birnn.files.tables import Chunk
from birnn.params import HMMData, Params, load
from birnn.sources import hmm, ingestion, inspection


def main() -> None:
    """Run the stage."""
    params, skipped = load(), Skipped()
    data, where = params.data, ingestion.name(params.data)
    if isinstance(data, HMMData):
        what = f"data with {data.sequences:,} sequences of {data.features:,} features"
        room.check_disk(hmm.table_size(data), paths.RAW, what, "lower one of these")
    with (
        engines.chosen(params.run.engine),
        skipped.told(),
        atomic.replacing(paths.RAW / paths.SEQUENCES) as path,
    ):
        # One pass, each part of it in a thread: read and check, write, count.
        found = ingestion.rows(data, skipped)
        if not ingestion.is_searched(data):
            found = threads.ahead(found)
        rows = tables.written(found, path)
        chunks, again = tables.whole_sequences(tables.of_rows(rows)), partial(tables.chunks, path)
        if isinstance(data, HMMData):
            summary = with_limits(params, data, chunks, again)
        else:
            summary = inspection.summary(chunks, again, task=data.task, where=where)
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
    for line in (*skipped.sentences(), *inspection.notes(summary, params.prepare.missing)):
        console.say(line, error=True)


def with_limits(
    params: Params, data: HMMData, chunks: Iterator[Chunk], again: Callable[[], Iterator[Chunk]]
) -> Summary:
    """Count, and compute the accuracy limits on the sequences that `prepare` will test on."""
    how, best = Splitting.of(params.prepare), hmm.Best(hmm.chain_of(data), data.task)

    def add(chunk: Chunk) -> None:
        for batch in splits.chosen(chunk, how, "test").to_batches():
            best.add(batch)

    passed, where = threads.aside(add, chunks), ingestion.name(data)
    summary = inspection.summary(passed, again, task=data.task, where=where)
    overall, by_length = best.limits()
    return replace(summary, limits=overall, limits_by_length=by_length)


if __name__ == "__main__":
    with errors.reported():
        installed.check()
        main()
