"""What a model costs by formula, beside what torch has and keeps."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from birnn.kernel import library, recurrence
from birnn.model.architecture import Architecture
from birnn.model.networks import SequenceModel
from birnn.model.sizes import size_of

DEFAULT = Architecture("tagging", "RNN", 8, 0, 10, 1, 0.0, bidirectional=True, classes=5)
BATCH, STEPS = 64, 20
CASES = {
    "default": DEFAULT,
    "forward": replace(DEFAULT, bidirectional=False),
    "GRU": replace(DEFAULT, cell="GRU", num_layers=2),
    "LSTM": replace(DEFAULT, cell="LSTM", hidden_size=64, num_layers=3, bidirectional=False),
    "classifier": replace(DEFAULT, task="classification", head="all", cell="LSTM", hidden_size=64),
    "letters": replace(
        DEFAULT,
        features=2,
        embedding_size=7,
        tokens=11,
        characters="abc",
        character_size=4,
        character_hidden_size=5,
    ),
}


def test_the_default_run_has_505_and_255_parameters() -> None:
    forward = replace(DEFAULT, bidirectional=False)
    assert [size_of(one, 640).parameters for one in (DEFAULT, forward)] == [505, 255]


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_those_of_the_network(name: str) -> None:
    model = SequenceModel(CASES[name])
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert size_of(CASES[name], 640).parameters == expected


@pytest.mark.parametrize("name", CASES)
def test_each_weight_is_multiplied_once_a_step(name: str) -> None:
    """Those of matrices; an embedding is looked up, and a classifier's last layer waits."""
    model = SequenceModel(CASES[name])
    read: list[nn.Module] = [model.rnn]
    read += [model.linear] if CASES[name].task == "tagging" else []
    weights = [one for part in read for one in part.parameters() if one.dim() == 2]
    assert size_of(CASES[name], 640).multiply_adds == sum(one.numel() for one in weights)


@pytest.mark.skipif(library.found() is None, reason="no kernel, which the formula is of")
@pytest.mark.parametrize("name", ["default", "forward", "GRU", "LSTM", "classifier"])
def test_memory_is_near_what_is_kept_for_the_backward_pass(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    case = replace(CASES[name], hidden_size=64)  # whole vectors on every CPU
    model, kept = SequenceModel(case), dict[int, int]()

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    monkeypatch.setattr(recurrence, "FREE", [])  # or a block may be larger than is needed
    values = torch.randn(BATCH, STEPS, case.features)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(values, torch.full((BATCH,), STEPS)).flatten(0, -2)
        loss = nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))
    parameters = {one.untyped_storage().data_ptr() for one in model.parameters()}
    held = sum(size for place, size in kept.items() if place not in parameters)
    size = size_of(case, BATCH * STEPS)
    assert held == pytest.approx(size.memory - 5 * 4 * size.parameters, rel=0.05)
    assert loss.isfinite()
