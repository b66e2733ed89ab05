"""Recurrent layers on sequences of different lengths: exact, at the cost of dense calls or less.

The backward direction reads each sequence reversed within its own length, so that padding comes
last in both directions and never reaches a real step. So neither needs `PackedSequence`, whose
training time grows with the square of the length (pytorch/pytorch#149194).

Float32 on a CPU is computed by `birnn.kernel`, and GPUs have `birnn.model.gpu`. What stands below
the module is for everything else: other dtypes on a CPU, a machine on which no kernel can be
compiled; and tests compare with it.

Shapes: B sequences, T steps of the padded batch, N steps that a direction computes, D directions,
F features, H hidden units of one direction, G gates x H.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Final, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd

from birnn.kernel import draws, layers, library, operators, recurrence
from birnn.kernel.calls import GATES
from birnn.kernel.recurrence import Start
from birnn.model import gpu, scanned
from birnn.model.architecture import Cell
from birnn.model.gpu import Weights
from birnn.model.transfers import sent

# Hidden units x sequences x steps of one dense call on a CPU. What a longer one needs is above the
# 32 MB that glibc keeps for reuse: it goes back to the system, and to fault it in again, page by
# page, takes up to half the time of training (measured with oneDNN's LSTM on 1000 steps).
STATES_AT_ONCE: Final = 400_000

# What a step of padding adds to the sums of an LSTM's gates, so that its sigmoids are exactly 0 or
# 1 in every dtype and the cells stay as they are. float16 holds it.
HOLD: Final = 1e4


class VariableLengthRNN(nn.Module):
    """A drop-in for `torch.nn.{RNN,GRU,LSTM}` on padded values and lengths.

    It gives what `pack_padded_sequence`, that module and `pad_packed_sequence` give, forward and
    gradient. Parameters have the names and shapes of `torch.nn`, so a state_dict goes both ways.

    Args:
        input_size: features of a step.
        hidden_size: hidden units of one direction.
        cell: "RNN" (with tanh), "GRU" or "LSTM".
        num_layers: layers; each reads the output of the one below.
        dropout: share of each layer's output, but the last's, that is zeroed in train mode.
        bidirectional: whether a second direction reads each sequence from its end.

    Raises:
        ValueError: an unknown cell.

    Example:
        >>> rnn = VariableLengthRNN(8, 16, cell="GRU")
        >>> output, last = rnn(torch.randn(2, 5, 8), torch.tensor([5, 3]))
        >>> output.shape, last.shape
        (torch.Size([2, 5, 32]), torch.Size([2, 2, 16]))
    """

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
            shapes = [(gates, features), (gates, hidden_size), (gates,), (gates,)]
            for suffix in self._suffixes(layer):
                for name, shape in zip(Weights._fields, shapes, strict=True):
                    self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(hidden), 1/sqrt(hidden)), as `torch.nn` does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            draws.uniform_(parameter, bound)

    def forward(
        self, values: Tensor, lengths: Tensor, *, with_last: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Run every layer over every sequence's own steps.

        Args:
            values: (batch, steps, features); anything, NaN too, past each length.
            lengths: (batch,), integers from 1 to steps, in any order. In memory, also where the
                values are on a GPU: that is faster, and what is wrong with them is said at once.
            with_last: whether somebody looks at the last states; on a GPU they cost launches.

        Returns:
            output: (batch, steps, directions x hidden), zero past each length.
            last: (layers x directions, batch, hidden), each direction's state after its last step;
                without `with_last`, (0, batch, hidden).

        Raises:
            ValueError: lengths that are no integers, or one below 1 or above steps. If the lengths
                are on a GPU, the latter is found there, later, and ends the program.
        """
        weights = [self._weights(layer) for layer in range(self.num_layers)]
        dropout = self.dropout if self.training else 0.0
        found = run(self.cell, values, lengths, weights, dropout=dropout, states=with_last)
        return found.output, found.states

    def extra_repr(self) -> str:
        """Say what it is made of, as `torch.nn` does."""
        made = f"{self.input_size}, {self.hidden_size}, cell={self.cell!r}"
        made += f", num_layers={self.num_layers}" if self.num_layers != 1 else ""
        made += f", dropout={self.dropout}" if self.dropout else ""
        return f"{made}, bidirectional={self.bidirectional}"

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def _weights(self, layer: int) -> list[Weights]:
        return [
            Weights(*(getattr(self, name + suffix) for name in Weights._fields))
            for suffix in self._suffixes(layer)
        ]


