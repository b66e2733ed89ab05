"""The compiled kernel: which one this process uses, and what is handed over to it.

library = found()    # None where there is none
library.forward(call)

Nothing here needs torch: `birnn.kernel.arrays` predicts with NumPy's arrays alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, Structure, c_double, c_float, c_int32, c_int64, c_ssize_t, c_void_p
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.kernel import build

if TYPE_CHECKING:  # it takes seconds to import
    from torch import Tensor

ENVIRONMENT: Final = "BIRNN_KERNEL"
"""Names the newest level to use, such as `v3`; `none` for torch's own operations."""

CELLS: Final = {"RNN": 0, "GRU": 1, "LSTM": 2}
Weights = (c_void_p * 4) * 2


class Call(Structure):
    """`struct call` of recurrence.h: one layer on one batch."""

    _fields_ = (
        *((name, c_int32) for name in ("cell", "directions", "threads")),
        *((name, c_ssize_t) for name in ("batch", "steps", "features", "hidden")),
        *((name, c_void_p) for name in ("values", "lengths", "packed")),
        ("weights", Weights),
        *((name, c_void_p) for name in ("start_states", "start_cells")),
        *((name, c_void_p) for name in ("output", "last_cells", "saved")),
        *((name, c_void_p) for name in ("output_grads", "last_cell_grads", "value_grads")),
        ("weight_grads", Weights),
        *((name, c_void_p) for name in ("start_state_grads", "start_cell_grads")),
    )


class Linear(Structure):
    """`struct linear` of layers.h."""

    _fields_ = (
        *((name, c_ssize_t) for name in ("rows", "inputs", "outputs")),
        *((name, c_void_p) for name in ("values", "weights", "bias", "output", "output_grads")),
        *((name, c_void_p) for name in ("value_grads", "weight_grads", "bias_grads")),
        *((name, c_int32) for name in ("threads", "failed")),
        *((name, c_void_p) for name in ("panels", "shares")),
        ("share_rows", c_ssize_t),
    )


class Pool(Structure):
    """`struct pool` of layers.h."""

    _fields_ = (
        *((name, c_ssize_t) for name in ("batch", "steps", "width")),
        *((name, c_void_p) for name in ("lengths", "values", "mean", "most", "at")),
        *((name, c_void_p) for name in ("mean_grads", "most_grads", "value_grads")),
        ("threads", c_int32),
    )


class Dropout(Structure):
    """`struct dropout` of layers.h."""

    _fields_ = (
        ("count", c_ssize_t),
        ("values", c_void_p),
        ("output", c_void_p),
        ("seed", ctypes.c_uint64),
        ("below", ctypes.c_uint32),
        ("scale", c_float),
        ("threads", c_int32),
    )


class Gather(Structure):
    """`struct gather` of layers.h."""

    _fields_ = (
        *((name, c_ssize_t) for name in ("batch", "steps", "width")),
        *((name, c_void_p) for name in ("starts", "lengths", "values", "wholes", "output")),
        ("padding", c_int64),
    )


class Loss(Structure):
    """`struct loss` of losses.h."""

    _fields_ = (
        *((name, c_ssize_t) for name in ("rows", "classes")),
        *((name, c_void_p) for name in ("logits", "labels", "class_weights", "scales")),
        ("gamma", c_float),
        *((name, c_void_p) for name in ("output", "losses", "totals")),
        *((name, c_int32) for name in ("threads", "failed")),
    )


class Adam(Structure):
    """`struct adam` of losses.h."""

    _fields_ = (
        *((name, c_ssize_t) for name in ("count", "size")),
        ("parameters", POINTER(c_void_p)),
        ("sizes", POINTER(c_ssize_t)),
        *((name, c_void_p) for name in ("gradient", "mean", "square")),
        *((name, c_double) for name in ("learning_rate", "weight_decay", "clip_norm")),
        ("step", c_int64),
        ("threads", c_int32),
        ("sums", c_void_p),
        *((name, c_float) for name in ("factor", "rate", "root")),
    )


