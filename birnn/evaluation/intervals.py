"""How sure one can be of a figure, and of a difference: 95 % intervals over groups.

Sequences of one group (a speaker, a patient, a machine) resemble one another, so groups are what is
independent, never their sequences or steps. Where there are no groups, each sequence is its own.

How much a figure varies comes from the delete-one jackknife: the figure without each group in turn
(Efron and Stein, The Jackknife Estimate of Variance, 1981). The ends of its interval come

- of a share of a total, such as a recall, from the interval of Jeffreys for a binomial, with as
  many independent observations as would vary as much (after Korn and Graubard, Confidence Intervals
  for Proportions with Small Expected Number of Positive Counts, 1998). F1 is 2 J / (1 + J) of such
  a share: J, the right rows among those that are actual or predicted;
- of an average over classes, from the distances of the classes' ends, put together as independent
  errors are, times how much more the average varies than independent classes would (after Zou and
  Donner, Construction of Confidence Limits about Effect Measures, 2008). Where few groups hold
  mistakes, that is hardly known, so it goes towards what it is for groups that are right or wrong
  as a whole;
- of a difference, from Student's t.

Mistakes in few groups tell little of how much groups vary, so t has no more degrees of freedom than
groups of equal weight would hold the mistakes. docs/intervals.md shows what the intervals cover.

For the arguments that functions share see `birnn.evaluation.metrics`, and

    groups              (S,) integers: the number of the group of each sequence
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, hstack
from scipy.special import betaincinv, ndtri, stdtrit

from birnn.evaluation.metrics import HEADLINES, SPAN_HEADLINES, Ints, correlation
from birnn.evaluation.spans import span_notation, span_tallies

AVERAGES = (
    "balanced_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "precision_weighted",
    "f1_weighted",
)

LOW, HIGH = 0.025, 0.975
LEAST_GROUPS = 5
"""Of a test set, for intervals. With three or four, too little is known of how groups vary: the
intervals of accuracy hold the truth in 90 % of cases, and those of Matthews correlation in 86 %."""
LEAST_DIFFERING = 10
"""Groups in which two models differ. If there are three, an equally good model is right in all of
them in an eighth of cases, and its interval would call it better."""

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A 95 % interval, and how many groups it rests on."""

    low: float
    high: float
    groups: int


class Difference(NamedTuple):
    """By how much the first model is better, with a 95 % interval.

    `differing` counts the groups in which one of the two is right where the other is wrong.
    """

    estimate: float
    low: float
    high: float
    differing: int

    @property
    def too_few(self) -> bool:
        """Whether the models differ in too few groups for an interval."""
        return self.differing < LEAST_DIFFERING


def over(groups: int, sequences: int) -> str:
    """Say what is independent: `20 groups of sequences`, or `150 sequences`."""
    if groups < sequences:
        return f"{groups} group{'s' * (groups > 1)} of sequences"
    return f"{sequences} sequence{'s' * (sequences > 1)}"


def in_brackets(groups: int, sequences: int) -> str:
    """Say below a table what its intervals are over, or why it has none."""
    text = over(groups, sequences)
    if groups < LEAST_GROUPS:
        return f"There are no 95 % intervals: they would rest on {text}, and need {LEAST_GROUPS}."
    return f"In brackets: 95 % intervals over {text}."


