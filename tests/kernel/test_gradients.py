"""Layers that learn, on arrays: what they refuse. `tests/model/test_backprop.py` compares bytes."""

from collections.abc import Callable

import numpy as np
import pytest

from birnn.kernel import arrays, library
from birnn.kernel.arrays import Floats
from birnn.kernel.calls import shapes
from birnn.kernel.gradients import CrossEntropy, Embedding, Linear, Recurrent, Room, Summary

pytestmark = pytest.mark.skipif(library.found() is None, reason="no kernel on this machine")
LENGTHS = np.array([3, 1])


def zeros(*shape: int) -> Floats:
    return np.zeros(shape, np.float32)


def recurrent() -> Recurrent:
    own, gradients = ([zeros(*shape) for shape in shapes("GRU", 4, 5, 1)] for _ in range(2))
    return Recurrent("GRU", own, gradients)


def begun() -> Recurrent:
    layer = recurrent()
    layer.forward(zeros(2, 3, 4), LENGTHS, keep=True)
    return layer


def linear() -> Linear:
    layer = Linear([zeros(2, 3), zeros(2)], [zeros(2, 3), zeros(2)])
    layer.forward(zeros(7, 3))
    return layer


def loss(labels: list[int], scales: int = 2) -> object:
    return CrossEntropy(None, 0.0)(zeros(2, 3), np.array(labels), zeros(scales), learn=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Recurrent("RNN", [zeros(2, 2)] * 4, [zeros(2, 2)] * 4),
        lambda: recurrent().forward(zeros(2, 3, 5), LENGTHS, keep=False),
        lambda: recurrent().forward(zeros(2, 3, 4), np.array([4, 1]), keep=False),
        lambda: begun().backward(zeros(2, 3, 6)),
        lambda: begun().backward_to_values(zeros(2, 3, 5).astype(np.float64)),
        lambda: Linear([zeros(2, 3), zeros(2)], [zeros(2, 3), zeros(3)]),
        lambda: linear().forward(zeros(7, 2)),
        lambda: linear().backward(zeros(7, 3)),
        lambda: Embedding(zeros(2, 3), zeros(3, 3)),
        lambda: Summary("last", 5).forward(zeros(2, 3, 5).astype(np.float64), LENGTHS),
        lambda: loss([0, 3]),
        lambda: loss([0, 1, 2]),
        lambda: loss([0, 1], scales=3),
        lambda: arrays.side_by_side(zeros(5, 2), np.array([0, 4]), np.array([2, 2]), 0),
        lambda: arrays.side_by_side(zeros(5, 2), np.array([-1]), np.array([2]), 0),
        lambda: arrays.side_by_side(zeros(5, 2), np.array([0]), np.array([2, 1]), 0),
    ],
)
def test_refuses_what_is_out_of_bounds(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()


def test_embedding_refuses_a_row_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        Embedding(zeros(2, 3), zeros(2, 3)).forward(np.array([2]))


def test_room_is_used_again() -> None:
    room = Room()
    large, small = room.array(3, 4), room.array(2, 5)
    assert np.shares_memory(large, small)
    assert room.array(5, 5).shape == (5, 5)
