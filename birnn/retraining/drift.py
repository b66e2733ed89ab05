"""Whether data of today still look as those did that a model has learned from.

    old = reference(training, labels, names, seed=1)          # kept beside the model, as small JSON
    findings = compare(old, reference(today, labels, names, seed=1))

Two questions are asked of lengths, labels, tokens and each feature, and data have drifted where the
answer to both is yes. Is the change large: a population stability index above the limit? Is it more
than chance: a two-sample test, corrected for asking of many things (Holm)? The index alone is large
by chance for few sequences (Yurdakul, Statistical Properties of Population Stability Index, 2018);
the test alone calls every trifle a drift where there are many.

Both need independent draws, and steps of one sequence are not, nor are sequences of one speaker or
patient. So one sequence is drawn at random from each group, and from it one step at random: what
follows rests on as many draws as there are groups. The price is that long sequences count no more
than short ones, and that changes in the order of steps remain unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
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
        missing: at how many of the steps that were drawn a feature was missing, by its name.
    """

    labels: dict[str, int]
    lengths: list[int]
    features: dict[str, list[float]]
    tokens: dict[str, int]
    vocabulary: list[str]
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
        if set(tree) | {"missing"} != expected:  # references of 0.2.0 do not have it
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


# --- remember -------------------------------------------------------------------------------------


def reference(
    sequences: Sequences, labels: Sequence[str], names: Sequence[str], seed: int
) -> Reference:
    """Draw from data what can be compared with later ones.

    Args:
        sequences: features in the user's units, since scaled ones hide a change of scale.
        labels: names of the classes, in the order of their indices.
        names: of the features.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(_one_of_each_group(sequences.groups, rng))[:MOST_GROUPS]
    steps = _steps(sequences, drawn, rng)
    classes = sequences.labels[steps if sequences.tagging else drawn]
    counts = np.bincount(classes[classes != UNLABELLED], minlength=len(labels)).tolist()
    most = min(MOST_DRAWS, MOST_NUMBERS // max(20, len(names)))
    values = sequences.values[steps[:most]].T
    absent = np.isnan(values).sum(axis=1).tolist()
    return Reference(
        labels=dict(zip(labels, counts, strict=True)),
        lengths=sequences.lengths[drawn[:MOST_DRAWS]].tolist(),
        features={
            name: _rounded(column[~np.isnan(column)])
            for name, column in zip(names, values, strict=True)
        },
        tokens=_spelled(sequences, steps[::2][:MOST_DRAWS]),
        vocabulary=_vocabulary(sequences, drawn[1::2][:MOST_DRAWS], rng),
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
    """Keep six digits, about what float32 has."""
    return [float(f"{value:.6g}") for value in values.tolist()]


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
    changes = [
        _numbers("sequence length", old.lengths, new.lengths),
        _shares("labels", old.labels, new.labels),
        *(
            _numbers(f"feature {name}", values, new.features[name])
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
    corrected = holm(np.array([change.p for change in changes])).tolist()
    return [
        _finding(change, p, psi_limit, level) for change, p in zip(changes, corrected, strict=True)
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
