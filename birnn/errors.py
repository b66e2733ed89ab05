"""What a user can get wrong.

BirnnError
├── ParamsError     params.yaml: an unknown key, a wrong type, a value out of range
├── DataError       a table or file: a missing column, an empty sequence, a NaN
├── DeviceError     the device asked for is not on this machine
├── TrainingError   training cannot go on: the loss is no longer a number
├── RegistryError   MLflow is out of reach, or its registry does not hold what was asked for
├── RetrainingError a retraining cannot go on: another one runs, or a step of it failed
└── ServingError    the server cannot start, or does not take a request

Each message is one line: what was expected, what was found, where (file, row, key), how to mend it.
Commands print it and exit with status 1; anything else that is raised is a bug and keeps its
traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class BirnnError(Exception):
    """A mistake that the user can mend; its message is one line."""


class ParamsError(BirnnError):
    """A parameter is unknown, of the wrong type or out of range."""


class DataError(BirnnError):
    """An input file is missing, broken, or holds something that cannot be trained on."""


class DeviceError(BirnnError):
    """The device that was asked for is not available."""


class TrainingError(BirnnError):
    """Training cannot go on, such as when the loss is no longer a number."""


class RegistryError(BirnnError):
    """MLflow is out of reach, or its registry does not hold what was asked for."""


class RetrainingError(BirnnError):
    """A retraining cannot go on: another one runs, or one of its steps failed."""


class ServingError(BirnnError):
    """The server cannot start, or does not take a request."""


@contextmanager
def reported() -> Iterator[None]:
    """Turn a user's mistake into one line on standard error and exit status 1.

    A path that the system refuses is one too: a folder in a file's place, a full disk, a name that
    is too long.
    """
    try:
        yield
    except BirnnError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
