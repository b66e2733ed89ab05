"""What is in a sequence table: counts, lengths, classes, repeated and contradictory sequences.

found = summary(lambda: chunks("data/raw/sequences.parquet"), task="tagging", where="my.csv")
notes(found)                    # what is worth a warning, a line each
for table in tables(found): Console().print(table)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError
from birnn.files import console, engines, hashing
from birnn.files.hashing import Hashes, Seen
from birnn.files.parts import Place
from birnn.files.reading import Skipped, first_few
from birnn.files.scores import AVERAGES
from birnn.files.summary import NO_LABELS, ClassCount, Conflict, Groups, Summary, gaps
from birnn.files.tables import (
    SPLITS,
    Chunk,
    Precision,
    chunks_of,
    feature_names,
    natural_order,
    value_counts,
)
from birnn.sources import sentinels
from birnn.sources.moments import LEAST_EPOCH
from birnn.sources.sentinels import Far, Ranges

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 3
DECIMAL, MOST_DECIMALS = re.compile(r"-?\d*\.\d*(?:e[+-]?\d+)?", re.IGNORECASE), 20
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
EPOCH = (LEAST_EPOCH, 5e9)  # seconds since 1970: the years 1989 to 2128
NUMBER = "the number of the row"
LEAST_ROWS = 100  # that are counted one by one; fewer may be so by chance
HELD_OUT = ("validation", "test")
MOST_COMPARED = 1 << 25
"""Sequences that are compared with each other; more would not fit into a gigabyte."""


class Head(NamedTuple):
    """A sequence as it is shown to people: its id, and the label of its first step."""

    id: str
    label: str


def summary(
    chunks: Iterable[Chunk],
    again: Callable[[], Iterable[Chunk]],
    *,
    task: str,
    where: str,
    skipped: Skipped | None = None,
) -> Summary:
    """Count what a sequence table holds.

    Args:
        chunks: whole sequences, as `birnn.files.tables.whole_sequences` gives them.
        again: gives the same once more; called if identical sequences have different labels, to
            find the first of them.
        task: `tagging` or `classification`.
        where: what to call the source in messages.
        skipped: told of numbers that may stand for missing ones.

    Returns:
        All but what only readers and known processes know. Sequences are compared with each other
        up to `MOST_COMPARED` different ones.

    Raises:
        DataError: there are no two classes.
    """
    counts, wanted = _Counts(), Wanted()

    def look(chunk: Chunk) -> Look:
        return of_chunk(task, chunk, wanted)  # what is no longer wanted only saves time

    for one in engines.mapped(look, chunks):
        counts.add(one)
        wanted = wanted.after(one, compared=len(counts.contents) < MOST_COMPARED)
    return _summary(counts, again, task=task, where=where, skipped=skipped or Skipped())


def summary_of_looks(
    looks: Iterable[Look],
    again: Callable[[], Iterable[Chunk]],
    *,
    task: str,
    where: str,
    skipped: Skipped | None = None,
) -> Summary:
    """Count what a sequence table holds of which others have looked at the chunks, in their order.

    See `summary`, `watched` and `of_part`.
    """
    counts = _Counts()
    for one in looks:
        counts.add(one)
    return _summary(counts, again, task=task, where=where, skipped=skipped or Skipped())


def _summary(
    counts: _Counts,
    again: Callable[[], Iterable[Chunk]],
    *,
    task: str,
    where: str,
    skipped: Skipped,
) -> Summary:
    _check_labels(counts.labels, where)
    counts.ranges.note(skipped, where)
    labels = Counter[str]()
    for (_, name), count in counts.labels.items():
        labels[name] += count
    unseen = _absent(counts.labels, "train", others=HELD_OUT)
    return Summary(
        task=task,
        sequences=counts.lengths.total(),
        steps=sum(length * count for length, count in counts.lengths.items()),
        tokens=len(counts.tokens),
        features=counts.features,
        lengths=_quantiles(counts.lengths),
        labels={
            name: ClassCount(labels[name], labels[name] / labels.total())
            for name in natural_order(labels)
        },
        splits={name: counts.splits[name] for name in SPLITS if name in counts.splits},
        groups=_groups(counts.groups),
        not_in_test=_absent(counts.labels, "test", others=("train",)),
        not_in_train={name: counts.held_out(name) for name in unseen},
        unlabelled=counts.unlabelled,
        missing=dict(counts.missing),
        rare={name: len(units) for name, units in counts.rare() if not counts.splits},
        duplicates=counts.duplicates,
        conflicts=counts.conflicts,
        first_conflicts=_pairs(again, counts.first_conflicts),
        counters=counts.counters.found,
        left_out={},
        reading={},
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is still to be looked for, so that no look takes longer than it must.

    Attributes:
        hashes: whether to compare sequences.
        known: classes of which enough sequences have come by to be in each split.
        counters: features that may still be counters; all where None.
    """

    hashes: bool = True
    known: frozenset[str] = frozenset()
    counters: frozenset[str] | None = None

    def after(self, look: Look, *, compared: bool = True) -> Wanted:
        """What is left after one more look."""
        known = {name for name, units in look.units.items() if len(units) == len(SPLITS)}
        left = {name for name, run in look.runs.items() if run.rows or run.units}
        return Wanted(compared, self.known | known, frozenset(left))


