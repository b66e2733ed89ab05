"""The user's own table: what is read, and how each fault of a file is named."""

import csv
import gzip
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birnn.errors import DataError
from birnn.files import table_checks
from birnn.files.reading import Skipped
from birnn.sources import dialect, table

COLUMNS: dict[str, list[Any]] = {
    "sequence": ["007", "007", "8"],
    "group": ["1.0", "1.0", "true"],
    "x": [0.1, -2.0, 3e-5],
    "y": [1.0, 2.0, 3.0],
    "label": ["1", "NA", "null"],
}
HEADER = "sequence,group,x,y,label\n"
CSV = HEADER + "007,1.0,0.1,1,1\n007,1.0,-2,2,NA\n8,true,3e-5,3,null\n"


def read(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pa.Table.from_batches(table.read(path)).to_pydict()
    return found


def complaint(path: Path, content: bytes | None = None) -> str:
    """What is said of a file, as far as the pipeline looks at it, without the file's name."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        list(table_checks.checked(table.read(path), task="tagging", where=str(path)))
    message = str(refused.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


class TestFormats:
    @pytest.mark.parametrize(
        "content",
        [
            CSV.encode(),
            CSV.replace("\n", "\r\n").encode(),
            b"\xef\xbb\xbf" + CSV.encode(),
            b"\n" + CSV.encode(),
            CSV.replace("\n8", "\n\n8").encode(),
            CSV.replace("NA", '"NA"').replace("007", '"007"').encode(),
        ],
        ids=["plain", "CRLF", "byte order mark", "blank first line", "blank line", "quoted"],
    )
    def test_csv(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "t.csv").write_bytes(content)
        assert read(tmp_path / "t.csv") == COLUMNS

    @pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".tsv.gz"])
    def test_tabs_and_compression(self, tmp_path: Path, suffix: str) -> None:
        content = CSV.replace(",", "\t" if "tsv" in suffix else ",").encode()
        path = tmp_path / f"t{suffix}"
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
        assert read(path) == COLUMNS

    def test_members_of_gzip_follow_each_other(self, tmp_path: Path) -> None:
        head, tail = CSV.encode()[:50], CSV.encode()[50:]
        (tmp_path / "t.csv.gz").write_bytes(gzip.compress(head) + gzip.compress(tail))
        assert read(tmp_path / "t.csv.gz") == COLUMNS

    def test_parquet(self, tmp_path: Path) -> None:
        pq.write_table(pa.table(COLUMNS), tmp_path / "t.parquet", row_group_size=2)
        assert read(tmp_path / "t.parquet") == COLUMNS

    @pytest.mark.parametrize("text", ["1", "NA", "null", "<script>", "né", "a,b", '"', " ", "nan"])
    def test_text_stays_what_it_is(self, tmp_path: Path, text: str) -> None:
        quoted = '"{}"'.format(text.replace('"', '""'))
        (tmp_path / "t.csv").write_text(f"sequence,token,label\n{quoted},{quoted},{quoted}\n")
        expected = {"sequence": [text], "token": [text], "label": [text]}
        assert read(tmp_path / "t.csv") == expected

    def test_large_files_come_in_parts(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).normal(size=100_000)
        lines = [f"{row // 7},{value!r},a\n" for row, value in enumerate(values.tolist())]
        (tmp_path / "t.csv").write_text("sequence,x,label\n" + "".join(lines))
        batches = list(table.read(tmp_path / "t.csv"))
        assert len(batches) > 1
        np.testing.assert_array_equal(pa.Table.from_batches(batches)["x"].to_numpy(), values)


QUOTED = [  # a line, and whether its quotes enclose whole fields
    ('a,"w",p', True),
    ('a,"w, ""w""",p', True),
    ('a,"""",p\r', True),
    ('a,5",p', True),
    ('a,w"w",p', True),
    ('"a","","p"', True),
    ('a,"w,p', False),
    ('a,w,"p', False),
    ('a,"w"w,p', False),
    ('a,"w" ,p', False),
    ('a,"""w",p"', True),
    ('a,"""w","p"', True),
    ('a,"""w"",p', False),
    ('a,"w\nw",p', True),
    ('"', False),
]


