"""Some sequences side by side, padded to the longest of them: NumPy's arrays, without torch.

for batch in in_order(test, batch_size=32): ...    # by length, so that little is padding

A batch is gathered straight from the flat values, without a loop over its sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from birnn.data import buckets
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.kernel import arrays, library
from birnn.model import spelling
from birnn.model.spelling import Spelling

RELEASE_BYTES = 1 << 28  # read from a mapped file, after which its pages are let go
PAGE_BYTES = 1 << 12  # the least that reading a sequence costs

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Padded:
    """Some sequences side by side.

    Attributes:
        values: (batch, steps, features) float32, zero in the padding.
        lengths: (batch,) int64.
        labels: (batch, steps) int64 for tagging, `UNLABELLED` in the padding; else (batch,) int64.
        indices: (batch,) int64; which sequences these are.
        tokens: (batch, steps) int64, zero in the padding; None where steps have no tokens.
        spelling: what they look like; None where nobody asked.
    """

    values: npt.NDArray[np.float32]
    lengths: Ints
    labels: Ints
    indices: Ints
    tokens: Ints | None = None
    spelling: Spelling[Ints] | None = None

    @property
    def real(self) -> npt.NDArray[np.bool_]:
        """Which steps are no padding, (batch, steps); some may have no label."""
        real: npt.NDArray[np.bool_] = np.arange(self.values.shape[1]) < self.lengths[:, None]
        return real


def in_order(
    sequences: Sequences, *, batch_size: int, batch_steps: int | None = None, spell: bool = False
) -> Iterator[Padded]:
    """Give every sequence once, from the shortest to the longest.

    Args:
        sequences: a split, or what is to be predicted.
        batch_size: sequences in a batch at most.
        batch_steps: steps in a batch at most, padding included; a longer sequence stands alone.
        spell: whether to say what the tokens look like.
    """
    batches = by_length(sequences.lengths, batch_size, batch_steps)
    yield from released(sequences, (gather(sequences, one, spell=spell) for one in batches))


def by_length(lengths: Ints, batch_size: int, batch_steps: int | None) -> list[Ints]:
    """Cut sequences into batches from the shortest to the longest; see `in_order`."""
    order = np.argsort(lengths, kind="stable")
    return buckets.cut(order, lengths, batch_size, batch_steps)


class Gathered(Protocol):
    """A batch of arrays or tensors."""

    @property
    def values(self) -> Any: ...  # noqa: D102
    @property
    def labels(self) -> Any: ...  # noqa: D102
    @property
    def indices(self) -> Ints: ...  # noqa: D102


B = TypeVar("B", bound=Gathered)


def released(sequences: Sequences, batches: Iterable[B]) -> Iterator[B]:
    """Pass batches on, in bounded memory however large the file is that they are gathered from."""
    held = 0
    for batch in batches:
        yield batch
        held += batch.values.nbytes + batch.labels.nbytes + len(batch.indices) * PAGE_BYTES
        if held > RELEASE_BYTES:
            sequences.release()
            held = 0
    sequences.release()


def gather(sequences: Sequences, indices: Ints, *, spell: bool = False) -> Padded:
    """Put some sequences side by side."""
    starts = sequences.offsets[indices]
    lengths, labels = sequences.offsets[indices + 1] - starts, sequences.labels
    put = partial(side_by_side, starts=starts, lengths=lengths)
    found = None if sequences.tokens is None else put(sequences.tokens)
    return Padded(
        values=put(sequences.values),
        lengths=lengths,
        labels=(
            put(labels, padding=UNLABELLED)
            if sequences.tagging
            else labels[indices].astype(np.int64)
        ),
        indices=indices,
        tokens=found,
        spelling=None if found is None or not spell else spelling.of(found, sequences.dictionary),
    )


def side_by_side(
    flat: npt.NDArray[Any], starts: Ints, lengths: Ints, padding: int = 0
) -> npt.NDArray[Any]:
    """Put runs of rows beside one another, (batch, steps, ...), each with padding to the longest.

    Args:
        flat: (rows, ...) float32 or whole numbers; the latter become int64, as torch wants them.
        starts: (batch,) the first row of each run.
        lengths: (batch,) how many rows it has.
        padding: what stands past the end of each.
    """
    if library.wanted() and arrays.gathers(flat, padding):
        return arrays.side_by_side(flat, starts, lengths, padding)
    real = np.arange(lengths.max()) < lengths[:, None]
    kind = np.int64 if flat.dtype.kind == "i" else flat.dtype
    found = np.full(real.shape + flat.shape[1:], padding, kind)
    found[real] = flat[(starts[:, None] + np.arange(lengths.max()))[real]]
    return found
