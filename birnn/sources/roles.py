"""What the columns of somebody's file are for, guessed from their names and first values.

columns = [Column("Zeit", ["0.1", "0.2"]), Column("Zustand", ["an", "aus"])]
label_of(columns, [])        # the second
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

from birnn.files.tables import SPLITS
from birnn.sources import table
from birnn.sources.columns import standard_split
from birnn.sources.headers import NUMBER, WORDS_OF_A_TEXT
from birnn.sources.inspection import LEAST_ROWS
from birnn.sources.moments import LEAST_EPOCH, is_time

NAMES = {
    "sequence": (
        *("sequence", "sequenceid", "seq", "seqid", "sentence", "sentenceid", "sentid", "sent"),
        *("sentenceidx", "sentidx", "seqidx", "sequenceidx"),
        *("series", "seriesid", "session", "sessionid", "trial", "trialid", "run", "runid"),
        *("episode", "episodeid", "segment", "segmentid", "recording", "recordingid", "id"),
    ),
    "label": (
        *("label", "labels", "nertags", "nertag", "ner", "tags", "tag", "class", "target"),
        *("category", "activity", "state", "status", "klasse", "zustand"),
    ),
    "token": ("token", "tokens", "word", "words", "form"),
    "group": (
        *("group", "groupid", "speaker", "speakerid", "patient", "patientid", "subject"),
        *("subjectid", "user", "userid", "document", "documentid", "doc", "docid"),
    ),
}
"""What people call the columns, without spaces and signs; the first that is there is taken."""
NUMBERS_OF_ROWS = ("unnamed0", "index", "row", "rowid", "rownumber")
OF_TIME = ("time", "timestamp", "ts", "epoch", "date", "datetime", "zeit", "t", "datum")
OF_SPLIT = ("split", "set", "subset", "partition", "fold")
OF_LABEL = ("label", "class", "target")  # with which the name of a label ends, as SepsisLabel
LETTERS, LEAST_LETTERS = re.compile(r"[A-Z*-]+|[a-z*-]+"), 10
"""What DNA and proteins look like, and how many letters they have at least, in the mean."""
WITHOUT_LABEL = ("unsup", "unlabeled", "unlabelled")
"""What people call a folder of texts that nobody has labelled."""
MOST_CLASSES = 200


@dataclass(frozen=True)
class Column:
    """The first values of a column, as text."""

    name: str
    values: Sequence[str]

    @cached_property
    def plain(self) -> str:
        """Its name without spaces and signs, in small letters."""
        return re.sub(r"[\W_]", "", self.name.lower())

    @cached_property
    def filled(self) -> list[str]:
        """The values that are there."""
        return [value for value in self.values if value]

    @cached_property
    def kind(self) -> str:
        """What most would say is in it: numbers, whole or not, times, or text."""
        some = [value for value in self.filled if value not in table.ABSENT]
        if some and all(value.lower() in ("true", "false") for value in some):
            return "number"
        if some and all(NUMBER.fullmatch(value) for value in some):
            return (
                "whole" if all(re.fullmatch(r"\s*[+-]?\d+\s*", one) for one in some) else "number"
            )
        return "time" if some and is_time(some[0]) else "text"

    @cached_property
    def distinct(self) -> int:
        """How many different values there are."""
        return len({*self.filled})

    @property
    def counts_rows(self) -> bool:
        """Whether it holds the numbers of the rows."""
        many = len(self.values) >= LEAST_ROWS or self.plain in NUMBERS_OF_ROWS
        if self.kind != "whole" or not many or len(self.filled) < len(self.values):
            return False
        return all(int(b) - int(a) == 1 for a, b in pairwise(self.values))

    @property
    def down(self) -> list[str]:
        """The values, with those that stand on a first row alone repeated below it."""
        found, last = [], ""
        for value in self.values:
            last = value or last
            found.append(last)
        return found

    @property
    def runs(self) -> int:
        """How many runs of one value there are; 0 where a value comes back after another."""
        values = [value for value, _ in groupby(self.down)]
        return len(values) if len({*values}) == len(values) and "" not in values else 0


def by_name(columns: Sequence[Column], role: str) -> Column | None:
    """The column whose name says what it is."""
    for name in (role, *NAMES[role]):
        for column in columns:
            if name in (column.name, column.plain) and not (name == role != column.name):
                return column
    return None


def sequence_of(columns: Sequence[Column], others: Sequence[Column | None]) -> Column | None:
    """The column with the ids of sequences: by its name, or since its values come in runs."""
    left = [one for one in columns if one not in others]
    left.sort(key=lambda one: one.name != "sequence")
    for name in NAMES["sequence"]:
        for column in left:
            repeats = 0 < column.runs < len(column.values)
            if column.name == "sequence" or (column.plain == name and repeats):
                return column
    grouped = [
        one
        for one in left
        if one.kind in ("whole", "text") and one.plain not in (*NAMES["group"], *OF_TIME)
        if 1 < one.runs < len(one.values)
    ]
    return max(grouped, key=lambda one: one.runs, default=None)


def label_of(columns: Sequence[Column], others: Sequence[Column | None]) -> Column | None:
    """The column with the classes: by its name, or the last one that may be classes."""
    if (named := by_name(columns, "label")) is not None:
        return named
    for column in columns:
        if column.plain.endswith(OF_LABEL) and column not in others:
            return column
    names = {*NAMES["group"], *NAMES["sequence"], "split"}
    left = [one for one in columns if one not in others and one.plain not in names]
    left = [one for one in left if len(one.filled) == len(one.values)]
    left = [one for one in left if one.kind == "text" or not {*table.ABSENT} & {*one.values}]
    few = [one for one in left if 2 <= one.distinct <= _most_classes(one)]
    texts = [one for one in few if one.kind == "text"]
    numbers = [one for one in few if one.kind == "whole"]
    return next((found[-1] for found in (texts, numbers) if found), None)


def is_called_sequence(column: Column) -> bool:
    """Whether a column's name says that it holds the ids of sequences."""
    return column.plain in NAMES["sequence"]


