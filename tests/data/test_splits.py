"""Splits that stay where they are when data grows."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.data import splits
from birnn.data.splits import Splitting
from birnn.errors import ParamsError
from birnn.files import tables

names = st.lists(st.text(max_size=5), max_size=20)
NUMBERS = [str(number) for number in range(200)]
HOW = Splitting(validation=0.15, test=0.15)


def assign(names: Iterable[str], how: Splitting = HOW) -> npt.NDArray[np.str_]:
    return splits.assign(names, how)


class TestAssign:
    @given(known=names, new=names)
    def test_stable_when_data_grows(self, known: list[str], new: list[str]) -> None:
        assert assign([*known, *new])[: len(known)].tolist() == assign(known).tolist()
        assert assign([*new, *known])[len(new) :].tolist() == assign(known).tolist()

    def test_stable_between_releases(self) -> None:
        # Retraining relies on it. The values come from `b2sum --length 64`.
        found = assign(["speaker-1", "speaker-2", "speaker-3", "né", "", "0", "1", "2"])
        expected = "train train train validation train train train test"
        assert found.tolist() == expected.split()

    @pytest.mark.parametrize(("validation", "test"), [(0.15, 0.15), (0.05, 0.4), (0.0, 0.1)])
    def test_shares(self, validation: float, test: float) -> None:
        how = Splitting(validation=validation, test=test)
        counts = Counter(assign(map(str, range(20_000)), how))
        for split, share in (("validation", validation), ("test", test)):
            sampling_error = (share * (1 - share) / 20_000) ** 0.5
            assert counts[split] / 20_000 == pytest.approx(share, abs=4 * sampling_error)

    def test_a_larger_test_split_takes_nothing_back(self) -> None:
        numbers = [str(number) for number in range(1000)]
        small = assign(numbers, Splitting(validation=0.1, test=0.1))
        large = assign(numbers, Splitting(validation=0.1, test=0.2))
        assert set(large[small == "test"]) == {"test"}

    def test_nobody(self) -> None:
        assert assign([]).tolist() == []


class TestFolds:
    def fold(self, number: int, names: list[str] = NUMBERS, folds: int = 5) -> list[str]:
        found = assign(names, Splitting(validation=0.2, test=0.4, folds=folds, fold=number))
        return [str(split) for split in found]

    def test_each_name_is_tested_on_once(self) -> None:
        folds = [self.fold(number) for number in range(1, 6)]
        for turns in zip(*folds, strict=True):
            assert turns.count("test") == 1
        assert all(20 < fold.count("test") < 60 for fold in folds)

    def test_validation_is_a_share_of_the_rest_and_of_every_fold(self) -> None:
        names = [str(number) for number in range(20_000)]
        folds = [self.fold(number, names) for number in range(1, 6)]
        for number, fold in enumerate(folds):
            rest = 20_000 - fold.count("test")
            assert fold.count("validation") / rest == pytest.approx(0.2, abs=0.015)
            for other in folds[:number] + folds[number + 1 :]:
                mine = [split for split, turn in zip(fold, other, strict=True) if turn == "test"]
                assert mine.count("validation") / len(mine) == pytest.approx(0.2, abs=0.03)

    @given(known=names, new=names)
    def test_stable_when_data_grows(self, known: list[str], new: list[str]) -> None:
        assert self.fold(2, [*known, *new])[: len(known)] == self.fold(2, known)

    def test_stable_between_releases(self) -> None:
        # The values come from `b2sum --length 64`, of the names and of "validation of NAME".
        found = self.fold(1, ["speaker-1", "né", "0", "1", "2"])
        assert found == ["train", "test", "validation", "train", "test"]

    def test_of_data_that_name_their_splits(self) -> None:
        rows, starts = table(sequence=["a", "b"], split=["train", "test"])
        how = Splitting(validation=0.1, test=0.1, folds=5, fold=1)
        with pytest.raises(ParamsError, match=r"prepare\.folds: expected null for data that name"):
            splits.of_table(rows, starts, how, ["train", "test"])

    def test_of_a_table(self) -> None:
        rows, starts = table(sequence=NUMBERS)
        chunks = [(rows, np.append(starts, rows.num_rows))]
        tested = list[str]()
        for fold in range(1, 6):
            how = Splitting(validation=0.1, test=0.1, folds=5, fold=fold)
            for _, (kept, offsets) in splits.divide(chunks, how, (), ["test"]):
                tested += kept["sequence"].take(offsets[:-1]).to_pylist()
        assert sorted(tested) == sorted(NUMBERS)


def table(**columns: list[str]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Sequences of two steps each, and where each begins."""
    doubled = {name: [value for value in column for _ in "12"] for name, column in columns.items()}
    size = len(columns["sequence"])
    return pa.table({**doubled, "x": range(2 * size)}), np.arange(0, 2 * size, 2)