class Run(NamedTuple):
    """How the values of a feature go up in a chunk.

    Attributes:
        rows: whether each is one more than that of the row above.
        first: value.
        last: value.
        units: in which they may be a time, of `UNITS`.
    """

    rows: bool
    first: float
    last: float
    units: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a chunk of whole sequences tells; those of a table are added up in their order.

    Attributes:
        features: names of the numeric columns.
        heads: the first row of each sequence, without what it holds.
        lengths: how many sequences have so many steps.
        labels: how often each class occurs, by split.
        splits: sequences in each split.
        groups: labels of each group.
        missing: numbers that are missing, by column.
        unlabelled: labels that are missing.
        units: of some classes, the first few groups or sequences that hold them.
        runs: of features that may be counters.
        far: the extremes of features.
        steps: of all sequences.
        tokens: hashes of the distinct ones.
        hashed: of each sequence; None where nobody wants to compare them.
    """

    features: list[str]
    heads: pa.Table
    lengths: dict[int, int]
    labels: dict[tuple[str, str], int]
    splits: dict[str, int]
    groups: dict[str, int]
    missing: dict[str, int]
    unlabelled: int
    units: dict[str, list[str]]
    runs: dict[str, Run]
    far: dict[str, Far]
    steps: int
    tokens: Hashes | None
    hashed: _Hashed | None


def of_part(task: str, place: Place) -> list[Look]:
    """Look at a part of a table, chunk by chunk."""
    looks = list[Look]()
    for _ in watched(task, chunks_of(place), looks):
        pass
    return looks


def watched(task: str, chunks: Iterable[Chunk], looks: list[Look]) -> Iterator[Chunk]:
    """Pass chunks on, and note what each of them tells."""
    wanted = Wanted()
    for chunk in chunks:
        looks.append(of_chunk(task, chunk, wanted))
        wanted = wanted.after(looks[-1])
        yield chunk


def of_chunk(task: str, chunk: Chunk, wanted: Wanted) -> Look:
    """Look at whole sequences."""
    table, offsets = chunk
    names = table.schema.names
    heads = table.select(_kept(table)).take(offsets[:-1])
    labelled = table if task == "tagging" else heads
    lengths, numbers = np.unique(np.diff(offsets), return_counts=True)
    features = feature_names(table.schema)
    missing, runs, far = dict[str, int](), dict[str, Run](), dict[str, Far]()
    for name in features:  # one after the other, so that only one is copied at a time
        values = table[name].to_numpy()
        missing[name] = int(np.count_nonzero(np.isnan(values)))
        far[name] = sentinels.of_values(values)
        if wanted.counters is None or name in wanted.counters:
            runs[name] = _run(values, offsets)
    return Look(
        features=features,
        heads=heads,
        lengths=dict(zip(lengths.tolist(), numbers.tolist(), strict=True)),
        labels=_labels(labelled),
        splits=value_counts(heads["split"]) if "split" in names else {},
        groups=value_counts(labelled["group"]) if "group" in names else {},
        missing={name: count for name, count in missing.items() if count},
        unlabelled=labelled["label"].null_count,
        units=_units(table, offsets, heads, wanted.known),
        runs=runs,
        far=far,
        steps=table.num_rows,
        tokens=hashing.of_text(table["token"].unique()) if "token" in names else None,
        hashed=_hashed(table, offsets, task) if wanted.hashes else None,
    )


def _labels(rows: pa.Table) -> dict[tuple[str, str], int]:
    found = dict[tuple[str, str], int]()
    for split in rows["split"].unique().to_pylist() if "split" in rows.schema.names else [""]:
        chosen = rows.filter(pc.field("split") == split) if split else rows
        for label, count in value_counts(chosen["label"].drop_null()).items():
            found[split, label] = count
    return found


def _units(
    table: pa.Table, offsets: npt.NDArray[np.int64], heads: pa.Table, known: Collection[str]
) -> dict[str, list[str]]:
    """Note the first few groups, or sequences, that hold each class, of those not yet known."""
    units = heads["group" if "group" in heads.schema.names else "sequence"]
    encoded = (table["label"]).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    wanted = [name not in known for name in names]
    found: dict[str, list[str]] = {name: [] for name in names if name not in known}
    if not any(wanted):
        return {}
    codes = pc.fill_null(encoded.indices, len(names)).to_numpy()
    rows = np.flatnonzero(np.array([*wanted, False])[codes])
    sequence = np.searchsorted(offsets, rows, side="right") - 1
    pairs = np.unique(codes[rows].astype(np.int64) * len(heads) + sequence)
    for code, number in zip(*np.divmod(pairs, len(heads)), strict=True):
        held = found[names[code]]
        if len(held) < len(SPLITS) and (unit := units[int(number)].as_py()) not in held:
            held.append(unit)
    return found


def _run(values: npt.NDArray[np.float64], offsets: npt.NDArray[np.int64]) -> Run:
    steps = np.diff(values, prepend=values[0] - 1)
    rows = not (steps != 1).any()
    steps[offsets[:-1]] = 0  # a sequence begins when it will
    low, high = float(values.min()), float(values.max())
    fits = {unit for unit, size in UNITS.items() if EPOCH[0] * size <= low <= high}
    fits = {unit for unit in fits if high < EPOCH[1] * UNITS[unit]}
    units = fits if fits and (steps >= 0).all() else ()
    return Run(rows, float(values[0]), float(values[-1]), frozenset(units))


class _Counts:
    """What is added up, look by look."""

    def __init__(self) -> None:
        self.lengths = Counter[int]()
        self.labels = Counter[tuple[str, str]]()  # by split and class
        self.splits, self.groups, self.missing = Counter[str](), Counter[str](), Counter[str]()
        self.unlabelled = 0
        self.units: dict[str, set[str]] = {}  # of each class, some of what splits do not divide
        self.features: list[str] = []
        self.counters, self.ranges = _Counters(), Ranges()
        self.tokens, self.contents = Seen(), Seen()
        self.duplicates = self.conflicts = 0
        self.first_conflicts: list[tuple[int, Head]] = []

    def add(self, look: Look) -> None:
        """Count some sequences."""
        self.features = look.features
        self.lengths.update(look.lengths)
        self.labels.update(look.labels)
        self.splits.update(look.splits)
        self.groups.update(look.groups)
        self.missing.update(look.missing)
        self.unlabelled += look.unlabelled
        self.counters.add(look)
        self.ranges.add(look.far)
        for name, units in look.units.items():
            self.units.setdefault(name, set()).update(units)  # of one look up to three
        if look.tokens is not None:
            self.tokens.add(look.tokens)
        if look.hashed is not None and len(self.contents) < MOST_COMPARED:
            self._add_contents(look.hashed, look.heads)

    def held_out(self, label: str) -> int:
        """How often a class occurs in validation and test, where the table names its splits."""
        return sum(self.labels[split, label] for split in HELD_OUT)

    def rare(self) -> Iterator[tuple[str, set[str]]]:
        """Name the classes that cannot be in each split, with the units that hold them."""
        return ((name, held) for name, held in self.units.items() if len(held) < len(SPLITS))

    def _add_contents(self, hashes: _Hashed, heads: pa.Table) -> None:
        keys, answers = hashes
        again, first = self.contents.add(keys, answers)
        conflicting = np.flatnonzero((first != answers) & (first > 0) & (answers > 0))
        self.duplicates += int(again.sum())
        self.conflicts += len(conflicting)
        for number in conflicting[: SHOWN - len(self.first_conflicts)].tolist():
            self.first_conflicts.append((int(keys[number]), _head(heads, number)))


class _Hashed(NamedTuple):
    """What tells sequences apart: what they hold, and their labels; 0 where one is not known."""

    keys: Hashes
    answers: npt.NDArray[np.uint32]


def _hashed(table: pa.Table, offsets: npt.NDArray[np.int64], task: str) -> _Hashed:
    tagging = task == "tagging"
    labels = table["label"] if tagging else table["label"].take(pa.array(offsets[:-1]))
    bounds = offsets if tagging else np.arange(len(offsets))
    answers = np.maximum(_ordered(_of_column(labels), bounds).astype(np.uint32), 1)
    if labels.null_count:  # what is not known contradicts nothing
        none = labels.is_null().to_numpy()
        answers[np.add.reduceat(none, bounds[:-1]) > 0] = 0
    return _Hashed(contents(table, offsets), answers)


def contents(
    table: pa.Table, offsets: npt.NDArray[np.int64], precision: Precision = "float64"
) -> Hashes:
    """Hash the tokens and features of each sequence, in their order: (sequences,) uint64.

    Args:
        table: whole sequences.
        offsets: where each begins.
        precision: to which features are rounded before.
    """
    total = np.zeros(table.num_rows, dtype=np.uint64)
    rounded = precision == "float32"  # hashed as by versions that rounded, to compare with theirs
    if "token" in table.schema.names:
        total += _of_column(table["token"])
    for number, name in enumerate(feature_names(table.schema), 1):
        plain = table[name].to_numpy().astype(precision, copy=False) + 0  # -0.0 and 0.0 are one
        bits = plain.view(f"u{plain.itemsize}").astype(np.uint64, copy=False)
        salt = np.uint64(number << 32) if rounded else hashing.mixed(np.array([number]))
        total += hashing.mixed(bits + salt)
    return _ordered(total, offsets)


def _of_column(column: pa.ChunkedArray) -> Hashes:
    """Hash strings, each distinct one once."""
    encoded = column.combine_chunks().fill_null("").dictionary_encode()
    hashes: Hashes = hashing.of_text(encoded.dictionary)[encoded.indices.to_numpy()]
    return hashes


def _ordered(steps: Hashes, offsets: npt.NDArray[np.int64]) -> Hashes:
    """Combine the hashes of each sequence's steps."""
    lengths = np.diff(offsets)
    position = np.arange(len(steps)) - np.repeat(offsets[:-1], lengths)
    return hashing.of_rows(hashing.mixed(steps + hashing.mixed(position)), lengths)


