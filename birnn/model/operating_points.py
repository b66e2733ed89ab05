"""From which probability on a critical class is called, where the most probable will not do.

Thresholds are chosen on validation rows and then used for every prediction. Those of several
classes are chosen together, because a row that one class takes is lost for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from birnn.data.parted import Parts
from birnn.data.sequences import Sequences
from birnn.errors import DataError, ParamsError
from birnn.files import pieces

if TYPE_CHECKING:  # who predicts needs no schema
    from birnn import params

ROUNDS = 30  # of choosing each threshold in turn; where they settle, fewer than ten are enough
SHARES = np.linspace(1, 0, 41)  # of what is wanted, where not all of it can be had
HAIR = 1e-9  # more than what rounding may take from the row that a threshold was chosen on

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a critical class must reach; None where it does not matter.

    `margin` is how much more its threshold is to reach on validation.
    """

    min_recall: float | None = None
    min_precision: float | None = None
    margin: float = 0.0

    @property
    def figure(self) -> Literal["recall", "precision"]:
        """Which of the two must be reached."""
        return "precision" if self.min_recall is None else "recall"

    @property
    def at_least(self) -> float:
        """How much of it."""
        return self.min_recall or self.min_precision or 0.0


def wanted(critical: Mapping[str, params.Critical]) -> dict[str, Wanted]:
    """What params.yaml wants, by the name of the class."""
    return {
        label: Wanted(one.min_recall, one.min_precision, one.margin)
        for label, one in critical.items()
    }


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold, and what it gives on the rows that it was chosen on.

    Attributes:
        threshold: the class is called where its probability is at least this.
        precision: share of the calls that are right.
        recall: share of the class that is called.
        reached: whether what was wanted could be had.
    """

    threshold: float
    precision: float
    recall: float
    reached: bool


def choose(
    positive: npt.NDArray[np.bool_],
    probability: Floats,
    *,
    wanted: Literal["recall", "precision"],
    at_least: float,
) -> OperatingPoint:
    """Find the threshold with the highest precision that has the wanted recall, or vice versa.

    Where no threshold has what is wanted, the one that comes nearest is taken.

    Args:
        positive: (N,) whether a validation row is of the class.
        probability: (N,) that the model gives the class.
        wanted: what to have, `recall` or `precision`; the other is made as high as it can be.
        at_least: how much of it.

    Raises:
        DataError: No row is of the class.
    """
    if not positive.any():
        raise DataError(
            "expected validation rows of the critical class, found none: "
            "add some, or take the class out of the critical ones"
        )
    every = zip(*tallies_at_thresholds(positive, probability), strict=True)
    wrong, right, threshold = map(np.concatenate, every)
    precision, recall = right / (right + wrong), right / right[-1]
    bound, aim = (recall, precision) if wanted == "recall" else (precision, recall)
    good = np.flatnonzero(bound >= min(at_least, bound.max()))[::-1]  # of equals the highest
    best = good[np.lexsort((bound[good], aim[good]))[-1]]
    return OperatingPoint(
        threshold=float(threshold[best]),
        precision=float(precision[best]),
        recall=float(recall[best]),
        reached=bool(bound[best] >= at_least),
    )


def tallies_at_thresholds(
    positive: npt.NDArray[np.bool_], score: Floats, folder: Path | None = None
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Say how many rows each threshold calls wrongly and rightly, and the thresholds falling.

    As scikit-learn's `confusion_matrix_at_thresholds`, but in pieces, one behind the other: only
    the scores are held, in their order, or on disk where a folder is given.
    """
    ranked = pieces.ordered(score, folder)
    hits = pieces.ordered(pieces.chosen(positive, score, folder), folder)
    end = len(ranked)
    while end:
        least = ranked[max(0, end - pieces.ROWS)]
        start, next_one = (int(np.searchsorted(ranked, least, side)) for side in ("left", "right"))
        piece = ranked[next_one:end]  # without the least score, which any number of rows may have
        others = np.append(True, piece[1:] != piece[:-1])[: len(piece)]
        first = np.append(start, next_one + np.flatnonzero(others))[::-1]
        threshold = ranked[first]
        right = len(hits) - np.searchsorted(hits, threshold)
        yield len(ranked) - first - right, right, threshold
        end = start
        pieces.release(ranked, hits)


