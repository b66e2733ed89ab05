"""What a search has found, in words and as a file."""

from pathlib import Path

import pytest

from birnn.errors import DataError
from birnn.sweep import outcome
from birnn.sweep.outcome import Outcome, Tried


def made(*tried: Tried, metric: str = "loss") -> Outcome:
    assert metric in ("loss", "accuracy")
    return Outcome(
        problem="tagging",
        model="forward",
        metric="loss" if metric == "loss" else "accuracy",
        data="00",
        seeds=[1],
        tried=list(tried),
    )


DEFAULT = Tried(0, {"cell": "RNN", "dropout": 0.0}, 0.5, 9)
BETTER = Tried(2, {"cell": "GRU", "dropout": 0.123456}, 0.25, 7)
STOPPED = Tried(1, {"cell": "GRU", "dropout": 0.5}, 0.125, 3, pruned=True)


def test_the_best_was_trained_to_its_end() -> None:
    found = made(DEFAULT, STOPPED, BETTER)
    assert found.best == BETTER
    assert found.default == DEFAULT
    assert found.sentence == (
        "3 settings tried, 1 of them stopped early. The best has a validation loss 0.2500, those "
        "of params.yaml 0.5000: cell GRU, dropout 0.1235."
    )


def test_a_high_accuracy_is_better_and_among_equals_the_first() -> None:
    found = made(DEFAULT, Tried(1, {}, 0.5, 1), BETTER, metric="accuracy")
    assert [one.place for one in found.finished] == [0, 1, 2]
    assert found.sentence.endswith(
        "None is better than those of params.yaml, with a validation accuracy 0.5000."
    )


def test_nothing_may_be_left() -> None:
    assert (
        made().sentence == "0 settings tried, 0 of them stopped early; none was trained to its end."
    )
    assert outcome.applied(made()).startswith("params.yaml: not changed")
    assert made(BETTER).sentence.endswith("0.2500: cell GRU, dropout 0.1235.")


def test_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert outcome.read("tagging") is None
    outcome.write(made(DEFAULT, STOPPED, BETTER))
    assert outcome.read("tagging") == made(DEFAULT, STOPPED, BETTER)
    outcome.place("tagging").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"tagging\.json, problem: field required"):
        outcome.read("tagging")