class _Counters:
    """Features that only count: seconds since 1970, say, or the rows of the table.

    A model takes them for something measured. Each drops out at the first look that does not fit.
    """

    def __init__(self) -> None:
        self.units: dict[str, frozenset[str]] | None = None  # that a feature may count
        self.rows: set[str] = set()
        self.last: dict[str, float] = {}
        self.sequences = self.steps = 0

    @property
    def found(self) -> dict[str, str]:
        """What each of them counts."""
        times = {name: f"a time in {min(units)}" for name, units in (self.units or {}).items()}
        several = self.sequences > 1 and self.steps >= LEAST_ROWS
        return (dict.fromkeys(sorted(self.rows), NUMBER) if several else {}) | times

    def add(self, look: Look) -> None:
        """Take up one more look."""
        self.sequences += len(look.heads)
        self.steps += look.steps
        if self.units is None:
            self.units, self.rows = (
                {name: run.units for name, run in look.runs.items()},
                {*look.runs},
            )
            self.last = {name: run.first - 1 for name, run in look.runs.items()}
        for name in [*self.rows]:
            run = look.runs.get(name)
            if run is None or not run.rows or run.first - self.last[name] != 1:
                self.rows.discard(name)
            else:
                self.last[name] = run.last
        found = {name: units & self._units(look, name) for name, units in self.units.items()}
        self.units = {name: units for name, units in found.items() if units}

    @staticmethod
    def _units(look: Look, name: str) -> frozenset[str]:
        """The units that still fit; without any, it is no time."""
        run = look.runs.get(name)
        return frozenset() if run is None else run.units


