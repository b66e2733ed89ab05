"""Arrow files and streams, of which the buffers may be compressed.

    for batch in arrow.batches("data.arrow", rows=256): ...

The formats: https://arrow.apache.org/docs/format/Columnar.html. What a record batch becomes in
memory is known before any of it is expanded: each compressed buffer begins with its size.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from birnn.errors import DataError
from birnn.files import bounds

MAGIC = b"ARROW1\0\0"  # of a file; what follows is a stream, and an index behind it
MOST_BYTES = 1 << 30  # of a record batch in memory, where it is compressed
DICTIONARY, RECORDS = 2, 3  # kinds of messages
SIZE = 8  # bytes, in which a compressed buffer says its size


def batches(path: str | Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Stream the rows of an Arrow file or stream.

    Args:
        path: the file.
        rows: of a batch, at most; fewer where texts that stand once would take much room.

    Raises:
        DataError: it expands out of proportion, or has batches that its index lacks.
        pyarrow.ArrowException, OSError: it is no Arrow.
    """
    check(path)
    with pa.memory_map(os.fspath(path)) as file:
        listed = _listed(file)
        found = 0
        for batch in pa.ipc.open_stream(file):
            found += 1
            batch.validate(full=True)
            for start in range(0, batch.num_rows, rows):
                yield from bounds.parts(batch.slice(start, rows), path)
        if listed is not None and found != listed:
            raise DataError(f"{path}: expected {listed} record batches, found {found}")


def _listed(file: pa.MemoryMappedFile) -> int | None:
    """How many record batches the index of a file has; go to the stream's beginning."""
    whole = file.read(len(MAGIC)) == MAGIC
    count = pa.ipc.open_file(file).num_record_batches if whole else None
    file.seek(len(MAGIC) if whole else 0)
    return count


def check(path: str | Path, most: int = MOST_BYTES) -> None:
    """Refuse compressed buffers that take too much memory.

    Args:
        path: an Arrow file or stream.
        most: bytes of a record batch; 0 where nothing may be compressed.

    Raises:
        DataError: they do.
        pyarrow.ArrowException, OSError: it is no Arrow.
    """
    total = 0
    with pa.memory_map(os.fspath(path)) as file:
        _listed(file)
        for message in pa.ipc.MessageReader.open_stream(file):
            size = _expanded(message, path)
            total += size
            if size > most:
                raise DataError(
                    f"{path}: expected compressed record batches of up to {most >> 20} MB, found "
                    f"one of {size / (1 << 20):.1f} MB; write smaller ones, or do not compress them"
                )
    bounds.check_expansion(total, path)


def _expanded(message: pa.ipc.Message, path: str | Path) -> int:
    """Bytes that the compressed buffers of a message become."""
    data = message.metadata.to_pybytes()
    try:
        root = _follow(data, 0)
        kind, place = data[_field(data, root, 1)], _field(data, root, 2)
        if kind not in (DICTIONARY, RECORDS):
            return 0
        records = _follow(data, place)
        if kind == DICTIONARY:
            records = _follow(data, _field(data, records, 1))
        if not _field(data, records, 3):  # how buffers are compressed
            return 0
        begin = _follow(data, _field(data, records, 2))
        (count,) = struct.unpack_from("<I", data, begin)
        body, total = memoryview(message.body), 0
        for number in range(count):
            offset, length = struct.unpack_from("<qq", data, begin + 4 + 16 * number)
            if length:
                (size,) = struct.unpack_from("<q", body, offset)
                total += length - SIZE if size < 0 else size
    except (struct.error, IndexError):
        raise DataError(f"{path}: expected Arrow, found a message that was damaged") from None
    return total


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table lies, in the format of flatbuffers; 0 where there is none."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    place = 4 + 2 * number
    if place >= size:
        return 0
    (offset,) = struct.unpack_from("<H", data, table - back + place)
    return table + offset if offset else 0


def _follow(data: bytes, place: int) -> int:
    """Where what a place refers to begins."""
    (offset,) = struct.unpack_from("<I", data, place)
    return place + int(offset)
