"""How often the leakage check misses leakage, and how often it sees some where there is none.

    python -m benchmarks.leakage            # --draws 1 for a quick look

Twelve kinds of data are drawn from known processes, and two more whose sequences are related by
nature. Clean ones share nothing but what chance and the process give; to the others one kind of
leakage is added. The tables show, of clean splits, how many raise an alarm; of planted leakage, how
many of the sequences that it reaches are found.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from birnn.data import copies
from birnn.data.copies import Copies
from birnn.data.sequences import Sequences
from birnn.evaluation.checks import MANY_COPIES

Array = npt.NDArray[Any]
Draw = Callable[[np.random.Generator, int], list[Array]]
TEST = 0.2  # share of the sequences, by their names
SEQUENCES = 500


def sentences(rng: np.random.Generator, number: int) -> list[Array]:
    """Words after words, by a fixed bigram model with Zipf's frequencies; every 20th is "Yes."."""
    after = np.random.default_rng(0).permuted(np.tile(np.arange(2000), (50, 1)), axis=1)
    found = []
    for _ in range(number):
        length = 2 if rng.random() < 0.05 else int(rng.geometric(0.06)) + 2
        word = [int(rng.zipf(1.5)) % 2000]
        for draw in rng.zipf(1.3, length - 1):
            word.append(int(after[word[-1] % 50, draw % 2000]) if length > 2 else 1)
        found.append(np.array(word, np.int32))
    return found


def dna(rng: np.random.Generator, number: int) -> list[Array]:
    """Letters with a memory of one, and a third of them with a repeat such as ACACAC."""
    moves = np.array([[4, 2, 3, 1], [3, 3, 1, 3], [3, 2, 3, 2], [1, 2, 3, 4]]) / 10
    found = _chains(rng, moves, rng.integers(40, 200, number))
    for letters in found:
        if rng.random() < 0.3:
            at = int(rng.integers(len(letters) - 20))
            letters[at : at + 20] = np.tile(rng.integers(0, 4, 2), 10)
    return found


def forms(rng: np.random.Generator, number: int) -> list[Array]:
    """One of forty sentences of 20 words, in which four words are filled in."""
    fixed = np.random.default_rng(0)
    texts = [np.minimum(fixed.zipf(1.3, 20), 3000).astype(np.int32) for _ in range(40)]
    gaps = [fixed.choice(20, 4, replace=False) for _ in texts]
    found = []
    for kind in rng.integers(40, size=number):
        text = texts[kind].copy()
        text[gaps[kind]] = 4000 + rng.integers(0, 500, 4)
        found.append(text)
    return found


def families(rng: np.random.Generator, number: int) -> list[Array]:
    """DNA, of which a third has an element of 60 letters that others have too, much mutated."""
    element = np.random.default_rng(0).integers(0, 4, 60)
    found = dna(rng, number)
    for letters in found:
        if rng.random() < 1 / 3 and len(letters) > 60:
            at = int(rng.integers(len(letters) - 60))
            mutated = np.where(rng.random(60) < 0.15, rng.integers(0, 4, 60), element)
            letters[at : at + 60] = mutated
    return found


def noise(rng: np.random.Generator, number: int) -> list[Array]:
    """Eight real features without memory."""
    return [rng.standard_normal((int(n), 8)) for n in rng.integers(20, 100, number)]


def walks(rng: np.random.Generator, number: int) -> list[Array]:
    """One smooth real feature, 100 steps."""
    return list(np.cumsum(rng.standard_normal((number, 100, 1)), axis=1))


def counts(rng: np.random.Generator, number: int) -> list[Array]:
    """Two features of whole numbers that change slowly, as a 12-bit sensor gives them."""
    found = []
    for n in rng.integers(50, 150, number):
        moves = rng.integers(-3, 4, (int(n), 2)).cumsum(axis=0)
        found.append(np.clip(2048 + 300 * rng.standard_normal(2).round(1) + moves, 0, 4095))
    return found


def templates(rng: np.random.Generator, number: int) -> list[Array]:
    """Three features that follow one of five curves, with 10 % of noise."""
    time = np.linspace(0, 1, 80)[:, np.newaxis]
    shapes = np.random.default_rng(0).uniform(1, 6, (5, 3))
    return [
        np.sin(2 * np.pi * shapes[rng.integers(5)] * time) + 0.1 * rng.standard_normal((80, 3))
        for _ in range(number)
    ]


