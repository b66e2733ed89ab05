"""Drawn sequences against their chain."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from chains import TAGGING, drawn, features, labels, lengths
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.errors import ParamsError
from birnn.params import HMMData
from birnn.sources import hmm
from birnn.sources.hmm import Chain

Array = npt.NDArray[Any]


def distances(chain: Chain) -> Array:
    """The distances between all pairs of means."""
    pairs = itertools.combinations(chain.means, 2)
    return np.array([np.linalg.norm(one - other) for one, other in pairs])


class TestTaggingChain:
    @given(
        weights=st.lists(st.floats(0.1, 1.0), min_size=4, max_size=8),
        lookalikes=st.sampled_from([0, 2]),
        stay=st.floats(0.9, 0.99),
    )
    @settings(deadline=None, max_examples=50)
    def test_has_the_shares_and_stays_as_asked(
        self, weights: list[float], lookalikes: int, stay: float
    ) -> None:
        shares = np.array(weights) / sum(weights)
        chain = hmm.tagging_chain(
            classes=len(shares),
            features=3,
            stay=stay,
            separation=1.0,
            lookalikes=lookalikes,
            shares=shares.tolist(),
            seed=1,
        )
        assert (chain.transition >= 0).all()
        np.testing.assert_allclose(chain.transition.sum(axis=1), 1)
        np.testing.assert_allclose(chain.initial, shares)
        np.testing.assert_allclose(shares @ chain.transition, shares)
        assert shares @ np.diag(chain.transition) == pytest.approx(stay)

    def test_with_a_rare_class(self) -> None:
        chain = hmm.tagging_chain(
            classes=2, features=4, stay=0.97, separation=2.0, shares=[0.98, 0.02], seed=1
        )
        expected = [[1 - 0.015 / 0.98, 0.015 / 0.98], [0.75, 0.25]]  # 1.5 % of steps either way
        np.testing.assert_allclose(chain.transition, expected)

    def test_lookalikes_are_told_apart_by_what_follows(self) -> None:
        chain = hmm.tagging_chain(
            classes=7, features=8, stay=0.5, separation=3.0, lookalikes=3, seed=1
        )
        moves = chain.transition * (1 - np.eye(7)) > 0
        follows = np.zeros((7, 7), dtype=bool)
        follows[[0, 1, 2], [3, 4, 5]] = True
        follows[3:, :3] = True
        follows[3:6, 6] = True
        np.testing.assert_array_equal(moves, follows)
        assert len(np.unique(chain.means, axis=0)) == 5
        np.testing.assert_array_equal(chain.means[:3], chain.means[[0, 0, 0]])

    @pytest.mark.parametrize("size", [4, 8])
    def test_all_means_are_equally_far_apart(self, size: int) -> None:
        chain = hmm.tagging_chain(classes=5, features=size, stay=0.5, separation=3.0, seed=1)
        np.testing.assert_allclose(distances(chain), 3.0, atol=1e-8)
        np.testing.assert_allclose(chain.means.mean(axis=0), 0, atol=1e-9)

    def test_means_in_fewer_dimensions_keep_the_mean_square_distance(self) -> None:
        chain = hmm.tagging_chain(classes=9, features=2, stay=0.5, separation=3.0, seed=1)
        assert np.sqrt((distances(chain) ** 2).mean()) == pytest.approx(3.0)
        assert np.linalg.matrix_rank(chain.means) == 2

    def test_means_depend_on_the_seed_alone(self) -> None:
        knobs: dict[str, Any] = {"classes": 5, "features": 8, "separation": 3.0}
        first = hmm.tagging_chain(**knobs, stay=0.5, seed=1)
        np.testing.assert_array_equal(
            first.means, hmm.tagging_chain(**knobs, stay=0.9, seed=1).means
        )
        assert not np.allclose(first.means, hmm.tagging_chain(**knobs, stay=0.5, seed=2).means)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"lookalikes": 1}, r"data.lookalikes: expected 0, or 2 to half of .* \(5\), found 1"),
            ({"lookalikes": 3}, r"data.lookalikes: expected 0, or 2 to half of .* \(5\), found 3"),
            ({"shares": [0.5, 0.5]}, r"data.shares: expected 5 numbers .*, found \[0.5, 0.5\]"),
            ({"shares": [0.5, 0.5, 0.5, 0.5, 0.5]}, "data.shares: expected .* with the sum 1"),
            ({"shares": [0.0, 0.4, 0.2, 0.2, 0.2]}, "data.shares: expected 5 numbers above 0"),
            ({"shares": [0.96, 0.01, 0.01, 0.01, 0.01]}, r"data.stay: expected 0\.\d+ or more"),
        ],
    )
    def test_refuses_what_does_not_fit(self, wrong: dict[str, Any], message: str) -> None:
        with pytest.raises(ParamsError, match=message):
            hmm.tagging_chain(classes=5, features=8, stay=0.1, separation=3.0, **wrong, seed=1)

    def test_names_the_least_stay(self) -> None:
        knobs: dict[str, Any] = {"classes": 2, "features": 8, "separation": 3.0, "seed": 1}
        with pytest.raises(ParamsError, match=r"expected 0\.960 or more .*, found 0\.95"):
            hmm.tagging_chain(**knobs, stay=0.95, shares=[0.98, 0.02])
        hmm.tagging_chain(**knobs, stay=0.96, shares=[0.98, 0.02])


class TestClassificationChain:
    def test_never_leaves_a_class(self) -> None:
        chain = hmm.classification_chain(
            classes=3,
            states=4,
            features=20,
            stay=0.7,
            separation=2.0,
            shares=[0.5, 0.3, 0.2],
            seed=1,
        )
        other_class = chain.labels[:, None] != chain.labels
        assert (chain.transition[other_class] == 0).all()
        np.testing.assert_allclose(np.diag(chain.transition), 0.7)
        np.testing.assert_allclose(chain.initial @ chain.transition, chain.initial)
        np.testing.assert_allclose(np.bincount(chain.labels, chain.initial), [0.5, 0.3, 0.2])
        np.testing.assert_allclose(distances(chain), 2.0)

    def test_refuses_shares_that_do_not_fit(self) -> None:
        with pytest.raises(ParamsError, match=r"data\.shares: expected 3 numbers"):
            hmm.classification_chain(
                classes=3, states=2, features=5, stay=0.5, separation=2.0, shares=[1.0], seed=1
            )


class TestRead:
    def test_gives_the_sequence_table(self) -> None:
        table = drawn(TAGGING, 3)
        assert table.schema.names == ["sequence", *(f"x{i}" for i in range(8)), "label"]
        assert table.schema.types == [pa.string(), *[pa.float32()] * 8, pa.string()]
        assert table["sequence"].to_pylist() == [
            name for name in ("s000000", "s000001", "s000002") for _ in range(10)
        ]
        assert set(table["label"].to_pylist()) <= {"c0", "c1", "c2", "c3", "c4"}

    def test_label_names_sort_like_numbers(self) -> None:
        chain = hmm.tagging_chain(classes=11, features=8, stay=0.1, separation=3.0, seed=1)
        assert sorted(pc.unique(drawn(chain, 100)["label"]).to_pylist()) == [
            f"c{label:02d}" for label in range(11)
        ]

    @pytest.mark.parametrize("sequences", [7, 1024, 1025, 2100])
    def test_more_sequences_only_append(self, sequences: int) -> None:
        bounds = {"min_steps": 1, "max_steps": 60, "mean_steps": 10}
        short = drawn(TAGGING, sequences, **bounds)
        assert len(lengths(short)) == sequences
        assert drawn(TAGGING, 3000, **bounds).slice(0, len(short)).equals(short)

    def test_repeats_with_its_seed_alone(self) -> None:
        assert drawn(TAGGING, seed=1).equals(drawn(TAGGING, seed=1))
        assert not drawn(TAGGING, seed=1).equals(drawn(TAGGING, seed=2))

    def test_chunks_differ(self) -> None:
        table = drawn(TAGGING, 2048)
        first, second = features(table.slice(0, 10240)), features(table.slice(10240))
        assert not (first == second).any()

    def test_lengths_keep_to_bounds_and_mean(self) -> None:
        steps = lengths(drawn(TAGGING, 4000, min_steps=3, max_steps=250, mean_steps=37))
        assert steps.min() >= 3
        assert steps.max() <= 250
        assert steps.mean() == pytest.approx(37, abs=4 * 35 / 4000**0.5)
        assert (lengths(drawn(TAGGING, 50)) == 10).all()

    def test_batches_hold_whole_sequences(self) -> None:
        bounds: dict[str, Any] = {"min_steps": 1, "max_steps": 30, "mean_steps": 10}
        batches = list(hmm.draw(TAGGING, sequences=1500, seed=1, **bounds))
        ids = [set(batch["sequence"].to_pylist()) for batch in batches]
        assert [len(names) for names in ids] == [1024, 476]
        assert not ids[0] & ids[1]

    def test_states_move_as_the_chain_says(self) -> None:
        table = drawn(TAGGING, 4000)
        states = labels(table).reshape(-1, 10)
        for step in (0, 9):
            share = np.bincount(states[:, step], minlength=5) / 4000
            np.testing.assert_allclose(share, TAGGING.initial, atol=4 * 0.4 / 4000**0.5)
        counts = np.zeros((5, 5))
        np.add.at(counts, (states[:, :-1], states[:, 1:]), 1)
        moves = counts / counts.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(moves, TAGGING.transition, atol=4 * 0.5 / 7200**0.5)
        np.testing.assert_array_equal(counts > 0, TAGGING.transition > 0)

    def test_noise_is_standard_normal(self) -> None:
        table = drawn(TAGGING, 4000)
        noise = features(table) - TAGGING.means[labels(table)]
        np.testing.assert_allclose(noise.mean(axis=0), 0, atol=4 / 40000**0.5)
        np.testing.assert_allclose(np.cov(noise.T), np.eye(8), atol=5 * 2**0.5 / 40000**0.5)

    def test_a_sequence_has_one_class_in_the_shares_asked(self) -> None:
        chain = hmm.classification_chain(
            classes=2, states=2, features=5, stay=0.5, separation=2.0, shares=[0.9, 0.1], seed=1
        )
        classes = labels(drawn(chain, 4000)).reshape(-1, 10)
        assert (classes == classes[:, :1]).all()
        assert classes[:, 0].mean() == pytest.approx(0.1, abs=4 * 0.3 / 4000**0.5)


class TestParts:
    DATA = HMMData(
        source="hmm",
        task="tagging",
        sequences=4000,
        min_steps=3,
        max_steps=30,
        mean_steps=10,
        features=2,
        classes=3,
        stay=0.5,
        separation=2.0,
    )

    @pytest.mark.parametrize("part_steps", [1, 10_000, 25_000, 10**9])
    def test_each_is_drawn_by_itself(self, part_steps: int) -> None:
        parts = hmm.in_parts(self.DATA, part_steps)
        last_first = [[*hmm.read_part(self.DATA, part)] for part in reversed(parts)]
        batches = [batch for part in reversed(last_first) for batch in part]
        assert pa.Table.from_batches(batches).equals(pa.Table.from_batches(hmm.read(self.DATA)))

    @pytest.mark.parametrize(("part_steps", "count"), [(1, 4), (20_480, 2), (10**9, 1)])
    def test_each_has_about_so_many_steps(self, part_steps: int, count: int) -> None:
        assert len(hmm.in_parts(self.DATA, part_steps)) == count
