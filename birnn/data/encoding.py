"""From the words and units of the sequence table to what a network reads, and back.

Everything is fitted on the training sequences alone and kept in `encoding.json`: how each feature
is scaled, the vocabulary of tokens and their alphabet, and the names of the classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from birnn.data import filling, scaling, sequences
from birnn.data.filling import Filling, Means
from birnn.data.scaling import Kind
from birnn.data.sequences import Sequences
from birnn.errors import DataError, ParamsError
from birnn.files import atomic, engines
from birnn.files.tables import (
    Chunk,
    Form,
    Precision,
    feature_names,
    natural_order,
    spelled,
    value_counts,
)

if TYPE_CHECKING:  # who trains and predicts needs no schema
    from birnn.params import Prepare

Told = TypeVar("Told")

UNKNOWN = 0  # the place of a token of which nothing is known
MOST_SHOWN = 60  # letters of what differs between two encodings


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a table becomes `Sequences`.

    Attributes:
        task: `tagging` or `classification`.
        labels: names of the classes, in the order of their indices.
        features: names of the feature columns; empty where there are none.
        mean: of each feature; see `birnn.data.scaling.scaled`.
        scale: of each feature.
        vocabulary: tokens in the order of their indices, which begin at 1; None without tokens.
        characters: the letters of all training tokens, in the order of Unicode.
        lowercase: whether tokens are read in lower case.
        scaling: how features are scaled; see `birnn.data.scaling`.
        frame: how many steps of features become one.
        max_steps: how many steps of a sequence are read, where longer ones are cut.
        form: the form of Unicode to which tokens and labels are brought; None as they are.
        precision: to which features are rounded before they are scaled.
        reading: how the files were read; see `birnn.sources.ingestion.reading`.
        missing: what is read where a number is missing; see `birnn.data.filling`.
        fills: of each feature, the number that is put there; empty where none may be missing.
        masked: the features beside which another one says where they are missing.
        unseen: classes of validation and test that train does not have. The table itself names its
            splits then, and each label of such a class counts as answered wrongly.
    """

    task: str
    labels: list[str]
    features: list[str]
    mean: list[float]
    scale: list[float]
    vocabulary: list[str] | None = None
    characters: str = ""
    lowercase: bool = False
    scaling: Kind = "global"
    frame: int = 1
    max_steps: int | None = None
    form: Form | None = None  # this and the next: what models of 0.2.0 do, which do not say
    precision: Precision = "float32"
    reading: dict[str, object] = field(default_factory=dict)
    missing: Filling = "refuse"
    fills: list[float] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The classes that labels may have: those that a model answers with, then the others."""
        return [*self.labels, *self.unseen]

    @property
    def tokens(self) -> bool:
        """Whether steps have tokens."""
        return self.vocabulary is not None

    @property
    def columns(self) -> list[str]:
        """The columns of a table that are read."""
        return ["sequence", *self.features, *(["token"] if self.tokens else [])]

    @property
    def inputs(self) -> list[str]:
        """A name for each number of a step of `Sequences.values`."""
        frames = range(1, self.frame + 1)
        steps = [*self.features, *(f"{name} is missing" for name in self.masked)]
        names = [f"{name} ({n} of {self.frame})" for n in frames for name in steps]
        scales = [f"log scale of {name}" for name in self.features]
        read = steps if self.frame == 1 else names
        return [*read, *scales] if self.scaling == "per_sequence" else read

    def to_json(self) -> dict[str, object]:
        """Give a tree for `encoding.json`, whole, since models hold it too."""
        return asdict(self)

    def write(self, path: str | Path) -> None:
        """Write `encoding.json`."""
        atomic.write_json(path, self.to_json())

    def check_same(self, own: Encoding, where: str) -> None:
        """Refuse a model that has learned from data that were prepared in another way than these.

        Args:
            own: the encoding in the model's description.
            where: what to call the model in messages.

        Raises:
            DataError: names the first thing that differs.
        """
        for name in (one.name for one in fields(self) if one.name != "reading"):
            here, there = getattr(self, name), getattr(own, name)
            if here != there:
                raise DataError(
                    f"{where}: expected a model of the data in data/prepared, with {name} "
                    f"{_shown(here)}, found one with {_shown(there)}; run `dvc repro`"
                )

    def encode(self, table: pa.Table, offsets: npt.NDArray[np.int64]) -> Sequences:
        """Turn whole sequences of a table into `Sequences`.

        Without a `label` column, labels are 0; without a value there, `sequences.UNLABELLED`.

        Args:
            table: whole sequences, in the types that `birnn.files.table_checks.checked` gives;
                ids, groups and labels may be dictionaries.
            offsets: where each begins, (sequences + 1,) int64.

        Raises:
            DataError: a label is none of the classes, or a feature is out of all proportion to
                those of train.
        """
        starts = offsets[:-1]
        named = [name for name in ("sequence", "group") if name in table.schema.names]
        heads = spelled(table.select(named).take(starts)).combine_chunks()
        ids, groups = heads[named[0]].chunk(0), heads[named[-1]].chunk(0)
        tagging = self.task == "tagging"
        labels = self._labels(table if tagging else table.take(starts))
        tokens, dictionary = self._tokens(table) if self.tokens else (None, None)
        values, offsets = self._values(table, offsets)
        return Sequences(values, offsets, labels, ids, groups, tagging, tokens, dictionary)

    def _values(
        self, table: pa.Table, offsets: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        def place(row: int) -> str:
            return f"sequence {table['sequence'][row].as_py()!r}"

        if not self.features:
            return np.zeros((table.num_rows, 0), np.float32), offsets
        return self.scaled(_raw(table, self.features), offsets, place)

    def scaled(
        self,
        numbers: npt.NDArray[np.floating[Any]],
        offsets: npt.NDArray[np.int64],
        place: Callable[[int], str],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Turn features into what a network reads.

        Args:
            numbers: (steps, features), NaN where one is missing.
            offsets: where each sequence begins, (sequences + 1,).
            place: what to call a step in messages, by its row.

        Returns:
            Scaled features, (steps, inputs) float32, and where each sequence begins in them.

        Raises:
            DataError: a feature is out of all proportion to those of train.
        """
        mean, scale = np.array(self.mean), np.array(self.scale)
        raw: filling.Floats = numbers.astype(np.float64, copy=False)
        if self.precision == "float32":
            raw = raw.astype(np.float32).astype(np.float64)
        absent = np.isnan(raw[:, [self.features.index(name) for name in self.masked]])
        raw = filling.filled(self.missing, raw, offsets, np.array(self.fills))
        values, scales = scaling.scaled(self.scaling, raw, offsets, mean=mean, scale=scale)
        self._check_size(numbers, values, place)
        values = np.column_stack([values, absent]) if self.masked else values
        if self.frame > 1:
            values, offsets = scaling.framed(values, offsets, self.frame)
        if scales.shape[1]:
            values = np.column_stack([values, np.repeat(scales, np.diff(offsets), axis=0)])
        return values.astype(np.float32, order="C"), offsets

    def _check_size(
        self,
        numbers: npt.NDArray[np.floating[Any]],
        values: npt.NDArray[np.floating[Any]],
        place: Callable[[int], str],
    ) -> None:
        """Refuse what becomes infinite in float32, of which a network would make NaN."""
        most = np.finfo(np.float32).max
        if (
            -most <= values.min(initial=0) and values.max(initial=0) <= most
        ):  # faster than a look at each
            return
        large = np.abs(values) > most
        if large.any():
            row, column = (int(found[0]) for found in large.nonzero())
            raise DataError(
                f"{place(row)}, column `{self.features[column]}`: expected a number like those of "
                f"the training split, found {numbers[row, column]:g}; correct it, or leave the "
                "sequence out"
            )

    def _tokens(self, table: pa.Table) -> tuple[npt.NDArray[np.int32], pa.StringArray]:
        """Each step's place in a dictionary, and that dictionary; see `Sequences`."""
        found = _cased(table["token"], self.lowercase).combine_chunks().dictionary_encode()
        known = pa.array(["", *(self.vocabulary or [])], pa.string())
        dictionary, places = sequences.joined(known, found.dictionary)
        return places[found.indices.to_numpy()], dictionary

    def _labels(self, table: pa.Table) -> npt.NDArray[np.int32]:
        if "label" not in table.schema.names:
            return np.zeros(table.num_rows, dtype=np.int32)
        column = table["label"]
        index = _places(column, self.names)
        if index.null_count > column.null_count:
            strange = pc.and_(index.is_null(), column.is_valid())
            row = pc.index(strange, value=True).as_py()
            name, label = table["sequence"][row].as_py(), column[row].as_py()
            raise DataError(
                f"sequence {name!r}: label {label!r} does not occur in the training split; "
                "add training sequences with it, set prepare.stratify, rename it, or name the "
                "splits in a column `split`, where it may be in test alone"
            )
        return np.asarray(pc.fill_null(index, sequences.UNLABELLED).to_numpy().astype(np.int32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a table is prepared for a network.

    Attributes:
        scale: how to scale features; see `birnn.data.scaling`.
        frame: how many steps of features to put side by side into one.
        min_count: tokens that occur less often are treated as unknown.
        lowercase: whether to read tokens in lower case.
        missing: what to read where a number is missing; see `birnn.data.filling`.
        without: a numeric column that is none of the features, such as the time that splits them.
    """

    scale: Kind
    frame: int = 1
    min_count: int = 1
    lowercase: bool = False
    missing: Filling = "refuse"
    without: str | None = None

    @classmethod
    def of(cls, prepare: Prepare) -> Options:
        """Take them from params.yaml."""
        return cls(
            scale=prepare.scale,
            frame=prepare.frame or 1,
            min_count=prepare.min_count,
            lowercase=prepare.lowercase,
            missing=prepare.missing,
            without=prepare.split_by,
        )

    def features(self, schema: pa.Schema) -> list[str]:
        """Name the columns of a table that a network is to read as numbers."""
        return [name for name in feature_names(schema) if name != self.without]


def fit(
    chunks: Callable[[], Iterable[Chunk]],
    options: Options,
    *,
    task: str,
    max_steps: int | None = None,
    reading: Mapping[str, object] = MappingProxyType({}),
    unseen: Collection[str] = (),
) -> Encoding:
    """Fit an encoding on the training sequences.

    Args:
        chunks: gives whole sequences and their offsets, see `birnn.files.table_checks.checked`;
            twice, where numbers may be missing.
        options: how to prepare them.
        task: `tagging` or `classification`.
        max_steps: how many steps of a sequence are read, where longer ones have been cut.
        reading: how the files were read; see `birnn.sources.ingestion.reading`.
        unseen: classes that the table itself puts into validation or test alone.

    Raises:
        DataError: there are no training sequences, none of them has a label, or a column has no
            number.
        ParamsError: steps that cannot be framed: they have tokens, or labels of their own; or
            numbers that must be scaled, since float32 holds too little of what differs.
    """

    def mapped(function: Callable[[Chunk], Told]) -> Iterator[Told]:
        return engines.mapped(function, chunks())

    return fit_mapped(
        mapped, options, task=task, max_steps=max_steps, reading=reading, unseen=unseen
    )


class Mapped(Protocol):
    """Calls a function with each chunk of the training sequences, and gives results in order."""

    def __call__(self, function: Callable[[Chunk], Told], /) -> Iterable[Told]: ...  # noqa: D102


def fit_mapped(
    mapped: Mapped,
    options: Options,
    *,
    task: str,
    max_steps: int | None = None,
    reading: Mapping[str, object] = MappingProxyType({}),
    unseen: Collection[str] = (),
    steps: int | None = None,
) -> Encoding:
    """Fit an encoding on training sequences that are looked at elsewhere; see `fit`.

    Args:
        mapped: called once, or twice where numbers may be missing.
        options: see `fit`.
        task: see `fit`.
        max_steps: see `fit`.
        reading: see `fit`.
        unseen: see `fit`.
        steps: how many there are about, so that of very many only a sample is sent back; all are
            where None.
    """
    fills = Fills([], [])
    if options.missing != "refuse":
        fills = _fills(mapped(partial(_seen_numbers, options)), options)
    fitting = scaling.Fitting(options.scale, steps)
    labels: set[str] = set()
    counts: Counter[str] = Counter()
    features, tokens, found = list[str](), False, 0
    for seen in mapped(partial(_seen, options, fills, fitting)):
        found += seen.sequences
        labels.update(seen.labels)
        features, tokens = seen.features, seen.tokens is not None
        if seen.numbers is not None:
            fitting.add(seen.numbers)
        counts.update(seen.tokens or {})
    _check_fit(options, task, found, labels, tokens=tokens)
    mean, spread = fitting.result(len(features)) if features else ([], [])
    if features and (lost := np.flatnonzero(fitting.lost())).size:
        raise ParamsError(
            f"prepare.scale: expected none only for numbers that float32 tells apart, found column "
            f"`{features[lost[0]]}`, whose values differ by little beside their size; use global"
        )
    return Encoding(
        task=task,
        labels=natural_order(labels),
        features=features,
        mean=mean,
        scale=spread,
        vocabulary=vocabulary(counts, options.min_count) if tokens else None,
        characters="".join(sorted(set().union(*counts))),
        lowercase=options.lowercase,
        scaling=options.scale,
        frame=options.frame,
        max_steps=max_steps,
        form="NFC",
        precision="float64",
        reading=dict(reading),
        missing=options.missing,
        fills=fills.values,
        masked=fills.masked,
        unseen=natural_order(set(unseen) - labels),
    )


class _Seen(NamedTuple):
    """What a chunk of training sequences tells: of its tokens how often each occurs."""

    sequences: int
    labels: list[str]
    features: list[str]
    numbers: filling.Floats | None
    tokens: dict[str, int] | None


def _seen(options: Options, fills: Fills, fitting: scaling.Fitting, chunk: Chunk) -> _Seen:
    table, offsets = chunk
    features, numbers, tokens = options.features(table.schema), None, None
    if features:
        raw: filling.Floats = _raw(table, features)
        raw = filling.filled(options.missing, raw, offsets, np.array(fills.values))
        numbers = fitting.seen(raw, offsets)
    if "token" in table.schema.names:
        tokens = token_counts(table, lowercase=options.lowercase)
    labels = table["label"].drop_null().unique().to_pylist()
    return _Seen(len(offsets) - 1, labels, features, numbers, tokens)


class Fills(NamedTuple):
    """What is put where a number is missing, by feature; and which features get a mask."""

    values: list[float]
    masked: list[str]


def _seen_numbers(options: Options, chunk: Chunk) -> tuple[list[str], Means]:
    """The numeric columns of a chunk, and what is known of them."""
    features = options.features(chunk[0].schema)
    means = Means(len(features))
    if features:
        means.add(_raw(chunk[0], features))
    return features, means


def _fills(seen: Iterable[tuple[list[str], Means]], options: Options) -> Fills:
    """Learn from the training sequences what to put where a number is missing."""
    means, features = None, list[str]()
    for names, one in seen:
        features, means = names, one if means is None else means.take(one)
    if means is None or not features:
        return Fills([], [])
    masked = [features[place] for place in np.flatnonzero(means.lacking)]
    if options.missing == "zero":
        return Fills([0.0] * len(features), [])
    found = means.result()
    if (empty := np.flatnonzero(np.isnan(found))).size:
        raise DataError(
            f"the training split, column `{features[empty[0]]}`: expected numbers to take the mean "
            "of, found none; leave the column out, or set prepare.missing to zero"
        )
    return Fills(found.tolist(), masked if options.missing == "mask" else [])


def _check_fit(
    options: Options, task: str, found: int, labels: Collection[str], *, tokens: bool
) -> None:
    if not found:
        raise DataError("the training split is empty: lower prepare.split, or add sequences")
    if not labels:
        raise DataError(
            f"the training split: expected labels, found none in {found} sequences; add some"
        )
    if options.frame > 1 and (task == "tagging" or tokens):
        what = "tokens" if tokens else "tagging, where each step has a label"
        raise ParamsError(f"prepare.frame: expected null for {what}, found {options.frame}")


def class_names(labels: npt.NDArray[np.integer[Any]], names: Sequence[str]) -> pa.StringArray:
    """Name the class of each label, null where there is none."""
    places = pa.array(labels, pa.int64(), mask=labels == sequences.UNLABELLED)
    return pa.array(names, pa.string()).take(places)


def _shown(value: object) -> str:
    """A value of an encoding, as far as it fits into a message."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _raw(table: pa.Table, features: list[str]) -> npt.NDArray[np.float64]:
    """Features as (steps, features), each one's numbers together in memory, as the table has them.

    What is then done to each feature takes half the time.
    """
    return np.stack([table[name].to_numpy() for name in features]).astype(np.float64, copy=False).T


def _places(column: pa.ChunkedArray, names: list[str]) -> pa.Array | pa.ChunkedArray:
    """The place of each text among names; null where it is none of them."""
    known = pa.array(names, pa.string())
    if not pa.types.is_dictionary(column.type):
        return pc.index_in(column, known)
    coded = column.combine_chunks()
    return pc.index_in(coded.dictionary, known).take(coded.indices)


def _cased(tokens: pa.ChunkedArray, lowercase: bool) -> pa.ChunkedArray:
    return pc.utf8_lower(tokens) if lowercase else tokens


def token_counts(table: pa.Table, *, lowercase: bool) -> dict[str, int]:
    """Count the tokens of a table."""
    return value_counts(_cased(table["token"], lowercase))


def vocabulary(counts: Mapping[str, int], min_count: int) -> list[str]:
    """Put frequent tokens first; those of one count in the order of the alphabet."""
    kept = [(-count, token) for token, count in counts.items() if count >= min_count]
    return [token for _, token in sorted(kept)]
