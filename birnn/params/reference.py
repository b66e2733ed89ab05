"""All keys of params.yaml: what each may be, what it is by default, and what it means.

    for section in sections(): print(section.title, section.keys)
    markdown()                      # docs/params.md

Made from the schema alone: types and bounds are pydantic's, meanings stand in the sections'
docstrings.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from birnn.params.schema import Data, FileData, Params

if TYPE_CHECKING:
    from rich.table import Table

REQUIRED = "required"
PLACEHOLDERS = {"critical": "CLASS", "costs": "CLASS", "space": "KEY"}
"""What stands for a name that users give, below these keys."""
ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)
Tree = Mapping[str, Any]
NOTHING: Tree = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its name with those of the sections that it is in, and what is to be said of it."""

    name: str
    allowed: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Reference:
    """Keys that belong together, under a title."""

    title: str
    about: str
    keys: list[Key]


def sections() -> list[Reference]:
    """List all keys, in the order of the file."""
    definitions = Params.model_json_schema()["$defs"]
    files = list(_keys(FileData, "data", FileData.model_json_schema()["properties"], definitions))
    found = [
        Reference("data", f"{_about(FileData)} For every source but `hmm`.", files),
    ]
    for kind in get_args(get_args(Data)[0]):
        every = definitions[kind.__name__]["properties"]
        shared = FileData.model_fields if issubclass(kind, FileData) else ()
        properties = {name: every[name] for name in every if name not in shared}
        (source,) = get_args(kind.model_fields["source"].annotation)
        keys = list(_keys(kind, "data", properties, definitions))
        found.append(Reference(f"data, source: {source}", _about(kind), keys))
    for name, field in Params.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            properties = definitions[section.__name__]["properties"]
            keys = list(_keys(section, name, properties, definitions))
            found.append(Reference(name, _about(section), keys))
    top = _keys(Params, "", Params.model_json_schema()["properties"], NOTHING)
    return [Reference("the file", _about(Params), list(top)), *found]


def _keys(
    kind: type[BaseModel],
    path: str,
    properties: Tree,
    definitions: Tree,
    given: Tree = NOTHING,
) -> Iterator[Key]:
    """Describe the keys of a section, and of the sections below it.

    Args:
        kind: the section.
        path: the keys that lead to it.
        properties: its JSON schema, by key.
        definitions: those of the sections below it; without, these are not described.
        given: its defaults, where it has some as a whole.
    """
    for name, schema in properties.items():
        place, inner = f"{path}.{name}" if path else name, _inner(schema)
        default = given.get(name, schema.get("default", REQUIRED))
        written = "" if "$ref" in schema and default != REQUIRED else _default(default)
        yield Key(place, _allowed(schema), written, _meaning(kind, name))
        if inner in definitions:
            section = next(one for one in _sections_of(kind, name) if one.__name__ == inner)
            below = f".{PLACEHOLDERS[name]}" if "additionalProperties" in schema else ""
            rest = definitions[inner]["properties"]
            defaults = NOTHING if below or default == REQUIRED else default
            yield from _keys(section, place + below, rest, definitions, defaults)


def _inner(schema: Tree) -> str:
    """The name of the section that a key, or each entry below it, is; "" for plain values."""
    below = schema.get("additionalProperties", schema)
    return str(below.get("$ref", "")).rpartition("/")[2] if isinstance(below, dict) else ""


def _sections_of(kind: type[BaseModel], name: str) -> Iterator[type[BaseModel]]:
    annotation = kind.model_fields[name].annotation
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            yield one


def _allowed(schema: Tree) -> str:
    """What a value may be, in words."""
    if "anyOf" in schema:
        return " or ".join(map(_allowed, schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in values)
    if "pattern" in schema:
        return f"text as `{schema['pattern']}`"
    plain = {"null": "`null`", "boolean": "`true`, `false`", "string": "text"}
    kind = schema.get("type", "")
    return plain.get(kind) or _of_parts(kind, schema)


def _of_parts(kind: str, schema: Tree) -> str:
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "array":
        return f"a list of: {_allowed(schema['items'])}"
    if kind == "object" and "$ref" not in schema["additionalProperties"]:
        return f"by name: {_allowed(schema['additionalProperties'])}"
    return "a section a name" if kind == "object" else "a section"


def _number(schema: Tree) -> str:
    what = "a whole number" if schema["type"] == "integer" else "a number"
    words = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "up to {}",
        "exclusiveMaximum": "below {}",
    }
    found = {name: schema[name] for name in words if name in schema}
    shown = {name: f"{one:,}" if type(one) is int else f"{one:g}" for name, one in found.items()}
    bounds = [words[name].format(one) for name, one in shown.items()]
    if schema.get("exclusiveMaximum") == 2**31:
        bounds[-1] = "below 2^31"
    return " ".join([what, *bounds])


def _default(value: object) -> str:
    """A value as it is written in YAML."""
    if value == REQUIRED:
        return REQUIRED
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _about(kind: type[BaseModel]) -> str:
    """The first words of a section's docstring, without what is for readers of the code."""
    text = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return re.sub(r"; (see )?(`[^`]*`(, | and | in )?)+\.?$", ".", text)


def _meaning(kind: type[BaseModel], name: str) -> str:
    """What the docstring says of a key, be it that of the section or of one that it rests on."""
    for one in kind.__mro__:
        for found in ATTRIBUTE.finditer(inspect.cleandoc(one.__doc__ or "")):
            if found[1] == name:
                return " ".join(found[2].split())
    return ""


def markdown() -> str:
    """Write the page docs/params.md."""
    lines = [
        "# All keys of params.yaml",
        "",
        "Made by `birnn params --markdown > docs/params.md`; a test compares the two. A key that",
        "is not here is refused. In `models.NAME` may stand all keys of `model` and `train`, which",
        "hold for that model alone.",
    ]
    for section in sections():
        lines += ["", f"## {section.title}", "", section.about, ""]
        lines += ["| key | may be | default | |", "| --- | --- | --- | --- |"]
        for key in section.keys:
            cells = (f"`{key.name}`", key.allowed, key.default, key.meaning)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def tables(prefix: str = "") -> Iterator[Table]:
    """Show the keys on a terminal: all, or those whose name begins with something."""
    from rich.markup import escape
    from rich.table import Table

    for section in sections():
        keys = [key for key in section.keys if key.name.startswith(prefix)]
        if keys:
            table = Table("key", "may be", "default", "", title=section.title, title_justify="left")
            for key in keys:
                cells = (key.name, key.allowed, key.default, key.meaning)
                table.add_row(*(escape(cell.replace("`", "")) for cell in cells))
            yield table


def known(place: tuple[str | int, ...]) -> list[str]:
    """Name the keys of the section at a place of params, as pydantic names places.

    Args:
        place: the keys that lead there; behind `data`, the source.
    """
    at: Any = Params
    for part in place:
        if part == "data" and at is Params:
            at = Data
        elif at is Data:
            kinds = get_args(get_args(Data)[0])
            at = next(
                one for one in kinds if part in get_args(one.model_fields["source"].annotation)
            )
        elif isinstance(at, type) and issubclass(at, BaseModel):
            at = at.model_fields[str(part)].annotation
        else:  # the name of an entry
            at = get_args(at)[-1]
    return list(at.model_fields)
