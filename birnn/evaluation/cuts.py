"""What a model says of a sequence while it is read: answers after each of its first steps.

    for most in turns(model, encoding, thresholds, one, most_steps=100): ...

The later step that changed an answer the most is the one that it hangs on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.model import prediction
from birnn.model.prediction import Predicts

Shares = npt.NDArray[np.float32]
MOST_TURNS = 3


def turns(
    model: Predicts,
    encoding: Encoding,
    thresholds: Mapping[str, float],
    one: Sequences,
    *,
    most_steps: int,
) -> list[list[tuple[int, float]]]:
    """Find the steps that have changed the answers for a sequence the most.

    Args:
        model: a trained model.
        encoding: the one that it was trained with.
        thresholds: of its critical classes; see `birnn.model.prediction.decide`.
        one: a single sequence.
        most_steps: after which no answer is explained, since each costs a prediction of all the
            steps before it.

    Returns:
        For each label up to `MOST_TURNS` steps, counted from 0, and how much each of them changed
        the probability of the answer when it was read: of a tag, the steps after its own; of a
        classified sequence, all but the first. The largest change is first.
    """
    length = int(one.lengths[0])
    shown = min(length, most_steps)
    cuts = list(dict.fromkeys([*range(1, shown + 1), length]))
    begun = prefixes(one, cuts)
    after = of_final_answers(
        prediction.probabilities(model, begun), begun, cuts, shown, encoding, thresholds
    )
    found = [_largest(row[place:], cuts[place:]) for place, row in enumerate(after)]
    return found + [[]] * (len(one.labels) - len(found))


def _largest(after: npt.NDArray[np.float64], cuts: Sequence[int]) -> list[tuple[int, float]]:
    changes = np.diff(after)
    order = np.argsort(-np.abs(changes), kind="stable")[:MOST_TURNS]
    return [(cuts[place + 1] - 1, float(changes[place])) for place in order if changes[place]]


def of_final_answers(
    after: Shares,
    begun: Sequences,
    cuts: Sequence[int],
    shown: int,
    encoding: Encoding,
    thresholds: Mapping[str, float],
) -> npt.NDArray[np.float64]:
    """(answers, cuts): the probability of what is said in the end; NaN before a step is read."""
    if not begun.tagging:
        (final,) = prediction.decide(after[-1:], encoding, thresholds)
        return after[:, final].astype(np.float64)[None]
    final = prediction.decide(after[-cuts[-1] :][:shown], encoding, thresholds)
    found = np.full((shown, len(cuts)), np.nan)
    for column, (start, cut) in enumerate(zip(begun.offsets, cuts, strict=False)):
        read = min(cut, shown)
        found[:read, column] = after[start + np.arange(read), final[:read]]
    return found


def prefixes(one: Sequences, cuts: Sequence[int]) -> Sequences:
    """The first steps of a sequence, up to each cut, as sequences of their own."""
    steps = int(one.lengths[0])

    def repeated(text: pa.StringArray, times: int) -> pa.StringArray:
        return pa.array([text[0].as_py()] * times, pa.string())

    labels = one.labels if one.tagging else np.repeat(one.labels, steps)
    alone = replace(  # each step a sequence, so that any steps can be picked
        one,
        offsets=np.arange(steps + 1),
        labels=labels,
        ids=repeated(one.ids, steps),
        groups=repeated(one.groups, steps),
        tagging=True,
    )
    picked = alone.select(np.concatenate([np.arange(cut) for cut in cuts]))
    return replace(
        picked,
        offsets=np.concatenate([[0], np.cumsum(cuts)]),
        labels=picked.labels if one.tagging else np.repeat(one.labels, len(cuts)),
        ids=repeated(one.ids, len(cuts)),
        groups=repeated(one.groups, len(cuts)),
        tagging=one.tagging,
    )
