"""The gate: what each check sees, and how often chance gets through or is held up."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn import metrics as sk

from benchmarks import coverage
from benchmarks.coverage import Draw
from birnn import params
from birnn.evaluation.metrics import by_length
from birnn.model.operating_points import Wanted
from birnn.retraining import regressions
from birnn.retraining.gate import Bounds, bounds, checks, promotes, sets_reference
from birnn.retraining.judged import Answers, Check, Served
from birnn.retraining.regressions import Margins

Array = NDArray[Any]
LABELS = ["a", "b", "c"]
SHARES = [0.6, 0.3, 0.1]


def pair(
    seed: int,
    *,
    sequences: int = 300,
    steps: tuple[int, int] = (1, 20),
    accuracies: tuple[float | Array, float | Array] = (0.8, 0.8),
) -> tuple[Answers, Answers]:
    """Two models that are right with these probabilities, exactly.

    Some sequences and some steps are hard for both, as they are for models of almost the same
    data. An accuracy may be an array with one for each number of steps.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(*steps, sequences)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    actual = rng.choice(3, offsets[-1], p=SHARES)
    hard = np.repeat(rng.standard_normal(sequences), lengths) + rng.standard_normal(len(actual))
    answers = []
    for given in accuracies:
        accuracy = np.repeat(np.broadcast_to(given, steps[1])[lengths], lengths)
        noise = np.sqrt(0.3) * hard + np.sqrt(0.4) * rng.standard_normal(len(actual))
        other = (actual + rng.integers(1, 3, len(actual))) % 3
        predicted = np.where(noise < ndtri(accuracy), actual, other)
        groups = np.arange(sequences)
        arrays = actual, predicted, sure(predicted, accuracy), offsets, lengths, groups
        for array in arrays:
            array.setflags(write=False)  # nothing that judges may change them
        answers.append(Answers(*arrays))
    return answers[0], answers[1]


def sure(predicted: Array, confidence: Array) -> Array:
    """Give the predicted class this probability, and the others the rest."""
    of_others = (1 - confidence[:, np.newaxis]) / 2
    probabilities: Array = np.where(np.eye(3)[predicted] == 1, 1 - 2 * of_others, of_others)
    return probabilities


def judge(challenger: Answers, champion: Answers | None, **changes: Any) -> list[Check]:
    asked: dict[str, Any] = {
        "critical": {},
        "average": "macro",
        "aim": "superior",
        "margin": 0.01,
        "latency_ratio": 1.5,
        "least_groups": 30,
        "least_of_class": 0,
        "least_power": 0.0,
        "fall": 0.2,
    }
    margins = {
        name: changes.pop(f"{name}_margin", 0.05) for name in ("class", "length", "calibration")
    }
    asked["margins"] = Margins(
        classes=margins["class"], lengths=margins["length"], calibration=margins["calibration"]
    )
    reference = changes.pop("reference", None)
    given: dict[str, Any] = {
        "labels": LABELS,
        "baselines": {"always 'a'": np.zeros_like(challenger.actual)},
        "verdict": "fair",
        "latency": (1.0, 1.0),
        "reloaded": challenger,
    }
    asked |= {name: value for name, value in changes.items() if name in asked}
    given |= {name: value for name, value in changes.items() if name not in asked}
    served = Served(champion, reference)
    return checks(challenger, served, Bounds(**asked), **given)


def test_bounds_hold_all_that_params_choose() -> None:
    margins: dict[str, Any] = {
        "margin": 0.1,
        "class_margin": 0.2,
        "length_margin": 0.3,
        "calibration_margin": 0.4,
    }
    retrain = params.Retrain(aim="not_inferior", latency_ratio=2.5, **margins)
    evaluate = params.Evaluate(average="weighted", critical={"a": params.Critical(min_recall=0.8)})
    found = asdict(bounds(evaluate, retrain))
    assert found["margin"] == 0.1
    assert found["margins"] == {"classes": 0.2, "lengths": 0.3, "calibration": 0.4}
    assert (found["aim"], found["latency_ratio"]) == ("not_inferior", 2.5)
    assert found["average"] == "weighted"
    assert found["critical"] == {"a": asdict(Wanted(min_recall=0.8))}


def refused(found: list[Check]) -> set[str]:
    return {check.name for check in found if not check.passed}