def symbols(rng: np.random.Generator, number: int) -> list[Array]:
    """Three to nine of five symbols."""
    return [rng.integers(0, 5, int(n)).astype(np.int32) for n in rng.integers(3, 10, number)]


def logs(rng: np.random.Generator, number: int) -> list[Array]:
    """Messages of one of four protocols: twenty fixed tokens, then six to twenty of their own."""
    found = []
    for length in rng.integers(6, 21, number):
        kind = int(rng.integers(4))
        found.append(np.append(np.arange(20) + 20 * kind, 100 + rng.integers(0, 300, length)))
    return [one.astype(np.int32) for one in found]


def switches(rng: np.random.Generator, number: int) -> list[Array]:
    """On and off, with a memory: two symbols, 50 to 150 steps."""
    moves = np.array([[0.9, 0.1], [0.2, 0.8]])
    return _chains(rng, moves, rng.integers(50, 150, number))


def saturated(rng: np.random.Generator, number: int) -> list[Array]:
    """A sensor that is often at its limit, and in a third of the sequences hangs all the time."""
    found = []
    for n in rng.integers(30, 90, number):
        values = np.minimum(np.cumsum(rng.standard_normal((int(n), 2)), axis=0), 1.0)
        found.append(np.full((int(n), 2), 1.0) if rng.random() < 0.3 else values)
    return found


