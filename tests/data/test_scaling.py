"""Features on a scale: against scikit-learn and plain loops."""

from itertools import pairwise
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import RobustScaler, StandardScaler

from birnn.data import scaling
from birnn.data.scaling import Fitting, Kind, Moments

Array = npt.NDArray[Any]
OFFSETS = np.array([0, 5, 6, 20, 40])


def draw(seed: int = 0, steps: int = 40) -> Array:
    """Two features with heavy tails and a constant one."""
    rng = np.random.default_rng(seed)
    tails = rng.standard_cauchy((steps, 2)) * [1.0, 100.0] + [0.0, 5.0]
    return np.column_stack([tails, np.full(steps, 7.0)])


def scale(kind: Kind, raw: Array, offsets: Array, *others: tuple[Array, Array]) -> Array:
    """Fit on some chunks and scale the first of them; what is constant comes behind."""
    fitting = Fitting(kind)
    for chunk in ((raw, offsets), *others):
        fitting.add(fitting.seen(*chunk))
    mean, spread = (np.array(found) for found in fitting.result(raw.shape[1]))
    values, constant = scaling.scaled(kind, raw, offsets, mean=mean, scale=spread)
    return np.column_stack([values, np.repeat(constant, np.diff(offsets), axis=0)])


class TestKinds:
    def test_none(self) -> None:
        assert np.array_equal(scale("none", draw(), OFFSETS), draw())

    def test_global(self) -> None:
        expected = StandardScaler().fit(np.concatenate([draw(), draw(1)])).transform(draw())
        found = scale("global", draw(), OFFSETS, (draw(1), OFFSETS))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    def test_asinh(self) -> None:
        robust = RobustScaler().fit(np.concatenate([draw(), draw(1)]))
        found = scale("asinh", draw(), OFFSETS, (draw(1), OFFSETS))
        np.testing.assert_allclose(found, np.arcsinh(robust.transform(draw())), rtol=1e-12)

    def test_asinh_where_more_than_three_quarters_are_equal(self) -> None:
        """The interquartile range is 0; what differs decides."""
        raw = np.zeros((40, 1))
        raw[::10, 0] = [1e-4, -2e-4, 3e-4, -9e-4]
        found = scale("asinh", raw, OFFSETS)
        np.testing.assert_allclose(found, np.arcsinh(raw / 2.5e-4), rtol=1e-12)

    def test_per_sequence(self) -> None:
        raw = draw()
        found = scale("per_sequence", raw, OFFSETS)
        logs = []
        for start, end in pairwise(OFFSETS.tolist()):
            scaler = StandardScaler().fit(raw[start:end])
            np.testing.assert_allclose(found[start:end, :3], scaler.transform(raw[start:end]))
            logs.append(np.log(np.sqrt(scaler.var_[:2])) if end - start > 1 else None)
        varying = np.stack([log for log in logs if log is not None])
        standardised = StandardScaler().fit_transform(varying)
        heads = found[OFFSETS[:-1]][:, 3:]
        np.testing.assert_allclose(heads[[0, 2, 3], :2], standardised, rtol=1e-9)
        assert heads[1].tolist() == [0, 0, 0]  # one step has no scale
        assert heads[:, 2].tolist() == [0, 0, 0, 0]  # nor has what is constant
        assert all(len(np.unique(found[a:b, 3:], axis=0)) == 1 for a, b in pairwise(OFFSETS))

    def test_per_sequence_forgets_level_and_size(self) -> None:
        raw = draw()[:, :2]
        found = scale("per_sequence", raw, OFFSETS)
        sizes = np.repeat([[2.0], [5.0], [0.1], [30.0]], np.diff(OFFSETS), axis=0)
        other = scale("per_sequence", raw * sizes + sizes**2, OFFSETS)
        np.testing.assert_allclose(found[:, :2], other[:, :2], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", get_args(Kind))
class TestAny:
    @given(cuts=st.sets(st.sampled_from([1, 2, 3])))
    def test_chunks_are_as_good_as_the_whole(self, kind: Kind, cuts: set[int]) -> None:
        raw, whole, parts = draw(), Fitting(kind), Fitting(kind)
        whole.add(whole.seen(raw, OFFSETS))
        for start, end in pairwise([0, *sorted(cuts), 4]):
            bounds = OFFSETS[start : end + 1]
            parts.add(parts.seen(raw[bounds[0] : bounds[-1]], bounds - bounds[0]))
        np.testing.assert_allclose(parts.result(3), whole.result(3), rtol=1e-9, atol=1e-12)

    def test_nothing_varies(self, kind: Kind) -> None:
        raw = np.full((6, 2), 0.1)
        found = scale(kind, raw, np.array([0, 1, 6]))
        assert np.isfinite(found).all()
        assert kind == "none" or np.abs(found).max() < 1e-12


def test_medians_of_much_data_come_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = draw(steps=20_000)
    exact = RobustScaler().fit(raw)
    monkeypatch.setattr(scaling, "SAMPLE", 15_000)
    whole, parts = Fitting("asinh"), Fitting("asinh")
    whole.add(whole.seen(raw, np.array([0, 20_000])))
    for part in np.split(raw, 20):
        parts.add(parts.seen(part, np.array([0, 1000])))
    assert parts.result(3) == whole.result(3)
    np.testing.assert_allclose(whole.result(3)[1][:2], exact.scale_[:2], rtol=0.1)


@pytest.mark.parametrize("kind", ["asinh", "none"])
def test_of_very_much_no_more_than_twice_the_sample_is_sent(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = draw(steps=20_000)
    monkeypatch.setattr(scaling, "SAMPLE", 15_000)
    whole, thinned = Fitting(kind), Fitting(kind, steps=20_000)
    sent = [thinned.seen(part, np.array([0, 1000])) for part in np.split(raw, 20)]
    assert 8_000 < sum(map(len, sent)) < 12_000
    for part in sent:
        thinned.add(part)
    whole.add(whole.seen(raw, np.array([0, 20_000])))
    np.testing.assert_allclose(thinned.result(3)[1][:2], whole.result(3)[1][:2], rtol=0.1)
    few = Fitting(kind, steps=9_000)
    assert len(few.seen(raw[:1000], np.array([0, 1000]))) == 1000


class TestMoments:
    @given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6), seed=st.integers(0, 99))
    def test_have_the_bits_of_scikit_learn(self, sizes: list[int], seed: int) -> None:
        """So that models and data that were prepared with it stay the same."""
        rng, scaler, moments = np.random.default_rng(seed), StandardScaler(), Moments()
        for size in sizes:
            raw = rng.standard_normal((size, 4)) * [1, 1e-9, 1e4, 0] + [0, 1, 1e9, 0.1]
            scaler.partial_fit(raw)
            moments.add(Moments.sums(raw))
        assert moments.mean.tolist() == scaler.mean_.tolist()
        assert moments.variance.tolist() == scaler.var_.tolist()
        assert moments.scale().tolist() == scaler.scale_.tolist()


class TestFramed:
    @given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), frame=st.integers(1, 5))
    def test_like_a_plain_loop(self, lengths: list[int], frame: int) -> None:
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        values = np.arange(2.0 * offsets[-1]).reshape(-1, 2) + 1
        found, starts = scaling.framed(values, offsets, frame)
        expected, bounds = [], [0]
        for start, end in pairwise(offsets.tolist()):
            for first in range(start, end, frame):
                row = values[first : min(first + frame, end)].ravel().tolist()
                expected.append(row + [0.0] * (2 * frame - len(row)))
            bounds.append(len(expected))
        assert found.tolist() == expected
        assert starts.tolist() == bounds
