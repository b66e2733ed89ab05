"""Answers while a sequence comes: exact where nothing is left out, and what look-ahead costs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_inference import READS, build, without_torch
from torch import nn

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.kernel import library
from birnn.model import batching, given, prediction, streaming
from birnn.model.inference import Network
from birnn.model.networks import SequenceModel
from birnn.model.streaming import Answer, Options, Stream

pytestmark = pytest.mark.skipif(library.found() is None, reason="needs the kernel")

NAMES = ["x0", "x1", "x2", "x3"]
FEATURES = Encoding("tagging", ["a", "b", "c"], NAMES, [0.5] * 4, [2.0] * 4, precision="float64")
WORDS = Encoding("tagging", ["a", "b", "c"], [], [], [], ["the", "dog", "é", "x", "y"], "1Nehté")


def steps(count: int = 23, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=(count, 4))


def streamed(
    network: Network, encoding: Encoding, rows: Any, sizes: list[int], **options: int
) -> list[Answer]:
    stream, answers, start = Stream(network, encoding, {}, Options(**options)), [], 0
    for size in sizes:
        answers += stream.push(rows[start : start + size])
        start += size
    assert start == len(rows)
    answers += stream.finish()
    assert [answer.step for answer in answers] == [*range(len(answers))]
    return answers


def whole(network: Network, encoding: Encoding, rows: Any) -> np.ndarray[Any, Any]:
    return prediction.probabilities(network, given.read([rows], encoding))


def shares(answers: list[Answer]) -> np.ndarray[Any, Any]:
    return np.stack([answer.probabilities for answer in answers])


class TestForward:
    @pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
    @pytest.mark.parametrize("sizes", [[1] * 23, [5, 1, 17], [23]])
    def test_each_step_at_once_and_the_same_bytes(self, cell: str, sizes: list[int]) -> None:
        network = without_torch(build(cell=cell, bidirectional=False, num_layers=2))
        stream = Stream(network, FEATURES, {}, Options())
        assert len(stream.push(steps()[:1])) == 1
        found = shares(streamed(network, FEATURES, steps(), sizes))
        assert found.tobytes() == whole(network, FEATURES, steps()).tobytes()

    def test_words(self) -> None:
        network = without_torch(build(bidirectional=False, **READS["letters"]))
        words = ["the", "new", "dog", "é", "the"]
        found = shares(streamed(network, WORDS, words, [1, 2, 2]))
        assert found.tobytes() == whole(network, WORDS, words).tobytes()

    @pytest.mark.parametrize("head", ["last", "mean", "max", "all"])
    def test_what_is_said_of_the_sequence_so_far(self, head: str) -> None:
        network = without_torch(build(task="classification", head=head, bidirectional=False))
        encoding = replace(FEATURES, task="classification")
        found = shares(streamed(network, encoding, steps(), [1, 10, 12]))
        begun = [steps()[: count + 1] for count in range(23)]
        expected = prediction.probabilities(network, given.read(begun, encoding))
        assert found.tobytes() == expected.tobytes()

    def test_numbers_that_are_missing_are_the_last_ones(self) -> None:
        encoding = replace(FEATURES, missing="last", fills=[0.25] * 4)
        network, rows = without_torch(build(bidirectional=False)), steps()
        rows[[0, 4, 5, 6], [0, 1, 1, 2]] = np.nan
        rows[9:13, 3] = np.nan
        expected = whole(network, encoding, rows)
        for sizes in ([1] * 23, [5, 6, 12]):
            assert shares(streamed(network, encoding, rows, sizes)).tobytes() == expected.tobytes()

    def test_thresholds_decide(self) -> None:
        network = without_torch(build(bidirectional=False))
        stream = Stream(network, FEATURES, {"c": 0.0}, Options())
        assert {answer.label for answer in stream.push(steps())} == {"c"}


class TestBothDirections:
    @pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
    @pytest.mark.parametrize("layers", [1, 2])
    def test_nothing_is_left_out_where_all_comes_first(self, cell: str, layers: int) -> None:
        network = without_torch(build(cell=cell, num_layers=layers))
        expected = whole(network, FEATURES, steps())
        for options in ({"look_ahead": 23}, {"look_ahead": 100, "every": 3}):
            answers = streamed(network, FEATURES, steps(), [3] * 7 + [2], **options)
            assert shares(answers).tobytes() == expected.tobytes()

    @pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
    def test_of_one_layer_each_answer_is_that_of_the_sequence_cut_there(self, cell: str) -> None:
        network = without_torch(build(cell=cell))
        answers = streamed(network, FEATURES, steps(), [1] * 23, look_ahead=4)
        for step, answer in enumerate(answers):
            cut = whole(network, FEATURES, steps()[: step + 5])
            assert answer.probabilities.tobytes() == cut[step].tobytes()

    def test_answers_come_when_enough_has_come(self) -> None:
        network = without_torch(build())
        stream = Stream(network, FEATURES, {}, Options(look_ahead=3, every=2))
        said = [len(stream.push(steps()[number : number + 1])) for number in range(8)]
        assert said == [0, 0, 0, 0, 2, 0, 2, 0]
        assert len(stream.finish()) == 4


def noisy(count: int, seed: int) -> Sequences:
    """Classes that stay for some steps, seen through noise: later steps tell of earlier ones."""
    rng = np.random.default_rng(seed)
    length = 60
    stays = rng.random((count, length)) < 0.9
    labels = rng.integers(3, size=(count, length))
    for step in range(1, length):
        labels[:, step] = np.where(stays[:, step], labels[:, step - 1], labels[:, step])
    values = np.eye(4)[labels] + rng.normal(0, 0.9, (count, length, 4))
    names = pa.array([str(number) for number in range(count)])
    return Sequences(
        values=values.reshape(-1, 4).astype(np.float32),
        offsets=np.arange(count + 1) * length,
        labels=labels.ravel().astype(np.int32),
        ids=names,
        groups=names,
        tagging=True,
    )


def fitted() -> SequenceModel:
    model = build(cell="GRU", hidden_size=16, dropout=0.0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    train = noisy(200, seed=1)
    for epoch in range(6):
        for batch in batching.epoch(train, batch_size=20, seed=0, number=epoch):
            loss = nn.functional.cross_entropy(
                model(*batch.inputs).flatten(0, 1), batch.labels.flatten()
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model.eval()


def test_what_the_look_ahead_costs() -> None:
    """Most of what the second direction is worth is in the next few steps."""
    network, test = without_torch(fitted()), noisy(50, seed=2)
    encoding = replace(FEATURES, mean=[0.0] * 4, scale=[1.0] * 4)
    accuracy = {}
    for look_ahead in (0, 2, 5, 60):
        said = [
            answer.label
            for rows in np.split(test.values, 50)
            for answer in streamed(network, encoding, rows, [60], look_ahead=look_ahead)
        ]
        accuracy[look_ahead] = np.mean(np.array(encoding.labels)[test.labels] == said)
    exact = prediction.probabilities(network, test).argmax(axis=1)
    assert accuracy[60] == np.mean(exact == test.labels)
    assert accuracy[60] - accuracy[0] > 0.03  # without any: 0.847 of 0.901, measured
    assert accuracy[60] - accuracy[2] < 0.02  # 0.891
    assert accuracy[60] - accuracy[5] < 0.01  # 0.903


class TestMistakes:
    @pytest.mark.parametrize(
        ("model", "encoding", "options", "expected"),
        [
            ({"task": "classification"}, {}, {}, "reads it from its end too; use a forward one"),
            ({}, {"scaling": "per_sequence"}, {}, "scales each sequence by all of its steps"),
            ({}, {"frame": 2}, {}, "reads 2 steps as one"),
            ({"bidirectional": False}, {}, {"look_ahead": 2}, "no look_ahead for a forward model"),
            ({}, {}, {"look_ahead": -1}, "look_ahead from 0 and every from 1, found -1 and 1"),
            ({}, {}, {"every": 0}, "look_ahead from 0 and every from 1, found 0 and 0"),
        ],
    )
    def test_a_model_that_needs_the_whole_sequence(
        self, model: Any, encoding: Any, options: Any, expected: str
    ) -> None:
        network = without_torch(build(**model))
        with pytest.raises(DataError, match=expected):
            Stream(network, replace(FEATURES, **encoding), {}, Options(**options))

    def test_steps_after_the_end(self) -> None:
        stream = Stream(without_torch(build()), FEATURES, {}, Options())
        assert stream.finish() == []
        with pytest.raises(DataError, match=r"expected no step after finish\(\)"):
            stream.push(steps())

    def test_more_steps_than_the_model_reads(self) -> None:
        stream = Stream(without_torch(build()), replace(FEATURES, max_steps=5), {}, Options())
        stream.push(steps()[:5])
        with pytest.raises(DataError, match="expected up to 5 steps, which is all that"):
            stream.push(steps()[5:6])

    def test_other_steps(self) -> None:
        stream = Stream(without_torch(build()), FEATURES, {}, streaming.Options())
        with pytest.raises(DataError, match="expected numbers of shape"):
            stream.push([["a", "b", "c", "d"]])
