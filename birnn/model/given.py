"""Sequences that come from Python and not from a file, as a model reads them.

sequences = read([np.zeros((50, 4)), np.zeros((7, 4))], encoding)     # features
sequences = read([["the", "dog", "barks"]], encoding)                 # tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.files.reading import first_few
from birnn.files.table_checks import LARGEST
from birnn.files.tables import sequence_starts
from birnn.model import prediction

WHERE = "the sequences"


def read(given: Sequence[Any], encoding: Encoding) -> Sequences:
    """Encode a list of sequences, called by their numbers from 0.

    Args:
        given: for a model of features each (steps, features), in the order of `encoding.features`;
            for a model of tokens each a list of strings.
        encoding: the one that the model was trained with.

    Raises:
        DataError: a sequence is empty or of another form, or a number is missing or infinite.
    """
    if not len(given):
        raise DataError(f"{WHERE}: expected some, found none")
    if encoding.tokens and encoding.features:
        columns = ", ".join(encoding.columns)
        raise DataError(
            f"{WHERE}: expected a data frame with the columns {columns}, since the model reads "
            "tokens and numbers, found a list"
        )
    return _words(given, encoding) if encoding.tokens else _numbers(given, encoding)


def _numbers(given: Sequence[Any], encoding: Encoding) -> Sequences:
    rows = [_rows(one, number, encoding) for number, one in enumerate(given)]
    lengths = np.array([len(one) for one in rows])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    together = np.concatenate(rows) if len(rows) > 1 else rows[0]

    def place(row: int) -> str:
        number = int(np.searchsorted(offsets, row, side="right")) - 1
        return f"{WHERE}, sequence {number}, step {row - offsets[number]}"

    _check_finite(together, encoding, place)
    values, offsets = encoding.scaled(together, offsets, place)
    tagging = encoding.task == "tagging"
    names = pa.array([str(number) for number in range(len(rows))])
    labels = np.zeros(len(values) if tagging else len(rows), np.int32)
    return Sequences(values, offsets, labels, names, names, tagging)


def _rows(one: Any, number: int, encoding: Encoding) -> npt.NDArray[Any]:
    """The numbers of a sequence, as far as the model reads, (steps, features)."""
    wanted = len(encoding.features)
    try:
        found = np.asarray(one)
    except ValueError:  # rows of different lengths
        found = np.zeros(0, object)
    if found.dtype.kind not in "fiub" or found.ndim != 2 or found.shape[1] != wanted:
        shown = f"{found.dtype} of shape {found.shape}" if found.size else "something else"
        features = first_few(encoding.features)
        raise DataError(
            f"{WHERE}, sequence {number}: expected numbers of shape (steps, {wanted}), for "
            f"{features}, found {shown}; give a list of such arrays"
        )
    if not len(found):
        raise DataError(f"{WHERE}, sequence {number}: expected steps, found none")
    return found if encoding.max_steps is None else found[: encoding.max_steps]


def _check_finite(rows: npt.NDArray[Any], encoding: Encoding, place: Any) -> None:
    bad = ~(np.abs(rows) <= LARGEST)  # NaN is not
    if bad.any() and encoding.missing != "refuse":
        bad &= ~np.isnan(rows)
    if bad.any():
        row, column = (int(found[0]) for found in bad.nonzero())
        raise DataError(
            f"{place(row)}, column `{encoding.features[column]}`: expected a finite number, found "
            f"{rows[row, column]}; fill it in or drop the sequence"
        )


def _words(given: Sequence[Any], encoding: Encoding) -> Sequences:
    for number, one in enumerate(given):
        if isinstance(one, str) or not len(one) or not all(isinstance(word, str) for word in one):
            found = "a text; cut it into tokens" if isinstance(one, str) else "something else"
            raise DataError(f"{WHERE}, sequence {number}: expected a list of tokens, found {found}")
    names = np.repeat(np.arange(len(given)), [len(one) for one in given])
    words = pa.array([word for one in given for word in one], pa.string())
    return encoded(pa.record_batch({"sequence": pa.array(names), "token": words}), encoding)


def encoded(rows: pa.RecordBatch | pa.Table, encoding: Encoding) -> Sequences:
    """Encode a sequence table that is in memory as a whole.

    Raises:
        DataError: see `birnn.model.prediction.prepared`.
    """
    batches = [rows] if isinstance(rows, pa.RecordBatch) else rows.to_batches()
    parts = [table for table, _ in prediction.prepared(encoding, batches, where=WHERE)]
    table = parts[0] if len(parts) == 1 else pa.concat_tables(parts).combine_chunks()
    starts = sequence_starts(table["sequence"].chunk(0))
    return encoding.encode(table, np.append(starts, table.num_rows))
