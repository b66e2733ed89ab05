"""Which column of a file of tagged sentences is what."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from birnn.errors import DataError
from birnn.files.reading import Skipped
from birnn.params import ConllData
from birnn.sources import ingestion


def sentences(*rows: str) -> str:
    """The same words in two sentences: `{}` is their number."""
    return "".join("\n".join(row.format(n) for n, row in enumerate(rows, 1)) + "\n\n" for _ in "ab")


def read(path: Path, content: str) -> tuple[dict[str, list[Any]], list[str]]:
    path.write_text(content, encoding="utf-8")
    skipped = Skipped()
    found = pa.Table.from_batches(ingestion.rows(ingestion.of_file(path, skipped=skipped), skipped))
    return found.to_pydict(), skipped.sentences()


LAYOUTS = {
    "CoNLL-X": (
        "t.conll",
        sentences("{}\tAda\tada\tN\tNN\t_\t0\t_\t_\t_", "{}\tis\tbe\tV\tVB\t_\t0\t_\t_\t_"),
    ),
    "CoNLL-U in a text file": (
        "t.txt",
        "# sent_id = a\n"
        + sentences("{}\tAda\tada\tN\tNN\t_\t0\t_\t_\t_", "{}\tis\tbe\tV\tVB\t_\t0\t_\t_\t_"),
    ),
    "GermEval": ("t.tsv", "#\thttp://a.b [2009]\n" + sentences("{}\tAda\tO\tN", "{}\tis\tO\tV")),
    "tabs": ("t.tsv", sentences("Ada\tN", "is\tV")),
    "CoNLL-2003's names": ("eng.testa", "-DOCSTART- -X-\n\n" + sentences("Ada N", "is V")),
    "CoNLL-2012": (
        "t.v4_gold_conll",
        "#begin document (a); part 000\n"
        + sentences("a 0 {} Ada N (TOP* - Ada (DATE) 12", "a 0 {} is V *) - Ada * -").replace(
            " 12", " (12)"
        ),
    ),
    "a name of each sentence": (
        "t.conll",
        sentences("s1 Ada N", "s1 is V").replace("s1", "s2", 2),
    ),
    "names of columns": ("t.conll", "Token Tag\n" + sentences("Ada N", "is V")),
    "an empty last column": ("t.conll", sentences("Ada N _", "is V _")),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_words_and_tags_are_found(tmp_path: Path, case: str) -> None:
    name, content = LAYOUTS[case]
    found, said = read(tmp_path / name, content)
    assert found["token"] == ["Ada", "is"] * 2
    assert found["label"] == ["N", "V"] * 2
    assert len({*found["sequence"]}) == 2
    others = case in ("CoNLL-2012", "GermEval", "a name of each sentence", "an empty last column")
    assert others == any(one.startswith("read: column ") for one in said)


def test_words_with_blanks_in_them(tmp_path: Path) -> None:
    found, _ = read(tmp_path / "t.conll", sentences("New York\tN", "is\tV"))
    assert found["token"] == ["New York", "is"] * 2


@pytest.mark.parametrize("name", ["t.txt", "t.conll"])
def test_numbers_are_no_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="expected words, found numbers alone between blanks"):
        read(tmp_path / name, sentences("1.5 -0.25", "0 1e-3"))


@pytest.mark.parametrize("header", ["sentence\tx\ttag", "x\ttext\tlabel"])
def test_a_table_may_have_empty_lines(tmp_path: Path, header: str) -> None:
    (tmp_path / "t.tsv").write_text(f"{header}\n" + sentences("a\t1\tN", "a\t2\tV"))
    assert ingestion.of_file(tmp_path / "t.tsv").source != "conll"


def test_files_of_splits_by_any_word_of_their_names(tmp_path: Path) -> None:
    for name in ("en-ud-train.conll", "en-ud-dev.conll", "en-ud-test.conll", "notes.txt"):
        (tmp_path / name).write_text(sentences("Ada N", "is V"))
    skipped = Skipped()
    data = ingestion.of_file(tmp_path, skipped=skipped)
    assert isinstance(data, ConllData)
    assert {name: Path(path).name for name, path in data.files.items()} == {
        "train": "en-ud-train.conll",
        "validation": "en-ud-dev.conll",
        "test": "en-ud-test.conll",
    }
    assert skipped.sentences()[0].startswith(
        "left out: files whose names name no split (notes.txt), 1 in all"
    )


def test_a_folder_of_files(tmp_path: Path) -> None:
    """Each begins new sentences; their numbers follow the names of the files."""
    for name in ("a.conll", "b.conll", "README"):
        (tmp_path / name).write_text(sentences("Ada N", "is V"))
    data = ingestion.of_file(tmp_path)
    found = pa.Table.from_batches(ingestion.rows(data, Skipped()))
    assert found["sequence"].unique().to_pylist() == [
        *("a-000001", "a-000002", "b-000001", "b-000002")
    ]
    assert found["token"].to_pylist() == ["Ada", "is"] * 4


def test_words_that_are_one_in_each_sentence_are_words(tmp_path: Path) -> None:
    """Of two columns, the second one has the tags, whatever the first one looks like."""
    (tmp_path / "t.conll").write_text("0 O\n\n0 O\n0 O\n\n0 O\n0 B-PER\n\n")
    found = pa.Table.from_batches(
        ingestion.rows(ingestion.of_file(tmp_path / "t.conll"), Skipped())
    )
    assert found["token"].to_pylist() == ["0"] * 5
    assert found["label"].to_pylist() == ["O"] * 4 + ["B-PER"]


def test_names_of_columns_are_no_words(tmp_path: Path) -> None:
    """A table may have an empty line; that its first name is not known makes no words of it."""
    rows = "a\tx\tp\na\ty\tq\n\nb\tz\tp\nb\tx\tq\n"
    (tmp_path / "t.tsv").write_text(f"'satz\ttoken\tlabel\n{rows}")
    data = ingestion.of_file(tmp_path / "t.tsv")
    found = pa.Table.from_batches(ingestion.rows(data, Skipped()))
    assert found["token"].to_pylist() == ["x", "y", "z", "x"]
    assert found["sequence"].to_pylist() == ["a", "a", "b", "b"]
