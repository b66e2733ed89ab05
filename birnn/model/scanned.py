"""A recurrent layer as `torch.export` can keep it: any batch, any number of steps, torch alone.

An exported program cannot call the kernel, and torch's own layers freeze the number of steps in it.
So here each step is computed by torch's plain operations, and `scan` goes over them. It is a
prototype of torch's, and the one loop over steps of which a program remembers no count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import torch
from torch import Tensor

from birnn.kernel.recurrence import Start
from birnn.model.gpu import Weights


def layer(
    cell: str, values: Tensor, lengths: Tensor, weights: list[Weights], start: Start
) -> tuple[Tensor, Tensor]:
    """Compute a layer; see `birnn.kernel.recurrence.layer`."""
    steps = torch.arange(values.shape[1], device=lengths.device)
    real = steps < lengths[:, None]  # (batch, steps)
    mirrored = torch.where(real, lengths[:, None] - 1 - steps, steps)
    values = torch.where(real[:, :, None], values, 0.0)
    outputs, cells = [], []
    for number, own in enumerate(weights):
        begun = [_begun(one, number, values, own) for one in start[: 1 + (cell == "LSTM")]]
        read = values if number == 0 else _ordered(values, mirrored)
        output, *ended = _direction(cell, read, real, own, begun)
        outputs.append(output if number == 0 else _ordered(output, mirrored))
        cells += ended
    return torch.cat(outputs, 2), torch.stack(cells) if cells else values.new_empty(0)


def _begun(given: Tensor | None, number: int, values: Tensor, weights: Weights) -> Tensor:
    """What a direction begins with, (batch, hidden)."""
    if given is None:
        return values.new_zeros(values.shape[0], weights.weight_hh.shape[1])
    return given[number].clone()  # `scan` refuses what shares memory


def _ordered(rows: Tensor, order: Tensor) -> Tensor:
    """Steps in another order: (batch, steps, width) by (batch, steps)."""
    return rows.gather(1, order[:, :, None].expand(-1, -1, rows.shape[2]))


def _direction(
    cell: str, values: Tensor, real: Tensor, weights: Weights, begun: list[Tensor]
) -> tuple[Tensor, ...]:
    """From the first step to the last: output, zero in the padding, and an LSTM's last cells."""
    from torch._higher_order_ops.scan import scan

    one_step, recurrent = STEPS[cell], weights.weight_hh.T
    sums = (values @ weights.weight_ih.T + weights.bias_ih).transpose(0, 1)

    def step(before: list[Tensor], at: tuple[Tensor, Tensor]) -> tuple[list[Tensor], Tensor]:
        from_inputs, is_real = at
        after = one_step(from_inputs, before[0] @ recurrent + weights.bias_hh, before)
        kept = [torch.where(is_real, new, old) for new, old in zip(after, before, strict=True)]
        return kept, torch.where(is_real, after[0], 0.0)

    ended, output = scan(step, begun, (sums, real.T[:, :, None]))
    return cast(Tensor, output).transpose(0, 1), *ended[1:]


def _rnn(from_inputs: Tensor, from_state: Tensor, _: list[Tensor]) -> list[Tensor]:
    return [torch.tanh(from_inputs + from_state)]


def _gru(from_inputs: Tensor, from_state: Tensor, before: list[Tensor]) -> list[Tensor]:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = from_inputs.chunk(3, 1), from_state.chunk(3, 1)
    new = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
    return [torch.lerp(new, before[0], torch.sigmoid(x_z + h_z))]


def _lstm(from_inputs: Tensor, from_state: Tensor, before: list[Tensor]) -> list[Tensor]:
    i, f, g, o = (from_inputs + from_state).chunk(4, 1)
    cells = torch.sigmoid(f) * before[1] + torch.sigmoid(i) * torch.tanh(g)
    return [torch.sigmoid(o) * torch.tanh(cells), cells]


STEPS: Final[dict[str, Callable[[Tensor, Tensor, list[Tensor]], list[Tensor]]]] = {
    "RNN": _rnn,
    "GRU": _gru,
    "LSTM": _lstm,
}
"""From what inputs and state add to the gates, (batch, gates x hidden) each, and the states before:
the state after the step, and for an LSTM the cells."""
