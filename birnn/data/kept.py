"""Columns that no model reads and that travel with the test sequences into predictions.

for split, chunk in kept.recorded(divided, path, task="tagging"): ...    # in `prepare`
columns = kept.read(path)                                                # in `evaluate`
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from birnn.errors import DataError
from birnn.files import atomic, tables
from birnn.files.tables import Chunk


def recorded(
    divided: Iterable[tuple[str, Chunk]], path: Path, *, task: str
) -> Generator[tuple[str, Chunk], None, None]:
    """Pass chunks on, and write what travels with those of `test` into a Parquet file.

    It has a row for each label, in the order of the prepared split; of a sequence with one label,
    that is what its first step has. Without such columns, the file has none.
    """
    with ExitStack() as stack:
        partial, writer = stack.enter_context(atomic.replacing(path)), None
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


def read(path: str | Path) -> dict[str, pa.ChunkedArray]:
    """Read what `recorded` has written: text for each label, (labels,), by the column's name.

    Raises:
        DataError: the file is missing or is not Parquet.
    """
    try:
        found = pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: expected Parquet, found {error}; run `dvc repro`") from None
    return {name: found[name] for name in found.schema.names}
