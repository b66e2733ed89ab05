"""Bring sequences in, from the user's files or a known process, as one checked table.

    python -m stages.generate

Reads `data` and how `prepare` splits from params.yaml, and data/external/.
Writes data/raw/sequences.parquet and data/raw/summary.json.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from birnn import errors
from birnn.data import splits
from birnn.data.splits import Splitting
from birnn.files import atomic, console, paths, records, room, tables
from birnn.files.reading import Skipped
from birnn.files.table_checks import MISSING
from birnn.params import HMMData, Params, load
from birnn.sources import hmm, ingestion, inspection


def main() -> None:
    """Run the stage."""
    params, skipped = load(), Skipped()
    data, where = params.data, ingestion.name(params.data)
    if isinstance(data, HMMData):
        what = f"data with {data.sequences:,} sequences of {data.features:,} features"
        room.check_disk(hmm.table_size(data), paths.RAW, what, "lower one of these")
    with skipped.told(), atomic.replacing(paths.RAW / paths.SEQUENCES) as path:
        tables.write(ingestion.rows(data, skipped), path)
        written = partial(tables.chunks, path)
        summary = inspection.summary(written(), written, task=data.task, where=where)
        if isinstance(data, HMMData):
            overall, by_length = limits(params, data, path)
            summary = replace(summary, limits=overall, limits_by_length=by_length)
    summary = replace(
        summary,
        left_out=dict(skipped.counts),
        changed=dict(skipped.changed),
        first_missing=skipped.first.get(MISSING, ""),
        cut_after=ingestion.cut_after(data),
        reading=ingestion.reading(data),
    )
    records.write(paths.RAW / paths.SUMMARY, summary)
    for line in (*skipped.sentences(), *inspection.notes(summary, params.prepare.missing)):
        console.say(line, error=True)


def limits(params: Params, data: HMMData, path: Path) -> hmm.Limits:
    """Compute the accuracy limits on the sequences that `prepare` will test on."""
    how = Splitting.of(params.prepare)
    test = splits.divide(partial(tables.chunks, path), how, named=(), wanted=["test"])
    batches = (batch for _, (rows, _) in test for batch in rows.to_batches())
    return hmm.limits(hmm.chain_of(data), batches, task=data.task)


if __name__ == "__main__":
    with errors.reported():
        main()