def intervals(
    actual: Ints, predicted: Ints, *, labels: Sequence[str], offsets: Ints, groups: Ints
) -> dict[str, Interval]:
    """Return 95 % intervals of the headlines, the span metrics and each class's figures.

    Names are those of `metrics`. With fewer than `LEAST_GROUPS` groups there are none; nor has a
    figure one that rests on a single group.
    """
    (tallies,) = _tallies(actual, [predicted], labels, offsets, groups)
    if tallies.num_groups < LEAST_GROUPS:
        return {}
    shares = _shares(tallies)
    figures = _figures(tallies, shares)
    weight = _weight(shares, tallies.num_groups)
    ends, variance = _share_ends(shares, weight, tallies.num_groups), _variance(figures.change)
    of_accuracy = _Weight(*(each[3 * len(labels), np.newaxis] for each in weight))
    apart = ends - figures.value[: len(ends.T)]
    averages = []
    for i, average in enumerate(_averages(tallies)):
        reach = _reaches(shares, variance, apart, average, len(ends.T) + i, of_accuracy)
        averages.append(np.clip(figures.value[len(ends.T) + i] + reach * [-1, 1], 0, 1))
    of_mcc = _mcc_ends(figures.value[-1:], variance[-1:], of_accuracy)
    ends = np.column_stack([ends, *averages, of_mcc])
    return {
        name: Interval(float(ends[0, i]), float(ends[1, i]), int(figures.rests_on[i]))
        for name, i in _columns(labels).items()
        if figures.rests_on[i] > 1
    }


def difference(
    actual: Ints,
    first: Ints,
    second: Ints,
    *,
    labels: Sequence[str],
    offsets: Ints,
    groups: Ints,
) -> dict[str, Difference]:
    """Return what the `first` predictions (N,) are worth over the `second`, metric by metric.

    Both are scored without the same group in turn, so that what makes a group hard for both
    cancels out. Names are those of `intervals`; a figure that is undefined for either model has no
    difference. Where `too_few`, the interval says little.
    """
    both = _tallies(actual, [first, second], labels, offsets, groups)
    num_groups = both[0].num_groups
    if num_groups < 2:
        return {}
    one, other = (_figures(tallies, _shares(tallies)) for tallies in both)
    estimate, change = one.value - other.value, csr_array(one.change - other.change)
    # Groups that all differ alike show no spread; yet the next one might not differ at all.
    error, least = np.sqrt(_variance(change)), np.abs(estimate) / num_groups
    freedom = np.where(
        error > least, np.clip(_even_groups(change), 1, num_groups - 1), num_groups - 1
    )
    reach = stdtrit(freedom, HIGH) * np.maximum(error, least)
    most = np.append(np.ones(len(estimate) - 1), 2)  # the last one, `mcc`, goes from -1 to 1
    ends = np.clip([estimate, estimate - reach, estimate + reach], -most, most)
    apart = (first == actual) != (second == actual)
    differing = len(np.unique(np.repeat(groups, np.diff(offsets))[apart]))
    rests_on = np.minimum(one.rests_on, other.rests_on)
    return {
        name: Difference(float(ends[0, i]), float(ends[1, i]), float(ends[2, i]), differing)
        for name, i in _columns(labels).items()
        if rests_on[i] > 1
    }


def of_share(
    part: NDArray[np.bool_], whole: NDArray[np.bool_], *, offsets: Ints, groups: Ints
) -> Interval | None:
    """Return the 95 % interval of a share of rows; None where `intervals` would have none.

    Args:
        part: (N,) which rows count.
        whole: (N,) of which rows.
        offsets: (S + 1,) see above.
        groups: (S,) see above.
    """
    _, group = np.unique(groups, return_inverse=True)
    num_groups, of_row = int(group.max()) + 1, np.repeat(group, np.diff(offsets))
    shares = _Shares(
        group=np.arange(num_groups),
        column=np.zeros(num_groups, dtype=np.int64),
        part=_sums(of_row, (part & whole).astype(np.float64), num_groups),
        whole=_sums(of_row, whole.astype(np.float64), num_groups),
        is_j=np.array([False]),
    )
    rests_on = int(np.count_nonzero(shares.whole))
    if rests_on < 2 or num_groups < LEAST_GROUPS:
        return None
    low, high = _share_ends(shares, _weight(shares, num_groups), num_groups)[:, 0].tolist()
    return Interval(low, high, rests_on)


