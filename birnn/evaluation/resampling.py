"""How sure one can be of a metric, and of a difference: sequences are drawn anew, many times.

For the arguments that functions share see `birnn.evaluation.metrics`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from scipy.special import ndtr, ndtri, stdtrit

from birnn.evaluation.metrics import (
    HEADLINES,
    SPAN_HEADLINES,
    Counts,
    Ints,
    cell_of_each,
    headline_values,
    precision_recall_f1,
)
from birnn.evaluation.spans import span_notation, span_tallies

CONFIDENCE = 0.95

_BLOCK = 1 << 23
"""How many float64 a loop over blocks holds at a time: 64 MiB."""


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Difference(NamedTuple):
    """By how much the first model is better, and in what share of resamples it is better at all."""

    estimate: float
    low: float
    high: float
    share_better: float


def intervals(
    actual: Ints,
    predicted: Ints,
    *,
    labels: Sequence[str],
    offsets: Ints,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return 95 % intervals of the headlines, the span metrics and each class's figures.

    Whole sequences are resampled, since steps of one sequence are not independent; the intervals
    are bias-corrected and accelerated (BCa: Efron, Better Bootstrap Confidence Intervals, 1987).
    Names are those of `metrics`. A metric based on fewer than two sequences gets no
    interval. One of exactly 0 or 1 does not vary between resamples: its interval is the
    binomial's (Clopper and Pearson 1934) for the number of sequences that it is based on.
    """
    names, statistic = _statistic(labels)
    tallies = _tallies(actual, predicted, labels, offsets)
    drawn = _bootstrap(tallies, statistic, resamples, seed)
    return {
        name: _open_end(drawn.interval(i), drawn.rests_on[i])
        for i, name in enumerate(names)
        if drawn.rests_on[i] > 1
    }


