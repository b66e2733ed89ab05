"""What a person at a terminal sees: progress while something is long, and tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from rich.progress import track as rich_track

T = TypeVar("T")


def track(items: Iterable[T], description: str) -> Iterable[T]:
    """Show a progress bar while iterating, on a terminal; in a log nothing."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console

    return rich_track(items, description, console=Console(stderr=True), transient=True)


def json_text(tree: Any) -> str:
    """JSON for standard output; characters that it cannot show are escaped as JSON does."""
    unicode = (sys.stdout.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")
    return json.dumps(tree, indent=2, ensure_ascii=not unicode)
