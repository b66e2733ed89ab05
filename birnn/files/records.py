"""What stages hand each other: a typed record in the program, JSON in the file.

    records.write(path, Trace(...))
    trace = records.read(path, Trace)

A field that has its default is left out of the file, so that it holds only what there is to say.
Numbers are written with nine digits. Quantiles, logarithms and products of matrices come from
libraries whose sixteenth digit depends on the CPU, and files are to be the same on every one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from birnn.errors import DataError
from birnn.files import atomic

Record = TypeVar("Record")

DIGITS = 9


def write(path: str | Path, record: Any) -> None:
    """Write a dataclass, or a list or dict of some, whole or not at all."""
    atomic.write_json(path, _tree(record))


def _tree(value: Any) -> Any:
    if is_dataclass(value):
        said = {field: getattr(value, field.name) for field in fields(value)}
        return {field.name: _tree(one) for field, one in said.items() if one != _default(field)}
    if isinstance(value, Mapping):
        return {key: _tree(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tree(one) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def read(path: str | Path, kind: type[Record]) -> Record:
    """Read what `write` has written.

    Args:
        path: the file.
        kind: the type of the record, with its parameters: `list[Check]`.

    Raises:
        DataError: the file is missing, or holds something else.
    """
    from pydantic import TypeAdapter, ValidationError  # takes a tenth of a second

    tree = atomic.read_json(path)
    try:
        return TypeAdapter(kind).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}, {place}: {first['msg'].lower()}; run `dvc repro` again") from None
