"""Labelled sequences drawn from a hidden Markov chain, and the best accuracy that any model can reach.

A chain walks over hidden states; every step is observed as its state's mean plus standard normal noise.
For tagging the states are the labels. For classification each class owns some states and never leaves
them, so that one chain serves both tasks. Because the chain is known, Bayes' rule gives the exact
posterior of every label, and with it the accuracy that no model can beat on average.

Notation: Rabiner, "A tutorial on hidden Markov models" (1989), with each step's sum scaled to one.
Shapes: S steps of all sequences laid end to end, N sequences, T steps of the longest, F features,
K states, C classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError, ParamsError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CHUNK = 1024  # sequences; part of what a seed means, so another value is another data set
LENGTH_SIGMA = 0.8  # of the lengths' logarithm: the longest tenth is about 2.8 times the median
TINY = np.finfo(np.float64).tiny  # keeps 0 / 0 out when every state underflows


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A hidden Markov chain with Gaussian observations of unit variance.

    Attributes:
        initial: (K,) probabilities of the first state.
        transition: (K, K) probabilities of the next state, one row per present state.
        means: (K, F) expected observation in each state.
        labels: (K,) class index of each state, from 0 to C - 1.
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

    With lookalikes the future is worth more than the past: these classes have one mean and can begin
    after the same classes, but lookalike i is always followed by class `lookalikes` + i. What comes
    next tells them apart, as in "they can fish" and "they can swim".

    Args:
        classes: Number of labels, 2 or more.
        features: Number of features, 1 or more.
        stay: Share of steps whose label is that of the step before, at least 0 and below 1.
        separation: Distance between two means in standard deviations of the noise (root mean square
            over the pairs; where features >= classes every pair has it).
        lookalikes: How many classes, counted from the first, share their mean; 0, or 2 to classes / 2.
        shares: Share of the steps per class, above 0; equal where None.
        seed: Fixes the direction of the means.

    Raises:
        ParamsError: `lookalikes` or `shares` does not fit `classes`, or `stay` is too low for `shares`.
    """
    if lookalikes and not 2 <= lookalikes <= classes // 2:
        raise ParamsError(
            f"data.lookalikes must be 0, or from 2 to half of data.classes ({classes}), "
            f"found {lookalikes}"
        )
    stationary = _shares(shares, classes)
    alike = max(lookalikes - 1, 0)
    means = _means(classes - alike, features, separation, seed)
    return Chain(
        initial=stationary,
        transition=_transition(stationary, stay, lookalikes),
        means=np.concatenate([np.repeat(means[:1], alike, axis=0), means]),
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
    """Draw a chain in which each class has its own hidden states and is never left.

    Args:
        classes: Number of labels, 2 or more.
        states: Number of hidden states in each class, 2 or more.
        features: Number of features, 1 or more.
        stay: Share of steps whose hidden state is that of the step before, at least 0 and below 1.
        separation: Root mean square distance between the means of two states, whatever their class, in
            standard deviations of the noise.
        shares: Share of the sequences per class, above 0; equal where None.
        seed: Fixes the direction of the means.

    Raises:
        ParamsError: `shares` does not fit `classes`.
    """
    within = np.full(states, 1 / states)
    return Chain(
        initial=np.kron(_shares(shares, classes), within),
        transition=np.kron(np.eye(classes), _transition(within, stay)),
        means=_means(classes * states, features, separation, seed),
        labels=np.repeat(np.arange(classes), states),
    )


def read(
    chain: Chain, *, sequences: int, min_steps: int, max_steps: int, mean_steps: float, seed: int
) -> Iterator[pa.RecordBatch]:
    """Draw the sequence table, 1024 sequences at a time.

    A longer table begins with the shorter one's rows: more `sequences` only append.

    Args:
        chain: What to draw from.
        sequences: Number of sequences.
        min_steps: Length of the shortest sequence, 1 or more.
        max_steps: Length of the longest; where it equals `min_steps` all lengths are the same.
        mean_steps: Mean of the lognormal lengths before they are clipped to these bounds.
        seed: Fixes everything that is drawn.

    Yields:
        Columns `sequence` (string), x0, x1, ... (float32) and `label` (string), one row a step; the
        steps of a sequence are in order and never divided between two batches.
    """
    location = np.log(mean_steps) - LENGTH_SIGMA**2 / 2
    for first in range(0, sequences, CHUNK):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, first // CHUNK)))
        # Drawn for a whole chunk, even if only its beginning is wanted: see "only append" above.
        lengths = np.rint(rng.lognormal(location, LENGTH_SIGMA, CHUNK)).clip(min_steps, max_steps)
        lengths = lengths.astype(np.int64)
        paths = _paths(chain, lengths.max(), rng)
        lengths = lengths[: sequences - first]
        states = paths.T[: len(lengths)][_mask(lengths)]
        noise = rng.standard_normal((len(states), chain.means.shape[1]), dtype=np.float32)
        values = chain.means.astype(np.float32)[states] + noise
        yield _batch(first, lengths, values, chain.labels[states])


def posteriors(
    chain: Chain, values: npt.NDArray[np.floating], lengths: IntArray
) -> dict[str, FloatArray]:
    """Compute the exact probability of each label at each step, given three views of the sequence.

    Args:
        chain: What the observations were drawn from.
        values: (S, F) observations, sequences end to end.
        lengths: (N,) steps of each sequence, 1 or more.

    Returns:
        (S, C) probabilities: `per_step` knows the step's observation and its position alone,
        `filtering` that step and all before, `smoothing` the whole sequence.
    """
    mask = _mask(lengths)
    likelihood = _likelihood(chain, values, mask)
    filtered = _forward(chain, likelihood)
    per_state = {
        "per_step": _normalised(_marginals(chain, len(likelihood))[:, None] * likelihood),
        "filtering": filtered,
        "smoothing": _normalised(filtered * _backward(chain, likelihood)),
    }
    members = np.eye(chain.labels.max() + 1)[chain.labels]
    return {view: p.swapaxes(0, 1)[mask] @ members for view, p in per_state.items()}


def limits(
    chain: Chain,
    batches: Iterable[pa.RecordBatch],
    *,
    task: Literal["tagging", "classification"],
) -> dict[str, float]:
    """Compute the highest expected accuracy on these sequences for three kinds of models.

    The most probable label is right with its posterior probability, so the limit is the mean of that
    over steps (tagging) or sequences (classification). `per_step` bounds a model without context,
    `filtering` one that sees the past (any forward RNN), `smoothing` every model. A class is asked for
    at the last step, whose past is the whole sequence: there `filtering` and `smoothing` are the same,
    and `per_step` is what the last observation alone would tell.

    Args:
        chain: What the batches were drawn from.
        batches: Tables as `read` yields them, whole sequences left out at will.
        task: Whether every step is labelled, or every sequence.

    Raises:
        DataError: There is no sequence in the batches.
    """
    sums: dict[str, float] = {}
    count = 0
    for batch in batches:
        if batch.num_rows:
            values, lengths = _ragged(batch)
            asked = np.arange(len(values)) if task == "tagging" else lengths.cumsum() - 1
            count += len(asked)
            for view, p in posteriors(chain, values, lengths).items():
                sums[view] = sums.get(view, 0.0) + float(p[asked].max(axis=1).sum())
    if not count:
        raise DataError("accuracy limits need at least one sequence, found 0: raise data.sequences")
    return {view: total / count for view, total in sums.items()}


def _shares(shares: Sequence[float] | None, classes: int) -> FloatArray:
    if shares is None:
        return np.full(classes, 1 / classes)
    if len(shares) != classes or min(shares) <= 0 or not np.isclose(sum(shares), 1):
        raise ParamsError(
            f"data.shares must be one number above 0 for each of {classes} classes, in all 1, "
            f"found {list(shares)}"
        )
    return np.asarray(shares) / sum(shares)


def _transition(stationary: FloatArray, stay: float, lookalikes: int = 0) -> FloatArray:
    """Build the (K, K) matrix with this stationary distribution and this mean share of staying.

    First where a state goes when it is left: lookalike i to state `lookalikes` + i, any other state to
    the rest in proportion to their shares. Then how often it is left: the more visits for its share,
    the sooner, which makes the stationary distribution come out exact.
    """
    count = len(stationary)
    moves = np.where(np.eye(count, dtype=bool), 0, stationary)
    moves[:, lookalikes : 2 * lookalikes] = 0
    moves[:lookalikes] = np.eye(count)[lookalikes : 2 * lookalikes]
    moves /= moves.sum(axis=1, keepdims=True)
    # The stationary distribution of the moves alone: visits @ moves = visits, visits.sum() = 1.
    visits = np.linalg.solve((np.eye(count) - moves + 1).T, np.ones(count))
    lowest = 1 - (stationary / visits).min()
    if stay < lowest - 1e-9:
        raise ParamsError(
            f"data.stay must be at least {lowest:.3f} for these data.shares, found {stay}"
        )
    leave = np.minimum((1 - stay) * visits / stationary, 1)[:, None]
    return np.diag(1 - leave[:, 0]) + leave * moves


def _means(count: int, features: int, separation: float, seed: int) -> FloatArray:
    """Draw (count, F) means, mutually orthogonal where features allow it, else as near as can be."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    drawn = rng.standard_normal((count, features))
    u, _, vt = np.linalg.svd(drawn - drawn.mean(axis=0), full_matrices=False)
    means = u @ vt
    means -= means.mean(axis=0)
    mean_square = 2 * (means**2).sum() / (count - 1)  # of the distance, over all pairs
    scaled: FloatArray = means * (separation / np.sqrt(mean_square))
    return scaled


def _paths(chain: Chain, steps: int, rng: np.random.Generator) -> IntArray:
    """Draw (T, CHUNK) hidden states by inverting the distribution functions."""
    start = chain.initial.cumsum()[:-1]
    move = chain.transition.cumsum(axis=1)[:, :-1]
    paths = np.empty((steps, CHUNK), dtype=np.int64)
    paths[0] = np.searchsorted(start, rng.random(CHUNK), side="right")
    for t in range(1, steps):
        paths[t] = (rng.random(CHUNK)[:, None] >= move[paths[t - 1]]).sum(axis=1)
    return paths


def _batch(
    first: int, lengths: IntArray, values: npt.NDArray[np.float32], labels: IntArray
) -> pa.RecordBatch:
    ids = pa.array([f"s{first + i:06d}" for i in range(len(lengths))])
    names = pa.array([f"c{i}" for i in range(labels.max() + 1)])
    columns = {
        "sequence": ids.take(pa.array(np.repeat(np.arange(len(lengths)), lengths))),
        **{f"x{i}": pa.array(column) for i, column in enumerate(values.T)},
        "label": names.take(pa.array(labels)),
    }
    return pa.RecordBatch.from_pydict(columns)


def _ragged(batch: pa.RecordBatch) -> tuple[npt.NDArray[np.float32], IntArray]:
    features = [batch[name].to_numpy() for name in batch.schema.names if name.startswith("x")]
    ends = pc.run_end_encode(batch["sequence"]).run_ends.to_numpy()
    return np.stack(features, axis=1), np.diff(ends.astype(np.int64), prepend=0)


def _mask(lengths: IntArray) -> npt.NDArray[np.bool_]:
    """Mark the (N, T) cells that hold a step."""
    inside: npt.NDArray[np.bool_] = np.arange(lengths.max()) < lengths[:, None]
    return inside


def _likelihood(
    chain: Chain, values: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]
) -> FloatArray:
    """Compute (T, N, K) likelihoods, the largest of a step being 1.

    They are 1 for every state past the end, where nothing is observed and so nothing is learnt.
    """
    log = values @ chain.means.T - (chain.means**2).sum(axis=1) / 2
    likelihood = np.ones((mask.shape[1], mask.shape[0], len(chain.means)))
    likelihood.swapaxes(0, 1)[mask] = np.exp(log - log.max(axis=1, keepdims=True))
    return likelihood


def _marginals(chain: Chain, steps: int) -> FloatArray:
    """Compute the (T, K) state distribution at each step before anything is observed."""
    marginals = np.empty((steps, len(chain.initial)))
    marginals[0] = chain.initial
    for t in range(1, steps):
        marginals[t] = marginals[t - 1] @ chain.transition
    return marginals


def _forward(chain: Chain, likelihood: FloatArray) -> FloatArray:
    """Compute P(state at t | observations up to t)."""
    filtered = np.empty_like(likelihood)
    predicted = chain.initial
    for t in range(len(likelihood)):
        filtered[t] = _normalised(predicted * likelihood[t])
        predicted = filtered[t] @ chain.transition
    return filtered


def _backward(chain: Chain, likelihood: FloatArray) -> FloatArray:
    """Compute P(observations after t | state at t), up to a factor for each step."""
    future = np.ones_like(likelihood)
    for t in reversed(range(len(likelihood) - 1)):
        future[t] = _normalised((likelihood[t + 1] * future[t + 1]) @ chain.transition.T)
    return future


def _normalised(weights: FloatArray) -> FloatArray:
    weights = weights + TINY
    normalised: FloatArray = weights / weights.sum(axis=-1, keepdims=True)
    return normalised
