"""What a person at a terminal sees: progress while something is long, and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from rich.progress import track as rich_track

T = TypeVar("T")


def track(items: Iterable[T], description: str) -> Iterable[T]:
    """Show a progress bar while iterating, on a terminal; in a log nothing."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console

    return rich_track(items, description, console=Console(stderr=True), transient=True)
