"""Two processes train the model that one process trains; `tests/test_ray.py` has `torchrun`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import distributed as torch_distributed

from birnn.errors import ParamsError
from birnn.kernel import library
from birnn.model import distributed, history
from birnn.model.distributed import ALONE, Group, joined
from birnn.tracking import store

ROOT = Path(__file__).parents[2]


def test_alone_nothing_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(torch.device("cpu")) as group:
        assert group == ALONE
        assert group.leads
        gradient = torch.tensor([1.0, 2.0])
        group.add(gradient)
        assert gradient.tolist() == [1.0, 2.0]
        assert group.share(b"state") == b"state"


@pytest.mark.parametrize(
    ("kind", "backend", "cards"), [("cpu", "gloo", []), ("cuda:1", "nccl", ["cuda:1"])]
)
def test_the_backend_is_that_of_the_device(
    monkeypatch: pytest.MonkeyPatch, kind: str, backend: str, cards: list[str]
) -> None:
    """A machine with GPUs may train on its CPU."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    taken: list[str] = []
    begun: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: taken.append(str(device)))
    monkeypatch.setattr(torch_distributed, "init_process_group", begun.append)
    monkeypatch.setattr(torch_distributed, "destroy_process_group", lambda: begun.append("end"))
    monkeypatch.setattr(torch_distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch_distributed, "get_world_size", lambda: 2)
    with joined(torch.device(kind)) as group:
        assert group == Group(rank=1, size=2)
    assert (begun, taken) == ([backend, "end"], cards)


def test_another_number_of_processes_than_params_say_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number decides bytes, and params name all that does."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    distributed.check(3)
    with pytest.raises(ParamsError, match=r"train.workers: expected 3, as many as `torchrun`"):
        distributed.check(1)


@pytest.mark.slow
def test_a_mistake_in_several_processes_is_told_without_a_traceback(
    prepared: Path, small_params: Callable[[], dict[str, Any]], runs_root: Path
) -> None:
    shutil.copytree(prepared, runs_root, dirs_exist_ok=True)
    tree = small_params()
    tree["train"] |= {"workers": 2, "learning_rate": 1e38}
    alone = {"OMP_NUM_THREADS": "1", library.ENVIRONMENT: "none"}
    (runs_root / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, "-m", "stages.train", "bidirectional"],
        cwd=runs_root,
        env={**os.environ, "PYTHONPATH": str(ROOT), **alone},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stderr
    said = finished.stderr.splitlines()
    (error,) = {line for line in said if line.startswith("error")}  # of each that has come so far
    assert error.startswith("error: epoch 1: expected a finite loss")
    assert [line for line in said if line != error] == [
        f"note: torch computes, so other CPUs get other digits: {library.ENVIRONMENT} is none"
    ]


@pytest.mark.slow
def test_the_same_weights_as_one_process(
    prepared: Path,
    small_params: Callable[[], dict[str, Any]],
    runs_root: Path,
    stage: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = [runs_root / "one", runs_root / "two"]
    for workers, folder in enumerate(folders, 1):
        shutil.copytree(prepared, folder)
        tree = small_params()
        tree["train"]["workers"] = workers
        (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    monkeypatch.chdir(folders[0])
    stage("train", "bidirectional")
    finished = subprocess.run(
        [sys.executable, "-m", "stages.train", "bidirectional"],
        cwd=folders[1],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert finished.stdout.count("kept epoch") == 1  # only one process speaks
    one, two = (load_file(f / "models/bidirectional/weights.safetensors") for f in folders)
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-5)
    one_history, two_history = (
        history.read(f / "models/bidirectional/history.csv") for f in folders
    )
    assert [epoch.train_loss for epoch in two_history] == pytest.approx(
        [epoch.train_loss for epoch in one_history], abs=1e-5
    )
    runs = store.connect().search_runs([store.experiment(store.connect(), "small")])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]  # one a training
