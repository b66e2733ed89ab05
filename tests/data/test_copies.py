"""What is found and what is left alone, on data of many kinds; see `benchmarks.leakage`."""

import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import leakage
from benchmarks.leakage import KINDS, LEAKS, RELATED, together
from birnn.data import copies, fingerprints
from birnn.data.copies import Known
from birnn.files import pieces

SHORT = ["sentences", "DNA", "logs with prefixes", "saturated sensors"]
PLANTED = [  # and the least share that is found
    ("real, 8 features", "exported twice", 1.0),
    ("real, smooth", "windows, 50 %", 0.85),
    ("real, smooth", "windows, 95 %", 0.99),
    ("classes of curves", "scale and shift", 0.99),
    ("DNA", "one symbol changed", 0.9),
    ("sentences", "a tenth changed", 0.55),
    ("real, smooth", "windows, 50 %, scaled", 0.8),
    ("logs with prefixes", "2 % copied", 0.9),
    ("real, 8 features", "six times", 1.0),
    ("real, smooth", "noise 1 %", 0.99),
    ("whole numbers", "exported twice", 1.0),
]


@pytest.mark.parametrize("kind", SHORT)
def test_clean_splits_share_nothing(kind: str) -> None:
    assert not any(found.seen.any() for found in leakage.alarms(KINDS[kind], 1))


@pytest.mark.parametrize(("kind", "leak", "least"), PLANTED[:7])
def test_planted_leakage_is_found(kind: str, leak: str, least: float) -> None:
    reached, found, _, passed = leakage.hits(KINDS[kind], LEAKS[leak], 1)
    assert found >= least * reached > 0
    assert not passed


def test_what_is_related_by_nature_has_parts_in_common_but_no_near_copies() -> None:
    for kind, most in {"forms filled in": 0.12, "DNA, one family": 0.02}.items():
        found = list(leakage.alarms(RELATED[kind], 5))
        assert not any(one.near.any() for one in found)
        assert np.mean([one.seen.mean() for one in found]) < most


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_clean_splits_seldom_raise_an_alarm(kind: str) -> None:
    found = list(leakage.alarms(KINDS[kind], 50))
    assert sum(one.seen.any() for one in found) <= 1
    repeated, expected = (
        sum(values)
        for values in zip(*((one.repeated.sum(), one.expected) for one in found), strict=True)
    )
    assert abs(repeated - expected) <= 5 * np.sqrt(expected + 1)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "leak", "least"), PLANTED)
def test_planted_leakage_is_found_in_many_draws(kind: str, leak: str, least: float) -> None:
    reached, found, others, passed = leakage.hits(KINDS[kind], LEAKS[leak], 20)
    assert found >= least * reached
    assert (others, passed) == (0, 0)


def test_kinds_are_told_apart_with_what_they_are_like() -> None:
    rng = np.random.default_rng(0)
    train = list(rng.standard_normal((200, 50, 2)))
    test = [
        train[3],
        np.concatenate([rng.standard_normal((20, 2)), train[4][:30]]),
        2 * train[5] + 0.01 * rng.standard_normal((50, 2)),
        rng.standard_normal((50, 2)),
    ]
    found = leakage.looked_at(train, test)
    for place, kind in enumerate((found.exact, found.overlap, found.near)):
        assert np.flatnonzero(kind).tolist() == [place]
    assert found.source.tolist() == [3, 4, 5, -1]
    assert found.repeated.tolist() == [True, False, False, False]


def test_short_sentences_repeat_as_often_as_expected() -> None:
    found = leakage.looked_at(*leakage.clean(leakage.sentences, np.random.default_rng(0)))
    assert found.repeated.sum() > 3
    assert found.expected == pytest.approx(found.repeated.sum(), rel=0.8)
    assert not found.seen.any()


def test_tokens_count_by_what_they_spell() -> None:
    train = together(leakage.dna(np.random.default_rng(0), 100))
    assert train.tokens is not None
    assert train.dictionary is not None
    turned = replace(
        train, tokens=3 - train.tokens, dictionary=pa.array(train.dictionary.to_pylist()[::-1])
    )
    known = copies.remember(train)
    assert copies.find(known, turned).exact.all()
    assert not copies.find(known, replace(turned, dictionary=train.dictionary)).seen.any()


