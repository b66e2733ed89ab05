"""Training, testing and reporting: thresholds in every prediction, faults in the verdict."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkout
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import Once
from sklearn.metrics import precision_recall_curve

from birnn.data import sequences
from birnn.files import atomic, scores
from birnn.model import prediction, saved_model
from birnn.report import pdf
from birnn.sources import table
from birnn.tracking import store

Tree = dict[str, Any]
Stage = Callable[..., None]
MODELS = ("bidirectional", "forward")


@pytest.fixture
def place(
    runs_root: Path,
    prepared: Path,
    small_params: Callable[[], Tree],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A working directory with prepared data and an MLflow store."""
    monkeypatch.chdir(runs_root)
    shutil.copytree(prepared / "data", runs_root / "data")
    write(small_params(), {})
    return runs_root


def write(tree: Tree, critical: Tree) -> None:
    tree["evaluate"] |= {"critical": critical}
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def judge(stage: Stage, *names: str) -> Tree:
    """Train, test and report; give the verdict."""
    for name in names:
        stage("train", name)
        stage("evaluate", name)
    stage("report")
    found: Tree = atomic.read_json("report/verdict.json")
    return found


@pytest.fixture(scope="session")
def judged(
    once: Once,
    empty_store: Path,
    prepared: Path,
    stage: Stage,
    small_params: Callable[[], Tree],
) -> Path:
    """A working directory in which both models are trained, tested and reported."""

    def make(folder: Path) -> None:
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        shutil.copy(empty_store, folder)
        with pytest.MonkeyPatch.context() as patch:
            enter(folder, patch)
            write(small_params(), {})
            judge(stage, *MODELS)

    return once("judged", make)


