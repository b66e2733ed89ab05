"""Bring sequences in, from the user's files or a known process, as one checked table.

    python -m stages.generate

Reads `data` and `prepare.split` from params.yaml, and data/external/.
Writes data/raw/sequences.parquet and data/raw/summary.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from birnn import errors, files, splits, tables
from birnn.params import HMMData, Params, SktimeData, TableData, load
from birnn.sources import hmm, sktime, table

RAW = Path("data/raw")


def main() -> None:
    """Run the stage."""
    params = load()
    with files.replacing(RAW / "sequences.parquet") as partial:
        rows = tables.checked(read(params), task=params.data.task, where=name(params))
        tables.write(rows, partial)
        summary = tables.summary(partial, task=params.data.task, where=name(params))
        if isinstance(params.data, HMMData):
            summary["limits"] = limits(params, params.data, partial)
    files.write_json(RAW / "summary.json", summary)


def read(params: Params) -> Iterator[pa.RecordBatch]:
    """Open the source that `data.source` names."""
    match params.data:
        case HMMData() as data:
            lengths = data.model_dump(include={"sequences", "min_steps", "max_steps", "seed"})
            mean_steps = data.mean_steps or data.max_steps
            return hmm.read(chain(data), mean_steps=mean_steps, **lengths)
        case TableData() as data:
            return table.read(data.path)
        case SktimeData() as data:
            return sktime.read(name=data.name, train=data.train, test=data.test)


def name(params: Params) -> str:
    """What to call the source in messages."""
    match params.data:
        case TableData(path=path):
            return path
        case SktimeData(name=name, train=train):
            return name or train or ""
        case _:
            return params.data.source


def chain(data: HMMData) -> hmm.Chain:
    """Draw the chain that the params describe."""
    knobs = data.model_dump(include={"classes", "features", "stay", "separation", "shares", "seed"})
    if data.states is None:
        return hmm.tagging_chain(lookalikes=data.lookalikes, **knobs)
    return hmm.classification_chain(states=data.states, **knobs)


def limits(params: Params, data: HMMData, path: Path) -> dict[str, float]:
    """Compute the accuracy limits on the sequences that `prepare` will test on."""
    shares = params.prepare.split.model_dump()
    test = splits.select(tables.chunks(path), "test", named=(), **shares)
    batches = (batch for rows, _ in test for batch in rows.to_batches())
    return hmm.limits(chain(data), batches, task=data.task)


if __name__ == "__main__":
    with errors.reported():
        main()
