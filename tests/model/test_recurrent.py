"""The heart against its reference: pack_padded_sequence, torch.nn, pad_packed_sequence."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from birnn.model import recurrent
from birnn.model.architecture import Cell
from birnn.model.recurrent import VariableLengthRNN

pytestmark = pytest.mark.usefixtures("arithmetic")
CELLS: list[Cell] = ["RNN", "GRU", "LSTM"]
LENGTHS = {
    "unsorted": ([3, 7, 1, 5], 7),
    "ascending": ([1, 2, 3], 3),
    "equal": ([4, 4, 4], 4),
    "all shorter than the padding": ([2, 3], 6),
    "equal and shorter than the padding": ([3, 3], 5),
    "one sequence": ([5], 5),
    "single steps": ([1, 1], 1),
    "one step of several": ([1], 4),
}


# Of batches for which some CPU has kernels of its own for inference: each of these failed on one.
SIZES = [(3, 5, 3, 4), (1, 7, 3, 5), (16, 50, 32, 32), (64, 10, 8, 10)]


def pair(
    cell: Cell, features: int = 3, hidden: int = 4, layers: int = 1, bidirectional: bool = True
) -> tuple[VariableLengthRNN, nn.RNNBase]:
    """Ours and torch's, float64, with the same weights."""
    torch.manual_seed(0)
    ours = VariableLengthRNN(features, hidden, cell, layers, bidirectional=bidirectional).double()
    theirs: nn.RNNBase = getattr(nn, cell)(
        features, hidden, layers, batch_first=True, bidirectional=bidirectional
    ).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def packed(module: nn.RNNBase, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The reference: correct for every length, and slow."""
    sequences = pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
    output, last = module(sequences)
    padded, _ = pad_packed_sequence(output, batch_first=True, total_length=values.shape[1])
    return padded, last[0] if isinstance(last, tuple) else last


def gradients(module: nn.Module, results: tuple[Tensor, Tensor], values: Tensor) -> list[Tensor]:
    """Of a loss that weighs every output and every last state differently."""
    loss = sum((result * torch.randn_like(result)).sum() for result in results)
    assert isinstance(loss, Tensor)
    return list(torch.autograd.grad(loss, [values, *module.parameters()]))


def check_equal(
    ours: VariableLengthRNN,
    theirs: nn.RNNBase,
    values: Tensor,
    lengths: Tensor,
    padding: float = 0.0,
) -> None:
    """Output, last states and every gradient, whatever the padding holds."""
    past = torch.arange(values.shape[1]) >= lengths[:, None]
    reference_values = values.masked_fill(past[:, :, None], 0.0).requires_grad_()
    values = values.masked_fill(past[:, :, None], padding).requires_grad_()
    results, expected = ours(values, lengths), packed(theirs, reference_values, lengths)
    tolerance = 1e-10 if values.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(results, expected, atol=tolerance, rtol=tolerance)
    assert bool((results[0][past] == 0).all())
    torch.manual_seed(1)
    actual = gradients(ours, results, values)
    torch.manual_seed(1)
    wanted = gradients(theirs, expected, reference_values)
    torch.testing.assert_close(actual, wanted, atol=tolerance, rtol=tolerance)
    assert bool((actual[0][past] == 0).all())


@pytest.mark.parametrize("cell", CELLS)
class TestEqualsPacked:
    def test_any_lengths(self, cell: Cell) -> None:
        wrong = {}
        for case, bidirectional in product(LENGTHS, (True, False)):
            lengths, steps = LENGTHS[case]
            values = torch.randn(len(lengths), steps, 3, dtype=torch.float64)
            modules = pair(cell, bidirectional=bidirectional)
            try:
                check_equal(*modules, values, torch.tensor(lengths))
            except AssertionError as error:
                wrong[case, bidirectional] = str(error)
        assert wrong == {}

    @pytest.mark.parametrize("bidirectional", [True, False])
    def test_three_layers(self, cell: Cell, bidirectional: bool) -> None:
        values = torch.randn(4, 7, 3, dtype=torch.float64)
        modules = pair(cell, layers=3, bidirectional=bidirectional)
        check_equal(*modules, values, torch.tensor([3, 7, 1, 5]))

    @pytest.mark.parametrize("padding", [float("nan"), float("inf"), 1e30])
    def test_padding_changes_nothing(self, cell: Cell, padding: float) -> None:
        values = torch.randn(3, 6, 3, dtype=torch.float64)
        check_equal(*pair(cell, layers=2), values, torch.tensor([6, 2, 4]), padding)

    @pytest.mark.parametrize("hidden", [32, 128])
    def test_float32_at_the_sizes_people_use(self, cell: Cell, hidden: int) -> None:
        ours, theirs = pair(cell, features=32, hidden=hidden)
        values, lengths = torch.randn(16, 20, 32), torch.randint(1, 21, (16,))
        # The reference runs in float64, so that the error measured is ours alone.
        output, last = ours.float()(values, lengths)
        expected = packed(theirs, values.double(), lengths)
        torch.testing.assert_close((output.double(), last.double()), expected, atol=1e-5, rtol=1e-5)

    def test_float32_gradients(self, cell: Cell) -> None:
        ours, theirs = pair(cell, features=8, hidden=32, layers=2)
        values, lengths = torch.randn(8, 12, 8), torch.randint(1, 13, (8,))
        check_equal(ours.float(), theirs.float(), values, lengths)

    def test_in_pieces(self, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recurrent, "STATES_AT_ONCE", 4 * 4 * 3)  # pieces of 3, 3 and 1 steps
        values = torch.randn(4, 7, 3, dtype=torch.float64)
        check_equal(*pair(cell, layers=2), values, torch.tensor([3, 7, 1, 5]))

    def test_values_that_are_a_view(self, cell: Cell) -> None:
        values = torch.randn(3, 7, 4, dtype=torch.float64).permute(2, 1, 0)
        check_equal(*pair(cell), values, torch.tensor([3, 7, 1, 5]))

    def test_lengths_of_another_type(self, cell: Cell) -> None:
        values = torch.randn(3, 5, 3, dtype=torch.float64)
        check_equal(*pair(cell), values, torch.tensor([2, 5, 4], dtype=torch.int32))


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), extra=st.integers(0, 2))
def test_any_lengths_give_what_packed_gives(cell: Cell, lengths: list[int], extra: int) -> None:
    values = torch.randn(len(lengths), max(lengths) + extra, 3, dtype=torch.float64)
    check_equal(*pair(cell, layers=2), values, torch.tensor(lengths), float("nan"))


@pytest.mark.parametrize("cell", CELLS)
class TestDropIn:
    def test_names_shapes_and_first_weights_are_torchs(self, cell: Cell) -> None:
        torch.manual_seed(3)
        ours = VariableLengthRNN(3, 4, cell, num_layers=2).state_dict()
        torch.manual_seed(3)
        theirs = getattr(nn, cell)(3, 4, 2, bidirectional=True).state_dict()
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    def test_loads_torchs_state(self, cell: Cell) -> None:
        theirs = getattr(nn, cell)(3, 4, batch_first=True, bidirectional=True)
        ours = VariableLengthRNN(3, 4, cell)
        ours.load_state_dict(theirs.state_dict())
        values, lengths = torch.randn(2, 5, 3), torch.tensor([5, 4])
        torch.testing.assert_close(ours(values, lengths), packed(theirs, values, lengths))


class TestModes:
    @pytest.mark.parametrize("cell", CELLS)
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    @pytest.mark.parametrize(("batch", "steps", "features", "hidden"), SIZES)
    def test_prediction_gives_the_bytes_of_training(
        self,
        cell: Cell,
        mode: Callable[[], AbstractContextManager[None]],
        batch: int,
        steps: int,
        features: int,
        hidden: int,
    ) -> None:
        ours = VariableLengthRNN(features, hidden, cell, num_layers=2)
        values, lengths = torch.randn(batch, steps, features), torch.randint(1, steps + 1, (batch,))
        trained = ours(values, lengths)
        with mode():
            evaluated = ours(values, lengths)
        assert all(torch.equal(a, b) for a, b in zip(trained, evaluated, strict=True))
        assert trained[0].requires_grad
        assert not evaluated[0].requires_grad

    @pytest.mark.parametrize("cell", CELLS)
    def test_deterministic(self, cell: Cell) -> None:
        ours = VariableLengthRNN(8, 16, cell, num_layers=2)
        values, lengths = torch.randn(8, 9, 8, requires_grad=True), torch.randint(1, 10, (8,))
        runs = []
        torch.use_deterministic_algorithms(True)
        try:
            for _ in range(2):
                torch.manual_seed(0)
                results = ours(values, lengths)
                runs.append([*results, *gradients(ours, results, values)])
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))

    def test_dropout_between_layers_in_train_mode_only(self) -> None:
        plain = VariableLengthRNN(3, 4, num_layers=2)
        dropping = VariableLengthRNN(3, 4, num_layers=2, dropout=1.0)
        dropping.load_state_dict(plain.state_dict())
        values, lengths = torch.randn(2, 5, 3), torch.tensor([5, 3])
        torch.testing.assert_close(dropping.eval()(values, lengths), plain(values, lengths))
        _, last = plain(values, lengths)
        output, dropped_last = dropping.train()(values, lengths)
        torch.testing.assert_close(dropped_last[:2], last[:2])  # the first layer reads the values
        other, _ = dropping(torch.randn(2, 5, 3), lengths)
        torch.testing.assert_close(output, other)  # the second layer reads nothing but zeros

    @pytest.mark.parametrize("cell", CELLS)
    @pytest.mark.parametrize("autocast", [True, False])
    @pytest.mark.parametrize("there", ["as found", "not there"])
    def test_bfloat16(
        self, monkeypatch: pytest.MonkeyPatch, cell: Cell, autocast: bool, there: str
    ) -> None:
        if there == "not there":
            monkeypatch.setattr(recurrent, "cpu_has_bf16", lambda: False)
        ours, theirs = pair(cell, features=8, hidden=16)
        values, lengths = torch.randn(4, 9, 8), torch.tensor([9, 4, 1, 7])
        expected = packed(theirs, values.double(), lengths)
        ours = ours.float() if autocast else ours.bfloat16()
        values = values.requires_grad_() if autocast else values.bfloat16().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            results = ours(values, lengths)
        for result, wanted in zip(results, expected, strict=True):
            torch.testing.assert_close(result.double(), wanted, atol=0.03, rtol=0.03)
        assert all(bool(g.isfinite().all()) for g in gradients(ours, results, values))


class TestGradients:
    @pytest.mark.parametrize("cell", ["RNN", "GRU"])
    def test_of_the_loop_by_finite_differences(self, cell: Cell) -> None:
        ours = VariableLengthRNN(2, 2, cell).double()
        values, lengths = torch.randn(2, 3, 2, dtype=torch.float64), torch.tensor([3, 2])
        names = [name for name, _ in ours.named_parameters()]

        def call(values: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
            weights = dict(zip(names, parameters, strict=True))
            results: tuple[Tensor, Tensor] = functional_call(ours, weights, (values, lengths))
            return results

        assert torch.autograd.gradcheck(call, (values.requires_grad_(), *ours.parameters()))

    @pytest.mark.parametrize("cell", CELLS)
    def test_a_second_backward_pass_gives_the_same(self, cell: Cell) -> None:
        ours = VariableLengthRNN(3, 4, cell)
        values, lengths = torch.randn(2, 5, 3), torch.tensor([5, 3])
        loss = ours(values, lengths)[0].square().sum()
        first, second = (
            torch.autograd.grad(loss, list(ours.parameters()), retain_graph=True) for _ in range(2)
        )
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

    @pytest.mark.parametrize("cell", ["RNN", "GRU"])
    def test_those_of_the_loops_gradients_are_refused(self, cell: Cell) -> None:
        values = torch.randn(2, 5, 3, requires_grad=True)
        output, _ = VariableLengthRNN(3, 4, cell)(values, torch.tensor([5, 3]))
        with pytest.raises(RuntimeError, match="expected create_graph=False"):
            torch.autograd.grad(output.sum(), values, create_graph=True)

    def test_only_where_they_are_asked_for(self) -> None:
        ours = VariableLengthRNN(3, 4, "GRU").requires_grad_(requires_grad=False)
        values = torch.randn(2, 5, 3, requires_grad=True)
        ours(values, torch.tensor([5, 3]))[1].sum().backward()
        assert values.grad is not None
        assert bool((values.grad[1, 3:] == 0).all())
        assert bool((values.grad[0] != 0).all())


class TestMistakes:
    def test_an_unknown_cell(self) -> None:
        with pytest.raises(ValueError, match="should be RNN, GRU or LSTM, but found 'Elman'"):
            VariableLengthRNN(3, 4, "Elman")  # type: ignore[arg-type]

    @pytest.mark.parametrize("lengths", [[5, 0], [6, 1]])
    @pytest.mark.parametrize("cell", CELLS)
    def test_lengths_out_of_range(self, cell: Cell, lengths: list[int]) -> None:
        ours = VariableLengthRNN(3, 4, cell)
        message = f"from 1 to the 5 steps of the values, but found {lengths[1]} to {lengths[0]}"
        with pytest.raises(ValueError, match=message):
            ours(torch.randn(2, 5, 3), torch.tensor(lengths))


@pytest.mark.parametrize("lengths", [[5.9, 3.0], [True, True]])
def test_lengths_that_are_no_integers(lengths: list[float]) -> None:
    """Else 5.9 would be 5, and true 1."""
    with pytest.raises(ValueError, match=r"lengths should be integers, but found torch\."):
        VariableLengthRNN(2, 3)(torch.zeros(2, 6, 2), torch.tensor(lengths))
