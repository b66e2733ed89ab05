"""Progress is for people at a terminal; a log stays quiet."""

import io
import sys

import pytest

from birnn.files import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_stays_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    assert list(console.track(range(3), "epoch 1")) == [0, 1, 2]
    assert log.getvalue() == ""


def test_a_terminal_shows_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(console.track(iter("abc"), "epoch 1")) == ["a", "b", "c"]
    assert "epoch 1" in terminal.getvalue()
    assert capsys.readouterr().out == ""
