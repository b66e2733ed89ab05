"""Traces of a model: the shapes and values of a forward pass, and halves as a brute force."""

from collections.abc import Callable
from dataclasses import asdict, replace
from io import StringIO
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from rich.console import Console
from small_models import network

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.evaluation import trace, trace_tables
from birnn.model import prediction
from birnn.model.networks import SequenceModel

Ragged = Callable[..., Sequences]
Half = Literal["forward", "backward"]
CPU = torch.device("cpu")
LABELS = ["a", "b", "c"]


def encoding(task: str = "tagging") -> Encoding:
    return Encoding(task, LABELS, list("wxyz"), [0.0] * 4, [1.0] * 4)


def explain(model: SequenceModel, one: Sequences, most_steps: int = 40) -> trace.Trace:
    known = encoding(model.architecture.task)
    return trace.explain(model, known, {}, one, labelled=True, most_steps=most_steps)


def halved_by_hand(model: SequenceModel, one: Sequences, half: Half) -> Any:
    """Zero in the linear layer the weights that read the other direction; softmax."""
    size = model.architecture.hidden_size
    steps = torch.from_numpy(one.values[None])
    output, last = model.rnn(steps, torch.tensor([len(one.values)]))
    states = output[0] if one.tagging else torch.cat(list(last[-2:]), dim=1)
    weight = model.linear.weight.clone()
    weight[:, size:] *= half == "backward"
    weight[:, :size] *= half == "forward"
    with torch.no_grad():
        return (states @ weight.T + model.linear.bias).softmax(dim=1).detach().numpy()


@pytest.mark.parametrize("task", ["tagging", "classification"])
class TestHalves:
    @pytest.mark.parametrize("half", ["forward", "backward"])
    def test_against_a_linear_layer_that_reads_one_half(
        self, ragged: Ragged, task: str, half: Half
    ) -> None:
        model, one = network(task), ragged([6], tagging=task == "tagging")
        with trace.half_of(model, half):
            found = prediction.probabilities(model, one, device=CPU)
        np.testing.assert_allclose(found, halved_by_hand(model, one, half), atol=1e-6)

    def test_the_model_is_whole_again_afterwards(self, ragged: Ragged, task: str) -> None:
        model, one = network(task), ragged([6], tagging=task == "tagging")
        before = prediction.probabilities(model, one, device=CPU)
        explain(model, one)
        np.testing.assert_array_equal(prediction.probabilities(model, one, device=CPU), before)

    @pytest.mark.parametrize("head", ["mean", "max", "all"])
    def test_whatever_the_linear_layer_reads(self, ragged: Ragged, task: str, head: str) -> None:
        """The halves of equal directions, on a sequence that reads the same both ways, agree."""
        model = network(task, head=head if task == "classification" else "last")
        weights = model.state_dict()
        for name in [name for name in weights if name.endswith("_reverse")]:
            weights[name] = weights[name.removesuffix("_reverse")]
        linear = weights["linear.weight"].reshape(3, -1, 2, 5)
        weights["linear.weight"] = linear[:, :, :1].expand_as(linear).reshape(3, -1)
        model.load_state_dict(weights)
        one = ragged([7], tagging=task == "tagging")
        mirrored = replace(one, values=one.values + one.values[::-1])
        shares = []
        for half in ("forward", "backward"):
            with trace.half_of(model, half):
                shares.append(prediction.probabilities(model, mirrored, device=CPU))
        np.testing.assert_allclose(shares[0], shares[1][::-1], atol=1e-6)


