"""Baselines without a recurrent network: the most frequent class, and each step alone.

Both baselines learn from the training split and answer for another one, a class index a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from birnn.data.encoding import UNKNOWN
from birnn.data.sequences import UNLABELLED, Sequences

BAG = "bag of steps"
TINY = np.finfo(np.float64).tiny  # the share of a class that train does not have
MOST_STEPS = 100_000  # to learn from: more would take longer and change the third digit at most

Answers = npt.NDArray[np.int64]


def answers(
    train: Sequences, other: Sequences, *, labels: Sequence[str], seed: int
) -> dict[str, Answers]:
    """Answer as each baseline does, by its name; `seed` is of what the second one learns from."""
    common = majority(train, other)
    alone = context_free(train, other, classes=len(labels), seed=seed)
    return {f"always {labels[common[0]]!r}": common, without_context(train): alone}


def without_context(train: Sequences) -> str:
    """What to call the baseline that knows no order.

    To tag a step, it sees that step alone. To classify a sequence it sees all of its steps, so it
    may pass what one step can tell, and for some problems nothing better is possible.
    """
    return "each step alone" if train.tagging else BAG


def majority(train: Sequences, other: Sequences) -> Answers:
    """Answer with the most frequent class of the training labels."""
    return np.full(len(other.labels), np.bincount(train.labelled().labels).argmax())


def context_free(train: Sequences, other: Sequences, *, classes: int, seed: int) -> Answers:
    """Look at each step alone, without what comes before and after it.

    Features are read by scikit-learn's logistic regression, tokens by how often each class goes
    with them; where steps have both, these are taken as independent. For classification the steps
    of a sequence vote with their log probabilities, so that their order counts for nothing.

    Args:
        train: to learn from; of more than `MOST_STEPS` steps a random choice.
        other: to answer for.
        classes: number of classes.
        seed: of that choice.

    Returns:
        (labels,) class indices, one for each label of `other`.
    """
    every = train.labels if train.tagging else np.repeat(train.labels, train.lengths)
    known = np.flatnonzero(every != UNLABELLED)
    labels = every[known]
    parts = []
    if train.values.shape[1]:
        drawn = np.random.default_rng(seed).permutation(len(known))[:MOST_STEPS]
        chosen = known[np.sort(drawn)]
        parts.append(_feature_votes(train.values[chosen], every[chosen], other.values, classes))
    if train.tokens is not None:
        parts.append(_token_votes(train.tokens[known], labels, _tokens_of(other, train), classes))
    votes = np.sum(parts, axis=0)
    if len(parts) > 1:  # both know how frequent the classes are
        votes -= np.log(np.bincount(labels, minlength=classes) / len(labels) + TINY)
    if not other.tagging:
        votes = np.add.reduceat(votes, other.offsets[:-1], axis=0)
    return np.asarray(votes.argmax(axis=1))


def _feature_votes(
    values: npt.NDArray[Any], labels: npt.NDArray[Any], others: npt.NDArray[Any], classes: int
) -> npt.NDArray[np.float64]:
    """Log probability of each class at each step, (steps, classes)."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    votes = np.full((len(others), classes), -np.inf)
    if (labels == labels[0]).all():  # of a rare class none was chosen; scikit-learn wants two
        votes[:, labels[0]] = 0
        return votes
    model = LogisticRegression(max_iter=1000).fit(values, labels)
    votes[:, model.classes_] = model.predict_log_proba(others)
    return votes


def _tokens_of(other: Sequences, train: Sequences) -> npt.NDArray[np.int64]:
    """The tokens of another split as places in the dictionary of train."""
    places = pc.fill_null(pc.index_in(other.dictionary, train.dictionary), UNKNOWN)
    return np.asarray(places.to_numpy()[other.tokens])


def _token_votes(
    tokens: npt.NDArray[Any], labels: npt.NDArray[Any], others: npt.NDArray[Any], classes: int
) -> npt.NDArray[np.float64]:
    """Log share of each class among the occurrences of a token, (steps, classes).

    Each token begins with one occurrence, spread over the classes as they are frequent, so that an
    unknown token is answered with the most frequent class.
    """
    size = max(tokens.max(), others.max()) + 1
    counts = np.zeros((size, classes)) + np.bincount(labels, minlength=classes) / len(labels)
    np.add.at(counts, (tokens, labels), 1)
    with np.errstate(divide="ignore"):  # a class that no training label has
        logs = np.log(counts / counts.sum(axis=1, keepdims=True))
    return np.asarray(logs[others])
