"""What the gate judges, and what it finds: answers of a model, and checks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of the test sequences, beside what is true.

    Attributes:
        actual: (N,) true class of each label.
        predicted: (N,) class that the model gives.
        probabilities: (N, C) that it gives each class.
        offsets: (S + 1,) int64, where the labels of each sequence begin; see
            `Sequences.label_offsets`.
        lengths: (S,) int64 steps of each sequence.
        groups: (S,) int64 from 0, the number of the group of each sequence: what is independent.
    """

    actual: Ints
    predicted: Ints
    probabilities: Floats
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def num_groups(self) -> int:
        """How many there are."""
        return int(self.groups.max()) + 1

    @property
    def group_of_row(self) -> npt.NDArray[np.int64]:
        """The group of each label, (N,)."""
        return np.repeat(self.groups, np.diff(self.offsets))

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which labels are predicted right, (N,)."""
        right: npt.NDArray[np.bool_] = self.actual == self.predicted
        return right


@dataclass(frozen=True, slots=True)
class Served:
    """What models say that serve, or have served, of the same sequences.

    Attributes:
        champion: the one that serves, if one does.
        reference: an earlier one; None where it is the champion, or where there is none.
    """

    champion: Answers | None = None
    reference: Answers | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Attributes:
        name: what it asks for, such as `headline`.
        passed: whether it is so.
        figures: what this rests on.
        sentence: the finding, for a newcomer.
    """

    name: str
    passed: bool
    figures: dict[str, float]
    sentence: str
