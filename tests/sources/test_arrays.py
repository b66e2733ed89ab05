"""Arrays in `.npz` files: padded or flat, and each fault with the array's name."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from birnn.errors import DataError
from birnn.files import table_checks
from birnn.params import ArraysData
from birnn.sources import arrays

Arrays = dict[str, npt.NDArray[Any]]
RNG = np.random.default_rng(0)
LENGTHS = np.array([2, 4, 1])
PADDED = RNG.normal(size=(3, 4, 2))
REAL = np.arange(4) < LENGTHS[:, None]
TAGS = RNG.integers(3, size=(3, 4))
CLASSES = np.array(["b", "a", "é"])
ROWS = np.repeat(np.arange(3), LENGTHS)


def section(task: Any) -> ArraysData:
    return ArraysData(source="arrays", task=task, path="t.npz")


def read(path: Path, task: str, **named: Any) -> pa.Table:
    np.savez(path, **named)
    checked = table_checks.checked(arrays.read(section(task), path), task=task, where=str(path))
    return pa.Table.from_batches(checked)


def flat(padded: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return padded[REAL]


class TestShapes:
    @pytest.mark.parametrize("steps", [1, 3, 1 << 16])
    @pytest.mark.parametrize("form", ["padded", "flat"])
    @pytest.mark.parametrize("task", ["tagging", "classification"])
    def test_give_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, form: str, task: str
    ) -> None:
        monkeypatch.setattr(arrays, "BATCH_STEPS", steps)
        values, tags = (PADDED, TAGS) if form == "padded" else (flat(PADDED), flat(TAGS))
        labels = tags if task == "tagging" else CLASSES
        found = read(tmp_path / "t.npz", task, values=values, lengths=LENGTHS, labels=labels)
        expected = flat(TAGS) if task == "tagging" else CLASSES[ROWS]
        assert found["label"].to_pylist() == [str(label) for label in expected]
        assert found["sequence"].to_pylist() == [f"{row + 1:06d}" for row in ROWS]
        features = np.column_stack([found["feature_1"], found["feature_2"]])
        np.testing.assert_array_equal(features, flat(PADDED))

    @pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "i1", "u8", "?"])
    def test_any_numbers(self, tmp_path: Path, dtype: str) -> None:
        values = (PADDED * 3).astype(dtype)
        found = read(
            tmp_path / "t.npz", "classification", values=values, lengths=LENGTHS, labels=CLASSES
        )
        np.testing.assert_array_equal(found["feature_1"], flat(values)[:, 0].astype(np.float64))

    def test_without_padding_lengths_may_be_left_out(self, tmp_path: Path) -> None:
        assert read(tmp_path / "t.npz", "tagging", values=PADDED, labels=TAGS).num_rows == 12

    def test_padding_may_hold_anything(self, tmp_path: Path) -> None:
        values = np.where(REAL[..., None], PADDED, np.nan)
        found = read(
            tmp_path / "t.npz", "classification", values=values, lengths=LENGTHS, labels=CLASSES
        )
        assert found.num_rows == 7

    def test_ids_and_groups(self, tmp_path: Path) -> None:
        named = {"ids": np.array([7, 8, 9]), "groups": np.array([b"g", b"g", b"h"])}
        found = read(
            tmp_path / "t.npz",
            "classification",
            values=PADDED,
            lengths=LENGTHS,
            labels=CLASSES,
            **named,
        )
        assert found["sequence"].to_pylist() == [str(row + 7) for row in ROWS]
        assert found["group"].to_pylist() == ["ggh"[row] for row in ROWS]

    @pytest.mark.parametrize(("labels", "task"), [(CLASSES, "classification"), (TAGS, "tagging")])
    def test_tell_the_task(self, tmp_path: Path, labels: npt.NDArray[Any], task: str) -> None:
        np.savez(tmp_path / "t.npz", values=PADDED, lengths=LENGTHS, labels=labels)
        assert arrays.task_of(tmp_path / "t.npz") == task


GOOD: Arrays = {"values": PADDED, "lengths": LENGTHS, "labels": CLASSES}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no values": ({"values": None}, ": expected an array `values`, found 'labels', 'lengths'"),
    "no labels": ({"labels": None}, ": expected an array `labels`, found 'lengths', 'values'"),
    "no lengths": (
        {"values": flat(PADDED), "lengths": None},
        ": expected an array `lengths`, found 'labels', 'values'",
    ),
    "pickled lists": (
        {"values": np.array([[1], [1, 2]], dtype=object)},
        ", array values: expected numbers; join lists of different lengths, found object",
    ),
    "strings as objects": (
        {"labels": CLASSES.astype(object)},
        ", array labels: expected text or whole numbers; save .astype(str), found object",
    ),
    "text for values": ({"values": CLASSES}, ", array values: expected numbers, found <U1"),
    "one dimension": (
        {"values": np.ones(3)},
        ", array values: expected the shape (N, T, F) or (S, F), found (3,)",
    ),
    "Fortran's order": (
        {"values": np.asfortranarray(PADDED)},
        ": expected .npz, found: an array in Fortran's order; save numpy.ascontiguousarray of it",
    ),
    "a length of zero": (
        {"lengths": np.array([2, 0, 1])},
        ", array lengths[1]: expected 1 to 4, found 0",
    ),
    "a length above the padding": (
        {"lengths": np.array([2, 4, 5])},
        ", array lengths[2]: expected 1 to 4, found 5",
    ),
    "a length of a half": (
        {"lengths": LENGTHS / 2},
        ", array lengths: expected whole numbers, found float64",
    ),
    "one length too few": (
        {"lengths": LENGTHS[:2]},
        ": expected 2 rows of `values`, found 3",
    ),
    "steps that are left over": (
        {"values": flat(PADDED)[:6]},
        ": expected 6 steps in `lengths`, found 7",
    ),
    "one label too few": (
        {"labels": CLASSES[:2]},
        ", array labels: expected the shape (3,) for classification, found (2,)",
    ),
    "labels of steps": (
        {"labels": TAGS},
        ", array labels: expected the shape (3,) for classification, found (3, 4)",
    ),
    "fractions for labels": (
        {"labels": np.array([0.5, 1, 2])},
        ", column `label`: expected text or whole numbers, found double",
    ),
    "an id twice": (
        {"ids": np.array([1, 2, 2])},
        ", array ids[2]: expected an id of its own, foun",
    ),
    "an id later": ({"ids": np.array([1, 2, 1])}, ", row 7: sequence '1' goes on after another"),
    "one group too many": (
        {"groups": np.arange(4)},
        ", array groups: expected the shape (3,), found (4,)",
    ),
    "NaN": (
        {"values": np.full((3, 4, 2), np.nan)},
        ", row 1, column `feature_1`: expected a finite number, found nan",
    ),
}


def complaint(path: Path) -> str:
    rows = arrays.read(section("classification"), path)
    with pytest.raises(DataError) as refused:
        list(table_checks.checked(rows, task="classification", where=str(path)))
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(str(path))


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_array_and_place_are_named(self, tmp_path: Path, mistake: str) -> None:
        changes, expected = MISTAKES[mistake]
        named = {name: array for name, array in (GOOD | changes).items() if array is not None}
        np.savez(tmp_path / "t.npz", **named)
        assert complaint(tmp_path / "t.npz").startswith(expected)

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
    def test_a_file_that_was_cut(self, tmp_path: Path, share: float) -> None:
        whole = io.BytesIO()
        np.savez_compressed(whole, **GOOD)  # type: ignore[arg-type]
        path = tmp_path / "t.npz"
        path.write_bytes(whole.getvalue()[: int(share * len(whole.getvalue()))])
        assert complaint(path).startswith(": expected .npz, found: File is not a zip file")

    def test_a_byte_that_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "t.npz"
        np.savez(path, **GOOD)  # type: ignore[arg-type]
        whole = path.read_bytes()
        start = whole.index(PADDED.tobytes())
        path.write_bytes(whole[:start] + b"\x01" + whole[start + 1 :])
        assert complaint(path).startswith(
            ": expected .npz, found: Bad CRC-32 for file 'values.npy'"
        )

    def test_a_missing_file(self, tmp_path: Path) -> None:
        assert complaint(tmp_path / "t.npz").startswith(": no such file; put it there, or correct")
