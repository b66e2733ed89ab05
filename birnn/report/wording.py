"""What happened in a training, what was chosen and what has changed, in words for a reader."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from birnn.model import history
from birnn.model.history import Epoch
from birnn.params import lock

if TYPE_CHECKING:  # words alone need no torch
    from birnn.evaluation.trace import Trace

CHANGES = ("accuracy", "f1_macro", "f1_weighted", "log_loss", "calibration_error")
PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "torch")
BeforeAndNow = tuple[Mapping[str, Any], Mapping[str, Any]]

FLAT = 0.01  # a change of the loss by less than this share is none
TURN = 0.1  # a change of a probability from which on the model has changed its mind


def phases(epochs: Sequence[Epoch]) -> list[str]:
    """Say in a sentence what happened in each epoch to the validation loss, and in training."""
    kept = history.kept(epochs)
    said, least = [], math.inf
    for previous, epoch in pairwise([None, *epochs]):
        assert epoch is not None
        last = " Kept." if epoch == kept else ""
        said.append(_phase(previous, epoch, least) + last)
        least = min(least, epoch.validation_loss)
    return said


def _phase(previous: Epoch | None, epoch: Epoch, least: float) -> str:
    if previous is None:
        return f"Starts learning: {100 * epoch.validation_accuracy:.0f} % are right."
    change = (epoch.validation_loss - least) / least if least else 0.0
    if change < -FLAT:
        return f"Loss falls by {-100 * change:.0f} %."
    if change <= FLAT:
        return "Converges: the loss hardly changes."
    if epoch.train_loss < previous.train_loss:
        return f"Overfits: {100 * change:.0f} % above its least, as training improves."
    return f"Swings: {100 * change:.0f} % above its least, in training too."


def turning_points(trace: Trace) -> dict[int, list[int]]:
    """Which steps changed the model's mind, and on the answers of which steps before them."""
    turned = defaultdict(list)
    for answer in trace.answers:
        if abs(answer.turned_by) >= TURN:
            turned[answer.turned_at].append(answer.step)
    return dict(sorted(turned.items()))


def knobs(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Line up params for a reader: those of a model only where it sets itself apart."""
    shared = {**tree["model"], **tree["train"]}
    models = {
        name: {knob: value for knob, value in own.items() if value != shared[knob]}
        for name, own in tree["models"].items()
    }
    return [
        (name, value) for name, value in lock.flat({**tree, "models": models}) if value != "null"
    ]


def versions() -> list[tuple[str, str]]:
    """The Python and the packages that decide the bytes of a result."""
    python = ".".join(map(str, sys.version_info[:2]))
    installed = [(name, metadata.version(name).partition("+")[0]) for name in PACKAGES]
    return [("python", python), *installed]


def changes(
    params: BeforeAndNow, metrics: Mapping[str, BeforeAndNow]
) -> list[tuple[str, str, str]]:
    """Line up what is different from the last committed result.

    Args:
        params: by name, as text.
        metrics: of each model.

    Returns:
        Rows of name, before and now, the first a header: params, then the metrics of `CHANGES`;
        none where nothing was committed before, or nothing is different.
    """
    rows = [(name, *pair) for name, pair in _different(*params)]
    for model, (before, now) in sorted(metrics.items()):
        # no difference beyond the digits that are shown
        shown = [
            {name: _plain(tree.get(name)) for name in CHANGES if name in before}
            for tree in (before, now)
        ]
        rows += [(f"{model}: {name}", *pair) for name, pair in _different(*shown)]
    return [("", "last commit", "now"), *rows] if rows else []


def _different(
    before: Mapping[str, str], now: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, str]]]:
    for name, value in before.items():
        if now.get(name) != value:
            yield name, (value, now.get(name, "not set"))


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) and value != round(value, 4) else str(value)
