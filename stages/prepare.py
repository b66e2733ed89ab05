"""Split the sequences, encode them, and lay each split out flat for memory-mapped batches.

    python -m stages.prepare

Reads `prepare` and some of `train` from params.yaml, data/raw/, and the file of `prepare.vectors`.
Writes data/prepared/{train,validation,test}.arrow, encoding.json, kept.parquet,
vectors.safetensors and packing.json.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial

from birnn import errors
from birnn.data import buckets, encoding, filling, kept, sequences, splits, vectors
from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.data.splits import Splitting
from birnn.files import console, engines, installed, paths, records, tables
from birnn.files.paths import PREPARED, RAW
from birnn.files.summary import Summary
from birnn.files.tables import Chunk
from birnn.params import Params, load


def main() -> None:
    """Run the stage."""
    params = load()
    with engines.chosen(params.run.engine):
        write(params)


def write(params: Params) -> None:
    """Prepare all files, on the engine that is chosen."""
    summary = records.read(RAW / paths.SUMMARY, Summary)
    prepare, train, how = params.prepare, params.train, Splitting.of(params.prepare)
    filling.check(prepare.missing, summary.missing, summary.first_missing)
    # More than one pass over the table: scales and vocabulary are known after the first one only.
    encoded = encoding.fit(
        partial(splits.read_one, RAW, how, "train"),
        encoding.Options.of(prepare),
        task=summary.task,
        max_steps=summary.cut_after,
        reading=summary.reading,
        unseen=summary.not_in_train,
    )
    pretrained = vectors.look_up(prepare.vectors, encoded.vocabulary)
    arrow = {split: PREPARED / f"{split}.arrow" for split in tables.SPLITS}
    divided = kept.recorded(splits.read(RAW, how), PREPARED / paths.KEPT, task=summary.task)
    # Closed where there is no room for one of the files, so that no half of another is left over.
    with closing(divided), closing(engines.mapped(partial(encode, encoded), divided)) as chunks:
        sequences.write_each(chunks, arrow)
    for split, path in arrow.items():
        sequences.check_labelled(sequences.read(path), split)
    encoded.write(PREPARED / paths.ENCODING)
    vectors.write(pretrained.vectors, PREPARED / paths.VECTORS)
    counts = sequences.read(arrow["train"]).token_counts(len(encoded.vocabulary or ()) + 1)
    said = vectors.notes(prepare.vectors, pretrained, counts, lowercase=prepare.lowercase)
    console.say(*said, error=True)
    packing = buckets.packing(
        {split: sequences.read(path).lengths for split, path in arrow.items()},
        batch_size=train.batch_size,
        batch_steps=train.batch_steps,
        seed=train.seed,
        duplicates=summary.duplicates,
        conflicts=summary.conflicts,
    )
    records.write(PREPARED / paths.PACKING, packing)


def encode(encoded: Encoding, divided: tuple[str, Chunk]) -> tuple[str, Sequences]:
    """Encode what a chunk holds of a split."""
    split, (table, offsets) = divided
    return split, encoded.encode(table, offsets)


if __name__ == "__main__":
    with errors.reported():
        installed.check()
        main()
