"""Chains whose sequences several tests draw, and the columns of these as arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.sources import hmm
from birnn.sources.hmm import Chain

Array = npt.NDArray[Any]

TAGGING = hmm.tagging_chain(classes=5, features=8, stay=0.5, separation=3.0, lookalikes=2, seed=1)
CLASSIFICATION = hmm.classification_chain(
    classes=3, states=2, features=5, stay=0.5, separation=1.75, seed=1
)


def drawn(chain: Chain, sequences: int = 20, seed: int = 1, **lengths: float) -> pa.Table:
    bounds: dict[str, Any] = {"min_steps": 10, "max_steps": 10, "mean_steps": 10, **lengths}
    return pa.Table.from_batches(hmm.draw(chain, sequences=sequences, seed=seed, **bounds))


def features(table: pa.Table) -> Array:
    return np.stack([column.to_numpy() for column in table.select(table.schema.names[1:-1])], 1)


def labels(table: pa.Table) -> Array:
    return np.array([int(name[1:]) for name in table["label"].to_pylist()])


def lengths(table: pa.Table) -> Array:
    return np.array(table.group_by("sequence", use_threads=False).aggregate([([], "count_all")])[1])
