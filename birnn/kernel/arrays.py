"""The forward passes of the kernel on NumPy's arrays, for those who predict and load no torch.

    layer = Layer("GRU", weights)               # packs the weights, once
    output = layer(values, lengths).output
    shares = softmax(linear(output, weight, bias))

They make the same calls as the functions on tensors beside them (`birnn.kernel.calls`), so they
give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.kernel import calls, library
from birnn.kernel.library import Call, address

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


Start = tuple[Floats | None, Floats | None]


class Computed(NamedTuple):
    """What a recurrent layer gives.

    Attributes:
        output: (batch, steps, directions x hidden), zero past each length.
        cells: (directions, batch, hidden), the LSTM's cells after each direction's last step; None
            for other cells.
    """

    output: Floats
    cells: Floats | None


class Layer:
    """A recurrent layer whose weights are laid out as the kernel multiplies with them.

    Args:
        cell: RNN (with tanh), GRU or LSTM.
        weights: of each direction weight_ih, weight_hh, bias_ih and bias_hh, as in `torch.nn`.

    Raises:
        ValueError: a weight has another shape or dtype.
    """

    def __init__(self, cell: str, weights: Sequence[Floats]) -> None:
        given = [_contiguous(weight, np.float32) for weight in weights]
        features, hidden = given[0].shape[-1], given[1].shape[-1]
        shapes = calls.shapes(cell, features, hidden, len(given) // 4)
        for weight, shape in zip(given, shapes, strict=True):
            check(weight, np.float32, shape)
        self._call = call = calls.weights(cell, given)
        self._weights = given  # they live as long as what points to them
        self.cell, self.features, self.hidden = cell, features, hidden
        self.directions = call.directions
        self._packed = np.empty(calls.packed_floats(call), np.float32)
        calls.pack(call, self._packed)

    def __call__(self, values: Floats, lengths: Ints, start: Start = (None, None)) -> Computed:
        """Compute the layer.

        Args:
            values: (batch, steps, features) float32; what lies past a length is not read.
            lengths: (batch,) int64 from 1 to steps.
            start: the states, and for the LSTM the cells, to begin with, (directions, batch,
                hidden); zeros for None.

        Raises:
            ValueError: a wrong shape or dtype, or a length out of bounds.
            MemoryError: there is too little memory.
        """
        batch, steps, _ = values.shape
        self._check_input(values, lengths, start)
        values, lengths = np.ascontiguousarray(values), np.ascontiguousarray(lengths)
        begun = [None if one is None else np.ascontiguousarray(one) for one in start]
        output = np.empty((batch, steps, self.directions * self.hidden), np.float32)
        last = np.empty((self.directions, batch, self.hidden), np.float32) if self._lstm else None
        call = Call.from_buffer_copy(self._call)  # several threads may call one layer
        calls.read(call, values, lengths, begun)
        calls.layer(call, output, cells=last, saved=None)
        return Computed(output, last)

    @property
    def _lstm(self) -> bool:
        return self.cell == "LSTM"

    def _check_input(self, values: Floats, lengths: Ints, start: Start) -> None:
        check_sequences(values, lengths, self.features)
        for given in start:
            if given is not None:
                check(given, np.float32, (self.directions, len(values), self.hidden))


def check_sequences(values: Floats, lengths: Ints, features: int) -> None:
    """Refuse what is no padded batch with its lengths.

    Raises:
        ValueError: a wrong shape or dtype, or a length out of bounds.
    """
    batch, steps, _ = values.shape
    check(values, np.float32, (batch, steps, features))
    check(lengths, np.int64, (batch,))
    if batch and not 1 <= lengths.min() <= lengths.max() <= steps:
        found = f"{lengths.min()} to {lengths.max()}"
        raise ValueError(f"expected lengths from 1 to {steps}, found {found}")


def gathers(flat: npt.NDArray[Any], padding: int) -> bool:
    """Whether `side_by_side` takes such an array."""
    fits = flat.dtype == np.float32 and padding == 0 and flat.ndim == 2
    return flat.flags.c_contiguous and (fits or (flat.dtype == np.int32 and flat.ndim == 1))


def side_by_side(
    flat: npt.NDArray[Any], starts: Ints, lengths: Ints, padding: int
) -> npt.NDArray[Any]:
    """Put runs of rows beside one another; see `birnn.model.padded.side_by_side`.

    Raises:
        ValueError: a run is not within the rows.
    """
    batch, steps = len(starts), int(lengths.max())
    starts, lengths = _contiguous(starts, np.int64), _contiguous(lengths, np.int64)
    check(lengths, np.int64, (batch,))
    if min(starts.min(), lengths.min()) < 0 or (starts + lengths).max() > len(flat):
        raise ValueError(f"expected runs within {len(flat)} rows")
    floats = flat.ndim == 2
    found = np.empty((batch, steps, *flat.shape[1:]), np.float32 if floats else np.int64)
    call = library.Gather(
        batch=batch,
        steps=steps,
        width=flat.shape[1] if floats else 1,
        starts=address(starts),
        lengths=address(lengths),
        output=address(found),
        padding=padding,
    )
    call.values, call.wholes = (address(flat), None) if floats else (None, address(flat))
    library.kernel().gather(call)
    return found


def last_states(output: Floats, lengths: Ints, hidden: int) -> Floats:
    """(batch, directions x hidden): each direction's state after its last step."""
    last = output[np.arange(len(output)), lengths - 1]
    if output.shape[2] > hidden:
        last[:, hidden:] = output[:, 0, hidden:]
    return last


def linear(values: Floats, weight: Floats, bias: Floats) -> Floats:
    """Compute a linear layer: (..., inputs) to (..., outputs)."""
    values, weight = _contiguous(values, np.float32), _contiguous(weight, np.float32)
    bias = _contiguous(bias, np.float32)
    check(bias, np.float32, weight.shape[:1])
    check(values, np.float32, (*values.shape[:-1], weight.shape[1]))
    output = np.empty((*values.shape[:-1], len(weight)), np.float32)
    calls.linear(values, weight, bias, output)
    return output


def mean_and_most(values: Floats, lengths: Ints) -> tuple[Floats, Floats]:
    """Compute the mean and the maximum over the steps of each sequence, both (batch, width).

    Args:
        values: (batch, steps, width).
        lengths: (batch,) int64, from 1 to steps.
    """
    mean, most, _ = pooled(values, lengths)
    return mean, most


def pooled(values: Floats, lengths: Ints) -> tuple[Floats, Floats, npt.NDArray[np.int32]]:
    """The same, and at which step each maximum is, (batch, width)."""
    values, lengths = _contiguous(values, np.float32), _contiguous(lengths, np.int64)
    batch, _, width = values.shape
    mean, most = np.empty((batch, width), np.float32), np.empty((batch, width), np.float32)
    at = np.empty((batch, width), np.int32)
    calls.pool(values, lengths, mean, most, at)
    return mean, most, at


def softmax(logits: Floats) -> Floats:
    """Compute the softmax over the last dimension."""
    logits = _contiguous(logits, np.float32)
    found = np.empty_like(logits)
    calls.softmax(logits, found)
    return found


def _contiguous(array: npt.NDArray[Any], dtype: type) -> npt.NDArray[Any]:
    check(array, dtype, array.shape)
    return np.ascontiguousarray(array)


def check(array: npt.NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape or dtype, with a ValueError."""
    if array.dtype != dtype or array.shape != shape:
        expected = np.dtype(dtype)
        raise ValueError(
            f"expected {expected} of shape {shape}, found {array.dtype} of shape {array.shape}"
        )
