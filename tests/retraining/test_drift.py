"""Drift: what is planted is found and named, and equal data raise no alarm."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.retraining import drift
from birnn.retraining.drift import (
    Drift,
    Finding,
    Power,
    Reference,
    compare,
    power,
    reference,
    stability_index,
)

Array = NDArray[Any]
LABELS = ["a", "b", "c"]
NAMES = ["x", "y"]
WORDS = [f"w{number}" for number in range(400)]


def draw(
    seed: int,
    *,
    groups: int = 400,
    features: int = 2,
    tagging: bool = True,
    tokens: bool = True,
    lengths: tuple[int, int] = (1, 30),
    shares: tuple[float, float, float] = (0.6, 0.3, 0.1),
    shift: float = 0.0,
    words: Array | None = None,
) -> Sequences:
    """Up to three sequences a group, whose steps are all alike.

    A group has its own level of the features, and its own class and word at three of four steps.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rng.integers(1, 4, groups))
    steps = rng.integers(*lengths, len(group))
    of_step = np.repeat(group, steps)
    own = rng.random(len(of_step)) < 0.75
    classes = np.where(
        own, rng.choice(3, groups, p=shares)[of_step], rng.choice(3, len(of_step), p=shares)
    )
    level = rng.standard_normal((groups, features))[of_step]
    values = level + 0.5 * rng.standard_normal(level.shape)
    values[:, :1] += shift
    likely = zipf() if words is None else words
    place = np.where(
        own, rng.choice(400, groups, p=likely)[of_step], rng.choice(400, len(of_step), p=likely)
    )
    offsets = np.concatenate([[0], np.cumsum(steps)])
    return Sequences(
        values=values.astype(np.float32),
        offsets=offsets,
        labels=(classes if tagging else classes[offsets[:-1]]).astype(np.int32),
        ids=pa.array([f"s{number}" for number in range(len(group))]),
        groups=pa.array([f"g{number}" for number in group]),
        tagging=tagging,
        tokens=(place + 1).astype(np.int32) if tokens else None,
        dictionary=pa.array(["", *WORDS]) if tokens else None,
    )


def zipf(*, without: int = 0) -> Array:
    """Shares of the words; the most frequent ones may be missing."""
    shares = 1 / np.arange(1, 401)
    shares[:without] = 0
    total: Array = shares / shares.sum()
    return total


def remember(sequences: Sequences, seed: int = 1) -> Reference:
    return reference(sequences, LABELS, NAMES[: sequences.values.shape[1]], seed)


def found(seed: int = 0, **planted: Any) -> list[Finding]:
    return compare(remember(draw(2 * seed)), remember(draw(2 * seed + 1, **planted), seed=2))


PLANTED: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "nothing": ({}, set(), ""),
    "a feature moves": ({"shift": 1.0}, {"feature x"}, "Feature x: has drifted (stability index "),
    "longer sequences": (
        {"lengths": (1, 60)},
        {"sequence length"},
        "Sequence length: has drifted (stability index ",
    ),
    "other classes": (
        {"shares": (0.2, 0.4, 0.4)},
        {"labels"},
        "; 'a' was 6",
    ),
    "the most frequent words are gone": (
        {"words": zipf(without=3)},
        {"tokens"},
        "Tokens: has drifted",
    ),
}


