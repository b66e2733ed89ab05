"""Which device computes, and how it is made to give the same result twice."""

from __future__ import annotations

import os

import torch

from birnn.errors import DeviceError


def choose(name: str) -> torch.device:
    """Turn `auto`, `cuda`, `mps` or `cpu` into a device; `auto` takes a GPU where there is one.

    Raises:
        DeviceError: the device that was asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((gpu for gpu, found in there.items() if found), "cpu")
    if not there.get(name, True):
        raise DeviceError(
            f"train.device: expected a machine with {name}, found none here; use auto or cpu"
        )
    return torch.device(name)


def make_deterministic(seed: int) -> None:
    """Seed torch and forbid operations whose result depends on the order of threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(seed)
