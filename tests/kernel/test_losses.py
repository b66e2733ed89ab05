"""Softmax, cross entropy and Adam, beside torch's."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from birnn.kernel import library, losses
from birnn.model import losses as of_training
from birnn.model.adam import Adam

pytestmark = pytest.mark.skipif(library.found() is None, reason="no kernel on this machine")


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (700, 37), (40, 1000)])
def test_softmax(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    logits = 5 * torch.randn(shape)
    torch.testing.assert_close(losses.softmax(logits), logits.softmax(dim=1), rtol=1e-5, atol=1e-7)


def test_softmax_of_extremes() -> None:
    infinite = float("inf")
    logits = torch.tensor([[0.0, -infinite], [1e30, -1e30], [0.0, float("nan")], [0, infinite]])
    expected = logits.softmax(dim=1)
    torch.testing.assert_close(losses.softmax(logits), expected, equal_nan=True)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1, 2), (700, 5), (260, 40)])
def test_cross_entropy_and_its_gradient(
    gamma: float, weighted: bool, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    rows, classes = shape
    logits = (3 * torch.randn(shape)).requires_grad_()
    labels, scales = torch.randint(-1, classes, (rows,)), torch.rand(rows)
    weights = torch.rand(classes) if weighted else None
    found = []
    for off in (False, True):
        if off:
            with library.off():
                total, tally = of_training.total(
                    logits, labels, scales, weights=weights, gamma=gamma
                )
        else:
            total, tally = of_training.total(logits, labels, scales, weights=weights, gamma=gamma)
        (grad,) = torch.autograd.grad(total, logits)
        found.append([total.detach(), tally.float(), grad])
    torch.testing.assert_close(found[0], found[1], rtol=2e-5, atol=2e-6)


def test_a_label_that_is_no_class() -> None:
    with pytest.raises(ValueError, match="expected labels below 3, found 3"):
        losses.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 3]), torch.ones(2))


def test_labels_scales_and_weights_of_another_kind() -> None:
    logits, labels, scales = torch.zeros(2, 3), torch.tensor([0, 2]), torch.ones(2)
    with pytest.raises(ValueError, match=r"expected torch\.int64"):
        losses.cross_entropy(logits, labels.int(), scales)
    with pytest.raises(ValueError, match=r"expected torch\.float32"):
        losses.cross_entropy(logits, labels, scales.double())
    with pytest.raises(ValueError, match=r"of shape \(3,\)"):
        losses.cross_entropy(logits, labels, scales, weights=torch.ones(2))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("clip_norm", [0.1, 100.0])
def test_adam(weight_decay: float, clip_norm: float) -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(30, 7), nn.Linear(30, 7).double()
    theirs.load_state_dict(ours.state_dict())
    optimizer = Adam(
        ours.parameters(), learning_rate=0.01, weight_decay=weight_decay, clip_norm=clip_norm
    )
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, weight_decay=weight_decay)
    for values in torch.randn(50, 16, 30):
        ours(values).square().mean().backward()
        optimizer.step(optimizer.take_gradient())
        reference.zero_grad()
        theirs(values.double()).square().mean().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), clip_norm)
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def test_adam_is_noticed_by_what_was_saved_for_a_gradient() -> None:
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * weight).sum()
    zeros: list[Tensor] = [torch.zeros(3) for _ in range(2)]
    options = {"learning_rate": 0.1, "weight_decay": 0.0, "clip_norm": 1.0}
    losses.adam_step([weight.detach()], torch.ones(3), *zeros, step=1, **options)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]
    assert functional.mse_loss(weight, torch.full((3,), 0.9)) < 1e-9
