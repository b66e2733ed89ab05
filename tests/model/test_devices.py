"""The device that computes, on machines with and without a GPU."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from birnn.errors import DeviceError
from birnn.kernel import library
from birnn.model import devices, recurrent


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


BACKENDS: Any = torch.backends
PARTS = (BACKENDS.cudnn.rnn, BACKENDS.cudnn.conv, BACKENDS.cuda.matmul)


def tf32() -> list[str]:
    return [part.fp32_precision for part in PARTS]


@pytest.fixture(autouse=True)
def _tf32_as_before() -> Iterator[None]:
    before = tf32()
    yield
    BACKENDS.cudnn.allow_tf32, BACKENDS.cuda.matmul.allow_tf32 = True, False
    for part, precision in zip(PARTS, before, strict=True):
        part.fp32_precision = precision


class TestChoose:
    @pytest.mark.parametrize(
        ("name", "cuda", "mps", "expected"),
        [
            ("auto", False, False, "cpu"),
            ("auto", True, False, "cuda"),
            ("auto", False, True, "mps"),
            ("auto", True, True, "cuda"),
            ("cpu", True, True, "cpu"),
            ("cuda", True, False, "cuda"),
            ("mps", True, True, "mps"),
        ],
    )
    def test_there(
        self, monkeypatch: pytest.MonkeyPatch, name: str, cuda: bool, mps: bool, expected: str
    ) -> None:
        pretend(monkeypatch, cuda=cuda, mps=mps)
        assert devices.choose(name) == torch.device(expected)

    @pytest.mark.parametrize("name", ["cuda", "mps", "gpu"])
    def test_not_there(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        pretend(monkeypatch, cuda=False, mps=False)
        expected = f"train.device: expected a machine with {name}, found none here; use auto or cpu"
        with pytest.raises(DeviceError, match=expected):
            devices.choose(name)


class TestSeveralProcesses:
    """As `torchrun` starts them; each needs a GPU of its own."""

    @pytest.fixture(autouse=True)
    def _torchrun(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend(monkeypatch, cuda=True, mps=False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            monkeypatch.setenv(name, "2")
        monkeypatch.setenv("LOCAL_RANK", "1")

    @pytest.mark.parametrize("name", ["auto", "cuda"])
    def test_each_takes_its_own(self, name: str) -> None:
        assert devices.choose(name) == torch.device("cuda", 1)

    def test_a_cpu_serves_all(self) -> None:
        assert devices.choose("cpu") == torch.device("cpu")

    def test_more_than_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
        expected = (
            "torchrun: expected at most 2 processes, one for each GPU, found 3; "
            "use --nproc-per-node 2, or train.device: cpu"
        )
        with pytest.raises(DeviceError, match=expected):
            devices.choose("cuda")
        assert devices.choose("cpu") == torch.device("cpu")


def gpu_of(
    monkeypatch: pytest.MonkeyPatch, *, capability: int = 9, cudnn: int | None = 91501
) -> torch.device:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (capability, 0))
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    return torch.device("cuda")


class TestPrecisionOfAGPU:
    def test_what_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        device = gpu_of(monkeypatch)
        found = {wanted: devices.precision(wanted, device) for wanted in ("fp32", "tf32", "bf16")}
        assert found == {"fp32": "fp32", "tf32": "tf32", "bf16": "bf16"}
        assert devices.precision("auto", device) == "bf16"

    def test_a_cudnn_without_bf16(self, monkeypatch: pytest.MonkeyPatch) -> None:
        device = gpu_of(monkeypatch, cudnn=91002)
        assert devices.precision("auto", device) == "fp32"
        assert devices.precision("tf32", device) == "tf32"
        expected = "train.precision: expected cuDNN 9.13 or later for bf16, found 9.10; use auto or"
        with pytest.raises(DeviceError, match=expected):
            devices.precision("bf16", device)

    @pytest.mark.parametrize("wanted", ["tf32", "bf16"])
    def test_a_card_that_would_emulate(self, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
        device = gpu_of(monkeypatch, capability=7)
        assert devices.precision("auto", device) == "fp32"
        with pytest.raises(DeviceError, match=f"a device with {wanted}, found cuda without"):
            devices.precision(wanted, device)

    @pytest.mark.parametrize("kind", ["cpu", "mps"])
    def test_tf32_elsewhere(self, kind: str) -> None:
        with pytest.raises(DeviceError, match=f"a device with tf32, found {kind} without"):
            devices.precision("tf32", torch.device(kind))

    def test_float32_means_float32(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Torch computes RNNs on CUDA in TF32 as long as nobody forbids it."""
        pretend(monkeypatch, cuda=True, mps=False)
        devices.use_tf32(torch.device("cuda"), wanted=True)
        devices.choose("cuda")
        assert tf32() == ["ieee"] * 3
        assert not torch.backends.cudnn.allow_tf32
        devices.use_tf32(torch.device("cuda"), wanted=True)
        assert tf32() == ["tf32"] * 3
        assert torch.backends.cudnn.allow_tf32

    def test_a_cpu_changes_nothing(self) -> None:
        before = tf32()
        devices.choose("cpu")
        devices.use_tf32(torch.device("cpu"), wanted=True)
        assert tf32() == before


class TestPrecision:
    @pytest.mark.parametrize("there", [True, False])
    def test_is_what_a_cpu_has(self, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
        monkeypatch.setattr(recurrent, "cpu_has_bf16", lambda: there)
        device = torch.device("cpu")
        assert devices.precision("fp32", device) == "fp32"
        expected = "bf16" if there and not library.found() else "fp32"
        assert devices.precision("auto", device) == expected
        if there:
            assert devices.precision("bf16", device) == "bf16"
            return
        with pytest.raises(DeviceError, match="a device with bf16, found cpu without; use auto"):
            devices.precision("bf16", device)

    def test_another_device_has_none(self) -> None:
        assert devices.precision("auto", torch.device("mps")) == "fp32"


class TestDeterminism:
    def test_the_same_draws(self) -> None:
        draws = []
        for seed in (1, 1, 2):
            devices.make_deterministic(seed, torch.device("cpu"))
            draws.append(torch.rand(3))
        assert torch.equal(draws[0], draws[1])
        assert not torch.equal(draws[0], draws[2])

    def test_a_gpu_may_use_nothing_that_varies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = []
        monkeypatch.setattr(os, "environ", {})
        monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode: called.append(mode))
        memory: Any = torch.utils.deterministic
        filling = memory.fill_uninitialized_memory
        try:
            devices.make_deterministic(1, torch.device("cuda"))
            assert not memory.fill_uninitialized_memory  # a launch for each
        finally:
            memory.fill_uninitialized_memory = filling
        assert called == [True]
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