def silence(rng: np.random.Generator, number: int) -> list[Array]:
    """Sound of one channel between zeros of random length; a tenth is silent."""
    found = []
    for n in rng.integers(60, 160, number):
        sound = rng.standard_normal((int(n), 1))
        sound[: rng.integers(n // 3)] = 0
        sound[n - rng.integers(n // 3) :] = 0
        found.append(np.zeros_like(sound) if rng.random() < 0.1 else sound)
    return found


def clocks(rng: np.random.Generator, number: int) -> list[Array]:
    """Square waves of 3 to 12 steps a half, from any phase: the same again and again by nature."""
    found = []
    for n in rng.integers(40, 120, number):
        half = int(rng.integers(3, 13))
        found.append(((np.arange(n) + rng.integers(24)) // half % 2).astype(float)[:, np.newaxis])
    return found


def _chains(rng: np.random.Generator, moves: Array, lengths: Array) -> list[Array]:
    """Sequences in which each letter decides how likely the next one is."""
    ends, draws = moves.cumsum(axis=1), rng.random((lengths.max(), len(lengths)))
    states = np.zeros(draws.shape, np.int32)
    states[0] = rng.integers(len(moves), size=len(lengths))
    for step in range(1, len(states)):
        passed = draws[step, :, np.newaxis] > ends[states[step - 1]]
        states[step] = np.minimum(passed.sum(axis=1), len(moves) - 1)
    return [column[:length] for column, length in zip(states.T, lengths, strict=True)]


KINDS: dict[str, Draw] = {
    "sentences": sentences,
    "DNA": dna,
    "real, 8 features": noise,
    "real, smooth": walks,
    "whole numbers": counts,
    "classes of curves": templates,
    "few short symbols": symbols,
    "logs with prefixes": logs,
    "on and off": switches,
    "saturated sensors": saturated,
    "silence": silence,
    "clocks": clocks,
}


RELATED: dict[str, Draw] = {"forms filled in": forms, "DNA, one family": families}
"""Of these, independent sequences have long parts in common by nature."""


class Planted(NamedTuple):
    """Train and test with one kind of leakage, and which test sequences it has reached."""

    train: list[Array]
    test: list[Array]
    reached: npt.NDArray[np.bool_]


def exported(times: int) -> Callable[..., Planted]:
    """Every sequence `times` times, each under a name of its own, so in any split."""

    def plant(draw: Draw, rng: np.random.Generator) -> Planted:
        return _divided(draw(rng, SEQUENCES // times), times, lambda one: one, rng)

    return plant


def few(draw: Draw, rng: np.random.Generator) -> Planted:
    """Two in a hundred of the test sequences are in train as well."""
    train, test = clean(draw, rng)
    copied = max(1, len(test) // 50)
    reached = np.arange(len(test)) < copied
    return Planted([*train[copied:], *test[:copied]], test, reached)


def windows(overlap: float) -> Callable[..., Planted]:
    """Windows of 40 steps, which overlap, of long recordings."""

    def plant(draw: Draw, rng: np.random.Generator) -> Planted:
        step = round(40 * (1 - overlap))
        cut: list[Array] = []
        origin: list[tuple[int, int]] = []
        while len(cut) < SEQUENCES:
            long = np.concatenate(draw(rng, 8))
            starts = range(0, len(long) - 39, step)
            origin += [(len(cut), start) for start in starts]
            cut += [long[start : start + 40] for start in starts]
        held_out = rng.random(len(cut)) < TEST
        trained = [place for place, out in zip(origin, held_out, strict=True) if not out]
        reached = [
            any(one == which and abs(at - start) <= 20 for one, at in trained)
            for (which, start), out in zip(origin, held_out, strict=True)
            if out
        ]
        train = [one for one, out in zip(cut, held_out, strict=True) if not out]
        test = [one for one, out in zip(cut, held_out, strict=True) if out]
        return Planted(train, test, np.array(reached))

    return plant


def noisy(share: float) -> Callable[..., Planted]:
    """Every sequence twice, once with noise of this share of its own spread."""

    def plant(draw: Draw, rng: np.random.Generator) -> Planted:
        originals = draw(rng, SEQUENCES // 2)

        def change(one: Array) -> Array:
            return np.asarray(one + share * one.std(axis=0) * rng.standard_normal(one.shape))

        return _divided(originals, 2, change, rng)

    return plant


def rescaled(draw: Draw, rng: np.random.Generator) -> Planted:
    """Every sequence twice, once with another unit and zero."""

    def change(one: Array) -> Array:
        return one * rng.uniform(0.5, 2, one.shape[1]) + rng.uniform(-1, 1, one.shape[1])

    return _divided(draw(rng, SEQUENCES // 2), 2, change, rng)


def scaled_windows(overlap: float) -> Callable[..., Planted]:
    """Such windows, of which each has its own zero and unit."""

    def plant(draw: Draw, rng: np.random.Generator) -> Planted:
        planted = windows(overlap)(draw, rng)
        sides = [[_standardised(one) for one in side] for side in (planted.train, planted.test)]
        return Planted(sides[0], sides[1], planted.reached)

    return plant


def _standardised(one: Array) -> Array:
    return np.asarray((one - one.mean(axis=0)) / np.maximum(one.std(axis=0), 1e-9))


def edited(draw: Draw, rng: np.random.Generator) -> Planted:
    """Every sequence twice, once with a tenth of its symbols replaced, left out or new."""
    originals = draw(rng, SEQUENCES // 2)
    symbols = np.concatenate(originals)

    def change(one: Array) -> Array:
        other = one.copy()
        for _ in range(max(1, round(len(one) / 10))):
            at, symbol = rng.integers(len(other)), symbols[rng.integers(len(symbols))]
            kind = rng.integers(3)
            if kind == 0:
                other[at] = symbol
            elif kind == 1 and len(other) > 1:
                other = np.delete(other, at)
            else:
                other = np.insert(other, at, symbol)
        return other

    return _divided(originals, 2, change, rng)


def one_changed(draw: Draw, rng: np.random.Generator) -> Planted:
    """Every sequence twice, once with another symbol at one step."""

    def change(one: Array) -> Array:
        other = one.copy()
        other[rng.integers(len(one))] = 9999
        return other

    return _divided(draw(rng, SEQUENCES // 2), 2, change, rng)


LEAKS: dict[str, Callable[..., Planted]] = {
    "exported twice": exported(2),
    "six times": exported(6),
    "2 % copied": few,
    "windows, 50 %": windows(0.5),
    "windows, 95 %": windows(0.95),
    "windows, 50 %, scaled": scaled_windows(0.5),
    "windows, 95 %, scaled": scaled_windows(0.95),
    "one symbol changed": one_changed,
    "a tenth changed": edited,
    "noise 1 %": noisy(0.01),
    "noise 10 %": noisy(0.1),
    "scale and shift": rescaled,
}
OF_TOKENS = {"one symbol changed", "a tenth changed"}
OF_NUMBERS = {"windows, 50 %, scaled", "windows, 95 %, scaled"} | {
    "noise 1 %",
    "noise 10 %",
    "scale and shift",
}


def clean(draw: Draw, rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
    """Train and test without leakage."""
    drawn = draw(rng, SEQUENCES)
    cut = int(SEQUENCES * (1 - TEST))
    return drawn[:cut], drawn[cut:]


def _divided(
    originals: list[Array], times: int, change: Callable[[Array], Array], rng: np.random.Generator
) -> Planted:
    """Each original and its changed copies, at random in train or test."""
    origin = np.repeat(np.arange(len(originals)), times)
    held_out = rng.random(len(origin)) < TEST
    changed = [
        originals[which] if place % times == 0 else change(originals[which])
        for place, which in enumerate(origin)
    ]
    train = [one for one, out in zip(changed, held_out, strict=True) if not out]
    test = [one for one, out in zip(changed, held_out, strict=True) if out]
    return Planted(train, test, np.isin(origin[held_out], origin[~held_out]))


def together(sequences: list[Array]) -> Sequences:
    """Join arrays of tokens, (steps,), or of features, (steps, features), as one split."""
    offsets = np.cumsum([0, *map(len, sequences)])
    steps = np.concatenate(sequences)
    names = pa.array([f"s{number}" for number in range(len(sequences))])
    tokens = steps if steps.ndim == 1 else None
    return Sequences(
        values=np.zeros((len(steps), 0), np.float32)
        if steps.ndim == 1
        else steps.astype(np.float32),
        offsets=offsets,
        labels=np.zeros(len(sequences), np.int32),
        ids=names,
        groups=names,
        tagging=False,
        tokens=tokens,
        dictionary=None if tokens is None else pa.array([str(n) for n in range(tokens.max() + 1)]),
    )


def looked_at(train: list[Array], test: list[Array]) -> Copies:
    """What the check sees."""
    return copies.find(copies.remember(together(train)), together(test))


def alarms(draw: Draw, draws: int) -> Iterator[Copies]:
    """Of clean splits."""
    for seed in range(draws):
        yield looked_at(*clean(draw, np.random.default_rng(seed)))


def hits(draw: Draw, plant: Callable[..., Planted], draws: int) -> tuple[int, int, int, int]:
    """Planted and found sequences, others that are called seen, and splits without a failure."""
    reached = found = others = passed = 0
    for seed in range(draws):
        planted = plant(draw, np.random.default_rng(1000 + seed))
        seen = looked_at(planted.train, planted.test).seen
        reached += int(planted.reached.sum())
        found += int((seen & planted.reached).sum())
        others += int((seen & ~planted.reached).sum())
        passed += bool(seen.mean() < MANY_COPIES)
    return reached, found, others, passed


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leakage", description=__doc__)
    parser.add_argument("--draws", type=int, default=5, help="of each leakage; 4 times of clean")
    draws = parser.parse_args().draws
    console = Console(width=190)
    console.print(_clean_table(4 * draws))
    planted = Table("data", *LEAKS, title="Test sequences reached by leakage: share that is found")
    for name, draw in (KINDS | RELATED).items():
        cells = [_cell(draw, leak, plant, draws) for leak, plant in LEAKS.items()]
        planted.add_row(name, *cells)
    planted.caption = "In brackets: splits that fail the check; then others that are called seen."
    console.print(planted)
    for name, width in (("eight numbers", 8), ("a token", 0)):
        console.print(f"Steps of {name}: {_seconds(width):.2f} s of a CPU for a million of them")


def _seconds(width: int) -> float:
    """CPU time to remember four million steps, by the million."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 200, 36_000)
    steps = int(lengths.sum())
    drawn = rng.random((steps, width), np.float32) if width else rng.integers(0, 5000, steps)
    split = together(np.split(drawn, lengths.cumsum()[:-1]))
    begin = time.process_time()
    copies.remember(split)
    return (time.process_time() - begin) / steps * 1e6


def _clean_table(draws: int) -> Table:
    table = Table("data", "splits that fail", "that warn", "called seen", "repeated", "expected")
    table.title = f"Splits without leakage, {SEQUENCES} sequences each, {draws} draws"
    for name, draw in (KINDS | RELATED).items():
        found = list(alarms(draw, draws))
        shares = [one.seen.mean() for one in found]
        table.add_row(
            name,
            str(sum(share >= MANY_COPIES for share in shares)),
            str(sum(0 < share < MANY_COPIES for share in shares)),
            f"{sum(one.seen.sum() for one in found)} of {draws * len(found[0].seen):,}",
            f"{np.mean([one.repeated.sum() for one in found]):.1f}",
            f"{np.mean([one.expected for one in found]):.1f}",
        )
    return table


def _cell(draw: Draw, leak: str, plant: Callable[..., Planted], draws: int) -> str:
    tokens = draw(np.random.default_rng(0), 1)[0].ndim == 1
    if leak in (OF_NUMBERS if tokens else OF_TOKENS):
        return ""
    reached, found, others, passed = hits(draw, plant, draws)
    return f"{found / max(reached, 1):.3f} ({draws - passed}; {others})"


if __name__ == "__main__":
    main()
