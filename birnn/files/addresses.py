"""Users' files in a bucket: an address reads like a path, and files are fetched one at a time.

    path = addresses.place("s3://bucket/folder/a.csv")       # of a local path, a plain `Path`
    with addresses.opened(path) as file: ...                 # of a local path, the path itself
    several = addresses.place("data/train-*.parquet")        # a folder of what matches

Readers look at a file more than once, so it is copied into a temporary folder (`TMPDIR` says
where), and removed when it is read: the disk holds the largest one. Messages name the address.
Where the server is, and the keys to it, say the variables that other tools of S3 know, such as
`AWS_ENDPOINT_URL` and `AWS_ACCESS_KEY_ID`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs

from birnn.errors import DataError
from birnn.files import room
from birnn.files.reading import missing, one_line

SCHEME = "s3:"
MAGIC = {*"*?"}
"""Letters of a pattern, which only the last part of a path may have."""
COPY_BYTES = 1 << 22
BROKEN = (OSError, pa.ArrowException)
"""What pyarrow raises for a store that is not there, or does not answer."""


class Address(PosixPath):
    """A file or folder in a bucket, with the questions that readers ask of a path.

    `str` gives `s3://bucket/key`. There are folders where keys have something before a slash.
    """

    known: fs.FileInfo | None = None
    """What a listing has said of it, so that nobody need ask again."""

    def __str__(self) -> str:
        return f"{SCHEME}//{self.key}"

    def __fspath__(self) -> str:
        raise TypeError(f"{self}: expected a file that is fetched; see `opened`")

    @cached_property
    def system(self) -> fs.FileSystem:
        """What speaks with the bucket; the files of a folder share it, and its connections.

        Raises:
            OSError, pyarrow.ArrowException: nothing answers there.
        """
        bucket = self.parts[1] if len(self.parts) > 1 else ""
        return fs.FileSystem.from_uri(f"{SCHEME}//{bucket}")[0]

    @property
    def key(self) -> str:
        """The bucket and what follows, as pyarrow takes them."""
        return "/".join(self.parts[1:])

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return bool(self._info().type != fs.FileType.NotFound)

    def is_file(self) -> bool:
        """Whether there is such a file."""
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        """Whether there is such a folder."""
        return bool(self._info().type == fs.FileType.Directory)

    def iterdir(self) -> Generator[Address]:
        """Give the files and folders of a folder.

        Raises:
            DataError: the bucket does not answer.
        """
        with answering(self):
            for info in self.system.get_file_info(fs.FileSelector(self.key)):
                child = Address(f"{SCHEME}/{info.path}")
                child.known, child.system = info, self.system
                yield child

    def version(self) -> str:
        """Say which bytes there are, without reading them: the ETag that the store gives them.

        Raises:
            DataError: there is no such file, or the bucket does not answer.
        """
        with answering(self), self.system.open_input_file(self.key) as file:
            return _version(file)

    def fetched(self, folder: Path) -> Path:
        """Copy the file into a folder; the copy keeps the address for a name.

        Raises:
            DataError: there is no such file, it changes meanwhile, or the bucket does not answer.
            NoRoomError: the disk has no room for it.
        """
        path = Fetched(folder, self.name)
        path.address = str(self)
        with answering(self):
            with self.system.open_input_file(self.key) as source:
                room.check_disk(source.size(), folder, str(self), "let TMPDIR name a larger disk")
                copy(source, path)
                before = _version(source)
            with self.system.open_input_file(self.key) as source:
                if (source.size(), _version(source)) != (path.stat().st_size, before):
                    raise DataError(
                        f"{self}: expected a file that stays as it is, found that it changed while "
                        "it was read; try again"
                    )
        return path

    def _info(self) -> fs.FileInfo:
        if self.known is not None:
            return self.known
        with answering(self):
            return self.system.get_file_info(self.key)


class Fetched(PosixPath):
    """The copy of a file in a bucket: messages name the address, and whoever opens it, the copy."""

    address = ""

    def __str__(self) -> str:
        return self.address or super().__str__()

    def __fspath__(self) -> str:
        return super().__str__()


class Matching(PosixPath):
    """The files of a folder whose names match a pattern, such as `data/train-*.parquet`.

    Readers take it for a folder that holds no others.
    """

    def exists(self) -> bool:
        """Whether there are such files."""
        return any(self.iterdir())

    is_dir = exists

    def is_file(self) -> bool:
        """Never: it is several."""
        return False

    def iterdir(self) -> Generator[Any]:
        """Give the files."""
        folder = place(str(self).rpartition("/")[0])
        if folder.is_dir():
            yield from (one for one in folder.iterdir() if fnmatchcase(one.name, self.name))


class MatchingAddress(Matching, Address):
    """The same in a bucket."""


def place(path: str | Path) -> Path:
    """Read an address, a path, or a pattern; `Path` leaves one slash of an address."""
    if isinstance(path, Address | Fetched | Matching):
        return path
    found = Address(path) if is_address(path) else Path(path)
    if not MAGIC & {*found.name} or found.exists():
        return found
    return MatchingAddress(path) if isinstance(found, Address) else Matching(path)


def is_address(path: str | Path) -> bool:
    """Whether a path says that the file is in a bucket."""
    return str(path).startswith(f"{SCHEME}/")


@contextmanager
def opened(path: Path, *, folders: bool = True) -> Iterator[Path]:
    """Give a file to read: the path itself, or a copy of what lies in a bucket; a folder as it is.

    Args:
        path: to the file; see `place`.
        folders: whether the reader can read a folder too.

    Raises:
        DataError: see `Address.fetched`; or it is a folder in a bucket that nobody can read.
    """
    if not isinstance(path, Address):
        yield path
        return
    if path.is_dir():
        if not folders:
            raise DataError(f"{path}: expected a file, found a folder")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="birnn-object-", ignore_cleanup_errors=True) as folder:
        yield path.fetched(Path(folder))


@contextmanager
def answering(
    address: str | Path, what: str = "a bucket that answers", *, lacking: str = ""
) -> Iterator[None]:
    """Say in one line what pyarrow raises of a store.

    Args:
        address: in the store.
        what: was expected there.
        lacking: what to say where there is no such file; by default what is said of other files.

    Raises:
        DataError: see above.
    """
    try:
        yield
    except FileNotFoundError:
        raise DataError(lacking or missing(address)) from None
    except BROKEN as error:
        raise DataError(f"{address}: expected {what}, found: {one_line(error)}") from None


def copy(source: pa.NativeFile, path: Path) -> None:
    """Write what a store gives into a file."""
    with path.open("wb") as target:
        shutil.copyfileobj(source, target, COPY_BYTES)


def _version(file: pa.NativeFile) -> str:
    return str(file.metadata()["ETag"].decode().strip('"'))
