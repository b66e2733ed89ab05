"""How often 95 % intervals hold the truth, where it is known: `python -m benchmarks.coverage`.

Draws test sets whose true figures are known, some with groups that resemble one another, and counts
how often an interval holds the true figure; and of two models that are equally good, how often one
would be called better. `--trials` says how many sets to draw; docs/intervals.md shows 1000.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.special import ndtri

from birnn.evaluation.intervals import Difference, Interval, difference, intervals
from birnn.evaluation.metrics import headline_values, precision_recall_f1

Array = NDArray[Any]
LABELS = ("a", "b", "c")
ALONE = ("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "mcc")
RARE = ("precision_c", "recall_c", "f1_c")
COMPARED = ("accuracy", "f1_macro", "f1_weighted")


@dataclass(frozen=True, slots=True)
class Draw:
    """What test sets are like.

    Attributes:
        groups: how many groups, or sequences where there are no groups.
        rows: of each group on average.
        correlation: of the mistakes within a group, the intraclass one.
        accuracy: share of rows that are right.
        rare: share of class c; the other two have two and one parts of the rest.
        uneven: whether some groups have several times as many rows as others.
        one_class: whether all rows of a group are of one class.
    """

    groups: int
    rows: int
    correlation: float
    accuracy: float = 0.8
    rare: float = 0.1
    uneven: bool = False
    one_class: bool = False

    @property
    def shares(self) -> Array:
        """Of the three classes."""
        return np.array([2 * (1 - self.rare) / 3, (1 - self.rare) / 3, self.rare])


class Rows(NamedTuple):
    """A test set: rows, each a sequence, and what two equally good models say of them."""

    actual: Array  # (N,)
    answers: tuple[Array, Array]  # (N,)
    groups: Array  # (N,)


DRAWS = {
    "20 groups of 50": [Draw(20, 50, rho) for rho in (0, 0.2, 0.5)],
    "20 groups of 50, accuracy 0.97": [Draw(20, 50, rho, 0.97) for rho in (0, 0.2, 0.5)],
    "50 groups of 20": [Draw(50, 20, rho) for rho in (0, 0.2, 0.5)],
    "20 uneven groups of about 50": [Draw(20, 50, rho, uneven=True) for rho in (0, 0.2, 0.5)],
    "40 groups of 20, each of one class": [Draw(40, 20, 0.2, one_class=True)],
    "5 groups of 50": [Draw(5, 50, rho) for rho in (0, 0.2, 0.5)],
    "10 groups of 30": [Draw(10, 30, rho) for rho in (0, 0.2, 0.5)],
    "100 groups of 10, class c 1 %": [Draw(100, 10, 0.2, 0.9, rare=0.01)],
    "100 sequences of one row": [Draw(100, 1, 0)],
    "100 sequences of one row, class c 5 %": [Draw(100, 1, 0, 0.9, rare=0.05)],
    "100 sequences of one row, accuracy 0.99": [Draw(100, 1, 0, 0.99)],
    "30 sequences of one row": [Draw(30, 1, 0)],
    "150 sequences of 10 rows": [Draw(150, 10, 0.2, 0.9)],
}


def drawn(draw: Draw, rng: np.random.Generator) -> Rows:
    """Draw a test set; both models have the same chances, and half of their luck in common."""
    sizes = np.full(draw.groups, draw.rows)
    if draw.uneven:
        sizes = np.maximum(1, sizes * rng.lognormal(-0.25, 0.7, draw.groups)).astype(np.int64)
    groups = np.repeat(np.arange(draw.groups), sizes)
    classes = rng.choice(3, draw.groups if draw.one_class else len(groups), p=draw.shares)
    actual = classes[groups] if draw.one_class else classes
    both = _chances(draw, rng)[groups]
    luck = rng.standard_normal(len(groups))
    answers = []
    for _ in range(2):
        own = (luck + rng.standard_normal(len(groups))) / np.sqrt(2)
        chance = np.where(rng.random(draw.groups)[groups] < 0.5, both, _chances(draw, rng)[groups])
        other = (actual + rng.integers(1, 3, len(actual))) % 3
        answers.append(np.where(own < ndtri(chance), actual, other))
    return Rows(actual, (answers[0], answers[1]), groups)


def _chances(draw: Draw, rng: np.random.Generator) -> Array:
    """Of a row of each group to be right, (groups,): beta distributed."""
    if not draw.correlation:
        return np.full(draw.groups, draw.accuracy)
    spread = 1 / draw.correlation - 1
    return rng.beta(spread * draw.accuracy, spread * (1 - draw.accuracy), draw.groups)


def truth(draw: Draw, occurring: Array) -> dict[str, float]:
    """Compute the true figures; averages over the classes that a test set holds."""
    wrong = (1 - draw.accuracy) / 2
    counts = draw.shares[:, np.newaxis] * np.where(np.eye(3), draw.accuracy, wrong)
    accuracy, balanced, *_, mcc = headline_values(counts)
    right, actual, called = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    precision, recall, f1 = precision_recall_f1(right, actual, called)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": balanced,
        "f1_macro": f1[occurring].mean(),
        "f1_weighted": f1 @ draw.shares,
        "mcc": mcc,
        "precision_c": precision[2],
        "recall_c": recall[2],
        "f1_c": f1[2],
    }


class Found(NamedTuple):
    """Of each figure, in which share of the sets something is so."""

    covered: dict[str, float]  # the interval holds the truth
    same: dict[str, float]  # the interval of the difference of equal models holds 0
    promoted: dict[str, float]  # it lies above 0, and the models differ in enough groups


def measure(draw: Draw, trials: int) -> Found:
    """Draw test sets, and compare their intervals with the truth."""
    rng = np.random.default_rng(1)
    hits: tuple[defaultdict[str, list[bool]], ...] = tuple(defaultdict(list) for _ in Found._fields)
    for _ in range(trials):
        rows = drawn(draw, rng)
        true = truth(draw, np.unique(np.concatenate([rows.actual, rows.answers[0]])))
        for name, one in _alone(rows).items():
            if name in true:
                hits[0][name].append(one.low <= true[name] <= one.high)
        gains = _compared(rows)
        for name in COMPARED:
            gain = gains[name]
            hits[1][name].append(gain.low <= 0 <= gain.high)
            hits[2][name].append(gain.low > 0 and not gain.too_few)
    means = [{name: float(np.mean(each)) for name, each in kind.items()} for kind in hits]
    return Found(*means)


def _alone(rows: Rows) -> dict[str, Interval]:
    offsets = np.arange(len(rows.actual) + 1)
    return intervals(
        rows.actual, rows.answers[0], labels=LABELS, offsets=offsets, groups=rows.groups
    )


def _compared(rows: Rows) -> dict[str, Difference]:
    offsets = np.arange(len(rows.actual) + 1)
    return difference(
        rows.actual, *rows.answers, labels=LABELS, offsets=offsets, groups=rows.groups
    )


def lines(trials: int, workers: int) -> Iterator[list[str]]:
    """Rows of the table, in percent."""
    each = [(name, draw) for name, draws in DRAWS.items() for draw in draws]
    with ProcessPoolExecutor(workers) as pool:
        measured = pool.map(measure, [draw for _, draw in each], [trials] * len(each))
        for (name, draw), found in zip(each, measured, strict=True):
            shown = [found.covered[figure] for figure in (*ALONE, *RARE)]
            shown += [found.same[figure] for figure in COMPARED[:2]]
            shown += [found.promoted[figure] for figure in COMPARED[:2]]
            yield [name, f"{draw.correlation:g}", *(f"{100 * share:.1f}" for share in shown)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    arguments = parser.parse_args()
    table = Table(title=f"Percent of {arguments.trials} test sets", title_justify="left")
    table.add_column("test set", no_wrap=True)
    for name in ("ICC", *ALONE, *RARE):
        table.add_column(name.replace("_", " "), justify="right")
    for kind in ("difference of", "called better by"):
        for name in COMPARED[:2]:
            table.add_column(f"{kind} {name.replace('_', ' ')}", justify="right")
    for line in lines(arguments.trials, arguments.workers):
        table.add_row(*line)
    console = Console()
    console = console if console.is_terminal else Console(width=210)
    console.print(table)


if __name__ == "__main__":
    main()
