"""Quotes in a table: whether each pair encloses a whole field, and which rows have several lines.

    quotes = Quotes(",", width=3, place=lambda byte: f"t.csv, byte {byte}")
    for lines in ...: quotes.add(lines)
    quotes.end()

A quote that is meant as a plain character would swallow the rows up to the next one. In a field
that does not begin with a quote, such as `5" disk`, all readers take quotes for plain characters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from birnn.errors import DataError

LONGEST_OPEN = 1 << 22  # bytes of a row in which a quoted field has not ended yet
LINE, RETURN, QUOTE = b'\n\r"'
PLAIN_QUOTE = 'write a quote that is a plain character as """"'

WORD = np.dtype("<u8")
Mask = npt.NDArray[np.bool_]


class Quotes:
    """What is seen of the quotes, some lines at a time.

    Attributes:
        ends_within: whether there is the end of a line between quotes, of any system's lines.
        several: how many rows have several lines.
        first: the byte at which the first of these begins.
    """

    def __init__(self, delimiter: str, width: int, place: Callable[[int], str]) -> None:
        """Begin a table.

        Args:
            delimiter: what stands between fields.
            width: how many fields the header has.
            place: names the line of a byte, for messages.
        """
        self.delimiter, self.width, self.place = delimiter, width, place
        self.ends_within, self.several, self.first = False, 0, 0
        self.done = 0  # bytes of whole rows
        self.left = b""  # of a row that goes on

    def add(self, lines: bytes) -> None:
        """Look at some more lines, all with their ends but for the last one of a file.

        Raises:
            DataError: quotes enclose a part of a field, or whole rows.
        """
        if not self.left and b'"' not in lines:
            self.done += len(lines)
            return
        lines = b"\n" + self.left + lines  # so that each row stands behind the end of a line
        letters = np.frombuffer(lines, np.uint8)
        ends = letters == LINE
        within = self._within(lines, letters, ends)
        some = bool((ends & within).any())
        self.ends_within |= some or (b"\r" in lines and bool(within[letters == RETURN].any()))
        plain = not within[-1] and not some
        start = len(lines) if plain else self._check_rows(lines, ends, within)
        self.left = lines[start:]
        self.done += start - 1

    def end(self) -> None:
        """Refuse a quote that is open where the file ends.

        Raises:
            DataError: names the line at which its row begins.
        """
        if self.left:
            self._refuse(self.left, self.done)

    def _within(self, lines: bytes, letters: npt.NDArray[np.uint8], ends: Mask) -> Mask:
        """Tell which letters stand between quotes, the first quote itself being one of them."""
        quotes = letters == QUOTE
        within = _switched(quotes)
        # Of two quotes in a pair, one ends a field and the other goes on with it.
        beside = within | quotes | ends | (letters == ord(self.delimiter))
        if b"\r" in lines:
            beside |= letters == RETURN
        if (quotes[1:] > beside[:-1]).any() or (quotes[:-1] > beside[1:]).any():
            quotes[self._plain(lines, np.flatnonzero(quotes))] = False
            within = _switched(quotes)
        return within

    def _plain(self, lines: bytes, quotes: npt.NDArray[np.intp]) -> list[int]:
        """Find the quotes in fields that do not begin with one; takes ten times as long."""
        plain, start, doubled = [], 0, False
        for place, after in zip(quotes.tolist(), [*quotes[1:].tolist(), 0], strict=True):
            if doubled:
                doubled = False
            elif not start and lines[place - 1] in (LINE, RETURN, ord(self.delimiter)):
                start = place
            elif not start:
                plain.append(place)
            elif after == place + 1:
                doubled = True
            elif lines[place + 1 : place + 2] in (b"", b"\n", b"\r", self.delimiter.encode()):
                start = 0
            else:
                self._refuse(lines[start:], self.done + start - 1)
        return plain

    def _check_rows(self, lines: bytes, ends: Mask, within: Mask) -> int:
        """Look at the rows of several lines.

        Returns:
            Where the row begins that goes on; the length of all where there is none.
        """
        rows = np.append(np.flatnonzero(ends & ~within), len(lines))
        several = np.unique(np.searchsorted(rows, np.flatnonzero(ends & within)))
        for start, end in zip(rows[several - 1].tolist(), rows[several].tolist(), strict=True):
            if end < len(lines) or not within[-1]:
                self._check_row(lines[start + 1 : end], self.done + start)
        if not within[-1]:
            return len(lines)
        start = int(rows[-2]) + 1
        if len(lines) - start > LONGEST_OPEN:
            self._refuse(lines[start:], self.done + start - 1)
        return start

    def _check_row(self, row: bytes, place: int) -> None:
        """Refuse a row of several lines that are rows by themselves, with all fields.

        The lines of a text in quotes are not.
        """
        between = self.width - 1
        if all(line.count(self.delimiter.encode()) == between for line in row.split(b"\n")):
            raise DataError(
                f"{self.place(place)}: expected a row in one line, found the end of a line between "
                f"quotes, and rows on each side of it; {PLAIN_QUOTE}"
            )
        self.first = self.first if self.several else place
        self.several += 1

    def _refuse(self, rest: bytes, place: int) -> None:
        found = rest[:60].split(b"\n")[0].decode(errors="replace")
        raise DataError(
            f"{self.place(place)}: expected a quoted field to end before the next "
            f"{self.delimiter!r} or the line's end, found {found!r}; {PLAIN_QUOTE}"
        )


def _switched(quotes: Mask) -> Mask:
    """Whether the number of quotes up to each letter is odd.

    64 letters at a time, a bit for each: a fifth of the time of one letter after the other.
    """
    packed = np.packbits(quotes, bitorder="little")
    words = np.zeros(-(-len(packed) // WORD.itemsize), WORD)
    words.view(np.uint8)[: len(packed)] = packed
    for shift in (1, 2, 4, 8, 16, 32):
        words ^= words << np.uint64(shift)
    odd = np.bitwise_xor.accumulate(words >> np.uint64(63))  # up to the end of each word
    words[1:] ^= np.uint64(0) - odd[:-1]
    bits = words.view(np.uint8)
    return np.unpackbits(bits, count=len(quotes), bitorder="little").view(np.bool_)
