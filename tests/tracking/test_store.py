"""Whether MLflow can be reached is found out once, and soon; also where its client is alone."""

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from requests.exceptions import ConnectionError as Unreachable

from birnn.errors import RegistryError
from birnn.tracking import store


def test_a_server_out_of_reach_is_one_line_without_sqlalchemy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy.exc", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org:5000")
    said = "expected an answer from MLflow, found: no route"
    with pytest.raises(RegistryError, match=said), store.reached():
        raise Unreachable("no route")


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a short silence for a long one."""
    monkeypatch.setattr(store, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr(store, "SLOW_SECONDS", 0.25)


def port(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def note(root: Path) -> Path:
    return root / ".birnn/unreached.json"


@pytest.mark.usefixtures("soon")
class TestSilence:
    def test_is_waited_for_once_in_a_pipeline(
        self,
        runs_root: Path,
        silent: socket.socket,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port(silent)}")
        begun = time.monotonic()
        for _ in range(5):
            with store.mirrored():
                store.connect()
        assert time.monotonic() - begun < 20  # MLflow alone takes 40 seconds each time
        silent.settimeout(5)
        silent.accept()[0].close()
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.accept()  # nobody has called again
        warned = capsys.readouterr().err.splitlines()
        assert len(warned) == 5
        assert "expected an answer from MLflow, found: HTTPConnectionPool" in warned[0]
        assert "expected an answer from MLflow, found none 0 seconds ago" in warned[4]

    def test_is_not_believed_of_another_store_or_for_long(
        self, runs_root: Path, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        uri = f"http://127.0.0.1:{port(silent)}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with store.mirrored():
            store.connect()
        with pytest.raises(RegistryError, match="found none"):
            store._check_note()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        store._check_note()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setattr(store, "NOTE_SECONDS", 0.0)
        store._check_note()
        note(runs_root).write_text("{", encoding="utf-8")  # torn
        monkeypatch.undo()
        store._check_note()

    def test_who_must_have_an_answer_asks_again(
        self, runs_root: Path, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port(silent)}")
        for _ in range(2):
            with pytest.raises(RegistryError, match="Read timed out"), store.reached():
                store.connect()
        silent.accept()[0].close()
        silent.accept()[0].close()

    def test_an_answer_takes_the_note_away(
        self, runs_root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        note(runs_root).parent.mkdir(exist_ok=True)
        note(runs_root).write_text("{}", encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as server:
            uri = f"postgresql://me@127.0.0.1:{port(server)}/db"
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            store._probe()
        assert not note(runs_root).exists()


def test_a_database_that_nobody_serves_is_given_up_at_once(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow alone tries for 108 seconds."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:9/db")
    begun = time.monotonic()
    with pytest.raises(RegistryError, match="onnection refused") as caught, store.reached():
        store.connect()
    assert time.monotonic() - begun < 20
    assert "secret" not in str(caught.value)
    assert not note(runs_root).exists()  # a refusal that comes at once is asked for again


@pytest.mark.parametrize(
    "uri",
    ["databricks", "databricks-uc://profile", "postgresql:///db?host=/run/pg", "odd://h:port/x"],
)
def test_other_addresses_are_left_to_mlflow(
    uri: str, runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    store._probe()
