"""From the words and units of the sequence table to what a network reads, and back.

Everything is fitted on the training sequences alone and kept in `encoding.json`: the mean and
scale of each feature, or the vocabulary of tokens, and the names of the classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError
from birnn.sequences import Sequences
from birnn.tables import feature_names, natural_order, value_counts

UNKNOWN = 0  # the index of every token outside the vocabulary


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a table becomes `Sequences`.

    Attributes:
        task: `tagging` or `classification`.
        labels: names of the classes, in the order of their indices.
        features: names of the feature columns; empty for tokens.
        mean: subtracted from each feature.
        scale: each feature is divided by it.
        vocabulary: tokens in the order of their indices, which begin at 1; 0 is any other token.
    """

    task: str
    labels: list[str]
    features: list[str]
    mean: list[float]
    scale: list[float]
    vocabulary: list[str]

    @property
    def tokens(self) -> bool:
        """Whether steps are tokens, not feature vectors."""
        return not self.features

    def to_json(self) -> dict[str, Any]:
        """Give a tree for `encoding.json`."""
        return asdict(self)

    def encode(self, table: pa.Table, offsets: npt.NDArray[np.int64]) -> Sequences:
        """Turn whole sequences of a table into `Sequences`; without a `label` column, labels are 0.

        Args:
            table: whole sequences, in the types that `birnn.tables.checked` gives.
            offsets: where each begins, (sequences + 1,) int64.

        Raises:
            DataError: a label is none of the classes.
        """
        starts = offsets[:-1]
        ids = table["sequence"].take(starts).combine_chunks()
        groups = (
            table["group"].take(starts).combine_chunks() if "group" in table.schema.names else ids
        )
        tagging = self.task == "tagging"
        labels = self._labels(table if tagging else table.take(starts))
        return Sequences(self._values(table), offsets, labels, ids, groups, tagging)

    def _values(self, table: pa.Table) -> npt.NDArray[Any]:
        """Token indices (steps,) int32, or scaled features (steps, features) float32."""
        if self.tokens:
            index = pc.index_in(table["token"], pa.array(self.vocabulary, pa.string()))
            return np.asarray(pc.add(pc.fill_null(index, -1), 1).to_numpy().astype(np.int32))
        raw = np.column_stack([table[name].to_numpy() for name in self.features])
        return np.asarray((raw - self.mean) / self.scale, dtype=np.float32)

    def _labels(self, table: pa.Table) -> npt.NDArray[np.int32]:
        if "label" not in table.schema.names:
            return np.zeros(table.num_rows, dtype=np.int32)
        index = pc.index_in(table["label"], pa.array(self.labels, pa.string()))
        if index.null_count:
            row = pc.index(index.is_null(), value=True).as_py()
            name, label = table["sequence"][row].as_py(), table["label"][row].as_py()
            raise DataError(
                f"sequence {name!r}: label {label!r} does not occur in the training split; "
                "add training sequences with it, or rename it"
            )
        return np.asarray(index.to_numpy().astype(np.int32))


def fit(tables: Iterable[pa.Table], *, task: str, scale: bool, min_count: int) -> Encoding:
    """Fit an encoding on the training sequences.

    Args:
        tables: chunks of them, in the types that `birnn.tables.checked` gives.
        task: `tagging` or `classification`.
        scale: whether to standardise features (mean 0, variance 1) or leave them as they are.
        min_count: tokens that occur less often are treated as unknown.

    Raises:
        DataError: there are no training sequences.
    """
    from sklearn.preprocessing import StandardScaler  # takes a second to import

    scaler = StandardScaler(with_mean=scale, with_std=scale)
    labels: set[str] = set()
    counts: Counter[str] = Counter()
    features: list[str] = []
    for table in tables:
        labels.update(table["label"].unique().to_pylist())
        features = feature_names(table.schema)
        if features:
            raw = np.column_stack([table[name].to_numpy() for name in features])
            scaler.partial_fit(raw.astype(np.float64))
        else:
            counts.update(value_counts(table["token"]))
    if not labels:
        raise DataError("the training split is empty: lower prepare.split, or add sequences")
    plain = not scale or not features
    return Encoding(
        task=task,
        labels=natural_order(labels),
        features=features,
        mean=[0.0] * len(features) if plain else scaler.mean_.tolist(),
        scale=[1.0] * len(features) if plain else scaler.scale_.tolist(),
        vocabulary=_vocabulary(counts, min_count),
    )


def _vocabulary(counts: Counter[str], min_count: int) -> list[str]:
    """Frequent tokens first; those of one count in the order of the alphabet."""
    kept = [(-count, token) for token, count in counts.items() if count >= min_count]
    return [token for _, token in sorted(kept)]
