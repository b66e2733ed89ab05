"""One sequence a row, its steps in lists: the same from each format, and how faults are named."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from birnn import params
from birnn.errors import DataError, ParamsError
from birnn.files.reading import Skipped
from birnn.sources import ingestion, lists

Rows = list[dict[str, Any]]
NAMED: Rows = [
    {"id": "7", "tokens": ["Kurt", "sees", "Como"], "ner_tags": ["B-PER", "O", "B-LOC"]},
    {"id": "8", "tokens": ["It", "rains"], "ner_tags": ["O", "O"]},
    {"id": "9", "tokens": ["Ada"], "ner_tags": ["B-PER"]},
]
CLASSES = ["O", "B-PER", "B-LOC"]
NUMBERED: Rows = [row | {"ner_tags": [*map(CLASSES.index, row["ner_tags"])]} for row in NAMED]
EXPECTED = {
    "sequence": ["7", "7", "7", "8", "8", "9"],
    "label": ["B-PER", "O", "B-LOC", "O", "O", "B-PER"],
    "token": ["Kurt", "sees", "Como", "It", "rains", "Ada"],
}
COLUMNS = {"sequence": "id", "token": "tokens", "label": "ner_tags"}


def as_lines(rows: Rows) -> str:
    return "\n".join(map(json.dumps, rows)) + "\n"


def as_arrow(path: Path, rows: Rows, *, stream: bool) -> None:
    table = pa.Table.from_pylist(rows)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITE: dict[str, Callable[[Path, Rows], Any]] = {
    "t.jsonl": lambda path, rows: path.write_text(as_lines(rows)),
    "t.jsonl.gz": lambda path, rows: path.write_bytes(gzip.compress(as_lines(rows).encode())),
    "lines.json": lambda path, rows: path.write_text(as_lines(rows)),
    "array.json": lambda path, rows: path.write_text(json.dumps(rows, indent=1)),
    "data.json": lambda path, rows: path.write_text(json.dumps({"version": 1, "data": rows})),
    "t.parquet": lambda path, rows: pd.DataFrame(rows).to_parquet(path, index=False),
    "file.arrow": lambda path, rows: as_arrow(path, rows, stream=False),
    "stream.arrow": lambda path, rows: as_arrow(path, rows, stream=True),
}


def rows_of(
    path: Path | None, skipped: Skipped | None = None, **section: Any
) -> dict[str, list[Any]]:
    where = {"path": str(path)} if path else {}
    section = {"source": "lists", "task": "tagging", **where, **section}
    found = pa.Table.from_batches(ingestion.rows(params.data(section), skipped or Skipped()))
    return dict(found.to_pydict())


@pytest.mark.parametrize("name", WRITE)
class TestFormats:
    def test_tags_by_name(self, tmp_path: Path, name: str) -> None:
        WRITE[name](tmp_path / name, NAMED)
        assert rows_of(tmp_path / name, columns=COLUMNS) == EXPECTED

    def test_tags_by_number(self, tmp_path: Path, name: str) -> None:
        WRITE[name](tmp_path / name, NUMBERED)
        assert rows_of(tmp_path / name, columns=COLUMNS, names=CLASSES) == EXPECTED
        numbers = rows_of(tmp_path / name, columns=COLUMNS)["label"]
        assert numbers == [str(CLASSES.index(one)) for one in EXPECTED["label"]]

    def test_series(self, tmp_path: Path, name: str) -> None:
        rows: Rows = [
            {"x": [0.5, 1, 2.5], "axes": [[1, 2], [3, 4], [5, 6]], "who": "a", "label": "p"},
            {"x": [0, 1], "axes": [[7, 8], [9, 0]], "who": "b", "label": "q"},
        ]
        WRITE[name](tmp_path / name, rows)
        found = rows_of(tmp_path / name, task="classification", columns={"group": "who"})
        assert found == {
            "sequence": ["000001"] * 3 + ["000002"] * 2,
            "group": ["a"] * 3 + ["b"] * 2,
            "label": ["p"] * 3 + ["q"] * 2,
            "x": [0.5, 1, 2.5, 0, 1],
            "axes_1": [1, 3, 5, 7, 9],
            "axes_2": [2, 4, 6, 8, 0],
        }

    def test_many_rows(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lists, "BATCH_CHARACTERS", 500)
        rng = np.random.default_rng(0)
        rows: Rows = [
            {"x": rng.normal(size=n).tolist(), "label": "pq"[n % 2]}
            for n in rng.integers(1, 9, 700)
        ]
        WRITE[name](tmp_path / name, rows)
        found = rows_of(tmp_path / name, task="classification")
        assert found["x"] == [value for row in rows for value in row["x"]]
        assert found["sequence"] == [f"{n:06d}" for n, row in enumerate(rows, 1) for _ in row["x"]]

    def test_to_predict(self, tmp_path: Path, name: str) -> None:
        section = {"source": "lists", "task": "tagging", "path": "-", "columns": COLUMNS}
        known = ingestion.reading(params.data({**section, "keep": ["tokens"], "names": CLASSES}))
        rows = [{name: row[name] for name in ("id", "tokens")} for row in NAMED]
        for given in (rows, NUMBERED, [{**row, "other": [1]} for row in rows]):
            WRITE[name](tmp_path / name, given)
            batches = ingestion.unlabelled(tmp_path / name, known, [], Skipped())
            found = pa.Table.from_batches(batches).to_pydict()
            tokens = EXPECTED["token"]
            assert found == {
                "sequence": EXPECTED["sequence"],
                "token": tokens,
                "keep:tokens": tokens,
            }


def test_a_file_or_folder_for_each_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for number, row in enumerate(NAMED):
            WRITE["t.parquet"](tmp_path / split / f"{split}-{number}.parquet", [row])
        (tmp_path / split / "dataset_info.json").write_text("{}")
    files: dict[str, Any] = {split: str(tmp_path / split) for split in ("train", "test")}
    columns = {name: COLUMNS[name] for name in ("token", "label")}
    found = rows_of(None, **files, columns=columns, ignore=["id"])
    assert found["token"] == EXPECTED["token"] * 2
    assert [*dict.fromkeys(found["split"])] == ["train", "test"]
    assert found["sequence"][-1] == "test-000003"


def test_ids_that_come_by_again(tmp_path: Path) -> None:
    """Hugging Face counts from 0 in each split."""
    for split in ("train", "test"):
        WRITE["t.jsonl"](tmp_path / f"{split}.jsonl", [*NAMED, NAMED[2]])
    files: dict[str, Any] = {split: f"{tmp_path}/{split}.jsonl" for split in ("train", "test")}
    skipped = Skipped()
    found = rows_of(None, skipped, **files, columns=COLUMNS)
    numbers = [f"test-{n:06d}" for n in (1, 2, 3, 4)]
    assert [*dict.fromkeys(found["sequence"])] == ["7", "8", "9", "train-000004", *numbers]
    assert skipped.sentences() == [
        "changed: ids that came by before, to the number of the row, 5 in all, the first in "
        f"{tmp_path}/train.jsonl, line 4"
    ]


def test_what_is_kept(tmp_path: Path) -> None:
    rows = [{**row, "pos": [len(word) for word in row["tokens"]], "city": "Rome"} for row in NAMED]
    WRITE["t.jsonl"](tmp_path / "t.jsonl", rows)
    found = rows_of(tmp_path / "t.jsonl", columns=COLUMNS, keep=["pos", "city"])
    assert found["keep:pos"] == [str(len(word)) for word in EXPECTED["token"]]
    assert found["keep:city"] == ["Rome"] * 6


MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "another length": (
        as_lines([*NUMBERED, {"id": "10", "tokens": ["x"], "ner_tags": [0, 1]}]),
        {},
        ", line 4, key `ner_tags`: expected 1 values as in `tokens`, found 2",
    ),
    "a number without a name": (
        as_lines([*NUMBERED, {"id": "10", "tokens": ["x"], "ner_tags": [3]}]),
        {"names": CLASSES},
        ", line 4: expected class numbers from 0 to 2 (data.names), found 3",
    ),
    "no tags": (
        as_lines([{"tokens": ["a"]}]),
        {"columns": {"token": "tokens", "label": "ner_tags"}},
        ": expected a column `ner_tags`, found tokens; if it has another name, set data.columns",
    ),
    "no list": (
        as_lines([{"id": 1, "tokens": "a b", "ner_tags": ["O", "O"]}]),
        {},
        ", column `tokens`: expected lists, a value for each step, found string; put it into",
    ),
    "no value": (
        as_lines([{"id": 1, "tokens": ["a"], "ner_tags": ["O"]}, {"id": 2, "tokens": ["a"]}]),
        {},
        ", line 2, key `ner_tags`: value missing",
    ),
    "numbers beside tokens": (
        as_lines([row | {"pos_tags": [0] * len(row["tokens"])} for row in NAMED]),
        {},
        ": expected a part for each column, found none for 'pos_tags'; name it in data.columns, or",
    ),
    "mixed values": (
        as_lines([*NAMED, {"id": "10", "tokens": ["x", 1], "ner_tags": ["O", "O"]}]),
        {},
        ", line 4, key `tokens`: expected lists of numbers or of text, of one kind in all rows, fo",
    ),
    "no JSON": (as_lines(NAMED) + "{", {}, ", line 4: expected JSON, found: "),
    "no object": ("[1]\n", {}, ", line 1: expected an object, found '[1]'"),
    "nothing": ("", {}, ": expected rows, found none"),
    "a list of classes": (
        as_lines(NAMED),
        {"task": "classification"},
        ", column `ner_tags`: expected one label for each sequence, found lists; for a label",
    ),
}


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_are_named(self, tmp_path: Path, mistake: str) -> None:
        text, section, expected = MISTAKES[mistake]
        path = tmp_path / "t.jsonl"
        path.write_text(text)
        with pytest.raises(DataError) as refused:
            rows_of(path, **({"columns": COLUMNS} | section))
        assert str(refused.value).startswith(f"{path}{expected}")
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("name", ["t.parquet", "file.arrow", "t.jsonl.gz"])
    def test_a_broken_file(self, tmp_path: Path, name: str) -> None:
        WRITE[name](tmp_path / name, NAMED)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
        with pytest.raises(DataError, match=f"{name}: expected "):
            rows_of(tmp_path / name, columns=COLUMNS)

    def test_steps_within_features(self, tmp_path: Path) -> None:
        rows: Rows = [{"v": [[1, 2, 3], [4, 5]], "label": "p"}]
        WRITE["t.jsonl"](tmp_path / "t.jsonl", rows)
        with pytest.raises(
            DataError, match=r"key `v`: expected as many numbers in each step, found"
        ):
            rows_of(tmp_path / "t.jsonl", task="classification")

    def test_empty_sequences_are_counted(self, tmp_path: Path) -> None:
        WRITE["t.jsonl"](tmp_path / "t.jsonl", [*NAMED, {"id": "0", "tokens": [], "ner_tags": []}])
        skipped = Skipped()
        assert rows_of(tmp_path / "t.jsonl", skipped, columns=COLUMNS) == EXPECTED
        assert skipped.counts == {"sequences without a step": 1}

    def test_times_are_of_tables(self) -> None:
        section = {"source": "lists", "task": "tagging", "path": "t.jsonl"}
        with pytest.raises(ParamsError, match=r"expected no `columns\.time` for lists"):
            params.data({**section, "columns": {"time": "t"}})


def test_a_token_that_is_missing_is_named_by_its_step(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"tokens": ["a", null], "tags": ["p", "q"]}\n')
    data = ingestion.of_file(tmp_path / "t.jsonl")
    with pytest.raises(DataError, match="step 2, column `token`: value missing"):
        list(ingestion.rows(data, Skipped()))


def test_a_name_is_to_be_that_of_training_where_a_model_is_asked(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"words": ["a"]}\n')
    known = {"source": "lists", "task": "tagging", "columns": {"token": "tokens"}}
    with pytest.raises(DataError, match="rename it if it has another name than in training"):
        list(ingestion.unlabelled(tmp_path / "t.jsonl", known, [], Skipped()))
