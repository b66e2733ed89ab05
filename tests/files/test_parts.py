"""Folders of parts: their index, what is refused, and stores that hold their bytes."""

import json
import platform
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import services

from birnn.errors import DataError
from birnn.files import digests, parts, tables
from birnn.files.parts import Place

LENGTHS = [3, 1, 4, 1, 5, 9, 2, 6]


def chunk(lengths: list[int] = LENGTHS) -> tables.Chunk:
    """Sequences with one feature."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    steps = int(offsets[-1])
    ids = np.repeat([f"s{number}" for number in range(len(lengths))], lengths)
    columns = {"sequence": ids, "x": np.arange(steps) * 0.5, "label": ["a"] * steps}
    return pa.table(columns), offsets


def write(path: Path, store: str = "", part_steps: int = 8) -> list[Place]:
    with parts.writing(path, store) as folder:
        folder.finish([*tables.write_parts([chunk()], folder, part_steps)])
    return parts.of(path)


def change(path: Path, **changes: Any) -> None:
    """Let the index say something else of the whole, or of its first part."""
    tree = json.loads((path / digests.INDEX).read_text())
    for key, value in changes.items():
        (tree if key in tree else tree["parts"][0])[key] = value
    (path / digests.INDEX).write_text(json.dumps(tree))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table in three parts, of 8, 15 and 8 steps."""
    write(tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


class TestIndex:
    def test_says_what_is_in_each_part(self, path: Path) -> None:
        found = parts.read(path)
        assert [(part.sequences, part.steps) for part in found.parts] == [(3, 8), (3, 15), (2, 8)]
        assert [(part.shortest, part.longest) for part in found.parts] == [(1, 4), (1, 9), (2, 6)]
        assert (found.sequences, found.steps, found.shortest, found.longest) == (8, 31, 1, 9)
        assert found.columns == ["sequence", "x", "label"]
        for part in found.parts:
            content = (path / part.name).read_bytes()
            assert part.size == len(content)
            assert part.sha256 == digests.of_bytes(path / part.name)

    def test_other_readers_pass_over_it(self, path: Path) -> None:
        assert ds.dataset(path).to_table().equals(chunk()[0])

    def test_stands_for_the_folder_in_hashes(self, path: Path) -> None:
        before = digests.sha256(path)
        assert digests.sha256(path) == digests.sha256(path / digests.INDEX)
        change(path, sha256="0" * 64)
        assert digests.sha256(path) != before

    def test_more_parts_than_five_digits_count(self, tmp_path: Path) -> None:
        numbers = [7, 99_999, 100_000]
        with parts.writing(tmp_path / "t.parquet") as folder:
            folder.finish([tables.write_part([chunk()], folder, number) for number in numbers])
        assert [place.part.number for place in parts.of(tmp_path / "t.parquet")] == numbers


class TestWriting:
    def test_takes_the_place_of_a_file_or_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "t.parquet").write_text("old")
        write(tmp_path / "t.parquet")
        assert len(write(tmp_path / "t.parquet", part_steps=100)) == 1
        assert [one.name for one in tmp_path.iterdir()] == ["t.parquet"]

    def test_leaves_all_as_it_was_if_it_fails(self, path: Path) -> None:
        before = digests.sha256(path)

        def chunks() -> Iterator[tables.Chunk]:
            yield chunk()
            raise RuntimeError

        with pytest.raises(RuntimeError), parts.writing(path) as folder:
            list(tables.write_parts(chunks(), folder, 8))
        assert digests.sha256(path) == before
        assert [one.name for one in path.parent.iterdir()] == ["t.parquet"]

    def test_a_file_takes_the_place_of_parts_but_of_no_other_folder(self, path: Path) -> None:
        assert not parts.cleared(path).exists()
        (path / "mine").mkdir(parents=True)
        assert parts.cleared(path).exists()


