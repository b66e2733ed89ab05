from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from birnn import params
from birnn.evaluation import verdict as verdicts
from birnn.evaluation.metrics import metrics
from birnn.evaluation.verdict import Verdict
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


def verdict(metrics: dict[str, float], **changes: Any) -> Verdict:
    return verdicts.verdict(metrics, replace(verdicts.aims(params.Evaluate()), **changes))


def scored(counts: list[list[int]], labels: list[str]) -> dict[str, float]:
    actual, predicted = (np.repeat(side, np.ravel(counts)) for side in np.indices((2, 2)))
    return metrics(actual, predicted, None, labels=labels, offsets=np.arange(len(actual) + 1))


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
