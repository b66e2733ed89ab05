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
    folder              for temporary files that take what groups add; None to hold it in memory
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, hstack
from scipy.special import betaincinv, ndtri, stdtrit

from birnn.evaluation.metrics import HEADLINES, SPAN_HEADLINES, Ints, correlation
from birnn.evaluation.spans import span_notation, span_tallies
from birnn.evaluation.tallies import by_group
from birnn.files import pieces
from birnn.files.pieces import release

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

GROUPS = 1 << 14
"""That are left out in turn before the sums go on, so that memory does not grow with them."""

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
    actual: Ints,
    predicted: Ints,
    *,
    labels: Sequence[str],
    offsets: Ints,
    groups: Ints,
    folder: Path | None = None,
) -> dict[str, Interval]:
    """Return 95 % intervals of the headlines, the span metrics and each class's figures.

    Names are those of `metrics`. With fewer than `LEAST_GROUPS` groups there are none; nor has a
    figure one that rests on a single group.
    """
    (counts,) = _counts(actual, [predicted], labels, offsets, groups, folder)
    if counts.num_groups < LEAST_GROUPS:
        return {}
    figures = _figures(counts)
    totals, value, averages = figures.totals, figures.value, figures.averages
    shares, changes = _ShareSums.none(len(totals.is_j)), _Sums.none(len(value))
    for tallies in counts.pieces():
        some = _shares(tallies)
        shares.add(some, totals)
        changes.add(_changes(tallies, some, figures))
    ends = _share_ends(totals, shares, counts.num_groups)
    variance = changes.variance(counts.num_groups)
    of_accuracy = shares.weight(slice(3 * len(labels), 3 * len(labels) + 1))
    sides = [_sides(ends - value[: len(ends.T)], average) for average in averages]
    at_most = _as_a_whole(counts, totals, averages, sides)
    for i, average in enumerate(averages):
        place = len(totals.is_j) + i
        reach = _reaches(variance, sides[i], average, place, of_accuracy, at_most[i])
        ends = np.column_stack([ends, np.clip(value[place] + reach * [-1, 1], 0, 1)])
    ends = np.column_stack([ends, _mcc_ends(value[-1:], variance[-1:], of_accuracy)])
    rests_on = figures.rests_on(shares.groups, counts.num_groups)
    return {
        name: Interval(float(ends[0, i]), float(ends[1, i]), int(rests_on[i]))
        for name, i in _columns(labels).items()
        if rests_on[i] > 1
    }


def difference(
    actual: Ints,
    first: Ints,
    second: Ints,
    *,
    labels: Sequence[str],
    offsets: Ints,
    groups: Ints,
    folder: Path | None = None,
) -> dict[str, Difference]:
    """Return what the `first` predictions (N,) are worth over the `second`, metric by metric.

    Both are scored without the same group in turn, so that what makes a group hard for both
    cancels out. Names are those of `intervals`; a figure that is undefined for either model has no
    difference. Where `too_few`, the interval says little.
    """
    both = _counts(actual, [first, second], labels, offsets, groups, folder)
    num_groups = both[0].num_groups
    if num_groups < 2:
        return {}
    one, other = map(_figures, both)
    estimate, changes = one.value - other.value, _Sums.none(len(one.value))
    known = [_ShareSums.none(len(each.totals.is_j)) for each in (one, other)]
    for pair in zip(*(counts.pieces() for counts in both), strict=True):
        shares = [_shares(tallies) for tallies in pair]
        for sums, some, figures in zip(known, shares, (one, other), strict=True):
            sums.add(some, figures.totals)
        changes.add(_changes(pair[0], shares[0], one) - _changes(pair[1], shares[1], other))
    # Groups that all differ alike show no spread; yet the next one might not differ at all.
    error, least = np.sqrt(changes.variance(num_groups)), np.abs(estimate) / num_groups
    freedom = np.where(error > least, np.clip(changes.even(), 1, num_groups - 1), num_groups - 1)
    reach = stdtrit(freedom, HIGH) * np.maximum(error, least)
    most = np.append(np.ones(len(estimate) - 1), 2)  # the last one, `mcc`, goes from -1 to 1
    ends = np.clip([estimate, estimate - reach, estimate + reach], -most, most)
    rests_on = np.minimum(*(one.rests_on(sums.groups, num_groups) for sums in known))
    differing = _differing(actual, first, second, offsets, groups)
    return {
        name: Difference(float(ends[0, i]), float(ends[1, i]), float(ends[2, i]), differing)
        for name, i in _columns(labels).items()
        if rests_on[i] > 1
    }