class TestRefused:
    def read(self, path: Path) -> str:
        with pytest.raises(DataError) as caught:
            list(tables.chunks(path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_folder_without_an_index(self, path: Path) -> None:
        (path / digests.INDEX).unlink()
        assert "expected a folder of parts with _index.json, found none" in self.read(path)

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"parts": []}, "expected parts with names and hashes"),
            ({"parts": "x"}, r"_index.json, parts: input should be a valid list"),
            ({"name": "../part-00000.parquet"}, "expected parts with names and hashes"),
            ({"name": "part-00001.parquet"}, "expected parts with names and hashes"),
            ({"sha256": "../x"}, "expected parts with names and hashes"),
            ({"steps": 30}, "expected the sums of its parts"),
            ({"longest": 10}, "expected the sums of its parts"),
            ({"size": 1}, "part-00000.parquet: expected 1 bytes"),
            ({"columns": ["sequence"]}, "part-00000.parquet: expected columns sequence ("),
        ],
    )
    def test_an_index_that_lies(self, path: Path, changes: Any, expected: str) -> None:
        change(path, **changes)
        assert expected in self.read(path)

    def test_of_a_part_alone(self, path: Path) -> None:
        place = parts.of(path)[1]
        with pytest.raises(DataError, match=r"3 sequences of 15 steps .*found 2 of 15; ru"):
            place.check_counts(2, 15)

    def test_a_part_that_is_missing(self, path: Path) -> None:
        (path / "part-00001.parquet").unlink()
        assert "part-00001.parquet: no such part of" in self.read(path)

    def test_a_part_that_is_another(self, path: Path) -> None:
        (path / "part-00001.parquet").write_bytes((path / "part-00000.parquet").read_bytes())
        assert "part-00001.parquet: expected" in self.read(path)

    def test_a_part_that_is_broken(self, path: Path) -> None:
        broken = path / "part-00001.parquet"
        broken.write_bytes(bytes(broken.stat().st_size))
        assert "part-00001.parquet: expected Parquet, found" in self.read(path)


class TestMachineWithoutTheDisk:
    """Of a cluster, where parts lie in a folder that this machine lacks."""

    said = r"^/nowhere: expected a folder that every machine has, found none on .*run\.store"

    def test_cannot_write(self) -> None:
        folder = parts.Folder(Path("/nowhere"))
        with pytest.raises(DataError, match=self.said), folder.file("part-00000.parquet"):
            pass

    def test_cannot_read(self, tmp_path: Path) -> None:
        (first, *_) = write(tmp_path / "t.parquet")
        with (
            pytest.raises(DataError, match=self.said),
            replace(first, folder=Path("/nowhere")).opened(),
        ):
            pass


class TestStore:
    def check(self, path: Path, address: str) -> None:
        """Parts lie there under their hashes, once, and come back from there."""
        write(path.with_name("here"))
        places = write(path, address)
        assert [one.name for one in path.iterdir()] == [digests.INDEX]
        found = pa.concat_tables([table for table, _ in tables.chunks(path)])
        assert found.equals(chunk()[0])
        here = parts.read(path.with_name("here"))
        assert parts.read(path).parts == here.parts
        assert sorted(one.name for one in path.parent.iterdir()) == ["here", "t.parquet"]
        write(path.with_name("again"), address)
        for place in places:
            place.check()

    def test_in_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        self.check(tmp_path / "work/t.parquet", (tmp_path / "store").as_uri())
        names = {f"{one.part.sha256}.parquet" for one in parts.of(tmp_path / "work/t.parquet")}
        assert {one.name for one in (tmp_path / "store").iterdir()} == names

    def test_what_is_not_there_or_another(self, tmp_path: Path) -> None:
        path, store = tmp_path / "t.parquet", tmp_path / "store"
        place = write(path, store.as_uri())[0]
        stored = store / f"{place.part.sha256}.parquet"
        stored.write_bytes(bytes(place.part.size))
        with pytest.raises(DataError, match=r"\.parquet: expected the bytes of its name \("):
            list(tables.chunks(path))
        stored.unlink()
        with pytest.raises(DataError, match=r"\.parquet: expected a part there \(run\.store\)"):
            list(tables.chunks(path))
        write(path, store.as_uri())
        assert list(tables.chunks(path))

    def test_half_a_part_is_written_anew(self, tmp_path: Path) -> None:
        path, store = tmp_path / "t.parquet", tmp_path / "store"
        place = write(path, store.as_uri())[0]
        (store / f"{place.part.sha256}.parquet").write_bytes(b"half")
        write(path, store.as_uri())
        assert list(tables.chunks(path))

    @pytest.mark.slow
    def test_in_s3(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with services.s3() as address:
            for name, value in services.keys(address).items():
                monkeypatch.setenv(name, value)
            self.check(tmp_path / "t.parquet", f"s3://{services.BUCKET}/data")
            names = {f"data/{one.part.sha256}.parquet" for one in parts.of(tmp_path / "t.parquet")}
            assert {one.key for one in services.bucket(address).objects.all()} == names
        expected = re.escape(f"expected a store that answers (run.store) on {platform.node()}")
        with pytest.raises(DataError, match=rf"^s3://runs/data/.*: {expected}, found: "):
            list(tables.chunks(tmp_path / "t.parquet"))
