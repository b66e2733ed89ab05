"""Adam against torch.optim.Adam."""

import copy

import pytest
import torch
from torch import nn

from birnn.model.adam import Adam


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("clip_norm", [0.05, 100.0])
def test_equals_torch(weight_decay: float, clip_norm: float) -> None:
    ours = network()
    theirs = copy.deepcopy(ours)
    optimizer = Adam(
        ours.parameters(), learning_rate=0.01, weight_decay=weight_decay, clip_norm=clip_norm
    )
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, weight_decay=weight_decay)
    for values in torch.randn(50, 16, 3, dtype=torch.float64):
        ours(values).square().mean().backward()
        optimizer.step(optimizer.take_gradient())
        reference.zero_grad()
        theirs(values).square().mean().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), clip_norm)
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_gradient_is_taken_once() -> None:
    model = network()
    optimizer = Adam(model.parameters(), learning_rate=0.01, weight_decay=0.0, clip_norm=1.0)
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    assert optimizer.take_gradient().norm() > 0
    assert optimizer.take_gradient().norm() == 0


def test_an_unused_parameter_stays() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    optimizer = Adam([used, unused], learning_rate=0.1, weight_decay=0.0, clip_norm=1.0)
    used.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step(optimizer.take_gradient())
    torch.testing.assert_close(used.detach(), torch.full((2,), 0.9))
    assert torch.equal(unused, torch.ones(3))
