"""A training's state on disk: complete, or counted as none."""

from pathlib import Path

import pytest
import torch
from torch import nn

from birnn.model import checkpoint
from birnn.model.adam import Adam
from birnn.model.checkpoint import File, Progress
from birnn.model.history import Epoch, marked

VALUES = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))


def start() -> tuple[nn.Module, Adam]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    return model, Adam(model.parameters(), learning_rate=0.1, weight_decay=0.0, clip_norm=1.0)


def step(model: nn.Module, optimizer: Adam) -> None:
    model(VALUES).square().sum().backward()
    optimizer.step(optimizer.take_gradient())


def progress(model: nn.Module, *losses: float) -> Progress:
    epochs = marked(
        [Epoch(n, 0.1 + 0.2, loss, 0.5, 1 / 3, 0.1) for n, loss in enumerate(losses, start=1)]
    )
    return Progress(epochs, {name: value.clone() for name, value in model.state_dict().items()})


def test_the_next_step_is_the_same(tmp_path: Path) -> None:
    model, optimizer = start()
    step(model, optimizer)
    saved = progress(model, 0.3, 0.2)
    checkpoint.save(File(tmp_path / "x.safetensors"), model, optimizer, saved)
    resumed, resumed_optimizer = start()
    found = checkpoint.load(File(tmp_path / "x.safetensors"), resumed, resumed_optimizer)
    assert found.history == saved.history
    assert found.best.keys() == saved.best.keys()
    assert all(torch.equal(found.best[name], saved.best[name]) for name in saved.best)
    for _ in range(3):
        step(model, optimizer)
        step(resumed, resumed_optimizer)
    for one, other in zip(resumed.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_best_epoch() -> None:
    model, _ = start()
    assert Progress().best_epoch == 0
    assert progress(model, 0.3, 0.1, 0.2, 0.1).best_epoch == 2


class TestNone:
    """No state, or a broken one: training starts anew, from the weights that it has."""

    def check(self, path: Path) -> None:
        (model, optimizer), (expected, _) = start(), start()
        assert checkpoint.load(File(path), model, optimizer) == Progress()
        assert not optimizer.num_steps.any()
        for one, other in zip(model.parameters(), expected.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_no_file(self, tmp_path: Path) -> None:
        self.check(tmp_path / "x.safetensors")

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
    def test_a_file_that_was_cut(self, tmp_path: Path, share: float) -> None:
        path = tmp_path / "x.safetensors"
        model, optimizer = start()
        step(model, optimizer)
        checkpoint.save(File(path), model, optimizer, progress(model, 0.3))
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        self.check(path)

    @pytest.mark.parametrize("content", [b"\0" * 1000, b"\xff" * 1000, b"epochs"])
    def test_a_file_of_something_else(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.safetensors").write_bytes(content)
        self.check(tmp_path / "x.safetensors")


def test_an_interrupted_save_keeps_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def write_half(path: Path, content: bytes) -> None:
        write(path, content[: len(content) // 2])
        raise KeyboardInterrupt

    path = tmp_path / "x.safetensors"
    model, optimizer = start()
    checkpoint.save(File(path), model, optimizer, progress(model, 0.3))
    old = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(File(path), model, optimizer, progress(model, 0.3, 0.2))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [old]
