"""Baselines without a recurrent network: the most frequent class, and each step alone.

Both baselines learn from the training split and answer for another one, a class index a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from birnn.data.encoding import UNKNOWN
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.files import pieces

BAG = "bag of steps"
TINY = np.finfo(np.float64).tiny  # the share of a class that train does not have
MOST_STEPS = 100_000  # to learn from: more would take longer and change the third digit at most

Answers = npt.NDArray[np.integer[Any]]
Votes = Callable[[npt.NDArray[Any]], npt.NDArray[np.float64]]


def answers(
    train: Sequences,
    other: Sequences,
    *,
    labels: Sequence[str],
    seed: int,
    folder: Path | None = None,
) -> dict[str, Answers]:
    """Answer as each baseline does, by its name; for `seed` and `folder` see `context_free`."""
    common = majority(train, other)
    alone = context_free(train, other, classes=len(labels), seed=seed, folder=folder)
    return {f"always {labels[common[0]]!r}": common, without_context(train): alone}


def without_context(train: Sequences) -> str:
    """What to call the baseline that knows no order.

    To tag a step, it sees that step alone. To classify a sequence it sees all of its steps, so it
    may pass what one step can tell, and for some problems nothing better is possible.
    """
    return "each step alone" if train.tagging else BAG


def majority(train: Sequences, other: Sequences) -> Answers:
    """Answer with the most frequent class of the training labels."""
    return np.broadcast_to(train.tally().classes.argmax(), len(other.labels))


def context_free(
    train: Sequences,
    other: Sequences,
    *,
    classes: int,
    seed: int,
    folder: Path | None = None,
) -> Answers:
    """Look at each step alone, without what comes before and after it.

    Features are read by scikit-learn's logistic regression, tokens by how often each class goes
    with them; where steps have both, these are taken as independent. For classification the steps
    of a sequence vote with their log probabilities, so that their order counts for nothing.

    Args:
        train: to learn from; of more than `MOST_STEPS` steps a random choice.
        other: to answer for.
        classes: number of classes.
        seed: of that choice.
        folder: for a temporary file that takes the answers; memory does where None.

    Returns:
        (labels,) class indices, one for each label of `other`.
    """
    counts = np.zeros(classes, np.int64)
    for _, labels in _labelled(train):
        counts += np.bincount(labels, minlength=classes)
    votes = list[tuple[Votes, npt.NDArray[Any]]]()
    if train.values.shape[1]:
        sample = _drawn(train, int(counts.sum()), seed)
        votes.append((_feature_votes(*sample, classes), other.values))
    if train.tokens is not None and other.tokens is not None:
        votes.append((_token_votes(train, other, counts), other.tokens))
    answers = pieces.empty((len(other.labels),), np.min_scalar_type(classes), folder)
    for chosen, rows in pieces.whole(other.offsets):
        found = np.sum([of(steps[rows]) for of, steps in votes], axis=0)
        if len(votes) > 1:  # both know how frequent the classes are
            found -= np.log(counts / counts.sum() + TINY)
        if not other.tagging:
            found = np.add.reduceat(found, other.offsets[chosen] - rows.start, axis=0)
        answers[rows if other.tagging else chosen] = found.argmax(axis=1)
        other.release()
        pieces.release(answers)
    return answers


def _labelled(train: Sequences) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]]:
    """The steps that have a label, or whose sequence has one, and the labels; some at a time."""
    for chosen, rows in pieces.whole(train.offsets):
        lengths = np.diff(train.offsets[chosen.start : chosen.stop + 1])
        labels = train.labels[rows] if train.tagging else np.repeat(train.labels[chosen], lengths)
        known = np.flatnonzero(labels != UNLABELLED)
        yield rows.start + known, labels[known]
        train.release()


def _drawn(
    train: Sequences, known: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Values and labels of `MOST_STEPS` of so many steps, or of all."""
    drawn = np.arange(min(known, MOST_STEPS))
    if known > MOST_STEPS:
        drawn = np.sort(np.random.default_rng(seed).choice(known, MOST_STEPS, replace=False))
    values, labels, before = [], [], 0
    for steps, found in _labelled(train):
        first, last = np.searchsorted(drawn, [before, before + len(steps)])
        chosen = drawn[first:last] - before
        values.append(train.values[steps[chosen]])
        labels.append(found[chosen])
        before += len(steps)
    return np.concatenate(values), np.concatenate(labels)


def _feature_votes(
    values: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], classes: int
) -> Votes:
    """Learn from features to give the log probability of each class, (steps, classes)."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    model = None
    if not (labels == labels[0]).all():  # of a rare class none was chosen; scikit-learn wants two
        model = LogisticRegression(max_iter=1000).fit(values, labels)

    def votes(others: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        found = np.full((len(others), classes), -np.inf)
        if model is None:
            found[:, labels[0]] = 0
        else:
            found[:, model.classes_] = model.predict_log_proba(others)
        return found

    return votes


def _token_votes(train: Sequences, other: Sequences, classes: npt.NDArray[np.int64]) -> Votes:
    """Count how often classes go with a token; see `_feature_votes`.

    Each token begins with one occurrence, spread over the classes as they are frequent, so that an
    unknown token is answered with the most frequent class.

    Args:
        train: to learn from.
        other: whose tokens will be asked about.
        classes: how often each class occurs.
    """
    assert train.tokens is not None
    assert train.dictionary is not None
    counts = np.zeros((len(train.dictionary), len(classes))) + classes / classes.sum()
    for steps, labels in _labelled(train):
        np.add.at(counts, (train.tokens[steps], labels), 1)
    with np.errstate(divide="ignore"):  # a class that no training label has
        logs = np.log(counts / counts.sum(axis=1, keepdims=True))
    # The tokens of another split are places in a dictionary of its own.
    places = pc.fill_null(pc.index_in(other.dictionary, train.dictionary), UNKNOWN).to_numpy()

    def votes(tokens: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = logs[places[tokens]]
        return found

    return votes
