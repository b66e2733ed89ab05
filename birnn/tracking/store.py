"""Where MLflow keeps runs, and whether it can be reached.

The store is `MLFLOW_TRACKING_URI`, or else SQLite in the root of the repository. DVC names the root
in `DVC_ROOT`; in a queued experiment that is the parent repository, so its runs outlive it.

Where MLflow is out of reach the stages go on with a warning: the files are authoritative and MLflow
holds a copy, which `birnn backfill` makes. MLflow itself would try for up to two minutes in each
stage, so a server is asked for a sign of life first; what took long to find out is noted for the
stages that follow.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from birnn.errors import NO_ROOM, RegistryError, address, without_secrets
from birnn.files import atomic, console, digests, locks

if TYPE_CHECKING:
    from mlflow import MlflowClient


ARTIFACTS = "mlartifacts"  # in the root
PLACES = (  # the columns of MLflow's tables that hold places of artifacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
STATE = ".birnn"  # in the root: locks, and the state of trainings that are under way
SQLITE = "sqlite:///"
DECODED = "sqlite+pysqlite:///"  # the same; in a place of the other one MLflow would not decode %20
PROBE_SECONDS = 5.0  # for a sign of life
NOTE_SECONDS = 600.0  # for which stages believe that a server does not answer
SLOW_SECONDS = 1.0  # a refusal that comes sooner costs less than it is worth to remember
UNREACHED = "unreached.json"  # the note, among the state
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_BELIEVES: ContextVar[bool] = ContextVar("believes", default=False)
REFUSED = {*NO_ROOM, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}  # by a store of files
SETTINGS = {  # of MLflow, which would ask a server that is out of reach for many minutes
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def root() -> Path:
    """The repository that keeps runs and locks."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def store_uri() -> str:
    """Where runs are kept; a relative place is one in the root, also for a stage in a copy."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if (place := _sqlite_place(uri)) is not None:
        quoted = str(root()).replace("%", "%25").replace("?", "%3F")  # as SQLAlchemy reads it
        place = str(Path(quoted, place))
        return f"{DECODED if '%' in place else SQLITE}{place}"
    return uri if ":" in uri or uri == "databricks" else str(root() / uri)


def _sqlite_place(uri: str) -> str | None:
    """What a URI of SQLite says of the file; None for another URI."""
    kind = next((kind for kind in (SQLITE, DECODED) if uri.startswith(kind)), None)
    return None if kind is None else uri.removeprefix(kind)


def has_store() -> bool:
    """Say whether there is a store already; a server is asked when it is connected to."""
    place = _store_path()
    return place is None or place.exists()


def _store_path() -> Path | None:
    """The file or folder of a store that is none of a server's."""
    uri = store_uri()
    file = _sqlite_place(uri)
    place = Path(uri if file is None else unquote(file.partition("?")[0]))
    return place if place.is_absolute() else None


