"""The losses for rare classes, against torch and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional

from birnn.model import losses


def drawn(rows: int = 50) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, 4, generator=generator)
    return logits, torch.randint(4, (rows,), generator=generator)


class TestCrossEntropy:
    def test_is_that_of_torch(self) -> None:
        logits, labels = drawn()
        expected = functional.cross_entropy(logits, labels, reduction="none")
        torch.testing.assert_close(losses.cross_entropy(logits, labels), expected)

    @pytest.mark.parametrize("gamma", [0.0, 2.0])
    def test_padding_counts_for_nothing(self, gamma: float) -> None:
        logits, labels = drawn()
        wider = torch.cat([logits, torch.full((3, 4), 1e4)])
        padded = torch.cat([labels, torch.full((3,), losses.IGNORED)])
        weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
        found, expected = (
            losses.cross_entropy(*rows, weights=weights, gamma=gamma)
            for rows in ((wider, padded), (logits, labels))
        )
        torch.testing.assert_close(found[: len(expected)], expected)
        assert found.sum() == expected.sum()

    def test_a_weight_of_three_is_the_label_three_times(self) -> None:
        logits, labels = drawn()
        times = torch.tensor([1, 3, 2, 1])[labels]
        expected = losses.cross_entropy(
            logits.repeat_interleave(times, dim=0), labels.repeat_interleave(times)
        )
        found = losses.cross_entropy(logits, labels, weights=torch.tensor([1.0, 3.0, 2.0, 1.0]))
        torch.testing.assert_close(found.sum(), expected.sum())


class TestFocalLoss:
    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
    def test_is_the_papers_formula(self, gamma: float) -> None:
        logits, labels = drawn()
        p = logits.double().softmax(dim=1)[torch.arange(len(labels)), labels]
        expected = (-((1 - p) ** gamma) * p.log()).float()
        found = losses.cross_entropy(logits, labels, gamma=gamma)
        torch.testing.assert_close(found, expected)

    def test_has_a_gradient_where_an_answer_is_certain(self) -> None:
        logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
        loss = losses.cross_entropy(logits, torch.tensor([0, 0]), gamma=0.5)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert torch.isfinite(gradient).all()


class TestBalanced:
    def test_is_the_rule_of_scikit_learn(self) -> None:
        labels = np.repeat([0, 1, 2], [70, 25, 5]).astype(np.int32)
        expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
        found = losses.balanced(np.bincount(labels).astype(np.int64), 3)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
        assert found.numpy()[labels].mean() == pytest.approx(1)

    def test_a_class_that_does_not_occur(self) -> None:
        found = losses.balanced(np.array([2, 0, 1]), 4)
        np.testing.assert_allclose(found.numpy(), [0.75, 1, 1.5, 1])
