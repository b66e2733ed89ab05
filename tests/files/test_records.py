"""Typed records: what is written is read again, in the same types, or refused in one line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from birnn.errors import DataError
from birnn.files import atomic, records


@dataclass(frozen=True, slots=True)
class Ends:
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    grade: Literal["good", "bad"]
    figures: dict[str, Ends | None]
    shape: tuple[int, ...]
    notes: list[str] = field(default_factory=list)


MODEL = Model("m", "good", {"f1": Ends(0.5, 0.25, 0.75), "loss": Ends(2.0), "auc": None}, (2, 3))


def test_round_trip(tmp_path: Path) -> None:
    records.write(tmp_path / "m.json", [MODEL])
    assert records.read(tmp_path / "m.json", list[Model]) == [MODEL]


def test_what_has_its_default_is_left_out(tmp_path: Path) -> None:
    records.write(tmp_path / "m.json", MODEL)
    assert atomic.read_json(tmp_path / "m.json") == {
        "name": "m",
        "grade": "good",
        "figures": {
            "f1": {"value": 0.5, "low": 0.25, "high": 0.75},
            "loss": {"value": 2.0},
            "auc": None,
        },
        "shape": [2, 3],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"grade": "fair"},
            "m.json, grade: input should be 'good' or 'bad'; run",
        ),
        ({"figures": {"f1": {}}}, "m.json, figures.f1.value: field required"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    tree = {"name": "m", "grade": "good", "figures": {}, "shape": []}
    atomic.write_json(tmp_path / "m.json", tree | change)
    with pytest.raises(DataError) as caught:
        records.read(tmp_path / "m.json", Model)
    assert message in str(caught.value)