def _kept(table: pa.Table) -> list[str]:
    return [name for name in ("sequence", "label", "split", "group") if name in table.schema.names]


def _head(heads: pa.Table, number: int) -> Head:
    return Head(heads["sequence"][number].as_py(), heads["label"][number].as_py())


def _pairs(
    again: Callable[[], Iterable[Chunk]], conflicts: list[tuple[int, Head]]
) -> list[Conflict]:
    """Find the sequences that others contradict, by a second look from the beginning."""
    earlier: dict[int, Head] = {}
    wanted = {key for key, _ in conflicts}
    for table, offsets in again() if wanted else ():
        keys = contents(table, offsets)
        heads = table.select(_kept(table)).take(offsets[:-1])
        places = np.flatnonzero(np.isin(keys, np.array([*wanted], dtype=np.uint64))).tolist()
        for place in places:
            earlier.setdefault(int(keys[place]), _head(heads, place))
        if wanted == earlier.keys():
            break
    return [
        Conflict([earlier[key].id, late.id], [earlier[key].label, late.label])
        for key, late in conflicts
    ]


def _check_labels(labels: Mapping[tuple[str, str], int], where: str) -> None:
    names = {name for _, name in labels}
    if len(names) < 2:
        only = f"only {min(names)!r}" if names else "no label"
        raise DataError(
            f"{where}, column `label`: expected two classes or more, found {only}; "
            "add sequences of another class"
        )
    if len(names) > MOST_DECIMALS and all(map(DECIMAL.fullmatch, names)):
        raise DataError(
            f"{where}, column `label`: expected classes, found {len(names)} different numbers such "
            f"as {min(names)}; a model answers with classes: write ranges of the number instead"
        )
    if taken := names & {*AVERAGES}:
        raise DataError(
            f"{where}, column `label`: expected other names of classes than {min(taken)!r}, after "
            f"which an average is called (f1_{min(taken)}); rename it"
        )


