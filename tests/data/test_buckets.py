"""Which sequences go into a batch: each one once, of about one length, mostly free of padding."""

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

from birnn.data import buckets

Ints = npt.NDArray[np.int64]


def lengths_of(size: int, seed: int = 0) -> Ints:
    """Lengths as in speech: lognormal with a mean of 37, from 3 to 250."""
    sigma = 0.8
    drawn = np.random.default_rng(seed).lognormal(np.log(37) - sigma**2 / 2, sigma, size)
    return np.clip(drawn.round().astype(np.int64), 3, 250)


class TestShuffled:
    @given(
        size=st.integers(1, 60),
        batch_size=st.integers(1, 20),
        seed=st.integers(0, 2**31 - 1),
        number=st.integers(1, 100),
    )
    def test_every_sequence_once(self, size: int, batch_size: int, seed: int, number: int) -> None:
        drawn = buckets.shuffled(lengths_of(size), batch_size=batch_size, seed=seed, number=number)
        assert sorted(np.concatenate(drawn).tolist()) == list(range(size))
        sizes = sorted(map(len, drawn), reverse=True)
        assert sizes[:-2] == [batch_size] * (len(drawn) - 2)
        assert len(drawn) == math.ceil(size / batch_size)

    @given(batch_steps=st.integers(1, 2000), number=st.integers(1, 100))
    def test_bounded_in_steps(self, batch_steps: int, number: int) -> None:
        lengths = lengths_of(60)
        drawn = buckets.shuffled(
            lengths, batch_size=20, batch_steps=batch_steps, seed=1, number=number
        )
        assert sorted(np.concatenate(drawn).tolist()) == list(range(60))
        for batch in drawn:
            assert len(batch) * lengths[batch].max() <= batch_steps or len(batch) == 1
            assert len(batch) <= 20

    def test_the_longest_is_seldom_alone(self) -> None:
        lengths = lengths_of(65)
        drawn = [
            buckets.shuffled(lengths, batch_size=64, seed=1, number=number)
            for number in range(1, 51)
        ]
        companies = [
            len(batch) for batches in drawn for batch in batches if lengths.argmax() in batch
        ]
        assert companies.count(1) <= 5  # one in 64 is expected
        assert np.mean(companies) == pytest.approx(32, abs=10)

    def test_long_and_short_batches_take_turns(self) -> None:
        lengths = lengths_of(2000)
        drawn = buckets.shuffled(lengths, batch_size=64, seed=1, number=1)
        means = [lengths[batch].mean() for batch in drawn]
        assert means != sorted(means)
        assert means != sorted(means, reverse=True)


class TestCut:
    @given(
        lengths=st.lists(st.integers(1, 9), max_size=30).map(lambda drawn: np.array(drawn, int)),
        batch_size=st.integers(1, 8),
        batch_steps=st.none() | st.integers(1, 40),
    )
    def test_as_large_as_the_bounds_allow(
        self, lengths: Ints, batch_size: int, batch_steps: int | None
    ) -> None:
        def fits(batch: Ints) -> bool:
            steps = len(batch) * lengths[batch].max()
            return len(batch) <= batch_size and (batch_steps is None or steps <= batch_steps)

        order = np.random.default_rng(0).permutation(len(lengths))
        batches = buckets.cut(order, lengths, batch_size, batch_steps)
        assert [index for batch in batches for index in batch.tolist()] == order.tolist()
        assert all(fits(batch) or len(batch) == 1 for batch in batches)
        for batch, rest in pairwise(batches):
            assert not fits(np.append(batch, rest[0]))


class TestPadding:
    def test_share(self) -> None:
        lengths = np.array([1, 2, 3, 4])
        batches = [np.array([0, 3]), np.array([1, 2])]
        assert buckets.padding_share(lengths, batches) == pytest.approx((3 + 0 + 1 + 0) / 14)
        assert buckets.padding_share(lengths, [np.array([index]) for index in range(4)]) == 0

    @pytest.mark.parametrize("seed", range(1, 6))
    @pytest.mark.parametrize("size", [2000, 2030, 2048])
    def test_costs_three_percent_above_the_least_where_random_batches_are_mostly_padding(
        self, size: int, seed: int
    ) -> None:
        lengths = lengths_of(size, seed=seed)

        def computed(batches: list[Ints]) -> float:
            return 1 / (1 - buckets.padding_share(lengths, batches))

        least = computed(buckets.cut(np.argsort(lengths), lengths, 64))
        drawn = [
            computed(buckets.shuffled(lengths, batch_size=64, seed=1, number=number))
            for number in range(1, 21)
        ]
        at_random = buckets.cut(np.random.default_rng(1).permutation(size), lengths, 64)
        assert np.mean(drawn) < 1.03 * least
        assert computed(at_random) > 2 * least


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_alive_are_the_batch_sizes_of_torch(lengths: list[int]) -> None:
    padded = torch.zeros(len(lengths), max(lengths))
    packed = pack_padded_sequence(padded, torch.tensor(lengths), True, enforce_sorted=False)
    found = buckets.alive(np.array(lengths))
    assert found.tolist() == packed.batch_sizes.tolist()
    assert found.sum() == sum(lengths)


class TestPacking:
    def pack(self, **lengths: Ints) -> buckets.Packing:
        return buckets.packing(
            lengths, batch_size=8, batch_steps=None, seed=1, duplicates=0, conflicts=0
        )

    @pytest.mark.parametrize("longest", [5, 24, 25, 100, 101])
    def test_the_histogram_counts_every_sequence_in_bins_of_one_width(self, longest: int) -> None:
        train, test = np.arange(1, longest + 1), np.array([2, 2, 4])
        found = self.pack(train=train, test=test)
        (width,) = {after - before for before, after in pairwise(found.edges)}
        assert len(found.edges) - 1 <= buckets.MOST_BINS
        assert found.edges[0] == 1
        assert found.edges[-2] <= longest < found.edges[-1]
        for split, lengths in {"train": train, "test": test}.items():
            expected = np.bincount((lengths - 1) // width, minlength=len(found.edges) - 1)
            assert found.histogram[split] == expected.tolist()

    def test_equal_lengths_share_one_bin_and_need_no_padding(self) -> None:
        found = self.pack(train=np.full(20, 7))
        assert (found.edges, found.histogram) == ([7, 8], {"train": [20]})
        assert (found.padding_at_random, found.padding_as_batched) == (0, 0)
