"""What the host waits for when it sends tensors to a GPU, and what arrives."""

from typing import Any

import pytest
import torch
from torch import Tensor

from birnn.model import transfers


class Recorder:
    """Looks like a tensor in memory, and notes how it is copied."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def pin_memory(self) -> "Recorder":
        self.calls.append("pinned")
        return self

    def to(self, device: torch.device, **how: bool) -> "Recorder":
        self.calls.append((device.type, how))
        return self


class TestSent:
    @pytest.mark.parametrize(
        ("kind", "calls"),
        [
            ("cuda", ["pinned", ("cuda", {"non_blocking": True})]),
            ("mps", [("mps", {})]),  # where torch may read the source when it is gone
            ("cpu", [("cpu", {})]),
        ],
    )
    def test_only_cuda_fetches_while_the_host_goes_on(self, kind: str, calls: list[Any]) -> None:
        recorder: Any = Recorder()
        transfers.sent(recorder, torch.device(kind))
        assert recorder.calls == calls

    def test_what_is_there_stays(self) -> None:
        tensor = torch.zeros(2)
        assert transfers.sent(tensor, torch.device("cpu")) is tensor


class TestSentTogether:
    def tensors(self) -> list[Tensor]:
        turned = torch.arange(6, dtype=torch.int32).view(2, 3).T
        return [torch.tensor([1 << 40, -1]), turned, torch.tensor([[True], [False]])]

    def test_in_one_copy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent = []

        def send(tensor: Tensor, _: torch.device) -> Tensor:
            sent.append(tensor)
            return tensor

        monkeypatch.setattr(transfers, "sent", send)
        found = transfers.sent_together(self.tensors(), torch.device("meta"))
        torch.testing.assert_close(found, self.tensors(), rtol=0, atol=0)
        assert len(sent) == 1

    def test_shapes_and_types_on_another_device(self) -> None:
        found = transfers.sent_together(self.tensors(), torch.device("meta"))
        assert [(one.shape, one.dtype) for one in found] == [
            (one.shape, one.dtype) for one in self.tensors()
        ]

    def test_what_is_there_stays(self) -> None:
        tensors = self.tensors()
        found = transfers.sent_together(tensors, torch.device("cpu"))
        assert all(a is b for a, b in zip(found, tensors, strict=True))
