"""The recurrence as people write it without birnn, and birnn with its kernel or without."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from birnn.kernel import library


def packed(module: nn.RNNBase, values: Tensor, lengths: Tensor) -> Tensor:
    """The output of a batch-first module; right for every length."""
    steps = pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
    output, _ = pad_packed_sequence(module(steps)[0], batch_first=True)
    return output


def dense(module: nn.RNNBase, values: Tensor, _lengths: Tensor) -> Tensor:
    """The same over the padding too: the backward direction starts in it, so this is wrong."""
    output: Tensor = module(values)[0]
    return output


def with_kernel(call: Callable[[], object]) -> Callable[[], object]:
    """Leave the threads to the kernel, as the stage does; see `birnn.model.devices`."""

    def train() -> object:
        threads = torch.get_num_threads()
        library.set_threads(threads)
        torch.set_num_threads(1)
        try:
            return call()
        finally:
            torch.set_num_threads(threads)
            library.set_threads(0)

    return train


def without_kernel(call: Callable[[], object]) -> Callable[[], object]:
    """Compute with torch, as where there is no kernel."""

    def train() -> object:
        with library.off():
            return call()

    return train
