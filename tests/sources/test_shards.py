"""Data in several files a split, as Hugging Face lays them: `train-00000-of-00002.parquet`."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birnn import params
from birnn.errors import DataError
from birnn.files import addresses, listing, reading
from birnn.files.reading import Skipped
from birnn.sources import guesses, ingestion

NAMES = ["O", "B-PER", "I-PER"]
NOTED = {
    "huggingface": json.dumps(
        {"info": {"features": {"ner_tags": {"feature": {"names": NAMES, "_type": "ClassLabel"}}}}}
    )
}
COUNTS = {"train": 12, "validation": 1, "test": 1}
"""Shards of each split; of more than ten, names without zeros before their numbers mislead."""


def sentences(split: str) -> list[dict[str, Any]]:
    many = 2 * COUNTS[split]
    return [
        {"id": str(n), "tokens": [f"{split}{n}", "b"], "ner_tags": [1 + n % 2, 0]}
        for n in range(many)
    ]


def series(split: str) -> list[dict[str, Any]]:
    many = 2 * COUNTS[split]
    return [{"id": str(n), "x": [n + 0.5, 1.0, -n], "label": "pq"[n % 2]} for n in range(many)]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows)
    if "ner_tags" in table.schema.names:
        table = table.replace_schema_metadata(NOTED)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".arrow":
        with pa.ipc.new_stream(path, table.schema) as file:
            file.write_table(table)
    else:
        pq.write_table(table, path)


def lay(folder: Path, rows: Any, form: str) -> None:
    """Write the shards of each split, whose names are of a form."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in COUNTS.items():
        for number in range(count):
            name = form.format(split=split, number=number, count=count)
            write(folder / name, rows(split)[2 * number : 2 * number + 2])


def read(section: dict[str, Any]) -> pa.Table:
    return pa.Table.from_batches(ingestion.rows(params.data(section), Skipped()))


FORMS = {
    "of the hub": "{split}-{number:05d}-of-{count:05d}.parquet",
    "of the hub, with a hash": "{split}-{number:05d}-of-{count:05d}-a09b74b3ef9c3b56.parquet",
    "of JSON": "{split}-{number:05d}-of-{count:05d}.jsonl",
    "of a cache": "conll2003-{split}-{number:05d}-of-{count:05d}.arrow",
    "of C4": "c4-{split}.{number:05d}-of-{count:05d}.jsonl",
    "without zeros": "{split}_{number}-of-{count}.parquet",
}


@pytest.mark.parametrize("above", ["", "data"])
@pytest.mark.parametrize("form", FORMS)
def test_tags_by_number_with_names(tmp_path: Path, form: str, above: str) -> None:
    lay(tmp_path / above, sentences, FORMS[form])
    (tmp_path / "README.md").write_text("x")
    section = guesses.of(tmp_path).section
    named = FORMS[form].endswith(("parquet", "arrow"))
    assert section["columns"] == {"sequence": "id", "label": "ner_tags", "token": "tokens"}
    assert section.get("names") == (NAMES if named else None)
    assert section["validation"].endswith(Path(section["validation"]).suffix)
    found = read(section)
    expected = [row for split in COUNTS for row in sentences(split)]
    assert found["token"].to_pylist() == [word for row in expected for word in row["tokens"]]
    tags = [tag for row in expected for tag in row["ner_tags"]]
    assert found["label"].to_pylist() == [NAMES[tag] if named else str(tag) for tag in tags]
    splits = [split for split in COUNTS for row in sentences(split) for _ in row["tokens"]]
    assert found["split"].to_pylist() == splits


@pytest.mark.parametrize("form", FORMS)
def test_lists_of_numbers(tmp_path: Path, form: str) -> None:
    lay(tmp_path, series, FORMS[form])
    found = read(guesses.of(tmp_path).section)
    expected = [row for split in COUNTS for row in series(split)]
    assert found["x"].to_pylist() == [value for row in expected for value in row["x"]]
    assert found["label"].to_pylist() == [row["label"] for row in expected for _ in row["x"]]


def test_a_pattern_names_the_shards_of_a_split(tmp_path: Path) -> None:
    lay(tmp_path, sentences, FORMS["of the hub"])
    section = guesses.of(tmp_path).section
    assert section["train"] == f"{tmp_path}/train-*.parquet"
    assert section["test"] == f"{tmp_path}/test-00000-of-00001.parquet"


def test_shards_without_splits(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"data-{number:05d}-of-00002.parquet", sentences("train")[number::2])
    assert guesses.of(tmp_path).section["path"] == str(tmp_path)
    assert len(read(guesses.of(tmp_path).section)) == 48


@pytest.mark.parametrize("number", [0, 4, 11])
def test_a_shard_that_is_missing_is_named(tmp_path: Path, number: int) -> None:
    lay(tmp_path / "data", sentences, FORMS["of the hub"])
    section = guesses.of(tmp_path).section
    lost = tmp_path / f"data/train-{number:05d}-of-00012.parquet"
    lost.unlink()
    expected = f"expected {lost.name} among its shards, found 11 of 12"
    for ask in (lambda: guesses.of(tmp_path), lambda: read(section)):
        with pytest.raises(DataError, match=expected) as refused:
            ask()
        assert str(refused.value).startswith(f"{tmp_path}/data")
        assert len(str(refused.value).splitlines()) == 1


def test_a_shard_that_is_missing_in_a_folder_of_a_split(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    write(tmp_path / "train/data-00001-of-00002.arrow", sentences("train"))
    with pytest.raises(DataError, match="expected data-00000-of-00002"):
        read({"source": "lists", "task": "tagging", "path": str(tmp_path / "train")})


def test_shards_of_two_versions_are_refused(tmp_path: Path) -> None:
    lay(tmp_path, sentences, FORMS["of the hub"])
    write(tmp_path / "train-00000-of-00013.parquet", sentences("train"))
    with pytest.raises(DataError, match="shards of one number, found 12 and 13 of train"):
        guesses.of(tmp_path)


def test_numbers_may_begin_with_one(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"d-{number}-of-2.csv").write_text("x")
    assert [part.name for part in reading.parts(tmp_path)] == ["d-1-of-2.csv", "d-2-of-2.csv"]


class TestPattern:
    def test_a_file_of_that_name_is_one_file(self, tmp_path: Path) -> None:
        path = tmp_path / "what?.csv"
        path.write_text("x")
        assert addresses.place(path).is_file()

    def test_that_nothing_matches_is_a_missing_file(self, tmp_path: Path) -> None:
        data = params.data(
            {"source": "lists", "task": "tagging", "path": f"{tmp_path}/none/train-*.parquet"}
        )
        with pytest.raises(DataError, match="no such file"):
            ingestion.check_there(data)
        with pytest.raises(DataError, match="no such file"):
            [*ingestion.rows(data, Skipped())]

    def test_of_texts(self, tmp_path: Path) -> None:
        for number in (1, 2):
            (tmp_path / f"a{number}.csv").write_text(f"text,label\na{number},{'pq'[number - 1]}\n")
        (tmp_path / "b.csv").write_text("nothing of it")
        found = read({"source": "text", "path": f"{tmp_path}/a*.csv"})
        assert found["token"].to_pylist() == ["a1", "a2"]
        assert found["sequence"].to_pylist() == ["a1-000001", "a2-000001"]
        assert listing.in_buckets(["a*.csv"]) == []
