"""The mistake of reading the padding: as torch's own layers make it, and what it costs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import small_models
import torch
from torch import nn

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.evaluation import padding
from birnn.evaluation.padding import Padding, Reading
from birnn.model import batching
from birnn.model.networks import SequenceModel

Ragged = Callable[..., Sequences]
LENGTHS = [3, 7, 1, 5, 7, 2, 4, 6] * 10


def network(task: str = "tagging", **changes: Any) -> SequenceModel:
    """A small model of four features; its random weights are large, so that states count."""
    model = small_models.network(task, **changes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def measure(model: SequenceModel, test: Sequences) -> Padding:
    known = Encoding(model.architecture.task, list("abc"), list("wxyz"), [0.0] * 4, [1.0] * 4)
    return padding.measure(model, known, {}, test, seed=1)


def by_torch(model: SequenceModel, values: torch.Tensor, reading: Reading) -> Any:
    """What a tutorial computes: torch's layer on the padded batch, without lengths."""
    a = model.architecture
    layers = getattr(nn, a.cell)(
        a.features, a.hidden_size, a.num_layers, batch_first=True, bidirectional=a.bidirectional
    )
    layers.load_state_dict(model.rnn.state_dict())
    output, last = layers(values)
    last = last[0] if a.cell == "LSTM" else last
    read = {
        "every step": output,
        "last states": torch.cat(list(last[-1 - a.bidirectional :]), dim=1),
        "output[:, -1]": output[:, -1],
        "summary": output.mean(dim=1) if a.head == "mean" else output.amax(dim=1),
    }
    return model.linear(read[reading]).detach().numpy()


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize(
    ("reading", "knobs"),
    [
        ("every step", {}),
        ("every step", {"num_layers": 2}),
        ("last states", {"num_layers": 2}),
        ("last states", {"bidirectional": False}),
        ("output[:, -1]", {"num_layers": 2}),
        ("output[:, -1]", {"bidirectional": False}),
        ("summary", {"head": "mean"}),
        ("summary", {"head": "max"}),
    ],
)
def test_dense_is_what_torch_gives_without_packing(
    ragged: Ragged, cell: str, reading: Reading, knobs: dict[str, Any]
) -> None:
    tagging = reading == "every step"
    model = network("tagging" if tagging else "classification", cell=cell, **knobs)
    batch = batching.gather(ragged([5, 2, 3], tagging=tagging), np.arange(3))
    before = model(*batch.inputs)
    with padding.dense(model, reading):
        found = model(*batch.inputs)
    expected = by_torch(model, batch.values, reading)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-6)
    assert torch.equal(model(*batch.inputs), before)


class TestMeasure:
    def test_a_tagger_that_reads_forward_never_meets_the_padding(self, ragged: Ragged) -> None:
        (slip,) = measure(network(bidirectional=False), ragged(LENGTHS)).slips
        assert (slip.reading, slip.change, slip.changed, slip.moved) == ("every step", 0, 0, 0)

    def test_a_bidirectional_one_suffers_most_at_the_end_of_a_sequence(
        self, ragged: Ragged
    ) -> None:
        """The true labels are what the model says, so each answer that changes is a loss."""
        model, test = network(), ragged(LENGTHS)
        batch = batching.gather(test, np.arange(len(test)))
        labels = model(*batch.inputs).argmax(dim=2)[batch.labels >= 0].numpy()
        np.copyto(test.labels, labels)
        found = measure(model, test)
        (slip,) = found.slips
        assert (found.sequences, found.beside_longer, found.accuracy) == (80, False, 1)
        assert slip.accuracy == 1 - slip.changed < 1
        assert slip.change == pytest.approx(-slip.changed)
        assert slip.low is not None
        assert slip.high is not None
        assert slip.low < slip.change < slip.high < 0
        assert [group.labels for group in slip.from_end] == [80, 70, 60, 50, 40, 30, 20]
        assert {group.exact for group in [*slip.from_end, *slip.by_length]} == {1}
        assert slip.from_end[0].dense < slip.from_end[-1].dense
        for groups in (slip.from_end, slip.by_length):
            right = sum(group.labels * group.dense for group in groups)
            assert right == pytest.approx(slip.accuracy * sum(LENGTHS))

    def test_the_share_of_padding_is_that_of_the_batches(self, ragged: Ragged) -> None:
        found = measure(network(), ragged([2] * 63 + [8]))
        assert found.share == pytest.approx(1 - (63 * 2 + 8) / (64 * 8))

    @pytest.mark.parametrize("task", ["tagging", "classification"])
    def test_of_equal_lengths_each_batch_gets_one_of_twice_the_length(
        self, ragged: Ragged, task: str
    ) -> None:
        test = ragged([6] * 70, tagging=task == "tagging")
        found = measure(network(task), test)
        assert (found.sequences, found.beside_longer, found.share) == (70, True, 0.5)
        assert all(slip.moved > 0 for slip in found.slips)
        assert [group.labels for group in found.slips[0].by_length] == [len(test.labels)]

    def test_of_a_classifier_both_last_states_are_wrong(self, ragged: Ragged) -> None:
        model = network("classification")
        found = measure(model, ragged(LENGTHS, tagging=False))
        assert [slip.reading for slip in found.slips] == ["last states", "output[:, -1]"]
        assert all(slip.moved > 0 and slip.from_end == [] for slip in found.slips)
        pooled = measure(network("classification", head="mean"), ragged(LENGTHS, tagging=False))
        assert [slip.reading for slip in pooled.slips] == ["summary"]

    def test_a_large_split_is_measured_in_part(
        self, ragged: Ragged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(padding, "MOST_STEPS", 2 * 64 * 7)
        found = measure(network(), ragged(LENGTHS * 4))
        assert found.sequences == 128

    def test_it_is_the_same_twice(self, ragged: Ragged) -> None:
        assert measure(network(), ragged(LENGTHS)) == measure(network(), ragged(LENGTHS))
