"""Labelled sequences drawn from a hidden Markov chain.

A chain walks over hidden states; each step is observed as its state's mean plus standard normal
noise. For tagging the states are the labels. For classification each class owns some states and
never leaves them, so that one kind of chain serves both tasks. `birnn.sources.limits` has what the
best model can reach.

Shapes: S steps of all sequences, N sequences, T steps of the longest of them, F features, K states,
C classes. Users have the steps of a sequence together. Computations have the first steps of all
sequences together, then all second ones, the longest sequence first (`Packing`): what belongs to
one time is a slice then, and nothing is computed behind the end of a sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.errors import ParamsError
from birnn.files import engines, room
from birnn.files.table_checks import MOST_STEPS
from birnn.files.tables import CHUNK_ROWS

if TYPE_CHECKING:  # who draws from a chain needs no schema
    from birnn.params import HMMData

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NUMBER = 8  # bytes
CHUNK = 1024  # sequences drawn together; another number here is another data set
LENGTH_SIGMA = 0.8  # of the logarithm: one length in ten is more than 2.8 times the median
MEAN_DIGITS = 9  # behind the point, of the means of observations


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A hidden Markov chain with Gaussian observations of unit variance.

    Attributes:
        initial: (K,) probabilities of the first state.
        transition: (K, K) probabilities of the next state, a row for each present state.
        means: (K, F) expected observation in each state.
        labels: (K,) class of each state, from 0 to C - 1.
    """

    initial: FloatArray
    transition: FloatArray
    means: FloatArray
    labels: IntArray


def tagging_chain(
    *,
    classes: int,
    features: int,
    stay: float,
    separation: float,
    lookalikes: int = 0,
    shares: Sequence[float] | None = None,
    seed: int,
) -> Chain:
    """Draw a chain whose states are the labels of single steps.

    With lookalikes the future tells more than the past. These classes share one mean, and nothing
    before them says which it is, but lookalike i is followed by class `lookalikes` + i, which comes
    after no other: as "bank" is told apart in "the bank lends" and "the bank floods".

    Args:
        classes: number of labels, 2 or more.
        features: number of features, 1 or more.
        stay: share of the steps that keep the label of the step before; 0 or more, below 1.
        separation: distance between means in standard deviations of the noise: root mean square
            over the pairs, and the same for every pair where features >= classes - 1.
        lookalikes: how many classes, counted from the first, share a mean; 0, or 2 to classes / 2.
        shares: share of the steps that each class has, above 0; equal where None.
        seed: fixes the directions of the means.

    Raises:
        ParamsError: `lookalikes` or `shares` does not fit `classes`; `stay` is too low for them.
    """
    if lookalikes and not 2 <= lookalikes <= classes // 2:
        raise ParamsError(
            f"data.lookalikes: expected 0, or 2 to half of data.classes ({classes}), "
            f"found {lookalikes}"
        )
    stationary = _shares(shares, classes)
    copies = max(lookalikes - 1, 0)
    means = _means(classes - copies, features, separation, seed)
    return Chain(
        initial=stationary,
        transition=_transition(stationary, stay, lookalikes),
        means=np.concatenate([np.repeat(means[:1], copies, axis=0), means]),
        labels=np.arange(classes),
    )


def classification_chain(
    *,
    classes: int,
    states: int,
    features: int,
    stay: float,
    separation: float,
    shares: Sequence[float] | None = None,
    seed: int,
) -> Chain:
    """Draw a chain in which each class has hidden states of its own and is never left.

    Args:
        classes: number of labels, 2 or more.
        states: number of hidden states of each class, 2 or more.
        features: number of features, 1 or more.
        stay: share of the steps that keep the hidden state of the step before; 0 or more, below 1.
        separation: distance between the means of states, of one class or of two, in standard
            deviations of the noise: root mean square over the pairs, and the same for every pair
            where features >= classes * states - 1.
        shares: share of the sequences that each class has, above 0; equal where None.
        seed: fixes the directions of the means.

    Raises:
        ParamsError: `shares` does not fit `classes`.
    """
    labels = np.repeat(np.arange(classes), states)
    within = _transition(np.full(states, 1 / states), stay)
    return Chain(
        initial=_shares(shares, classes)[labels] / states,
        transition=np.tile(within, (classes, classes)) * (labels[:, None] == labels),
        means=_means(classes * states, features, separation, seed),
        labels=labels,
    )


def chain_of(data: HMMData) -> Chain:
    """Draw the chain that params describe."""
    draw = (
        partial(tagging_chain, lookalikes=data.lookalikes)
        if data.states is None
        else partial(classification_chain, states=data.states)
    )
    return draw(
        classes=data.classes,
        features=data.features,
        stay=data.stay,
        separation=data.separation,
        shares=data.shares,
        seed=data.seed,
    )


def read(data: HMMData) -> Iterator[pa.RecordBatch]:
    """Draw the sequence table that params describe; see `draw`.

    Raises:
        NoRoomError: there is not enough memory for that, or the table has too many steps.
    """
    expected = expected_steps(data)
    if expected > MOST_STEPS:
        raise ParamsError(
            f"data: expected up to {MOST_STEPS:,} steps in all, found about {expected:,}; lower "
            "data.sequences or the steps of each"
        )
    _check_memory(data)
    return engines.mapped(partial(_drawn_chunk, *_drawing(data)), _firsts(data.sequences))


