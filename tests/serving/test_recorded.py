"""Labels that came later, beside what was answered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console
from sklearn.metrics import accuracy_score, f1_score

from birnn.errors import DataError
from birnn.evaluation import intervals
from birnn.serving import ledger, recorded, served
from birnn.serving.recorded import Joined
from birnn.serving.served import Name, Served

MONDAY = datetime(2026, 11, 30, 0, 30, tzinfo=UTC)  # the first of week 49
CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def model(trained: Path) -> Served:
    return served.load(str(trained))


def write(folder: Path, model: Served, answers: pd.DataFrame) -> None:
    """A part for each version and time, whose rows are `sequence`, `predicted`, `confidence`."""
    folder.mkdir(exist_ok=True)
    for number, (cell, frame) in enumerate(answers.groupby(["version", "time"])):
        version, time = cell
        who = replace(model, name=Name("problem", str(version), "abc"))
        shares = {
            f"probability_{label}": np.where(
                frame["predicted"] == label, frame["confidence"], (1 - frame["confidence"]) / 2
            ).astype(np.float32)
            for label in CLASSES
        }
        named: dict[str, Any] = {name: frame[name].tolist() for name in ("sequence", "predicted")}
        table = pa.table(named | shares)
        starts = np.flatnonzero(frame["begins"].to_numpy())
        rows = ledger.rows(
            table, np.append(starts, len(table)), pd.Timestamp(str(time)).to_pydatetime()
        )
        path = folder / f"{number}.arrows"
        with pa.ipc.new_stream(path, ledger._schema(who)) as writer:
            writer.write_table(rows)


def drawn(sequences: int, steps: int, *, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers in three weeks by two versions, the second of which is better, and their labels."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"s{number}" for number in range(sequences)], steps)
    begins = np.tile(np.arange(steps) == 0, sequences)
    week = np.repeat(np.arange(sequences) * 3 // sequences, steps)
    version = 1 + week // 2
    label = rng.choice(CLASSES, len(names))
    right = rng.random(len(names)) < np.where(version == 1, 0.7, 0.9)
    wrong = np.array([{"a": "b", "b": "c", "c": "a"}[one] for one in label])
    answers = pd.DataFrame({"sequence": names, "begins": begins, "version": version})
    answers = answers.assign(
        time=[MONDAY + timedelta(weeks=int(one)) for one in week],
        predicted=np.where(right, label, wrong),
        confidence=rng.choice([0.5, 0.75], len(names)),
    )
    return answers, pd.DataFrame({"sequence": names, "label": label})


def join(folder: Path, labels: pd.DataFrame) -> Joined:
    labels.to_csv(folder / "labels.csv", index=False)
    return recorded.join(folder / "ledger", folder / "labels.csv")


@pytest.mark.parametrize("groups", [False, True])
def test_scores_each_week_and_version(model: Served, tmp_path: Path, groups: bool) -> None:
    answers, labels = drawn(120, 5)
    if groups:
        labels["group"] = labels["sequence"].str[:2]
    write(tmp_path / "ledger", model, answers)
    found = join(tmp_path, labels)
    cells = [(one.week, one.model) for one in found.periods()]
    one, two = "version 1 of problem", "version 2 of problem"
    assert cells == [
        ("2026-W49", one),
        ("2026-W50", one),
        ("2026-W51", two),
        ("all", one),
        ("all", two),
        ("all", "all"),
    ]
    answers["label"] = labels["label"]
    answers["group"] = labels["group"] if groups else labels["sequence"]
    week = (answers["time"] - MONDAY).dt.days // 7
    chosen: list[Any] = [week == 0, week == 1, week == 2, week < 2, week == 2, week >= 0]
    for period, rows in zip(found.periods(), chosen, strict=True):
        some = answers[rows]
        codes = {name: [CLASSES.index(x) for x in some[name]] for name in ("label", "predicted")}
        sure = intervals.intervals(
            *map(np.array, codes.values()),
            labels=CLASSES,
            offsets=np.arange(len(some) // 5 + 1) * 5,
            groups=pd.factorize(some["group"].to_numpy()[::5])[0],
        ).get("accuracy")
        assert (period.answers, period.labelled, period.rows) == (len(some) // 5,) * 2 + (
            len(some),
        )
        assert period.accuracy == accuracy_score(some["label"], some["predicted"])
        expected = f1_score(some["label"], some["predicted"], average="macro")
        assert period.f1_macro == pytest.approx(expected)
        ends = (sure.low, sure.high) if sure else (None, None)
        assert (period.low, period.high) == ends
        assert period.confidence == pytest.approx(some["confidence"].mean())
    assert "slices are weaker than all rows together" in next(iter(found.sentences))


def test_counts_what_has_no_label_yet(model: Served, tmp_path: Path) -> None:
    answers, labels = drawn(30, 2)
    write(tmp_path / "ledger", model, answers)
    found = join(tmp_path, labels[labels["sequence"].isin(["s0", "s1", "s29"])])
    assert [(one.labelled, one.answers) for one in found.periods()] == [
        (2, 10),
        (1, 10),
        (3, 30),
    ]
    assert found.periods()[1].low is None


def test_leaves_out_what_has_another_number_of_labels(model: Served, tmp_path: Path) -> None:
    answers, labels = drawn(30, 3)
    write(tmp_path / "ledger", model, answers)
    found = join(tmp_path, labels.drop(index=[0, 4]))
    assert found.unlike == ["s0", "s1"]
    assert found.periods()[0].labelled == 8
    assert "left out: 2 sequences that have another number of labels" in [*found.sentences][-1]


def test_a_model_that_cuts_answers_for_the_first_steps(model: Served, tmp_path: Path) -> None:
    cutting = replace(model, encoding=replace(model.encoding, max_steps=2))
    answers, labels = drawn(30, 3)
    first = answers.groupby("sequence", sort=False).head(2)
    write(tmp_path / "ledger", cutting, first)
    found = join(tmp_path, labels)
    assert (found.unlike, len(found.confidence)) == ([], 60)
    right = labels.loc[first.index, "label"] == first["predicted"]
    assert found.periods()[-1].accuracy == pytest.approx(right.mean())


def test_of_classification_takes_one_label_a_sequence(model: Served, tmp_path: Path) -> None:
    """Also from the sequences themselves, where each row carries it."""
    classifier = replace(model, encoding=replace(model.encoding, task="classification"))
    answers, labels = drawn(30, 1)
    write(tmp_path / "ledger", classifier, answers)
    found = join(tmp_path, labels.loc[labels.index.repeat(4)])
    right = labels["label"] == answers["predicted"]
    assert found.periods()[-1].accuracy == pytest.approx(right.mean())
    other = pd.concat([labels, pd.DataFrame({"sequence": ["s3"], "label": ["d"]})])
    assert join(tmp_path, other).unlike == ["s3"]


def test_a_sequence_asked_for_twice_is_one_that_is_independent(
    model: Served, tmp_path: Path
) -> None:
    answers, labels = drawn(20, 1)
    again = answers.assign(time=answers["time"] + timedelta(hours=1))
    write(tmp_path / "ledger", model, answers)
    once = join(tmp_path, labels).periods()[-1]
    write(tmp_path / "ledger", model, pd.concat([answers, again]))
    twice = join(tmp_path, labels).periods()[-1]
    assert twice.labelled == 2 * once.labelled
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"sequence": ["x"], "label": ["a"]}, "expected labels that fit to answers in"),
        ({"sequence": ["s1"]}, "expected a column `label`, found sequence"),
        ({"id": ["s1"], "actual": ["a"]}, "expected a column `sequence`, found id, actual"),
    ],
)
def test_needs_labels_of_what_was_recorded(
    model: Served, tmp_path: Path, columns: dict[str, list[str]], said: str
) -> None:
    write(tmp_path / "ledger", model, drawn(3, 2)[0])
    with pytest.raises(DataError, match=said):
        join(tmp_path, pd.DataFrame(columns))


def test_is_drawn_as_a_table(
    model: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers, labels = drawn(30, 2)
    write(tmp_path / "ledger", model, answers)
    Console(width=200).print(recorded.table(join(tmp_path, labels)))
    assert "95 % intervals over 30 sequences" in capsys.readouterr().out
