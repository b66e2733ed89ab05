"""Objects in JSON: one a line, in an array, or one after the other, without holding all of them.

A key that is there twice is refused; Python would take the last one without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from birnn.errors import DataError
from birnn.files.reading import one_line, opened

PART_CHARACTERS = 1 << 20  # that are read at a time
MOST_CHARACTERS = 1 << 27  # of a value, which Python makes ten times as large
BLANKS = re.compile(r"[ \t\r\n]*")


def of_line(line: str, place: str) -> dict[str, Any]:
    """Read the object of a line.

    Raises:
        DataError: names the place of what is no object, or has a key twice.
    """
    try:
        tree = DECODER.decode(line)
    except json.JSONDecodeError as error:
        found = f"{_plainly(error)} at character {error.pos + 1}{_hint(line, error.pos)}"
        raise DataError(f"{place}: expected JSON, found: {found}") from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{place}: expected JSON, found: {one_line(error)}") from None
    if not isinstance(tree, dict):
        array = "; if the file is an array, let its name end in .json"
        hint = array if isinstance(tree, list) else ""
        raise DataError(f"{place}: expected an object, found {line.strip()[:60]!r}{hint}")
    return tree


def _hint(line: str, place: int) -> str:
    """What to do about a line that is only a part of an object, or more than one."""
    if place >= len(line.rstrip()) and line.strip() in ("{", "["):
        return "; if an object has several lines, let the file's name end in .json"
    if line[place:].strip() == ",":
        return "; let no comma stand between the lines"
    return ""


def _plainly(error: json.JSONDecodeError) -> str:
    return error.msg.removesuffix(" at")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {doubled[:60]!r} twice")
    return tree


DECODER = json.JSONDecoder(object_pairs_hook=_once)


def of_file(path: Path) -> Iterator[Any]:
    """Read the values of an array, or those that follow one another, whatever they are.

    Raises:
        DataError: the file is no JSON, or a value is too large to be held.
        OSError, UnicodeError, EOFError, zlib.error: it cannot be read.
    """
    with opened(path, "utf-8-sig") as file:
        text = _Text(file, path)
        if text.next() != "[":
            while text.next():
                yield text.value()
            return
        text.skip("[")
        if text.next() != "]":
            yield text.value()
        while text.next() == ",":
            text.skip(",")
            yield text.value()
        text.skip("]")
        text.skip("")


class _Text:
    """A text that is read part by part."""

    def __init__(self, file: IO[str], path: Path) -> None:
        self.file, self.path = file, path
        self.text, self.at, self.done = "", 0, 0

    def next(self) -> str:
        """What comes next but blanks; nothing at the end."""
        while True:
            if found := BLANKS.match(self.text, self.at):
                self.at = found.end()
            if self.at < len(self.text) or not self._more():
                return self.text[self.at : self.at + 1]

    def skip(self, sign: str) -> None:
        """Pass over a sign; nothing stands for the end."""
        if self.next() != sign:
            self._refuse(f"{sign or 'nothing'} after the last value", self.text[self.at :][:60])
        self.at += len(sign)

    def value(self) -> Any:
        """Read a value."""
        self.next()
        while True:
            try:
                value, self.at = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:  # perhaps it goes on
                if not self._more():
                    self._refuse("JSON", _plainly(error))
            except (RecursionError, ValueError) as error:
                self._refuse("JSON", one_line(error))
            else:
                return value

    def _more(self) -> bool:
        """Read some more, at least as much as is held."""
        self.done += self.at
        self.text, self.at = self.text[self.at :], 0
        room = MOST_CHARACTERS - len(self.text)
        if not room:
            raise DataError(
                f"{self.path}: expected objects of up to {MOST_CHARACTERS >> 20} MB, found a "
                "larger one; write one object a line, in a file that ends in .jsonl"
            )
        more = self.file.read(min(room, max(PART_CHARACTERS, len(self.text))))
        self.text += more
        return bool(more)

    def _refuse(self, expected: str, found: str) -> NoReturn:
        place = f"{self.path}, character {self.done + self.at + 1}"
        raise DataError(f"{place}: expected {expected}, found: {one_line(found or 'the end')}")
