"""Numbers that stand for missing ones: found in one pass, said in one line, named in a key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest

from birnn import params
from birnn.errors import DataError
from birnn.files import tables
from birnn.files.reading import Skipped
from birnn.files.summary import Summary
from birnn.sources import ingestion, inspection, sentinels
from birnn.sources.sentinels import Ranges

Floats = npt.NDArray[np.float64]
RNG = np.random.default_rng(1)
STEPS = 2000


def found(values: Floats, chunk: int = 300) -> dict[float, int]:
    """What is found in a column that comes in chunks."""
    ranges = Ranges()
    for begin in range(0, len(values), chunk):
        ranges.add({"x": sentinels.of_values(values[begin : begin + chunk])})
    return {value: columns["x"] for value, columns in ranges.found.items()}


def among(values: Floats, *marks: float, count: int = 20) -> Floats:
    """The same, with each of some numbers in the place of others."""
    places = np.random.default_rng(2).permutation(len(values))
    values = values.astype(float)
    for number, mark in enumerate(marks):
        values[places[number * count : (number + 1) * count]] = mark
    return values


NORMAL = RNG.normal(size=STEPS)
REAL: dict[str, Floats] = {
    "normal": NORMAL,
    "degrees": 15 + 12 * NORMAL,
    "pressure": 1013 + 8 * NORMAL,
    "direction of wind": RNG.uniform(0, 360, STEPS).round(),
    "height": RNG.uniform(0, 3000, STEPS),
    "counts": RNG.integers(0, 900, STEPS).astype(float),
    "constant": np.full(STEPS, 5.0),
    "with missing ones": np.where(NORMAL > 1, np.nan, NORMAL),
}


@pytest.mark.parametrize("mark", [-999.0, -9999.0, 9999.0, 99999.0, -999.25, -9999.9, 1e20])
@pytest.mark.parametrize("name", REAL)
def test_marks_are_found(name: str, mark: float) -> None:
    assert found(among(REAL[name], mark)) == {mark: 20}


def test_marks_in_single_precision_are_found() -> None:
    values = among(NORMAL, -999.9).astype(np.float32).astype(np.float64)
    assert found(values) == {float(np.float32(-999.9)): 20}


def test_several_marks_are_found() -> None:
    assert found(among(REAL["degrees"], -999, -9999, 99999)) == {-9999: 20, -999: 20, 99999: 20}
    assert found(among(REAL["direction of wind"], 999)) == {999: 20}


QUIET: dict[str, Floats] = REAL | {
    "prices": np.round(np.exp(RNG.normal(4, 2, STEPS)), 2),
    "prices that end in nines": RNG.choice([99.0, 199, 999, 4999, 9999], STEPS),
    "few": among(NORMAL, 9999, count=2),
    "counter": np.arange(1000.0),
    "counter that begins again": np.arange(STEPS) % 1000.0,
    "whole numbers on both sides": RNG.integers(-5000, 5000, STEPS).astype(float),
    "amounts": among(RNG.uniform(0, 20_000, STEPS), 9999),
    "pressure around 999": among(999 + 3 * NORMAL, 999),
    "one less than constant": among(np.full(STEPS, 1000.0), 999),
    "clipped": np.clip(RNG.normal(size=STEPS) * 9000, -9999, 9999),
    "marks alone": np.full(STEPS, -999.0),
    "missing alone": np.full(STEPS, np.nan),
    "nothing": np.zeros(0),
    "heavy tails": RNG.standard_cauchy(STEPS).round() * 9,
}


@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_said_of_others(name: str) -> None:
    assert found(QUIET[name]) == {}


def test_a_mark_that_is_rare_in_much_is_passed_over() -> None:
    values = np.tile(NORMAL, 50)  # 100,000
    assert found(among(values, -999, count=9), chunk=1 << 16) == {}
    assert found(among(values, -999, count=10), chunk=1 << 16) == {-999: 10}


def test_chunks_tell_what_the_whole_does() -> None:
    for values in (among(REAL["counts"], 999, -999), QUIET["whole numbers on both sides"]):
        assert len({str(found(values, chunk)) for chunk in (7, 100, STEPS)}) == 1


def write(path: Path, **columns: Any) -> Path:
    number = np.arange(STEPS)
    frame = pd.DataFrame({"sequence": number // 10, "label": np.array(["p", "q"])[number % 2]})
    frame.assign(**columns).to_csv(path, index=False)
    return path


def summed(section: dict[str, Any]) -> tuple[Summary, list[str]]:
    data, skipped = params.data(section), Skipped()

    def again() -> Any:
        return tables.whole_sequences(ingestion.rows(data, Skipped()))

    chunks = tables.whole_sequences(ingestion.rows(data, skipped))
    summary = inspection.summary(chunks, again, task=data.task, where="t.csv", skipped=skipped)
    return summary, skipped.sentences()


TABLE = {"source": "table", "task": "tagging"}


def test_it_is_said_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", x=among(NORMAL, -999), y=NORMAL, z=among(NORMAL, -999, 9999))
    assert summed(TABLE | {"path": str(path)})[1] == [
        "read: -999 as measured, far outside all other numbers, in `x` (20), `z` (20); if it "
        "stands for a missing one, set data.absent: {x: [-999], z: [-999]}, 40 in all, the first "
        "in t.csv",
        "read: 9999 as measured, far outside all other numbers, in `z` (20); if it stands for a "
        "missing one, set data.absent: {z: [9999]}, 20 in all, the first in t.csv",
    ]


@pytest.mark.parametrize(
    ("absent", "missing"),
    [
        ({"x": [-999]}, {"x": 20}),
        ({"x": -999}, {"x": 20}),
        ([-999], {"x": 20, "z": 20}),
        (-999, {"x": 20, "z": 20}),
        ({"x": [-999], "z": [-999, 9999]}, {"x": 20, "z": 40}),
    ],
)
def test_the_key_makes_them_missing(tmp_path: Path, absent: Any, missing: dict[str, int]) -> None:
    path = write(tmp_path / "t.csv", x=among(NORMAL, -999), y=NORMAL, z=among(NORMAL, -999, 9999))
    found, _ = summed(TABLE | {"path": str(path), "absent": absent})
    assert found.missing == missing


def test_what_the_line_says_mends_it(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", x=among(NORMAL, -999), y=among(NORMAL, -9999.9))
    _, said = summed(TABLE | {"path": str(path)})
    assert len(said) == 2
    absent = {"x": [-999], "y": [-9999.9]}
    found, said = summed(TABLE | {"path": str(path), "absent": absent})
    assert found.missing == {"x": 20, "y": 20}
    assert said == []


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", x=NORMAL)
    with pytest.raises(DataError, match=r"expected a feature `y` \(data\.absent\), found x"):
        summed(TABLE | {"path": str(path), "absent": {"y": -999}})


def test_lists_too(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"x": [[1, -999], [2, 3]], "label": "p"}\n{"x": [[-999, 1]], "label": "q"}\n')
    section = {"source": "lists", "task": "classification", "path": str(path)}
    rows = ingestion.rows(params.data(section | {"absent": {"x_2": -999}}), Skipped())
    found = pa.Table.from_batches(rows)
    np.testing.assert_array_equal(found["x_1"], [1, 2, -999])
    np.testing.assert_array_equal(found["x_2"], [np.nan, 3, 1])


def test_real_and_generated_data_give_no_alarm(sections: Callable[[], Any]) -> None:
    for section in sections():
        assert [line for line in summed(section)[1] if "data.absent" in line] == []


@pytest.fixture
def sections() -> Callable[[], list[dict[str, Any]]]:
    """Those of the examples that need no files, of a size for a test."""

    def of_examples() -> list[dict[str, Any]]:
        known = [params.load(path).data for path in sorted(Path("examples").glob("*.yaml"))]
        drawn = [one.model_dump() for one in known if one.source == "hmm"]
        assert len(drawn) > 2
        return [one | {"sequences": min(one["sequences"], 300)} for one in drawn]

    return of_examples
