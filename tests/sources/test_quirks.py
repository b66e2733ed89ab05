"""Files written in every way: each is read as what was written, or refused in one line.

Thousands of each with `make test-long`.
"""

import csv
import io
import itertools
import json
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birnn import params
from birnn.errors import BirnnError
from birnn.files.reading import Skipped
from birnn.sources import guesses, ingestion

FUZZ = settings(
    max_examples=examples(50, 3000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
WORDS = st.text(alphabet="ab1\"',;|\t\n é", min_size=1, max_size=4).filter(str.strip)
NUMBERS = st.floats(-60000, 60000, width=16) | st.integers(-9999, 9999)


class Written(NamedTuple):
    """A table, and the bytes of its file."""

    sequence: list[str]
    word: list[str]
    x: list[float]
    label: list[str]
    content: bytes
    text: str


@st.composite
def tables(draw: st.DrawFn) -> Written:
    lengths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=6))
    sequence = [f"s{number}" for number, length in enumerate(lengths) for _ in range(length)]
    rows = len(sequence)
    word = draw(st.lists(WORDS, min_size=rows, max_size=rows))
    x = [float(one) for one in draw(st.lists(NUMBERS, min_size=rows, max_size=rows))]
    label = draw(st.lists(st.sampled_from(["p", "q", "né"]), min_size=rows, max_size=rows))
    delimiter = draw(st.sampled_from(",;|\t"))
    comma, once = draw(st.booleans()), draw(st.booleans())
    whole = io.StringIO()
    writer = csv.writer(
        whole,
        delimiter=delimiter,
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    writer.writerow(["Sentence #", "Word", "x", "Tag"])
    for row in range(rows):
        again = once and row > 0 and sequence[row] == sequence[row - 1]
        shown = repr(x[row]).replace(".", "," if comma else ".")
        writer.writerow(["" if again else sequence[row], word[row], shown, label[row]])
    text = whole.getvalue()
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])))
    return Written(sequence, word, x, label, content, text)


def read(path: Path) -> dict[str, list[Any]] | str:
    """What is in a file, as it is guessed; or the message."""
    try:
        section = guesses.of(path, "tagging").section
        batches = ingestion.rows(params.data(section), Skipped())
        return dict(pa.Table.from_batches(batches).to_pydict())
    except BirnnError as error:
        return str(error)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@FUZZ
@given(written=tables())
def test_is_read_as_it_was_written(tmp_path: Path, name: str, written: Written) -> None:
    (tmp_path / name).write_bytes(written.content)
    found = read(tmp_path / name)
    if isinstance(found, str):
        assert not set(found) & {"\n", "\r"}
        return
    assert found["sequence"] == written.sequence
    assert found["x"] == written.x
    assert found["label"] == written.label
    words = [unicodedata.normalize("NFC", word) for word in written.word]
    assert found["token"] == words


REFUSED = ("read in one way", "rows on each side of it", "whose values come in runs")


@FUZZ
@given(written=tables())
def test_is_refused_for_a_reason(tmp_path: Path, written: Written) -> None:
    """What is well written can be refused only where there are two ways to read it."""
    (tmp_path / "t.csv").write_bytes(written.content)
    found = read(tmp_path / "t.csv")
    assert not isinstance(found, str) or any(reason in found for reason in REFUSED), found


# Letters, signs of each format, other blanks, marks that belong to a letter, beyond the first plane
SIGNS = "ab#-_\"'\\,;|:{}[]()<>&=0.é\u0301\u00a0\u3000\u200b\u2028\ufeff中\U0001f600\x1c\x85\x00"
TOKENS = st.text(alphabet=SIGNS, min_size=1, max_size=5)
TAGS = st.sampled_from(["O", "B-PER", "I-PER", "é", "1"])


def composed(words: list[str]) -> list[str]:
    return [unicodedata.normalize("NFC", word) for word in words]


def check(found: dict[str, list[Any]] | str, sentences: list[list[tuple[str, str]]]) -> None:
    """Of sentences with tags: as they were written, or refused in a line."""
    if isinstance(found, str):
        assert not set(found) & {"\n", "\r"}
        return
    assert found["token"] == composed([word for one in sentences for word, _ in one])
    assert found["label"] == composed([tag for one in sentences for _, tag in one])
    runs = [len([*rows]) for _, rows in itertools.groupby(found["sequence"])]
    assert runs == [len(one) for one in sentences]


def tagged(words: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[tuple[str, str]]]]:
    sentence = st.lists(st.tuples(words, TAGS), min_size=1, max_size=5)
    return st.lists(sentence, min_size=2, max_size=6)


