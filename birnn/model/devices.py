"""Which device computes, and how it is made to give the same result twice."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from birnn.errors import DeviceError
from birnn.kernel import library
from birnn.model import recurrent, threads

BF16_CUDNN = 91300
"""The first version of cuDNN whose RNNs compute in bfloat16. With an older one torch 2.13 unrolls
the recurrence into many small operations (pytorch/pytorch#164411)."""


def choose(name: str) -> torch.device:
    """Turn `auto`, `cuda`, `mps` or `cpu` into a device; `auto` takes a GPU where there is one.

    Of several processes that `torchrun` has started, each takes a GPU of its own. On CUDA, float32
    then means float32; see `use_tf32`.

    Raises:
        DeviceError: the device that was asked for is not there, or fewer GPUs than processes.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((gpu for gpu, found in there.items() if found), "cpu")
    if not there.get(name, name == "cpu"):
        raise DeviceError(
            f"train.device: expected a machine with {name}, found none here; use auto or cpu"
        )
    device = _own_gpu() if name == "cuda" and "WORLD_SIZE" in os.environ else torch.device(name)
    use_tf32(device, wanted=False)
    return device


def _own_gpu() -> torch.device:
    """The GPU of this one of the processes that `torchrun` has started on this machine."""
    gpus, processes = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > gpus:
        raise DeviceError(
            f"torchrun: expected at most {gpus} processes, one for each GPU, found {processes}; "
            f"use --nproc-per-node {gpus}, or train.device: cpu"
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def name(device: torch.device) -> str:
    """What computes, in words: `cuda: NVIDIA H200`, `cpu: AMD EPYC 7763`."""
    gpu = device.type == "cuda"
    return f"{device.type}: {torch.cuda.get_device_name(device) if gpu else processor()}"


def processor() -> str:
    """The processor's name; Python knows it on few systems."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def precision(wanted: str, device: torch.device) -> str:
    """Turn `auto`, `fp32`, `tf32` or `bf16` into one of the last three.

    `auto` takes bf16 where it is there. On a CPU it takes fp32 where the kernel is, which is faster
    than torch's bf16, and exact.

    Raises:
        DeviceError: tf32 or bf16 was asked for, and the device has none.
    """
    if wanted == "fp32" or (wanted == "auto" and device.type == "cpu" and library.found()):
        return "fp32"
    missing = lacking("bf16" if wanted == "auto" else wanted, device)
    if not missing:
        return "bf16" if wanted == "auto" else wanted
    if wanted == "auto":
        return "fp32"
    raise DeviceError(f"train.precision: expected {missing}; use auto or fp32")


def lacking(wanted: str, device: torch.device) -> str:
    """What a device must have for bf16 or tf32, and what it has; empty where it is there."""
    none = f"a device with {wanted}, found {device.type} without"
    if device.type == "cpu" and wanted == "bf16":
        return "" if recurrent.cpu_has_bf16() else none
    # Ampere and later; torch can emulate bfloat16 on older ones, at a fraction of float32's speed.
    if (
        device.type != "cuda"
        or torch.version.hip
        or torch.cuda.get_device_capability(device)[0] < 8
    ):
        return none
    cudnn: int = torch.backends.cudnn.version() or 0  # type: ignore[no-untyped-call]
    if wanted == "bf16" and cudnn < BF16_CUDNN:
        return f"cuDNN 9.13 or later for bf16, found {cudnn // 10000}.{cudnn // 100 % 100}"
    return ""


def use_tf32(device: torch.device, *, wanted: bool) -> None:
    """Say whether float32 products on CUDA may drop 13 of the 23 bits of the mantissa.

    torch has this on for cuDNN, RNNs among it, and off for other products (torch 2.9 to 2.13). Here
    it is on or off for all. The older switches, `allow_tf32`, go with the newer ones, and cuDNN's
    convolutions with its RNNs, because torch fails where it finds that they differ.
    """
    if device.type == "cuda":
        chosen = "tf32" if wanted else "ieee"
        backends: Any = torch.backends  # torch builds these when it is imported
        backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = wanted
        for part in (backends.cudnn.rnn, backends.cudnn.conv, backends.cuda.matmul):
            part.fp32_precision = chosen


def make_deterministic(seed: int, device: torch.device) -> None:
    """Seed torch, and on a GPU forbid operations whose result depends on the order of threads.

    On a CPU the operations in use are deterministic, and asking for it would import torch's
    compiler, which takes longer than a small training. Nor does torch fill the memory that it takes
    on a GPU: nothing here reads what it has not written, and each fill is a launch.
    """
    torch.manual_seed(seed)
    if device.type != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(mode=True)
        memory: Any = torch.utils.deterministic
        memory.fill_uninitialized_memory = False


def limit_threads(sums: int) -> None:
    """Leave the threads of a CPU to the kernel, and use one where a step is too small to share.

    What torch still does beside the kernel is small. Its threads, where another process wants their
    cores, wait for each other by spinning: without the kernel the default training then takes ten
    times as long.

    Args:
        sums: see `birnn.model.threads.limit`.
    """
    share = threads.limit(sums)
    if library.found() or not share:
        torch.set_num_threads(1)


_ALONE = threading.RLock()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave threads, random numbers and determinism of the process as they are.

    For whoever trains or predicts within somebody else's program. All three are of the process, so
    that the threads of that program take turns.
    """
    with _ALONE:
        threads, own = torch.get_num_threads(), library.chosen_threads()
        deterministic = torch.are_deterministic_algorithms_enabled()
        try:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                yield
        finally:
            library.set_threads(own)
            torch.set_num_threads(threads)
            if torch.are_deterministic_algorithms_enabled() != deterministic:
                torch.use_deterministic_algorithms(mode=deterministic)
