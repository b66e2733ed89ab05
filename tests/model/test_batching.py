"""Batches: complete, shuffled, repeatable, and mostly free of padding."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from birnn.data import buckets, parted, sequences
from birnn.data.parted import Parts
from birnn.data.sequences import Sequences
from birnn.files.parts import writing
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


class TestParts:
    """Batches of a split in parts, by the ids of their sequences."""

    LENGTHS = tuple(lengths_of(60).tolist())

    def split(self, ragged: Ragged, folder: Path, *cuts: int) -> Parts:
        whole = ragged(self.LENGTHS, features=1)
        edges = [0, *cuts, len(self.LENGTHS)]
        with writing(folder / "x.arrow") as target:
            pieces = [whole.select(np.arange(*edge)) for edge in pairwise(edges)]
            made = [sequences.write_part(one, target, n) for n, one in enumerate(pieces)]
            target.finish(made)
        found = parted.read(folder / "x.arrow")
        assert isinstance(found, Parts)
        return found

    def lengths(self, batches: Iterable[Batch]) -> list[list[int]]:
        return [batch.lengths.tolist() for batch in batches]

    def epoch(self, split: Parts, **changes: Any) -> list[Batch]:
        return list(batching.epoch(split, **{"batch_size": 8, "seed": 1, "number": 1, **changes}))

    def test_each_part_by_itself_in_an_order_of_the_epoch(
        self, ragged: Ragged, tmp_path: Path
    ) -> None:
        split = self.split(ragged, tmp_path, 20, 45)
        orders = {}
        for number in range(1, 9):
            found = self.lengths(self.epoch(split, number=number))
            order = buckets.part_order(3, seed=1, number=number)
            expected = [
                part.lengths[batch].tolist()
                for place, part in split.each(order)
                for batch in buckets.shuffled(
                    part.lengths, batch_size=8, seed=1, number=number, part=place
                )
            ]
            assert found == expected
            assert sorted(np.concatenate(found).tolist()) == sorted(self.LENGTHS)
            orders[tuple(order)] = found
        assert len(orders) > 2

    def test_what_other_parts_hold_changes_nothing(self, ragged: Ragged, tmp_path: Path) -> None:
        one = self.split(ragged, tmp_path / "one", 20, 45)
        other = self.split(ragged, tmp_path / "other", 20, 50)
        first = [
            self.lengths(self.epoch(replace(split, places=split.places[:1])))
            for split in (one, other)
        ]
        assert first[0] == first[1]
        assert self.lengths(self.epoch(one)) != self.lengths(self.epoch(other))

    def test_a_label_counts_the_same_in_every_part(self, ragged: Ragged, tmp_path: Path) -> None:
        split = self.split(ragged, tmp_path, 20, 59)  # the last part is a single sequence
        (count,) = {batch.count for batch in self.epoch(split)}
        assert count == pytest.approx(sum(self.LENGTHS) / len(self.epoch(split)))
        bounded = self.epoch(split, batch_steps=40)
        (count,) = {batch.count for batch in bounded}
        assert count == pytest.approx(sum(self.LENGTHS) / len(bounded), rel=0.5)

    def test_processes_share_every_batch(self, ragged: Ragged, tmp_path: Path) -> None:
        split = self.split(ragged, tmp_path, 20, 45)
        shares = [self.epoch(split, group=Group(rank, 2)) for rank in range(2)]
        for batch, *both in zip(self.epoch(split), *shares, strict=True):
            real = [part.lengths for part in both if (part.labels != IGNORED).any()]
            assert sorted(torch.cat(real).tolist()) == sorted(batch.lengths.tolist())

    def test_in_order_each_from_the_shortest(self, ragged: Ragged, tmp_path: Path) -> None:
        split = self.split(ragged, tmp_path, 20, 45)
        found = np.concatenate(self.lengths(batching.in_order(split, batch_size=8))).tolist()
        edges = pairwise([0, 20, 45, 60])
        assert found == [n for start, end in edges for n in sorted(self.LENGTHS[start:end])]


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
