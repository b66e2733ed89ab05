"""In how many threads the kernel computes; no bit of a result depends on it."""

from __future__ import annotations

from typing import Final

from birnn.kernel import library

SUMS_WORTH_SHARING: Final = 4096


def limit(sums: int) -> bool:
    """Let the kernel take one thread where a step of a batch is too small to share.

    Two threads gain nothing below some thousand sums a step.

    Args:
        sums: that one step of a batch takes, sequences x hidden units x gates.

    Returns:
        Whether it is worth sharing.
    """
    share = sums >= SUMS_WORTH_SHARING
    if library.found():
        library.set_threads(library.threads() if share else 1)
    return share
