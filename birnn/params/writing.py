"""Params as text for params.yaml, in the order in which people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from birnn.params.schema import Data, Evaluate, Model, Params, Prepare, Train


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
) -> str:
    """A complete file for a model in both directions and one that only reads forward.

    Args:
        problem: its name.
        data: its `data` section.
        prepare: what differs from the defaults of the section `prepare`.
        model: the same of `model`, and so on.
        train: see `model`.
        evaluate: see `model`.

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
    }
    Params.model_validate(tree)
    return "\n".join(_text({name: value}) for name, value in tree.items())


def _text(tree: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, width=100)
