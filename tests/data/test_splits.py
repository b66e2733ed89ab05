"""Splits that stay where they are when data grows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.data import splits
from birnn.data.splits import Splitting
from birnn.errors import DataError, ParamsError
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
            of_table((rows, starts), ["train", "test"], how)

    def test_of_a_table(self) -> None:
        rows, starts = table(sequence=NUMBERS)
        chunks = [(rows, np.append(starts, rows.num_rows))]
        tested = list[str]()
        for fold in range(1, 6):
            how = Splitting(validation=0.1, test=0.1, folds=5, fold=fold)
            for _, (kept, offsets) in splits.divide(lambda: chunks, how, (), ["test"]):
                tested += kept["sequence"].take(offsets[:-1]).to_pylist()
        assert sorted(tested) == sorted(NUMBERS)


def table(**columns: list[str]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Sequences of two steps each, and where each begins."""
    doubled = {name: [value for value in column for _ in "12"] for name, column in columns.items()}
    size = len(columns["sequence"])
    return pa.table({**doubled, "x": range(2 * size)}), np.arange(0, 2 * size, 2)


def of_table(
    found: tuple[pa.Table, npt.NDArray[np.int64]],
    named: Sequence[str] = (),
    how: Splitting = HOW,
    size: int = 1000,
) -> list[str]:
    """The split of each sequence of a table that is cut into chunks of `size` sequences."""
    rows, starts = found
    edges = np.append(starts, rows.num_rows)
    chunks = [
        (rows.slice(part[0], part[-1] - part[0]), part - part[0])
        for first in range(0, len(starts), size)
        for part in [edges[first : first + size + 1]]
    ]
    divided = splits.divide(lambda: chunks, how, named, tables.SPLITS)
    split_of = {
        name: split
        for split, (part, offsets) in divided
        for name in part["sequence"].take(offsets[:-1]).to_pylist()
    }
    return [split_of[name] for name in rows["sequence"].take(starts).to_pylist()]


class TestOfTable:
    def test_by_id(self) -> None:
        assert of_table(table(sequence=NUMBERS)) == assign(NUMBERS).tolist()

    def test_by_group(self) -> None:
        groups = [f"g{number % 20}" for number in range(200)]
        found = of_table(table(sequence=NUMBERS, group=groups))
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
        for name, (rows, offsets) in splits.divide(lambda: chunks, HOW, [], tables.SPLITS):
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


class TestDictionaries:
    """Text that is left as on disk is divided as if it were spelled out."""

    WAYS: tuple[dict[str, Any], ...] = ({}, {"stratify": True}, {"by": "x"})

    @pytest.mark.parametrize(
        ("named", "how"),
        [*product([[], ["train", "test"]], WAYS), ([], {"folds": 3, "fold": 2})],
    )
    def test_of_each_way(self, named: list[str], how: dict[str, Any]) -> None:
        labels, groups = [*"abb" * 20], [f"g{number // 3}" for number in range(60)]
        given_splits = {"split": ["test", "train", "train"] * 20} if named else {}
        rows, starts = table(sequence=NUMBERS[:60], label=labels, group=groups, **given_splits)
        coded = rows
        for place, name in enumerate(rows.schema.names):
            if name != "x":
                coded = coded.set_column(place, name, rows[name].dictionary_encode())
        chosen = Splitting(validation=0.2, test=0.2, **how)
        expected = of_table((rows, starts), named, chosen, size=7)
        assert of_table((coded, starts), named, chosen, size=7) == expected
        assert len({*expected}) == 3


STRATIFIED = Splitting(validation=0.15, test=0.15, stratify=True)
CLASSES = st.lists(st.sampled_from("aaaaabbbcde"), min_size=1, max_size=60)


def labelled(labels: Sequence[str | None], **columns: list[str]) -> Any:
    """A sequence of two steps for each label."""
    rows, starts = table(sequence=[f"s{number}" for number in range(len(labels))], **columns)
    steps = [label for label in labels for _ in "12"]
    return rows.append_column("label", pa.array(steps, pa.string())), starts


