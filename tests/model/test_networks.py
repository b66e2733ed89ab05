"""The whole model against torch.nn on packed sequences, and the two files that keep it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import encoding_for
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from birnn.data.encoding import Encoding
from birnn.data.vectors import NONE, Vectors
from birnn.errors import DataError
from birnn.files import atomic, paths
from birnn.model import batching, saved_model, spelling
from birnn.model.architecture import Architecture
from birnn.model.networks import SequenceModel
from birnn.model.spelling import Spelling

TASKS = ["tagging", "classification"]
LENGTHS = torch.tensor([3, 7, 1, 5])
TAGGER = Architecture(
    task="tagging",
    cell="LSTM",
    features=4,
    embedding_size=0,
    hidden_size=5,
    num_layers=2,
    dropout=0.0,
    bidirectional=True,
    classes=3,
)
WORDS = ["", "a", "NA", "Zürich", "1", "<i>", "new", "naïve 😀", "y" * 70]
TOKENS = {"features": 0, "tokens": 6, "embedding_size": 6}
LETTERS = {"characters": "1<>ANZachirü", "character_size": 3, "character_hidden_size": 4}
READS: dict[str, dict[str, Any]] = {
    "features": {},
    "tokens": TOKENS,
    "letters": TOKENS | LETTERS,
    "all three": TOKENS | LETTERS | {"features": 4},
}
ENCODING = Encoding("tagging", ["1", "NA", "<é>"], list("abcd"), [0.1] * 4, [0.2] * 4)


def build(**changes: Any) -> SequenceModel:
    torch.manual_seed(0)
    return SequenceModel(replace(TAGGER, **changes)).eval()


Inputs = tuple[Tensor, Tensor, Tensor | None, Spelling[Tensor] | None]


def draw(network: SequenceModel, lengths: Tensor, extra: int = 0) -> Inputs:
    """What the network reads; some tokens and letters are unknown to it."""
    a, shape = network.architecture, (len(lengths), int(lengths.max()) + extra)
    values = torch.randn(*shape, a.features, dtype=network.linear.weight.dtype)
    if not a.tokens:
        return values, lengths, None, None
    tokens = torch.randint(len(WORDS), shape)
    spelled = spelling.of(tokens.numpy(), pa.array(WORDS)) if a.characters else None
    return values, lengths, tokens, spelled and batching.spelled(spelled)


def packed(rnn: nn.RNNBase, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and the last layer's last states, by packing."""
    pack = pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
    output, last = rnn(pack)
    states, _ = pad_packed_sequence(output, batch_first=True, total_length=values.shape[1])
    hidden = last[0] if isinstance(rnn, nn.LSTM) else last
    directions = 1 + rnn.bidirectional
    return states, torch.cat(list(hidden[-directions:]), dim=1)


def reference(network: SequenceModel, inputs: Inputs) -> tuple[Tensor, list[nn.Module]]:
    """Logits by torch.nn on packed sequences, with the weights of `network`; and its modules."""
    a, (values, lengths, tokens, spelled) = network.architecture, inputs
    rnn = getattr(nn, a.cell)(
        a.width, a.hidden_size, a.num_layers, batch_first=True, bidirectional=a.bidirectional
    ).to(network.linear.weight.dtype)
    rnn.load_state_dict(network.rnn.state_dict())
    modules, parts = [rnn], [values]
    if tokens is not None and network.embedding is not None:
        rows = tokens * (tokens < a.tokens)
        parts.append(nn.functional.embedding(rows, network.embedding.weight))
    if spelled is not None and network.letters is not None:
        reader = nn.GRU(
            a.character_size, a.character_hidden_size, batch_first=True, bidirectional=True
        ).to(rnn.weight_hh_l0.dtype)
        reader.load_state_dict(network.letters.rnn.state_dict())
        modules.append(reader)
        letters = [[a.characters.find(chr(point)) + 1 for point in row] for row in spelled.letters]
        embedded = nn.functional.embedding(torch.tensor(letters), network.letters.embedding.weight)
        parts.append(packed(reader, embedded, spelled.lengths)[1][spelled.places])
    output, last = packed(rnn, torch.cat(parts, dim=2), lengths)
    states = output if a.task == "tagging" else summary(a.head, output, last, lengths)
    return nn.functional.linear(states, network.linear.weight, network.linear.bias), modules


