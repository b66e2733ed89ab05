from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from birnn.data import copies
from birnn.data.copies import Copies
from birnn.data.sequences import Sequences
from birnn.evaluation import checks
from birnn.evaluation.checks import Check, Headlines, SeenBefore
from birnn.evaluation.intervals import intervals
from birnn.evaluation.metrics import confusion, length_buckets, metrics, per_class

Array = NDArray[Any]
LABELS = ["a", "b", "c"]
SHARES = [0.6, 0.3, 0.1]


class Split:
    """Random sequences whose labels and features go together, and an honest model of them.

    Labels stay for some steps. The model knows the exact probabilities of a noisy look at them,
    and some sequences are harder to look at than others.
    """

    def __init__(self, rng: np.random.Generator, num_sequences: int, shares: list[float]) -> None:
        self.lengths = rng.integers(4, 40, num_sequences)
        self.offsets = np.cumsum([0, *self.lengths])
        rows = self.offsets[-1]
        begins = rng.random(rows) < 0.3
        begins[self.offsets[:-1]] = True
        self.actual = rng.choice(3, rows, p=shares)[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
        self.values = rng.standard_normal((rows, 4)) + 0.8 * np.eye(3, 4)[self.actual]
        noise = np.repeat(rng.uniform(0.3, 0.7, num_sequences), self.lengths)[:, np.newaxis]
        seen = np.eye(3)[self.actual] + noise * rng.standard_normal((rows, 3))
        weights = np.array(shares) * np.exp((seen - 0.5) / noise**2)
        self.probabilities = weights / weights.sum(axis=1, keepdims=True)

    @property
    def predicted(self) -> Array:
        best: Array = self.probabilities.argmax(axis=1)
        return best


def splits(seed: int) -> tuple[Split, Split]:
    rng = np.random.default_rng(seed)
    return Split(rng, 800, SHARES), Split(rng, 200, SHARES)


def paradox(test: Split) -> Check:
    groups = np.arange(len(test.offsets) - 1)
    found = intervals(
        test.actual, test.predicted, labels=LABELS, offsets=test.offsets, groups=groups
    )
    table = per_class(confusion(test.actual, test.predicted, 3), LABELS)
    return checks.accuracy_paradox(
        table["support"],
        table["recall"],
        accuracy=float(np.mean(test.actual == test.predicted)),
        intervals={name: (one.low, one.high) for name, one in found.items()},
        labels=LABELS,
    )


def found(train: Split, test: Split, validation: Split | None = None) -> SeenBefore:
    known = copies.remember(sequences(train))
    nothing = np.zeros(len(test.lengths), dtype=bool)
    validated = copies.find(known, sequences(validation or splits(99)[1]))
    return SeenBefore(copies.find(known, sequences(test)), nothing, validated)


def sequences(split: Split) -> Sequences:
    ids = pa.array([str(number) for number in range(len(split.lengths))])
    values = split.values.astype(np.float32)
    return Sequences(values, split.offsets, split.actual.astype(np.int32), ids, ids, tagging=True)


def leakage(train: Split, test: Split, **changes: Any) -> Check:
    scores = checks.feature_scores(train.values, train.actual, train.offsets, names="wxyz")
    return checks.leakage(replace(found(train, test), **changes), feature_scores=scores)


def sequence_length(test: Split, wrong: Array | None = None) -> Check:
    right = test.actual == test.predicted
    if wrong is not None:
        right &= ~wrong
    per_sequence = np.add.reduceat(right.astype(int), test.offsets[:-1])
    bucket = length_buckets(test.lengths)
    return checks.sequence_length(per_sequence, test.lengths, test.lengths, bucket)


def calibration(actual: Array, probabilities: Array, offsets: Array) -> Check:
    right = probabilities.argmax(axis=1) == actual
    return checks.calibration(probabilities.max(axis=1), right, offsets)


def shift(train: Split, test: Split) -> Check:
    counts = [checks.label_counts(part.actual, part.offsets, 3) for part in (train, test)]
    return checks.label_shift(*counts, labels=LABELS)


def test_clean_data_raises_no_alarm() -> None:
    warned: dict[str, int] = {}
    for seed in range(20):
        train, test = splits(seed)
        present = checks.label_counts(test.actual, test.offsets, 3).present
        found = [
            paradox(test),
            leakage(train, test),
            sequence_length(test),
            calibration(test.actual, test.probabilities, test.offsets),
            checks.rare_classes(present, labels=LABELS),
            shift(train, test),
        ]
        for check in found:
            assert check.status != "fail", check
            warned[check.name] = warned.get(check.name, 0) + (check.status == "warn")
    assert len(warned) == 6
    assert max(warned.values()) <= 1


class TestAccuracyParadox:
    def test_accurate_and_blind_to_fraud(self) -> None:
        check = checks.accuracy_paradox(
            np.array([9812, 200]),
            np.array([0.997, 0.12]),
            accuracy=0.98,
            intervals={"accuracy": (0.977, 0.983), "recall_fraud": (0.08, 0.17)},
            labels=["fair", "fraud"],
        )
        assert check.status == "fail"
        assert "98 %" in check.sentence
        assert "12 % of 'fraud'" in check.sentence

    def test_always_the_common_class(self) -> None:
        actual = np.repeat([0, 1], [90, 10])
        test = splits(0)[1]
        test.actual, test.offsets = actual, np.arange(101)
        test.probabilities = np.tile([0.9, 0.1, 0.0], (100, 1))
        check = paradox(test)
        assert check.status == "fail"
        assert check.figures["majority_share"] == check.figures["accuracy"] == 0.9
        assert check.figures["recall_b"] == 0

    @pytest.mark.parametrize(
        ("accuracy", "high", "rows", "status"),
        [
            (0.95, 0.45, 50, "fail"),  # surely missed, and it does not show in the accuracy
            (0.70, 0.45, 50, "warn"),  # surely missed, but the accuracy is low as well
            (0.95, 0.55, 50, "warn"),  # perhaps missed
            (0.95, 0.90, 5, "pass"),  # too few to tell
        ],
    )
    def test_a_class_that_is_missed(
        self, accuracy: float, high: float, rows: int, status: str
    ) -> None:
        check = checks.accuracy_paradox(
            np.array([500, rows, 500]),
            np.array([0.9, 0.4, 0.9]),
            accuracy=accuracy,
            intervals={"recall_b": (0.1, high)},
            labels=LABELS,
        )
        assert check.status == status

    def test_an_absent_class_is_not_missed(self) -> None:
        check = checks.accuracy_paradox(
            np.array([50, 50, 0]),
            np.array([0.9, 0.9, np.nan]),
            accuracy=0.9,
            intervals={},
            labels=LABELS,
        )
        assert check.status == "pass"


class TestLeakage:
    def test_one_copy(self) -> None:
        train, test = splits(0)
        longest = int(train.lengths.argmax())
        rows = slice(train.offsets[longest], train.offsets[longest + 1])
        test.values = np.concatenate([test.values, train.values[rows]])
        test.offsets = np.append(test.offsets, len(test.values))
        test.actual = np.append(test.actual, train.actual[rows])
        check = leakage(train, test)
        assert (check.status, check.figures["copied"]) == ("warn", 1)

    def test_many_copies(self) -> None:
        train, _ = splits(0)
        assert leakage(train, train).status == "fail"

    def test_a_shared_group(self) -> None:
        assert leakage(*splits(0), shared_groups=1).status == "fail"

    @pytest.mark.parametrize(("noise", "status"), [(0.0, "fail"), (0.25, "warn"), (1.0, "pass")])
    def test_a_feature_that_gives_the_answer_away(self, noise: float, status: str) -> None:
        train, test = splits(0)
        spread = np.random.default_rng(0).standard_normal(len(train.actual))
        train.values[:, 2] = 2 * train.actual + noise * 2 * spread
        check = leakage(train, test)
        assert check.status == status
        assert ("'y'" in check.sentence) == (status != "pass")

    def test_a_rare_class_does_not_hide_the_feature(self) -> None:
        rng = np.random.default_rng(0)
        labels = (rng.random(20000) < 0.02).astype(int)
        values = np.stack([labels, rng.random(20000)], axis=1)
        scores = checks.feature_scores(
            values, labels, np.arange(0, 20001, 20), names=["leak", "noise"]
        )
        assert scores == {"leak": 1.0, "noise": 0.0}

    def test_one_label_gives_nothing_away(self) -> None:
        values, offsets = np.random.default_rng(0).random((40, 1)), np.array([0, 20, 40])
        assert checks.feature_scores(values, np.zeros(40, dtype=int), offsets, names="x") == {
            "x": 0
        }

    def test_repeats_by_chance_are_told_with_the_headline_on_both_parts(self) -> None:
        no, some = np.zeros(3, dtype=bool), np.array([True, False, True])
        seen = Copies(some, no, no, no, np.full(3, -1), expected=1.8)
        check = checks.leakage(
            SeenBefore(seen, no, seen), feature_scores={}, headlines=Headlines(0.9, 0.95, 0.85)
        )
        assert check.status == "pass"
        assert check.sentence.startswith("2 test sequences occur in train, which happens by chance")
        assert "(expected: 1.8)" in check.sentence
        assert "seen, the headline is 0.950, on the rest 0.850, on all 0.900." in check.sentence

    def test_kinds_and_examples_are_named(self) -> None:
        no, one, two = np.zeros(3, dtype=bool), np.arange(3) == 0, np.arange(3) > 0
        seen = Copies(one, one, two, no, np.zeros(3, np.int64), expected=0.0)
        check = checks.leakage(SeenBefore(seen, no, seen, [("t1", "s5")]), feature_scores={})
        assert check.status == "fail"
        assert "3 of 3 test sequences are copies" in check.sentence
        assert "(1 exact copies, 2 overlaps)" in check.sentence
        assert "'t1' (in train: 's5')" in check.sentence
        assert (check.figures["exact_copies"], check.figures["overlaps"]) == (1, 2)

    def test_validation_is_looked_at_too(self) -> None:
        train, test = splits(0)
        check = checks.leakage(found(train, test, train), feature_scores={})
        assert check.status == "warn"
        assert check.sentence == "800 of 800 validation sequences are copies of training sequences."
        check = leakage(train, test, test_in_validation=np.arange(200) < 3)
        assert check.status == "warn"
        assert "3 of 200 test sequences are copies of validation sequences" in check.sentence


class TestOverfitting:
    @pytest.mark.parametrize(
        ("train", "validation", "kept", "status"),
        [
            ([0.9, 0.6, 0.5, 0.48], [0.9, 0.65, 0.55, 0.56], 2, "pass"),
            ([0.01, 0.005], [0.03, 0.02], 1, "pass"),  # a large ratio of nearly nothing
            ([0.9, 0.5, 0.3], [0.9, 0.6, 0.5], 2, "warn"),  # a gap
            (
                [0.9, 0.5, 0.2, 0.1],
                [0.9, 0.6, 0.7, 0.9],
                1,
                "warn",
            ),  # trained on, but kept the best
            ([0.9, 0.3, 0.05, 0.01], [0.9, 0.6, 0.9, 1.4], 3, "fail"),  # trained to death
            ([0.9, 0.5, 0.55], [0.9, 0.4, 0.6], 2, "fail"),  # the wrong epoch
            ([0.9, 0.02], [1.0, 0.5], 1, "fail"),  # learned by heart
            ([0.002, 0.001], [0.0008, 0.0012], 1, "pass"),  # a rise of nearly nothing
            ([0.9, 0.5], [0.03, 0.045], 1, "fail"),  # a small rise, but one of half the loss
        ],
    )
    def test_status(
        self, train: list[float], validation: list[float], kept: int, status: str
    ) -> None:
        check = checks.overfitting(np.array(train), np.array(validation), kept=kept)
        assert check.status == status


class TestThresholds:
    """What a threshold costs was asked for: it is no paradox."""

    def check(self, critical: list[str]) -> Check:
        return checks.accuracy_paradox(
            np.array([9800, 200]),
            np.array([0.95, 0.8]),
            accuracy=0.947,
            intervals={"accuracy": (0.942, 0.951), "recall_fraud": (0.74, 0.85)},
            labels=["fair", "fraud"],
            critical=critical,
        )

    def test_an_accuracy_below_the_common_class_is_its_price(self) -> None:
        assert self.check([]).status == "fail"
        found = self.check(["fraud"])
        assert found.status == "pass"
        assert "the price of the thresholds of 'fraud'" in found.sentence


class TestSequenceLength:
    def test_a_bucket_with_scrambled_labels(self) -> None:
        for seed in range(5):
            test = splits(seed)[1]
            bucket = np.repeat(length_buckets(test.lengths), test.lengths)
            inside = bucket == seed
            test.actual[inside] = np.random.default_rng(seed).permutation(test.actual[inside])
            check = sequence_length(test)
            assert check.status == "fail"
            span = f"{test.lengths[length_buckets(test.lengths) == seed].min()} to"
            assert span in check.sentence

    def test_a_bucket_that_is_a_little_worse(self) -> None:
        test = splits(0)[1]
        long = np.repeat(length_buckets(test.lengths) == 4, test.lengths)
        wrong = long & (np.random.default_rng(0).random(len(long)) < 0.05)
        assert sequence_length(test, wrong).status == "warn"

    def test_all_wrong_against_all_right(self) -> None:
        lengths = np.repeat([5, 10], 30)
        right, bucket = np.where(lengths == 5, 0, 10), (lengths == 10).astype(int)
        assert checks.sequence_length(right, lengths, lengths, bucket).status == "fail"

    def test_groups_that_are_worse_are_no_bad_lengths(self) -> None:
        """Two of ten groups are bad, and their sequences happen to be long."""
        groups = np.repeat(np.arange(10), 30)
        lengths, bucket = np.where(groups < 4, 10, 5), (groups < 4).astype(int)
        rows, right = lengths, np.where(groups < 2, lengths // 2, lengths)
        assert checks.sequence_length(right, rows, lengths, bucket).status == "fail"
        assert checks.sequence_length(right, rows, lengths, bucket, groups).status == "pass"

    def test_one_bucket_has_nothing_to_compare(self) -> None:
        rows = np.full(30, 5)
        check = checks.sequence_length(rows, rows, rows, 0 * rows)
        assert check.status == "pass"
        assert "all of about one length" in check.sentence

    def harder_when_short(self, seed: int) -> tuple[Array, Array, Array]:
        """Rows, their right answers and what is possible, of 0.90 for short and 0.98 for long."""
        lengths = np.repeat([5, 40], [400, 100])
        share = np.where(lengths == 5, 0.9, 0.98)
        return lengths, np.random.default_rng(seed).binomial(lengths, share), share * lengths

    def test_says_how_far_lengths_are_apart(self) -> None:
        """0.899 for short and 0.985 for long sequences are not about equally good."""
        lengths, right, _ = self.harder_when_short(1)
        check = checks.sequence_length(right, lengths, lengths, (lengths == 40).astype(int))
        assert check.status == "warn"
        assert "With 5 steps accuracy is 90 %" in check.sentence
        assert check.figures["spread_low"] < 0.08 < check.figures["spread_high"]

    def test_what_is_harder_by_nature_is_no_fault(self) -> None:
        lengths, right, possible = self.harder_when_short(1)
        bucket = (lengths == 40).astype(int)
        check = checks.sequence_length(right, lengths, lengths, bucket, possible=possible)
        assert check.status == "pass"
        assert (
            "90 % with 5 steps (possible: 90 %) to 98 % with 40 steps (possible: 98 %)"
            in check.sentence
        )
        assert "in the nature of the data" in check.sentence
        worse = right - np.where(lengths == 40, 4, 0)
        check = checks.sequence_length(worse, lengths, lengths, bucket, possible=possible)
        assert check.status == "warn"
        assert "(possible: 98 %)" in check.sentence

    def test_the_interval_holds_the_true_spread(self) -> None:
        held = 0
        for seed in range(300):
            lengths, right, _ = self.harder_when_short(seed)
            bucket = (lengths == 40).astype(int)
            found = checks.sequence_length(right, lengths, lengths, bucket).figures
            held += found["spread_low"] <= 0.08 <= found["spread_high"]
        assert 0.93 <= held / 300 <= 0.98


class TestCalibration:
    @pytest.mark.parametrize(("sharper", "status"), [(0.2, "fail"), (0.5, "warn"), (6.0, "warn")])
    def test_too_shy_or_too_sure(self, sharper: float, status: str) -> None:
        _, test = splits(0)
        weights = test.probabilities**sharper
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        assert calibration(test.actual, probabilities, test.offsets).status == status

    def test_error_is_that_of_the_metrics(self) -> None:
        _, test = splits(0)
        found = metrics(
            test.actual, test.predicted, test.probabilities, labels=LABELS, offsets=test.offsets
        )
        check = calibration(test.actual, test.probabilities, test.offsets)
        assert check.figures["calibration_error"] == pytest.approx(found["calibration_error"])

    def test_chance_is_what_exact_probabilities_give(self) -> None:
        """Mean over data sets in which whole sequences are right or wrong together."""
        rng, errors, chances = np.random.default_rng(0), [], []
        for _ in range(300):
            sure = rng.uniform(0.5, 1, 100)
            right = np.repeat(rng.random(100) < sure, 5)
            check = checks.calibration(np.repeat(sure, 5), right, np.arange(0, 501, 5))
            errors.append(check.figures["calibration_error"])
            chances.append(check.figures["by_chance"])
        assert np.mean(chances) == pytest.approx(np.mean(errors), rel=0.1)

    def test_a_few_sequences_cannot_tell(self) -> None:
        sure = np.full(6, 0.8)
        check = checks.calibration(sure, np.arange(6) < 5, np.arange(7))
        assert check.status == "warn"
        assert "one cannot say more" in check.sentence

    def test_of_a_rare_class_nobody_knows(self) -> None:
        _, test = splits(0)
        right = test.predicted == test.actual
        found = checks.calibration(
            test.probabilities.max(axis=1), right, test.offsets, rare=["fraud"]
        )
        assert "but too few test sequences hold 'fraud' to say so of it" in found.sentence

    def test_sure_and_wrong(self) -> None:
        actual, probabilities = np.arange(100) % 2, np.tile([0.99, 0.01], (100, 1))
        check = calibration(actual, probabilities, np.arange(101))
        assert check.status == "fail"
        assert check.sentence.startswith(
            "The model is 99 % sure of its answers, and 50 % are right"
        )

    def test_few_rows_prove_nothing(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(20):
            probabilities = rng.dirichlet([1, 1], 30)
            actual = (rng.random(30) < probabilities[:, 1]).astype(int)
            assert calibration(actual, probabilities, np.arange(31)).status != "fail"


class TestRareClasses:
    @pytest.mark.parametrize(
        ("present", "status"),
        [([50, 10], "pass"), ([50, 9], "warn"), ([50, 0], "warn"), ([9, 3], "fail")],
    )
    def test_status(self, present: list[int], status: str) -> None:
        assert checks.rare_classes(np.array(present), labels=["a", "b"]).status == status

    def test_names_them(self) -> None:
        check = checks.rare_classes(np.array([50, 3, 0]), labels=LABELS)
        assert check.sentence.endswith("'c' (0), 'b' (3).")

    def test_names_the_rarest_of_many(self) -> None:
        labels = [f"c{number:02}" for number in range(80)]
        check = checks.rare_classes(np.arange(80) % 10, labels=labels, unit="groups")
        assert check.sentence == (
            "Too few groups for an honest figure: 'c00' (0), 'c10' (0), 'c20' (0), 'c30' (0), "
            "'c40' (0) and 75 more."
        )


def test_many_missed_classes_are_not_all_named() -> None:
    labels = [f"c{number:02}" for number in range(81)]
    check = checks.accuracy_paradox(
        np.append(5000, np.full(80, 20)),
        np.append(1, np.linspace(0.4, 0.0, 80)),
        accuracy=0.9,
        intervals={},
        labels=labels,
    )
    assert check.sentence.count("is found") == 5
    assert "only 0 % of 'c80'" in check.sentence
    assert check.sentence.endswith(" And 75 more.")


class TestLabelShift:
    @pytest.mark.parametrize(
        ("shares", "status"), [([0.45, 0.4, 0.15], "warn"), ([0.2, 0.2, 0.6], "fail")]
    )
    def test_a_shifted_prior(self, shares: list[float], status: str) -> None:
        rng = np.random.default_rng(0)
        check = shift(Split(rng, 800, SHARES), Split(rng, 200, shares))
        assert check.status == status

    def test_a_rare_class_three_times_as_frequent(self) -> None:
        rng = np.random.default_rng(0)
        train, test = Split(rng, 2000, [0.68, 0.3, 0.02]), Split(rng, 500, [0.63, 0.3, 0.07])
        assert shift(train, test).status == "fail"

    def test_counts(self) -> None:
        labels, offsets = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 3, 4, 6])
        counts = checks.label_counts(labels, offsets, 4)
        assert (counts.sequences, counts.rows, counts.rows_squared) == (3, 6, 14)
        assert counts.count.tolist() == [2, 3, 1, 0]
        assert counts.count_squared.tolist() == [4, 3, 1, 0]
        assert counts.product.tolist() == [6, 6, 2, 0]
        assert counts.present.tolist() == [1, 3, 1, 0]

    def test_spread_between_sequences_is_no_shift(self) -> None:
        """Each sequence has one label: steps by the thousand, but few sequences."""
        alarms = 0
        for seed in range(40):
            labels = np.random.default_rng(seed).choice(3, 60, p=SHARES)
            rows = np.repeat(labels, 50)
            parts = (rows[:2000], np.arange(0, 2001, 50)), (rows[2000:], np.arange(0, 1001, 50))
            counts = [checks.label_counts(*part, 3) for part in parts]
            alarms += checks.label_shift(*counts, labels=LABELS).status != "pass"
        assert alarms <= 2