def is_called_label(column: Column) -> bool:
    """Whether a column's name says that it is the label."""
    return column.plain in NAMES["label"] or column.plain.endswith(OF_LABEL)


def _most_classes(column: Column) -> int:
    return min(MOST_CLASSES, max(2, len(column.values) // 2))


def others_of(rest: Sequence[Column], ids: Sequence[str], token: Column | None) -> dict[str, Any]:
    """The columns of tokens, groups and splits, if there are any."""
    group = by_name([one for one in rest if one is not token], "group")
    split = next((one for one in rest if _is_split(one)), None)
    return {
        "token": token,
        "group": group if group and is_constant(group, ids) else None,
        "split": split,
    }


def beside_texts(rest: Sequence[Column]) -> dict[str, Any]:
    """The columns of groups and splits beside texts, and of the others what travels with them."""
    group = by_name(rest, "group")
    if group and not 1 < group.distinct < len(group.filled) == len(group.values):
        group = None
    split = next((one for one in rest if one is not group and _is_split(one)), None)
    own = {role: one.name for role, one in (("group", group), ("split", split)) if one}
    ways = leftovers([one for one in rest if one.name not in own.values()])
    return own | {key: names for key, names in ways.items() if key == "keep"}


def _is_split(column: Column) -> bool:
    if column.plain not in OF_SPLIT or not column.filled:
        return False
    return {standard_split(value) for value in column.filled} <= {*SPLITS}


def is_constant(column: Column, ids: Sequence[str]) -> bool:
    """Whether a column has one value in each sequence, of which some have several steps."""
    pairs = {*zip(ids, column.down, strict=True)}
    return len(pairs) == len({*ids}) and 1 < len(pairs) < len(ids)


def leftovers(rest: Sequence[Column]) -> dict[str, list[str]]:
    """What no model can read travels with the rows; the numbers of rows are left out."""
    ignored = [one.name for one in rest if one.counts_rows and one.name]
    kept = [
        one.name
        for one in rest
        if one.name not in ignored
        and (one.kind in ("text", "time") or _is_clock(one))
        and one.filled
    ]
    return {key: names for key, names in (("ignore", ignored), ("keep", kept)) if names}


def _is_clock(column: Column) -> bool:
    """Whether it holds seconds, or parts of them, since 1970."""
    if column.plain not in OF_TIME:
        return False
    values = [float(value.replace(",", ".")) for value in column.filled if NUMBER.fullmatch(value)]
    return bool(values) and min(values) >= LEAST_EPOCH


def texts_of(
    columns: Sequence[Column], label: Column | None, *, sure: bool
) -> dict[str, str] | None:
    """How to read a file with a text a row; None if it is none.

    Args:
        columns: the file's.
        label: the one with the classes.
        sure: whether nothing else says what it is, so that any column of sentences will do.
    """
    left = [one for one in columns if one is not label]
    texts = [one for one in left if one.plain in ("text", "texts")]
    if not texts and sure and label is not None:
        texts = [one for one in left if one.kind == "text" and _words(one) >= WORDS_OF_A_TEXT]
    if not texts:
        return None
    own = {"text": texts[0].name, "label": label.name if label else "label"}
    return {key: name for key, name in own.items() if key != name}


def _words(column: Column) -> float:
    some = column.filled[:1000]
    return sum(len(value.split()) for value in some) / max(1, len(some))


def letters_of(columns: Sequence[Column], label: Column | None) -> Column | None:
    """The column with DNA, proteins and the like: long words of letters, and none of them twice."""
    for one in columns:
        named = one.plain in ("sequence", "seq", "dna", "protein", "text")
        words = [value.strip() for value in one.filled]
        if named and one is not label and words and one.distinct == len(words):
            long = sum(map(len, words)) >= LEAST_LETTERS * len(words)
            if long and all(map(LETTERS.fullmatch, words)):
                return one
    return None


def list_of_classes(nested: Sequence[Column], token: Column | None) -> Column | None:
    """The list whose name ends in `tags` or `labels`."""
    left = [one for one in nested if one is not token]
    return next((one for one in left if one.plain.endswith(("tags", "labels"))), None)
