"""Progress is for people at a terminal; a log stays quiet."""

import io
import json
import sys
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console
from rich.table import Table

from birnn.errors import one_line, visible
from birnn.files import console, tables

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eabc\u2066\u061c\r\b\x7f[bold]"


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


def harmless(text: str) -> bool:
    """Whether a text can neither control a terminal nor change the order of its letters."""
    kinds = {unicodedata.category(letter) for letter in text if letter not in "\n\t"}
    return not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}


class TestHostileNames:
    def test_are_shown_as_python_writes_them(self) -> None:
        shown = r"\x1b]0;owned\x07\x1b[2J\x9b31m\u202eabc\u2066\u061c\r\x08\x7f[bold]"
        assert visible(HOSTILE) == shown
        assert visible("caf\u00e9 \u05d0\u05d1 \u8a9e\tx\n") == "caf\u00e9 \u05d0\u05d1 \u8a9e\tx\n"
        assert one_line("a\nb\u2028c") == r"a\nb\u2028c"

    def test_in_sentences(self, capsys: pytest.CaptureFixture[str]) -> None:
        console.say(HOSTILE, "second")
        console.say(HOSTILE, error=True)
        out, err = capsys.readouterr()
        assert (harmless(out), harmless(err)) == (True, True)
        assert (out.count("\n"), err.count("\n")) == (2, 1)

    def test_in_tables(self) -> None:
        table = Table(console.cell(HOSTILE))
        table.add_row(console.cell(HOSTILE))
        shown = Console(file=io.StringIO(), width=200)
        shown.print(table)
        assert isinstance(shown.file, io.StringIO)
        assert harmless(shown.file.getvalue())
        assert "[bold]" in shown.file.getvalue()

    def test_in_json(self) -> None:
        text = console.json_text({HOSTILE: 1})
        assert harmless(text)
        assert json.loads(text) == {HOSTILE: 1}

    def test_in_csv_on_a_terminal_alone(
        self, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        table = pa.table({"sequence": [HOSTILE, "a"]})
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        tables.export([table, table], Path("-"))
        shown = capfdbinary.readouterr().out.decode()
        assert harmless(shown)
        assert shown.count("\n") == 5
        monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
        tables.export([table], Path("-"))
        sys.stdout.flush()
        assert HOSTILE.encode() in capfdbinary.readouterr().out
