"""Whether new data still look as those did that a model has learned from.

    old = reference(training, labels, names, seed=1)          # kept beside the model, as small JSON
    new = reference(since_then, labels, names, seed=1)
    findings, found = compare(old, new), power(old, new)

What is new must be compared alone: among many old sequences, a few that are quite different hardly
change any share.

Two questions are asked of lengths, labels, tokens and each feature, and data have drifted where the
answer to both is yes. Is the change large: a population stability index above the limit? Is it more
than chance: a two-sample test, corrected for asking of many things (Holm)? The index alone is large
by chance for few sequences (Yurdakul, Statistical Properties of Population Stability Index, 2018);
the test alone calls every trifle a drift where there are many.

Both need independent draws, and steps of one sequence are not, nor are sequences of one speaker or
patient. So one sequence is drawn at random from each group, and from it one step at random: what
follows rests on as many draws as there are groups. The price is that long sequences count no more
than short ones, and that changes in the order of steps remain unseen. `power` says how large a
change must be to be found in so few draws.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.data.sequences import UNLABELLED, Sequences
from birnn.errors import DataError
from birnn.evaluation.significance import holm

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Counts = Mapping[str, int]

MOST_GROUPS = 20_000  # of which labels are drawn
MOST_DRAWS = 2000  # of lengths, of tokens and of each feature
MOST_NUMBERS = 40_000  # of all features together: some 400 kB of JSON
MOST_TOKENS = 1000  # that are known by name
STEPS_FOR_TOKENS = 20  # of a sequence, from which these are learned
BINS = 10
SHIFTS, SHARES = range(1, 51), range(21, 101)
"""Changes of which `power` asks, the largest last: of a number, in tenths of a standard deviation;
and what a class of 20 % becomes, in percent."""
ENOUGH, TRIALS = 0.8, 200  # of how many cases a change must be found in; of so many that are drawn
LEAST_EXPECTED = 5  # draws of a category, for the chi-square approximation (Cochran 1954)


@dataclass(frozen=True, slots=True)
class Reference:
    """What is remembered of some data.

    Attributes:
        labels: how often each class was drawn, by its name.
        lengths: steps of the sequences that were drawn.
        features: values at the steps that were drawn, by the feature's name.
        tokens: how often each token was drawn.
        vocabulary: the most frequent tokens of groups from which `tokens` were not drawn.
        precise: whether features have the digits in which they differ. References of 0.3.0 have
            the first six, which are all alike where an offset is large.
        missing: at how many of the steps that were drawn a feature was missing, by its name.
    """

    labels: dict[str, int]
    lengths: list[int]
    features: dict[str, list[float]]
    tokens: dict[str, int]
    vocabulary: list[str]
    precise: bool = False
    missing: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give a tree for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Reference:
        """Take such a tree back.

        Raises:
            DataError: it is another one.
        """
        expected = {field.name for field in fields(cls)}
        if set(tree) | {"precise", "missing"} != expected:  # older references lack these
            raise DataError(
                f"reference of training data: expected {', '.join(sorted(expected))}, "
                f"found {', '.join(sorted(tree))}; register the model again"
            )
        return cls(**tree)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing has changed.

    Attributes:
        name: what it is, such as `labels` or `feature x`.
        psi: population stability index.
        p: corrected chance of such a change, or a larger one, in data that have not drifted.
        drifted: whether the index is above its limit and `p` below its level.
        sentence: the finding, for a newcomer.
    """

    name: str
    psi: float
    p: float
    drifted: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Power:
    """How large a change must be to be called drifted in 80 % of cases.

    Attributes:
        draws: independent new ones: sequences, or groups of them.
        shift: of a normally distributed number, in standard deviations; None if even one of five
            is not found.
        share: what the share of one of two classes becomes, if it was 20 %; None if not even all
            of it is found.
    """

    draws: int
    shift: float | None
    share: float | None

    @property
    def sentence(self) -> str:
        """What would be found, for a newcomer."""
        changes = []
        if self.shift is not None:
            changes.append(f"a number moves by {self.shift:.1f} standard deviations")
        if self.share is not None:
            changes.append(f"one of two classes goes from 20 % to {100 * self.share:.0f} %")
        text = f"With {self.draws} independent new sequences"
        if not changes:
            return f"{text} no change is sure to be found, however large."
        return f"{text}, a change is found in 80 % of cases if {', or '.join(changes)}."


