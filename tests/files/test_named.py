"""Outputs replace no input, links are written through, and nobody waits for a pipe."""

import os
from pathlib import Path

import pytest

from birnn.errors import DataError
from birnn.files import named


class TestInput:
    def test_may_be_a_file_a_folder_or_missing(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").touch()
        (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
        for path in (tmp_path, tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "none.csv"):
            named.check_input(path)

    def test_is_no_pipe_and_no_device(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.csv")
        (tmp_path / "zero.csv").symlink_to("/dev/zero")
        for path in (tmp_path / "a.csv", tmp_path / "zero.csv", tmp_path):
            with pytest.raises(DataError, match="expected a file, found a pipe or a device"):
                named.check_input(path)


class TestOutput:
    def test_is_whole_or_as_it_was(self, tmp_path: Path) -> None:
        named.write_text(tmp_path / "new/out.csv", "a")
        with pytest.raises(UnicodeEncodeError):
            named.write_text(tmp_path / "new/out.csv", "half \udcff")
        assert [path.read_text() for path in (tmp_path / "new").iterdir()] == ["a"]

    def test_goes_through_links(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "there/out.csv").write_text("old")
        (tmp_path / "link.csv").symlink_to("there/out.csv")
        (tmp_path / "other.csv").symlink_to("link.csv")
        (tmp_path / "dangling.csv").symlink_to("there/new.csv")
        named.write_text(tmp_path / "other.csv", "new")
        named.write_text(tmp_path / "dangling.csv", "newest")
        assert (tmp_path / "link.csv").is_symlink()
        assert (tmp_path / "other.csv").is_symlink()
        assert (tmp_path / "there/out.csv").read_text() == "new"
        assert (tmp_path / "there/new.csv").read_text() == "newest"

    @pytest.mark.parametrize("path", ["s3://runs/out.csv", "gs://b/o.csv", "file:///tmp/o.csv"])
    def test_is_no_address(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of which `Path` would make a folder here that is called `s3:`."""
        monkeypatch.chdir(tmp_path)
        for given in (path, Path(path)):
            with pytest.raises(DataError, match="expected a path on this machine, found an addr"):
                named.write_text(given, "a")
        assert [*tmp_path.iterdir()] == []
        for name in ("s3/out.csv", "a: b.csv", "c:/out.csv"):
            named.write_text(name, "a")

    def test_keeps_its_permissions(self, tmp_path: Path) -> None:
        (tmp_path / "out.csv").touch(mode=0o600)
        named.write_text(tmp_path / "out.csv", "private")
        assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("name", ["in.csv", "./x/../in.csv", "link.csv", "hard.csv"])
    def test_is_no_input(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "x").mkdir()
        (tmp_path / "in.csv").write_text("input")
        (tmp_path / "link.csv").symlink_to("in.csv")
        (tmp_path / "hard.csv").hardlink_to(tmp_path / "in.csv")
        with (
            pytest.raises(DataError, match="expected another place than the input, "),
            named.output(tmp_path / name, [tmp_path / "in.csv"]),
        ):
            raise AssertionError("too late")
        assert (tmp_path / "in.csv").read_text() == "input"

    def test_is_in_no_folder_that_is_read(self, tmp_path: Path) -> None:
        """Its own predictions would be rows the next time."""
        for output in (tmp_path / "out.csv", tmp_path / "deeper/out.csv"):
            with pytest.raises(DataError, match="or become a part of"):
                named.check_output(output, [tmp_path])
        named.check_output(tmp_path.parent / "out.csv", [tmp_path])

    def test_is_no_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "out.csv")
        with pytest.raises(DataError, match="found a pipe or a device"):
            named.check_output(tmp_path / "out.csv")
