"""What lies in the buckets that params name: a list of files, by which DVC sees that data changed.

    listing.write(paths)       # data/external/objects.csv, on which stages depend
    listing.check(paths)       # is it still so?

A file's version is the ETag that the store gives to its bytes. The list has no keys to the store.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from birnn.errors import DataError
from birnn.files import addresses, atomic, reading
from birnn.files.addresses import Address, MatchingAddress

PATH = Path("data/external/objects.csv")
HEADER = ("address", "version")
ASKED_AT_ONCE = 16


def write(paths: Iterable[str]) -> None:
    """Write the list, which is empty where nothing lies in a bucket.

    Args:
        paths: files and folders, of which some lie in buckets.

    Raises:
        DataError: a file is not there, or a bucket does not answer.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *_listed(in_buckets(paths))])
    atomic.write_text(PATH, text.getvalue())


def check(paths: Iterable[str]) -> None:
    """Refuse files in a bucket that are not those of the list, on which the result would depend.

    Args:
        paths: files and folders that a stage reads; the list may have others too.

    Raises:
        DataError: names a file that differs; or see `write`.
    """
    wanted = in_buckets(paths)
    if not wanted:
        return
    where = ", ".join(map(str, wanted))
    if not PATH.exists():
        raise DataError(
            f"{PATH}: expected a list of the files in {where}, found none; run `birnn objects`"
        )
    with PATH.open(encoding="utf-8", newline="") as file:
        listed = [(row[0], row[-1]) for row in [*csv.reader(file)][1:] if row]
    found = {(name, version) for name, version in listed if _lies_in(name, wanted)}
    others = sorted({name for name, _ in found ^ {*_listed(wanted)}})
    if others:
        raise DataError(
            f"{PATH}: expected the files as they are in {where}, found {len(others)} to differ, "
            f"the first {others[0]}; run `birnn objects`, or `dvc repro`"
        )


def in_buckets(paths: Iterable[str]) -> list[Address]:
    """Those files and folders that are in buckets."""
    return [one for one in map(addresses.place, paths) if isinstance(one, Address)]


def _lies_in(name: str, wanted: Iterable[Address]) -> bool:
    return any(
        fnmatchcase(name, str(one))
        if isinstance(one, MatchingAddress)
        else name == str(one) or name.startswith(f"{one}/")
        for one in wanted
    )


def _listed(wanted: Iterable[Address]) -> list[tuple[str, str]]:
    """The address and version of each file, in order."""
    files = {file for one in wanted for file in _files(one)}
    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
        return sorted(zip(map(str, files), threads.map(Address.version, files), strict=True))


def _files(address: Address) -> list[Address]:
    found = reading.parts(address) if address.is_dir() else [address]
    return [one for one in found if isinstance(one, Address) and not one.is_dir()]
