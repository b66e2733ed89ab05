"""Damaged files of every kind: each ends in a whole table or in one clear line, and no row is lost.

Rows are counted once more, by the plainest means for each kind of file.
"""

import csv
import gzip
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birnn.errors import BirnnError
from birnn.files import tables
from birnn.files.reading import Skipped
from birnn.files.summary import Summary
from birnn.sources import ingestion, inspection


def fuzz(short: int, long: int) -> settings:
    """How many examples to draw, daily and with `make test-long`."""
    return settings(
        max_examples=examples(short, long),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


RNG = np.random.default_rng(0)
JUNK = [
    *(b'"', b"'", b"\n", b"\r", b"\t", b",", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(b"nan", b"1e999", b"9" * 400, b"-", b" ", b"#", b">", b"\n\n", b'""', b"\\", b"{", b"[[["),
    *(b"\\ud800", b"_", b":", b"@", b"?", b"=", b"NA"),
]


def npz(save: Callable[..., None], **arrays: Any) -> bytes:
    whole = io.BytesIO()
    save(whole, **arrays)
    return whole.getvalue()


def parquet(**options: Any) -> bytes:
    columns = {
        "sequence": list("aabbcc"),
        "x": [1.5] * 6,
        "token": ["t"] * 6,
        "label": list("pq") * 3,
    }
    whole = io.BytesIO()
    pq.write_table(pa.table(columns), whole, **options)
    return whole.getvalue()


def arrow(new: Callable[..., Any], compression: str | None) -> bytes:
    rows = pa.Table.from_pylist([json.loads(line) for line in LISTS.splitlines()])
    whole = io.BytesIO()
    with new(whole, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(rows, max_chunksize=4)
    return whole.getvalue()


TABLE = "sequence,x,y,label\n" + "".join(
    f"s{n // 3},{n / 7},{-n},{'pq'[n % 2]}\n" for n in range(20)
)
TOKENS = "sequence\ttoken\tlabel\n" + "".join(
    f's{n // 3}\tw"{n}\t{"pq"[n % 2]}\n' for n in range(20)
)
TEXTS = "text,label\n" + "".join(f'"no, ""{n}""",{"pq"[n % 2]}\nwell {n},p\n' for n in range(9))
CONLLU = "".join(
    f"# sent_id = {n}\n1-2\tdu\t_\t_\n1\tde\t_\tADP\n2\tle\t_\tDET\n2.1\tx\t_\tX\n\n"
    for n in range(6)
)
SERIES = """\
@problemName Made
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true 1 na
@data
1.5,2,3:10,20,30:na
4,5:40,50:1
6,7:60,70:1
"""
GERMAN = "Satz;Wort;x;label\n" + "".join(
    f'{"" if n % 3 else n};"é\n{n}";{n},5;{"pq"[n % 2]}\n' for n in range(20)
)
LISTS = "".join(
    f'{{"tokens": ["a", "{n}"], "ner_tags": ["{"pq"[n % 2]}", "o"]}}\n' for n in range(9)
)
FILES = {
    "t.csv": TABLE.encode(),
    "t.tsv": TOKENS.encode(),
    "r.csv": TEXTS.encode(),
    "r.tsv": TEXTS.replace(",", "\t").encode(),
    "r.jsonl": b"".join(
        b'{"text": "so \\u00e9 %d", "label": "%c"}\n' % (n, 112 + n % 2) for n in range(9)
    ),
    "g.csv": GERMAN.encode("latin-1"),
    "l.jsonl": LISTS.encode(),
    "l.json": f"[{','.join(LISTS.splitlines())}]".encode(),
    "l.arrow": arrow(pa.ipc.new_file, None),
    "l.feather": arrow(pa.ipc.new_stream, "lz4"),
    "c.conllu": CONLLU.encode(),
    "c.conll": b"-DOCSTART- -X- O\n\nEU NNP ORG\n# NN O\n\nthe DT O\n" * 3,
    "f.fa": b"".join(b">s%d|%c\nACGT\nACN\n" % (n, 112 + n % 2) for n in range(6)),
    "s.ts": SERIES.encode(),
    "a.npz": npz(
        np.savez,
        values=RNG.normal(size=(4, 3, 2)),
        lengths=np.array([1, 2, 3, 3]),
        labels=np.array(["p", "q"] * 2),
    ),
    "b.npz": npz(
        np.savez_compressed,
        values=RNG.normal(size=(8, 2)).astype(">f4"),
        lengths=np.array([5, 3]),
        labels=np.arange(8) % 3,
    ),
    "p.parquet": parquet(),
    "q.parquet": parquet(compression="none", use_dictionary=False, write_page_checksum=True),
}
FILES |= {
    f"{name}.gz": gzip.compress(FILES[name], mtime=0) for name in ("t.csv", "r.csv", "f.fa", "s.ts")
}


@st.composite
def damage(draw: st.DrawFn, whole: bytes) -> bytes:
    """A copy with a few bytes changed, left out, put in or said twice."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(whole)))
        end = min(len(whole), start + draw(st.sampled_from([0, 1, 2, 8, 40, 1000])))
        put = draw(st.sampled_from(JUNK) | st.binary(max_size=2) | st.just(whole[start:end] * 2))
        whole = whole[:start] + put + whole[end:]
    return whole


def load(path: Path) -> tuple[str, Summary | None, Counter[str]]:
    """The message, or what `birnn check` finds, and what was left out."""
    skipped = Skipped()
    try:
        data = ingestion.of_file(path)
        found = inspection.summary(
            tables.whole_sequences(ingestion.rows(data, skipped)),
            lambda: tables.whole_sequences(ingestion.rows(data, Skipped())),
            task=data.task,
            where=str(path),
        )
    except BirnnError as error:
        return str(error), None, skipped.counts
    return "", found, skipped.counts


def binary_rows(path: Path) -> int:
    """Rows of a table, or steps."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        return int(pq.read_table(path).num_rows)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as file:
            return int(np.load(io.BytesIO(file.read("lengths.npy"))).sum())
    read = pa.ipc.open_file if path.suffix == ".arrow" else pa.ipc.open_stream
    return sum(map(len, read(pa.BufferReader(content)).read_all()["tokens"].to_pylist()))


def rows_in(path: Path) -> int:
    """Rows of a table, texts, lines that are not blank, or letters.

    A damaged table may have lost its header; what is left are then words, one a line.
    """
    content = path.read_bytes()
    if path.suffix in (".parquet", ".npz", ".arrow", ".feather"):
        return binary_rows(path)
    plain = gzip.decompress(content) if path.suffix == ".gz" else content
    try:
        text = plain.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = plain.decode("cp1252")
    kind = path.name.removesuffix(".gz")
    lines = [line for line in text.split("\n") if line.strip()]
    if kind.endswith((".csv", ".tsv")) and ingestion.of_file(path).source != "conll":
        delimiter = {"g.csv": ";"}.get(kind, "," if kind.endswith("csv") else "\t")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return sum(bool(row) for row in reader) - 1
    if kind.startswith("l."):
        rows = map(json.loads, lines) if kind == "l.jsonl" else json.loads(text)
        return sum(len(row["tokens"]) for row in rows)
    if kind == "f.fa":
        return sum(len("".join(line.split())) for line in lines if line.strip()[0] not in ">;")
    if kind == "s.ts":
        (head,) = (
            number for number, line in enumerate(lines) if line.lower().split()[0] == "@data"
        )
        return sum(line.split(":")[0].count(",") + 1 for line in lines[head + 1 :])
    return len(lines)


def rows_out(path: Path, found: Summary | None, left_out: Counter[str]) -> int:
    assert found is not None
    if path.name.startswith("r."):
        return found.sequences + left_out["texts without a token"]
    return found.steps + (left_out.total() if path.name.startswith("c.") else 0)


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    message, found, left_out = load(tmp_path / name)
    assert message == ""
    assert rows_out(tmp_path / name, found, left_out) == rows_in(tmp_path / name) > 5


def test_a_table_without_its_header_is_read_as_words(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(b"\n" + FILES["t.tsv"].partition(b"\n")[2])
    message, found, left_out = load(path)
    assert message == ""
    assert rows_out(path, found, left_out) == rows_in(path) == 20


@pytest.mark.parametrize("name", FILES)
@fuzz(20, 500)
@given(data=st.data())
def test_a_damaged_file(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / name
    path.write_bytes(data.draw(damage(FILES[name])))
    message, found, left_out = load(path)
    assert not set(message) & {"\n", "\r"}
    if not message:
        assert rows_out(path, found, left_out) == rows_in(path)


@pytest.mark.parametrize("name", FILES)
@fuzz(7, 100)
@given(content=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_a_file_of_anything(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    message, *_ = load(tmp_path / name)
    assert not set(message) & {"\n", "\r"}
