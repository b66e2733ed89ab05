"""What lies in the buckets that params name: a list of files, by which DVC sees that data changed.

    listing.write(data)        # data/external/objects.csv, on which stages depend
    listing.check(data)        # is it still so?

A file's version is the ETag that the store gives to its bytes. The list has no keys to the store.
"""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from birnn.errors import DataError
from birnn.files import addresses, atomic, reading
from birnn.files.addresses import Address
from birnn.params import Data, TableData, TextData
from birnn.sources import folders, ingestion

PATH = Path("data/external/objects.csv")
HEADER = ("address", "version")
ASKED_AT_ONCE = 16


def write(data: Data) -> None:
    """Write the list, which is empty where nothing lies in a bucket.

    Raises:
        DataError: a file is not there, or a bucket does not answer.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *_listed(data)])
    atomic.write_text(PATH, text.getvalue())


def check(data: Data) -> None:
    """Refuse data in a bucket that are not those of the list, on which the result would depend.

    Raises:
        DataError: names a file that differs; or see `write`.
    """
    if not in_buckets(data):
        return
    if not PATH.exists():
        raise DataError(
            f"{PATH}: expected a list of the files in {ingestion.name(data)}, found none; run "
            "`birnn objects`"
        )
    with PATH.open(encoding="utf-8", newline="") as file:
        found = [(row[0], row[-1]) for row in [*csv.reader(file)][1:] if row]
    others = sorted({name for name, _ in {*found} ^ {*_listed(data)}})
    if others:
        raise DataError(
            f"{PATH}: expected the files as they are in {ingestion.name(data)}, found "
            f"{len(others)} to differ, the first {others[0]}; run `birnn objects`, or `dvc repro`"
        )


def in_buckets(data: Data) -> list[Address]:
    """The files and folders of the data that are in buckets."""
    places = map(addresses.place, ingestion.paths_of(data))
    return [one for one in places if isinstance(one, Address)]


def _listed(data: Data) -> list[tuple[str, str]]:
    """The address and version of each file, in order."""
    deep = isinstance(data, TableData | TextData) and data.folders is not None
    files = {file for one in in_buckets(data) for file in _files(one, deep=deep)}
    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
        return sorted(zip(map(str, files), threads.map(Address.version, files), strict=True))


def _files(address: Address, *, deep: bool) -> list[Address]:
    found: list[Path] = [address]
    if address.is_dir():
        inner = folders.within(address) if deep else []
        found = reading.parts(address) + [one for folder in inner for one in reading.parts(folder)]
    return [one for one in found if isinstance(one, Address) and not one.is_dir()]
