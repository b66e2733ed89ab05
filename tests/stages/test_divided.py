"""Splits by class and by time, through the real stages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from birnn.data import sequences
from birnn.data.encoding import Encoding
from birnn.files import records

TABLE = "data/external/table.csv"
Prepare = Callable[..., dict[str, list[str]]]


@pytest.fixture
def prepare(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: Callable[..., None],
    small_params: Callable[[], dict[str, Any]],
) -> Prepare:
    """Prepares a table, and gives the ids of the sequences in each split."""
    monkeypatch.chdir(tmp_path)
    Path(TABLE).parent.mkdir(parents=True)

    def run(frame: pd.DataFrame, **chosen: Any) -> dict[str, list[str]]:
        frame.to_csv(TABLE, index=False)
        tree = small_params()
        tree["data"] = {"source": "table", "task": "classification", "path": TABLE}
        tree["prepare"] |= chosen
        Path("params.yaml").write_text(yaml.safe_dump(tree))
        stage("generate")
        stage("prepare")
        return {
            split: sequences.read(f"data/prepared/{split}.arrow").ids.to_pylist()
            for split in ("train", "validation", "test")
        }

    return run


def table(sequences: int, seed: int = 0) -> pd.DataFrame:
    """Two steps a sequence, of which one in thirty is of a rare class; days in a random order."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(sequences), 2)
    return pd.DataFrame(
        {
            "sequence": [f"s{n}" for n in number],
            "day": rng.permutation(sequences)[number],
            "x": rng.standard_normal(2 * sequences),
            "label": np.where(number % 30 == 7, "rare", np.where(number % 2, "a", "b")),
        }
    )


def test_by_class_and_stable_as_data_grow(prepare: Prepare) -> None:
    before = prepare(table(90), stratify=True)
    rare = {f"s{number}" for number in (7, 37, 67)}
    assert all(len(rare & {*ids}) == 1 for ids in before.values())
    after = prepare(table(300), stratify=True)
    for split, ids in before.items():
        assert {*ids} <= {*after[split]}
    assert abs(len(after["test"]) - 45) <= 4


def test_by_time(prepare: Prepare) -> None:
    frame = table(100)
    found = prepare(frame, split_by="day")
    day = frame.drop_duplicates("sequence").set_index("sequence")["day"]
    assert {split: (len(ids), day[ids].min()) for split, ids in found.items()} == {
        "train": (70, 0),
        "validation": (15, 70),
        "test": (15, 85),
    }
    assert records.read("data/prepared/encoding.json", Encoding).features == ["x"]
