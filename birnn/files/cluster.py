"""Ray: the cluster that RAY_ADDRESS names, or one that is started here and ended with the work.

    with cluster.connected():
        for item, result in cluster.paired(function, items): ...

Ray decides who works on what, and does again what was lost with a process or a machine. A cluster
that is started here listens on localhost alone, asks for a token that only its own processes know,
and keeps its files in a folder that is removed. No statistics are sent anywhere.
"""

from __future__ import annotations

import copy
import os
import platform
import secrets
import signal
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from importlib import metadata
from typing import Any, Final, TypeVar

import pyarrow as pa

from birnn.errors import BirnnError, EngineError
from birnn.files import installed, threads

Item = TypeVar("Item")
Result = TypeVar("Result")
Versions = tuple[tuple[str, str], ...]

ADDRESS: Final = "RAY_ADDRESS"
LONGEST_FOLDER = 40  # letters; the sockets below it may have names of 107 in all
PATIENCE = 5.0  # seconds, for the machine that RAY_ADDRESS names to answer, and for tasks to end
RETRIES = 5  # times that a task is done again when the process or machine is lost that it runs on
COMPUTES = ("numpy", "pyarrow", "torch")  # packages whose version may decide bytes
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a relative path means the same in each process
}
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Read when Ray is imported: of no cluster with other machines, Ray listens on localhost alone."""


@contextmanager
def connected(workers: int = 1) -> Iterator[Any]:
    """Give the package `ray` while it is connected; a connection that there was before stays.

    Args:
        workers: processes that must have room at the same time, one CPU each.

    Raises:
        EngineError: Ray is not installed, or the cluster that RAY_ADDRESS names does not answer.
    """
    address = os.environ.get(ADDRESS) or "local"
    own = address == "local"
    if not own:
        _check_answers(address)
    with ExitStack() as stack:
        token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}  # Ray asks for it where it knows one
        stack.enter_context(_environment(QUIET | (ALONE | token if own else {})))
        ray = _ray()
        if not ray.is_initialized():
            where = {"address": address}
            if own:
                where |= stack.enter_context(_room(workers))
            stack.callback(ray.shutdown)
            _begin(ray, where)
        yield ray


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise EngineError(
            f"run.engine: expected the package {error.name} for ray; run `pip install "
            "'birnn[ray]'`, or use local"
        ) from None
    return ray


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set, for this process and those that it starts.

    Those that Ray adds for itself end with them.
    """
    before = dict(os.environ)
    os.environ.update({**values, **before})
    try:
        yield
    finally:
        for name in {one for one in os.environ if one.startswith("RAY_")} - before.keys():
            del os.environ[name]


@contextmanager
def _room(workers: int) -> Iterator[dict[str, Any]]:
    """What a cluster on this machine has: CPUs, and a folder, which is removed."""
    place = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(
        prefix="ray-",
        dir="/tmp" if len(place) > LONGEST_FOLDER and os.name == "posix" else place,  # noqa: S108
        ignore_cleanup_errors=True,
    ) as folder:
        yield {"num_cpus": max(pa.cpu_count(), workers), "_temp_dir": folder}


def _begin(ray: Any, where: dict[str, Any]) -> None:
    own = threading.current_thread() is threading.main_thread()
    ending = signal.getsignal(signal.SIGTERM) if own else None
    try:
        ray.init(
            **where,
            include_dashboard=False if where["address"] == "local" else None,
            log_to_driver=False,
            logging_level="error",
        )
        ray._private.worker._worker_logs_enabled = False  # of Ray, on the standard output
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        raise EngineError(
            f"{ADDRESS}: expected a Ray cluster at {where['address']}, found none: "
            f"{first_line(error)}"
        ) from None
    finally:
        if ending is not None:  # Ray has put its own there
            signal.signal(signal.SIGTERM, ending)


def _check_answers(address: str) -> None:
    """Look whether anything listens; Ray itself would try for a minute.

    Raises:
        EngineError: nothing does, or it is an address of another kind.
    """
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if "/" in address or not host or not port.isdigit():
        raise EngineError(
            f"{ADDRESS}: expected HOST:PORT, auto or local, found {address!r}; start the command "
            "on a machine of the cluster, such as by `ray job submit`"
        )
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except OSError as error:
        raise EngineError(
            f"{ADDRESS}: expected a Ray cluster at {address}, found none ({error}); start it by "
            "`ray start --head`, or unset the variable for one on this machine"
        ) from None


def paired(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[tuple[Item, Result], None, None]:
    """Call a function with each item on the cluster; see `birnn.files.engines.paired`.

    Raises:
        EngineError: a machine has other code than this one, or a task was lost again and again.
    """
    ray = _ray()
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(_worked)
    sent = [ray.put(function)]  # within a list, so that a process fetches it once, not each task
    most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[tuple[Any, Any]] = deque()
    try:
        for pair in threads.begun(lambda item: task.remote(versions(), sent, item), items):
            waiting.append(pair)
            if len(waiting) > most:
                item, result = waiting.popleft()
                yield item, received(ray, result)
        while waiting:
            item, result = waiting.popleft()
            yield item, received(ray, result)
    finally:
        left = [result for _, result in waiting if not isinstance(result, Exception)]
        for result in left:
            ray.cancel(result)
        if left:  # they remove their temporary files as they end, which they cannot once killed
            ray.wait(left, num_returns=len(left), timeout=PATIENCE, fetch_local=False)


def received(ray: Any, result: Any) -> Any:
    """Wait for a result, and copy it out of the store, whose room is then free for others.

    Raises:
        BirnnError: what the task has raised, as if it had been done here.
    """
    if isinstance(result, Exception):
        raise result
    try:
        return copy.deepcopy(ray.get(result))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BirnnError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"ray: expected the result of a task, found it lost {RETRIES + 1} times: "
            f"{first_line(error)}"
        ) from None


def first_line(error: Exception) -> str:
    """The first line of a message; of an error without one, its name."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _worked(expected: Versions, sent: list[Any], item: Any) -> Any:
    """What a process of the cluster does."""
    check_versions(expected)
    return _fetched(sent[0])(item)


@lru_cache(maxsize=4)
def _fetched(reference: Any) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = _ray().get(reference)
    return found


@cache
def versions() -> Versions:
    """Of what computes: a name and a version each."""
    found = [("birnn", installed.code()), ("Python", platform.python_version())]
    for name in COMPUTES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "none"))
    return tuple(found)


def check_versions(expected: Versions) -> None:
    """Refuse to work where something else would compute than where the work comes from.

    Raises:
        EngineError: names the first thing that differs.
    """
    for (name, wanted), (_, here) in zip(expected, versions(), strict=True):
        if wanted != here:
            raise EngineError(
                f"ray: expected {name} {wanted} on every machine, found {here} on "
                f"{platform.node()}; install the same there"
            )
