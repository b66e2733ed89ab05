"""A table, or a prepared split, in parts: a folder of files of about one size, and their index.

    with parts.writing(Path("data/raw/sequences.parquet")) as folder:
        with folder.file("part-00000.parquet") as path:
            ...                                            # writes it
            written = folder.kept(path, columns, lengths)
        folder.finish([written])
    for place in parts.of("data/raw/sequences.parquet"):
        with place.opened() as path: ...

The index says what is in each part, so that work can be given out, and results put together,
without a look at the data. With a store (`s3://bucket/prefix`, or whatever pyarrow opens) the bytes
of the parts lie there, each under its hash, and the folder holds the index alone. Nothing in a
store is replaced, so a folder stands for the same bytes for ever, and two may share a part.

The name of the index begins with an underscore, so that pyarrow, pandas and Spark pass over it and
read the folder as one data set.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pyarrow import fs

from birnn.errors import DataError
from birnn.files import addresses, atomic, digests, records
from birnn.files.digests import INDEX

NAME = re.compile(r"part-\d{5,9}\.(?:arrow|parquet)")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the index says of a part.

    Attributes:
        name: of its file.
        sha256: of its bytes.
        size: how many bytes.
        sequences: how many it holds, whole ones.
        steps: how many these have together.
        shortest: steps of the shortest.
        longest: steps of the longest.
    """

    name: str
    sha256: str
    size: int
    sequences: int
    steps: int
    shortest: int
    longest: int

    @property
    def number(self) -> int:
        """In its name; some may be missing, where a part of a table has nothing of a split."""
        return int(self.name.removeprefix("part-").split(".")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What is in a folder of parts.

    Attributes:
        parts: in their order.
        columns: that each of them has.
        sequences: of all parts.
        steps: of all parts.
        shortest: steps of the shortest sequence.
        longest: steps of the longest.
        store: where the bytes lie; empty if in the folder.
    """

    parts: list[Part]
    columns: list[str]
    sequences: int
    steps: int
    shortest: int
    longest: int
    store: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A part and where it lies: all that a process, here or elsewhere, needs to read it.

    Attributes:
        folder: of the index, an absolute path.
        part: see `Part`.
        columns: see `Index`.
        store: see `Index`.
    """

    folder: Path
    part: Part
    columns: list[str]
    store: str = ""

    def __str__(self) -> str:
        return self._named(self.part.name)

    def _named(self, name: str) -> str:
        """What to call a file of the folder: as short as the working directory allows."""
        path, here = self.folder / name, Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """Give a file with the bytes of the part, fetched from the store if they lie there.

        Raises:
            DataError: there is none, or it is not the one that the index means.
        """
        if self.store:
            with TemporaryDirectory(prefix="birnn-part-", ignore_cleanup_errors=True) as temporary:
                yield self._fetched(Path(temporary))
            return
        path = self.folder / self.part.name
        _check_shared(self.folder)
        if not path.is_file():
            raise DataError(
                f"{self}: no such part of {self._index}; run `dvc repro`, or `dvc pull`"
            )
        if (size := path.stat().st_size) != self.part.size:
            raise self.unlike(f"{self.part.size:,} bytes", f"{size:,}")
        yield path

    def check(self) -> None:
        """Read the part from its store, and compare its hash; see `opened`."""
        with self.opened():
            pass

    def check_columns(self, found: Sequence[str]) -> None:
        """Refuse a part that has other columns than all of them should have."""
        if list(found) != self.columns:
            raise self.unlike(f"columns {', '.join(self.columns)}", ", ".join(found))

    def check_counts(self, sequences: int, steps: int) -> None:
        """Refuse a part that holds more or less than the index says."""
        if (sequences, steps) != (self.part.sequences, self.part.steps):
            expected = f"{self.part.sequences:,} sequences of {self.part.steps:,} steps"
            raise self.unlike(expected, f"{sequences:,} of {steps:,}")

    def unlike(self, expected: str, found: str) -> DataError:
        """Say that the part is not as the index says."""
        return DataError(
            f"{self}: expected {expected} ({self._index}), found {found}; run `dvc repro`"
        )

    @property
    def _index(self) -> str:
        return self._named(INDEX)

    def _fetched(self, folder: Path) -> Path:
        """Copy the part from its store; it is read as a whole, so that its hash costs little."""
        address, path = f"{self.store}/{_key(self.part)}", folder / self.part.name
        with _understood(address):
            system, root = fs.FileSystem.from_uri(self.store)
            with system.open_input_stream(f"{root}/{_key(self.part)}") as source:
                addresses.copy(source, path)
        if path.stat().st_size != self.part.size or digests.of_bytes(path) != self.part.sha256:
            raise DataError(
                f"{address}: expected the bytes of its name ({self._index}), found others; "
                "remove it there, and run `dvc repro --force`"
            )
        return path


def name(number: int, suffix: str) -> str:
    """What to call a part; `.parquet` or `.arrow`."""
    return f"part-{number:05d}{suffix}"


def is_parted(path: str | Path) -> bool:
    """Whether a table or a split is in parts."""
    return Path(path).is_dir()


def is_indexed(path: Path) -> bool:
    """Whether a folder is one of ours; one of the users' has no index."""
    return (path / INDEX).is_file()


def read(folder: str | Path) -> Index:
    """Read the index of a folder.

    Raises:
        DataError: it is missing, or contradicts itself.
    """
    path = Path(folder) / INDEX
    if Path(folder).is_dir() and not path.exists():
        raise DataError(
            f"{folder}: expected a folder of parts with {INDEX}, found none; `dvc repro`"
        )
    found = records.read(path, Index)
    wrong = [part.name for part in found.parts if not NAME.fullmatch(part.name)]
    wrong += [part.sha256 for part in found.parts if not SHA256.fullmatch(part.sha256)]
    numbers = [] if wrong else [part.number for part in found.parts]
    if not numbers or numbers != sorted(set(numbers)):
        shown = repr(wrong[0]) if wrong else f"the numbers {numbers[:3]}"
        raise DataError(f"{path}: expected parts with names and hashes, in order, found {shown}")
    if found != _index(found.parts, found.columns, found.store):
        raise DataError(f"{path}: expected the sums of its parts, found others; run `dvc repro`")
    return found


def of(folder: str | Path) -> list[Place]:
    """Say where the parts of a folder lie, in their order; see `read`."""
    found, folder = read(folder), Path(folder).absolute()
    return [Place(folder, part, found.columns, found.store) for part in found.parts]


def steps_here(places: Iterable[Place]) -> int:
    """Steps of the parts whose bytes lie on this machine's disk."""
    return sum(place.part.steps for place in places if not place.store)


def _index(parts: list[Part], columns: list[str], store: str) -> Index:
    return Index(
        parts=parts,
        columns=columns,
        sequences=sum(part.sequences for part in parts),
        steps=sum(part.steps for part in parts),
        shortest=min(part.shortest for part in parts),
        longest=max(part.longest for part in parts),
        store=store,
    )


class Written(NamedTuple):
    """A part, and the columns that it has."""

    part: Part
    columns: list[str]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of parts that is being written, by one process or several.

    Attributes:
        path: where the files go, until they are in the store.
        store: see `Index`.
    """

    path: Path
    store: str = ""

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Give a file to write a part into; where a store takes its bytes, a temporary one.

        So the machine that writes it needs no more than the store.

        Raises:
            DataError: there is no store, and the folder is not on this machine.
        """
        if not self.store:
            _check_shared(self.path)
            yield self.path / name
            return
        with TemporaryDirectory(prefix="birnn-part-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary, name)

    def kept(self, path: Path, columns: list[str], lengths: npt.NDArray[np.int64]) -> Written:
        """Describe a part whose file is written, and bring it to the store if there is one.

        Args:
            path: of its file; see `file`.
            columns: that it has.
            lengths: steps of each of its sequences.

        Raises:
            DataError: the store does not take it.
        """
        part = Part(
            name=path.name,
            sha256=digests.of_bytes(path),
            size=path.stat().st_size,
            sequences=len(lengths),
            steps=int(lengths.sum()),
            shortest=int(lengths.min()),
            longest=int(lengths.max()),
        )
        if self.store:
            _put(path, self.store, part)
        return Written(part, columns)

    def finish(self, written: Sequence[Written]) -> None:
        """Write the index, once all parts are there; their order is that of the table."""
        parts, columns = [one.part for one in written], written[0].columns
        assert all(one.columns == columns for one in written)
        records.write(self.path / INDEX, _index(parts, columns, self.store))


@contextmanager
def writing(path: Path, store: str = "") -> Iterator[Folder]:
    """Give a folder to write parts into, which takes its place when the index is written.

    If the block raises, the place is as it was, and nothing is left over but what has come to the
    store, where a second try finds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.absolute().with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with atomic.naming(path, instead_of=partial):
            partial.mkdir()
            yield Folder(partial, store)
            cleared(path).unlink(missing_ok=True)
            atomic.move(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def cleared(path: Path) -> Path:
    """Remove the folder of parts that an earlier run has left where a file is to be, if it has."""
    if is_indexed(path):
        shutil.rmtree(path)
    return path


def _check_shared(folder: Path) -> None:
    """Refuse to work on a machine of a cluster that lacks the disk where parts lie."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected a folder that every machine has, found none on "
            f"{platform.node()}; let them share the disk at this path, or set run.store"
        )


def _key(part: Part) -> str:
    return f"{part.sha256}{Path(part.name).suffix}"


def _put(path: Path, store: str, part: Part) -> None:
    """Copy a file into the store, unless it is there already: a stream is whole or not there."""
    with _understood(store):
        system, root = fs.FileSystem.from_uri(store)
        there: Any = system.get_file_info(f"{root}/{_key(part)}")
        if there.size == part.size:
            return
        if system.type_name == "local":
            system.create_dir(root)
        with path.open("rb") as source, system.open_output_stream(f"{root}/{_key(part)}") as target:
            shutil.copyfileobj(source, target, addresses.COPY_BYTES)


def _understood(address: str) -> AbstractContextManager[None]:
    """Say in one line what pyarrow raises of a store, and where: each machine has its own keys."""
    what = f"a store that answers (run.store) on {platform.node()}"
    lacking = f"{address}: expected a part there (run.store), found none; run `dvc repro --force`"
    return addresses.answering(address, what, lacking=lacking)