def check(
    critical: Mapping[str, Wanted], labels: Sequence[str], validation: Sequences | Parts
) -> None:
    """Refuse what could only be found out after training: critical classes that are not there.

    Raises:
        ParamsError: a critical class is none of the classes.
        DataError: the validation split does not hold it.
    """
    if unknown := critical.keys() - set(labels):
        raise ParamsError(
            f"evaluate.critical: expected classes among {', '.join(labels)}, found {min(unknown)!r}"
        )
    present = np.flatnonzero(validation.tally().classes) if critical else ()
    for label in critical:
        if labels.index(label) not in present:
            raise DataError(
                f"evaluate.critical: expected validation labels {label!r} to choose its "
                "threshold on, found none; raise prepare.split.validation"
            )


def thresholds(
    critical: Mapping[str, Wanted],
    labels: Sequence[str],
    actual: Ints,
    probabilities: Floats,
) -> dict[str, float]:
    """Find on validation from which probability on each critical class is called.

    Each threshold is the best one beside all others, as `decide` uses them. Where the classes
    cannot all reach what is wanted, each reaches the same share of it, as large as can be found.

    Args:
        critical: what to reach, by the name of the class.
        labels: names of the C classes.
        actual: (N,) class indices of the validation labels.
        probabilities: (N, C) that the model gives them.

    Raises:
        DataError: a critical class has no row.
    """
    wanted = {labels.index(label): aim for label, aim in critical.items()}
    found: dict[int, float] = {}
    for share in SHARES if len(wanted) > 1 else (1.0,):
        found, reached = _together(wanted, actual, probabilities, float(share))
        if reached:
            break
    return {labels[column]: threshold for column, threshold in found.items()}


def _together(
    wanted: Mapping[int, Wanted], actual: Ints, probabilities: Floats, share: float
) -> tuple[dict[int, float], bool]:
    """Thresholds by class index, and whether with all of them each class has its share.

    At first each class is looked at alone; then each threshold is chosen anew beside the others, in
    turn. For recalls a threshold that falls makes the others fall, so this ends at the highest
    thresholds that go together, if there are any.
    """
    found: dict[int, float] = {}
    for number in range(ROUNDS if len(wanted) > 1 else 1):
        before = dict(found)
        for column, aim in wanted.items():
            least = share * (aim.at_least + aim.margin)
            score = probabilities[:, column]
            if number:
                score = _beside_others(probabilities, found, column)
            point = choose(actual == column, score, wanted=aim.figure, at_least=least)
            found[column] = point.threshold - (HAIR if number else 0)
        called = decide(probabilities, found)
        if all(_has(aim, share, actual == c, called == c) for c, aim in wanted.items()):
            return found, True
        if found == before:
            break
    return found, False


def _beside_others(
    probabilities: Floats, thresholds: Mapping[int, float], column: int
) -> npt.NDArray[np.float64]:
    """What must reach the threshold of a class for `decide` to call it, (N,)."""
    others = {other: value for other, value in thresholds.items() if other != column}
    above = (probabilities[:, list(others)] - np.array(list(others.values()))).max(axis=1)
    if len(thresholds) < probabilities.shape[1]:
        above = np.maximum(above, 0)
    return np.asarray(probabilities[:, column] - above)


def _has(
    aim: Wanted, share: float, positive: npt.NDArray[np.bool_], called: npt.NDArray[np.bool_]
) -> bool:
    """Whether enough of the class is called, or enough of the calls are right."""
    of = positive if aim.figure == "recall" else called
    right = int(np.count_nonzero(positive & called))
    return right / max(int(np.count_nonzero(of)), 1) >= share * (aim.at_least + aim.margin)


def decide(probabilities: Floats, thresholds: Mapping[int, float]) -> npt.NDArray[np.int64]:
    """Return the predicted class (N,) of each row.

    A class with a threshold is called where its probability reaches it; of several, the one that
    is furthest above its own. Elsewhere the most probable of the other classes is called.

    Args:
        probabilities: (N, C).
        thresholds: of the critical classes, by class index; without any, this is argmax.
    """
    called: npt.NDArray[np.int64] = probabilities.argmax(axis=1)
    if not thresholds:
        return called
    critical = np.array(list(thresholds))
    above = probabilities[:, critical] - np.array(list(thresholds.values()))
    called = critical[above.argmax(axis=1)]
    if len(critical) < probabilities.shape[1]:
        others = probabilities.copy()
        others[:, critical] = -1
        called = np.where(above.max(axis=1) >= 0, called, others.argmax(axis=1))
    return called
