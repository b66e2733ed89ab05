from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.errors import DataError
from birnn.model.operating_points import choose, decide


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
