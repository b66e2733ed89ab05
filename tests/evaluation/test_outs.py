"""The files of an evaluation: right, complete, and safe for any name of a class."""

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sklearn_metrics
from small_models import encoding_for

from birnn import params
from birnn.data.encoding import Encoding
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.evaluation import intervals, metrics, outs, scoring, worst
from birnn.evaluation.expected_accuracy import Calibration
from birnn.evaluation.outs import Predicted
from birnn.evaluation.padding import Padding
from birnn.evaluation.trace import Trace
from birnn.files import atomic, paths, pieces, records, scores
from birnn.model import prediction, saved_model
from birnn.model.architecture import Architecture
from birnn.model.history import Epoch, marked
from birnn.model.operating_points import Wanted
from birnn.report import tested

Ragged = Callable[..., Sequences]
NAMES = [
    ["1", "10", "2"],
    ["NA", "null", "nan"],
    ["<script>", 'a,"b"', "né"],
    ["True", "None", "0.5"],
    ["actual", "label", "precision"],
    ["predicted", "count", "f1"],
]
Shares = npt.NDArray[np.float32]
EPOCHS = marked([Epoch(n, 1 / n, 1.1 / n, 0.5, 0.5, 0.01) for n in (1, 2, 3)])
LENGTHS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


def case(ragged: Ragged, *, tagging: bool) -> tuple[Sequences, Shares]:
    """Sequences of three classes, and probabilities that are right more often than not."""
    test = ragged(LENGTHS, tagging=tagging)
    logits = (
        np.random.default_rng(1).normal(size=(len(test.labels), 3)) + 2 * np.eye(3)[test.labels]
    )
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return test, shares.astype(np.float32)


def encoding(names: list[str], *, tagging: bool) -> Encoding:
    task = "tagging" if tagging else "classification"
    return Encoding(task, names, list("wxyz"), [0.0] * 4, [1.0] * 4)


def write(
    folder: Path,
    test: Sequences,
    names: list[str],
    shares: Shares,
    thresholds: dict[str, float] | None = None,
) -> dict[str, float]:
    """Write an evaluation."""
    predicted = Predicted(test, encoding(names, tagging=test.tagging), thresholds or {}, shares)
    return outs.write(folder, predicted, EPOCHS)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("tagging", [True, False])
class TestFigures:
    def test_against_scikit_learn(self, tmp_path: Path, ragged: Ragged, tagging: bool) -> None:
        test, shares = case(ragged, tagging=tagging)
        found = write(tmp_path, test, list("abc"), shares)
        assert atomic.read_json(tmp_path / paths.METRICS) == {**found, "validation": {}}
        actual, predicted = test.labels, shares.argmax(axis=1)
        expected = {
            "accuracy": sklearn_metrics.accuracy_score(actual, predicted),
            "f1_macro": sklearn_metrics.f1_score(actual, predicted, average="macro"),
            "recall_weighted": sklearn_metrics.recall_score(actual, predicted, average="weighted"),
            "log_loss": sklearn_metrics.log_loss(actual, shares),
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected)
        per_class = rows(tmp_path / paths.PER_CLASS)
        by_class = sklearn_metrics.precision_recall_fscore_support(actual, predicted)
        for column, figures in zip(("precision", "recall", "f1", "support"), by_class, strict=True):
            assert [float(row[column]) for row in per_class] == pytest.approx(figures.tolist())

    def test_by_length(self, tmp_path: Path, ragged: Ragged, tagging: bool) -> None:
        test, shares = case(ragged, tagging=tagging)
        write(tmp_path, test, list("abc"), shares)
        buckets = rows(tmp_path / paths.BY_LENGTH)
        actual, predicted = test.labels, shares.argmax(axis=1)
        repeats = np.repeat(test.lengths, np.diff(test.label_offsets))
        seen = 0
        for bucket in buckets:
            inside = (repeats >= int(bucket["shortest"])) & (repeats <= int(bucket["longest"]))
            accuracy = float((actual == predicted)[inside].mean())
            assert float(bucket["accuracy"]) == pytest.approx(accuracy)
            seen += int(inside.sum())
        assert seen == len(actual)


