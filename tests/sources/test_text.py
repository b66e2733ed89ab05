"""Labelled texts: how they are cut into tokens, and what is reported or refused."""

import gzip
import re
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.errors import DataError
from birnn.files.reading import Skipped
from birnn.params import TextData
from birnn.sources import ingestion, text

CSV = 'id,text,label\n1,"a film,\n good",pos\n2,bad,neg\n'
JSONL = '{"text": "a film,\\n good", "label": "pos"}\n{"label": "neg", "text": "bad", "id": 2}\n'


def section(**knobs: Any) -> TextData:
    return TextData(source="text", path="t.csv", **knobs)


def read(
    path: Path,
    content: bytes | str | None = None,
    prefix: str = "",
    skipped: Skipped | None = None,
    **knobs: Any,
) -> pa.Table:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return pa.Table.from_batches(text.read(section(**knobs), path, prefix, skipped=skipped))


def texts(table: pa.Table) -> dict[str, tuple[str, list[str]]]:
    found: dict[str, tuple[str, list[str]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["sequence"], (row["label"], []))[1].append(row["token"])
    return found


class TestUnicode:
    @pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.txt"])
    def test_accents_are_part_of_their_letters(self, tmp_path: Path, name: str) -> None:
        r"""By itself an accent is no letter: the pattern `\w+` would cut it off."""
        written = {
            "t.csv": "text,label\ncafe\u0301 noir,p\n",
            "t.jsonl": '{"text": "cafe\\u0301 noir", "label": "p"}\n',
            "t.txt": "cafe\u0301 noir\n",
        }[name]
        (tmp_path / name).write_text(written, encoding="utf-8")
        for form, tokens in {"NFC": ["caf\u00e9", "noir"], None: ["cafe", "noir"]}.items():
            skipped, data = Skipped(), section(tokens="pattern", pattern=r"\w+")
            options: dict[str, Any] = {"labelled": name != "t.txt", "form": form}
            batches = text.read(data, tmp_path / name, skipped=skipped, **options)
            assert pa.Table.from_batches(batches)["token"].to_pylist() == tokens
            said = [line.rpartition(",")[0] for line in skipped.sentences()]
            expected = "changed: texts, to the form NFC of Unicode, 1 in all"
            assert said == ([f"{expected}, the first in {tmp_path / name}"] if form else [])


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("t.csv", CSV),
            (
                "t.tsv",
                CSV.replace("film,\n", "film, ").replace(",", "\t").replace("film\t", "film,"),
            ),
            ("t.jsonl", JSONL),
        ],
    )
    @pytest.mark.parametrize("compressed", [False, True])
    def test_give_the_same(self, tmp_path: Path, name: str, content: str, compressed: bool) -> None:
        path = tmp_path / (f"{name}.gz" if compressed else name)
        raw = content.encode()
        assert texts(read(path, gzip.compress(raw) if compressed else raw, prefix="test-")) == {
            "test-000001": ("pos", ["a", "film,", "good"]),
            "test-000002": ("neg", ["bad"]),
        }

    def test_columns_have_names(self, tmp_path: Path) -> None:
        table = read(tmp_path / "t.csv", "stars,review\n5,fine\n", text="review", label="stars")
        assert texts(table) == {"000001": ("5", ["fine"])}
        table = read(tmp_path / "t.jsonl", '{"stars": 5, "r": "fine"}', text="r", label="stars")
        assert texts(table) == {"000001": ("5", ["fine"])}

    def test_a_file_for_each_class(self, tmp_path: Path) -> None:
        path, skipped = tmp_path / "rt.neg", Skipped()
        path.write_bytes(b'd\xe9j\xe0 vu\x85 . \n\n , "so\nbad\r\n \n')
        batches = text.read_classes(section(encoding="latin-1"), {"neg": str(path)}, skipped)
        assert texts(pa.Table.from_batches(batches)) == {
            "neg-000001": ("neg", ["déjà", "vu", "."]),
            "neg-000003": ("neg", [",", '"so']),
            "neg-000004": ("neg", ["bad"]),
        }
        assert skipped.counts == {"texts without a token": 2}
        assert skipped.first == {"texts without a token": f"{path}, line 2"}

    def test_many_texts_come_in_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = texts(read(tmp_path / "t.csv", CSV))
        monkeypatch.setattr(text, "BATCH_CHARACTERS", 1)
        assert len(list(text.read(section(), tmp_path / "t.csv"))) == 2
        assert texts(read(tmp_path / "t.csv")) == whole