def _absent(
    labels: Mapping[tuple[str, str], int], split: str, *, others: Collection[str]
) -> list[str]:
    """Labels of other splits that do not occur in this one, if the table names it at all."""
    found = {name for place, name in labels if place == split}
    return natural_order({name for place, name in labels if place in others and found} - found)


def _groups(groups: Counter[str]) -> Groups | None:
    for name, labels in groups.most_common(1):
        alike = _alike(sorted(groups))[:SHOWN]
        return Groups(len(groups), name, labels / groups.total(), alike)
    return None


def _quantiles(lengths: Counter[int]) -> dict[str, float]:
    """Mean and quantiles of lengths, of which only the distinct ones are held."""
    shares = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}
    values = np.array(sorted(lengths))
    ends = np.cumsum([lengths[value] for value in values.tolist()])
    ranks = np.array([*shares.values()]) * (ends[-1] - 1)
    low, high = (
        values[np.searchsorted(ends, rank(ranks), side="right")] for rank in (np.floor, np.ceil)
    )
    found = low + (high - low) * (ranks % 1)
    mean = sum(value * count for value, count in lengths.items()) / lengths.total()
    return {"mean": mean, **dict(zip(shares, found.tolist(), strict=True))}


def notes(found: Summary, reads: str = "", *, by_chance: bool = True) -> Iterator[str]:
    """Say what in a summary deserves a warning, a line each; see `birnn.files.summary.gaps`."""
    if absent := found.not_in_test:
        yield f"in train but not in test: labels {first_few(map(repr, absent))}"
    for names in _alike(found.labels):
        yield f"classes that {_so_alike(names)}? write it so"
    for names in found.groups.alike if found.groups else ():
        yield f"groups that {_so_alike(names)}? write it so, or train and test may share it"
    yield from gaps(found, reads, by_chance=by_chance)
    if found.groups and found.groups.share > 0.5:
        share = f"{100 * found.groups.share:.0f} % of all labels"
        yield (
            f"group {found.groups.largest!r} has {share}, and all of it falls into one split: "
            "the test will say little of other groups; divide it, or add groups"
        )
    for name, what in found.counters.items():
        time = (
            "" if what == NUMBER else ", or name it in data.columns.time, with data.time: seconds"
        )
        yield (
            f"column `{name}` looks like {what}, and is read as a feature: to leave it out, put it "
            f"into data.ignore; to let it travel with the rows, into data.keep{time}"
        )
    if found.conflicts:
        pairs = "; ".join(_pair(pair, found.task) for pair in found.first_conflicts)
        number = f"{found.conflicts:,}"
        yield f"identical to an earlier sequence, but with other labels: {number}, such as {pairs}"
    yield from _unsure(found)