@FUZZ
@given(data=st.data(), sentences=tagged(TOKENS))
def test_lists_are_read_as_they_were_written(
    tmp_path: Path, data: st.DataObject, sentences: list[list[tuple[str, str]]]
) -> None:
    rows: list[dict[str, Any]] = []
    named, more = data.draw(st.booleans()), data.draw(st.booleans())
    for number, sentence in enumerate(sentences):
        row: dict[str, Any] = {"tokens": [word for word, _ in sentence]}
        row["ner_tags"] = [tag for _, tag in sentence]
        row |= {"id": f"é{number}"} if named else {}
        row |= {"pos": [1] * len(sentence), "note": None} if more else {}
        rows.append(dict(data.draw(st.permutations([*row.items()]))))
    form: dict[str, Any] = {
        "ensure_ascii": data.draw(st.booleans()),
        "separators": data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")])),
    }
    if data.draw(st.booleans()):
        end = data.draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
        content = end.join(json.dumps(row, **form) for row in rows)
        name = "t.jsonl"
    else:
        tree = data.draw(st.sampled_from([rows, {"version": "1", "data": rows}]))
        content = json.dumps(tree, indent=data.draw(st.sampled_from([None, 1])), **form)
        name = "t.json"
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig"]))
    (tmp_path / name).write_bytes(content.encode(encoding))
    found = read(tmp_path / name)
    assert not isinstance(found, str), found
    check(found, sentences)
    if named:
        assert [*dict.fromkeys(found["sequence"])] == [row["id"] for row in rows]


@pytest.mark.parametrize("kind", ["columns", "conllu"])
@FUZZ
@given(data=st.data(), sentences=tagged(TOKENS))
def test_sentences_are_read_as_they_were_written(
    tmp_path: Path, kind: str, data: st.DataObject, sentences: list[list[tuple[str, str]]]
) -> None:
    """Words may hold blanks that are none of ASCII's, such as 10 000 in French."""
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    tabs = kind == "conllu" or data.draw(st.booleans())
    separator = "\t" if tabs else data.draw(st.sampled_from([" ", "  ", " \t"]))
    first, tag = sentences[0][0]
    sentences[0][0] = f"a{first}", tag  # with # it would be a comment, which is told
    lines: list[str] = []
    for sentence in sentences:
        if data.draw(st.booleans()):
            comment = "# text = a b" if kind == "conllu" else "-DOCSTART- -X- O"
            lines += [comment] if kind == "conllu" else [comment, ""]
        for number, (word, tag) in enumerate(sentence, 1):
            columns = [str(number), word, "_", tag] if kind == "conllu" else [word, "x", tag]
            lines.append(separator.join(columns) + data.draw(st.sampled_from(["", " "])))
        lines += [""] * data.draw(st.integers(1, 2))
    content = end.join(lines) + data.draw(st.sampled_from(["", end]))
    path = tmp_path / ("t.conllu" if kind == "conllu" else "t.conll")
    path.write_bytes(content.encode(data.draw(st.sampled_from(["utf-8", "utf-8-sig"]))))
    check(read(path), sentences)


SPELLINGS = st.sampled_from(
    [
        *("1", "-2", "+3", "1.5", ".5", "2.", "1e3", "1E-3", "1e400", "0x10", "1_000", "007"),
        *("", "NA", "N/A", "NaN", "nan", "-nan", "null", "None", "inf", "-Infinity", "--1"),
        *(" 1", "1 ", "\t1", "1,5", "1,500", "1.000,5", "½", "1%", "$1", "10:30", "true", "False"),
        *("9007199254740993", "0.1000000000000000055511151231257827", "1e-320", "4.9e-324"),
        *("\u0661", "\uff11"),  # digits of Arabic, and a wide one
    ]
)


@FUZZ
@given(
    values=st.lists(SPELLINGS, min_size=4, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_numbers_are_those_of_pandas(
    tmp_path: Path, values: list[str], delimiter: str, quoting: Any
) -> None:
    """Where both read numbers; what pandas takes for text is never a number here but by a rule."""
    whole = io.StringIO()
    writer = csv.writer(whole, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerow(["sequence", "x", "label"])
    writer.writerows([f"s{n // 2}", value, "pq"[n % 2]] for n, value in enumerate(values))
    (tmp_path / "t.csv").write_text(whole.getvalue(), encoding="utf-8")
    section = {"source": "table", "task": "tagging", "path": str(tmp_path / "t.csv")}
    skipped = Skipped()
    try:
        found = pa.Table.from_batches(ingestion.rows(params.data(section), skipped))
    except BirnnError:  # whose lines other tests look at
        return
    comma = any("decimal comma" in what for what in skipped.noted)
    theirs = pd.read_csv(tmp_path / "t.csv", sep=delimiter, decimal="," if comma else ".")
    numbers = pd.to_numeric(theirs["x"], errors="raise").to_numpy(float)
    np.testing.assert_array_max_ulp(found["x"].to_numpy(), numbers, maxulp=1)