class TestFlow:
    def shapes(self, model: SequenceModel, one: Sequences) -> dict[str, tuple[int, ...]]:
        return {layer.name: layer.shape for layer in trace.flow(model, one)}

    def test_of_a_tagger(self, ragged: Ragged) -> None:
        assert self.shapes(network(), ragged([6])) == {
            "input": (6, 4),
            "forward states": (6, 5),
            "backward states": (6, 5),
            "both together": (6, 10),
            "logits": (6, 3),
            "probabilities": (6, 3),
        }

    def test_of_a_classifier(self, ragged: Ragged) -> None:
        shapes = self.shapes(network("classification"), ragged([6], tagging=False))
        assert list(shapes.items())[-3:] == [
            ("last states", (10,)),
            ("logits", (3,)),
            ("probabilities", (3,)),
        ]
        shapes = self.shapes(network("classification", head="all"), ragged([6], tagging=False))
        assert shapes["summary (all)"] == (30,)

    def test_of_one_direction(self, ragged: Ragged) -> None:
        shapes = self.shapes(network(bidirectional=False), ragged([6]))
        assert list(shapes) == ["input", "forward states", "logits", "probabilities"]

    def test_of_tokens(self, ragged: Ragged) -> None:
        model = network(features=0, tokens=10, embedding_size=6)
        assert self.shapes(model, ragged([6], features=0))["input"] == (6, 6)

    @pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
    def test_the_values_are_those_of_the_forward_pass(self, ragged: Ragged, cell: str) -> None:
        model, one = network(cell=cell, num_layers=2), ragged([6])
        layers = {layer.name: layer for layer in trace.flow(model, one)}
        output = model.rnn(torch.from_numpy(one.values[None]), torch.tensor([6]))[0][0]
        shares = prediction.probabilities(model, one, device=CPU)
        expected = {
            "input": one.values,
            "layer 2, forward states": output[:, :5].detach().numpy(),
            "layer 2, backward states": output[:, 5:].detach().numpy(),
            "layer 2, both together": output.detach().numpy(),
            "probabilities": shares,
        }
        for name, values in expected.items():
            np.testing.assert_allclose(layers[name].values, values, atol=1e-4)
            assert layers[name].low == pytest.approx(float(values.min()), abs=1e-4)
            assert layers[name].high == pytest.approx(float(values.max()), abs=1e-4)
        assert layers["layer 1, both together"].shape == (6, 10)

    def test_long_and_wide_layers_are_shown_in_part(self, ragged: Ragged) -> None:
        layers = trace.flow(network(hidden_size=50), ragged([60]))
        assert all(len(layer.values) <= trace.MOST_STEPS for layer in layers)
        assert all(len(row) <= trace.SHOWN_UNITS for layer in layers for row in layer.values)


class TestCuttingTheFutureOff:
    def after(self, model: SequenceModel, one: Sequences, steps: int) -> Any:
        """What the model says of the first steps of a sequence."""
        labels = one.labels[:steps] if one.tagging else one.labels
        begun = replace(one, values=one.values[:steps], labels=labels, offsets=np.array([0, steps]))
        return prediction.probabilities(model, begun, device=CPU)

    def test_of_a_tagger(self, ragged: Ragged) -> None:
        model, one = network(), ragged([6])
        found = explain(model, one)
        whole = self.after(model, one, 6)
        assert found.cuts == [1, 2, 3, 4, 5, 6]
        for step, answer in enumerate(found.answers):
            final = whole[step].argmax()
            expected = [self.after(model, one, cut)[step, final] for cut in range(step + 1, 7)]
            assert found.after_cut[step][:step] == [None] * step
            assert found.after_cut[step][step:] == pytest.approx(expected, abs=1e-3)
            assert answer.both.label == LABELS[final]
            assert answer.both.probability == pytest.approx(float(whole[step, final]), abs=1e-3)
            past = self.after(model, one, step + 1)[step]
            assert answer.cut_off.label == LABELS[past.argmax()]
            assert answer.actual == LABELS[one.labels[step]]
            if step < 5:
                changes = np.diff(expected)
                assert answer.turned_at == step + 2 + np.abs(changes).argmax()
                assert answer.turned_by == pytest.approx(
                    changes[np.abs(changes).argmax()], abs=1e-3
                )
        assert (found.answers[-1].turned_at, found.answers[-1].turned_by) == (0, 0)

    def test_of_a_classifier(self, ragged: Ragged) -> None:
        model, one = network("classification"), ragged([6], tagging=False)
        found = explain(model, one)
        (final,) = self.after(model, one, 6).argmax(axis=1)
        expected = [self.after(model, one, cut)[0, final] for cut in range(1, 7)]
        assert found.after_cut[0] == pytest.approx(expected, abs=1e-3)
        assert [answer.turned_at for answer in found.answers] == [0, 2, 3, 4, 5, 6]
        turns = [answer.turned_by for answer in found.answers[1:]]
        assert turns == pytest.approx(np.diff(expected), abs=1e-3)
        for step, answer in enumerate(found.answers, start=1):
            assert answer.both.label == LABELS[self.after(model, one, step)[0].argmax()]

    def test_nothing_changes_in_a_model_that_does_not_read_it(self, ragged: Ragged) -> None:
        found = explain(network(bidirectional=False), ragged([6]))
        assert {answer.backward for answer in found.answers} == {None}
        for answer in found.answers:
            assert answer.both == answer.forward
            assert answer.both.probability == pytest.approx(answer.cut_off.probability, abs=1e-3)
            assert abs(answer.turned_by) < 1e-3

    def test_of_a_long_sequence_the_first_steps_are_explained(self, ragged: Ragged) -> None:
        found = explain(network(), ragged([50]), most_steps=3)
        assert (found.steps, found.cuts, len(found.answers)) == (50, [1, 2, 3, 50], 3)
        assert [len(row) for row in found.after_cut] == [4, 4, 4]
        whole = self.after(network(), ragged([50]), 50)[:3].max(axis=1)
        assert [row[-1] for row in found.after_cut] == pytest.approx(whole, abs=1e-3)


