"""What two models say of the same sequences, whose labels nobody knows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from rich.console import Console

from birnn.errors import DataError
from birnn.evaluation import expected_accuracy
from birnn.evaluation.expected_accuracy import Calibration
from birnn.files import paths, records
from birnn.model import networks, prediction
from birnn.model.architecture import Architecture
from birnn.serving import shadow
from birnn.serving.served import Name, Served, load
from birnn.serving.shadow import Shadow
from birnn.tracking.registry import Registry

CPU = torch.device("cpu")
LENGTHS = np.random.default_rng(5).integers(1, 12, 60)


def other(model: Served, *, seed: int, version: str = "2", bias: float = 0.0) -> Served:
    """A model with other weights, which likes the last class more."""
    torch.manual_seed(seed)
    network = networks.SequenceModel(model.network.architecture).eval()
    with torch.no_grad():
        network.linear.bias[-1] += bias
    return replace(model, network=network, name=Name("problem", version, "abc"))


@pytest.fixture
def champion(trained: Path) -> Served:
    return other(load(str(trained)), seed=1, version="1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((LENGTHS.sum(), 2)) * 3)
    frame.columns = pd.Index(["x", "y"])
    names = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    frame = frame.assign(sequence=[f"s{n}" for n in names], group=[f"g{n // 2}" for n in names])
    frame.to_csv(tmp_path / "recent.csv", index=False)
    return tmp_path / "recent.csv"


def directly(model: Served, file: Path) -> pd.DataFrame:
    table = pa.Table.from_pandas(pd.read_csv(file), preserve_index=False)
    parts = prediction.of_table(
        model.network, model.encoding, {}, table.to_batches(), where="here", device=CPU
    )
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return frame.assign(confidence=frame.filter(like="probability_").max(axis=1))


class TestCompare:
    def test_says_how_answers_change(self, champion: Served, file: Path) -> None:
        challenger = other(champion, seed=2, bias=0.3)
        found = shadow.compare(champion, challenger, file)
        before, after = directly(champion, file), directly(challenger, file)
        assert (found.sequences, found.groups, found.rows) == (60, 30, LENGTHS.sum())
        assert found.others == pytest.approx((before["predicted"] != after["predicted"]).mean())
        assert found.low is not None
        assert found.high is not None
        assert 0 < found.low < found.others < found.high < 1
        for one in found.classes:
            shares = [(frame["predicted"] == one.name).mean() for frame in (before, after)]
            assert [one.champion, one.challenger] == pytest.approx(shares)
        sure = [found.confidence.champion, found.confidence.challenger]
        assert sure == pytest.approx([before["confidence"].mean(), after["confidence"].mean()])
        for one in (*found.classes, found.confidence):
            assert one.low is not None
            assert one.high is not None
            assert one.low <= one.challenger - one.champion <= one.high

    def test_of_one_model_is_no_change(self, champion: Served, file: Path) -> None:
        found = shadow.compare(champion, other(champion, seed=1), file)
        assert (found.others, found.low) == (0, 0)
        assert not any(one.certain for one in (*found.classes, found.confidence))
        assert found.sentence.endswith("; no class is answered more or less often beyond chance.")

    def test_names_the_class_that_moves_most(self, champion: Served, file: Path) -> None:
        found = shadow.compare(champion, other(champion, seed=1, bias=9), file)
        last = found.classes[-1]
        assert (last.name, last.challenger, last.certain) == ("c", 1, True)
        assert "; 'c' is answered more often: 100.0 %, was" in found.sentence
        assert found.sentence.startswith("version 2 of problem answers ")

    def test_reads_sequences_as_each_model_does(self, champion: Served, file: Path) -> None:
        """Where one cuts them, the steps that both read are compared."""
        cutting = replace(champion.encoding, max_steps=3, mean=[5.0, 5.0])
        challenger = replace(other(champion, seed=1), encoding=cutting)
        found = shadow.compare(champion, challenger, file)
        assert found.rows == np.minimum(LENGTHS, 3).sum()
        assert found.others > 0

    def test_expects_accuracy_where_it_was_calibrated(self, champion: Served, file: Path) -> None:
        known = Calibration(0.5, 1.0, [[0.0, 0.0], [0.0, 0.0]], groups=50)
        found = shadow.compare(champion, other(champion, seed=2), file, {"challenger": known})
        sure = directly(other(champion, seed=2), file)["confidence"].to_numpy()
        assert found.expected.keys() == {"challenger"}
        expected = expected_accuracy.estimate(known, sure).accuracy
        assert found.expected["challenger"].accuracy == pytest.approx(expected)

    def test_of_another_task(self, champion: Served, file: Path) -> None:
        encoding = replace(champion.encoding, task="classification")
        with pytest.raises(DataError, match="expected a model for tagging as version 1 of problem"):
            shadow.compare(champion, replace(champion, encoding=encoding), file)

    def test_of_columns_that_are_missing(self, champion: Served, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("sequence,x\ns,1\n")
        with pytest.raises(DataError, match=r"a\.csv: expected a column `y` as in training"):
            shadow.compare(champion, champion, tmp_path / "a.csv")


def test_of_classifiers(trained: Path, file: Path) -> None:
    architecture = Architecture(
        "classification", "GRU", 2, 0, 4, 1, 0.0, bidirectional=True, classes=3
    )
    model = load(str(trained))
    network = networks.SequenceModel(architecture).eval()
    model = replace(model, network=network, encoding=replace(model.encoding, task="classification"))
    found = shadow.compare(model, other(model, seed=3), file)
    assert (found.rows, found.sequences) == (60, 60)


class TestOf:
    def test_keeps_the_record_with_the_challenger(
        self, known: Registry, tmp_path: Path, file: Path
    ) -> None:
        calibration = Calibration(0.5, 1.0, [[0.0, 0.0], [0.0, 0.0]], groups=50)
        records.write(tmp_path / paths.EXPECTED_ACCURACY, calibration)
        run = known.version(2).run_id
        known.log(run, tmp_path / paths.EXPECTED_ACCURACY, "evaluation")
        found = shadow.of("models:/problem@champion", "models:/problem/2", file)
        assert known.version(2).tags["shadow"] == found.sentence
        kept = records.read(known.attached(run, "shadow.json", tmp_path / "back"), Shadow)
        records.write(tmp_path / "found.json", found)
        assert kept == records.read(tmp_path / "found.json", Shadow)  # to the digits of files
        assert kept.expected.keys() == {"challenger"}
        assert (found.others, found.classes[-1].challenger) == (1, 1)

    def test_of_folders_keeps_nothing(self, known: Registry, tmp_path: Path, file: Path) -> None:
        one, two = (str(tmp_path / "models" / name) for name in "12")
        assert shadow.of(one, two, file).others == 1
        assert "shadow" not in known.version(2).tags


def test_is_drawn_as_a_table(
    champion: Served, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shadow.compare(champion, other(champion, seed=2), file)
    Console(width=200).print(shadow.table(found))
    said: Any = capsys.readouterr().out
    assert "confidence" in said
    assert "95 % intervals over 30 groups" in said
    assert json.dumps(found.sentence)[1:40] in said
