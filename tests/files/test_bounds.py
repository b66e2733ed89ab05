"""Small files that become large are refused in one line, before memory is taken for them."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birnn import params
from birnn.data import vectors
from birnn.errors import DataError
from birnn.files import bounds, tables
from birnn.files.reading import Skipped, lines
from birnn.sources import dialect, guesses, ingestion

MEASURED = """
import sys
from birnn.cli import app
from birnn.errors import reported
try:
    with reported():
        app(sys.argv[1:])
finally:
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM")))
"""


TASK = {name: {"task": "classification"} for name in ("table", "lists", "arrays")}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that small files reach."""
    for name in ("LONGEST_LINE", "BATCH_BYTES", "MOST_VALUES"):
        monkeypatch.setattr(bounds, name, 1 << 14)
    for name, value in {"FREE": 1 << 16, "LONGEST_TEXT": 1 << 10, "MOST_BYTES": 1 << 20}.items():
        monkeypatch.setattr(bounds, name, value)
    monkeypatch.setattr(bounds, "MOST_STEPS", 1000)
    monkeypatch.setattr(dialect, "BUFFER_BYTES", 1 << 10)


def read(path: Path, source: str = "table", **section: Any) -> pa.Table:
    """All rows of a file."""
    data = params.data({"source": source, "path": str(path), **TASK.get(source, {}), **section})
    return pa.Table.from_batches(ingestion.rows(data, Skipped()))


