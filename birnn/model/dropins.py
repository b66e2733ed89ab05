"""`torch.nn`'s recurrent layers under their own names, which also take lengths.

    from birnn import GRU, LSTM, RNN            # in the place of torch.nn's
    output, (h, c) = lstm(values, lengths=lengths)

Each is a subclass of torch's, with its parameters, its repr and its errors. `birnn.kernel` computes
float32 on a CPU, and `birnn.model.recurrent` lengths elsewhere. Whatever these two do not know
(`proj_size`, ReLU, another dtype without lengths, a GPU without lengths) torch's own code computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from birnn.kernel import draws, library, recurrence
from birnn.kernel.recurrence import Start
from birnn.model import recurrent
from birnn.model.architecture import Cell
from birnn.model.gpu import Weights

CELLS: Final[dict[str, Cell]] = {"RNN_TANH": "RNN", "GRU": "GRU", "LSTM": "LSTM"}
"""The cell of each of torch's modes; there is none for ReLU."""

Lengths = Tensor | Sequence[int]


class _Ragged(nn.RNNBase):
    """What the three have in common, before torch's own class in the order of inheritance."""

    def reset_parameters(self) -> None:
        """Draw torch's numbers, float32 in a way that gives the same ones on every CPU."""
        bound = self.hidden_size**-0.5
        if all(
            one.dtype == torch.float32 and one.device.type == "cpu" for one in self.parameters()
        ):
            for parameter in self.parameters():
                draws.uniform_(parameter, bound)
        else:
            super().reset_parameters()

    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002, torch's name
        hx: Any = None,
        lengths: Lengths | None = None,
    ) -> Any:
        """Run every layer over every sequence's own steps.

        Args:
            input: as in `torch.nn`: (steps, batch, features), (batch, steps, features) with
                `batch_first`, (steps, features) of one sequence, or a `PackedSequence`.
            hx: the states to begin with, as in `torch.nn`; zeros for None.
            lengths: steps of each sequence, (batch,) integers from 1 to steps, in any order; all
                steps of each for None. Where `hx` is one-dimensional, it is taken for them.

        Returns:
            Output and last states in `torch.nn`'s form. With lengths, output is zero past each, and
            the last states are those after each direction's own last step.

        Raises:
            ValueError: lengths that are none, or do not fit the input.
            RuntimeError: `torch.jit.trace`, which would freeze the number of steps.
        """
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise RuntimeError(
                "expected torch.export or torch.compile, found torch.jit.trace, which would freeze "
                "the number of steps; trace the module of torch.nn with this state_dict"
            )
        hx, lengths = _told_apart(hx, lengths)
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, lengths)
        if lengths is None:
            return self._padded(input, hx)
        self._check_batch(input)
        found = _as_tensor(lengths, input.shape[0 if self.batch_first else 1])
        if self.mode not in CELLS or self.proj_size:
            return self._by_packing(input, hx, found)
        self._check(input, hx)
        return self._run(input, hx, found)

    def _padded(self, values: Tensor, hx: Any) -> Any:
        """Sequences that have all steps of the batch, or one alone."""
        if not self._is_served(values, hx, dimensions=(2, 3)):
            return super().forward(values, hx)
        if values.dim() == 3:
            self._check(values, hx)
            batch, steps = _turned(values, self.batch_first).shape[:2]
            return self._run(values, hx, torch.full((batch,), steps))
        one = 0 if self.batch_first else 1
        output, last = self._padded(values.unsqueeze(one), _each(hx, lambda part: part[:, None]))
        return output.squeeze(one), _each(last, lambda part: part.squeeze(1))

    def _packed(self, packed: PackedSequence, hx: Any, lengths: Lengths | None) -> Any:
        """What is packed already, put side by side for the kernel and packed again."""
        if lengths is not None:
            raise ValueError("expected no lengths beside a PackedSequence, which has its own")
        if not self._is_served(packed.data, hx, dimensions=(2,)):
            return super().forward(packed, hx)
        sizes = packed.batch_sizes
        known = torch.arange(int(sizes[0])) < sizes[:, None]  # (T, B)
        rows = known.flatten().nonzero().flatten()
        zeros = packed.data.new_zeros(known.numel(), packed.data.shape[1])
        values = zeros.index_copy(0, rows, packed.data).view(*known.shape, -1).transpose(0, 1)
        own = _each(hx, lambda part: _chosen(part, packed.sorted_indices))
        self._check(_turned(values, self.batch_first), own)
        output, last = self._run(_turned(values, self.batch_first), own, known.sum(0))
        steps = (
            _turned(output, self.batch_first).transpose(0, 1).flatten(0, 1).index_select(0, rows)
        )
        return packed._replace(data=steps), _each(
            last, lambda part: _chosen(part, packed.unsorted_indices)
        )

    def _by_packing(self, values: Tensor, hx: Any, lengths: Tensor) -> Any:
        """The way of torch, for what only torch computes; right, and slow in training."""
        recurrence.check_lengths(lengths, values.shape[1 if self.batch_first else 0])
        packed = pack_padded_sequence(values, lengths.cpu(), self.batch_first, enforce_sorted=False)
        output, last = super().forward(packed, hx)
        steps = values.shape[1 if self.batch_first else 0]
        padded, _ = pad_packed_sequence(output, self.batch_first, total_length=steps)
        return padded, last

    def _run(self, values: Tensor, hx: Any, lengths: Tensor) -> Any:
        """See `birnn.model.recurrent.run`; from and to the layout and the states of torch."""
        lstm = self.mode == "LSTM"
        ran = recurrent.run(
            CELLS[self.mode],
            _turned(values, self.batch_first),
            lengths,
            self._layers(),
            starts=None if hx is None else self._starts(hx if lstm else (hx,)),
            dropout=self.dropout if self.training else 0.0,
            cells=lstm,
        )
        output = ran.output if self.batch_first else ran.output.transpose(0, 1).contiguous()
        return output, (ran.states, ran.cells) if lstm else ran.states

    def _layers(self) -> list[list[Weights]]:
        """The weights of each layer; where there is no bias, zeros."""
        directions = 1 + self.bidirectional
        flat = []
        for own in self.all_weights:
            biases = own[2:] if self.bias else [own[0].new_zeros(own[0].shape[0])] * 2
            flat.append(Weights(own[0], own[1], biases[0], biases[1]))
        return [flat[place : place + directions] for place in range(0, len(flat), directions)]

    def _starts(self, hx: Sequence[Tensor]) -> list[Start]:
        """The states that each layer begins with."""
        return [
            Start(*parts)
            for parts in zip(*(part.chunk(self.num_layers) for part in hx), strict=True)
        ]

    def _is_served(self, values: Tensor, hx: Any, dimensions: Sequence[int]) -> bool:
        """Whether the kernel computes this as torch would; what is wrong, torch itself refuses."""
        if self.mode not in CELLS or self.proj_size or torch._C._are_functorch_transforms_active():
            return False
        parts = [] if hx is None else [*hx] if self.mode == "LSTM" else [hx]
        wanted = 2 if values.dim() == 2 and len(dimensions) > 1 else 3
        return (
            values.dim() in dimensions
            and values.numel() > 0
            and all(part.dim() == wanted for part in parts)
            and all(library.serves_compiled(one) for one in (values, *parts, *self.parameters()))
        )

    def _check(self, values: Tensor, hx: Any) -> None:
        """Refuse, in torch's words, what does not fit."""
        self.check_input(values, None)
        shape = self.get_expected_hidden_size(values, None)
        parts = [] if hx is None else [*hx] if self.mode == "LSTM" else [hx]
        for number, part in enumerate(parts):
            name = f"hidden[{number}]" if self.mode == "LSTM" else "hidden"
            self.check_hidden_size(part, shape, f"Expected {name} size {{}}, got {{}}")

    def _check_batch(self, values: Tensor) -> None:
        if values.dim() != 3:
            raise ValueError(
                f"expected lengths beside a padded batch of three dimensions, found {values.dim()};"
                " one sequence alone has all of its steps"
            )


