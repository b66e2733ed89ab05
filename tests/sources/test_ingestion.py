"""From a `data` section to checked rows: official splits, long sequences, and files by name."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn import params
from birnn.errors import BirnnError, DataError
from birnn.files import tables
from birnn.files.reading import Skipped
from birnn.sources import ingestion

TEXT = "text,label\na b,p\nb,n\n"


def rows(skipped: Skipped | None = None, **section: Any) -> pa.Table:
    stream = ingestion.rows(params.data(section), skipped or Skipped())
    return pa.Table.from_batches(stream)


class TestOfficialSplits:
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for split in ("train", "validation", "test"):
            Path(f"{split}.csv").write_text(TEXT)
            Path(f"{split}.conllu").write_text("# sent_id = 1\n1\ta\t_\tX\n")
            Path(f"{split}.fa").write_text(f">{split}|a\nAC\n")

    @pytest.mark.parametrize("validation", [True, False])
    def test_are_a_column(self, validation: bool) -> None:
        named = ["train", *(["validation"] if validation else []), "test"]
        files: dict[str, Any] = {split: f"{split}.csv" for split in named}
        found = rows(source="text", **files)
        assert found["split"].to_pylist() == [split for split in named for _ in range(3)]
        expected = [f"{split}-{n}" for split in named for n in ("000001", "000001", "000002")]
        assert found["sequence"].to_pylist() == expected

    def test_one_path_has_none(self) -> None:
        found = rows(source="text", path="train.csv")
        assert "split" not in found.schema.names
        assert found["sequence"].to_pylist() == ["000001", "000001", "000002"]

    def test_ids_that_come_by_again_are_numbers(self) -> None:
        found = rows(source="conll", train="train.conllu", test="test.conllu")
        assert found["sequence"].to_pylist() == ["1", "test-000001"]

    def test_of_letters(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("sequence,label\ntrain|a,x\ntest|a,y\n")
        found = rows(source="fasta", train="train.fa", test="test.fa", labels="labels.csv", kmer=2)
        assert found.to_pylist() == [
            {"sequence": f"{split}|a", "split": split, "token": "AC", "label": label}
            for split, label in (("train", "x"), ("test", "y"))
        ]

    def test_a_split_column_would_contradict_them(self) -> None:
        for name in ("a.csv", "b.csv"):
            Path(name).write_text("sequence,split,x,label\ns,train,1,a\n")
        with pytest.raises(DataError, match=r"a\.csv: expected no column `split` beside data\.tra"):
            rows(source="table", task="tagging", train="a.csv", test="b.csv")

    @pytest.mark.parametrize("empty", ["train", "test"])
    def test_a_file_without_sequences(self, empty: str) -> None:
        Path(f"{empty}.csv").write_text("text,label\n")
        with pytest.raises(DataError, match=rf"{empty}\.csv: expected sequences for data\.{empty}"):
            rows(source="text", train="train.csv", test="test.csv")

    def test_a_class_without_texts(self) -> None:
        Path("a.txt").write_text("good\n")
        Path("b.txt").touch()
        with pytest.raises(DataError, match=r"b\.txt: expected texts of the class 'b', found none"):
            rows(source="text", classes={"a": "a.txt", "b": "b.txt"})

    def test_an_id_in_two_files_is_refused(self) -> None:
        for name in ("a.csv", "b.csv"):
            Path(name).write_text("sequence,x,label\ns,1,a\nt,2,b\n")
        with pytest.raises(DataError, match=r"b\.csv, row 1: sequence 's' goes on after another"):
            rows(source="table", task="tagging", train="a.csv", test="b.csv")


class TestLongSequences:
    @settings(deadline=None)
    @given(
        lengths=st.lists(st.integers(1, 6), min_size=1, max_size=8),
        size=st.integers(1, 9),
        most=st.integers(1, 6),
    )
    def test_are_cut_however_they_arrive(self, lengths: list[int], size: int, most: int) -> None:
        steps = [(name, step) for name, n in enumerate(lengths) for step in range(n)]
        batch = pa.record_batch(
            {"sequence": [str(name) for name, _ in steps], "step": [step for _, step in steps]}
        )
        parts = [batch.slice(start, size) for start in range(0, len(steps), size)]
        skipped = Skipped()
        kept = [
            (int(row["sequence"]), row["step"])
            for part in tables.cut(parts, most, skipped)
            for row in part.to_pylist()
        ]
        assert kept == [(name, step) for name, step in steps if step < most]
        assert skipped.counts.total() == len(steps) - len(kept)

    def test_are_refused_where_params_do_not_say_otherwise(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text(TEXT)
        section: dict[str, Any] = {"source": "text", "path": str(path), "max_steps": 1}
        with pytest.raises(DataError, match=r"step 2: expected up to 1 steps \(data.max_steps\)"):
            rows(**section)
        skipped = Skipped()
        assert rows(skipped, **section, longer="cut")["token"].to_pylist() == ["a", "b"]
        assert skipped.sentences() == [
            "left out: steps beyond data.max_steps, 1 in all, the first in sequence '000001'"
        ]


@pytest.mark.parametrize(
    ("name", "content", "source", "task"),
    [
        ("t.csv", "sequence,x,label\n", "table", "tagging"),
        ("t.tsv", "token\tsequence\n", "table", "tagging"),
        ("t.csv", TEXT, "text", "classification"),
        ("t.jsonl", '{"text": "a", "label": "p"}', "text", "classification"),
        ("t.conllu", "", "conll", "tagging"),
        ("t.bio", "", "conll", "tagging"),
        ("t.fna", "", "fasta", "classification"),
        ("t.npz", "", "arrays", "classification"),
        ("t.ts", "", "sktime", "classification"),
    ],
)
def test_a_file_is_known_by_its_name(
    tmp_path: Path, name: str, content: str, source: str, task: str
) -> None:
    (tmp_path / name).write_text(content)
    data = ingestion.of_file(tmp_path / name)
    assert (data.source, data.task) == (source, task)
    assert ingestion.name(data) == str(tmp_path / name)


def npz(**arrays: Any) -> bytes:
    whole = io.BytesIO()
    np.savez(whole, **arrays)
    return whole.getvalue()


STEPS = {"values": np.arange(10.0).reshape(5, 2), "lengths": np.array([2, 3])}
HEAD = b"@dimensions 2\n@classLabel true p q\n@data\n"
TEXTS = {"source": "text", "tokens": "pattern", "pattern": "[a-z]+"}
UNLABELLED: dict[str, tuple[dict[str, Any], str, bytes, bytes]] = {
    "CSV": (TEXTS, "t.csv", b"label,text\np,A bc\nq,d\n", b"text\nA bc\nd\n"),
    "another encoding": (
        {"source": "text", "encoding": "latin-1"},
        "t.csv",
        b"label,text\np,caf\xe9 noir\nq,d\n",
        b"text\ncaf\xe9 noir\nd\n",
    ),
    "columns of other names": (
        {**TEXTS, "text": "review", "label": "stars"},
        "t.tsv.gz",
        gzip.compress(b"stars\treview\n5\tA bc\n1\td\n"),
        gzip.compress(b"review\nA bc\nd\n"),
    ),
    "JSONL": (
        {"source": "text"},
        "t.jsonl",
        b'{"text": "a b", "label": 1}\n{"text": "c", "label": 2}\n',
        b'{"text": "a b"}\n{"text": "c"}\n',
    ),
    "CoNLL-U": (
        {"source": "conll"},
        "t.conllu",
        b"# sent_id = s\n1\ta\t_\tX\n2\tb\t_\tY\n\n1\tc\t_\tX\n",
        b"# sent_id = s\n1\ta\n2\tb\n\n1\tc\n",
    ),
    "columns": (
        {"source": "conll", "group": "document", "encoding": "latin-1"},
        "t.bio",
        b"-DOCSTART-\n\n\xe9 X\nb Y\n",
        b"\xe9\nb\n",
    ),
    "FASTA": (
        {"source": "fasta", "kmer": 2, "label_pattern": r"\|(\w+)$"},
        "t.fa",
        b">s|p\nACGT\n>t|q\nGG\n",
        b">s\nACGT\n>t\nGG\n",
    ),
    "series": (
        {"source": "sktime"},
        "t.ts",
        HEAD + b"1,2:3,4:p\n5:6:q\n",
        HEAD.replace(b"true p q", b"false") + b"1,2:3,4\n5:6\n",
    ),
    "arrays of tags": (
        {"source": "arrays", "task": "tagging"},
        "t.npz",
        npz(**STEPS, labels=np.arange(5)),
        npz(**STEPS),
    ),
    "arrays of classes": (
        {"source": "arrays", "task": "classification"},
        "t.npz",
        npz(**STEPS, labels=np.arange(2)),
        npz(**STEPS),
    ),
}


class TestToPredict:
    @pytest.mark.parametrize("case", UNLABELLED)
    def test_files_are_read_as_in_training(self, tmp_path: Path, case: str) -> None:
        section, name, labelled, unlabelled = UNLABELLED[case]
        path = tmp_path / name
        path.write_bytes(labelled)
        known = rows(**section, path=str(path)).drop_columns(["label"])
        features = tables.feature_names(known.schema)
        read_as = ingestion.reading(params.data({**section, "train": "a", "test": "b"}))
        path.write_bytes(unlabelled)
        found = pa.Table.from_batches(ingestion.unlabelled(path, read_as, features, Skipped()))
        columns = [column for column in known.column_names if column != "group"]
        assert found.to_pydict() == known.select(columns).to_pydict()
        path.write_bytes(labelled)
        again = pa.Table.from_batches(ingestion.unlabelled(path, read_as, features, Skipped()))
        ids = [] if section["source"] != "fasta" else ["sequence"]  # which the class is part of
        assert again.drop_columns(ids).to_pydict() == found.drop_columns(ids).to_pydict()

    def test_a_text_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "t.txt").write_text("a, b\n!\nc\n")
        skipped = Skipped()
        read_as = ingestion.reading(params.data({**TEXTS, "classes": {"p": "a", "q": "b"}}))
        (found,) = ingestion.unlabelled(tmp_path / "t.txt", read_as, [], skipped)
        assert found.to_pydict() == {
            "sequence": ["000001", "000001", "000003"],
            "token": ["a", "b", "c"],
        }
        assert skipped.counts == {"texts without a token": 1}

    @pytest.mark.parametrize("source", ["text", "table", None])
    @pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "parts"])
    def test_a_table_is_read_whatever_the_model_knows(
        self, tmp_path: Path, source: str | None, name: str
    ) -> None:
        path, frame = tmp_path / name, pd.DataFrame({"sequence": ["a", "b"], "token": ["t", "u"]})
        if name == "parts":
            path.mkdir()
            frame.to_parquet(path / "1.parquet", index=False)
        elif name.endswith("parquet"):
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False, sep="\t" if name.endswith("tsv") else ",")
        known = {"source": source} if source else {}
        found = pa.Table.from_batches(ingestion.unlabelled(path, known, [], Skipped()))
        assert found.to_pydict() == frame.to_dict("list")

    @pytest.mark.parametrize(
        ("source", "name"),
        [("text", "t.conllu"), ("text", "t.json"), ("conll", "t.csv"), ("fasta", "t.JSONL")],
    )
    def test_a_file_of_another_kind(self, tmp_path: Path, source: str, name: str) -> None:
        (tmp_path / name).write_text("a,b\n")
        with pytest.raises(DataError, match="expected a sequence table, or a file as in training"):
            list(ingestion.unlabelled(tmp_path / name, {"source": source}, [], Skipped()))

    @pytest.mark.parametrize("features", [["dim_0"], ["dim_0", "dim_1", "dim_2"]])
    def test_another_number_of_dimensions(self, tmp_path: Path, features: list[str]) -> None:
        (tmp_path / "t.ts").write_bytes(HEAD + b"1,2:3,4:p\n")
        with pytest.raises(DataError, match=rf"t\.ts: expected {len(features)} features as in tr"):
            list(ingestion.unlabelled(tmp_path / "t.ts", {"source": "sktime"}, features, Skipped()))

    def test_made_data_have_no_files(self) -> None:
        assert ingestion.reading(params.load(ROOT / "params.yaml").data) == {}


@pytest.mark.parametrize(
    "section",
    [
        {"source": "table", "task": "tagging", "path": "there.csv", "train": None},
        {"source": "conll", "train": "there.csv", "test": "absent"},
        {"source": "text", "classes": {"a": "there.csv", "b": "absent"}},
        {"source": "fasta", "path": "there.csv", "labels": "absent"},
        {"source": "sktime", "name": "absent"},
    ],
)
def test_files_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any]
) -> None:
    """They are named before anything is done; what ships inside a library is no file."""
    monkeypatch.chdir(tmp_path)
    Path("there.csv").touch()
    data = params.data(section)
    if section["source"] in ("table", "sktime"):
        ingestion.check_there(data)
        return
    with pytest.raises(DataError, match=r"^absent: no such file; put it there"):
        ingestion.check_there(data)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"source": "table", "delimiter": 3}, "data.delimiter: expected"),
        ({"source": "table", "new": 1}, "data.new: unknown key"),
        ({"source": "lists", "task": "tagging", "names": 7}, "data.names: expected"),
        ({"source": ["fasta"]}, "expected a sequence table, or a file as in training"),
    ],
)
def test_of_a_broken_model_is_one_line(tmp_path: Path, known: dict[str, object], said: str) -> None:
    """How files were read stands in the model's description, which somebody may have changed."""
    name = "a.jsonl" if known["source"] == "lists" else "a.csv"
    (tmp_path / name).write_text('{"x": [1]}' if name == "a.jsonl" else "id,x\n1,2\n")
    with pytest.raises(BirnnError) as raised:
        [*ingestion.unlabelled(tmp_path / name, known, ["x"], Skipped())]
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
