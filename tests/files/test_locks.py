"""Locks that the system lets go of; a file system without them is refused, not waited for."""

import errno
import fcntl
import os
from pathlib import Path

import pytest
from filelock import Timeout

from birnn.errors import BirnnError, RegistryError
from birnn.files import locks
from birnn.tracking import store


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_one_at_a_time(tmp_path: Path) -> None:
    with (
        locks.held(tmp_path / "a.lock"),
        pytest.raises(Timeout),
        locks.held(tmp_path / "a.lock", timeout=0),
    ):
        raise AssertionError("two hold it")
    with locks.held(tmp_path / "a.lock", timeout=0):
        pass


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks_is_refused(tmp_path: Path) -> None:
    """No file stands for a lock: it would stay when its process dies."""
    for _ in range(2):
        with pytest.raises(BirnnError) as raised, locks.held(tmp_path / "a.lock", timeout=0):
            raise AssertionError("it was taken")
        assert f"{tmp_path}/a.lock: expected a file system with locks" in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("no_locks")
def test_a_store_without_locks_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(RegistryError, match="expected a file system with locks"), store.lock("a"):
        raise AssertionError("it was taken")


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_nobody_else_can_open_it(tmp_path: Path, before: int | None) -> None:
    """Who may read a file can hold its lock."""
    place = tmp_path / "a.lock"
    if before is not None:
        place.touch()
        place.chmod(before)
    with locks.held(place):
        assert place.stat().st_mode & 0o777 == 0o600
