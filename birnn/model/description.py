"""What a saved model says of itself, checked before anything is made of it.

    described = read("models/bidirectional")           # model.json: each value, and all together
    check_header("models/bidirectional/weights.safetensors", described.architecture)
    check_finite(weights, "models/bidirectional/weights.safetensors")

A model comes from a folder that others may write to, or that a disk has damaged. What does not fit
is refused in one line that names the value, before memory is taken for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import partial
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from birnn.data.encoding import Encoding
from birnn.errors import DataError
from birnn.files import atomic
from birnn.files.paths import DESCRIPTION
from birnn.files.tables import KEPT, TEXT_COLUMNS
from birnn.kernel.calls import GATES
from birnn.model.architecture import Architecture
from birnn.model.inference import shapes

if TYPE_CHECKING:
    from birnn.params import Knobs

MOST_UNITS, MOST_LAYERS, MOST_ROWS = 1 << 16, 256, 1 << 28
LARGEST = 1e15  # of a weight: what is made of two of them is still a number in float32
HAIR = 1e-6  # by which a threshold may lie beside the probabilities
HEADER = 1 << 20  # bytes of names and shapes before the weights, at most
SHOWN = 40  # letters of a value in a message
ADVICE = "take the folder as it was saved, or train the model again"


class Kind(NamedTuple):
    """What a value may be."""

    words: str
    fits: Callable[[Any], bool]


def _whole(low: int, high: int) -> Kind:
    words = f"a whole number from {low} to {high}"
    return Kind(words, lambda found: type(found) is int and low <= found <= high)


def _number(low: float, high: float) -> Kind:
    words = f"a number from {low:g} to {high:g}"
    return Kind(words, lambda found: type(found) in (int, float) and low <= found <= high)


def _one_of(*names: str | None) -> Kind:
    words = "one of " + ", ".join("null" if name is None else name for name in names)
    return Kind(words, lambda found: (found is None or type(found) is str) and found in names)


def _is_text(found: Any) -> bool:
    try:
        return type(found) is str and found.encode() is not None
    except UnicodeEncodeError:  # half of a character
        return False


def _are_texts(found: Any) -> bool:
    return type(found) is list and all(map(_is_text, found)) and len({*found}) == len(found)


def _are_numbers(found: Any, above: float = -math.inf) -> bool:
    """Whether all are finite, and above a number."""
    largest = float(np.finfo(np.float64).max)
    return type(found) is list and all(
        type(one) in (int, float) and above < one and -largest <= one <= largest for one in found
    )


def _is_alphabet(found: Any) -> bool:
    return _is_text(found) and list(found) == sorted({*found})


def _can_be_columns(found: Any) -> bool:
    return _are_texts(found) and not any(
        name in TEXT_COLUMNS or name.startswith(KEPT) for name in found
    )


FLAG = Kind("true or false", lambda found: type(found) is bool)
SHARE = Kind("a number from 0 to below 1", lambda found: _number(0, 1).fits(found) and found < 1)
TASK = _one_of("tagging", "classification")
NAMES = Kind("a list of different texts", _are_texts)
NUMBERS = Kind("a list of finite numbers", _are_numbers)
ALPHABET = Kind("letters in the order of Unicode, each once", _is_alphabet)
OBJECT = Kind("an object", lambda found: type(found) is dict and all(map(_is_text, found)))

ARCHITECTURE = MappingProxyType(
    {
        "task": TASK,
        "cell": _one_of(*GATES),
        "features": _whole(0, MOST_ROWS),
        "embedding_size": _whole(0, MOST_UNITS),
        "hidden_size": _whole(1, MOST_UNITS),
        "num_layers": _whole(1, MOST_LAYERS),
        "dropout": SHARE,
        "bidirectional": FLAG,
        "classes": _whole(1, MOST_ROWS),
        "tokens": _whole(0, MOST_ROWS),
        "word_dropout": _number(0, LARGEST),
        "input_dropout": SHARE,
        "characters": ALPHABET,
        "character_size": _whole(0, MOST_UNITS),
        "character_hidden_size": _whole(0, MOST_UNITS),
        "head": _one_of("last", "mean", "max", "all"),
    }
)
ENCODING = MappingProxyType(
    {
        "task": TASK,
        "labels": Kind("a list of different texts", lambda found: _are_texts(found) and all(found)),
        "features": Kind("names of columns, each once", _can_be_columns),
        "mean": NUMBERS,
        "scale": Kind("a list of numbers above 0", partial(_are_numbers, above=0)),
        "vocabulary": Kind(
            "null or a list of different texts", lambda found: found is None or _are_texts(found)
        ),
        "characters": ALPHABET,
        "lowercase": FLAG,
        "scaling": _one_of("none", "global", "per_sequence", "asinh"),
        "frame": _whole(1, MOST_ROWS),
        "max_steps": Kind(
            "null or a number of steps",
            lambda found: found is None or (type(found) is int and 0 < found < 1 << 63),
        ),
        "form": _one_of(None, "NFC"),
        "precision": _one_of("float32", "float64"),
        "reading": OBJECT,
        "missing": _one_of("refuse", "mean", "zero", "last", "mask"),
        "fills": NUMBERS,
        "masked": NAMES,
        "unseen": NAMES,
    }
)
THRESHOLD = _number(-HAIR, 1 + HAIR)
KNOB = Kind(
    "text, a number, true, false or null",
    lambda found: found is None or _is_text(found) or type(found) in (int, float, bool),
)


@dataclass(frozen=True, slots=True)
class Description:
    """What `model.json` says.

    Attributes:
        architecture: the shapes of the network.
        encoding: how tables are read for it.
        thresholds: from which probability on a critical class is called, by its name.
        params: that it was trained with; of a model of 0.2.0 what its architecture says of that.
    """

    architecture: Architecture
    encoding: Encoding
    thresholds: dict[str, float]
    params: Knobs


def read(folder: str | Path) -> Description:
    """Read and check the description of a saved model.

    Raises:
        DataError: it is missing or broken, or holds a value that no model has.
    """
    path = Path(folder) / DESCRIPTION
    return of_tree(atomic.read_json(path), str(path))


def of_tree(tree: Any, where: str) -> Description:
    """Check a description; see `read`.

    Args:
        tree: what the file holds.
        where: what to call the file in messages.
    """
    parts = {"architecture": OBJECT, "encoding": OBJECT, "thresholds": OBJECT}
    for name, kind in parts.items():
        _check(tree.get(name) if type(tree) is dict else None, kind, f"{where}: {name}")
    found = Description(
        architecture=Architecture(**_section(tree, "architecture", Architecture, where)),
        encoding=Encoding(**_section(tree, "encoding", Encoding, where)),
        thresholds={name: float(value) for name, value in _thresholds(tree, where)},
        params=tree.get("params") or tree["architecture"],
    )
    _check(found.params, OBJECT, f"{where}: params")
    for name, value in found.params.items():
        _check(value, KNOB, f"{where}: params.{name}")
    _check_together(found, where)
    return found


def _section(tree: Mapping[str, Any], name: str, made: type, where: str) -> dict[str, Any]:
    """The values of a section, each of which may be what it is."""
    kinds, section = {"architecture": ARCHITECTURE, "encoding": ENCODING}[name], tree[name]
    for key in section:
        if key not in kinds:
            expected = f"expected keys that this version of birnn knows, found {_shown(key)}"
            raise DataError(f"{where}: {name}: {expected}; {ADVICE}")
    for one in fields(made):
        optional = one.default is not MISSING or one.default_factory is not MISSING
        if one.name in section or not optional:
            _check(section.get(one.name), kinds[one.name], f"{where}: {name}.{one.name}")
    return dict(section)


def _thresholds(tree: Mapping[str, Any], where: str) -> Iterator[tuple[str, float]]:
    for label, value in tree["thresholds"].items():
        _check(value, THRESHOLD, f"{where}: thresholds.{label}")
        yield label, value


def _check(found: Any, kind: Kind, place: str) -> None:
    if not kind.fits(found):
        raise DataError(f"{place}: expected {kind.words}, found {_shown(found)}; {ADVICE}")


def _shown(found: Any) -> str:
    """A value in a message; how one is written that is very long or deep nobody wants to know."""
    if isinstance(found, set):
        return ", ".join(sorted(map(repr, found))) or "none"
    if isinstance(found, (list, dict)):
        return f"{'a list' if isinstance(found, list) else 'an object'} of {len(found)}"
    text = "nothing" if found is None else repr(found)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _check_together(found: Description, where: str) -> None:
    """Refuse values that are right each for itself, and not together."""
    a, e = found.architecture, found.encoding
    rows = 0 if e.vocabulary is None else len(e.vocabulary) + 1
    steps = e.frame * (len(e.features) + len(e.masked))
    inputs = steps + (len(e.features) if e.scaling == "per_sequence" else 0)
    wanted = {
        "architecture.task": (a.task, (e.task,)),
        "architecture.classes": (a.classes, (len(e.labels),)),
        "architecture.features": (a.features, (inputs,)),
        "architecture.tokens": (a.tokens, (rows,)),
        "architecture.embedding_size": (a.embedding_size > 0, (rows > 0,)),
        "architecture.characters": (a.characters, ("", e.characters if rows else "")),
        "architecture.head": (a.head, ("last", *(() if a.task == "tagging" else (a.head,)))),
        "encoding.mean": (len(e.mean), (len(e.features),)),
        "encoding.scale": (len(e.scale), (len(e.features),)),
        "encoding.fills": (len(e.fills), (0 if e.missing == "refuse" else len(e.features),)),
        "encoding.masked": ({*e.masked} - {*e.features}, (set(),)),
        "encoding.unseen": ({*e.unseen} & {*e.labels}, (set(),)),
        "encoding.frame": (e.frame, (1,) if a.task == "tagging" or rows else (e.frame,)),
        "thresholds": (found.thresholds.keys() - {*e.labels}, (set(),)),
    }
    for name, (value, allowed) in wanted.items():
        if value not in allowed:
            fits = " or ".join(_shown(one) for one in allowed)
            raise DataError(
                f"{where}: {name}: expected what fits the rest of the file, {fits}, "
                f"found {_shown(value)}; {ADVICE}"
            )
    letters = min(a.character_size, a.character_hidden_size) if a.characters else 1
    if not a.width or not letters:
        raise DataError(f"{where}: expected a model that reads something, found none; {ADVICE}")


def check_header(path: str | Path, architecture: Architecture) -> None:
    """Compare the header of a file of weights with what the description says, and its size.

    No weights are read, and no memory is taken for them.

    Raises:
        DataError: the file is missing or broken, or holds other weights than the description says.
    """
    from safetensors import SafetensorError, safe_open

    expected = shapes(architecture)
    _check_size(Path(path), 4 * sum(map(prod, expected.values())))
    try:
        with safe_open(path, framework="np") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {
                name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()
            }
    except (SafetensorError, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise DataError(f"{path}: expected safetensors, found: {said}; {ADVICE}") from None
    for name in sorted(expected.keys() | found.keys()):
        wanted = (expected[name], "F32") if name in expected else None
        if found.get(name) != wanted:
            raise DataError(
                f"{path}: {_name(name)}: expected {_weights(wanted)} as in {DESCRIPTION}, found "
                f"{_weights(found.get(name))}; {ADVICE}"
            )


def _check_size(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    if not path.is_file() or not size < found <= size + HEADER:
        raise DataError(
            f"{path}: expected {size} bytes of weights as in {DESCRIPTION}, and their names, "
            f"found {found}; {ADVICE}"
        )


def _name(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}..."


def _weights(found: tuple[tuple[int, ...], str] | None) -> str:
    if found is None:
        return "nothing"
    shape, dtype = found
    return f"{' x '.join(map(str, shape)) or 'one number'} of {dtype}"


def check_finite(weights: Mapping[str, Any], where: str | Path) -> None:
    """Refuse weights that are no numbers, or so large that what is made of them is none.

    Args:
        weights: arrays, or tensors on the CPU, by their names.
        where: what to call their file in messages.

    Raises:
        DataError: names the first of them.
    """
    for name, values in weights.items():
        array = np.asarray(values)
        if array.size and not np.abs(array).max() <= LARGEST:
            found = array[~(np.abs(array) <= LARGEST)][0]
            raise DataError(
                f"{where}: {name}: expected numbers up to {LARGEST:g}, found {found}; {ADVICE}"
            )


def check_probabilities(probabilities: Any, where: str) -> None:
    """Refuse answers that are no numbers.

    Args:
        probabilities: (labels, classes).
        where: what to call the data in messages.

    Raises:
        DataError: there are some.
    """
    if not np.isfinite(probabilities).all():
        raise DataError(
            f"{where}: expected probabilities, found what is no number: values of the data are out "
            f"of all proportion to those of training, or the model is broken; {ADVICE}"
        )