class Ran(NamedTuple):
    """What all layers give.

    Attributes:
        output: (B, T, D x H) of the last layer, zero past each length.
        states: (layers x D, B, H), each direction's state after its last step; (0, B, H) where
            nobody asked.
        cells: likewise, of an LSTM; None where nobody asked.
    """

    output: Tensor
    states: Tensor
    cells: Tensor | None


def run(
    cell: Cell,
    values: Tensor,
    lengths: Tensor,
    weights: Sequence[list[Weights]],
    *,
    starts: Sequence[Start] | None = None,
    dropout: float = 0.0,
    states: bool = True,
    cells: bool = False,
) -> Ran:
    """Run every layer over every sequence's own steps.

    Args:
        cell: the kind of the recurrence.
        values: (B, T, F); anything, NaN too, past each length.
        lengths: (B,), integers from 1 to T, in any order.
        weights: of each layer, one or two directions.
        starts: what each layer begins with; zeros for None.
        dropout: share of each layer's output, but the last's, that is zeroed.
        states: whether the last states are wanted.
        cells: whether the cells of an LSTM are wanted.

    Raises:
        ValueError: see `VariableLengthRNN.forward`.
    """
    if not torch.compiler.is_compiling():  # what is compiled looks when it runs
        _check(lengths, values.shape[1])
    lengths, plain = lengths.to(torch.int64), starts is None and not cells
    starts = [Start()] * len(weights) if starts is None else starts
    if _planned(values.device, plain=plain):
        last_states, most = gpu.last_states, gpu.at_once(_width(values, weights[0]))
        if len(lengths) > most:
            parts = zip(torch.split(values, most), torch.split(lengths, most), strict=True)
            return _beside(
                [run(cell, *one, weights, dropout=dropout, states=states) for one in parts]
            )
    else:
        last_states, lengths = _last_states, sent(lengths, values.device)
    layer = _layer(cell, values, lengths, weights[0], plain=plain)
    output, found, ended = values, [], []
    for number, own in enumerate(weights):
        if number > 0:
            output = layers.dropout(output, dropout, training=dropout > 0)
        output, last = layer(output, own, starts[number])
        ended.append(last)
        if states:
            found.append(last_states(output, lengths, own[0].weight_hh.shape[1]))
    hidden = weights[0][0].weight_hh.shape[1]
    last = torch.cat(found) if states else output.new_empty(0, output.shape[0], hidden)
    return Ran(output, last, torch.cat(ended) if cells else None)


def _check(lengths: Tensor, steps: int) -> None:
    recurrence.check_lengths(lengths, steps)
    if lengths.device.type == "cuda":
        gpu.check_lengths(lengths, steps)


def _planned(device: torch.device, *, plain: bool) -> bool:
    """Whether `birnn.model.gpu` computes: from zeros, without cells, and what is not compiled."""
    return _on_gpu(device) and plain and not torch.compiler.is_compiling()


def _on_gpu(device: torch.device) -> bool:
    return device.type != "cpu"


def _width(values: Tensor, weights: list[Weights]) -> int:
    """The most numbers of a step that one tensor holds, in any layer."""
    return max(values.shape[2], weights[0].weight_hh.shape[0] * len(weights))


