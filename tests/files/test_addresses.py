"""Files in a bucket: questions to an address, copies that keep its name, and what is refused."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import services

from birnn.errors import BirnnError, DataError
from birnn.files import addresses, named, reading, room


@pytest.fixture(autouse=True)
def _files(bucket: Any) -> None:
    for key in ("f/b c#1.csv", "f/a.csv", "f/_hidden.csv", "f/README.md", "f/sub/d.csv"):
        bucket.put_object(Key=key, Body=key.encode())


@pytest.mark.parametrize(
    ("address", "is_file", "is_dir"),
    [
        ("s3://runs", False, True),
        ("s3://runs/f", False, True),
        ("s3://runs/f/", False, True),
        ("s3://runs/f/a.csv", True, False),
        ("s3://runs/f/b c#1.csv", True, False),
        ("s3://runs/nothing", False, False),
        ("s3://nobodys/f", False, False),
    ],
)
def test_answers_as_a_path_does(address: str, is_file: bool, is_dir: bool) -> None:
    place = addresses.place(address)
    assert str(place) == address.rstrip("/")
    assert (place.is_file(), place.is_dir(), place.exists()) == (is_file, is_dir, is_file or is_dir)
    assert addresses.place(Path(address)) == place  # of a command line, one slash is left
    named.check_input(place)


def test_a_path_is_left_alone(tmp_path: Path) -> None:
    assert addresses.place(str(tmp_path)) == tmp_path
    with addresses.opened(tmp_path) as path:
        assert path is tmp_path


def test_a_folder_has_the_files_that_are_data() -> None:
    found = reading.parts(addresses.place("s3://runs/f"))
    assert [*map(str, found)] == [f"s3://runs/f/{name}" for name in ("a.csv", "b c#1.csv", "sub")]
    assert [one.is_dir() for one in found] == [False, False, True]


def test_a_copy_has_the_address_for_a_name_and_is_removed() -> None:
    place = addresses.place("s3://runs/f/b c#1.csv")
    with addresses.opened(place) as path:
        assert path.read_bytes() == b"f/b c#1.csv"
        assert f"{path}, line 1" == "s3://runs/f/b c#1.csv, line 1"
        assert (path.name, path.stat().st_size, path.is_file()) == ("b c#1.csv", 11, True)
        assert addresses.place(path) is path
        copy = Path(os.fspath(path))
    assert not copy.parent.exists()


def test_a_version_is_that_of_the_bytes(bucket: Any) -> None:
    first = addresses.Address("s3://runs/v")
    bucket.put_object(Key="v", Body=b"1")
    before = first.version()
    bucket.put_object(Key="v", Body=b"1")
    assert first.version() == before
    bucket.put_object(Key="v", Body=b"2")
    assert first.version() != before


def test_what_changes_while_it_is_read_is_refused(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy: Callable[..., None] = addresses.copy

    def slowly(source: Any, path: Path) -> None:
        copy(source, path)
        bucket.put_object(Key="w", Body=b"2")

    bucket.put_object(Key="w", Body=b"1")
    monkeypatch.setattr(addresses, "copy", slowly)
    with (
        pytest.raises(DataError, match=r"^s3://runs/w: expected a file that stays as it is, found"),
        addresses.opened(addresses.place("s3://runs/w")),
    ):
        pass


def refused(address: str, *, folders: bool = True) -> str:
    with (
        pytest.raises(BirnnError) as error,
        addresses.opened(addresses.place(address), folders=folders),
    ):
        pass
    assert "\n" not in str(error.value)
    assert services.KEYS["AWS_SECRET_ACCESS_KEY"] not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("address", ["s3://runs/nothing", "s3://nobodys/a.csv"])
def test_what_is_not_there(address: str) -> None:
    assert refused(address) == f"{address}: no such file; put it there, or correct the path"


def test_a_folder_where_a_file_is_read() -> None:
    with addresses.opened(addresses.place("s3://runs/f")) as path:
        assert path.is_dir()
    assert refused("s3://runs/f", folders=False) == "s3://runs/f: expected a file, found a folder"
    with addresses.opened(addresses.place("s3://runs/f/a.csv"), folders=False) as path:
        assert path.read_bytes() == b"f/a.csv"


@pytest.mark.slow
def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{services.free_port()}")
    found = refused("s3://runs/f/a.csv")
    assert found.startswith("s3://runs/f/a.csv: expected a bucket that answers, found: ")


def test_a_pyarrow_without_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    from pyarrow import fs

    class Without:
        @staticmethod
        def from_uri(_: str) -> None:
            raise pa.ArrowNotImplementedError("Got S3 URI but Arrow compiled without S3 support")

    monkeypatch.setattr(fs, "FileSystem", Without)
    assert refused("s3://runs/f/a.csv").endswith(
        "found: Got S3 URI but Arrow compiled without S3 support"
    )


def test_a_disk_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LEAST", 0)
    usage = shutil.disk_usage(tempfile.gettempdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3))
    found = refused("s3://runs/f/a.csv")
    assert found.startswith("s3://runs/f/a.csv: expected what has room, found that it needs")
    assert found.endswith("let TMPDIR name a larger disk")