def quotes_complaint(path: Path) -> str:
    try:
        dialect.find(path, table.PLAIN, Skipped())
    except DataError as error:
        return str(error)
    return ""


MISTAKES = {
    "empty": (b"", ": expected a header and rows, found nothing"),
    "a header alone": (HEADER.encode(), ": expected rows, found none"),
    "a header without an end": (HEADER.strip().encode(), ": expected rows, found none"),
    "a short line": (
        CSV.replace("007,1.0,-2,2,NA", "007,1.0,-2,2").encode(),
        ", line 3: expected 5 fields, found 4: '007,1.0,-2,2'",
    ),
    "text for a number": (
        CSV.replace("-2", "low").encode(),
        ", line 3, column `x`: expected a number, found 'low'; leave the column out (data.ignore)",
    ),
    "a decimal comma": (
        CSV.replace("-2", '"-2,5"').encode(),
        ", line 3, column `x`: expected a number, found '-2,5'",
    ),
    "an empty field": (
        CSV.replace("-2", "").encode(),
        ", row 2, column `x`: expected a finite number, found nothing; fill it in",
    ),
    "infinity": (
        CSV.replace("-2", "-inf").encode(),
        ", row 2, column `x`: expected a finite number, found -inf; fill it in",
    ),
    "a column twice": (
        CSV.replace("x,y", "x,x").encode(),
        ": expected each column once, found `x` twice",
    ),
    "no column of labels": (
        CSV.replace("label", "class").encode(),
        ": expected a column `label`, found sequence, group, x, y, class",
    ),
    "another column": (
        CSV.replace("sequence", "id").encode(),
        ": expected a column `sequence`, found id, group, x, y, label",
    ),
    "UTF-8 that was damaged": (
        CSV.replace("NA", "né").replace("true", "tr?e").encode().replace(b"?", b"\xe9"),
        ", line 4: expected text in UTF-8, found other bytes; save it as UTF-8, or name its data",
    ),
}


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_in_csv(self, tmp_path: Path, mistake: str) -> None:
        content, expected = MISTAKES[mistake]
        assert complaint(tmp_path / "t.csv", content).startswith(expected)

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.9999])
    def test_gzip_that_was_cut(self, tmp_path: Path, share: float) -> None:
        numbers = np.random.default_rng(0).normal(size=5000).tolist()
        text = "sequence,x,label\n" + "".join(f"a,{number!r},b\n" for number in numbers)
        whole = gzip.compress(text.encode(), mtime=0)
        found = complaint(tmp_path / "t.csv.gz", whole[: int(share * len(whole))])
        assert any(word in found for word in ("Truncated", "ended before", "found nothing"))

    def test_gzip_that_was_damaged(self, tmp_path: Path) -> None:
        whole = gzip.compress(CSV.encode(), mtime=0)
        broken = whole[:10] + b"\x07" + whole[11:]  # a kind of block that there is not
        expected = ": expected csv.gz, found: Error -3 while decompressing data: invalid block type"
        assert complaint(tmp_path / "t.csv.gz", broken) == expected

    def test_not_gzip(self, tmp_path: Path) -> None:
        expected = ": expected gzip, found other bytes; if it is not packed, take .gz off its name"
        assert complaint(tmp_path / "t.csv.gz", CSV.encode()) == expected

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
    def test_parquet_that_was_cut(self, tmp_path: Path, share: float) -> None:
        pq.write_table(pa.table(COLUMNS), tmp_path / "t.parquet")
        whole = (tmp_path / "t.parquet").read_bytes()
        found = complaint(tmp_path / "t.parquet", whole[: int(share * len(whole))])
        assert found.startswith(": expected parquet, found: Parquet ")

    def test_parquet_with_a_damaged_page(self, tmp_path: Path) -> None:
        pq.write_table(pa.table(COLUMNS), tmp_path / "t.parquet")
        whole = (tmp_path / "t.parquet").read_bytes()
        damaged = whole[:10] + b"\xff" * 30 + whole[40:]
        assert complaint(tmp_path / "t.parquet", damaged).startswith(": expected parquet, found: ")

    def test_parquet_that_is_not_utf8(self, tmp_path: Path) -> None:
        token = pa.array([b"\xff"]).cast(pa.string(), safe=False)
        rows = pa.table({"sequence": ["a"], "token": token, "label": ["b"]})
        pq.write_table(rows, tmp_path / "t.parquet")
        found = complaint(tmp_path / "t.parquet")
        assert found.startswith(", column `token`, after row 0: expected UTF-8 text, found: ")

    def test_parquet_without_rows(self, tmp_path: Path) -> None:
        pq.write_table(pa.table(COLUMNS).slice(0, 0), tmp_path / "t.parquet")
        assert complaint(tmp_path / "t.parquet") == ": expected rows, found none"

    @pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
    def test_a_missing_file(self, tmp_path: Path, name: str) -> None:
        expected = ": no such file; put it there, or correct the path"
        assert complaint(tmp_path / name) == expected

    @pytest.mark.parametrize("name", ["t", "t.gz", "t.json"])
    def test_another_ending(self, tmp_path: Path, name: str) -> None:
        expected = ": expected a name that ends in .csv, .csv.gz, .tsv, .tsv.gz, .psv, .psv.gz, "
        advice = "; if it is a table with a header, let its name end in .csv or .tsv"
        assert complaint(tmp_path / name) == f"{expected}.parquet{advice if name == 't' else ''}"

    @pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
    def test_a_quote_that_is_a_plain_character(self, tmp_path: Path, name: str) -> None:
        """It would swallow the rows up to the next one, also where nobody reads its column."""
        text = 'sequence,x,note,label\na,1,w,p\na,1,",q\nb,1,w,p\nb,1,",q\nc,1,w,p\n'
        text = text if name == "t.csv" else text.replace(",", "\t")
        path = tmp_path / name
        path.write_text(text)
        for features in (None, ["x"]):
            with pytest.raises(DataError) as refused:
                list(table.read(path, features))
            expected = (
                f"{path}, line 3: expected a row in one line, found the end of a line between"
            )
            assert str(refused.value).startswith(expected)

    def test_quotes_enclose_whole_fields_of_a_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever in a file that is larger than a buffer."""
        monkeypatch.setattr(dialect, "LOOK_BYTES", 1000)
        heads = [("t.csv", 1), ("t.csv", 5000), ("t.csv.gz", 1)]
        wrong = []
        for (line, good), end, (name, head) in product(QUOTED, ("", "\n", "\na,w,p\n"), heads):
            content = ("sequence,token,label\n" + '"a",w,p\n' * head + f"{line}{end}").encode()
            path = tmp_path / name
            path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
            found = quotes_complaint(path)
            expected = f"line {head + 2}: expected a quoted field to end"
            if found if good else expected not in found:
                wrong.append((name, head, line, end, found))
        assert wrong == []

    @pytest.mark.parametrize("size", [70, 1000])
    def test_a_line_end_between_quotes_is_read_wherever_it_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        monkeypatch.setattr(dialect, "LOOK_BYTES", size)
        rows = [f'a,"w{n}",1,p' for n in range(5000)]
        rows[2500] = rows[2600] = 'a,"w\n, ""w\n\n",1,"p\nq"'
        path, skipped = tmp_path / "t.csv", Skipped()
        path.write_text("\n".join(["sequence,token,x,label", *rows]))
        found = pa.Table.from_batches(table.read(path, skipped=skipped))
        with path.open(newline="") as file:
            expected = [*csv.DictReader(file)]
        assert found["token"].to_pylist() == [row["token"] for row in expected]
        assert found["label"].to_pylist() == [row["label"] for row in expected]
        assert skipped.sentences() == [
            "read: rows of several lines, with line ends between quotes, 2 in all, the first in "
            f"{path}, line 2502"
        ]

    @pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
    def test_blocks_of_a_file_do_not_end_between_quotes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
    ) -> None:
        for block in ("LEAST_BLOCK", "WIDE_BLOCK"):
            monkeypatch.setattr(dialect, block, 1000)
        token = end.join(["several", "lines"] * 20)
        rows = [f'a,"{token} {n}",1,p' for n in range(50)]
        path = tmp_path / "t.csv"
        path.write_text("\n".join(["sequence,token,x,label", *rows]), newline="")
        assert read(path)["token"] == [f"{token} {n}" for n in range(50)]

    @pytest.mark.parametrize("size", [70, 1000])
    def test_rows_between_plain_quotes_are_found_wherever_they_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        monkeypatch.setattr(dialect, "LOOK_BYTES", size)
        rows = [f'a,"w{n}",1,p' for n in range(5000)]
        rows[2500] = 'a,",1,p\na,w,1,p\na,",1,p'
        found = complaint(tmp_path / "t.csv", "\n".join(["sequence,token,x,label", *rows]).encode())
        assert found.startswith(", line 2502: expected a row in one line, found the end of a line")

    def test_the_line_of_a_fault_is_counted_with_empty_ones(self, tmp_path: Path) -> None:
        for end in ("\n", "\r\n"):
            text = f"{end}{end}sequence,x,label{end}a,1,p{end}{end}b,z,q{end}"
            found = complaint(tmp_path / "t.csv", text.encode())
            assert found.startswith(", line 6, column `x`: expected a number, found 'z'")

    @pytest.mark.parametrize("text", ["NaN", "NULL", "N/A", "1e400", "1e39"])
    def test_what_is_no_number_is_shown_as_it_is(self, tmp_path: Path, text: str) -> None:
        found = complaint(tmp_path / "t.csv", f"sequence,x,label\na,{text},p\n".encode())
        shown = dict.fromkeys(("NaN", "NULL", "N/A"), "nothing") | {
            "1e400": "inf",
            "1e39": "1e+39, too large for float32",
        }
        assert f"found {shown.get(text, repr(text))}; " in found

    def test_what_pyarrow_says_in_other_words_is_passed_on(self) -> None:
        assert table._plainly("Row #2: odd") == "expected CSV, found: Row #2: odd"

    def test_a_folder_within(self, tmp_path: Path) -> None:
        (tmp_path / "parts" / "more.csv").mkdir(parents=True)
        expected = "found a folder; let one folder hold all files, whose columns say what they are"
        assert complaint(tmp_path / "parts").endswith(expected)

    def test_parquet_whose_footer_promises_more_rows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pq.write_table(pa.table(COLUMNS), tmp_path / "t.parquet")
        rows = pq.ParquetFile.iter_batches

        def damaged(file: pq.ParquetFile, batch_size: int) -> Iterator[pa.RecordBatch]:
            return (batch.slice(1) for batch in rows(file, batch_size))

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", damaged)
        assert complaint(tmp_path / "t.parquet") == ": expected 3 rows, found 2"


class TestFolders:
    def test_parts_are_read_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        lines = CSV.splitlines()[1:]
        for number, line in zip("201", (lines[2], lines[0], lines[1]), strict=True):
            (tmp_path / f"part-{number}.csv").write_text(f"{HEADER}{line}\n")
        for name in ("_SUCCESS", ".part-0.csv.crc"):
            (tmp_path / name).write_text("not a part")
        assert read(tmp_path) == COLUMNS

    def test_a_mistake_is_named_in_its_part(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text(CSV)
        (tmp_path / "b.csv").write_text(HEADER + "9,,1,2,p\n")
        assert complaint(tmp_path) == "/b.csv, row 1, column `group`: value missing"

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (
                [],
                ": expected files in .csv, .csv.gz, .tsv, .tsv.gz, .psv, .psv.gz, .parquet, found",
            ),
            (["a.csv", "b.parquet"], ": expected parts of one kind, found a.csv and b.parquet"),
            (["a.csv", "b.xlsx"], "/b.xlsx: expected a name that ends in .csv"),
        ],
    )
    def test_that_are_none(self, tmp_path: Path, names: list[str], message: str) -> None:
        for name in names:
            (tmp_path / name).write_text(CSV)
        assert complaint(tmp_path).startswith(message)


def test_columns_of_no_interest_may_hold_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sequence,note,x,label\n1,hello,0.5,a\n", encoding="utf-8")
    (batch,) = table.read(path, ["x"])
    assert batch.to_pydict() == {"sequence": ["1"], "x": [0.5], "label": ["a"]}
    with pytest.raises(DataError, match="column `note`"):
        list(table.read(path))
