"""Lines and fields of text files, and how each fault of a file is named."""

import gc
import gzip
import sys
from pathlib import Path

import pytest

from birnn.errors import DataError
from birnn.files import reading
from birnn.files.reading import Skipped


def write(folder: Path, content: bytes, name: str = "t.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return path


def complaint(path: Path, encoding: str = "utf-8") -> str:
    with pytest.raises(DataError) as refused:
        list(reading.lines(path, encoding))
    message = str(refused.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


class TestLines:
    @pytest.mark.parametrize("name", ["t.txt", "t.txt.gz"])
    @pytest.mark.parametrize(
        ("content", "encoding"),
        [
            ("é\nb\n\nc".encode(), "utf-8"),
            (b"\xef\xbb\xbf" + "é\nb\n\nc".encode(), "UTF-8"),
            (b"\xe9\nb\n\nc", "latin-1"),
            ("é\nb\n\nc".encode("utf-16"), "utf-16"),
        ],
        ids=["UTF-8", "byte order mark", "Latin-1", "UTF-16"],
    )
    def test_in_any_encoding(
        self, tmp_path: Path, name: str, content: bytes, encoding: str
    ) -> None:
        path = write(tmp_path, content, name)
        assert list(reading.lines(path, encoding)) == ["é\n", "b\n", "\n", "c"]

    def test_only_a_line_feed_ends_one(self, tmp_path: Path) -> None:
        content = "a\x85b\u2028c\x0cd\r\ne"
        path = write(tmp_path, content.encode())
        assert list(reading.lines(path)) == ["a\x85b\u2028c\x0cd\r\n", "e"]

    @pytest.mark.parametrize("content", [b"a\rb\rc\r", b"a\rb\n", b"a\rb"])
    def test_those_of_an_old_mac_are_refused(self, tmp_path: Path, content: bytes) -> None:
        path = write(tmp_path, b"x\r\n" + content)
        expected = ", line 2: expected a line feed at the end of each line, found a carriage return"
        assert complaint(path).startswith(expected)

    @pytest.mark.parametrize("encoding", [None, "utf-8", "U8", "cp65001", "utf_16_le", "utf-16"])
    def test_a_byte_order_mark_is_no_text(self, tmp_path: Path, encoding: str | None) -> None:
        mark = "" if encoding == "utf-16" else "\ufeff"
        path = write(tmp_path, f"{mark}a\nb\n".encode(encoding or "utf-8"))
        assert list(reading.lines(path, encoding)) == ["a\n", "b\n"]

    @pytest.mark.parametrize("name", ["t.txt", "t.txt.gz"])
    def test_the_first_that_is_not_in_the_encoding_is_named(
        self, tmp_path: Path, name: str
    ) -> None:
        path = write(tmp_path, b"a\n" * 5000 + b"caf\xe9\n" + b"b\n" * 5000, name)
        assert complaint(path).startswith(", line 5001: expected text in utf-8, found invalid cont")

    def test_utf_16_without_its_mark(self, tmp_path: Path) -> None:
        path = write(tmp_path, "ab".encode("utf-16")[:-1])
        assert ": expected text in utf-16, found" in complaint(path, "utf-16")

    @pytest.mark.parametrize("share", [0.3, 0.5, 0.99])
    def test_gzip_that_was_cut(self, tmp_path: Path, share: float) -> None:
        whole = gzip.compress("".join(f"{n * n}\n" for n in range(5000)).encode())
        path = tmp_path / "t.gz"
        path.write_bytes(whole[: int(share * len(whole))])
        assert complaint(path).startswith(": expected gzip, found: Compressed file ended before")

    def test_not_gzip(self, tmp_path: Path) -> None:
        (tmp_path / "t.gz").write_text("plain")
        assert complaint(tmp_path / "t.gz").startswith(": expected gzip, found other bytes; if it")

    def test_a_missing_file(self, tmp_path: Path) -> None:
        expected = ": no such file; put it there, or correct the path"
        assert complaint(tmp_path / "t.txt") == expected

    def test_a_folder(self, tmp_path: Path) -> None:
        assert complaint(tmp_path).startswith(": expected a text file, found: ")


class TestFields:
    def test_rows_end_where_their_quotes_do(self, tmp_path: Path) -> None:
        path = write(tmp_path, b'a,b\n"x\ny","say ""no"""\n\nz,"1,5"\n', "t.csv")
        skipped = Skipped()
        assert list(reading.fields(path, skipped=skipped)) == [
            (1, ["a", "b"]),
            (3, ["x\ny", 'say "no"']),
            (5, ["z", "1,5"]),
        ]
        assert skipped.sentences() == [
            f"left out: empty lines, 1 in all, the first in {path}, line 4"
        ]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"a\tb\n1\n", "line 2: expected 2 fields, found 1: "),
            (b"a\tb\n1\t2\t3\n", "line 2: expected 2 fields, found 3: "),
            (b'a\tb\n"x\ty\nz"\t2\n', "line 3: expected fields, found: a quote that encloses"),
            (b'a\tb\n"x" y\t2\n', "line 2: expected fields, found: ' ' expected after"),
            (b'a\tb\n"x\t2\n', "line 2: expected fields, found: unexpected end of data"),
        ],
    )
    def test_that_are_wrong(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = write(tmp_path, content, "t.tsv")
        with pytest.raises(DataError) as refused:
            list(reading.fields(path, skipped=Skipped()))
        assert str(refused.value).startswith(f"{path}, {message}")

    def test_quotes_may_be_plain_characters(self, tmp_path: Path) -> None:
        path = write(tmp_path, b'a\tb\n"x\ty" z\n', "t.tsv")
        rows = list(reading.fields(path, quotes=False, skipped=Skipped()))
        assert rows[1] == (2, ['"x', 'y" z'])


def test_what_was_left_out_is_said_once_for_each_kind() -> None:
    skipped = Skipped()
    for what, place in (("comments", "line 2"), ("empty lines", "line 3"), ("comments", "line 9")):
        skipped.add(what, place)
    assert skipped.sentences() == [
        "left out: comments, 2 in all, the first in line 2",
        "left out: empty lines, 1 in all, the first in line 3",
    ]


def test_a_file_is_closed_when_who_reads_it_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Python's collector comes to the file first, as it does to what is older."""
    circle: list[object] = [write(tmp_path, b"one\ntwo\n").open(encoding="utf-8")]
    monkeypatch.setattr(reading, "opened", lambda *_, files=circle: files.pop())
    found = reading.lines("t.txt")
    next(found)
    monkeypatch.undo()
    circle += [circle, found]
    del circle, found
    warned: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", warned.append)
    gc.collect()
    assert warned == []


class TestMissing:
    """Why a file is not there."""

    def test_nobody_knows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        said = "a/t.csv: no such file; put it there, or correct the path"
        assert reading.missing("a/t.csv") == said
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))
        assert reading.missing("a/t.csv") == said

    @pytest.mark.parametrize("tracked", ["a/t.csv", "a"])
    def test_dvc_keeps_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracked: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("a").mkdir()
        Path(f"{tracked}.dvc").touch()
        found = reading.missing("a/t.csv")
        assert found.endswith(
            f"no such file, which DVC keeps ({tracked}.dvc); run `dvc pull {tracked}`"
        )

    def test_it_does_not_travel_to_a_queued_experiment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("root/data", "copy/data"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "root/data/t.csv").touch()
        monkeypatch.chdir(tmp_path / "copy")
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
        assert reading.missing("data/t.csv") == (
            f"data/t.csv: no such file here, in a copy of {tmp_path / 'root'} with only what "
            "git and DVC know; run there `dvc add data/t.csv && git add data/t.csv.dvc "
            "data/.gitignore`"
        )
