"""Columns that travel with the rows: from the user's file into predictions, lists and slices."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from birnn import cli, params
from birnn.errors import ParamsError
from birnn.files import atomic

Stage = Callable[..., None]
Tree = dict[str, Any]
FILE = "data/external/maschine.csv"


def table(task: str) -> pd.DataFrame:
    """200 sequences under German names; the state follows from the pressure."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 6, 200)
    serial = np.repeat(np.arange(200), lengths)
    frame = pd.DataFrame({"Seriennr": serial})
    frame["Zeit"] = [f"10:{row // 60 % 60:02}:{row % 60:02}" for row in range(len(frame))]
    frame["Alter"] = np.array(["jung", "alt"])[serial % 2]
    frame["Druck"] = rng.normal(0, 2, len(frame)).round(2)
    first = frame.groupby("Seriennr")["Druck"].transform("first")
    frame["Zustand"] = np.where(
        (frame["Druck"] if task == "tagging" else first) > 0, "läuft", "steht"
    )
    return frame


@pytest.fixture(params=["tagging", "classification"])
def frame(
    request: pytest.FixtureRequest,
    runs_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_params: Callable[[], Tree],
) -> pd.DataFrame:
    """The table, in a working directory with params for it."""
    monkeypatch.chdir(runs_root)
    Path("data/external").mkdir(parents=True)
    frame, tree = table(request.param), small_params()
    frame.to_csv(FILE, index=False, sep=";", decimal=",", encoding="latin-1")
    tree["data"] = {
        "source": "table",
        "task": request.param,
        "path": FILE,
        "columns": {"sequence": "Seriennr", "label": "Zustand"},
        "keep": ["Zeit", "Alter"],
    }
    tree["train"] |= {"max_epochs": 2}
    tree["evaluate"] |= {"slices": ["Alter", "length"]}
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return frame


def test_from_file_to_predictions(
    frame: pd.DataFrame, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (
        ("generate",),
        ("prepare",),
        ("train", "bidirectional"),
        ("evaluate", "bidirectional"),
    ):
        stage(*arguments)
    tagging = params.load().data.task == "tagging"
    rows = frame if tagging else frame.groupby("Seriennr", as_index=False).first()
    found = pq.read_table("evaluation/bidirectional/predictions.parquet").to_pandas()
    chosen = rows[rows["Seriennr"].isin(found["sequence"].astype(int))]
    assert found["Zeit"].tolist() == chosen["Zeit"].tolist()
    assert found["Alter"].tolist() == chosen["Alter"].tolist()
    assert found["label"].tolist() == chosen["Zustand"].tolist()
    slices = atomic.read_json("evaluation/bidirectional/slices.json")["slices"]
    ages = {one["value"]: one["rows"] for one in slices if one["column"] == "Alter"}
    assert ages == chosen["Alter"].value_counts().to_dict()
    for one in atomic.read_json("evaluation/bidirectional/worst.json"):
        own = chosen[chosen["Seriennr"] == int(one["sequence"])]
        assert one["kept"] == {"Zeit": own["Zeit"].tolist(), "Alter": own["Alter"].tolist()}
    monkeypatch.setattr(sys, "argv", ["birnn", "predict", FILE, "--output", "out.csv"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    predicted = pd.read_csv("out.csv", dtype=str)
    assert list(predicted.drop(columns="step", errors="ignore"))[:4] == [
        *("sequence", "Zeit", "Alter", "predicted")
    ]
    assert predicted["Zeit"].tolist() == rows["Zeit"].tolist()


def test_slices_are_of_columns_that_are_kept(frame: pd.DataFrame) -> None:
    assert len(frame)
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("- Alter\n  - length", "- Druck"), encoding="utf-8")
    with pytest.raises(ParamsError) as refused:
        params.load()
    assert "evaluate.slices: expected some of group, length, Zeit, Alter, found 'Druck'; to" in str(
        refused.value
    )
