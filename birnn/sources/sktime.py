"""Labelled series of different lengths from `.ts` files, those inside sktime among them.

The format: https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from birnn.errors import DataError
from birnn.files.reading import Skipped, lines

MISSING = "data.name: needs the package sktime; run `pip install 'birnn[sktime]'`"
BATCH_CHARACTERS = 1 << 22
ABSENT = ["?", "nan"]  # what archives write for a missing number


class Series(NamedTuple):
    """One line of data: the text of each dimension, the label, the id and where it stands."""

    dimensions: list[str]
    label: str | None
    id: str
    place: str

    @property
    def steps(self) -> int:
        """How long it is."""
        return self.dimensions[0].count(",") + 1


def shipped(name: str) -> dict[str, str]:
    """Find the files of a data set that lies inside sktime, by split.

    Raises:
        DataError: sktime is missing, or holds no such data set.
    """
    try:
        import sktime.datasets
    except ImportError:
        raise DataError(MISSING) from None
    folder = Path(sktime.datasets.__file__).parent / "data"
    known = sorted(path.name[: -len("_TRAIN.ts")] for path in folder.glob("*/*_TRAIN.ts"))
    if name not in known:
        raise DataError(f"data.name: expected one of {', '.join(known)}, found {name!r}")
    return {split: str(folder / name / f"{name}_{split.upper()}.ts") for split in ("train", "test")}


def read(
    path: str | Path,
    prefix: str = "",
    *,
    labelled: bool = True,
    skipped: Skipped | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream the series of a `.ts` or `.ts.gz` file; its dimensions become `dim_0`, `dim_1`, ...

    Args:
        path: the file.
        prefix: put before the numbers that serve as ids.
        labelled: whether labels are read; if not, there need be none.
        skipped: counts empty lines.

    Raises:
        DataError: the file is missing or not UTF-8; its header lacks classes, or announces time
            stamps; a line has too many dimensions or too few, or dimensions of different lengths,
            a label that the header has not, or something that is neither a finite number nor
            missing.
    """
    held: list[Series] = []
    characters = 0
    for series in _series(path, prefix, labelled, skipped or Skipped()):
        held.append(series)
        characters += sum(map(len, series.dimensions))
        if characters >= BATCH_CHARACTERS:
            yield _batch(held)
            held, characters = [], 0
    if held:
        yield _batch(held)


def _series(path: str | Path, prefix: str, labelled: bool, skipped: Skipped) -> Iterator[Series]:
    numbered = enumerate(lines(path), 1)
    tags = _tags(path, numbered)
    classes, dimensions = _classes(path, tags, labelled), _dimensions(path, tags)
    count = 0
    for number, line in numbered:
        place = f"{path}, line {number}"
        if not line.strip():
            skipped.add("empty lines", place)
            continue
        count += 1
        texts = [field.strip() for field in line.split(":")]
        label = texts.pop() if classes else None
        dimensions = dimensions or len(texts)
        series = Series(texts, label if labelled else None, f"{prefix}{count:06d}", place)
        _check(series, classes, dimensions)
        yield series


def _tags(path: str | Path, numbered: Iterator[tuple[int, str]]) -> dict[str, list[str]]:
    """Read the header, up to `@data`: the words that follow each tag."""
    tags: dict[str, list[str]] = {}
    for number, line in numbered:
        words = line.split()
        if not words or words[0][0] in "#%":
            continue
        if not words[0].startswith("@"):
            raise DataError(
                f"{path}, line {number}: expected a tag such as @classLabel above @data, "
                f"found {line.strip()[:60]!r}"
            )
        tags[words[0][1:].lower()] = words[1:]
        if "data" in tags:
            return tags
    raise DataError(f"{path}: expected a .ts file with a line @data, found none")


def _classes(path: str | Path, tags: dict[str, list[str]], labelled: bool) -> frozenset[str]:
    """The classes that may end a line; none where lines have no labels."""
    names = tags.get("classlabel", [])[1:] if _announced("classlabel", tags) else []
    if labelled and not names:
        found = " ".join(tags.get("classlabel", [])) or "nothing"
        raise DataError(f"{path}: expected `@classLabel true` and the classes, found {found[:60]}")
    if _announced("timestamps", tags):
        raise DataError(f"{path}: expected @timeStamps false, found true; drop the time stamps")
    return frozenset(names)


def _dimensions(path: str | Path, tags: dict[str, list[str]]) -> int | None:
    if _announced("univariate", tags):
        return 1
    said = " ".join(tags.get("dimensions", tags.get("dimension", [])))
    if said and not re.fullmatch(r"[1-9][0-9]{0,5}", said):
        raise DataError(f"{path}: expected a number after @dimensions, found {said[:60]!r}")
    return int(said) if said else None


def _announced(tag: str, tags: dict[str, list[str]]) -> bool:
    """Whether a tag says that something is there."""
    return [word.lower() for word in tags.get(tag, [])[:1]] == ["true"]


def _check(series: Series, classes: frozenset[str], dimensions: int) -> None:
    """Refuse a line that was cut, or has too much."""
    found = len(series.dimensions)
    if found != dimensions or not found:
        label = " and a label" if classes else ""
        raise DataError(
            f"{series.place}: expected {dimensions} dimensions{label}, with colons between them, "
            f"found {found} dimensions{label}"
        )
    if series.label is not None and series.label not in classes:
        raise DataError(
            f"{series.place}: expected a label of @classLabel, found {series.label[:60]!r}"
        )
    for number, text in enumerate(series.dimensions):
        if text.count(",") + 1 != series.steps:
            raise DataError(
                f"{series.place}, column `dim_{number}`: expected {series.steps} steps as in "
                f"`dim_0`, found {text.count(',') + 1}"
            )


def _batch(held: list[Series]) -> pa.RecordBatch:
    rows = pa.array(np.repeat(np.arange(len(held)), [series.steps for series in held]))
    columns = {"sequence": pa.array([series.id for series in held]).take(rows)}
    if held[0].label is not None:
        columns["label"] = pa.array([series.label for series in held]).take(rows)
    for number in range(len(held[0].dimensions)):
        values = _numbers(",".join(series.dimensions[number] for series in held))
        if values is None:
            raise DataError(_first_fault(held, number))
        columns[f"dim_{number}"] = values
    return pa.RecordBatch.from_pydict(columns)


def _numbers(text: str) -> pa.DoubleArray | None:
    """Finite numbers that stand between commas, null where one is missing; else None."""
    found = pc.utf8_trim_whitespace(pc.split_pattern(pa.array([text]), ",").flatten())
    if "?" in text or "n" in text.lower():
        found = pc.if_else(pc.is_in(pc.utf8_lower(found), pa.array(ABSENT)), None, found)
    try:
        values = found.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return None if pc.any(pc.invert(pc.is_finite(values))).as_py() else values


def _first_fault(held: list[Series], dimension: int) -> str:
    series = next(one for one in held if _numbers(one.dimensions[dimension]) is None)
    steps = enumerate(series.dimensions[dimension].split(","), 1)
    step, found = next((step, value) for step, value in steps if _numbers(value) is None)
    return (
        f"{series.place}, column `dim_{dimension}`, step {step}: expected a finite number, "
        f"found {found.strip()[:60]!r}; fill it in or drop the series"
    )
