"""Pretrained token vectors: only those of the vocabulary are kept, and an embedding starts there.

Read from a text file as GloVe's and fastText's are (a token and its numbers on each line, `.gz`
too), or from an `.npz` with `tokens` (text) and `vectors` (a row each).
"""

from __future__ import annotations

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
from birnn.files import addresses, atomic, bounds, named, reading


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


class Found(NamedTuple):
    """What a file of vectors has for a vocabulary.

    Attributes:
        vectors: of its tokens.
        hidden: (tokens,) int64, the rows of those that the file has in another case alone.
    """

    vectors: Vectors
    hidden: npt.NDArray[np.int64]


def look_up(path: str | Path | None, vocabulary: Sequence[str] | None) -> Found:
    """Look a vocabulary up, whose first token has row 1; without a path, nothing is found.

    The file may lie in a bucket. Accents may be encoded in any way in it; the vocabulary has them
    in the form NFC.

    Raises:
        ParamsError: there is a path, but no vocabulary.
        DataError: the file is missing or broken; a line has another width than the first, or what
            is no finite number; no token of the vocabulary is in it.
    """
    if path is None:
        return Found(NONE, np.zeros(0, np.int64))
    if vocabulary is None:
        raise ParamsError(f"prepare.vectors: expected null without tokens, found {str(path)!r}")
    row_of = {token: row for row, token in enumerate(vocabulary, start=1)}
    others = _other_cases(vocabulary)
    spellings = {name: -number for number, name in enumerate(others, start=1)} | row_of
    read = _archived if Path(path).suffix == ".npz" else _lines
    named.check_input(path)
    try:
        with addresses.opened(addresses.place(path), folders=False) as file:
            found = dict(read(file, spellings))
    except FileNotFoundError:
        raise DataError(f"{reading.missing(path)}; or set prepare.vectors to null") from None
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: expected token vectors, found {error}") from None
    rows = np.array(sorted(row for row in found if row > 0), np.int64)
    alike = [rows_of for name, rows_of in others.items() if spellings[name] in found]
    hidden = np.setdiff1d(np.array([row for rows_of in alike for row in rows_of], np.int64), rows)
    if not len(rows):
        hint = "; it has some in another case: change prepare.lowercase" if len(hidden) else ""
        raise DataError(f"{path}: expected a vector of a token in the vocabulary, found none{hint}")
    return Found(Vectors(rows, np.stack([found[row] for row in rows.tolist()])), hidden)


def _other_cases(vocabulary: Sequence[str]) -> dict[str, list[int]]:
    """The rows of the tokens that each spelling in another case could stand for."""
    found: dict[str, list[int]] = {}
    for row, token in enumerate(vocabulary, start=1):
        for other in {token.lower(), token.capitalize(), token.upper()} - {token}:
            found.setdefault(other, []).append(row)
    return found


def notes(
    path: str | None, found: Found, counts: npt.NDArray[np.int64] | None, *, lowercase: bool
) -> Iterator[str]:
    """Say how much of the training data has vectors, a line each; nothing without a file.

    Args:
        path: of the file.
        found: what is in it.
        counts: (1 + tokens,) how often each row of the vocabulary occurs; the first is the unknown.
        lowercase: whether tokens are read in lower case.
    """
    if path is None or counts is None:
        return
    rows, steps = found.vectors.rows, max(int(counts.sum()), 1)
    known = int(counts[rows].sum())
    yield (
        f"{path}: {len(rows):,} of {len(counts) - 1:,} tokens have vectors, {known:,} of {steps:,} "
        f"steps of train ({100 * known / steps:.1f} %)"
    )
    if len(found.hidden):
        share = 100 * int(counts[found.hidden].sum()) / steps
        mend = "false, since the file tells cases apart" if lowercase else "true"
        yield (
            f"{path}: {len(found.hidden):,} tokens more ({share:.1f} % of the steps) are there in "
            f"another case: set prepare.lowercase to {mend}"
        )


def width_note(path: str | None, vectors: Vectors, embedding_size: int) -> Iterator[str]:
    """Say that `model.embedding_size` gives way to the width of the vectors, where it does."""
    width = vectors.width
    if width and width != embedding_size:
        yield (
            f"{path}: its vectors have {width} numbers, to which model.embedding_size "
            f"({embedding_size}) gives way"
        )


def _lines(path: Path, row_of: Mapping[str, int]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The vectors that are wanted; a first line that says how many there are is passed over."""
    width = 0
    with bounds.opened(path) as file:
        for number, line in enumerate(bounds.whole_lines(file, path), start=1):
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
    bounds.check_archive(path)
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