def _beside(parts: list[Ran]) -> Ran:
    """One batch of those that were computed in turn."""
    output = torch.cat([part.output for part in parts])
    return Ran(output, torch.cat([part.states for part in parts], 1), None)


Layer = Callable[[Tensor, list[Weights], Start], tuple[Tensor, Tensor]]
"""From (B, T, F) to (B, T, D x H), and to an LSTM's last cells, (D, B, H), where they are asked."""


def _layer(
    cell: Cell, values: Tensor, lengths: Tensor, weights: list[Weights], *, plain: bool
) -> Layer:
    """What computes a layer; `plain` ones begin with zeros, and give no cells.

    Without the kernel, measured in training on 2 CPU cores, 32 and 128 hidden units: a loop over
    the steps takes 0.4 to 0.8 of the time of a dense call for RNN and GRU, but twice for LSTM, the
    one cell that torch gives to oneDNN.
    """
    if torch.compiler.is_exporting():
        return lambda inputs, own, start: scanned.layer(cell, inputs, lengths, own, start)
    if _planned(values.device, plain=plain):
        return _layer_on_gpu(cell, values, lengths, weights)
    if library.serves_compiled(values) and library.serves_compiled(weights[0][0]):

        def compute(inputs: Tensor, own: list[Weights], start: Start) -> tuple[Tensor, Tensor]:
            flat = [part for direction in own for part in direction]
            layer = operators.layer if torch.compiler.is_compiling() else recurrence.layer
            return layer(cell, inputs, lengths, flat, start)

        return compute
    (_, steps, _), directions, compiles = values.shape, len(weights), torch.compiler.is_compiling()
    on_cpu = not _on_gpu(values.device) and not compiles
    if plain and on_cpu and cell != "LSTM":
        return partial(_run_layer, _looped, cell, packed_order(lengths, steps, directions))
    recur = _dense_on_cpu if on_cpu else _dense if compiles else _dense_on_gpu
    order = padded_order(lengths, steps, directions)
    return partial(_run_layer, recur, cell, order, hold=cell == "LSTM" and not plain)


def _layer_on_gpu(cell: Cell, values: Tensor, lengths: Tensor, weights: list[Weights]) -> Layer:
    hidden, directions = weights[0].weight_hh.shape[1], len(weights)
    sizes = gpu.Sizes(len(lengths), values.shape[1], directions, _width(values, weights))
    plan = gpu.planned(lengths, sizes, values.device, packs=gpu.packs(cell, hidden))

    def compute(inputs: Tensor, own: list[Weights], _: Start) -> tuple[Tensor, Tensor]:
        return gpu.layer(cell, inputs, plan, own), inputs.new_empty(0)

    return compute


@cache
def cpu_has_bf16() -> bool:
    """Whether this CPU trains an LSTM in bfloat16, found out by trying, once.

    oneDNN has no such LSTM for a CPU without AVX-512, or where it is told to act as an older one,
    and torch says so only when it is called.
    """
    inputs, weight, bias = torch.ones(1, 1, 1), torch.ones(4, 1, requires_grad=True), torch.ones(4)
    parameters, start = [weight, weight, bias, bias], [torch.zeros(1, 1, 1)] * 2
    try:
        with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
            states = torch.lstm(inputs, start, parameters, True, 1, 0.0, True, False, False)[0]
            torch.autograd.grad(states.sum(), weight)
    except RuntimeError:
        return False
    return True


class Order(NamedTuple):
    """The rows that each direction computes, one for a sequence at a time, in order of time.

    A direction's time runs from the end that it starts at: a sequence's own end for the backward
    one, so that it has rows of its own at the first times in both directions.
    """

    sizes: list[int]  # sequences at each time; their sum is N
    sources: Tensor  # (D x N,), the row of the values, (B x T), that each row reads
    targets: Tensor  # (D x N,), the output, of (B x T x D), that each row gives; or none, B x T x D
    origins: Tensor  # (B x T x D,), the row that gives each output; or none, D x N, in the padding


