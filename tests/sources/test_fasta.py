"""Letters from FASTA files, as k-mers, and each fault with its line."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn import params
from birnn.errors import DataError
from birnn.files.reading import Skipped
from birnn.params import FastaData
from birnn.sources import fasta, ingestion

FASTA = ">seq1|exon\nACgt\nN\n\n>seq2 homo sapiens|intron\r\nTTTTTT\r\n"


def read(
    path: Path, content: bytes | str | None = None, skipped: Skipped | None = None, **knobs: Any
) -> pa.Table:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    data = FastaData(source="fasta", path="t.fa", **knobs)
    return pa.Table.from_batches(fasta.read(data, path, skipped=skipped))


def records(table: pa.Table) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in table.to_pylist():
        found.setdefault((row["sequence"], row["label"]), []).append(row["token"])
    return found


class TestRecords:
    @pytest.mark.parametrize("name", ["t.fasta", "t.fa.gz"])
    def test_are_letters_in_capitals(self, tmp_path: Path, name: str) -> None:
        content = gzip.compress(FASTA.encode()) if name.endswith("gz") else FASTA
        assert records(read(tmp_path / name, content)) == {
            ("seq1", "exon"): list("ACGTN"),
            ("seq2", "intron"): list("TTTTTT"),
        }

    @settings(deadline=None)
    @given(
        letters=st.lists(st.text("ACGT", min_size=3, max_size=30), min_size=1, max_size=4),
        kmer=st.integers(1, 3),
        stride=st.integers(1, 5),
        width=st.integers(1, 7),
        piece=st.integers(1, 9),
    )
    def test_k_mers(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        letters: list[str],
        kmer: int,
        stride: int,
        width: int,
        piece: int,
    ) -> None:
        lines = []
        for number, text in enumerate(letters):
            lines += [f">s{number} a", *(text[n : n + width] for n in range(0, len(text), width))]
        path = tmp_path_factory.mktemp("fasta") / "t.fa"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fasta, "PIECE", piece)
            found = records(read(path, "\n".join(lines), kmer=kmer, stride=stride))
        assert found == {
            (f"s{number}", "a"): [
                text[n : n + kmer] for n in range(0, len(text) - kmer + 1, stride)
            ]
            for number, text in enumerate(letters)
        }

    @pytest.mark.parametrize(
        ("header", "pattern", "id_and_label"),
        [
            ("s|a", None, ("s", "a")),
            ("sp|P1|NAME human", None, ("sp|P1|NAME", "human")),
            ("chr1:1-9 promoter ", None, ("chr1:1-9", "promoter")),
            ("s class=b len=3", r"class=(\S+)", ("s", "b")),
            ("a_17", r"^(\w)_", ("a_17", "a")),
        ],
    )
    def test_classes_in_headers(
        self, tmp_path: Path, header: str, pattern: str | None, id_and_label: tuple[str, str]
    ) -> None:
        table = read(tmp_path / "t.fa", f">{header}\nA\n", label_pattern=pattern)
        assert list(records(table)) == [id_and_label]

    @pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
    def test_classes_in_a_table(self, tmp_path: Path, name: str) -> None:
        text = "label,sequence,note\nexon,seq1|exon,x\nrest,seq2,y\n"
        path = tmp_path / name
        path.write_text(text.replace(",", "\t") if name.endswith("tsv") else text)
        table = read(tmp_path / "t.fa", FASTA, labels=str(path))
        assert list(records(table)) == [("seq1|exon", "exon"), ("seq2", "rest")]

    def test_old_comments_are_counted(self, tmp_path: Path) -> None:
        skipped = Skipped()
        read(tmp_path / "t.fa", "; old\n" + FASTA, skipped=skipped)
        assert skipped.counts == {"comments": 1}


MISTAKES: dict[str, tuple[bytes | str, str]] = {
    "no header": ("ACGT\n", ", line 1: expected a header that begins with `>`, found 'ACGT'"),
    "no id": (">\nACGT\n", ", line 1: expected an id after `>`, found nothing"),
    "no class": (">seq1\nACGT\n", ", line 1: expected a class in the header, found 'seq1'; set"),
    "no letters": (">s|a\n>t|b\nA\n", ", line 1: expected at least 1 letters in 's', found 0"),
    "none at the end": (FASTA + ">t|b\n", ", line 7: expected at least 1 letters in 't', found 0"),
    "a digit": (">s|a\nAC\nA1\n", ", line 3: expected letters, found '1'"),
    "another letter": (">s|a\nAé\n", ", line 2: expected letters, found 'é'"),
    "one id twice": (">s|a\nA\n>s|b\nA\n", ", line 3: expected another id than that of the record"),
    "Latin-1": (b">s|a\nA\n>t|\xe9\n", ", line 3: expected text in utf-8, found"),
}


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_the_line_is_named(self, tmp_path: Path, mistake: str) -> None:
        content, expected = MISTAKES[mistake]
        with pytest.raises(DataError) as refused:
            read(tmp_path / "t.fa", content)
        assert str(refused.value).startswith(f"{tmp_path / 't.fa'}{expected}")

    def test_too_short_for_a_token(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="line 1: expected at least 6 letters in 'seq1', found"):
            read(tmp_path / "t.fa", FASTA, kmer=6)

    def test_a_label_is_missing_in_the_table(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.csv"
        path.write_text("sequence,label\nseq1|exon,a\n")
        with pytest.raises(DataError, match="line 5: expected a label of 'seq2' in data"):
            read(tmp_path / "t.fa", FASTA, labels=str(path))

    def test_a_label_may_be_empty(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("sequence,label\ns,a\nt,\nu,b\n")
        (tmp_path / "t.fa").write_text(">s\nAC\n>t\nAC\n>u\nA\n")
        section = {"source": "fasta", "path": str(tmp_path / "t.fa")}
        data = params.data(section | {"labels": str(tmp_path / "labels.csv")})
        (found,) = ingestion.rows(data, Skipped())
        assert found["label"].to_pylist() == ["a", "a", None, None, "b"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("id,label\n", "labels.csv: expected one column `sequence` and one `label`, found id"),
            (
                "sequence,label\ns,a\ns,b\n",
                "labels.csv, line 3, column `label`: expected 'a' again",
            ),
        ],
    )
    def test_in_the_table_of_labels(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "labels.csv").write_text(content)
        with pytest.raises(DataError, match=message):
            fasta.read_labels(tmp_path / "labels.csv")
