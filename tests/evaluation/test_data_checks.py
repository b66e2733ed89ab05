"""Faults that are planted in the data are found, and clean data raise no alarm."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from birnn.data.sequences import Sequences
from birnn.evaluation import data_checks
from birnn.evaluation.checks import Check

Ragged = Callable[..., Sequences]
LABELS = ["a", "b", "c"]
FEATURES = ["w", "x", "y", "z"]


@pytest.fixture(params=[True, False], ids=["tagging", "classification"])
def splits(request: pytest.FixtureRequest, ragged: Ragged) -> tuple[Sequences, Sequences]:
    """Train and test with nothing in common, and features that hint at the labels."""
    rng = np.random.default_rng(0)
    both: list[Sequences] = []
    for name, number in (("train", 400), ("test", 100)):
        drawn = ragged(
            rng.integers(4, 20, number).tolist(), tagging=request.param, seed=len(both) + 1
        )
        labels = drawn.labels if drawn.tagging else np.repeat(drawn.labels, drawn.lengths)
        values = drawn.values + np.eye(3, 4, dtype=np.float32)[labels]
        groups = pa.array([f"{name}{index}" for index in range(number)])
        both.append(replace(drawn, values=values, groups=groups, ids=groups))
    return both[0], both[1]


def leakage(train: Sequences, test: Sequences) -> Check:
    """Look at a model that is right on the first half of the test labels."""
    half = len(test.labels) // 2
    predicted = np.concatenate([test.labels[:half], np.zeros(len(test.labels) - half, np.int32)])
    features = FEATURES[: train.values.shape[1]]
    return data_checks.leakage(
        train, test, predicted, features=features, labels=LABELS, headline="f1_macro"
    )


def copied(train: Sequences, test: Sequences, number: int) -> Sequences:
    """Train with some test sequences in the place of its last ones."""
    indices = [np.arange(len(train) - number), np.arange(number)]
    parts = [train.select(indices[0]), test.select(indices[1])]
    return Sequences(
        values=np.concatenate([part.values for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([p.lengths for p in parts]))]),
        labels=np.concatenate([part.labels for part in parts]),
        ids=train.ids,
        groups=train.groups,
        tagging=train.tagging,
    )


Splits = tuple[Sequences, Sequences]


class TestLeakage:
    def test_none(self, splits: Splits) -> None:
        check = leakage(*splits)
        assert check.status == "pass"
        assert {f"feature_{name}" for name in FEATURES} <= check.figures.keys()
        assert "headline" not in check.figures

    def test_of_sequences(self, splits: Splits) -> None:
        train, test = splits
        check = leakage(copied(train, test, 40), test)
        assert check.status == "fail"
        assert check.figures["copied"] == 40
        # The model is right on the first half, which train has seen most of.
        assert check.figures["headline_unseen"] < check.figures["headline"]

    def test_of_all_sequences(self, splits: Splits) -> None:
        train, test = splits
        check = leakage(copied(train, test, len(test)), test)
        assert check.status == "fail"
        assert "headline_unseen" not in check.figures

    def test_of_a_group(self, splits: Splits) -> None:
        train, test = splits
        shared = pa.array(["train0", *test.groups.to_pylist()[1:]])
        check = leakage(train, replace(test, groups=shared))
        assert (check.status, check.figures["shared_groups"]) == ("fail", 1)

    def test_by_a_feature(self, splits: Splits) -> None:
        train, test = splits
        values = train.values.copy()
        labels = train.labels if train.tagging else np.repeat(train.labels, train.lengths)
        values[:, 3] = labels
        check = leakage(replace(train, values=values), test)
        assert check.status == "fail"
        assert "'z' alone" in check.sentence

    def test_of_tokens(self, ragged: Ragged) -> None:
        train, test = (ragged([9] * number, features=0, seed=number) for number in (40, 20))
        check = leakage(train, replace(test, groups=pa.array([f"t{n}" for n in range(20)])))
        assert check.status == "pass"
        assert not [name for name in check.figures if name.startswith("feature")]

    def test_of_tokens_by_what_they_spell(self, ragged: Ragged) -> None:
        train = ragged([40] * 40, features=0)
        assert train.tokens is not None
        assert train.dictionary is not None
        places = len(train.dictionary) - 1 - train.tokens
        names = pa.array(train.dictionary.to_pylist()[::-1])
        moved = replace(train, tokens=places, dictionary=names).select(np.arange(20))
        moved = replace(moved, groups=pa.array([f"t{n}" for n in range(20)]))
        assert leakage(train, moved).figures["copied"] == 20
        renamed = replace(moved, dictionary=train.dictionary)
        assert leakage(train, renamed).figures["copied"] == 0

    def test_of_few_and_many_steps(self, splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
        train, test = splits
        two = train.select(np.arange(2))
        assert leakage(two, test).figures.keys() >= {"feature_w"}
        one = train.select(np.arange(1))
        assert "feature_w" not in leakage(one, test).figures
        monkeypatch.setattr(data_checks, "LOOKED_AT", 100)
        assert leakage(train, test).figures.keys() >= {"feature_w"}


class TestLabelShift:
    def test_none(self, splits: Splits) -> None:
        assert data_checks.label_shift(*splits, labels=LABELS).status == "pass"

    def test_of_a_prior(self, splits: Splits) -> None:
        train, test = splits
        shifted = replace(test, labels=np.where(test.labels == 1, 0, test.labels))
        check = data_checks.label_shift(train, shifted, labels=LABELS)
        assert check.status == "fail"
        assert "'b'" in check.sentence
