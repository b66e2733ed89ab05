"""The ladder of context: every rung on the same test labels, and read back what was predicted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sklearn_metrics

from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.evaluation import baselines, comparison, resampling
from birnn.evaluation.comparison import Classes
from birnn.evaluation.resampling import Difference

Ragged = Callable[..., Sequences]
LABELS = ["1", "10", "NA"]


@pytest.mark.parametrize("tagging", [True, False])
@pytest.mark.parametrize("features", [4, 0])
def test_floor(ragged: Ragged, tagging: bool, features: int) -> None:
    train, test = (
        ragged([5, 3, 8, 1] * 20, features=features, tagging=tagging, seed=seed) for seed in (1, 2)
    )
    rungs = comparison.floor(train, test, labels=LABELS, resamples=100, seed=1)
    common = np.bincount(train.labels).argmax()
    assert [rung.name for rung in rungs] == [f"always {LABELS[common]!r}", "each step alone"]
    answers = [
        np.full(len(test.labels), common),
        baselines.context_free(train, test, classes=3, seed=1),
    ]
    for rung, answer in zip(rungs, answers, strict=True):
        accuracy = sklearn_metrics.accuracy_score(test.labels, answer)
        f1 = sklearn_metrics.f1_score(test.labels, answer, average="macro")
        assert rung.metrics["accuracy"] == pytest.approx(accuracy)
        assert rung.metrics["f1_macro"] == pytest.approx(f1)
        low, high = rung.intervals["accuracy"]
        assert low < accuracy < high
        assert "log_loss" not in rung.metrics


def difference(test: Sequences, first: Classes, second: Classes) -> dict[str, Difference]:
    offsets = test.label_offsets
    return resampling.difference(
        test.labels, first, second, labels=LABELS, offsets=offsets, resamples=100, seed=1
    )


class TestDifference:
    def test_of_a_better_model(self, ragged: Ragged) -> None:
        test = ragged([5, 3, 8, 1] * 20)
        worse = np.where(np.random.default_rng(0).random(len(test.labels)) < 0.3, 0, test.labels)
        found = difference(test, test.labels, worse)
        gain = found["accuracy"]
        assert gain.estimate == pytest.approx(np.mean(test.labels != worse))
        assert 0 < gain.low < gain.estimate < gain.high
        assert gain.share_better == 1

    def test_of_a_model_and_itself(self, ragged: Ragged) -> None:
        test = ragged([5, 3, 8, 1] * 20)
        same = np.zeros(len(test.labels), dtype=np.int64)
        found = difference(test, same, same)
        assert tuple(found["accuracy"]) == (0, 0, 0, 0)


class TestPredicted:
    @pytest.mark.parametrize("tagging", [True, False])
    def test_is_read_back(self, ragged: Ragged, tmp_path: Path, tagging: bool) -> None:
        test = ragged([2, 1, 3, 1], tagging=tagging)
        rows = np.repeat(np.arange(4), np.diff(test.label_offsets))
        said = np.arange(len(test.labels)) % 3
        columns = {
            "sequence": np.array(test.ids.to_pylist())[rows],
            "label": np.take(LABELS, test.labels),
            "predicted": np.take(LABELS, said),
            "x": said,
        }
        pq.write_table(pa.table(columns), tmp_path / "p.parquet")
        found = comparison.predicted(tmp_path / "p.parquet", test, LABELS)
        assert found.tolist() == said.tolist()
        relabelled = replace(test, labels=(test.labels + 1) % 3)
        for other in (relabelled, ragged([2, 1, 3], tagging=tagging)):
            with pytest.raises(DataError, match=r"expected predictions of the test sequences in"):
                comparison.predicted(tmp_path / "p.parquet", other, LABELS)

    def test_a_missing_file(self, ragged: Ragged, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"p\.parquet: no such file; run `dvc repro` first"):
            comparison.predicted(tmp_path / "p.parquet", ragged([1]), LABELS)
