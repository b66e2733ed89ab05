"""Sequences of numbers that are equal but for noise, an offset or a scale, found in linear time.

A sequence's *outline* is what its features do at evenly spaced steps that the step before does not
tell: the innovations of a first-order autoregression, which are far more different between
sequences than smooth curves are (Box and Jenkins 1970). They are centred and scaled by sequence and
feature, so offset and scale are gone. Of two outlines, the signs of a random projection differ with
the chance angle / pi (Charikar, STOC 2002): a sketch is 256 such signs. Sequences of the same
number of steps are compared, by their neighbours in sixteen orders of the sketches.

How small the angle must be is measured: in random pairs of sequences that are as long, the share
of pairs within an angle grows like a power of it (Grassberger and Procaccia, Physica D 1983). The
power and the scale come from two quantiles, above what copies can make up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from birnn.data import chance
from birnn.data.fingerprints import Ints
from birnn.data.sequences import Sequences
from birnn.files import pieces
from birnn.files.hashing import Hashes, mixed

BITS = 256
ORDERS = 16
PLACES = 128  # steps that an outline holds at most
NUMBERS = 256  # that it holds at most, but for eight steps
LEAST_NUMBERS = 8  # fewer are equal by chance
WIDEST = 37
"""Signs that differ, up to which sequences are near copies: 26 degrees, a correlation of 0.9."""
FIRST_STEPS = 1 << 17  # of train, that the regression is measured on
PAIRS = 1000
COPIES = 6  # of a sequence, or fewer
ENOUGH = 60  # sequences to draw pairs from
LOWEST, HIGHER = 0.01, 3
"""The share of pairs up to the lower quantile, unless there can be more copies; and the other
quantile's share over it."""
BUCKETS = 2  # for each doubling of the length

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Sketches(NamedTuple):
    """What is compared of S sequences.

    Attributes:
        signs: (S, 4) uint64.
        lengths: (S,) steps; 0 where a sequence has too little in it to compare.
    """

    signs: Hashes
    lengths: Ints


class Natural(NamedTuple):
    """How many signs differ between independent sequences, by buckets of length.

    Attributes:
        share: (B,) of the pairs that are below the quantile.
        quantile: (B,) signs that differ.
        power: (B,) with which that share grows with the number of signs.
    """

    share: npt.NDArray[np.float64]
    quantile: npt.NDArray[np.float64]
    power: npt.NDArray[np.float64]

    def limit(self, lengths: Ints, pairs: float, widest: int = WIDEST) -> npt.NDArray[np.float64]:
        """How many signs may differ at most, for lengths (S,), where so many pairs are compared."""
        bucket = np.minimum(_bucket(np.maximum(lengths, 1)), len(self.quantile) - 1)
        rare = chance.RARE / (pairs * self.share[bucket])
        unlikely = (self.quantile[bucket] + 1) * rare ** (1 / self.power[bucket]) - 1
        return np.minimum(unlikely, widest)


def _bucket(lengths: Ints) -> Ints:
    """Two buckets for each doubling of the length."""
    found: Ints = np.floor(BUCKETS * np.log2(lengths)).astype(np.int64)
    return found


def regression(split: Sequences) -> Floats:
    """How much of each feature's value is in the next one, (F,): its first autocorrelation."""
    rows = slice(0, min(len(split.values), FIRST_STEPS))
    values = split.values[rows].astype(np.float64)
    values -= values.mean(axis=0)
    inside = np.ones(len(values), dtype=bool)
    inside[split.offsets[:-1][split.offsets[:-1] < len(values)]] = False
    before, after = values[:-1][inside[1:]], values[1:][inside[1:]]
    square = np.maximum((before**2).sum(axis=0), np.finfo(np.float64).tiny)
    return np.asarray(np.clip((before * after).sum(axis=0) / square, 0, 1), np.float32)


