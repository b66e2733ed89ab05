"""What a person reads of a run in MLflow: its name, a note of two lines, its params, its data.

A name and a note show where a run differs from the last commit, since that is what somebody tries
out who changes params.yaml, in the working directory or in an experiment of DVC.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from birnn.files import atomic, digests, paths
from birnn.params import Knob

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

KEY_LENGTH, VALUE_LENGTH = 250, 6000  # MLflow's limits
HASH_LENGTH = 8  # that tells apart the names which are longer
DIGEST_LENGTH = 8  # as those that MLflow computes; a longer one fills the list of runs
NAME_LENGTH, NOTE_LENGTH = 80, 2000  # what is still read
FILES = ("path", "train", "validation", "test", "name")  # keys of `data` that say where data lie


def differences(params: Mapping[str, Knob], base: Mapping[str, Knob] | None) -> dict[str, str]:
    """Say which params have other values than those of the last commit, and which.

    A run names what it took for `auto`, which is no difference.

    Args:
        params: of the run.
        base: of the same model in the last commit; without it there are no differences.
    """
    known = params if base is None else base
    return {
        name: str(value) for name, value in params.items() if known.get(name) not in (value, "auto")
    }


def run_name(model: str, changed: Mapping[str, str]) -> str:
    """`bidirectional, cell=GRU, hidden_size=16`, or the model's name where nothing is changed."""
    name = ", ".join([model, *(f"{key}={value}" for key, value in changed.items())])
    return _clipped(name, NAME_LENGTH)


def note(params: Mapping[str, Knob], base: Mapping[str, Knob] | None) -> str:
    """Two lines: what the model is and what it learns from, and what is new about it."""
    ways = "both directions" if params.get("bidirectional") else "forward"
    built = f"{params.get('cell')}, {params.get('hidden_size')} units, {ways}"
    first = f"{built}; {params.get('task')} of {source(params)}."
    if base is None:
        return f"{first}\nThe last commit holds no such model to compare it with."
    changed = [
        f"{name} {value} (was {base.get(name)})"
        for name, value in differences(params, base).items()
    ]
    second = f"Differs from the last commit: {', '.join(changed)}." if changed else ""
    return _clipped(f"{first}\n{second or 'All params are those of the last commit.'}", NOTE_LENGTH)


def source(params: Mapping[str, Knob]) -> str:
    """Where the data come from: their files, or the name of the process that makes them."""
    files = [str(value) for key in FILES if (value := params.get(f"data.{key}"))]
    return ", ".join(files) or str(params.get("source"))


def texts(params: Mapping[str, Knob]) -> dict[str, str]:
    """The params as MLflow takes them: names of few letters, values that are not too long."""
    return {plain_name(key): _clipped(str(value), VALUE_LENGTH) for key, value in params.items()}


def plain_name(name: str) -> str:
    """A name of a param or metric that MLflow takes; another name never gives the same.

    Names of classes may hold any character. Those that MLflow refuses, `/` that would make a path,
    and `:` itself stand there by their names in Unicode: `recall_C:plus sign:` is that of `C+`.
    """
    plain = "".join(
        letter if letter.isalnum() or letter in "_-. " else f":{_spoken(letter)}:"
        for letter in name
    )
    if len(plain) <= KEY_LENGTH:
        return plain
    end = digests.sha256_of_text(name)[:HASH_LENGTH]
    return f"{plain[: KEY_LENGTH - HASH_LENGTH - 1]}-{end}"


def own_name(plain: str) -> str:
    """The name that `plain_name` was given, where it was not too long; other names as they are."""
    return re.sub(":([^:]+):", _letter, plain)


def _spoken(letter: str) -> str:
    return unicodedata.name(letter, f"u{ord(letter):04x}").lower()  # controls have no name


def _letter(found: re.Match[str]) -> str:
    spoken = found[1]
    if re.fullmatch("u[0-9a-f]{4,6}", spoken):
        return chr(int(spoken[1:], 16))
    try:
        return unicodedata.lookup(spoken)
    except KeyError:
        return found[0]


def dataset(problem: str, params: Mapping[str, Knob], folder: Path, sha256: str) -> DatasetInput:
    """The prepared data as MLflow's input of a run.

    Args:
        problem: the name of the data.
        params: of the run.
        folder: with `packing.json`, which counts sequences and steps, if it is there.
        sha256: their hash.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    made: dict[str, Knob] = {"uri": source(params)}
    if made["uri"] == params.get("source"):  # a process, which its own params describe
        made = {key: value for key, value in params.items() if key.startswith("data.")}
    packing = folder / paths.PACKING
    counts = atomic.read_json(packing) if packing.exists() else {}
    profile = {
        f"num_{what}_{split}": number
        for what in ("sequences", "steps")
        for split, number in counts.get(what, {}).items()
    }
    rows = {"num_rows": sum(counts["steps"].values())} if counts else {}
    entity = Dataset(
        name=problem,
        digest=sha256[:DIGEST_LENGTH],
        source_type=str(params.get("source")),
        source=json.dumps(made),
        profile=json.dumps(rows | profile),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
