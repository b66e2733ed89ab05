"""Tokens letter by letter: each distinct token of a batch once, however often it occurs."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Array = TypeVar("Array")

LONGEST = 64
"""Letters of a token that are read. Longer ones are mostly addresses."""


class Spelling(NamedTuple, Generic[Array]):
    """The distinct tokens of a batch, as arrays or as tensors.

    Attributes:
        letters: (distinct, letters) int64, Unicode code points; 0 past each token's end.
        lengths: (distinct,) int64, from 1.
        places: (batch, steps) int64, which of them each step has.
    """

    letters: Array
    lengths: Array
    places: Array


def of(
    tokens: npt.NDArray[np.integer], dictionary: pa.StringArray
) -> Spelling[npt.NDArray[np.int64]]:
    """Spell the tokens of a batch.

    Args:
        tokens: (batch, steps), places in the dictionary. What spells nothing gets one letter, 0.
        dictionary: the text of each.
    """
    distinct, places = np.unique(tokens, return_inverse=True)
    names = pc.utf8_slice_codeunits(dictionary.take(pa.array(distinct)), 0, LONGEST)
    lengths = pc.utf8_length(names).to_numpy().astype(np.int64)
    real = np.arange(max(1, lengths.max())) < lengths[:, None]
    letters = np.zeros(real.shape, np.int64)
    letters[real] = np.frombuffer("".join(names.to_pylist()).encode("utf-32-le"), np.uint32)
    return Spelling(
        letters=letters,
        lengths=np.maximum(lengths, 1),
        places=places.reshape(tokens.shape),
    )
