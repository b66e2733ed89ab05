"""How the training sequences become batches: what the report shows of `prepare`.

shown = preparation(packing, train.offsets, batch_size=64, batch_steps=None, seed=1)
shown.pictures["at_random"]     # SVG by name
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from birnn.data import buckets
from birnn.data.buckets import BothWays, Packing
from birnn.data.sequences import shortest_and_longest
from birnn.files.tables import SPLITS
from birnn.report import figures

SHOWN, ROWS = 3, 64  # batches of a picture; rows that are drawn of a batch at most
SHORTEST, LONGEST = 3, 40  # of the lengths that stand in where all are equal
MOST_SIZES = 12  # written out
MOST_BATCHED = 1 << 20  # sequences; the few batches that are drawn of more look the same

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What padding costs, and what the order of packed sequences is.

    Attributes:
        packing: what `prepare` says of all splits.
        invented: whether the lengths are drawn from the seed, since those of the data are equal.
        shortest: of these lengths.
        longest: of these lengths.
        padding_at_random: share of padding in batches drawn at random.
        padding_as_batched: share of padding in the batches that training uses.
        sequences: of the batch that is packed.
        padded: steps that it takes with padding.
        sizes: its sequences that are alive at each step.
        pictures: SVG by name.
    """

    packing: Packing
    invented: bool
    shortest: int
    longest: int
    padding_at_random: float
    padding_as_batched: float
    sequences: int
    padded: int
    sizes: list[int]
    pictures: dict[str, str]

    @property
    def steps(self) -> int:
        """Real steps of the batch that is packed."""
        return sum(self.sizes)

    @property
    def first_sizes(self) -> str:
        """The first of `sizes`, as Python writes them."""
        shown = ", ".join(map(str, self.sizes[:MOST_SIZES]))
        return f"[{shown}{', ...' if len(self.sizes) > MOST_SIZES else ''}]"


def preparation(
    packing: Packing, offsets: Ints, *, batch_size: int, batch_steps: int | None, seed: int
) -> Preparation:
    """Batch the training sequences at random and as training does, and draw a few batches.

    Args:
        packing: what `prepare` says of all splits.
        offsets: (sequences + 1,) where the steps of each training sequence begin. The first
            `MOST_BATCHED` are put into batches. Where all are as long there is nothing to see, and
            as many lengths from `SHORTEST` to `LONGEST` take their place.
        batch_size: see `birnn.data.buckets.cut`.
        batch_steps: likewise.
        seed: of the order of the sequences, and of lengths that are invented.
    """
    shortest, longest = shortest_and_longest(offsets)
    lengths, invented = np.diff(offsets[: MOST_BATCHED + 1]), shortest == longest
    if invented:
        lengths = np.random.default_rng(seed).integers(SHORTEST, LONGEST + 1, len(lengths))
        shortest, longest = int(lengths.min()), int(lengths.max())
    both = buckets.both_ways(lengths, batch_size=batch_size, batch_steps=batch_steps, seed=seed)
    at_random, as_batched = packing.padding_at_random, packing.padding_as_batched
    if invented:
        at_random, as_batched = (buckets.padding_share(lengths, batches) for batches in both)
    packed = lengths[both.at_random[0]]
    sizes = buckets.alive(packed).tolist()
    return Preparation(
        packing=packing,
        invented=invented,
        shortest=shortest,
        longest=longest,
        padding_at_random=at_random,
        padding_as_batched=as_batched,
        sequences=len(packed),
        padded=len(packed) * len(sizes),
        sizes=sizes,
        pictures={
            **_lengths(packing),
            **_batches(lengths, both),
            "packed": _packed(packed, sizes),
        },
    )


def _lengths(packing: Packing) -> dict[str, str]:
    """The histogram of each split, as an outline; none where all sequences share one bin."""
    if len(packing.edges) < 3:
        return {}
    title, y, drawn = "Lengths of the sequences by split", "share of the sequences", []
    for accent, split in enumerate(SPLITS):
        counts = packing.histogram[split]
        shares = [count / (sum(counts) or 1) for count in counts]
        bins = zip(pairwise(packing.edges), shares, strict=True)
        drawn.append(figures.Line(split, [(end, y) for ends, y in bins for end in ends], accent))
    top = max(share for line in drawn for _, share in line.points)
    return {"lengths": figures.lines(drawn, title=title, x="steps", y=y, span=(0, top))}


def _batches(lengths: Ints, both: BothWays) -> dict[str, str]:
    """The first batches in both orders, to one scale."""
    first = {
        name: [lengths[batch] for batch in batches[:SHOWN]]
        for name, batches in both._asdict().items()
    }
    longest = max(int(batch.max()) for batches in first.values() for batch in batches)
    return {
        name: figures.blocks(
            [figures.Block(_padding(batch), _rows(batch)) for batch in batches],
            title=f"Batches {name.replace('_', ' ')}",
            longest=longest,
        )
        for name, batches in first.items()
    }


def _padding(lengths: Ints) -> str:
    return f"{100 * (1 - lengths.mean() / lengths.max()):.0f} % padding"


def _rows(lengths: Ints) -> list[int]:
    """The lengths of a batch; of a large one, every so many by rank, the longest among them."""
    ranked = np.argsort(lengths, kind="stable")
    places = np.linspace(len(lengths) - 1, 0, min(ROWS, len(lengths))).astype(np.int64)
    rows: list[int] = lengths[np.sort(ranked[places])].tolist()
    return rows


def _packed(lengths: Ints, sizes: Sequence[int]) -> str:
    rows = sorted(_rows(lengths), reverse=True)
    block = figures.Block(_padding(lengths), rows)
    title = "A batch in packed order, and how many of its sequences go on after some steps"
    return figures.blocks([block], title=title, longest=len(sizes), alive=[*sizes, 0])
