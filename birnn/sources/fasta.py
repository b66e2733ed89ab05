"""Sequences of letters from FASTA files: DNA, RNA or proteins, as letters or k-mers.

The format: https://blast.ncbi.nlm.nih.gov/doc/blast-topics/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from birnn.errors import DataError
from birnn.files import addresses, timed
from birnn.files.reading import Skipped, fields, lines, one_line
from birnn.params import FastaData
from birnn.sources import roles

MOST_SECONDS = 10.0  # to find the class in a header; usual: a millionth
ENDLESS = (
    f"expected data.label_pattern to find the class within {MOST_SECONDS:.0f} seconds, found that "
    "it takes longer; let no repetition stand in another, as in (a+)+"
)
NAMED, LOOKED_AT = re.compile(r"\b(\w+)=([^\s|;,]+)"), 1000  # headers
PIECE = 1 << 18  # letters that are handled at a time
LETTERS = re.compile(r"[A-Za-z*.-]*")
LAST_FIELD = r"[|\s]([^|\s]+)\s*$"
"""By default the class is the header's last field, after a bar or a blank."""


class Piece(NamedTuple):
    """Some letters of a record, which begin and end with one of its k-mers."""

    id: str
    label: str | None
    letters: bytes


def read(
    data: FastaData,
    path: str | Path,
    *,
    labelled: bool = True,
    skipped: Skipped | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream the records of one file, in capitals.

    The id is the header's first word, without the label if that is part of it.

    Args:
        data: says where classes are found, and how letters become tokens. Letters at the end that
            are too few for a token are left out.
        path: the file, perhaps `.gz`.
        labelled: whether there are classes. If not, what they would be is part of the id.
        skipped: counts comments.

    Raises:
        DataError: names the line that is no header and holds something else than letters, the
            header without a class, or the record without enough letters or with another's id.
    """
    labels = None if data.labels is None else read_labels(data.labels)
    pattern = re.compile(data.label_pattern or LAST_FIELD) if labelled else None
    kmer, stride = data.kmer, data.stride
    reader = _Reader(path, labels, pattern, kmer, stride)
    held: list[Piece] = []
    letters = 0
    for piece in reader.pieces(skipped or Skipped()):
        held.append(piece)
        letters += len(piece.letters)
        if letters >= PIECE:
            yield _batch(held, kmer, stride)
            held, letters = [], 0
    if held:
        yield _batch(held, kmer, stride)


def read_labels(path: str | Path) -> dict[str, str]:
    """Read a CSV or TSV table with the columns `sequence` and `label`, which may be empty.

    Raises:
        DataError: a column is missing, or a sequence has two labels.
    """
    with addresses.opened(addresses.place(path)) as file:
        return _labels(file)


def _labels(path: Path) -> dict[str, str]:
    rows = fields(path, skipped=Skipped())
    _, header = next(rows, (0, []))
    if header.count("sequence") != 1 or header.count("label") != 1:
        found = one_line(", ".join(header)) if header else "nothing"
        raise DataError(f"{path}: expected one column `sequence` and one `label`, found {found}")
    labels: dict[str, str] = {}
    for line, row in rows:
        name, label = row[header.index("sequence")], row[header.index("label")]
        if labels.setdefault(name, label) != label:
            raise DataError(
                f"{path}, line {line}, column `label`: expected {labels[name]!r} again for "
                f"{name!r}, found {label!r}"
            )
    return labels


def pattern_of(path: Path) -> str | None:
    """The pattern of a class that has a name before it in each header, such as `class=gene`.

    Args:
        path: the file, of which the first headers are looked at.
    """
    headers = islice((line[1:] for line in lines(path) if line.startswith(">")), LOOKED_AT)
    several = [dict(NAMED.findall(header)) for header in headers]
    for name in several[0] if several else ():
        called = roles.is_called_label(roles.Column(name, []))
        if called and all(name in found for found in several):
            return rf"\b{name}=([^\s|;,]+)"
    return None


class _Reader:
    """The record that is being read."""

    def __init__(
        self,
        path: str | Path,
        labels: Mapping[str, str] | None,
        pattern: re.Pattern[str] | None,
        kmer: int,
        stride: int,
    ) -> None:
        self.path, self.labels, self.pattern = path, labels, pattern
        self.kmer, self.stride = kmer, stride
        self.id, self.place = "", ""
        self.label: str | None = None
        self.letters = bytearray()
        self.begun = False  # whether a piece of the record was given
        self.skip = 0  # letters between the last token of that piece and the next

    def pieces(self, skipped: Skipped) -> Iterator[Piece]:
        """Cut each record into pieces."""
        for number, text in enumerate(lines(self.path), 1):
            place, line = f"{self.path}, line {number}", text.strip()
            if line.startswith(">"):
                yield from self._rest()
                self._begin(line[1:].strip(), place)
            elif line.startswith(";"):
                skipped.add("comments", place)
            elif line:
                self._add(line, place, skipped)
                if len(self.letters) >= max(PIECE, self.kmer):
                    yield self._piece()
        yield from self._rest()

    def _begin(self, header: str, place: str) -> None:
        last = self.id
        self.id, self.label = self._names(header, place)
        if self.id == last:
            raise DataError(f"{place}: expected another id than that of the record before: {last}")
        self.place, self.begun, self.skip = place, False, 0
        self.letters.clear()

    def _names(self, header: str, place: str) -> tuple[str, str | None]:
        """The id and the class."""
        words = header.split()
        if not words:
            raise DataError(f"{place}: expected an id after `>`, found nothing")
        if self.pattern is None:
            return words[0], None
        if self.labels is not None:
            if words[0] not in self.labels:
                raise DataError(
                    f"{place}: expected a label of {words[0]!r} in data.labels; an empty one will "
                    "do where none is known"
                )
            return words[0], self.labels[words[0]]
        with timed.limit(MOST_SECONDS, lambda: f"{place}: {ENDLESS}"):
            found = self.pattern.search(header)
        if found is None or not found[1]:
            raise DataError(
                f"{place}: expected a class in the header, found {header[:60]!r}; "
                "set data.label_pattern or data.labels"
            )
        before = header[: found.start(1)].rstrip("| \t").split()
        return (before or words)[0], found[1]

    def _add(self, line: str, place: str, skipped: Skipped) -> None:
        if not self.id:
            raise DataError(f"{place}: expected a header that begins with `>`, found {line[:60]!r}")
        letters = "".join(line.split())
        good = LETTERS.match(letters)
        if good is None or good.end() < len(letters):
            found = letters[good.end() if good else 0]
            raise DataError(f"{place}: expected letters, found {found!r}")
        capitals = letters.upper()
        if capitals != letters:
            count = sum(map(str.islower, letters))
            skipped.change("small letters, to capital ones", place, count)
        self.letters += capitals.encode()
        left_out = min(self.skip, len(self.letters))
        del self.letters[:left_out]
        self.skip -= left_out

    def _piece(self) -> Piece:
        """Give the letters that are held, up to the end of a k-mer."""
        number = (len(self.letters) - self.kmer) // self.stride + 1
        piece = bytes(self.letters[: (number - 1) * self.stride + self.kmer])
        self.begun, self.skip = True, max(0, number * self.stride - len(self.letters))
        del self.letters[: number * self.stride]
        return Piece(self.id, self.label, piece)

    def _rest(self) -> Iterator[Piece]:
        if len(self.letters) >= self.kmer:
            yield self._piece()
        elif self.id and not self.begun:
            raise DataError(
                f"{self.place}: expected at least {self.kmer} letters in {self.id!r}, "
                f"found {len(self.letters)}"
            )


def _batch(pieces: list[Piece], kmer: int, stride: int) -> pa.RecordBatch:
    letters = np.frombuffer(b"".join(piece.letters for piece in pieces), np.uint8)
    sizes = np.array([len(piece.letters) for piece in pieces])
    counts = (sizes - kmer) // stride + 1
    rows = np.repeat(np.arange(len(pieces)), counts)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = (np.cumsum(sizes) - sizes)[rows] + number * stride
    tokens = letters[starts[:, None] + np.arange(kmer)]
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * kmer
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(tokens))]
    columns = {
        "sequence": pa.array([piece.id for piece in pieces]).take(pa.array(rows)),
        "token": pa.Array.from_buffers(pa.string(), len(rows), buffers),
    }
    if pieces[0].label is not None:
        columns["label"] = pa.array([piece.label for piece in pieces]).take(pa.array(rows))
    return pa.RecordBatch.from_pydict(columns)
