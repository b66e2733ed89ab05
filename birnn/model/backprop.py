"""A step of training on a CPU by the kernel alone, without torch's graph of gradients.

    through = Backprop(model)
    logits = through.forward(batch, learn=True)
    through.backward(logit_grads)      # writes through.gradient

It gives the bytes that `birnn.model.networks.SequenceModel` and its `backward` give on a CPU, and
draws the same numbers of torch's generator. In a small model, what torch does around the kernel
would take longer than the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from birnn.data.encoding import UNKNOWN
from birnn.kernel import gradients, layers
from birnn.kernel.arrays import Floats, Ints
from birnn.kernel.gradients import Dropout, Embedding, Linear, Recurrent, Summary
from birnn.model import inference
from birnn.model.architecture import Architecture
from birnn.model.batching import Batch
from birnn.model.networks import SequenceModel
from birnn.model.spelling import Spelling


def fits(model: SequenceModel) -> bool:
    """Whether the kernel computes with such parameters: contiguous float32 on a CPU."""
    return all(
        one.dtype == torch.float32 and one.device.type == "cpu" and one.is_contiguous()
        for one in model.parameters()
    )


class Backprop:
    """A model's passes, forward and back.

    Args:
        model: one that `fits`. Its parameters are read where they are.

    Attributes:
        gradient: of all parameters, laid end to end.
    """

    def __init__(self, model: SequenceModel) -> None:
        self._model, self._a = model, model.architecture
        sizes = [one.numel() for one in model.parameters()]
        self.gradient = torch.zeros(sum(sizes))
        own, a = _Parameters(model, self.gradient.split_with_sizes(sizes)), self._a
        self._embedding = own.embedding("embedding") if a.tokens else None
        self._letters = _Letters(a, own) if a.characters else None
        self._layers = own.recurrent("rnn", a.cell, a.num_layers, a.bidirectional)
        self._dropouts = [Dropout(a.input_dropout), *(Dropout(a.dropout) for _ in self._layers)]
        self._summary = Summary(a.head, a.hidden_size) if a.task == "classification" else None
        self._linear = own.linear("linear")

    def forward(self, batch: Batch, *, learn: bool) -> Floats:
        """Compute logits, as the model does in training (`learn`) or else in evaluation.

        Returns:
            (batch, steps, classes) for tagging, (batch, classes) for classification; valid until
            the next call.
        """
        lengths, output = batch.lengths.numpy(), self._inputs(batch, learn)
        first, *others = self._dropouts  # before the first layer, and after each one
        output = _dropped(first, output, learn)
        for layer, dropout in zip(self._layers, others, strict=True):
            output = layer.forward(output, lengths, keep=learn)
            if layer is self._layers[-1] and self._summary is not None:
                output = self._summary.forward(output, lengths)
            output = _dropped(dropout, output, learn)
        return self._linear.forward(output)

    def backward(self, logit_grads: Floats) -> None:
        """Write the gradient of all parameters, after `forward` that was to learn."""
        grads = self._linear.backward(logit_grads)
        for number in reversed(range(len(self._layers))):
            layer, grads = self._layers[number], _undropped(self._dropouts[number + 1], grads)
            if layer is self._layers[-1] and self._summary is not None:
                grads = self._summary.backward(grads)
            if number == 0 and not (self._embedding or self._letters):
                layer.backward(grads)
                return
            grads = layer.backward_to_values(grads)
        self._inputs_back(_undropped(self._dropouts[0], grads))

    def _inputs(self, batch: Batch, learn: bool) -> Floats:
        """What is known of each step side by side, (batch, steps, width)."""
        parts = [batch.values.numpy()] if self._a.features else []
        if self._embedding is not None and batch.tokens is not None:
            parts.append(self._embedding.forward(self._known(batch.tokens.numpy(), learn)))
        if self._letters is not None and batch.spelling is not None:
            parts.append(self._letters.forward(batch.spelling, learn=learn))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _inputs_back(self, grads: Floats) -> None:
        at = self._a.features
        if self._embedding is not None:
            self._embedding.backward(grads[:, :, at : at + self._a.embedding_size])
            at += self._a.embedding_size
        if self._letters is not None:
            self._letters.backward(grads[:, :, at:])

    def _known(self, tokens: Ints, learn: bool) -> Ints:
        """Rows of the embedding; in training some, chosen at random, are taken for unknown."""
        rows = inference.known_tokens(self._a, tokens)
        if learn and self._a.word_dropout:
            drawn, dropped = torch.rand(rows.shape).numpy(), self._model.dropped.numpy()
            rows = np.where(drawn < dropped[rows], UNKNOWN, rows)
        return rows


class _Letters:
    """What `birnn.model.networks.Letters` computes."""

    def __init__(self, a: Architecture, own: _Parameters) -> None:
        self._alphabet = inference.alphabet(a)
        self._embedding = own.embedding("letters.embedding")
        (self._layer,) = own.recurrent("letters.rnn", "GRU", 1, bidirectional=True)
        self._last = Summary("last", a.character_hidden_size)
        self._places: Ints | None = None
        self._distinct = 0

    def forward(self, spelling: Spelling[Tensor], *, learn: bool) -> Floats:
        """(batch, steps, 2 x hidden)."""
        lengths, self._places = spelling.lengths.numpy(), spelling.places.numpy()
        known = inference.known_letters(self._alphabet, spelling.letters.numpy())
        output = self._layer.forward(self._embedding.forward(known), lengths, keep=learn)
        self._distinct = len(lengths)
        return self._last.forward(output, lengths).take(self._places, axis=0)

    def backward(self, grads: Floats) -> None:
        """From (batch, steps, 2 x hidden)."""
        assert self._places is not None
        at_last = np.zeros((self._distinct, grads.shape[2]), np.float32)
        gradients.add_rows(grads, self._places, at_last)
        at_output = self._last.backward(at_last)
        self._embedding.backward(self._layer.backward_to_values(at_output))


class _Parameters:
    """Layers of the kernel on the parameters of a model, and on parts of its gradient."""

    def __init__(self, model: SequenceModel, parts: Sequence[Tensor]) -> None:
        own = dict(model.named_parameters())
        self._weights = {name: one.detach().numpy() for name, one in own.items()}
        self._gradients = {
            name: part.view_as(one).numpy()
            for (name, one), part in zip(own.items(), parts, strict=True)
        }

    def recurrent(self, prefix: str, cell: str, count: int, bidirectional: bool) -> list[Recurrent]:
        """All layers of a recurrent network."""
        return [
            Recurrent(cell, *self._of(inference.names(prefix, number, bidirectional)))
            for number in range(count)
        ]

    def embedding(self, prefix: str) -> Embedding:
        """A table of rows."""
        (weight,), (gradient,) = self._of([f"{prefix}.weight"])
        return Embedding(weight, gradient)

    def linear(self, prefix: str) -> Linear:
        """A linear layer."""
        return Linear(*self._of([f"{prefix}.weight", f"{prefix}.bias"]))

    def _of(self, names: list[str]) -> tuple[list[Floats], list[Floats]]:
        return [self._weights[name] for name in names], [self._gradients[name] for name in names]


def _dropped(dropout: Dropout, values: Floats, learn: bool) -> Floats:
    return dropout.forward(values, layers.drawn_seed()) if learn and dropout.share else values


def _undropped(dropout: Dropout, grads: Floats) -> Floats:
    return dropout.backward(grads) if dropout.share else grads