def named(found: list[Check], name: str) -> Check:
    return next(check for check in found if check.name == name)


def spoilt(answers: Answers, where: Array) -> Answers:
    """Give some labels another class."""
    shift = np.random.default_rng(9).integers(1, 3, len(where))
    predicted = np.where(where, (answers.predicted + shift) % 3, answers.predicted)
    return replace(answers, predicted=predicted)


def first_steps(sequences: int) -> Array:
    """Mark the first step that the better model has right, in some sequences."""
    mask = np.zeros(len(BETTER.actual), dtype=bool)
    right = np.flatnonzero(BETTER.right)
    _, first = np.unique(SEQUENCE[right], return_index=True)
    mask[right[first[:sequences]]] = True
    return mask


BETTER, WORSE = pair(0, accuracies=(0.9, 0.8))
SEQUENCE = np.repeat(np.arange(len(BETTER)), BETTER.lengths)
LONG = np.repeat(BETTER.lengths >= 16, BETTER.lengths)
FLAWS: dict[str, tuple[str, Callable[[], list[Check]], str]] = {
    "a bad verdict": (
        "absolute_floor",
        lambda: judge(BETTER, WORSE, verdict="bad"),
        "The verdict is bad, with f1_macro 0.8",
    ),
    "a critical class that is missed": (
        "critical_classes",
        lambda: judge(BETTER, WORSE, critical={"c": Wanted(min_recall=0.99)}),
        "Recall of 'c' is 0.874, wanted 0.990.",
    ),
    "a critical class that is called too often": (
        "critical_classes",
        lambda: judge(BETTER, WORSE, critical={"c": Wanted(min_precision=0.95)}),
        "Precision of 'c' is 0.",
    ),
    "a critical class that nobody has seen": (
        "critical_classes",
        lambda: judge(BETTER, WORSE, labels=[*LABELS, "d"], critical={"d": Wanted(0.5)}),
        "The test set holds no 'd', so nobody knows how well it is found.",
    ),
    "a baseline that is as good": (
        "beats each step alone",
        lambda: judge(BETTER, WORSE, baselines={"each step alone": BETTER.predicted}),
        "It is not clearly better than 'each step alone': +0.000 (95 % interval",
    ),
    "a champion that is as good": (
        "headline",
        lambda: judge(BETTER, BETTER),
        "The challenger is not shown to be better: f1_macro 0.8",
    ),
    "a champion that differs in few sequences": (
        "headline",
        lambda: judge(BETTER, spoilt(BETTER, first_steps(9))),
        ", over 300 sequences, of which they differ in only 9).",
    ),
    "a champion that is better": (
        "headline",
        lambda: judge(*pair(1, accuracies=(0.8, 0.83)), aim="not_inferior", class_margin=0.9),
        "The challenger is not shown to be no worse by 0.01: f1_macro 0.",
    ),
    "a class that falls": (
        "classes",
        lambda: judge(spoilt(BETTER, BETTER.actual == 2), WORSE, aim="not_inferior", margin=0.5),
        "F1 of 'c' fell from 0.",
    ),
    "a length that falls": (
        "lengths",
        lambda: judge(
            spoilt(BETTER, LONG & (np.arange(len(LONG)) % 3 == 0)),
            WORSE,
            aim="not_inferior",
            margin=0.5,
            class_margin=0.5,
        ),
        "Accuracy of '17 to 19 steps' fell from 0.",
    ),
    "probabilities that cannot be believed": (
        "calibration",
        lambda: judge(
            replace(BETTER, probabilities=sure(BETTER.predicted, np.full(len(LONG), 0.999))), WORSE
        ),
        "The calibration error is 0.09",
    ),
    "a slow model": (
        "latency",
        lambda: judge(BETTER, WORSE, latency=(3.1, 2.0)),
        "It takes 3.1 s where the champion takes 2 s (allowed: 1.5 times as long).",
    ),
    "a registry that gives another model": (
        "reloaded",
        lambda: judge(BETTER, WORSE, reloaded=WORSE),
        "The model reloaded from the registry gives ",
    ),
    "a registry that lost the thresholds": (
        "reloaded",
        lambda: judge(
            BETTER, WORSE, reloaded=replace(BETTER, predicted=np.zeros_like(BETTER.predicted))
        ),
        " labels another class, and probabilities that differ by up to 0.",
    ),
    "a registry that answers for other sequences": (
        "reloaded",
        lambda: judge(BETTER, WORSE, reloaded=pair(2)[0]),
        "The model reloaded from the registry answers for other sequences.",
    ),
}


