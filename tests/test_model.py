"""The whole model against torch.nn on packed sequences, and the two files that keep it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from birnn import files, model
from birnn.encoding import Encoding
from birnn.errors import DataError
from birnn.model import Architecture, SequenceModel

TASKS = ["tagging", "classification"]
LENGTHS = torch.tensor([3, 7, 1, 5])
TAGGER = Architecture(
    task="tagging",
    cell="LSTM",
    inputs=4,
    embedding_size=0,
    hidden_size=5,
    num_layers=2,
    dropout=0.0,
    bidirectional=True,
    classes=3,
)
ENCODING = Encoding("tagging", ["1", "NA", "<é>"], list("abcd"), [0.1] * 4, [0.2] * 4, [])


def build(**changes: Any) -> SequenceModel:
    torch.manual_seed(0)
    return SequenceModel(replace(TAGGER, **changes)).eval()


def draw(network: SequenceModel, lengths: Tensor, extra: int = 0) -> Tensor:
    """Features, or tokens for a network that embeds them."""
    shape = (len(lengths), int(lengths.max()) + extra)
    inputs = network.architecture.inputs
    if network.architecture.embedding_size:
        return torch.randint(inputs, shape)
    return torch.randn(*shape, inputs, dtype=network.linear.weight.dtype)


def reference(network: SequenceModel, values: Tensor, lengths: Tensor) -> tuple[Tensor, nn.Module]:
    """Logits by torch.nn on packed sequences, with the weights of `network`; and that module."""
    a = network.architecture
    rnn = getattr(nn, a.cell)(
        a.embedding_size or a.inputs,
        a.hidden_size,
        a.num_layers,
        batch_first=True,
        bidirectional=a.bidirectional,
    ).to(network.linear.weight.dtype)
    rnn.load_state_dict(network.rnn.state_dict())
    if network.embedding is not None:
        values = nn.functional.embedding(values, network.embedding.weight)
    packed = pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
    output, last = rnn(packed)
    if a.task == "tagging":
        states, _ = pad_packed_sequence(output, batch_first=True, total_length=values.shape[1])
    else:
        hidden = last[0] if a.cell == "LSTM" else last
        states = torch.cat([hidden[-2], hidden[-1]], dim=1) if a.bidirectional else hidden[-1]
    return nn.functional.linear(states, network.linear.weight, network.linear.bias), rnn


def gradients(logits: Tensor, *modules: nn.Module | None) -> list[Tensor]:
    parameters = [p for module in modules if module is not None for p in module.parameters()]
    return list(torch.autograd.grad(logits.square().sum(), parameters))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("embedding_size", [0, 6], ids=["features", "tokens"])
def test_equals_torch_on_packed_sequences(
    task: str, cell: str, bidirectional: bool, embedding_size: int
) -> None:
    network = build(
        task=task, cell=cell, bidirectional=bidirectional, embedding_size=embedding_size
    ).double()
    values = draw(network, LENGTHS, extra=2)
    found = network(values, LENGTHS)
    expected, rnn = reference(network, values, LENGTHS)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    shared = (network.linear, network.embedding)
    actual, wanted = gradients(found, network.rnn, *shared), gradients(expected, rnn, *shared)
    torch.testing.assert_close(actual, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_shapes(cell: str, bidirectional: bool) -> None:
    network = build(cell=cell, bidirectional=bidirectional)
    directions = 2 if bidirectional else 1
    values = draw(network, LENGTHS)
    output, last = network.rnn(values, LENGTHS)
    assert output.shape == (4, 7, directions * 5)
    assert last.shape == (2 * directions, 4, 5)
    assert network(values, LENGTHS).shape == (4, 7, 3)
    classifier = build(task="classification", cell=cell, bidirectional=bidirectional)
    assert classifier(values, LENGTHS).shape == (4, 3)
    assert network.linear.in_features == classifier.linear.in_features == directions * 5


lengths = st.lists(st.integers(1, 8), min_size=1, max_size=5).map(torch.tensor)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("embedding_size", [0, 6], ids=["features", "tokens"])
class TestPadding:
    """What lies past a sequence's length is nobody's business."""

    @settings(max_examples=20, deadline=None)
    @given(lengths=lengths)
    def test_its_content_never_changes_a_logit(
        self, task: str, embedding_size: int, lengths: Tensor
    ) -> None:
        network = build(task=task, embedding_size=embedding_size)
        values = draw(network, lengths)
        real = torch.arange(values.shape[1]) < lengths[:, None]
        other = values.clone()
        other[~real] = 3 if embedding_size else float("nan")
        found, expected = network(other, lengths), network(values, lengths)
        mask = real if task == "tagging" else torch.ones(len(lengths), dtype=torch.bool)
        assert torch.equal(found[mask], expected[mask])

    @settings(max_examples=20, deadline=None)
    @given(lengths=lengths)
    def test_its_amount_never_changes_a_logit(
        self, task: str, embedding_size: int, lengths: Tensor
    ) -> None:
        network = build(task=task, embedding_size=embedding_size).double()
        values = draw(network, lengths, extra=3)
        together = network(values, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = network(values[row : row + 1, :length], torch.tensor([length]))[0]
            found = together[row, :length] if task == "tagging" else together[row]
            torch.testing.assert_close(found, alone, rtol=1e-10, atol=1e-10)

    def test_batch_order_never_changes_a_prediction(self, task: str, embedding_size: int) -> None:
        network = build(task=task, embedding_size=embedding_size).double()
        values, order = draw(network, LENGTHS), torch.tensor([2, 0, 3, 1])
        shuffled = network(values[order], LENGTHS[order])
        expected = network(values, LENGTHS)[order]
        torch.testing.assert_close(shuffled, expected, rtol=1e-10, atol=1e-10)
        assert torch.equal(shuffled.argmax(dim=-1), expected.argmax(dim=-1))


class TestDropout:
    def test_in_training_only(self) -> None:
        plain, dropping = build(), build(dropout=0.5)
        dropping.load_state_dict(plain.state_dict())
        values = draw(plain, LENGTHS)
        assert torch.equal(dropping(values, LENGTHS), plain(values, LENGTHS))
        dropping.train()
        assert not torch.equal(dropping(values, LENGTHS), dropping(values, LENGTHS))

    def test_before_the_linear_layer(self) -> None:
        network = build(dropout=1.0, num_layers=1).train()
        logits = network(draw(network, LENGTHS), LENGTHS)
        assert torch.equal(logits, network.linear.bias.expand_as(logits))


class TestFiles:
    @pytest.mark.parametrize("task", TASKS)
    @pytest.mark.parametrize("embedding_size", [0, 6])
    def test_round_trip(self, tmp_path: Path, task: str, embedding_size: int) -> None:
        network = build(task=task, embedding_size=embedding_size, dropout=0.3)
        model.save(network, ENCODING, {"NA": 0.1, "<é>": 1 / 3}, tmp_path / "m")
        read, encoding, thresholds = model.load(tmp_path / "m")
        assert encoding == ENCODING
        assert thresholds == {"NA": 0.1, "<é>": 1 / 3}
        assert read.architecture == network.architecture
        assert not read.training
        values = draw(network, LENGTHS)
        assert torch.equal(read(values, LENGTHS), network(values, LENGTHS))

    def test_the_same_model_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for folder in "ab":
            model.save(build(), ENCODING, {}, tmp_path / folder)
        for name in (model.WEIGHTS, model.DESCRIPTION):
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    @pytest.mark.parametrize("name", [model.WEIGHTS, model.DESCRIPTION])
    def test_a_missing_file(self, tmp_path: Path, name: str) -> None:
        model.save(build(), ENCODING, {}, tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"{name}: no such file; run `dvc repro` first"):
            model.load(tmp_path)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
    def test_weights_that_were_cut(self, tmp_path: Path, share: float) -> None:
        model.save(build(), ENCODING, {}, tmp_path)
        whole = (tmp_path / model.WEIGHTS).read_bytes()
        (tmp_path / model.WEIGHTS).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match="expected a model that `train` has saved, found: "):
            model.load(tmp_path)

    @pytest.mark.parametrize(
        "change",
        [
            lambda tree: tree["architecture"].update(cell="Elman"),
            lambda tree: tree["architecture"].update(hidden_size=6),
            lambda tree: tree["architecture"].update(hidden_size="5"),
            lambda tree: tree["architecture"].update(attention=True),
            lambda tree: tree["architecture"].pop("classes"),
            lambda tree: tree.pop("encoding"),
            lambda tree: tree["encoding"].pop("labels"),
            lambda tree: tree.pop("thresholds"),
            lambda tree: tree.update(thresholds=[0.5]),
            lambda tree: tree.update(thresholds={"NA": "high"}),
            lambda tree: tree.update(thresholds={"absent": 0.5}),
        ],
    )
    def test_a_description_that_does_not_fit(
        self, tmp_path: Path, change: Callable[[Any], Any]
    ) -> None:
        model.save(build(), ENCODING, {}, tmp_path)
        tree = files.read_json(tmp_path / model.DESCRIPTION)
        change(tree)
        (tmp_path / model.DESCRIPTION).write_text(json.dumps(tree))
        with pytest.raises(DataError) as refused:
            model.load(tmp_path)
        message = str(refused.value)
        assert message.startswith(f"{tmp_path}: expected a model that `train` has saved, found: ")
        assert "\n" not in message
