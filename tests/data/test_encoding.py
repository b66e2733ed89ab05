"""What is learned from the training sequences alone, and applied to all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.data import encoding
from birnn.data.encoding import Encoding, Options
from birnn.data.sequences import Sequences
from birnn.errors import DataError, ParamsError
from birnn.files import records, table_checks, tables


def table(task: str = "tagging", **columns: Any) -> pa.Table:
    """A checked sequence table."""
    batch, allowed = pa.record_batch(columns), table_checks.Allowed(numbers=True)
    return pa.Table.from_batches(
        table_checks.checked([batch], task=task, where="t.csv", allowed=allowed)
    )


def features(seed: int, steps: int = 30) -> pa.Table:
    rng = np.random.default_rng(seed)
    return table(
        sequence=[str(row // 3) for row in range(steps)],
        x=rng.normal(5, 2, steps),
        y=rng.normal(-1, 0.1, steps),
        constant=np.full(steps, 7.0),
        label=["p", "q", "r"] * (steps // 3),
    )


def tokens(*names: str) -> pa.Table:
    return table(sequence=["a"] * len(names), token=list(names), label=["p"] * len(names))


def fit(*parts: pa.Table, task: str = "tagging", **options: Any) -> Encoding:
    chunks = [(part, offsets_of(part)) for part in parts]
    return encoding.fit(lambda: chunks, Options(**({"scale": "global"} | options)), task=task)


def replaced(rows: pa.Table, name: str, values: list[Any]) -> pa.Table:
    """The table with other values in a column."""
    return rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))


def offsets_of(rows: pa.Table) -> Any:
    starts = tables.sequence_starts(rows["sequence"].combine_chunks())
    return np.append(starts, rows.num_rows)


def dictionary(encoded: Sequences) -> list[str]:
    """What each place spells."""
    assert encoded.dictionary is not None
    names: list[str] = encoded.dictionary.to_pylist()
    return names


def spelled(encoded: Sequences) -> list[str]:
    """The tokens of all steps."""
    assert encoded.tokens is not None
    names = dictionary(encoded)
    return [names[place] for place in encoded.tokens.tolist()]


class TestScaling:
    def test_training_features_have_mean_0_and_variance_1(self) -> None:
        rows = features(0)
        raw = np.column_stack([rows[name].to_numpy() for name in ("x", "y")]).astype(float)
        expected = (raw - raw.mean(axis=0)) / raw.std(axis=0)
        encoded = fit(rows).encode(rows, offsets_of(rows))
        assert encoded.values.dtype == np.float32
        np.testing.assert_allclose(encoded.values[:, :2], expected, rtol=1e-5, atol=1e-6)
        assert encoded.values[:, 2].tolist() == [0.0] * 30

    def test_it_is_fitted_on_train_alone(self) -> None:
        fitted = fit(features(0))
        other = table(sequence=["a"], x=[1000.0], y=[0.0], constant=[9.0], label=["p"])
        encoded = fitted.encode(other, np.array([0, 1]))
        expected = (1000 - fitted.mean[0]) / fitted.scale[0]
        assert encoded.values[0, 0] == pytest.approx(expected)
        assert encoded.values[0, 2] == 2.0

    def test_chunks_are_as_good_as_the_whole(self) -> None:
        rows = features(0)
        whole, parts = fit(rows), fit(rows.slice(0, 6), rows.slice(6, 3), rows.slice(9))
        assert parts.labels == whole.labels
        np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-12)

    def test_without_it_values_stay(self) -> None:
        rows = features(0)
        encoded = fit(rows, scale="none").encode(rows, offsets_of(rows))
        for index, name in enumerate(["x", "y", "constant"]):
            exact = rows[name].to_numpy().astype(np.float32)
            np.testing.assert_array_equal(encoded.values[:, index], exact)


class TestOffset:
    """What is small beside its offset, such as changes of an air pressure."""

    STEPS = 40

    def rows(self, offset: float, seed: int = 0) -> pa.Table:
        bits = np.random.default_rng(seed).integers(0, 2, self.STEPS)
        ids = [str(row // 4) for row in range(self.STEPS)]
        return table(sequence=ids, x=offset + 0.002 * bits, label=["p", "q"] * (self.STEPS // 2))

    @pytest.mark.parametrize("scale", ["global", "per_sequence", "asinh"])
    def test_is_taken_off_before_numbers_are_rounded(self, scale: str) -> None:
        for_training, new = self.rows(101325.0), self.rows(101325.0, seed=1)
        found = fit(for_training, scale=scale).encode(new, offsets_of(new))
        plain = fit(self.rows(0.0), scale=scale).encode(self.rows(0.0, seed=1), offsets_of(new))
        np.testing.assert_allclose(found.values, plain.values, atol=1e-4)
        assert np.ptp(plain.values[:, 0]) > 0.5

    @pytest.mark.parametrize("first", [101325.0, 0.0])  # one row of 0 hides nothing
    def test_that_is_not_taken_off_is_refused(self, first: float) -> None:
        rows = self.rows(101325.0)
        x = pa.array([first, *rows["x"].to_pylist()[1:]])
        changed = rows.set_column(rows.schema.get_field_index("x"), "x", x)
        with pytest.raises(ParamsError) as refused:
            fit(changed, scale="none")
        assert str(refused.value) == (
            "prepare.scale: expected none only for numbers that float32 tells apart, found column "
            "`x`, whose values differ by little beside their size; use global"
        )

    def test_models_that_rounded_first_still_do(self) -> None:
        rows = self.rows(101325.0)
        old = replace(fit(rows), precision="float32")
        assert np.ptp(old.encode(rows, offsets_of(rows)).values) == 0

    def test_a_number_out_of_all_proportion(self) -> None:
        rows = self.rows(0.0)
        wild = table(sequence=["s"], x=[1e38], label=["p"])
        with pytest.raises(DataError, match=r"sequence 's', column `x`: expected a number like"):
            fit(rows).encode(wild, np.array([0, 1]))


class TestVocabulary:
    def test_frequent_tokens_come_first(self) -> None:
        fitted = fit(tokens("b", "c", "a", "c"), tokens("NA", "c"))
        assert fitted.vocabulary == ["c", "NA", "a", "b"]
        assert fitted.tokens
        assert fitted.columns == ["sequence", "token"]
        assert not fit(features(0)).tokens

    def test_rare_and_new_tokens_are_unknown(self) -> None:
        fitted = fit(tokens("a", "a", "b", "b", "b", "c"), min_count=2)
        rows = tokens("a", "b", "c", "new")
        encoded = fitted.encode(rows, np.array([0, 4]))
        assert encoded.tokens is not None
        assert encoded.tokens.dtype == np.int32
        assert encoded.tokens.tolist() == [2, 1, 3, 4]
        assert dictionary(encoded) == ["", "b", "a", "c", "new"]
        assert encoded.values.shape == (4, 0)

    def test_nothing_but_rare_tokens(self) -> None:
        fitted = fit(tokens("a", "b"), min_count=2)
        assert fitted.vocabulary == []
        assert spelled(fitted.encode(tokens("a"), np.array([0, 1]))) == ["a"]

    @given(st.lists(st.sampled_from(["a", "b", "é", "1", "NA", "null"]), min_size=1))
    def test_known_tokens_come_back(self, names: list[str]) -> None:
        fitted = fit(tokens(*names))
        encoded = fitted.encode(tokens(*names), np.array([0, len(names)]))
        assert spelled(encoded) == names
        assert fitted.vocabulary is not None
        assert dictionary(encoded) == ["", *fitted.vocabulary]

    def test_lower_case(self) -> None:
        rows = tokens("The", "É", "the", "ß")
        plain, lower = fit(rows), fit(rows, lowercase=True)
        assert plain.vocabulary == ["The", "the", "É", "ß"]
        assert lower.vocabulary == ["the", "ß", "é"]
        assert lower.characters == "ehtßé"
        assert spelled(lower.encode(tokens("THE", "NEW"), np.array([0, 2]))) == ["the", "new"]

    def test_the_alphabet_is_that_of_all_training_tokens(self) -> None:
        assert fit(tokens("ba", "é"), tokens("a😀"), min_count=2).characters == "abé😀"
        assert fit(features(0)).characters == ""

    def test_beside_features(self) -> None:
        rows = table(sequence=list("aab"), token=list("xyx"), f=[1.0, 2.0, 6.0], label=list("pqp"))
        fitted = fit(rows)
        assert fitted.columns == ["sequence", "f", "token"]
        encoded = fitted.encode(rows, np.array([0, 2, 3]))
        assert spelled(encoded) == list("xyx")
        np.testing.assert_allclose(
            encoded.values[:, 0], (np.array([1, 2, 6]) - 3) / 14**0.5 * 3**0.5, rtol=1e-6
        )


class TestFrames:
    ROWS = table(
        "classification",
        sequence=list("aaab"),
        x=[1.0, 3.0, 5.0, 9.0],
        y=[0.0, 0.0, 6.0, 4.0],
        label=list("pppq"),
    )

    def test_steps_become_wider_and_fewer(self) -> None:
        fitted = fit(self.ROWS, task="classification", scale="none", frame=2)
        encoded = fitted.encode(self.ROWS, np.array([0, 3, 4]))
        assert encoded.values.tolist() == [[1, 0, 3, 0], [5, 6, 0, 0], [9, 4, 0, 0]]
        assert encoded.offsets.tolist() == [0, 2, 3]
        assert encoded.labels.tolist() == [0, 1]
        assert fitted.inputs == ["x (1 of 2)", "y (1 of 2)", "x (2 of 2)", "y (2 of 2)"]

    def test_log_scales_are_there_once(self) -> None:
        fitted = fit(self.ROWS, task="classification", scale="per_sequence", frame=3)
        encoded = fitted.encode(self.ROWS, np.array([0, 3, 4]))
        assert encoded.values.shape == (2, 3 * 2 + 2)
        assert fitted.inputs[-2:] == ["log scale of x", "log scale of y"]
        assert len(fitted.inputs) == 8

    def test_padding_is_zero_after_scaling(self) -> None:
        fitted = fit(self.ROWS, task="classification", frame=2)
        encoded = fitted.encode(self.ROWS, np.array([0, 3, 4]))
        assert encoded.values[1:, 2:].tolist() == [[0, 0], [0, 0]]

    @pytest.mark.parametrize(
        ("rows", "task", "what"),
        [
            (features(0), "tagging", "tagging, where each step has a label"),
            (tokens("a", "b"), "classification", "tokens"),
        ],
    )
    def test_refused(self, rows: pa.Table, task: str, what: str) -> None:
        with pytest.raises(ParamsError) as refused:
            fit(rows, task=task, frame=2)
        assert str(refused.value) == f"prepare.frame: expected null for {what}, found 2"


class TestLabels:
    def test_steps(self) -> None:
        names = ["null", "1", "<script>", "NA", "10", "2"]
        rows = table(sequence=list("aaabbb"), x=range(6), label=names)
        fitted = fit(rows)
        encoded = fitted.encode(rows, np.array([0, 3, 6]))
        assert encoded.tagging
        assert encoded.labels.dtype == np.int32
        assert [fitted.labels[index] for index in encoded.labels] == names

    def test_numbers_are_in_the_order_of_numbers(self) -> None:
        rows = table(sequence=list("abc"), x=range(3), label=[10, 9, 1])
        assert fit(rows).labels == ["1", "9", "10"]

    def test_sequences(self) -> None:
        rows = table("classification", sequence=list("aab"), x=range(3), label=["q", "q", "p"])
        encoded = fit(rows, task="classification").encode(rows, np.array([0, 2, 3]))
        assert not encoded.tagging
        assert encoded.labels.tolist() == [1, 0]

    @pytest.mark.parametrize("task", ["tagging", "classification"])
    def test_a_class_that_train_has_never_seen(self, task: str) -> None:
        fitted = fit(features(0), task=task)
        rows = table(sequence=["a", "b"], x=[1, 2], y=[1, 2], constant=[7, 7], label=["p", "new"])
        with pytest.raises(DataError) as refused:
            fitted.encode(rows, np.array([0, 1, 2]))
        assert str(refused.value) == (
            "sequence 'b': label 'new' does not occur in the training split; "
            "add training sequences with it, set prepare.stratify, rename it, or name the "
            "splits in a column `split`, where it may be in test alone"
        )

    def test_none_to_predict(self) -> None:
        rows = features(0)
        encoded = fit(rows).encode(rows.drop_columns("label"), offsets_of(rows))
        assert encoded.labels.tolist() == [0] * 30


class TestDictionaries:
    """Text that is left as on disk, whose dictionaries may name what does not occur."""

    @pytest.mark.parametrize("task", ["tagging", "classification"])
    def test_are_read_like_text(self, task: str) -> None:
        rows = features(0).append_column("group", pa.array(["g", "h", "h"] * 10))
        if task == "classification":
            rows = replaced(rows, "label", ["p"] * 15 + ["q"] * 15)
        rows, later = replaced(rows, "label", [None, *rows["label"].to_pylist()[1:]]), rows
        coded = rows
        for name in ("sequence", "label", "group"):
            names = sorted({*rows[name].drop_null().to_pylist()}, reverse=True)
            text = pa.array([*names, "no such thing"])
            places = pc.index_in(rows[name].combine_chunks(), text)
            codes = pa.DictionaryArray.from_arrays(places, text)
            coded = coded.set_column(coded.schema.get_field_index(name), name, codes)
        fitted = fit(rows, task=task)
        assert fit(coded, task=task) == fitted
        assert fitted.labels == sorted({*later["label"].to_pylist()})
        one, other = (fitted.encode(each, offsets_of(each)) for each in (rows, coded))
        for name in ("values", "offsets", "labels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.ids, one.groups) == (other.ids, other.groups)

    def test_a_class_that_train_has_never_seen(self) -> None:
        rows = features(0)
        coded = rows.set_column(
            rows.schema.get_field_index("label"), "label", rows["label"].dictionary_encode()
        )
        with pytest.raises(DataError, match=r"sequence '0': label 'r' does not occur in the train"):
            replace(fit(rows), labels=["p", "q"]).encode(coded, offsets_of(rows))


class TestSame:
    def test_as_what_a_model_has_learned_from(self) -> None:
        fitted = fit(features(0))
        fitted.check_same(replace(fitted, reading={"source": "text"}), "models/m")
        with pytest.raises(DataError) as refused:
            fitted.check_same(replace(fitted, labels=["p", "q", "z"]), "models/m")
        assert str(refused.value) == (
            "models/m: expected a model of the data in data/prepared, with labels p, q, r, found "
            "one with p, q, z; run `dvc repro`"
        )

    @pytest.mark.parametrize(
        "change",
        [{"features": ["x", "y", "z"]}, {"mean": [0.0] * 3}, {"max_steps": 7}, {"form": None}],
    )
    def test_not_where_anything_differs(self, change: dict[str, Any]) -> None:
        fitted = fit(features(0))
        with pytest.raises(DataError, match=f"with {next(iter(change))} "):
            fitted.check_same(replace(fitted, **change), "models/m")


def test_ids_and_groups() -> None:
    rows = table(sequence=list("aab"), x=range(3), label=list("pqp"), group=list("ggh"))
    encoded = fit(rows).encode(rows, np.array([0, 2, 3]))
    assert encoded.ids.to_pylist() == ["a", "b"]
    assert encoded.groups.to_pylist() == ["g", "h"]
    alone = fit(rows).encode(rows.drop_columns("group"), np.array([0, 2, 3]))
    assert alone.groups.to_pylist() == ["a", "b"]


def test_an_empty_training_split() -> None:
    with pytest.raises(DataError, match=r"training split is empty: lower prepare\.split, or add"):
        fit()


@pytest.mark.parametrize("rows", [features(0), tokens("NA", "1", "é😀")])
def test_round_trip_through_json(rows: pa.Table, tmp_path: Path) -> None:
    fitted = fit(rows)
    fitted.write(tmp_path / "encoding.json")
    assert records.read(tmp_path / "encoding.json", Encoding) == fitted


class TestMissing:
    """Numbers that are missing are filled in as if the user had done it."""

    def rows(self, seed: int = 0) -> pa.Table:
        rng = np.random.default_rng(seed)
        values = rng.normal(3, 2, (60, 2))
        values[rng.random(60) < 0.3, 0] = np.nan
        return table(
            sequence=np.repeat(list("abcdef"), 10),
            x=values[:, 0],
            y=values[:, 1],
            label=["p", "q"] * 30,
        )

    def filled(self, rows: pa.Table, how: str, mean: float) -> pa.Table:
        frame = rows.to_pandas()
        if how == "last":
            frame["x"] = frame.groupby("sequence")["x"].ffill()
        frame["x"] = frame["x"].fillna(0.0 if how == "zero" else mean)
        return pa.Table.from_pandas(frame, preserve_index=False)

    @pytest.mark.parametrize("how", ["mean", "zero", "last", "mask"])
    @pytest.mark.parametrize("scale", ["global", "per_sequence", "asinh", "none"])
    def test_by_the_encoding_or_by_the_user(self, how: str, scale: str) -> None:
        train, new = self.rows(), self.rows(1)
        mean = float(np.nanmean(train["x"].to_numpy()))
        fitted = fit(train.slice(0, 20), train.slice(20), scale=scale, missing=how)
        plain = fit(self.filled(train, how, mean), scale=scale)
        found = fitted.encode(new, offsets_of(new)).values
        expected = plain.encode(self.filled(new, how, mean), offsets_of(new)).values
        assert found.shape[1] == len(fitted.inputs)
        if how == "mask":
            assert fitted.masked == ["x"]
            absent = np.isnan(new["x"].to_numpy())
            np.testing.assert_array_equal(found[:, 2], absent)
            found = np.delete(found, 2, axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_of_frames(self) -> None:
        rows = replaced(self.rows(), "label", ["p"] * 30 + ["q"] * 30)
        fitted = fit(rows, task="classification", frame=2, missing="mask")
        encoded = fitted.encode(rows, offsets_of(rows)).values
        assert fitted.inputs == [
            *("x (1 of 2)", "y (1 of 2)", "x is missing (1 of 2)"),
            *("x (2 of 2)", "y (2 of 2)", "x is missing (2 of 2)"),
        ]
        np.testing.assert_array_equal(encoded[:, [2, 5]].ravel(), np.isnan(rows["x"].to_numpy()))

    def test_a_column_without_a_number(self) -> None:
        rows = replaced(self.rows(), "x", [np.nan] * 60)
        assert fit(rows, missing="zero").fills == [0.0, 0.0]
        with pytest.raises(DataError, match="column `x`: expected numbers to take the mean of"):
            fit(rows, missing="mean")


class TestUnlabelled:
    def test_steps_and_classes_that_train_lacks(self) -> None:
        rows = features(0)
        labels = [None, "new", *rows["label"].to_pylist()[2:]]
        partly = replaced(rows, "label", labels)
        fitted = encoding.fit(
            lambda: [(rows, offsets_of(rows))],
            Options(scale="global"),
            task="tagging",
            unseen=["new", "p"],
        )
        assert (fitted.labels, fitted.unseen) == (["p", "q", "r"], ["new"])
        found = fitted.encode(partly, offsets_of(rows))
        assert found.labels[:2].tolist() == [-1, 3]
        named = encoding.class_names(found.labels, fitted.names)
        assert named.to_pylist() == labels

    @pytest.mark.parametrize("labels", [[None, None], ["p", None]])
    def test_labels_are_learned_from_those_that_are_there(self, labels: list[str | None]) -> None:
        rows = table(sequence=["a", "b"], x=[1.0, 2.0], label=pa.array(labels, pa.string()))
        if labels == ["p", None]:
            assert fit(rows).labels == ["p"]
            return
        with pytest.raises(DataError, match="expected labels, found none in 2 sequences"):
            fit(rows)
