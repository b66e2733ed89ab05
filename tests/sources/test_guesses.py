"""What files of many kinds are taken for, and that what is guessed can be read."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birnn import cli, params
from birnn.errors import DataError
from birnn.files.reading import Skipped
from birnn.sources import guesses, ingestion

Tree = dict[str, Any]


def guessed(path: Path) -> Tree:
    """The section without its paths, once it has been seen to read the file."""
    section = guesses.of(path).section
    assert pa.Table.from_batches(ingestion.rows(params.data(section), Skipped())).num_rows
    return {
        key: value
        for key, value in section.items()
        if key not in ("path", "train", "validation", "test")
    }


TABLE: Tree = {"source": "table", "task": "tagging"}
FASTA: Tree = {"source": "fasta"}
CASES: dict[str, tuple[str, str | bytes, Tree]] = {
    "the sequence table": ("t.csv", "sequence,x,label\na,1,p\na,2,q\nb,3,p\n", TABLE),
    "one label a sequence": (
        "t.csv",
        "sequence,x,label\na,1,p\na,2,p\nb,3,q\nb,4,q\n",
        TABLE | {"task": "classification"},
    ),
    "a German export": (
        "t.csv",
        "Seriennr;Zeit;Druck;Zustand\n7;10:00;1,25;an\n7;10:01;1,5;aus\n8;10:00;1,0;aus\n".encode(
            "cp1252"
        ),
        TABLE
        | {
            "columns": {"sequence": "Seriennr", "label": "Zustand"},
            "decimal": ",",
            "keep": ["Zeit"],
        },
    ),
    "names that say nothing": (
        "t.csv",
        "nr,a,b,c\n1,0.5,7,up\n1,0.5,8,down\n2,0.5,7,up\n2,1.5,9,down\n",
        TABLE | {"columns": {"sequence": "nr", "label": "c"}},
    ),
    "words with the names of sentences once": (
        "ner.csv",
        'Sentence #,Word,POS,Tag\nSentence: 1,Zürich,N,B\n,is,V,O\nSentence: 2,"""",``,O\n'.encode(
            "latin-1"
        ),
        TABLE
        | {
            "columns": {"sequence": "Sentence #", "label": "Tag", "token": "Word"},
            "fill_down": True,
            "keep": ["POS"],
        },
    ),
    "speakers, splits and row numbers": (
        "t.csv",
        "row,recording,speaker,split,x,label\n1,a,ann,train,1,p\n2,a,ann,train,2,q\n"
        "3,b,bob,test,3,p\n",
        TABLE | {"columns": {"sequence": "recording", "group": "speaker"}, "ignore": ["row"]},
    ),
    "ids of rows are none of sequences": (
        "t.csv",
        "id,session,x,label\n11,a,1,p\n13,a,2,q\n12,b,3,p\n",
        TABLE | {"columns": {"sequence": "session"}},
    ),
    "seconds since 1970": (
        "t.csv",
        "sequence,time,x,label\na,1767225600,1,p\na,1767225660,2,q\nb,1767225600,3,p\n",
        TABLE | {"keep": ["time"]},
    ),
    "texts": ("t.csv", "id,text,label\n1,a b,p\n2,b,q\n", {"source": "text"}),
    "texts under other names": (
        "t.csv",
        "review,sentiment\na film that I liked,good\nnot a film that I liked,bad\nno it was,bad\n",
        {"source": "text", "text": "review", "label": "sentiment"},
    ),
    "texts in JSON": (
        "t.jsonl",
        '{"review": "a film that I liked", "class": "p"}\n{"review": "b c d e", "class": "q"}\n',
        {"source": "text", "text": "review", "label": "class"},
    ),
    "tokens": (
        "t.jsonl",
        '{"id": 1, "tokens": ["a", "b"], "pos_tags": [1, 2], "ner_tags": [0, 1]}\n',
        {
            "source": "lists",
            "task": "tagging",
            "columns": {"sequence": "id", "label": "ner_tags", "token": "tokens"},
            "keep": ["pos_tags"],
        },
    ),
    "series": (
        "t.json",
        '[{"ecg": [0.5, 1], "patient": 1, "class": "p"}, {"ecg": [1], "patient": 2, "class": "q"}]',
        {
            "source": "lists",
            "task": "classification",
            "columns": {"label": "class", "group": "patient"},
        },
    ),
    "Latin-1 in columns": (
        "train.conll",
        "Garçon NN B-NP\nin IN B-PP\n\n".encode("latin-1"),
        {"source": "conll", "encoding": "cp1252"},
    ),
    "Latin-1 in texts": (
        "t.csv",
        "text;label\ncafé noir;p\nthé;q\n".encode("latin-1"),
        {"source": "text", "encoding": "cp1252"},
    ),
    "classes with a name before them": (
        "t.fa",
        ">s1 class=gene len=4 from=human\nACGT\n>s2 class=junk len=2 from=mouse\nAC\n",
        {"source": "fasta", "label_pattern": r"\bclass=([^\s|;,]+)"},
    ),
    "classes at the ends of headers": ("t.fa", ">s1|len=4|p\nACGT\n>s2|len=2|q\nAC\n", FASTA),
    "columns without an ending": (
        "train.txt",
        "Confidence NN B-NP\nin IN B-PP\n\nIt PRP B-NP\n\n",
        {"source": "conll", "format": "columns"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file(tmp_path: Path, case: str) -> None:
    name, content, expected = CASES[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert guessed(path) == expected


@pytest.mark.parametrize("case", [case for case, one in CASES.items() if one[0] == "t.csv"])
def test_csv_and_parquet_are_taken_for_the_same(tmp_path: Path, case: str) -> None:
    _, content, expected = CASES[case]
    if expected["source"] != "table" or isinstance(content, bytes):
        return
    (tmp_path / "t.csv").write_text(content)
    pd.read_csv(tmp_path / "t.csv").to_parquet(tmp_path / "t.parquet", index=False)
    assert guessed(tmp_path / "t.parquet") == expected


def test_class_names_of_hugging_face(tmp_path: Path) -> None:
    rows = pa.table({"tokens": [["a", "b"], ["c"]], "ner_tags": [[0, 1], [1]]})
    noted = (
        '{"info": {"features": {"ner_tags": {"feature": {"names": ["O", "B-PER"], '
        '"_type": "ClassLabel"}, "_type": "List"}}}}'
    )
    pq.write_table(rows.replace_schema_metadata({"huggingface": noted}), tmp_path / "t.parquet")
    assert guessed(tmp_path / "t.parquet")["names"] == ["O", "B-PER"]


def folder(path: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return path


LINES = '{"tokens": ["a", "b"], "tags": ["p", "q"]}\n'


class TestFolders:
    def test_a_file_for_each_split(self, tmp_path: Path) -> None:
        files = {f"{name}.jsonl": LINES for name in ("train", "dev", "test")}
        section = guesses.of(folder(tmp_path, files | {"README.md": "x"})).section
        assert section == {
            "source": "lists",
            "task": "tagging",
            "train": f"{tmp_path}/train.jsonl",
            "validation": f"{tmp_path}/dev.jsonl",
            "test": f"{tmp_path}/test.jsonl",
            "columns": {"label": "tags", "token": "tokens"},
        }

    def test_a_folder_for_each_split(self, tmp_path: Path) -> None:
        names = ("train/1.jsonl", "train/2.jsonl", "test/1.jsonl")
        section = guesses.of(folder(tmp_path, dict.fromkeys(names, LINES))).section
        assert (section["train"], section["test"]) == (f"{tmp_path}/train", f"{tmp_path}/test")

    def test_splits_that_are_mixed(self, tmp_path: Path) -> None:
        names = ("train-0.jsonl", "train-1.jsonl", "test-0.jsonl")
        with pytest.raises(DataError, match="a file or folder for each split, found train-0"):
            guesses.of(folder(tmp_path, dict.fromkeys(names, LINES)))

    @pytest.mark.parametrize(("label", "task"), [("pp", "classification"), ("pq", "tagging")])
    def test_a_file_for_each_sequence(self, tmp_path: Path, label: str, task: str) -> None:
        text = f"x;label\n1;{label[0]}\n2;{label[1]}\n"
        found = guessed(folder(tmp_path, {"a.csv": text, "b.csv": text}))
        assert found == {"source": "table", "task": task, "file": "sequence"}

    def test_parts_of_a_table(self, tmp_path: Path) -> None:
        files = {f"{n}.csv": f"sequence,x,label\ns{n},1,p\ns{n},2,q\n" for n in range(3)}
        assert guessed(folder(tmp_path, files)) == TABLE

    def test_an_empty_one(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="expected files in it, found an empty folder"):
            guesses.of(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", "PK", "open the spreadsheet and save the sheet as CSV"),
        (
            "t.csv",
            "a,b\n1,2\n",
            "expected a column `sequence` (a table of steps) or `text`",
        ),
        (
            "t.txt",
            "It rains.\nAda sleeps here.\n",
            "expected a name that ends in .csv, .tsv",
        ),
        ("t.csv", "sequence;x;label\na;1,250;p\na;2,000;q\n", "read in one way, found '1,250'"),
        ("t.jsonl", '{"tokens": ["a"]}\n', "expected a column `label`, found tokens; name it in"),
        (
            "t.tsv",
            '"sentences\ttoken\tlabel\na\tx\tp\na\ty\tq\n\nb\tz\tp\n',
            ", line 1: expected a quoted field to end before the next",
        ),
    ],
)
def test_what_cannot_be_told(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as refused:
        guesses.of(tmp_path / name)
    assert message in str(refused.value)


def test_slices_are_kept_columns_of_a_few_values(tmp_path: Path) -> None:
    rows = np.arange(300)
    frame = pd.DataFrame(
        {
            "sequence": rows // 10,
            "note": [f"n{row}" for row in rows],
            "age": np.array(["young", "old"])[rows // 10 % 2],
            "x": rows % 7 / 3,
            "label": np.array(["p", "q"])[rows % 2],
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = guesses.of(tmp_path / "t.csv")
    assert found.section["keep"] == ["note", "age"]
    assert found.slices == ["age"]


def test_what_stands_for_a_missing_number_makes_no_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sequence,x,y,label\na,0.1,1.0,NA\na,,1.5,b\nb,0.2,NA,NA\nb,0.7,0.3,b\n")
    assert guesses.of(path).section == {"source": "table", "task": "tagging", "path": str(path)}


ODD = {
    "one.csv": ("wer,wert,was\n" + "".join(f"k{n},{n / 7},{'pq'[n % 2]}\n" for n in range(12))),
    "list.jsonl": '{"wort": ["a", "b"], "art": ["p", "q"]}\n' * 4,
    "label.csv": "sequence,x,was\n" + "".join(f"k{n // 3},1,{n % 12 / 3}\n" for n in range(90)),
}
OWN: dict[str, dict[str, Any]] = {
    "one.csv": {"source": "table", "columns": {"sequence": "wer", "label": "was"}},
    "list.jsonl": {"source": "lists", "columns": {"token": "wort", "label": "art"}},
    "label.csv": {"source": "table", "columns": {"label": "was"}},
}


def test_a_quote_before_the_first_word_is_a_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('"It\tPRP\nrains\tVBZ\n\n"No\tUH\n\n')
    assert guessed(tmp_path / "t.tsv") == {"source": "conll", "format": "columns"}


@pytest.mark.parametrize("name", ODD)
def test_names_of_which_nothing_can_be_guessed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `birnn check` advises then is what lets it read the file."""
    path = tmp_path / name
    path.write_text(ODD[name], encoding="utf-8")
    assert "data.columns" in checked(path, monkeypatch, capsys)
    data = {**OWN[name], "task": "tagging", "path": str(path)}
    tree = {"problem": "p", "models": {"m": {}}, "data": data}
    (tmp_path / "params.yaml").write_text(json.dumps(tree), encoding="utf-8")  # JSON is YAML
    assert "error" not in checked(tmp_path / "params.yaml", monkeypatch, capsys)


def checked(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints for people: its error, or nothing but lines on standard output."""
    monkeypatch.setattr(sys, "argv", ["birnn", "check", str(path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    found = capsys.readouterr()
    assert bool(ended.value.code) == found.err.startswith("error: ")
    return found.err