class RNN(_Ragged, nn.RNN):
    """`torch.nn.RNN`, which also takes lengths.

    The arguments are torch's; see `torch.nn.RNN`. With `nonlinearity="relu"` torch computes, and
    sequences of different lengths are packed.

    Example:
        >>> rnn = RNN(8, 16, batch_first=True, bidirectional=True)
        >>> output, h = rnn(torch.randn(2, 5, 8), lengths=[5, 3])
        >>> output.shape, h.shape
        (torch.Size([2, 5, 32]), torch.Size([2, 2, 16]))
    """


class GRU(_Ragged, nn.GRU):
    """`torch.nn.GRU`, which also takes lengths.

    The arguments are torch's; see `torch.nn.GRU`.

    Example:
        >>> gru = GRU(8, 16, batch_first=True, bidirectional=True)
        >>> output, h = gru(torch.randn(2, 5, 8), lengths=[5, 3])
        >>> output.shape, h.shape
        (torch.Size([2, 5, 32]), torch.Size([2, 2, 16]))
    """


class LSTM(_Ragged, nn.LSTM):
    """`torch.nn.LSTM`, which also takes lengths.

    The arguments are torch's; see `torch.nn.LSTM`. With `proj_size` torch computes, and sequences
    of different lengths are packed.

    Example:
        >>> lstm = LSTM(8, 16, batch_first=True, bidirectional=True)
        >>> output, (h, c) = lstm(torch.randn(2, 5, 8), lengths=[5, 3])
        >>> output.shape, h.shape, c.shape
        (torch.Size([2, 5, 32]), torch.Size([2, 2, 16]), torch.Size([2, 2, 16]))
    """


def _told_apart(hx: Any, lengths: Lengths | None) -> tuple[Any, Lengths | None]:
    """States have two dimensions or more, lengths one, so they cannot be taken for each other."""
    if lengths is not None or hx is None:
        return hx, lengths
    parts = hx if isinstance(hx, tuple | list) else [hx]
    states = all(isinstance(part, Tensor) and part.dim() > 1 for part in parts)
    return (hx, None) if states else (None, hx)


def _as_tensor(lengths: Lengths, batch: int) -> Tensor:
    """Lengths as a tensor.

    Raises:
        ValueError: they are no numbers, or not one for each sequence.
    """
    try:
        found = torch.as_tensor(lengths)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(
            f"lengths should be integers, one for each sequence, but found {lengths!r:.60}"
        ) from None
    if found.shape != (batch,):
        raise ValueError(
            f"lengths should be ({batch},), one for each sequence, but found {tuple(found.shape)}"
        )
    return found


def _turned(values: Tensor, batch_first: bool) -> Tensor:
    """From the caller's layout to batch first, and back."""
    return values if batch_first else values.transpose(0, 1)


def _each(hx: Any, change: Any) -> Any:
    """Change states, of which an LSTM has two."""
    if hx is None:
        return None
    return tuple(change(part) for part in hx) if isinstance(hx, tuple | list) else change(hx)


def _chosen(states: Tensor, order: Tensor | None) -> Tensor:
    return states if order is None else states.index_select(1, order)
