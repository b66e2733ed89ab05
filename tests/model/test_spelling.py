"""Tokens letter by letter, against Python's own strings."""

from itertools import islice

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from birnn.model import spelling
from birnn.model.spelling import LONGEST

names = st.lists(st.text(min_size=1, max_size=LONGEST + 5), max_size=6, unique=True)


@given(names=names, data=st.data())
def test_each_token_once_and_letter_by_letter(names: list[str], data: st.DataObject) -> None:
    dictionary = ["", *names]
    places = st.integers(0, len(names))
    rows = data.draw(st.lists(st.lists(places, min_size=3, max_size=3), min_size=1, max_size=4))
    found = spelling.of(np.array(rows), pa.array(dictionary))
    assert len(found.letters) == len(set().union(*rows))
    assert found.places.shape == (len(rows), 3)
    for row, spelled in zip(rows, found.places.tolist(), strict=True):
        for token, place in zip(row, spelled, strict=True):
            expected = [ord(letter) for letter in islice(dictionary[token], LONGEST)] or [0]
            length = int(found.lengths[place])
            assert found.letters[place, :length].tolist() == expected
            assert not found.letters[place, length:].any()
