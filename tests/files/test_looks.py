"""What a file is by its first bytes."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birnn.errors import DataError
from birnn.files import addresses, bounds, looks

DISGUISED = {
    "a page": (b"<!DOCTYPE html>\n<html>", "a page of the Web; perhaps what a server answered"),
    "a page with a mark": (b"\xef\xbb\xbf<HTML lang=de>", "a page of the Web"),
    "XML": (b"<?xml version='1.0'?>", "XML"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "run `git lfs pull`"),
    "a note": (b"outs:\n- md5: 0\n", "run `dvc pull`"),
    "a workbook": (b"PK\x03\x04\x14\0", "save the sheet as CSV"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "save the sheet as CSV"),
    "gzip": (gzip.compress(b"sequence,x,label\n"), "let its name end in .gz"),
    "bzip2": (b"BZh91AY&SY", "unpack it"),
    "PDF": (b"%PDF-1.7", "save the data as CSV or Parquet"),
}


@pytest.mark.parametrize("case", DISGUISED)
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.conllu"])
def test_what_is_no_text_is_refused_by_what_it_is(tmp_path: Path, case: str, name: str) -> None:
    content, expected = DISGUISED[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as refused:
        bounds.opened(tmp_path / name)
    assert str(refused.value).startswith(f"{tmp_path / name}: expected text, found ")
    assert expected in str(refused.value)


def test_formats_are_known_by_how_libraries_write_them(tmp_path: Path) -> None:
    table, path = pa.table({"x": [1]}), tmp_path / "t.csv"
    pq.write_table(table, path)
    assert looks.of(path) == "Parquet; let its name end in .parquet"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert looks.of(path) == "Arrow; let its name end in .arrow"
    with path.open("wb") as file:
        np.save(file, np.zeros(1))
    assert "numpy.savez" in str(looks.of(path))


def test_a_name_that_says_the_same_is_no_disguise(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x"))
    (tmp_path / "t.csv").write_text("sequence,x\n")
    assert [looks.of(path) for path in tmp_path.iterdir()] == [None] * 3
    assert looks.of(tmp_path / "none.csv") is None


@pytest.mark.parametrize("header", ["par1,par2,label", "PAR1,PAR2", "ARROW1,x", "BZh,x", "pk,x"])
def test_columns_may_be_called_as_files_begin(tmp_path: Path, header: str) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\n1,2\n")
    assert looks.of(tmp_path / "t.csv") is None


def test_plain_text_under_a_packed_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_text("sequence,x,label\n")
    with pytest.raises(DataError, match=r"expected gzip, found other bytes; .* take .gz off"):
        bounds.opened(tmp_path / "t.csv.gz")


@pytest.mark.parametrize(("name", "kind"), [("t.csv", "text"), ("t.csv.gz", "gzip")])
def test_a_file_that_was_fetched_is_named_by_its_address(
    tmp_path: Path, name: str, kind: str
) -> None:
    copy = addresses.Fetched(tmp_path / name)
    copy.address = f"s3://bucket/{name}"
    copy.write_bytes(b"<html>")
    with pytest.raises(DataError, match=rf"^s3://bucket/{name}: expected {kind}, found a page"):
        bounds.opened(copy)