def padded_order(lengths: Tensor, steps: int, directions: int) -> Order:
    """Every sequence at every time; past its end it reads its own first step, never padding."""
    batch, last = len(lengths), lengths - 1
    step = torch.arange(steps, device=lengths.device)[:, None]
    sequence = torch.arange(batch, device=lengths.device)
    direction = torch.arange(directions, device=lengths.device)[:, None, None]
    past = step > last
    times = torch.stack([step.expand_as(past), last - step][:directions])  # (D, T, B)
    none = times.numel()
    sources = sequence * steps + times.masked_fill(past, 0)
    origins = direction * (steps * batch) + sequence + times * batch
    return Order(
        sizes=[batch] * steps,
        sources=sources.flatten(),
        targets=(sources * directions + direction).masked_fill_(past, none).flatten(),
        origins=origins.masked_fill_(past, none).permute(2, 1, 0).flatten(),
    )


def packed_order(lengths: Tensor, steps: int, directions: int) -> Order:
    """Nothing past a sequence's end, and the longest sequence first, as in `PackedSequence`."""
    ranked, sequence = lengths.sort(descending=True, stable=True)
    step, last = torch.arange(steps)[:, None], ranked - 1
    real = step <= last
    times = torch.stack([step.expand_as(real), last - step][:directions])  # (D, T, B)
    sources = (sequence * steps + times)[:, real]
    targets = (sources * directions + torch.arange(directions)[:, None]).flatten()
    none = targets.numel()
    origins = targets.new_full((len(lengths) * steps * directions,), none)
    return Order(
        sizes=[size for size in real.sum(1).tolist() if size > 0],
        sources=sources.flatten(),
        targets=targets,
        origins=origins.index_copy_(0, targets, torch.arange(none)),
    )


Recurrence = Callable[
    [Cell, Tensor, list[int], list[Weights], Start], tuple[list[Tensor], list[Tensor]]
]
"""From the rows that a layer reads, (D, N, F), to the states that it writes, (D x N, H) in parts,
and to an LSTM's cells after the last time, (1, B, H) of each direction."""


def _run_layer(
    recur: Recurrence,
    cell: Cell,
    order: Order,
    inputs: Tensor,
    weights: list[Weights],
    start: Start,
    hold: bool = False,
) -> tuple[Tensor, Tensor]:
    """One layer; see `Layer`. `hold` keeps cells as they are in the padding."""
    batch, steps, features = inputs.shape
    rows = inputs.flatten(0, 1).index_select(0, order.sources).view(len(weights), -1, features)
    if hold:
        rows, weights = _holding(rows, order, weights)
    parts, cells = recur(cell, rows, order.sizes, weights, start)
    output = _rearranged(order, parts).view(batch, steps, -1)
    return output, torch.cat(cells) if cells else output.new_empty(0)


def _holding(rows: Tensor, order: Order, weights: list[Weights]) -> tuple[Tensor, list[Weights]]:
    """Give padding a feature that shuts an LSTM's input gate and opens its forget gate.

    So a sequence's cells after the last time are those after its own last step. Both gates are
    saturated, so no gradient comes through them.
    """
    padding = (order.targets == order.origins.numel()).view(len(weights), -1, 1)
    hidden = weights[0].weight_hh.shape[1]
    column = weights[0].weight_ih.new_zeros(4 * hidden, 1)
    column[:hidden], column[hidden : 2 * hidden] = -HOLD, HOLD
    wider = [one._replace(weight_ih=torch.cat([one.weight_ih, column], 1)) for one in weights]
    return torch.cat([rows, padding.to(rows.dtype)], 2), wider


