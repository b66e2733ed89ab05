"""What is taken of each sequence, to find what it has in common with others; see `copies`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data import fingerprints, near_copies, near_texts
from birnn.data.fingerprints import Ints, Letters, Runs
from birnn.data.near_copies import Sketches
from birnn.data.near_texts import Rare
from birnn.data.sequences import Sequences
from birnn.files.hashing import Hashes


class Look(NamedTuple):
    """How to look at sequences: letters of runs of steps and of shapes, and as `Texts` say."""

    run: int
    shape_run: int
    factor: npt.NDArray[np.float32]
    longest: int
    frequency: near_texts.Counts


class Prints(NamedTuple):
    """What is taken of each of S sequences; `bags` are the sketches of tokens, (S, 4)."""

    exact: Hashes
    letters: Ints
    shape_letters: Ints
    runs: Runs
    shape_runs: Runs
    sketches: Sketches
    bags: Hashes
    rare: Rare


def of(split: Sequences, look: Look) -> Prints:
    """Look once at every step."""
    parts = list(in_blocks(split, look))
    first = np.concatenate([[0], np.cumsum([len(part.exact) for part in parts])])
    columns = list(zip(*parts, strict=True))
    parts.clear()  # what is joined is let go of, one print after the other
    return Prints(*(_joined(columns.pop(0), first) for _ in Prints._fields))


def in_blocks(split: Sequences, look: Look) -> Iterator[Prints]:
    """The same of some sequences at a time; owners count from the first of a block on."""
    codes = split.token_codes()
    for rows, bounds in fingerprints.blocks(split):
        yield _of_block(split, rows, bounds, codes, look)


def _of_block(
    split: Sequences, rows: slice, bounds: Ints, codes: Hashes | None, look: Look
) -> Prints:
    steps = fingerprints.of_steps(split, rows, codes)
    text, values = fingerprints.letters(steps, bounds), split.values[rows]
    shapes = Letters(steps[:0], np.zeros_like(bounds))
    if values.shape[1]:
        shapes = fingerprints.letters(fingerprints.of_shapes(values, steps, bounds), bounds)
    bags, rare = np.zeros((len(bounds) - 1, 0), np.uint64), Rare(steps[:0], bounds[:0])
    if codes is not None and len(look.frequency):
        phrases = near_texts.phrases(text, look.longest)
        bags = near_texts.sketch(phrases, look.frequency)
        rare = near_texts.rarest(phrases, look.frequency)
    numbers = values if codes is None else values[:, :0]
    return Prints(
        exact=fingerprints.exact(steps, bounds),
        letters=fingerprints.telling(text).astype(np.int32),
        shape_letters=fingerprints.telling(shapes).astype(np.int32),
        runs=_runs(text, look.run),
        shape_runs=_runs(shapes, look.shape_run),
        sketches=near_copies.sketch(numbers, bounds, look.factor),
        bags=bags,
        rare=rare,
    )


def _runs(text: Letters, length: int) -> Runs:
    none = Runs(text.codes[:0], text.offsets[:0])
    return fingerprints.runs(text, length) if length and len(text.codes) else none


def _joined(column: tuple[Any, ...], first: Ints) -> Any:
    """Put the same print of all blocks together; owners count from the first block on."""
    kind: Any = type(column[0])
    if kind is np.ndarray:
        return np.concatenate(column)
    parts = [one._asdict() for one in column]
    for part, start in zip(parts, first, strict=False):
        if "owner" in part:
            part["owner"] = part["owner"] + start
    return kind(*(np.concatenate([part[name] for part in parts]) for name in kind._fields))
