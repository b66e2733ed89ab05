"""Locks of the operating system, which it lets go of however a process ends.

    with held(".birnn/store.lock"): ...

Only the user whose file it is can hold one: whoever may open a file, for reading alone, could keep
it locked for ever. There is no other kind of lock where a file system has none, because a file that
stands for a lock stays behind when its process dies, and nobody can tell then who holds it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from birnn.errors import BirnnError

PRIVATE = 0o600
MISSING = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
"""What the system says where a file system has no locks, or its server for them does not answer."""


class NoLocksError(BirnnError):
    """The file system has no locks."""


def acquired(path: str | Path, timeout: float = -1) -> FileLock:
    """Take a lock, which the caller lets go of.

    Args:
        path: its file, which is made.
        timeout: seconds to wait for who holds it; for ever where negative.

    Raises:
        filelock.Timeout: another holds it.
        NoLocksError: the file system has no locks.
        OSError: the file is another user's, or cannot be made.
    """
    path = Path(path)
    with suppress(OSError):  # it is not there yet, or another user's, which is said below
        if path.stat().st_mode & 0o077:  # made by an earlier version
            path.chmod(PRIVATE)
    lock = FileLock(path, timeout=timeout, mode=PRIVATE, fallback_to_soft=False)
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        if not isinstance(error, NotImplementedError) and error.errno not in MISSING:
            raise
        said = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
        raise NoLocksError(
            f"{path}: expected a file system with locks (flock), found none: {said}; move the "
            "checkout to a local disk, or have locks turned on where the file system is mounted"
        ) from None
    return lock


@contextmanager
def held(path: str | Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock for the block; see `acquired`."""
    lock = acquired(path, timeout)
    try:
        yield
    finally:
        lock.release()
