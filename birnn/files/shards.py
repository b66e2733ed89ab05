"""Shards: the files that hold one split, as `train-00000-of-00002.parquet` says by its name.

files = ordered(folder, paths)                # in the order of their numbers, and none missing
pattern(["train-00000-of-00002.parquet", ...])     # "train-*.parquet"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from birnn.errors import DataError

NAME = re.compile(r"(?P<stem>.*?)[-_.]?(?P<number>\d+)-of-(?P<count>\d+)(?P<rest>\D.*|)")
HASH = re.compile(r"-[0-9a-f]{16}(?=\.|$)")
"""What older versions of Hugging Face's library put behind the numbers."""


class Shard(NamedTuple):
    """What a file's name says: of what, the how manieth of how many, and its ending."""

    stem: str
    number: int
    many: int
    ending: str


def of_name(name: str) -> Shard | None:
    """Read a file's name; None where it is that of no shard."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    ending = HASH.sub("", found["rest"])
    return Shard(found["stem"], int(found["number"]), int(found["count"]), ending)


def ordered(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """Sort files by their names, and shards by their numbers.

    Args:
        folder: what to call it in messages.
        paths: all that lie in it.

    Raises:
        DataError: a shard is missing, or there are shards of one thing cut in two ways.
    """
    found = {path: of_name(path.name) for path in paths}
    named: dict[tuple[str, str], dict[Path, Shard]] = {}
    for path, shard in found.items():
        if shard is not None:
            named.setdefault((shard.stem, shard.ending), {})[path] = shard
    for shards in named.values():
        _check_whole(folder, shards)

    def place(path: Path) -> tuple[str, int, str]:
        shard = found[path]
        return (path.name, 0, "") if shard is None else (shard.stem, shard.number, path.name)

    return sorted(found, key=place) if named else sorted(found)


def _check_whole(folder: Path, shards: dict[Path, Shard]) -> None:
    path, one = next(iter(shards.items()))
    counts = sorted({shard.many for shard in shards.values()})
    if len(counts) > 1:
        raise DataError(
            f"{folder}: expected shards of one number, found {counts[0]} and {counts[1]} of "
            f"{one.stem or path.name}; keep those of one version"
        )
    numbers = {shard.number for shard in shards.values()}
    first = 1 if one.many in numbers and 0 not in numbers else 0
    lost = [number for number in range(first, one.many + first) if number not in numbers]
    if lost:
        digits = re.search(r"\d+(?=-of-)", path.name)
        width = len(digits[0]) if digits else 1
        name = re.sub(r"\d+(?=-of-)", f"{lost[0]:0{width}d}", HASH.sub("", path.name), count=1)
        raise DataError(
            f"{folder}: expected {name} among its shards, found {len(numbers)} of {one.many}; "
            "fetch what is missing"
        )


def pattern(names: Sequence[str]) -> str | None:
    """Give the pattern that all names of shards match; None where they are no shards of one."""
    found = [of_name(name) for name in names]
    some = {(one.stem, one.ending) if one else None for one in found}
    if len(some) != 1 or None in some or not found[0]:
        return None
    stem, ending = found[0].stem, found[0].ending
    return f"{stem}{names[0][len(stem)]}*{ending}"