def sketch(values: Floats, bounds: Ints, factor: Floats) -> Sketches:
    """Sketch sequences.

    Args:
        values: (N, F) features; F may be 0, and then there is nothing to compare.
        bounds: (S + 1,) where each sequence begins.
        factor: (F,) see `regression`.
    """
    lengths = np.diff(bounds)
    if not values.shape[1]:
        return Sketches(np.zeros((len(lengths), BITS // 64), np.uint64), np.zeros_like(lengths))
    width = max(NUMBERS, LEAST_NUMBERS * values.shape[1])
    outlines = np.zeros((len(lengths), width), np.float32)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        outline = _outlines(values, bounds[chosen], length, factor)
        outlines[chosen, : outline.shape[1]] = outline
    return Sketches(
        signs([outlines], width.bit_length()), np.where(outlines.any(axis=1), lengths, 0)
    )


def _outlines(values: Floats, starts: Ints, length: int, factor: Floats) -> Floats:
    """Of sequences of one length, (S, numbers); zeros, or none, of those that have too few."""
    most = max(LEAST_NUMBERS, min(PLACES, NUMBERS // max(1, values.shape[1])))
    places = np.unique(np.linspace(1, length - 1, min(length - 1, most)).astype(np.int64))
    if len(places) * values.shape[1] < LEAST_NUMBERS:
        return np.zeros((len(starts), 0), np.float32)
    rows = starts[:, np.newaxis] + places
    outline = values[rows] - factor * values[rows - 1]
    rounding = 1e-6 * np.abs(outline).max(axis=1, keepdims=True)
    outline -= outline.mean(axis=1, keepdims=True)
    spread = outline.std(axis=1, keepdims=True)
    outline *= (spread > rounding) / np.maximum(spread, np.finfo(np.float32).tiny)
    return np.asarray(outline.reshape(len(starts), -1))


def signs(parts: Sequence[Floats | csr_array], octave: int) -> Hashes:
    """The signs of random projections, (S, 4).

    Args:
        parts: their sum is projected; each (S, W) with W up to 2 ** octave.
        octave: how many random directions are made; the first ones are always the same.
    """
    directions = _directions(octave)[: parts[0].shape[1]]
    projected = sum(part @ directions for part in parts)
    return np.packbits(projected > 0, axis=1).view(np.uint64)


@cache
def _directions(octave: int) -> Floats:
    """Random directions in 2 ** octave dimensions; the first rows are always the same."""
    return np.random.default_rng(0).standard_normal((2**octave, BITS), np.float32)


def natural(train: Sequences, factor: Floats) -> Natural:
    """Measure how far independent sequences are apart, by length; `factor`: see `regression`."""

    def apart(one: Ints, other: Ints, length: int) -> Ints:
        train.release()  # random sequences, so many pages
        return _apart(train.values, one, other, length, factor)

    return natural_of(train.offsets, apart)


def natural_of(offsets: Ints, measured: Callable[[Ints, Ints, int], Ints]) -> Natural:
    """Measure by length how far random pairs are apart.

    Args:
        offsets: where each sequence begins.
        measured: gives how many signs differ in pairs of sequences, of which one begins at some
            places and the other at others, in their first so many steps.
    """
    rng, counts = np.random.default_rng(0), np.zeros(0, np.int64)  # sequences in each bucket
    for start, end in pieces.of(offsets[:-1], offsets[1:]):
        more = np.bincount(_bucket_of(start, end), minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    found = [(1.0, 0.0, 1.0)]
    for bucket in range(len(counts)):
        longer = int(counts[bucket:].sum())
        if longer < ENOUGH and bucket:
            found.append(found[-1])  # of the next shorter ones, which are more alike
            continue
        share = min(0.2, max(LOWEST, COPIES / longer))
        length, apart = int(np.ceil(2 ** (bucket / BUCKETS))), np.zeros(0, np.int64)
        if longer > 1:
            drawn = chance.pairs(longer, PAIRS, rng)
            starts = _starts(offsets, np.concatenate(drawn), bucket)
            apart = measured(starts[:PAIRS], starts[PAIRS:], length)
        low, high = np.quantile(apart, [share, HIGHER * share]) if len(apart) else (0, 0)
        growth = max((high + 1) / (low + 1), 1 + 1e-9)
        found.append((share, low, np.log(HIGHER) / np.log(growth)))
    return Natural(*np.array(found[1:]).T)


def _bucket_of(start: Ints, end: Ints) -> Ints:
    return _bucket(np.maximum(end - start, 1))


def _starts(offsets: Ints, chosen: Ints, bucket: int) -> Ints:
    """Where those begin that have some numbers among the sequences of a bucket or a higher one."""
    starts, before = np.empty(len(chosen), np.int64), 0
    for start, end in pieces.of(offsets[:-1], offsets[1:]):
        longer = start[_bucket_of(start, end) >= bucket]
        inside = (chosen >= before) & (chosen < before + len(longer))
        starts[inside] = longer[chosen[inside] - before]
        before += len(longer)
    return starts


def _apart(values: Floats, first: Ints, second: Ints, length: int, factor: Floats) -> Ints:
    """How many signs differ between sequences in their first steps."""
    one, other = (_outlines(values, starts, length, factor) for starts in (first, second))
    told = one.any(axis=1) & other.any(axis=1)
    octave = one.shape[1].bit_length()
    return differing(signs([one[told]], octave), signs([other[told]], octave))


def differing(one: Hashes, other: Hashes) -> Ints:
    """How many signs differ, (S,)."""
    found: Ints = np.bitwise_count(one ^ other).sum(axis=-1, dtype=np.int64)
    return found


def nearest(train: Sketches, test: Sketches) -> tuple[Ints, Ints]:
    """Find the most similar training sequence of the same length, as far as the orders show it.

    Of training sketches, a piece is looked at at a time, so that they may lie on disk.

    Returns:
        (S,) how many signs differ, more than `BITS` where none was found; and (S,) which one it is.
    """
    fewest, place = np.full(len(test.lengths), BITS + 1), np.zeros(len(test.lengths), np.int64)
    for number in range(ORDERS):
        wanted = _keys(*test, number)
        order = np.argsort(wanted, kind="stable")
        for neighbours in _neighbours(train, wanted[order], number):
            for at, found in pieces.of(order, neighbours):
                at, found = at[found >= 0], found[found >= 0]
                apart = differing(train.signs[found], test.signs[at])
                usable = (train.lengths[found] == test.lengths[at]) & (test.lengths[at] > 0)
                better = usable & (apart < fewest[at])
                fewest[at[better]], place[at[better]] = apart[better], found[better]
                pieces.release(*train, *test)
    return fewest, place


def _neighbours(train: Sketches, wanted: Hashes, number: int) -> tuple[Ints, Ints]:
    """Find for keys (W,) in order the next lower one of training, and the next that is no lower.

    Returns:
        (W,) the sequence of each, below 0 without.
    """
    gaps = len(wanted) + 1  # before, between and behind the keys
    low, high = np.full(gaps, np.uint64(2**64 - 1)), np.zeros(gaps, np.uint64)
    first, last = np.full((2, gaps), -1)  # of each gap: the sequences of its lowest, highest key
    start = 0
    for signs, lengths in pieces.of(*train):
        keys = _keys(signs, lengths, number)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        gap = np.searchsorted(wanted, keys, side="right")
        begin = np.flatnonzero(np.append(True, gap[1:] != gap[:-1]))
        end = np.append(begin[1:], len(gap)) - 1
        inside = gap[begin]
        lower = (keys[begin] < low[inside]) | (first[inside] < 0)
        higher = keys[end] >= high[inside]
        first[inside[lower]] = start + order[begin[lower]]
        low[inside[lower]] = keys[begin[lower]]
        last[inside[higher]] = start + order[end[higher]]
        high[inside[higher]] = keys[end[higher]]
        start += len(keys)
    filled = np.where(last >= 0, np.arange(gaps), 0)
    before = last[np.maximum.accumulate(filled)][:-1]
    filled = np.where(first >= 0, np.arange(gaps), gaps - 1)[::-1]
    behind = first[np.minimum.accumulate(filled)[::-1]][1:]
    return before, behind


def _keys(signs: Hashes, lengths: Ints, number: int) -> Hashes:
    """In an order: 16 bits that are equal for equal lengths, then 48 signs."""
    octets = np.ascontiguousarray(signs).view(np.uint8)
    keys = np.zeros((len(octets), 8), np.uint8)
    keys[:, :2] = mixed(lengths).view(np.uint8).reshape(-1, 8)[:, :2]
    start = number * (octets.shape[1] // ORDERS)
    keys[:, 2:] = np.take(octets, range(start, start + 6), axis=1, mode="wrap")
    return keys.view(">u8")[:, 0].astype(np.uint64)
