"""The forward pass without torch: the bytes of the network that torch trains."""

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import TOKENS, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.data.sequences import Sequences
from birnn.kernel import library
from birnn.kernel.arrays import Layer
from birnn.model import inference, padded, prediction
from birnn.model.architecture import Architecture
from birnn.model.inference import Network
from birnn.model.networks import SequenceModel

pytestmark = pytest.mark.skipif(library.found() is None, reason="needs the kernel")

LENGTHS = [3, 1, 14, 1, 5, 9, 2, 6]
READS: dict[str, dict[str, Any]] = {
    "features": {"features": 4},
    "tokens": {"features": 0, "tokens": 6, "embedding_size": 3},
    "letters": {
        "features": 0,
        "tokens": 6,
        "embedding_size": 3,
        "characters": "1Nehté",
        "character_size": 3,
        "character_hidden_size": 4,
    },
    "all": {
        "features": 4,
        "tokens": 6,
        "embedding_size": 3,
        "characters": "1Nehté",
        "character_size": 3,
        "character_hidden_size": 20,
    },
}


def build(**changes: Any) -> SequenceModel:
    torch.manual_seed(0)
    knobs: dict[str, Any] = {
        "task": "tagging",
        "cell": "LSTM",
        "embedding_size": 0,
        "hidden_size": 5,
        "num_layers": 1,
        "dropout": 0.5,
        "bidirectional": True,
        "classes": 3,
    }
    return SequenceModel(Architecture(**(knobs | READS["features"] | changes)))


def without_torch(model: SequenceModel) -> Network:
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    return Network(model.architecture, weights)


def drawn(model: SequenceModel, lengths: list[int] = LENGTHS) -> Sequences:
    a = model.architecture
    return draw(
        lengths, features=a.features, tokens=a.tokens > 0, tagging=a.task == "tagging", seed=3
    )


@settings(deadline=None)
@given(
    reads=st.sampled_from(sorted(READS)),
    task=st.sampled_from(["tagging", "classification"]),
    cell=st.sampled_from(["RNN", "GRU", "LSTM"]),
    num_layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    head=st.sampled_from(["last", "mean", "max", "all"]),
    hidden_size=st.sampled_from([1, 5, 16, 33]),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=40),
)
def test_the_same_bytes(
    reads: str, task: str, head: str, lengths: list[int], **changes: Any
) -> None:
    changes |= READS[reads] | {"task": task, "head": head if task == "classification" else "last"}
    model = build(**changes)
    sequences = drawn(model, lengths)
    expected = prediction.probabilities(model, sequences)
    found = prediction.probabilities(without_torch(model), sequences)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("reads", READS)
def test_alone_or_among_others_and_in_any_order(reads: str) -> None:
    network = without_torch(model := build(**READS[reads]))
    sequences = drawn(model)
    whole = prediction.probabilities(network, sequences)
    alone = [
        prediction.probabilities(network, sequences.select(np.array([number])))
        for number in range(len(sequences))
    ]
    assert np.concatenate(alone).tobytes() == whole.tobytes()
    order = np.random.default_rng(0).permutation(len(sequences))
    shuffled = prediction.probabilities(network, sequences.select(order))
    assert shuffled.tobytes() == np.concatenate([alone[number] for number in order]).tobytes()


@pytest.mark.parametrize("reads", READS)
def test_travels_to_another_process(reads: str) -> None:
    network = without_torch(model := build(**READS[reads]))
    sequences = drawn(model)
    there = pickle.loads(pickle.dumps(network))
    expected = prediction.probabilities(network, sequences)
    assert prediction.probabilities(there, sequences).tobytes() == expected.tobytes()


def test_words_that_training_lacks_are_unknown() -> None:
    network = without_torch(model := build(**READS["tokens"]))
    sequences = drawn(model)
    assert sequences.tokens is not None
    rare = sequences.tokens >= model.architecture.tokens
    assert rare.any()
    sequences.tokens[rare] = 0
    before = prediction.probabilities(network, drawn(model))
    assert prediction.probabilities(network, sequences).tobytes() == before.tobytes()


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_goes_on_where_it_stopped(cell: str) -> None:
    network = without_torch(build(cell=cell, num_layers=2, bidirectional=False))
    steps = np.random.default_rng(0).normal(size=(1, 9, 4)).astype(np.float32)
    whole, _ = network.go_on(steps, 9, None)
    parts, states = [], None
    for start, end in [(0, 1), (1, 5), (5, 9)]:
        part = np.ascontiguousarray(steps[:, start:end])
        found, states = network.go_on(part, end - start, states)
        parts.append(found)
    assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()


class TestMistakes:
    @pytest.mark.parametrize("change", ["missing", "unknown", "shape", "dtype"])
    def test_weights_of_another_model(self, change: str) -> None:
        model = build()
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        name = "linear.weight"
        if change == "missing":
            del weights[name]
        elif change == "unknown":
            weights["linear.other"] = weights[name]
        elif change == "shape":
            weights[name] = weights[name][:, 1:]
        else:
            weights[name] = weights[name].astype(np.float64)
        with pytest.raises(ValueError, match=r"linear\."):
            Network(model.architecture, weights)

    @pytest.mark.parametrize("reads", READS)
    def test_shapes_are_those_of_the_network(self, reads: str) -> None:
        model = build(task="classification", head="all", num_layers=2, **READS[reads])
        found = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        assert inference.shapes(model.architecture) == found

    @pytest.mark.parametrize(
        ("values", "lengths"),
        [
            (np.zeros((2, 3, 5), np.float32), np.array([1, 2])),
            (np.zeros((2, 3, 4)), np.array([1, 2])),
            (np.zeros((2, 3, 4), np.float32), np.array([1, 4])),
            (np.zeros((2, 3, 4), np.float32), np.array([0, 3])),
            (np.zeros((2, 3, 4), np.float32), np.array([1, 2, 3])),
            (np.zeros((2, 3, 4), np.float32), np.array([1.0, 2.0])),
        ],
    )
    def test_of_what_a_layer_reads(self, values: Any, lengths: Any) -> None:
        shapes = [(20, 4), (20, 5), (20,), (20,)]
        layer = Layer("LSTM", [np.zeros(shape, np.float32) for shape in shapes])
        with pytest.raises(ValueError, match="expected"):
            layer(values, lengths)


def test_a_batch_is_that_of_torch(ragged: Any) -> None:
    sequences = ragged(LENGTHS, tokens=True)
    assert sequences.dictionary == pa.array(TOKENS)
    (batch,) = padded.in_order(sequences, batch_size=len(LENGTHS), spell=True)
    assert batch.real.sum() == sum(LENGTHS)
    assert batch.spelling is not None
    assert not batch.values[~batch.real].any()
