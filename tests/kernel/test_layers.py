"""What stands around the recurrence, beside torch's functions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from birnn.kernel import layers, library
from birnn.kernel.modules import Dropout, Embedding, Linear

pytestmark = pytest.mark.skipif(library.found() is None, reason="no kernel on this machine")


def both(call: Callable[..., Tensor], *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Output and gradients, by the kernel and by torch."""
    found = []
    for off in (False, True):
        given = [one.detach().clone().requires_grad_() for one in inputs]
        if off:
            with library.off():
                output = call(*given)
        else:
            output = call(*given)
        weights = torch.arange(output.numel()).view(output.shape) % 7 - 3.0
        (output * weights).sum().backward()  # type: ignore[no-untyped-call]
        found.append([output.detach(), *(one.grad for one in given if one.grad is not None)])
    return found[0], found[1]


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 5), (300, 129, 37), (2500, 64, 3)])
def test_linear(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    rows, inputs, outputs = shape
    given = torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    torch.testing.assert_close(*both(layers.linear, *given), rtol=1e-4, atol=1e-4)


def test_linear_of_a_view_with_more_dimensions() -> None:
    torch.manual_seed(0)
    given = torch.randn(4, 6, 5).transpose(0, 1), torch.randn(3, 5), torch.randn(3)
    torch.testing.assert_close(*both(layers.linear, *given), rtol=1e-5, atol=1e-5)


def test_linear_of_columns_and_of_every_second_number() -> None:
    torch.manual_seed(0)
    given = torch.randn(5, 4).T, torch.randn(5, 3).T, torch.randn(3, 2)[:, 0]
    ours = layers.linear(*given)
    torch.testing.assert_close(ours, functional.linear(*given), rtol=1e-5, atol=1e-5)


def test_linear_refuses_another_width() -> None:
    with pytest.raises(
        ValueError, match=r"expected torch.float32 of shape \(4, 3\) on a CPU, found"
    ):
        layers.linear(torch.zeros(4, 2), torch.zeros(5, 3), torch.zeros(5))
    with pytest.raises(ValueError, match=r"expected torch.float32 of shape \(5,\) on a CPU, found"):
        layers.linear(torch.zeros(4, 3), torch.zeros(5, 3), torch.zeros(4))


def test_embedding_adds_the_gradients_of_equal_rows() -> None:
    rows = torch.tensor([[2, 0, 2], [2, 1, 0]])
    for given in (rows, rows.int(), rows.T):
        ours, theirs = both(lambda weight, r=given: layers.embedding(r, weight), torch.randn(4, 6))
        torch.testing.assert_close(ours, theirs)


def test_embedding_refuses_a_row_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        layers.embedding(torch.tensor([4]), torch.randn(4, 6, requires_grad=True))


@pytest.mark.parametrize("width", [1, 20, 33])
def test_mean_and_maximum(width: int) -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([5, 1, 9])
    values = torch.randn(3, 9, width)
    values[torch.arange(9) >= lengths[:, None]] = 0  # as a recurrence leaves it
    ours, theirs = both(lambda one: torch.cat(layers.mean_and_most(one, lengths)), values)
    theirs[1][torch.arange(9) >= lengths[:, None]] = 0  # the kernel does not read the padding
    torch.testing.assert_close(ours, theirs)


def test_mean_and_maximum_refuse_lengths_of_another_dtype() -> None:
    with pytest.raises(ValueError, match=r"expected torch\.int64"):
        layers.mean_and_most(torch.zeros(3, 9, 2), torch.tensor([5, 1, 9], dtype=torch.int32))


def test_a_nan_is_the_mean_and_the_maximum() -> None:
    values = torch.zeros(1, 3, 1)
    values[0, 1] = float("nan")
    assert all(one.isnan() for one in layers.mean_and_most(values, torch.tensor([3])))


class TestDropout:
    def test_a_share_is_zero_and_the_rest_scaled(self) -> None:
        torch.manual_seed(0)
        dropped = layers.dropout(torch.ones(200_000), 0.3, training=True)
        assert sorted({*dropped.tolist()}) == pytest.approx([0, 1 / 0.7])
        assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.005)

    def test_gradients_pass_where_values_did(self) -> None:
        values = torch.ones(50_000, requires_grad=True)
        dropped = layers.dropout(values, 0.5, training=True)
        dropped.sum().backward()  # type: ignore[no-untyped-call]
        assert torch.equal(values.grad, dropped.detach())  # type: ignore[arg-type]

    def test_places_and_seeds_are_independent(self) -> None:
        torch.manual_seed(0)
        masks = torch.stack(
            [layers.dropout(torch.ones(1 << 17), 0.5, training=True) for _ in range(6)]
        ).sub(1)
        shifted = [masks[0] * masks[0].roll(lag) for lag in (1, 2, 64, 1 << 16)]
        for product in [*shifted, *(masks[0] * other for other in masks[1:])]:
            assert abs(float(product.mean())) < 0.015

    def test_follows_torchs_seed(self) -> None:
        found = []
        for _ in range(2):
            torch.manual_seed(5)
            found.append(layers.dropout(torch.ones(99), 0.5, training=True))
        assert torch.equal(*found)

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_none_or_all(self, share: float) -> None:
        assert layers.dropout(torch.ones(9), share, training=True).eq(1 - share).all()
        assert layers.dropout(torch.ones(9), 0.5, training=False).eq(1).all()


class TestModules:
    def test_begin_from_torchs_distributions(self) -> None:
        torch.manual_seed(0)
        linear, embedding = Linear(400, 300), Embedding(500, 200)
        assert float(linear.weight.detach().std()) == pytest.approx((1 / 400 / 3) ** 0.5, rel=0.02)
        assert linear.weight.abs().max() <= 400**-0.5
        assert float(embedding.weight.detach().norm(dim=1).mean()) == pytest.approx(1, abs=0.01)

    def test_give_what_torchs_give(self) -> None:
        linear, values = Linear(4, 3), torch.randn(5, 4)
        expected = functional.linear(values, linear.weight, linear.bias)
        torch.testing.assert_close(linear(values), expected)
        assert torch.equal(Dropout(0.5).eval()(values), values)
