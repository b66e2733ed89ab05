"""What a server sends back: the predictions of a request, as JSON.

    reply = answer(served, body, Limits(), go_on)
    reply.content, reply.table

Rows of a data frame are answered by rows, as MLflow's server does; `sequences` by sequences, in
their order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.files import tables
from birnn.files.reading import Skipped
from birnn.files.tables import PREFIX
from birnn.model import prediction
from birnn.serving import requests
from birnn.serving.requests import Limits
from birnn.serving.served import Served

ROWS_AT_ONCE = 1 << 12  # that become text before another thread may go on


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        content: JSON.
        table: the same in the form of `birnn.model.prediction.table`.
        offsets: (S + 1,) the rows at which each sequence begins and ends.
    """

    content: bytes
    table: pa.Table
    offsets: npt.NDArray[np.int64]


def answer(
    served: Served,
    body: bytes,
    limits: Limits,
    go_on: Callable[[], None],
    *,
    unnamed: str = "",
) -> Reply:
    """Predict what a request asks.

    Args:
        served: the model.
        body: of the request; see `birnn.serving.requests`.
        limits: what is too large.
        go_on: called between parts of the work; what it raises ends it.
        unnamed: what comes before the number of a sequence that the client has no name for.

    Raises:
        DataError: something is wrong with the request, in one line.
    """
    asked, skipped, parts = requests.read(body, served.encoding, limits), Skipped(), []
    go_on()
    for part in prediction.of_table(
        served.network,
        served.encoding,
        served.thresholds,
        asked.batches,
        where=requests.WHERE,
        skipped=skipped,
    ):
        parts.append(part)
        go_on()
    table = pa.concat_tables(parts).combine_chunks()
    offsets = np.append(tables.sequence_starts(table["sequence"].chunk(0)), len(table))
    said: dict[str, Any] = {"notes": skipped.sentences()} if skipped.first else {}
    if asked.ids is None:
        predictions = _records(table)
    else:
        table = _called(table, asked.ids, unnamed)
        said["labels"] = served.encoding.labels
        predictions = _sequences(table, offsets, tagging=served.encoding.task == "tagging")
    return Reply(_written(said, predictions, go_on), table, offsets)


def _called(table: pa.Table, ids: list[str | None], unnamed: str) -> pa.Table:
    """Give sequences the names that the client has for them, in the place of their numbers."""
    numbered = enumerate(ids, start=1)
    names = [f"{unnamed}{number}" if name is None else name for number, name in numbered]
    places = table["sequence"].chunk(0).cast(pa.int64()).to_numpy() - 1
    return table.set_column(0, "sequence", pa.array(names, pa.string()).take(pa.array(places)))


def _records(table: pa.Table) -> Iterator[list[Any]]:
    """An object a row, some at a time."""
    for start in range(0, len(table), ROWS_AT_ONCE):
        yield table.slice(start, ROWS_AT_ONCE).to_pylist()


def _sequences(
    table: pa.Table, offsets: npt.NDArray[np.int64], *, tagging: bool
) -> Iterator[list[Any]]:
    """An object a sequence, one at a time."""
    names, predicted = table["sequence"], table["predicted"]
    columns = [table[name].to_numpy() for name in table.schema.names if name.startswith(PREFIX)]
    shares = np.column_stack(columns)
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        labels = predicted.slice(start, end - start).to_pylist()
        each = shares[start:end].tolist()
        yield [
            {
                "sequence": names[start].as_py(),
                "predicted": labels if tagging else labels[0],
                "probabilities": each if tagging else each[0],
            }
        ]


def _written(
    said: dict[str, Any], predictions: Iterator[list[Any]], go_on: Callable[[], None]
) -> bytes:
    """JSON, whose parts are written one by one, so that no request holds up the others for long."""
    parts = []
    for part in predictions:
        go_on()
        parts.append(json.dumps(part, ensure_ascii=False, allow_nan=False)[1:-1])
    before = json.dumps(said, ensure_ascii=False)[1:-1]
    listed = f'"predictions": [{", ".join(parts)}]'
    return f"{{{', '.join(filter(None, [before, listed]))}}}".encode()