def _rearranged(order: Order, parts: list[Tensor]) -> Tensor:
    """The rows of all parts in the places of the output, with zeros in the padding."""
    if torch.compiler.is_compiling():
        zeros = parts[0].new_zeros(1, parts[0].shape[1])
        return torch.cat([*parts, zeros]).index_select(0, order.origins)
    found = _Rearranged.apply(order.origins, order.targets, *parts)  # type: ignore[no-untyped-call]
    return cast(Tensor, found)


class _Rearranged(torch.autograd.Function):
    """Rows by index, of all parts; an index one past the end gives zeros. `inverse` undoes it."""

    @staticmethod
    def forward(ctx: Any, index: Tensor, inverse: Tensor, *parts: Tensor) -> Tensor:
        ctx.sizes = [len(part) for part in parts]
        ctx.save_for_backward(index, inverse)
        return torch.cat([*parts, parts[0].new_zeros(1, parts[0].shape[1])]).index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        index, inverse = ctx.saved_tensors
        rows = _Rearranged.apply(inverse, index, grads)  # type: ignore[no-untyped-call]
        return None, None, *rows.split_with_sizes(ctx.sizes)


def _last_states(output: Tensor, lengths: Tensor, hidden: int) -> Tensor:
    """(D, B, H): the forward output at each sequence's last step, the backward one at its first."""
    batch, steps, directions = *output.shape[:2], output.shape[2] // hidden
    first = torch.arange(batch, device=lengths.device) * (steps * directions)
    rows = torch.stack([first + (lengths - 1) * directions, first + 1][:directions])
    return output.view(-1, hidden).index_select(0, rows.flatten()).view(directions, batch, hidden)


