"""How files are written: what is found, what is said of it, and what is refused."""

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from birnn import params
from birnn.errors import DataError, ParamsError
from birnn.files.reading import Skipped
from birnn.sources import table

GERMAN = "Seriennr;Druck;Zustand\n7;1,25;läuft\n7;10;steht\n8;-1,00;läuft\n"
NAMES = {"sequence": "Seriennr", "label": "Zustand"}
EXPECTED = {
    "sequence": ["7", "7", "8"],
    "label": ["läuft", "steht", "läuft"],
    "Druck": [1.25, 10.0, -1.0],
}


def read(path: Path, content: bytes, **section: Any) -> tuple[dict[str, list[Any]], list[str]]:
    """What a file holds, and what is said of how it was read, without its name."""
    path.write_bytes(content)
    data = params.data({"source": "table", "task": "tagging", "path": str(path), **section})
    skipped = Skipped()
    assert isinstance(data, params.TableData)
    found = pa.Table.from_batches(table.read(path, data=data, skipped=skipped)).to_pydict()
    said = [one.replace(f", 1 in all, the first in {path}", "") for one in skipped.sentences()]
    return found, said


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_delimiters_are_found(tmp_path: Path, name: str, delimiter: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([("sequence", "x", "label"), ("a,;|\tb", "1.5", "p"), ("c", "2", "q;|")])
    found, said = read(tmp_path / name, text.getvalue().encode())
    assert found == {"sequence": ["a,;|\tb", "c"], "label": ["p", "q;|"], "x": [1.5, 2.0]}
    usual = {"t.csv": ",", "t.tsv": "\t"}[name]
    words = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|"}
    assert said == (
        [] if delimiter == usual else [f"read: files with {words[delimiter]} between fields"]
    )


def test_everything_at_once(tmp_path: Path) -> None:
    found, said = read(tmp_path / "t.csv", GERMAN.encode("latin-1"), columns=NAMES)
    assert found == EXPECTED
    assert said == [
        "read: files in cp1252 (data.encoding can name another)",
        "read: files with semicolons between fields",
        "read: files with a decimal comma in numbers",
    ]


def test_what_is_named_is_not_looked_for(tmp_path: Path) -> None:
    named = {"delimiter": ";", "decimal": ",", "encoding": "latin-1", "columns": NAMES}
    assert read(tmp_path / "t.csv", GERMAN.encode("latin-1"), **named) == (EXPECTED, [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    found, said = read(tmp_path / "t.csv", GERMAN.encode(encoding), columns=NAMES)
    assert found == EXPECTED
    assert len(said) == 2 + (not encoding.startswith("utf-8"))


def test_an_encoding_beyond_the_first_block(tmp_path: Path) -> None:
    text = "sequence,token,label\n" + "a,w,p\n" * 800_000 + "a,é,q\n"
    found, said = read(tmp_path / "t.csv", text.encode("latin-1"))
    assert found["token"][-1] == "é"
    assert len(said) == 1


@pytest.mark.parametrize(
    ("content", "section", "message"),
    [
        (
            GERMAN.encode() + b"8;1,0;l\xe4uft\n",
            {},
            ", line 5: expected text in",
        ),
        (GERMAN.encode("cp1252").replace(b"\xe4", b"\x81"), {}, ", line 2: expected text in UTF-8"),
        (
            GERMAN.encode("latin-1"),
            {"encoding": "utf-8"},
            ": expected text in utf-8, found invalid",
        ),
        (GERMAN.encode(), {"encoding": "utf-16"}, "expected text in utf-16"),
    ],
)
def test_what_is_no_text(
    tmp_path: Path, content: bytes, section: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as refused:
        read(tmp_path / "t.csv", content, columns=NAMES, **section)
    assert message in str(refused.value)


class TestDecimalCommas:
    def test_or_thousands(self, tmp_path: Path) -> None:
        content = b"sequence;x;label\na;1,250;p\na;12,000;q\n"
        with pytest.raises(DataError, match="can be read in one way, found '1,250'; if the comma"):
            read(tmp_path / "t.csv", content)
        found, _ = read(tmp_path / "t.csv", content, decimal=",")
        assert found["x"] == [1.25, 12.0]

    def test_beside_points(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"line 3, column `x`: .* or set data\.decimal: ','"):
            read(tmp_path / "t.csv", b"sequence;x;label\na;1.5;p\na;1,5;q\n")

    def test_in_text_are_text(self, tmp_path: Path) -> None:
        found, said = read(tmp_path / "t.tsv", b"sequence\ttoken\tlabel\n1,5\t2,5\t3,5\n")
        assert (found["token"], said) == (["2,5"], [])


def test_a_long_row(tmp_path: Path) -> None:
    long = "w" * 3_000_000
    found, _ = read(tmp_path / "t.csv", f"sequence,token,label\na,{long},p\n".encode())
    assert found["token"] == [long]


def test_a_row_that_is_longer_than_others(tmp_path: Path) -> None:
    text = "sequence,token,label\n" + "a,w,p\n" * 800_000 + "a," + "w" * 3_000_000 + ",q\n"
    with pytest.raises(DataError, match="expected rows of up to 1 MB, found a longer one; is it a"):
        read(tmp_path / "t.csv", text.encode())


@pytest.mark.parametrize("name", ["t.xlsx", "t.XLS", "t.ods"])
def test_spreadsheets_get_advice(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"open the spreadsheet and save the sheet as CSV$"):
        read(tmp_path / name, b"PK")


def test_an_unknown_encoding() -> None:
    with pytest.raises(ParamsError, match="expected an encoding that Python knows"):
        params.data({"source": "table", "task": "tagging", "path": "t", "encoding": "u8x"})