def _differing(actual: Ints, first: Ints, second: Ints, offsets: Ints, groups: Ints) -> int:
    """In how many groups one of two answers is right where the other is wrong."""
    found = [groups[:0]]
    for chosen, rows in pieces.whole(offsets):
        apart = (first[rows] == actual[rows]) != (second[rows] == actual[rows])
        starts = offsets[chosen] - rows.start
        found.append(np.unique(groups[chosen][np.logical_or.reduceat(apart, starts)]))
        release(actual, first, second)
    return len(np.unique(np.concatenate(found)))


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
    num_groups = int(group.max()) + 1
    both = [np.zeros(len(group)) for _ in range(2)]
    for chosen, rows in pieces.whole(offsets):
        starts = offsets[chosen] - rows.start
        for of_sequence, some in zip(both, (part[rows] & whole[rows], whole[rows]), strict=True):
            of_sequence[chosen] = np.add.reduceat(some, starts, dtype=np.int64)
        release(part, whole)
    amounts = [_sums(group, of_sequence, num_groups) for of_sequence in both]
    each = np.arange(num_groups)
    shares = _Shares(each, np.zeros_like(each), *amounts)
    part_of_all, all_of_it = (one.sum(keepdims=True) for one in amounts)
    totals = _Totals(part_of_all, all_of_it, np.array([False]))
    rests_on = int(np.count_nonzero(shares.whole))
    if rests_on < 2 or num_groups < LEAST_GROUPS:
        return None
    sums = _ShareSums.none(1)
    sums.add(shares, totals)
    low, high = _share_ends(totals, sums, num_groups)[:, 0].tolist()
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
    moved = _Sums.none(1)
    moved.add(csr_array((without - mean)[:, np.newaxis]))
    error, least = float(np.sqrt(moved.variance(num_groups)[0])), abs(mean) / num_groups
    # As in `difference`: groups that all change alike show no spread, and tell little of the next.
    even = float(np.clip(moved.even()[0], 1, num_groups - 1))
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
    """What some groups add to the counts of classes: E entries, one where a group adds anything."""

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


class _Counts(NamedTuple):
    """The tallies of all groups, in few bytes, and their sums."""

    group: Ints  # (E,) in order
    label: Ints  # (E,)
    times: Ints  # (E, K)
    columns: list[int]  # right, actual and predicted among the K
    spans: list[Ints]  # (G,) each, as in `_Tallies`
    num_groups: int
    num_classes: int

    def pieces(self) -> Iterator[_Tallies]:
        """Give some groups at a time, in their order."""
        for first in range(0, self.num_groups, GROUPS):
            last = min(first + GROUPS, self.num_groups)
            part = slice(*np.searchsorted(self.group, [first, last]).tolist())
            right, actual, predicted = self.times[part][:, self.columns].T.astype(np.float64)
            yield _Tallies(
                group=self.group[part].astype(np.int64) - first,
                label=self.label[part].astype(np.int64),
                right=right,
                actual=actual,
                predicted=predicted,
                spans=[tally[first:last].astype(np.float64) for tally in self.spans],
                num_groups=last - first,
                num_classes=self.num_classes,
            )
            release(self.group, self.label, self.times)

    def of_classes(self) -> list[Floats]:
        """Sum each of the three counts over groups, (C,)."""
        total = np.zeros((3, self.num_classes))
        for tallies in self.pieces():
            for sums, amounts in zip(total, tallies[2:5], strict=True):
                np.add.at(sums, tallies.label, amounts)
        return list(total)


def _counts(
    actual: Ints,
    answers: Sequence[Ints],
    labels: Sequence[str],
    offsets: Ints,
    groups: Ints,
    folder: Path | None,
) -> list[_Counts]:
    """Count for each of some answers to the same rows; their entries are the same."""
    _, group = np.unique(groups, return_inverse=True)
    num_groups = int(group.max()) + 1

    def classes(rows: slice) -> list[Ints]:
        release(actual, *answers)
        true, said = actual[rows], [one[rows] for one in answers]
        return [true, *said, *(np.where(true == one, true, -1) for one in said)]

    found = by_group(classes, offsets, group, len(labels), folder)
    counts = []
    for number, predicted in enumerate(answers):
        spans = span_tallies(actual, predicted, labels, offsets) or ()
        counts.append(
            _Counts(
                group=found.group,
                label=found.label,
                times=found.times,
                columns=[1 + len(answers) + number, 0, 1 + number],
                spans=[np.bincount(group, one, num_groups).astype(np.int32) for one in spans],
                num_groups=num_groups,
                num_classes=len(labels),
            )
        )
    return counts