def _dense(
    cell: Cell, rows: Tensor, sizes: list[int], weights: list[Weights], start: Start
) -> tuple[list[Tensor], list[Tensor]]:
    """Dense calls in one direction each, which oneDNN's or cuDNN's kernels can take."""
    call: Any = {"RNN": torch.rnn_tanh, "GRU": torch.gru, "LSTM": torch.lstm}[cell]
    steps, batch, hidden = len(sizes), sizes[0], weights[0].weight_hh.shape[1]
    at_once = steps
    if rows.device.type == "cpu" and not torch.compiler.is_compiling():
        at_once = max(1, STATES_AT_ONCE // (batch * hidden))
    train = torch.is_grad_enabled()  # without it cuDNN keeps nothing for the gradients
    parts, cells = [], []
    for number, (inputs, parameters) in enumerate(zip(rows, weights, strict=True)):
        flat = gpu.in_one_chunk([parameters], rows.dtype) if rows.is_cuda else list(parameters)
        zeros = rows.new_zeros(1, batch, hidden)
        carried = [zeros if one is None else one[number : number + 1] for one in start]
        carried = carried if cell == "LSTM" else carried[:1]
        for piece in torch.split(inputs.view(steps, batch, -1), at_once):
            before = carried if cell == "LSTM" else carried[0]
            states, *carried = call(piece, before, flat, True, 1, 0.0, train, False, False)
            parts.append(states.flatten(0, 1))
        cells += carried[1:]
    return parts, cells


def _dense_on_gpu(
    cell: Cell, rows: Tensor, sizes: list[int], weights: list[Weights], start: Start
) -> tuple[list[Tensor], list[Tensor]]:
    """The same in the dtype that is wanted; see `birnn.model.gpu.layer`."""
    dtype = gpu.wanted(rows)
    with gpu.without_autocast(rows.device.type):
        begun = Start(*(None if one is None else one.to(dtype) for one in start))
        same = [Weights(*(parameter.to(dtype) for parameter in one)) for one in weights]
        return _dense(cell, rows.to(dtype), sizes, same, begun)


def _dense_on_cpu(
    cell: Cell, rows: Tensor, sizes: list[int], weights: list[Weights], start: Start
) -> tuple[list[Tensor], list[Tensor]]:
    """The same dense calls in every mode and on every CPU.

    Where gradients are off, oneDNN takes other kernels, whose last digits differ by CPU and by
    size; where they are on, it takes those of training, whether or not anything needs a gradient.
    A CPU without bfloat16 computes in float32.
    """
    if _in_bf16(rows) and not cpu_has_bf16():
        wider = [Weights(*(parameter.float() for parameter in one)) for one in weights]
        begun = Start(*(None if one is None else one.float() for one in start))
        with torch.autocast("cpu", enabled=False):
            parts, cells = _dense_on_cpu(cell, rows.float(), sizes, wider, begun)
        return [states.bfloat16() for states in parts], [last.bfloat16() for last in cells]
    if torch.is_grad_enabled():
        return _dense(cell, rows, sizes, weights, start)
    with torch.inference_mode(mode=False), torch.enable_grad():
        plain = [Weights(*(_without_history(parameter) for parameter in one)) for one in weights]
        begun = Start(*(None if one is None else _without_history(one) for one in start))
        return _dense(cell, _without_history(rows), sizes, plain, begun)


def _without_history(tensor: Tensor) -> Tensor:
    """The same numbers, for calls that record what they read; of inference, only copies may."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _in_bf16(rows: Tensor) -> bool:
    """Whether a dense call on a CPU would compute in bfloat16."""
    autocast = torch.is_autocast_enabled("cpu")
    return (torch.get_autocast_dtype("cpu") if autocast else rows.dtype) == torch.bfloat16


def _looped(
    cell: Cell, rows: Tensor, sizes: list[int], weights: list[Weights], _: Start
) -> tuple[list[Tensor], list[Tensor]]:
    """A loop over time, both directions together as a batch of two matrix products, from zeros."""
    dtype = torch.promote_types(rows.dtype, torch.float32)
    parameters = [parameter.to(dtype) for direction in weights for parameter in direction]
    states = _Loop.apply(cell, sizes, rows.to(dtype), *parameters)  # type: ignore[no-untyped-call]
    return [states.to(rows.dtype).flatten(0, 1)], []


class _Loop(torch.autograd.Function):
    """One product for all inputs, a lean loop, and one product for all gradients of a weight.

    The loop's state is u = (h + 1) / 2, because tanh(x) = 2 sigmoid(2 x) - 1 and torch's sigmoid
    takes a fifth of the time of its tanh. What that changes goes into the weights beforehand.
    """

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, cell: str, sizes: list[int], rows: Tensor, *parameters: Tensor) -> Tensor:
        weights = Weights(*(torch.stack(parameters[kind::4]) for kind in range(4)))
        forward = _rnn_forward if cell == "RNN" else _gru_forward
        halves, gates = forward(rows, sizes, _for_halves(weights))
        states = halves.mul(2).sub_(1)
        ctx.cell, ctx.sizes = cell, sizes
        ctx.save_for_backward(rows, states, gates, *weights)
        return states

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        """Backpropagation through time; L is the loss, `grads` (D, N, H) is dL/dh without time.

        With a_t = W x_t + b, what a row's gates get from its inputs, and s_t = U h_{t-1} + c, what
        they get from the state before, in two passes:

        1. `slopes`, for all rows at once: the derivatives of h_t by its sums a_t and s_t.
        2. From the last time to the first, dL/dh_t = grads_t + U^T dL/ds_{t+1}, and for the GRU
           z_{t+1} dL/dh_{t+1} too; the slopes times it are dL/da_t and dL/ds_t.

        Then each weight's gradient is one product over all rows: dL/dW = sum_t dL/da_t x_t^T,
        dL/dU = sum_t dL/ds_t h_{t-1}^T (h_{-1} = 0 gives nothing), dL/db = sum_t dL/da_t,
        dL/dc = sum_t dL/ds_t; and dL/dx_t = W^T dL/da_t.
        """
        if torch.is_grad_enabled():  # once_differentiable is silent where `grads` is a constant
            raise RuntimeError("expected create_graph=False: RNN and GRU have no second gradient")
        rows, states, gates, weight_ih, weight_hh, *_ = ctx.saved_tensors
        sizes, (width, hidden) = ctx.sizes, weight_hh.shape[1:]  # width = G
        # torch's rows of U are r, z, n; rolled by H they are q, r, z, as the GRU's gates are kept
        before = _one_time_before(states, sizes)
        if ctx.cell == "RNN":
            slopes, update = states.square().neg_().add_(1), None
        else:
            slopes, update = _gru_slopes(before, gates), gates[:, :, 2 * hidden : 3 * hidden]
        _times_gradients(slopes, grads, sizes, weight_hh.roll(hidden, 1), update)
        at_states, at_inputs = slopes[:, :, :width], slopes[:, :, -width:]
        by_direction = zip(
            torch.bmm(at_inputs.mT, rows),
            torch.bmm(at_states[:, sizes[0] :].mT, before).roll(-hidden, 1),
            at_inputs.sum(1),
            at_states.sum(1).roll(-hidden, 1),
            strict=True,
        )
        inputs = torch.bmm(at_inputs, weight_ih) if ctx.needs_input_grad[2] else None
        return None, None, inputs, *(grad for direction in by_direction for grad in direction)


def _for_halves(weights: Weights) -> Weights:
    """Make U h + c = 2 U u + (c - U 1), and double the last gate, the one that has a tanh."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    factor = weight_hh.new_ones(weight_hh.shape[1], 1)
    factor[-weight_hh.shape[2] :] = 2
    bias_hh = factor.T * (bias_hh - weight_hh.sum(2))
    return Weights(factor * weight_ih, 2 * factor * weight_hh, factor.T * bias_ih, bias_hh)


def _one_time_before(states: Tensor, sizes: list[int]) -> Tensor:
    """The state that each row starts from, but for the first time's rows, which start from zero."""
    if sizes[-1] == sizes[0]:
        return states[:, : -sizes[0]]
    counts = torch.tensor(sizes)
    rows = torch.arange(sizes[0], states.shape[1]) - counts[:-1].repeat_interleave(counts[1:])
    return states.index_select(1, rows)


def _by_time(sizes: list[int], *rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(part.split_with_sizes(sizes, 1) for part in rows), strict=True)


def _first(rows: Tensor, size: int) -> Tensor:
    return rows if rows.shape[1] == size else rows[:, :size]


def _rnn_forward(rows: Tensor, sizes: list[int], weights: Weights) -> tuple[Tensor, Tensor]:
    """Elman's cell: h' = tanh(W x + b + U h + c)."""
    bias = (weights.bias_ih + weights.bias_hh).unsqueeze(1)
    halves = torch.baddbmm(bias, rows, weights.weight_ih.mT)
    recurrent = weights.weight_hh.mT
    half = halves.new_full((len(halves), sizes[0], halves.shape[2]), 0.5)
    for step in halves.split_with_sizes(sizes, 1):
        sums = torch.baddbmm(step, _first(half, step.shape[1]), recurrent)
        half = torch.sigmoid(sums, out=step)
    return halves, halves


def _gru_forward(rows: Tensor, sizes: list[int], weights: Weights) -> tuple[Tensor, Tensor]:
    """Cho's cell: h' = (1 - z) n + z h, n = tanh(W x + b + r q), q = U h + c, r and z sigmoids.

    The gates are kept as q, r, z, n: states go into the first three, inputs into the last three.
    """
    directions, count, hidden = *rows.shape[:2], weights.weight_hh.shape[2]
    bias = weights.bias_ih.clone()
    bias[:, :-hidden] += weights.bias_hh[:, :-hidden]
    gates = rows.new_empty(directions, count, 4 * hidden)
    qrz, rz, rzn = gates[:, :, :-hidden], gates[:, :, hidden:-hidden], gates[:, :, hidden:]
    q, r, z, n = gates.chunk(4, 2)
    q.copy_(weights.bias_hh[:, None, -hidden:])
    torch.baddbmm(bias.unsqueeze(1), rows, weights.weight_ih.mT, out=rzn)
    recurrent = weights.weight_hh.roll(hidden, 1).mT
    halves = rows.new_empty(directions, count, hidden)
    half = rows.new_full((directions, sizes[0], hidden), 0.5)
    for qrz_t, q_t, rz_t, r_t, z_t, n_t, half_t in _by_time(sizes, qrz, q, rz, r, z, n, halves):
        half = _first(half, half_t.shape[1])
        sums = torch.baddbmm(qrz_t, half, recurrent)
        torch.sigmoid(sums[:, :, hidden:], out=rz_t)
        n_t.addcmul_(r_t, q_t.copy_(sums[:, :, :hidden])).sigmoid_()
        half = torch.lerp(n_t, half, z_t, out=half_t)
    return halves, gates


def _gru_slopes(before: Tensor, gates: Tensor) -> Tensor:
    """The derivatives of h' by the sums of q, r, z and n, (D, N, 4 H) in this order.

    From h' = (1 - z) n + z h and n = tanh(a_n + r q), since tanh' = 1 - tanh^2 and, for a sigmoid,
    r' = r (1 - r):

        at_n = (1 - z) (1 - n^2)        at_q = at_n r
        at_r = at_n q r (1 - r)         at_z = (h - n) z (1 - z)

    Args:
        before: (D, N - first time's rows, H), the states h that rows start from; zero for the rest.
        gates: (D, N, 4 H), kept as 2 q, r, z and (n + 1) / 2.
    """
    double_q, r, z, half_n = gates.chunk(4, 2)
    slopes = torch.empty_like(gates)
    at_q, at_r, at_z, at_n = slopes.chunk(4, 2)
    n = half_n.mul(2).sub_(1)
    torch.mul(n, n, out=at_n).neg_().add_(1)
    at_n.addcmul_(at_n, z, value=-1)  # (1 - n^2) (1 - z)
    torch.mul(at_n, r, out=at_q)
    torch.mul(at_q, double_q, out=at_r).mul_(0.5)
    at_r.addcmul_(at_r, r, value=-1)  # at_n q r (1 - r)
    n.neg_()[:, n.shape[1] - before.shape[1] :].add_(before)
    torch.addcmul(z, z, z, value=-1, out=at_z).mul_(n)  # (h - n) z (1 - z)
    return slopes


def _times_gradients(
    slopes: Tensor, grads: Tensor, sizes: list[int], recurrent: Tensor, update: Tensor | None
) -> None:
    """Turn slopes, in place, into gradients of the sums, from the last time to the first.

    The gradient of a state is its own, `grads`, and what comes back from one time later: through
    the sums, by `recurrent`, and for the GRU straight through the update gate.

    Args:
        slopes: (D, N, gates x H) in, dL/d(sums) out.
        grads: (D, N, H).
        sizes: sequences at each time; a time's rows are those of the longest sequences.
        recurrent: (D, G, H), U with its rows in the order of the slopes' first G columns.
        update: (D, N, H) the GRU's z; None for the RNN.
    """
    gates = slopes.view(*slopes.shape[:2], -1, grads.shape[2])
    views = [grads, gates, slopes[:, :, : recurrent.shape[1]], grads if update is None else update]
    total, later, kept = (view[:, :0] for view in (grads, views[2], grads))
    for grad, gate, at_states, keep in reversed([*_by_time(sizes, *views)]):
        size = later.shape[1]
        carried = torch.baddbmm(_first(grad, size), later, recurrent)
        if update is not None:
            carried.addcmul_(total, kept)
        ending = size < grad.shape[1]  # sequences that end here have no later time
        total = torch.cat([carried, grad[:, size:]], 1) if ending else carried
        gate.mul_(total.unsqueeze(2))
        later, kept = at_states, keep
