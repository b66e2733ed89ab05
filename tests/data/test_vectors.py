"""Pretrained vectors: which rows they give, and what is said of broken files."""

import gzip
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birnn.data import vectors
from birnn.errors import DataError
from birnn.files import addresses

WORDS = ["the", "é", "a b", "absent", "\x85"]
TEXT = "unused 9 9 9\nthe 1 2 3\na b -1 0.5 1e-3\né 4 5 6\n\x85 7 8 9\n"
ROWS = [1, 2, 3, 5]
VALUES: list[list[float]] = [[1, 2, 3], [4, 5, 6], [-1, 0.5, 0.001], [7, 8, 9]]


def text(path: Path, content: str = TEXT) -> Path:
    path.write_bytes(content.encode())
    return path


def archive(path: Path, **changes: Any) -> Path:
    arrays: dict[str, Any] = {"tokens": np.array(["unused", "the", "a b", "é", "\x85"])}
    arrays["vectors"] = np.array([[9, 9, 9], VALUES[0], VALUES[2], VALUES[1], VALUES[3]])
    with path.open("wb") as file:
        np.savez(file, **{name: a for name, a in (arrays | changes).items() if a is not None})
    return path


class TestRead:
    def check(self, path: Path) -> None:
        found = vectors.look_up(path, WORDS).vectors
        assert found.rows.tolist() == ROWS
        assert found.width == 3
        assert found.values.dtype == np.float32
        np.testing.assert_allclose(found.values, VALUES, rtol=1e-6)

    def test_text(self, tmp_path: Path) -> None:
        self.check(text(tmp_path / "v.txt"))
        self.check(text(tmp_path / "v.vec", f"5 3\n{TEXT}"))
        self.check(text(tmp_path / "apart.txt", unicodedata.normalize("NFD", TEXT)))

    def test_gzip(self, tmp_path: Path) -> None:
        (tmp_path / "v.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
        self.check(tmp_path / "v.txt.gz")

    def test_archive(self, tmp_path: Path) -> None:
        self.check(archive(tmp_path / "v.npz"))

    def test_in_a_bucket(self, tmp_path: Path, bucket: Any) -> None:
        for path in (text(tmp_path / "v.txt"), archive(tmp_path / "v.npz")):
            bucket.upload_file(str(path), f"vectors/{path.name}")
            self.check(addresses.place(f"s3://runs/vectors/{path.name}"))
        path = text(tmp_path / "v.txt", "the 1 2 3\né 1 2\n")
        bucket.upload_file(str(path), "vectors/v.txt")
        with pytest.raises(DataError, match=r"^s3://runs/vectors/v\.txt, line 2: expected a token"):
            vectors.look_up("s3://runs/vectors/v.txt", WORDS)
        for name, found in {"w.txt": "no such file", "": "expected a file, found a folder"}.items():
            with pytest.raises(DataError, match=rf"^s3://runs/vectors/?{name}: {found}"):
                vectors.look_up(f"s3://runs/vectors/{name}", WORDS)

    def test_only_words_of_the_vocabulary_are_looked_at(self, tmp_path: Path) -> None:
        path = text(tmp_path / "v.txt", "unused x y z\nthe 1 2 3\n")
        assert vectors.look_up(path, WORDS).vectors.rows.tolist() == [1]


ABSENT = ": no such file; put it there, or correct the path; or set prepare.vectors to null"
MISTAKES = {
    "the 1 2 3\né 1 2\n": "line 2: expected a token and 3 numbers as before, found 2",
    "the 1 2 3\né 1 2 x\n": "line 2: expected numbers, found: could not convert",
    "the 1 2 nan\n": "line 1: expected finite numbers, found NaN or infinity",
    "unused 1 2 3\n": "expected a vector of a token in the vocabulary, found none",
    "": "expected a vector of a token in the vocabulary, found none",
}


class TestMistakes:
    def complaint(self, path: Path) -> str:
        with pytest.raises(DataError) as refused:
            vectors.look_up(path, WORDS)
        message = str(refused.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message.removeprefix(str(path))

    @pytest.mark.parametrize("content", MISTAKES)
    def test_in_text(self, tmp_path: Path, content: str) -> None:
        assert MISTAKES[content] in self.complaint(text(tmp_path / "v.txt", content))

    def test_no_file(self, tmp_path: Path) -> None:
        assert self.complaint(tmp_path / "v.txt") == ABSENT
        assert self.complaint(tmp_path / "v.npz") == ABSENT

    @pytest.mark.parametrize(("name", "kind"), [("v.txt.gz", "gzip"), ("v.npz", "token vectors")])
    def test_another_format(self, tmp_path: Path, name: str, kind: str) -> None:
        assert f": expected {kind}, found " in self.complaint(text(tmp_path / name))

    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_a_file_that_was_cut(self, tmp_path: Path, share: float) -> None:
        whole = gzip.compress("".join(f"w{n} {n} {n * n}\n" for n in range(999)).encode())
        (tmp_path / "v.gz").write_bytes(whole[: int(share * len(whole))])
        assert ": expected token vectors, found " in self.complaint(tmp_path / "v.gz")
        whole = archive(tmp_path / "v.npz").read_bytes()
        (tmp_path / "v.npz").write_bytes(whole[: int(share * len(whole))])
        assert ": expected token vectors, found " in self.complaint(tmp_path / "v.npz")

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "v.txt").write_bytes(b"the 1 2 3\n\xff 1 2 3\n")
        assert "expected token vectors, found 'utf-8' codec" in self.complaint(tmp_path / "v.txt")

    @pytest.mark.parametrize(
        "changes",
        [
            {"vectors": None},
            {"tokens": None},
            {"vectors": np.zeros((4, 3))},
            {"vectors": np.zeros(5)},
            {"vectors": np.zeros((5, 0))},
            {"tokens": np.array(["the", None], dtype=object)},
        ],
    )
    def test_in_an_archive(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        path = archive(tmp_path / "v.npz", **changes)
        assert ": expected token vectors, found " in self.complaint(path)


class TestPrepared:
    def test_round_trip(self, tmp_path: Path) -> None:
        for written in (vectors.NONE, vectors.look_up(text(tmp_path / "v"), WORDS).vectors):
            vectors.write(written, tmp_path / "x.safetensors")
            found = vectors.load(tmp_path / "x.safetensors")
            np.testing.assert_array_equal(found.rows, written.rows, strict=True)
            np.testing.assert_array_equal(found.values, written.values, strict=True)

    def test_none(self) -> None:
        assert vectors.NONE.width == 0

    def test_a_missing_or_broken_file(self, tmp_path: Path) -> None:
        path = tmp_path / "x.safetensors"
        with pytest.raises(DataError, match=r"x\.safetensors: no such file; run `dvc repro` first"):
            vectors.load(path)
        vectors.write(vectors.NONE, path)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DataError, match=r"x\.safetensors: expected prepared vectors, found"):
            vectors.load(path)


class TestNotes:
    """How much of the training data has vectors, and what case hides."""

    def notes(self, path: Path, words: list[str], counts: list[int], *, lower: bool) -> list[str]:
        found = vectors.look_up(path, words)
        said = vectors.notes("v.txt", found, np.array(counts), lowercase=lower)
        return list(said)

    def test_of_tokens_and_steps(self, tmp_path: Path) -> None:
        path = text(tmp_path / "v.txt", "the 1 2\ncat 1 2\n")
        assert self.notes(path, ["the", "dog", "cat"], [10, 50, 30, 10], lower=False) == [
            "v.txt: 2 of 3 tokens have vectors, 60 of 100 steps of train (60.0 %)"
        ]

    @pytest.mark.parametrize(
        ("content", "words", "lower", "mend"),
        [
            ("the 1 2\ncat 1 2\n", ["The", "CAT", "the"], False, "true"),
            (
                "The 1 2\nCAT 1 2\nx 1 2\n",
                ["the", "cat", "x"],
                True,
                "false, since the file tells cas",
            ),
        ],
    )
    def test_case_hides_some(
        self, tmp_path: Path, content: str, words: list[str], lower: bool, mend: str
    ) -> None:
        path = text(tmp_path / "v.txt", content)
        first, second = self.notes(path, words, [0, 5, 3, 2], lower=lower)
        assert first.startswith("v.txt: 1 of 3 tokens have vectors, 2 of 10 steps")
        assert second.startswith("v.txt: 2 tokens more (80.0 % of the steps) are there in another")
        assert f"set prepare.lowercase to {mend}" in second

    def test_case_hides_all(self, tmp_path: Path) -> None:
        path = text(tmp_path / "v.txt", "the 1 2\n")
        with pytest.raises(DataError, match="found none; it has some in another case: change prep"):
            vectors.look_up(path, ["The"])

    def test_the_size_that_gives_way(self) -> None:
        def said(width: int) -> list[str]:
            made = vectors.Vectors(np.zeros(1, np.int64), np.zeros((1, width), np.float32))
            return list(vectors.width_note("v.txt", made, 64))

        assert said(0) == []
        assert said(64) == []
        assert said(50) == [
            "v.txt: its vectors have 50 numbers, to which model.embedding_size (64) gives way"
        ]