class TestReference:
    def test_is_small_and_comes_back(self) -> None:
        names = [f"f{number}" for number in range(100)]
        remembered = reference(draw(0, groups=5000, features=100), LABELS, names, 1)
        text = json.dumps(remembered.to_json(), allow_nan=False)
        assert len(text) < 600_000
        assert Reference.from_json(json.loads(text)) == remembered

    def test_of_the_same_seed_is_the_same(self) -> None:
        data = draw(0)
        assert remember(data) == remember(data)
        assert remember(data) != remember(data, seed=2)

    @pytest.mark.parametrize("tagging", [True, False])
    def test_a_group_gives_one_draw(self, tagging: bool) -> None:
        remembered = remember(draw(0, tagging=tagging))
        assert sum(remembered.labels.values()) == 400
        assert len(remembered.lengths) == 400
        assert {len(values) for values in remembered.features.values()} == {400}
        assert sum(remembered.tokens.values()) == 200

    def test_a_draw_is_one_step_with_all_that_belongs_to_it(self) -> None:
        """With one group of one sequence whose steps are numbered, everything tells the step."""
        steps = np.arange(50)
        data = Sequences(
            values=steps[:, np.newaxis].astype(np.float32),
            offsets=np.array([0, 50]),
            labels=(steps % 3).astype(np.int32),
            ids=pa.array(["s"]),
            groups=pa.array(["g"]),
            tagging=True,
            tokens=steps.astype(np.int32),
            dictionary=pa.array([f"t{step}" for step in steps]),
        )
        drawn = set()
        for seed in range(40):
            remembered = reference(data, LABELS, ["x"], seed)
            (value,) = remembered.features["x"]
            assert remembered.tokens == {f"t{value:.0f}": 1}
            assert remembered.labels[LABELS[int(value) % 3]] == 1
            assert remembered.lengths == [50]
            drawn.add(value)
        assert len(drawn) > 20

    def test_words_are_learned_from_other_groups_than_they_are_counted_in(self) -> None:
        data = draw(0, groups=40)
        own = replace(
            data,
            tokens=np.repeat(data.groups.dictionary_encode().indices, data.lengths).astype(
                np.int32
            ),
            dictionary=data.groups.unique(),
        )
        remembered = remember(own)
        assert len(remembered.tokens) == len(remembered.vocabulary) == 20
        assert not set(remembered.tokens) & set(remembered.vocabulary)

    def test_there_may_be_no_features_or_no_tokens(self) -> None:
        assert remember(draw(0, features=0)).features == {}
        plain = remember(draw(0, tokens=False))
        assert plain.tokens == {}
        assert plain.vocabulary == []

    def test_what_is_small_beside_its_offset_keeps_its_digits(self) -> None:
        offset, plain = np.array([101_325.0, 0.0]), draw(0)
        small = replace(plain, values=plain.values * np.float32(0.001))
        kept = reference(small, LABELS, NAMES, 1, centre=offset).features
        expected = reference(small, LABELS, NAMES, 1).features
        np.testing.assert_allclose(np.array(kept["x"]) - 101_325, expected["x"], rtol=1e-4)
        assert kept["y"] == expected["y"]
        assert len(str(kept["x"][0])) < 20  # no digit more than that

    def test_of_an_older_version_is_compared_by_the_digits_that_it_has(self) -> None:
        def of(seed: int, offset: float) -> Reference:
            centre = np.array([offset, offset])
            return reference(draw(seed), LABELS, NAMES, seed, centre=centre)

        old, new = of(0, 101_325), of(1, 101_325)
        coarse = replace(old, features={"x": [101_325.0] * 400}).to_json()
        del coarse["precise"]
        digits = {name: drift._coarsely(values) for name, values in old.features.items()}
        assert not compare(replace(old, features=digits, precise=False), new)[2].drifted
        assert compare(replace(old, features=digits), new)[2].p < 0.01
        assert not Reference.from_json(coarse).precise

    def test_of_another_kind_is_refused(self) -> None:
        with pytest.raises(DataError, match=r"expected features, labels, .*, found a, b; register"):
            Reference.from_json({"a": 1, "b": 2})


class TestMissing:
    """Numbers that are missing are counted, and left out of what is compared."""

    def holed(self, seed: int, share: float) -> Sequences:
        data = draw(seed)
        values = data.values.copy()
        values[np.random.default_rng(seed).random(len(values)) < share, 0] = np.nan
        return replace(data, values=values)

    def test_of_the_draws(self) -> None:
        remembered = remember(self.holed(0, 0.3))
        assert set(remembered.missing) == {"x"}
        assert len(remembered.features["x"]) + remembered.missing["x"] == 400
        assert 0.2 < remembered.missing["x"] / 400 < 0.4
        assert np.isfinite(remembered.features["x"]).all()
        assert Reference.from_json(json.loads(json.dumps(remembered.to_json()))) == remembered

    def test_more_of_them_is_drift(self) -> None:
        few, same, many = (remember(self.holed(n, s)) for n, s in ((0, 0.1), (1, 0.1), (2, 0.4)))
        for other, drifted in ((same, False), (many, True)):
            findings = {finding.name: finding for finding in compare(few, other)}
            assert findings["missing numbers of x"].drifted == drifted
            assert not findings["feature x"].drifted
        assert "missing numbers of y" not in findings
        assert "'missing' was " in findings["missing numbers of x"].sentence

    def test_a_reference_without_them_is_an_old_one(self) -> None:
        tree = remember(draw(0)).to_json()
        del tree["missing"]
        assert Reference.from_json(tree) == remember(draw(0))


