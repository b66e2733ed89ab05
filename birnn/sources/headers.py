"""Whether the first line of a table names its columns, and which texts were meant as numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from birnn.errors import DataError
from birnn.sources.table import ABSENT

NUMBER = re.compile(
    r"\s*[+-]?(?:(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?|nan)\s*", re.IGNORECASE
)
ALIKE = re.compile(
    r"[^\w\s]{0,2}\s?(?:\d[\d.,'_\u2019\s]*\s?(?:[^\w\s]|[A-Za-z]{1,3})?|0x[\da-f]+|[¼½¾])"
)
"""What people take for numbers: with a unit, a currency, or something between thousands."""
WORDS_OF_A_TEXT, ROWS = 4, 100
SWITCHES = {"yes", "no", "y", "n", "on", "off", "ja", "nein", "oui", "non", "true", "false"}


def check(path: Path, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    """Refuse a table whose header is a row of data, or is followed by one of units.

    Args:
        path: of the file.
        names: what the first line says.
        columns: the first values of each.

    Raises:
        DataError: see above.
    """
    if names and names[0].startswith("{"):
        raise DataError(
            f"{path}: expected names of columns in the first line, found JSON; let the file's name "
            "end in .jsonl"
        )
    if names and not _are_counted(names) and all(map(_is_value, names, columns)):
        for row, values in enumerate(zip(*columns, strict=False), 1):
            if [*values] == [*names] and not any(map(NUMBER.fullmatch, names)):
                raise DataError(f"{path}, row {row}: expected data, found the header; leave it out")
        raise DataError(
            f"{path}: expected names of columns in the first line, found a row of data: "
            f"{','.join(names)[:60]!r}; put a line above it, such as sequence,x,label"
        )
    numeric = [values for values in columns if len(values) > 2 and _are_numbers(values[1:ROWS])]
    begin = [values[0] for values in numeric]
    if any(begin) and not any(NUMBER.fullmatch(one) or one in ABSENT[1:] for one in begin):
        advice = "if it is a row of units or names, leave it out"
        if names[0].startswith("#"):
            advice = "leave out the lines that begin with #, above the names of columns"
        raise DataError(
            f"{path}, row 1: expected numbers as in the rows below, found "
            f"{next(filter(None, begin))[:60]!r}; {advice}"
        )


def _is_value(name: str, values: Sequence[str]) -> bool:
    """Whether what stands above a column is more likely one of its values than its name."""
    return bool(NUMBER.fullmatch(name)) or name in values or name.count(" ") >= WORDS_OF_A_TEXT


def _are_counted(names: Sequence[str]) -> bool:
    """Whether names are 0, 1, 2 and so on, as pandas gives them to columns without any."""
    return [*names] in ([str(n + first) for n in range(len(names))] for first in (0, 1))


def _are_numbers(values: Sequence[str]) -> bool:
    some = [value for value in values if value not in ABSENT]
    return bool(some) and all(NUMBER.fullmatch(value) for value in some)


def unread(values: Sequence[str]) -> list[str]:
    """Texts that keep a column from being read as numbers; none where most are plain text."""
    some = [value for value in values if value not in ABSENT]
    if {value.lower() for value in some} <= SWITCHES:
        return some
    plain = [value for value in some if NUMBER.fullmatch(value)]
    others = [value for value in some if not NUMBER.fullmatch(value)]
    alike = [value for value in others if ALIKE.fullmatch(value.replace("\u2212", "-"))]
    return others if 2 * (len(plain) + len(alike)) > len(some) else []