class TestTokens:
    @settings(deadline=None)
    @given(st.lists(st.text(st.sampled_from("ab \t\n\u3000\x85\u200b,")), max_size=6))
    def test_lie_between_blanks(self, given: list[str]) -> None:
        found = text.tokeniser(None)(pa.array(given, pa.string()))
        assert found.to_pylist() == [one.split() for one in given]

    @settings(deadline=None)
    @given(
        st.sampled_from([r"\w+", r"\w+|[^\w\s]", "(a)(b)?", "a*", "."]),
        st.lists(st.text(st.sampled_from("ab !?\n")), max_size=6),
    )
    def test_are_what_a_pattern_matches(self, pattern: str, given: list[str]) -> None:
        found = text.tokeniser(pattern)(pa.array(given, pa.string())).to_pylist()
        matches = [[match.group() for match in re.finditer(pattern, one)] for one in given]
        assert found == [[match for match in one if match] for one in matches]

    def test_texts_without_any_are_reported(self, tmp_path: Path) -> None:
        skipped = Skipped()
        content = "text,label\n!!!,p\n\ngood,p\n ,n\n"
        table = read(tmp_path / "t.csv", content, skipped=skipped, tokens="pattern", pattern=r"\w+")
        assert texts(table) == {"000002": ("p", ["good"])}
        assert skipped.counts == {"empty lines": 1, "texts without a token": 2}


def test_a_line_that_names_the_delimiter(tmp_path: Path) -> None:
    skipped = Skipped()
    table = read(tmp_path / "t.csv", "sep=;\r\ntext;label\r\na, b;p\r\n", skipped=skipped)
    assert texts(table) == {"000001": ("p", ["a,", "b"])}
    assert skipped.counts == {}
    with pytest.raises(DataError, match=r"t\.csv, line 3: expected 2 fields, found 1: 'a'"):
        read(tmp_path / "t.csv", "sep=;\r\ntext;label\r\na\r\n")


BAD: dict[str, Any] = {"tokens": "pattern", "pattern": "(a+)+b"}


def test_a_pattern_that_would_never_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "LEAST_SECONDS", 0.1)
    content = f"text,label\nso aab,p\n{'a' * 60},q\n"
    with pytest.raises(DataError) as refused:
        read(tmp_path / "t.csv", content, **BAD)
    assert str(refused.value) == (
        "data.pattern: expected one that finds tokens within 0 seconds, found that it takes "
        f"longer, now in '{'a' * 60}'; let no repetition stand in another, as in (a+)+"
    )
    assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_text_may_be_unlabelled(tmp_path: Path, name: str) -> None:
    """The label is empty then, and null once the table is checked."""
    written = {
        "t.csv": "text,label\na,p\nb,\n",
        "t.jsonl": '{"text": "a", "label": "p"}\n{"text": "b", "label": null}\n',
    }[name]
    assert read(tmp_path / name, written)["label"].to_pylist() == ["p", ""]