@pytest.fixture
def reported(judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working directory."""
    place = checkout.copy(judged, tmp_path / "place")
    enter(place, monkeypatch)
    return place


def enter(place: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(place)
    patch.setenv("DVC_ROOT", str(place))
    patch.setenv("MLFLOW_TRACKING_URI", "")


def shares(name: str, split: str) -> Any:
    network, *_ = saved_model.load(f"models/{name}")
    held_out = sequences.read(f"data/prepared/{split}.arrow")
    return prediction.probabilities(network, held_out, device=torch.device("cpu"))


class TestWithoutCriticalClasses:
    def test_the_most_probable_class_is_called(self, reported: Path) -> None:
        verdict = atomic.read_json("report/verdict.json")
        assert atomic.read_json("models/forward/model.json")["thresholds"] == {}
        assert atomic.read_json("evaluation/forward/operating_points.json") == {}
        predicted = pq.read_table("evaluation/forward/predictions.parquet")["predicted"]
        called = [f"c{column}" for column in shares("forward", "test").argmax(axis=1)]
        assert predicted.to_pylist() == called
        assert verdict["model"] == "bidirectional"
        assert len(verdict["checks"]) == 7

    def test_the_report_holds_the_ladder(
        self, reported: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stage("report")
        verdict = atomic.read_json("report/verdict.json")
        assert verdict["sentence"] in capsys.readouterr().out.splitlines()
        compared = atomic.read_json("report/comparison.json")
        train = sequences.read("data/prepared/train.arrow")
        common = f"always 'c{np.bincount(train.labels).argmax()}'"
        names = [row["name"] for row in compared["ladder"]]
        assert names[:4] == [common, "each step alone", "forward", "bidirectional"]
        assert len(names) == 7  # with the limits
        for row in compared["ladder"][:4]:
            assert row["accuracy"]["low"] <= row["accuracy"]["value"] <= row["accuracy"]["high"]
        assert "points of accuracy (95 % interval" in compared["second_direction"]


class TestStagesThatDoNotBelongTogether:
    def test_a_report_says_what_the_model_was_trained_with(
        self, reported: Path, stage: Stage, small_params: Callable[[], Tree]
    ) -> None:
        tree = small_params()
        trained_with = tree["model"]["hidden_size"]
        tree["model"]["hidden_size"] = 99
        write(tree, {})
        stage("report")
        said = re.findall(r"\.hidden_size</dt><dd>(\d+)<", Path("report/report.html").read_text())
        assert said == [str(trained_with)]

    @pytest.mark.parametrize("command", [("evaluate", "forward"), ("report",)])
    @pytest.mark.parametrize(("key", "index"), [("labels", 0), ("mean", 1)])
    def test_a_model_of_other_data_is_refused(
        self,
        reported: Path,
        stage: Stage,
        capsys: pytest.CaptureFixture[str],
        command: tuple[str, ...],
        key: str,
        index: int,
    ) -> None:
        path = Path("data/prepared/encoding.json")
        tree = atomic.read_json(path)
        tree[key][index] = "c9" if key == "labels" else 9.0
        path.unlink()  # it may be a link
        atomic.write_json(path, tree)
        with pytest.raises(SystemExit):
            stage(*command)
        said = capsys.readouterr().err
        assert f": expected a model of the data in data/prepared, with {key} " in said
        assert said.count("\n") == 1


class TestMetrics:
    def test_hold_the_validation_split_beside_the_test_split(self, reported: Path) -> None:
        scored = scores.read("evaluation/forward/metrics.json")
        for split, figures in {"test": scored.test, "validation": scored.validation}.items():
            actual = sequences.read(f"data/prepared/{split}.arrow").labels
            right = shares("forward", split).argmax(axis=1) == actual
            assert figures["accuracy"] == pytest.approx(right.mean())
        assert scored.test.keys() == scored.validation.keys()


class TestCandidate:
    @pytest.mark.parametrize("models", [["forward"], ["bidirectional", "forward"]])
    def test_is_the_one_that_the_report_judges(
        self,
        reported: Path,
        stage: Stage,
        small_params: Callable[[], Tree],
        models: list[str],
    ) -> None:
        tree = small_params()
        tree["models"] = {name: tree["models"][name] for name in models}
        tree["retrain"] = {"model": "forward"}
        write(tree, {})
        stage("report")
        assert atomic.read_json("report/verdict.json")["model"] == "forward"
        rows = atomic.read_json("report/comparison.json")["models"]
        assert [row["name"] for row in rows] == ["forward", *models[:-1]]
        learned = pd.read_csv("report/learning.csv")
        assert [*learned["model"].unique()] == ["forward", *models[:-1]]
        assert [*learned["split"].unique()] == ["validation", "train"]
        runs = mlflow_runs()
        assert runs["forward"].data.tags["candidate"] == "yes"
        assert runs["forward"].data.tags["verdict"].startswith(("good", "fair", "bad"))
        assert runs["forward"].data.metrics["parameters"] == rows[0]["parameters"]
        assert models[0] == "forward" or runs[models[0]].data.tags["candidate"] == "no"


def mlflow_runs() -> dict[str, Any]:
    """The runs of the working directory, by the name of the model."""
    client = store.connect()
    found = client.search_runs([store.experiment(client, "small")])
    return {run.data.tags["model"]: run for run in found}


class TestReport:
    def test_is_the_same_bytes_when_it_is_written_again(self, reported: Path, stage: Stage) -> None:
        before = {path.name: path.read_bytes() for path in Path("report").iterdir()}
        stage("report")
        assert {path.name: path.read_bytes() for path in Path("report").iterdir()} == before
        assert len(before["report.html"]) < 3_000_000

    def test_shows_what_goes_through_the_judged_model(self, reported: Path) -> None:
        page = Path("report/report.html").read_text()
        for shape in ("150 x 9 x 3", "150 x 9 x 10", "150 x 9 x 20"):
            assert f"<code>{shape}</code>" in page
        trace = atomic.read_json("evaluation/bidirectional/trace.json")
        test = sequences.read("data/prepared/test.arrow")
        number = test.ids.to_pylist().index(trace["sequence"])
        rows = slice(test.offsets[number], test.offsets[number + 1])
        both = [f"c{column}" for column in shares("bidirectional", "test")[rows].argmax(axis=1)]
        assert [answer["both"]["label"] for answer in trace["answers"]] == both

    def test_says_the_same_on_two_pages(self, reported: Path) -> None:
        page = pdf.two_pages("small", MODELS, average="macro")
        metrics = atomic.read_json("evaluation/bidirectional/metrics.json")
        ends = atomic.read_json("evaluation/bidirectional/intervals.json")["accuracy"]
        assert f"{100 * metrics['accuracy']:.1f} %" in page
        assert f"95 % interval {100 * ends['low']:.1f} to {100 * ends['high']:.1f}" in page
        worst = atomic.read_json("evaluation/bidirectional/worst.json")
        assert all(f"<strong><bdi>{one['sequence']}</bdi></strong>" in page for one in worst[:3])
        assert page == pdf.two_pages("small", MODELS, average="macro")

    def test_tells_the_hashes_that_its_runs_are_tagged_with(self, reported: Path) -> None:
        page = Path("report/report.html").read_text()
        client = store.connect()
        runs = client.search_runs([store.experiment(client, "small")])
        assert len(runs) == len(MODELS)
        for run in runs:
            for tag in ("data_sha256", "params_sha256", "model_sha256"):
                assert f"<code>{run.data.tags[tag][:16]}</code>" in page


class TestCriticalClass:
    def test_its_threshold_is_in_every_prediction(
        self, place: Path, stage: Stage, small_params: Callable[[], Tree]
    ) -> None:
        tree = small_params()
        del tree["models"]["bidirectional"]
        write(tree, {"c1": {"min_recall": 0.9}})
        judge(stage, "forward")
        threshold = atomic.read_json("models/forward/model.json")["thresholds"]["c1"]
        validation = sequences.read("data/prepared/validation.arrow")
        curve = precision_recall_curve(
            validation.labels == 1, shares("forward", "validation")[:, 1]
        )
        able = curve[1][:-1] >= 0.9
        best = curve[0][:-1][able].max()
        point = atomic.read_json("evaluation/forward/operating_points.json")["c1"]
        assert np.float32(point["threshold"]) == np.float32(threshold)
        assert point["validation"]["recall"] >= 0.9
        assert point["validation"]["precision"] == pytest.approx(best)

        called = shares("forward", "test")[:, 1] >= np.float32(threshold)
        predicted = pq.read_table("evaluation/forward/predictions.parquet")["predicted"]
        assert [name == "c1" for name in predicted.to_pylist()] == called.tolist()
        assert called.sum() != (shares("forward", "test").argmax(axis=1) == 1).sum()
        metrics = atomic.read_json("evaluation/forward/metrics.json")
        assert point["test"]["recall"] == pytest.approx(metrics["recall_c1"])

        new = table.read("data/raw/sequences.parquet")
        streamed = pa.concat_tables(
            prediction.of_table(
                *saved_model.load("models/forward"), new, where="new", device=torch.device("cpu")
            )
        ).to_pandas()
        above = streamed["probability_c1"] >= np.float32(threshold)
        assert ((streamed["predicted"] == "c1") == above).all()

    def test_it_overrules_the_verdict(
        self, place: Path, stage: Stage, small_params: Callable[[], Tree]
    ) -> None:
        tree = small_params()
        del tree["models"]["forward"]
        write(tree, {"c1": {"min_recall": 0.5}})
        judge(stage, "bidirectional")
        metrics = atomic.read_json("evaluation/bidirectional/metrics.json")
        assert 0 < metrics["recall_c1"] < 0.9
        write(tree, {"c1": {"min_recall": 0.9}})
        stage("report")
        verdict = atomic.read_json("report/verdict.json")
        assert verdict["grade"] == "bad"
        missed = f"{100 * (1 - metrics['recall_c1']):.0f} % of the positives of 'c1' are missed"
        assert missed in verdict["sentence"]

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            ("fraud", "evaluate.critical: expected classes among c0, c1, c2, found 'fraud'"),
            ("c1", "expected validation labels 'c1' to choose its threshold on, found none"),
        ],
    )
    def test_that_is_not_there_is_refused_before_training(
        self,
        place: Path,
        stage: Stage,
        small_params: Callable[[], Tree],
        capsys: pytest.CaptureFixture[str],
        label: str,
        message: str,
    ) -> None:
        path = Path("data/prepared/validation.arrow")
        held_out = sequences.read(path)
        without = [number for number in range(len(held_out)) if not has(held_out, number, 1)]
        sequences.write([held_out.select(np.array(without))], path)
        write(small_params(), {label: {"min_recall": 0.9}})
        with pytest.raises(SystemExit) as ended:
            stage("train", "forward")
        assert ended.value.code == 1
        assert message in capsys.readouterr().err
        assert not Path("models").exists()


def has(split: sequences.Sequences, number: int, label: int) -> bool:
    return label in split.labels[split.offsets[number] : split.offsets[number + 1]]


class TestPlantedFaults:
    """In a table, to be found in the verdict at the end of the pipeline."""

    @pytest.fixture
    def frame(self) -> pd.DataFrame:
        """Sequences of 6 to 12 steps with labels that a feature hints at, in three splits."""
        rng = np.random.default_rng(0)
        lengths = rng.integers(6, 13, 240)
        frame = pd.DataFrame({"sequence": np.repeat([f"s{n:03}" for n in range(240)], lengths)})
        splits = np.repeat(["train", "validation", "test"], [140, 40, 60])
        frame["split"] = np.repeat(splits, lengths)
        labels = rng.integers(2, size=len(frame))
        frame["label"] = np.where(labels == 1, "yes", "no")
        frame["x"] = labels + rng.standard_normal(len(frame))
        frame["y"] = rng.standard_normal(len(frame))
        return frame

    def checks(
        self, frame: pd.DataFrame, stage: Stage, small_params: Callable[[], Tree]
    ) -> dict[str, str]:
        Path("data/external").mkdir(parents=True)
        frame.to_csv("data/external/t.csv", index=False)
        tree = small_params()
        tree["data"] = {"source": "table", "task": "tagging", "path": "data/external/t.csv"}
        tree["train"] |= {"max_epochs": 1}
        del tree["models"]["forward"]
        write(tree, {})
        stage("generate")
        stage("prepare")
        verdict = judge(stage, "bidirectional")
        statuses = [check["status"] for check in verdict["checks"]]
        assert statuses == sorted(statuses, key=["fail", "warn", "pass"].index)
        return {check["name"]: check["status"] for check in verdict["checks"]}

    def test_none(
        self,
        place: Path,
        frame: pd.DataFrame,
        stage: Stage,
        small_params: Callable[[], Tree],
    ) -> None:
        found = self.checks(frame, stage, small_params)
        assert "fail" not in found.values()
        assert (found["leakage"], found["label_shift"]) == ("pass", "pass")

    def test_copies_of_training_sequences(
        self,
        place: Path,
        frame: pd.DataFrame,
        stage: Stage,
        small_params: Callable[[], Tree],
    ) -> None:
        copies = frame[frame["sequence"] < "s010"].assign(split="test")
        copies["sequence"] = "copy of " + copies["sequence"]
        found = self.checks(pd.concat([frame, copies]), stage, small_params)
        assert found["leakage"] == "fail"
        verdict = atomic.read_json("report/verdict.json")
        figures = {check["name"]: check["figures"] for check in verdict["checks"]}["leakage"]
        assert figures["copied"] == 10
        assert {"headline", "headline_unseen"} <= figures.keys()

    def test_a_feature_that_is_the_label_and_a_shifted_prior(
        self,
        place: Path,
        frame: pd.DataFrame,
        stage: Stage,
        small_params: Callable[[], Tree],
    ) -> None:
        shifted = (frame["split"] == "test") & (np.arange(len(frame)) % 2 == 0)
        frame.loc[shifted, "label"] = "yes"
        frame["leak"] = (frame["label"] == "yes").astype(float)
        found = self.checks(frame, stage, small_params)
        assert (found["leakage"], found["label_shift"]) == ("fail", "fail")
