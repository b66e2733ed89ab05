"""The device that computes, on machines with and without a GPU."""

import os

import pytest
import torch

from birnn import devices
from birnn.errors import DeviceError


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


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


class TestPrecision:
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_cpu_has_both(self, precision: str) -> None:
        devices.check_precision(precision, torch.device("cpu"))

    def test_a_gpu_without_bf16(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
        devices.check_precision("fp32", torch.device("cuda"))
        with pytest.raises(DeviceError, match="a device with bf16, found cuda without; use fp32"):
            devices.check_precision("bf16", torch.device("cuda"))


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
        devices.make_deterministic(1, torch.device("cuda"))
        assert called == [True]
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
