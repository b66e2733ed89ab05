"""The recurrence as people write it without birnn."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def packed(module: nn.RNNBase, values: Tensor, lengths: Tensor) -> Tensor:
    """The output of a batch-first module; right for every length."""
    steps = pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
    output, _ = pad_packed_sequence(module(steps)[0], batch_first=True)
    return output


def dense(module: nn.RNNBase, values: Tensor, _lengths: Tensor) -> Tensor:
    """The same over the padding too: the backward direction starts in it, so this is wrong."""
    output: Tensor = module(values)[0]
    return output