MISTAKES: dict[str, tuple[str, bytes | str, str]] = {
    "no text": ("t.csv", "review,label\n", ": expected one column `text`, found 'review', 'label'"),
    "no label": ("t.csv", "text,stars\n", ": expected one column `label`, found 'text', 'stars'"),
    "a column twice": (
        "t.csv",
        "text,label,text\n",
        ": expected one column `text`, found 'text', 'l",
    ),
    "nothing": ("t.csv", "", ": expected one column `text`, found nothing"),
    "too many fields": (
        "t.csv",
        "text,label\nno quotes, here,pos\n",
        ", line 2: expected 2 fields, found 3: 'no quotes, here,pos'",
    ),
    "an open quote": (
        "t.csv",
        'text,label\n"a,p\nb,n\n',
        ", line 3: expected fields, found: unexpected end of data; if quotes are plain char",
    ),
    "a quote that swallows lines": (
        "t.tsv",
        'text\tlabel\n" a\tp\nb "\tn\n',
        ", line 3: expected fields, found: a quote that encloses the end of a line; if quotes",
    ),
    "Latin-1": (
        "t.csv",
        b"text,label\na,p\ncaf\xe9,p\n",
        ", line 3: expected text in utf-8, found invalid continuation byte; save it as UTF-8, or",
    ),
    "no JSON": ("t.jsonl", JSONL + "{text", ", line 3: expected JSON, found: Expecting property"),
    "deep JSON": ("t.jsonl", "[" * 100_000, ", line 1: expected JSON, found: "),
    "a list": ("t.jsonl", "[1]", ", line 1: expected an object, found '[1]'"),
    "no key": ("t.jsonl", '{"text": "a"}', ", line 1, key `label`: expected text, found nothing"),
    "a number": ("t.jsonl", '{"text": 1.5}', ", line 1, key `text`: expected text, found 1.5"),
    "nothing for a text": (
        "t.jsonl",
        '{"text": null, "label": "p"}',
        ", line 1, key `text`: expected text, found None",
    ),
    "half a character": (
        "t.jsonl",
        '{"text": "\\ud800", "label": "p"}',
        ", line 1, key `text`: expected text, found half a character",
    ),
    "a key twice": (
        "t.jsonl",
        '{"text": "a", "label": "p", "label": "q"}\n',
        ", line 1: expected JSON, found: the key 'label' twice",
    ),
    "half a line": (
        "t.ndjson",
        '{"text": "a", "label": "p"}\n{"text": "a"\n',
        ", line 2: expected JSON, found: Expecting ',' delimiter at character 14",
    ),
    "another ending": (
        "t.txt",
        "",
        ": expected a name that ends in .csv, .tsv, .jsonl, .ndjson, .parquet,",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_with_their_line(tmp_path: Path, mistake: str) -> None:
    name, content, expected = MISTAKES[mistake]
    with pytest.raises(DataError) as refused:
        read(tmp_path / name, content)
    assert str(refused.value).startswith(f"{tmp_path / name}{expected}")
    assert "\n" not in str(refused.value)


def test_quotes_may_be_plain_characters(tmp_path: Path) -> None:
    content = 'text\tlabel\n" a\tp\nb "\tn\n'
    table = read(tmp_path / "t.tsv", content, quotes=False)
    assert texts(table) == {"000001": ("p", ['"', "a"]), "000002": ("n", ["b", '"'])}


def test_a_table_under_another_name(tmp_path: Path) -> None:
    """To predict, a file with a text a line will do; the header of a table is no text."""
    (tmp_path / "t.txt").write_text("id;text\n1;a b\n")
    with pytest.raises(DataError, match="found the header of a table with a column `text`; let"):
        list(text.read(section(), tmp_path / "t.txt", labelled=False))


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter(tmp_path: Path, delimiter: str) -> None:
    path, skipped = tmp_path / "t.csv", Skipped()
    path.write_text(f"text{delimiter}label\na, b{delimiter}p\nc{delimiter}q\n")
    found = pa.Table.from_batches(text.read(section(), path, skipped=skipped)).to_pydict()
    assert found["token"] == ["a,", "b", "c"]
    assert skipped.sentences()[0].endswith(f"between fields, 1 in all, the first in {path}")


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_columns_of_texts(tmp_path: Path, name: str) -> None:
    """As Hugging Face keeps them: classes are numbers, some of them missing."""
    rows = pa.table({"text": ["a b", "c", "d"], "label": pa.array([1, 0, None])})
    path = tmp_path / name
    if name == "t.parquet":
        pq.write_table(rows, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
            writer.write_table(rows)
    data = TextData(source="text", path=str(path))
    found = pa.Table.from_batches(text.read(data, path))
    assert found.to_pydict() == {
        "sequence": ["000001", "000001", "000002", "000003"],
        "token": ["a", "b", "c", "d"],
        "label": ["1", "1", "0", ""],
    }
    pq.write_table(rows.select(["text"]), tmp_path / "u.parquet")
    with pytest.raises(DataError, match="expected one column `label`, found 'text'"):
        list(text.read(data, tmp_path / "u.parquet"))


def test_a_model_of_texts_is_asked_in_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a b", "c"]}), tmp_path / "t.parquet")
    known = {"source": "text", "task": "classification"}
    batches = ingestion.unlabelled(tmp_path / "t.parquet", known, [], Skipped())
    assert pa.Table.from_batches(batches)["token"].to_pylist() == ["a", "b", "c"]


KEPT = {
    "t.csv": "id,text,city,label\n1,a b,Ulm,p\n2,c,,q\n",
    "t.jsonl": '{"id": 1, "text": "a b", "city": "Ulm", "label": "p"}\n'
    '{"text": "c", "label": "q", "city": null}\n',
}


@pytest.mark.parametrize("name", KEPT)
def test_columns_travel_with_texts_or_are_said_to_be_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(KEPT[name])
    skipped = Skipped()
    data = ingestion.of_file(tmp_path / name)
    assert data.model_dump()["keep"] == ["city"]
    found = pa.Table.from_batches(ingestion.rows(data, skipped))
    assert found["keep:city"].to_pylist() == ["Ulm", "Ulm", ""]
    assert skipped.sentences() == [
        f"left out: columns beside text and label (id), 1 in all, the first in {tmp_path / name}"
    ]


def test_a_column_to_keep_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(KEPT["t.csv"])
    data = TextData(source="text", path=str(tmp_path / "t.csv"), keep=["town"])
    with pytest.raises(DataError, match=r"expected a column `town` \(data.keep\), found id, text"):
        list(ingestion.read(data, Skipped()))
    found = ingestion.unlabelled(tmp_path / "t.csv", ingestion.reading(data), [], Skipped())
    assert "keep:town" not in next(iter(found)).schema.names


def grouped(folder: Path, name: str) -> Path:
    columns = {
        "text": ["a b", "b", "c a", "a", "b c", "c"],
        "label": ["p", "q"] * 3,
        "author": ["Ann", "Bob"] * 3,
        "set": ["Train", "dev", "TEST", "train", "val", "test"],
    }
    frame, path = pd.DataFrame(columns), folder / name
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case _:
            frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_groups_and_splits_of_texts(tmp_path: Path, name: str) -> None:
    path, skipped = grouped(tmp_path, name), Skipped()
    columns = {"group": "author", "split": "set"}
    data = TextData.model_validate({"source": "text", "path": str(path), **columns})
    table = pa.Table.from_batches(ingestion.read(data, skipped))
    assert table["group"].to_pylist() == ["Ann"] * 2 + ["Bob"] + ["Ann"] * 2 + [
        *("Bob", "Ann", "Ann", "Bob")
    ]
    splits = ["train", "train", "validation", "test", "test", "train", "validation", "validation"]
    assert table["split"].to_pylist() == [*splits, "test"]
    assert "changed: names of splits, to train, validation or test" in skipped.sentences()[0]
    found = ingestion.unlabelled(path, ingestion.reading(data), [], Skipped())
    assert next(iter(found)).schema.names == ["sequence", "token"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_groups_and_splits_of_texts_are_guessed_by_their_names(tmp_path: Path, name: str) -> None:
    text = grouped(tmp_path, name).read_bytes()
    if name != "t.parquet":
        (tmp_path / name).write_bytes(text.replace(b"author", b"user_id"))
        assert ingestion.of_file(tmp_path / name).model_dump()["group"] == "user_id"
    assert ingestion.of_file(tmp_path / name).model_dump()["split"] == "set"


@pytest.mark.parametrize("key", ["group", "split"])
def test_a_column_of_groups_that_is_not_there(tmp_path: Path, key: str) -> None:
    path = grouped(tmp_path, "t.csv")
    data = TextData.model_validate({"source": "text", "path": str(path), key: "writer"})
    with pytest.raises(DataError, match=rf"expected a column `writer` \(data.{key}\), found text"):
        list(ingestion.read(data, Skipped()))
