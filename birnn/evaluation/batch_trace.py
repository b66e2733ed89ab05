"""A batch on its way through a model: what each part takes and gives, with the names of the axes.

    found = follow(model, sequences)
    for part in found.parts: print(part.name, part.axes, part.shape, part.slip)

The shapes are read off the running network with hooks; the slips are what people get wrong most at
that place with PyTorch, said with the figures of this batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from birnn.data import buckets
from birnn.data.sequences import Sequences
from birnn.model import batching
from birnn.model.networks import SequenceModel


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor on the way.

    Attributes:
        name: what it is, named as in PyTorch where PyTorch has a name.
        axes: what each axis counts.
        shape: how long each axis is.
        slip: what is easy to get wrong here; empty where nothing is.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    slip: str = ""


@dataclass(frozen=True, slots=True)
class BatchTrace:
    """A batch and its parts, in the order in which they are computed.

    Attributes:
        lengths: steps of each sequence.
        batch_sizes: sequences that have a step at each time, as packing counts them.
        parts: what the model takes and gives.
    """

    lengths: list[int]
    batch_sizes: list[int]
    parts: list[Part]

    @property
    def padding(self) -> float:
        """Share of the steps that are padding."""
        return 1 - sum(self.lengths) / (len(self.lengths) * len(self.batch_sizes))


@torch.inference_mode()
def follow(model: SequenceModel, sequences: Sequences) -> BatchTrace:
    """Run a model on some sequences, as one batch.

    Args:
        model: a trained model, on the CPU.
        sequences: all that go into the batch.
    """
    spell = bool(model.architecture.characters)
    batch = batching.gather(sequences, np.arange(len(sequences)), spell=spell)
    seen: dict[str, Tensor] = {"lengths": batch.lengths}
    if batch.tokens is not None and model.embedding is not None:
        seen["tokens"] = batch.tokens

    def note_states(_: nn.Module, given: tuple[Tensor, ...], found: tuple[Tensor, Tensor]) -> None:
        seen["input"], (seen["output"], seen["h_n"]) = given[0], found

    def note_read(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        if not sequences.tagging:
            seen[_summary(model)] = given[0]

    handles = [
        model.rnn.register_forward_hook(note_states),
        model.linear.register_forward_pre_hook(note_read),
    ]
    try:
        seen["logits"] = model(*batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    seen["probabilities"] = seen["logits"].softmax(dim=-1)
    axes, slips = _axes(model), _slips(model, sequences)
    return BatchTrace(
        lengths=sequences.lengths.tolist(),
        batch_sizes=buckets.alive(sequences.lengths).tolist(),
        parts=[
            Part(name, axes[name], tuple(value.shape), slips.get(name, ""))
            for name, value in seen.items()
        ],
    )


def _summary(model: SequenceModel) -> str:
    head = model.architecture.head
    return "last states" if head == "last" else f"summary ({head})"


def _axes(model: SequenceModel) -> dict[str, tuple[str, ...]]:
    a = model.architecture
    directions = "2 x " if a.bidirectional else ""
    classes = ("batch", "steps", "classes") if a.task == "tagging" else ("batch", "classes")
    return {
        "lengths": ("batch",),
        "tokens": ("batch", "steps"),
        "input": ("batch", "steps", "features" if a.width == a.features else "embedding"),
        "output": ("batch", "steps", f"{directions}hidden"),
        "h_n": ("layers x 2" if a.bidirectional else "layers", "batch", "hidden"),
        _summary(model): ("batch", f"{'3 x ' if a.head == 'all' else ''}{directions}hidden"),
        "logits": classes,
        "probabilities": classes,
    }


def _slips(model: SequenceModel, sequences: Sequences) -> dict[str, str]:
    """What goes wrong at each part, if one does as if the batch were another."""
    batch, longest = len(sequences), int(sequences.lengths.max())
    shorter = int((sequences.lengths < longest).sum())
    both = model.architecture.bidirectional
    ends = [f"for {shorter} of {batch} sequences it lies in the padding"] if shorter else []
    ends += ["its backward half has read one step alone"] if both else []
    packing = "Without packing, the forward state is the one after the padding"
    packing += ", and the backward one begins in it. " if both else ". "
    tagging = sequences.tagging
    return {
        "input": (
            f"batch_first=False, the default of torch's layers, takes this for {longest} sequences "
            f"of {batch} steps, without an error."
        ),
        "output": f"output[:, -1] is not the last state: {'; '.join(ends)}." if ends else "",
        "h_n": (
            f"{packing if shorter else ''}Batch is the second axis, also with batch_first=True."
        ),
        "logits": (
            "CrossEntropyLoss wants (batch, classes, steps), and labels of padding to be ignored."
            if tagging
            else "CrossEntropyLoss wants these, not probabilities."
        ),
        "probabilities": (
            f"softmax(dim=1) would make the {longest} steps of a sequence sum to 1; dim=2 is right."
            if tagging
            else f"softmax(dim=0) would make the {batch} sequences sum to 1; dim=1 is right."
        ),
    }