def difference(
    actual: Ints,
    first: Ints,
    second: Ints,
    *,
    labels: Sequence[str],
    offsets: Ints,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return what the `first` predictions (N,) are worth over the `second`, metric by metric.

    Both are scored on the same resamples of whole sequences, so that what makes a sequence hard
    for both cancels out. Names are those of `intervals`; a figure that is undefined for either
    model has no difference. A tie is not better.
    """
    names, statistic = _statistic(labels)
    both = [_tallies(actual, predicted, labels, offsets) for predicted in (first, second)]
    width = both[0].shape[1]

    def gain(totals: Counts) -> NDArray[np.float64]:
        return statistic(totals[..., :width]) - statistic(totals[..., width:])

    drawn = _bootstrap(csr_array(hstack(both)), gain, resamples, seed)
    better = (drawn.resampled > 0).mean(axis=0)
    return {
        name: Difference(float(drawn.estimate[i]), *drawn.interval(i), float(better[i]))
        for i, name in enumerate(names)
        if drawn.rests_on[i] > 1
    }


def _tallies(actual: Ints, predicted: Ints, labels: Sequence[str], offsets: Ints) -> csr_array:
    """Return what each sequence adds to the counts: (S, C * C), and its spans where there are."""
    cells = cell_of_each(actual, predicted, len(labels))
    shape = len(offsets) - 1, len(labels) ** 2
    tallies = csr_array((np.ones(len(cells)), cells, offsets.copy()), shape=shape)
    tallies.sum_duplicates()  # in place: hence the copy
    spans = span_tallies(actual, predicted, labels, offsets)
    return csr_array(hstack([tallies, np.stack(spans, axis=1)])) if spans else tallies


Statistic = Callable[[Counts], NDArray[np.float64]]
"""Figures (..., M) from stacks of tallies' sums (..., K)."""


def _statistic(labels: Sequence[str]) -> tuple[list[str], Statistic]:
    """Return the names of the figures that have an interval, and what computes them."""
    num_classes = len(labels)
    names = [*HEADLINES]
    names += [f"{figure}_{label}" for figure in ("precision", "recall", "f1") for label in labels]
    if span_notation(labels):
        names += SPAN_HEADLINES

    def statistic(totals: Counts) -> NDArray[np.float64]:
        cells, spans = totals[..., : num_classes**2], totals[..., num_classes**2 :]
        counts = cells.reshape(*cells.shape[:-1], num_classes, num_classes)
        right = np.diagonal(counts, axis1=-2, axis2=-1)
        figures = [
            headline_values(counts),
            *precision_recall_f1(right, counts.sum(axis=-1), counts.sum(axis=-2)),
        ]
        if spans.shape[-1]:
            figures.append(np.moveaxis(precision_recall_f1(*np.moveaxis(spans, -1, 0)), 0, -1))
        return np.concatenate(figures, axis=-1)

    return names, statistic


class _Bootstrap(NamedTuple):
    estimate: NDArray[np.float64]  # (M,)
    resampled: NDArray[np.float64]  # (resamples, M), NaN where a resample leaves it undefined
    acceleration: NDArray[np.float64]  # (M,)
    rests_on: NDArray[np.int64]  # (M,) sequences that have a say in the figure

    def interval(self, i: int) -> Interval:
        """BCa, with Student's t for the normal, as few sequences call for (Hesterberg 2015)."""
        values = self.resampled[~np.isnan(self.resampled[:, i]), i]
        below = (values < self.estimate[i]).mean() + (values == self.estimate[i]).mean() / 2
        bias = ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))
        freedom = self.rests_on[i] - 1
        tails = stdtrit(freedom, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        shift = bias + tails * np.sqrt(1 + 1 / freedom)
        levels = ndtr(bias + shift / np.maximum(1 - self.acceleration[i] * shift, 0.1))
        return Interval(*np.quantile(values, levels).tolist())


def _bootstrap(tallies: csr_array, statistic: Statistic, resamples: int, seed: int) -> _Bootstrap:
    """Draw rows of `tallies` with replacement, as many as there are, `resamples` times."""
    rng = np.random.default_rng(seed)
    # Equal rows are drawn together, by a multinomial over the kinds of row: of sequences with one
    # row there are C * C kinds at most. A random projection tells the kinds apart.
    keys = tallies @ rng.random(tallies.shape[1])
    _, first, sizes = np.unique(keys, return_index=True, return_counts=True)
    kinds = tallies[first]
    resampled = []
    for block in _blocks(resamples, max(kinds.shape)):
        drawn = rng.multinomial(sizes.sum(), sizes / sizes.sum(), size=len(block))
        resampled.append(statistic(drawn @ kinds))
    gradient = _gradient(statistic, sizes @ kinds)
    return _Bootstrap(
        estimate=statistic(sizes @ kinds),
        resampled=np.concatenate(resampled),
        acceleration=np.array([_acceleration(kinds @ slope, sizes) for slope in gradient.T]),
        rests_on=_rests_on(statistic, kinds, sizes),
    )


def _gradient(statistic: Statistic, totals: Counts) -> NDArray[np.float64]:
    """Return the change of each figure (K, M) with each total, 0 where the total is 0."""
    step = 0.01  # a hundredth of a row: small against any total, large against rounding
    used = np.flatnonzero(totals)
    gradient = np.zeros((len(totals), len(statistic(totals))))
    for block in _blocks(len(used), len(totals)):
        changed = np.tile(totals, (len(block), 1))
        changed[np.arange(len(block)), used[block]] += step
        gradient[used[block]] = (statistic(changed) - statistic(totals)) / step
    return gradient


def _acceleration(influence: NDArray[np.float64], sizes: NDArray[np.int64]) -> float:
    """Efron 1987, section 7: a sixth of the skewness of what the sequences contribute."""
    spread = float(sizes @ influence**2)
    return float(sizes @ influence**3) / (6 * spread**1.5) if spread > 0 else 0.0


def _rests_on(
    statistic: Statistic, kinds: csr_array, sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count the sequences that have a say in each figure: those that would define it alone."""
    blocks = _blocks(len(sizes), kinds.shape[1])
    defined = [sizes[block] @ ~np.isnan(statistic(kinds[block].toarray())) for block in blocks]
    total: NDArray[np.int64] = np.sum(defined, axis=0)
    return total


def _open_end(interval: Interval, num_sequences: int) -> Interval:
    """Give a figure of 0 or 1, which shows no spread, the binomial's other end."""
    edge = ((1 - CONFIDENCE) / 2) ** (1 / num_sequences)
    if interval.low == interval.high == 1:
        return Interval(edge, 1.0)
    if interval.low == interval.high == 0:
        return Interval(0.0, 1 - edge)
    return interval


def _blocks(total: int, width: int) -> Iterator[range]:
    """Split range(total) so that `width` numbers for each fit into a block."""
    size = max(1, _BLOCK // width)
    for start in range(0, total, size):
        yield range(start, min(start + size, total))
