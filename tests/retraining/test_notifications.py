"""What is sent, where to, and that nothing goes wrong when it cannot be."""

import builtins
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from birnn.retraining import notifications

# Of a library that one of the plugins of Apprise loads.
pytestmark = pytest.mark.filterwarnings("ignore:.imghdr. is deprecated:DeprecationWarning")


class Sink(HTTPServer):
    """A server on localhost that keeps what it gets; below `/refuse` it takes nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[dict[str, Any]] = []
        self.place = f"json://user:secret@127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refused = self.path.startswith("/refuse")
        if not refused:
            self.server.received.append(json.loads(body))
        self.send_response(401 if refused else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving() -> Iterator[Sink]:
    with Sink() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving() as server:
        yield server


@pytest.mark.parametrize("kind", ["info", "success", "warning", "failure"])
def test_goes_to_all_places_as_what_it_is(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, kind: notifications.Kind
) -> None:
    monkeypatch.setenv("BIRNN_NOTIFY", f"{sink.place}/a  {sink.place}/b\n")
    assert notifications.send("fraud: decided", "Version 2.", kind)
    said = [(one["title"], one["message"], one["type"]) for one in sink.received]
    assert said == [("fraud: decided", "Version 2.", kind)] * 2


def test_without_places_sends_nothing(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIRNN_NOTIFY", raising=False)
    assert notifications.send("a", "b")
    assert not sink.received


def test_says_which_place_refused_and_why_without_secrets(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIRNN_NOTIFY", f"{sink.place}/a {sink.place}/refuse/token {sink.place}/b")
    assert not notifications.send("a", "b")
    assert len(sink.received) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("BIRNN_NOTIFY, place 2: a notification failed: ")
    assert "401" in said.err
    assert said.err.count("\n") == 1
    assert not {"secret", "token"} & {*said.err.replace("/", " ").split()}


def test_a_server_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIRNN_NOTIFY", "json://user:secret@127.0.0.1:9/token")
    assert not notifications.send("a", "b")
    said = capsys.readouterr().err
    assert "Connection error" in said
    assert "secret" not in said


def test_a_plugin_that_raises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise OSError("no route to secret, or p4rt/s3cr3t;t41l")

    monkeypatch.setattr("apprise.Apprise.notify", fail)
    monkeypatch.setenv("BIRNN_NOTIFY", "json://user:secret@here/p4rt%2Fs3cr3t%3Bt41l")
    assert not notifications.send("a", "b")
    said = capsys.readouterr().err
    assert said.endswith("failed: OSError: no route to ..., or .../...\n")


def test_a_place_that_is_none_is_said(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIRNN_NOTIFY", f"nonsense {sink.place}")
    assert not notifications.send("a", "b")
    assert len(sink.received) == 1
    assert "place 1: a notification failed: expected an address" in capsys.readouterr().err


def test_needs_apprise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "apprise":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setenv("BIRNN_NOTIFY", "json://here")
    monkeypatch.setattr(builtins, "__import__", without)
    assert not notifications.send("a", "b")
    assert "pip install 'birnn[retrain]'" in capsys.readouterr().err