class TestCompare:
    def test_few_new_sequences_are_not_lost_among_the_old(self) -> None:
        """200 new ones that moved by two standard deviations, beside 1,800 old ones."""
        rng = np.random.default_rng(0)

        def of(values: Array) -> Reference:
            return Reference({"a": 1}, [1] * len(values), {"x": values.tolist()}, {}, [], True)

        old, moved = rng.standard_normal(1800), rng.standard_normal(200) + 2
        diluted = compare(of(old), of(np.append(old, moved)))[2]
        assert diluted.psi < 0.1
        assert not diluted.drifted
        alone = compare(of(old), of(moved))[2]
        assert alone.psi > 2
        assert alone.drifted

    @pytest.mark.parametrize("what", PLANTED)
    def test_finds_what_is_planted(self, what: str) -> None:
        planted, expected, sentence = PLANTED[what]
        findings = found(**planted)
        assert {finding.name for finding in findings if finding.drifted} == expected
        assert all(sentence in finding.sentence for finding in findings if finding.drifted)

    def test_looks_at_everything(self) -> None:
        names = [finding.name for finding in found()]
        assert names[:2] == ["sequence length", "labels"]
        assert names[2:] == ["feature x", "feature y", "tokens", "unknown tokens"]

    def test_words_that_nobody_knew(self) -> None:
        new = draw(1)
        assert new.tokens is not None
        slang = new.tokens + np.where(np.arange(len(new.tokens)) % 2 == 0, 400, 0)
        new = replace(
            new,
            tokens=slang.astype(np.int32),
            dictionary=pa.array(["", *WORDS, *(f"slang{n}" for n in range(400))]),
        )
        findings = {f.name: f for f in compare(remember(draw(0)), remember(new))}
        assert findings["unknown tokens"].drifted
        assert "; 'unknown' was 17.5% and is 55.0%." in findings["unknown tokens"].sentence

    def test_a_class_that_is_new(self) -> None:
        old, new = remember(draw(0)), remember(draw(1))
        renamed = replace(new, labels={**new.labels, "d": new.labels["a"], "a": 0})
        labels = compare(old, renamed)[1]
        assert labels.drifted
        assert np.isfinite(labels.psi)

    @pytest.mark.parametrize("now", [5.0, 3.0])
    def test_a_feature_that_never_changed(self, now: float) -> None:
        old, new = (
            Reference({"a": 50}, [1] * 50, {"x": [value] * 50}, {}, []) for value in (4.0, now)
        )
        drifted = {finding.name: finding.drifted for finding in compare(old, new)}
        assert drifted == {"sequence length": False, "labels": False, "feature x": True}

    def test_a_large_change_in_few_sequences_may_be_chance(self) -> None:
        few = [remember(draw(seed, groups=8)) for seed in (0, 1)]
        findings = compare(*few)
        assert any(finding.psi > 0.2 for finding in findings)
        assert not any(finding.drifted for finding in findings)

    def test_a_trifle_in_many_sequences_is_no_drift(self) -> None:
        many = [
            Reference({"a": share, "b": 100_000 - share}, [1, 2], {}, {}, [])
            for share in (50_000, 52_000)
        ]
        labels = compare(*many)[1]
        assert labels.p < 0.001
        assert not labels.drifted

    def test_the_limit_can_be_set(self) -> None:
        old, new = remember(draw(0)), remember(draw(1, shift=0.5))
        strict, loose = (compare(old, new, psi_limit=limit)[2].drifted for limit in (0.05, 5.0))
        assert (strict, loose) == (True, False)

    def test_figures_fit_into_json(self) -> None:
        for finding in found(shift=50.0):
            assert type(finding.psi) is type(finding.p) is float
            assert type(finding.drifted) is bool
            json.dumps([finding.psi, finding.p], allow_nan=False)


COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=8)


@given(COUNTS)
def test_stability_index(counts: list[tuple[int, int]]) -> None:
    old, new = np.array(counts).T
    total = sum(
        (n / (sum(new) + len(new) / 2) - o / (sum(old) + len(old) / 2))
        * np.log(n / (sum(new) + len(new) / 2) / (o / (sum(old) + len(old) / 2)))
        for o, n in zip(old + 0.5, new + 0.5, strict=True)
    )
    assert stability_index(old, new) == pytest.approx(total)
    assert stability_index(old, new) == pytest.approx(stability_index(new, old))
    assert stability_index(old, new) >= 0
    assert stability_index(old, old) == 0


def share_of(trials: int, alarm: Callable[[Finding], bool], **drawn: Any) -> float:
    """How often anything gives an alarm in data that have not drifted."""
    times = 0
    for seed in range(trials):
        old, new = (remember(draw(2 * seed + i, **drawn), seed) for i in (0, 1))
        times += any(alarm(finding) for finding in compare(old, new))
    return times / trials


