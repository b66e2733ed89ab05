"""Files are whole or absent, whatever happens while they are written."""

import errno
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from birnn.errors import DataError
from birnn.files import atomic, digests


def write_half(path: Path, error: type[BaseException]) -> None:
    with atomic.replacing(path) as partial:
        partial.write_text("half")
        raise error


class TestReplacing:
    def test_the_new_file_appears_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "folder" / "of" / "file.txt"
        with atomic.replacing(path) as partial:
            partial.write_text("new")
            assert not path.exists()
        assert path.read_text() == "new"
        assert list(path.parent.iterdir()) == [path]

    def test_readers_see_the_old_file_until_then(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        path.write_text("old")
        with atomic.replacing(path) as partial:
            partial.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("old", ["old", None])
    def test_an_interrupted_write_changes_nothing(
        self, tmp_path: Path, error: type[BaseException], old: str | None
    ) -> None:
        path = tmp_path / "file.txt"
        if old is not None:
            path.write_text(old)
        with pytest.raises(error):
            write_half(path, error)
        assert [file.read_text() for file in tmp_path.iterdir()] == [old] * (old is not None)

    def test_a_block_that_writes_nothing_is_a_bug(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        path.write_text("old")
        with pytest.raises(FileNotFoundError), atomic.replacing(path):
            pass
        assert path.read_text() == "old"

    def test_a_killed_process_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        path.write_text("old")
        program = (
            "import os, sys; from birnn.files import atomic\n"
            "with atomic.replacing(sys.argv[1]) as partial:\n"
            "    partial.write_text('half'); os.kill(os.getpid(), 9)\n"
        )
        assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == -9
        assert path.read_text() == "old"


class TestText:
    def test_bytes_are_the_same_on_every_machine(self, tmp_path: Path) -> None:
        atomic.write_text(tmp_path / "file.txt", "né\r\n\n")
        assert (tmp_path / "file.txt").read_bytes() == b"n\xc3\xa9\r\n\n"


class TestJSON:
    @pytest.mark.parametrize(
        "tree", [{}, [], {"é": [1, -0.1, 1e-300, None, True, "<script>"]}, 0.1 + 0.2]
    )
    def test_round_trip(self, tmp_path: Path, tree: Any) -> None:
        atomic.write_json(tmp_path / "file.json", tree)
        assert atomic.read_json(tmp_path / "file.json") == tree

    def test_people_can_read_it(self, tmp_path: Path) -> None:
        atomic.write_json(tmp_path / "file.json", {"b": "é", "a": 1})
        assert (tmp_path / "file.json").read_text("utf-8") == '{\n  "b": "é",\n  "a": 1\n}\n'

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_what_json_cannot_say_is_refused(self, tmp_path: Path, number: float) -> None:
        atomic.write_json(tmp_path / "file.json", 1)
        with pytest.raises(ValueError, match="not JSON compliant"):
            atomic.write_json(tmp_path / "file.json", {"loss": number})
        assert atomic.read_json(tmp_path / "file.json") == 1

    @pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": "\xff"}'])
    def test_a_broken_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "file.json").write_bytes(content)
        with pytest.raises(DataError, match=r"file\.json: expected JSON, found .*`dvc repro`"):
            atomic.read_json(tmp_path / "file.json")

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"file\.json: no such file; run `dvc repro` first"):
            atomic.read_json(tmp_path / "file.json")


class TestHashes:
    def test_of_text(self) -> None:
        # The one-block example of FIPS 180-2, appendix B.1.
        expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert digests.sha256_of_text("abc") == expected

    def test_of_files(self, tmp_path: Path) -> None:
        paths = {name: tmp_path / name for name in ("ab", "c", "a", "bc")}
        for name, path in paths.items():
            path.write_text(name)
        parts = hashlib.sha256(b"ab").digest() + hashlib.sha256(b"c").digest()
        assert digests.sha256(paths["ab"], paths["c"]) == hashlib.sha256(parts).hexdigest()
        assert digests.sha256(paths["ab"], paths["c"]) != digests.sha256(paths["c"], paths["ab"])
        assert digests.sha256(paths["ab"], paths["c"]) != digests.sha256(paths["a"], paths["bc"])


@pytest.fixture(name="done")
def _done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the disk, in order."""
    done: list[str] = []
    sync, rename = os.fsync, Path.replace

    def fsync(number: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        sync(number)

    def replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return done


class TestPowerCut:
    @pytest.mark.parametrize("write", [atomic.write_text, atomic.write_json])
    def test_loses_neither_the_bytes_nor_the_name(
        self, tmp_path: Path, done: list[str], write: Callable[[Path, str], None]
    ) -> None:
        """The file is synced before the rename, and its folder after."""
        write(tmp_path / "a.json", "x")
        assert done == ["file", "rename", "folder"]

    def test_loses_nothing_in_a_folder(self, tmp_path: Path, done: list[str]) -> None:
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/1").write_text("x")
        (tmp_path / "a/2").write_text("y")
        (tmp_path / "a/link").symlink_to("nowhere")
        atomic.move(tmp_path / "a", tmp_path / "c")
        assert done == ["file", "file", "rename", "folder"]
        assert (tmp_path / "c/b/1").read_text() == "x"


class TestCopy:
    @pytest.mark.parametrize("folder", [False, True])
    def test_that_fails_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
    ) -> None:
        source = tmp_path / "a"
        written = source / "b" if folder else source
        written.parent.mkdir(exist_ok=True)
        written.write_text("x")
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            atomic.copy(source, tmp_path / "there/c")
        assert [*(tmp_path / "there").iterdir()] == []
        monkeypatch.undo()
        atomic.copy(source, tmp_path / "there/c")
        assert (tmp_path / "there" / ("c/b" if folder else "c")).read_text() == "x"


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    with pytest.raises(OSError, match="No space left") as full, atomic.replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "of a library, without a name")
    assert full.value.filename == str(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "before"


def test_what_fails_otherwise_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no route") as failed, atomic.replacing(tmp_path / "a"):
        raise OSError(errno.EHOSTUNREACH, "no route")
    assert failed.value.filename is None
