"""A folder for each class, a file for each sequence in it: `walking/001.csv`, `pos/1.txt`."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from birnn import params
from birnn.errors import DataError, ParamsError
from birnn.files.reading import Skipped
from birnn.sources import guesses, ingestion

Tree = dict[str, Any]
SERIES = {"walking/001": [1.0, 2.5], "walking/002": [3.0], "running/001": [4.0, 5.0]}
TEXTS = {"pos/0_9": "a good\nfilm", "pos/1_8": "fine .", "neg/0_9": "bad , bad"}


def lay(folder: Path, ending: str, contents: dict[str, Any]) -> Path:
    for name, content in contents.items():
        path = folder / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            data = content.encode("utf-8") if "é" not in content else content.encode("cp1252")
            path.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
        else:
            frame = content if isinstance(content, pd.DataFrame) else pd.DataFrame({"x": content})
            if ending == ".parquet":
                frame.to_parquet(path, index=False)
            else:
                frame.to_csv(path, index=False)
    return folder


def guessed(path: Path, task: str | None = None) -> tuple[Tree, list[str]]:
    skipped = Skipped()
    section = guesses.of(path, task, skipped).section
    said = [line.replace(str(path), "") for line in skipped.sentences()]
    return {key: value for key, value in section.items() if key not in SPLITS}, said


SPLITS = ("path", "train", "validation", "test")


def read(path: Path, skipped: Skipped | None = None) -> pa.Table:
    section = guesses.of(path).section
    return of_section(section, skipped)


def of_section(section: Tree, skipped: Skipped | None = None) -> pa.Table:
    rows = ingestion.rows(params.data(section), skipped or Skipped())
    return pa.Table.from_batches(rows)


def ids(found: pa.Table) -> dict[str, str]:
    """The label of each sequence."""
    return dict(zip(found["sequence"].to_pylist(), found["label"].to_pylist(), strict=True))


class TestTables:
    @pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
    def test_labels_are_names_of_folders(self, tmp_path: Path, ending: str) -> None:
        lay(tmp_path, ending, SERIES)
        section, said = guessed(tmp_path)
        assert section == {
            "source": "table",
            "task": "classification",
            "file": "sequence",
            "folders": "label",
        }
        assert said == [
            "read: names of folders as labels ('running', 'walking'), 2 in all, the first in "
        ]
        found = read(tmp_path)
        expected = {name: name.split("/")[0] for name in sorted(SERIES)}
        assert ids(found) == expected
        assert found["x"].to_pylist() == [4.0, 5.0, 1.0, 2.5, 3.0]

    def test_with_splits_above(self, tmp_path: Path) -> None:
        """Numbers begin anew in each split, and in each class."""
        for split in ("train", "test"):
            lay(tmp_path / split, ".csv", SERIES)
        found = read(tmp_path)
        expected = [f"{split}-{name}" for split in ("train", "test") for name in sorted(SERIES)]
        assert [*ids(found)] == expected
        assert found["split"].to_pylist() == ["train"] * 5 + ["test"] * 5
        assert guessed(tmp_path)[0]["folders"] == "label"

    def test_files_of_two_splits_may_have_one_name(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"x": [1.0, 2], "label": ["p", "q"]})
        lay(tmp_path, ".csv", dict.fromkeys(("train/1", "train/2", "test/2", "test/3"), frame))
        skipped = Skipped()
        found = read(tmp_path, skipped)
        assert found["sequence"].to_pylist()[::2] == ["1", "2", "test-2", "3"]
        assert found["split"].to_pylist()[::2] == ["train", "train", "test", "test"]
        what = "names of files that another split has, with the split before them"
        assert skipped.changed == {what: 1}
        assert skipped.first[what] == f"{tmp_path}/test/2.csv"

    def test_files_with_a_label_column_stand_in_folders_of_groups(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"x": [1.0, 2, 3], "label": ["p", "q", "p"]})
        lay(tmp_path, ".csv", {"ann/1": frame, "ann/2": frame, "bob/1": frame})
        section, said = guessed(tmp_path)
        assert section == {
            "source": "table",
            "task": "tagging",
            "file": "sequence",
            "folders": "group",
        }
        assert said[0].startswith("read: names of folders as groups ('ann', 'bob'), 2 in all")
        found = read(tmp_path)
        assert dict(
            zip(found["sequence"].to_pylist(), found["group"].to_pylist(), strict=True)
        ) == {
            "ann/1": "ann",
            "ann/2": "ann",
            "bob/1": "bob",
        }
        assert found["label"].to_pylist() == ["p", "q", "p"] * 3

    def test_a_label_column_that_repeats_the_folder(self, tmp_path: Path) -> None:
        """Folders of classes as groups would put each class into one split."""
        frames = {
            name: pd.DataFrame({"x": values, "activity": name.split("/")[0]})
            for name, values in SERIES.items()
        }
        section, _ = guessed(lay(tmp_path, ".csv", frames))
        assert (section["folders"], section["ignore"]) == ("label", ["activity"])
        assert ids(read(tmp_path)) == {name: name.split("/")[0] for name in sorted(SERIES)}

    def test_several_sequences_a_file(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"sequence": ["1", "1", "2"], "x": [1.0, 2, 3]})
        lay(tmp_path, ".csv", {"walking/a": frame, "running/a": frame})
        assert guessed(tmp_path)[0] == {
            "source": "table",
            "task": "classification",
            "folders": "label",
        }
        assert [*ids(read(tmp_path))] == ["running/1", "running/2", "walking/1", "walking/2"]

    def test_files_beside_the_folders_are_left_out_and_said(self, tmp_path: Path) -> None:
        lay(tmp_path, ".csv", SERIES)
        (tmp_path / "mapping.csv").write_text("a,b\n1,2\n")
        skipped = Skipped()
        assert len(read(tmp_path, skipped)) == 5
        assert skipped.counts == {"files beside folders whose names are labels (mapping.csv)": 1}

    def test_a_file_to_predict(self, tmp_path: Path) -> None:
        """It lies anywhere, and its folder is no label."""
        section = guesses.of(lay(tmp_path / "data", ".csv", SERIES)).section
        known = ingestion.reading(params.data(section))
        lay(tmp_path, ".csv", {"new/7": [1.0, 2.0], "more/b/8": [3.0]})
        for path, expected in {"new/7.csv": ["7", "7"], "new": ["7", "7"], "more": ["b/8"]}.items():
            rows = ingestion.unlabelled(tmp_path / path, known, ["x"], Skipped())
            found = pa.Table.from_batches(rows)
            assert found["sequence"].to_pylist() == expected
            assert "label" not in found.schema.names

    def test_folders_in_them_are_refused(self, tmp_path: Path) -> None:
        lay(tmp_path, ".csv", SERIES | {"walking/more/003": [1.0]})
        section = {"source": "table", "task": "classification", "path": str(tmp_path)}
        section |= {"file": "sequence", "folders": "label"}
        with pytest.raises(DataError, match="walking/more: expected a name that ends in"):
            of_section(section)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"task": "tagging"}, "expected `task: classification` with `folders: label`"),
            ({"columns": {"label": "y"}}, "expected no `columns.label` beside `folders: label`"),
        ],
    )
    def test_what_does_not_go_with_it(self, wrong: Tree, message: str) -> None:
        section = {"source": "table", "task": "classification", "path": "p", "folders": "label"}
        with pytest.raises(ParamsError, match=message):
            params.data(section | wrong)


class TestTexts:
    @pytest.mark.parametrize("ending", [".txt", ".txt.gz", ""])
    def test_labels_are_names_of_folders(self, tmp_path: Path, ending: str) -> None:
        lay(tmp_path, ending, TEXTS)
        section, said = guessed(tmp_path)
        assert section == {"source": "text", "folders": "label"}
        assert said == ["read: names of folders as labels ('neg', 'pos'), 2 in all, the first in "]
        found = read(tmp_path)
        assert ids(found) == {"neg/0_9": "neg", "pos/0_9": "pos", "pos/1_8": "pos"}
        assert found["token"].to_pylist() == ["bad", ",", "bad", "a", "good", "film", "fine", "."]

    def test_as_of_imdb(self, tmp_path: Path) -> None:
        """Splits above, texts without a label, and files of other kinds beside."""
        for split in ("train", "test"):
            lay(tmp_path / split, ".txt", TEXTS)
            lay(tmp_path / split, "", {"labeledBow.feat": "9 0:9"})
        lay(tmp_path, "", {"train/unsup/0_0.txt": "so so", "imdb.vocab": "the", "README": "x"})
        section, said = guessed(tmp_path)
        assert section == {"source": "text", "folders": "label", "unlabelled": ["unsup"]}
        assert any("'neg', 'pos', 'unsup'" in one for one in said)
        found = read(tmp_path)
        labels = {name: name.split("/")[0] for name in sorted(TEXTS)}
        expected: dict[str, str | None] = {f"train-{one}": is_ for one, is_ in labels.items()}
        expected["train-unsup/0_0"] = None
        expected |= {f"test-{one}": is_ for one, is_ in labels.items()}
        assert ids(found) == expected
        assert set(found["split"].to_pylist()) == {"train", "test"}

    def test_in_another_encoding(self, tmp_path: Path) -> None:
        lay(tmp_path, "", TEXTS | {"pos/2": "café"})
        assert guessed(tmp_path)[0]["encoding"] == "cp1252"
        assert "café" in read(tmp_path)["token"].to_pylist()

    def test_an_empty_text_is_said(self, tmp_path: Path) -> None:
        lay(tmp_path, ".txt", TEXTS | {"pos/2": " \n"})
        skipped = Skipped()
        assert "pos/2" not in ids(read(tmp_path, skipped))
        assert skipped.counts == {"texts without a token": 1}
        assert skipped.first["texts without a token"] == f"{tmp_path}/pos/2.txt, line 1"

    def test_a_file_to_predict_is_one_text(self, tmp_path: Path) -> None:
        section = guesses.of(lay(tmp_path / "data", ".txt", TEXTS)).section
        known = ingestion.reading(params.data(section))
        (tmp_path / "new.txt").write_text("one\ntwo\n")
        found = pa.Table.from_batches(
            ingestion.unlabelled(tmp_path / "new.txt", known, [], Skipped())
        )
        assert found.to_pydict() == {"sequence": ["new", "new"], "token": ["one", "two"]}

    def test_many_texts_come_in_few_batches(self, tmp_path: Path) -> None:
        lay(tmp_path, ".txt", {f"{'pn'[n % 2]}/{n}": f"text {n}" for n in range(300)})
        batches = [*ingestion.rows(params.data(guesses.of(tmp_path).section), Skipped())]
        assert len(batches) <= 2
        assert sum(batch.num_rows for batch in batches) == 600


def test_folders_of_several_data_sets_are_told_apart(tmp_path: Path) -> None:
    """As a repository has one of each language, with splits in it."""
    text = "sequence,x,label\na,1,p\nb,2,q\n"
    lay(tmp_path, ".csv", {f"{name}/{split}": text for name in "ab" for split in ("train", "test")})
    with pytest.raises(DataError, match="found splits in a and in b; choose one of them"):
        guesses.of(tmp_path)