def of_change(change: Floats, *, offsets: Ints, groups: Ints) -> Interval | None:
    """Return the 95 % interval of a mean change of rows, or None if it rests on a single group.

    Args:
        change: (N,) by how much each row is another with a second model than with a first.
        offsets: (S + 1,) see above.
        groups: (S,) see above.
    """
    _, group = np.unique(groups, return_inverse=True)
    num_groups, of_row = int(group.max()) + 1, np.repeat(group, np.diff(offsets))
    if num_groups < 2:
        return None
    total, size = (_sums(of_row, one, num_groups) for one in (change, np.ones(len(change))))
    mean = float(change.mean())
    without = (total.sum() - total) / (len(change) - size)
    moved = csr_array((without - mean)[:, np.newaxis])
    error, least = float(np.sqrt(_variance(moved)[0])), abs(mean) / num_groups
    # As in `difference`: groups that all change alike show no spread, and tell little of the next.
    even = float(np.clip(_even_groups(moved)[0], 1, num_groups - 1))
    freedom = even if error > least else num_groups - 1
    reach = float(stdtrit(freedom, HIGH)) * max(error, least)
    return Interval(mean - reach, mean + reach, num_groups)


def names(labels: Sequence[str]) -> list[str]:
    """Name the figures that may have an interval, in the order of `metrics`."""
    return [*HEADLINES, *_of_spans(labels), *_of_classes(labels)]


def _of_spans(labels: Sequence[str]) -> Sequence[str]:
    return SPAN_HEADLINES if span_notation(labels) else ()


def _of_classes(labels: Sequence[str]) -> list[str]:
    return [f"{figure}_{label}" for figure in ("precision", "recall", "f1") for label in labels]


def _columns(labels: Sequence[str]) -> dict[str, int]:
    """Say at which place of the arrays here each of `names` is."""
    by_class = _of_classes(labels)
    order = [*by_class, "accuracy", *_of_spans(labels), *AVERAGES, "mcc"]
    place = {name: i for i, name in enumerate(order)}
    place["recall_weighted"] = place["accuracy"]  # which it is
    return {name: place[name] for name in names(labels)}


def _sums(place: Ints, amounts: Floats, size: int) -> Floats:
    return np.bincount(place, amounts, size).astype(np.float64, copy=False)


class _Tallies(NamedTuple):
    """What groups add to the counts of classes: E entries, one where a group adds anything."""

    group: Ints  # (E,)
    label: Ints  # (E,)
    right: Floats  # (E,) rows of the class that are predicted right
    actual: Floats  # (E,) rows of the class
    predicted: Floats  # (E,) rows that are called so
    spans: list[Floats]  # (G,) right, actual and predicted ones; empty where labels have none
    num_groups: int  # G
    num_classes: int  # C

    def of_groups(self, amounts: Floats) -> Floats:
        return _sums(self.group, amounts, self.num_groups)

    def of_classes(self, amounts: Floats) -> Floats:
        return _sums(self.label, amounts, self.num_classes)


def _tallies(
    actual: Ints, answers: Sequence[Ints], labels: Sequence[str], offsets: Ints, groups: Ints
) -> list[_Tallies]:
    """Count for each of some answers to the same rows; their entries are the same."""
    _, group = np.unique(groups, return_inverse=True)
    num_groups, num_classes = int(group.max()) + 1, len(labels)
    start = np.repeat(group, np.diff(offsets)) * num_classes
    cells = np.concatenate([start + classes for classes in (actual, *answers)])
    entries, entry = np.unique(cells, return_inverse=True)
    of_actual, *of_answers = entry.reshape(1 + len(answers), -1)

    def count(entry: Ints) -> Floats:
        return np.bincount(entry, minlength=len(entries)).astype(np.float64)

    found = []
    for predicted, of_predicted in zip(answers, of_answers, strict=True):
        spans = span_tallies(actual, predicted, labels, offsets)
        found.append(
            _Tallies(
                group=entries // num_classes,
                label=entries % num_classes,
                right=count(of_actual[actual == predicted]),
                actual=count(of_actual),
                predicted=count(of_predicted),
                spans=[_sums(group, tally, num_groups) for tally in spans or ()],
                num_groups=num_groups,
                num_classes=num_classes,
            )
        )
    return found


