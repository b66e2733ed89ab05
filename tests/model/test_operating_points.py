from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.errors import DataError
from birnn.model.operating_points import Wanted, choose, decide, thresholds


@st.composite
def validation_rows(draw: st.DrawFn) -> tuple[Any, Any]:
    """Rows with ties between probabilities and at least one of the class."""
    rows = st.tuples(st.booleans(), st.integers(0, 10))
    drawn = draw(st.lists(rows, min_size=1, max_size=30).filter(lambda xs: any(x for x, _ in xs)))
    return np.array([row[0] for row in drawn]), np.array([row[1] for row in drawn]) / 10


class TestChoose:
    @settings(deadline=None)  # the first call imports scikit-learn
    @given(validation_rows(), st.sampled_from(["recall", "precision"]), st.floats(0, 1))
    def test_is_the_best_of_all_thresholds(
        self, rows: tuple[Any, Any], wanted: Any, at_least: float
    ) -> None:
        positive, probability = rows
        candidates = []
        for threshold in np.unique(probability):
            called = probability >= threshold
            right = np.sum(called & positive)
            candidates.append({"precision": right / called.sum(), "recall": right / positive.sum()})
        other = "precision" if wanted == "recall" else "recall"
        point = choose(positive, probability, wanted=wanted, at_least=at_least)
        able = [candidate for candidate in candidates if candidate[wanted] >= at_least]
        assert point.reached == bool(able)
        if able:
            assert getattr(point, other) == max(candidate[other] for candidate in able)
        else:
            assert getattr(point, wanted) == max(candidate[wanted] for candidate in candidates)

    @settings(deadline=None)
    @given(validation_rows())
    def test_says_what_the_threshold_gives(self, rows: tuple[Any, Any]) -> None:
        positive, probability = rows
        point = choose(positive, probability, wanted="recall", at_least=0.5)
        called = decide(np.stack([1 - probability, probability], axis=1), {1: point.threshold}) == 1
        assert point.recall == np.sum(called & positive) / positive.sum()
        assert point.precision == np.sum(called & positive) / called.sum()

    def test_no_row_of_the_class(self) -> None:
        with pytest.raises(DataError, match="found none"):
            choose(np.zeros(3, dtype=bool), np.ones(3), wanted="recall", at_least=0.8)


LABELS = ["common", "left", "right"]


def mixed(seed: int, *, apart: float, rows: int = 1500) -> tuple[Any, Any]:
    """Two rare classes that resemble each other and a common one; with exact probabilities."""
    generator = np.random.default_rng(seed)
    shares, angles = np.array([0.8, 0.1, 0.1]), 2 * np.pi * np.arange(3) / 3
    means = apart * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    actual = generator.choice(3, rows, p=shares)
    values = means[actual] + generator.standard_normal((rows, 2))
    weights = shares * np.exp(-((values[:, None] - means) ** 2).sum(axis=2) / 2)
    return actual, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def recalls(found: dict[str, float], actual: Any, probabilities: Any) -> dict[str, float]:
    """What `decide` really finds of each class, with all thresholds together."""
    called = decide(probabilities, {LABELS.index(label): t for label, t in found.items()})
    return {
        label: (called[actual == LABELS.index(label)] == LABELS.index(label)).mean()
        for label in found
    }


class TestTogether:
    WANTED: ClassVar = {label: Wanted(min_recall=0.8) for label in ("left", "right")}

    @pytest.mark.parametrize("seed", range(3))
    def test_each_reaches_on_new_rows_too_what_alone_it_would(self, seed: int) -> None:
        actual, probabilities = mixed(seed, apart=1.2)
        alone = {
            label: thresholds({label: aim}, LABELS, actual, probabilities)[label]
            for label, aim in self.WANTED.items()
        }
        assert max(recalls(alone, actual, probabilities).values()) < 0.78
        found = thresholds(self.WANTED, LABELS, actual, probabilities)
        assert min(recalls(found, actual, probabilities).values()) >= 0.8
        new = recalls(found, *mixed(seed + 100, apart=1.2))
        assert min(new.values()) == pytest.approx(0.8, abs=0.12)  # of 150 rows a class

    @pytest.mark.parametrize("seed", range(3))
    def test_as_much_as_any_pair_of_thresholds(self, seed: int) -> None:
        actual, probabilities = mixed(seed, apart=0.8, rows=300)
        found = thresholds(self.WANTED, LABELS, actual, probabilities)
        ours = min(recalls(found, actual, probabilities).values())
        grid = np.quantile(probabilities[:, 1:], np.linspace(0, 1, 25))
        best = max(
            min(recalls({"left": one, "right": other}, actual, probabilities).values())
            for one in grid
            for other in grid
        )
        assert ours >= min(best, 0.8) - 0.8 / 40 - 1 / 30  # a step of the search, and a row

    def test_classes_that_are_in_nobodys_way_keep_their_own_thresholds(self) -> None:
        actual, probabilities = mixed(0, apart=6.0)
        found = thresholds(self.WANTED, LABELS, actual, probabilities)
        for label, aim in self.WANTED.items():
            assert thresholds({label: aim}, LABELS, actual, probabilities) == {label: found[label]}

    @pytest.mark.parametrize("labels", [("left", "right"), tuple(LABELS)])
    def test_precision_too(self, labels: tuple[str, ...]) -> None:
        actual, probabilities = mixed(1, apart=1.5)
        wanted = {label: Wanted(min_precision=0.6) for label in labels}
        found = thresholds(wanted, LABELS, actual, probabilities)
        called = decide(probabilities, {LABELS.index(name): t for name, t in found.items()})
        for label in labels:
            own = called == LABELS.index(label)
            assert (actual[own] == LABELS.index(label)).mean() >= 0.6


class TestDecide:
    PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.1, 0.3, 0.6], [0.3, 0.4, 0.3]])

    @pytest.mark.parametrize(
        ("thresholds", "expected"),
        [
            ({}, [0, 0, 2, 1]),
            ({2: 0.25}, [0, 2, 2, 2]),  # called earlier
            ({2: 0.7}, [0, 0, 1, 1]),  # called later
            ({2: 0.0}, [2, 2, 2, 2]),
            ({1: 0.2, 2: 0.25}, [1, 1, 2, 1]),  # the one furthest above its threshold
            ({0: 0.9, 1: 0.9, 2: 0.9}, [0, 0, 2, 1]),  # none reaches it: the nearest
        ],
    )
    def test_rule(self, thresholds: dict[int, float], expected: list[int]) -> None:
        before = self.PROBABILITIES.copy()
        assert decide(self.PROBABILITIES, thresholds).tolist() == expected
        np.testing.assert_array_equal(self.PROBABILITIES, before)

    def test_a_threshold_in_single_precision_calls_its_own_row(self) -> None:
        probability = np.random.default_rng(0).random(50, dtype=np.float32)
        both = np.stack([1 - probability, probability], axis=1)
        for threshold in probability:
            called = decide(both, {1: float(threshold)}) == 1
            np.testing.assert_array_equal(called, probability >= threshold)
