"""A trained model as a program of `torch.export`, for programs that have torch and no birnn.

It takes the inputs of `birnn.model.exported` by name, in memory on a CPU:

    probabilities = torch.export.load("model.pt2").module()(values=values, lengths=lengths)

torch unpickles what such a file holds, so birnn writes them, without a pickle, and reads none.
"""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn

from birnn.model import saved_model
from birnn.model.architecture import Architecture
from birnn.model.exported import shapes
from birnn.model.networks import SequenceModel
from birnn.model.saved_model import Saved
from birnn.model.spelling import Spelling


def program(saved: Saved) -> bytes:
    """Make the program, which takes any batch, any steps and any number of distinct tokens."""
    model = _Named(saved_model.network(saved)).eval().requires_grad_(False)
    named = shapes(saved.architecture)
    free = {size for shape in named.values() for size in shape if isinstance(size, str)}
    sizes = {size: torch.export.Dim(size) for size in sorted(free)}
    dynamic = {
        name: {at: sizes[size] for at, size in enumerate(shape) if isinstance(size, str)}
        for name, shape in named.items()
    }
    example = _example(saved.architecture)
    made = torch.export.export(model, (), example, dynamic_shapes=dynamic)
    made.example_inputs = None  # it would be pickled
    _forget_origins(made.graph_module)
    file = io.BytesIO()
    torch.export.save(made, file)
    return file.getvalue()


def _forget_origins(graph: torch.fx.GraphModule) -> None:
    """Take out the lines of source that each operation comes from, with paths of this machine."""
    parts = [part for part in graph.modules() if isinstance(part, torch.fx.GraphModule)]
    for node in (node for part in parts for node in part.graph.nodes):
        node.meta.pop("stack_trace", None)


class _Named(nn.Module):
    """A model that takes its inputs by name, and gives probabilities."""

    signs: Tensor

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model
        alphabet = [] if model.letters is None else model.letters.alphabet.tolist()
        self.register_buffer("signs", torch.tensor([-1, *alphabet]))

    def forward(
        self,
        lengths: Tensor,
        values: Tensor | None = None,
        tokens: Tensor | None = None,
        letters: Tensor | None = None,
        letter_lengths: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        spelling = None
        if letters is not None and letter_lengths is not None and places is not None:
            spelling = Spelling(self.signs[letters], letter_lengths, places)
        read = lengths if values is None else values  # a model without features looks at none
        logits: Tensor = self.model(read, lengths, tokens, spelling)
        return logits.softmax(-1)


def _example(a: Architecture) -> dict[str, Tensor]:
    """Inputs of some size; what is in them has no part in the program."""
    sizes = {"batch": 3, "steps": 4, "distinct": 5, "letters": 6}
    return {
        name: torch.ones(
            [sizes[size] if isinstance(size, str) else size for size in shape],
            dtype=torch.float32 if name == "values" else torch.int64,
        )
        for name, shape in shapes(a).items()
    }
