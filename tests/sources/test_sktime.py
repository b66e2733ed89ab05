"""Series from `.ts` files, and from those that the package sktime brings along."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from birnn import inspection, tables
from birnn.errors import DataError
from birnn.sources import sktime

HEAD = """\
@problemName Made
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true 1 na
@data
"""
TWO = HEAD + "1.5,2,3:10,20,30:na\n4,5:40,50:1\n"
STEPS = {"dim_0": [1.5, 2.0, 3.0, 4.0, 5.0], "dim_1": [10.0, 20.0, 30.0, 40.0, 50.0]}


def complaint(**where: Any) -> str:
    batches = sktime.read(**where)
    with pytest.raises(DataError) as refused:
        list(tables.checked(batches, task="classification", where="t.ts"))
    assert "\n" not in str(refused.value)
    return str(refused.value)


class TestFiles:
    @pytest.fixture(autouse=True)
    def _needs_sktime(self) -> None:
        pytest.importorskip("sktime")

    def test_one_file_has_no_official_split(self, tmp_path: Path) -> None:
        (tmp_path / "t.ts").write_text(TWO)
        (batch,) = sktime.read(train=str(tmp_path / "t.ts"))
        assert batch.to_pydict() == {
            "sequence": ["train-000001"] * 3 + ["train-000002"] * 2,
            "label": ["na"] * 3 + ["1"] * 2,
            **STEPS,
        }

    def test_two_files_are_a_split(self, tmp_path: Path) -> None:
        for name in ("train.ts", "test.ts"):
            (tmp_path / name).write_text(TWO)
        batches = sktime.read(train=str(tmp_path / "train.ts"), test=str(tmp_path / "test.ts"))
        rows = pa.Table.from_batches(
            tables.checked(batches, task="classification", where="t.ts")
        ).to_pydict()
        assert rows["split"] == ["train"] * 5 + ["test"] * 5
        assert rows["sequence"][5:] == ["test-000001"] * 3 + ["test-000002"] * 2
        assert rows["dim_0"][:5] == rows["dim_0"][5:] == STEPS["dim_0"]

    def test_a_missing_file(self, tmp_path: Path) -> None:
        path = tmp_path / "t.ts"
        expected = f"{path}: no such file; put it there, or correct data.train"
        assert complaint(train=str(path)) == expected

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"sequence,x,label\na,1,b\n",
            HEAD.encode(),
            TWO.replace("20", "high").encode(),
            TWO[:-8].encode(),
            TWO.encode() + b"\xff",
            TWO.replace("true 1 na", "false").replace(":na", "").replace(":1\n", "\n").encode(),
        ],
        ids=["empty", "CSV", "no data", "text", "cut", "not UTF-8", "no labels"],
    )
    def test_a_broken_file(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "t.ts"
        path.write_bytes(content)
        assert complaint(train=str(path)).startswith(f"{path}: expected a .ts file, found: ")

    def test_a_gap(self, tmp_path: Path) -> None:
        (tmp_path / "t.ts").write_text(TWO.replace("20", "?"))
        found = complaint(train=str(tmp_path / "t.ts"))
        assert found.startswith("t.ts, row 2, column `dim_1`: expected a finite number, found nan")


class TestShipped:
    @pytest.fixture(autouse=True)
    def _needs_sktime(self) -> None:
        pytest.importorskip("sktime")

    def test_japanese_vowels(self, tmp_path: Path) -> None:
        batches = sktime.read(name="JapaneseVowels")
        checked = tables.checked(batches, task="classification", where="JapaneseVowels")
        tables.write(checked, tmp_path / "t.parquet")
        chunks = partial(tables.chunks, tmp_path / "t.parquet")
        summary = inspection.summary(chunks(), chunks, task="classification", where="t.csv")
        assert summary["splits"] == {"train": 270, "test": 370}
        assert len(summary["features"]) == 12
        assert (summary["lengths"]["min"], summary["lengths"]["max"]) == (7, 29)
        assert list(summary["labels"]) == [str(speaker) for speaker in range(1, 10)]

    def test_steps_are_those_of_the_file(self) -> None:
        from sktime.datasets import load_japanese_vowels

        series, labels = load_japanese_vowels(split="test", return_X_y=True)
        *_, batch = sktime.read(name="JapaneseVowels")
        starts = np.append(tables.sequence_starts(batch["sequence"]), batch.num_rows)
        for index in (0, 17, 369):
            steps = batch.slice(starts[index], starts[index + 1] - starts[index])
            found = np.column_stack([steps[name] for name in tables.feature_names(batch.schema)])
            np.testing.assert_array_equal(found, np.column_stack(series.iloc[index].tolist()))
            assert set(steps["label"].to_pylist()) == {labels[index]}

    def test_an_unknown_name(self) -> None:
        found = complaint(name="JapaneseVowel")
        assert found.startswith("data.name: expected one of ")
        assert "JapaneseVowels" in found
        assert found.endswith("found 'JapaneseVowel'")


@pytest.mark.parametrize("where", [{"name": "JapaneseVowels"}, {"train": "t.ts"}])
def test_without_the_package(monkeypatch: pytest.MonkeyPatch, where: dict[str, str]) -> None:
    monkeypatch.setitem(sys.modules, "sktime", None)
    monkeypatch.setitem(sys.modules, "sktime.datasets", None)
    assert complaint(**where) == sktime.MISSING
