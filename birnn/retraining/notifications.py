"""A word to people about what a retraining has decided, wherever Apprise can send it.

    BIRNN_NOTIFY="mailto://user:password@example.org slack://token" birnn retrain

The environment names the places, as Apprise writes them (https://github.com/caronc/apprise/wiki),
with spaces between. A word that cannot be sent is no reason for a retraining to fail.
"""

from __future__ import annotations

import os
import sys

PLACES = "BIRNN_NOTIFY"


def send(title: str, body: str) -> bool:
    """Send a message to all places; without any, do nothing.

    Returns:
        Whether every place took it. What went wrong is said on standard error, without the places:
        they hold passwords.
    """
    places = os.environ.get(PLACES, "").split()
    if not places:
        return True
    try:
        sent = _send(places, title, body)
    except ImportError:
        print(f"{PLACES}: expected Apprise; pip install 'birnn[retrain]'", file=sys.stderr)
        return False
    except Exception as error:  # noqa: BLE001  plugins of many services, which may raise anything
        print(f"{PLACES}: a notification failed with {type(error).__name__}", file=sys.stderr)
        return False
    if not sent:
        print(f"{PLACES}: a notification could not be sent", file=sys.stderr)
    return sent


def _send(places: list[str], title: str, body: str) -> bool:
    from apprise import Apprise

    apprise = Apprise()
    understood = [apprise.add(place) for place in places]
    return bool(apprise.notify(title=title, body=body)) and all(understood)
