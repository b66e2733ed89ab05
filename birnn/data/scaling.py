"""Numeric features on a scale that a network can learn from.

`global`        (value - mean) / scale, with the mean and the standard deviation of all of train
`per_sequence`  the same with each sequence's own; its log scale becomes one more feature
`asinh`         asinh of (value - median) / interquartile range, which bends heavy tails; where that
                range is 0, the median distance of the values that differ from the median
`none`          values as they are

All is computed in float64, and the result is rounded to float32: what is small beside its offset,
such as an air pressure of 101325.002, is told apart once the mean has been taken off.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["none", "global", "per_sequence", "asinh"]
Floats = npt.NDArray[np.floating[Any]]
Offsets = npt.NDArray[np.int64]

SAMPLE = 4_000_000  # numbers, of steps chosen at random, from which medians are taken
FLAT, FLAT_ROUNDED = 1e-12, 1e-6
"""A sequence that varies less, as a share of its mean, is rounding noise: of float64, and where all
of its values are ones that float32 holds, perhaps of float32."""
COARSE = 0.01  # of its spread, by which a feature may change as it becomes float32 without scaling


class Moments:
    """Mean and variance of each feature, of parts that come one after the other.

    The formulas are those of Chan, Golub and LeVeque (1983), "Algorithms for computing the sample
    variance", with which scikit-learn's `StandardScaler` gives the same bits. The sums of a part
    depend on nothing before it, so that many are computed at a time.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Floats = np.zeros(0)
        self.variance: Floats = np.zeros(0)

    @staticmethod
    def sums(raw: Floats) -> Floats:
        """How many steps, the sum, and the sum of squares about the mean, each (features,)."""
        raw = np.ascontiguousarray(raw)
        total = _summed(raw)
        centred = raw - total / len(raw)
        error = _summed(centred)  # of the mean that was taken off
        centred **= 2
        squares = _summed(centred) - error**2 / len(raw)
        return np.stack([np.full_like(total, len(raw)), total, squares])

    def add(self, sums: Floats) -> None:
        """Take up one more part."""
        count, total, squares = int(sums[0, 0]), sums[1], sums[2]
        both = self.count + count
        if self.count:
            before, ratio = self.mean * self.count, self.count / count
            between = ratio / both * (before / ratio - total) ** 2
            squares = self.variance * self.count + squares + between
            total = before + total
        self.count, self.mean, self.variance = both, total / both, squares / both

    def scale(self) -> Floats:
        """The standard deviation; 1 of a feature that only rounding varies."""
        steps, rounding = self.count, np.finfo(np.float64).eps
        constant = steps * rounding * self.variance + (steps * self.mean * rounding) ** 2
        return np.where(self.variance <= constant, 1, np.sqrt(self.variance))


def _summed(steps: Floats) -> Floats:
    """Add up (steps, features), one step after the other, as `sum` does in four times the time."""
    return np.asarray(np.einsum("ij->j", steps))


