"""A batch on its way: the shapes of torch's own layers, and slips that are true of the batch."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import numpy as np
import pytest
import small_models
import torch
from rich.console import Console
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from birnn.data.sequences import Sequences
from birnn.evaluation import batch_trace, trace_tables
from birnn.evaluation.batch_trace import BatchTrace, Part
from birnn.model.networks import SequenceModel

Ragged = Callable[..., Sequences]


def network(task: str = "tagging", **changes: Any) -> SequenceModel:
    return small_models.network(task, **({"cell": "RNN"} | changes))


def parts(found: BatchTrace) -> dict[str, Part]:
    return {part.name: part for part in found.parts}


def test_the_lesson(ragged: Ragged) -> None:
    """1000 sequences of 10 steps and 8 features, 10 hidden units in each direction, 5 classes."""
    model = network(features=8, hidden_size=10, classes=5)
    found = parts(batch_trace.follow(model, ragged([10] * 1000, features=8)))
    layer = nn.RNN(8, 10, batch_first=True, bidirectional=True)
    output, h_n = layer(torch.zeros(1000, 10, 8))
    assert found["input"].shape == (1000, 10, 8)
    assert found["output"].shape == output.shape == (1000, 10, 20)
    assert found["h_n"].shape == h_n.shape == (2, 1000, 10)
    assert found["logits"].shape == found["probabilities"].shape == (1000, 10, 5)
    assert found["output"].axes == ("batch", "steps", "2 x hidden")
    assert found["h_n"].axes == ("layers x 2", "batch", "hidden")


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_states_have_the_shapes_of_torch(
    ragged: Ragged, cell: str, bidirectional: bool, layers: int
) -> None:
    model = network(cell=cell, bidirectional=bidirectional, num_layers=layers)
    found = parts(batch_trace.follow(model, ragged([3, 7, 2])))
    layer = getattr(nn, cell)(4, 5, layers, batch_first=True, bidirectional=bidirectional)
    output, last = layer(torch.zeros(3, 7, 4))
    assert found["output"].shape == output.shape
    assert found["h_n"].shape == (last[0] if cell == "LSTM" else last).shape


@pytest.mark.parametrize(
    ("head", "name", "width"), [("last", "last states", 10), ("all", "summary (all)", 30)]
)
def test_of_a_classifier(ragged: Ragged, head: str, name: str, width: int) -> None:
    model = network("classification", head=head)
    found = parts(batch_trace.follow(model, ragged([3, 7, 2], tagging=False)))
    assert found[name].shape == (3, width)
    assert found["logits"].axes == ("batch", "classes")
    assert found["probabilities"].shape == (3, 3)


def test_of_tokens(ragged: Ragged) -> None:
    model = network(features=0, tokens=10, embedding_size=6)
    found = parts(batch_trace.follow(model, ragged([3, 2], features=0)))
    assert found["tokens"].shape == (2, 3)
    assert found["input"].axes == ("batch", "steps", "embedding")
    assert found["input"].shape == (2, 3, 6)


def test_the_axes_are_as_many_as_the_sizes(ragged: Ragged) -> None:
    for task in ("tagging", "classification"):
        found = batch_trace.follow(network(task), ragged([3, 7], tagging=task == "tagging"))
        assert all(len(part.axes) == len(part.shape) for part in found.parts)


def test_lengths_padding_and_batch_sizes(ragged: Ragged) -> None:
    found = batch_trace.follow(network(), ragged([3, 7, 2]))
    lengths = torch.tensor([3, 7, 2])
    packed = pack_padded_sequence(torch.zeros(3, 7), lengths, True, enforce_sorted=False)
    assert found.lengths == [3, 7, 2]
    assert found.padding == pytest.approx(9 / 21)
    assert found.batch_sizes == packed.batch_sizes.tolist()


class TestSlips:
    def slips(self, model: SequenceModel, sequences: Sequences) -> dict[str, str]:
        return {
            name: part.slip for name, part in parts(batch_trace.follow(model, sequences)).items()
        }

    def test_are_those_of_the_batch(self, ragged: Ragged) -> None:
        found = self.slips(network(), ragged([3, 7, 7]))
        assert "7 sequences of 3 steps" in found["input"]
        assert "for 1 of 3 sequences" in found["output"]
        assert "the backward one begins in it" in found["h_n"]
        assert "the 7 steps of a sequence sum to 1; dim=2" in found["probabilities"]
        found = self.slips(network("classification"), ragged([3, 7], tagging=False))
        assert "the 2 sequences sum to 1; dim=1" in found["probabilities"]

    def test_without_padding_only_the_backward_half_of_the_last_output_is_wrong(
        self, ragged: Ragged
    ) -> None:
        test = ragged([4, 4])
        assert self.slips(network(), test)["output"] == (
            "output[:, -1] is not the last state: its backward half has read one step alone."
        )
        assert self.slips(network(bidirectional=False), test)["output"] == ""
        assert "packing" not in self.slips(network(), test)["h_n"]

    def test_the_last_output_is_what_is_said_of_it(self, ragged: Ragged) -> None:
        """In torch: without padding its forward half is the last state, and no more."""
        layer = nn.RNN(4, 5, batch_first=True, bidirectional=True)
        values = torch.from_numpy(ragged([6, 6]).values.reshape(2, 6, 4))
        output, h_n = layer(values)
        alone, _ = layer(values[:, -1:])
        assert torch.equal(output[:, -1, :5], h_n[0])
        assert not torch.allclose(output[:, -1, 5:], h_n[1])
        np.testing.assert_allclose(
            output[:, -1, 5:].detach().numpy(), alone[:, 0, 5:].detach().numpy(), atol=1e-6
        )


def test_on_a_terminal(ragged: Ragged) -> None:
    console = Console(file=StringIO(), width=120)
    console.print(trace_tables.of_batch(batch_trace.follow(network(), ragged([1] * 20))))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    for text in ("20 x 1 x 10", "(batch, steps, 2 x hidden)", "lengths 1 1 1", "1 ...; 0.0 %"):
        assert text in shown