class _Totals(NamedTuple):
    """K shares of totals: precision, recall and J of each class, accuracy, and those of spans."""

    part: Floats  # (K,)
    whole: Floats  # (K,)
    is_j: NDArray[np.bool_]  # (K,) of which F1 is 2 J / (1 + J)

    def value(self) -> Floats:
        """(K,), NaN where the whole is nothing."""
        return _divided(self.part, self.whole)

    def figure(self, share: Floats, column: Ints | slice = slice(None)) -> Floats:
        """F1 of a J, and any other share as it is."""
        return np.where(self.is_j[column], 2 * share / (1 + share), share)


class _Shares(NamedTuple):
    """What some groups add to the shares: an entry where one adds anything."""

    group: Ints  # (E,)
    column: Ints  # (E,) which share
    part: Floats  # (E,) what the group adds to its part
    whole: Floats  # (E,) and to its whole

    def without(self, totals: _Totals) -> Floats:
        """The value without each group, (E,); where nothing is left, it is as it was."""
        part, whole = totals.part[self.column], totals.whole[self.column]
        left = whole > self.whole
        return np.where(
            left,
            _divided(part - self.part, np.where(left, whole - self.whole, 1)),
            totals.value()[self.column],
        )


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
    part, whole = _parts_and_wholes(counts, (right, actual), tallies.spans)
    return _Shares(np.concatenate(groups), np.concatenate(columns), part, whole)


