"""Posteriors against the sum over all state paths, and the limits against what decisions reach."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from chains import CLASSIFICATION, TAGGING, drawn, features, labels, lengths
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.errors import DataError
from birnn.sources import hmm
from birnn.sources.hmm import Chain
from birnn.sources.limits import Best, Limits, posteriors

Array = npt.NDArray[Any]


def limits_of(chain: Chain, batches: Iterable[pa.RecordBatch], *, task: Any) -> Limits:
    best = Best(chain, task)
    for batch in batches:
        best.add(batch)
    return best.limits()


def random_chain(rng: np.random.Generator, states: int, size: int) -> Chain:
    """Any chain: impossible moves, unreachable states, labels with several states or none."""
    possible = rng.random((states + 1, states)) < 0.7
    possible[np.arange(states + 1), rng.integers(states, size=states + 1)] = True
    weights = rng.random((states + 1, states)) * possible
    weights /= weights.sum(axis=1, keepdims=True)
    return Chain(
        initial=weights[0],
        transition=weights[1:],
        means=rng.normal(scale=2, size=(states, size)),
        labels=rng.integers(3, size=states),
    )


def enumerated(chain: Chain, values: Array, observed: range, at: int) -> Array:
    """P(label at a step | the observed steps) as the sum over all paths of one sequence."""
    probabilities = np.zeros(chain.labels.max() + 1)
    for path in itertools.product(range(len(chain.initial)), repeat=len(values)):
        moves = [chain.transition[pair] for pair in itertools.pairwise(path)]
        squares = sum(float(((values[t] - chain.means[path[t]]) ** 2).sum()) for t in observed)
        joint = chain.initial[path[0]] * np.prod(moves) * np.exp(-squares / 2)
        probabilities[chain.labels[path[at]]] += joint
    return np.asarray(probabilities / probabilities.sum())


class TestPosteriors:
    @given(
        seed=st.integers(0, 2**32 - 1),
        states=st.integers(1, 3),
        size=st.integers(1, 2),
        steps=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    )
    @settings(deadline=None, max_examples=50)
    def test_are_sums_over_all_paths(
        self, seed: int, states: int, size: int, steps: list[int]
    ) -> None:
        rng = np.random.default_rng(seed)
        chain = random_chain(rng, states, size)
        sequences = [rng.normal(scale=2, size=(length, size)) for length in steps]
        found = posteriors(chain, np.concatenate(sequences), np.array(steps))
        row = 0
        for values in sequences:
            for t in range(len(values)):
                seen = {"per_step": range(t, t + 1), "filtering": range(t + 1)}
                for view, observed in {**seen, "smoothing": range(len(values))}.items():
                    expected = enumerated(chain, values, observed, t)
                    np.testing.assert_allclose(found[view][row], expected, rtol=1e-9, atol=1e-12)
                row += 1

    def test_do_not_depend_on_the_other_sequences(self) -> None:
        table = drawn(TAGGING, 3, min_steps=2, max_steps=40, mean_steps=12)
        values, steps = features(table), lengths(table)
        together = posteriors(TAGGING, values, steps)
        first, last = steps[0], steps[-1]
        alone = posteriors(TAGGING, values[-last:], steps[-1:])
        assert first != last
        for view, p in alone.items():
            np.testing.assert_allclose(p, together[view][-last:], rtol=1e-12, atol=1e-15)

    @pytest.mark.parametrize("chain", [TAGGING, CLASSIFICATION], ids=["tagging", "classification"])
    @pytest.mark.parametrize("factor", [1.0, 1000.0])
    def test_are_probabilities_after_thousands_of_steps(self, chain: Chain, factor: float) -> None:
        table = drawn(chain, 2, min_steps=3000, max_steps=3000, mean_steps=3000)
        found = posteriors(chain, features(table) * factor, lengths(table))
        for p in found.values():
            assert (p >= 0).all()
            np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)

    def test_of_one_class_settle_on_the_truth(self) -> None:
        table = drawn(CLASSIFICATION, 30, min_steps=1000, max_steps=1000, mean_steps=1000)
        found = posteriors(CLASSIFICATION, features(table), lengths(table))
        assert (found["smoothing"].argmax(axis=1) == labels(table)).all()


class TestLimits:
    @pytest.mark.parametrize(
        ("chain", "task"), [(TAGGING, "tagging"), (CLASSIFICATION, "classification")]
    )
    def test_are_what_the_best_decision_reaches(self, chain: Chain, task: Any) -> None:
        table = drawn(chain, 4000)
        limits = limits_of(chain, table.to_batches(), task=task).overall
        asked = slice(None) if task == "tagging" else slice(9, None, 10)
        for view, p in posteriors(chain, features(table), lengths(table)).items():
            right = (p.argmax(axis=1) == labels(table))[asked].mean()
            assert limits[view] == pytest.approx(p[asked].max(axis=1).mean(), abs=1e-12)
            assert limits[view] == pytest.approx(right, abs=4 * 0.5 / 4000**0.5)

    @given(
        classes=st.integers(4, 6),
        features=st.integers(2, 8),
        lookalikes=st.sampled_from([0, 2]),
        stay=st.floats(0.2, 0.95),
        separation=st.floats(0.5, 5.0),
    )
    @settings(deadline=None, max_examples=20)
    def test_grow_with_what_is_seen(self, **knobs: Any) -> None:
        chain = hmm.tagging_chain(**knobs, seed=1)
        limits = limits_of(chain, drawn(chain, 500).to_batches(), task="tagging").overall
        # Each holds on average over all sequences; on 500 one may be ahead by chance.
        assert limits["per_step"] < limits["filtering"] + 0.002
        assert limits["filtering"] < limits["smoothing"] + 0.002

    def test_of_lookalikes_need_the_future(self) -> None:
        limits = limits_of(TAGGING, drawn(TAGGING, 500).to_batches(), task="tagging").overall
        assert limits["filtering"] < 0.8  # two classes in five, told apart by chance
        assert limits["smoothing"] > limits["filtering"] + 0.1

    def test_of_a_class_are_the_same_with_the_future(self) -> None:
        batches = drawn(CLASSIFICATION, 50, min_steps=2, max_steps=40, mean_steps=12).to_batches()
        limits = limits_of(CLASSIFICATION, batches, task="classification").overall
        assert limits["filtering"] == pytest.approx(limits["smoothing"], abs=1e-12)
        assert limits["per_step"] < limits["filtering"] - 0.1

    @pytest.mark.parametrize("task", ["tagging", "classification"])
    def test_do_not_depend_on_the_batches(self, task: Any) -> None:
        table = drawn(CLASSIFICATION, 30, min_steps=2, max_steps=40, mean_steps=12)
        cut = int(lengths(table)[:7].sum())
        batches = [
            batch
            for part in (table.slice(0, cut), table.slice(0, 0), table.slice(cut))
            for batch in part.to_batches()
        ]
        whole = limits_of(CLASSIFICATION, table.to_batches(), task=task)
        parts = limits_of(CLASSIFICATION, batches, task=task)
        assert parts.overall == pytest.approx(whole.overall, abs=1e-12)
        for view, by_length in whole.by_length.items():
            assert parts.by_length[view] == pytest.approx(by_length, abs=1e-12)

    @pytest.mark.parametrize("task", ["tagging", "classification"])
    def test_by_length_are_those_of_the_sequences_of_that_length(self, task: Any) -> None:
        chain = TAGGING if task == "tagging" else CLASSIFICATION
        table = drawn(chain, 300, min_steps=2, max_steps=5, mean_steps=3)
        found = limits_of(chain, table.to_batches(), task=task)
        _, of_row, steps = np.unique(table["sequence"], return_inverse=True, return_counts=True)
        own = steps[of_row]
        for length in np.unique(own).tolist():
            part = table.filter(pa.array(own == length)).combine_chunks()
            alone = limits_of(chain, part.to_batches(), task=task)
            assert alone.by_length == {}
            for view, limit in alone.overall.items():
                assert found.by_length[view][length] == pytest.approx(limit, abs=1e-12)

    def test_of_a_bag_of_steps_is_what_the_vote_reaches(self) -> None:
        table = drawn(CLASSIFICATION, 4000, min_steps=12, max_steps=12, mean_steps=12)
        limits = limits_of(CLASSIFICATION, table.to_batches(), task="classification").overall
        assert limits["per_step"] < limits["bag"] - 0.05
        assert limits["bag"] <= limits["smoothing"]
        # The vote by hand, of one sequence after the other: P(observation | class) from densities.
        chain, of_class = CLASSIFICATION, np.eye(CLASSIFICATION.labels.max() + 1)
        values, at = features(table), np.arange(0, 4000 * 12, 12)
        states, right = chain.initial, 0.0
        log = np.log(chain.initial @ of_class[chain.labels])[None, :].repeat(4000, axis=0)
        for step in range(12):
            density = np.exp(-((values[at + step][:, None] - chain.means) ** 2).sum(axis=2) / 2)
            joint = (density * states) @ of_class[chain.labels]
            log += np.log(joint) - np.log(states @ of_class[chain.labels])
            states = states @ chain.transition
        right = float((log.argmax(axis=1) == labels(table)[at]).mean())
        assert limits["bag"] == pytest.approx(right, abs=4 * 0.5 / 4000**0.5)

    def test_add_up(self) -> None:
        how = {"min_steps": 3, "max_steps": 30, "mean_steps": 10, "seed": 1}
        batches = list(hmm.draw(TAGGING, sequences=4000, **how))
        total = Best(TAGGING, "tagging")
        for batch in batches:
            one = Best(TAGGING, "tagging")
            one.add(batch)
            total.take(one)
        assert total.limits() == limits_of(TAGGING, batches, task="tagging")

    def test_need_a_sequence(self) -> None:
        with pytest.raises(DataError, match=r"expected a test sequence, found 0; raise data\.sequ"):
            limits_of(TAGGING, [drawn(TAGGING).to_batches()[0].slice(0, 0)], task="tagging")
