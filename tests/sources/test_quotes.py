"""Quotes, compared with what the csv module reads."""

import csv
import io

import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.errors import DataError
from birnn.sources import quotes
from birnn.sources.quotes import Quotes

WIDE = 9  # fields of a header, of which no line has as many


def seen(lines: list[str], delimiter: str = ",") -> tuple[bool, int, int]:
    """Whether quotes are well placed, how many rows have several lines, and where the first is."""
    look = Quotes(delimiter, WIDE, lambda byte: f"byte {byte}")
    try:
        for line in lines:
            look.add(line.encode())
        look.end()
    except DataError:
        return False, 0, 0
    fields = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=delimiter)
    assert look.ends_within == any({"\n", "\r"} & set("".join(row)) for row in fields)
    return True, look.several, look.first


def expected(text: str, delimiter: str) -> tuple[bool, int, int]:
    source = io.StringIO(text, newline="")
    ends, several, first = [0], 0, 0
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    lines = text.splitlines(keepends=True)
    try:
        for _ in reader:
            begin, end = ends[-1], reader.line_num
            ends.append(end)
            if end > begin + 1:
                first = first if several else len("".join(lines[:begin]))
                several += 1
    except csv.Error:
        return False, 0, 0
    return True, several, first


@settings(max_examples=examples(300, 30_000), deadline=None)
@given(
    text=st.text(alphabet='aaa"""",,;\n', max_size=30),
    end=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from(",;"),
    data=st.data(),
)
def test_as_the_csv_module_reads(text: str, end: str, delimiter: str, data: st.DataObject) -> None:
    text = text.replace("\n", end)
    lines = text.splitlines(keepends=True)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(lines)), max_size=3)))
    starts, ends = [0, *cuts], [*cuts, len(lines)]
    parts = ["".join(lines[a:b]) for a, b in zip(starts, ends, strict=True)]
    assert seen(parts, delimiter) == expected(text, delimiter)


def look_at(text: str) -> Quotes:
    look = Quotes(",", 2, lambda byte: f"byte {byte}")
    for line in text.encode().splitlines(keepends=True):
        look.add(line)
    look.end()
    return look


@pytest.mark.parametrize("row", ['a,"b\nc"', '"a\nb",c', '"a,b\nc,d,e"', 'a,"b""\nc""d"'])
def test_lines_of_a_text(row: str) -> None:
    look = look_at(f"x,y\n{row}\n")
    assert (look.several, look.first) == (1, 4)


@pytest.mark.parametrize("row", ['a,"b\nc', 'a,"b"c', '"a,b\nc,d"', 'a,"b""\nc,""d"'])
def test_quotes_that_swallow(row: str) -> None:
    """Rows by themselves are no lines of a text."""
    with pytest.raises(DataError, match=r"^byte [46]: expected a"):
        look_at(f"x,y\n{row}\n")


def test_a_row_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotes, "LONGEST_OPEN", 100)
    with pytest.raises(
        DataError, match=r"^byte 4: expected a quoted field to end .* found 'a,\"b'"
    ):
        look_at('a,b\na,"b\n' + "and so on\n" * 100 + '"\n')
