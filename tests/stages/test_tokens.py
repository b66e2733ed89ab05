"""Tokens, folds, frames and vectors through the real stages: from params.yaml to predictions."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from birnn import cli
from birnn.data import encoding, sequences, vectors
from birnn.files import atomic, listing
from birnn.model import saved_model

Stage = Callable[..., None]
Tree = dict[str, Any]
TABLE, VECTORS = "data/external/table.csv", "data/external/vectors.txt"
WORDS = ["the", "bank", "floats", "lends", "NA", "Zürich"]
LETTERS = {"characters": True, "character_size": 4, "character_hidden_size": 3}


def table(*, tagging: bool, columns: list[str]) -> pd.DataFrame:
    """120 sequences of words and a feature; the label says what the next word is, or the first."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 120)
    words = np.array(WORDS)[rng.integers(len(WORDS), size=lengths.sum())]
    frame = pd.DataFrame({"sequence": np.repeat([f"s{n}" for n in range(120)], lengths)})
    frame["token"] = words
    frame["x"] = rng.normal(3, 9, len(frame))
    nexts = frame.groupby("sequence", sort=False)["token"].shift(-1)
    first = frame.groupby("sequence", sort=False)["token"].transform("first")
    frame["label"] = np.where((nexts if tagging else first) == "bank", "yes", "no")
    return frame[["sequence", *columns, "label"]]


@pytest.fixture
def tree(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch, small_params: Callable[[], Tree]
) -> Tree:
    """Params for the table, in a working directory of its own."""
    monkeypatch.chdir(runs_root)
    Path("data/external").mkdir(parents=True)
    tree = small_params()
    tree["train"] |= {"max_epochs": 2}
    return tree


def run(tree: Tree, stage: Stage, frame: pd.DataFrame, *stages: tuple[str, ...]) -> None:
    """Write the table and params.yaml, and run stages."""
    task = "tagging" if tree.get("task", "tagging") == "tagging" else "classification"
    tree.pop("task", None)
    tree["data"] = {"source": "table", "task": task, "path": TABLE}
    frame.to_csv(TABLE, index=False)
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    for arguments in stages:
        stage(*arguments)


def prepared(split: str) -> sequences.Sequences:
    return sequences.read(f"data/prepared/{split}.arrow")


