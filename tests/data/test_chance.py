"""The chance that is measured, beside processes of which it is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.leakage import together
from birnn.data import chance
from birnn.data.chance import Chance

Array = NDArray[Any]


def measured(sequences: list[Array]) -> Chance:
    split = together(sequences)
    return chance.measure(split, split.token_codes())


def letters(rng: np.random.Generator, alphabet: int) -> list[Array]:
    """Independent letters, no two equal ones in a row."""
    moves = rng.integers(1, alphabet, (300, 60)).cumsum(axis=1)
    return list((moves % alphabet).astype(np.int32))


@pytest.mark.parametrize("alphabet", [4, 10])
def test_of_letters_is_that_of_the_process(alphabet: int) -> None:
    found = measured(letters(np.random.default_rng(0), alphabet))
    assert found.following == pytest.approx(1 / (alphabet - 1), rel=0.15)
    # What fewer than a fifth of pairs of 60 letters have in common, by the same process.
    expected = np.log(60**2 / alphabet / -np.log(0.8)) / np.log(alphabet - 1)
    assert found.usual == pytest.approx(expected, abs=1.5)


def real(rng: np.random.Generator) -> list[Array]:
    return list(rng.standard_normal((150, 60, 1)))


def whole(rng: np.random.Generator) -> list[Array]:
    return list(rng.integers(-3, 4, (150, 60, 1)).cumsum(axis=1))


@pytest.mark.parametrize("draw", [real, whole, lambda rng: letters(rng, 10)])
@pytest.mark.parametrize("times", [2, 6])
def test_copies_do_not_make_it_greater(
    draw: Callable[[np.random.Generator], list[Array]], times: int
) -> None:
    sequences = draw(np.random.default_rng(0))
    clean, copied = measured(sequences), measured(sequences * times)
    assert copied.following == pytest.approx(clean.following, rel=0.2)
    assert abs(copied.usual - clean.usual) <= 1


def test_real_numbers_do_not_coincide() -> None:
    found = measured(real(np.random.default_rng(0)))
    assert not found.discrete
    assert found.rare(np.array([4]), 1e12).all()


def test_a_common_head_is_usual() -> None:
    rng = np.random.default_rng(0)
    found = measured([np.append(np.arange(20), rng.integers(100, 400, 30)) for _ in range(300)])
    assert found.usual == 20
    assert found.following < 0.02
    assert found.rare(np.array([19, 20, 26]), 1e6).tolist() == [False, False, True]


def test_of_one_sequence_nothing_is_rare() -> None:
    assert not measured([np.arange(50)]).rare(np.arange(1, 64), 1.0).any()
