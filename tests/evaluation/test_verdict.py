from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from birnn import params
from birnn.evaluation import metrics
from birnn.evaluation import verdict as verdicts
from birnn.evaluation.checks import Check
from birnn.evaluation.headlines import Figure
from birnn.evaluation.verdict import Basis, Verdict
from birnn.model.operating_points import Wanted


def figures(
    accuracy: float = 0.95, precision: float = 0.9, recall: float = 0.9, f1: float = 0.9
) -> dict[str, float]:
    return {
        "accuracy": accuracy,
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
        "support_fraud": 200,
        "precision_fraud": 0.5,
        "recall_fraud": 0.12,
    }


def verdict(of: dict[str, float] | Basis, **changes: Any) -> Verdict:
    basis = of if isinstance(of, Basis) else Basis(of)
    return verdicts.verdict(basis, replace(verdicts.aims(params.Evaluate()), **changes))


def scored(counts: list[list[int]], labels: list[str]) -> Basis:
    size = len(labels)
    actual, predicted = (np.repeat(side, np.ravel(counts)) for side in np.indices((size, size)))
    offsets = np.arange(len(actual) + 1)
    return Basis(
        metrics.metrics(actual, predicted, None, labels=labels, offsets=offsets),
        present=metrics.present(actual, labels, offsets),
    )


class TestGrade:
    @pytest.mark.parametrize(
        ("changes", "grade"),
        [
            ({}, "good"),
            ({"accuracy": 0.86, "precision": 0.81, "recall": 0.81, "f1": 0.81}, "good"),
            ({"accuracy": 0.85}, "fair"),
            ({"precision": 0.80}, "fair"),
            ({"recall": 0.80}, "fair"),
            ({"f1": 0.80}, "fair"),
            ({"accuracy": 0.60, "precision": 0.5, "recall": 0.5, "f1": 0.5}, "fair"),
            ({"accuracy": 0.59}, "bad"),
            ({"precision": 0.49}, "bad"),
            ({"recall": 0.49}, "bad"),
            ({"f1": 0.49}, "bad"),
        ],
    )
    def test_bars(self, changes: dict[str, float], grade: str) -> None:
        assert verdict(figures(**changes)).grade == grade

    def test_reasons_are_the_decisive_ones(self) -> None:
        assert verdict(figures(recall=0.4, f1=0.6)).sentence == "bad: recall 0.400 is below 0.50"
        assert verdict(figures(f1=0.6)).reasons == ("f1 0.600 is not above 0.80",)
        assert len(verdict(figures()).reasons) == 4

    def test_average_and_bars_can_be_chosen(self) -> None:
        found = {f"{name}_weighted": 0.7 for name in ("precision", "recall", "f1")}
        assert verdict(figures() | found, average="weighted").grade == "fair"
        assert (
            verdict(figures(), bars={"accuracy": params.Bar(bad_below=0.6, good_above=0.99)}).grade
            == "fair"
        )


class TestGoldenAnswers:
    def test_fifty_ten_five_thirty_five_is_fair(self) -> None:
        found = verdict(scored([[50, 10], [5, 35]], ["yes", "no"]))
        assert found.grade == "fair"  # accuracy is exactly 0.85, not above it

    def test_always_the_class_of_ninety_percent_is_bad(self) -> None:
        assert verdict(scored([[90, 0], [10, 0]], ["many", "few"])).grade == "bad"

    def test_accurate_and_blind_to_fraud_is_bad(self) -> None:
        found = verdict(
            scored([[9788, 24], [176, 24]], ["fair", "fraud"]),
            critical={"fraud": Wanted(min_recall=0.8)},
        )
        assert found.grade == "bad"
        assert "88 % of the positives of 'fraud' are missed" in found.sentence


class TestCriticalClasses:
    @pytest.mark.parametrize(
        ("wanted", "grade"),
        [
            (Wanted(min_recall=0.12), "good"),
            (Wanted(min_recall=0.13), "bad"),
            (Wanted(min_precision=0.5), "good"),
            (Wanted(min_precision=0.51), "bad"),
            (Wanted(), "good"),
        ],
    )
    def test_overrule(self, wanted: Wanted, grade: str) -> None:
        assert verdict(figures(), critical={"fraud": wanted}).grade == grade

    @pytest.mark.parametrize("support", [{}, {"support_fraud": 0}])
    def test_one_that_was_not_tested_is_not_good(self, support: dict[str, float]) -> None:
        found = {name: value for name, value in figures().items() if "fraud" not in name} | support
        outcome = verdict(found, critical={"fraud": Wanted(min_recall=0.1)})
        assert outcome.grade == "fair"
        assert "holds no 'fraud'" in outcome.sentence


