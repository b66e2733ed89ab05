"""Tagged sentences: what is taken from CoNLL files, what is counted, and what is refused."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from birnn.errors import DataError
from birnn.files.hashing import Seen
from birnn.files.reading import Skipped
from birnn.params import ConllData
from birnn.sources import conll

CONLLU = """\
# newdoc id = news
# sent_id = news-1
# text = du pain
1-2\tdu\t_\t_
1\tde\tde\tADP
2\tle\tle\tDET
2.1\tx\tx\tX
3\tpain frais\tpain\tNOUN

# text = oui
1\toui\toui\tINTJ

# newdoc
# sent_id = news-1
1\tnon\tnon\tINTJ
"""
COLUMNS = """\
-DOCSTART- -X- O

EU NNP B-ORG
# NN O

-DOCSTART- -X- O

1-2 CD O
"""


def read(
    path: Path,
    text: str | None = None,
    prefix: str = "",
    seen: Seen | None = None,
    skipped: Skipped | None = None,
    **knobs: Any,
) -> pa.Table:
    if text is not None:
        path.write_text(text, encoding="utf-8")
    data = ConllData(source="conll", path="t.conll", **knobs)
    return pa.Table.from_batches(conll.read(data, path, prefix, seen=seen, skipped=skipped))


def sentences(table: pa.Table) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["sequence"], []).append((row["token"], row["label"]))
    return found


class TestCoNLLU:
    @pytest.mark.parametrize("name", ["t.conllu", "t.conllu.gz"])
    def test_words_are_taken_and_all_else_is_counted(self, tmp_path: Path, name: str) -> None:
        content, skipped = CONLLU.encode(), Skipped()
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        assert sentences(read(path, skipped=skipped)) == {
            "news-1": [("de", "ADP"), ("le", "DET"), ("pain frais", "NOUN")],
            "000002": [("oui", "INTJ")],
            "000003": [("non", "INTJ")],  # whose sent_id has come by before
        }
        assert skipped.counts == {"comments": 6, "multiword tokens": 1, "empty nodes": 1}
        assert skipped.first["empty nodes"] == f"{path}, line 7"

    def test_documents_are_groups(self, tmp_path: Path) -> None:
        table = read(tmp_path / "t.conllu", CONLLU, group="document", prefix="test-")
        assert table["group"].to_pylist() == ["news"] * 4 + ["test-document-000002"]

    def test_ids_of_files_before_count_too(self, tmp_path: Path) -> None:
        seen = Seen()
        read(tmp_path / "a.conllu", CONLLU, prefix="a-", seen=seen)
        table = read(tmp_path / "b.conllu", CONLLU, prefix="b-", seen=seen)
        assert list(sentences(table)) == ["b-000001", "b-000002", "b-000003"]

    def test_an_id_may_be_the_number_of_another_sentence(self, tmp_path: Path) -> None:
        text = "# sent_id = 000002\n1\ta\t_\tD\n\n1\tb\t_\tN\n\n# sent_id = 000002-2\n1\tc\t_\tN\n"
        found = read(tmp_path / "t.conllu", text)["sequence"].to_pylist()
        assert found == ["000002", "000002-3", "000002-2"]

    def test_other_columns(self, tmp_path: Path) -> None:
        table = read(tmp_path / "t.txt", CONLLU, format="conllu", token=3, label=1)
        assert sentences(table)["news-1"] == [("de", "1"), ("le", "2"), ("pain", "3")]

    def test_many_sentences_come_in_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(conll, "BATCH_TOKENS", 2)
        assert list(sentences(read(tmp_path / "t.conllu", CONLLU))) == [
            "news-1",
            "000002",
            "000003",
        ]


class TestColumns:
    def test_the_first_and_the_last(self, tmp_path: Path) -> None:
        skipped = Skipped()
        table = read(tmp_path / "t.conll", COLUMNS, skipped=skipped, group="document")
        assert sentences(table) == {
            "000001": [("EU", "B-ORG"), ("#", "O")],
            "000002": [("1-2", "O")],
        }
        assert table["group"].to_pylist() == ["document-000001"] * 2 + ["document-000002"]
        assert skipped.counts == {"-DOCSTART- lines": 2}

    def test_comments_have_another_number_of_columns(self, tmp_path: Path) -> None:
        text = "# made by hand\n" + COLUMNS
        skipped = Skipped()
        assert read(tmp_path / "t.txt", text, skipped=skipped).num_rows == 3
        assert skipped.counts["comments"] == 1
        assert read(tmp_path / "t.txt", text, comments=True).num_rows == 2

    @pytest.mark.parametrize("head", ["# sent_id = 1", "# newdoc", "# text = a"])
    def test_comments_of_conllu_are_known_whatever_their_width(
        self, tmp_path: Path, head: str
    ) -> None:
        width = len(head.split())
        words = "".join(f"w{n} {'x ' * (width - 2)}D\n" for n in range(2))
        found = read(tmp_path / "t.bio", f"{words}\n{head}\n{words}")
        assert found["token"].to_pylist() == ["w0", "w1"] * 2
        assert set(found["label"].to_pylist()) == {"D"}

    def test_a_token_of_several_words(self, tmp_path: Path) -> None:
        table = read(tmp_path / "t.tsv", "New York\tLOC\nis\tO\n", separator="tab")
        assert sentences(table) == {"000001": [("New York", "LOC"), ("is", "O")]}

    @pytest.mark.parametrize("end", ["\r\n", "\n \t\n\n"])
    def test_line_ends(self, tmp_path: Path, end: str) -> None:
        text = "a X\nb Y\n\nc Z\n".replace("\n", end)
        expected = 2 if end == "\r\n" else 3
        assert len(sentences(read(tmp_path / "t.conll", text))) == expected


MISTAKES = {
    "a short line": (
        CONLLU.replace("1\toui\toui\tINTJ", "1\toui\tINTJ"),
        ", line 11: expected 4 columns between tabs, found 3: '1 oui INTJ'",
    ),
    "too few columns": ("1\ta\tb\n", ", line 1: expected at least 4 columns between tabs, found 3"),
    "no number": (
        CONLLU.replace("2\tle", "two\tle"),
        ", line 6, column 1: expected a number, found 'two'",
    ),
    "a word too few": (
        CONLLU.replace("1\tde\tde\tADP\n", ""),
        ", line 5, column 1: expected 1, found 2; a blank line ends a sentence",
    ),
    "a blank line too few": (
        CONLLU.replace("NOUN\n\n", "NOUN\n"),
        ", line 10, column 1: expected 4, found 1; a blank line ends a sentence",
    ),
    "no label": (
        CONLLU.replace("oui\tINTJ", "oui\t"),
        ", line 11, column 4: expected a label, found nothing",
    ),
    "no token": (
        CONLLU.replace("1\toui", "1\t "),
        ", line 11, column 2: expected a token, found nothing",
    ),
}


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_line_and_column_are_named(self, tmp_path: Path, mistake: str) -> None:
        text, expected = MISTAKES[mistake]
        with pytest.raises(DataError) as refused:
            read(tmp_path / "t.conllu", text)
        assert str(refused.value).startswith(f"{tmp_path / 't.conllu'}{expected}")

    def test_of_a_document_that_never_began(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="line 1: expected `# newdoc` or -DOCSTART- before"):
            read(tmp_path / "t.conll", "a X\n", group="document")

    def test_of_an_encoding(self, tmp_path: Path) -> None:
        (tmp_path / "t.conll").write_bytes(b"a X\ncaf\xe9 X\n")
        with pytest.raises(DataError, match="line 2: expected text in utf-8"):
            read(tmp_path / "t.conll")
        assert read(tmp_path / "t.conll", encoding="latin-1")["token"].to_pylist() == ["a", "café"]


class TestToPredict:
    """A file whose name does not say that it has columns may have a sentence on each line."""

    def tokens(self, path: Path, text: str) -> list[str]:
        path.write_text(text)
        data = ConllData(source="conll", path=str(path))
        batches = conll.read(data, path, labelled=False)
        return [token for batch in batches for token in batch["token"].to_pylist()]

    @pytest.mark.parametrize(
        "text", ["It rains today\nAda reads books\n", "It rains\n\nAda reads\n", "It rains"]
    )
    def test_sentences_are_no_columns(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(DataError, match="expected a token a line and an empty line after each"):
            self.tokens(tmp_path / "t.txt", text)
        assert self.tokens(tmp_path / "t.conll", text) == [
            line.split()[0] for line in text.splitlines() if line
        ]

    @pytest.mark.parametrize("text", ["It PRP\nrains VB\n\nAda NN\n", "It\nrains\n", "It\n\nrains"])
    def test_columns_are_read(self, tmp_path: Path, text: str) -> None:
        expected = [line.split()[0] for line in text.splitlines() if line]
        assert self.tokens(tmp_path / "t.txt", text) == expected
