"""What is sent, where to, and that nothing goes wrong when it cannot be."""

import builtins
from typing import Any

import apprise
import pytest

from birnn.retraining import notifications


class Sent(apprise.Apprise):
    """Notes what would be sent."""

    places: list[str]
    messages: list[tuple[str, str]]

    def add(self, place: str) -> bool:  # type: ignore[override]
        Sent.places.append(place)
        return "://" in place

    def notify(self, *, title: str, body: str) -> bool:  # type: ignore[override]
        Sent.messages.append((title, body))
        if "raises" in body:
            raise OSError("no route to secret")
        return "refused" not in body


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> type[Sent]:
    Sent.places, Sent.messages = [], []
    monkeypatch.setattr(apprise, "Apprise", Sent)
    return Sent


def test_goes_to_all_places(sent: type[Sent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIRNN_NOTIFY", "json://here  slack://secret\n")
    assert notifications.send("fraud: promoted", "Version 2 serves now.")
    assert sent.places == ["json://here", "slack://secret"]
    assert sent.messages == [("fraud: promoted", "Version 2 serves now.")]


def test_without_places_sends_nothing(sent: type[Sent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIRNN_NOTIFY", raising=False)
    assert notifications.send("a", "b")
    assert not sent.messages


@pytest.mark.parametrize("body", ["it raises", "it is refused"])
def test_a_failure_is_said_without_secrets(
    body: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIRNN_NOTIFY", "slack://secret")
    assert not notifications.send("a", body)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("BIRNN_NOTIFY: a notification ")
    assert "secret" not in said.err


def test_a_place_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIRNN_NOTIFY", "nonsense json://here")
    assert not notifications.send("a", "b")


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