def summary(head: str, output: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
    """What a head looks at, one sequence at a time."""
    rows = [row[:length] for row, length in zip(output, lengths.tolist(), strict=True)]
    kinds = {
        "last": last,
        "mean": torch.stack([row.mean(dim=0) for row in rows]),
        "max": torch.stack([row.amax(dim=0) for row in rows]),
    }
    chosen = list(kinds.values()) if head == "all" else [kinds[head]]
    return torch.cat(chosen, dim=1)


def gradients(logits: Tensor, *modules: nn.Module | None) -> list[Tensor]:
    parameters = [p for module in modules if module is not None for p in module.parameters()]
    return list(torch.autograd.grad(logits.square().sum(), parameters))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("reads", READS)
def test_equals_torch_on_packed_sequences(
    task: str, cell: str, bidirectional: bool, reads: str
) -> None:
    network = build(task=task, cell=cell, bidirectional=bidirectional, **READS[reads]).double()
    check_against_torch(network, draw(network, LENGTHS, extra=2))


@pytest.mark.parametrize("head", ["last", "mean", "max", "all"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_heads(head: str, bidirectional: bool) -> None:
    network = build(task="classification", head=head, bidirectional=bidirectional).double()
    inputs = draw(network, LENGTHS, extra=2)
    assert network(*inputs).shape == (4, 3)
    check_against_torch(network, inputs)


def check_against_torch(network: SequenceModel, inputs: Inputs) -> None:
    """Compare logits and all gradients."""
    found, (expected, modules) = network(*inputs), reference(network, inputs)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    letters = network.letters
    ours = [network.rnn] + ([] if letters is None else [letters.rnn])
    shared = (network.linear, network.embedding, letters and letters.embedding)
    actual, wanted = gradients(found, *ours, *shared), gradients(expected, *modules, *shared)
    torch.testing.assert_close(actual, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_shapes(cell: str, bidirectional: bool) -> None:
    network = build(cell=cell, bidirectional=bidirectional)
    directions = 2 if bidirectional else 1
    inputs = draw(network, LENGTHS)
    output, last = network.rnn(*inputs[:2])
    assert output.shape == (4, 7, directions * 5)
    assert last.shape == (2 * directions, 4, 5)
    assert network(*inputs).shape == (4, 7, 3)
    classifier = build(task="classification", cell=cell, bidirectional=bidirectional)
    assert classifier(*inputs).shape == (4, 3)
    assert network.linear.in_features == classifier.linear.in_features == directions * 5


lengths = st.lists(st.integers(1, 8), min_size=1, max_size=5).map(torch.tensor)


@pytest.mark.parametrize("kind", ["tagging", "last", "mean", "max", "all"])
@pytest.mark.parametrize("reads", READS)
class TestPadding:
    """What lies past a sequence's length is nobody's business."""

    def build(self, kind: str, reads: str) -> SequenceModel:
        if kind == "tagging":
            return build(**READS[reads]).double()
        return build(task="classification", head=kind, **READS[reads]).double()

    @settings(max_examples=10, deadline=None)
    @given(lengths=lengths)
    def test_its_content_never_changes_a_logit(
        self, kind: str, reads: str, lengths: Tensor
    ) -> None:
        network = self.build(kind, reads)
        values, _, tokens, spelled = draw(network, lengths)
        real = torch.arange(values.shape[1]) < lengths[:, None]
        other = values.masked_fill(~real[:, :, None], float("nan"))
        words = None if tokens is None else tokens.masked_fill(~real, 3)
        found = network(other, lengths, words, spelled)
        expected = network(values, lengths, tokens, spelled)
        mask = real if kind == "tagging" else torch.ones(len(lengths), dtype=torch.bool)
        assert torch.equal(found[mask], expected[mask])
        assert all(gradient.isfinite().all() for gradient in gradients(found[mask], network))

    @settings(max_examples=10, deadline=None)
    @given(lengths=lengths)
    def test_its_amount_never_changes_a_logit(self, kind: str, reads: str, lengths: Tensor) -> None:
        network = self.build(kind, reads)
        inputs = draw(network, lengths, extra=3)
        together = network(*inputs)
        for row, length in enumerate(lengths.tolist()):
            alone = network(*part(inputs, torch.tensor([row]), length))[0]
            found = together[row, :length] if kind == "tagging" else together[row]
            torch.testing.assert_close(found, alone, rtol=1e-10, atol=1e-10)

    def test_batch_order_never_changes_a_prediction(self, kind: str, reads: str) -> None:
        network, order = self.build(kind, reads), torch.tensor([2, 0, 3, 1])
        inputs = draw(network, LENGTHS)
        shuffled = network(*part(inputs, order))
        expected = network(*inputs)[order]
        torch.testing.assert_close(shuffled, expected, rtol=1e-10, atol=1e-10)
        assert torch.equal(shuffled.argmax(dim=-1), expected.argmax(dim=-1))


def part(inputs: Inputs, rows: Tensor, steps: int | None = None) -> Inputs:
    """Some sequences of a batch and their first steps."""
    values, lengths, tokens, spelled = inputs
    return (
        values[rows, :steps],
        lengths[rows],
        None if tokens is None else tokens[rows, :steps],
        spelled and spelled._replace(places=spelled.places[rows, :steps]),
    )


class TestTokens:
    def test_what_training_does_not_have_begins_with_zeros(self) -> None:
        network = build(**READS["letters"])
        assert network.embedding is not None
        assert network.letters is not None
        for embedding in (network.embedding, network.letters.embedding):
            assert not embedding.weight[0].any()
            assert embedding.weight[1:].norm(dim=1).min() > 0.1

    def test_unknown_ones_share_a_row(self) -> None:
        network = build(**READS["tokens"])
        tokens = torch.tensor([[1, 6, 7, 0]])
        values, lengths = torch.zeros(1, 4, 0), torch.tensor([4])
        plain = network(values, lengths, torch.tensor([[1, 0, 0, 0]]))
        assert torch.equal(network(values, lengths, tokens), plain)

    def test_pretrained_vectors_start_their_rows(self) -> None:
        network, untouched = build(**READS["tokens"]), build(**READS["tokens"])
        values = np.arange(12, dtype=np.float32).reshape(2, 6)
        network.start_from(Vectors(np.array([4, 1]), values))
        assert network.embedding is not None
        assert untouched.embedding is not None
        expected = untouched.embedding.weight.detach().clone()
        expected[[4, 1]] = torch.from_numpy(values)
        assert torch.equal(network.embedding.weight, expected)
        assert network.embedding.weight.requires_grad
        network.start_from(NONE)
        assert torch.equal(network.embedding.weight, expected)

    def test_letters_that_training_has_not_count_for_nothing(self) -> None:
        network = build(**READS["letters"])
        assert network.letters is not None
        words = pa.array(["x", "\U0001f600", "\x00", "A"])
        spelled = batching.spelled(spelling.of(np.array([[0, 1, 2, 3]]), words))
        *unknown, known = network.letters(spelled)
        for row in unknown:
            assert torch.equal(row, unknown[0])
            assert not torch.equal(row, known)

    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_the_rarer_a_token_the_more_often_it_is_dropped_in_training(self, share: float) -> None:
        network = build(**READS["tokens"], word_dropout=share)
        network.expect(np.array([0, 1, 2, 4, 8, 0, 100, 100]))
        assert network.embedding is not None
        seen = list[Tensor]()
        network.embedding.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        tokens = torch.arange(6).repeat(200, 20)
        for train in (False, True):
            network.train(train)
            network(torch.zeros(200, 120, 0), torch.full((200,), 120), tokens)
        assert torch.equal(seen[0], tokens)
        for token, count in enumerate([0, 1, 2, 4, 8]):
            rows = seen[1][tokens == token]
            assert ((rows == 0) | (rows == token)).all()
            if token:
                found = (rows == 0).double().mean().item()
                assert found == pytest.approx(share / (share + count), abs=0.03)


class TestDropout:
    def test_in_training_only(self) -> None:
        plain, dropping = build(), build(dropout=0.5, input_dropout=0.1)
        dropping.load_state_dict(plain.state_dict())
        inputs = draw(plain, LENGTHS)
        assert torch.equal(dropping(*inputs), plain(*inputs))
        dropping.train()
        assert not torch.equal(dropping(*inputs), dropping(*inputs))

    def test_before_the_linear_layer(self) -> None:
        network = build(dropout=1.0, num_layers=1).train()
        logits = network(*draw(network, LENGTHS))
        assert torch.equal(logits, network.linear.bias.expand_as(logits))

    def test_of_all_that_is_read(self) -> None:
        network = build(input_dropout=1.0, **READS["all three"]).train()
        one, other = (network(*draw(network, LENGTHS)) for _ in range(2))
        real = torch.arange(7) < LENGTHS[:, None]
        assert torch.equal(one[real], other[real])


class TestFiles:
    @pytest.mark.parametrize("task", TASKS)
    @pytest.mark.parametrize("reads", READS)
    def test_round_trip(self, tmp_path: Path, task: str, reads: str) -> None:
        network = build(task=task, dropout=0.3, **READS[reads])
        expected = replace(encoding_for(network.architecture), labels=ENCODING.labels)
        saved_model.save(network, expected, {"NA": 0.1, "<é>": 1 / 3}, tmp_path / "m")
        read, encoding, thresholds = saved_model.load(tmp_path / "m")
        assert encoding == expected
        assert thresholds == {"NA": 0.1, "<é>": 1 / 3}
        assert read.architecture == network.architecture
        assert not read.training
        inputs = draw(network, LENGTHS)
        assert torch.equal(read(*inputs), network(*inputs))

    def test_the_same_model_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for folder in "ab":
            saved_model.save(build(), ENCODING, {}, tmp_path / folder)
        for name in (paths.WEIGHTS, paths.DESCRIPTION):
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    @pytest.mark.parametrize("name", [paths.WEIGHTS, paths.DESCRIPTION])
    def test_a_missing_file(self, tmp_path: Path, name: str) -> None:
        saved_model.save(build(), ENCODING, {}, tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"{name}: no such file; run `dvc repro` first"):
            saved_model.load(tmp_path)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
    def test_weights_that_were_cut(self, tmp_path: Path, share: float) -> None:
        saved_model.save(build(), ENCODING, {}, tmp_path)
        whole = (tmp_path / paths.WEIGHTS).read_bytes()
        (tmp_path / paths.WEIGHTS).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"weights\.safetensors: expected .*, found"):
            saved_model.load(tmp_path)

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
        saved_model.save(build(), ENCODING, {}, tmp_path)
        tree = atomic.read_json(tmp_path / paths.DESCRIPTION)
        change(tree)
        (tmp_path / paths.DESCRIPTION).write_text(json.dumps(tree))
        with pytest.raises(DataError) as refused:
            saved_model.load(tmp_path)
        message = str(refused.value)
        assert re.match(
            rf"{tmp_path}/(model\.json|weights\.safetensors): .*expected .*found", message
        )
        assert "\n" not in message
