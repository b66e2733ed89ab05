"""What `metrics.json` says of a model: the metrics of the test split by flat name, and beside them
those of the validation split, by which settings are to be compared.

    {"accuracy": 0.93, "f1_macro": 0.92, ..., "validation": {"accuracy": 0.94, ...}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birnn.files import atomic

VALIDATION = "validation"
AVERAGES = ("macro", "weighted")
"""Names that no class may have: `f1_macro` is the mean of all classes."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics by flat name, such as `f1_macro`; `validation` is empty in files of before 0.3."""

    test: Mapping[str, float]
    validation: Mapping[str, float]

    def flat(self) -> dict[str, float]:
        """All in one, as DVC shows them: `accuracy`, `validation.accuracy`."""
        named = {f"{VALIDATION}.{name}": value for name, value in self.validation.items()}
        return {**self.test, **named}


def write(path: str | Path, scores: Scores) -> None:
    """Write both, whole or not at all."""
    atomic.write_json(path, {**scores.test, VALIDATION: dict(scores.validation)})


def read(path: str | Path) -> Scores:
    """Read them back.

    Raises:
        DataError: the file is missing.
    """
    return of_tree(atomic.read_json(path))


def of_tree(tree: Mapping[str, Any]) -> Scores:
    """The same, of the content of the file."""
    test = {name: value for name, value in tree.items() if name != VALIDATION}
    return Scores(test, tree.get(VALIDATION, {}))