def connect() -> MlflowClient:
    """Open the store; on the first time, make it. What the environment sets for MLflow holds."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient, set_tracking_uri  # takes a second to import

    for name, level in {"mlflow": "WARNING", "alembic": "WARNING", "urllib3": "ERROR"}.items():
        logging.getLogger(name).setLevel(level)
    set_tracking_uri(store_uri())
    if _BELIEVES.get():
        _check_note()
    _probe()
    with lock("store"):  # two processes that make the tables at one time would both fail
        place = _store_path()
        if place:
            place.parent.mkdir(parents=True, exist_ok=True)
        client = MlflowClient()
        client.search_experiments(max_results=1)
        if place and root() in place.parents:  # what lies elsewhere does not move along
            _follow_move()
    return client


def _probe() -> None:
    """Ask a server for a sign of life, and note it where there is none.

    Raises:
        RequestException: a server that speaks HTTP did not answer.
        SQLAlchemyError: nobody listens where the database is to be.
    """
    if _store_path():
        return
    begun = time.monotonic()
    try:
        _sign_of_life(store_uri())
    except Exception:
        if time.monotonic() - begun >= SLOW_SECONDS:
            atomic.write_json(_note_path(), _note(time.time()))
        raise
    _note_path().unlink(missing_ok=True)


def _sign_of_life(uri: str) -> None:
    import requests
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, OperationalError

    if uri.startswith("http"):
        with suppress(requests.exceptions.SSLError):  # it answers; MLflow knows which to trust
            place = f"{uri.rstrip('/')}/health"
            requests.get(place, timeout=PROBE_SECONDS, stream=True).close()
        return
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):  # MLflow says what is wrong with it
        return
    port = url.port or PORTS.get(url.get_backend_name())
    if url.host is None or port is None:
        return
    try:
        socket.create_connection((url.host, port), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise OperationalError(None, None, error) from error


def _note(seconds: float) -> dict[str, object]:
    return {"store": digests.sha256_of_text(store_uri()), "seconds": seconds}


def _note_path() -> Path:
    return root() / STATE / UNREACHED


def _check_note() -> None:
    """Believe for a while what another stage has found out.

    Raises:
        RegistryError: the server did not answer.
    """
    try:
        noted = json.loads(_note_path().read_text(encoding="utf-8"))
        since = time.time() - float(noted["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if noted == _note(noted["seconds"]) and 0 <= since < NOTE_SECONDS:
        raise RegistryError(
            f"{shown_uri()}: expected an answer from MLflow, found none {since:.0f} seconds ago"
        )


def _follow_move() -> None:
    """Give artifacts their new places where the repository was moved, or is a copy of another.

    Places have to be absolute: a queued experiment runs elsewhere than where its runs are kept.
    """
    from sqlalchemy import column, create_engine, func, table, text, update
    from sqlalchemy.pool import NullPool

    present = _artifacts().as_uri()
    engine = create_engine(store_uri(), poolclass=NullPool)
    with engine.begin() as store:
        stored = store.execute(text("SELECT name, artifact_location FROM experiments"))
        places = {place.removesuffix(f"/{quote(name)}") for name, place in stored if place}
        for old in places - {present}:
            if not old.endswith(f"/{ARTIFACTS}"):
                continue
            for name, place in PLACES:
                moved = func.replace(column(place), f"{old}/", f"{present}/")
                store.execute(update(table(name, column(place))).values({place: moved}))


def _artifacts() -> Path:
    return root() / ARTIFACTS


@contextmanager
def reached() -> Iterator[None]:
    """Turn what MLflow raises, such as when it is out of reach, into one line.

    Raises:
        RegistryError: MLflow did not answer, or refused, or has no room for a file.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    unanswered: tuple[type[Exception], ...] = (
        MlflowException,
        RequestException,
        *_database_errors(),
    )
    try:
        yield
    except unanswered as error:
        raise _refused("an answer from MLflow", error) from error
    except ModuleNotFoundError as error:  # of a database; it is installed apart from MLflow
        raise _refused("its driver to be installed", error) from error
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise _refused("to keep files of a run", error) from error


def _database_errors() -> tuple[type[Exception], ...]:
    """What a store in a database raises; MLflow's client alone comes without SQLAlchemy."""
    try:
        from sqlalchemy.exc import SQLAlchemyError
    except ModuleNotFoundError:
        return ()
    return (SQLAlchemyError,)


def _refused(expected: str, error: Exception) -> RegistryError:
    said = without_secrets(" ".join(str(error).split()))
    return RegistryError(f"{shown_uri()}: expected {expected}, found: {said[:300]}")


def shown_uri() -> str:
    """Where runs are kept, for messages."""
    return shown(store_uri())


def shown(uri: str) -> str:
    """A URI for messages: of a server no more than scheme, host and port."""
    return address(uri) if "://" in uri and _sqlite_place(uri) is None else uri


@contextmanager
def mirrored() -> Iterator[None]:
    """Let a stage go on without MLflow where it is out of reach, with one warning."""
    try:
        with reached(), _believing():
            yield
    except RegistryError as error:
        warn(error)


@contextmanager
def _believing() -> Iterator[None]:
    """Let `connect` in the block believe a note, which others than stages have no use for."""
    token = _BELIEVES.set(True)
    try:
        yield
    finally:
        _BELIEVES.reset(token)


def warn(error: RegistryError) -> None:
    """Say that MLflow is out of reach, and what to do once it is not."""
    console.say(f"warning: {error}; once it answers, run `birnn backfill`", error=True)


def experiment(client: MlflowClient, problem: str) -> str:
    """Find the experiment of a problem, or make it; its artifacts get an absolute place.

    One that was deleted is restored: while it is kept, MLflow gives its name to no other.
    """
    with lock("experiment"):
        found = client.get_experiment_by_name(problem)
        if found is not None and found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
            console.say(
                f"note: the experiment {problem!r} was deleted in MLflow; it is restored with all "
                "its runs, to hold new ones (`mlflow gc` removes deleted ones for good)",
                error=True,
            )
        if found is not None:
            return str(found.experiment_id)
        remote = store_uri().startswith(("http", "databricks"))
        place = None if remote else (_artifacts() / problem).as_uri()
        return str(client.create_experiment(problem, artifact_location=place))


def lock_path(name: str) -> Path:
    """Where a lock is kept, in the root."""
    path = root() / STATE / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock that all processes of the repository share.

    Raises:
        RegistryError: the file system has no locks.
    """
    try:
        held = locks.acquired(lock_path(name))
    except locks.NoLocksError as error:
        raise RegistryError(str(error)) from None
    try:
        yield
    finally:
        held.release()
