"""A trained model's forward pass on a CPU by the kernel alone, without torch.

    network = Network(architecture, weights)      # packs the weights, once
    shares = network.probabilities(batch)

It gives the bytes that `birnn.model.networks.SequenceModel` gives on a CPU: both hand the same
numbers to the same functions of the kernel, and between these nothing is computed, only copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from birnn.data.encoding import UNKNOWN
from birnn.kernel import arrays, calls
from birnn.kernel.arrays import Floats, Ints, Layer, Start
from birnn.model.architecture import Architecture
from birnn.model.padded import Padded
from birnn.model.spelling import Spelling

Weights = Mapping[str, Floats]
Half = Literal["", "_reverse"]
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    """The name and shape of each weight, as `SequenceModel.state_dict` has them."""
    found: dict[str, tuple[int, ...]] = {}
    if a.tokens:
        found["embedding.weight"] = (a.tokens, a.embedding_size)
    if a.characters:
        found["letters.embedding.weight"] = (len(a.characters) + 1, a.character_size)
        for name, shape in _recurrent("GRU", a.character_size, a.character_hidden_size, 1, True):
            found[f"letters.rnn.{name}"] = shape
    for name, shape in _recurrent(a.cell, a.width, a.hidden_size, a.num_layers, a.bidirectional):
        found[f"rnn.{name}"] = shape
    found["linear.weight"] = (a.classes, a.summary)
    found["linear.bias"] = (a.classes,)
    return found


def _recurrent(
    cell: str, features: int, hidden: int, layers: int, bidirectional: bool
) -> list[tuple[str, tuple[int, ...]]]:
    found = []
    for layer in range(layers):
        width = features if layer == 0 else hidden * (1 + bidirectional)
        each = calls.shapes(cell, width, hidden, 1)
        for half in halves(bidirectional):
            found += [
                (f"{name}_l{layer}{half}", shape) for name, shape in zip(NAMES, each, strict=True)
            ]
    return found


def halves(bidirectional: bool) -> tuple[Half, ...]:
    """What the names of a direction's weights end in, after the layer's number."""
    return ("", "_reverse") if bidirectional else ("",)


def check(a: Architecture, weights: Weights) -> None:
    """Refuse weights that are not those of an architecture.

    Raises:
        ValueError: one is missing, is not known, or has another shape or dtype.
    """
    expected = shapes(a)
    if (missing := sorted(expected.keys() - weights.keys())) or weights.keys() - expected.keys():
        strange = sorted(weights.keys() - expected.keys())
        raise ValueError(f"missing weights {missing}, unknown weights {strange}")
    for name, shape in expected.items():
        found = weights[name]
        if found.shape != shape or found.dtype != np.float32:
            raise ValueError(
                f"{name}: expected float32 of shape {shape}, found {found.dtype} of shape "
                f"{found.shape}"
            )


class State(NamedTuple):
    """What the forward direction of a layer carries from one step to the next.

    Attributes:
        states: (1, 1, hidden).
        cells: likewise, of the LSTM; None for other cells.
    """

    states: Floats
    cells: Floats | None


class Network:
    """A tagger or a classifier that predicts.

    Args:
        architecture: its shapes.
        weights: float32, under the names of `SequenceModel.state_dict`.

    Raises:
        ValueError: the weights are not those of the architecture.
    """

    def __init__(self, architecture: Architecture, weights: Weights) -> None:
        check(architecture, weights)
        self.architecture = a = architecture
        self.weights = weights
        self._layers = _layers("rnn", a.cell, a.num_layers, a.bidirectional, weights)
        self._letters: Layer | None = None
        if a.characters:
            (self._letters,) = _layers("letters.rnn", "GRU", 1, True, weights)
        self._alphabet = alphabet(a)

    def __reduce__(self) -> tuple[type[Network], tuple[Architecture, Weights]]:
        """Travel to other processes without what is laid out for this one."""
        return Network, (self.architecture, self.weights)

    def probabilities(self, batch: Padded) -> Floats:
        """Compute the probability of each class.

        Returns:
            (labels, classes): for tagging a row for each real step, one sequence after the other;
            for classification a row for each sequence.
        """
        return arrays.softmax(self._scored(*self._read(self.steps(batch), batch.lengths), batch))

    def steps(self, batch: Padded) -> Floats:
        """What the recurrent layers read, (batch, steps, width)."""
        parts = [batch.values] if self.architecture.features else []
        if self.architecture.tokens and batch.tokens is not None:
            known = known_tokens(self.architecture, batch.tokens)
            parts.append(self.weights["embedding.weight"].take(known, axis=0))
        if self._letters is not None and batch.spelling is not None:
            parts.append(self._spelled(self._letters, batch.spelling))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _spelled(self, layer: Layer, spelling: Spelling[Ints]) -> Floats:
        """A vector for each token by its letters; see `birnn.model.networks.Letters`."""
        known = known_letters(self._alphabet, spelling.letters)
        rows = self.weights["letters.embedding.weight"].take(known, axis=0)
        output = layer(rows, spelling.lengths).output
        return arrays.last_states(output, spelling.lengths, layer.hidden).take(
            spelling.places, axis=0
        )

    def _read(self, steps: Floats, lengths: Ints) -> tuple[Floats, Floats]:
        """The output of the top layer, and its last states, (batch, directions x hidden)."""
        for layer in self._layers:
            steps = layer(steps, lengths).output
        return steps, arrays.last_states(steps, lengths, self.architecture.hidden_size)

    def _scored(self, output: Floats, last: Floats, batch: Padded) -> Floats:
        if self.architecture.task == "tagging":
            # Scores are few: to score padding too is faster than to copy what is none.
            return self.score(output)[batch.real]
        return self.score(self._summary(output, last, batch.lengths))

    def _summary(self, output: Floats, last: Floats, lengths: Ints) -> Floats:
        """What the linear layer reads of a sequence."""
        head = self.architecture.head
        if head == "last":
            return last
        mean, most = arrays.mean_and_most(output, lengths)
        if head == "all":
            return np.concatenate([last, mean, most], axis=1)
        return mean if head == "mean" else most

    def score(self, read: Floats) -> Floats:
        """The linear layer: what is read of steps or sequences, (rows, width), to logits."""
        return arrays.linear(read, self.weights["linear.weight"], self.weights["linear.bias"])

    def go_on(
        self, steps: Floats, count: int, states: list[State] | None
    ) -> tuple[Floats, list[State]]:
        """Read further steps of one sequence that has begun.

        Args:
            steps: (1, steps, width), see `steps`. The backward direction begins at the last one.
            count: after how many of them the states are to be taken.
            states: what this function gave for the steps before; None at the beginning.

        Returns:
            The output of the top layer, (1, steps, directions x hidden), and the forward states of
            each layer after `count` steps.
        """
        carried = []
        for number, layer in enumerate(self._layers):
            start = _start(None if states is None else states[number], layer)
            output, cells = layer(steps, np.array([steps.shape[1]]), start)
            if cells is not None and count < steps.shape[1]:
                part = np.ascontiguousarray(steps[:, :count])
                cells = layer(part, np.array([count]), start).cells
            forward = output[:, count - 1, : layer.hidden]
            carried.append(State(forward[None], None if cells is None else cells[:1]))
            steps = output
        return steps, carried


def _start(state: State | None, layer: Layer) -> Start:
    """A layer begins from a forward state; the other direction begins from zeros."""
    if state is None:
        return None, None
    rest = np.zeros((layer.directions - 1, 1, layer.hidden), np.float32)
    states = np.concatenate([state.states, rest])
    return states, None if state.cells is None else np.concatenate([state.cells, rest])


def known_tokens(a: Architecture, tokens: Ints) -> Ints:
    """The row of the embedding that each token has; that of unknown tokens for the others."""
    found: Ints = np.where(tokens < a.tokens, tokens, UNKNOWN)
    return found


def alphabet(a: Architecture) -> Ints:
    """The letters that a model tells apart, as Unicode code points in their order."""
    return np.frombuffer(a.characters.encode("utf-32-le"), np.uint32).astype(np.int64)


def known_letters(points: Ints, letters: Ints) -> Ints:
    """The place of each letter in the alphabet, from 1; 0 for the others."""
    place = np.minimum(np.searchsorted(points, letters), len(points) - 1)
    found: Ints = (place + 1) * (points[place] == letters)
    return found


def names(prefix: str, number: int, bidirectional: bool) -> list[str]:
    """What the weights of a recurrent layer are called, in the order in which layers take them."""
    return [f"{prefix}.{name}_l{number}{half}" for half in halves(bidirectional) for name in NAMES]


def _layers(
    prefix: str, cell: str, count: int, bidirectional: bool, weights: Weights
) -> list[Layer]:
    return [
        Layer(cell, [weights[name] for name in names(prefix, number, bidirectional)])
        for number in range(count)
    ]
