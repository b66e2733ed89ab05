"""What a user gets wrong, through the real stages: status 1, one line, nothing half-written."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from birnn.model import recurrent
from birnn.sources import fasta, text

ROOT = Path(__file__).parents[2]
TABLE = "data/external/table.csv"
Refused = Callable[..., None]
Tree = dict[str, Any]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tree(place: Path, small_params: Callable[[], Tree]) -> Tree:
    """Params that are right, also for a table, to be changed and written."""
    return small_params()


@pytest.fixture
def refused(stage: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a stage, which must end with status 1 and one line that holds the message."""

    def check(message: str, *arguments: str) -> None:
        with pytest.raises(SystemExit) as ended:
            stage(*arguments)
        assert ended.value.code == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert message in err
        assert err.count("\n") == 1

    return check


def write(tree: Tree, frame: pd.DataFrame | None = None) -> None:
    """Write params.yaml, and the table if there is one."""
    if frame is not None:
        tree["data"] = {"source": "table", "task": "tagging", "path": TABLE}
        Path(TABLE).parent.mkdir(parents=True)
        frame.to_csv(TABLE, index=False)
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def written() -> set[str]:
    """The files that stages have written or begun to."""
    folders = ("data/raw", "data/prepared", "models", "evaluation", "report")
    return {str(path) for folder in folders for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("section", "content"),
    [
        ({"source": "text", "tokens": "pattern", "pattern": "(a+)+b"}, "text,label\n%s,p\n"),
        ({"source": "fasta", "label_pattern": "(a+)+b"}, ">%s\nACGT\n"),
    ],
)
def test_a_regular_expression_that_would_never_end(
    tree: Tree,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    section: Tree,
    content: str,
) -> None:
    """In another thread than the main one it could not be ended, not even by Ctrl-C."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(text, "LEAST_SECONDS", 0.1)
    monkeypatch.setattr(fasta, "MOST_SECONDS", 0.1)
    suffix = {"text": "csv", "fasta": "fa"}[section["source"]]
    Path(f"t.{suffix}").write_text(content % ("a" * 60))
    tree["data"] = {"task": "classification", "path": f"t.{suffix}", **section}
    write(tree)
    refused("takes longer", "generate")


def table(**columns: str) -> pd.DataFrame:
    """Twelve sequences of two steps, with all three splits, two features and two labels."""
    frame = pd.DataFrame({"sequence": [f"s{number // 2:02}" for number in range(24)]})
    frame["split"] = ["train"] * 16 + ["validation"] * 4 + ["test"] * 4
    frame[["x", "y"]] = "1.5"
    frame["label"] = ["a", "b"] * 12
    return frame.assign(**columns)


def changed(column: str, row: int, value: str) -> pd.DataFrame:
    """The table with another value in one place; rows count from 1."""
    frame = table()
    frame.loc[row - 1, column] = value
    return frame


class TestParams:
    @pytest.mark.parametrize(
        ("section", "key", "value", "message"),
        [
            ("train", "learning_rat", 0.1, "train.learning_rat: unknown key; did you mean learn"),
            ("train", "learning_rate", "1e-3", "(YAML needs 0.001 here)"),
            ("train", "max_epochs", 2.5, "train.max_epochs: expected a valid integer"),
            ("train", "patience", 0, "train.patience: expected greater than or equal to 1"),
            ("model", "cell", "LSMT", "model.cell: expected 'RNN', 'GRU' or 'LSTM', found 'LSMT'"),
            ("data", "source", "hmmm", "data.source: expected one of 'hmm', 'table', 'lists'"),
            ("data", "max_steps", 2, "expected min_steps up to max_steps"),
        ],
    )
    def test_that_are_wrong(
        self, tree: Tree, refused: Refused, section: str, key: str, value: object, message: str
    ) -> None:
        tree[section][key] = value
        write(tree)
        refused(message, "generate")
        assert not written()

    @pytest.mark.parametrize("text", ["a: [", "", "- a", "\xff\xfe"])
    def test_that_are_no_params(self, place: Path, refused: Refused, text: str) -> None:
        Path("params.yaml").write_text(text, encoding="latin-1")
        refused("params.yaml: ", "generate")
        assert not written()

    def test_that_are_missing_in_a_process_of_its_own(self, place: Path) -> None:
        command = [sys.executable, "-m", "stages.generate"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        message = "error: params.yaml: no such file; copy one from examples/\n"
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", message)


class TestTable:
    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            (table().drop(columns="label"), "expected a column `label`, found sequence, split"),
            (table().drop(columns="sequence"), "expected a column `sequence`, found split"),
            (table().drop(columns=["x", "y"]), "expected `token` or at least one feature column"),
            (table(city="Bern"), "column `city`"),
            (table().iloc[:0], "table.csv: expected rows, found none"),
            (changed("y", 24, "inf"), "row 24, column `y`: expected a finite number, found inf"),
            (changed("y", 2, "one"), "line 3"),
            (changed("sequence", 5, ""), "row 5, column `sequence`: value missing"),
            (changed("sequence", 5, "s00"), "row 5: sequence 's00' goes on after another"),
            (changed("split", 4, "test"), "row 4, column `split`: expected 'train' on every row"),
            (table(split="other"), "row 1, column `split`: expected train, validation, test"),
            (table(label="a"), "column `label`: expected two classes or more, found only 'a'"),
        ],
    )
    def test_that_is_wrong(
        self, tree: Tree, refused: Refused, frame: pd.DataFrame, message: str
    ) -> None:
        write(tree, frame)
        refused(message, "generate")
        assert not written()

    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            (
                table().query("split != 'train'"),
                "prepare.split: expected sequences to train on, found none of",
            ),
            (
                table().query("split != 'test'"),
                "prepare.split: expected sequences to test on, found none of",
            ),
        ],
    )
    def test_that_cannot_be_split(
        self,
        tree: Tree,
        stage: Callable[..., None],
        refused: Refused,
        frame: pd.DataFrame,
        message: str,
    ) -> None:
        write(tree, frame)
        stage("generate")
        refused(message, "prepare")
        assert not [path for path in written() if "partial" in path]
        assert "data/prepared/encoding.json" not in written()  # which comes when all is well

    def test_that_is_missing(self, tree: Tree, refused: Refused) -> None:
        write(tree, table())
        Path(TABLE).unlink()
        refused(f"{TABLE}: no such file; put it there, or correct the path", "generate")
        assert not written()


class TestSources:
    """Each source's own kind of fault, and what is not one but is reported."""

    @pytest.mark.parametrize(
        ("data", "content", "message"),
        [
            (
                {"source": "text", "path": "x.csv"},
                b"text,label\na,p\ncaf\xe9,p\n",
                "x.csv, line 3: expected text in utf-8, found invalid continuation byte",
            ),
            (
                {"source": "conll", "path": "x.conllu"},
                b"1\ta\t_\tX\n2\tb\tY\n",
                "x.conllu, line 2: expected 4 columns between tabs, found 3",
            ),
            (
                {"source": "conll", "path": "x.conllu.gz"},
                gzip.compress(b"1\ta\t_\tX\n", mtime=0)[:-5],
                "x.conllu.gz: expected gzip, found: Compressed file ended before",
            ),
            (
                {"source": "fasta", "path": "x.fa"},
                b">s|a\nAC\n>s|b\nAC\n",
                "x.fa, line 3: expected another id than that of the record before",
            ),
            (
                {"source": "arrays", "path": "x.npz", "task": "tagging"},
                b"values",
                "x.npz: expected .npz, found: File is not a zip file",
            ),
            (
                {"source": "table", "path": "x.parquet", "task": "tagging"},
                b"PAR1 but not really",
                "x.parquet: expected parquet, found: Parquet",
            ),
            (
                {"source": "conll", "path": "x.conll", "max_steps": 2},
                b"a X\nb Y\nc X\n",
                "x.conll, step 3: expected up to 2 steps (data.max_steps) in sequence '000001'",
            ),
            (
                {"source": "text", "train": "x.csv", "test": "y.csv"},
                b"text,label\na,p\nb,n\n",
                "y.csv: no such file; put it there, or correct the path",
            ),
        ],
    )
    def test_in_one_line(
        self, tree: Tree, refused: Refused, data: Tree, content: bytes, message: str
    ) -> None:
        Path(data.get("path", "x.csv")).write_bytes(content)
        tree["data"] = data
        write(tree)
        refused(message, "generate")
        assert not written()

    def test_what_is_left_out_and_what_contradicts_itself(
        self, tree: Tree, stage: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("n.txt").write_text("bad\n\nso so\n")
        Path("p.txt").write_text("good\nso so\n")
        tree["data"] = {"source": "text", "classes": {"n": "n.txt", "p": "p.txt"}}
        write(tree)
        stage("generate")
        left_out, rare, contradicting = capsys.readouterr().err.splitlines()
        assert rare.startswith("labels in fewer sequences than there are splits: 'n' (2), 'p' (2)")
        assert [left_out, contradicting] == [
            "left out: texts without a token, 1 in all, the first in n.txt, line 2",
            "identical to an earlier sequence, but with other labels: 1, such as 'n-000003' (n) "
            "and 'p-000002' (p)",
        ]
        summary = json.loads(Path("data/raw/summary.json").read_text())
        assert summary["left_out"] == {"texts without a token": 1}
        assert (summary["duplicates"], summary["conflicts"]) == (1, 1)


class TestTraining:
    def test_on_a_device_that_is_not_there(self, tree: Tree, refused: Refused) -> None:
        absent = "mps" if torch.cuda.is_available() else "cuda"
        tree["train"]["device"] = absent
        write(tree)
        message = f"train.device: expected a machine with {absent}, found none here; use auto or"
        refused(message, "train", "forward")
        assert not written()

    def test_in_a_precision_that_is_not_there(
        self, tree: Tree, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recurrent, "cpu_has_bf16", lambda: False)
        tree["train"] |= {"device": "cpu", "precision": "bf16"}
        write(tree)
        refused(
            "train.precision: expected a device with bf16, found cpu without; use auto or fp32",
            "train",
            "forward",
        )
        assert not Path("models").exists()

    def test_of_a_model_that_is_not_described(self, tree: Tree, refused: Refused) -> None:
        write(tree)
        message = "models: expected one of bidirectional, forward, found 'sideways'"
        refused(message, "train", "sideways")


@pytest.mark.parametrize("command", ["prepare", "train forward", "evaluate forward", "report"])
def test_stage_before_those_that_it_needs(tree: Tree, refused: Refused, command: str) -> None:
    write(tree)
    refused("no such file; run `dvc repro`", *command.split())
    assert not written()
