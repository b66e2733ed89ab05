"""A user's mistake is one line and status 1; everything else keeps its traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from birnn.errors import (
    INTERRUPTS,
    BirnnError,
    DataError,
    DeviceError,
    ParamsError,
    Terminated,
    TrainingError,
    address,
    reported,
    without_secrets,
)

PROGRAM = "from birnn.errors import reported\nwith reported():\n    "
NO_ROOM = "error: standard output, or a temporary file: No space left on device\n"
LONG = "for number in range(100_000): print(number)"


@pytest.mark.parametrize("error", [ParamsError, DataError, DeviceError, TrainingError])
def test_a_mistake_ends_in_one_line(
    error: type[BirnnError], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, reported():
        raise error("x.csv, row 3: expected a number, found 'a'")
    assert stopped.value.code == 1
    assert capsys.readouterr() == ("", "error: x.csv, row 3: expected a number, found 'a'\n")


def test_a_name_of_any_length_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), reported():
        raise DataError("x" * 100_000)
    assert capsys.readouterr().err == f"error: {'x' * 4000}...\n"


def test_a_path_that_the_system_refuses_is_one_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped, reported():
        (tmp_path / "file" / "below").mkdir()
    assert stopped.value.code == 1
    assert capsys.readouterr() == ("", f"error: {tmp_path}/file/below: Not a directory\n")
    with pytest.raises(ConnectionError), reported():
        raise ConnectionError("of a library, without a path")


def test_an_interrupt_has_its_usual_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, reported():
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert capsys.readouterr() == ("", "")


def run(code: str, *redirected: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a program as a shell would, with its output sent somewhere."""
    quoted = [
        "sh",
        "-c",
        f'"$@" {" ".join(redirected)}',
        "sh",
        sys.executable,
        "-c",
        PROGRAM + code,
    ]
    return subprocess.run(
        quoted, capture_output=True, text=True, check=False, env=os.environ | settings, timeout=60
    )


SECRETS = {  # addresses of a server, and what must not be seen of each
    "http://bob:S3cr3t@127.0.0.1:9": ["S3cr3t", "bob"],
    "http://bob:S3cr/3tpw@127.0.0.1:9": ["S3cr", "3tpw"],
    "http://bob:S3cr@3tpw@127.0.0.1:9": ["S3cr", "3tpw"],
    "http://bob:S3cr?3tpw@127.0.0.1:9": ["S3cr", "3tpw"],
    "http://bob:S3cr#3tpw@127.0.0.1:9": ["S3cr", "3tpw"],
    "http://bob:S3cr:3tpw@127.0.0.1:9": ["S3cr", "3tpw"],
    "http://bob:S3cr%2F3tpw@127.0.0.1:9/mlflow": ["S3cr", "3tpw"],
    "http://S3cr3tToken@127.0.0.1:9": ["S3cr3tToken"],
    "http://127.0.0.1:9?password=S3cr3t": ["S3cr3t"],
    "http://127.0.0.1:9/?user=bob&token=S3cr@3tpw": ["S3cr", "3tpw"],
    "http://127.0.0.1:9/key/S3cr3t": ["S3cr3t"],
    "http://127.0.0.1:9/#S3cr3t": ["S3cr3t"],
    "postgresql://bob:S3cr%403tpw@127.0.0.1:9/db?password=S3cr3t": ["S3cr", "3tpw"],
    "http://bob:S3cr\\3tpw@127.0.0.1:9": ["S3cr", "3tpw"],
    "bob:S3cr/3tpw@127.0.0.1:9": ["S3cr", "3tpw"],
    "http:/bob:S3cr3t@127.0.0.1:9": ["S3cr3t"],
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3DS3cr3t": ["S3cr3t"],
}