@pytest.mark.parametrize("task", ["tagging", "classification"])
def test_from_words_to_predictions(
    tree: Tree, stage: Stage, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    tree["task"] = task
    tree["prepare"] |= {"min_count": 2, "scale": "asinh"}
    head = {} if task == "tagging" else {"head": "all"}
    tree["model"] |= LETTERS | head | {"word_dropout": 0.2, "input_dropout": 0.1}
    frame = table(tagging=task == "tagging", columns=["token", "x"])
    run(tree, stage, frame, ("generate",), ("prepare",), ("train", "bidirectional"))
    stage("evaluate", "bidirectional")
    assert atomic.read_json("evaluation/bidirectional/metrics.json")["accuracy"] > 0
    new = pd.DataFrame({"sequence": ["a", "a", "b"], "token": ["bank", "new", "Ω"], "x": [1, 2, 3]})
    new.to_csv("new.csv", index=False)
    monkeypatch.setattr(
        sys, "argv", ["birnn", "predict", "new.csv", "--model", "models/bidirectional"]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


def test_texts_are_predicted_as_they_were_trained_on(
    tree: Tree, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = pd.DataFrame({"review": ["Good, good!", "bad... so bad"] * 30, "stars": [5, 1] * 30})
    texts.to_csv(TABLE, index=False)
    knobs = {"text": "review", "label": "stars", "tokens": "pattern", "pattern": r"\w+"}
    tree["data"] = {"source": "text", "path": TABLE, **knobs}
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    for arguments in (("generate",), ("prepare",), ("train", "forward")):
        stage(*arguments)
    Path("new.txt").write_text("so good?\nbad!\n", encoding="utf-8")
    Path("new.csv").write_text("review\nso good?\nbad!\n", encoding="utf-8")
    words = pd.DataFrame({"sequence": ["000001"] * 2 + ["000002"], "token": ["so", "good", "bad"]})
    words.to_parquet("new.parquet", index=False)
    Path("params.yaml").unlink()
    predicted = []
    for name in ("new.txt", "new.csv", "new.parquet"):
        monkeypatch.setattr(
            sys,
            "argv",
            ["birnn", "predict", name, "--model", "models/forward", "--output", "p.csv"],
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        predicted.append(Path("p.csv").read_text(encoding="utf-8"))
    assert len(set(predicted)) == 1
    assert predicted[0].startswith('"sequence","predicted","probability_1","probability_5"\n')


def test_vectors_start_the_embedding(tree: Tree, stage: Stage) -> None:
    Path(VECTORS).write_text("bank 1 2 3\nabsent 4 5 6\nZürich 7 8 9\n", encoding="utf-8")
    tree["prepare"]["vectors"] = VECTORS
    tree["train"] |= {"learning_rate": 1e-12, "max_epochs": 1}
    frame = table(tagging=True, columns=["token"])
    run(tree, stage, frame, ("generate",), ("prepare",), ("train", "forward"))
    network, fitted, _ = saved_model.load("models/forward")
    assert network.architecture.embedding_size == 3
    assert fitted.vocabulary is not None
    assert network.embedding is not None
    for word, expected in {"bank": [1, 2, 3], "Zürich": [7, 8, 9]}.items():
        row = network.embedding.weight[fitted.vocabulary.index(word) + 1]
        np.testing.assert_allclose(row.detach(), expected, rtol=1e-6)


def test_vectors_in_a_bucket_are_those_of_the_list(
    tree: Tree, stage: Stage, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put_object(Key="tokens/v.txt", Body=b"bank 1 2 3\n")
    listing.write(["s3://runs/tokens/v.txt"])
    tree["prepare"]["vectors"] = "s3://runs/tokens/v.txt"
    run(tree, stage, table(tagging=True, columns=["token"]), ("generate",), ("prepare",))
    assert vectors.load("data/prepared/vectors.safetensors").values.tolist() == [[1, 2, 3]]
    capsys.readouterr()
    bucket.put_object(Key="tokens/v.txt", Body=b"bank 1 2 4\n")
    with pytest.raises(SystemExit):
        stage("prepare")
    assert "objects.csv: expected the files as they are in s3://runs/" in capsys.readouterr().err


def test_without_vectors_there_is_an_empty_file(prepared: Path) -> None:
    assert vectors.load(prepared / "data/prepared/vectors.safetensors").width == 0


def test_each_fold_tests_on_others_and_all_on_everything(tree: Tree, stage: Stage) -> None:
    frame = table(tagging=True, columns=["token"])
    tested = list[str]()
    for fold in (1, 2, 3):
        tree["prepare"] |= {"folds": 3, "fold": fold}
        run(tree, stage, frame, ("generate",), ("prepare",))
        names = {split: prepared(split).ids.to_pylist() for split in ("train", "test")}
        assert not set(names["train"]) & set(names["test"])
        tested += names["test"]
    assert sorted(tested) == sorted(frame["sequence"].unique())


def test_frames_make_sequences_shorter(tree: Tree, stage: Stage) -> None:
    tree["task"] = "classification"
    tree["prepare"] |= {"frame": 4, "scale": "per_sequence"}
    frame = table(tagging=False, columns=["x"])
    run(tree, stage, frame, ("generate",), ("prepare",), ("train", "forward"))
    assert prepared("train").lengths.max() == 2
    assert prepared("train").values.shape[1] == 5
    fitted = encoding.Encoding(**atomic.read_json("data/prepared/encoding.json"))
    assert len(fitted.inputs) == saved_model.load("models/forward")[0].architecture.features == 5


MISTAKES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "prepare.frame: expected null for tokens, found 2": ("prepare", {"frame": 2}, ["token"]),
    "prepare.frame: expected null for tagging": ("prepare", {"frame": 2}, ["x"]),
    "prepare.vectors: expected null without tokens": ("prepare", {"vectors": "v.txt"}, ["x"]),
    "v.txt: no such file; put it there, or correct the path; or set prepare.vectors to null": (
        "prepare",
        {"vectors": "v.txt"},
        ["token"],
    ),
    "model.characters: expected false without tokens": ("model", LETTERS, ["x"]),
    "model.head: expected last for tagging, found all": ("model", {"head": "all"}, ["x"]),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(
    tree: Tree, stage: Stage, capsys: pytest.CaptureFixture[str], message: str
) -> None:
    section, change, columns = MISTAKES[message]
    tree[section] |= change
    frame = table(tagging=True, columns=columns)
    with pytest.raises(SystemExit) as ended:
        run(tree, stage, frame, ("generate",), ("prepare",), ("train", "forward"))
    assert ended.value.code == 1
    assert message in capsys.readouterr().err
