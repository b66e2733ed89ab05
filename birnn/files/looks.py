"""What a file is by its first bytes, where its name says something else.

    looks.of("data.csv")         # "a page of the Web; perhaps a server's answer ..."; None for data

Downloads end in a page of the Web or a pointer of Git LFS, and people rename spreadsheets.
"""

from __future__ import annotations

import codecs
from pathlib import Path

LONGEST = 32  # bytes of a sign, at least
AGAIN = "perhaps what a server answered in the place of the file; download it again"
UNPACK = "unpack it, and pack it with gzip if it is to be small"
SHEET = "open it as a spreadsheet and save the sheet as CSV"
SAVE = "open it where it was made, and save the data as CSV or Parquet"
MARKUP: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", f"a page of the Web; {AGAIN}"),
    (b"<html", f"a page of the Web; {AGAIN}"),
    (b"<?xml", f"XML; {SAVE}"),
)
"""How files begin, in small or capital letters; and what they are then, with what to do."""
SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS; run `git lfs pull`"),
    (b"outs:\n- md5:", "what DVC notes of a file; run `dvc pull`, and name the file itself"),
    (b"\x1f\x8b", "what gzip has packed; let its name end in .gz"),
    (b"PK\x03\x04", f"a spreadsheet or an archive; {SHEET}, or {UNPACK}"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"a spreadsheet; {SHEET}"),
    (b"PAR1\x15", "Parquet; let its name end in .parquet"),
    (b"ARROW1\0\0", "Arrow; let its name end in .arrow"),
    (b"\x93NUMPY", "an array of NumPy; save it by numpy.savez, with `lengths` and `labels`"),
    (b"\x89HDF\r\n\x1a\n", f"HDF5; {SAVE}"),
    (b"SQLite format 3\0", f"a database; {SAVE}"),
    (b"%PDF-", f"a PDF document; {SAVE}"),
    *((b"BZh%d1AY&SY" % size, f"a packed file; {UNPACK}") for size in range(1, 10)),
    (b"\xfd7zXZ\0", f"a packed file; {UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a packed file; {UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"a packed file; {UNPACK}"),
)
"""The same, in just these letters: a table may have columns that are called par1 and arrow1."""


def of(path: str | Path) -> str | None:
    """Say what a file is, and what to do, by its first bytes; None where its name says the same."""
    try:
        with Path(path).open("rb") as file:
            found = of_bytes(file.read(LONGEST))
    except OSError:
        return None
    return None if found and found.endswith(Path(path).suffix.lower() or "-") else found


def of_bytes(begin: bytes) -> str | None:
    """The same, of the first bytes."""
    plain = begin.removeprefix(codecs.BOM_UTF8)
    marked = [what for sign, what in MARKUP if plain.lower().startswith(sign)]
    signed = [what for sign, what in SIGNS if plain.startswith(sign)]
    return next(iter(marked + signed), None)
