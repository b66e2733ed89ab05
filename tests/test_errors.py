"""A user's mistake is one line and status 1; everything else keeps its traceback."""

from pathlib import Path

import pytest

from birnn.errors import (
    BirnnError,
    DataError,
    DeviceError,
    ParamsError,
    TrainingError,
    reported,
)


@pytest.mark.parametrize("error", [ParamsError, DataError, DeviceError, TrainingError])
def test_a_mistake_ends_in_one_line(
    error: type[BirnnError], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, reported():
        raise error("x.csv, row 3: expected a number, found 'a'")
    assert stopped.value.code == 1
    assert capsys.readouterr() == ("", "error: x.csv, row 3: expected a number, found 'a'\n")


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


def test_a_bug_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError), reported():
        _ = 1 / 0


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with reported():
        pass
    assert capsys.readouterr() == ("", "")
