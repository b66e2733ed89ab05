"""Tables written in every way: each is read as what was written, or refused in one line."""

import csv
import io
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birnn import params
from birnn.errors import BirnnError
from birnn.files.reading import Skipped
from birnn.sources import guesses, ingestion

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
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(written=tables())
def test_is_refused_for_a_reason(tmp_path: Path, written: Written) -> None:
    """What is well written can be refused only where there are two ways to read it."""
    (tmp_path / "t.csv").write_bytes(written.content)
    found = read(tmp_path / "t.csv")
    assert not isinstance(found, str) or any(reason in found for reason in REFUSED), found
