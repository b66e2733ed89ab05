"""Batches for libraries that compile a call for each shape: few numbers of steps."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.peers import packed
from birnn.model.batching import Batch

LEAST_STEPS = 64  # and twice as many, and so on: each number is compiled once


class Padded(NamedTuple):
    """(batch, steps) arrays; `real` is 1 for what is no padding."""

    values: Any
    lengths: Any
    labels: Any
    real: Any

    def expected(self, rnn: nn.RNNBase, linear: nn.Linear) -> npt.NDArray[np.float32]:
        """The logits of torch, packed; (batch, steps, classes), and anything in the padding."""
        values, lengths = (torch.tensor(np.asarray(one)) for one in (self.values, self.lengths))
        with torch.no_grad():
            output = packed(rnn, values, lengths)
            missing = values.shape[1] - output.shape[1]
            padding = output.new_zeros(len(output), missing, output.shape[2])
            logits: npt.NDArray[np.float32] = linear(torch.cat([output, padding], 1)).numpy()
        return logits


def of(batches: Iterable[Batch]) -> list[Padded]:
    """Pad batches to numbers of steps that come often."""
    return [_padded(batch) for batch in batches]


def _padded(batch: Batch) -> Padded:
    steps = batch.values.shape[1]
    doublings = max(0, math.ceil(math.log2(steps / LEAST_STEPS)))
    extra = LEAST_STEPS * 2**doublings - steps
    lengths = batch.lengths.numpy()
    return Padded(
        values=np.pad(batch.values.numpy(), ((0, 0), (0, extra), (0, 0))),
        lengths=lengths,
        labels=np.pad(batch.labels.clamp(min=0).numpy(), ((0, 0), (0, extra))),
        real=(np.arange(steps + extra) < lengths[:, None]).astype(np.float32),
    )
