"""Outlines: the same after noise, an offset and a scale; far apart for independent sequences."""

import bisect
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.leakage import KINDS, together
from birnn.data import near_copies
from birnn.data.near_copies import BITS, Sketches
from birnn.files import pieces


def sketches(sequences: list[NDArray[Any]], factor: float = 0.0) -> Sketches:
    split = together(sequences)
    factors = np.full(split.values.shape[1], factor, np.float32)
    return near_copies.sketch(split.values, split.offsets, factors)


def test_offset_and_scale_change_nothing() -> None:
    one = np.random.default_rng(0).standard_normal((40, 2))
    found = sketches([one, one * [2, 0.5] + [3, -1]], factor=0.5)
    assert near_copies.differing(found.signs[0], found.signs[1]) <= 1


@pytest.mark.parametrize("correlation", [0.9, 0.99])
def test_signs_differ_as_often_as_the_angle_says(correlation: float) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 200, 100, 1))
    near = correlation * one + np.sqrt(1 - correlation**2) * other
    apart = near_copies.differing(sketches(list(one)).signs, sketches(list(near)).signs)
    assert apart.mean() / BITS == pytest.approx(np.arccos(correlation) / np.pi, rel=0.1)


def test_what_is_constant_or_short_is_not_compared() -> None:
    rng = np.random.default_rng(0)
    found = sketches([np.full((40, 1), 0.1), rng.random((5, 1)), rng.random((40, 1))], 0.3)
    assert found.lengths.tolist() == [0, 0, 40]


def test_regression_is_that_of_the_process() -> None:
    rng = np.random.default_rng(0)
    steps = np.zeros((50, 400, 2))
    for step in range(1, 400):
        steps[:, step] = [0.8, 0.0] * steps[:, step - 1] + rng.standard_normal((50, 2))
    found = near_copies.regression(together(list(steps)))
    assert found == pytest.approx([0.8, 0.0], abs=0.02)


def test_nearest_finds_the_copy_among_others() -> None:
    rng = np.random.default_rng(0)
    train = [rng.standard_normal((int(n), 2)) for n in rng.integers(30, 60, 500)]
    noisy = [one + 0.1 * rng.standard_normal(one.shape) for one in train[:100]]
    fewest, place = near_copies.nearest(sketches(train), sketches(noisy))
    assert (place == np.arange(100)).mean() > 0.98
    assert (fewest < 30).mean() > 0.98
    fewest, _ = near_copies.nearest(sketches(train), sketches([rng.standard_normal((999, 2))]))
    assert fewest.tolist() == [BITS + 1]


def test_limit_is_lower_where_all_sequences_of_a_class_are_alike() -> None:
    limits = []
    for kind in ("real, smooth", "classes of curves"):
        split = together(KINDS[kind](np.random.default_rng(0), 300))
        natural = near_copies.natural(split, near_copies.regression(split))
        limits.append(natural.limit(np.array([80]), 1e4)[0])
    assert limits[0] == near_copies.WIDEST > limits[1] > 0


@pytest.mark.parametrize("rows", [1 << 18, 50])
def test_nearest_is_the_better_neighbour_in_each_order(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ROWS", rows)
    rng = np.random.default_rng(0)
    signs = rng.integers(0, 2**64, (600, 4), np.uint64) & np.uint64(0xFF0000000000FF)  # many equal
    lengths = rng.integers(0, 3, 600)
    train, test = (Sketches(signs[part], lengths[part]) for part in (slice(500), slice(500, 600)))
    expected = np.full(100, BITS + 1), np.zeros(100, np.int64)
    for number in range(near_copies.ORDERS):
        keys = [near_copies._keys(*one, number).tolist() for one in (train, test)]
        order = sorted(range(500), key=keys[0].__getitem__)
        for place, key in enumerate(keys[1]):
            at = bisect.bisect_left(order, key, key=keys[0].__getitem__)
            for found in order[max(at - 1, 0) : at + 1]:
                apart = int(np.bitwise_count(train.signs[found] ^ test.signs[place]).sum())
                alike = train.lengths[found] == test.lengths[place] > 0
                if alike and apart < expected[0][place]:
                    expected[0][place], expected[1][place] = apart, found
    for one, other in zip(near_copies.nearest(train, test), expected, strict=True):
        np.testing.assert_array_equal(one, other)
