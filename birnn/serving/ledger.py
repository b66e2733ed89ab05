"""The ledger: what was answered, when, and by which model, until the truth is known.

    with Ledger(Path("ledger")) as ledger:
        ledger.add(served, table, offsets)                   # a server, answer by answer
    for table in recorded(Path("ledger"), served, tables): ...   # a command, all or nothing
    for part in parts(Path("ledger")): ...

A folder of Arrow streams, one a writer, model and day. Each writer has files of its own, so that
several lose nothing; each answer is written before it is sent, so that a killed server loses
nothing that somebody has seen. A torn end counts for nothing. Neither features nor tokens are kept.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.errors import DataError
from birnn.files import atomic, console, tables
from birnn.files.tables import PREFIX
from birnn.serving.served import Name, Served

SUFFIX = ".arrows"  # of an Arrow stream
COLUMNS = {
    "time": pa.timestamp("us", tz="UTC"),
    "sequence": pa.string(),
    "step": pa.int32(),
    "predicted": pa.string(),
    "confidence": pa.float32(),
}
COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


@dataclass(frozen=True, slots=True)
class Part:
    """What one writer has recorded of one model.

    Attributes:
        name: the model.
        task: `tagging` or `classification`.
        max_steps: after which it cuts a sequence, if it does.
        table: `COLUMNS`, a row a label: `time` when it was answered, `step` from 0 within its
            sequence (0 alone for classification), `confidence` the probability of `predicted`.
    """

    name: Name
    task: str
    max_steps: int | None
    table: pa.Table


def rows(table: pa.Table, offsets: npt.NDArray[np.int64], time: datetime) -> pa.Table:
    """Give the rows of the ledger for a table of predictions.

    Args:
        table: in the form of `birnn.model.prediction.table`.
        offsets: (S + 1,) the rows at which each sequence begins and ends.
        time: when they were made.
    """
    labels = [name for name in table.schema.names if name.startswith(PREFIX)]
    shares = np.column_stack([table[name].to_numpy() for name in labels])
    answered = table["predicted"].combine_chunks()
    names = pa.array([name.removeprefix(PREFIX) for name in labels], pa.string())
    place = pa.compute.index_in(answered, names).to_numpy()
    step = np.arange(len(table)) - np.repeat(offsets[:-1], np.diff(offsets))
    columns = {
        "time": pa.repeat(pa.scalar(time, COLUMNS["time"]), len(table)),
        "sequence": table["sequence"],
        "step": step.astype(np.int32),
        "predicted": answered,
        "confidence": shares[np.arange(len(table)), place].astype(np.float32),
    }
    return pa.table(columns, pa.schema(COLUMNS))


def recorded(folder: Path, served: Served, predicted: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Pass predictions on, and record them once all are through.

    Args:
        folder: of the ledger; it is made where it is missing.
        served: who predicts.
        predicted: tables of whole sequences; see `birnn.model.prediction.of_table`.
    """
    now = datetime.now(UTC)
    with (
        atomic.replacing(_new_path(folder, now)) as partial,
        pa.ipc.new_stream(partial, _schema(served), options=COMPRESSED) as writer,
    ):
        for table in predicted:
            starts = tables.sequence_starts(table["sequence"].combine_chunks())
            writer.write_table(rows(table, np.append(starts, len(table)), now))
            yield table


class Ledger:
    """Where a server records its answers; several threads may.

    Attributes:
        trouble: why the last answer could not be recorded; empty if it was.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.trouble = folder, ""
        self._lock = threading.Lock()
        self._part: tuple[Name, str] | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._file: pa.NativeFile | None = None

    def __enter__(self) -> Ledger:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._close()

    def add(self, served: Served, table: pa.Table, offsets: npt.NDArray[np.int64]) -> None:
        """Record an answer; where that fails, say so and go on: clients need their answers.

        Args:
            served: the model.
            table: what it has answered; see `rows`.
            offsets: (S + 1,) see `rows`.
        """
        now = datetime.now(UTC)
        added = rows(table, offsets, now)
        with self._lock:
            try:
                self._open(served, now)
                assert self._writer is not None
                self._writer.write_table(added)
            except (OSError, pa.ArrowException) as error:
                self._part = None  # the file may end within a row: the next answer gets a new one
                self._tell(f"{self.folder}: answers are not recorded: {error}")
            else:
                self._tell("")

    def _open(self, served: Served, now: datetime) -> None:
        part = served.name, f"{now:%Y-%m-%d}"
        if part == self._part:
            return
        self._close()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = pa.OSFile(str(_new_path(self.folder, now)), "wb")
        self._writer = pa.ipc.new_stream(self._file, _schema(served), options=COMPRESSED)
        self._part = part

    def _close(self) -> None:
        writer, file = self._writer, self._file
        self._writer = self._file = self._part = None
        try:
            if writer is not None:
                writer.close()
            if file is not None:
                file.close()
        except (OSError, pa.ArrowException) as error:
            self._tell(f"{self.folder}: the end of a part is not recorded: {error}")

    def _tell(self, trouble: str) -> None:
        if trouble and not self.trouble:
            console.say(f"warning: {trouble}", error=True)
        self.trouble = trouble


def _new_path(folder: Path, now: datetime) -> Path:
    return folder / f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex}{SUFFIX}"


def _schema(served: Served) -> pa.Schema:
    name, encoding = served.name, served.encoding
    said = {"model": name.model, "version": name.version, "sha256": name.sha256}
    said |= {"task": encoding.task, "max_steps": str(encoding.max_steps or "")}
    return pa.schema(COLUMNS, metadata=said)


def parts(folder: str | Path) -> Iterator[Part]:
    """Read a ledger, the oldest part first; of one that is torn, all answers that are whole.

    Raises:
        DataError: there is none, or a file is not of a ledger.
    """
    paths = sorted(Path(folder).glob(f"[!.]*{SUFFIX}"))
    if not paths:
        raise DataError(
            f"{folder}: expected a ledger, found no file in {SUFFIX}; `birnn predict --record` and "
            "`birnn serve --record` write one"
        )
    for path in paths:
        if path.stat().st_size:  # a server that was killed may have left a file without a byte
            yield from _part(path)


def _part(path: Path) -> Iterator[Part]:
    with pa.OSFile(str(path)) as file:
        try:
            reader = pa.ipc.open_stream(file)
        except (pa.ArrowException, OSError):
            return  # killed within the first bytes
        said = {key.decode(): text.decode() for key, text in (reader.schema.metadata or {}).items()}
        if reader.schema.names != [*COLUMNS] or "task" not in said:
            raise DataError(f"{path}: expected a part of a ledger, found another table; move it")
        table = pa.Table.from_batches(list(_whole(reader)), reader.schema)
    most = int(said["max_steps"]) if said["max_steps"] else None
    name = Name(said["model"], said["version"], said["sha256"])
    yield Part(name, said["task"], most, table)


def _whole(reader: pa.ipc.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
    """The batches before the end, or before what a killed writer has left unfinished."""
    while True:
        try:
            yield reader.read_next_batch()
        except (StopIteration, pa.ArrowException, OSError):
            return
