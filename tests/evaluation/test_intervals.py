"""Intervals: what they cover where the truth is known, and where there is none."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import stdtrit
from sklearn import metrics as sk

from benchmarks import coverage
from benchmarks.coverage import Draw
from birnn.evaluation.intervals import (
    difference,
    in_brackets,
    intervals,
    names,
    of_change,
    of_share,
    over,
)
from birnn.evaluation.metrics import metrics

Array = NDArray[Any]
LABELS = "abc"


def uneven(rng: np.random.Generator, num_sequences: int) -> tuple[Array, Array, Array]:
    """Return actual, predicted and offsets where some sequences are harder than others."""
    offsets = np.cumsum([0, *rng.integers(1, 20, num_sequences)])
    actual = rng.choice(3, offsets[-1], p=[0.6, 0.3, 0.1])
    hard = np.repeat(rng.beta(0.5, 2, num_sequences), np.diff(offsets))
    wrong = rng.random(offsets[-1]) < hard
    return actual, np.where(wrong, (actual + rng.integers(1, 3, len(actual))) % 3, actual), offsets


def alone(offsets: Array) -> Array:
    """Each sequence is its own group."""
    return np.arange(len(offsets) - 1)


def of_rows(actual: Array, predicted: Array, labels: str = LABELS) -> Any:
    """The intervals where each row is a sequence without a group."""
    offsets = np.arange(len(actual) + 1)
    return intervals(actual, predicted, labels=labels, offsets=offsets, groups=alone(offsets))


def share(found: dict[str, float], low: float, high: float = 1) -> bool:
    return all(low <= value <= high for value in found.values())


class TestCoverage:
    """Of 150 draws, 95 % are 142.5; by chance there are under 135 in one of 200."""

    @pytest.mark.parametrize("correlation", [0, 0.5])
    def test_over_groups(self, correlation: float) -> None:
        found = coverage.measure(Draw(30, 10, correlation), 150)
        assert share(found.covered, 0.9), found.covered
        assert share(found.same, 0.9), found.same
        assert share(found.promoted, 0, 0.05), found.promoted

    def test_sequences_instead_of_groups_would_not_do(self) -> None:
        """What the test above looks for does happen."""
        rng, draw = np.random.default_rng(0), Draw(20, 50, 0.5)
        covered = []
        for _ in range(60):
            rows = coverage.drawn(draw, rng)
            low, high, _ = of_rows(rows.actual, rows.answers[0])["accuracy"]
            covered.append(low <= draw.accuracy <= high)
        assert np.mean(covered) < 0.7

    @pytest.mark.long
    @pytest.mark.parametrize("name", coverage.DRAWS)
    def test_of_all_that_docs_show(self, name: str) -> None:
        for draw in coverage.DRAWS[name]:
            found = coverage.measure(draw, 1000)
            assert share(found.covered, 0.93), (draw, found.covered)
            assert share(found.same, 0.93), (draw, found.same)
            assert share(found.promoted, 0, 0.035), (draw, found.promoted)
            if name in {"20 groups of 50", "50 groups of 20", "150 sequences of 10 rows"}:
                assert found.covered["accuracy"] <= 0.975, (draw, found.covered)


class TestIntervals:
    def test_vary_as_the_figures_of_scikit_learn_without_each_group(self) -> None:
        """The difference of a model from one that is always right varies as the model does."""
        rows = coverage.drawn(Draw(20, 30, 0.2), np.random.default_rng(0))
        offsets = np.arange(len(rows.actual) + 1)
        found = difference(
            rows.actual,
            rows.answers[0],
            rows.actual,
            labels=LABELS,
            offsets=offsets,
            groups=rows.groups,
        )
        figures = {
            "accuracy": sk.accuracy_score,
            "balanced_accuracy": sk.balanced_accuracy_score,
            "f1_macro": lambda *rows: sk.f1_score(*rows, average="macro"),
            "precision_weighted": lambda *rows: sk.precision_score(*rows, average="weighted"),
            "f1_weighted": lambda *rows: sk.f1_score(*rows, average="weighted"),
            "mcc": sk.matthews_corrcoef,
            "recall_c": lambda *rows: sk.recall_score(*rows, average=None)[2],
        }
        for name, figure in figures.items():
            left_out = np.array(
                [
                    figure(rows.actual[kept], rows.answers[0][kept])
                    for kept in (rows.groups != group for group in range(20))
                ]
            )
            change = left_out - figure(rows.actual, rows.answers[0])
            error = np.sqrt(19 / 20 * (change**2).sum())
            freedom = np.abs(change).sum() ** 2 / (change**2).sum()
            gain = found[name]
            assert (gain.high - gain.low) / 2 == pytest.approx(stdtrit(freedom, 0.975) * error)

    def test_names_are_those_of_the_metrics(self) -> None:
        actual, predicted, offsets = uneven(np.random.default_rng(0), 50)
        found = intervals(actual, predicted, labels=LABELS, offsets=offsets, groups=alone(offsets))
        figures = metrics(actual, predicted, None, labels=LABELS, offsets=offsets)
        assert list(found) == names(LABELS)
        assert all(low <= figures[name] <= high for name, (low, high, _) in found.items())
        assert found["recall_weighted"] == found["accuracy"]

    def test_steps_of_one_sequence_are_not_independent(self) -> None:
        actual, predicted, offsets = uneven(np.random.default_rng(0), 100)
        rows: dict[str, Any] = {"labels": LABELS, "offsets": offsets, "groups": alone(offsets)}
        whole = intervals(actual, predicted, **rows)["accuracy"]
        apart = of_rows(actual, predicted)["accuracy"]
        assert whole.high - whole.low > 1.5 * (apart.high - apart.low)
        assert (whole.groups, apart.groups) == (100, len(actual))

    def test_do_not_ask_which_numbers_groups_have_or_in_what_order(self) -> None:
        actual, predicted, offsets = uneven(np.random.default_rng(0), 40)
        groups = np.arange(40) // 4
        found = [
            intervals(actual, predicted, labels=LABELS, offsets=offsets, groups=each)
            for each in (groups, 7 * (9 - groups))
        ]
        for name, ends in found[0].items():
            assert ends == pytest.approx(found[1][name])

    def test_flawless_predictions_are_not_certain(self) -> None:
        actual = np.repeat([0, 1], [80, 20])
        found = of_rows(actual, actual)
        assert found["recall_b"][:2] == pytest.approx((0.025 ** (1 / 20), 1))
        assert found["accuracy"][:2] == pytest.approx((0.025 ** (1 / 100), 1))
        assert 0.9 < found["mcc"].low < found["mcc"].high == 1
        assert "recall_c" not in found

    def test_always_wrong_is_not_certain_either(self) -> None:
        actual = np.repeat([0, 1], [80, 20])
        found = of_rows(actual, 0 * actual, "ab")
        assert found["recall_b"][:2] == pytest.approx((0, 1 - 0.025 ** (1 / 20)))

    def test_six_of_six_in_two_groups_are_two_observations(self) -> None:
        actual = np.repeat([0, 1], [94, 6])
        groups = np.repeat([*range(47), 47, 48], [*[2] * 47, 3, 3])
        found = intervals(actual, actual, labels="ab", offsets=np.arange(101), groups=groups)
        assert found["recall_b"] == pytest.approx((0.025 ** (1 / 2), 1, 2))

    def test_one_group_shows_no_spread(self) -> None:
        rows = np.array([0, 1, 1])
        one: dict[str, Any] = {
            "labels": "ab",
            "offsets": np.array([0, 1, 3]),
            "groups": np.array([5, 5]),
        }
        assert intervals(rows, rows[::-1], **one) == {}
        assert difference(rows, rows, rows[::-1], **one) == {}

    @pytest.mark.parametrize("groups", [2, 4])
    def test_few_groups_show_too_little_of_it(self, groups: int) -> None:
        rows = coverage.drawn(Draw(groups, 50, 0.5), np.random.default_rng(0))
        offsets = np.arange(len(rows.actual) + 1)
        of: dict[str, Any] = {"offsets": offsets, "groups": rows.groups}
        assert intervals(rows.actual, rows.answers[0], labels=LABELS, **of) == {}
        assert of_share(rows.answers[0] == 2, rows.actual == 2, **of) is None

    def test_all_right_in_few_groups_goes_by_groups_as_a_whole(self) -> None:
        """The classes of a group may all be wrong at once, which five flawless ones do not show."""
        actual, groups = np.arange(150) % 3, np.repeat(np.arange(5), 30)
        offsets = np.arange(151)
        found = intervals(actual, actual, labels=LABELS, offsets=offsets, groups=groups)
        lows = [found[f"f1_{label}"].low for label in LABELS]
        assert found["f1_macro"].low == pytest.approx(np.mean(lows), abs=0.01)
        apart = of_rows(actual, actual)
        lows = [apart[f"f1_{label}"].low for label in LABELS]
        assert apart["f1_macro"].low > np.mean(lows) + 0.01  # rows are independent

    def test_spans_have_intervals(self) -> None:
        rng = np.random.default_rng(0)
        actual = rng.integers(0, 3, 400)
        predicted = np.where(rng.random(400) < 0.1, 0, actual)
        labels, offsets = ["O", "B-x", "I-x"], np.arange(0, 401, 8)
        found = intervals(actual, predicted, labels=labels, offsets=offsets, groups=alone(offsets))
        whole = metrics(actual, predicted, None, labels=labels, offsets=offsets)
        for name in ("span_precision", "span_recall", "span_f1"):
            assert found[name].low < whole[name] < found[name].high

    def test_many_classes_take_no_longer_than_their_rows(self) -> None:
        """With C * C counts for each class, this would take a minute, and gigabytes."""
        actual = np.arange(6000) % 1000
        predicted = np.where(np.arange(6000) % 7, actual, (actual + 1) % 1000)
        found = intervals(
            actual,
            predicted,
            labels=[f"c{number}" for number in range(1000)],
            offsets=np.arange(6001),
            groups=np.arange(6000),
        )
        assert len(found) == 9 + 3000


class TestShare:
    def test_is_that_of_recall(self) -> None:
        rows = coverage.drawn(Draw(20, 30, 0.2), np.random.default_rng(0))
        offsets = np.arange(len(rows.actual) + 1)
        all_rows: dict[str, Any] = {"offsets": offsets, "groups": rows.groups}
        found = intervals(rows.actual, rows.answers[0], labels=LABELS, **all_rows)
        of_c = rows.actual == 2
        assert of_share(rows.answers[0] == 2, of_c, **all_rows) == pytest.approx(found["recall_c"])

    def test_four_of_six(self) -> None:
        offsets = np.arange(7)
        found = of_share(
            np.arange(6) < 4, np.ones(6, dtype=bool), offsets=offsets, groups=alone(offsets)
        )
        assert found is not None
        assert found[:2] == pytest.approx((0.287, 0.911), abs=0.03)

    def test_of_a_single_group(self) -> None:
        rows = np.ones(4, dtype=bool)
        whole = np.array([True, True, False, False])
        offsets = np.arange(5)
        assert of_share(rows, whole, offsets=offsets, groups=np.array([0, 0, 1, 2])) is None


class TestDifference:
    def test_is_that_of_the_metrics(self) -> None:
        actual, first, offsets = uneven(np.random.default_rng(0), 100)
        second = np.roll(first, 1)
        rows: dict[str, Any] = {"labels": LABELS, "offsets": offsets}
        found = difference(actual, first, second, groups=alone(offsets), **rows)
        one, other = (metrics(actual, each, None, **rows) for each in (first, second))
        estimates = {name: figure.estimate for name, figure in found.items()}
        assert estimates == pytest.approx({name: one[name] - other[name] for name in found})

    def test_a_model_is_no_better_than_itself(self) -> None:
        actual, predicted, offsets = uneven(np.random.default_rng(0), 100)
        found = difference(
            actual, predicted, predicted, labels=LABELS, offsets=offsets, groups=alone(offsets)
        )
        assert set(found.values()) == {(0, 0, 0, 0)}

    def test_is_surer_than_two_intervals(self) -> None:
        rng = np.random.default_rng(0)
        actual, second, offsets = uneven(rng, 100)
        first = np.where(rng.random(len(actual)) < 0.1, actual, second)
        rows: dict[str, Any] = {"labels": LABELS, "offsets": offsets, "groups": alone(offsets)}
        gain = difference(actual, first, second, **rows)["accuracy"]
        one = intervals(actual, first, **rows)["accuracy"]
        assert 0 < gain.low < gain.estimate < gain.high
        assert gain.high - gain.low < 0.5 * (one.high - one.low)

    def test_that_all_groups_agree_on_is_not_certain(self) -> None:
        actual, offsets = np.arange(40) % 2, np.arange(41)
        found = difference(
            actual, actual, 1 - actual, labels="ab", offsets=offsets, groups=alone(offsets)
        )
        gain = found["accuracy"]
        assert 0.9 < gain.low < gain.estimate == gain.high == 1

    def test_differing_counts_groups(self) -> None:
        actual = np.zeros(40, dtype=int)
        predicted = np.where(np.arange(40) < 20, 1, 0)
        groups = np.arange(40) // 4
        found = difference(
            actual, actual, predicted, labels="ab", offsets=np.arange(41), groups=groups
        )
        assert found["accuracy"].differing == 5
        assert found["accuracy"].too_few


class TestOfChange:
    def test_of_rows_that_are_right_is_the_difference_of_accuracies(self) -> None:
        actual, second, offsets = uneven(np.random.default_rng(0), 100)
        first = np.where(np.random.default_rng(1).random(len(actual)) < 0.1, actual, second)
        rows: dict[str, Any] = {"offsets": offsets, "groups": alone(offsets) // 3}
        expected = difference(actual, first, second, labels=LABELS, **rows)["accuracy"]
        change = (first == actual).astype(float) - (second == actual)
        found = of_change(change, **rows)
        assert found is not None
        assert found[:2] == pytest.approx((expected.low, expected.high))

    def test_of_one_group_is_none(self) -> None:
        offsets = np.arange(4)
        assert of_change(np.ones(3), offsets=offsets, groups=np.zeros(3, dtype=int)) is None

    @pytest.mark.slow
    def test_holds_the_truth(self) -> None:
        """Of groups of different sizes, whose rows resemble one another."""
        rng, held = np.random.default_rng(0), 0
        for _ in range(1000):
            lengths = rng.integers(1, 20, 60)
            offsets, groups = np.concatenate([[0], np.cumsum(lengths)]), np.arange(60) // 2
            own = np.repeat(rng.normal(0.1, 0.3, 30)[groups], lengths)
            found = of_change(own + rng.normal(0, 0.2, len(own)), offsets=offsets, groups=groups)
            assert found is not None
            held += found.low <= 0.1 <= found.high
        assert 920 < held < 980


@pytest.mark.parametrize(
    ("groups", "sequences", "said"),
    [
        (20, 150, "20 groups of sequences"),
        (1, 150, "1 group of sequences"),
        (4, 150, "4 groups of sequences"),
        (150, 150, "150 sequences"),
        (1, 1, "1 sequence"),
    ],
)
def test_over(groups: int, sequences: int, said: str) -> None:
    assert over(groups, sequences) == said
    alone = groups < 5
    assert in_brackets(groups, sequences) == (
        f"There are no 95 % intervals: they would rest on {said}, and need 5."
        if alone
        else f"In brackets: 95 % intervals over {said}."
    )
