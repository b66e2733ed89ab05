"""YAML read with bounds: what a small file may hide is refused before it is there.

    tree = of_file("params.yaml")

A hundred bytes of YAML can stand for a billion values by names for parts (`&a`, `*a`), and a few
kilobytes can be nested more deeply than Python can follow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from birnn.errors import ParamsError
from birnn.files import named

MOST_BYTES = 1 << 20  # of a file
MOST_VALUES, DEEPEST = 20_000, 20  # of a tree in which each name for a part is replaced by the part
LONGEST = 4000  # letters of a value
FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # by libyaml, in a tenth of the time


def of_file(path: str | Path) -> Any:
    """Read a file.

    Raises:
        ParamsError: it is too large, or holds too much.
        DataError: it is no file, but a pipe, say.
        OSError, UnicodeDecodeError, yaml.YAMLError, ValueError: it cannot be read.
    """
    named.check_input(path)
    with Path(path).open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ParamsError(f"{path}: expected params of up to {MOST_BYTES >> 20} MB, found more")
    return of_text(content.decode("utf-8"), str(path))


def of_text(text: str, where: str) -> Any:
    """Read a text; see `of_file`.

    Args:
        text: YAML.
        where: what to call it in messages.
    """
    try:
        _check_depth(text, where, FAST)
    except (yaml.YAMLError, ValueError):  # in other words than those of the loader below
        _check_depth(text, where, yaml.SafeLoader)
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}, where) > MOST_VALUES:
            raise ParamsError(
                f"{where}: expected params with up to {MOST_VALUES} values, found more"
            )
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(text: str, where: str, loader: Any) -> None:
    """Refuse what is nested deeply before it is made a tree, for which Python calls itself."""
    depth = 0
    for event in yaml.parse(text, loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ParamsError(
                f"{_place(event, where)}: expected up to {DEEPEST} levels, found more"
            )


def _place(found: yaml.Node | yaml.Event, where: str) -> str:
    """The line at which something begins."""
    mark = found.start_mark
    return where if mark is None else f"{where}, line {mark.line + 1}"


def _size(node: yaml.Node, known: dict[int, int], where: str) -> int:
    """How many values a tree has, in which a part that has a name counts wherever it stands.

    Raises:
        ParamsError: a part is within itself, or a value is very long.
    """
    if isinstance(node, yaml.ScalarNode):
        if len(node.value) > LONGEST:
            place = _place(node, where)
            raise ParamsError(f"{place}: expected values of up to {LONGEST} letters, found more")
        return 1
    if id(node) not in known:
        known[id(node)] = -1
        pairs = node.value if isinstance(node, yaml.MappingNode) else [(one,) for one in node.value]
        known[id(node)] = 1 + sum(_size(one, known, where) for pair in pairs for one in pair)
    if known[id(node)] < 0:
        place = _place(node, where)
        raise ParamsError(f"{place}: expected parts that do not hold themselves, found one")
    return known[id(node)]
