"""A program that starts a Ray cluster of its own: `python tests/on_ray.py FOLDER`.

`tests/files/test_cluster.py` looks at what it says.
"""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pyarrow as pa

from birnn.errors import BirnnError, DataError
from birnn.files import cluster, engines

FOLDER = Path(sys.argv[1])


def slow_first(number: int) -> tuple[int, Any, pa.Table]:
    """The later, the sooner; an array and a slice of a table, as chunks are."""
    time.sleep(0.3 if number == 0 else 0)
    table = pa.table({"x": np.arange(100_000.0) + number})
    return number, np.full(100_000, number), table.slice(number, 1)


def counted(numbers: range, taken: list[int]) -> Iterator[int]:
    """Note which of them are taken."""
    for number in numbers:
        taken.append(number)
        yield number


def refused(number: int) -> int:
    """A mistake of the user in the fourth item, while the next one holds a temporary folder."""
    with (FOLDER / "tries").open("a") as file:
        file.write(f"{number} ")
    if number == 3:
        while not any(FOLDER.glob("held-*")):
            time.sleep(0.01)
        raise DataError("row 3: expected a number, found 'x'")
    if number > 3:
        with tempfile.TemporaryDirectory(prefix="held-", dir=FOLDER):
            time.sleep(1)
    return number


def said(function: Any) -> str:
    """The message of what is refused, and which results came before."""
    taken: list[int] = []
    try:
        taken += engines.mapped(function, range(9))
    except BirnnError as error:
        return f"{type(error).__name__}: {error}"
    return f"none: {taken}"


def main() -> None:
    """Say what happens, as JSON."""
    found: dict[str, Any] = {}
    before = signal.getsignal(signal.SIGTERM)
    with engines.chosen("ray"):
        children = psutil.Process().children(recursive=True)
        listening = [
            one.laddr.ip
            for child in children
            for one in child.net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        ]
        found["listening"] = sorted({ip.removeprefix("::ffff:") for ip in listening})
        taken = list[int]()
        results, ahead = list[tuple[int, Any, pa.Table]](), list[int]()
        for result in engines.mapped(slow_first, counted(range(20), taken)):
            results.append(result)
            ahead.append(len(taken) - len(results))
        found["ahead"] = max(ahead)
        found["order"] = [number for number, _, _ in results]
        found["right"] = all(
            (array == number).all() and table["x"].to_pylist() == [2 * number]
            for number, array, table in results
        )
        versions = (("birnn", "0.0"), *cluster.versions()[1:])
        with mock.patch.object(cluster, "versions", return_value=versions):
            found["versions"] = said(abs)
        found["early"] = next(engines.mapped(slow_first, range(9)))[0]
        with mock.patch.object(cluster, "RETRIES", 1):
            found["lost"] = said(lambda _: signal.raise_signal(signal.SIGKILL))
        found["mistake"] = said(refused)  # after which all ends
    found["handler"] = signal.getsignal(signal.SIGTERM) == before
    _, alive = psutil.wait_procs(children, timeout=20)
    found["alive"] = len(alive)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
