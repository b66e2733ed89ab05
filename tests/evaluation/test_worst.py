"""The sequences that a model does worst on: the right ones, in order, with what they look like."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.evaluation import worst

Ragged = Callable[..., Sequences]
ENCODING = Encoding("tagging", list("abc"), list("wxyz"), [0.0] * 4, [1.0] * 4)


def said(test: Sequences, chance: list[float]) -> npt.NDArray[np.float32]:
    """Probabilities that give the true class of each label of a sequence this chance."""
    per_label = np.repeat(chance, np.diff(test.label_offsets))
    shares = np.tile((1 - per_label)[:, None] / 2, 3)
    shares[np.arange(len(per_label)), test.labels] = per_label
    return shares.astype(np.float32)


def find(test: Sequences, chance: list[float]) -> list[worst.Worst]:
    shares = said(test, chance)
    return worst.worst(test, ENCODING, shares, shares.argmax(axis=1))


@pytest.mark.parametrize("tagging", [True, False])
def test_the_least_accurate_come_first_then_those_of_the_highest_loss(
    ragged: Ragged, tagging: bool
) -> None:
    test = ragged([2, 3, 4, 5], tagging=tagging)
    found = find(test, [0.9, 0.2, 0.1, 0.0])
    assert [one.sequence for one in found] == ["s3", "s2", "s1"]
    assert [one.steps for one in found] == [5, 4, 3]
    assert [one.accuracy for one in found] == [0, 0, 0]
    expected = [-np.log(worst.LEAST_SHARE), -np.log(0.1), -np.log(0.2)]
    assert [one.loss for one in found] == pytest.approx(expected, abs=1e-4)
    assert [len(one.tags) for one in found] == ([5, 4, 3] if tagging else [1, 1, 1])


def test_accuracy_is_the_share_of_right_labels(ragged: Ragged) -> None:
    test = ragged([4, 4])
    shares = said(test, [0.9, 0.9])
    shares[5] = np.roll(shares[5], 1)
    (found,) = worst.worst(test, ENCODING, shares, shares.argmax(axis=1))
    assert (found.sequence, found.accuracy) == ("s1", 0.75)
    assert [tag.actual != tag.predicted for tag in found.tags] == [False, True, False, False]
    assert found.tags[1].probability == pytest.approx(0.05, abs=1e-4)
    assert found.loss == pytest.approx(-np.log([0.9, 0.05, 0.9, 0.9]).mean(), abs=1e-4)


def test_no_more_than_a_person_looks_at(ragged: Ragged) -> None:
    found = find(ragged([50] * 9, features=20), [0.1] * 9)
    assert len(found) == worst.MOST
    assert all(len(one.tags) == worst.MOST_STEPS for one in found)
    shapes = {np.shape(one.values) for one in found}
    assert shapes == {(worst.MOST_FEATURES, worst.MOST_STEPS)}


def test_tokens_are_spelled_and_numbers_are_kept(ragged: Ragged) -> None:
    test = ragged([3], features=0)
    (found,) = find(test, [0.1])
    assert test.tokens is not None
    assert test.dictionary is not None
    assert found.words == test.dictionary.take(test.tokens.tolist()).to_pylist()
    assert found.values == []
    test = ragged([3])
    (found,) = find(test, [0.1])
    assert found.words == []
    np.testing.assert_allclose(found.values, test.values.T, atol=1e-4)


def test_none_where_all_is_right(ragged: Ragged) -> None:
    assert find(ragged([2, 3]), [0.9, 0.8]) == []
