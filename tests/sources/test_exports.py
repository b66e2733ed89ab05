"""Files as other programs write them: read as they are, or refused with a way out."""

import bz2
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birnn.errors import DataError
from birnn.files import tables
from birnn.files.reading import Skipped
from birnn.sources import ingestion, inspection

Content = str | bytes
FRAME = pd.DataFrame(
    {
        "sequence": ["a", "a", "b", "b"],
        "x": [0.5, 1.25, -2.0, 4.0],
        "y": [7, 8, 9, 10],
        "label": ["p", "p", "q", "q"],
    }
)
PLAIN = FRAME.to_csv(index=False)


def read(path: Path, content: Content) -> tuple[pa.Table, list[str]]:
    """What is in a file, as it is guessed, and what is said."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    skipped = Skipped()
    data = ingestion.of_file(path, skipped=skipped)
    found = pa.Table.from_batches(ingestion.rows(data, skipped))
    whole = tables.whole_sequences(found.to_batches())
    inspection.summary(whole, lambda: (), task=data.task, where=str(path))
    return found, [one.replace(str(path), path.name) for one in skipped.sentences()]


def with_x(*values: str, delimiter: str = ",") -> str:
    rows = zip(FRAME["sequence"], values, FRAME["y"], FRAME["label"], strict=True)
    lines = [("sequence", "x", "y", "label"), *rows]
    return "\n".join(delimiter.join(map(str, line)) for line in lines) + "\n"


SAME: dict[str, tuple[str, Content, str]] = {
    "Excel, which names the delimiter": (
        "t.csv",
        f"\ufeffsep=;\n{PLAIN}".replace(",", ";").replace("\n", "\r\n"),
        "read: files with semicolons between fields",
    ),
    "Excel's Unicode without a mark": (
        "t.csv",
        PLAIN.encode("utf-16-le"),
        "read: files in utf-16-le (data.encoding can name another)",
    ),
    "the same, the other way round": (
        "t.csv",
        PLAIN.encode("utf-16-be"),
        "read: files in utf-16-be (data.encoding can name another)",
    ),
    "an old Mac": ("t.csv", PLAIN.replace("\n", "\r"), ""),
    "pandas with its index": ("t.csv", FRAME.to_csv(), "left out: columns without a name"),
    "R with names of rows": (
        "t.csv",
        '"","sequence","x","y","label"\n'
        + "".join(
            f'"{n}",{",".join(map(json.dumps, row))}\n' for n, row in enumerate(FRAME.values)
        ),
        "left out: columns without a name",
    ),
    "a delimiter at each line's end": (
        "t.csv",
        PLAIN.replace("\n", ",\n"),
        "left out: columns without a name",
    ),
    "rows without a value below": (
        "t.csv",
        f"{PLAIN},,,\n,,,\n",
        "left out: rows without a value",
    ),
    "bars": ("t.psv", PLAIN.replace(",", "|"), ""),
    "all in quotes": ("t.csv", FRAME.to_csv(index=False, quoting=1), ""),
    "numbers with exponents": ("t.csv", with_x("5e-1", "1.25E0", "-2E+00", "0.4e1"), ""),
    "numbers among blanks": ("t.csv", with_x(" 0.5", " 1.25 ", "-2", "+4"), ""),
}


@pytest.mark.parametrize("case", SAME)
def test_are_read_as_they_are(tmp_path: Path, case: str) -> None:
    name, content, said = SAME[case]
    found, sentences = read(tmp_path / name, content)
    assert found.select(FRAME.columns).to_pydict() == FRAME.to_dict("list")
    assert found.num_columns == FRAME.shape[1]
    if case.startswith("rows"):
        said, name = f"{said}, 2 in all", "t.csv, row 5"
    else:
        said = said and f"{said}, 1 in all"
    assert sentences == ([f"{said}, the first in {name}"] if said else [])


def test_pandas_index_in_parquet(tmp_path: Path) -> None:
    FRAME[FRAME["y"] != 8].to_parquet(tmp_path / "t.parquet")
    found, said = read(tmp_path / "t.parquet", (tmp_path / "t.parquet").read_bytes())
    assert {*found.column_names} == {*FRAME.columns}
    assert said == ["left out: columns without a name, 1 in all, the first in t.parquet"]


@pytest.mark.parametrize("sign", ["?", "-", ".", "#DIV/0!", "#N/A", "NaT", "-nan", "1.#QNAN", ""])
def test_what_stands_for_a_missing_number(tmp_path: Path, sign: str) -> None:
    found, _ = read(tmp_path / "t.csv", with_x("0.5", sign, "-2", "4"))
    np.testing.assert_equal(found["x"].to_pylist(), [0.5, np.nan, -2.0, 4.0])


@pytest.mark.parametrize(
    "value", ["1_000", "74%", "$5.00", "€ 5", "1'000.5", "½", "0x4a", "\u22125", "5 kg", "no", "Y"]
)
def test_what_people_take_for_numbers_is_said_to_be_none(tmp_path: Path, value: str) -> None:
    found, said = read(tmp_path / "t.csv", with_x(*[value] * 4))
    assert "x" not in found.column_names
    assert said == [
        f"read: column `x` as text, which no model reads, since {value!r} is no number, 4 in all, "
        "the first in t.csv"
    ]


@pytest.mark.parametrize(("delimiter", "told"), [(";", True), ("\t", False)])
def test_points_that_may_stand_between_thousands(
    tmp_path: Path, delimiter: str, told: bool
) -> None:
    content = with_x("1.074", "12.500", "2", "4.000", delimiter=delimiter)
    found, said = read(tmp_path / "t.tsv", content)
    assert found["x"].to_pylist() == [1.074, 12.5, 2.0, 4.0]
    assert told == any("'1.074' with a decimal point, not one between" in one for one in said)


def test_small_letters_of_fasta_are_said_to_become_capital(tmp_path: Path) -> None:
    found, said = read(tmp_path / "t.fa", ">a|p\nacgT\nNN*\n>b|q\nAC\n")
    assert found["token"].to_pylist() == [*"ACGTNN*AC"]
    assert said == ["changed: small letters, to capital ones, 3 in all, the first in t.fa, line 2"]


def test_a_file_a_patient(tmp_path: Path) -> None:
    """The label of a step is constant in most files, and its name ends in what it is."""
    for number in range(3):
        steps = "".join(
            f"{80 + t}|{'NaN' if t % 2 else 97}|{int(t * number > 3)}\n" for t in range(4)
        )
        (tmp_path / f"p{number}.psv").write_text(f"HR|O2Sat|SepsisLabel\n{steps}")
    data = ingestion.of_file(tmp_path)
    found = pa.Table.from_batches(ingestion.rows(data, Skipped()))
    assert data.task == "tagging"
    assert found["label"].to_pylist() == [*"000000000011"]
    assert found["sequence"].to_pylist() == [f"p{n}" for n in range(3) for _ in range(4)]


def test_the_exact_name_goes_first(tmp_path: Path) -> None:
    text = "Label,Sequence,sequence,x,label\nu,1,a,1,p\nu,1,a,2,p\nv,1,b,3,q\n"
    found, _ = read(tmp_path / "t.csv", text)
    assert found["label"].to_pylist() == ["p", "p", "q"]
    assert found["sequence"].to_pylist() == ["a", "a", "b"]


@pytest.mark.parametrize("name", ["split", "set"])
def test_splits_are_called_in_several_ways(tmp_path: Path, name: str) -> None:
    frame = FRAME.assign(**{name: ["Train", "Train", "TEST", "TEST"]})
    found, said = read(tmp_path / "t.csv", frame.to_csv(index=False))
    assert found["split"].to_pylist() == ["train", "train", "test", "test"]
    assert said == [
        "changed: names of splits, to train, validation or test, 4 in all, the first in t.csv"
    ]


def test_numbers_and_times_of_databases(tmp_path: Path) -> None:
    columns = {name: pa.array(FRAME[name]) for name in FRAME.columns}
    columns["x"] = pa.array([Decimal("0.50"), None, Decimal(-2), Decimal(4)], pa.decimal128(5, 2))
    columns["lasted"] = pa.array([1, 2, 3, None], pa.duration("s"))
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found, _ = read(tmp_path / "t.parquet", (tmp_path / "t.parquet").read_bytes())
    np.testing.assert_equal(found["x"].to_pylist(), [0.5, np.nan, -2.0, 4.0])
    assert "keep:lasted" in found.column_names


def test_a_label_that_no_name_tells_is_said(tmp_path: Path) -> None:
    found, said = read(tmp_path / "t.csv", FRAME.rename(columns={"label": "z"}).to_csv(index=False))
    assert found["label"].to_pylist() == FRAME["label"].to_list()
    assert said == [
        "read: column `z` as the label, since no name says which one is, 1 in all, the first in "
        "t.csv"
    ]


def test_what_lies_beside_data(tmp_path: Path) -> None:
    for name in ("README.md", "LICENSE", ".DS_Store", "a.csv.dvc"):
        (tmp_path / name).touch()
    (tmp_path / "a.csv").write_text(PLAIN)
    found = pa.Table.from_batches(ingestion.rows(ingestion.of_file(tmp_path), Skipped()))
    assert found.num_rows == len(FRAME)


SPANS = "if places of letters are marked, as in Prodigy, Label Studio or doccano, export them as"
REFUSED: dict[str, tuple[str, Content, str]] = {
    "no header": (
        "t.csv",
        PLAIN.split("\n", 1)[1],
        ": expected names of columns in the first line, found a row of data: 'a,0.5,7,p'; put a",
    ),
    "the header once more": (
        "t.csv",
        PLAIN + PLAIN,
        ", row 5: expected data, found the header; leave it out",
    ),
    "texts without a header": (
        "t.tsv",
        "ham\tgo on until the end\nspam\tfree entry here\nham\tnot now\nspam\tnow\n",
        ": expected names of columns in the first line, found a row of data: 'ham,go on until",
    ),
    "a name on two lines": (
        "t.csv",
        PLAIN.replace("x", '"x\n(mm)"'),
        ": expected names of columns in one line, found 'x\\n(mm)'; rename it",
    ),
    "an id that is missing": (
        "t.csv",
        PLAIN.replace("a,1.25", ",1.25"),
        ", row 2, column `sequence`: value missing",
    ),
    "quantities": (
        "t.csv",
        "sequence,x,label\n" + "".join(f"{n // 2},1,{n / 7}\n" for n in range(1, 40)),
        ", column `label`: expected classes, found 39 different numbers such as 0.142857142857142",
    ),
    "blanks between fields": (
        "t.csv",
        PLAIN.replace(",", " "),
        ": expected commas, semicolons, tabs or | between names of columns, found one name, 'seq",
    ),
    "a step a row in JSON Lines": (
        "t.jsonl",
        FRAME.to_json(orient="records", lines=True),
        ": expected lists, or texts under `text`, found sequence, x, y, label; if each row is a",
    ),
    "a step a row in JSON": (
        "t.json",
        FRAME.to_json(orient="records"),
        ": expected `token` or a column with lists of numbers, found sequence, x, y, label; name",
    ),
    "files that were joined": (
        "t.csv",
        f"\ufeff{PLAIN}\ufeffc,1,2,p\n",
        ", line 6: expected a byte order mark at the file's beginning alone, found one more",
    ),
    "sentences that were joined": (
        "t.conll",
        "\ufeffAda N\nis V\n\n\ufeffBob N\nis V\n\n",
        ", line 4: expected a byte order mark at the file's beginning alone, found one more",
    ),
    "zeros where a disk was full": (
        "t.csv",
        PLAIN.encode() + bytes(100),
        ", line 6: expected text, found a byte of zero; is the file whole?",
    ),
    "a zero in a class": (
        "t.csv",
        PLAIN.replace("p\n", "p\0\n", 1),
        ", line 2: expected text, found a byte of zero",
    ),
    "a zero in a tag": ("t.conll", "Ada N\nis V\0\n\n", ", line 2: expected text, found a byte of"),
    "a delimiter at each row's end": (
        "t.csv",
        PLAIN.replace("p\n", "p,\n").replace("q\n", "q,\n"),
        ": expected a header with 5 names, as the rows below have fields, found 4: 'sequence,x,y",
    ),
    "quotes behind blanks": (
        "t.csv",
        PLAIN.replace(",p", ', "p"'),
        ", row 1: expected quotes next to what stands between fields, found ' \"p\"'; take the",
    ),
    "a comment above the header": (
        "t.csv",
        f"# by, x, and, y\n{PLAIN}",
        ", row 1: expected numbers as in the rows below, found 'x'; leave out the lines that begin",
    ),
    "JSON": (
        "t.csv",
        '{"sequence": "a"}\n{"sequence": "b"}\n',
        ": expected names of columns in the",
    ),
    "a tag a word": (
        "t.csv",
        "text,labels\nAda is here,B O O\nno,O\n",
        ": expected one label for each text, found as many as it has words; write the words and",
    ),
    "an object on several lines": (
        "t.jsonl",
        '{\n "tokens": ["a"],\n "tags": ["p"]\n}\n',
        ", line 1: expected JSON, found: Expecting property name enclosed in double quotes at",
    ),
    "objects with commas between": (
        "t.jsonl",
        '{"tokens": ["a"], "tags": ["p"]},\n{"tokens": ["a"], "tags": ["q"]}\n',
        ", line 1: expected JSON, found: Extra data at character 33; let no comma stand between",
    ),
    "splits in one file": (
        "t.json",
        '{"train": [{"tokens": ["a"]}], "test": [{"tokens": ["a"]}]}',
        ": expected a column `label`, found train, test; write each split into a file of its own",
    ),
    "lists of columns": (
        "t.json",
        '{"tokens": [["a"]], "tags": [["p"]]}',
        ", column `tags`: expected a label for each step, found lists in lists; write an object",
    ),
    "spaCy": (
        "t.json",
        '[["Ada waits", {"entities": [[0, 3, "PER"]]}]]',
        ", row 1: expected an object, found \"['Ada waits', {'entities': [[0, 3, 'PER']]}]\"",
    ),
    "a list of one class": (
        "t.jsonl",
        '{"text": "Ada waits", "label": ["p"]}\n{"text": "Bob waits", "label": ["q"]}\n',
        ", column `label`: expected one label for each text, or a list of tokens beside it, found",
    ),
    "a min export of Label Studio": (
        "t.json",
        '[{"text": "Ada", "label": [{"start": 0, "labels": ["PER"]}]}]',
        ", column `label`: expected one label for each text, or a list of tokens beside it, found",
    ),
    "Stata": (
        "t.dta",
        b"<stata_dta>",
        ": expected a name that ends in .csv, .tsv, .psv, .parquet,",
    ),
    "GenBank": ("t.gb", "LOCUS", ": expected a name that ends in .csv, .tsv, .psv, .parquet,"),
    "numbers alone": ("t.csv", "1,0.5,2\n1,0.25,3\n2,0.5,2\n", ": expected names of columns in"),
    "a line of units": (
        "t.csv",
        PLAIN.replace("label\n", "label\n,[m],[s],\n"),
        ", row 1: expected numbers as in the rows below, found '[m]'; if it is a row of units or",
    ),
    "two lines of names": (
        "t.csv",
        "sequence,acc,acc,label\n,x,y,\na,1,2,p\na,2,3,q\n",
        ", row 1: expected numbers as in the rows below, found 'x'",
    ),
    "lines above the header": (
        "t.csv",
        f"Sensor Log\nv2,1\n{PLAIN}",
        ": expected a header with 4 names, as the rows below have fields, found 1: 'Sensor Log'; "
        "leave out what stands above the header",
    ),
    "R without a name for names of rows": (
        "t.csv",
        '"sequence","x","label"\n"1","a",1,"p"\n"2","a",2,"q"\n',
        ": expected a header with 4 names, as the rows below have fields, found 3: 'sequence,x,",
    ),
    "infinity": (
        "t.csv",
        with_x("1", "-Infinity", "2", "3"),
        ", row 2, column `x`: expected a finite number, found -inf",
    ),
    "a series a row": (
        "t.csv",
        "id,label,t0,t1\n1,p,0.5,1\n2,q,0.25,2\n",
        ": expected a column `sequence` (a table of steps) or `text`, or one whose values come in",
    ),
    "another packing": (
        "t.csv.bz2",
        bz2.compress(PLAIN.encode()),
        ": expected a name that ends in .csv, .tsv, .psv, .parquet, .jsonl, .ndjson, .conllu,",
    ),
    "doccano": (
        "t.jsonl",
        '{"text": "Ada waits", "label": [[0, 3, "PER"]]}\n',
        ", line 1, key `label`: expected lists of numbers or of text, of one kind in all rows",
    ),
    "Prodigy": (
        "t.jsonl",
        '{"text": "Ada", "tokens": [{"text": "Ada", "id": 0}], "spans": [{"start": 0}]}\n',
        f": expected a column `label`, found text, tokens, spans; {SPANS}",
    ),
    "Label Studio": (
        "t.csv",
        'id,text,label\n1,Ada waits,"[{""start"": 0}]"\n2,Bob waits,"[{""start"": 1}]"\n',
        ", column `label`: expected classes, found '[{\"start\": 0}]'; " + SPANS,
    ),
}
ADVICE = {
    "a delimiter at each row's end": "take what stands between fields away from the end of each",
    "JSON": "let the file's name end in .jsonl",
    "an object on several lines": "let the file's name end in .json",
    "a min export of Label Studio": SPANS,
    "Stata": "read it by pandas.read_stata and save a table as Parquet or CSV",
    "GenBank": "turn it into FASTA",
    "another packing": "unpack it",
    "a series a row": "JSON Lines or",
    "doccano": SPANS,
}


@pytest.mark.parametrize("case", REFUSED)
def test_are_refused_with_a_way_out(tmp_path: Path, case: str) -> None:
    name, content, expected = REFUSED[case]
    with pytest.raises(DataError) as refused:
        read(tmp_path / name, content)
    assert str(refused.value).startswith(f"{tmp_path / name}{expected}")
    assert ADVICE.get(case, "") in str(refused.value)


def test_names_that_are_numbers(tmp_path: Path) -> None:
    """As pandas gives them to columns without names, and as of wavelengths."""
    content: dict[str, list[Any]] = {"0": ["a", "a", "b"], "1": [0.5, 1, 2], "2": ["p", "q", "p"]}
    pd.DataFrame(content).to_csv(tmp_path / "t.csv", index=False)
    found, _ = read(tmp_path / "t.csv", (tmp_path / "t.csv").read_bytes())
    assert found.to_pydict() == {"sequence": content["0"], "label": content["2"], "1": content["1"]}
    found, _ = read(tmp_path / "t.csv", PLAIN.replace("x,y", "400.5,410.5"))
    assert found["400.5"].to_pylist() == FRAME["x"].to_list()


def test_letters_are_tokens(tmp_path: Path) -> None:
    """A column `sequence` of DNA holds no ids."""
    text = "id,sequence,label\n1,ACGTTTGACA,p\n2,CCGTAACAGT,q\n"
    found, said = read(tmp_path / "t.csv", text)
    assert found["token"].to_pylist() == [*"ACGTTTGACACCGTAACAGT"]
    assert found["label"].to_pylist() == ["p"] * 10 + ["q"] * 10
    assert said == [
        "left out: columns beside text and label (id), 1 in all, the first in t.csv",
        "read: column `sequence` as texts, of which each letter is a token, 1 in all, the first in "
        "t.csv",
    ]


def test_labels_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "X_train.csv").write_text("series_id,x,y\n0,1,2\n0,2,2\n1,3,1\n")
    (tmp_path / "y_train.csv").write_text("series_id,label\n0,p\n1,q\n")
    with pytest.raises(DataError, match="if labels are in a file of their own, join the two"):
        ingestion.of_file(tmp_path)


def test_a_sequence_that_no_name_tells_is_said_and_is_no_time(tmp_path: Path) -> None:
    text = "device,time,x,label\nA,1,1,p\nB,1,2,q\nA,2,3,p\nB,2,4,q\n"
    with pytest.raises(DataError, match="or one whose values come in runs, found device, time"):
        read(tmp_path / "t.csv", text)
    _, said = read(tmp_path / "t.csv", FRAME.rename(columns={"sequence": "z"}).to_csv(index=False))
    assert said[0].startswith("read: column `z` as the sequence, since no name says which one is")


def test_a_list_of_words_that_no_name_tells_is_said(tmp_path: Path) -> None:
    text = '{"x": ["1", "2"], "label": "p"}\n{"x": ["1"], "label": "q"}\n'
    found, said = read(tmp_path / "t.jsonl", text)
    assert found["token"].to_pylist() == ["1", "2", "1"]
    assert said[0].startswith("read: column `x` as the token, since no name says which one is")


def test_quotes_that_a_text_ends_with(tmp_path: Path) -> None:
    """Here the blank stands between the quotes of the field, and is a part of the text."""
    content = 'sequence,token,label\na," """"",p\na," ""b""",q\nb,c,p\n'
    found, said = read(tmp_path / "t.csv", content)
    assert found["token"].to_pylist() == [' ""', ' "b"', "c"]
    assert said == []


def test_names_with_blanks_are_said(tmp_path: Path) -> None:
    found, said = read(tmp_path / "t.csv", PLAIN.replace(",", ", "))
    assert found["label"].to_pylist() == [" p", " p", " q", " q"]
    assert said == [
        "read: names of columns with blanks around them, as they are (' x', ' y', ' label'), 3 in "
        "all, the first in t.csv"
    ]