class Fitting:
    """Learns from chunks of training sequences what the scaling of their features needs.

    Args:
        kind: the scaling.
        steps: how many there are about. Where that is so many that medians are taken from a sample,
            each chunk is thinned by itself, and no more than twice the sample is added.
    """

    def __init__(self, kind: Kind, steps: int | None = None) -> None:
        self.kind, self.steps = kind, steps
        self._moments = Moments()
        self._logs: Floats | float = 0.0  # how many log scales, their sums, the sums of squares
        self._sample: Floats | None = None
        self._generator = np.random.default_rng(0)

    def seen(self, raw: Floats, offsets: Offsets) -> Floats:
        """What `add` is to take of some sequences; it depends on nothing that was added.

        Args:
            raw: (steps, features).
            offsets: where each sequence begins.
        """
        if self.kind == "per_sequence":
            logs = by_sequence(raw, offsets)[1]
            known = np.nan_to_num(logs)
            return np.stack([(~np.isnan(logs)).sum(0), known.sum(0), (known**2).sum(0)])
        return Moments.sums(raw) if self.kind == "global" else self._thinned(raw)

    def _thinned(self, raw: Floats) -> Floats:
        """Some of the steps, by chance; which ones, their number alone decides."""
        if self.steps is None or (share := 2 * _most(raw) / self.steps) >= 1:
            return raw
        return raw[np.random.default_rng(len(raw)).random(len(raw)) < share]

    def add(self, seen: Floats) -> None:
        """Take up what was seen of some more sequences, in their order."""
        if self.kind in ("asinh", "none"):
            self._draw(seen)
        elif self.kind == "per_sequence":
            self._logs += seen
        else:
            self._moments.add(seen)

    def result(self, features: int) -> tuple[list[float], list[float]]:
        """Give a mean and a scale for each feature; by `per_sequence`, of its log scale."""
        if self.kind == "none":
            return [0.0] * features, [1.0] * features
        if self.kind == "asinh":
            median, spread = self._robust()
            return median.tolist(), np.where(spread > 0, spread, 1).tolist()
        if self.kind == "per_sequence":
            count, total, squares = np.asarray(self._logs)
            mean = total / np.maximum(count, 1)  # of none, where no sequence varies
            variance = squares / np.maximum(count, 1) - mean**2
            varying = variance > FLAT_ROUNDED**2
            return mean.tolist(), np.sqrt(np.where(varying, variance, 1)).tolist()
        return self._moments.mean.tolist(), self._moments.scale().tolist()

    def lost(self) -> npt.NDArray[np.bool_]:
        """Say of which features (features,) float32 does not hold what differs, without scaling."""
        if self.kind != "none":
            return np.zeros(0, dtype=bool)
        median, spread = self._robust()
        step = np.spacing(np.abs(median).astype(np.float32))
        lost: npt.NDArray[np.bool_] = (spread > 0) & (step > COARSE * spread)
        return lost

    def _robust(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The median of each feature, and a spread that a few extreme values do not move."""
        assert self._sample is not None
        values = self._sample[:, 1:]
        low, median, high = np.percentile(values, [25, 50, 75], axis=0)
        away = np.abs(values - median)
        away[away == 0] = np.nan
        rest = [np.nanmedian(one) if np.isfinite(one).any() else 0 for one in away.T]
        return median, np.where(high > low, high - low, rest)

    def _draw(self, raw: Floats) -> None:
        """Keep the steps with the lowest of numbers drawn for all, however they are chunked."""
        drawn = np.column_stack([self._generator.random(len(raw)), raw])
        joined = drawn if self._sample is None else np.concatenate([self._sample, drawn])
        most = _most(raw)
        if len(joined) > most:
            joined = joined[np.argpartition(joined[:, 0], most)[:most]]
        self._sample = joined


def _most(raw: Floats) -> int:
    """How many steps a sample holds."""
    return max(1, SAMPLE // int(raw.shape[1]))


def scaled(
    kind: Kind, raw: Floats, offsets: Offsets, *, mean: Floats, scale: Floats
) -> tuple[Floats, Floats]:
    """Scale sequences with what `Fitting` has learned.

    Args:
        kind: the scaling.
        raw: (steps, features).
        offsets: where each sequence begins, (sequences + 1,).
        mean: (features,).
        scale: (features,).

    Returns:
        (steps, features), and what is the same at every step of a sequence: its log scales,
        (sequences, features), where each is scaled by itself, else (sequences, 0).
    """
    if kind == "per_sequence":
        values, logs = by_sequence(raw, offsets)
        return values, np.nan_to_num((logs - mean) / scale)
    values = raw - mean
    values /= scale
    if kind == "asinh":
        np.arcsinh(values, out=values)
    return values, np.zeros((len(offsets) - 1, 0))


def by_sequence(raw: Floats, offsets: Offsets) -> tuple[Floats, Floats]:
    """Standardise each feature of each sequence by itself.

    Returns:
        (steps, features), and the logarithm of what each sequence was divided by, (sequences,
        features); NaN where a feature does not vary, whose values become 0.
    """
    lengths = np.diff(offsets)[:, None]
    mean = np.add.reduceat(raw, offsets[:-1], dtype=np.float64) / lengths
    centred = raw - np.repeat(mean, lengths[:, 0], axis=0)
    scale = np.sqrt(np.add.reduceat(centred**2, offsets[:-1]) / lengths)
    rounded = np.logical_and.reduceat(raw == raw.astype(np.float32), offsets[:-1])
    scale[scale <= np.where(rounded, FLAT_ROUNDED, FLAT) * np.abs(mean)] = np.inf
    logs = np.log(scale)
    return centred / np.repeat(scale, lengths[:, 0], axis=0), np.where(np.isinf(logs), np.nan, logs)


def framed(values: Floats, offsets: Offsets, frame: int) -> tuple[Floats, Offsets]:
    """Put `frame` consecutive steps side by side; the last of a sequence is filled up with zeros.

    Args:
        values: (steps, features).
        offsets: where each sequence begins, (sequences + 1,).
        frame: how many steps become one.

    Returns:
        (new steps, frame x features), and where each sequence begins now.
    """
    lengths = np.diff(offsets)
    starts = np.concatenate([[0], np.cumsum(-(-lengths // frame))])
    filled = np.zeros((starts[-1] * frame, values.shape[1]))
    filled[np.arange(len(values)) + np.repeat(starts[:-1] * frame - offsets[:-1], lengths)] = values
    return filled.reshape(-1, frame * values.shape[1]), starts
