"""Passes without torch's graph of gradients, beside those with it: the same bytes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from birnn.data.sequences import Sequences
from birnn.kernel import library
from birnn.model import backprop, batching, losses
from birnn.model.adam import Adam
from birnn.model.architecture import Architecture
from birnn.model.backprop import Backprop
from birnn.model.batching import Batch
from birnn.model.networks import SequenceModel

pytestmark = pytest.mark.skipif(library.found() is None, reason="no kernel on this machine")
Ragged = Callable[..., Sequences]
TAGGER = Architecture(
    task="tagging",
    cell="GRU",
    features=4,
    embedding_size=0,
    hidden_size=5,
    num_layers=1,
    dropout=0.0,
    bidirectional=True,
    classes=3,
)
WORDS = {"tokens": 6, "embedding_size": 7, "word_dropout": 0.5}
LETTERS = {"characters": "abt", "character_size": 3, "character_hidden_size": 4}
DEEP = {"num_layers": 3, "dropout": 0.4, "input_dropout": 0.2}
MODELS: list[dict[str, Any]] = [
    {},
    {"cell": "RNN", "bidirectional": False},
    {"cell": "LSTM", "hidden_size": 33, **DEEP},
    {"cell": "RNN", **WORDS},
    {"cell": "LSTM", **WORDS, **LETTERS, **DEEP},
    {**WORDS, **LETTERS, "features": 0, "task": "classification"},
    *({"task": "classification", "head": head, **DEEP} for head in ("last", "mean", "max", "all")),
]


def drawn(ragged: Ragged, a: Architecture) -> Batch:
    split = ragged(
        [3, 1, 4, 1, 5, 9],
        features=a.features,
        tokens=bool(a.tokens),
        tagging=a.task == "tagging",
    )
    return batching.gather(split, np.arange(6), spell=bool(a.characters))


def model_of(a: Architecture) -> SequenceModel:
    torch.manual_seed(0)
    model = SequenceModel(a)
    model.expect(np.arange(a.tokens, dtype=np.int64))
    return model


@pytest.mark.parametrize("changes", MODELS)
def test_same_bytes_as_torch(ragged: Ragged, changes: dict[str, Any]) -> None:
    a = replace(TAGGER, **changes)
    model, batch = model_of(a), drawn(ragged, a)
    optimizer = Adam(model.parameters(), learning_rate=1.0, weight_decay=0.0, clip_norm=1.0)
    through = Backprop(model)
    for seed in (1, 2):  # twice in the same memory
        torch.manual_seed(seed)
        logits = model(*batch.inputs)
        grads = torch.randn(logits.shape)
        logits.backward(grads)
        expected = optimizer.take_gradient()
        torch.manual_seed(seed)
        found = through.forward(batch, learn=True)
        assert found.tobytes() == logits.detach().numpy().tobytes()
        through.backward(grads.numpy())
        assert torch.equal(through.gradient, expected)
    model.eval()
    expected = model(*batch.inputs).detach()
    assert through.forward(batch, learn=False).tobytes() == expected.numpy().tobytes()


def test_reads_parameters_where_they_are(ragged: Ragged) -> None:
    model, batch = model_of(TAGGER), drawn(ragged, TAGGER)
    through = Backprop(model)
    model.load_state_dict({name: value / 2 for name, value in model.state_dict().items()})
    expected = losses.cross_entropy(model(*batch.inputs).flatten(0, 1), batch.labels.flatten())
    logits = torch.from_numpy(through.forward(batch, learn=False))
    found = losses.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
    assert torch.equal(found, expected)


def test_no_other_parameters_than_the_kernel_computes_with() -> None:
    assert backprop.fits(model_of(TAGGER))
    assert not backprop.fits(model_of(TAGGER).double())
    assert not backprop.fits(model_of(TAGGER).to("meta"))