def in_parts(data: HMMData, part_steps: int) -> list[range]:
    """Cut the table into parts of about so many steps: the first sequences of the chunks of each.

    Any of them can be drawn by itself; see `read_part`.

    Raises:
        NoRoomError: there is not enough memory for that.
    """
    _check_memory(data)
    firsts = _firsts(data.sequences)
    chunks = max(1, round(part_steps / (CHUNK * _mean_steps(data))))
    return [firsts[first : first + chunks] for first in range(0, len(firsts), chunks)]


def read_part(data: HMMData, part: range) -> Iterator[pa.RecordBatch]:
    """Draw what `read` gives, of one of the parts alone."""
    return map(partial(_drawn_chunk, *_drawing(data)), part)


def _check_memory(data: HMMData) -> None:
    room.check_memory(_memory(data), "data", "lower data.features, classes, states or max_steps")


def table_size(data: HMMData) -> int:
    """Bytes on a disk that the table takes about, once drawn, once prepared, each cached by DVC."""
    return 2 * expected_steps(data) * (12 * data.features + 12)


def expected_steps(data: HMMData) -> int:
    """Steps of the table, about; with few exceptions it has less."""
    return int(data.sequences * _mean_steps(data))


def _mean_steps(data: HMMData) -> float:
    return max(data.min_steps, min(data.mean_steps or data.max_steps, data.max_steps))


def _memory(data: HMMData) -> int:
    """Bytes that drawing a chunk takes about, and computing its limits."""
    states = data.classes * (data.states or 1)
    rows = max(CHUNK * _mean_steps(data), min(CHUNK_ROWS, data.sequences * _mean_steps(data)))
    chain = 4 * states * (states + data.features)
    paths = 2 * CHUNK * data.max_steps
    return int(NUMBER * (chain + paths + rows * (2 * data.features + 6 * states)))


def draw(
    chain: Chain, *, sequences: int, min_steps: int, max_steps: int, mean_steps: float, seed: int
) -> Iterator[pa.RecordBatch]:
    """Draw a sequence table, 1024 sequences at a time.

    A longer table begins with the rows of a shorter one: more `sequences` only append.

    Args:
        chain: what to draw from.
        sequences: number of sequences, 1 or more.
        min_steps: lower bound of the lengths, 1 or more.
        max_steps: upper bound; where it equals `min_steps`, all lengths do.
        mean_steps: mean of the lognormal lengths, before they are rounded and held to the bounds.
        seed: fixes lengths, states and noise.

    Yields:
        Columns `sequence` (string), x0, x1, ... (float32) and `label` (string); whole sequences,
        each with its steps in order.
    """
    how = Drawing(sequences, min_steps, max_steps, mean_steps, seed)
    return engines.mapped(partial(_drawn_chunk, chain, how), _firsts(sequences))


class Drawing(NamedTuple):
    """How many sequences to draw, of which lengths; see `draw`."""

    sequences: int
    min_steps: int
    max_steps: int
    mean_steps: float
    seed: int


def _drawing(data: HMMData) -> tuple[Chain, Drawing]:
    mean = data.mean_steps or data.max_steps
    how = Drawing(data.sequences, data.min_steps, data.max_steps, mean, data.seed)
    return chain_of(data), how


def _firsts(sequences: int) -> range:
    """The first sequence of each chunk."""
    return range(0, sequences, CHUNK)