class TestTelling:
    def test_the_sequence_on_which_the_backward_half_helps_most(self, ragged: Ragged) -> None:
        model, test = network(), ragged([8] * 20, seed=3)
        both = prediction.probabilities(model, test, device=CPU).argmax(axis=1)
        alone = [
            halved_by_hand(model, test.select(np.array([n])), "forward").argmax(axis=1)
            for n in range(20)
        ]
        gained = ((both == test.labels) & (np.concatenate(alone) != test.labels)).reshape(20, 8)
        assert gained.any()
        assert trace.telling(model, test) == gained.sum(axis=1).argmax()

    def test_the_shortest_where_all_are_long(self, ragged: Ragged) -> None:
        assert trace.telling(network(), ragged([60, 50, 70])) == 1


class TestFind:
    def batches(self, **columns: Any) -> list[pa.RecordBatch]:
        rows = {"sequence": ["s", "s", "t", "u", "u"], **{x: [1.0, 2, 3, 4, 5] for x in "wxyz"}}
        found: list[pa.RecordBatch] = pa.table(rows | columns).to_batches(max_chunksize=2)
        return found

    @pytest.mark.parametrize(("name", "first"), [(None, [1, 2]), ("t", [3]), ("u", [4, 5])])
    def test_by_its_id(self, name: str | None, first: list[float]) -> None:
        found, labelled = trace.find(self.batches(), encoding(), name, where="t.csv")
        assert found.values[:, 0].tolist() == first
        assert not labelled

    def test_with_labels_and_other_columns(self) -> None:
        batches = self.batches(label=list("abcab"), other=["x"] * 5)
        found, labelled = trace.find(batches, encoding(), "u", where="t.csv")
        assert (found.labels.tolist(), labelled) == ([0, 1], True)

    def test_that_is_not_there(self) -> None:
        with pytest.raises(DataError, match=r"t.csv, column `sequence`: expected 'v', found no"):
            trace.find(self.batches(), encoding(), "v", where="t.csv")

    @pytest.mark.parametrize(
        ("count", "lengths"), [(1, [2]), (2, [2, 1]), (3, [2, 1, 2]), (9, [2, 1, 2])]
    )
    def test_the_first_ones(self, count: int, lengths: list[int]) -> None:
        found = trace.first(self.batches(), encoding(), count, where="t.csv")
        assert found.lengths.tolist() == lengths
        assert found.values[:, 0].tolist() == [1, 2, 3, 4, 5][: sum(lengths)]

    def test_in_a_table_without_a_column(self) -> None:
        batches = [batch.drop_columns(["y"]) for batch in self.batches()]
        with pytest.raises(DataError, match=r"t.csv: expected a column `y` as in training"):
            trace.find(batches, encoding(), None, where="t.csv")


def test_words_are_spelled(ragged: Ragged) -> None:
    one = ragged([3], features=0)
    assert one.tokens is not None
    dictionary = pa.array([f"w{n}" for n in range(10)])
    spelled = trace.words(replace(one, dictionary=dictionary), np.array([2, 0]))
    assert spelled == [f"w{one.tokens[2]}", f"w{one.tokens[0]}"]
    assert trace.words(ragged([3]), np.array([0])) is None


def test_on_a_terminal(ragged: Ragged) -> None:
    console = Console(file=StringIO(), width=120)
    for table in trace_tables.on_terminal(explain(network(), ragged([6]))):
        console.print(table)
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    for text in ("1 x 6 x 10", "forward states", "past only", "turned by step"):
        assert text in shown


def test_it_is_plain_data(ragged: Ragged) -> None:
    found = asdict(explain(network(), ragged([6])))
    assert found["sequence"] == "s0"
    assert found["flow"][0]["shape"] == (6, 4)
    assert all(0 <= answer["both"]["probability"] <= 1 for answer in found["answers"])
