"""Labels, numbers and classes that are missing, through the real stages."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics as sklearn_metrics

from birnn import cli
from birnn.data import sequences
from birnn.files import atomic
from birnn.model import saved_model

Stage = Callable[..., None]
Tree = dict[str, Any]
TABLE, MODEL = "data/external/table.csv", "bidirectional"
PIPELINE = (("generate",), ("prepare",), ("train", MODEL), ("evaluate", MODEL))


def table(task: str) -> pd.DataFrame:
    """120 sequences, 40 of them tested; a third of the labels and a tenth of the numbers missing.

    A class is in test alone.
    """
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 9, 120)
    frame = pd.DataFrame({"sequence": np.repeat([f"s{n:03}" for n in range(120)], lengths)})
    number = frame["sequence"].str[1:].astype(int)
    frame["split"] = np.where(number < 60, "train", np.where(number < 80, "validation", "test"))
    label = rng.integers(2, size=len(frame))
    if task == "classification":
        label = rng.integers(2, size=120)[number]
    frame["x"] = label + 0.3 * rng.standard_normal(len(frame))
    frame["y"] = rng.standard_normal(len(frame))
    frame["label"] = np.take(["a", "b"], label)
    of = np.arange(len(frame)) if task == "tagging" else number.to_numpy()
    frame.loc[(frame["split"] == "test") & (of % 7 == 0), "label"] = "only-test"
    frame.loc[of % 3 == 1, "label"] = ["", "none"][task == "tagging"]
    frame.loc[rng.random(len(frame)) < 0.1, "x"] = np.nan
    return frame


@pytest.fixture(params=["tagging", "classification"])
def made(
    request: pytest.FixtureRequest,
    runs_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_params: Callable[[], Tree],
) -> pd.DataFrame:
    """The table and params.yaml for it, in a working directory of its own."""
    monkeypatch.chdir(runs_root)
    Path("data/external").mkdir(parents=True)
    tree, frame = small_params(), table(request.param)
    frame.to_csv(TABLE, index=False)
    data = {"source": "table", "task": request.param, "path": TABLE, "unlabelled": "none"}
    tree |= {"data": data, "models": {MODEL: {"bidirectional": True}}}
    tree["prepare"] |= {"missing": "mask"}
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return frame


@pytest.mark.slow
def test_what_is_missing_counts_in_nothing(
    made: pd.DataFrame, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in PIPELINE:
        stage(*one)
    asked = pd.read_parquet(f"evaluation/{MODEL}/predictions.parquet")
    test = made[made["split"] == "test"]
    if len(asked) < len(test):
        test = test.drop_duplicates("sequence")
    labels = test["label"].replace({"": None, "none": None}).reset_index(drop=True)
    assert asked["label"].equals(labels.astype(asked["label"].dtype))
    known = asked[asked["label"].notna()]
    found = atomic.read_json(f"evaluation/{MODEL}/metrics.json")
    accuracy = sklearn_metrics.accuracy_score(known["label"], known["predicted"])
    f1 = sklearn_metrics.f1_score(known["label"], known["predicted"], average="macro")
    assert found["accuracy"] == pytest.approx(accuracy)
    assert found["f1_macro"] == pytest.approx(f1)
    assert found["recall_only-test"] == 0
    assert found["support_only-test"] == (known["label"] == "only-test").sum()
    confusion = pd.read_csv(f"evaluation/{MODEL}/confusion.csv", index_col="actual")
    assert confusion.to_numpy().sum() == len(known)
    network, encoding, _ = saved_model.load(f"models/{MODEL}")
    assert (network.architecture.classes, encoding.unseen) == (2, ["only-test"])
    assert encoding.inputs == ["x", "y", "x is missing"]
    stage("report")
    verdict = atomic.read_json("report/verdict.json")
    (shift,) = (one for one in verdict["checks"] if one["name"] == "label_shift")
    assert shift["sentence"].startswith("Labels of test that train does not have: 'only-test' (")
    assert "labels of test that train does not have, each counted as" in verdict["sentence"]
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "Labels of test that train does not have: &#39;only-test&#39;" in page
    assert "without a label:" in page
    assert "prepare.missing says what is read there: mask" in page
    assert "without a label:" in Path("report/report.md").read_text(encoding="utf-8").lower()
    gone = made.drop(columns=["label", "split"])
    gone.to_csv("new.csv", index=False)
    argv = ["birnn", "predict", "new.csv", "--model", f"models/{MODEL}", "--output", "out.csv"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    again = pd.read_csv("out.csv").set_index("sequence")["predicted"]
    assert again[asked["sequence"].unique()].tolist() == asked["predicted"].tolist()


def test_missing_numbers_are_refused_unless_said_otherwise(
    made: pd.DataFrame, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    del tree["prepare"]["missing"]
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    stage("generate")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        stage("prepare")
    assert ended.value.code == 1
    row = int(made["x"].isna().to_numpy().argmax()) + 1
    assert capsys.readouterr().err == (
        f"error: {TABLE}, row {row}, column `x`: expected a number, found nothing (missing in all: "
        f"`x` ({made['x'].isna().sum()})); fill it in, or set prepare.missing to mean, zero, last "
        "or mask\n"
    )
    assert not Path("data/prepared/train.arrow").exists()


def test_a_split_without_labels_is_refused(
    made: pd.DataFrame, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    made.loc[made["split"] == "validation", "label"] = ""
    made.to_csv(TABLE, index=False)
    stage("generate")
    with pytest.raises(SystemExit):
        stage("prepare")
    assert "the validation split: expected labels, found none in 20" in capsys.readouterr().err


def test_the_labels_of_prepared_splits(made: pd.DataFrame, stage: Stage) -> None:
    stage("generate")
    stage("prepare")
    test = sequences.read("data/prepared/test.arrow")
    rows = made[made["split"] == "test"]
    rows = rows if test.tagging else rows.drop_duplicates("sequence")
    names = {"a": 0, "b": 1, "only-test": 2, "": -1, "none": -1}
    assert test.labels.tolist() == rows["label"].map(names).tolist()
