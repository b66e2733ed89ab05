"""Columns that no model reads and that travel with the test sequences into predictions.

for split, chunk in kept.recorded(divided, path, task="tagging"): ...    # in `prepare`
columns = kept.read(path)                                                # in `evaluate`
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from birnn.errors import DataError
from birnn.files import atomic, parts, tables
from birnn.files.tables import Chunk


def recorded(
    divided: Iterable[tuple[str, Chunk]], path: Path, *, task: str
) -> Generator[tuple[str, Chunk], None, None]:
    """Pass chunks on, and write what travels with those of `test` into a Parquet file.

    It has a row for each label, in the order of the prepared split; of a sequence with one label,
    that is what its first step has. Without such columns, the file has none.
    """
    with ExitStack() as stack:
        partial, writer = stack.enter_context(atomic.replacing(parts.cleared(path))), None
        for split, (table, offsets) in divided:
            if split == "test":
                rows = tables.kept(table, None if task == "tagging" else offsets)
                found = pa.table(rows)
                if writer is None:
                    writer = pq.ParquetWriter(partial, found.schema, compression="zstd")
                    stack.enter_context(writer)
                writer.write_table(found)
            yield split, (table, offsets)
        if writer is None:
            pq.write_table(pa.table({}), partial)


def write_none(path: Path) -> None:
    """Write a file without columns, where nothing travels with rows."""
    for _ in recorded((), path, task=""):
        raise AssertionError


def write_part(
    table: pa.Table, folder: parts.Folder, number: int, lengths: npt.NDArray[np.int64]
) -> parts.Written:
    """Write what travels with the rows of a part of the test split.

    Args:
        table: a row a label.
        folder: where to.
        number: of the part.
        lengths: steps of its sequences.
    """
    with folder.file(parts.name(number, ".parquet")) as path:
        pq.write_table(table, path, compression="zstd")
        return folder.kept(path, table.schema.names, lengths)


def read(path: str | Path) -> dict[str, pa.ChunkedArray]:
    """Read what was written: text for each label, (labels,), by the column's name.

    Raises:
        DataError: the file, or a part, is missing or is not Parquet.
    """
    if parts.is_parted(path):
        found = pa.concat_tables([_of_part(place) for place in parts.of(path)])
    else:
        found = _of_file(path, path)
    return {name: found[name] for name in found.schema.names}


def _of_part(place: parts.Place) -> pa.Table:
    with place.opened() as path:
        found = _of_file(path, place)
    place.check_columns(found.schema.names)
    return found


def _of_file(path: str | Path, name: object) -> pa.Table:
    try:
        return pq.read_table(path, memory_map=False)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file; run `dvc repro` first") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name}: expected Parquet, found {error}; run `dvc repro`") from None
