"""Make DNA whose class depends on the order of two motifs and on the letters on both sides of them.

    python examples/dna.py > data/external/dna.fasta

Every sequence holds both motifs once, so that counting them tells nothing. Its class is

    plus    the first motif, later the second; GC before the pair and CG after it
    minus   the second motif, later the first; GC before the pair and CG after it
    none    either order, and the letters on one of the two sides, or on both, are others
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

LETTERS = np.array(list("ACGT"))
MOTIFS = ("TTGACA", "TATAAT")
FLANKS = ("GC", "CG")
SHORTEST, LONGEST = 40, 200


def records(count: int, seed: int) -> Iterator[str]:
    """Draw sequences of 40 to 200 letters, a third of each class, as records of a FASTA file."""
    random = np.random.default_rng(seed)
    for number in range(count):
        name = ("plus", "minus", "none")[number % 3]
        yield f">dna{number + 1:05d}|{name}\n{sequence(name, random)}\n"


def sequence(name: str, random: np.random.Generator) -> str:
    """Draw one sequence of a class."""
    forwards = name == "plus" or (name == "none" and random.random() < 0.5)
    first, second = MOTIFS if forwards else MOTIFS[::-1]
    left, right = FLANKS
    if name == "none":
        broken = random.integers(1, 4)
        left = other(left, random) if broken & 1 else left
        right = other(right, random) if broken & 2 else right
    spare = int(random.integers(SHORTEST, LONGEST + 1)) - sum(map(len, (*MOTIFS, *FLANKS)))
    before, after = np.sort(random.integers(0, spare + 1, 2))
    gaps = [background(size, random) for size in (before, after - before, spare - after)]
    return gaps[0] + left + first + gaps[1] + second + right + gaps[2]


def background(size: int, random: np.random.Generator) -> str:
    """Draw letters that hold neither motif."""
    while True:
        letters = "".join(random.choice(LETTERS, size))
        if not any(motif in letters for motif in MOTIFS):
            return letters


def other(flank: str, random: np.random.Generator) -> str:
    """Draw two letters that differ from a flank."""
    while (letters := background(len(flank), random)) == flank:
        pass
    return letters


if __name__ == "__main__":
    sys.stdout.writelines(records(6000, seed=1))
