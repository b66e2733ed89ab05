"""Batches: complete, shuffled, repeatable, and mostly free of padding."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from birnn.data.sequences import Sequences
from birnn.model import batching
from birnn.model.batching import Batch
from birnn.model.distributed import Group
from birnn.model.losses import IGNORED

Ragged = Callable[..., Sequences]
Ints = npt.NDArray[np.int64]


def lengths_of(size: int, seed: int = 0) -> Ints:
    """Lengths as in speech: lognormal with a mean of 37, from 3 to 250."""
    sigma = 0.8
    drawn = np.random.default_rng(seed).lognormal(np.log(37) - sigma**2 / 2, sigma, size)
    return np.clip(drawn.round().astype(np.int64), 3, 250)


def padded(rows: list[Tensor], value: float) -> Tensor:
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)


class TestGather:
    @given(
        chosen=st.lists(st.integers(0, 4), min_size=1, max_size=6),
        features=st.sampled_from([0, 1, 3]),
        tokens=st.booleans(),
        tagging=st.booleans(),
    )
    def test_like_a_plain_loop(
        self, ragged: Ragged, chosen: list[int], features: int, tokens: bool, tagging: bool
    ) -> None:
        drawn = ragged([3, 1, 5, 2, 5], features=features, tokens=tokens, tagging=tagging)
        batch = batching.gather(drawn, np.array(chosen))
        places = [slice(a, b) for a, b in pairwise(drawn.offsets.tolist())]
        values = [torch.tensor(drawn.values[place]) for place in places]
        labels = [torch.tensor(drawn.labels[a:b]).long() for a, b in pairwise(drawn.label_offsets)]
        assert torch.equal(batch.values, padded([values[index] for index in chosen], 0))
        assert batch.values.dtype == torch.float32
        assert (batch.tokens is None) == (drawn.tokens is None)
        if batch.tokens is not None and drawn.tokens is not None:
            words = [torch.tensor(drawn.tokens[places[index]]).long() for index in chosen]
            assert torch.equal(batch.tokens, padded(words, 0))
        assert batch.lengths.tolist() == drawn.lengths[chosen].tolist()
        assert batch.indices.tolist() == chosen
        answers = [labels[index] for index in chosen]
        assert torch.equal(
            batch.labels, padded(answers, IGNORED) if tagging else torch.cat(answers)
        )

    def test_copy_to_a_device(self, ragged: Ragged) -> None:
        batch = batching.gather(ragged([3, 1], tokens=True), np.array([1, 0]), spell=True)
        moved = batch.to(torch.device("meta"))
        assert moved.spelling is not None
        lengths = [moved.lengths, moved.spelling.lengths]  # nobody has to ask a GPU for them
        assert {part.device.type for part in lengths} == {"cpu"}
        others = [part for part in tensors(moved) if all(part is not one for one in lengths)]
        assert {part.device.type for part in others} == {"meta"}
        assert [part.shape for part in tensors(moved)] == [part.shape for part in tensors(batch)]

    @pytest.mark.parametrize("resident", [False, True])
    def test_only_tokens_are_spelled_and_only_if_asked(
        self, ragged: Ragged, resident: bool
    ) -> None:
        for drawn in (ragged([3, 1]), ragged([3, 1], features=0)):
            split = batching.resident(drawn, torch.device("cpu")) if resident else drawn
            for spell in (False, True):
                batch = batching.gather(split, np.array([1, 0]), spell=spell)
                assert (batch.spelling is not None) == (spell and drawn.tokens is not None)


def tensors(batch: Batch) -> list[Tensor]:
    """All that a batch holds."""
    assert batch.tokens is not None
    assert batch.spelling is not None
    return [batch.values, batch.lengths, batch.labels, batch.tokens, *batch.spelling]


class TestEpoch:
    def order(self, ragged: Ragged, *, seed: int, number: int) -> list[list[int]]:
        drawn = ragged(lengths_of(100).tolist(), features=1)
        found = batching.epoch(drawn, batch_size=8, seed=seed, number=number)
        return [batch.indices.tolist() for batch in found]

    def test_another_order_each_epoch_and_seed(self, ragged: Ragged) -> None:
        first = self.order(ragged, seed=1, number=1)
        for seed, number in ((1, 2), (2, 1), (2, 2)):
            other = self.order(ragged, seed=seed, number=number)
            assert other != first
            assert sorted(map(sorted, other)) != sorted(map(sorted, first))  # also in company

    def test_the_same_with_the_same_seed(self, ragged: Ragged) -> None:
        assert self.order(ragged, seed=1, number=3) == self.order(ragged, seed=1, number=3)


class TestInOrder:
    def test_from_the_shortest_to_the_longest(self, ragged: Ragged) -> None:
        drawn = ragged([3, 1, 4, 1, 5])
        found = list(batching.in_order(drawn, batch_size=2))
        assert [batch.indices.tolist() for batch in found] == [[1, 3], [0, 2], [4]]
        assert [batch.lengths.tolist() for batch in found] == [[1, 1], [3, 4], [5]]


class TestSeveralProcesses:
    @pytest.mark.parametrize("tagging", [True, False])
    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_they_share_every_batch(self, ragged: Ragged, size: int, tagging: bool) -> None:
        drawn = ragged([3, 1, 4, 1, 5, 9, 2], tagging=tagging)

        def epoch(group: Group) -> list[Batch]:
            return list(batching.epoch(drawn, batch_size=3, seed=1, number=1, group=group))

        whole, shares = epoch(Group()), [epoch(Group(rank, size)) for rank in range(size)]
        for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
            real = [part.labels != IGNORED for part in parts]
            assert {part.count for part in parts} == {len(drawn.labels) / len(whole)}
            assert sum(int(mask.sum()) for mask in real) == int((batch.labels != IGNORED).sum())
            working = [part for part, mask in zip(parts, real, strict=True) if mask.any()]
            indices = np.concatenate([part.indices for part in working])
            assert sorted(indices.tolist()) == sorted(batch.indices.tolist())


@pytest.mark.parametrize("tagging", [True, False])
@pytest.mark.parametrize("features", [0, 1, 3])
class TestResident:
    def test_the_same_batches(self, ragged: Ragged, features: int, tagging: bool) -> None:
        drawn = ragged(lengths_of(30).tolist(), features=features, tokens=True, tagging=tagging)
        there = batching.resident(drawn, torch.device("cpu"))
        found = batching.epoch(there, batch_size=4, seed=1, number=1, spell=True)
        for batch, expected in zip(
            found, batching.epoch(drawn, batch_size=4, seed=1, number=1, spell=True), strict=True
        ):
            torch.testing.assert_close(tensors(batch), tensors(expected), rtol=0, atol=0)
            assert batch.indices.tolist() == expected.indices.tolist()
            assert batch.count == expected.count


class TestPlaced:
    @pytest.fixture
    def placed(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bool]]:
        """Which splits go onto a GPU that has so many bytes free, of which it says nothing else."""

        def call(splits: list[Sequences], free: int) -> list[bool]:
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 1 << 40))
            monkeypatch.setattr(batching, "resident", lambda split, _: split.values)
            found = batching.placed(splits, torch.device("cuda"))
            return [one is not split for one, split in zip(found, splits, strict=True)]

        return call

    @pytest.mark.parametrize("kind", ["cpu", "mps"])
    def test_elsewhere_nothing_is_copied(self, ragged: Ragged, kind: str) -> None:
        splits = [ragged([3, 1]), ragged([2])]
        found = batching.placed(splits, torch.device(kind))
        assert all(one is split for one, split in zip(found, splits, strict=True))

    def test_all_together_take_half_of_the_free_memory(
        self, ragged: Ragged, placed: Callable[..., list[bool]]
    ) -> None:
        split = ragged([10, 6], features=2, tagging=True)
        size = 16 * 2 * 4 + 16 * 8  # values, and labels that become twice as wide
        assert placed([split, split], 4 * size) == [True, True]
        assert placed([split, split], 4 * size - 1) == [True, False]
        assert placed([split, split], 2 * size) == [True, False]
        assert placed([split, split], 2 * size - 1) == [False, False]

    def test_a_small_one_where_a_large_one_has_no_room(
        self, ragged: Ragged, placed: Callable[..., list[bool]]
    ) -> None:
        large, small = ragged([100], features=2), ragged([1], features=2)
        assert placed([large, small], 200) == [False, True]
