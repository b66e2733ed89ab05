"""Which device computes, and how it is made to give the same result twice."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from birnn.errors import DeviceError
from birnn.kernel import library
from birnn.model import recurrent

SUMS_WORTH_SHARING = 4096


def choose(name: str) -> torch.device:
    """Turn `auto`, `cuda`, `mps` or `cpu` into a device; `auto` takes a GPU where there is one.

    Raises:
        DeviceError: the device that was asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((gpu for gpu, found in there.items() if found), "cpu")
    if not there.get(name, name == "cpu"):
        raise DeviceError(
            f"train.device: expected a machine with {name}, found none here; use auto or cpu"
        )
    return torch.device(name)


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
    """Turn `auto`, `fp32` or `bf16` into one of the last two; `auto` takes bf16 where it is there.

    On a CPU it takes fp32 where the kernel is, which is faster than torch's bf16, and exact.

    Raises:
        DeviceError: bf16 was asked for, and the device has none.
    """
    if wanted == "fp32" or (wanted == "auto" and device.type == "cpu" and library.found()):
        return "fp32"
    if _has_bf16(device):
        return "bf16"
    if wanted == "bf16":
        raise DeviceError(
            f"train.precision: expected a device with bf16, found {device.type} without; "
            "use auto or fp32"
        )
    return "fp32"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cpu":
        return recurrent.cpu_has_bf16()
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def make_deterministic(seed: int, device: torch.device) -> None:
    """Seed torch, and on a GPU forbid operations whose result depends on the order of threads.

    On a CPU the operations in use are deterministic, and asking for it would import torch's
    compiler, which takes longer than a small training.
    """
    torch.manual_seed(seed)
    if device.type != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(mode=True)


def limit_threads(sums: int) -> None:
    """Leave the threads of a CPU to the kernel, and use one where a step is too small to share.

    What torch still does beside the kernel is small. Two threads gain nothing below some thousand
    sums a step, and those of torch, where another process wants their cores, wait for each other by
    spinning: without the kernel the default training then takes ten times as long.

    Args:
        sums: that one step of a batch takes, sequences x hidden units x gates.
    """
    share = sums >= SUMS_WORTH_SHARING
    if library.found():
        library.set_threads(library.threads() if share else 1)
    if library.found() or not share:
        torch.set_num_threads(1)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave threads, random numbers and determinism of the process as they are.

    For whoever trains within somebody else's program.
    """
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
