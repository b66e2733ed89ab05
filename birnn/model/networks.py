"""The tagger and the classifier.

model = SequenceModel(architecture)
logits = model(*batch.inputs)    # (batch, steps, classes) or (batch, classes)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from birnn.data.encoding import UNKNOWN
from birnn.data.vectors import Vectors
from birnn.kernel import layers, losses
from birnn.kernel.modules import Dropout, Embedding, Linear
from birnn.model import batching
from birnn.model.architecture import Architecture
from birnn.model.padded import Padded
from birnn.model.recurrent import VariableLengthRNN
from birnn.model.spelling import Spelling
from birnn.model.transfers import sent


def embedding(rows: int, width: int) -> Embedding:
    """Make an embedding whose first row stands for all that training does not have.

    It begins with zeros, which speak for no class: where no token is taken for unknown in training,
    it stays as it begins.
    """
    made = Embedding(rows, width)
    nn.init.zeros_(made.weight[UNKNOWN])
    return made


class Letters(nn.Module):
    """A vector for each token by its letters: the last states of a GRU that reads both ways.

    A GRU beside every cell, because on a CPU it computes no padding: one long address among the
    words of a batch costs nothing, and reading English is 2.6 times as fast as with an LSTM.

    Args:
        alphabet: the letters that are told apart, in the order of Unicode.
        size: width of a letter's embedding.
        hidden_size: hidden units of one direction.
    """

    alphabet: Tensor

    def __init__(self, alphabet: str, size: int, hidden_size: int) -> None:
        super().__init__()
        points = np.frombuffer(alphabet.encode("utf-32-le"), np.uint32).astype(np.int64)
        self.register_buffer("alphabet", torch.from_numpy(points), persistent=False)
        self.embedding = embedding(len(alphabet) + 1, size)
        self.rnn = VariableLengthRNN(size, hidden_size, cell="GRU")

    def forward(self, spelling: Spelling[Tensor]) -> Tensor:
        """Give a vector for each distinct token, (distinct, 2 x hidden)."""
        place = torch.searchsorted(self.alphabet, spelling.letters)
        place = place.clamp(max=len(self.alphabet) - 1)
        known = self.alphabet[place] == spelling.letters
        _, last = self.rnn(self.embedding((place + 1) * known), spelling.lengths)
        return torch.cat(list(last), dim=1)


class SequenceModel(nn.Module):
    """A recurrent network with a linear layer on every step, or on a summary of all."""

    dropped: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.embedding = embedding(a.tokens, a.embedding_size) if a.tokens else None
        self.register_buffer("dropped", torch.zeros(a.tokens), persistent=False)
        self.letters = (
            Letters(a.characters, a.character_size, a.character_hidden_size)
            if a.characters
            else None
        )
        self.input_dropout = Dropout(a.input_dropout)
        self.rnn = VariableLengthRNN(
            a.width,
            a.hidden_size,
            cell=a.cell,
            num_layers=a.num_layers,
            dropout=a.dropout,
            bidirectional=a.bidirectional,
        )
        self.dropout = Dropout(a.dropout)
        self.linear = Linear(a.summary, a.classes)

    def expect(self, counts: npt.NDArray[np.int64]) -> None:
        """Say how often training has each token: the rarer, the more often it is dropped.

        So the unknown row learns from words such as those that it will stand for.
        """
        share = self.architecture.word_dropout
        if share:
            known = torch.from_numpy(counts[: self.architecture.tokens])
            self.dropped = (share / (share + known)).to(self.dropped)

    def start_from(self, vectors: Vectors) -> None:
        """Put pretrained vectors into rows of the embedding."""
        if self.embedding is not None and vectors.width:
            with torch.no_grad():
                self.embedding.weight[vectors.rows] = torch.from_numpy(vectors.values)

    def forward(
        self,
        values: Tensor,
        lengths: Tensor,
        tokens: Tensor | None = None,
        spelling: Spelling[Tensor] | None = None,
    ) -> Tensor:
        """Compute logits; see `birnn.model.batching.Batch.inputs`.

        Args:
            values: (batch, steps, features) float32.
            lengths: (batch,) int64, best in memory; what lies past them changes nothing.
            tokens: (batch, steps) int64, for a model that embeds them.
            spelling: what they look like, for a model that reads letters.

        Returns:
            (batch, steps, classes) for tagging, (batch, classes) for classification.
        """
        steps = self.input_dropout(self._inputs(values, tokens, spelling))
        classifying = self.architecture.task == "classification"
        # On a CPU the last states cost nothing, and a trace shows them.
        with_last = classifying or steps.device.type == "cpu"
        output, last = self.rnn(steps, lengths, with_last=with_last)
        if classifying:
            output = self._summary(output, last, lengths)
        logits: Tensor = self.linear(self.dropout(output))
        return logits

    @torch.inference_mode()
    def probabilities(self, batch: Padded) -> npt.NDArray[np.float32]:
        """Compute the probability of each class, where the module is.

        Returns:
            (labels, classes): for tagging a row for each real step, one sequence after the other;
            for classification a row for each sequence.
        """
        self.eval()
        moved = batching.of(batch).to(self.linear.weight.device)
        shares = losses.softmax(self(*moved.inputs)).cpu().numpy()
        found: npt.NDArray[np.float32] = (
            shares[batch.real] if self.architecture.task == "tagging" else shares
        )
        return found

    def _inputs(
        self, values: Tensor, tokens: Tensor | None, spelling: Spelling[Tensor] | None
    ) -> Tensor:
        """What is known of each step side by side, (batch, steps, width)."""
        parts = [values] if self.architecture.features else []
        if self.embedding is not None and tokens is not None:
            parts.append(self.embedding(self._known(tokens)))
        if self.letters is not None and spelling is not None:
            parts.append(nn.functional.embedding(spelling.places, self.letters(spelling)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def _known(self, tokens: Tensor) -> Tensor:
        """Rows of the embedding; in training some, chosen at random, are taken for unknown."""
        rows = tokens.masked_fill(tokens >= self.architecture.tokens, UNKNOWN)
        if self.training and self.architecture.word_dropout:
            drawn = torch.rand(rows.shape, device=rows.device)
            rows = rows.masked_fill(drawn < self.dropped[rows], UNKNOWN)
        return rows

    def _summary(self, output: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
        """What the linear layer reads of a sequence, (batch, states) or three times as wide."""
        head, directions = self.architecture.head, 1 + self.architecture.bidirectional
        states = torch.cat(list(last[-directions:]), dim=1)
        if head == "last":
            return states
        mean, most = layers.mean_and_most(output, sent(lengths, output.device))
        if head == "all":
            return torch.cat([states, mean, most], dim=1)
        return mean if head == "mean" else most
