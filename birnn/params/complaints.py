"""What is wrong with a params file, in the words of params.yaml: one line a fault."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ValidationError,
)

from birnn.params.reference import known
from birnn.params.schema import Data, Params

MOST = 10  # faults that are worded
LONGEST, LONGEST_KEY, MOST_DIGITS = 300, 60, 30


def one_line(error: Exception) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split())


def complaints(error: ValidationError) -> list[str]:
    """What is wrong, each thing once: a fault in `model` or `train` comes back in all `models`.

    Of many faults the first ones are worded.
    """
    findings = error.errors(include_url=False)
    places = {details["loc"] for details in findings}
    own = [
        details
        for details in findings
        if not (
            details["loc"][:1] == ("models",)
            and not places.isdisjoint((name, *details["loc"][2:]) for name in ("model", "train"))
        )
    ]
    more = [f"and {len(own) - MOST} more"] if len(own) > MOST else []
    return [*(complaint(dict(details)) for details in own[:MOST]), *more]


def complaint(details: dict[str, Any]) -> str:
    """One line for one of pydantic's findings, in the words of params.yaml."""
    path = _path(details["loc"])
    key = ".".join(path) or "the file"
    if details["type"] == "extra_forbidden":
        here = ", ".join(known(details["loc"][:-1]))
        return f"{key}: unknown key{_suggestion(path[-1])}; known here are {here}"
    if details["type"] == "missing":
        return f"{key}: expected a value, found none; add the key"
    if details["type"] == "union_tag_not_found":
        return f"{key}.source: expected a value, found none; add the key"
    if details["type"] == "union_tag_invalid":
        expected, found = details["ctx"]["expected_tags"], details["ctx"]["tag"]
        return f"{key}.source: expected one of {expected}, found {found!r}"
    message = details["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "expected", 1)
    unquoted = details["loc"][-1:] == ("[key]",) and not isinstance(details["input"], str)
    quotes = " (put the name into quotes)" if unquoted else ""
    return f"{key}: {message}, found {_found(details['input'])}{quotes}"


def _path(place: tuple[str | int, ...]) -> list[str]:
    """The keys that lead to a place; pydantic adds the source after `data`, and `[key]`."""
    parts = [_cut(str(part)) for part in place if part != "[key]"]
    sources = {name for section in get_args(get_args(Data)[0]) for name in _source_names(section)}
    if parts[:1] == ["data"] and not sources.isdisjoint(parts[1:2]):
        del parts[1]
    return parts


def _found(value: object) -> str:
    """A value as a person wrote it; a number that YAML 1.1 took for text gets a word of help."""
    if isinstance(value, str) and "e" in value.lower() and _is_number(value):
        return f"the text {value!r} (YAML needs {Decimal(value):f} here)"
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, int) and value.bit_length() > LONGEST:  # Python would take long to say it
        return f"a number of {value.bit_length()} bits"
    return _cut(repr(value))


def _cut(text: str) -> str:
    """A text as far as it fits into a message."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _is_number(text: str) -> bool:
    """Whether text is a number that somebody could write without an exponent."""
    try:
        return len(text) <= LONGEST and abs(Decimal(text).adjusted()) < MOST_DIGITS
    except ArithmeticError:
        return False


def _source_names(section: type[BaseModel]) -> tuple[str, ...]:
    return get_args(section.model_fields["source"].annotation)


def _suggestion(key: str) -> str:
    """The declared key that is nearest to a misspelt one, if any is near."""
    declared = _declared_keys(Params)
    if key in declared:
        return " here; remove it, or move it to its own section"
    if len(key) > LONGEST_KEY:  # to look for near ones would take long
        return "; remove it"
    near = difflib.get_close_matches(key, declared, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else "; remove it"


def _declared_keys(annotation: Any) -> set[str]:
    """All keys that may stand in a section, or in the sections below it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return set(fields).union(*(_declared_keys(field.annotation) for field in fields.values()))
    return set().union(*(_declared_keys(part) for part in get_args(annotation)))
