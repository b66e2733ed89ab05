"""Two checkouts on one MLflow server: what one decides, the other knows and does not undo."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import checkout
import pytest

from birnn import params
from birnn.errors import RegistryError
from birnn.retraining import decisions, recovery, service, status, steps
from birnn.tracking import registry, runs

pytestmark = pytest.mark.long


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """An MLflow server on localhost, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    kept = ["--backend-store-uri", "sqlite:///runs.db", "--artifacts-destination", "artifacts"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *kept], cwd=folder, env=own, stdout=log, stderr=log)
    uri = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 180
        while not answers(uri):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.5)
        yield uri
    finally:
        process.terminate()
        process.wait()


def answers(uri: str) -> bool:
    try:
        with urlopen(f"{uri}/health", timeout=5):
            return True
    except (URLError, OSError):
        return False


class Checkout:
    """A checkout that uses the server."""

    def __init__(self, place: Path, uri: str) -> None:
        self.place, self.uri = place, uri

    @contextmanager
    def entered(self) -> Iterator[params.Params]:
        with pytest.MonkeyPatch.context() as patch:
            checkout.enter(self.place, patch)
            patch.setenv("MLFLOW_TRACKING_URI", self.uri)
            yield params.load()

    def retrain(self, sequences: int) -> str:
        checkout.write_table(self.place, checkout.table(range(sequences)))
        with self.entered() as chosen:
            return steps.retrain(chosen, reproduce=checkout.reproduce).decision

    def approve(self, number: int) -> None:
        with self.entered() as chosen:
            service.approve(chosen, number, comment=f"From {self.place.name}.")

    def rollback(self) -> None:
        with self.entered() as chosen:
            service.rollback(chosen)

    def status(self) -> list[str]:
        with self.entered() as chosen:
            return status.status(chosen).lines

    def decided(self) -> list[tuple[str, int]]:
        """The record, after what `birnn backfill` does for it."""
        with self.entered() as chosen:
            recovery.gather(registry.connect(chosen.problem))
            found = decisions.read("decisions.jsonl")
        return [(record["decision"], record["version"]) for record in found]

    def has_the_model_of(self, number: int) -> bool:
        with self.entered() as chosen:
            version = registry.connect(chosen.problem).version(number)
            here = runs.model_sha256(self.place / "models" / checkout.MODEL)
        return here == version.tags["model_sha256"]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Checkout, Checkout]]:
    first = checkout.make(tmp_path / "first", checkout.table(range(300)))
    second = shutil.copytree(first, tmp_path / "second")
    with server(tmp_path / "server") as uri:
        yield Checkout(first, uri), Checkout(second, uri)


def test_decide_in_turn(both: tuple[Checkout, Checkout]) -> None:
    first, second = both
    assert first.retrain(300) == "promoted"
    assert second.status()[0].startswith("serves: version 1 of small; models/bidirectional is not")

    checkout.write_params(second.place, approval="manual")
    assert second.retrain(360) == "waiting"
    assert "waits: version 2, for `birnn retrain --approve 2`" in first.status()
    first.approve(2)
    assert first.has_the_model_of(2)
    assert "From first." in second.status()[2]

    second.rollback()
    assert second.has_the_model_of(1)
    assert first.status()[0].startswith("serves: version 1")
    with pytest.raises(RegistryError, match="expected a previous version"):
        first.rollback()

    assert first.retrain(361) == "waiting"  # a near-twin of what was rolled back
    second.approve(3)
    assert second.has_the_model_of(3)
    whole = [
        *[("promoted", 1), ("waiting", 2), ("promoted", 2), ("rolled back", 2)],
        *[("waiting", 3), ("promoted", 3)],
    ]
    assert first.decided() == second.decided() == whole
    assert "`birnn rollback` goes to version 1" in first.status()[1]
