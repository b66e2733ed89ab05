"""Faults that are planted in the data are found, and clean data raise no alarm."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from birnn.data.sequences import Sequences
from birnn.evaluation import data_checks
from birnn.evaluation.checks import Check
from birnn.evaluation.data_checks import Splits

Ragged = Callable[..., Sequences]
LABELS = ["a", "b", "c"]
FEATURES = ["w", "x", "y", "z"]


@pytest.fixture(params=[True, False], ids=["tagging", "classification"])
def splits(request: pytest.FixtureRequest, ragged: Ragged) -> Splits:
    """Splits with nothing in common, and features that hint at the labels."""
    rng = np.random.default_rng(0)
    three: list[Sequences] = []
    for name, number in (("train", 400), ("validation", 100), ("test", 100)):
        drawn = ragged(
            rng.integers(4, 20, number).tolist(), tagging=request.param, seed=len(three) + 1
        )
        labels = drawn.labels if drawn.tagging else np.repeat(drawn.labels, drawn.lengths)
        values = drawn.values + np.eye(3, 4, dtype=np.float32)[labels]
        groups = pa.array([f"{name}{index}" for index in range(number)])
        three.append(replace(drawn, values=values, groups=groups, ids=groups))
    return Splits(*three)


def leakage(splits: Splits) -> Check:
    """Look at a model that is right on the first half of the test labels."""
    test = splits.test
    half = len(test.labels) // 2
    predicted = np.concatenate([test.labels[:half], np.zeros(len(test.labels) - half, np.int32)])
    features = FEATURES[: test.values.shape[1]]
    return data_checks.leakage(
        splits, predicted, features=features, labels=LABELS, headline="f1_macro"
    )


def copied(into: Sequences, source: Sequences, number: int) -> Sequences:
    """A split with some sequences of another in the place of its last ones."""
    indices = [np.arange(len(into) - number), np.arange(number)]
    parts = [into.select(indices[0]), source.select(indices[1])]
    return Sequences(
        values=np.concatenate([part.values for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([p.lengths for p in parts]))]),
        labels=np.concatenate([part.labels for part in parts]),
        ids=into.ids,
        groups=into.groups,
        tagging=into.tagging,
    )


class TestLeakage:
    def test_none(self, splits: Splits) -> None:
        check = leakage(splits)
        assert check.status == "pass"
        assert {f"feature_{name}" for name in FEATURES} <= check.figures.keys()
        assert "headline" not in check.figures

    def test_of_sequences(self, splits: Splits) -> None:
        check = leakage(replace(splits, train=copied(splits.train, splits.test, 40)))
        assert check.status == "fail"
        assert check.figures["copied"] == check.figures["repeated"] == 40
        assert "'test0' (in train: 'train360')" in check.sentence
        # The model is right on the first half, which train has seen most of.
        figures = check.figures
        assert figures["headline_seen"] > figures["headline"] > figures["headline_unseen"]

    def test_of_all_sequences(self, splits: Splits) -> None:
        check = leakage(replace(splits, train=copied(splits.train, splits.test, 100)))
        assert check.status == "fail"
        assert "headline_unseen" not in check.figures

    def test_of_validation(self, splits: Splits) -> None:
        check = leakage(replace(splits, validation=copied(splits.validation, splits.test, 9)))
        assert check.status == "warn"
        assert check.figures["test_in_validation"] == 9
        check = leakage(replace(splits, validation=copied(splits.validation, splits.train, 9)))
        assert check.status == "warn"
        assert check.figures["validation_copied"] == 9

    def test_of_a_group(self, splits: Splits) -> None:
        shared = pa.array(["train0", *splits.test.groups.to_pylist()[1:]])
        check = leakage(replace(splits, test=replace(splits.test, groups=shared)))
        assert (check.status, check.figures["shared_groups"]) == ("fail", 1)

    def test_by_a_feature(self, splits: Splits) -> None:
        train = splits.train
        values = train.values.copy()
        labels = train.labels if train.tagging else np.repeat(train.labels, train.lengths)
        values[:, 3] = labels
        check = leakage(replace(splits, train=replace(train, values=values)))
        assert check.status == "fail"
        assert "'z' alone" in check.sentence

    def test_of_tokens(self, ragged: Ragged) -> None:
        train, validation, test = (
            ragged([9] * number, features=0, seed=number) for number in (40, 30, 20)
        )
        test = replace(test, groups=pa.array([f"t{n}" for n in range(20)]))
        check = leakage(Splits(train, validation, test))
        assert check.status == "pass"
        assert not [name for name in check.figures if name.startswith("feature")]

    def test_of_few_and_many_steps(self, splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
        two = splits.train.select(np.arange(2))
        assert leakage(replace(splits, train=two)).figures.keys() >= {"feature_w"}
        one = splits.train.select(np.arange(1))
        assert "feature_w" not in leakage(replace(splits, train=one)).figures
        monkeypatch.setattr(data_checks, "LOOKED_AT", 100)
        assert leakage(splits).figures.keys() >= {"feature_w"}


class TestLabelShift:
    def test_none(self, splits: Splits) -> None:
        check = data_checks.label_shift(splits.train, splits.test, labels=LABELS)
        assert check.status == "pass"

    def test_of_a_prior(self, splits: Splits) -> None:
        train, test = splits.train, splits.test
        shifted = replace(test, labels=np.where(test.labels == 1, 0, test.labels))
        check = data_checks.label_shift(train, shifted, labels=LABELS)
        assert check.status == "fail"
        assert "'b'" in check.sentence