class _Shares(NamedTuple):
    """K shares of totals: precision, recall and J of each class, accuracy, and those of spans."""

    group: Ints  # (E,)
    column: Ints  # (E,) which share
    part: Floats  # (E,) what the group adds to its part
    whole: Floats  # (E,) and to its whole
    is_j: NDArray[np.bool_]  # (K,) of which F1 is 2 J / (1 + J)

    def total(self, amounts: Floats) -> Floats:
        """Sum over groups, (K,)."""
        return _sums(self.column, amounts, len(self.is_j))

    def value(self) -> Floats:
        """(K,), NaN where the whole is nothing."""
        return _divided(self.total(self.part), self.total(self.whole))

    def without(self) -> Floats:
        """The value without each group, (E,); where nothing is left, it is as it was."""
        part, whole = self.total(self.part)[self.column], self.total(self.whole)[self.column]
        left = whole > self.whole
        return np.where(
            left,
            _divided(part - self.part, np.where(left, whole - self.whole, 1)),
            self.value()[self.column],
        )

    def figure(self, share: Floats, column: Ints | slice = slice(None)) -> Floats:
        """F1 of a J, and any other share as it is."""
        return np.where(self.is_j[column], 2 * share / (1 + share), share)


def _divided(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return part / whole


def _shares(tallies: _Tallies) -> _Shares:
    each = np.arange(tallies.num_groups)
    counts = tallies.right, tallies.actual, tallies.predicted
    right, actual, _ = (tallies.of_groups(count) for count in counts)
    groups = [*[tallies.group] * 3, each, *[each] * len(tallies.spans)]
    columns = [i * tallies.num_classes + tallies.label for i in range(3)]
    columns += [np.full_like(each, 3 * tallies.num_classes + i) for i in range(len(groups) - 3)]
    pairs = [*_parts_and_wholes(*counts), (right, actual)]
    if tallies.spans:
        pairs += _parts_and_wholes(*tallies.spans)
    part, whole = (np.concatenate(side) for side in zip(*pairs, strict=True))
    of_class = np.repeat([False, False, True, False], [tallies.num_classes] * 3 + [1])
    of_spans = [False, False, True] if tallies.spans else []
    return _Shares(
        np.concatenate(groups), np.concatenate(columns), part, whole, np.append(of_class, of_spans)
    )


def _parts_and_wholes(
    right: Floats, actual: Floats, predicted: Floats
) -> list[tuple[Floats, Floats]]:
    """Of precision, recall and J."""
    return [(right, predicted), (right, actual), (right, actual + predicted - right)]


class _Figures(NamedTuple):
    """M figures: the shares, with F1 for J, then `AVERAGES`, then `mcc`."""

    value: Floats  # (M,) NaN where undefined
    change: csr_array  # (G, M) by how much it changes without the group
    rests_on: Ints  # (M,) groups that have a say in it


class _Weights(NamedTuple):
    """What makes an average over classes."""

    first: int  # the place of the first class's figure
    weights: Floats  # (C,)
    by_support: bool  # whether they change with the groups


def _averages(tallies: _Tallies) -> list[_Weights]:
    """Those of `AVERAGES`."""
    support, called = (tallies.of_classes(one) for one in (tallies.actual, tallies.predicted))
    present, occurring = support > 0, support + called > 0
    equal = occurring / occurring.sum()
    precision, recall, f1 = (i * tallies.num_classes for i in range(3))
    return [
        _Weights(recall, present / present.sum(), False),
        _Weights(precision, equal, False),
        _Weights(recall, equal, False),
        _Weights(f1, equal, False),
        _Weights(precision, support / support.sum(), True),
        _Weights(f1, support / support.sum(), True),
    ]


def _figures(tallies: _Tallies, shares: _Shares) -> _Figures:
    value = shares.figure(shares.value())
    change = shares.figure(shares.without(), shares.column) - value[shares.column]
    known, change = np.nan_to_num(value), np.nan_to_num(change)
    headlines = [_average(tallies, each, known, change) for each in _averages(tallies)]
    headlines.append(_mcc(tallies))
    of_shares = (change, (shares.group, shares.column))
    shape = tallies.num_groups, len(value)
    changes = np.column_stack([each for _, each in headlines])
    everywhere = np.full(len(headlines), tallies.num_groups)
    return _Figures(
        value=np.append(value, [each for each, _ in headlines]),
        change=csr_array(hstack([coo_array(of_shares, shape=shape), coo_array(changes)])),
        rests_on=np.append(shares.total((shares.whole > 0).astype(np.float64)), everywhere),
    )


def _average(
    tallies: _Tallies, average: _Weights, known: Floats, change: Floats
) -> tuple[float, Floats]:
    """Return an average of classes, and by how much it changes without each group, (G,).

    Args:
        tallies: of the groups.
        average: what to average.
        known: (K,) figures, 0 where undefined.
        change: (E,) of the shares; those of a kind of figure are in the order of the tallies.
    """
    label, size = tallies.label, len(tallies.label)
    start = average.first // tallies.num_classes * size
    of_class, changed = known[average.first + label], change[start : start + size]
    value = float(average.weights @ known[average.first : average.first + tallies.num_classes])
    if not average.by_support:
        return value, tallies.of_groups(average.weights[label] * changed)
    support = tallies.of_classes(tallies.actual)
    rows, own = support.sum(), tallies.of_groups(tallies.actual)
    gained = (support[label] - tallies.actual) * changed - tallies.actual * of_class
    return value, (value * rows + tallies.of_groups(gained)) / (rows - own) - value


def _mcc(tallies: _Tallies) -> tuple[float, Floats]:
    """Return Matthews correlation, and by how much it changes without each group, (G,)."""
    right, actual, predicted = tallies.right, tallies.actual, tallies.predicted
    totals, changes = [], []
    for one, other in ((actual, predicted), (actual, actual), (predicted, predicted)):
        of_one, of_other = tallies.of_classes(one), tallies.of_classes(other)
        gone = of_one[tallies.label] * other + of_other[tallies.label] * one - one * other
        totals.append(of_one @ of_other)
        changes.append(tallies.of_groups(gone))
    totals = [right.sum(), actual.sum(), *totals]
    changes = [tallies.of_groups(right), tallies.of_groups(actual), *changes]
    value = float(correlation(*(np.asarray(total) for total in totals)))
    left = [total - change for total, change in zip(totals, changes, strict=True)]
    return value, correlation(*left) - value


def _variance(change: csr_array) -> Floats:
    """The jackknife's, (M,)."""
    num_groups = change.shape[0]
    variance: Floats = change.power(2).sum(axis=0) * (num_groups - 1) / num_groups
    return variance


def _even_groups(amounts: csr_array) -> Floats:
    """Kish's effective number (M,): of equal groups that would vary as these (G, M) do."""
    total, squares = abs(amounts).sum(axis=0), amounts.power(2).sum(axis=0)
    even: Floats = np.asarray(total**2 / np.where(squares > 0, squares, 1), dtype=np.float64)
    return even


class _Weight(NamedTuple):
    """How many groups of equal weight there would be."""

    groups: Floats  # (K,) that hold the whole of a share
    mistaken: Floats  # (K,) that hold its mistakes, or its right rows where those are fewer


def _weight(shares: _Shares, num_groups: int) -> _Weight:
    whole, part, rest = (
        _even_groups(_by_group(shares, amounts, num_groups))
        for amounts in (shares.whole, shares.part, shares.whole - shares.part)
    )
    return _Weight(whole, np.minimum(part, rest))


def _by_group(shares: _Shares, amounts: Floats, num_groups: int) -> csr_array:
    place = shares.group, shares.column
    return csr_array((amounts, place), shape=(num_groups, len(shares.is_j)))


def _share_ends(shares: _Shares, weight: _Weight, num_groups: int) -> Floats:
    """The ends (2, K) of the intervals of the shares, as figures."""
    value = shares.value()
    change = np.nan_to_num(shares.without() - value[shares.column])
    number = _observations(value, _variance(_by_group(shares, change, num_groups)), weight)
    return np.stack([shares.figure(end) for end in _jeffreys(value, number)])


def _observations(value: Floats, variance: Floats, weight: _Weight) -> Floats:
    """Say how many independent observations would vary as much as shares (K,) do.

    They are fewer by what Student's t asks for, with as many degrees of freedom as groups hold
    mistakes. But a group is an observation at least, if it varies no more than one.
    """
    measured = np.where(variance > 0, _divided(value * (1 - value), variance), np.inf)
    sure = np.where(variance > 0, measured * _certainty(weight.mistaken), 0)
    return np.maximum(sure, np.minimum(measured, weight.groups))


def _jeffreys(value: Floats, number: Floats) -> tuple[Floats, Floats]:
    """The ends (K,) for shares of so many; at 0 and 1 Clopper and Pearson's, which are wider."""
    hits, misses = value * number + 0.5, (1 - value) * number + 0.5
    edge = LOW ** (1 / np.maximum(number, 1))
    low = np.where(value == 1, edge, betaincinv(hits, misses, LOW))
    high = np.where(value == 0, 1 - edge, betaincinv(hits, misses, HIGH))
    return np.where(value == 0, 0, low), np.where(value == 1, 1, high)


def _reaches(
    shares: _Shares,
    variance: Floats,
    apart: Floats,
    average: _Weights,
    place: int,
    weight: _Weight,
) -> Floats:
    """How far the ends (2,) are from an average of classes, which has this place among M.

    The average varies more than independent classes would: by what the jackknife says or, where
    few groups hold mistakes, by up to what groups would do that are right or wrong as a whole.
    """
    classes = slice(average.first, average.first + len(average.weights))
    apart = np.nan_to_num(apart[:, classes]) * average.weights
    alone = average.weights**2 @ np.nan_to_num(variance[classes])
    measured = variance[place] / alone if alone > 0 else 1
    # Of the powers that were tried, the one with which intervals hold the truth; docs/intervals.md.
    unsure = (1 - _certainty(weight.mistaken)) ** 2
    at_most = np.array([_as_a_whole(shares, side, average.first) for side in apart])
    together = measured + unsure * np.maximum(at_most - measured, 0)
    reach: Floats = np.sqrt(together * (apart**2).sum(axis=1))
    return reach


def _as_a_whole(shares: _Shares, amounts: Floats, first: int) -> float:
    """How much more a sum of classes would vary if groups were right or wrong as a whole.

    Args:
        shares: of which these classes are some.
        amounts: (C,) what each class adds to the sum.
        first: the place of the first class.
    """
    inside = (shares.column >= first) & (shares.column < first + len(amounts))
    group, column = shares.group[inside], shares.column[inside]
    part = np.nan_to_num(_divided(shares.whole, shares.total(shares.whole)[shares.column])[inside])
    added = amounts[column - first] * part
    squares, together = (added**2).sum(), (_sums(group, added, int(group.max()) + 1) ** 2).sum()
    return float(together / squares) if squares else 1.0


def _certainty(mistaken: Floats) -> Floats:
    """What is left of a variance's worth by Student's t, where so many groups hold mistakes."""
    certainty: Floats = (ndtri(HIGH) / stdtrit(np.maximum(mistaken, 1), HIGH)) ** 2
    return certainty


def _mcc_ends(value: Floats, variance: Floats, weight: _Weight) -> Floats:
    """The ends (2,) of the interval of Matthews correlation (1,): as a share, from -1 to 1."""
    share = (1 + value) / 2
    return 2 * np.concatenate(_jeffreys(share, _observations(share, variance / 4, weight))) - 1
