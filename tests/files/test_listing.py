"""The list of files in buckets: what is in it, and what it tells of changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from birnn.errors import DataError
from birnn.files import listing

FILES = ("parts/1.parquet", "parts/2.parquet", "parts/README.md", "parts/sub/3.parquet", "v.txt")
FOLDER, FILE = "s3://runs/listed/parts", "s3://runs/listed/v.txt"


@pytest.fixture(autouse=True)
def _files(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some in the bucket, and none in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        bucket.put_object(Key=f"listed/{name}", Body=name.encode())


def listed() -> list[str]:
    """The names in the list."""
    text = listing.PATH.read_text(encoding="utf-8")
    return [line.rpartition(",")[0] for line in text.splitlines()[1:]]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([FILE], [FILE]),
        ([FOLDER], [f"{FOLDER}/1.parquet", f"{FOLDER}/2.parquet"]),
        (
            [FILE, "data/external/labels.csv", f"{FOLDER}/"],
            [f"{FOLDER}/1.parquet", f"{FOLDER}/2.parquet", FILE],
        ),
    ],
)
def test_has_each_file(paths: list[str], names: list[str]) -> None:
    listing.write(paths)
    assert listed() == names
    listing.check(paths)


def test_is_empty_where_all_lie_here() -> None:
    listing.check(["data/external/t.csv"])
    listing.write(["data/external/t.csv"])
    assert listed() == []
    listing.check(["data/external/t.csv"])


def test_is_expected() -> None:
    with pytest.raises(DataError, match=r"objects\.csv: expected a list of .* run `birnn obje"):
        listing.check([FILE])


@pytest.mark.parametrize("others", [[], [FILE]])
def test_tells_what_has_changed(bucket: Any, others: list[str]) -> None:
    folder = f"live-{len(others)}"

    def put(name: str, text: str) -> None:
        bucket.put_object(Key=f"{folder}/{name}.jsonl", Body=text.encode())

    paths = [f"s3://runs/{folder}"]
    put("1", "a")
    listing.write(paths + others)
    changes: list[tuple[str, Callable[[], object]]] = [
        ("1", lambda: put("1", "b")),
        ("2", lambda: put("2", "a")),
        ("1", lambda: bucket.Object(f"{folder}/1.jsonl").delete()),
    ]
    for name, change in changes:
        before = listing.PATH.read_bytes()
        change()
        with pytest.raises(
            DataError, match=rf"found 1 to differ, the first s3://runs/{folder}/{name}\.jsonl"
        ):
            listing.check(paths)
        listing.check(others)
        listing.write(paths + others)
        assert listing.PATH.read_bytes() != before
        listing.check(paths)


def test_lacks_what_params_name_since(bucket: Any) -> None:
    bucket.put_object(Key="listed/v.txt.gz", Body=b"z")  # whose name begins alike
    listing.write([FOLDER])
    with pytest.raises(DataError, match=rf"found 1 to differ, the first {FILE}; run `birnn obje"):
        listing.check([FILE])
    listing.write([FILE, f"{FILE}.gz"])
    listing.check([FILE])


def test_is_not_written_where_a_file_is_missing() -> None:
    with pytest.raises(DataError, match=r"^s3://runs/nothing\.conllu: no such file"):
        listing.write(["s3://runs/nothing.conllu"])
    assert not listing.PATH.exists()
