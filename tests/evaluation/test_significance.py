"""Correction for looking often, against its definition by closed testing."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.evaluation.significance import holm

CHANCES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def by_closed_testing(p: list[float]) -> list[float]:
    """Reject what every intersection of hypotheses that it is part of rejects by Bonferroni."""
    everything = range(len(p))
    sets = [set(s) for n in range(1, len(p) + 1) for s in combinations(everything, n)]
    return [
        max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in everything
    ]


@given(CHANCES)
def test_is_closed_testing_with_bonferroni(p: list[float]) -> None:
    assert holm(np.array(p)) == pytest.approx(by_closed_testing(p))


def test_of_nothing_is_nothing() -> None:
    assert len(holm(np.array([]))) == 0
