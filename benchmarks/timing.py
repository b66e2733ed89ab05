"""Fair timing: the peers take turns, so that what else the machine does hits them all alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

PAUSE = 0.02  # seconds, until the threads of the last peer, which wait by spinning, leave the cores


def in_turn(
    peers: Mapping[str, Callable[[], object]], repetitions: int, device: torch.device
) -> dict[str, float]:
    """The median seconds of a call of each peer, after one call that does not count."""
    for call in peers.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(repetitions):
        for name, call in peers.items():
            time.sleep(PAUSE)
            seconds[name].append(once(call, device))
    return {name: median(times) for name, times in seconds.items()}


def matmul_speed(device: torch.device, size: int = 2048) -> float:
    """What a large float32 matrix product reaches, in floating-point operations a second."""
    left, right = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    return 2 * size**3 / in_turn({"product": lambda: left @ right}, 15, device)["product"]


def once(call: Callable[[], object], device: torch.device) -> float:
    """The seconds of one call, until the device has done with it."""
    _finish(device)
    start = time.perf_counter()
    call()
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