def _drawn_chunk(chain: Chain, how: Drawing, first: int) -> pa.RecordBatch:
    """Draw the chunk that begins with a sequence; nothing of it depends on other chunks."""
    rng = np.random.default_rng(np.random.SeedSequence(how.seed, spawn_key=(1, first // CHUNK)))
    location = np.log(how.mean_steps) - LENGTH_SIGMA**2 / 2
    # Lengths and states are drawn for a whole chunk, or the noise would change as it fills.
    lengths = np.rint(rng.lognormal(location, LENGTH_SIGMA, CHUNK))
    lengths = lengths.clip(how.min_steps, how.max_steps).astype(np.int64)
    drawn = rng.random((lengths.max(), CHUNK))
    lengths = lengths[: how.sequences - first]
    states = _states(chain, drawn, Packing.of(lengths))
    values = rng.standard_normal((len(states), chain.means.shape[1]), dtype=np.float32)
    values += chain.means.astype(np.float32)[states]
    labels = _label_names(chain).take(pa.array(chain.labels[states]))
    return _batch(_ids(first, lengths), values, labels)


def _shares(shares: Sequence[float] | None, classes: int) -> FloatArray:
    if shares is None:
        return np.full(classes, 1 / classes)
    if len(shares) != classes or min(shares) <= 0 or not np.isclose(sum(shares), 1):
        raise ParamsError(
            f"data.shares: expected {classes} numbers above 0 with the sum 1, found {list(shares)}"
        )
    return np.array(shares) / sum(shares)


def _transition(stationary: FloatArray, stay: float, lookalikes: int = 0) -> FloatArray:
    """Build the (K, K) matrix that has this stationary distribution and keeps this share of steps.

    First comes where a state moves to: lookalike i to state `lookalikes` + i, any other state to
    all but itself and those, in proportion to their shares. Then how often it moves: visits / share
    keeps the shares as they are, and the factor 1 - stay makes that the mean over all steps.
    """
    count = len(stationary)
    moves = np.where(np.eye(count, dtype=bool), 0, stationary)
    moves[:, lookalikes : 2 * lookalikes] = 0
    moves[:lookalikes] = np.eye(count)[lookalikes : 2 * lookalikes]
    moves /= moves.sum(axis=1, keepdims=True)
    # visits @ moves = visits and visits.sum() = 1, as one system: visits @ (I - moves + 1) = 1
    visits = np.linalg.solve((np.eye(count) - moves + 1).T, np.ones(count))
    lowest = 1 - (stationary / visits).min()
    if stay < lowest - 1e-9:
        raise ParamsError(
            f"data.stay: expected {lowest:.3f} or more with these data.shares and data.lookalikes, "
            f"found {stay}"
        )
    leave = np.minimum((1 - stay) * visits / stationary, 1)
    transition: FloatArray = np.diag(1 - leave) + leave[:, None] * moves
    return transition


def _means(count: int, features: int, separation: float, seed: int) -> FloatArray:
    """Draw (count, F) means around 0: a regular simplex where it fits, else as near as can be."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    drawn = rng.standard_normal((count, features))
    u, _, vt = np.linalg.svd(drawn - drawn.mean(axis=0), full_matrices=False)
    means: FloatArray = u @ vt
    means -= means.mean(axis=0)
    mean_square_distance = 2 * (means**2).sum() / (count - 1)  # over all pairs
    # The last digits of a decomposition depend on the CPU; these do not.
    return np.round(means * (separation / math.sqrt(mean_square_distance)), MEAN_DIGITS)


class Packing(NamedTuple):
    """The order of steps in computations: by time, and at one time the longest sequence first.

    Attributes:
        rows: (S,) where each step stands in the order that users have.
        sequences: (S,) the sequence that each is of.
        times: (S,) the time of each, from 0.
        at: the steps of each time, T slices, each no longer than the one before.
    """

    rows: IntArray
    sequences: IntArray
    times: IntArray
    at: list[slice]

    @classmethod
    def of(cls, lengths: IntArray) -> Packing:
        """Order the steps of sequences of (N,) lengths, 1 or more."""
        order = np.argsort(-lengths, kind="stable")
        counts = np.searchsorted(-lengths[order], -np.arange(lengths.max()))  # that go on so long
        ends = np.cumsum(counts)
        times = np.repeat(np.arange(len(counts)), counts)
        sequences = order[np.arange(ends[-1]) - np.repeat(ends - counts, counts)]
        rows = (np.cumsum(lengths) - lengths)[sequences] + times
        return cls(rows, sequences, times, [*map(slice, ends - counts, ends)])

    def unpacked(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring (S, ...) values into the order that users have."""
        ordered = np.empty_like(values)
        ordered[self.rows] = values
        return ordered

    def steps(self) -> Iterator[tuple[slice, slice]]:
        """Each time but the first, and of the time before it the sequences that go on."""
        for before, now in pairwise(self.at):
            yield slice(before.start, before.start + now.stop - now.start), now


def _states(chain: Chain, drawn: FloatArray, packing: Packing) -> IntArray:
    """Turn (T, N) or more uniform numbers into (S,) states, by the inverse of their distribution.

    The states are in the order that users have.
    """
    start = chain.initial.cumsum()[:-1, None]
    move = np.ascontiguousarray(chain.transition.cumsum(axis=1)[:, :-1].T)  # from each state
    uniform = drawn[packing.times, packing.sequences]
    states = np.empty(len(uniform), dtype=np.int64)
    first = packing.at[0]
    (uniform[first] >= start).sum(axis=0, out=states[first])
    for before, now in packing.steps():
        (uniform[now] >= move.take(states[before], axis=1)).sum(axis=0, out=states[now])
    return packing.unpacked(states)


def _label_names(chain: Chain) -> pa.StringArray:
    """Name the classes c0, c1, ... with as many digits as sort them."""
    count = int(chain.labels.max()) + 1
    return pa.array([f"c{label:0{len(str(count - 1))}d}" for label in range(count)])


def _batch(
    ids: pa.StringArray, values: npt.NDArray[np.float32], labels: pa.StringArray
) -> pa.RecordBatch:
    features = {f"x{i}": pa.array(column) for i, column in enumerate(values.T)}
    return pa.RecordBatch.from_pydict({"sequence": ids, **features, "label": labels})


def _ids(first: int, lengths: IntArray) -> pa.StringArray:
    """Number the sequences from s000000 on, (S,)."""
    ids = pa.array([f"s{first + i:06d}" for i in range(len(lengths))])
    return ids.take(pa.array(np.repeat(np.arange(len(lengths)), lengths)))
