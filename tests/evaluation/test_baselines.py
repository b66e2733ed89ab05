"""What can be had without a recurrent network, against scikit-learn and by counting."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from birnn.data.sequences import Sequences
from birnn.evaluation import baselines

Ragged = Callable[..., Sequences]
LENGTHS = [5, 3, 8, 1, 6, 4] * 10


def tokens(rows: list[list[int]], labels: list[int], *, tagging: bool) -> Sequences:
    ids = pa.array([f"s{number}" for number in range(len(rows))])
    offsets = np.cumsum([0, *map(len, rows)])
    values = np.zeros((offsets[-1], 0), np.float32)
    places = np.concatenate(rows).astype(np.int32)
    names = pa.array(["", *(f"w{number}" for number in range(1, 10))])
    return Sequences(values, offsets, np.array(labels, np.int32), ids, ids, tagging, places, names)


@pytest.mark.parametrize("tagging", [True, False])
class TestMajority:
    def test_is_that_of_train_not_of_the_other_split(self, ragged: Ragged, tagging: bool) -> None:
        train, other = ragged(LENGTHS, tagging=tagging), ragged([3, 2], tagging=tagging)
        train = replace(train, labels=np.where(train.labels == 0, 0, 1).astype(np.int32))
        other = replace(other, labels=np.full_like(other.labels, 2))
        assert baselines.majority(train, other).tolist() == [1] * len(other.labels)


class TestFeatures:
    def test_of_each_step_like_scikit_learn(self, ragged: Ragged) -> None:
        train, other = ragged(LENGTHS, seed=1), ragged([4, 9], seed=2)
        found = baselines.context_free(train, other, classes=3, seed=0)
        model = LogisticRegression(max_iter=1000).fit(train.values, train.labels)
        assert found.tolist() == model.predict(other.values).tolist()

    def test_of_a_sequence_vote(self, ragged: Ragged) -> None:
        train, other = ragged(LENGTHS, tagging=False, seed=1), ragged([4, 9], tagging=False, seed=2)
        found = baselines.context_free(train, other, classes=3, seed=0)
        labels = np.repeat(train.labels, train.lengths)
        model = LogisticRegression(max_iter=1000).fit(train.values, labels)
        logs = np.split(model.predict_log_proba(other.values), other.offsets[1:-1])
        assert found.tolist() == [votes.sum(axis=0).argmax() for votes in logs]

    def test_the_order_of_steps_counts_for_nothing(self, ragged: Ragged) -> None:
        train, other = ragged(LENGTHS), ragged([4, 9], seed=2)
        found = baselines.context_free(train, other, classes=3, seed=0)
        reversed_ = replace(other, values=other.values[::-1])
        assert baselines.context_free(train, reversed_, classes=3, seed=0).tolist() == (
            found[::-1].tolist()
        )

    def test_a_class_so_rare_that_none_of_the_chosen_steps_has_it(
        self, ragged: Ragged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(baselines, "MOST_STEPS", 20)
        train, other = ragged(LENGTHS), ragged([4, 9], seed=2)
        rare = np.where(np.arange(len(train.labels)) == len(train.labels) - 1, 2, 1)
        train = replace(train, labels=rare.astype(np.int32))
        found = baselines.context_free(train, other, classes=3, seed=0)
        assert found.tolist() == [1] * len(other.labels)

    def test_a_class_that_train_has_not_is_never_given(self, ragged: Ragged) -> None:
        train, other = ragged(LENGTHS), ragged([4, 9], seed=2)
        found = baselines.context_free(train, other, classes=5, seed=0)
        assert set(found.tolist()) <= {0, 1, 2}

    def test_of_many_steps_a_random_choice_that_the_seed_decides(
        self, ragged: Ragged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(baselines, "MOST_STEPS", 20)
        train, other = ragged(LENGTHS), ragged([100], seed=2)
        found = [baselines.context_free(train, other, classes=3, seed=seed) for seed in (1, 1, 2)]
        assert found[0].tolist() == found[1].tolist()
        assert found[0].tolist() != found[2].tolist()


class TestTokens:
    def test_the_most_frequent_label_of_each(self) -> None:
        train = tokens([[1, 2, 1], [1, 2, 3]], [0, 1, 0, 2, 1, 2], tagging=True)
        other = tokens([[3, 2], [1]], [0, 0, 0], tagging=True)
        assert baselines.context_free(train, other, classes=3, seed=0).tolist() == [2, 1, 0]

    def test_one_that_is_unknown_gets_the_most_frequent_label(self) -> None:
        train = tokens([[1, 2, 1], [1, 2, 3]], [0, 1, 1, 2, 1, 2], tagging=True)
        other = tokens([[9, 0]], [0, 0], tagging=True)
        assert baselines.context_free(train, other, classes=3, seed=0).tolist() == [1, 1]

    def test_are_the_same_where_they_spell_the_same(self) -> None:
        train = tokens([[1, 2, 1], [1, 2, 3]], [0, 1, 0, 2, 1, 2], tagging=True)
        other = tokens([[3, 2], [1, 4]], [0] * 4, tagging=True)
        moved = replace(other, dictionary=pa.array(["", "w9", "w1", "w2", "w3"]))
        found = baselines.context_free(train, moved, classes=3, seed=0)
        assert found.tolist() == [1, 0, 0, 2]

    def test_of_a_sequence_vote(self) -> None:
        train = tokens([[1, 1, 2], [2, 2, 1], [2, 2]], [0, 1, 1], tagging=False)
        other = tokens([[1], [2, 2], [1, 2, 2, 2]], [0, 0, 0], tagging=False)
        assert baselines.context_free(train, other, classes=2, seed=0).tolist() == [0, 1, 1]


class TestBoth:
    def test_are_weighed_as_if_independent(self, ragged: Ragged) -> None:
        train = ragged(LENGTHS, tokens=True, seed=1)
        other = ragged([4, 9], tokens=True, seed=2)
        found = baselines.context_free(train, other, classes=3, seed=0)
        prior = np.bincount(train.labels) / len(train.labels)
        model = LogisticRegression(max_iter=1000).fit(train.values, train.labels)
        assert train.tokens is not None
        assert other.tokens is not None
        expected = []
        for logs, token in zip(model.predict_log_proba(other.values), other.tokens, strict=True):
            counts = np.bincount(train.labels[train.tokens == token], minlength=3) + prior
            expected.append((logs + np.log(counts / counts.sum()) - np.log(prior)).argmax())
        assert found.tolist() == expected

    def test_a_class_that_train_has_not_is_never_given(self, ragged: Ragged) -> None:
        train, other = ragged(LENGTHS, tokens=True), ragged([4, 9], tokens=True, seed=2)
        found = baselines.context_free(train, other, classes=5, seed=0)
        assert set(found.tolist()) <= {0, 1, 2}