class Library:
    """The functions of one level; each is called with a pointer to its structure.

    Attributes:
        level: its name, such as `v3`.
    """

    def __init__(self, path: Path, level: str) -> None:
        self.level, self._shared = level, ctypes.CDLL(str(path))
        take = self._function
        self.packed_floats = take("packed_floats", c_ssize_t, c_int32, c_ssize_t, c_ssize_t)
        self.saved_floats = take("saved_floats", c_ssize_t, c_int32, c_ssize_t)
        self.pack = take("pack", None, POINTER(Call), c_void_p)
        self.forward = take("forward", c_int32, POINTER(Call))
        self.backward = take("backward", c_int32, POINTER(Call))
        self.linear_forward = take("linear_forward", c_int32, POINTER(Linear))
        self.linear_backward = take("linear_backward", c_int32, POINTER(Linear))
        self.pool = take("pool", None, POINTER(Pool))
        self.pool_back = take("pool_back", None, POINTER(Pool))
        rows = (c_void_p, c_void_p, c_ssize_t, c_ssize_t, c_void_p)
        self.embedding_backward = take("embedding_backward", None, *rows)
        self.dropout = take("dropout", None, POINTER(Dropout))
        self.gather = take("gather", None, POINTER(Gather))
        self.softmax = take("softmax", c_int32, POINTER(Loss))
        self.cross_entropy = take("cross_entropy", c_int32, POINTER(Loss), c_void_p)
        self.adam = take("adam", c_int32, POINTER(Adam))
        self.borrow = take("borrow", None, c_void_p)

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        function = self._shared[f"birnn_{name}_{self.level}"]
        function.restype, function.argtypes = result, arguments
        return function


@cache
def found() -> Library | None:
    """The kernel for this CPU, compiled on the first call; None where it cannot be had."""
    return _tried()[0]


def kernel() -> Library:
    """The kernel, where it is known that there is one."""
    library = found()
    assert library is not None
    return library


def why_none() -> str:
    """Why there is no kernel, in one line; empty where there is one."""
    return _tried()[1]


@cache
def _tried() -> tuple[Library | None, str]:
    cap = os.environ.get(ENVIRONMENT, "")
    if cap == "none":
        return None, f"{ENVIRONMENT} is none"
    try:
        processor = build.built(build.PROCESSOR)
        level = "" if processor is None else _level(processor, cap)
        path = build.built(level) if level else None
    except (build.BuildError, OSError) as error:
        return None, str(error)
    if path is None:
        return None, "no C compiler; install one, or `pip install ziglang`"
    library = Library(path, level)
    library.borrow(None if _threads else _team())
    return library, ""


def _team() -> int | None:
    """Where the function is that runs work in the threads of torch; None where it is another's."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, c_void_p).value
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library of all
        return None


def _level(processor: Path, cap: str) -> str:
    """The newest level that this CPU has, and that the environment allows."""
    names = list(build.levels())
    newest = min(int(ctypes.CDLL(str(processor)).birnn_level()), len(names) - 1)
    return names[min(newest, names.index(cap) if cap in names else newest)]


def name() -> str:
    """Which arithmetic computes on a CPU: `kernel v3`, or `torch`."""
    library = found()
    return f"kernel {library.level}" if library else "torch"


def serves(tensor: Tensor) -> Library | None:
    """The kernel, if it computes with such a tensor: float32 on a CPU, and no bfloat16 wanted."""
    return wanted() if _fits(tensor) and not _compiles() else None


def serves_compiled(tensor: Tensor) -> bool:
    """The same, also while torch compiles; see `birnn.kernel.operators`."""
    return _fits(tensor) and not _off and is_there()


def _fits(tensor: Tensor) -> bool:
    import torch

    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        return False
    return not torch.is_autocast_enabled("cpu")


def _compiles() -> bool:
    import torch

    return torch.compiler.is_compiling()


def wanted() -> Library | None:
    """The kernel, unless somebody wants torch to compute; see `off`."""
    return None if _off else found()


def is_there() -> bool:
    """Whether there is a kernel."""
    return found() is not None


is_there._dynamo_marked_constant = True  # type: ignore[attr-defined]
# What `torch.compiler.assume_constant_result` does, which would import the compiler for it: tracing
# must not look into how the kernel is built.


_off = False


@contextmanager
def off() -> Iterator[None]:
    """Compute with torch inside this, to compare with."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


_threads = 0


def set_threads(count: int) -> None:
    """Compute in so many threads of our own; 0 for those of torch. No bit depends on it.

    Where torch is not loaded, 0 means one thread of our own for each CPU of this process.
    """
    global _threads
    _threads = count
    if library := found():
        library.borrow(None if count else _team())


def chosen_threads() -> int:
    """How many `set_threads` has chosen; 0 for as many as torch uses."""
    return _threads


def threads() -> int:
    """How many threads the kernel computes in."""
    if _threads:
        return _threads
    torch = sys.modules.get("torch")
    return int(pa.cpu_count() if torch is None else torch.get_num_threads())


def address(array: Tensor | npt.NDArray[Any] | None) -> int | None:
    """Where the numbers of a contiguous tensor or array begin."""
    if array is None:
        return None
    found = array.ctypes.data if isinstance(array, np.ndarray) else array.data_ptr()
    return int(found)


def check_memory(failed: int) -> None:
    """Turn the status of a call into an exception.

    Raises:
        MemoryError: it found too little memory.
    """
    if failed:
        raise MemoryError("the kernel found too little memory for a batch; make batches smaller")
