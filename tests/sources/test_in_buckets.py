"""Data in a bucket: read as here, whatever their source."""

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import services

from birnn import params
from birnn.errors import DataError, ParamsError
from birnn.files import listing
from birnn.files.reading import Skipped
from birnn.sources import guesses, ingestion

HOME = "data/external"
TABLE = "sequence,x,label\n" + "".join(f"{n // 3},{n},{'ab'[n % 2]}\n" for n in range(30))
LISTS = '{"token": ["a", "b"], "label": ["x", "y"]}\n{"token": ["c"], "label": ["x"]}\n'
TEXTS = "text,label\na b,p\nb,n\n"
SERIES = "@problemName t\n@timeStamps false\n@classLabel true a b\n@data\n1,2,3:a\n4,5:b\n"


def write(root: Path) -> None:
    """All kinds of files, in the places that `SECTIONS` name."""
    folder = root / HOME
    for name in (
        "parts",
        "lists",
        "split",
        "single",
        "shards",
        "har/w",
        "har/r",
        "texts/p",
        "texts/q",
    ):
        (folder / name).mkdir(parents=True)
    rows = pd.DataFrame({"sequence": ["a", "a", "b"], "x": [1.0, 2, 3], "label": ["p", "q", "p"]})
    for number in (1, 2):
        rows.assign(sequence=rows["sequence"] + str(number)).to_parquet(
            folder / f"parts/{number}.parquet", index=False
        )
        (folder / f"lists/{number}.jsonl").write_text(LISTS)
        (folder / f"har/w/{number}.csv").write_text(f"x,label\n{number},w\n")
        (folder / f"har/r/{number}.csv").write_text(f"x,label\n{number},r\n")
        for name in "pq":
            (folder / f"texts/{name}/{number}.txt").write_text(f"{name}\n{number}")
        (folder / f"shards/train-0000{number - 1}-of-00002.jsonl").write_text(LISTS)
        (folder / f"single/{number}.csv").write_text(f"x,label\n{number},a\n3,{'ab'[number - 1]}\n")
    (folder / "t.csv").write_text(TABLE)
    (folder / "t.tsv.gz").write_bytes(gzip.compress(TABLE.replace(",", "\t").encode(), mtime=0))
    (folder / "western.csv").write_bytes(TABLE.replace("b\n", "\u00fc\n").encode("cp1252"))
    (folder / "shards/test-00000-of-00001.jsonl").write_text(LISTS)
    for split in ("train", "validation", "test"):
        (folder / f"split/{split}.csv").write_text(TEXTS)
    (folder / "p.txt").write_text("a b\nc\n")
    (folder / "n.txt").write_text("d\n")
    (folder / "s.conllu").write_text("# sent_id = 1\n1\ta\t_\tX\n2\tb\t_\tY\n")
    (folder / "s.fa").write_text(">one\nACGT\n>two\nAC\n")
    (folder / "labels.csv").write_text("sequence,label\none,x\ntwo,y\n")
    (folder / "s.ts").write_text(SERIES)
    arrow = pa.table({"token": [["a", "b"], ["c"]], "label": [["x", "y"], ["x"]]})
    with pa.ipc.new_file(folder / "l.arrow", arrow.schema) as file:
        file.write_table(arrow)
    values, lengths = np.arange(12.0).reshape(2, 3, 2), np.array([3, 2])
    np.savez(folder / "a.npz", values=values, lengths=lengths, labels=np.array(["x", "y"]))


SHARDS = ("test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002")
SECTIONS: dict[str, dict[str, Any]] = {
    "csv": {"source": "table", "task": "tagging", "path": f"{HOME}/t.csv"},
    "tsv.gz": {"source": "table", "task": "tagging", "path": f"{HOME}/t.tsv.gz"},
    "cp1252": {"source": "table", "task": "tagging", "path": f"{HOME}/western.csv"},
    "parquet": {"source": "table", "task": "tagging", "path": f"{HOME}/parts"},
    "files": {"source": "table", "task": "tagging", "path": f"{HOME}/single", "file": "sequence"},
    "lists": {"source": "lists", "task": "tagging", "path": f"{HOME}/lists"},
    "shards": {
        "source": "lists",
        "task": "tagging",
        "train": f"{HOME}/shards/train-*.jsonl",
        "test": f"{HOME}/shards/test-00000-of-00001.jsonl",
    },
    "folders": {
        "source": "table",
        "task": "classification",
        "path": f"{HOME}/har",
        "file": "sequence",
        "folders": "label",
        "ignore": ["label"],
    },
    "folders of texts": {"source": "text", "path": f"{HOME}/texts", "folders": "label"},
    "arrow": {"source": "lists", "task": "tagging", "path": f"{HOME}/l.arrow"},
    "splits": {
        "source": "text",
        **{name: f"{HOME}/split/{name}.csv" for name in ("train", "validation", "test")},
    },
    "texts": {"source": "text", "path": f"{HOME}/split"},
    "classes": {"source": "text", "classes": {"p": f"{HOME}/p.txt", "n": f"{HOME}/n.txt"}},
    "conll": {"source": "conll", "path": f"{HOME}/s.conllu"},
    "fasta": {"source": "fasta", "path": f"{HOME}/s.fa", "labels": f"{HOME}/labels.csv", "kmer": 2},
    "sktime": {"source": "sktime", "path": f"{HOME}/s.ts"},
    "arrays": {"source": "arrays", "task": "classification", "path": f"{HOME}/a.npz"},
}


