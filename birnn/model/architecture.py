"""Everything that fixes the shapes of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from birnn.errors import ParamsError
from birnn.kernel.calls import GATES

if TYPE_CHECKING:  # who predicts needs no schema
    from birnn import params
    from birnn.data.encoding import Encoding
    from birnn.data.vectors import Vectors

Cell = Literal["RNN", "GRU", "LSTM"]
Head = Literal["last", "mean", "max", "all"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything that fixes the shapes of a model.

    Attributes:
        task: `tagging` (a label for every step) or `classification` (one for the sequence).
        cell: `RNN`, `GRU` or `LSTM`.
        features: numbers of a step; 0 where there are none.
        embedding_size: width of a token's embedding; 0 without tokens.
        hidden_size: hidden units of one direction.
        num_layers: recurrent layers.
        dropout: share of units zeroed between layers and before the linear layer, in training.
        bidirectional: whether a second direction reads each sequence from its end.
        classes: number of classes.
        tokens: rows of the embedding, of which the first is that of unknown tokens.
        word_dropout: a token that training has n times is taken for unknown there with a chance of
            word_dropout / (word_dropout + n) (Kiperwasser and Goldberg 2016, who take 0.25).
        input_dropout: share of what the recurrent layers read that is zeroed, in training.
        characters: the letters that are told apart, in the order of Unicode; empty where tokens
            are not read letter by letter.
        character_size: width of a letter's embedding.
        character_hidden_size: hidden units of one direction of the network that reads them.
        head: what a classifier looks at: the last states, the mean or the maximum of the states
            over the steps, or all three side by side.
    """

    task: str
    cell: Cell
    features: int
    embedding_size: int
    hidden_size: int
    num_layers: int
    dropout: float
    bidirectional: bool
    classes: int
    tokens: int = 0
    word_dropout: float = 0.0
    input_dropout: float = 0.0
    characters: str = ""
    character_size: int = 0
    character_hidden_size: int = 0
    head: Head = "last"

    @property
    def width(self) -> int:
        """Numbers that the recurrent layers read at each step."""
        letters = 2 * self.character_hidden_size if self.characters else 0
        return self.features + self.embedding_size + letters

    @property
    def summary(self) -> int:
        """Numbers that the linear layer reads of a step or a sequence."""
        return self.hidden_size * (1 + self.bidirectional) * (3 if self.head == "all" else 1)

    @property
    def sums(self) -> int:
        """That one step of a sequence takes in one layer and direction."""
        return self.hidden_size * GATES[self.cell]


def of_params(chosen: params.Model, encoding: Encoding, pretrained: Vectors) -> Architecture:
    """Join what params.yaml chooses with what the data fixes.

    Raises:
        ParamsError: letters of steps that have no tokens, or a head for tagging.
    """
    if chosen.characters and not encoding.tokens:
        raise ParamsError("model.characters: expected false without tokens, found true")
    if chosen.head != "last" and encoding.task == "tagging":
        raise ParamsError(f"model.head: expected last for tagging, found {chosen.head}")
    return Architecture(
        task=encoding.task,
        cell=chosen.cell,
        features=len(encoding.inputs),
        embedding_size=(pretrained.width or chosen.embedding_size) if encoding.tokens else 0,
        hidden_size=chosen.hidden_size,
        num_layers=chosen.num_layers,
        dropout=chosen.dropout,
        bidirectional=chosen.bidirectional,
        classes=len(encoding.labels),
        tokens=0 if encoding.vocabulary is None else len(encoding.vocabulary) + 1,
        word_dropout=chosen.word_dropout,
        input_dropout=chosen.input_dropout,
        characters=encoding.characters if chosen.characters else "",
        character_size=chosen.character_size,
        character_hidden_size=chosen.character_hidden_size,
        head=chosen.head,
    )