def zipped(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def rows_of(count: int, steps: int = 4) -> str:
    rows = (f"s{n // steps},{n % 7}.5,{'ab'[n // steps % 2]}\n" for n in range(count))
    return "sequence,x,label\n" + "".join(rows)


@pytest.mark.usefixtures("narrow")
class TestGzip:
    def test_of_usual_data_is_read(self, tmp_path: Path) -> None:
        text = rows_of(20_000)
        assert len(text) > 3 * bounds.FREE
        assert read(zipped(tmp_path / "a.csv.gz", text)).num_rows == 20_000

    @pytest.mark.parametrize("name", ["a.csv.gz", "a.tsv.gz"])
    def test_that_expands_out_of_proportion(self, tmp_path: Path, name: str) -> None:
        text = "sequence,x,label\n" + "s1,1,a\n" * 500_000
        with pytest.raises(DataError, match=f"{name}: expected a file that holds up to 200 times"):
            read(zipped(tmp_path / name, text))

    def test_with_a_line_that_does_not_end(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="expected lines of up to 0 MB, found a longer one"):
            read(zipped(tmp_path / "a.csv.gz", "\0" * 60_000))

    def test_of_lists(self, tmp_path: Path) -> None:
        text = '{"x": [' + "1, " * 100_000
        with pytest.raises(DataError, match="line 1: expected lines of up to"):
            read(zipped(tmp_path / "a.jsonl.gz", text), "lists")

    def test_of_vectors(self, tmp_path: Path) -> None:
        place = zipped(tmp_path / "a.vec.gz", "the " + "0" * 60_000)
        with pytest.raises(DataError, match="line 1: expected lines of up to"):
            vectors.look_up(place, ["the"])


class TestPipes:
    """To open a pipe into which nobody writes waits for ever, in silence."""

    @pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.jsonl", "p.parquet", "p.yaml"])
    def test_are_refused(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / name)
        for read_it in (
            lambda path: guesses.of(path, None),
            lambda path: ingestion.of_file(path, None),
            lambda path: [*lines(path)],
            params.load,
        ):
            with pytest.raises(DataError, match=f"{name}: expected a file, found a pipe or a devi"):
                read_it(tmp_path / name)

    def test_in_the_place_of_labels(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "labels.csv")
        (tmp_path / "a.fasta").write_text(">s1\nACGT\n")
        with pytest.raises(DataError, match=r"labels\.csv: expected a file, found a pipe"):
            read(tmp_path / "a.fasta", "fasta", labels=str(tmp_path / "labels.csv"))


@pytest.mark.usefixtures("narrow")
class TestLines:
    def test_of_the_longest_that_is_allowed(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x" * (bounds.LONGEST_LINE - 2) + "\nb\n")
        assert [len(line) for line in lines(tmp_path / "a.txt")] == [bounds.LONGEST_LINE - 1, 2]

    def test_one_that_is_too_long_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("a\n" + "x" * bounds.LONGEST_LINE + "\n")
        with pytest.raises(DataError, match=r"a.txt, line 2: expected lines of up to"):
            [*lines(tmp_path / "a.txt")]


@pytest.mark.usefixtures("narrow")
class TestParquet:
    def test_is_read_as_it_was_in_smaller_parts(self, tmp_path: Path) -> None:
        names = [f"s{n // 50}" + "é" * 200 for n in range(1000)]
        table = pa.table(
            {"sequence": names, "x": np.arange(1000.0), "token": pa.array(["a", None] * 500)}
        ).append_column("kind", pa.array(["p", "q"] * 500).dictionary_encode())
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=300)
        batches = [*bounds.parquet_batches(tmp_path / "a.parquet", 200)]
        assert pa.Table.from_batches(batches).cast(table.schema).equals(table)
        assert max(batch.nbytes for batch in batches) < 2 * bounds.BATCH_BYTES

    @pytest.mark.parametrize("name", ["sequence", "token"])
    def test_with_a_text_that_is_too_long(self, tmp_path: Path, name: str) -> None:
        columns = {"sequence": ["s"] * 9, "label": ["a"] * 9, "token": ["t"] * 9}
        columns[name] = ["y" * 2000] * 9
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        said = f"column `{name}`: expected texts of up to 1024 bytes, found one of 2000"
        with pytest.raises(DataError, match=said):
            read(tmp_path / "a.parquet")

    def test_with_lists_that_are_too_long(self, tmp_path: Path) -> None:
        columns = {"x": [[0.0] * 20_000, [1.0]], "label": ["a", "b"]}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        with pytest.raises(DataError, match="column `x`: expected lists with up to 16384 values"):
            read(tmp_path / "a.parquet", "lists")

    def test_whose_names_stand_on_each_step(self, tmp_path: Path) -> None:
        columns = {"sequence": ["i" * 1000] * 2, "x": [[0.0] * 999, [1.0]], "label": ["a", "b"]}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet", "lists").num_rows == 1000
        columns |= {"x": [[0.0] * 1001, [1.0]]}
        pq.write_table(pa.table(columns), tmp_path / "b.parquet")
        with pytest.raises(DataError, match="from row 1: expected a sequence of up to 1,000 s"):
            read(tmp_path / "b.parquet", "lists")

    def test_of_tokens_that_are_the_same(self, tmp_path: Path) -> None:
        tokens = [["t" * 900] * 500, ["u"] * 3]
        pq.write_table(pa.table({"token": tokens, "label": ["a", "b"]}), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet", "lists").num_rows == 503


@pytest.mark.usefixtures("narrow")
class TestSequence:
    def batches(self, count: int) -> Iterator[pa.RecordBatch]:
        for _ in range(count):
            yield pa.RecordBatch.from_pydict({"sequence": ["long"] * 100, "x": [0.0] * 100})

    def test_of_the_most_steps_is_held(self) -> None:
        assert [len(table) for table, _ in tables.whole_sequences(self.batches(10))] == [1000]

    def test_of_more_is_refused(self) -> None:
        with pytest.raises(
            DataError, match="sequence 'long': expected a sequence of up to 1,000 steps"
        ):
            [*tables.whole_sequences(self.batches(1000))]

    def test_is_cut_where_params_say_so(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text(rows_of(6000, steps=2000))
        cut = params.data(
            {"source": "table", "task": "classification", "path": str(tmp_path / "a.csv")}
            | {"max_steps": 500, "longer": "cut"}
        )
        found = tables.whole_sequences(ingestion.rows(cut, Skipped()))
        assert sum(len(table) for table, _ in found) == 1500


@pytest.mark.usefixtures("narrow")
class TestArchives:
    def save(self, path: Path, **arrays: Any) -> Path:
        np.savez_compressed(path, **arrays)
        return path

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            (np.zeros((4000, 10, 10)), "expected a file that holds up to 200 times its own size"),
            (
                np.random.default_rng(0).random((2, 2000, 2)),
                "expected a sequence of up to 1,000",
            ),
        ],
    )
    def test_that_expand(self, tmp_path: Path, values: Any, said: str) -> None:
        place = self.save(tmp_path / "a.npz", values=values, labels=np.arange(len(values)) % 2)
        with pytest.raises(DataError, match=said):
            read(place, "arrays")

    def test_with_long_names(self, tmp_path: Path) -> None:
        place = self.save(
            tmp_path / "a.npz",
            values=np.zeros((2, 3, 1)),
            labels=np.array(["a", "b" * 2000]),
        )
        with pytest.raises(DataError, match="array labels: expected texts of up to 4096 bytes"):
            read(place, "arrays")

    def test_of_vectors(self, tmp_path: Path) -> None:
        place = self.save(
            tmp_path / "a.npz", tokens=np.array(["the"]), vectors=np.zeros((1, 500_000))
        )
        with pytest.raises(DataError, match="expected a file that holds up to 200 times"):
            vectors.look_up(place, ["the"])


@pytest.mark.usefixtures("narrow")
def test_json_of_one_large_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birnn.sources.objects.MOST_CHARACTERS", 1 << 21)
    rows = [{"x": [1.5] * 100, "label": "ab"[n % 2]} for n in range(8000)]
    (tmp_path / "a.json").write_text(json.dumps({"data": rows}))
    with pytest.raises(DataError, match="expected objects of up to 2 MB, found a larger one"):
        read(tmp_path / "a.json", "lists")


def large(kind: str, path: Path) -> Path:
    """A file that is small, and becomes large."""
    if kind == "zeros":
        with gzip.open(path / "a.csv.gz", "wb") as file:
            for _ in range(2048):
                file.write(bytes(1 << 20))
        return path / "a.csv.gz"
    if kind == "rows":
        with gzip.open(path / "a.csv.gz", "wb") as file:
            file.write(b"sequence,x,label\n")
            for _ in range(100):
                file.write(b"s1,1,a\n" * 150_000)
        return path / "a.csv.gz"
    columns: dict[str, pa.Array] = {"label": pa.array(["a", "b"])}
    match kind:
        case "list":
            flat, ends = pa.array(np.zeros(1 << 27, np.float32)), [0, (1 << 27) - 1, 1 << 27]
            columns["x"] = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)
        case "ids":
            number = np.repeat(np.arange(1000, dtype=np.int32), 1000)
            names = pa.array([f"{n:06d}" + "a" * 7000 for n in range(1000)])
            columns["sequence"] = pa.DictionaryArray.from_arrays(pa.array(number), names)
            columns["x"] = pa.array(np.zeros(1_000_000))
            columns["label"] = pa.array(np.where(number % 2, "a", "b"))
    pq.write_table(pa.table(columns), path / "a.parquet", compression="zstd")
    return path / "a.parquet"


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "size", "status", "most"),
    [
        ("zeros", 3_000_000, 1, 600),
        ("rows", 1_000_000, 1, 1500),
        ("list", 100_000, 1, 2500),
        ("ids", 1_000_000, 0, 1500),
    ],
)
def test_memory_is_bounded(tmp_path: Path, kind: str, size: int, status: int, most: int) -> None:
    """In MB; the second number is what the whole command takes at most, libraries and all."""
    place = large(kind, tmp_path)
    assert place.stat().st_size < size
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "check", str(place), "--task", "classification"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == status, done.stderr
    assert done.stderr.count("\n") <= 1
    assert int(done.stdout.split()[-1]) < most