def in_bucket(tree: Any) -> Any:
    """The same, with addresses in the place of paths."""
    if isinstance(tree, dict):
        return {name: in_bucket(one) for name, one in tree.items()}
    return tree.replace(HOME, "s3://runs/in/a folder") if isinstance(tree, str) else tree


@pytest.fixture(scope="session")
def server(s3: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp("data")
    write(root)
    bucket = services.bucket(s3)
    for path in (root / HOME).rglob("*.*"):
        key = f"in/a folder/{path.relative_to(root / HOME)}"
        bucket.put_object(Key=key, Body=path.read_bytes())
    return s3, root


@pytest.fixture(autouse=True)
def bucket(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    address, root = server
    for name, value in services.keys(address).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    shutil.copytree(root / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    yield services.bucket(address)
    assert not [*(tmp_path / "temporary").iterdir()]


def rows(section: dict[str, Any], skipped: Skipped) -> list[pa.RecordBatch]:
    return [*ingestion.rows(params.data(section), skipped)]


@pytest.mark.parametrize("name", SECTIONS)
def test_are_read_as_here(name: str) -> None:
    section = SECTIONS[name]
    here, there = Skipped(), Skipped()
    expected, found = rows(section, here), rows(in_bucket(section), there)
    assert len(found) == len(expected) > 0
    assert all(one.equals(other) for one, other in zip(found, expected, strict=True))
    assert (there.counts, there.noted) == (here.counts, here.noted)
    assert there.first == {what: in_bucket(place) for what, place in here.first.items()}


@pytest.mark.parametrize(
    "name",
    [
        "t.csv",
        "parts",
        "lists",
        "split",
        "s.conllu",
        "s.ts",
        "a.npz",
        "l.arrow",
        "single",
        "shards",
        "har",
        "texts",
    ],
)
def test_are_guessed_as_here(name: str) -> None:
    expected = guesses.of(Path(HOME, name), None)
    found = guesses.of(Path(f"s3://runs/in/a folder/{name}"), None)
    assert found.section == in_bucket(expected.section)
    assert found.slices == expected.slices


def test_a_fault_is_named_by_its_address(bucket: Any) -> None:
    bucket.put_object(Key="broken.csv", Body=b"sequence,x,label\n1,2,a\n1,oops,b\n")
    section = {"source": "table", "task": "tagging", "path": "s3://runs/broken.csv"}
    with pytest.raises(
        DataError, match=r"^s3://runs/broken\.csv, line 3, column `x`: expected a n"
    ):
        rows(section, Skipped())


@pytest.mark.parametrize(
    "address", ["s3://", "s3:///f", "s3://key:secret@runs/f", "gs://runs/f", "http://runs/t.csv"]
)
def test_other_addresses_and_keys_are_refused(address: str) -> None:
    with pytest.raises(ParamsError, match="such as s3://bucket/folder, without keys"):
        params.data({"source": "table", "task": "tagging", "path": address})


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("parquet", ["parts/1.parquet", "parts/2.parquet"]),
        ("shards", [f"shards/{n}.jsonl" for n in SHARDS]),
        ("folders", ["har/r/1.csv", "har/r/2.csv", "har/w/1.csv", "har/w/2.csv"]),
    ],
)
def test_the_list_has_each_file_that_is_read(name: str, names: list[str]) -> None:
    paths = ingestion.paths_of(params.data(in_bucket(SECTIONS[name])))
    listing.write(paths)
    rows = listing.PATH.read_text(encoding="utf-8").splitlines()[1:]
    assert [row.rpartition(",")[0] for row in rows] == [f"s3://runs/in/a folder/{n}" for n in names]
    listing.check(paths)
