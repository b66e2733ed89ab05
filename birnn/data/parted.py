"""A prepared split in parts, which goes through memory a part at a time.

    train = parted.read("data/prepared/train.arrow")      # `Sequences` if it is one file
    for part, split in train.each(order=[2, 0, 1]): ...

One part is mapped at a time, and let go of before the next, so memory does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import overload

import numpy as np

from birnn.data import sequences
from birnn.data.sequences import UNLABELLED, Sequences, Tally
from birnn.files import parts
from birnn.files.parts import Place


@dataclass(frozen=True, slots=True)
class Parts:
    """A split in parts.

    Attributes:
        folder: that holds them.
        places: of the parts, in their order.
        tagging: whether there is a label for each step, not for each sequence.
        classes: labels of classes from this number on are left out; none where None.
    """

    folder: Path
    places: list[Place]
    tagging: bool
    classes: int | None = None

    def __len__(self) -> int:
        return sum(place.part.sequences for place in self.places)

    @property
    def longest(self) -> int:
        """Steps of the longest sequence."""
        return max(place.part.longest for place in self.places)

    @property
    def steps(self) -> int:
        """Steps of all sequences."""
        return sum(place.part.steps for place in self.places)

    def each(self, order: Iterable[int] | None = None) -> Iterator[tuple[int, Sequences]]:
        """Give parts in an order, each with its own number, and until the next is asked for."""
        for place in range(len(self.places)) if order is None else order:
            with sequences.opened(self.places[place]) as split:
                yield self.places[place].part.number, self._known(split)
                split.release()

    def whole(self) -> Sequences:
        """Give the split as if it were one file; see `birnn.data.sequences.read`."""
        return self._known(sequences.read(self.folder))

    def _known(self, split: Sequences) -> Sequences:
        return split if self.classes is None else known(split, self.classes)

    def tally(self) -> Tally:
        """Count labels and tokens of all parts, which are all read for that."""
        return reduce(Tally.plus, (split.tally() for _, split in self.each()))


@overload
def known(split: Sequences, classes: int) -> Sequences: ...
@overload
def known(split: Parts, classes: int) -> Parts: ...
def known(split: Sequences | Parts, classes: int) -> Sequences | Parts:
    """Leave out the labels of classes from a number on."""
    if isinstance(split, Parts):
        return replace(split, classes=classes)
    return replace(split, labels=np.where(split.labels < classes, split.labels, UNLABELLED))


def read(path: str | Path) -> Sequences | Parts:
    """Open a prepared split: mapped if it is one file, else with its parts.

    Raises:
        DataError: it is missing, or is none.
    """
    if not parts.is_parted(path):
        return sequences.read(path)
    places = parts.of(path)
    with sequences.opened(places[0]) as first:
        return Parts(Path(path), places, first.tagging)


def each(split: Sequences | Parts) -> Iterator[Sequences]:
    """Give the parts of a split, or the split itself where it is one file."""
    return (part for _, part in split.each()) if isinstance(split, Parts) else iter([split])


def whole(split: Sequences | Parts) -> Sequences:
    """Give a split as one, whatever it is."""
    return split.whole() if isinstance(split, Parts) else split
