"""The kernel's recurrence beside torch's, in float64, on packed sequences."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from birnn.kernel import library, recurrence
from birnn.kernel.recurrence import Start

pytestmark = pytest.mark.skipif(library.found() is None, reason="no kernel on this machine")
CELLS = ["RNN", "GRU", "LSTM"]


def network(cell: str, features: int, hidden: int, directions: int) -> nn.RNNBase:
    made: nn.RNNBase = getattr(nn, cell)(
        features, hidden, batch_first=True, bidirectional=directions == 2
    )
    return made


def packed(rnn: nn.RNNBase, values: Tensor, lengths: Tensor, start: Any = None) -> Any:
    rows = pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
    output, last = rnn(rows, start)
    return pad_packed_sequence(output, batch_first=True, total_length=values.shape[1])[0], last


def gap(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    scale = other.detach().abs().max().clamp(min=1e-6)
    return float((one.detach().double() - other.detach().double()).abs().max() / scale)


def error(one: Tensor, other: Tensor) -> float:
    """The typical difference, as a share of the typical number.

    The largest one would be a matter of chance: what torch gives depends on the CPU.
    """
    apart, size = one.detach().double() - other.detach(), other.detach()
    return float(apart.square().mean().sqrt() / size.square().mean().sqrt().clamp(min=1e-6))


class Case:
    """One layer in float32, and the same in float64."""

    def __init__(self, cell: str, lengths: list[int], shape: tuple[int, int, int]) -> None:
        features, hidden, directions = shape
        self.cell, self.lengths = cell, torch.tensor(lengths)
        self.rnn = network(cell, *shape)
        self.exact = network(cell, *shape).double()
        self.exact.load_state_dict(self.rnn.state_dict())
        batch, steps = len(lengths), max(lengths)
        self.values = torch.randn(batch, steps, features, requires_grad=True)
        self.start = [
            torch.randn(directions, batch, hidden, requires_grad=True)
            for _ in range(2 if cell == "LSTM" else 1)
        ]
        self.grads = torch.randn(batch, steps, directions * hidden)
        self.cell_grads = torch.randn(directions, batch, hidden)

    def ours(self) -> list[list[Tensor]]:
        """Outputs, and gradients of all that goes in."""
        inputs = [self.values, *self.start]
        states, cells = [*self.start, None][:2]
        output, last = recurrence.layer(
            self.cell, self.values, self.lengths, [*self.rnn.parameters()], Start(states, cells)
        )
        loss = (output * self.grads).sum()
        if self.cell == "LSTM":
            loss = loss + (last * self.cell_grads).sum()
        grads = torch.autograd.grad(loss, [*inputs, *self.rnn.parameters()])
        return [[output, *([last] if self.cell == "LSTM" else [])], [*grads]]

    def theirs(self, *, exact: bool) -> list[list[Tensor]]:
        """The same by torch."""
        rnn, wide = (self.exact, Tensor.double) if exact else (self.rnn, Tensor.float)
        inputs = [wide(one.detach()).requires_grad_() for one in (self.values, *self.start)]
        start = tuple(inputs[1:]) if self.cell == "LSTM" else inputs[1]
        output, last = packed(rnn, inputs[0], self.lengths, start)
        loss = (output * wide(self.grads)).sum()
        if self.cell == "LSTM":
            loss = loss + (last[1] * wide(self.cell_grads)).sum()
        grads = torch.autograd.grad(loss, [*inputs, *rnn.parameters()])
        return [[output, *([last[1]] if self.cell == "LSTM" else [])], [*grads]]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("lengths", "shape"),
    [
        ([1], (1, 1, 1)),
        ([3, 40, 17, 1, 1, 22, 9], (3, 10, 2)),
        ([*range(1, 65)], (32, 32, 2)),
        ([25] * 33, (37, 57, 2)),
        ([*range(30, 2, -1)] * 4, (20, 128, 1)),
        ([9, 2], (1, 300, 2)),
    ],
)
def test_no_less_exact_than_torch(
    cell: str, lengths: list[int], shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    case = Case(cell, lengths, shape)
    exact, ours, theirs = case.theirs(exact=True), case.ours(), case.theirs(exact=False)
    for mine, others, truth in zip(ours, theirs, exact, strict=True):  # outputs, gradients
        errors = [error(a, b) for a, b in zip(mine, truth, strict=True)]
        allowed = [error(a, b) for a, b in zip(others, truth, strict=True)]
        assert max(errors) <= max(2 * max(allowed), 2.0**-22)  # two of float32's steps at 1


@settings(deadline=None, max_examples=40)
@given(
    cell=st.sampled_from(CELLS),
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=70),
    features=st.integers(1, 40),
    hidden=st.integers(1, 70),
    directions=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_any_shape(
    cell: str, lengths: list[int], features: int, hidden: int, directions: int, seed: int
) -> None:
    torch.manual_seed(seed)
    case = Case(cell, lengths, (features, hidden, directions))
    for mine, truth in zip(case.ours(), case.theirs(exact=True), strict=True):
        assert max(gap(a, b) for a, b in zip(mine, truth, strict=True)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_a_long_sequence_beside_a_short_one(cell: str) -> None:
    torch.manual_seed(0)
    case = Case(cell, [4000, 1, 700], (2, 3, 2))
    for mine, truth in zip(case.ours(), case.theirs(exact=True), strict=True):
        assert max(gap(a, b) for a, b in zip(mine, truth, strict=True)) < 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_the_numeric_gradient(cell: str) -> None:
    """A small step of the inputs changes a sum of the outputs as the gradient says."""
    torch.manual_seed(0)
    case = Case(cell, [5, 3, 1], (2, 3, 2))
    _, grads = case.ours()
    for position, moved in enumerate([case.values, *case.start, *case.rnn.parameters()]):
        direction, change = torch.randn_like(moved), []
        for step in (1e-2, -1e-2):
            with torch.no_grad():
                moved += step * direction
                states, cells = [*case.start, None][:2]
                output, last = recurrence.layer(
                    cell, case.values, case.lengths, [*case.rnn.parameters()], Start(states, cells)
                )
                moved -= step * direction
            change.append(float((output.double() * case.grads).sum()))
            change[-1] += float((last * case.cell_grads).sum()) if cell == "LSTM" else 0
        expected = float((grads[position] * direction).sum())
        assert (change[0] - change[1]) / 2e-2 == pytest.approx(expected, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("cell", CELLS)
def test_training_and_prediction_give_the_same_bits(cell: str) -> None:
    case = Case(cell, [*range(1, 40)], (5, 17, 2))
    weights = [*case.rnn.parameters()]
    trained = recurrence.layer(cell, case.values, case.lengths, weights)
    with torch.no_grad():
        predicted = recurrence.layer(cell, case.values, case.lengths, weights)
        again = recurrence.packed(cell, weights)
        reused = recurrence.layer(cell, case.values, case.lengths, weights, ready=again)
    for one, other, third in zip(trained, predicted, reused, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_is_the_same_alone_and_among_others(cell: str) -> None:
    torch.manual_seed(0)
    rnn, lengths = network(cell, 3, 20, 2), torch.randint(1, 30, (100,))
    values, weights = torch.randn(100, 30, 3), [*rnn.parameters()]
    with torch.no_grad():
        together, _ = recurrence.layer(cell, values, lengths, weights)
        for one in (0, 31, 99):
            alone, _ = recurrence.layer(cell, values[one : one + 1], lengths[[one]], weights)
            assert torch.equal(alone[0], together[one])


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_past_a_length_is_read_or_written(cell: str) -> None:
    rnn, lengths = network(cell, 3, 20, 2), torch.tensor([4, 7, 1])
    values = torch.full((3, 9, 3), float("nan"))
    for row, length in enumerate(lengths):
        values[row, :length] = 1
    values.requires_grad_()
    output, _ = recurrence.layer(cell, values, lengths, [*rnn.parameters()])
    output.sum().backward()  # type: ignore[no-untyped-call]
    past = torch.arange(9) >= lengths[:, None]
    assert values.grad is not None
    assert not output[past].any()
    assert not values.grad[past].any()
    assert output.isfinite().all()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("strange", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_travel_as_in_torch(cell: str, strange: float) -> None:
    torch.manual_seed(0)
    case = Case(cell, [6, 6, 3], (3, 5, 2))
    with torch.no_grad():
        case.values[1, 2] = strange
        states, cells = [*case.start, None][:2]
        output, _ = recurrence.layer(
            cell, case.values, case.lengths, [*case.rnn.parameters()], Start(states, cells)
        )
    start = tuple(case.start) if cell == "LSTM" else case.start[0]
    expected, _ = packed(case.rnn, case.values.detach(), case.lengths, start)
    assert torch.equal(output.isnan(), expected.isnan())
    torch.testing.assert_close(output, expected, equal_nan=True, rtol=1e-5, atol=1e-5)


def test_no_second_gradient() -> None:
    case = Case("LSTM", [3, 2], (2, 4, 1))
    output, _ = recurrence.layer("LSTM", case.values, case.lengths, [*case.rnn.parameters()])
    with pytest.raises(RuntimeError, match="expected create_graph=False"):
        torch.autograd.grad(output.sum(), case.values, create_graph=True)


def test_backward_twice_gives_the_same() -> None:
    case = Case("GRU", [3, 2], (2, 4, 2))
    output, _ = recurrence.layer("GRU", case.values, case.lengths, [*case.rnn.parameters()])
    loss = output.square().sum()
    first, second = (torch.autograd.grad(loss, case.values, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"values": torch.zeros(2, 3, 4, dtype=torch.float64)}, "torch.float32 of shape"),
        ({"values": torch.zeros(2, 3, 5)}, "expected torch.float32 of shape"),
        ({"lengths": torch.tensor([3, 2], dtype=torch.int32)}, "expected torch.int64 of shape"),
        ({"lengths": torch.tensor([3])}, "expected torch.int64 of shape"),
        ({"start": (torch.zeros(1, 2, 6), None)}, "of shape (2, 2, 6)"),
    ],
)
def test_nothing_of_another_shape_reaches_the_kernel(change: dict[str, Any], expected: str) -> None:
    given_: dict[str, Any] = {
        "values": torch.zeros(2, 3, 4),
        "lengths": torch.tensor([3, 2]),
        "weights": [*network("LSTM", 4, 6, 2).parameters()],
    }
    with pytest.raises(ValueError, match=r"expected .* found") as refused, torch.no_grad():
        recurrence.layer("LSTM", **{**given_, **change})
    assert expected in str(refused.value)


def test_memory_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "FREE", free := list[Any]())
    case, places = Case("LSTM", [30] * 8, (4, 32, 2)), set[int]()
    for steps in (20, 30, 25, 30):
        values, lengths = case.values[:, :steps], torch.full((8,), steps)
        output, _ = recurrence.layer("LSTM", values, lengths, [*case.rnn.parameters()])
        assert not free  # it is lent
        output.sum().backward()  # type: ignore[no-untyped-call]
        assert len(free) == 1
        places.add(free[0].ctypes.data)
    assert len(places) == 2  # the second was larger than the first
