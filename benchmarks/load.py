"""Put a server under load, and MLflow's own beside it: `python -m benchmarks.load`.

Fifty clients send small requests one after the other, first alone, then beside one client that
sends the largest request that is allowed, again and again; the two take turns. Then the small ones
go on for ten thousand requests, and memory is compared. What it says are ratios of the same run.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from birnn.data.encoding import Encoding
from birnn.model import networks, saved_model
from birnn.model.architecture import Architecture
from birnn.serving.requests import Limits
from birnn.tracking import servable, store

FEATURES, CLASSES = 8, 5
CLIENTS, EACH, ROUNDS, MANY = 50, 20, 3, 10_000
PATIENCE = 600  # seconds for an answer
WARM = 500  # requests, after which memory is looked at first


class Round(NamedTuple):
    """What fifty clients met: seconds of each answer, and how often each status came."""

    seconds: list[float]
    statuses: Counter[int]

    def quantile(self, share: float) -> float:
        """Of the seconds."""
        return float(np.quantile(self.seconds, share))


class Measured(NamedTuple):
    """What a server did."""

    name: str
    alone: list[Round]
    beside: list[Round]
    large: list[float]
    before: int
    after: int


def rows(sequences: int, steps: int) -> bytes:
    """A request in the form that both servers know."""
    drawn = np.random.default_rng(0).standard_normal((sequences * steps, FEATURES)).round(2)
    data = [[f"s{n // steps}", *row] for n, row in enumerate(drawn.tolist())]
    columns = ["sequence", *(f"x{n}" for n in range(FEATURES))]
    return json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode()


def ask(port: int, body: bytes) -> int:
    """Send a request and read the whole answer; its status, 0 where there was none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return answer.status
    finally:
        connection.close()


def small_ones(port: int, each: int) -> Round:
    """Let each client send some small requests."""
    body, found = rows(1, 10), Round([], Counter())

    def client(_: int) -> None:
        for _ in range(each):
            start = time.perf_counter()
            found.statuses[ask(port, body)] += 1
            found.seconds.append(time.perf_counter() - start)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return found


@contextmanager
def a_large_one(port: int, body: bytes, took: list[float]) -> Iterator[None]:
    """Send the largest request again and again meanwhile."""
    ended, begun = threading.Event(), threading.Event()

    def client() -> None:
        while not ended.is_set():
            begun.set()
            start = time.perf_counter()
            if ask(port, body) == 200:
                took.append(time.perf_counter() - start)

    thread = threading.Thread(target=client)
    thread.start()
    begun.wait()
    time.sleep(0.5)  # until it is being worked on
    try:
        yield
    finally:
        ended.set()
        thread.join()


def memory(process: subprocess.Popen[bytes]) -> int:
    """Bytes of a server and its workers."""
    main = psutil.Process(process.pid)
    return sum(one.memory_info().rss for one in (main, *main.children(recursive=True)))


def measure(name: str, command: list[str], *, quick: bool) -> Measured:
    """Start a server, put it under load, and end it."""
    limits = Limits()
    each, rounds, many = (2, 1, 200) if quick else (EACH, ROUNDS, MANY)
    large = rows(2 if quick else limits.rows // limits.steps, limits.steps)
    found = Measured(name, [], [], [], 0, 0)
    with running(command) as (process, port):
        small_ones(port, -(-WARM // CLIENTS) if not quick else 1)
        for _ in range(rounds):
            found.alone.append(small_ones(port, each))
            with a_large_one(port, large, found.large):
                found.beside.append(small_ones(port, each))
        before = memory(process)
        small_ones(port, many // CLIENTS)
        return found._replace(before=before, after=memory(process))


@contextmanager
def running(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server on a free port, until it answers; end it and its workers afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(1200):
            if ask(port, rows(1, 10)) == 200:
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{command[0]} does not answer")
        yield process, port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def model(folder: Path) -> str:
    """Save a model with random weights, log it, and give the address that MLflow serves it by."""
    torch.manual_seed(0)
    shape = Architecture(
        *("tagging", "LSTM", FEATURES, 0, 32, 1, 0.0), bidirectional=True, classes=CLASSES
    )
    names = [f"x{n}" for n in range(FEATURES)]
    encoding = Encoding(
        *("tagging", [f"c{n}" for n in range(CLASSES)], names, [0.0] * FEATURES, [1.0] * FEATURES)
    )
    saved_model.save(networks.SequenceModel(shape), encoding, {}, folder / "model")
    os.environ |= {"DVC_ROOT": str(folder), "MLFLOW_TRACKING_URI": ""}
    client = store.connect()
    run = client.create_run(store.experiment(client, "load")).info.run_id
    servable.log(run, folder / "model")
    os.environ["MLFLOW_TRACKING_URI"] = store.store_uri()
    return f"runs:/{run}/model"


def table(found: list[Measured]) -> Table:
    """The figures, side by side."""
    columns = ["server", "p99 beside a large one, times alone", "p99 alone", "answered"]
    columns += ["a large one", "memory after 10,000 more requests"]
    made = Table(*columns)
    for one in found:
        pairs = zip(one.alone, one.beside, strict=True)
        ratios = [beside.quantile(0.99) / alone.quantile(0.99) for alone, beside in pairs]
        statuses = sum((each.statuses for each in (*one.alone, *one.beside)), Counter[int]())
        alone = statistics.median(each.quantile(0.99) for each in one.alone)
        large = f"{statistics.median(one.large):.1f} s" if one.large else "none answered"
        made.add_row(
            one.name,
            f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
            f"{1000 * alone:.0f} ms",
            f"{statuses[200]} of {statuses.total()}",
            large,
            f"{one.after / one.before:.2f} times {one.before / 1e6:.0f} MB",
        )
    return made


def main() -> None:
    """Measure both servers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repetition")
    quick = parser.parse_args().quick
    entry = "from birnn.cli import main; main()"
    with tempfile.TemporaryDirectory(prefix="birnn-load-") as place:
        address = model(Path(place))
        ours = [sys.executable, "-c", entry, "serve", f"{place}/model"]
        theirs = [sys.executable, "-m", "mlflow", "models", "serve", "-m", address]
        theirs += ["--env-manager", "local"]
        servers: dict[str, list[str]] = {"birnn serve": ours, "mlflow models serve": theirs}
        for name, command in servers.items():  # each at once: the second one takes minutes
            Console(width=120).print(table([measure(name, command, quick=quick)]))


if __name__ == "__main__":
    main()