def of_table(found: tuple[pa.Table, npt.NDArray[np.int64]], named: list[str]) -> list[str]:
    chosen: list[str] = splits.of_table(*found, HOW, named).tolist()
    return chosen


class TestOfTable:
    def test_by_id(self) -> None:
        assert of_table(table(sequence=NUMBERS), []) == assign(NUMBERS).tolist()

    def test_by_group(self) -> None:
        groups = [f"g{number % 20}" for number in range(200)]
        found = of_table(table(sequence=NUMBERS, group=groups), [])
        assert found == assign(groups).tolist()
        assert len(set(zip(groups, found, strict=True))) == 20
        assert set(found) == set(tables.SPLITS)

    def test_a_split_column_overrides_the_hash(self) -> None:
        given_splits = [tables.SPLITS[number % 3] for number in range(200)]
        found = of_table(table(sequence=NUMBERS, split=given_splits), [*tables.SPLITS])
        assert found == given_splits

    @pytest.mark.parametrize("grouped", [True, False])
    def test_without_validation_some_training_data_is_held_out(self, grouped: bool) -> None:
        given_splits = ["test" if number % 3 == 0 else "train" for number in range(200)]
        keys = [f"g{number}" for number in range(200)] if grouped else NUMBERS
        columns = {"group": keys} if grouped else {}
        found = of_table(table(sequence=NUMBERS, split=given_splits, **columns), ["train", "test"])
        held_out = assign(keys, Splitting(validation=0.15, test=0))
        pairs = zip(given_splits, held_out, strict=True)
        assert found == [mine if mine == "test" else hashed for mine, hashed in pairs]
        assert set(found) == set(tables.SPLITS)


class TestDivide:
    def divide(self, size: int, split: str) -> list[tuple[str, int]]:
        """The ids and values of a split, the table cut into chunks of `size` sequences."""
        chunks = []
        for start in range(0, 200, size):
            rows, starts = table(sequence=NUMBERS[start : start + size])
            chunks.append((rows, np.append(starts, rows.num_rows)))
        found = []
        for name, (rows, offsets) in splits.divide(chunks, HOW, [], tables.SPLITS):
            if name != split:
                continue
            assert rows.num_rows > 0
            assert offsets.tolist() == list(range(0, rows.num_rows + 1, 2))
            found += list(zip(rows["sequence"].to_pylist(), rows["x"].to_pylist(), strict=True))
        return found

    @pytest.mark.parametrize("split", tables.SPLITS)
    def test_whole_sequences_of_one_split(self, split: str) -> None:
        chosen = np.flatnonzero(assign(NUMBERS) == split).tolist()
        expected = [(str(number), 2 * number + step) for number in chosen for step in (0, 1)]
        assert self.divide(200, split) == expected

    @pytest.mark.parametrize("size", [1, 3, 199])
    def test_chunks_do_not_matter(self, size: int) -> None:
        def ids(size: int) -> list[str]:
            return [name for name, _ in self.divide(size, "test")]

        assert ids(size) == ids(200)
