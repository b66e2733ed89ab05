"""Whether a new model is really better: a pure function of what two models answer.

    found = checks(challenger, champion, labels=["a", "b"], aim="superior", ...)
    promotes(found)     # True where all have passed

All checks must pass. Testing many things of which *all* must be shown needs no correction: a model
that fails one of them gets through with at most the chance of that one (Berger, Multiparameter
Hypothesis Testing and Acceptance Sampling, 1982). It is otherwise with classes and lengths, where
a fall of *any* one refuses the model. There the chance of refusing one that falls nowhere by more
than the margin is kept to 5 % by Holm's correction over all of them together.

Sequences are what is independent, never the steps of one. The headline is compared by resampling
whole sequences, both models on the same ones; its 95 % interval leaves a model of equal quality one
chance in forty to be called better. A class or a bucket of lengths may have ten sequences, and the
correction asks for the far ends of the distribution, which few resamples reach; so these are
compared by the linearised difference and Student's t (see `_p_values`).
"""

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
    """

    actual: Ints
    predicted: Ints
    probabilities: Floats
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which labels are predicted right, (N,)."""
        right: npt.NDArray[np.bool_] = self.actual == self.predicted
        return right


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
