"""Which column of a file of tagged sentences holds the words, which the tags: guessed.

    words.sample(Path("train.tsv"), encoding=None)     # Words, or None where it is no such file
    words.section(found, skipped)                      # {"format": "columns", "token": 2}

Where nothing else is known, words stand in the first column and tags in the last one. But the first
may number the words of a sentence, or name it, and the last may be empty or hold brackets.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from birnn.errors import DataError
from birnn.files.reading import Skipped, lines
from birnn.sources import conll
from birnn.sources.headers import NUMBER

MOST_LINES = 20_000
OF_CONLLU = 10  # columns
BRACKETS = re.compile(r"\(\w.*|.*\*.*|\d+\)")
"""What CoNLL-2012 puts beside words for what spans several: (DATE*, *), (12."""
OUTSIDE = "O"

Row = list[str]


@dataclass(frozen=True, slots=True)
class Words:
    """The first lines of such a file.

    Attributes:
        path: the file.
        sentences: the columns of each word, sentence by sentence.
        blanks: whether any blanks may stand between columns.
        tabs: whether tabs alone may.
    """

    path: Path
    sentences: list[list[Row]]
    blanks: bool
    tabs: bool

    @property
    def rows(self) -> list[Row]:
        """Those of all sentences."""
        return [row for sentence in self.sentences for row in sentence]

    def values(self, column: int) -> list[str]:
        """What stands in a column, from 0."""
        return [row[column] for row in self.rows]

    def counts(self, column: int) -> bool:
        """Whether a column numbers the words of each sentence."""
        several = [one for one in self.sentences if len(one) > 1]
        return bool(several) and all(
            [row[column] for row in one] in (_numbers(one, 0), _numbers(one, 1)) for one in several
        )

    def names(self, column: int) -> bool:
        """Whether a column has one value in each sentence, as names of sentences or files."""
        several = [one for one in self.sentences if len(one) > 1]
        same = all(len({row[column] for row in one}) == 1 for one in several)
        return len(several) > 1 and same


def _numbers(sentence: list[Row], first: int) -> list[str]:
    return [str(number) for number in range(first, len(sentence) + first)]


def sample(path: Path, encoding: str | None) -> Words | None:
    """Read the first lines; None where they are not words with columns beside them.

    That is, all have as many columns, two or more, and empty lines stand between some.
    """
    given = [line.rstrip("\r\n") for line in islice(lines(path, encoding), MOST_LINES)]
    blanks = _sentences([conll.words(line) for line in given])
    tabs = _sentences([line.split("\t") for line in given])
    found = blanks or tabs
    return Words(path, found, blanks is not None, tabs is not None) if found else None


def _sentences(rows: list[Row]) -> list[list[Row]] | None:
    """The words of each sentence, or None where they have different numbers of columns."""
    found: list[list[Row]] = [[]]
    plain = [row for row in rows if any(row) and row[0] != conll.DOCUMENT]
    widths = Counter(len(row) for row in plain if row[0][:1] != "#") or Counter(map(len, plain))
    width = widths.most_common(1)[0][0] if widths else 0
    for row in rows:
        if not any(row):
            found.append([])
        elif len(row) == width and row[0] != conll.DOCUMENT:
            found[-1].append(row)
        elif not row[0].startswith(("#", conll.DOCUMENT)):
            return None
    ends = any(not any(row) for row in rows[:-1])
    return [one for one in found if one] if ends and width > 1 else None


def section(found: Words, skipped: Skipped) -> dict[str, Any]:
    """The keys of `data` that say how to read such a file.

    Args:
        found: its first lines.
        skipped: told of a column that is taken for the tags and is not the last one.

    Raises:
        DataError: all columns hold numbers.
    """
    width = len(found.rows[0])
    if all(NUMBER.fullmatch(value) for row in found.rows for value in row):
        raise DataError(
            f"{found.path}: expected words, found numbers alone between blanks; write a table with "
            "a header, and a column `sequence` that says which rows belong together"
        )
    if width == OF_CONLLU and found.counts(0):
        between = {} if found.tabs else {"separator": "whitespace"}
        return {"format": "conllu"} | _label_of_conllu(found) | between
    token = next((n for n in range(width - 1) if not (found.counts(n) or found.names(n))), 0)
    label = _label(found, token)
    given: dict[str, Any] = {"format": "columns"}
    if token:
        given["token"] = token + 1
        skipped.note(
            f"column {token + 1} as the words, since those before it name or number them",
            str(found.path),
        )
    if label != width - 1:
        given["label"] = label + 1
        skipped.note(
            f"column {label + 1} as the tags, since no later one has tags", str(found.path)
        )
    return given | ({} if found.blanks else {"separator": "tab"})


def _label_of_conllu(found: Words) -> dict[str, int]:
    """The column of UPOS, or the next one with tags where it is empty."""
    return {} if len({*found.values(3)}) > 1 else {"label": 5}


def _label(found: Words, token: int) -> int:
    """The last column with tags: several, or that of what is no name."""
    last = len(found.rows[0]) - 1
    for column in range(last, token, -1):
        values = {*found.values(column)}
        if any(map(BRACKETS.fullmatch, values)):
            continue
        if len(values) > 1 or OUTSIDE in values:
            return column
    return last
