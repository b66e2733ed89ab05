"""The best accuracy any model can reach on sequences of a known chain, by Bayes' rule.

Because the chain is known, the exact probability of every label is too, and so is the accuracy that
no model beats on average. The recursions are those of Rabiner, "A tutorial on hidden Markov models
and selected applications in speech recognition" (1989), each step scaled to a sum of one.

    best = Best(hmm.chain_of(data), data.task)
    best.add(batch)
    best.limits().overall["smoothing"]

Shapes, and the order of steps in computations, are those of `birnn.sources.hmm`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.errors import DataError
from birnn.files.tables import sequence_starts
from birnn.sources.hmm import Chain, FloatArray, IntArray, Packing

TINY = np.finfo(np.float64).tiny


def posteriors(
    chain: Chain, values: npt.NDArray[np.floating], lengths: IntArray
) -> dict[str, FloatArray]:
    """Compute the exact probability of each label at each step, from three views of a sequence.

    Args:
        chain: what the observations were drawn from.
        values: (S, F) observations, one sequence after another.
        lengths: (N,) steps of each sequence, 1 or more.

    Returns:
        Three arrays (S, C). `per_step` knows the step's observation and position alone, `filtering`
        the observations up to this step, `smoothing` those of the whole sequence.
    """
    packing = Packing.of(lengths)
    likelihood = _likelihood(chain, values, packing)
    filtered = _forward(chain, likelihood, packing)
    states = {
        "per_step": _normalised(_marginals(chain, packing) * likelihood),
        "filtering": filtered,
        "smoothing": _normalised(filtered * _backward(chain, likelihood, packing)),
    }
    of_class = np.eye(chain.labels.max() + 1)[chain.labels]
    return {view: packing.unpacked(p.T @ of_class) for view, p in states.items()}


class Limits(NamedTuple):
    """The best accuracies that are possible, by the name of a view.

    Attributes:
        overall: over all sequences.
        by_length: for each length of a sequence; empty where all are equally long.
    """

    overall: dict[str, float]
    by_length: dict[str, dict[int, float]]


class Best:
    """Adds up the accuracy that no model is expected to beat, over sequences as they come.

    The most probable label is right with its own probability; the mean of that over steps (tagging)
    or sequences (classification) is the limit. `per_step` holds without context, `filtering` with
    the past (so for any forward RNN), `smoothing` with past and future (so for any model).

    For classification the question is put at the last step. All of the sequence is past there, so
    `filtering` and `smoothing` are the same; `per_step` knows the last observation alone. `bag` is
    what the best vote of steps that are taken as independent is expected to reach: it knows all
    observations, and nothing of their order.

    Args:
        chain: what the sequences are drawn from.
        task: whether every step has a label, or every sequence.
    """

    def __init__(self, chain: Chain, task: Literal["tagging", "classification"]) -> None:
        self.chain, self.task = chain, task
        self.rows, self.right = Counter[int](), dict[str, Counter[int]]()

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Look at whole sequences with the columns of `draw`; any of those may be left out."""
        if not batch.num_rows:
            return
        values, starts = _observations(self.chain, batch), sequence_starts(batch["sequence"])
        lengths = np.diff(np.append(starts, len(values)))
        for view, expected in _expected_right(self.chain, values, lengths, self.task).items():
            sums = self.right.setdefault(view, Counter())
            for length, total in zip(*_summed(expected, lengths), strict=True):
                sums[length] += total
        asked = lengths if self.task == "tagging" else np.ones_like(lengths)
        self.rows.update(dict(zip(*_summed(asked, lengths), strict=True)))

    def take(self, other: Best) -> None:
        """Add what another one, of the same chain, has seen."""
        self.rows.update(other.rows)
        for view, sums in other.right.items():
            self.right.setdefault(view, Counter()).update(sums)

    def limits(self) -> Limits:
        """Give the limits on what has come by.

        Raises:
            DataError: that was no sequence.
        """
        rows = self.rows
        if not rows:
            raise DataError(
                "accuracy limits: expected a test sequence, found 0; raise data.sequences"
            )
        overall = {view: float(sums.total() / rows.total()) for view, sums in self.right.items()}
        by_length = {
            view: {length: float(sums[length] / rows[length]) for length in sorted(rows)}
            for view, sums in self.right.items()
            if len(rows) > 1
        }
        return Limits(overall, by_length)