class TestClasses:
    """Averages hide a class that is missed, so each class has a say of its own."""

    ACCURATE_AND_BLIND = scored([[9788, 24], [176, 24]], ["fair", "fraud"])

    def test_one_that_is_missed_is_bad_without_being_called_critical(self) -> None:
        basis = replace(self.ACCURATE_AND_BLIND, intervals={"recall_fraud": (0.08, 0.17)})
        for average in ("macro", "weighted"):
            found = verdict(basis, average=average)
            assert found.sentence == "bad: recall of 'fraud' is 0.12 (0.08 to 0.17), below 0.50"

    def test_one_that_is_called_wrongly_most_of_the_time_is_bad(self) -> None:
        found = verdict(scored([[1800, 200], [0, 100]], ["fair", "fraud"]))
        assert found.sentence == "bad: precision of 'fraud' is 0.33, below 0.50"

    def test_one_that_is_too_rare_is_named_and_makes_the_model_fair_at_most(self) -> None:
        found = verdict(scored([[990, 0], [5, 4]], ["fair", "fraud"]))
        assert found.grade == "fair"
        assert (
            "too few test sequences to say how well a class is found: 'fraud' (9)" in found.reasons
        )

    def test_many_are_not_all_named(self) -> None:
        names = [f"c{number}" for number in range(80)]
        wrong = np.diag([1] * 80) + np.roll(np.diag([19] * 80), 1, axis=1)
        found = verdict(scored(wrong.tolist(), names))
        assert found.grade == "bad"
        assert "155 more figures of classes are below their bars" in found.sentence
        assert len(found.sentence) < 700

    def test_of_spans_it_is_the_kinds_that_count(self) -> None:
        labels = ["O", "B-LOC", "I-LOC", "B-PER"]
        actual = np.tile([0, 1, 2, 0, 3, 0, 0, 0, 0, 0], 50)
        predicted = np.where(actual == 3, 0, actual)
        offsets = np.arange(0, len(actual) + 1, 10)
        basis = Basis(
            metrics.metrics(actual, predicted, None, labels=labels, offsets=offsets),
            present=metrics.present(actual, labels, offsets),
        )
        assert basis.present == {"LOC": 50, "PER": 50}
        found = verdict(basis)
        assert found.reasons[0] == "recall of 'PER' is 0.00, below 0.50"
        assert "accuracy" not in found.sentence
        right = Basis(
            metrics.metrics(actual, actual, None, labels=labels, offsets=offsets),
            present=basis.present,
        )
        assert verdict(right).sentence.startswith("good: span f1 1.000 is above 0.80")
        none = Basis(
            metrics.metrics(actual, 0 * actual, None, labels=labels, offsets=offsets),
            present=basis.present,
        )
        assert "span_precision" not in none.metrics  # where no span is predicted
        assert verdict(none).grade == "bad"


class TestCriticalLead:
    def test_what_was_asked_for_comes_first(self) -> None:
        basis = scored([[9500, 300], [40, 160]], ["fair", "fraud"])
        found = verdict(basis, critical={"fraud": Wanted(min_recall=0.8)})
        lead = "recall of 'fraud' is 0.80, wanted 0.80, at a precision of 0.35"
        assert found.sentence.startswith(f"{found.grade}: {lead}")
        assert found.grade == "fair"  # its precision is the price; the macro average says so
        screened = scored([[9798, 2], [120, 80]], ["fair", "ill"])
        found = verdict(screened, critical={"ill": Wanted(min_precision=0.95)})
        assert found.reached == ("precision of 'ill' is 0.98, wanted 0.95, at a recall of 0.40",)
        assert found.grade != "bad"

    def test_a_cost_is_said_where_errors_have_one(self) -> None:
        basis = replace(scored([[9500, 300], [40, 160]], ["a", "b"]), costs={"b": (71.0, 98.5)})
        found = verdict(basis, critical={"b": Wanted(min_recall=0.8)})
        text = "and a cost of 71.0 in 1,000 labels where no threshold has 98.5"
        assert found.reached[0].endswith(text)


class TestChecks:
    LEAKAGE = Check("leakage", "fail", {}, "34 of 100 test sequences are copies.")

    def test_a_leak_makes_any_model_bad(self) -> None:
        basis = replace(scored([[500, 0], [0, 500]], ["a", "b"]), checks=[self.LEAKAGE])
        sentence = "bad: the check for leakage failed, so do not believe any figure of the test set"
        assert verdict(basis).sentence == sentence

    @pytest.mark.parametrize("name", ["rare_classes", "calibration", "label_shift", "overfitting"])
    def test_another_failure_keeps_it_from_being_good(self, name: str) -> None:
        basis = scored([[500, 0], [0, 500]], ["a", "b"])
        assert verdict(basis).grade == "good"
        failed = verdict(replace(basis, checks=[Check(name, "fail", {}, "It failed.")]))
        assert failed.grade == "fair"
        assert f"the check for {name.replace('_', ' ')} failed" in failed.sentence
        warned = verdict(replace(basis, checks=[Check(name, "warn", {}, "It warns.")]))
        assert warned.grade == "good"

    def test_three_sequences_of_one_class_are_not_good(self) -> None:
        assert verdict(scored([[3, 0], [0, 0]], ["a", "b"])).grade == "fair"


class TestBaseline:
    """A look-up of words that is right in 0.998 of cases beside a model of 0.918."""

    @pytest.mark.parametrize(
        ("gain", "grade"),
        [
            (Figure(-0.08, -0.09, -0.07), "bad"),
            (Figure(-0.01, -0.03, 0.01), "good"),
            (Figure(0.1, 0.08, 0.12), "good"),
        ],
    )
    def test_that_is_clearly_better_makes_the_model_bad(self, gain: Figure, grade: str) -> None:
        found = verdict(replace(scored([[918, 82], [82, 918]], ["a", "b"]), gain=gain))
        assert found.grade == grade
        if grade == "bad":
            text = "(each step alone) is better by 8.0 points of F1 (7.0 to 9.0)"
            assert text in found.sentence