class TestByPosition:
    def test_against_a_count(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        write(tmp_path, test, list("abc"), shares)
        right = shares.argmax(axis=1) == test.labels
        seen: dict[tuple[str, int], list[bool]] = {}
        for start, end in pairwise(test.offsets.tolist()):
            for row in range(start, end):
                seen.setdefault(("beginning", row - start + 1), []).append(right[row])
                seen.setdefault(("end", end - row), []).append(right[row])
        found = {
            (row["counted_from"], int(row["first"])): row
            for row in rows(tmp_path / paths.BY_POSITION)
        }
        assert found.keys() == seen.keys()
        for place, answers in seen.items():
            assert int(found[place]["rows"]) == len(answers)
            assert float(found[place]["accuracy"]) == pytest.approx(np.mean(answers))
            assert found[place]["last"] == found[place]["first"]

    def test_far_from_an_end_steps_are_grouped(self, ragged: Ragged) -> None:
        test = ragged([1000, 400])
        table = outs.by_position(test, test.labels.astype(np.int64))
        assert len(table["first"]) <= 2 * 20
        assert table["rows"].sum() == 2 * 1400
        for end in ("beginning", "end"):
            chosen = table["counted_from"] == end
            first, last = table["first"][chosen], table["last"][chosen]
            assert (first[0], last[-1]) == (1, 1000)
            assert (first[1:] == last[:-1] + 1).all()
            assert (last[:10] == first[:10]).all()
            assert (first <= last).all()

    def test_of_labels_of_sequences_there_is_none(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=False)
        write(tmp_path, test, list("abc"), shares)
        header = "counted_from,first,last,rows,accuracy\n"
        assert (tmp_path / paths.BY_POSITION).read_text() == header


@pytest.mark.parametrize("tagging", [True, False])
class TestConfusions:
    def found(self, folder: Path, test: Sequences, shares: Shares) -> Any:
        write(folder, test, list("abc"), shares)
        return atomic.read_json(folder / paths.CONFUSIONS)

    def test_the_most_frequent_first(self, tmp_path: Path, ragged: Ragged, tagging: bool) -> None:
        test, shares = case(ragged, tagging=tagging)
        found = self.found(tmp_path, test, shares)
        called = shares.argmax(axis=1)
        pairs = Counter(
            zip(test.labels[wrong := called != test.labels], called[wrong], strict=True)
        )
        assert [pair["count"] for pair in found] == sorted(pairs.values(), reverse=True)
        for pair in found:
            actual, predicted = ("abc".index(pair[name]) for name in ("actual", "predicted"))
            assert pair["count"] == pairs[actual, predicted]
            assert pair["share"] == pytest.approx(pair["count"] / (test.labels == actual).sum())

    def test_examples_are_the_surest_mistakes(
        self, tmp_path: Path, ragged: Ragged, tagging: bool
    ) -> None:
        test, shares = case(ragged, tagging=tagging)
        for pair in self.found(tmp_path, test, shares):
            actual, predicted = ("abc".index(pair[name]) for name in ("actual", "predicted"))
            both = (test.labels == actual) & (shares.argmax(axis=1) == predicted)
            surest = sorted(shares[both, predicted].tolist(), reverse=True)
            given = [example["probability"] for example in pair["examples"]]
            assert given == pytest.approx(surest[: outs.EXAMPLES])
            for example in pair["examples"]:
                number = test.ids.to_pylist().index(example["sequence"])
                assert example["steps"] == test.lengths[number]
                row = test.label_offsets[number] + (example["step"] - 1 if tagging else 0)
                assert shares[row, predicted] == pytest.approx(example["probability"])
                assert bool(example["context"]) == tagging
                for step in example["context"]:
                    row = test.label_offsets[number] + step["step"] - 1
                    assert step["actual"] == "abc"[test.labels[row]]
                    assert step["predicted"] == "abc"[shares[row].argmax()]

    def test_of_a_model_that_makes_no_mistake(
        self, tmp_path: Path, ragged: Ragged, tagging: bool
    ) -> None:
        test, _ = case(ragged, tagging=tagging)
        assert self.found(tmp_path, test, np.eye(3, dtype=np.float32)[test.labels]) == []


@pytest.mark.parametrize("names", NAMES, ids=", ".join)
class TestNames:
    """What a class is called is the user's choice."""

    def write(self, folder: Path, ragged: Ragged, names: list[str]) -> Any:
        test, shares = case(ragged, tagging=True)
        write(folder, test, names, shares)
        return sklearn_metrics.confusion_matrix(test.labels, shares.argmax(axis=1))

    def test_confusion(self, tmp_path: Path, ragged: Ragged, names: list[str]) -> None:
        counts = self.write(tmp_path, ragged, names)
        with (tmp_path / paths.CONFUSION).open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        assert header == ["actual", *names]
        assert [line[0] for line in lines] == names
        assert [[int(count) for count in line[1:]] for line in lines] == counts.tolist()
        pairs = rows(tmp_path / paths.CONFUSION_COUNTS)
        assert [(row["actual"], row["predicted"]) for row in pairs] == [
            (actual, predicted) for actual in names for predicted in names
        ]
        assert [int(row["count"]) for row in pairs] == counts.ravel().tolist()

    def test_per_class(self, tmp_path: Path, ragged: Ragged, names: list[str]) -> None:
        self.write(tmp_path, ragged, names)
        assert [row["label"] for row in rows(tmp_path / paths.PER_CLASS)] == names
        curves = rows(tmp_path / paths.PRECISION_RECALL)
        assert list(dict.fromkeys(row["label"] for row in curves)) == names

    def test_predictions(self, tmp_path: Path, ragged: Ragged, names: list[str]) -> None:
        self.write(tmp_path, ragged, names)
        test, shares = case(ragged, tagging=True)
        expected = prediction.table(test, encoding(names, tagging=True), {}, shares, labelled=True)
        assert pq.read_table(tmp_path / paths.PREDICTIONS).equals(expected)

    def test_the_report_reads_them(self, tmp_path: Path, ragged: Ragged, names: list[str]) -> None:
        counts = self.write(tmp_path / "evaluation" / "m", ragged, names)
        folder = tmp_path / "evaluation/m"
        atomic.write_json(folder / paths.OPERATING_POINTS, {})
        trace = Trace("s", 1, "tagging", flow=[], answers=[], cuts=[1], after_cut=[[0.5]])
        records.write(folder / paths.TRACE, trace)
        nothing = Padding(1, 64, beside_longer=False, share=0, accuracy=1, slips=[])
        records.write(folder / paths.PADDING, nothing)
        records.write(folder / paths.WORST, [])
        test, shares = case(ragged, tagging=True)
        predicted = Predicted(test, encoding(names, tagging=True), {}, shares)
        outs.write_slices(folder, predicted, ["group"], names[:1])
        outs.write_expected_accuracy(folder, predicted, predicted)
        model = tmp_path / "models" / "m"
        atomic.write_text(model / "weights.safetensors", "")
        built = Architecture("tagging", "GRU", 4, 0, 8, 1, 0.0, bidirectional=True, classes=3)
        described = saved_model.described(built, encoding_for(built), {})
        atomic.write_json(model / "model.json", described)
        atomic.write_text(model / "history.csv", "epoch\n")
        found = tested.read("m", tmp_path / "models", tmp_path / "evaluation")
        assert found.confusion.columns.tolist() == found.confusion.index.tolist() == names
        assert found.confusion.to_numpy().tolist() == counts.tolist()
        assert found.per_class["label"].tolist() == names
        assert found.per_class["support"].sum() == sum(LENGTHS)
        assert sum(one.rows for one in found.slices.slices) == sum(LENGTHS)
        assert found.slices.slices[0].figures[-1].name == f"recall_{names[0]}"


def test_the_same_bytes_twice(tmp_path: Path, ragged: Ragged) -> None:
    test, shares = case(ragged, tagging=True)
    for folder in "ab":
        write(tmp_path / folder, test, list("abc"), shares)
    found = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert found == sorted(
        [
            paths.ANSWERS,
            paths.METRICS,
            paths.PREDICTIONS,
            paths.CONFUSION,
            paths.CONFUSION_COUNTS,
            paths.PER_CLASS,
            paths.BY_LENGTH,
            paths.BY_POSITION,
            paths.CONFUSIONS,
            paths.INTERVALS,
            paths.CHECKS,
            paths.PRECISION_RECALL,
            paths.CALIBRATION,
        ]
    )
    for name in found:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_class_that_does_not_occur_has_no_figures(tmp_path: Path, ragged: Ragged) -> None:
    test, shares = case(ragged, tagging=True)
    wider = np.column_stack([shares, np.zeros(len(shares), np.float32)])
    names = [*"abc", "never"]
    write(tmp_path, test, names, wider)
    last = rows(tmp_path / paths.PER_CLASS)[-1]
    assert (last["label"], last["support"], last["f1"]) == ("never", "0", "")


class TestIntervals:
    def test_hold_the_figures(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        found = write(tmp_path, test, list("abc"), shares)
        intervals = atomic.read_json(tmp_path / paths.INTERVALS)
        assert {*metrics.HEADLINES, "recall_a", "f1_c"} <= intervals.keys() <= found.keys()
        for name, ends in intervals.items():
            assert ends["low"] <= found[name] <= ends["high"]
            assert 2 <= ends["groups"] <= len(LENGTHS) // 2  # two sequences make one

    def test_of_few_groups_say_why_there_are_none(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        rows = test.offsets[2]
        write(tmp_path, test.select(np.arange(2)), list("abc"), shares[:rows])
        intervals = atomic.read_json(tmp_path / paths.INTERVALS)
        reason = "it needs 5 independent groups, and there are 1"
        assert intervals["accuracy"] == {"low": None, "high": None, "reason": reason}


class TestCurves:
    def test_are_thin_and_say_what_a_threshold_gives(self, tmp_path: Path, ragged: Ragged) -> None:
        test = ragged([30] * 40)
        shares = np.random.default_rng(1).dirichlet([1, 1, 1], len(test.labels)).astype(np.float32)
        write(tmp_path, test, list("abc"), shares)
        curves = rows(tmp_path / paths.PRECISION_RECALL)
        for column, label in enumerate("abc"):
            curve = [row for row in curves if row["label"] == label]
            assert 100 < len(curve) <= metrics.CURVE_POINTS
            assert float(curve[-1]["recall"]) == 1
            for row in curve:
                called = shares[:, column] >= np.float32(row["threshold"])
                right = np.sum(called & (test.labels == column))
                assert float(row["precision"]) == pytest.approx(right / called.sum())
                assert float(row["recall"]) == pytest.approx(right / np.sum(test.labels == column))

    def test_lie_on_those_of_scikit_learn(self, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        found = metrics.precision_recall(test.labels, shares, labels=list("abc"))
        for column, label in enumerate("abc"):
            curve = sklearn_metrics.precision_recall_curve(test.labels == column, shares[:, column])
            points = set(zip(*(side.tolist() for side in curve[:2]), strict=True))
            mine = found["label"] == label
            pairs = zip(
                found["precision"][mine].tolist(), found["recall"][mine].tolist(), strict=True
            )
            assert set(pairs) <= points


class TestThresholds:
    def test_decide(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        found = write(tmp_path, test, list("abc"), shares, {"b": 0.0})
        assert found["recall_b"] == 1
        assert found["recall_a"] == 0
        table = pq.read_table(tmp_path / paths.PREDICTIONS)
        assert table["predicted"].to_pylist() == ["b"] * len(test.labels)
        assert rows(tmp_path / paths.PER_CLASS)[1]["predicted"] == str(len(test.labels))

    def test_decide_what_the_model_is_sure_of(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        found = Predicted(test, encoding(list("abc"), tagging=True), {"b": 0.1}, shares)
        outs.write_expected_accuracy(tmp_path, found, found)
        known = records.read(tmp_path / paths.EXPECTED_ACCURACY, Calibration)
        assert known.groups == len(set(test.groups.to_pylist()))
        assert known.on_test is not None
        assert known.on_test.accuracy == pytest.approx((found.classes == test.labels).mean())
        assert known.on_test.accuracy < (shares.argmax(axis=1) == test.labels).mean()
        assert abs(known.on_test.error) < 0.02  # of the very answers that it was fitted on

    def test_are_shown_beside_the_most_probable_class(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        names = encoding(list("abc"), tagging=True)
        found = Predicted(test, names, {"b": 0.1}, shares)
        half = Predicted(test.select(np.arange(5)), names, {"b": 0.1}, shares[: test.offsets[5]])
        outs.write_operating_points(tmp_path, half, found, {"b": Wanted(min_recall=0.9)})
        (point,) = atomic.read_json(tmp_path / paths.OPERATING_POINTS).values()
        assert (point["threshold"], point["wanted"]) == (0.1, {"min_recall": 0.9})
        positive = test.labels == 1
        for row, called in {
            "test": shares[:, 1] >= np.float32(0.1),
            "test_argmax": shares.argmax(axis=1) == 1,
        }.items():
            precision = sklearn_metrics.precision_score(positive, called)
            recall = sklearn_metrics.recall_score(positive, called)
            both = (point[row]["precision"], point[row]["recall"])
            assert both == pytest.approx((precision, recall))
            assert point[row]["right"] == np.sum(positive & called)
            assert point[row]["predicted"] == np.sum(called)
            assert point[row]["support"] == np.sum(positive)
            ends = point[row]["recall_interval"]
            assert ends["low"] < recall <= ends["high"]
        part = slice(0, test.offsets[5])
        recall = sklearn_metrics.recall_score(positive[part], shares[part, 1] >= np.float32(0.1))
        assert point["validation"]["recall"] == pytest.approx(recall)

    def test_what_errors_cost(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        found = Predicted(test, encoding(list("abc"), tagging=True), {"b": 0.1}, shares)
        cost = params.Cost(missed=100, false_alarm=2)
        outs.write_operating_points(tmp_path, found, found, {}, {"b": cost})
        (point,) = atomic.read_json(tmp_path / paths.OPERATING_POINTS).values()
        called, actual = shares[:, 1] >= np.float32(0.1), test.labels == 1
        total = 100 * (actual & ~called).sum() + 2 * (called & ~actual).sum()
        assert point["test"]["cost"] == pytest.approx(1000 * total / len(actual))

    def test_none(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        found = Predicted(test, encoding(list("abc"), tagging=True), {}, shares)
        outs.write_operating_points(tmp_path, found, found, {})
        assert atomic.read_json(tmp_path / paths.OPERATING_POINTS) == {}

    def test_of_a_class_that_was_not_tested(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = case(ragged, tagging=True)
        wider = np.column_stack([shares, np.zeros(len(shares), np.float32)])
        found = Predicted(test, encoding([*"abc", "never"], tagging=True), {"never": 0.5}, wider)
        outs.write_operating_points(tmp_path, found, found, {})
        (point,) = atomic.read_json(tmp_path / paths.OPERATING_POINTS).values()
        assert point["test"]["precision"] is point["test"]["recall"] is None
        assert point["test"]["support"] == 0
        assert point["test"]["recall_interval"] is None


class TestChecks:
    """A fault that is planted in predictions or in training is found; see also test_checks.py."""

    NAMES = ("accuracy_paradox", "overfitting", "sequence_length", "calibration", "rare_classes")

    def checks(
        self, folder: Path, test: Sequences, shares: Shares, epochs: list[Epoch] | None = None
    ) -> dict[str, str]:
        predicted = Predicted(test, encoding(list("abc"), tagging=test.tagging), {}, shares)
        outs.write(folder, predicted, epochs or EPOCHS)
        found = atomic.read_json(folder / paths.CHECKS)
        return {check["name"]: check["status"] for check in found}

    def honest(self, ragged: Ragged, *, tagging: bool = True) -> tuple[Sequences, Shares]:
        """Sequences, and probabilities that are what they are said to be."""
        lengths = np.random.default_rng(2).integers(5, 40, 300).tolist()
        test = ragged(lengths, tagging=tagging)
        rng = np.random.default_rng(3)
        seen = np.eye(3)[test.labels] + 0.4 * rng.standard_normal((len(test.labels), 3))
        weights = np.exp((seen - 0.5) / 0.4**2)
        return test, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    @pytest.mark.parametrize("tagging", [True, False])
    def test_an_honest_model_passes(self, tmp_path: Path, ragged: Ragged, tagging: bool) -> None:
        found = self.checks(tmp_path, *self.honest(ragged, tagging=tagging))
        assert found == dict.fromkeys(self.NAMES, "pass")

    def test_a_model_that_is_trained_to_death(self, tmp_path: Path, ragged: Ragged) -> None:
        losses = [(1.0, 1.0), (0.5, 0.9), (0.01, 0.89)]
        epochs = marked([Epoch(n, *loss, 0.5, 0.5, 0.01) for n, loss in enumerate(losses, start=1)])
        assert self.checks(tmp_path, *self.honest(ragged), epochs)["overfitting"] == "fail"

    def test_long_sequences_with_scrambled_labels(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = self.honest(ragged)
        long = np.repeat(test.lengths > 30, test.lengths)
        labels = test.labels.copy()
        labels[long] = np.random.default_rng(0).permutation(labels[long])
        found = self.checks(tmp_path, replace(test, labels=labels), shares)
        assert found["sequence_length"] == "fail"

    def test_probabilities_that_are_too_sure(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = self.honest(ragged)
        labels = np.random.default_rng(0).permutation(test.labels)
        found = self.checks(tmp_path, replace(test, labels=labels), shares)
        assert found["calibration"] == "fail"

    def test_always_the_class_of_ninety_percent(self, tmp_path: Path, ragged: Ragged) -> None:
        test, _ = self.honest(ragged)
        rng = np.random.default_rng(0)
        labels = rng.choice(3, len(test.labels), p=[0.9, 0.05, 0.05]).astype(np.int32)
        shares = np.tile(np.array([0.9, 0.05, 0.05], np.float32), (len(labels), 1))
        found = self.checks(tmp_path, replace(test, labels=labels), shares)
        assert found == dict.fromkeys(self.NAMES, "pass") | {"accuracy_paradox": "fail"}

    def test_a_class_in_too_few_sequences(self, tmp_path: Path, ragged: Ragged) -> None:
        test, shares = self.honest(ragged)
        labels = np.where(test.labels == 2, 0, test.labels)
        labels[:3] = 2
        found = self.checks(tmp_path, replace(test, labels=labels.astype(np.int32)), shares)
        assert found["rare_classes"] == "warn"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sequences", "most_seconds", "most_gigabytes"),
    [(4_000, 8, 1), pytest.param(40_000, 20, 2, marks=pytest.mark.long)],
)
def test_many_steps(
    tmp_path: Path, sequences: int, most_seconds: float, most_gigabytes: float
) -> None:
    """All metrics and intervals; a million steps take under 20 s of all cores."""
    command = [sys.executable, "-c", MANY, str(tmp_path), str(sequences)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, gigabytes = map(float, ended.stdout.split())
    assert seconds < most_seconds
    assert gigabytes < most_gigabytes


MANY = """
import resource, sys, time
import numpy as np, pyarrow as pa
from birnn.data.encoding import Encoding
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.evaluation import outs
from birnn.model.history import Epoch, marked

rng = np.random.default_rng(0)
lengths = rng.integers(5, 46, int(sys.argv[2]))
steps, classes = lengths.sum(), 20
labels = rng.integers(classes, size=steps).astype(np.int32)
logits = rng.standard_normal((steps, classes), dtype=np.float32)
logits[np.arange(steps), labels] += 2
shares = np.exp(logits)
shares /= shares.sum(axis=1, keepdims=True)
del logits
ids = pa.array([f"s{i}" for i in range(len(lengths))])
offsets = np.concatenate([[0], np.cumsum(lengths)])
test = Sequences(np.zeros((steps, 1), np.float32), offsets, labels, ids, ids, True)
names = [f"c{i:02}" for i in range(classes)]
encoding = Encoding("tagging", names, ["x"], [0.0], [1.0])
predicted = outs.Predicted(test, encoding, {}, shares)
start = time.process_time()
epochs = [Epoch(1, 1.0, 1.0, 0.5, 0.5, 0.01, kept=True)]
outs.write(sys.argv[1], predicted, epochs)
seconds = time.process_time() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_memory_grows_little_with_the_labels(tmp_path: Path) -> None:
    """The labels themselves are 8 bytes, and what is said of them 12, which lie in a file."""
    peaks = {}
    for sequences in (10_000, 30_000):
        command = [sys.executable, "-c", PEAK, str(tmp_path / str(sequences)), str(sequences)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        labels, peak = map(int, ended.stdout.split())
        peaks[labels] = peak
    (few, low), (many, high) = peaks.items()
    assert (high - low) / (many - few) < 70


PEAK = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa
from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.evaluation import outs
from birnn.files import pieces
from birnn.model.history import Epoch

pieces.ROWS, outs.ROW_GROUP = 1 << 15, 1 << 16  # of which both sizes have several
folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
lengths = rng.integers(5, 70, int(sys.argv[2]))
steps, classes = lengths.sum(), 3
labels = rng.integers(classes, size=steps).astype(np.int32)
shares = pieces.empty((steps, classes), np.float32, folder)
for some, true in pieces.of(shares, labels):
    some[:] = rng.random(some.shape, np.float32) + 0.1 + np.eye(3, dtype=np.float32)[true]
    some /= some.sum(axis=1, keepdims=True)
ids = pa.array([f"s{i}" for i in range(len(lengths))])
offsets = np.concatenate([[0], np.cumsum(lengths)])
test = Sequences(np.zeros((steps, 1), np.float32), offsets, labels, ids, ids, True)
encoding = Encoding("tagging", list("abc"), ["x"], [0.0], [1.0])
said = outs.Predicted(test, encoding, {}, shares, folder=folder)
outs.write(folder, said, [Epoch(1, 1.0, 1.0, 0.5, 0.5, 0.01, kept=True)])
outs.write_expected_accuracy(folder, said, said)
outs.write_slices(folder, said, ["length"], [])
status = Path("/proc/self/status").read_text().splitlines()
print(steps, next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("tagging", [True, False])
@pytest.mark.parametrize("unlabelled", [True, False])
def test_pieces_change_no_figure(
    ragged: Ragged,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tagging: bool,
    unlabelled: bool,
) -> None:
    test, shares = case(ragged, tagging=tagging)
    groups = pa.array([f"g{n % 6}" for n in range(len(test))])
    labels = test.labels.copy()
    labels[::5] = UNLABELLED if unlabelled else labels[::5]
    test = replace(test, labels=labels, groups=groups)
    for name, rows, most in (("whole", 1 << 18, 1 << 14), ("pieces", 3, 2)):
        monkeypatch.setattr(pieces, "ROWS", rows)
        monkeypatch.setattr(intervals, "GROUPS", most)
        folder, names = tmp_path / name, encoding(["a", "b", "c"], tagging=tagging)
        said = Predicted(test, names, {"b": 0.3}, shares, folder=folder)
        outs.write(folder, said, EPOCHS, validation=said)
        outs.write_expected_accuracy(folder, said, said)
        outs.write_operating_points(folder, said, said, {})
        outs.write_slices(folder, said, ["group", "length"], ["b"])
    whole, cut = (sorted((tmp_path / name).iterdir()) for name in ("whole", "pieces"))
    assert [path.name for path in whole] == [path.name for path in cut]
    for one, other in zip(whole, cut, strict=True):
        if one.name == "metrics.json":  # the last digit of a sum
            found, expected = (scores.read(path).flat() for path in (other, one))
            assert found == pytest.approx(expected, rel=1e-14)
        else:
            assert one.read_bytes() == other.read_bytes(), one.name


class TestAnswers:
    """Those that are kept in git."""

    def test_are_all_of_a_few(self) -> None:
        predicted = np.array([2, 0, 1] * 10)
        found = outs.answers(predicted)
        assert found.labels == 30
        assert [int(one) for line in found.sample for one in line.split()] == predicted.tolist()
        assert len(found.sample) == 2

    def test_are_evenly_spread_over_many(self) -> None:
        found = outs.answers(np.arange(5000))
        sample = [int(one) for line in found.sample for one in line.split()]
        assert found.labels == 5000
        assert (len(sample), sample[0], sample[-1]) == (1000, 0, 4999)
        assert set(np.diff(sample)) == {5, 6}


@pytest.mark.parametrize("tagging", [True, False])
def test_sequences_without_labels_change_no_figure(
    ragged: Ragged, tmp_path: Path, tagging: bool
) -> None:
    """The files are the same as where these sequences were not there at all."""
    test, shares = case(ragged, tagging=tagging)
    gone = np.isin(np.arange(len(test)), [0, 3, 7])
    rows = np.repeat(gone, np.diff(test.label_offsets))
    partly = replace(test, labels=np.where(rows, np.int32(UNLABELLED), test.labels))
    without = test.select(np.flatnonzero(~gone))
    names = ["a", "b", "c"]
    write(tmp_path / "partly", partly, names, shares)
    write(tmp_path / "without", without, names, shares[~rows])
    for split, kept, place in ((partly, shares, "partly"), (without, shares[~rows], "without")):
        predicted = Predicted(split, encoding(names, tagging=tagging), {}, kept)
        outs.write_slices(tmp_path / place, predicted, ["group", "length"], ["a"])
    written = {path.name for path in (tmp_path / "without").iterdir()}
    of_all = {paths.ANSWERS, paths.PREDICTIONS}
    for name in sorted(written - of_all):
        found, expected = ((tmp_path / place / name).read_text() for place in ("partly", "without"))
        assert (name, found) == (name, expected)
    plain = encoding(names, tagging=tagging)
    worst_of = [
        worst.worst(split, plain, kept, Predicted(split, plain, {}, kept).classes)
        for split, kept in ((partly, shares), (without, shares[~rows]))
    ]
    assert worst_of[0] == worst_of[1]
    asked = pq.read_table(tmp_path / "partly" / paths.PREDICTIONS)
    assert asked["label"].is_null().to_pylist() == rows.tolist()
    assert asked["predicted"].null_count == 0


def test_a_class_of_test_alone_is_always_wrong(ragged: Ragged, tmp_path: Path) -> None:
    """As scikit-learn counts it, where the model never answers with it."""
    test, shares = case(ragged, tagging=True)
    labels = test.labels.copy()
    labels[::5] = 3
    plain = replace(encoding(["a", "b", "c"], tagging=True), unseen=["strange"])
    predicted = Predicted(replace(test, labels=labels), plain, {}, shares)
    found = outs.write(tmp_path, predicted, EPOCHS)
    called = predicted.classes
    assert found["accuracy"] == pytest.approx(np.mean(called == labels))
    assert found["recall_strange"] == 0
    assert found["support_strange"] == len(labels[::5])
    expected = sklearn_metrics.f1_score(labels, called, average="macro", zero_division=0)
    assert found["f1_macro"] == pytest.approx(expected)
    areas = [sklearn_metrics.roc_auc_score(labels == c, shares[:, c]) for c in range(3)]
    assert found["roc_auc_macro"] == pytest.approx(np.mean([*areas, 0.5]))
    table = pq.read_table(tmp_path / paths.PREDICTIONS)
    assert table["label"].to_pylist() == np.take(["a", "b", "c", "strange"], labels).tolist()
    assert set(table["probability_strange"].to_pylist()) == {0.0}
    scored = scoring.read(tmp_path / paths.PREDICTIONS).metrics()
    assert scored == pytest.approx(found, rel=1e-6)
