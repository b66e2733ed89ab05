"""Numbers of sequences and of their runs: equal where contents are, wherever a run begins."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.leakage import together
from birnn.data import fingerprints
from birnn.data.fingerprints import WINDOW, Letters, Runs

Array = NDArray[Any]


def exact(sequences: list[Array]) -> list[int]:
    split = together(sequences)
    return [
        number
        for rows, bounds in fingerprints.blocks(split)
        for number in fingerprints.exact(
            fingerprints.of_steps(split, rows, split.token_codes()), bounds
        ).tolist()
    ]


def letters(sequences: list[Array]) -> Letters:
    split = together(sequences)
    steps = fingerprints.of_steps(split, slice(None), split.token_codes())
    return fingerprints.letters(steps, split.offsets)


def of(found: Runs, sequence: int) -> set[int]:
    return set(found.codes[found.owner == sequence].tolist())


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=20))
def test_equal_sequences_alone_have_equal_numbers(sequences: list[list[int]]) -> None:
    found = exact([np.array(sequence, dtype=np.int32) for sequence in sequences])
    for i, one in enumerate(sequences):
        for j, other in enumerate(sequences):
            assert (found[i] == found[j]) == (one == other)


def test_numbers_do_not_depend_on_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((int(n), 4)) for n in rng.integers(5, 60, 50)]
    whole, runs = exact(sequences), fingerprints.runs(letters(sequences), 4)
    back = fingerprints.runs(letters(sequences[::-1]), 4)
    assert [of(runs, place) for place in range(50)] == [of(back, 49 - n) for n in range(50)]
    monkeypatch.setattr(fingerprints, "_BLOCK", 100)
    assert exact(sequences) == whole
    assert exact(sequences[::-1]) == whole[::-1]


def shapes(values: Array) -> Array:
    split = together([values])
    steps = fingerprints.of_steps(split, slice(None), None)
    return fingerprints.of_shapes(split.values, steps, split.offsets)


def test_shapes_do_not_depend_on_scale_and_offset() -> None:
    values = np.random.default_rng(0).standard_normal((500, 3))
    one = shapes(values)
    assert (one == shapes(values * [0.1, 2, 30] + [5, -1, 100]))[2:].mean() > 0.98
    assert not (one == shapes(-values))[2:].any()


def test_shapes_of_whole_numbers_are_in_the_middle_of_a_part() -> None:
    """Changes that are equal, or none, are frequent, and rounding must not tell them apart."""
    rng = np.random.default_rng(0)
    values = rng.integers(-1, 2, (500, 1)).cumsum(axis=0).astype(float)
    assert (shapes(values) == shapes(values * 0.37 + 0.11))[2:].all()


def test_shapes_begin_anew_in_each_sequence() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 1)) for n in (5, 1, 2, 7)]
    split = together(parts)
    steps = fingerprints.of_steps(split, slice(None), None)
    found = fingerprints.of_shapes(split.values, steps, split.offsets)
    apart = np.concatenate([shapes(part) for part in parts])
    np.testing.assert_array_equal(found, apart)


def test_minus_zero_is_zero() -> None:
    one, other = exact([np.array([[0.0]]), np.array([[-0.0]])])
    assert one == other


def test_repeated_steps_are_one_letter_that_knows_their_number() -> None:
    found = letters([np.array(one) for one in ([5] * 9, [5] * 9, [5] * 8, [1, 5, 5, 2, 5])])
    assert np.diff(found.offsets).tolist() == [1, 1, 1, 4]
    assert found.codes[0] == found.codes[1] != found.codes[2]
    assert len(set(found.codes.tolist())) == 6


@settings(deadline=None)
@given(st.integers(0, 10), st.integers(0, 10), st.integers(4, 30), st.integers(0, 1000))
def test_runs_that_are_long_enough_are_found_wherever_they_begin(
    before: int, after: int, length: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((length + WINDOW - 1, 1))
    one, other = (
        np.concatenate([rng.standard_normal((n, 1)), common, rng.standard_normal((m, 1))])
        for n, m in ((before, after), (after, before))
    )
    unlike = rng.standard_normal((60, 1))
    found = fingerprints.runs(letters([one, other, unlike]), length)
    assert of(found, 0) & of(found, 1)
    assert not of(found, 0) & of(found, 2)


def test_a_sequence_shorter_than_a_run_has_none() -> None:
    rng = np.random.default_rng(0)
    found = fingerprints.runs(letters([rng.random((n, 1)) for n in (3, 4, 5)]), 4)
    assert [len(of(found, place)) for place in range(3)] == [0, 1, 1]


def test_what_repeats_itself_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    clock, text = np.tile([1, 2, 3], 20), rng.integers(0, 4, 60)
    found = letters([clock, text, np.concatenate([clock, text])])
    runs = fingerprints.runs(found, 20)
    assert not of(runs, 0)
    assert of(runs, 1) & of(runs, 2)
    assert fingerprints.telling(found)[0] == 1
    assert (fingerprints.telling(found)[1:] > 30).all()