@dataclass(frozen=True, slots=True)
class Drift:
    """How new data differ from those of a model.

    Attributes:
        new: training sequences that it was not trained on; 0 where all were compared.
        findings: of `compare`.
        power: of `power`.
    """

    new: int
    findings: list[Finding]
    power: Power

    @property
    def any(self) -> bool:
        """Whether anything has drifted."""
        return any(finding.drifted for finding in self.findings)

    @property
    def sentence(self) -> str:
        """What was compared, and what would be found; for a newcomer."""
        if not self.new:
            return "No sequence is new, so all were compared."
        return f"{self.new:,} sequences are new. {self.power.sentence}"


# --- remember -------------------------------------------------------------------------------------


def reference(
    sequences: Sequences,
    labels: Sequence[str],
    names: Sequence[str],
    seed: int,
    *,
    centre: Floats | None = None,
) -> Reference:
    """Draw from data what can be compared with later ones.

    Args:
        sequences: features in the user's units, since scaled ones hide a change of scale.
        labels: names of the classes, in the order of their indices.
        names: of the features.
        seed: of the draws.
        centre: (F,) float64, what was taken off the features before they became float32, which
            holds little of what is small beside its offset.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(_one_of_each_group(sequences.groups, rng))[:MOST_GROUPS]
    steps = _steps(sequences, drawn, rng)
    classes = sequences.labels[steps if sequences.tagging else drawn]
    counts = np.bincount(classes[classes != UNLABELLED], minlength=len(labels)).tolist()
    most = min(MOST_DRAWS, MOST_NUMBERS // max(20, len(names)))
    values = sequences.values[steps[:most]].astype(np.float64)
    values += 0 if centre is None else centre
    absent = np.isnan(values).sum(axis=0).tolist()
    return Reference(
        labels=dict(zip(labels, counts, strict=True)),
        lengths=sequences.lengths[drawn[:MOST_DRAWS]].tolist(),
        features={
            name: _rounded(column[~np.isnan(column)])
            for name, column in zip(names, values.T, strict=True)
        },
        tokens=_spelled(sequences, steps[::2][:MOST_DRAWS]),
        vocabulary=_vocabulary(sequences, drawn[1::2][:MOST_DRAWS], rng),
        precise=True,
        missing={name: count for name, count in zip(names, absent, strict=True) if count},
    )


def _one_of_each_group(groups: pa.StringArray, rng: np.random.Generator) -> Ints:
    order = rng.permutation(len(groups))
    codes = groups.dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes[order], return_index=True)
    chosen: Ints = order[first]
    return chosen


def _steps(sequences: Sequences, drawn: Ints, rng: np.random.Generator) -> Ints:
    """Draw a step of each sequence; a sequence that is named twice may give two."""
    places = rng.random(len(drawn)) * sequences.lengths[drawn]
    steps: Ints = sequences.offsets[drawn] + places.astype(np.int64)
    return steps


def _rounded(values: Floats) -> list[float]:
    """Keep six digits, about what float32 has, of how far each is from the median."""
    if not len(values):  # of a feature that is missing everywhere
        return []
    away = np.abs(values - np.median(values))
    decimals = 5 - np.floor(np.log10(away, where=away > 0, out=np.zeros_like(away))).astype(int)
    return list(map(round, values.tolist(), decimals.tolist()))


def _coarsely(values: Sequence[float]) -> list[float]:
    """Keep six digits, as references of 0.3.0 do."""
    return [float(f"{np.float32(value):.6g}") for value in values]


def _spelled(sequences: Sequences, steps: Ints) -> dict[str, int]:
    """Count the tokens at some steps, the most frequent first."""
    if sequences.tokens is None or sequences.dictionary is None:
        return {}
    tokens = sequences.dictionary.take(pa.array(sequences.tokens[steps])).to_pylist()
    return dict(sorted(Counter(tokens).items(), key=lambda item: (-item[1], item[0])))


def _vocabulary(sequences: Sequences, drawn: Ints, rng: np.random.Generator) -> list[str]:
    """Name the most frequent tokens of some sequences.

    They must be other sequences than those in which tokens are counted: a token that is frequent by
    luck where the list was made is rarer anywhere else, which would look like drift.
    """
    steps = _steps(sequences, np.repeat(drawn, STEPS_FOR_TOKENS), rng)
    return list(_spelled(sequences, steps))[:MOST_TOKENS]


# --- compare --------------------------------------------------------------------------------------


class _Change(NamedTuple):
    name: str
    psi: float
    p: float  # not corrected
    text: str


def compare(
    old: Reference, new: Reference, *, psi_limit: float = 0.2, level: float = 0.01
) -> list[Finding]:
    """Say what has changed between two sets of data; of features, those that both have.

    Args:
        old: what a model has learned from.
        new: what there is now.
        psi_limit: above it, a change is large; 0.1 and 0.25 are the usual marks of a small and a
            large one (Siddiqi, Credit Risk Scorecards, 2006).
        level: the chance that anything is called drifted in data that have not.
    """
    changes = _changes(old, new)
    corrected = holm(np.array([change.p for change in changes])).tolist()
    return [
        _finding(change, p, psi_limit, level) for change, p in zip(changes, corrected, strict=True)
    ]


def _changes(old: Reference, new: Reference) -> list[_Change]:
    digits = list if old.precise else _coarsely
    return [
        _numbers("sequence length", old.lengths, new.lengths),
        _shares("labels", old.labels, new.labels),
        *(
            _numbers(f"feature {name}", values, digits(new.features[name]))
            for name, values in old.features.items()
            if name in new.features and values and new.features[name]
        ),
        *(
            _shares(f"missing numbers of {name}", _gaps(old, name), _gaps(new, name))
            for name in old.features
            if name in new.features and name in {*old.missing, *new.missing}
        ),
        *_tokens(old, new),
    ]


def _finding(change: _Change, p: float, psi_limit: float, level: float) -> Finding:
    drifted = change.psi > psi_limit and p < level
    verb = "has drifted" if drifted else "has not drifted"
    figures = f"stability index {change.psi:.2f}, p {p:.2g}"
    sentence = f"{change.name[0].upper()}{change.name[1:]}: {verb} ({figures}); {change.text}."
    return Finding(change.name, change.psi, p, drifted, sentence)


def _gaps(found: Reference, name: str) -> dict[str, int]:
    return {"known": len(found.features[name]), "missing": found.missing.get(name, 0)}


def _tokens(old: Reference, new: Reference) -> list[_Change]:
    """Compare how often each token occurs, and how many were unknown before."""
    if not (old.tokens and new.tokens):
        return []
    known = set(old.vocabulary)
    split = [{"known": 0, "unknown": 0}, {"known": 0, "unknown": 0}]
    for counts, found in zip(split, (old, new), strict=True):
        for token, count in found.tokens.items():
            counts["known" if token in known else "unknown"] += count
    return [_shares("tokens", old.tokens, new.tokens), _shares("unknown tokens", *split)]


def _numbers(name: str, old: Sequence[float], new: Sequence[float]) -> _Change:
    """Kolmogorov-Smirnov, and the index over ten quantile bins of the old data and what is outside.

    Where values are equal, as lengths often are, the test's p-value is too large rather than too
    small.
    """
    from scipy.stats import ks_2samp  # takes a second to import

    before, now = np.array(old, dtype=float), np.array(new, dtype=float)
    below = np.nextafter(before.min(), -np.inf)
    edges = np.unique([below, *np.quantile(before, np.arange(1, BINS + 1) / BINS)])
    binned = [
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
        for values in (before, now)
    ]
    p = float(ks_2samp(before, now, method="asymp").pvalue)
    text = f"the median was {np.median(before):.4g} and is {np.median(now):.4g}"
    return _Change(name, stability_index(*binned), p, text)


def _shares(name: str, old: Counts, new: Counts) -> _Change:
    """Chi-square and the index over categories; rare ones are put together."""
    from scipy.stats import chi2_contingency  # takes a second to import

    names = sorted({**old, **new})
    counts = np.array([[found.get(key, 0) for key in names] for found in (old, new)])
    totals = counts.sum(axis=1)
    if not totals.all():
        return _Change(name, 0.0, 1.0, "none were drawn")
    rare = counts.sum(axis=0) * totals.min() < LEAST_EXPECTED * totals.sum()
    names = [key for key, few in zip(names, rare, strict=True) if not few] + ["others"]
    counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    kept = counts.any(axis=0)
    p = chi2_contingency(counts[:, kept], correction=False).pvalue if kept.sum() > 1 else 1.0
    shares = counts / totals[:, np.newaxis]
    most = int(np.abs(shares[1] - shares[0]).argmax())
    text = f"{names[most]!r} was {shares[0, most]:.1%} and is {shares[1, most]:.1%}"
    return _Change(name, stability_index(*counts[:, kept]), float(p), text)


def stability_index(old: Ints, new: Ints) -> float:
    """Return the population stability index of counts (B,) in the same bins.

    The sum of (new - old) * ln(new / old) over the bins' shares: what Kullback and Leibler (On
    Information and Sufficiency, 1951) call divergence. Half a draw is added to each bin, so that
    an empty one gives a finite figure.
    """
    before, now = ((counts + 0.5) / (counts + 0.5).sum() for counts in (old, new))
    return float(((now - before) * np.log(now / before)).sum())


# --- power ----------------------------------------------------------------------------------------


def power(old: Reference, new: Reference, *, psi_limit: float = 0.2, level: float = 0.01) -> Power:
    """Say what `compare` finds with as many draws as there are, by simulation.

    Each thing is asked as if it alone had changed, so its p-value is corrected for all of them.
    """
    alone = level / len(_changes(old, new))
    sizes = len(old.lengths), len(new.lengths)
    shift = _least(SHIFTS, _shifted, sizes, psi_limit, alone)
    share = _least(SHARES, _grown, sizes, psi_limit, alone)
    return Power(
        draws=len(new.lengths),
        shift=None if shift is None else shift / 10,
        share=None if share is None else share / 100,
    )


@cache
def _least(
    sizes: range, change: Callable[..., _Change], draws: tuple[int, int], psi_limit: float, p: float
) -> int | None:
    """The least of some changes that is found often enough, by bisection."""

    def often(size: int) -> bool:
        """Try until the answer is certain."""
        rng, left, missing = np.random.default_rng(0), TRIALS, ENOUGH * TRIALS
        while 0 < missing <= left:
            one = change(size, draws, rng)
            left, missing = left - 1, missing - (one.psi > psi_limit and one.p < p)
        return missing <= 0

    place = bisect_left(sizes, True, key=often)
    return sizes[place] if place < len(sizes) else None


def _shifted(tenths: int, draws: tuple[int, int], rng: np.random.Generator) -> _Change:
    old, new = (rng.standard_normal(number) for number in draws)
    return _numbers("", old.tolist(), (new + tenths / 10).tolist())


def _grown(percent: int, draws: tuple[int, int], rng: np.random.Generator) -> _Change:
    counts = (
        rng.binomial(number, p) for number, p in zip(draws, (0.2, percent / 100), strict=True)
    )
    old, new = ({"a": n, "b": number - n} for n, number in zip(counts, draws, strict=True))
    return _shares("", old, new)
