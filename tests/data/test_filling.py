"""What is read where a number is missing, against pandas."""

from itertools import pairwise
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from birnn.data import filling
from birnn.data.filling import Filling
from birnn.errors import DataError
from birnn.params import Prepare

NUMBERS = st.lists(
    st.lists(st.sampled_from([np.nan, -2.0, 0.0, 1.5, 7.0]), min_size=2, max_size=2),
    min_size=1,
    max_size=9,
)


def means(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    found = filling.Means(2)
    for start in range(0, len(frame), 4):
        found.add(frame[["x", "y"]].to_numpy()[start : start + 4])
    return found.result()


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_as_pandas_fills(sequences: list[list[list[float]]]) -> None:
    frame = pd.concat(
        pd.DataFrame(rows, columns=["x", "y"]).assign(sequence=number)
        for number, rows in enumerate(sequences)
    )
    offsets = np.cumsum([0, *map(len, sequences)])
    raw, of_train = frame[["x", "y"]].to_numpy(), frame[["x", "y"]].mean()
    np.testing.assert_allclose(means(frame), of_train)
    fills = of_train.fillna(0)
    before = frame.groupby("sequence")[["x", "y"]].ffill()
    expected = {
        "mean": frame[["x", "y"]].fillna(fills),
        "mask": frame[["x", "y"]].fillna(fills),
        "last": before.fillna(fills),
    }
    for kind in ("mean", "mask", "last"):
        found = filling.filled(kind, raw, offsets, fills.to_numpy())
        np.testing.assert_array_equal(found, expected[kind])
    for start, end in pairwise(offsets):  # a sequence alone is filled like all of them
        alone = filling.filled("last", raw[start:end], np.array([0, end - start]), fills.to_numpy())
        np.testing.assert_array_equal(alone, expected["last"][start:end])


def test_what_is_refused_and_named() -> None:
    filling.check("refuse", {}, "")
    filling.check("last", {"x": 3}, "a.csv, row 2, column `x`")
    with pytest.raises(DataError) as refused:
        filling.check("refuse", {"x": 3, "y": 1}, "a.csv, row 2, column `x`")
    assert str(refused.value) == (
        "a.csv, row 2, column `x`: expected a number, found nothing (missing in all: `x` (3), `y` "
        "(1)); fill it in, or set prepare.missing to mean, zero, last or mask"
    )


def test_the_params_know_the_same_ways() -> None:
    declared = TypeAdapter(Prepare).json_schema()["properties"]["missing"]["enum"]
    assert declared == list(get_args(Filling))
