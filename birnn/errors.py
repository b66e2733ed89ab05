"""What a user can get wrong.

BirnnError
├── ParamsError     params.yaml: an unknown key, a wrong type, a value out of range
├── DataError       a table or file: a missing column, an empty sequence, a NaN
├── InputError      what a Python call was given, such as an estimator's `fit`; a ValueError too
├── DeviceError     the device asked for is not on this machine
├── TrainingError   training cannot go on: the loss is no longer a number
├── RegistryError   MLflow is out of reach, or its registry does not hold what was asked for
├── EngineError     what run.engine names is out of reach, or has other code
├── SweepError      a search cannot go on: nothing to search, or its storage does not answer
├── RetrainingError a retraining cannot go on: another one runs, or a step of it failed
└── ServingError    the server cannot start, or does not take a request

Each message is one line: what was expected, what was found, where (file, row, key), how to mend it.
Commands print it and exit with status 1; anything else that is raised is a bug and keeps its
traceback. A command that a signal ends cleans up, and has the status that shells give it.
"""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import quote, unquote, unquote_plus

HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@\s]+)(:[0-9]+)?")
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that move a terminal's cursor, change its state, or the order of what stands there."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says where a disk is full, or a quota or a limit is reached."""
ADDRESS_VARIABLES = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "OPTUNA_STORAGE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
)
SECRET_VARIABLES = (
    "BIRNN_SERVE_TOKEN",
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN"),
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCESS_KEY"),
    "AZURE_STORAGE_CONNECTION_STRING",
)
WITHOUT_SCHEME = re.compile("[^/:@]+:.*@", re.DOTALL)
"""How `user:password@host` begins, and an address whose scheme was mistyped."""
LONGEST_LINE = 4000  # letters of a message; names in a file may be of any length
SHORTEST_SECRET = 4  # letters of a part of an address; shorter ones, in most words, may be shown
HIDDEN = "..."
ENDING = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
]  # Windows has no SIGHUP


class BirnnError(Exception):
    """A mistake that the user can mend; its message is one line."""


class ParamsError(BirnnError):
    """A parameter is unknown, of the wrong type or out of range."""


class DataError(BirnnError):
    """An input file is missing, broken, or holds something that cannot be trained on."""


class InputError(BirnnError, ValueError):
    """What a Python call was given cannot be read or trained on."""


class DeviceError(BirnnError):
    """The device that was asked for is not available."""


class TrainingError(BirnnError):
    """Training cannot go on, such as when the loss is no longer a number."""


class RegistryError(BirnnError):
    """MLflow is out of reach, or its registry does not hold what was asked for."""


class EngineError(BirnnError):
    """What should do the work is out of reach, has died too often, or has other code."""


class SweepError(BirnnError):
    """A search cannot go on: there is nothing to search, or its storage does not answer."""


class RetrainingError(BirnnError):
    """A retraining cannot go on: another one runs, or one of its steps failed."""


class ServingError(BirnnError):
    """The server cannot start, or does not take a request."""


class Terminated(SystemExit):
    """SIGTERM or SIGHUP has come: 128 and the signal's number is the exit status."""


INTERRUPTS = (KeyboardInterrupt, Terminated)
"""What ends work that somebody has stopped, and that did not fail."""


def visible(text: object) -> str:
    r"""A text with its control characters as Python writes them, such as `\x1b` and `\u202e`.

    Names of classes, columns, sequences and files may hold any; line ends and tabs stay.
    """
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], str(text))


def one_line(text: object) -> str:
    """The same, in which line ends are shown as well; what is very long is cut."""
    line = visible(text).replace("\n", "\\n")
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..."


def address(uri: str) -> str:
    """Scheme, host and port of a URI; what else stands in it may be a secret.

    Passwords may hold any character. Where it cannot be told which part is the host, none is shown.
    """
    scheme, colon, rest = uri.partition("://")
    if not colon:
        return f"{HIDDEN}@{uri.rpartition('@')[2]}" if WITHOUT_SCHEME.match(uri) else uri
    first = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" not in rest or "@" in first:
        host = first.rpartition("@")[2]
        sure = "@" not in rest[len(first) :]
    else:  # a slash or a question mark in the password, or an @ behind the host
        host = re.split("[/?#]", rest.rpartition("@")[2], maxsplit=1)[0]
        sure = rest.count("@") == 1 and not HOST.fullmatch(first)
    return f"{scheme}://{host if sure and HOST.fullmatch(host) else HIDDEN}"


