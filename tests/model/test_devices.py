"""The device that computes, on machines with and without a GPU."""

import os

import pytest
import torch

from birnn.errors import DeviceError
from birnn.kernel import library
from birnn.model import devices, recurrent


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
    @pytest.mark.parametrize("there", [True, False])
    @pytest.mark.parametrize("kind", ["cpu", "cuda"])
    def test_is_what_the_device_has(
        self, monkeypatch: pytest.MonkeyPatch, kind: str, there: bool
    ) -> None:
        monkeypatch.setattr(recurrent, "cpu_has_bf16", lambda: there)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: there)
        device = torch.device(kind)
        assert devices.precision("fp32", device) == "fp32"
        assert devices.precision("auto", device) == (
            "bf16" if there and (kind == "cuda" or not library.found()) else "fp32"
        )
        if there:
            assert devices.precision("bf16", device) == "bf16"
            return
        with pytest.raises(
            DeviceError, match=f"a device with bf16, found {kind} without; use auto"
        ):
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
        devices.make_deterministic(1, torch.device("cuda"))
        assert called == [True]
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
