"""What a person at a terminal sees: progress while something is long, tables, and sentences.

Whatever names of the data stand in them, they cannot move the cursor or hide a word: control
characters are shown as `birnn.errors.visible` shows them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from birnn.errors import CONTROLS, visible, without_secrets

T = TypeVar("T")


def track(items: Iterable[T], description: str) -> Iterable[T]:
    """Show a progress bar while iterating, on a terminal; in a log nothing."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track as rich_track

    return rich_track(items, description, console=Console(stderr=True), transient=True)


def say(*lines: object, error: bool = False) -> None:
    """Print lines on standard output, or on standard error."""
    for line in lines:
        print(visible(without_secrets(line)), file=sys.stderr if error else sys.stdout, flush=True)


def cell(text: object) -> str:
    """Text for a table of Rich, in which no part of it is taken for markup."""
    from rich.markup import escape

    return escape(visible(text))


def json_text(tree: Any) -> str:
    """JSON for standard output; characters that it cannot show are escaped as JSON does."""
    unicode = (sys.stdout.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")
    text = json.dumps(tree, indent=2, ensure_ascii=not unicode)
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
