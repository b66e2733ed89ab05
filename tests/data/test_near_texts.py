"""Sequences of tokens of which a few are others: found, and told from those that are alike."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import leakage
from benchmarks.leakage import together
from birnn.data import chance, fingerprints, near_copies, near_texts
from birnn.data.chance import Chance
from birnn.data.fingerprints import Letters

Array = NDArray[Any]
SENTENCES = 300


def read(sequences: list[Array]) -> Letters:
    split = together(sequences)
    steps = fingerprints.of_steps(split, slice(None), split.token_codes())
    return fingerprints.letters(steps, split.offsets)


def sentences(seed: int, number: int = SENTENCES) -> list[Array]:
    """Twenty words, some of them far more frequent than others."""
    rng = np.random.default_rng(seed)
    return [(rng.zipf(1.3, 20) % 5000).astype(np.int32) for _ in range(number)]


def test_phrases_are_runs_of_letters() -> None:
    text = read([np.array([1, 2, 3, 4]), np.array([9, 1, 2]), np.array([3])])
    found = near_texts.phrases(text, 2)
    pairs, letters = found.codes
    assert letters.tolist() == text.codes.tolist()
    assert pairs[0] == pairs[5]  # 1 2
    assert len(set(pairs.tolist())) == 7
    assert pairs[3] == letters[3]  # the last one of a sequence
    assert found.offsets.tolist() == [0, 4, 7, 8]
    assert near_texts.phrases(text, 3).codes[1].tolist() == pairs.tolist()


def test_frequency_is_that_of_all_phrases() -> None:
    text = read([np.array([1, 2, 1, 2, 3]), np.array([1, 2])])
    found = near_texts.phrases(text, 2)
    counts = near_texts.frequency(found)
    assert counts[near_texts._place(found.codes[0, :1])].tolist() == [3]  # 1 2
    assert counts.sum() == 14
    # 1 and 1 2 three times; 2 three times, and once more at an end; 3 and 3 at an end; 2 1; 2 3
    assert Counter(counts[counts > 0].tolist()) == {3: 2, 4: 1, 2: 1, 1: 2}


def test_sketches_differ_as_often_as_the_angle_of_the_weighted_bags_says() -> None:
    train = sentences(0)
    changed = [np.where(np.arange(20) % 5 == 2, 7000 + n, one) for n, one in enumerate(train)]
    of, other = (near_texts.phrases(read(each), 2) for each in (train, changed))
    counts = near_texts.frequency(of)
    signs = [near_texts.sketch(each, counts) for each in (of, other)]
    apart = near_copies.differing(*signs) / near_copies.BITS

    def bags(phrases: near_texts.Phrases) -> list[dict[int, float]]:
        found: list[dict[int, float]] = [{} for _ in range(SENTENCES)]
        owner = np.repeat(np.arange(SENTENCES), np.diff(phrases.offsets))
        owners = np.tile(owner, 2).tolist()
        for code, place in zip(phrases.codes.ravel().tolist(), owners, strict=True):
            times = max(int(counts[code >> (64 - near_texts.TABLE)]), 1)
            weight = math.log((1 + int(counts.max())) / times)
            found[place][code] = found[place].get(code, 0) + weight
        return found

    expected = []
    for one, two in zip(bags(of), bags(other), strict=True):
        product = sum(weight * two.get(code, 0) for code, weight in one.items())
        squares = [sum(weight**2 for weight in bag.values()) for bag in (one, two)]
        expected.append(math.acos(product / math.sqrt(math.prod(squares))) / math.pi)
    assert apart.mean() == pytest.approx(np.mean(expected), abs=0.01)


def test_the_rarest_phrases_are_known_ones() -> None:
    train = [np.array([1, 2, 3]), np.array([1, 2, 4]), np.array([1, 2, 5])]
    counts = near_texts.frequency(near_texts.phrases(read(train), 2))
    test = near_texts.phrases(read([np.array([1, 2, 4, 99])]), 2)
    found = near_texts.rarest(test, counts)
    times = found.keys >> np.uint64(64 - near_texts.MOST)
    assert times.tolist() == [1, 3]  # 2 4, then 1 2; not 4 99, which is new
    assert found.owner.tolist() == [0, 0]


def test_phrases_are_longer_where_letters_are_few() -> None:
    words, bases = Chance(0.02, 1, 0.01), Chance(0.25, 8, 0.01)
    assert near_texts.longest(words, 20) == 2
    assert near_texts.longest(bases, 100) == 5
    assert near_texts.longest(Chance(1.0, 64, 1.0), 10) > 20  # all are alike


def test_nearest_is_the_original() -> None:
    train = sentences(1)
    rng = np.random.default_rng(0)
    edited = [np.delete(one, rng.integers(20)) for one in train[:50]]
    split = together(train)
    likely = chance.measure(split, split.token_codes())
    longest = near_texts.longest(likely, 20)
    of, other = (near_texts.phrases(read(each), longest) for each in (train, edited))
    counts = near_texts.frequency(of)
    rare = near_texts.rarest(of, counts)
    keys, first = np.unique(rare.keys, return_index=True)
    known = near_texts.Texts(
        longest,
        counts,
        near_texts.natural(read(train), longest, counts),
        near_texts.sketch(of, counts),
        near_texts.Rare(keys, rare.owner[first]),
    )
    signs = near_texts.sketch(other, counts)
    fewest, place = near_texts.nearest(known, signs, near_texts.rarest(other, counts))
    assert place.tolist() == list(range(50))
    limit = near_texts.limit(known.natural, np.full(50, 19), 50.0 * len(train))
    assert (fewest <= limit).all()
    assert (near_texts.limit(known.natural, np.array([7]), 1.0) < 0).all()  # too short to say


def test_of_no_tokens_nothing_is_found() -> None:
    signs, none = np.zeros((3, 4), np.uint64), near_texts.nothing()
    rare = near_texts.Rare(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    assert near_texts.nearest(none, signs, rare)[0].tolist() == [near_copies.BITS + 1] * 3


@pytest.mark.parametrize("kind", ["sentences", "DNA", "logs with prefixes"])
def test_independent_sequences_are_no_near_copies(kind: str) -> None:
    found = leakage.alarms(leakage.KINDS[kind], 3)
    assert not any(one.near.any() for one in found)