class TestSecrets:
    @pytest.mark.parametrize(
        ("uri", "shown"),
        [
            ("http://bob:pw@host.example.org:5000/mlflow", "http://host.example.org:5000"),
            ("http://bob:S3cr/3t@host", "http://host"),
            ("http://bob:p@ss@host:1", "http://host:1"),
            ("http://host?password=x", "http://host"),
            ("https://[::1]:5000/x", "https://[::1]:5000"),
            ("http://host:5000/a@b", "http://..."),  # or a password of a number and a slash
            ("http://host?password=x@y", "http://..."),
            ("http://bob:1/2@host/a@b", "http://..."),
            ("mssql+pyodbc:///?odbc_connect=x", "mssql+pyodbc://..."),
            ("databricks", "databricks"),
            ("bob:p/w@host:1", "...@host:1"),
            ("http:/bob:pw@host", "...@host"),
            ("/there/a@b", "/there/a@b"),
        ],
    )
    def test_of_an_address_are_not_shown(self, uri: str, shown: str) -> None:
        assert address(uri) == shown

    @pytest.mark.parametrize("uri", SECRETS)
    def test_are_taken_out_of_messages_whole_and_in_parts(
        self, monkeypatch: pytest.MonkeyPatch, uri: str
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        rest = uri.partition("://")[2]
        said = f"{uri!r} failed: {rest}; {unquote(uri)}; {quote(rest)}; {quote(rest, safe='')}"
        for text in (said, *SECRETS[uri][:1], "MLflow at 127.0.0.1:9 is out of reach"):
            shown = without_secrets(text)
            assert not [secret for secret in SECRETS[uri] if secret in shown]
        assert without_secrets("MLflow at 127.0.0.1:9 is gone") == "MLflow at 127.0.0.1:9 is gone"

    @pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "OPTUNA_STORAGE"])
    def test_of_other_addresses_are_taken_out_as_well(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, "http://bob:S3cr/3tpw@127.0.0.1:9")
        said = "http://bob:S3cr/3tpw@127.0.0.1:9: 'bob:S3cr' is no valid host"
        assert without_secrets(said) == "http://127.0.0.1:9: 'bob:...' is no valid host"

    def test_of_an_address_that_was_given_are_taken_out(self) -> None:
        said = "invalid literal for int(): 'S3cr'"
        shown = without_secrets(said, "postgresql://bob:S3cr/3tpw@127.0.0.1:9/db")
        assert shown == "invalid literal for int(): '...'"

    def test_of_the_environment_are_taken_out_as_well(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken/+=")
        assert without_secrets("Bearer t0ken/+=, t0ken%2F%2B%3D") == "Bearer ..., ..."

    def test_of_any_address_in_a_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        said = "postgresql://me:p@ss@host/runs is gone"
        assert without_secrets(said) == "postgresql://host/runs is gone"
        assert without_secrets("sqlite:////there/a@b.db") == "sqlite:////there/a@b.db"

    def test_are_in_no_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:S3cr/3t@host")
        with pytest.raises(SystemExit), reported():
            raise DataError("http://bob:S3cr/3t@host: S3cr/3t is wrong")
        assert capsys.readouterr().err == "error: http://host: ... is wrong\n"


class TestOutput:
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    @pytest.mark.parametrize("code", [LONG, "print(1)"])
    def test_on_a_full_disk_is_one_line(self, code: str, unbuffered: str) -> None:
        ended = run(code, "> /dev/full", PYTHONUNBUFFERED=unbuffered)
        assert ended.stderr == NO_ROOM
        assert ended.returncode == 1

    def test_of_a_mistake_on_a_full_disk_is_one_line(self) -> None:
        ended = run("print(1); raise SystemExit(3)", "> /dev/full")
        assert ended.stderr == NO_ROOM

    def test_into_a_closed_pipe_ends_quietly(self) -> None:
        ended = run(LONG, "| head -1")
        assert (ended.stdout, ended.stderr) == ("0\n", "")

    def test_that_is_closed_is_one_line(self) -> None:
        ended = run("print(1)", ">&-")
        assert ended.returncode == 1
        assert ended.stderr.startswith("error: standard output: expected it to be open, found it ")
        assert ended.stderr.count("\n") == 1

    def test_of_errors_may_be_closed(self) -> None:
        ended = run("import sys; print(1); print(2, file=sys.stderr)", "2>&-")
        assert (ended.returncode, ended.stdout) == (0, "1\n")

    @pytest.mark.parametrize("encoding", ["ascii", "ascii:strict"])
    def test_shows_what_it_cannot_encode_by_its_number(self, encoding: str) -> None:
        ended = run("print('caf\u00e9 \u2192 \u8a9e')", PYTHONIOENCODING=encoding)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.endswith("\\u2192 \\u8a9e\n")

    def test_shows_names_of_files_that_are_no_text(self) -> None:
        ended = run("print('a\\udcff')", PYTHONIOENCODING="utf-8")
        assert (ended.returncode, ended.stdout) == (0, "a\\udcff\n")

    def test_of_a_file_that_has_no_room_names_it(self, tmp_path: Path) -> None:
        code = (
            "import resource\n    from birnn.files import atomic\n    "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n    "
            f"atomic.write_text({str(tmp_path / 'out.txt')!r}, 'x' * 10_000)"
        )
        ended = run(code)
        assert ended.stderr == f"error: {tmp_path / 'out.txt'}: File too large\n"
        assert ended.returncode == 1
        assert not [*tmp_path.iterdir()]


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "status"),
        [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
    )
    def test_end_the_work_and_leave_no_partial_file(
        self, tmp_path: Path, number: signal.Signals, status: int
    ) -> None:
        code = (
            f"import time; from birnn.files import atomic\n    "
            f"with atomic.replacing({str(tmp_path / 'out')!r}) as partial:\n"
            "        partial.touch(); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", PROGRAM + code], stderr=-1) as process:
            end = time.monotonic() + 30
            while not [*tmp_path.iterdir()]:
                assert time.monotonic() < end
                time.sleep(0.01)
            process.send_signal(number)
            _, said = process.communicate()
        assert (process.returncode, said) == (status, b"")
        assert not [*tmp_path.iterdir()]

    @pytest.mark.skipif(os.name != "posix", reason="has no status for signals")
    @pytest.mark.parametrize(("fault", "lines"), [("KeyboardInterrupt", 0), ("ValueError", 1)])
    def test_while_a_stage_imports_show_no_trace(self, fault: str, lines: int) -> None:
        code = f"import stages; raise {fault}"
        ended = subprocess.run([sys.executable, "-c", code], stderr=-1, text=True)
        assert ended.returncode == (1 if lines else -signal.SIGINT)
        assert ended.stderr.count("Traceback") == lines

    def test_are_told_from_failures(self) -> None:
        with pytest.raises(INTERRUPTS) as ended, reported():
            signal.raise_signal(signal.SIGTERM)
        assert isinstance(ended.value, Terminated)
        assert ended.value.code == 143
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def test_that_somebody_ignores_stay_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with reported():
                signal.raise_signal(signal.SIGHUP)  # as below `nohup`
        finally:
            signal.signal(signal.SIGHUP, before)


def test_a_bug_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError), reported():
        _ = 1 / 0


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with reported():
        pass
    assert capsys.readouterr() == ("", "")
