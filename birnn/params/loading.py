"""From params.yaml to typed params: the one place that reads it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    TypeAdapter,
    ValidationError,
)

from birnn.errors import ParamsError
from birnn.params.complaints import complaint, complaints, one_line
from birnn.params.schema import Data, Model, Params

Knob = str | int | float | bool | None
Knobs = dict[str, Knob]
"""By which people look for a run, by their names."""


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds a value that is not allowed; the
            message names the key, what was expected, and what was found.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return Params.model_validate(_without_resamples(tree, path))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; copy one from examples/") from None
    except OSError as error:
        raise ParamsError(f"{path}: expected a file of params, found: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: expected YAML, found {one_line(error)}") from None
    except ValidationError as error:
        raise ParamsError(f"{path}: " + "; ".join(complaints(error))) from None


def _without_resamples(tree: Any, path: str | Path) -> Any:
    """Let a file of 0.2.0 do: intervals were drawn from resamples then."""
    match tree:
        case {"evaluate": {"resamples": _, **others}}:
            print(f"{path}: evaluate.resamples has no effect any more; remove it", file=sys.stderr)
            return {**tree, "evaluate": others}
    return tree


def data(section: Mapping[str, object]) -> Data:
    """Check a `data` section that does not come from a file.

    Raises:
        ParamsError: names each key that is wrong.
    """
    try:
        found: Data = TypeAdapter(Data).validate_python(section)
    except ValidationError as error:
        complaints = (
            complaint({**details, "loc": ("data", *details["loc"])})
            for details in error.errors(include_url=False)
        )
        raise ParamsError("; ".join(complaints)) from None
    return found


def architecture(params: Params, model: str) -> Model:
    """Look up a model of the matrix by its name.

    Raises:
        ParamsError: params.yaml does not describe it.
    """
    if model not in params.models:
        known = ", ".join(params.models)
        raise ParamsError(
            f"models: expected one of {known}, found {model!r}; add it to params.yaml"
        )
    return params.models[model]


def of_run(params: Params, model: str) -> Knobs:
    """The flat knobs by which people look for a run of `model`."""
    return {
        "source": params.data.source,
        "task": params.data.task,
        **architecture(params, model).model_dump(),
        **params.train.model_dump(),
    }
