"""A word to people about what a retraining has decided, wherever Apprise can send it.

    BIRNN_NOTIFY="mailto://user:password@example.org slack://token" birnn retrain

The environment names the places, as Apprise writes them (https://github.com/caronc/apprise/wiki),
with spaces between. A word that cannot be sent is no reason for a retraining to fail.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Literal
from urllib.parse import unquote

from birnn.errors import SHORTEST_SECRET, without_secrets
from birnn.files import console

PLACES = "BIRNN_NOTIFY"

Kind = Literal["info", "success", "warning", "failure"]


def send(title: str, body: str, kind: Kind = "info") -> bool:
    """Send a message to all places; without any, do nothing.

    Args:
        title: what it is about.
        body: the message.
        kind: what services show by colour, sound or priority.

    Returns:
        Whether every place took it. What went wrong, and where, is said on standard error, without
        the places' own words: they hold passwords.
    """
    places = os.environ.get(PLACES, "").split()
    if not places:
        return True
    try:
        import apprise  # noqa: F401  it is optional
    except ImportError:
        console.say(f"{PLACES}: expected Apprise; pip install 'birnn[retrain]'", error=True)
        return False
    title, body = without_secrets(title), without_secrets(body)
    reasons = [_refused(place, title, body, kind) for place in places]
    for number, (place, reason) in enumerate(zip(places, reasons, strict=True), start=1):
        if reason is not None:
            said = _without_words(place, reason)
            console.say(f"{PLACES}, place {number}: a notification failed: {said}", error=True)
    return not any(reason is not None for reason in reasons)


def _refused(place: str, title: str, body: str, kind: Kind) -> str | None:
    """Send to one place; say why it did not take the message, or None."""
    from apprise import Apprise, LogCapture, NotifyType

    apprise = Apprise()
    if not apprise.add(place):
        return "expected an address that Apprise knows, found another"
    try:
        with LogCapture(level=logging.WARNING, fmt="%(message)s") as log:  # type: ignore[no-untyped-call]
            if apprise.notify(title=title, body=body, notify_type=NotifyType(kind)):
                return None
            return " ".join(log.getvalue().split()) or "the service gave no reason"
    except Exception as error:  # noqa: BLE001  plugins of many services, which may raise anything
        return f"{type(error).__name__}: {error}"


def _without_words(place: str, text: str) -> str:
    """Take the words of a place out of a text: any of them may be a password."""
    _, _, address = place.partition("://")
    told = f"{address or place} {unquote(address or place)}"
    words = {*re.split(r"[/\\:@?&=#;,\s]+", told), *re.split(r"[/:@?&=\s]+", told)}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= SHORTEST_SECRET:
            text = text.replace(word, "...")
    return text