class TestChecks:
    def test_a_better_model_passes_all(self) -> None:
        found = judge(BETTER, WORSE, critical={"c": Wanted(min_recall=0.5)})
        assert [check.name for check in found] == [
            "enough_sequences",
            "absolute_floor",
            "critical_classes",
            "reloaded",
            "latency",
            "beats always 'a'",
            "headline",
            "classes",
            "lengths",
            "calibration",
        ]
        assert promotes(found), refused(found)

    @pytest.mark.parametrize("flaw", FLAWS)
    def test_one_flaw_is_enough(self, flaw: str) -> None:
        name, judged, sentence = FLAWS[flaw]
        found = judged()
        assert refused(found) == {name}
        assert sentence in named(found, name).sentence
        assert not promotes(found)

    def test_figures_are_plain_numbers(self) -> None:
        for check in judge(BETTER, WORSE, critical={"c": Wanted(min_recall=0.5)}):
            assert all(type(figure) in (int, float) for figure in check.figures.values())
            assert np.isfinite(list(check.figures.values())).all()
            assert type(check.passed) is bool
            assert "\n" not in check.sentence

    def test_the_first_model_needs_no_champion(self) -> None:
        found = judge(BETTER, None, latency=None)
        assert [check.name for check in found] == [
            "enough_sequences",
            "absolute_floor",
            "reloaded",
            "beats always 'a'",
        ]
        assert promotes(found)

    @pytest.mark.parametrize("sequences", [1, 29])
    def test_a_small_test_set_promotes_nothing(self, sequences: int) -> None:
        found = judge(*pair(0, sequences=sequences, accuracies=(0.99, 0.5)))
        assert refused(found) == {"enough_sequences"}
        assert f"{sequences} test sequences to judge on, too few: expe" in found[0].sentence
        assert "headline" not in [check.name for check in found]

    def test_no_checks_promote_nothing(self) -> None:
        assert not promotes([])

    def test_not_inferior_is_less_than_superior(self) -> None:
        both = pair(3, sequences=2000)
        assert not promotes(judge(*both, aim="superior"))
        assert promotes(judge(*both, aim="not_inferior", margin=0.02))

    def test_rounding_is_not_another_model(self) -> None:
        near = replace(BETTER, probabilities=BETTER.probabilities.astype(np.float32))
        assert promotes(judge(BETTER, WORSE, reloaded=near))

    @pytest.mark.parametrize(("flips", "passed"), [(2, True), (3, False)])
    def test_rounding_may_decide_for_one_label_in_ten_thousand(
        self, flips: int, passed: bool
    ) -> None:
        answers, _ = pair(0, sequences=2500)
        assert 20_000 < len(answers.actual) < 30_000
        other = spoilt(answers, np.arange(len(answers.actual)) < flips)
        assert named(judge(answers, None, reloaded=other), "reloaded").passed is passed

    def test_the_headline_is_that_of_the_metrics(self) -> None:
        figures = named(judge(BETTER, WORSE), "headline").figures
        for name, answers in {"challenger": BETTER, "champion": WORSE}.items():
            expected = sk.f1_score(answers.actual, answers.predicted, average="macro")
            assert figures[name] == pytest.approx(expected)

    def test_answers_for_other_sequences_are_a_bug(self) -> None:
        with pytest.raises(AssertionError, match="not about the same labels"):
            judge(BETTER, pair(5)[1])


