import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from birnn.errors import DataError
from birnn.evaluation.metrics import (
    HEADLINES,
    SPAN_HEADLINES,
    by_length,
    calibration,
    confusion,
    length_buckets,
    metrics,
    per_class,
    present,
)

Array = NDArray[Any]


def one_row_each(actual: Array) -> Array:
    return np.arange(len(actual) + 1)


def score(
    actual: Sequence[int] | Array,
    predicted: Sequence[int] | Array,
    probabilities: Array | None = None,
    labels: Sequence[str] = "abc",
) -> dict[str, float]:
    rows = np.array(actual), np.array(predicted)
    return metrics(*rows, probabilities, labels=labels, offsets=one_row_each(rows[0]))


def expand(counts: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Return actual and predicted rows that have this confusion matrix."""
    cells = np.array(counts)
    actual, predicted = np.indices(cells.shape)
    return np.repeat(actual, cells.ravel()), np.repeat(predicted, cells.ravel())


class TestGoldenAnswers:
    def test_fifty_ten_five_thirty_five(self) -> None:
        found = score(*expand([[50, 10], [5, 35]]), labels=["yes", "no"])
        assert found["precision_yes"] == pytest.approx(0.91, abs=0.005)
        assert found["recall_yes"] == pytest.approx(0.83, abs=0.005)
        assert found["f1_yes"] == pytest.approx(0.87, abs=0.005)
        assert found["support_yes"] == 60

    def test_always_the_class_of_ninety_percent(self) -> None:
        found = score([0] * 90 + [1] * 10, [0] * 100, labels=["many", "few"])
        assert found["accuracy"] == 0.9
        assert found["recall_few"] == found["precision_few"] == found["mcc"] == 0
        assert found["balanced_accuracy"] == 0.5

    def test_accurate_and_blind_to_fraud(self) -> None:
        found = score(*expand([[9788, 24], [176, 24]]), labels=["fair", "fraud"])
        assert found["accuracy"] == pytest.approx(0.98, abs=0.001)
        assert found["recall_fraud"] == 0.12


# Small numbers make absent classes, a single class and a single row likely.
ROWS = st.integers(1, 4).flatmap(
    lambda c: st.lists(st.tuples(st.integers(0, c - 1), st.integers(0, c - 1)), min_size=1).map(
        lambda rows: (c, np.array(rows).T)
    )
)


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[Array, Array]:
    """Actual classes and probabilities in tenths, so with ties."""
    num_classes = draw(st.integers(2, 4))
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, num_classes - 1),
                st.lists(st.integers(0, 9), min_size=num_classes, max_size=num_classes).filter(any),
            ),
            min_size=1,
        )
    )
    weights = np.array([row[1] for row in rows], dtype=float)
    return np.array([row[0] for row in rows]), weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
class TestEqualsScikitLearn:
    @given(ROWS)
    def test_headlines(self, case: tuple[int, Array]) -> None:
        num_classes, (actual, predicted) = case
        found = score(actual, predicted, labels="abcd"[:num_classes])
        expected = {
            "accuracy": sk.accuracy_score(actual, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(actual, predicted),
            "mcc": sk.matthews_corrcoef(actual, predicted),
        }
        for average in ("macro", "weighted"):
            figures = sk.precision_recall_fscore_support(
                actual, predicted, average=average, zero_division=0.0
            )
            names = [f"{figure}_{average}" for figure in ("precision", "recall", "f1")]
            expected |= dict(zip(names, figures, strict=False))
        assert {name: found[name] for name in HEADLINES} == pytest.approx(expected)

    @given(ROWS)
    def test_classes(self, case: tuple[int, Array]) -> None:
        num_classes, (actual, predicted) = case
        found = score(actual, predicted, labels="abcd"[:num_classes])
        occurring = np.union1d(actual, predicted)
        figures = sk.precision_recall_fscore_support(
            actual, predicted, labels=occurring, zero_division=0.0
        )
        expected = {
            f"{figure}_{'abcd'[c]}": values[i]
            for figure, values in zip(
                ("precision", "recall", "f1", "support"), figures, strict=True
            )
            for i, c in enumerate(occurring)
        }
        absent = {f"support_{label}": 0 for label in "abcd"[:num_classes]}
        by_class = {name: figure for name, figure in found.items() if name not in HEADLINES}
        assert by_class == pytest.approx(absent | expected)

    @given(scored_rows(), st.sampled_from([np.float32, np.float64]))
    def test_probabilities(self, case: tuple[Array, Array], dtype: type) -> None:
        actual = case[0]
        probabilities: Array = case[1].astype(dtype)
        num_classes = probabilities.shape[1]
        found = score(actual, actual, probabilities, labels="abcd"[:num_classes])
        positives = [(actual == c, probabilities[:, c]) for c in np.unique(actual)]
        ranked = {"average_precision_macro": [sk.average_precision_score(*p) for p in positives]}
        ranked["roc_auc_macro"] = [sk.roc_auc_score(*p) for p in positives if not p[0].all()]
        expected = {name: np.mean(values) for name, values in ranked.items() if values}
        single = probabilities.astype(np.float32)
        expected["log_loss"] = sk.log_loss(actual, y_proba=single, labels=range(num_classes))
        shown = {name: found.get(name) for name in ("log_loss", *ranked) if name in found}
        assert shown.pop("log_loss") == pytest.approx(expected.pop("log_loss"), rel=1e-6)
        assert shown == pytest.approx(expected, rel=1e-6 if dtype is np.float32 else 1e-12)

    def test_log_loss_of_a_table_is_that_of_the_model(self) -> None:
        """A class that was given no probability at all, as float32 and read back as float64."""
        single = np.array([[1, 0, 0], [0, 1, 0], [0.25, 0.75, 0]], np.float32)
        found = [
            score([0, 0, 1], [0, 1, 1], probabilities)["log_loss"]
            for probabilities in (single, single.astype(np.float64))
        ]
        assert found[0] == found[1] == pytest.approx((15.9424 + 0.28768) / 3, rel=1e-4)

    @given(ROWS)
    def test_confusion(self, case: tuple[int, Array]) -> None:
        num_classes, (actual, predicted) = case
        expected = sk.confusion_matrix(actual, predicted, labels=range(num_classes))
        counts = confusion(actual, predicted, num_classes)
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, expected)


class TestCalibration:
    @given(scored_rows())
    def test_is_the_mean_gap_of_fifteen_bins(self, case: tuple[Array, Array]) -> None:
        actual, probabilities = case
        top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == actual
        gap = 0.0
        for i in range(15):
            inside = (top > i / 15) & (top <= (i + 1) / 15)
            gap += abs(float((right[inside] - top[inside]).sum())) / len(actual)
        labels = "abcd"[: probabilities.shape[1]]
        assert score(actual, actual, probabilities, labels)["calibration_error"] == pytest.approx(
            gap
        )

    def test_looks_at_the_most_probable_class_not_at_the_decision(self) -> None:
        probabilities = np.array([[0.9, 0.1]] * 10)
        found = score([0] * 9 + [1], [1] * 10, probabilities, labels="ab")
        assert found["calibration_error"] == pytest.approx(0)

    def test_leaves_empty_bins_out(self) -> None:
        table = calibration(np.array([0, 1]), np.array([[1.0, 0.0], [0.6, 0.4]]))
        assert {name: column.tolist() for name, column in table.items()} == {
            "confidence": [0.6, 1.0],
            "accuracy": [0.0, 1.0],
            "rows": [1, 1],
        }


class TestMistakes:
    @pytest.mark.parametrize(
        "bad",
        [[0.5, 0.4, 0.0], [1.2, -0.2, 0.0], [np.nan, 0.5, 0.5], [np.inf, 0.0, 0.0], [0, 0, 0]],
    )
    def test_no_distribution(self, bad: list[float]) -> None:
        probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], bad])
        with pytest.raises(DataError, match="in row 3"):
            score([0, 1, 2], [0, 1, 2], probabilities)

    def test_three_rounded_digits_are_a_distribution(self) -> None:
        score([0, 1], [0, 1], np.array([[0.333, 0.333, 0.333], [0.667, 0.167, 0.167]]))

    def test_no_rows(self) -> None:
        empty = np.array([], dtype=int)
        with pytest.raises(DataError, match="at least one row"):
            metrics(empty, empty, None, labels="ab", offsets=np.array([0]))

    def test_a_label_that_hides_a_metric(self) -> None:
        with pytest.raises(DataError, match="f1_macro"):
            score([0], [0], labels=["macro"])


@given(ROWS)
def test_metrics_are_valid_json(case: tuple[int, Array]) -> None:
    num_classes, (actual, predicted) = case
    json.dumps(score(actual, predicted, labels="abcd"[:num_classes]), allow_nan=False)


def conlleval(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """Spans by the published rules of conlleval and, for E and S, of its Python port."""
    pairs_that_end = {"BB", "BS", "BO", "IB", "IS", "IO", "EB", "EI", "EE", "ES", "EO"}
    pairs_that_end |= {"SB", "SI", "SE", "SS", "SO"}
    pairs_that_start = {"BB", "IB", "OB", "EB", "SB", "BS", "IS", "OS", "ES", "SS"}
    pairs_that_start |= {"EE", "EI", "SE", "SI", "OE", "OI"}
    spans, start = set(), 0
    before, kind_before = "O", ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        changed = kind != kind_before
        if before + prefix in pairs_that_end or (before != "O" and changed):
            spans.add((start, i - 1, kind_before))
        if before + prefix in pairs_that_start or (prefix != "O" and changed):
            start = i
        before, kind_before = prefix, kind
    return spans


TAG_SETS = {
    "BIO": ["O", "B-x", "I-x", "B-y", "I-y"],
    "IOBES": ["O", *(f"{prefix}-{kind}" for kind in "xy" for prefix in "BIES")],
    "IOB1": ["I-x", "O", "B-x"],
    "bare": ["B", "I", "O"],
}


@st.composite
def tagged(draw: st.DrawFn) -> tuple[list[str], list[list[tuple[int, int]]]]:
    labels = draw(st.sampled_from([*TAG_SETS.values()]))
    tag = st.integers(0, len(labels) - 1)
    sequence = st.lists(st.tuples(tag, tag), min_size=1, max_size=8)
    return labels, draw(st.lists(sequence, min_size=1, max_size=4))


class TestSpans:
    @given(tagged())
    def test_counts_as_conlleval(self, case: tuple[list[str], list[list[tuple[int, int]]]]) -> None:
        labels, sequences = case
        actual, predicted = np.array([row for rows in sequences for row in rows]).T
        offsets = np.cumsum([0, *map(len, sequences)])
        right = num_actual = num_predicted = 0
        for rows in sequences:
            truth, guess = (conlleval([labels[tag] for tag in tags]) for tags in np.array(rows).T)
            right += len(truth & guess)
            num_actual += len(truth)
            num_predicted += len(guess)
        expected = {
            "span_precision": (right, num_predicted),
            "span_recall": (right, num_actual),
            "span_f1": (2 * right, num_actual + num_predicted),
        }
        found = metrics(actual, predicted, None, labels=labels, offsets=offsets)
        shown = {name: figure for name, figure in found.items() if name in SPAN_HEADLINES}
        assert shown == pytest.approx({n: a / b for n, (a, b) in expected.items() if b})

    def test_each_kind_has_figures_of_its_own(self) -> None:
        labels = ["O", "B-x", "I-x", "B-y"]
        actual, predicted = np.array([1, 2, 0, 3, 1, 0]), np.array([1, 2, 3, 3, 0, 0])
        found = metrics(actual, predicted, None, labels=labels, offsets=np.array([0, 4, 6]))
        names = ("precision", "recall", "f1", "support")
        kinds = {kind: [found.get(f"span_{name}_{kind}") for name in names] for kind in "xy"}
        assert kinds == {
            "x": [1, 0.5, pytest.approx(2 / 3), 2],
            "y": [0.5, 1, pytest.approx(2 / 3), 1],
        }
        assert present(actual, labels, np.array([0, 4, 6])) == {"x": 2, "y": 1}

    def test_a_span_ends_with_its_sequence(self) -> None:
        actual, predicted = np.array([1, 2, 2, 2]), np.array([1, 2, 0, 0])
        labels, offsets = ["O", "B-x", "I-x"], np.array([0, 2, 4])
        found = metrics(actual, predicted, None, labels=labels, offsets=offsets)
        assert (found["span_precision"], found["span_recall"]) == (1, 0.5)

    @pytest.mark.parametrize(
        "labels", [["a", "b"], ["O", "B", "E"], ["H", "E", "C"], ["B-x", "other"], ["I", "O"]]
    )
    def test_other_labels_have_no_spans(self, labels: list[str]) -> None:
        assert "span_f1" not in score([0, 1], [0, 1], labels=labels)


class TestTables:
    def test_per_class(self) -> None:
        table = per_class(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]), ["a", "b", "c"])
        assert table["label"].tolist() == ["a", "b", "c"]
        assert table["support"].tolist() == [4, 0, 0]
        assert table["predicted"].tolist() == [3, 1, 0]
        np.testing.assert_array_equal(table["recall"], [0.75, 0.0, np.nan])
        np.testing.assert_array_equal(table["precision"], [1.0, 0.0, np.nan])

    @given(st.lists(st.integers(1, 30), min_size=1, max_size=200))
    def test_length_buckets_are_ordered_and_full(self, lengths: list[int]) -> None:
        steps = np.array(lengths)
        bucket = length_buckets(steps)
        assert sorted(set(bucket)) == list(range(min(5, bucket.max() + 1)))
        assert (np.diff(bucket[np.argsort(steps, kind="stable")]) >= 0).all()
        for length in set(lengths):
            assert len(set(bucket[steps == length])) == 1

    def test_distinct_lengths_fall_into_even_buckets(self) -> None:
        assert np.bincount(length_buckets(np.arange(100))).tolist() == [20] * 5
        assert np.bincount(length_buckets(np.arange(45))).tolist() == [22, 23]

    @pytest.mark.parametrize("tagging", [True, False])
    def test_by_length(self, tagging: bool) -> None:
        rng = np.random.default_rng(0)
        lengths = rng.integers(1, 50, 120)
        offsets = np.cumsum([0, *lengths]) if tagging else np.arange(121)
        actual, predicted = rng.integers(0, 3, (2, offsets[-1]))
        table = by_length(actual, predicted, num_classes=3, offsets=offsets, lengths=lengths)
        assert table["sequences"].sum() == 120
        steps = np.repeat(lengths, np.diff(offsets))
        for i in range(5):
            inside = (steps >= table["shortest"][i]) & (steps <= table["longest"][i])
            rows = actual[inside], predicted[inside]
            assert table["rows"][i] == inside.sum()
            assert table["accuracy"][i] == pytest.approx(sk.accuracy_score(*rows))
            for average in ("macro", "weighted"):
                expected = sk.f1_score(*rows, average=average)
                assert table[f"f1_{average}"][i] == pytest.approx(expected)
