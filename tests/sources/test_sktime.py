"""Series from `.ts` files, and from those that the package sktime brings along."""

import gzip
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from birnn import params
from birnn.errors import DataError
from birnn.files import tables
from birnn.files.reading import Skipped
from birnn.sources import ingestion, inspection, sktime

HEAD = """\
# a remark
% another
@problemName Made
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true 1 Na
@data
"""
TWO = HEAD + "1.5,2,3:10,20,30:Na\n\n4, 5:40,50:1\n"
STEPS = {"dim_0": [1.5, 2.0, 3.0, 4.0, 5.0], "dim_1": [10.0, 20.0, 30.0, 40.0, 50.0]}
ONE = HEAD.replace("univariate false", "univariate TRUE").replace("@dimensions 2\n", "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.ts"


def read(path: Path, content: str) -> dict[str, list[object]]:
    path.write_text(content)
    found: dict[str, list[object]] = pa.Table.from_batches(sktime.read(path)).to_pydict()
    return found


def complaint(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        list(sktime.read(path))
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(str(path))


@pytest.mark.parametrize("sign", ["?", "NaN", " ? "])
def test_numbers_may_be_missing(path: Path, sign: str) -> None:
    found = read(path, TWO.replace("40,50", f"{sign},50").replace("missing false", "missing true"))
    assert found["dim_1"] == [10.0, 20.0, 30.0, None, 50.0]
    skipped = Skipped()
    data = ingestion.of_file(path)
    rows = pa.Table.from_batches(ingestion.rows(data, skipped))
    assert np.isnan(rows["dim_1"].to_numpy()).tolist() == [False] * 3 + [True, False]


class TestFiles:
    def test_steps_labels_and_ids(self, path: Path) -> None:
        skipped = Skipped()
        path.write_text(TWO)
        (batch,) = sktime.read(path, prefix="test-", skipped=skipped)
        assert batch.to_pydict() == {
            "sequence": ["test-000001"] * 3 + ["test-000002"] * 2,
            "label": ["Na"] * 3 + ["1"] * 2,
            **STEPS,
        }
        assert skipped.sentences() == [
            f"left out: empty lines, 1 in all, the first in {path}, line 12"
        ]

    def test_compressed(self, path: Path, tmp_path: Path) -> None:
        packed = tmp_path / "t.ts.gz"
        packed.write_bytes(gzip.compress(TWO.replace("\n", "\r\n").encode()))
        assert pa.Table.from_batches(sktime.read(packed)).to_pydict() == read(path, TWO)

    @pytest.mark.parametrize("head", [ONE, HEAD.replace("@dimensions 2\n", "")])
    def test_one_dimension(self, path: Path, head: str) -> None:
        found = read(path, head + "1,2:Na\n-3e2:1\n")
        assert found["dim_0"] == [1, 2, -300]
        assert found["label"] == ["Na", "Na", "1"]

    def test_a_large_file_comes_in_parts(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path.write_text(HEAD + TWO.removeprefix(HEAD) * 9)
        whole = pa.Table.from_batches(sktime.read(path)).to_pydict()
        monkeypatch.setattr(sktime, "BATCH_CHARACTERS", 30)
        parts = list(sktime.read(path))
        assert len(parts) > 5
        assert pa.Table.from_batches(parts).to_pydict() == whole

    def test_a_missing_file(self, path: Path) -> None:
        assert complaint(path) == ": no such file; put it there, or correct the path"

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("", ": expected a .ts file with a line @data, found none"),
            (
                "sequence,x\na,1\n",
                ", line 1: expected a tag such as @classLabel above @data, found",
            ),
            (TWO.replace("2\n@e", "two\n@e"), ": expected a number after @dimensions, found 'two'"),
            (TWO.replace("2\n@e", "0\n@e"), ": expected a number after @dimensions, found '0'"),
            (
                TWO.replace("stamps false", "stamps true").replace("Stamps false", "Stamps true"),
                ": expected @timeStamps false, found true; drop the time stamps",
            ),
            (
                TWO.replace("@classLabel true 1 Na", "@classLabel false"),
                ": expected `@classLabel true` and the classes, found false",
            ),
            (
                TWO.replace("@classLabel true 1 Na\n", ""),
                ": expected `@classLabel true` and the classes, found nothing",
            ),
            (TWO[:-3], ", line 13: expected 2 dimensions and a label, with colons between them, "),
            (TWO + "1:2:3:1\n", ", line 14: expected 2 dimensions and a label, with colons betw"),
            (HEAD + "Na\n", ", line 11: expected 2 dimensions and a label, with colons between "),
            (
                TWO.replace("50:1", "50:na"),
                ", line 13: expected a label of @classLabel, found 'na'",
            ),
            (
                TWO.replace("40,50", "40"),
                ", line 13, column `dim_1`: expected 2 steps as in `dim_0`, found 1",
            ),
            (
                TWO.replace("20", "high"),
                ", line 11, column `dim_1`, step 2: expected a finite number, found 'high'; "
                "fill it in or drop the series",
            ),
        ],
    )
    def test_a_broken_file(self, path: Path, content: str, expected: str) -> None:
        path.write_text(content)
        assert complaint(path).startswith(expected)

    @pytest.mark.parametrize("found", ["", "inf", "n/a", "-inf", "1e999", "1_0", "(0,1)", "0x1"])
    def test_what_is_no_finite_number(self, path: Path, found: str) -> None:
        path.write_text(TWO.replace("40,50", f"40,{found}".replace("40,(0,1)", "(0,1)")))
        place = ", line 13, column `dim_1`, step "
        assert complaint(path).startswith(place)

    def test_another_encoding(self, path: Path) -> None:
        path.write_bytes(TWO.encode() + b"1,2:\xff,4:1\n")
        assert complaint(path).startswith(", line 14: expected text in utf-8, found")


class TestShipped:
    @pytest.fixture(autouse=True)
    def _needs_sktime(self) -> None:
        pytest.importorskip("sktime")

    def test_japanese_vowels(self, tmp_path: Path) -> None:
        data = params.data({"source": "sktime", "name": "JapaneseVowels"})
        tables.write(ingestion.rows(data, Skipped()), tmp_path / "t.parquet")
        chunks = partial(tables.chunks, tmp_path / "t.parquet")
        summary = inspection.summary(chunks(), chunks, task="classification", where="t.csv")
        assert summary.splits == {"train": 270, "test": 370}
        assert len(summary.features) == 12
        assert (summary.lengths["min"], summary.lengths["max"]) == (7, 29)
        assert list(summary.labels) == [str(speaker) for speaker in range(1, 10)]

    @pytest.mark.parametrize("name", ["JapaneseVowels", "PLAID", "BasicMotions", "UnitTest"])
    @pytest.mark.parametrize("split", ["train", "test"])
    def test_steps_are_those_that_sktime_loads(self, name: str, split: str) -> None:
        from sktime.datasets import load_from_tsfile

        path = sktime.shipped(name)[split]
        steps, labels = load_from_tsfile(path, return_data_type="pd-multiindex")
        rows = pa.Table.from_batches(sktime.read(path))
        found = np.column_stack([rows[name] for name in tables.feature_names(rows.schema)])
        np.testing.assert_array_equal(found, steps.to_numpy())
        series = steps.index.get_level_values(0).to_numpy()
        assert [int(number) - 1 for number in rows["sequence"].to_pylist()] == series.tolist()
        # sktime writes the names of classes in small letters
        assert [label.lower() for label in rows["label"].to_pylist()] == labels[series].tolist()

    def test_an_unknown_name(self) -> None:
        with pytest.raises(DataError) as refused:
            sktime.shipped("JapaneseVowel")
        found = str(refused.value)
        assert found.startswith("data.name: expected one of ")
        assert "JapaneseVowels" in found
        assert found.endswith("found 'JapaneseVowel'")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sktime", None)
    monkeypatch.setitem(sys.modules, "sktime.datasets", None)
    with pytest.raises(DataError) as refused:
        sktime.shipped("JapaneseVowels")
    assert str(refused.value) == sktime.MISSING