def _unsure(found: Summary) -> Iterator[str]:
    """Say what may not be meant: of classes, and of sequences of one step."""
    if spaced := [name for name in found.labels if name.strip() != name]:
        yield f"classes with blanks around them: {first_few(map(repr, spaced))}; are they meant?"
    if unsure := [name for name in found.labels if name in NO_LABELS]:
        yield (
            f"classes that may stand for no label: {first_few(map(repr, unsure))}; if they do, "
            "name them in data.unlabelled"
        )
    if found.sequences > 1 and found.lengths["max"] == 1:
        yield (
            "each sequence has a single step, so there is no context to learn from: is its id the "
            "number of a row?"
        )


def _alike(names: Iterable[str]) -> list[list[str]]:
    """Names that are written in several ways."""
    ways: dict[str, list[str]] = {}
    for name in names:
        ways.setdefault(" ".join(name.split()).casefold(), []).append(name)
    return [written for written in ways.values() if len(written) > 1]


def _so_alike(names: list[str]) -> str:
    shown = " and ".join(map(repr, names[:SHOWN]))
    return f"differ in capitals or blanks alone: {shown}; are they one"


def _pair(pair: Conflict, task: str) -> str:
    first, second = (
        repr(name) if task == "tagging" else f"{name!r} ({label})"
        for name, label in zip(pair.sequences, pair.labels, strict=True)
    )
    return f"{first} and {second}"


def tables(found: Summary, *, most: int = 30) -> Iterator[Table]:
    """Show a summary on a terminal: counts, then at most `most` of the classes."""
    from rich.table import Table

    counts = Table(title="sequences", title_justify="left", show_header=False)
    for name, value in _counts(found):
        counts.add_row(console.cell(name), console.cell(value))
    yield counts
    classes = Table("class", "count", "share", title="labels", title_justify="left")
    for label, row in islice(found.labels.items(), most):
        classes.add_row(console.cell(label), f"{row.count:,}", f"{row.share:.1%}")
    if len(found.labels) > most:
        classes.add_row(f"and {len(found.labels) - most} more", "", "")
    yield classes


def _counts(found: Summary) -> Iterator[tuple[str, str]]:
    yield "task", found.task
    yield "sequences", f"{found.sequences:,}"
    yield "steps", f"{found.steps:,}"
    if found.tokens:
        yield "distinct tokens", f"{found.tokens:,}"
    if found.features:
        shown = ", ".join(found.features[:8]) + (", ..." if len(found.features) > 8 else "")
        yield "features", f"{len(found.features)}: {shown}"
    for name, value in found.lengths.items():
        yield f"steps of a sequence, {name}", f"{value:,.1f}"
    for name, count in found.splits.items():
        yield f"sequences in {name}", f"{count:,}"
    if found.groups:
        yield "groups", f"{found.groups.count:,}"
    yield "missing values", f"{sum(found.missing.values()):,}"
    if found.unlabelled:
        yield "without a label", f"{found.unlabelled:,}"
    among = f", among {MOST_COMPARED:,}" if found.sequences > MOST_COMPARED else ""
    yield "duplicates", f"{found.duplicates:,}{among}"
    yield "conflicting labels", f"{found.conflicts:,}{among}"
