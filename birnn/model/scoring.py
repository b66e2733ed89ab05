"""How well a model does on a batch, and the gradient of that: by the kernel, or else by torch.

score = Score(model, device, labelled=1.0)
gradient, tally = score.learn(batch, optimizer)
tally = score.measure(batch)
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from birnn.kernel import library
from birnn.kernel.gradients import CrossEntropy
from birnn.model import backprop, losses
from birnn.model.adam import Adam
from birnn.model.backprop import Backprop
from birnn.model.batching import Batch
from birnn.model.losses import IGNORED
from birnn.model.networks import SequenceModel


class Score:
    """What a whole training scores with.

    A tally holds the summed loss, the right answers and the labels of this process's part of a
    batch, and stays on the device.

    Args:
        model: what is scored; in the mode, of training or evaluation, that is wanted.
        device: where it computes.
        labelled: the share of steps, or sequences, that have a label.
        mean_labels: how many labels a sequence has on average, where each is to count the same.
        weights: (classes,) what a label of each class counts; 1 where None.
        gamma: exponent of the focal loss.
        halved: whether to compute in bfloat16.

    Attributes:
        model: see above.
    """

    def __init__(
        self,
        model: SequenceModel,
        device: torch.device,
        *,
        labelled: float,
        mean_labels: float | None = None,
        weights: Tensor | None = None,
        gamma: float = 0.0,
        halved: bool = False,
    ) -> None:
        self.model, self._device, self._halved = model, device, halved
        self._labelled, self._mean_labels = labelled, mean_labels
        self._weights, self._gamma = weights, gamma
        self._kernel: _ByKernel | None = None

    def learn(self, batch: Batch, optimizer: Adam) -> tuple[Tensor, Tensor]:
        """Give the gradient of all parameters, laid end to end, and a tally.

        The gradient is valid until the next call.
        """
        if kernel := self._by_kernel():
            return kernel.through.gradient, kernel.tally(batch, self._scales(batch), learn=True)
        loss, tally = self._by_torch(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return optimizer.take_gradient(), tally

    @torch.no_grad()
    def measure(self, batch: Batch) -> Tensor:
        """Give a tally."""
        if kernel := self._by_kernel():
            return kernel.tally(batch, self._scales(batch), learn=False)
        return self._by_torch(batch)[1]

    def _by_kernel(self) -> _ByKernel | None:
        if library.wanted() is None:
            return None
        if self._kernel is None:
            if self._halved or not backprop.fits(self.model):
                return None
            weights = None if self._weights is None else self._weights.numpy()
            self._kernel = _ByKernel(self.model, CrossEntropy(weights, self._gamma))
        return self._kernel

    def _by_torch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        batch = batch.to(self._device)
        kind = self._device.type
        with torch.autocast(kind, torch.bfloat16) if self._halved else nullcontext():
            logits = self.model(*batch.inputs).float()
        flat = logits.flatten(0, -2), batch.labels.flatten(), self._scales(batch).flatten()
        return losses.total(*flat, weights=self._weights, gamma=self._gamma)

    def _scales(self, batch: Batch) -> Tensor:
        """What the loss of each label is multiplied with, in the shape of the labels."""
        label = 1 / (batch.count * self._labelled)  # what one counts
        scales = torch.full_like(batch.labels, label, dtype=torch.float32)
        if self._mean_labels is not None:
            known = (batch.labels != IGNORED).view(len(batch.lengths), -1).sum(dim=1)
            shares = self._mean_labels / known.clamp(min=1)
            scales *= shares[:, None] if batch.labels.ndim == 2 else shares
        return scales


class _ByKernel:
    def __init__(self, model: SequenceModel, loss: CrossEntropy) -> None:
        self.through, self._loss = Backprop(model), loss

    def tally(self, batch: Batch, scales: Tensor, *, learn: bool) -> Tensor:
        logits = self.through.forward(batch, learn=learn)
        flat = logits.reshape(-1, logits.shape[-1])
        labels, counts = batch.labels.numpy().reshape(-1), scales.numpy().reshape(-1)
        found = self._loss(flat, labels, counts, learn=learn)
        if found.grads is not None:
            self.through.backward(found.grads.reshape(logits.shape))
        return torch.tensor(found.tally, dtype=torch.float64)
