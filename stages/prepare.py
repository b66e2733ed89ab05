"""Split the sequences, encode them, and lay each split out flat for memory-mapped batches.

    python -m stages.prepare

Reads `prepare` and, of `train`, `batch_size`, `batch_steps` and `seed` from params.yaml, data/raw/,
and the file that `prepare.vectors` names.
Writes data/prepared/{train,validation,test}.arrow, encoding.json, vectors.safetensors and
packing.json.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from birnn import errors
from birnn.data import buckets, encoding, sequences, splits, vectors
from birnn.data.encoding import Encoding
from birnn.data.vectors import Vectors
from birnn.errors import ParamsError
from birnn.files import atomic, tables
from birnn.params import Params, load

RAW, PREPARED = Path("data/raw"), Path("data/prepared")


def main() -> None:
    """Run the stage."""
    params = load()
    summary = atomic.read_json(RAW / "summary.json")
    splitting = params.prepare.splitting
    encoded = encoding.fit(
        splits.read(RAW, "train", **splitting),
        task=summary["task"],
        scale=params.prepare.scale,
        frame=params.prepare.frame or 1,
        min_count=params.prepare.min_count,
        lowercase=params.prepare.lowercase,
        reading=summary["reading"],
    )
    pretrained = vectors_of(params.prepare.vectors, encoded)
    for split in tables.SPLITS:
        rows = splits.read(RAW, split, **splitting)
        flat = (encoded.encode(table, offsets) for table, offsets in rows)
        sequences.write(flat, PREPARED / f"{split}.arrow")
    atomic.write_json(PREPARED / "encoding.json", encoded.to_json())
    vectors.write(pretrained, PREPARED / "vectors.safetensors")
    repeated = {name: summary[name] for name in ("duplicates", "conflicts")}
    atomic.write_json(PREPARED / "packing.json", {**packing(params), **repeated})


def vectors_of(path: str | None, encoded: Encoding) -> Vectors:
    """Read the vectors of the vocabulary, if there is a file of them.

    Raises:
        ParamsError: steps have no tokens.
    """
    if path is None:
        return vectors.NONE
    if encoded.vocabulary is None:
        raise ParamsError(f"prepare.vectors: expected null without tokens, found {path!r}")
    return vectors.of_vocabulary(path, encoded.vocabulary)


def packing(params: Params) -> dict[str, object]:
    """Say what padding costs."""
    prepared = {split: sequences.read(PREPARED / f"{split}.arrow") for split in tables.SPLITS}
    lengths, seed = prepared["train"].lengths, params.train.seed
    size, steps = params.train.batch_size, params.train.batch_steps
    order = np.random.default_rng(seed).permutation(len(lengths))
    at_random = buckets.cut(order, lengths, size, steps)
    batched = buckets.shuffled(lengths, batch_size=size, batch_steps=steps, seed=seed, number=1)
    return {
        "sequences": {split: len(found) for split, found in prepared.items()},
        "steps": {split: int(found.offsets[-1]) for split, found in prepared.items()},
        "padding_at_random": buckets.padding_share(lengths, at_random),
        "padding_as_batched": buckets.padding_share(lengths, batched),
    }


if __name__ == "__main__":
    with errors.reported():
        main()
