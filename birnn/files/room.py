"""Whether there is room for what is to be done, said before it begins.

check_memory(60 * 10**9, "data: 10,000 features", "lower data.features")
check_disk(2 * 10**12, "data/raw", "data: 1,000,000,000 sequences", "lower data.sequences")
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from birnn.errors import BirnnError

GROUP = Path("/sys/fs/cgroup")
GIGA = 10**9
LEAST = GIGA // 4  # bytes; less than that is not worth a look


class NoRoomError(BirnnError):
    """Something needs more memory or disk than there is."""


def memory() -> int:
    """Bytes of memory that are free here; of a container, what its limit leaves."""
    import psutil

    free = [int(psutil.virtual_memory().available)]
    with suppress(OSError, ValueError):  # there is no limit, or no such file
        limit = int((GROUP / "memory.max").read_text(encoding="ascii"))
        free.append(limit - int((GROUP / "memory.current").read_text(encoding="ascii")))
    return max(0, min(free))


def disk(folder: str | Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    place = Path(folder).absolute()
    there = next(one for one in (place, *place.parents) if one.exists())
    return shutil.disk_usage(there).free


def check_memory(needed: int, what: str, advice: str) -> None:
    """Refuse what needs more memory than there is.

    Args:
        needed: bytes, about.
        what: that needs them.
        advice: what to do about it.

    Raises:
        NoRoomError: there is less.
    """
    if needed > LEAST and needed > (here := memory()):
        raise NoRoomError(_sentence(what, "memory", needed, here, advice))


def check_disk(needed: int, folder: str | Path, what: str, advice: str) -> None:
    """Refuse what needs more room on a disk than there is; see `check_memory`.

    Args:
        needed: bytes, about.
        folder: that they are written to.
        what: that needs them.
        advice: what to do about it.
    """
    if needed > LEAST and needed > (here := disk(folder)):
        raise NoRoomError(_sentence(what, f"disk in {folder}", needed, here, advice))


def _sentence(what: str, kind: str, needed: int, here: int, advice: str) -> str:
    sizes = f"needs about {_giga(needed)} GB of {kind}; {_giga(here)} are here"
    return f"{what}: expected what has room, found that it {sizes}; {advice}"


def _giga(size: int) -> str:
    """Of large numbers all digits before the point, of small ones one behind it."""
    return f"{size / GIGA:,.0f}" if size >= 10 * GIGA else f"{size / GIGA:.1f}"
