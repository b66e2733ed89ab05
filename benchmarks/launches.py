"""What a training step asks of a device, counted on a machine without one.

    counts = counted(lambda: step())

Tensors on `meta` have shapes and no values: whatever waits for a value fails, and every operation
that would be sent to a GPU passes here. cuDNN's calls are stood in for by `stubbed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FREE = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "_unsafe_view")
"""Operations that only take memory or look at it in another way."""


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations on tensors of `device`, by name; those that only make views are free."""

    def __init__(self, device: str = "meta") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        if name not in FREE and not _is_view(func) and self._touches(args, result):
            self.counts[name] += 1
        return result

    def _touches(self, args: Any, result: Any) -> bool:
        tensors = [part for part in _flat([*args, result]) if isinstance(part, Tensor)]
        return any(tensor.device.type == self.device for tensor in tensors)


def _is_view(func: Any) -> bool:
    infos = [one.alias_info for one in func._schema.returns]
    return func._schema.name == "aten::detach" or any(one and not one.is_write for one in infos)


def _flat(parts: Any) -> Iterator[Any]:
    for part in parts:
        if isinstance(part, (list, tuple)):
            yield from _flat(part)
        else:
            yield part


def counted(step: Callable[[], object], device: str = "meta") -> Counter[str]:
    """The operations that a call sends to a device, by name; a call of cuDNN counts as one."""
    mode = Launches(device)
    with mode, stubbed(mode.counts):
        step()
    return mode.counts


@contextmanager
def stubbed(counts: Counter[str]) -> Iterator[None]:
    """Put stand-ins for cuDNN's calls into torch: `meta` would unroll them over the steps."""

    class Called(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, output: tuple[int, ...], inputs: Tensor, *rest: Tensor) -> Tensor:
            counts["rnn"] += 1
            ctx.save_for_backward(inputs, *rest)
            return inputs.new_empty(output)

        @staticmethod
        def backward(ctx: Any, *_: Tensor) -> Any:
            counts["rnn_backward"] += 1
            return None, *(torch.empty_like(one) for one in ctx.saved_tensors)

    def call(inputs: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        packed = not isinstance(rest[2], bool)
        start, flat = (rest[1], rest[2]) if packed else (rest[0], rest[1])
        states = [start] if isinstance(start, Tensor) else list(start)
        directions, hidden = states[0].shape[0], states[0].shape[2]
        shape = (*inputs.shape[:-1], directions * hidden)
        return Called.apply(shape, inputs, *flat), *states  # type: ignore[no-untyped-call]

    with (
        mock.patch.object(torch, "lstm", call),
        mock.patch.object(torch, "gru", call),
        mock.patch.object(torch, "rnn_tanh", call),
    ):
        yield
