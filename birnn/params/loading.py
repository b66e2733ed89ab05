"""From params.yaml to typed params: the one place that reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    TypeAdapter,
    ValidationError,
)

from birnn.errors import ParamsError
from birnn.files import console
from birnn.params.complaints import complaint, complaints, one_line
from birnn.params.lock import committed
from birnn.params.schema import Data, Entry, FileData, Params
from birnn.params.trees import of_file, of_text

Knob = str | int | float | bool | None
Knobs = dict[str, Knob]
"""By which people look for a run, by their names."""

PATH = "params.yaml"


def load(path: str | Path = PATH) -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds a value that is not allowed; the
            message names the key, what was expected, and what was found.
    """
    try:
        tree = of_file(path)
        chosen = Params.model_validate(_without_resamples(tree, path))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; copy one from examples/") from None
    except OSError as error:
        raise ParamsError(f"{path}: expected a file of params, found: {error.strerror}") from None
    except ValidationError as error:
        raise ParamsError(f"{path}: " + "; ".join(complaints(error))) from None
    except (yaml.YAMLError, ValueError) as error:  # of letters, numbers and dates that are none
        raise ParamsError(f"{path}: expected YAML, found {one_line(error)}") from None
    if chosen.candidate not in chosen.models:
        known = ", ".join(chosen.models)
        raise ParamsError(
            f"{path}: retrain.model: expected one of {known}, found {chosen.candidate!r}"
        )
    _check_slices(chosen, path)
    return chosen


def _check_slices(chosen: Params, path: str | Path) -> None:
    """Refuse slices by a column that does not travel with the rows."""
    kept = chosen.data.keep if isinstance(chosen.data, FileData) else []
    known = ["group", "length", *kept]
    for name in chosen.evaluate.slices:
        if name not in known:
            raise ParamsError(
                f"{path}: evaluate.slices: expected some of {', '.join(known)}, found {name!r}; "
                "to slice by another column, add it to data.keep"
            )


def _without_resamples(tree: Any, path: str | Path) -> Any:
    """Let a file of 0.2.0 do: intervals were drawn from resamples then."""
    match tree:
        case {"evaluate": {"resamples": _, **others}}:
            console.say(f"{path}: evaluate.resamples has no effect any more; remove it", error=True)
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


def entry(params: Params, model: str) -> Entry:
    """Look up one of `models` by its name: what it is, and how it is trained.

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
    """All params that decide a run of `model`: those of the model and its training by their own
    names, those of data, preparation and critical classes with their section's before them.
    """
    sections = {
        "data": params.data.model_dump(),
        "prepare": params.prepare.model_dump(),
        "critical": {
            label: wanted.model_dump() for label, wanted in params.evaluate.critical.items()
        },
    }
    return {
        "source": params.data.source,
        "task": params.data.task,
        **entry(params, model).model_dump(),
        **_flat(sections),
    }


def of_training(knobs: Knobs) -> Knobs:
    """Those of a model and its training alone, of all that `of_run` gives."""
    return {name: value for name, value in knobs.items() if "." not in name}


def _flat(tree: Mapping[str, object], prefix: str = "") -> Knobs:
    flat: Knobs = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, str | int | float):
            flat[f"{prefix}{name}"] = value
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat


def of_last_commit(problem: str, model: str) -> Knobs | None:
    """The same for the params.yaml of the last commit; None where it holds no such model."""
    text = committed(PATH)
    try:
        then = parsed(of_text(text or "", PATH))
    except (yaml.YAMLError, ParamsError, ValueError):
        return None
    if then is None or then.problem != problem or model not in then.models:
        return None
    return of_run(then, model)


def parsed(tree: object) -> Params | None:
    """The content of a params.yaml, of another commit say; None where it is not a right one."""
    try:
        return Params.model_validate(tree)
    except ValidationError:
        return None
