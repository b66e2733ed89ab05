"""Layers that learn, on NumPy's arrays: forward, and then the gradients.

    layer = Recurrent("GRU", weights, gradients)    # arrays; the gradients are written into
    output = layer.forward(values, lengths, keep=True)
    at_values = layer.backward_to_values(output_grads)

They make the same calls as the functions on tensors beside them (`birnn.kernel.calls`), so they
give the same bytes, without what torch does around each: in a small model that takes longer than
the arithmetic. What a layer gives lies in its own memory, until it is called again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from birnn.kernel import arrays, calls
from birnn.kernel.arrays import Floats, Ints


class Room:
    """Memory that is used again from batch to batch.

    Blocks of this size go back to the system when they are freed, and to get the pages of a new one
    takes up to a tenth of a training.
    """

    def __init__(self) -> None:
        self._block = np.empty(0, np.float32)

    def array(self, *shape: int) -> Floats:
        """Give an array with anything in it; the one that was given before is no longer valid."""
        count = math.prod(shape)
        if count > len(self._block):
            self._block = np.empty(0, np.float32)  # the old one is free before the new one is there
            self._block = np.empty(count, np.float32)
        return self._block[:count].reshape(shape)


class Recurrent:
    """A recurrent layer.

    Args:
        cell: RNN (with tanh), GRU or LSTM.
        weights: of each direction weight_ih, weight_hh, bias_ih and bias_hh, as in `torch.nn`.
        gradients: arrays of the same shapes, which `backward` writes.
    """

    def __init__(self, cell: str, weights: Sequence[Floats], gradients: Sequence[Floats]) -> None:
        self._call = call = calls.weights(cell, weights)
        for array, shape in zip(
            (*weights, *gradients),
            calls.shapes(cell, call.features, call.hidden, call.directions) * 2,
            strict=True,
        ):
            arrays.check(array, np.float32, shape)
        calls.write_gradients(call, gradients)
        self._arrays = weights, gradients  # they live as long as what points to them
        self._packed = np.empty(calls.packed_floats(call), np.float32)
        self._kept = calls.saved_floats(cell, call.hidden)
        self._saved, self._output, self._at_values = Room(), Room(), Room()
        self._read: tuple[Floats, Ints, Floats] | None = None  # what the call points to

    def forward(self, values: Floats, lengths: Ints, *, keep: bool) -> Floats:
        """Compute the layer, as `birnn.kernel.arrays.Layer` does.

        Args:
            values: (batch, steps, features); what lies past a length is not read.
            lengths: (batch,) int64 from 1 to steps.
            keep: whether `backward` will follow.

        Returns:
            (batch, steps, directions x hidden), zero past each length.
        """
        call = self._call
        arrays.check_sequences(values, lengths, call.features)
        values, lengths = np.ascontiguousarray(values), np.ascontiguousarray(lengths)
        calls.pack(call, self._packed)
        calls.read(call, values, lengths)
        output = self._output.array(call.batch, call.steps, call.directions * call.hidden)
        rows = int(lengths.sum()) if keep else 0
        saved = self._saved.array(call.directions * rows * self._kept) if keep else None
        calls.layer(call, output, cells=None, saved=saved)
        self._read = None if saved is None else (values, lengths, saved)
        return output

    def backward(self, output_grads: Floats) -> None:
        """Write the gradients of the weights."""
        self._back(output_grads, None)

    def backward_to_values(self, output_grads: Floats) -> Floats:
        """Write the gradients of the weights, and give those of the values."""
        call = self._call
        found = self._at_values.array(call.directions, call.batch, call.steps, call.features)
        self._back(output_grads, found)
        both: Floats = found[0]  # their sum
        return both

    def _back(self, output_grads: Floats, at_values: Floats | None) -> None:
        assert self._read is not None
        call = self._call
        shape = (call.batch, call.steps, call.directions * call.hidden)
        arrays.check(output_grads, np.float32, shape)
        calls.layer_back(call, np.ascontiguousarray(output_grads), None, at_values)
        self._read = None


class Linear:
    """A linear layer, (..., inputs) to (..., outputs).

    Args:
        weights: (outputs, inputs) and the bias, (outputs,).
        gradients: arrays of the same shapes, which `backward` writes.
    """

    def __init__(self, weights: Sequence[Floats], gradients: Sequence[Floats]) -> None:
        weight, bias = weights
        arrays.check(bias, np.float32, weight.shape[:1])
        for array, same in zip((weight, *gradients), (weight, weight, bias), strict=True):
            arrays.check(array, np.float32, same.shape)
        self._weight, self._bias, self._gradients = weight, bias, gradients
        self._output, self._at_values = Room(), Room()
        self._values: Floats | None = None

    def forward(self, values: Floats) -> Floats:
        """Compute the layer; the values are to stay as they are until `backward`."""
        arrays.check(values, np.float32, (*values.shape[:-1], self._weight.shape[1]))
        values = np.ascontiguousarray(values)
        output = self._output.array(*values.shape[:-1], len(self._weight))
        calls.linear(values, self._weight, self._bias, output)
        self._values = values
        return output

    def backward(self, output_grads: Floats) -> Floats:
        """Write the gradients of weight and bias, and give those of the values."""
        values = self._values
        assert values is not None
        arrays.check(output_grads, np.float32, (*values.shape[:-1], len(self._weight)))
        found = self._at_values.array(*values.shape)
        grads = np.ascontiguousarray(output_grads)
        calls.linear_back(values, self._weight, grads, found, *self._gradients)
        return found


class Embedding:
    """Rows of a table, by their numbers.

    Args:
        table: (rows, width).
        gradient: of the same shape, which `backward` writes.
    """

    def __init__(self, table: Floats, gradient: Floats) -> None:
        arrays.check(gradient, np.float32, table.shape)
        self._table, self._gradient = table, gradient
        self._rows: Ints | None = None

    def forward(self, rows: Ints) -> Floats:
        """Give (..., width) for rows of any shape."""
        self._rows = rows
        return self._table.take(rows, axis=0)  # it checks the rows too

    def backward(self, output_grads: Floats) -> None:
        """Write the gradient of the table; those of equal rows are added in order."""
        assert self._rows is not None
        self._gradient[:] = 0
        add_rows(output_grads, self._rows, self._gradient)


def add_rows(grads: Floats, rows: Ints, to: Floats) -> None:
    """Add (..., width) to rows of a table, one after the other.

    Args:
        grads: what is added.
        rows: (...) int64, where to; they are numbers of rows, which the caller knows.
        to: (rows, width), changed in place.
    """
    arrays.check(grads, np.float32, (*rows.shape, to.shape[1]))
    grads, rows = np.ascontiguousarray(grads), np.ascontiguousarray(rows, np.int64)
    calls.add_rows(grads, rows, to)


class Dropout:
    """Zeroes a share of the elements and scales the others up.

    Attributes:
        share: of the elements.
    """

    def __init__(self, share: float) -> None:
        self.share, self._seed = share, 0
        self._output, self._at_values = Room(), Room()

    def forward(self, values: Floats, seed: int) -> Floats:
        """Drop by a seed of 64 bits and the place of each element."""
        self._seed = seed
        return self._dropped(values, self._output)

    def backward(self, output_grads: Floats) -> Floats:
        """Drop the gradients of the same elements."""
        return self._dropped(output_grads, self._at_values)

    def _dropped(self, values: Floats, room: Room) -> Floats:
        arrays.check(values, np.float32, values.shape)
        values, output = np.ascontiguousarray(values), room.array(*values.shape)
        calls.dropout(values, output, self.share, self._seed)
        return output


class Summary:
    """What a classifier reads of a sequence: last states, mean or maximum of the states, or all.

    Args:
        head: last, mean, max or all.
        hidden: units of a direction.
    """

    def __init__(self, head: str, hidden: int) -> None:
        self._head, self._hidden = head, hidden
        self._at_output = Room()
        self._read: tuple[tuple[int, ...], Ints, npt.NDArray[np.int32] | None] | None = None

    def forward(self, output: Floats, lengths: Ints) -> Floats:
        """(batch, steps, directions x hidden) to (batch, summary)."""
        arrays.check(output, np.float32, output.shape)
        self._read = output.shape, lengths, None
        if self._head == "last":
            return arrays.last_states(output, lengths, self._hidden)
        mean, most, at = arrays.pooled(output, lengths)
        self._read = output.shape, lengths, at
        if self._head == "all":
            last = arrays.last_states(output, lengths, self._hidden)
            return np.concatenate([last, mean, most], axis=1)
        return mean if self._head == "mean" else most

    def backward(self, grads: Floats) -> Floats:
        """(batch, summary) to (batch, steps, directions x hidden)."""
        assert self._read is not None
        shape, lengths, at = self._read
        width = shape[2]
        parts = {"all": ("last", "mean", "max")}.get(self._head, (self._head,))
        given = {
            part: np.ascontiguousarray(grads[:, number * width : (number + 1) * width])
            for number, part in enumerate(parts)
        }
        found = self._at_output.array(*shape)
        if at is None:
            found[:] = 0
        else:
            calls.pool_back(lengths, at, given.get("mean"), given.get("max"), found)
        if "last" in given:
            self._add_last(given["last"], lengths, found)
        return found

    def _add_last(self, grads: Floats, lengths: Ints, to: Floats) -> None:
        hidden = self._hidden
        to[np.arange(len(to)), lengths - 1, :hidden] += grads[:, :hidden]
        to[:, 0, hidden:] += grads[:, hidden:]


class Loss(NamedTuple):
    """What `cross_entropy` gives.

    Attributes:
        grads: of the total by the logits; None where nobody asked.
        tally: losses that are not scaled, right answers, and labels that count.
    """

    grads: Floats | None
    tally: list[float]


class CrossEntropy:
    """The total of all labels' scaled losses.

    Args:
        weights: (classes,) what a label of each class counts; 1 where None.
        gamma: exponent of the focal loss; see `birnn.model.losses.cross_entropy`.
    """

    def __init__(self, weights: Floats | None, gamma: float) -> None:
        self._weights, self._gamma = weights, gamma
        self._grads, self._losses = Room(), Room()

    def __call__(self, logits: Floats, labels: Ints, scales: Floats, *, learn: bool) -> Loss:
        """Compute it; see `birnn.kernel.losses.cross_entropy`.

        Args:
            logits: (labels, classes).
            labels: (labels,) int64 classes; what is below 0 counts for nothing.
            scales: (labels,) what the loss of each is multiplied with.
            learn: whether the gradients are wanted.

        Raises:
            ValueError: a label is no class.
        """
        rows, classes = logits.shape
        arrays.check(logits, np.float32, (rows, classes))
        arrays.check(labels, np.int64, (rows,))
        arrays.check(scales, np.float32, (rows,))
        if self._weights is not None:
            arrays.check(self._weights, np.float32, (classes,))
        if rows and labels.max() >= classes:
            raise ValueError(f"expected labels below {classes}, found {labels.max()}")
        logits, labels, scales = map(np.ascontiguousarray, (logits, labels, scales))
        grads = self._grads.array(rows, classes) if learn else None
        losses = self._losses.array(rows)
        weights, gamma = self._weights, self._gamma
        _, tally = calls.cross_entropy(logits, labels, scales, weights, gamma, losses, grads)
        return Loss(grads, tally)