def test_what_is_known_can_be_kept(tmp_path: Path) -> None:
    train, test = (
        together(part) for part in leakage.clean(leakage.walks, np.random.default_rng(0))
    )
    known = copies.remember(train)
    known.write(tmp_path / "known.npz")
    again = Known.read(tmp_path / "known.npz")
    assert copies.find(again, train).exact.all()
    assert not copies.find(again, test).seen.any()
    scaled = together(leakage.scaled_windows(0.95)(leakage.walks, np.random.default_rng(0)).test)
    assert copies.find(again, scaled).seen.tolist() == copies.find(known, scaled).seen.tolist()


def test_texts_that_are_known_can_be_kept(tmp_path: Path) -> None:
    planted = leakage.edited(leakage.sentences, np.random.default_rng(0))
    train, test = together(planted.train), together(planted.test)
    known = copies.remember(train)
    known.write(tmp_path / "known.npz")
    found = copies.find(Known.read(tmp_path / "known.npz"), test)
    assert found.near.any()
    assert found.near.tolist() == copies.find(known, test).near.tolist()


def test_files_of_an_older_version_can_be_read(tmp_path: Path) -> None:
    for draw in (leakage.walks, leakage.dna):
        train, test = (together(part) for part in leakage.clean(draw, np.random.default_rng(0)))
        copies.remember(train).write(tmp_path / "known.npz")
        with np.load(tmp_path / "known.npz") as file:
            old = {name: file[name] for name in file.files if "." not in name}
        names = {"chance", "run", "runs", "owner", "exact", "letters", "numbers", "signs"}
        assert names <= old.keys()
        np.savez(tmp_path / "old.npz", **old)
        again = Known.read(tmp_path / "old.npz")
        assert copies.find(again, train).exact.all()
        assert not copies.find(again, test).seen.any()


@pytest.mark.parametrize("sequences", [1, 2])
def test_of_very_few_sequences(sequences: int) -> None:
    train = leakage.noise(np.random.default_rng(0), sequences)
    assert leakage.looked_at(train, train).repeated.all()


@pytest.mark.parametrize("rows", [1 << 18, 100])
@pytest.mark.parametrize(
    ("kind", "leak"),
    [
        ("real, smooth", "windows, 50 %"),
        ("real, smooth", "windows, 50 %, scaled"),
        ("real, smooth", "noise 1 %"),
        ("DNA", "one symbol changed"),
        ("sentences", "a tenth changed"),
        ("logs with prefixes", "2 % copied"),
    ],
)
def test_what_is_compared_at_once_is_what_is_remembered_and_found(
    kind: str, leak: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ROWS", rows)
    monkeypatch.setattr(fingerprints, "_BLOCK", 40 * rows)
    planted = LEAKS[leak](KINDS[kind], np.random.default_rng(1))
    train, test = together(planted.train), together(planted.test)
    clean = together(leakage.clean(KINDS[kind], np.random.default_rng(2))[1])
    known = copies.remember(train)
    compared = copies.compare(train, [test, clean], tmp_path)
    assert [*tmp_path.iterdir()] == []
    for other, found in zip((test, clean), compared, strict=True):
        expected = copies.find(known, other)
        for one, same in zip(astuple(found), astuple(expected), strict=True):
            np.testing.assert_array_equal(one, same)
    assert copies.find(known, test).seen.any()


@pytest.mark.slow
def test_memory_hardly_grows_with_train(tmp_path: Path) -> None:
    """Beside the steps themselves, which the test holds: 50 of them are a sequence."""
    peaks = {}
    for sequences in (10_000, 40_000):
        command = [sys.executable, "-c", PEAK, str(sequences)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        steps, peak = map(int, ended.stdout.split())
        peaks[steps] = peak
    (few, low), (many, high) = peaks.items()
    assert (high - low) / (many - few) < 2


PEAK = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa
from birnn.data import copies, fingerprints
from birnn.data.sequences import Sequences

def drawn(sequences):
    lengths = rng.integers(5, 96, sequences)
    values = rng.standard_normal((lengths.sum(), 3), np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = pa.array([str(n) for n in range(sequences)])
    return Sequences(values, offsets, np.zeros(sequences, np.int32), ids, ids, False)

fingerprints._BLOCK = 1 << 18  # of which both sizes have several
rng = np.random.default_rng(0)
train, test = drawn(int(sys.argv[1])), drawn(1000)

def memory(name):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))

held = memory("VmRSS")
copies.compare(train, [test], Path())
print(train.offsets[-1], memory("VmHWM") - held)
"""
