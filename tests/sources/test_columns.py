"""Tables under names of their own: what becomes of each column, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birnn import params
from birnn.errors import DataError, ParamsError
from birnn.files import tables
from birnn.files.reading import Skipped
from birnn.sources import ingestion

OWN = "id,stamp,age,x,y,state\n7,a,30,1.5,2,up\n7,b,30,2.5,3,down\n8,c,40,0.5,4,up\n"
NAMES = {"sequence": "id", "label": "state"}


def rows(path: Path, skipped: Skipped | None = None, **section: Any) -> pa.Table:
    section = {"source": "table", "task": "tagging", "path": str(path), **section}
    return pa.Table.from_batches(ingestion.rows(params.data(section), skipped or Skipped()))


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def both_kinds(folder: Path, frame: pd.DataFrame) -> list[Path]:
    """The same table as CSV and as Parquet."""
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_parquet(folder / "t.parquet", index=False)
    return [folder / "t.csv", folder / "t.parquet"]


class TestNames:
    def test_are_mapped_left_out_and_kept(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", OWN)
        found = rows(path, columns=NAMES, ignore=["y"], keep=["stamp", "age"])
        assert found.to_pydict() == {
            "sequence": ["7", "7", "8"],
            "label": ["up", "down", "up"],
            "x": [1.5, 2.5, 0.5],
            "keep:stamp": ["a", "b", "c"],
            "keep:age": ["30", "30", "40"],
        }
        assert tables.feature_names(found.schema) == ["x"]

    def test_features_may_be_named(self, tmp_path: Path) -> None:
        path, skipped = written(tmp_path / "t.csv", OWN), Skipped()
        found = rows(path, skipped, columns={**NAMES, "features": ["y"]})
        assert tables.feature_names(found.schema) == ["y"]
        assert skipped.counts.total() == 3
        assert "(stamp, age, x)" in skipped.sentences()[0]

    def test_what_is_kept_may_be_read_too(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", "id,Word,state\n1,a,p\n1,b,q\n")
        found = rows(path, columns={**NAMES, "token": "Word"}, keep=["Word"])
        assert found["keep:Word"].to_pylist() == found["token"].to_pylist() == ["a", "b"]

    @pytest.mark.parametrize(
        ("section", "message"),
        [
            (
                {"columns": {"sequence": "ID"}},
                "expected a column `ID` (data.columns.sequence), fou",
            ),
            ({"columns": {**NAMES, "group": "g"}}, "expected a column `g` (data.columns.group)"),
            ({"columns": NAMES, "keep": ["z"]}, "expected a column `z` (data.keep), found id, sta"),
            ({"columns": NAMES, "ignore": ["z"]}, "expected a column `z` (data.ignore), found id"),
            ({"columns": {**NAMES, "features": ["z"]}}, "`z` (data.columns.features), found id"),
            ({"columns": NAMES, "time": "seconds"}, "expected a column `time` for data.time"),
            ({"columns": NAMES}, "column `stamp`: expected a number, found 'a'; leave the column"),
        ],
    )
    def test_that_are_not_there(
        self, tmp_path: Path, section: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(DataError) as refused:
            rows(written(tmp_path / "t.csv", OWN), **section)
        assert message in str(refused.value)

    def test_one_part_has_one_column(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", "id,sequence,x,label\n1,1,1,a\n")
        with pytest.raises(DataError, match="one column for sequence, found `id` and `sequence`"):
            rows(path, columns={"sequence": "id"})
        assert rows(path, columns={"sequence": "id"}, ignore=["sequence"]).num_rows == 1

    def test_a_column_is_not_ignored_and_read(self) -> None:
        section = {"source": "table", "task": "tagging", "path": "t.csv", "ignore": ["id"]}
        with pytest.raises(ParamsError, match="expected a column in `ignore` alone, found 'id'"):
            params.data({**section, "columns": NAMES})

    def test_predictions_have_columns_of_their_own(self) -> None:
        section = {"source": "table", "task": "tagging", "path": "t.csv", "keep": ["predicted"]}
        with pytest.raises(ParamsError, match="expected `keep` of other columns than 'predicted'"):
            params.data(section)


class TestToPredict:
    READ = ingestion.reading(
        params.data(
            {
                "source": "table",
                "task": "tagging",
                "path": "-",
                "columns": NAMES,
                "ignore": ["y"],
                "keep": ["stamp"],
            }
        )
    )

    def unlabelled(self, path: Path) -> dict[str, list[Any]]:
        found = ingestion.unlabelled(path, self.READ, ["x"], Skipped())
        return dict(pa.Table.from_batches(found).to_pydict())

    def test_files_as_in_training(self, tmp_path: Path) -> None:
        expected = {"sequence": ["7", "8"], "x": [1.5, 0.5], "keep:stamp": ["a", "c"]}
        text = "id;stamp;x\n7;a;1.5\n8;c;0.5\n"
        assert self.unlabelled(written(tmp_path / "t.csv", text)) == expected

    def test_a_sequence_table(self, tmp_path: Path) -> None:
        text = "sequence,other,x\n7,a,1.5\n8,c,0.5\n"
        expected = {"sequence": ["7", "8"], "x": [1.5, 0.5]}
        assert self.unlabelled(written(tmp_path / "t.csv", text)) == expected


class TestFilledDown:
    TEXT = "Sentence #,Word,POS,Tag\nSentence: 1,Thousands,NNS,O\n,of,IN,O\nSentence: 2,Paris,,B\n"
    SECTION: dict[str, Any] = {  # noqa: RUF012
        "columns": {"sequence": "Sentence #", "token": "Word", "label": "Tag"},
        "keep": ["POS"],
    }

    def test_where_params_say_so(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", self.TEXT)
        found = rows(path, **self.SECTION, fill_down=True)
        assert found["sequence"].to_pylist() == ["Sentence: 1", "Sentence: 1", "Sentence: 2"]
        assert found["keep:POS"].to_pylist() == ["NNS", "IN", ""]

    def test_else_the_way_is_named(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", self.TEXT)
        with pytest.raises(DataError) as refused:
            rows(path, **self.SECTION)
        assert str(refused.value) == (
            f"{path}, row 2, column `Sentence #`: value missing; if it stands on its first row "
            "only, set data.fill_down: true"
        )

    def test_nothing_stands_above_the_first_row(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", "sequence,x,label\n,1,a\nb,2,b\n")
        with pytest.raises(DataError, match=r"row 1, column `sequence`: value missing$"):
            rows(path, fill_down=True)

    @pytest.mark.parametrize("missing", ["", None])
    def test_across_batches_of_parquet(self, tmp_path: Path, missing: str | None) -> None:
        names = [str(row // 7) if row % 7 == 0 else missing for row in range(200_000)]
        labels = ["ab"[row // 7 % 2] if row % 7 == 0 else missing for row in range(200_000)]
        table = pa.table({"sequence": names, "x": np.arange(200_000.0), "label": labels})
        pq.write_table(table, tmp_path / "t.parquet")
        found = rows(tmp_path / "t.parquet", fill_down=True, task="classification")
        assert found["sequence"].to_pylist() == [str(row // 7) for row in range(200_000)]
        assert found["label"].to_pylist() == ["ab"[row // 7 % 2] for row in range(200_000)]


class TestBooleans:
    def test_are_numbers_in_each_format(self, tmp_path: Path) -> None:
        columns = {"sequence": ["a", "a", "b"], "on": [True, False, True], "label": ["p", "q", "p"]}
        for path in both_kinds(tmp_path, pd.DataFrame(columns)):
            assert rows(path)["on"].to_pylist() == [1.0, 0.0, 1.0]

    def test_beside_numbers_are_refused(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", "sequence,x,label\na,1,p\na,true,q\n")
        with pytest.raises(DataError, match="line 3, column `x`: expected a number, found 'true'"):
            rows(path)


STAMPS = ["2026-01-01T00:00:00Z", "2026-01-01T00:01:30.5Z", "2026-03-29T12:00:00Z"]


class TestTimes:
    SINCE = (0.0, 90.5, 0.0)

    @pytest.mark.parametrize("parse", [False, True])
    def test_are_refused_with_the_ways_out(self, tmp_path: Path, parse: bool) -> None:
        times = pd.to_datetime(STAMPS, format="ISO8601") if parse else STAMPS
        frame = pd.DataFrame({"sequence": ["a", "a", "b"], "time": times, "x": 1.0, "label": "p"})
        for path in both_kinds(tmp_path, frame):
            with pytest.raises(DataError) as refused:
                rows(path)
            assert "column `time`: expected numbers, found" in str(refused.value)
            if parse or path.suffix == ".csv":
                assert "(data.ignore), let it travel (data.keep), or set data.time: seconds" in str(
                    refused.value
                )

    @pytest.mark.parametrize(
        "times",
        [
            STAMPS,
            [one.replace("T", " ").removesuffix("Z") for one in STAMPS],
            ["10:00:00", "10:01:30.5", "09:00:00"],
            ["31.01.2026 10:00:00.0", "31.01.2026 10:01:30.5", "01.01.2026 09:00:00.0"],
            [1767225600.0, 1767225690.5, 1767225600.0],
            [1767225600000, 1767225690500, 1767225600000],
            [1767225600000000000, 1767225690500000000, 1767225600000000000],
            [3.0, 93.5, 0.0],
            pd.to_datetime(STAMPS, format="ISO8601"),
            pd.to_datetime(STAMPS, format="ISO8601").tz_localize(None).astype("datetime64[ms]"),
            pd.to_timedelta([1, 91.5, 7], unit="s"),
        ],
        ids=str,
    )
    def test_become_seconds(self, tmp_path: Path, times: Any) -> None:
        frame = pd.DataFrame({"sequence": ["a", "a", "b"], "at": times, "label": ["p", "q", "p"]})
        delta = isinstance(times, pd.TimedeltaIndex)
        for path in both_kinds(tmp_path, frame)[1 if delta else 0 :]:
            found = rows(path, columns={"time": "at"}, time="seconds")
            assert found["at"].to_pylist() == pytest.approx(self.SINCE, abs=1e-6)

    def test_that_are_kept_may_go_back_which_is_said(self, tmp_path: Path) -> None:
        times = [*STAMPS[:2], STAMPS[0]]
        frame = pd.DataFrame(
            {"sequence": ["a"] * 3, "time": times, "x": 1.5, "label": ["p", "q", "p"]}
        )
        for path in both_kinds(tmp_path, frame):
            skipped = Skipped()
            assert rows(path, skipped, keep=["time"])["keep:time"].to_pylist() == times
            assert skipped.first == {
                "rows as they stand though `time` goes back in their sequence "
                "(sort them if it should not)": f"{path}, row 3"
            }

    def test_across_batches(self, tmp_path: Path) -> None:
        sequence = np.arange(200_000) // 150_000
        times = pd.to_datetime(np.arange(200_000), unit="s")
        table = pa.table({"sequence": sequence, "time": times, "label": sequence % 2})
        pq.write_table(table, tmp_path / "t.parquet")
        found = rows(tmp_path / "t.parquet", time="seconds")
        np.testing.assert_array_equal(found["time"].to_numpy(), np.arange(200_000) % 150_000)

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            (
                ["10:00", "09:59", "09:00"],
                "row 2, column `time`: expected times that do not go back",
            ),
            (
                ["10:00", "noon", "09:00"],
                "row 2, column `time`: expected a time such as 2026-01-31",
            ),
            (["1/2/2026", "1/3/2026", "1/4/2026"], "row 1, column `time`: expected a time such as"),
        ],
    )
    def test_that_cannot_be(self, tmp_path: Path, times: list[str], message: str) -> None:
        frame = pd.DataFrame({"sequence": ["a", "a", "b"], "time": times, "label": ["p", "q", "p"]})
        for path in both_kinds(tmp_path, frame):
            with pytest.raises(DataError) as refused:
                rows(path, time="seconds")
            assert message in str(refused.value)


class TestFilesOfAFolder:
    def test_are_sequences(self, tmp_path: Path) -> None:
        folder = tmp_path / "runs"
        folder.mkdir()
        written(folder / "b.2.csv", "x;label\n1,5;p\n2,5;q\n")
        written(folder / "a.csv", "x,label\n0.5,p\n")
        written(folder / "c.tsv.gz", __import__("gzip").compress(b"x\tlabel\n3\tq\n"))
        found = rows(folder, file="sequence")
        assert found.to_pydict() == {
            "sequence": ["a", "b.2", "b.2", "c"],
            "label": ["p", "p", "q", "q"],
            "x": [0.5, 1.5, 2.5, 3.0],
        }

    def test_are_groups(self, tmp_path: Path) -> None:
        folder = tmp_path / "speakers"
        folder.mkdir()
        written(folder / "ann.csv", "sequence,x,label\n1,0.5,p\n")
        written(folder / "bob.csv", "sequence,x,label\n2,0.5,q\n")
        assert rows(folder, file="group")["group"].to_pylist() == ["ann", "bob"]

    def test_have_no_ids_of_their_own(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", "sequence,x,label\n1,0.5,p\n")
        with pytest.raises(DataError, match="no column `sequence` where files are sequences"):
            rows(path, file="sequence")
        assert rows(path, file="sequence", ignore=["sequence"])["sequence"].to_pylist() == ["a"]
        with pytest.raises(ParamsError, match=r"no `columns\.sequence` beside `file: sequence`"):
            rows(path, file="sequence", columns={"sequence": "id"})


class TestSeam:
    @pytest.fixture
    def parts(self, tmp_path: Path) -> Path:
        folder = tmp_path / "parts"
        folder.mkdir()
        written(folder / "01.csv", "sequence,x,label\n1,0.1,a\n2,0.3,a\n")
        written(folder / "02.csv", "sequence,x,label\n2,0.5,b\n3,0.7,a\n")
        return folder

    def test_is_refused(self, parts: Path) -> None:
        with pytest.raises(DataError) as refused:
            rows(parts)
        assert str(refused.value) == (
            f"{parts}/02.csv: expected another sequence than the last one of {parts}/01.csv, found "
            "'2' in both; give each its own id, or set data.joined: true if it goes on there"
        )

    def test_is_read_where_params_say_so(self, parts: Path) -> None:
        assert rows(parts, joined=True)["sequence"].to_pylist() == ["1", "2", "2", "3"]