class TestStratified:
    @given(CLASSES, CLASSES, st.sampled_from([1, 3, 1000]))
    def test_stable_when_data_grow_at_the_end(
        self, known: list[str], new: list[str], size: int
    ) -> None:
        whole = of_table(labelled([*known, *new]), how=STRATIFIED, size=size)
        assert whole[: len(known)] == of_table(labelled(known), how=STRATIFIED)

    @given(CLASSES)
    def test_each_class_is_in_train_then_in_test_then_in_validation(
        self, labels: list[str]
    ) -> None:
        found = of_table(labelled(labels), how=STRATIFIED)
        for label in set(labels):
            own = [split for split, one in zip(found, labels, strict=True) if one == label]
            assert own[:3] == ["train", "test", "validation"][: len(own)]

    @pytest.mark.parametrize("seed", range(3))
    def test_shares_of_each_class_are_kept_better_than_by_chance(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        labels = rng.choice([*"abc"], 2000, p=[0.9, 0.08, 0.02]).tolist()
        found = np.array(of_table(labelled(labels), how=STRATIFIED))
        for label in "abc":
            own = found[np.array(labels) == label]
            assert abs((own == "test").sum() - 0.15 * len(own)) < 6
            assert abs((own == "validation").sum() - 0.15 * len(own)) < 6

    def test_of_tags_the_rarest_decides(self) -> None:
        rng = np.random.default_rng(0)
        rows, starts = table(sequence=[f"s{number}" for number in range(1000)])
        rare = rng.random(1000) < 0.03
        tags = [tag for one in rare for tag in ("O", "rare" if one else "O")]
        found = np.array(
            of_table((rows.append_column("label", pa.array(tags)), starts), (), STRATIFIED)
        )
        assert abs((found[rare] == "test").sum() - 0.15 * rare.sum()) < 3
        assert abs((found == "test").mean() - 0.15) < 0.01

    def test_a_group_stays_together(self) -> None:
        rng = np.random.default_rng(0)
        groups = [f"g{number}" for number in rng.integers(0, 60, 300)]
        labels = rng.choice([*"ab"], 300).tolist()
        found = of_table(labelled(labels, group=groups), how=STRATIFIED, size=7)
        assert len(set(zip(groups, found, strict=True))) == len(set(groups))
        assert set(found) == set(tables.SPLITS)

    def test_sequences_without_labels_are_divided_too(self) -> None:
        found = of_table(labelled([None] * 300), how=STRATIFIED)
        assert 0.1 < found.count("test") / 300 < 0.2

    def test_validation_of_data_that_name_their_test(self) -> None:
        labels = ["a", "a", "b"] * 100
        named = ["test" if number % 4 == 0 else "train" for number in range(300)]
        found = of_table(labelled(labels, split=named), ["train", "test"], STRATIFIED, size=9)
        kept = [split == "test" for split in named]
        assert [split == "test" for split in found] == kept
        open_ = [label for label, one in zip(labels, kept, strict=True) if not one]
        held = [label for label, one in zip(labels, found, strict=True) if one == "validation"]
        for label in "ab":
            assert abs(held.count(label) - 0.15 * open_.count(label)) < 3

    def test_folds(self) -> None:
        rng = np.random.default_rng(0)
        labels = rng.choice([*"ab"], 300, p=[0.9, 0.1]).tolist()
        tested = np.zeros(300, int)
        for fold in range(1, 6):
            how = Splitting(validation=0.2, test=0.0, folds=5, fold=fold, stratify=True)
            found = np.array(of_table(labelled(labels), how=how))
            tested += found == "test"
            rare = found[np.array(labels) == "b"]
            assert abs((rare == "test").sum() - len(rare) / 5) < 4
        assert (tested == 1).all()


class TestByTime:
    HOW = Splitting(validation=0.2, test=0.3, by="x")

    def rows(self, times: Sequence[Any], **columns: list[str]) -> Any:
        rows, starts = table(sequence=[f"s{number}" for number in range(len(times))], **columns)
        steps = [time for time in times for _ in "12"]
        return rows.drop_columns("x").append_column("x", pa.array(steps)), starts

    @pytest.mark.parametrize("kind", ["numbers", "text", "days", "moments"])
    @pytest.mark.parametrize("size", [1, 3, 1000])
    def test_later_ones_are_held_out(self, kind: str, size: int) -> None:
        order = np.random.default_rng(0).permutation(20)
        moments = pd.Timestamp("2026-01-25") + pd.to_timedelta(order, "D")
        times: dict[str, list[Any]] = {
            "numbers": order.astype(float).tolist(),
            "text": [str(number) for number in order],
            "days": moments.strftime("%Y-%m-%d").tolist(),
            "moments": moments.to_pydatetime().tolist(),
        }
        found = of_table(self.rows(times[kind]), how=self.HOW, size=size)
        expected = np.select([order >= 14, order >= 10], ["test", "validation"], "train")
        assert found == expected.tolist()

    def test_equal_times_stay_together(self) -> None:
        found = of_table(self.rows([1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]), how=self.HOW)
        assert found == ["train"] * 3 + ["test"] * 4

    def test_what_has_trained_is_never_tested_as_data_grow(self) -> None:
        times = np.random.default_rng(0).permutation(50).astype(float)
        before = of_table(self.rows(np.sort(times)[:30].tolist()), how=self.HOW)
        after = of_table(self.rows(np.sort(times).tolist()), how=self.HOW)
        later = dict(zip(before, after[:30], strict=False))
        assert {now for then, now in zip(before, after, strict=False) if then == "train"} == {
            "train"
        }
        assert later

    def test_a_group_is_where_its_earliest_sequence_is(self) -> None:
        times = [float(number) for number in range(20)]
        groups = [f"g{number % 10}" for number in range(20)]
        found = of_table(self.rows(times, group=groups), how=self.HOW)
        assert found == (["train"] * 5 + ["validation"] * 2 + ["test"] * 3) * 2

    def test_validation_of_data_that_name_their_test(self) -> None:
        named = ["test"] * 5 + ["train"] * 15
        rows = self.rows([float(number) for number in range(20)], split=named)
        found = of_table(rows, ["train", "test"], self.HOW)
        assert found == ["test"] * 5 + ["train"] * 12 + ["validation"] * 3

    def test_a_column_that_travels_has_its_own_name(self) -> None:
        """As `birnn init` lets a column of times travel, which is `keep:x` in the table."""
        rows, starts = self.rows([f"2026-01-{number + 1:02d}" for number in range(20)])
        expected = of_table((rows, starts), how=self.HOW)
        kept = rows.rename_columns(["keep:x" if n == "x" else n for n in rows.column_names]), starts
        assert of_table(kept, how=self.HOW) == expected
        how = Splitting(validation=0.1, test=0.1, by="day")
        with pytest.raises(ParamsError, match=r"a column of the table \(sequence, x\), found 'da"):
            of_table(kept, how=how)

    def test_what_is_no_time(self) -> None:
        for value in (None, "soon"):
            with pytest.raises(
                DataError, match=r"sequence 's1', column `x` \(prepare.split_by\): exp"
            ):
                of_table(self.rows(["2026-01-01", value, "2026-01-03"]), how=self.HOW)
        how = Splitting(validation=0.1, test=0.1, by="day")
        with pytest.raises(
            ParamsError, match=r"expected a column of the table \(sequence, x\), found 'da"
        ):
            of_table(self.rows([1.0, 2.0]), how=how)
