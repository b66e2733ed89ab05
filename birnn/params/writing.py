"""Params as text for params.yaml, in the order in which people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from birnn.errors import ParamsError
from birnn.files import atomic
from birnn.params.loading import Knob, entry, load
from birnn.params.schema import Data, Evaluate, Model, Params, Prepare, Run, Train


def section(data: Data) -> dict[str, Any]:
    """The keys of a `data` section that differ from their defaults, and what it is."""
    chosen = data.model_dump(exclude_defaults=True)
    last = {"keep": chosen.pop("keep")} if "keep" in chosen else {}
    return {"source": data.source, "task": data.task, **chosen, **last}


def data_text(data: Data) -> str:
    """A `data` section, ready to paste."""
    return _text({"data": section(data)})


def whole_text(
    problem: str,
    data: Data,
    *,
    prepare: Mapping[str, Any],
    model: Mapping[str, Any],
    train: Mapping[str, Any],
    evaluate: Mapping[str, Any],
    refresh: Sequence[str] | None = None,
) -> str:
    """A complete file for a model in both directions and one that only reads forward.

    Args:
        problem: its name.
        data: its `data` section.
        prepare: what differs from the defaults of the section `prepare`.
        model: the same of `model`, and so on.
        train: see `model`.
        evaluate: see `model`.
        refresh: the command by which a retraining gets to know of new data.

    Raises:
        ValidationError: a key is unknown, or its value is not allowed.
    """
    tree = {
        "problem": problem,
        "data": section(data),
        "prepare": Prepare.model_validate(dict(prepare)).model_dump(),
        "model": Model.model_validate(dict(model)).model_dump(exclude={"bidirectional"}),
        "models": {
            "bidirectional": {"bidirectional": True},
            "forward": {"bidirectional": False},
        },
        "train": Train.model_validate(dict(train)).model_dump(),
        "evaluate": Evaluate.model_validate(dict(evaluate)).model_dump(),
        "run": Run().model_dump(),
        **({"retrain": {"refresh": [*refresh]}} if refresh else {}),
    }
    Params.model_validate(tree)
    return "\n".join(_text({name: value}) for name, value in tree.items())


def apply(path: Path, model: str, values: Mapping[str, Knob]) -> list[str]:
    """Write values of keys of `model` and `train` into a params file; all else in it stays.

    A value goes where that of the model stands now: into its entry of `models` if it has one of its
    own there, else into the section that all models share, so that they stay comparable.

    Args:
        path: the file.
        model: the name of one of `models`.
        values: by the names of the keys.

    Returns:
        The full names of the keys whose values have changed.

    Raises:
        ParamsError: the file is not right, or written in a way that cannot be changed key by key;
            it stays as it was.
    """
    before = entry(load(path), model).model_dump()
    text = path.read_text(encoding="utf-8")
    changed = []
    for key, value in values.items():
        if before[key] == value:
            continue
        tree = yaml.safe_load(text)
        shared = "train" if key in Train.model_fields else "model"
        place = ["models", model, key] if key in tree["models"][model] else [shared, key]
        text = _with_value(text, place, _scalar(value))
        if _tree(text) != _changed(tree, place, value):
            raise ParamsError(
                f"{path}: expected {'.'.join(place)} to be written by itself, found an alias or "
                f"the like; put {key}: {_scalar(value)} there by hand"
            )
        changed.append(".".join(place))
    if changed:
        with atomic.replacing(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")
            load(partial)
    return changed


def _tree(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _changed(tree: dict[str, Any], place: list[str], value: Knob) -> dict[str, Any]:
    """A tree with another value at one place; what aliases share is told apart."""
    first, *rest = place
    below = _changed(tree.get(first) or {}, rest, value) if rest else value
    return {**tree, first: below}


def _scalar(value: Knob) -> str:
    """A value as YAML 1.1 reads it back, which takes `1e-05` for text."""
    return yaml.safe_dump(value).split("\n")[0]


def _with_value(text: str, keys: list[str], value: str) -> str:
    """Put the text of a value in the place of that of a key, or add the key to its section."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None  # of a file that was read before
    for depth, key in enumerate(keys):
        below = _below(node, key)
        if below is None or (depth < len(keys) - 1 and not isinstance(below, yaml.MappingNode)):
            return _with_line(text, node, keys[depth:], value)
        node = below
    start, end = node.start_mark.index, node.end_mark.index
    space = "" if start < end else " "  # of a key without a value
    return f"{text[:start]}{space}{value}{text[end:]}"


def _below(node: yaml.Node, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _with_line(text: str, section: yaml.Node, keys: list[str], value: str) -> str:
    """Add a key to the beginning of a section; a section that is missing comes last in the file."""
    if len(keys) > 1:
        return f"{text.rstrip()}\n\n{keys[0]}:\n  {keys[1]}: {value}\n"
    start = section.start_mark.index
    if isinstance(section, yaml.MappingNode) and section.flow_style:
        comma = ", " if section.value else ""
        return f"{text[: start + 1]}{keys[0]}: {value}{comma}{text[start + 1 :]}"
    return f"{text[:start]}{keys[0]}: {value}\n{' ' * section.start_mark.column}{text[start:]}"


def _text(tree: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, width=100)
