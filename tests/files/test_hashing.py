"""Hashes of names, and the memory of them, beside Python's own dictionary."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.files import hashing


@settings(deadline=None)
@given(st.lists(st.text(max_size=4)), st.integers(0, 3))
def test_equal_texts_alone_share_a_hash(texts: list[str], start: int) -> None:
    hashes = hashing.of_text(pa.array(texts, pa.string()).slice(start))
    pairs = set(zip(texts[start:], hashes.tolist(), strict=True))
    assert len(pairs) == len({text for text, _ in pairs}) == len({code for _, code in pairs})


def test_many_texts_of_one_kind_differ() -> None:
    names = pa.array([f"sequence-{number}" for number in range(200_000)])
    assert len(np.unique(hashing.of_text(names))) == 200_000


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=20), st.data())
def test_rows_are_added_up(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    values = np.array([value for value, _ in rows], np.uint64)
    lengths = np.array(data.draw(st.lists(st.integers(0, 3), max_size=9)), np.int64)
    values = np.resize(values, lengths.sum()) if len(values) else np.zeros(lengths.sum(), np.uint64)
    parts = np.split(values, np.cumsum(lengths))[:-1]
    assert hashing.of_rows(values, lengths).tolist() == [part.sum() for part in parts]


@pytest.mark.parametrize("longest", [1, 4, 1 << 22])
@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=8)))
def test_what_was_seen_first_is_kept(longest: int, calls: list[list[tuple[int, int]]]) -> None:
    seen, first = hashing.Seen(), dict[int, int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "LONGEST_RUN", longest)
        for call in calls:
            keys = np.array([key for key, _ in call], np.uint64)
            again, numbers = seen.add(keys, np.array([number for _, number in call], np.uint32))
            expected = []
            for key, number in call:
                expected.append((key in first, first.setdefault(key, number)))
            assert list(zip(again.tolist(), numbers.tolist(), strict=True)) == expected
    assert len(seen) == len(first)
