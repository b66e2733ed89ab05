"""Answers for a sequence whose steps come one after the other.

    stream = Stream(network, encoding, thresholds, Options(look_ahead=10))
    for steps in source:
        for answer in stream.push(steps): ...
    for answer in stream.finish(): ...

A forward model answers for each step at once, with the bytes that it would give for the whole
sequence. The backward direction of a bidirectional one begins at a sequence's end, which has not
come yet. So it waits for `look_ahead` further steps and begins at the last of them, as if the
sequence ended there; what lies behind that is left out. The forward direction leaves nothing out:
each layer carries its state from answer to answer. With several layers, what it has read of the
layer below rests on that look-ahead too. Nothing is left out where `look_ahead` and `every` let
the whole sequence come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.data.encoding import Encoding
from birnn.errors import DataError
from birnn.kernel import arrays
from birnn.kernel.arrays import Floats
from birnn.model import given, padded, prediction
from birnn.model.inference import Network, State

WHERE = "the stream"


@dataclass(frozen=True, slots=True)
class Options:
    """How a stream answers.

    Attributes:
        look_ahead: how many later steps a bidirectional model waits for.
        every: for how many steps it answers at a time. Each time it reads them and the look-ahead,
            so that one at a time costs `look_ahead` + 1 steps for each.
    """

    look_ahead: int = 0
    every: int = 1


class Answer(NamedTuple):
    """What is said of a step; of classification, what is said of the sequence so far.

    Attributes:
        step: counted from 0.
        label: the class.
        probabilities: (classes,) float32.
    """

    step: int
    label: str
    probabilities: Floats


class Stream:
    """One sequence on its way through a model; not to be shared by threads.

    Args:
        network: computes.
        encoding: how its input is encoded.
        thresholds: of its critical classes.
        options: how it answers.

    Raises:
        DataError: the model needs the whole sequence before it can answer, or a look-ahead is
            negative, or given to a model that does not need one.
    """

    def __init__(
        self,
        network: Network,
        encoding: Encoding,
        thresholds: Mapping[str, float],
        options: Options,
    ) -> None:
        _check(network, encoding, options)
        self._network, self._encoding, self._options = network, encoding, options
        self._thresholds = thresholds
        self._states: list[State] | None = None
        self._waiting: list[Floats] = []  # steps, (1, steps, width), without an answer
        self._last: npt.NDArray[np.float64] | None = None  # numbers of the last step
        self._so_far = _SoFar()
        self._read = self._answered = 0
        self._finished = False

    def push(self, steps: Sequence[Any] | npt.NDArray[Any]) -> list[Answer]:
        """Read further steps; give the answers for which enough has come.

        Args:
            steps: (steps, features), or a list of tokens.

        Raises:
            DataError: something is wrong with the steps; or the sequence has ended, or is longer
                than what the model reads of one.
        """
        if self._finished:
            raise DataError(f"{WHERE}: expected no step after finish(), found some; begin another")
        encoded = self._encoded(steps)
        most = self._encoding.max_steps
        if most is not None and self._read + encoded.shape[1] > most:
            raise DataError(
                f"{WHERE}: expected up to {most} steps, which is all that the model reads of a "
                f"sequence, found more"
            )
        self._read += encoded.shape[1]
        self._waiting.append(encoded)
        return self._due(end=False)

    def finish(self) -> list[Answer]:
        """End the sequence; give the answers that are left."""
        self._finished = True
        return self._due(end=True)

    def _encoded(self, steps: Sequence[Any] | npt.NDArray[Any]) -> Floats:
        """What the recurrent layers read, (1, steps, width)."""
        carries = self._encoding.missing == "last" and bool(self._encoding.features)
        rows: Any = steps
        if carries:
            rows = np.asarray(steps, np.float64)
            before = rows[:0] if self._last is None else self._last
            rows = np.concatenate([before, rows])
        read = given.read([rows], self._encoding)
        (batch,) = padded.in_order(
            read, batch_size=1, spell=bool(self._network.architecture.characters)
        )
        found = self._network.steps(batch)
        if carries:
            skipped = 0 if self._last is None else 1
            known = np.maximum.accumulate(
                np.where(np.isnan(rows), -1, np.arange(len(rows))[:, None])
            )
            self._last = np.take_along_axis(rows, np.maximum(known[-1:], 0), axis=0)
            found = found[:, skipped:]
        return np.ascontiguousarray(found)

    def _due(self, *, end: bool) -> list[Answer]:
        """Answer for as many steps as there are enough later ones of."""
        answers: list[Answer] = []
        steps = np.concatenate(self._waiting, axis=1) if self._waiting else None
        every, ahead = self._options.every, self._options.look_ahead
        if not self._network.architecture.bidirectional:
            every = 0 if steps is None else steps.shape[1]  # each answer costs the same
        while steps is not None and steps.shape[1]:
            count = steps.shape[1] if end and steps.shape[1] <= every + ahead else every
            if count + ahead > steps.shape[1] and not end:
                break
            answers += self._answer(steps[:, : count + ahead], count)
            steps = steps[:, count:]
        self._waiting = [] if steps is None else [steps]
        return answers

    def _answer(self, steps: Floats, count: int) -> list[Answer]:
        output, self._states = self._network.go_on(np.ascontiguousarray(steps), count, self._states)
        read = output[0, :count]
        if self._network.architecture.task == "classification":
            read = self._so_far.summaries(read, self._network.architecture.head)
        shares = arrays.softmax(self._network.score(np.ascontiguousarray(read)))
        first, self._answered = self._answered, self._answered + count
        classes = prediction.decide(shares, self._encoding, self._thresholds)
        return [
            Answer(first + number, self._encoding.labels[chosen], row)
            for number, (chosen, row) in enumerate(zip(classes, shares, strict=True))
        ]


class _SoFar:
    """What a classifier's head reads of the steps that have come."""

    def __init__(self) -> None:
        self.count, self.total, self.most = 0, np.float32(0), np.float32(-np.inf)

    def summaries(self, states: Floats, head: str) -> Floats:
        """After each of some further steps; (steps, hidden) to (steps, width of the head)."""
        if head == "last":
            return states
        found = []
        for row in states:
            self.count += 1
            self.total, self.most = self.total + row, np.maximum(self.most, row)
            mean = self.total / np.float32(self.count)
            parts = {"mean": [mean], "max": [self.most], "all": [row, mean, self.most]}[head]
            found.append(np.concatenate(parts))
        return np.stack(found)


def _check(network: Network, encoding: Encoding, options: Options) -> None:
    a = network.architecture
    whole = "expected a model that can answer before a sequence has ended, found one "
    if encoding.scaling == "per_sequence":
        raise DataError(f"{WHERE}: {whole}that scales each sequence by all of its steps")
    if encoding.frame > 1:
        raise DataError(f"{WHERE}: {whole}that reads {encoding.frame} steps as one")
    if a.bidirectional and a.task == "classification":
        raise DataError(f"{WHERE}: {whole}that reads it from its end too; use a forward one")
    if options.look_ahead < 0 or options.every < 1:
        raise DataError(
            f"{WHERE}: expected look_ahead from 0 and every from 1, found {options.look_ahead} and "
            f"{options.every}"
        )
    if options.look_ahead and not a.bidirectional:
        raise DataError(
            f"{WHERE}: expected no look_ahead for a forward model, which reads no later steps, "
            f"found {options.look_ahead}"
        )
