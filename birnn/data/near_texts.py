"""Sequences of tokens that are equal but for a few tokens, found in linear time.

A sequence is compared by its *phrases*: runs of so many letters that independent sequences seldom
have one in common, and runs of one letter less. A phrase counts by how rare it is (Sparck Jones,
A Statistical Interpretation of Term Specificity, 1972). Of two such weighted bags, the signs of a
random projection differ with the chance angle / pi; see `birnn.data.near_copies`, by which also is
measured how small the angle must be.

A sequence is compared with those training sequences that have one of its rarest phrases: of a copy
in which a few tokens are others, most of the rare ones are the original's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from birnn.data import near_copies
from birnn.data.chance import Chance
from birnn.data.fingerprints import Ints, Letters
from birnn.data.near_copies import BITS, Natural
from birnn.files.hashing import Hashes, mixed

WIDEST = 60
"""Signs that differ, up to which sequences are near copies: 42 degrees, a cosine of 0.74."""
LEAST_LETTERS = 8  # fewer are equal, or nearly so, by chance
SHARED = 0.1  # phrases that independent sequences have in common on average, or fewer
RAREST = 8  # phrases of a sequence, by which it is looked up
TABLE, COLUMNS = 18, 14  # bits of a phrase's number: where it is counted, and in a projection
MOST = 20  # bits of how often a phrase occurs, as far as its key says so

_NONE = np.uint64(2**64 - 1)

Counts = npt.NDArray[np.uint32]


class Phrases(NamedTuple):
    """Numbers of phrases that begin at each of N letters, `codes` (2, N) uint64: longer, shorter.

    `offsets` (S + 1,) say where each sequence begins.
    """

    codes: Hashes
    offsets: Ints


class Rare(NamedTuple):
    """Keys of the rarest phrases, `keys` (R,) uint64, and whose they are, `owner` (R,)."""

    keys: Hashes
    owner: Ints


class Texts(NamedTuple):
    """What is remembered of S training sequences of tokens; empty arrays for others.

    Attributes:
        longest: letters of the longer phrases.
        frequency: (2 ** TABLE,) how often a phrase occurs, by its number.
        natural: how far independent sequences are apart.
        signs: (S, 4) uint64, the sketch of each sequence.
        rare: different rare phrases, in order, and a sequence with each.
    """

    longest: int
    frequency: Counts
    natural: Natural
    signs: Hashes
    rare: Rare


def nothing() -> Texts:
    """What is remembered of sequences without tokens."""
    none = np.zeros(0, np.uint64)
    natural = Natural(*np.zeros((3, 1)))
    rare = Rare(none, none.astype(np.int64))
    return Texts(1, np.zeros(0, np.uint32), natural, none.reshape(0, 4), rare)


def longest(likely: Chance, letters: float) -> int:
    """Say of how many letters phrases are, where sequences have so many on average."""
    following = min(max(likely.following, 1e-9), 0.9)
    return max(2, math.ceil(math.log(SHARED / max(letters, 1)) / math.log(following)))


def phrases(text: Letters, longest: int) -> Phrases:
    """Number the phrases at all letters; those at the end of a sequence are shorter."""
    codes, offsets = text
    sizes = np.diff(offsets)
    ahead = np.repeat(offsets[1:], sizes) - np.arange(len(codes))
    found, shorter = codes, codes
    for step in range(1, longest):
        shorter = found
        following = np.append(codes[step:], np.zeros(min(step, len(codes)), np.uint64))
        found = np.where(ahead > step, mixed(found + mixed(following + np.uint64(step))), found)
    return Phrases(np.stack([found, shorter]), offsets)


def frequency(of: Phrases) -> Counts:
    """Count how often phrases occur, (2 ** TABLE,)."""
    return np.bincount(_place(of.codes).ravel(), minlength=1 << TABLE).astype(np.uint32)


def _place(codes: Hashes) -> Ints:
    return (codes >> np.uint64(64 - TABLE)).astype(np.int64)


def sketch(of: Phrases, counts: Counts) -> Hashes:
    """Sketch what sequences hold, (S, 4) uint64.

    Args:
        of: their phrases.
        counts: see `frequency`; the most frequent phrase counts nearly nothing.
    """
    weight = np.log((1.0 + counts.max()) / np.maximum(counts[_place(of.codes)], 1))
    column = (of.codes & np.uint64((1 << COLUMNS) - 1)).astype(np.int32)
    shape = len(of.offsets) - 1, 1 << COLUMNS
    bags = [
        csr_array((side.astype(np.float32), place, of.offsets), shape=shape)
        for side, place in zip(weight, column, strict=True)
    ]
    return near_copies.signs(bags, COLUMNS)


def rarest(of: Phrases, counts: Counts) -> Rare:
    """The rarest longer phrases of each sequence, of those that training sequences have."""
    codes, times = of.codes[0], counts[_place(of.codes[0])].astype(np.uint64)
    most = np.uint64((1 << MOST) - 1)
    keys = (np.minimum(times, most) << np.uint64(64 - MOST)) | (codes >> np.uint64(MOST))
    keys[times == 0] = _NONE
    sizes = np.diff(of.offsets)
    found = np.empty((len(sizes), RAREST), np.uint64)
    for place in range(RAREST):
        least = found[:, place] = np.minimum.reduceat(keys, of.offsets[:-1])
        keys[keys == np.repeat(least, sizes)] = _NONE
    kept = found != _NONE
    return Rare(found[kept], np.nonzero(kept)[0])


def natural(text: Letters, longest: int, counts: Counts) -> Natural:
    """Measure how far independent sequences are apart, by length.

    Args:
        text: of some training sequences.
        longest: letters of phrases.
        counts: see `frequency`.
    """

    def apart(first: Ints, second: Ints, length: int) -> Ints:
        one, other = (
            sketch(phrases(_cut(text, starts, length), longest), counts)
            for starts in (first, second)
        )
        return near_copies.differing(one, other)

    return near_copies.natural_of(text.offsets, apart)


def _cut(text: Letters, starts: Ints, length: int) -> Letters:
    """The letters from some places on."""
    rows = starts[:, np.newaxis] + np.arange(length)
    return Letters(text.codes[rows].ravel(), length * np.arange(len(starts) + 1))


def nearest(known: Texts, signs: Hashes, rare: Rare) -> tuple[Ints, Ints]:
    """Find the most similar training sequence among those that have a rare phrase in common.

    Args:
        known: the training sequences.
        signs: (S, 4) sketches of others.
        rare: their rarest phrases.

    Returns:
        (S,) how many signs differ, more than `BITS` where none was found; and (S,) which one it is.
    """
    fewest, place = np.full(len(signs), BITS + 1), np.zeros(len(signs), np.int64)
    if not len(known.rare.keys):
        return fewest, place
    at = np.minimum(np.searchsorted(known.rare.keys, rare.keys), len(known.rare.keys) - 1)
    found = known.rare.keys[at] == rare.keys
    source, owner = known.rare.owner[at[found]], rare.owner[found]
    apart = near_copies.differing(known.signs[source], signs[owner])
    order = np.lexsort((apart, owner))
    owner, first = np.unique(owner[order], return_index=True)
    fewest[owner], place[owner] = apart[order][first], source[order][first]
    return fewest, place


def limit(natural: Natural, letters: Ints, pairs: float) -> npt.NDArray[np.float64]:
    """How many signs may differ at most, for sequences of so many letters (S,)."""
    most = natural.limit(letters, pairs, WIDEST)
    return np.where(letters >= LEAST_LETTERS, most, -1.0)
