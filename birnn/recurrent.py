"""Bidirectional RNNs on sequences of different lengths, exact, at the cost of dense calls.

Each direction is a dense one-directional pass; the backward one reads its inputs reversed within
each sequence's own length. Padding comes last in both, so it never reaches a real step.
"""

import math
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

Cell = Literal["RNN", "GRU", "LSTM"]

GATES: Final[dict[str, int]] = {"RNN": 1, "GRU": 3, "LSTM": 4}


class Weights(NamedTuple):
    """One direction of one layer, named and shaped as in `torch.nn.LSTM`."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


class VariableLengthRNN(nn.Module):
    """A drop-in for `torch.nn.{RNN,GRU,LSTM}` on padded values and lengths."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: Cell = "LSTM",
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        if cell not in GATES:
            raise ValueError(f"cell should be RNN, GRU or LSTM, but found {cell!r}")
        self.input_size, self.hidden_size, self.cell = input_size, hidden_size, cell
        self.num_layers, self.dropout, self.bidirectional = num_layers, dropout, bidirectional
        gates = GATES[cell] * hidden_size
        for layer in range(num_layers):
            features = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for suffix in self._suffixes(layer):
                self.register_parameter(f"weight_ih_{suffix}", _empty(gates, features))
                self.register_parameter(f"weight_hh_{suffix}", _empty(gates, hidden_size))
                self.register_parameter(f"bias_ih_{suffix}", _empty(gates))
                self.register_parameter(f"bias_hh_{suffix}", _empty(gates))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(hidden), 1/sqrt(hidden)), as `torch.nn` does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run every layer over every sequence's own steps."""
        lengths = lengths.to(values.device, non_blocking=True)
        steps = torch.arange(values.shape[1], device=values.device)
        real = (steps < lengths[:, None]).unsqueeze(2)
        rows = _reversed_rows(steps, lengths)
        output = values.masked_fill(~real, 0.0)
        states: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer > 0:
                output = nn.functional.dropout(output, self.dropout, self.training)
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                inputs = _take_rows(output, rows) if direction else output
                result = _dense(self.cell, inputs, self._weights(suffix)) * real
                states.append(result[torch.arange(len(lengths)), lengths - 1])
                outputs.append(_take_rows(result, rows) if direction else result)
            output = torch.cat(outputs, 2)
        return output, torch.stack(states)

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: 1 + self.bidirectional]

    def _weights(self, suffix: str) -> Weights:
        return Weights(*(getattr(self, f"{name}_{suffix}") for name in Weights._fields))


def _empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape))


def _reversed_rows(steps: Tensor, lengths: Tensor) -> Tensor:
    source = lengths[:, None] - 1 - steps
    source = torch.where(source < 0, steps, source)
    starts = torch.arange(len(lengths), device=steps.device) * len(steps)
    return (starts[:, None] + source).flatten()


def _take_rows(values: Tensor, rows: Tensor) -> Tensor:
    return values.flatten(0, 1).index_select(0, rows).view_as(values)


def _dense(cell: str, values: Tensor, weights: Weights) -> Tensor:
    zeros = values.new_zeros(1, len(values), weights.weight_hh.shape[1])
    options = (True, 1, 0.0, False, False, True)
    if cell == "LSTM":
        return torch.lstm(values, (zeros, zeros), list(weights), *options)[0]
    recurrence = torch.gru if cell == "GRU" else torch.rnn_tanh
    return recurrence(values, zeros, list(weights), *options)[0]
