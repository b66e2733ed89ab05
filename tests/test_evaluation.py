"""The files of an evaluation: right, complete, and safe for any name of a class."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sklearn_metrics

from birnn import evaluation, files, prediction, report
from birnn.encoding import Encoding
from birnn.sequences import Sequences

Ragged = Callable[..., Sequences]
NAMES = [
    ["1", "10", "2"],
    ["NA", "null", "nan"],
    ["<script>", 'a,"b"', "né"],
    ["True", "None", "0.5"],
    ["actual", "label", "precision"],
    ["predicted", "count", "f1"],
]
LENGTHS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


def case(ragged: Ragged, *, tagging: bool) -> tuple[Sequences, npt.NDArray[np.float32]]:
    """Sequences of three classes, and probabilities that are right more often than not."""
    test = ragged(LENGTHS, tagging=tagging)
    logits = (
        np.random.default_rng(1).normal(size=(len(test.labels), 3)) + 2 * np.eye(3)[test.labels]
    )
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return test, shares.astype(np.float32)


def encoding(names: list[str], *, tagging: bool) -> Encoding:
    task = "tagging" if tagging else "classification"
    return Encoding(task, names, list("wxyz"), [0.0] * 4, [1.0] * 4, [])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("tagging", [True, False])
class TestFigures:
    def test_against_scikit_learn(self, tmp_path: Path, ragged: Ragged, tagging: bool) -> None:
        test, shares = case(ragged, tagging=tagging)
        found = evaluation.write(tmp_path, test, encoding(list("abc"), tagging=tagging), shares)
        assert files.read_json(tmp_path / evaluation.METRICS) == found
        actual, predicted = test.labels, shares.argmax(axis=1)
        expected = {
            "accuracy": sklearn_metrics.accuracy_score(actual, predicted),
            "f1_macro": sklearn_metrics.f1_score(actual, predicted, average="macro"),
            "recall_weighted": sklearn_metrics.recall_score(actual, predicted, average="weighted"),
            "log_loss": sklearn_metrics.log_loss(actual, shares),
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected)
        per_class = rows(tmp_path / evaluation.PER_CLASS)
        by_class = sklearn_metrics.precision_recall_fscore_support(actual, predicted)
        for column, figures in zip(("precision", "recall", "f1", "support"), by_class, strict=True):
            assert [float(row[column]) for row in per_class] == pytest.approx(figures.tolist())

    def test_by_length(self, tmp_path: Path, ragged: Ragged, tagging: bool) -> None:
        test, shares = case(ragged, tagging=tagging)
        evaluation.write(tmp_path, test, encoding(list("abc"), tagging=tagging), shares)
        buckets = rows(tmp_path / evaluation.BY_LENGTH)
        actual, predicted = test.labels, shares.argmax(axis=1)
        repeats = np.repeat(test.lengths, np.diff(test.label_offsets))
        seen = 0
        for bucket in buckets:
            inside = (repeats >= int(bucket["shortest"])) & (repeats <= int(bucket["longest"]))
            accuracy = float((actual == predicted)[inside].mean())
            assert float(bucket["accuracy"]) == pytest.approx(accuracy)
            seen += int(inside.sum())
        assert seen == len(actual)


@pytest.mark.parametrize("names", NAMES, ids=", ".join)
class TestNames:
    """What a class is called is the user's choice."""

    def write(self, folder: Path, ragged: Ragged, names: list[str]) -> Any:
        test, shares = case(ragged, tagging=True)
        evaluation.write(folder, test, encoding(names, tagging=True), shares)
        return sklearn_metrics.confusion_matrix(test.labels, shares.argmax(axis=1))

    def test_confusion(self, tmp_path: Path, ragged: Ragged, names: list[str]) -> None:
        counts = self.write(tmp_path, ragged, names)
        with (tmp_path / evaluation.CONFUSION).open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        assert header == ["actual", *names]
        assert [line[0] for line in lines] == names
        assert [[int(count) for count in line[1:]] for line in lines] == counts.tolist()
        pairs = rows(tmp_path / evaluation.CONFUSION_COUNTS)
        assert [(row["actual"], row["predicted"]) for row in pairs] == [
            (actual, predicted) for actual in names for predicted in names
        ]
        assert [int(row["count"]) for row in pairs] == counts.ravel().tolist()

    def test_per_class(self, tmp_path: Path, ragged: Ragged, names: list[str]) -> None:
        self.write(tmp_path, ragged, names)
        assert [row["label"] for row in rows(tmp_path / evaluation.PER_CLASS)] == names

    def test_predictions(self, tmp_path: Path, ragged: Ragged, names: list[str]) -> None:
        self.write(tmp_path, ragged, names)
        test, shares = case(ragged, tagging=True)
        expected = prediction.table(test, encoding(names, tagging=True), shares, labelled=True)
        assert pq.read_table(tmp_path / evaluation.PREDICTIONS).equals(expected)

    def test_the_report_reads_them(self, tmp_path: Path, ragged: Ragged, names: list[str]) -> None:
        counts = self.write(tmp_path / "evaluation" / "m", ragged, names)
        model = tmp_path / "models" / "m"
        files.write_text(model / "weights.safetensors", "")
        files.write_json(model / "model.json", {"architecture": {"bidirectional": True}})
        files.write_text(model / "history.csv", "epoch\n")
        found = report.read("m", tmp_path / "models", tmp_path / "evaluation")
        assert found.confusion.columns.tolist() == found.confusion.index.tolist() == names
        assert found.confusion.to_numpy().tolist() == counts.tolist()
        assert found.per_class["label"].tolist() == names
        assert found.per_class["support"].sum() == sum(LENGTHS)


def test_the_same_bytes_twice(tmp_path: Path, ragged: Ragged) -> None:
    test, shares = case(ragged, tagging=True)
    for folder in "ab":
        evaluation.write(tmp_path / folder, test, encoding(list("abc"), tagging=True), shares)
    found = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert found == sorted(
        [
            evaluation.METRICS,
            evaluation.PREDICTIONS,
            evaluation.CONFUSION,
            evaluation.CONFUSION_COUNTS,
            evaluation.PER_CLASS,
            evaluation.BY_LENGTH,
        ]
    )
    for name in found:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_class_that_does_not_occur_has_no_figures(tmp_path: Path, ragged: Ragged) -> None:
    test, shares = case(ragged, tagging=True)
    wider = np.column_stack([shares, np.zeros(len(shares), np.float32)])
    names = [*"abc", "never"]
    evaluation.write(tmp_path, test, encoding(names, tagging=True), wider)
    last = rows(tmp_path / evaluation.PER_CLASS)[-1]
    assert (last["label"], last["support"], last["f1"]) == ("never", "0", "")