def _parts_and_wholes(
    counts: Sequence[Floats], accuracy: tuple[Floats, Floats], spans: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """Those of precision, recall and J of each class, of accuracy, and of spans, end to end."""
    pairs = [*_of_three(*counts), accuracy]
    if spans:
        pairs += _of_three(*spans)
    part, whole = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return part, whole


def _of_three(right: Floats, actual: Floats, predicted: Floats) -> list[tuple[Floats, Floats]]:
    """Precision, recall and J."""
    return [(right, predicted), (right, actual), (right, actual + predicted - right)]


class _Weights(NamedTuple):
    """What makes an average over classes."""

    first: int  # the place of the first class's figure
    weights: Floats  # (C,)
    by_support: bool  # whether they change with the groups

    @property
    def columns(self) -> slice:
        """The places of the classes' figures."""
        return slice(self.first, self.first + len(self.weights))


def _averages(support: Floats, called: Floats) -> list[_Weights]:
    """Those of `AVERAGES`."""
    present, occurring = support > 0, support + called > 0
    equal = occurring / occurring.sum()
    precision, recall, f1 = (i * len(support) for i in range(3))
    return [
        _Weights(recall, present / present.sum(), False),
        _Weights(precision, equal, False),
        _Weights(recall, equal, False),
        _Weights(f1, equal, False),
        _Weights(precision, support / support.sum(), True),
        _Weights(f1, support / support.sum(), True),
    ]


class _Figures(NamedTuple):
    """M figures: the shares, with F1 for J, then `AVERAGES`, then `mcc`."""

    of_classes: list[Floats]  # (C,) right, actual and predicted
    totals: _Totals
    averages: list[_Weights]
    value: Floats  # (M,) NaN where undefined

    def rests_on(self, of_shares: Floats, num_groups: int) -> Floats:
        """How many groups have a say in each, (M,)."""
        everywhere = np.full(len(self.value) - len(of_shares), num_groups)
        return np.append(of_shares, everywhere)


def _figures(counts: _Counts) -> _Figures:
    of_classes = counts.of_classes()
    right, actual, predicted = of_classes
    spans = [tally.sum(keepdims=True, dtype=np.float64) for tally in counts.spans]
    accuracy = right.sum(keepdims=True), actual.sum(keepdims=True)
    of_class = np.repeat([False, False, True, False], [counts.num_classes] * 3 + [1])
    of_spans = [False, False, True] if spans else []
    totals = _Totals(
        *_parts_and_wholes(of_classes, accuracy, spans), is_j=np.append(of_class, of_spans)
    )
    value, averages = totals.figure(totals.value()), _averages(actual, predicted)
    known = np.nan_to_num(value)
    of_averages = [float(each.weights @ known[each.columns]) for each in averages]
    mcc = correlation(*map(np.asarray, _for_mcc(of_classes)))
    return _Figures(of_classes, totals, averages, np.append(value, [*of_averages, float(mcc)]))


def _changes(tallies: _Tallies, shares: _Shares, figures: _Figures) -> csr_array:
    """By how much each figure changes without each of some groups, (G, M)."""
    totals, value = figures.totals, figures.value
    change = totals.figure(shares.without(totals), shares.column) - value[shares.column]
    change = np.nan_to_num(change)
    averages = [_of_average(tallies, figures, i, change) for i in range(len(figures.averages))]
    headlines = np.column_stack([*averages, _of_mcc(tallies, figures)])
    shape = tallies.num_groups, len(totals.is_j)
    of_shares = coo_array((change, (shares.group, shares.column)), shape=shape)
    return csr_array(hstack([of_shares, coo_array(headlines)]))


def _of_average(tallies: _Tallies, figures: _Figures, place: int, change: Floats) -> Floats:
    """By how much an average of classes changes without each group, (G,).

    Args:
        tallies: of the groups.
        figures: of all groups.
        place: of the average.
        change: (E,) of the shares; those of a kind of figure are in the order of the tallies.
    """
    average, label, size = figures.averages[place], tallies.label, len(tallies.label)
    start = average.first // tallies.num_classes * size
    changed = change[start : start + size]
    if not average.by_support:
        return tallies.of_groups(average.weights[label] * changed)
    of_class = np.nan_to_num(figures.value)[average.first + label]
    value, (_, support, _) = figures.value[len(figures.totals.is_j) + place], figures.of_classes
    rows, own = support.sum(), tallies.of_groups(tallies.actual)
    gained = (support[label] - tallies.actual) * changed - tallies.actual * of_class
    moved: Floats = (value * rows + tallies.of_groups(gained)) / (rows - own) - value
    return moved


def _for_mcc(of_classes: Sequence[Floats]) -> list[Floats]:
    """What Matthews correlation is made of; see `metrics.correlation`."""
    right, actual, predicted = of_classes
    products = (actual @ predicted, actual @ actual, predicted @ predicted)
    return [right.sum(), actual.sum(), *products]


def _of_mcc(tallies: _Tallies, figures: _Figures) -> Floats:
    """By how much Matthews correlation changes without each group, (G,)."""
    _, of_actual, of_predicted = (one[tallies.label] for one in figures.of_classes)
    actual, predicted = tallies.actual, tallies.predicted
    gone = [
        tallies.right,
        actual,
        of_actual * predicted + of_predicted * actual - actual * predicted,
        2 * of_actual * actual - actual**2,
        2 * of_predicted * predicted - predicted**2,
    ]
    totals = _for_mcc(figures.of_classes)
    left = [total - tallies.of_groups(one) for total, one in zip(totals, gone, strict=True)]
    change: Floats = correlation(*left) - figures.value[-1]
    return change


class _Sums(NamedTuple):
    """Of amounts of all groups, by column."""

    total: Floats  # (M,) without their signs
    squares: Floats  # (M,)

    @classmethod
    def none(cls, columns: int) -> _Sums:
        return cls(np.zeros(columns), np.zeros(columns))

    def add(self, amounts: csr_array) -> None:
        """Add those of some groups, (G, M)."""
        self.put(amounts.indices, amounts.data)

    def put(self, column: Ints, amounts: Floats) -> None:
        """Add entries (E,)."""
        np.add.at(self.total, column, np.abs(amounts))
        np.add.at(self.squares, column, amounts**2)

    def variance(self, num_groups: int) -> Floats:
        """The jackknife's, (M,), where the amounts are changes."""
        variance: Floats = self.squares * (num_groups - 1) / num_groups
        return variance

    def even(self) -> Floats:
        """Kish's effective number (M,): of equal groups that would vary as these do."""
        even: Floats = self.total**2 / np.where(self.squares > 0, self.squares, 1)
        return even


class _Weight(NamedTuple):
    """How many groups of equal weight there would be."""

    groups: Floats  # (K,) that hold the whole of a share
    mistaken: Floats  # (K,) that hold its mistakes, or its right rows where those are fewer


class _ShareSums(NamedTuple):
    """What all groups together tell of K shares."""

    groups: Floats  # (K,) that add anything to the whole
    change: _Sums  # of the share, without each group
    whole: _Sums
    part: _Sums
    rest: _Sums

    @classmethod
    def none(cls, columns: int) -> _ShareSums:
        return cls(np.zeros(columns), *(_Sums.none(columns) for _ in range(4)))

    def add(self, shares: _Shares, totals: _Totals) -> None:
        """Add what some groups tell."""
        column = shares.column
        np.add.at(self.groups, column, shares.whole > 0)
        change = np.nan_to_num(shares.without(totals) - totals.value()[column])
        amounts = change, shares.whole, shares.part, shares.whole - shares.part
        for sums, some in zip(self[1:], amounts, strict=True):
            sums.put(column, some)

    def weight(self, columns: slice = slice(None)) -> _Weight:
        """That of some shares."""
        whole, part, rest = (sums.even()[columns] for sums in self[2:])
        return _Weight(whole, np.minimum(part, rest))


def _share_ends(totals: _Totals, sums: _ShareSums, num_groups: int) -> Floats:
    """The ends (2, K) of the intervals of the shares, as figures."""
    value = totals.value()
    number = _observations(value, sums.change.variance(num_groups), sums.weight())
    return np.stack([totals.figure(end) for end in _jeffreys(value, number)])


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


def _sides(apart: Floats, average: _Weights) -> Floats:
    """What the distances (2, K) of the shares' ends add to those of an average, (2, C)."""
    return np.nan_to_num(apart[:, average.columns]) * average.weights


def _reaches(
    variance: Floats,
    sides: Floats,
    average: _Weights,
    place: int,
    weight: _Weight,
    at_most: Floats,
) -> Floats:
    """How far the ends (2,) are from an average of classes, which has this place among M.

    The average varies more than independent classes would: by what the jackknife says or, where
    few groups hold mistakes, by up to what groups would do that are right or wrong as a whole.
    """
    alone = average.weights**2 @ np.nan_to_num(variance[average.columns])
    measured = variance[place] / alone if alone > 0 else 1
    # Of the powers that were tried, the one with which intervals hold the truth; docs/intervals.md.
    unsure = (1 - _certainty(weight.mistaken)) ** 2
    together = measured + unsure * np.maximum(at_most - measured, 0)
    reach: Floats = np.sqrt(together * (sides**2).sum(axis=1))
    return reach


def _as_a_whole(
    counts: _Counts, totals: _Totals, averages: Sequence[_Weights], sides: Sequence[Floats]
) -> Floats:
    """How much more sums of classes would vary if groups were right or wrong as a whole.

    Args:
        counts: of the groups.
        totals: of the shares.
        averages: A of them, each of some classes.
        sides: (2, C) what each class adds to two sums, for each average.

    Returns:
        (A, 2).
    """
    squares, together = np.zeros((2, len(averages), 2))
    for tallies in counts.pieces():
        shares = _shares(tallies)
        part = np.nan_to_num(_divided(shares.whole, totals.whole[shares.column]))
        for i, (average, two) in enumerate(zip(averages, sides, strict=True)):
            columns = average.columns
            inside = (shares.column >= columns.start) & (shares.column < columns.stop)
            for j, amounts in enumerate(two):
                added = amounts[shares.column[inside] - columns.start] * part[inside]
                squares[i, j] += (added**2).sum()
                of_groups = _sums(shares.group[inside], added, tallies.num_groups)
                together[i, j] += (of_groups**2).sum()
    return np.where(squares > 0, _divided(together, squares), 1)


def _certainty(mistaken: Floats) -> Floats:
    """What is left of a variance's worth by Student's t, where so many groups hold mistakes."""
    certainty: Floats = (ndtri(HIGH) / stdtrit(np.maximum(mistaken, 1), HIGH)) ** 2
    return certainty


def _mcc_ends(value: Floats, variance: Floats, weight: _Weight) -> Floats:
    """The ends (2,) of the interval of Matthews correlation (1,): as a share, from -1 to 1."""
    share = (1 + value) / 2
    return 2 * np.concatenate(_jeffreys(share, _observations(share, variance / 4, weight))) - 1
