"""Split the sequences, encode them, and lay each split out flat for memory-mapped batches.

    python -m stages.prepare

Reads `prepare` and some of `train` from params.yaml, data/raw/, and the file of `prepare.vectors`,
which lies in data/external/, or in a bucket that data/external/objects.csv lists.
Writes data/prepared/{train,validation,test}.arrow, kept.parquet (in parts, if the table is),
encoding.json, vectors.safetensors and packing.json.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from birnn import errors
from birnn.data import buckets, encoding, filling, kept, preparing, sequences, splits, vectors
from birnn.data.encoding import Encoding
from birnn.data.preparing import Batching, Wrote
from birnn.data.sequences import Sequences
from birnn.data.splits import Splitting
from birnn.files import console, engines, installed, listing, parts, paths, records, tables, threads
from birnn.files.paths import PREPARED, RAW
from birnn.files.summary import Summary
from birnn.files.tables import Chunk
from birnn.params import Params, load


def main() -> None:
    """Run the stage."""
    params = load()
    threads.keep_memory()
    with engines.chosen(params.run.engine):
        prepare_all(params)


def prepare_all(params: Params) -> None:
    """Prepare all files, on the engine that is chosen."""
    summary = records.read(RAW / paths.SUMMARY, Summary)
    listing.check(filter(None, [params.prepare.vectors]))
    prepare, how = params.prepare, Splitting.of(params.prepare)
    filling.check(prepare.missing, summary.missing, summary.first_missing)
    options, batching = encoding.Options.of(prepare), Batching.of(params.train)
    # More than one pass over the table: scales and vocabulary are known after the first one only.
    if parts.is_parted(RAW / paths.SEQUENCES):
        divided = splits.divided(RAW, how, summary)
        encoded = preparing.learned(divided, options, summary)
        write = partial(preparing.write, divided)
    else:
        encoded = fit(options, how, summary)
        write = partial(write_files, how)
    pretrained = vectors.look_up(prepare.vectors, encoded.vocabulary)
    packing, counts = write(encoded, PREPARED, batching, summary)
    encoded.write(PREPARED / paths.ENCODING)
    vectors.write(pretrained.vectors, PREPARED / paths.VECTORS)
    said = vectors.notes(prepare.vectors, pretrained, counts, lowercase=prepare.lowercase)
    console.say(*said, error=True)
    records.write(PREPARED / paths.PACKING, packing)


def fit(options: encoding.Options, how: Splitting, summary: Summary) -> Encoding:
    """Fit an encoding on a table that is one file."""
    return encoding.fit(
        lambda: (chunk for _, chunk in splits.read(RAW, how, ["train"])),
        options,
        task=summary.task,
        max_steps=summary.cut_after,
        reading=summary.reading,
        unseen=summary.not_in_train,
    )


def write_files(
    how: Splitting, encoded: Encoding, folder: Path, batching: Batching, summary: Summary
) -> Wrote:
    """Encode a table that is one file, in one pass, and write a file for each split."""
    arrow = {split: folder / f"{split}.arrow" for split in tables.SPLITS}
    divided = kept.recorded(splits.read(RAW, how), folder / paths.KEPT, task=summary.task)
    # Closed where there is no room for one of the files, so that no half of another is left over.
    with closing(divided), closing(engines.mapped(partial(encode, encoded), divided)) as chunks:
        sequences.write_each(chunks, arrow)
    for split, path in arrow.items():
        sequences.check_labelled(sequences.read(path), split)
    packing = buckets.packing(
        {split: sequences.read(path).lengths for split, path in arrow.items()},
        **batching._asdict(),
        duplicates=summary.duplicates,
        conflicts=summary.conflicts,
    )
    places = len(encoded.vocabulary or ()) + 1
    return Wrote(packing, sequences.read(arrow["train"]).token_counts(places))


def encode(encoded: Encoding, divided: tuple[str, Chunk]) -> tuple[str, Sequences]:
    """Encode what a chunk holds of a split."""
    split, (table, offsets) = divided
    return split, encoded.encode(table, offsets)


if __name__ == "__main__":
    with errors.reported():
        installed.check()
        main()
