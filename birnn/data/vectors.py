"""Pretrained token vectors: only those of the vocabulary are kept, and an embedding starts there.

Read from a text file as GloVe's and fastText's are (a token and its numbers on each line, `.gz`
too), or from an `.npz` with `tokens` (text) and `vectors` (a row each).
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialized

from birnn.errors import DataError, ParamsError
from birnn.files import atomic, named


class Vectors(NamedTuple):
    """Where some rows of an embedding start.

    Attributes:
        rows: (found,) int64, which rows these are; row 0 is the unknown token's.
        values: (found, width) float32.
    """

    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    @property
    def width(self) -> int:
        """Numbers of a vector; 0 where there are none."""
        return int(self.values.shape[1])


NONE = Vectors(np.zeros(0, np.int64), np.zeros((0, 0), np.float32))


def of_vocabulary(path: str | Path | None, vocabulary: Sequence[str] | None) -> Vectors:
    """Read the vectors of a vocabulary, whose first token has row 1; none without a path.

    Accents may be encoded in any way in the file; the vocabulary has them in the form NFC.

    Raises:
        ParamsError: there is a path, but no vocabulary.
        DataError: the file is missing or broken; a line has another width than the first, or what
            is no finite number; no token of the vocabulary is in it.
    """
    if path is None:
        return NONE
    if vocabulary is None:
        raise ParamsError(f"prepare.vectors: expected null without tokens, found {str(path)!r}")
    row_of = {token: row for row, token in enumerate(vocabulary, start=1)}
    read = _archived if Path(path).suffix == ".npz" else _lines
    named.check_input(path)
    try:
        found = dict(read(Path(path), row_of))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; see prepare.vectors") from None
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: expected token vectors, found {error}") from None
    if not found:
        raise DataError(f"{path}: expected a vector of a token in the vocabulary, found none")
    rows = np.array(sorted(found))
    return Vectors(rows, np.stack([found[row] for row in rows.tolist()]))


def _lines(path: Path, row_of: Mapping[str, int]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The vectors that are wanted; a first line that says how many there are is passed over."""
    width = 0
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            fields = line.decode().rstrip().split(" ")
            if number == 1 and len(fields) == 2:
                continue
            width = width or len(fields) - 1
            token = " ".join(fields[:-width])
            if not token:
                raise DataError(
                    f"{path}, line {number}: expected a token and {width} numbers as before, "
                    f"found {len(fields) - 1}"
                )
            if (row := row_of.get(normalize("NFC", token))) is not None:
                yield row, _numbers(fields[-width:], f"{path}, line {number}")


def _archived(
    path: Path, row_of: Mapping[str, int]
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        tokens, vectors = archive["tokens"].tolist(), archive["vectors"]
    if vectors.ndim != 2 or len(tokens) != len(vectors) or not vectors.shape[1]:
        raise ValueError(f"{len(tokens)} tokens and vectors of the shape {vectors.shape}")
    for number, (token, vector) in enumerate(zip(tokens, vectors, strict=True)):
        if (row := row_of.get(normalize("NFC", token))) is not None:
            yield row, _numbers(vector, f"{path}, token {number}")


def _numbers(fields: Any, where: str) -> npt.NDArray[np.float32]:
    try:
        vector = np.array(fields, np.float32)
    except ValueError as error:
        raise DataError(f"{where}: expected numbers, found: {error}") from None
    if not np.isfinite(vector).all():
        raise DataError(f"{where}: expected finite numbers, found NaN or infinity")
    return vector


def write(vectors: Vectors, path: str | Path) -> None:
    """Keep them for `train`, whole or not at all."""
    with atomic.replacing(path) as partial:
        partial.write_bytes(serialized(vectors._asdict()))


def load(path: str | Path) -> Vectors:
    """Read what `write` has written.

    Raises:
        DataError: the file is missing or broken.
    """
    try:
        return Vectors(**load_file(path))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    except (OSError, SafetensorError, TypeError) as error:
        raise DataError(f"{path}: expected prepared vectors, found {error}") from None