def _summed(values: npt.NDArray[Any], lengths: IntArray) -> tuple[list[int], list[Any]]:
    """Distinct lengths, and the sum of the values of the sequences of each."""
    found, inverse = np.unique(lengths, return_inverse=True)
    sums = np.bincount(inverse, values).astype(values.dtype)
    return found.tolist(), sums.tolist()


def _expected_right(
    chain: Chain, values: npt.NDArray[np.floating], lengths: IntArray, task: str
) -> dict[str, FloatArray]:
    """How many labels of each sequence the best answer from each view is expected to give right."""
    views = posteriors(chain, values, lengths)
    if task == "tagging":
        starts = np.cumsum(lengths) - lengths
        return {view: np.add.reduceat(p.max(axis=1), starts) for view, p in views.items()}
    last = {view: p[np.cumsum(lengths) - 1] for view, p in views.items()}
    voted = _votes(chain, values, lengths).argmax(axis=1)
    bag = np.take_along_axis(last["smoothing"], voted[:, None], axis=1)[:, 0]
    best = {view: p.max(axis=1) for view, p in last.items()}
    return {"per_step": best.pop("per_step"), "bag": bag, **best}


def _votes(chain: Chain, values: npt.NDArray[np.floating], lengths: IntArray) -> FloatArray:
    """Log P(class) + the sum over steps of log P(observation | class), (N, C), up to a constant."""
    packing = Packing.of(lengths)
    marginals = _marginals(chain, packing)
    joint = marginals * _likelihood(chain, values, packing)
    of_class = np.eye(chain.labels.max() + 1)[chain.labels]
    votes = np.log(joint.T @ of_class + TINY) - np.log(marginals.T @ of_class + TINY)
    summed: FloatArray = np.add.reduceat(packing.unpacked(votes), np.cumsum(lengths) - lengths)
    return np.log(chain.initial @ of_class + TINY) + summed


def _observations(chain: Chain, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
    features = [batch[f"x{i}"].to_numpy() for i in range(chain.means.shape[1])]
    return np.stack(features, axis=1)


def _likelihood(chain: Chain, values: npt.NDArray[np.floating], packing: Packing) -> FloatArray:
    """Compute P(observation | state) as (K, S), the largest of a step being 1."""
    log: FloatArray = chain.means @ values[packing.rows].T
    log -= (chain.means**2).sum(axis=1)[:, None] / 2
    log -= log.max(axis=0)
    return np.exp(log, out=log)


def _marginals(chain: Chain, packing: Packing) -> FloatArray:
    """Compute P(state at this time) as (K, S), whatever was observed."""
    marginals = np.empty((len(chain.initial), len(packing.rows)))
    expected = chain.initial
    for at in packing.at:
        marginals[:, at] = expected[:, None]
        expected = expected @ chain.transition
    return marginals


def _forward(chain: Chain, likelihood: FloatArray, packing: Packing) -> FloatArray:
    """Compute P(state | observations up to this time) as (K, S)."""
    filtered, first = np.empty_like(likelihood), packing.at[0]
    filtered[:, first] = _normalised(chain.initial[:, None] * likelihood[:, first])
    for before, now in packing.steps():
        expected = chain.transition.T @ filtered[:, before]
        filtered[:, now] = _normalised(expected * likelihood[:, now])
    return filtered


def _backward(chain: Chain, likelihood: FloatArray, packing: Packing) -> FloatArray:
    """Compute P(observations after this time | state) as (K, S), each step up to a factor."""
    future = np.ones_like(likelihood)
    for before, now in reversed([*packing.steps()]):
        future[:, before] = _normalised(chain.transition @ (likelihood[:, now] * future[:, now]))
    return future


def _normalised(weights: FloatArray) -> FloatArray:
    """Scale the columns to a sum of one."""
    weights = weights + TINY  # prevents 0 / 0 where the likelihood of every state underflows
    weights /= weights.sum(axis=0)
    return weights
