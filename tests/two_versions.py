"""A registry with two versions of a model, which answer differently."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import _root_is

from birnn.model import saved_model
from birnn.tracking import registry, runs
from birnn.tracking.registry import Registry


def make(root: Path, empty_store: Path, trained: Path) -> None:
    """Put into `root` the models `models/1` and `models/2`, and register them as `problem`."""
    shutil.copy(empty_store, root)
    (root / "prepared").mkdir()
    (root / "prepared/encoding.json").touch()
    with pytest.MonkeyPatch.context() as patch:
        _root_is(root, patch)
        known = registry.connect("problem")
        for number in (1, 2):
            folder = root / "models" / str(number)
            shutil.copytree(trained, folder)
            network, encoding, thresholds = saved_model.load(folder)
            with torch.no_grad():
                network.linear.bias.copy_(torch.eye(3)[number] * 9)
            saved_model.save(network, encoding, thresholds, folder)
            run = runs.run_of_model(
                "problem", "bidirectional", folder, params={}, data=root / "prepared"
            )
            known.register(run.id, {})


def serve(known: Registry, number: int | None) -> None:
    """Let a version be the champion."""
    known.point({"champion": number, "previous": None, "challenger": None})
