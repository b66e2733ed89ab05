"""What a file is by its first bytes, where its name says something else.

    looks.of("data.csv")         # "a page of the Web; perhaps a server's answer ..."; None for data

Downloads end in a page of the Web or a pointer of Git LFS, and people rename spreadsheets.
"""

from __future__ import annotations

from pathlib import Path

LONGEST = 32  # bytes of a sign, at least
AGAIN = "perhaps what a server answered in the place of the file; download it again"
UNPACK = "unpack it, and pack it with gzip if it is to be small"
SHEET = "open it as a spreadsheet and save the sheet as CSV"
SAVE = "open it where it was made, and save the data as CSV or Parquet"
SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS; run `git lfs pull`"),
    (b"outs:\n- md5:", "what DVC notes of a file; run `dvc pull`, and name the file itself"),
    (b"<!doctype html", f"a page of the Web; {AGAIN}"),
    (b"<html", f"a page of the Web; {AGAIN}"),
    (b"<?xml", f"XML; {SAVE}"),
    (b"\x1f\x8b", "what gzip has packed; let its name end in .gz"),
    (b"pk\x03\x04", f"a spreadsheet or an archive; {SHEET}, or {UNPACK}"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"a spreadsheet; {SHEET}"),
    (b"par1", "Parquet; let its name end in .parquet"),
    (b"arrow1", "Arrow; let its name end in .arrow"),
    (b"\x93numpy", "an array of NumPy; save it by numpy.savez, with `lengths` and `labels`"),
    (b"\x89hdf\r\n\x1a\n", f"HDF5; {SAVE}"),
    (b"sqlite format 3\0", f"a database; {SAVE}"),
    (b"%pdf-", f"a PDF document; {SAVE}"),
    (b"bzh", f"a packed file; {UNPACK}"),
    (b"\xfd7zxz\0", f"a packed file; {UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a packed file; {UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"a packed file; {UNPACK}"),
)
"""How files begin, in small letters; and what they are then, with what to do."""


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
    small = begin.removeprefix(b"\xef\xbb\xbf").lower()
    return next((what for sign, what in SIGNS if small.startswith(sign)), None)