class TestLevel:
    def test_equal_data_raise_no_alarm(self) -> None:
        assert share_of(40, lambda finding: finding.drifted, groups=300) == 0

    @pytest.mark.long
    @pytest.mark.parametrize("groups", [60, 500])
    def test_equal_data_raise_an_alarm_once_in_a_hundred(self, groups: int) -> None:
        assert share_of(400, lambda finding: finding.drifted, groups=groups) <= 0.01

    @pytest.mark.parametrize("trials", [40, pytest.param(400, marks=pytest.mark.long)])
    def test_the_tests_keep_their_level_by_themselves(self, trials: int) -> None:
        assert share_of(trials, lambda finding: finding.p < 0.05, groups=300) <= 0.05

    def test_steps_of_one_sequence_would_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Draw from all sequences of each group, and ten steps from each, as if independent."""
        monkeypatch.setattr(
            drift, "_one_of_each_group", lambda groups, _: np.repeat(np.arange(len(groups)), 10)
        )
        assert share_of(20, lambda finding: finding.p < 0.05, groups=100) > 0.5


OLD = 1800


def independent(seed: Any, draws: int, *, shift: float = 0.0, share: float = 0.2) -> Reference:
    """Normal numbers and one of two classes."""
    rng = np.random.default_rng(seed)
    count = int(rng.binomial(draws, share))
    features = {name: rng.standard_normal(draws).tolist() for name in "xy"}
    features["x"] = [value + shift for value in features["x"]]
    labels, lengths = {"a": count, "b": draws - count}, rng.integers(5, 50, draws).tolist()
    return Reference(labels, lengths, features, {}, [], precise=True)


def found_in(draws: int, name: str, trials: int, **change: Any) -> float:
    """How often a change is called drifted."""
    times = 0
    for trial in range(trials):
        old, new = independent((trial, 0), OLD), independent((trial, 1), draws, **change)
        findings = {one.name: one.drifted for one in compare(old, new, level=0.05)}
        times += findings[name]
    return times / trials


class TestPower:
    @pytest.mark.slow
    @pytest.mark.parametrize("draws", [5, pytest.param(40, marks=pytest.mark.long), 200])
    def test_what_is_said_to_be_found_is_found(self, draws: int) -> None:
        """By chance alone 200 trials give 0.74 to 0.86 where it is 0.8."""
        said = power(independent(0, OLD), independent(1, draws), level=0.05)
        assert said.shift is not None
        assert 0.72 < found_in(draws, "feature x", 200, shift=said.shift) < 1
        less = said.shift - 0.2
        assert found_in(draws, "feature x", 200, shift=less) < 0.8
        if draws > 5:
            assert said.share is not None
            assert 0.72 < found_in(draws, "labels", 200, share=said.share) < 0.9

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "draws", [2, *(pytest.param(draws, marks=pytest.mark.long) for draws in (5, 40)), 200]
    )
    def test_what_has_not_changed_is_not_found(self, draws: int) -> None:
        trials = [
            compare(independent((n, 0), OLD), independent((n, 1), draws), level=0.05)
            for n in range(200)
        ]
        alarms = [any(one.drifted for one in findings) for findings in trials]
        assert np.mean(alarms) < 0.08  # 0.05, and two standard deviations

    def test_more_draws_find_smaller_changes(self) -> None:
        old = independent(0, OLD)
        few, many = (power(old, independent(1, draws), level=0.05) for draws in (20, 200))
        assert few.shift is not None
        assert many.shift is not None
        assert few.shift > many.shift

    def test_is_said_in_a_sentence(self) -> None:
        assert Power(200, 0.5, 0.44).sentence == (
            "With 200 independent new sequences, a change is found in 80 % of cases if a number "
            "moves by 0.5 standard deviations, or one of two classes goes from 20 % to 44 %."
        )
        nothing = Power(1, None, None).sentence
        assert "by not even five standard deviations" not in nothing
        assert "no change" in nothing

    def test_what_was_compared_is_said_with_it(self) -> None:
        one = Finding("labels", 0.1, 0.5, drifted=False, sentence="Labels: has not drifted.")
        assert not Drift(1200, [one], Power(200, 0.5, 0.44)).any
        assert Drift(1200, [replace(one, drifted=True)], Power(200, 0.5, 0.44)).any
        said = Drift(1200, [one], Power(200, 0.5, 0.44)).sentence
        assert said.startswith("1,200 sequences are new. With 200 independent new sequences, ")
        assert Drift(0, [], Power(9, None, None)).sentence.startswith("No sequence is new")
