"""Expected accuracy: compared with the true one, which a known process gives."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit, xlogy

from birnn.evaluation.expected_accuracy import (
    Calibration,
    calibrate,
    checked,
    confidence,
    estimate,
)
from birnn.files import records

Array = NDArray[Any]


class Drawn(NamedTuple):
    """Answers, and the chance of each to be right."""

    confidence: Array
    right: Array
    offsets: Array
    groups: Array
    chance: Array

    @property
    def labelled(self) -> dict[str, Any]:
        return {"confidence": self.confidence, "right": self.right, **self.unlabelled}

    @property
    def unlabelled(self) -> dict[str, Any]:
        return {"offsets": self.offsets, "groups": self.groups}


def draw(seed: Any, groups: int = 100, *, harder: float = 0, sure: float = 1.5) -> Drawn:
    """Two sequences of ten steps a group, some groups harder; the model is too sure."""
    rng = np.random.default_rng(seed)
    rows = 20 * groups
    hard = np.repeat(rng.normal(0, 0.5, groups), 20)
    odds = rng.normal(1.8, 1.2, rows) + hard - harder
    chance = expit(odds)
    offsets, owner = np.arange(0, rows + 1, 10), np.repeat(np.arange(groups), 2)
    said = expit(sure * odds).astype(np.float32)
    return Drawn(said, rng.random(rows) < chance, offsets, owner, chance)


def known(seed: int, **how: Any) -> Calibration:
    validation, test = draw((seed, 0), **how), draw((seed, 1), **how)
    return checked(calibrate(**validation.labelled), **test.labelled)


def test_the_confidence_is_that_of_the_class_that_is_answered() -> None:
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4]], np.float32)

    assert confidence(probabilities, np.array([0, 1])).tolist() == pytest.approx([0.7, 0.4])


def test_the_fit_is_that_of_platt() -> None:
    drawn = draw(1)
    hits, misses = drawn.right.sum(), (~drawn.right).sum()
    aim = np.where(drawn.right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    odds = logit(drawn.confidence.astype(float))

    def loss(of: Array) -> float:
        chance = expit(of[0] + of[1] * odds)
        return -float((xlogy(aim, chance) + xlogy(1 - aim, 1 - chance)).sum())

    expected = minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-8}).x
    found = calibrate(**drawn.labelled)

    np.testing.assert_allclose([found.intercept, found.slope], expected, atol=1e-4)
    assert found.slope == pytest.approx(1 / 1.5, rel=0.1)  # it was too sure by that


def test_the_estimate_is_the_accuracy_where_the_mean_confidence_is_not() -> None:
    new = draw(3, 1000)
    found = estimate(known(2, groups=400), new.confidence, **new.unlabelled, drifted=[])

    assert abs(found.accuracy - new.chance.mean()) < 0.01
    assert abs(new.confidence.mean() - new.chance.mean()) > 0.03
    assert found.low is not None
    assert found.high is not None
    assert found.low < new.chance.mean() < found.high
    assert found.believed
    assert found.groups == 1000
    assert "expected to be right (95 % interval over 1000 groups of sequences" in found.sentence
    assert "on the test split the estimate was off by" in found.sentence


def test_harder_data_that_make_the_model_less_sure_get_a_lower_estimate() -> None:
    new = draw(5, 1000, harder=1)
    found = estimate(known(4, groups=400), new.confidence, **new.unlabelled)

    assert abs(found.accuracy - new.chance.mean()) < 0.02
    assert found.accuracy < 0.7


def test_an_estimate_that_was_off_on_the_test_split_is_not_believed() -> None:
    validation, test = draw(6), draw(7)
    wrong = test.right & (np.random.default_rng(0).random(len(test.right)) < 0.8)
    found = checked(calibrate(**validation.labelled), test.confidence, wrong, **test.unlabelled)
    said = estimate(found, test.confidence)

    assert found.on_test is not None
    assert found.on_test.error == pytest.approx(
        found.chances(test.confidence).mean() - wrong.mean()
    )
    assert found.on_test.error > 0.1
    assert found.on_test.off
    assert not said.believed
    assert "do not believe it: of the test split" in said.sentence


def test_an_estimate_for_data_that_have_drifted_is_not_believed() -> None:
    new = draw(8)
    found = estimate(known(8), new.confidence, drifted=["feature x", "labels"])

    assert not found.believed
    assert found.sentence.endswith("do not believe it: the data have drifted (feature x, labels).")


def test_an_estimate_that_rests_on_few_groups_is_not_believed() -> None:
    found = estimate(known(9, groups=9), draw(9).confidence)

    assert not found.believed
    assert "it rests on 9 validation groups, and 10 are needed" in found.sentence


def test_nobody_has_looked_for_drift() -> None:
    found = estimate(known(10), draw(10).confidence)

    assert found.sentence.endswith("if the data are like those that the model has learned from.")
    assert found.answers == found.groups == 2000


@pytest.mark.parametrize("right", [True, False])
def test_a_split_without_a_mistake_or_with_nothing_else_makes_nobody_certain(right: bool) -> None:
    drawn = draw(11)
    found = calibrate(drawn.confidence, np.full(len(drawn.right), right), **drawn.unlabelled)
    said = estimate(found, drawn.confidence)

    assert 0 < said.accuracy < 1
    assert abs(said.accuracy - right) < 0.01


def test_answers_of_one_group_have_no_interval() -> None:
    found = estimate(known(12), np.array([0.9, 0.8]), offsets=np.array([0, 2]))

    assert found.low is None
    assert found.high is None
    assert "interval" not in found.sentence


def test_certain_answers_have_a_finite_estimate() -> None:
    found = estimate(known(13), np.array([1.0, 0.0, 0.5], np.float32))

    assert 0 < found.accuracy < 1


def test_what_is_known_survives_its_file(tmp_path: Path) -> None:
    expected = known(14)
    records.write(tmp_path / "known.json", expected)

    found = records.read(tmp_path / "known.json", Calibration)
    assert (found.intercept, found.slope) == pytest.approx(
        (expected.intercept, expected.slope), rel=1e-8
    )
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-8)
    assert found.groups == expected.groups


def covered(groups: int, trials: int) -> tuple[float, float]:
    """How often the intervals hold the true accuracy, and the error of no bias at all."""
    true = draw(0, 20_000).chance.mean()
    hits = []
    for trial in range(trials):
        of = known(trial + 1, groups=groups)
        new = draw((trial + 1, 2), groups)
        said = estimate(of, new.confidence, **new.unlabelled)
        assert of.on_test is not None
        assert said.low is not None
        assert said.high is not None
        hits.append((said.low <= true <= said.high, of.on_test.low <= 0 <= of.on_test.high))
    first, second = np.mean(hits, axis=0).tolist()
    return first, second


@pytest.mark.slow
@pytest.mark.parametrize("groups", [20, 100])
def test_intervals_hold_the_truth(groups: int) -> None:
    """By chance alone 200 sets give 0.92 to 0.98."""
    for share in covered(groups, 200):
        assert 0.91 < share < 0.985
