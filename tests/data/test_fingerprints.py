from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from birnn.data import fingerprints
from birnn.data.fingerprints import Fingerprints, copies

Array = NDArray[Any]


def joined(sequences: list[Array]) -> Fingerprints:
    offsets = np.cumsum([0, *map(len, sequences)])
    steps = np.concatenate(sequences)
    if steps.ndim == 2:
        return fingerprints.of(steps, offsets)
    return fingerprints.of(np.zeros((len(steps), 0), np.float32), offsets, steps)


def noise(rng: np.random.Generator, num_sequences: int) -> list[Array]:
    lengths = rng.integers(5, 60, num_sequences)
    return [rng.standard_normal((length, 4)).astype(np.float32) for length in lengths]


def wave(rng: np.random.Generator, num_sequences: int) -> list[Array]:
    """One smooth channel, where neighbours are alike by nature."""
    walks = [rng.standard_normal((length, 1)) for length in rng.integers(20, 80, num_sequences)]
    return [np.cumsum(0.2 * walk, axis=0, dtype=np.float32) for walk in walks]


def words(rng: np.random.Generator, num_sequences: int) -> list[Array]:
    """Sentences of 1 to 30 words, some words frequent: the short ones repeat."""
    lengths = rng.geometric(0.1, num_sequences).clip(1, 30)
    return [rng.zipf(1.5, length).clip(0, 500).astype(np.int32) for length in lengths]


def letters(rng: np.random.Generator, num_sequences: int) -> list[Array]:
    lengths = rng.integers(30, 90, num_sequences)
    return [rng.integers(0, 4, length).astype(np.int32) for length in lengths]


KINDS = pytest.mark.parametrize("kind", [noise, wave, words, letters])


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=20))
def test_equal_sequences_alone_have_equal_keys(sequences: list[list[int]]) -> None:
    exact = joined([np.array(sequence, dtype=np.int32) for sequence in sequences]).exact
    for i, one in enumerate(sequences):
        for j, other in enumerate(sequences):
            assert (exact[i] == exact[j]) == (one == other)


def test_keys_do_not_depend_on_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = noise(np.random.default_rng(0), 50)
    whole = joined(sequences)
    monkeypatch.setattr(fingerprints, "_BLOCK", 100)
    for blocks in (joined(sequences), joined(sequences[::-1])):
        assert set(blocks.exact) == set(whole.exact)
        assert set(map(bytes, blocks.sketch)) == set(map(bytes, whole.sketch))


def test_features_and_tokens_both_count() -> None:
    values, offsets = np.ones((3, 2), np.float32), np.array([0, 1, 2, 3])
    values[1] = 2
    codes = np.array([10, 20], np.uint64)
    exact = fingerprints.of(values, offsets, np.array([0, 0, 1]), codes).exact
    assert len(set(exact)) == 3
    alike = fingerprints.of(values, offsets, np.array([1, 1, 0]), codes[::-1])
    assert exact.tolist() == alike.exact.tolist()
    assert alike.numbers.tolist() == [3, 3, 3]


def test_minus_zero_is_zero() -> None:
    assert joined([np.array([[0.0]])]).exact == joined([np.array([[-0.0]])]).exact


@KINDS
def test_clean_splits_share_no_copies(kind: Any) -> None:
    for seed in range(20):
        sequences = kind(np.random.default_rng(seed), 1000)
        found = copies(joined(sequences[:800]), joined(sequences[800:]))
        assert not found.copied.any()


@KINDS
def test_finds_one_copy(kind: Any) -> None:
    sequences = kind(np.random.default_rng(0), 1000)
    longest = int(np.argmax([len(sequence) for sequence in sequences[:800]]))
    found = copies(joined(sequences[:800]), joined([*sequences[800:], sequences[longest]]))
    assert np.flatnonzero(found.copied).tolist() == [200]
    assert found.repeated[200]


def test_short_sentences_repeat_but_are_no_copies() -> None:
    sequences = words(np.random.default_rng(0), 1000)
    found = copies(joined(sequences[:800]), joined(sequences[800:]))
    expected = [any(np.array_equal(one, two) for two in sequences[:800]) for one in sequences[800:]]
    assert found.repeated.tolist() == expected
    assert found.repeated.sum() > 10


def test_finds_sequences_with_a_little_noise() -> None:
    rng = np.random.default_rng(0)
    sequences = noise(rng, 800)
    moved = [one + rng.normal(0, 0.002, one.shape).astype(np.float32) for one in sequences[:100]]
    found = copies(joined(sequences), joined(moved))
    long = np.array([one.size >= 32 for one in moved])
    assert found.copied[long].mean() > 0.9
    assert not found.repeated.any()


def test_finds_sentences_with_one_other_word() -> None:
    rng = np.random.default_rng(0)
    sentences = [rng.integers(0, 2000, 30).astype(np.int32) for _ in range(500)]
    changed = [sentence.copy() for sentence in sentences[:100]]
    for sentence in changed:
        sentence[rng.integers(30)] = 7
    assert copies(joined(sentences), joined(changed)).copied.mean() > 0.9
