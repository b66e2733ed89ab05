"""The recurrence on a GPU: cuDNN's calls, and as few launches around them as can be.

    sizes = Sizes(batch, steps, directions, width)
    plan = planned(lengths, sizes, device, packs=packs("LSTM", hidden_size))
    output = layer("LSTM", inputs, plan, weights)

A launch takes the host 4 to 5 microseconds, and a training step of a small model is little more
than its launches. So which row is read where is worked out on the host, once a batch for all
layers, and sent in one copy; and rows are only ever gathered, forward and backward, never added
into places, for which torch sorts them where it must be deterministic.

Two ways, both exact for sequences of different lengths:

- Dense, for few hidden units: every sequence at every time, each direction in a call of its own, on
  a stream of its own. torch takes cuDNN's persistent kernels for such calls, never for packed ones.
- Packed, for more: only real steps, the longest sequence first, both directions in one call.

Shapes: B sequences, T steps of the padded batch, N steps that a direction computes, D directions,
F features, H hidden units of one direction, G gates x H.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any, Final, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from birnn.model.transfers import sent_together

PERSISTENT: Final = {"RNN": 384, "GRU": 192, "LSTM": 192}
"""Hidden units up to which a dense call is persistent, in the forward pass (torch 2.11 and 2.13,
aten/src/ATen/native/cudnn/RNN.cpp, `use_rnn_persist_small_h`)."""

MOST: Final = 65_535
"""Sequences of one call, and steps: with more, cuDNN 9 fails (pytorch/pytorch#133751)."""

ELEMENTS: Final = 2**31 - 1
"""Elements of a tensor that cuDNN counts in 32 bits."""

PACKING: Final = {"cuda", "meta"}
"""Kinds of devices on which torch packs: MPS computes packed sequences one time at a time."""


class Weights(NamedTuple):
    """One direction of one layer, named as in `torch.nn`; or all directions, stacked."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


class Sizes(NamedTuple):
    """Of a batch, and of a layer's rows."""

    batch: int
    steps: int
    directions: int
    width: int  # the most numbers of a row that one tensor holds, in any layer

    @property
    def steps_at_once(self) -> int:
        """Of a call that has every sequence at every step."""
        return max(1, min(MOST, ELEMENTS // (self.batch * self.width)))


class Plan(NamedTuple):
    """Which rows cuDNN reads, and where what it gives belongs; the same for every layer."""

    sizes: Sizes  # where rows are packed, one direction stands for all: cuDNN reverses by itself
    packed: Tensor | None  # (T,) int64 in memory, sequences at each time; None for dense calls
    sources: Tensor  # (D x N,), the row of the values, (B x T), that each row reads
    targets: Tensor  # (D x N,), the output, of (B x T x D), that each row gives
    origins: Tensor  # (B x T x D,), the row that gives each output
    padding: Tensor  # (B, T, 1) bool; there, the three above name any row


def planned(lengths: Tensor, sizes: Sizes, device: torch.device, *, packs: bool) -> Plan:
    """Work out a plan for a batch.

    Args:
        lengths: (B,); on the device they cost a dozen launches, and nothing is packed.
        sizes: of the batch.
        device: that computes.
        packs: whether to pack what can be packed.
    """
    at_once = sizes.steps <= sizes.steps_at_once
    if packs and at_once and lengths.device.type == "cpu" and device.type in PACKING:
        return _packed_plan(lengths, sizes, device)
    return _dense_plan(lengths, sizes, device)


def packs(cell: str, hidden: int) -> bool:
    """Whether a packed call is the faster one."""
    return hidden > PERSISTENT[cell]


def at_once(width: int) -> int:
    """Sequences of a batch that one call can take."""
    return min(MOST, ELEMENTS // width)


def _dense_plan(lengths: Tensor, sizes: Sizes, device: torch.device) -> Plan:
    """Every sequence at every time; past its end it reads its own first step, never padding.

    A direction's time runs from the end that it starts at: a sequence's own end for the backward
    one. Which time a step has and which step a time has is then the same formula.
    """
    (batch, steps, directions, _), where = sizes, lengths.device
    kind = torch.int32 if directions * batch * steps <= ELEMENTS else torch.int64
    step = torch.arange(steps, dtype=kind, device=where)[:, None]
    sequence = torch.arange(batch, dtype=kind, device=where)
    direction = torch.arange(directions, dtype=kind, device=where)[:, None, None]
    last = lengths.to(kind) - 1
    past = step > last
    times = torch.stack([step.expand_as(past), last - step][:directions]).masked_fill_(past, 0)
    sources = sequence * steps + times  # (D, T, B)
    targets = sources * directions + direction
    origins = (times * batch + (direction * (steps * batch) + sequence)).permute(2, 1, 0)
    found = sent_together([sources, targets, origins, past.T], device)
    read, given, origins = (index.reshape(-1) for index in found[:3])
    return Plan(sizes, None, read, given, origins, found[3].unsqueeze(2))


def _packed_plan(lengths: Tensor, sizes: Sizes, device: torch.device) -> Plan:
    """Nothing past a sequence's end, and the longest sequence first, as in `PackedSequence`."""
    batch, steps = sizes.batch, sizes.steps
    kind = torch.int32 if batch * steps <= ELEMENTS else torch.int64
    ranked, sequence = lengths.sort(descending=True, stable=True)
    step = torch.arange(steps)
    real = step[:, None] < ranked
    alive = real.sum(1)
    sources = (sequence * steps + step[:, None])[real]
    origins = sources.new_zeros(batch * steps)
    origins[sources] = torch.arange(len(sources))
    padding = step >= lengths[:, None]
    tables = [sources.to(kind), origins.to(kind), padding]
    there, back, past = sent_together(tables, device)
    one = sizes._replace(directions=1)
    return Plan(one, alive[alive > 0], there, there, back, past.unsqueeze(2))


def layer(cell: str, inputs: Tensor, plan: Plan, weights: list[Weights]) -> Tensor:
    """One layer, from (B, T, F) to (B, T, D x H), zero in the padding.

    Under autocast torch casts what goes into cuDNN to float16, whatever was asked for (torch 2.11
    and 2.13, aten/src/ATen/cudnn/AutocastRNN.cpp); so here autocast is off, and the cast our own.
    """
    kind, dtype = inputs.device.type, wanted(inputs)
    with without_autocast(kind):
        rows = cast(Tensor, _Read.apply(inputs.to(dtype), plan))  # type: ignore[no-untyped-call]
        call = _dense if plan.packed is None else _packed
        parts = call(cell, rows, plan, weights)
        return cast(Tensor, _Written.apply(plan, *parts))  # type: ignore[no-untyped-call]


def _autocasts(kind: str) -> bool:
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def wanted(inputs: Tensor) -> torch.dtype:
    """What cuDNN is to compute in; autocast leaves float64 alone, as it does elsewhere."""
    if inputs.dtype == torch.float64 or not _autocasts(inputs.device.type):
        return inputs.dtype
    return torch.get_autocast_dtype(inputs.device.type)


def without_autocast(kind: str) -> AbstractContextManager[object]:
    """Switch autocast off where it is on; see `layer`."""
    return torch.autocast(kind, enabled=False) if _autocasts(kind) else nullcontext()


class _Read(torch.autograd.Function):
    """The rows that each direction reads, (D x N, F), of the values, (B, T, F)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, plan: Plan) -> Tensor:
        ctx.plan = plan
        return values.flatten(0, 1).index_select(0, plan.sources)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None]:
        """A step is read once by each direction, so its gradient is a sum of one row of each.

        Rows past a sequence's end read its first step too, but what they give goes nowhere, so that
        their gradient is zero.
        """
        plan: Plan = ctx.plan
        batch, steps, directions, _ = plan.sizes
        read = grads.index_select(0, plan.origins).view(batch, steps, directions, -1)
        total = read.sum(2) if directions > 1 else read.squeeze(2)
        return total.masked_fill_(plan.padding, 0), None


class _Written(torch.autograd.Function):
    """The output, (B, T, D x H), of what cuDNN gave: of each direction, or of both together."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *parts: Tensor) -> Tensor:
        ctx.plan, ctx.width = plan, parts[0].shape[-1]
        rows = torch.cat(parts) if len(parts) > 1 else parts[0]
        output = rows.index_select(0, plan.origins).view(plan.sizes.batch, plan.sizes.steps, -1)
        return output.masked_fill_(plan.padding, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        batch, steps, directions, _ = plan.sizes
        rows = grads.reshape(-1, ctx.width).index_select(0, plan.targets)
        if plan.packed is None:  # rows past an end name an output that is not theirs
            by_time = rows.view(directions, steps, batch, -1)
            by_time.masked_fill_(plan.padding.transpose(0, 1), 0)
        return None, *rows.chunk(directions)


def last_states(output: Tensor, lengths: Tensor, hidden: int) -> Tensor:
    """(D, B, H): the forward output at each sequence's last step, the backward one at its first."""
    batch, steps, directions = *output.shape[:2], output.shape[2] // hidden
    last = lengths.to(torch.int64) - 1
    step = torch.stack([last, torch.zeros_like(last)][:directions])  # (D, B)
    place = torch.arange(batch, device=last.device) * steps + step
    place = place * directions + torch.arange(directions, device=last.device)[:, None]
    others = torch.arange(steps, device=last.device)[:, None] != step.T[:, None]  # (B, T, D)
    rows, elsewhere = sent_together([place.flatten(), others], output.device)
    states = _Last.apply(output, rows, elsewhere)  # type: ignore[no-untyped-call]
    return cast(Tensor, states).view(directions, batch, hidden)


class _Last(torch.autograd.Function):
    """Some rows of an output, each of a sequence and direction of its own."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, rows: Tensor, elsewhere: Tensor) -> Tensor:
        ctx.save_for_backward(elsewhere)
        hidden = output.shape[2] // elsewhere.shape[2]
        return output.view(-1, hidden).index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None, None]:
        (elsewhere,) = ctx.saved_tensors
        batch, steps, directions = elsewhere.shape
        each = grads.view(directions, batch, 1, -1).permute(1, 2, 0, 3)
        each = each.expand(batch, steps, directions, -1)
        return each.masked_fill(elsewhere[..., None], 0).view(batch, steps, -1), None, None


def _call(cell: str) -> Callable[..., Any]:
    return {"RNN": torch.rnn_tanh, "GRU": torch.gru, "LSTM": torch.lstm}[cell]  # type: ignore[return-value]


def _packed(cell: str, rows: Tensor, plan: Plan, weights: list[Weights]) -> list[Tensor]:
    """All directions in one call, (N, D x H)."""
    start = rows.new_zeros(len(weights), plan.sizes.batch, weights[0].weight_hh.shape[1])
    started = [start] * 2 if cell == "LSTM" else start
    flat = in_one_chunk(weights, rows.dtype)
    train, both = torch.is_grad_enabled(), len(weights) > 1
    return [_call(cell)(rows, plan.packed, started, flat, True, 1, 0.0, train, both)[0]]


def _dense(cell: str, rows: Tensor, plan: Plan, weights: list[Weights]) -> list[Tensor]:
    """Each direction in a call of its own, (T x B, H)."""
    batch, steps, directions, _ = plan.sizes
    parts = rows.view(directions, steps, batch, -1).unbind(0)
    start = rows.new_zeros(1, batch, weights[0].weight_hh.shape[1])
    # Here, and not beside, so that gradients of weights are added up on the stream that reads them;
    # torch warns of others since 2.10.
    flats = [in_one_chunk([one], rows.dtype) for one in weights]
    calls: list[Callable[[], Tensor]] = [
        partial(_one_direction, cell, part, start, flat, plan.sizes.steps_at_once)
        for part, flat in zip(parts, flats, strict=True)
    ]
    return _side_by_side(calls, [rows, start, *(flat[0] for flat in flats)])


def _one_direction(
    cell: str, inputs: Tensor, start: Tensor, flat: list[Tensor], steps_at_once: int
) -> Tensor:
    """One call for all steps, or several where cuDNN cannot count that far."""
    train = torch.is_grad_enabled()  # without it cuDNN keeps nothing for the gradients
    carried, parts = [start] * (2 if cell == "LSTM" else 1), []
    for piece in torch.split(inputs, steps_at_once):
        begin = carried if cell == "LSTM" else carried[0]
        states, *carried = _call(cell)(piece, begin, flat, True, 1, 0.0, train, False, False)
        parts.append(states)
    return (torch.cat(parts) if len(parts) > 1 else parts[0]).flatten(0, 1)


def _side_by_side(calls: list[Callable[[], Tensor]], read: list[Tensor]) -> list[Tensor]:
    """Run two directions at a time, each of which leaves most of the GPU idle.

    What one stream allocates and another one uses is kept until that one is done with it. Autograd
    runs the gradient of each call on the stream of the call, and waits between them by itself.
    """
    device = read[0].device
    if device.type != "cuda" or len(calls) == 1:
        return [call() for call in calls]
    here, beside = torch.cuda.current_stream(device), _second_stream(device)
    beside.wait_stream(here)
    with torch.cuda.stream(beside):
        second = calls[1]()
    for tensor in read:
        tensor.record_stream(beside)
    first = calls[0]()
    here.wait_stream(beside)
    second.record_stream(here)
    return [first, second]


@cache
def _second_stream(device: torch.device) -> torch.cuda.Stream:
    """Always the same one, since each stream has memory of its own."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def in_one_chunk(weights: list[Weights], dtype: torch.dtype) -> list[Tensor]:
    """Put them where cuDNN wants them; otherwise torch copies them itself, with a warning.

    It wants a storage that begins with the matrices of all directions, with the biases after them.

    Returns:
        weight_ih, weight_hh, bias_ih and bias_hh of each direction, views of one tensor.
    """
    matrices = [part for one in weights for part in one[:2]]
    ordered = [*matrices, *(part for one in weights for part in one[2:])]
    chunk = torch.cat([part.flatten() for part in ordered]).to(dtype)
    parts = chunk.split_with_sizes([part.numel() for part in ordered])
    views = [part.view_as(own) for part, own in zip(parts, ordered, strict=True)]
    pairs = range(0, len(matrices), 2)
    return [
        view for at in pairs for start in (at, len(matrices) + at) for view in views[start:][:2]
    ]


def check_lengths(lengths: Tensor, steps: int) -> None:
    """Let a GPU stop itself at a length below 1 or above the steps; the host does not wait.

    The error then comes from a later call, and says `device-side assert`. Without it, a length of 0
    would give another sequence's last state.
    """
    shortest, longest = lengths.aminmax()
    message = f"lengths should be from 1 to the {steps} steps of the values"
    torch._assert_async((shortest >= 1) & (longest <= steps), message)