class TestFalls:
    def test_are_those_of_the_metrics(self) -> None:
        found = judge(WORSE, BETTER)
        classes, lengths = named(found, "classes"), named(found, "lengths")
        f1 = [sk.f1_score(m.actual, m.predicted, average=None) for m in (BETTER, WORSE)]
        for label, fall in zip(LABELS, f1[0] - f1[1], strict=True):
            assert classes.figures[f"fall_{label}"] == pytest.approx(fall)
        tables = [
            by_length(m.actual, m.predicted, num_classes=3, offsets=m.offsets, lengths=m.lengths)
            for m in (BETTER, WORSE)
        ]
        for i, (low, high) in enumerate(
            zip(tables[0]["shortest"], tables[0]["longest"], strict=True)
        ):
            fall = tables[0]["accuracy"][i] - tables[1]["accuracy"][i]
            assert lengths.figures[f"fall_{low} to {high} steps"] == pytest.approx(fall)

    def test_vary_as_the_jackknife_says(self) -> None:
        """Leave out one sequence after the other, and compute F1 anew."""
        small = pair(4, sequences=60)
        whole = np.arange(len(small[0].actual))
        sequence = np.repeat(np.arange(60), small[0].lengths)

        def fall(rows: Array) -> Array:
            f1 = [sk.f1_score(m.actual[rows], m.predicted[rows], average=None) for m in small]
            return np.asarray(f1[1] - f1[0])

        left_out = np.array([fall(whole[sequence != i]) for i in range(60)])
        error = np.sqrt(59 / 60 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
        both = [regressions._f1(answers, 3, [0, 1, 2]) for answers in (small[1], small[0])]
        apart = both[0].influence - both[1].influence
        found = np.sqrt(apart.multiply(apart).sum(axis=0) * 60 / 59)
        assert found == pytest.approx(error, rel=0.1)

    def test_of_a_model_and_itself_are_none(self) -> None:
        found = judge(BETTER, BETTER)
        for name in ("classes", "lengths"):
            figures = named(found, name).figures
            assert all(v == 0 for key, v in figures.items() if key.startswith("fall_"))
            assert all(v == 1 for key, v in figures.items() if key.startswith("p_"))

    def test_of_a_class_that_no_sequence_gets_right_are_certain(self) -> None:
        answers = replace(BETTER, predicted=BETTER.actual)
        lost = replace(answers, predicted=np.where(answers.actual == 2, 0, answers.actual))
        figures = named(judge(lost, answers), "classes").figures
        assert figures["fall_c"] == 1
        assert figures["p_c"] == 0

    def test_of_a_rare_class_are_not_judged(self) -> None:
        actual = BETTER.actual.copy()
        actual[actual == 2] = 0
        actual[BETTER.offsets[:9]] = 2  # in nine sequences
        both = [replace(answers, actual=actual) for answers in (BETTER, WORSE)]
        found = named(judge(*both), "classes")
        assert "fall_c" not in found.figures
        assert found.sentence.endswith("Too few sequences to judge 'c'.")


def long(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.long)


def grouped(seed: int, groups: int, rows: int) -> tuple[Answers, Answers]:
    """Two equally good models on groups whose sequences, of a row each, resemble one another."""
    draw = Draw(groups, rows, correlation=0.5)
    drawn = coverage.drawn(draw, np.random.default_rng(seed))
    size = len(drawn.actual)
    challenger, champion = (
        Answers(
            drawn.actual,
            predicted,
            sure(predicted, np.full(size, 0.8)),
            np.arange(size + 1),
            np.ones(size, dtype=np.int64),
            drawn.groups,
        )
        for predicted in drawn.answers
    )
    return challenger, champion


class TestGroups:
    def test_are_counted_not_their_sequences(self) -> None:
        found = judge(*grouped(0, groups=29, rows=20))
        assert refused(found) == {"enough_sequences"}
        assert found[0].figures == {"sequences": 580, "groups": 29}
        assert found[0].sentence == (
            "There are 29 groups of test sequences to judge on, too few: expected at least 30; "
            "add groups of test sequences."
        )

    def test_are_what_the_interval_is_over(self) -> None:
        sentence = named(judge(*grouped(0, groups=30, rows=20)), "headline").sentence
        assert sentence.endswith(", over 30 groups of sequences).")

    def test_decide_whether_a_class_or_a_length_is_judged(self) -> None:
        challenger, champion = grouped(0, groups=30, rows=20)
        actual = np.where(challenger.groups < 9, 2, 0)
        both = [replace(answers, actual=actual) for answers in (challenger, champion)]
        found = named(judge(*both), "classes")
        assert "fall_c" not in found.figures
        assert found.sentence.endswith("Too few groups to judge 'b', 'c'.")

    def test_make_falls_as_uncertain_as_they_are(self) -> None:
        """Without its groups, the same fall has a spread that is far too small."""
        challenger, champion = grouped(0, groups=40, rows=30)
        each = [
            replace(answers, groups=np.arange(len(answers))) for answers in (challenger, champion)
        ]
        spread = [
            np.sqrt((apart := one.influence - other.influence).multiply(apart).sum(axis=0))
            for one, other in (
                [regressions._f1(answers, 3, [0, 1]) for answers in pair]
                for pair in ([challenger, champion], each)
            )
        ]
        assert (spread[0] > 1.5 * spread[1]).all()

    @pytest.mark.parametrize(("trials", "most"), [(60, 0.07), long(2000, 0.035)])
    def test_of_equal_quality_are_rarely_called_better(self, trials: int, most: float) -> None:
        level = share_of(
            trials,
            lambda seed: named(judge(*grouped(seed, groups=30, rows=20)), "headline").passed,
        )
        assert level <= most

    def test_sequences_in_their_place_would_be_called_better_too_often(self) -> None:
        """What the test above looks for does happen."""

        def passed(seed: int) -> bool:
            both = grouped(seed, groups=30, rows=20)
            each = [replace(answers, groups=np.arange(len(answers))) for answers in both]
            return named(judge(*each), "headline").passed

        assert share_of(40, passed) > 0.1


def test_many_classes_that_fall_are_not_all_named() -> None:
    labels = [f"c{number:02}" for number in range(80)]
    actual = np.arange(8000) % 80
    rng = np.random.default_rng(0)
    worse = np.where(rng.random(8000) < 0.8, (actual + 1) % 80, actual)
    both = [
        Answers(
            actual,
            predicted,
            np.eye(80)[predicted],
            np.arange(8001),
            np.ones(8000, dtype=np.int64),
            np.arange(8000),
        )
        for predicted in (worse, actual)
    ]
    sentence = named(judge(*both, labels=labels), "classes").sentence
    assert sentence.count(" fell from ") == 5
    assert sentence.endswith(" And 75 more.")


def share_of(trials: int, judged: Callable[[int], bool]) -> float:
    return float(np.mean([judged(seed) for seed in range(trials)]))


def level_of(trials: int, **drawn: Any) -> float:
    """How often one of two models of equal quality is promoted over the other."""
    return share_of(trials, lambda seed: promotes(judge(*pair(seed, **drawn))))


def power_of(trials: int, **drawn: Any) -> float:
    """How often a model is promoted that is better by three points, on 2000 sequences."""
    drawn = {"sequences": 2000, "accuracies": (0.83, 0.8), **drawn}
    return share_of(trials, lambda seed: promotes(judge(*pair(seed, **drawn))))


def held_up(trials: int, **drawn: Any) -> float:
    """How often lengths refuse a model."""
    return share_of(
        trials,
        lambda seed: not named(judge(*pair(seed, **drawn)), "lengths").passed,
    )


FAULTS = {"classes", "lengths", "calibration", "not worse than bag of steps", "reference"}


def refused_for_a_fault(trials: int, draw: Callable[[int], tuple[Answers, Answers]]) -> float:
    """How often a model that is as good as champion, reference and bag of steps is refused."""

    def refuses(seed: int) -> bool:
        challenger, champion = draw(seed)
        reference, bag = draw(seed)[::-1]
        rest = {"reference": reference, "baselines": {"bag of steps": bag.predicted}}
        return bool(refused(judge(challenger, champion, **rest)) & FAULTS)

    return share_of(trials, refuses)


ONE_LABEL = (1, 2)
"""Lengths of sequences with one label, as classification has."""


class TestChance:
    @pytest.mark.parametrize(
        ("trials", "drawn"),
        [
            (60, {"sequences": 150}),
            (20, {"sequences": 150, "steps": ONE_LABEL, "accuracies": (0.95, 0.95)}),
            long(400, {"sequences": 2000, "steps": ONE_LABEL}),
            long(400, {"sequences": 200}),
            long(400, {"sequences": 30}),
            long(400, {"sequences": 150, "steps": ONE_LABEL, "accuracies": (0.95, 0.95)}),
        ],
    )
    def test_at_most_one_in_twenty_of_equal_quality_gets_through(
        self, trials: int, drawn: dict[str, Any]
    ) -> None:
        assert level_of(trials, **drawn) <= 0.05

    @pytest.mark.parametrize(
        ("trials", "steps"), [(40, ONE_LABEL), long(200, ONE_LABEL), long(200, (1, 10))]
    )
    def test_at_least_four_in_five_that_are_better_get_through(
        self, trials: int, steps: tuple[int, int]
    ) -> None:
        assert power_of(trials, steps=steps) >= 0.8

    @pytest.mark.parametrize(
        ("trials", "drawn"),
        [
            (60, {"sequences": 60, "steps": ONE_LABEL}),
            long(1000, {"sequences": 30, "steps": ONE_LABEL}),
            long(1000, {"sequences": 60, "steps": ONE_LABEL}),
            long(1000, {"sequences": 150, "steps": ONE_LABEL, "accuracies": (0.95, 0.95)}),
            long(400, {"sequences": 60}),
            long(400, {"sequences": 400}),
        ],
    )
    def test_at_most_one_in_twenty_of_equal_quality_is_refused_for_a_fault(
        self, trials: int, drawn: dict[str, Any]
    ) -> None:
        """By all checks that look for faults together."""
        assert refused_for_a_fault(trials, lambda seed: pair(seed, **drawn)) <= 0.05

    @pytest.mark.parametrize(("trials", "groups"), [(40, 40), long(1000, 30), long(1000, 100)])
    def test_at_most_one_in_twenty_is_refused_for_a_fault_of_groups(
        self, trials: int, groups: int
    ) -> None:
        assert refused_for_a_fault(trials, lambda seed: grouped(seed, groups, rows=10)) <= 0.05

    @pytest.mark.parametrize("trials", [10, long(200)])
    def test_what_falls_by_half_its_margin_is_allowed(self, trials: int) -> None:
        assert held_up(trials, sequences=2000, accuracies=(0.825, 0.85)) <= 0.05

    @pytest.mark.parametrize("trials", [10, long(200)])
    def test_a_fall_on_long_sequences_alone_is_seen(self, trials: int) -> None:
        falls = np.where(np.arange(20) >= 16, 0.7, 0.85)
        assert held_up(trials, accuracies=(falls, 0.85)) >= 0.8


def with_a_fall(answers: Answers, label: int, recall: float, seed: int) -> Answers:
    """Let the recall of a class be lower by this."""
    rng = np.random.default_rng([seed, 1])
    right = answers.right & (answers.actual == label)
    share = recall * np.count_nonzero(answers.actual == label) / np.count_nonzero(right)
    lost = right & (rng.random(len(right)) < share)
    other = (answers.actual + rng.integers(1, 3, len(right))) % 3
    return replace(answers, predicted=np.where(lost, other, answers.predicted))


def stated_and_measured(
    trials: int, label: int, recall: float, draw: Callable[[int], tuple[Answers, Answers]]
) -> tuple[float, float]:
    """The power that is stated for a class, on average, and how often its fall is refused."""
    name, stated, seen = LABELS[label], [], []
    for seed in range(trials):
        challenger, champion = draw(seed)
        stated.append(named(judge(challenger, champion, fall=recall), "classes").figures)
        fallen = with_a_fall(challenger, label, recall, seed)
        figures = named(judge(fallen, champion), "classes").figures
        seen.append(figures[f"p_{name}"] < 0.05 and figures[f"fall_{name}"] > 0.05)
    return float(np.mean([each[f"power_{name}"] for each in stated])), float(np.mean(seen))


class TestPower:
    @pytest.mark.parametrize(
        ("trials", "sequences", "steps", "near"),
        [
            (40, 300, ONE_LABEL, 0.15),
            long(500, 150, ONE_LABEL, 0.07),
            long(500, 300, ONE_LABEL, 0.07),
            long(500, 1000, ONE_LABEL, 0.07),
            long(500, 60, (1, 20), 0.12),
        ],
    )
    def test_is_what_is_stated(
        self, trials: int, sequences: int, steps: tuple[int, int], near: float
    ) -> None:
        stated, measured = stated_and_measured(
            trials,
            1,
            0.2,
            lambda seed: pair(seed, sequences=sequences, steps=steps, accuracies=(0.9, 0.9)),
        )
        assert measured == pytest.approx(stated, abs=near)

    @pytest.mark.long
    @pytest.mark.parametrize("groups", [40, 100])
    def test_of_groups_is_not_overstated(self, groups: int) -> None:
        """It supposes that what is lost is as clustered as the mistakes are; here it is not."""
        stated, measured = stated_and_measured(
            300, 1, 0.2, lambda seed: grouped(seed, groups, rows=10)
        )
        assert stated - 0.05 <= measured <= stated + 0.25

    def test_is_warned_of_where_it_is_low(self) -> None:
        both = pair(0, sequences=100, steps=ONE_LABEL, accuracies=(0.9, 0.9))
        check = named(judge(*both), "classes")
        assert check.figures["power_c"] < 0.3
        assert "Warning: a fall of recall by 0.2 would be seen with a chance of" in check.sentence
        assert "'c' (" in check.sentence
        assert "Warning" not in named(judge(BETTER, WORSE), "classes").sentence

    def test_of_a_class_that_falls_is_not_warned_of(self) -> None:
        found = judge(spoilt(BETTER, BETTER.actual == 2), WORSE)
        assert "Warning" not in named(found, "classes").sentence

    def test_of_the_headline_is_the_chance_of_an_equal_model(self) -> None:
        few = judge(*pair(0, sequences=60), aim="not_inferior")
        assert named(few, "headline").figures["power"] < 0.3
        assert "a model that is as good would be shown to be no worse" in (
            named(few, "headline").sentence
        )
        many = judge(*pair(0, sequences=3000), aim="not_inferior", margin=0.05)
        assert named(many, "headline").figures["power"] > 0.99

    @pytest.mark.parametrize("trials", [pytest.param(20), long(300)])
    def test_of_an_equal_model_is_what_is_stated(self, trials: int) -> None:
        found = [
            named(judge(*pair(seed, sequences=400), aim="not_inferior", margin=0.025), "headline")
            for seed in range(trials)
        ]
        stated = np.mean([check.figures["power"] for check in found])
        measured = np.mean([check.passed for check in found])
        assert measured == pytest.approx(stated, abs=0.25 if trials < 100 else 0.07)

    def test_may_be_demanded(self) -> None:
        both = pair(0, sequences=100, steps=ONE_LABEL, accuracies=(0.95, 0.7))
        assert "power" not in {check.name for check in judge(*both)}
        check = named(judge(*both, least_power=0.8), "power")
        assert not check.passed
        assert "c (classes) " in check.sentence
        assert "wanted 80 % (retrain.least.power)" in check.sentence
        assert named(judge(BETTER, WORSE, least_power=0.8), "power").passed

    def test_the_example_of_ten_and_thirty_sequences(self) -> None:
        """A recall falls from 0.9 to 0.5: the chance to see it is low with ten of a class."""
        stated = {
            number: np.mean(
                [
                    named(judge(*rare(number, seed), fall=0.4), "classes").figures["power_c"]
                    for seed in range(10)
                ]
            )
            for number in (10, 30, 100)
        }
        assert stated[10] < 0.4 < stated[30] < 0.8 < stated[100]


def rare(number: int, seed: int) -> tuple[Answers, Answers]:
    """Two models, right in 0.9 of 400 sequences of one label, `number` of them of class c."""
    rng = np.random.default_rng(seed)
    actual = np.where(np.arange(400) < number, 2, rng.integers(0, 2, 400))
    answers = []
    for _ in range(2):
        other = (actual + 1) % 2  # the two frequent classes are taken for one another
        other = np.where(actual == 2, rng.integers(0, 2, 400), other)
        predicted = np.where(rng.random(400) < 0.9, actual, other)
        each = np.arange(401), np.ones(400, dtype=np.int64), np.arange(400)
        answers.append(Answers(actual, predicted, sure(predicted, np.full(400, 0.9)), *each))
    return answers[0], answers[1]


class TestLeast:
    def test_groups_are_demanded(self) -> None:
        found = judge(BETTER, WORSE, least_groups=301)
        assert refused(found) == {"enough_sequences"}
        assert "300 test sequences to judge on, too few: expected at least 301" in found[0].sentence

    def test_each_class_is_demanded(self) -> None:
        assert promotes(judge(BETTER, WORSE, least_of_class=100))
        found = judge(BETTER, WORSE, least_of_class=250)
        assert refused(found) == {"enough_sequences"}
        assert "'c' in " in found[0].sentence
        assert "expected each class in 250 of them" in found[0].sentence

    def test_comes_from_params(self) -> None:
        least = params.Least(groups=50, of_each_class=20, power=0.8)
        found = bounds(params.Evaluate(), params.Retrain(least=least, fall=0.3))
        assert (found.least_groups, found.least_of_class, found.least_power) == (50, 20, 0.8)
        assert found.fall == 0.3


class TestReference:
    """Each step down is within the margins; all of them together are not."""

    def test_sees_what_the_champion_has_lost_already(self) -> None:
        first, _ = pair(0, sequences=2000, steps=ONE_LABEL, accuracies=(0.9, 0.9))
        steps = [with_a_fall(first, 2, lost, seed=7) for lost in (0.1, 0.16)]
        aims = {"aim": "not_inferior", "margin": 0.05}
        assert promotes(judge(steps[1], steps[0], **aims))
        found = judge(steps[1], steps[0], reference=first, **aims)
        assert refused(found) == {"reference"}
        assert "Against the reference: f1_macro -0.0" in named(found, "reference").sentence
        assert "F1 of 'c' fell from 0." in named(found, "reference").sentence

    def test_does_not_hold_up_what_is_better_than_the_champion(self) -> None:
        """To refuse it would keep a model in service that is worse still."""
        first, _ = pair(0, sequences=2000, steps=ONE_LABEL, accuracies=(0.9, 0.9))
        champion, better = (with_a_fall(first, 2, lost, seed=7) for lost in (0.4, 0.25))
        found = judge(better, champion, reference=first, aim="superior")
        assert promotes(found), refused(found)

    def test_must_not_be_undercut_by_the_headline_in_steps(self) -> None:
        first, worse = pair(1, sequences=3000, accuracies=(0.85, 0.82))
        found = judge(worse, worse, reference=first, aim="not_inferior", margin=0.02)
        assert refused(found) == {"reference"}

    def test_moves_only_to_what_is_better_and_worse_in_nothing(self) -> None:
        assert sets_reference(judge(BETTER, None))
        assert sets_reference(judge(BETTER, WORSE))
        assert not sets_reference(judge(BETTER, BETTER))
        twice = replace(BETTER, predicted=np.where(BETTER.actual == 0, 0, WORSE.predicted))
        a_class_lower = with_a_fall(twice, 2, 0.29, seed=3)
        found = judge(a_class_lower, WORSE)
        assert named(found, "headline").figures["low"] > 0
        assert not sets_reference(found)
        assert sets_reference(judge(BETTER, WORSE, reference=WORSE))
        assert not sets_reference(judge(BETTER, WORSE, reference=BETTER))


class TestBaselines:
    def test_a_bag_of_steps_need_not_be_beaten(self) -> None:
        """Where order tells nothing, no model is better, and none would ever serve."""
        equal = judge(BETTER, WORSE, baselines={"bag of steps": BETTER.predicted})
        assert refused(equal) == set()
        found = judge(WORSE, None, baselines={"bag of steps": BETTER.predicted})
        assert refused(found) == {"not worse than bag of steps"}
        alone = judge(BETTER, WORSE, baselines={"each step alone": BETTER.predicted})
        assert refused(alone) == {"beats each step alone"}

    def test_a_threshold_is_not_compared_with_none(self) -> None:
        """What it gives away was asked for: the baseline answers with its most probable class."""
        called = np.where(BETTER.probabilities[:, 2] > 0.04, 2, BETTER.predicted)
        lavish = replace(BETTER, predicted=called)
        found = judge(lavish, None, critical={"c": Wanted(min_recall=0.9)}, reloaded=lavish)
        assert refused(found) == set()
        assert "beats always 'a'" in {check.name for check in found}

    def test_of_spans_the_spans_decide(self) -> None:
        labels = ["O", "B-x", "I-x"]
        rng = np.random.default_rng(1)
        actual = np.tile([0, 1, 2, 0, 0, 0], 200)
        lost = np.repeat(rng.random(200) < 0.3, 6)
        champion = np.where(lost, 0, actual)
        offsets, each = np.arange(0, 1201, 6), np.arange(200)
        one, other = (
            Answers(actual, said, sure(said, np.full(1200, 0.9)), offsets, np.full(200, 6), each)
            for said in (actual, champion)
        )
        baselines = {"always 'O'": np.zeros_like(actual)}
        found = judge(one, other, labels=labels, baselines=baselines)
        (headline,) = (check for check in found if check.name == "headline")
        assert "span_f1 1.000" in headline.sentence
