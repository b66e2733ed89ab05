"""The ladder of context: every rung on the same test labels, and read back what was predicted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sklearn_metrics

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.evaluation import baselines, comparison, intervals
from birnn.evaluation.comparison import Classes
from birnn.evaluation.intervals import Difference

Ragged = Callable[..., Sequences]
LABELS = ["1", "10", "NA"]
ENCODING = Encoding("tagging", LABELS, [], [], [])


@pytest.mark.parametrize("tagging", [True, False])
@pytest.mark.parametrize("features", [4, 0])
def test_baselines_are_rungs(ragged: Ragged, tagging: bool, features: int) -> None:
    train, test = (
        ragged([5, 3, 8, 1] * 20, features=features, tagging=tagging, seed=seed) for seed in (1, 2)
    )
    answers = baselines.answers(train, test, labels=LABELS, seed=1)
    common = np.bincount(train.labels).argmax()
    alone = "each step alone" if tagging else "bag of steps"
    assert [*answers] == [f"always {LABELS[common]!r}", alone]
    assert (answers[f"always {LABELS[common]!r}"] == common).all()
    for name, answer in answers.items():
        rung = comparison.rung(name, test, answer, LABELS)
        accuracy = sklearn_metrics.accuracy_score(test.labels, answer)
        f1 = sklearn_metrics.f1_score(test.labels, answer, average="macro")
        assert rung.name == name
        assert rung.metrics["accuracy"] == pytest.approx(accuracy)
        assert rung.metrics["f1_macro"] == pytest.approx(f1)
        low, high = rung.intervals["accuracy"]
        assert low < accuracy < high
        assert "log_loss" not in rung.metrics


def difference(test: Sequences, first: Classes, second: Classes) -> dict[str, Difference]:
    offsets = test.label_offsets
    return intervals.difference(
        test.labels, first, second, labels=LABELS, offsets=offsets, groups=test.group_numbers
    )


class TestDifference:
    def test_of_a_better_model(self, ragged: Ragged) -> None:
        test = ragged([5, 3, 8, 1] * 20)
        worse = np.where(np.random.default_rng(0).random(len(test.labels)) < 0.3, 0, test.labels)
        found = difference(test, test.labels, worse)
        gain = found["accuracy"]
        assert gain.estimate == pytest.approx(np.mean(test.labels != worse))
        assert 0 < gain.low < gain.estimate < gain.high
        differing = np.repeat(test.group_numbers, test.lengths)[test.labels != worse]
        assert gain.differing == len(np.unique(differing))

    def test_of_a_model_and_itself(self, ragged: Ragged) -> None:
        test = ragged([5, 3, 8, 1] * 20)
        same = np.zeros(len(test.labels), dtype=np.int64)
        found = difference(test, same, same)
        assert tuple(found["accuracy"]) == (0, 0, 0, 0)


class TestPredicted:
    def write(self, path: Path, test: Sequences, said: Classes, **columns: object) -> None:
        rows = np.repeat(np.arange(len(test)), np.diff(test.label_offsets))
        table = {
            "sequence": np.array(test.ids.to_pylist())[rows],
            "label": np.take(LABELS, test.labels),
            "predicted": np.take(LABELS, said),
            **columns,
        }
        pq.write_table(pa.table(table), path)

    @pytest.mark.parametrize("tagging", [True, False])
    def test_is_read_back(self, ragged: Ragged, tmp_path: Path, tagging: bool) -> None:
        path, test = tmp_path / "p.parquet", ragged([2, 1, 3, 1], tagging=tagging)
        said = np.arange(len(test.labels)) % 3
        self.write(path, test, said, x=said)
        found = comparison.predicted(path, test, ENCODING, thresholds=False)
        assert found.served.tolist() == found.most_probable.tolist() == said.tolist()
        relabelled = replace(test, labels=(test.labels + 1) % 3)
        for other in (relabelled, ragged([2, 1, 3], tagging=tagging)):
            with pytest.raises(DataError, match=r"expected predictions of the test sequences in"):
                comparison.predicted(path, other, ENCODING, thresholds=False)

    def test_with_thresholds_the_most_probable_class_is_another(
        self, ragged: Ragged, tmp_path: Path
    ) -> None:
        path, test = tmp_path / "p.parquet", ragged([2, 2])
        probable = [[0.6, 0.3, 0.5, 0.4], [0.2, 0.3, 0.5, 0.2], [0.2, 0.4, 0.0, 0.4]]
        columns = {f"probability_{name}": p for name, p in zip(LABELS, probable, strict=True)}
        self.write(path, test, np.array([2, 0, 1, 0]), **columns)
        found = comparison.predicted(path, test, ENCODING, thresholds=True)
        assert found.served.tolist() == [2, 0, 1, 0]
        assert found.most_probable.tolist() == [0, 2, 0, 0]

    def test_a_missing_file(self, ragged: Ragged, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"p\.parquet: no such file; run `dvc repro` first"):
            comparison.predicted(tmp_path / "p.parquet", ragged([1]), ENCODING, thresholds=False)