def without_secrets(text: object, *addresses: str) -> str:
    """Take out of a text what the environment says of passwords, before it is shown or kept.

    That is all of the addresses in `ADDRESS_VARIABLES` but scheme, host and port, each of their
    parts, and the variables in `SECRET_VARIABLES`; also as they are quoted in addresses and in
    Python.

    Args:
        text: the text.
        addresses: further ones, which do not come from the environment.
    """
    found, secrets = str(text), {os.environ.get(name, "") for name in SECRET_VARIABLES}
    for uri in {*addresses, *(os.environ.get(name, "") for name in ADDRESS_VARIABLES)}:
        with_scheme = "://" in uri and not uri.startswith(("sqlite", "file:"))
        if with_scheme or WITHOUT_SCHEME.match(uri):
            found = found.replace(uri, address(uri))
            secrets |= _secret_parts(uri)
    spelled = {form for secret in secrets if secret for form in _spellings(secret)}
    for secret in sorted(spelled, key=len, reverse=True):
        found = found.replace(secret, HIDDEN)
    return re.sub(r"(?<=://)[^/\s'\"]*@", "", found)  # of any other address


def _secret_parts(uri: str) -> set[str]:
    """All of a URI but scheme, host and port: user and password, path, query, fragment, and parts.

    A question mark or an @ may belong to a password or end it, so it is read both ways.
    """
    rest, shown = re.sub("^[^/:@]+:/+", "", uri), address(uri)
    before, at, after = rest.rpartition("@")
    user, colon, password = before.partition(":")
    login = password if colon else user
    place, _, query = after.partition("?")
    path = "".join(place.partition("/")[1:]).rstrip("/")
    behind = [query, rest.partition("?")[2], rest.partition("#")[2]]
    values = [pair.partition("=")[2] or pair for one in behind for pair in re.split("[&#;]", one)]
    whole = [rest, before + at, before, login, path, *behind, *values]
    tokens = [part for part in path.split("/") if re.search("[0-9]", part)]  # no usual name
    told = " ".join([login, *values, *tokens])
    words = re.split(r"[/\\:@?&=#;+\s]+", f"{told} {unquote(told)}")
    return {one for one in (*whole, *words) if len(one) >= SHORTEST_SECRET and one not in shown}


def _spellings(secret: str) -> set[str]:
    """As it is, with quotes taken away or put on for an address, and as Python shows it."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    quoted = {one for text in plain for one in (quote(text), quote(text, safe=""))}
    spelled = plain | quoted | {repr(one)[1:-1] for one in plain}
    return {one for one in spelled if len(one) >= SHORTEST_SECRET}


@contextmanager
def reported() -> Iterator[None]:
    """Turn a user's mistake into one line on standard error and exit status 1.

    A path that the system refuses is one too: a folder in a file's place, a full disk, a name that
    is too long. Whoever reads the output through a pipe and stops, such as `head`, ends the command
    without a word. Characters that the output cannot show are printed by their number.
    """
    try:
        with _terminable(), _written():
            yield
    except BirnnError as error:
        print(f"error: {one_line(without_secrets(error))}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno == errno.EPIPE and error.filename is None:
            _discard(sys.stdout)
            raise SystemExit(1) from None
        if (place := _place(error)) is None:
            raise
        print(f"error: {one_line(place)}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


@contextmanager
def _written() -> Iterator[None]:
    """Make standard output and error fit for use, and write out what was printed.

    Raises:
        BirnnError: standard output is closed; the next file that is opened would take its place.
        OSError: what was printed cannot be written.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  until the process ends
    if sys.stdout is None:
        raise BirnnError(
            "standard output: expected it to be open, found it closed; send it to a file, or to "
            f"{os.devnull}"
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        sys.stdout.flush()


def _place(error: OSError) -> str | None:
    """What the system has refused; None where it does not say, such as of a connection."""
    if error.filename is not None:
        return str(error.filename)
    if error.errno not in NO_ROOM:
        return None
    _discard(sys.stdout)  # it may hold what it could not write, and would try again at the end
    return "standard output, or a temporary file"


def _discard(stream: TextIO) -> None:
    """Write what a stream still holds to nowhere."""
    with suppress(OSError), Path(os.devnull).open("w") as nowhere:  # a stream may have no number
        os.dup2(nowhere.fileno(), stream.fileno())
        stream.flush()


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that it cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        raise Terminated(128 + number)

    default = [number for number in ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in default:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)
