"""Labelled series of different lengths from `.ts` files, those inside sktime among them.

The format: https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from birnn.errors import DataError

MISSING = "data.source: sktime needs the package sktime; run `pip install 'birnn[sktime]'`"


def read(
    *, name: str | None = None, train: str | None = None, test: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Give every series of a data set as one sequence, with its official split where it has one.

    Args:
        name: a data set that ships inside sktime, such as `JapaneseVowels`.
        train: a `.ts` file, instead of `name`.
        test: a second `.ts` file, which is tested on and never trained on.

    Raises:
        DataError: sktime is missing or holds no such data set; a file is missing or broken.
    """
    if name is not None:
        folder = _shipped(name)
        paths = {"train": folder / f"{name}_TRAIN.ts", "test": folder / f"{name}_TEST.ts"}
    else:
        paths = {split: Path(path) for split, path in (("train", train), ("test", test)) if path}
    for split, path in paths.items():
        yield _series(path, split, official="test" in paths)


def _shipped(name: str) -> Path:
    """The folder of a data set inside the package."""
    try:
        import sktime.datasets
    except ImportError:
        raise DataError(MISSING) from None
    folder = Path(sktime.datasets.__file__).parent / "data"
    known = sorted(path.name[: -len("_TRAIN.ts")] for path in folder.glob("*/*_TRAIN.ts"))
    if name not in known:
        raise DataError(f"data.name: expected one of {', '.join(known)}, found {name!r}")
    return folder / name


def _series(path: Path, split: str, *, official: bool) -> pa.RecordBatch:
    """All series of one file."""
    try:
        from sktime.datasets import load_from_tsfile
    except ImportError:
        raise DataError(MISSING) from None
    if not path.is_file():
        raise DataError(f"{path}: no such file; put it there, or correct data.{split}")
    try:
        steps, labels = load_from_tsfile(str(path), return_data_type="pd-multiindex")
    except (AttributeError, IndexError, OSError, TypeError, ValueError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: expected a .ts file, found: {message}") from None
    number = steps.index.get_level_values(0).to_numpy()
    columns = {"sequence": [f"{split}-{n + 1:06d}" for n in number], "label": labels[number]}
    if official:
        columns["split"] = [split] * len(number)
    features = {str(column): steps[column].to_numpy() for column in steps.columns}
    return pa.RecordBatch.from_pydict({**columns, **features})
