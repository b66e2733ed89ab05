"""The sequence table: what is refused and how it is said, and chunks that never cut a sequence."""

import csv
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn.errors import DataError
from birnn.files import parts, table_checks, tables
from birnn.files.reading import Skipped

GOOD: dict[str, Any] = {
    "sequence": ["a", "a", "b", "c"],
    "x": [1.0, 2.0, 3.0, 4.0],
    "label": ["p", "q", "q", "p"],
}
ODD_NAMES = ["1", "NA", "null", "nan", "None", "<script>", 'a,"b"', "né", "True"]


def check(columns: dict[str, Any], *, task: str = "tagging", **options: Any) -> pa.Table:
    """Read columns as one batch."""
    batch = pa.record_batch(columns)
    return pa.Table.from_batches(table_checks.checked([batch], task=task, where="t.csv", **options))


def complaint(columns: dict[str, Any], task: str = "tagging") -> str:
    with pytest.raises(DataError) as refused:
        check(columns, task=task)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def changed(**columns: Any) -> dict[str, Any]:
    """GOOD with some columns exchanged, added or (None) left out."""
    return {name: column for name, column in {**GOOD, **columns}.items() if column is not None}


NOT_UTF8 = pa.array([b"a", b"b", b"\xff", b"c"]).cast(pa.string(), safe=False)

MISTAKES = {
    "no ids": (changed(sequence=None), "t.csv: expected a column `sequence`, found x, label"),
    "no labels": (changed(label=None), "t.csv: expected a column `label`, found sequence, x"),
    "no features": (changed(x=None), "t.csv: expected `token` or at least one feature column"),
    "NaN": (
        changed(x=[1.0, 2.0, float("nan"), 4.0]),
        "t.csv, row 3, column `x`: expected a finite number, found nan; fill it in",
    ),
    "infinity": (
        changed(x=[1.0, -float("inf"), 3.0, 4.0]),
        "t.csv, row 2, column `x`: expected a finite number, found -inf; fill it in",
    ),
    "too large for float32": (changed(x=[1.0, 1e300, 3.0, 4.0]), "t.csv, row 2, column `x`: exp"),
    "a missing number": (
        changed(x=[None, 2, 3, 4]),
        "t.csv, row 1, column `x`: expected a finite number, found nothing; fill it in",
    ),
    "text for a feature": (
        changed(x=["1", "2", "3", "4"]),
        "t.csv, column `x`: expected numbers, found string; leave the column out (data.ignore)",
    ),
    "a time for a feature": (
        changed(x=pa.array([1, 2, 3, 4], pa.timestamp("s"))),
        "t.csv, column `x`: expected numbers, found timestamp[s]",
    ),
    "an empty token": (
        changed(x=None, token=["", "t", "t", "t"]),
        "t.csv, row 1, column `token`: value missing",
    ),
    "a fraction for a label": (
        changed(label=[0.5, 1.0, 2.0, 1.0]),
        "t.csv, column `label`: expected text or whole numbers, found double",
    ),
    "lists for ids": (
        changed(sequence=[["a"]] * 4),
        "t.csv, column `sequence`: expected text or whole numbers, found list",
    ),
    "not UTF-8": (
        changed(label=NOT_UTF8),
        "t.csv, column `label`, after row 0: expected UTF-8 text, found: Invalid UTF8 sequence at "
        "string index 2",
    ),
    "bytes that are not UTF-8": (
        changed(label=[b"p", b"\xff", b"p", b"p"]),
        "t.csv, column `label`, after row 0: expected UTF-8 text, found",
    ),
    "times that float64 cannot tell apart": (
        changed(x=[0, 1_700_000_000_000_000_100, 1_700_000_000_000_000_101, 1]),
        "t.csv, row 3, column `x`: expected numbers that float64 tells apart, found "
        "1700000000000000101 after 1700000000000000100; subtract a constant",
    ),
    "a number that float32 does not hold": (
        changed(x=[1.0, 1e39, 2.0, 3.0]),
        "t.csv, row 2, column `x`: expected a finite number, found 1e+39, too large for float32",
    ),
    "interleaved": (
        changed(sequence=["a", "b", "a", "c"]),
        "t.csv, row 3: sequence 'a' goes on after another one began; give each",
    ),
    "a group that changes": (
        changed(group=["g", "h", "h", "h"]),
        "t.csv, row 2, column `group`: expected 'g' on every row of sequence 'a', found 'h'",
    ),
    "a split that changes": (
        changed(split=["train", "test", "test", "test"]),
        "t.csv, row 2, column `split`: expected 'train' on every row of sequence 'a', found 'test'",
    ),
    "an unknown split": (
        changed(split=["train", "train", "dev", "test"]),
        "t.csv, row 3, column `split`: expected train, validation, test, found 'dev'",
    ),
    "a group in two splits": (
        changed(group=["g", "g", "h", "g"], split=["train", "train", "test", "test"]),
        "t.csv, row 4, column `split`: expected 'train' as on the other rows of group 'g', "
        "found 'test'; a group belongs to one split",
    ),
}


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_file_row_and_column_are_named(self, mistake: str) -> None:
        columns, expected = MISTAKES[mistake]
        assert complaint(columns).startswith(expected)

    def test_a_sequence_of_two_classes(self) -> None:
        assert complaint(GOOD, task="classification") == (
            "t.csv, row 2, column `label`: expected 'p' on every row of sequence 'a', found 'q'; "
            "for a label a step, set data.task: tagging"
        )

    def test_a_column_twice(self) -> None:
        batch = pa.RecordBatch.from_arrays(
            [["a"], [1], [2], ["p"]], ["sequence", "x", "x", "label"]
        )
        with pytest.raises(DataError, match="expected each column once, found `x` twice"):
            list(table_checks.checked([batch], task="tagging", where="t.csv"))

    def test_no_rows(self) -> None:
        with pytest.raises(DataError, match=r"t\.csv: expected rows, found none"):
            list(table_checks.checked([], task="tagging", where="t.csv"))


class TestTypes:
    def test_whatever_the_source_gives(self) -> None:
        table = check(
            {
                "label": pa.array(["p", "q", "q", "p"]).dictionary_encode(),
                "sequence": [7, 7, 8, 9],
                "x": [True, False, True, True],
                "y": pa.array([1, 2, 3, 4], pa.int8()),
                "z": pa.array([0.1, 0.2, 0.3, 0.4], pa.float64()),
            }
        )
        text = {"sequence": pa.string(), "label": pa.string()}
        features = dict.fromkeys("xyz", pa.float64())
        assert table.schema == pa.schema(text | features)
        assert table["sequence"].to_pylist() == ["7", "7", "8", "9"]
        assert table["z"].to_pylist() == [0.1, 0.2, 0.3, 0.4]

    @pytest.mark.parametrize(
        "x",
        [
            [1e30, 2e30, 3e30, 9e30],
            [2**60 + 1] * 4,
            [2**60, 2**61, 0, 1],
            [101325.0, 101325.002, 101325.0, 0.0],
        ],
    )
    def test_numbers_keep_their_digits(self, x: list[float]) -> None:
        assert check(changed(x=x))["x"].to_pylist() == [float(one) for one in x]

    def test_text_is_brought_to_one_form_of_unicode(self) -> None:
        apart, one = "ne\u0301", "n\u00e9"
        mixed = [one, apart, "b", "b"]
        columns = {
            "sequence": [apart, *"aab"],
            "group": [*[apart] * 3, "b"],
            "token": mixed,
            "label": mixed,
        }
        skipped = Skipped()
        found = check(columns, skipped=skipped)
        assert found["token"].to_pylist() == found["label"].to_pylist() == [one, one, "b", "b"]
        assert found["group"].to_pylist() == [one, one, one, "b"]
        assert found["sequence"].to_pylist() == columns["sequence"]  # which users look up
        assert skipped.sentences() == [
            "changed: column `group`, to the form NFC of Unicode, 3 in all, the first in "
            "t.csv, row 1",
            "changed: column `token`, to the form NFC of Unicode, 1 in all, the first in "
            "t.csv, row 2",
            "changed: column `label`, to the form NFC of Unicode, 1 in all, the first in "
            "t.csv, row 2",
        ]
        assert check(columns, form=None)["token"].to_pylist() == columns["token"]

    def test_tokens(self) -> None:
        tokens = ["NA", "1", "null", " "]
        table = check(changed(x=None, token=tokens))
        assert table["token"].to_pylist() == tokens
        assert tables.feature_names(table.schema) == []

    def test_features_beside_tokens(self) -> None:
        found = check(changed(token=["s", "t", "u", "s"]))
        assert found.schema.names == ["sequence", "token", "label", "x"]
        assert tables.feature_names(found.schema) == ["x"]

    def test_labels_are_needed_for_training_only(self) -> None:
        assert check(changed(label=None), labelled=False).num_rows == 4


class TestSeveralFiles:
    def part(self, path: str, **columns: Any) -> pa.RecordBatch:
        return table_checks.from_file(pa.record_batch(changed(**columns)), path)

    def check(self, *parts: pa.RecordBatch) -> pa.Table:
        return pa.Table.from_batches(table_checks.checked(parts, task="tagging", where="all"))

    def test_columns_are_brought_into_one_order(self) -> None:
        other = self.part("b.csv", sequence=["d", "e", "e", "f"]).select(["label", "x", "sequence"])
        found = self.check(self.part("a.csv"), other)
        assert found.schema.names == ["sequence", "label", "x"]
        assert found["sequence"].to_pylist() == [*"aabc", *"deef"]

    def test_a_sequence_may_go_on_in_the_next(self) -> None:
        assert self.check(self.part("a"), self.part("b", sequence=["c", *"def"])).num_rows == 8

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"x": [1.0, 2.0, float("nan"), 4.0]}, "b.csv, row 3, column `x`: expected a finite"),
            ({}, "b.csv, row 1: sequence 'a' goes on after another one began"),
            ({"y": [1, 2, 3, 4]}, "b.csv: expected no column `y`, as in the first file, found"),
            ({"x": None, "y": [1, 2, 3, 4]}, "b.csv: expected a column `x`, as in the first file"),
        ],
    )
    def test_a_mistake_is_named_in_its_own(self, columns: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError) as refused:
            self.check(self.part("a.csv"), self.part("b.csv", **columns))
        assert str(refused.value).startswith(message)

    def test_names_with_line_breaks_stay_in_one_line(self) -> None:
        with pytest.raises(DataError) as refused:
            self.check(pa.record_batch({"a\nb": [1]}))
        assert (
            str(refused.value)
            == r"all: expected names of columns in one line, found 'a\nb'; rename it"
        )


class TestLengths:
    @pytest.mark.parametrize("place", range(1, 7))
    def test_the_row_that_is_one_too_many_is_named(self, place: int) -> None:
        batch = pa.record_batch(
            {"sequence": list("abbbbbc"), "x": range(7), "label": list("pqpqpqp")}
        )
        for most, row in ((5, None), (4, 6), (3, 5), (1, 3)):
            checked = table_checks.checked(
                cut(batch, [place]), task="tagging", where="t.csv", max_steps=most
            )
            if row is None:
                assert sum(batch.num_rows for batch in checked) == 7
                continue
            message = (
                rf"t\.csv, row {row}: expected up to {most} steps \(data.max_steps\) in .* 'b'"
            )
            with pytest.raises(DataError, match=message):
                list(checked)

    def test_a_table_may_not_have_more_steps_than_can_be_counted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(table_checks, "MOST_STEPS", 3)
        assert complaint(GOOD) == "t.csv: expected up to 3 steps in all, found more"

    def test_batches_without_rows_are_passed_over(self) -> None:
        batch = pa.record_batch(GOOD)
        parts = [batch.slice(0, 0), batch.slice(0, 2), batch.slice(0, 0), batch.slice(2)]
        checked = table_checks.checked(parts, task="tagging", where="t.csv")
        assert [part.num_rows for part in checked] == [2, 2]


@st.composite
def rows(draw: st.DrawFn) -> pa.RecordBatch:
    """A small table, right or wrong."""
    ids = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
    ids = ids if draw(st.booleans()) else sorted(ids)

    def column(values: list[str]) -> list[str]:
        """Of one value for each sequence, or of any."""
        of = {name: draw(st.sampled_from(values)) for name in "abc"}
        same = draw(st.booleans())
        return [of[name] if same else draw(st.sampled_from(values)) for name in ids]

    return pa.record_batch(
        {
            "sequence": ids,
            "x": [float(row) for row in range(len(ids))],
            "label": column(["p", "q"]),
            "group": column(["g", "h"]),
            "split": column(["train", "test"]),
        }
    )


def is_right(rows: list[dict[str, str]], task: str) -> bool:
    """What a sequence table promises, as plainly as can be."""

    def one_each(key: str, column: str) -> bool:
        return len({(row[key], row[column]) for row in rows}) == len({row[key] for row in rows})

    names = [name for name, _ in groupby(row["sequence"] for row in rows)]
    return (
        len(names) == len(set(names))
        and one_each("sequence", "group")
        and one_each("group", "split")
        and (task == "tagging" or one_each("sequence", "label"))
    )


def cut(batch: pa.RecordBatch, places: list[int]) -> list[pa.RecordBatch]:
    """The same rows as several batches, empty ones left out."""
    edges = sorted({0, batch.num_rows, *(place % batch.num_rows for place in places)})
    return [batch.slice(start, end - start) for start, end in pairwise(edges)]


def outcome(batches: list[pa.RecordBatch], task: str) -> tuple[str, list[dict[str, Any]]]:
    """The message, or the rows."""
    try:
        checked = list(table_checks.checked(batches, task=task, where="t.csv"))
    except DataError as error:
        return str(error), []
    return "", pa.Table.from_batches(checked).to_pylist()


@settings(max_examples=150, deadline=None)
@given(
    batch=rows(),
    places=st.lists(st.integers(0, 11), max_size=5),
    task=st.sampled_from(["tagging", "classification"]),
)
def test_the_verdict_is_right_however_the_rows_arrive(
    batch: pa.RecordBatch, places: list[int], task: str
) -> None:
    message, found = outcome(cut(batch, places), task)
    assert (message == "") == is_right(batch.to_pylist(), task)
    assert (found == batch.to_pylist()) == (message == "")


def sequences_of(
    chunks: Iterator[tuple[pa.Table, Any]],
) -> list[tuple[str, list[float]]]:
    """Every sequence with its values, chunk after chunk."""
    found = []
    for table, offsets in chunks:
        assert offsets[0] == 0
        assert offsets[-1] == table.num_rows
        for start, end in pairwise(offsets.tolist()):
            (name,) = set(table["sequence"][start:end].to_pylist())
            found.append((name, table["x"][start:end].to_pylist()))
    return found


class TestChunks:
    @settings(max_examples=100, deadline=None)
    @given(
        lengths=st.lists(st.integers(1, 7), min_size=1, max_size=8),
        places=st.lists(st.integers(0, 60), max_size=8),
    )
    def test_no_sequence_is_ever_cut(self, lengths: list[int], places: list[int]) -> None:
        ids = np.repeat(np.arange(len(lengths)), lengths).astype(str)
        batch = pa.record_batch({"sequence": ids.tolist(), "x": np.arange(len(ids)).tolist()})
        values = np.split(np.arange(len(ids)), np.cumsum(lengths)[:-1])
        expected = [(str(name), rows.tolist()) for name, rows in enumerate(values)]
        assert sequences_of(tables.whole_sequences(cut(batch, places))) == expected

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
    def test_from_a_file(self, tmp_path: Path, size: int) -> None:
        table = pa.table({"sequence": list("aaabccdddd"), "x": range(10)})
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=4)
        assert sequences_of(tables.chunks(tmp_path / "t.parquet", rows=size)) == [
            ("a", [0, 1, 2]),
            ("b", [3]),
            ("c", [4, 5]),
            ("d", [6, 7, 8, 9]),
        ]

    @pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
    @pytest.mark.parametrize("parted", [False, True])
    def test_text_left_as_dictionaries(self, tmp_path: Path, size: int, parted: bool) -> None:
        """Each row group has a dictionary of its own: one code names several texts."""
        ids, labels = list("aaabccddddab"), [*"pqqrpprq", None, *"qpr"]
        table = pa.table({"sequence": ids, "x": range(12), "label": labels, "group": ids[::-1]})
        path = tmp_path / "t.parquet"
        if parted:
            with parts.writing(path) as folder:
                chunks = tables.whole_sequences(table.to_batches(4))
                folder.finish([*tables.write_parts(chunks, folder, 5)])
        else:
            pq.write_table(table, path, row_group_size=4)
        plain = [*tables.chunks(path, size)]
        coded = [*tables.chunks(path, size, coded=True)]
        assert [offsets.tolist() for _, offsets in coded] == [at.tolist() for _, at in plain]
        assert [tables.spelled(found) for found, _ in coded] == [found for found, _ in plain]
        kinds = {field.name: field.type for field in coded[0][0].schema}
        text = pa.dictionary(pa.int32(), pa.string())
        assert kinds == {"sequence": text, "x": pa.int64(), "label": text, "group": text}

    def test_memory_holds_a_chunk(self, tmp_path: Path) -> None:
        table = pa.table({"sequence": [str(row // 3) for row in range(300)], "x": range(300)})
        pq.write_table(table, tmp_path / "t.parquet")
        sizes = [chunk.num_rows for chunk, _ in tables.chunks(tmp_path / "t.parquet", rows=10)]
        assert sum(sizes) == 300
        assert max(sizes) <= 12

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
    def test_a_broken_file(self, tmp_path: Path, share: float) -> None:
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table(GOOD), path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"t\.parquet: expected Parquet, found"):
            list(tables.chunks(path))

    def test_a_damaged_page(self, tmp_path: Path) -> None:
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table(GOOD), path)
        whole = path.read_bytes()
        path.write_bytes(whole[:10] + b"\xff" * 30 + whole[40:])
        with pytest.raises(DataError, match=r"t\.parquet: expected Parquet, found"):
            list(tables.chunks(path))

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"t\.parquet: no such file; run `dvc repro` first"):
            list(tables.chunks(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["c10", "c9"], ["c10", "c9"]),
        (["1" * 5000, "2"], ["2", "1" * 5000]),
        (["10", "9", "NA"], ["10", "9", "NA"]),
        (["b", "B", "é"], ["B", "b", "é"]),
    ],
)
def test_natural_order(names: list[str], expected: list[str]) -> None:
    assert tables.natural_order(names) == expected


class TestEncodings:
    ROWS = 20_000

    @pytest.mark.parametrize(
        ("kind", "digits"), [("BYTE_STREAM_SPLIT", None), ("RLE_DICTIONARY", 1)]
    )
    def test_numbers_that_come_again_are_a_dictionary(
        self, tmp_path: Path, kind: str, digits: int | None
    ) -> None:
        drawn = np.random.default_rng(0).standard_normal(self.ROWS)
        values = drawn if digits is None else drawn.round(digits)
        labels = np.resize(["a", "b"], self.ROWS)
        columns = {"sequence": np.arange(self.ROWS).astype(str), "x": values, "label": labels}
        batch = pa.record_batch(columns)
        tables.write([batch, batch], tmp_path / "t.parquet")
        read = pq.read_table(tmp_path / "t.parquet")
        assert read.equals(pa.Table.from_batches([batch, batch]))
        written = pq.read_metadata(tmp_path / "t.parquet").row_group(0)
        encodings = {written.column(n).path_in_schema: written.column(n).encodings for n in (1, 2)}
        assert kind in encodings["x"]
        assert "RLE_DICTIONARY" in encodings["label"]

    def test_a_file_is_smaller_for_it(self, tmp_path: Path) -> None:
        drawn = np.random.default_rng(0).standard_normal(self.ROWS).astype(np.float32)
        columns = {"float32": drawn.astype(float), "decimals": drawn.round(1).astype(float)}
        for name, values in columns.items():
            batch = pa.record_batch({"sequence": ["s"] * self.ROWS, "x": values})
            tables.write([batch], tmp_path / "t.parquet")
            plain = pa.Table.from_batches([batch])
            pq.write_table(plain, tmp_path / "plain.parquet", compression="zstd", use_dictionary=[])
            sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
            assert sizes["t.parquet"] < sizes["plain.parquet"], name


class TestExport:
    TABLE = pa.table({"sequence": ODD_NAMES, "predicted": ODD_NAMES[::-1], "p": [0.1] * 9})

    def test_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        tables.export([self.TABLE.slice(0, 4), self.TABLE.slice(4)], path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["sequence"] for row in rows] == ODD_NAMES
        assert [row["predicted"] for row in rows] == ODD_NAMES[::-1]
        assert {row["p"] for row in rows} == {"0.1"}

    def test_parquet(self, tmp_path: Path) -> None:
        path = tmp_path / "out.parquet"
        tables.export([self.TABLE.slice(0, 4), self.TABLE.slice(4)], path)
        assert pq.read_table(path).equals(self.TABLE)

    def test_standard_output(self, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        tables.export([pa.table({"sequence": ["a"], "predicted": ["NA"]})], Path("-"))
        assert capfdbinary.readouterr().out == b'"sequence","predicted"\n"a","NA"\n'

    @pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
    def test_a_failure_on_the_way_leaves_the_old_file(self, tmp_path: Path, name: str) -> None:
        def failing() -> Iterator[pa.Table]:
            yield self.TABLE
            raise DataError("row 10: no")

        (tmp_path / name).write_text("old")
        with pytest.raises(DataError, match="row 10: no"):
            tables.export(failing(), tmp_path / name)
        assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]

    def test_another_ending(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"out\.xlsx: expected a name that ends in"):
            tables.export([self.TABLE], tmp_path / "out.xlsx")
        assert list(tmp_path.iterdir()) == []


class TestUnlabelled:
    """Labels that are not there, in the forms in which people have them."""

    @pytest.mark.parametrize(
        ("labels", "names", "expected"),
        [
            (["p", "", None, "q"], (), ["p", None, None, "q"]),
            (["-100", "3", "O?", "3"], ("-100", "O?"), [None, "3", None, "3"]),
            ([1.0, float("nan"), None, 2.0], (), ["1", None, None, "2"]),
            ([-100, 0, 1, 1], ("-100",), [None, "0", "1", "1"]),
        ],
    )
    def test_are_null(self, labels: list[Any], names: tuple[str, ...], expected: list[Any]) -> None:
        batch = pa.record_batch({"sequence": list("aabb"), "x": [1.0] * 4, "label": labels})
        allowed = table_checks.Allowed(labels=names)
        (found,) = table_checks.checked([batch], task="tagging", where="t.csv", allowed=allowed)
        assert found["label"].to_pylist() == expected

    @pytest.mark.parametrize("labels", [[0.5, 1.0], [float("inf"), 1.0], [2.0**60, 1.0]])
    def test_floats_that_are_no_class_numbers(self, labels: list[float]) -> None:
        batch = pa.record_batch({"sequence": ["a", "a"], "x": [1.0, 2.0], "label": labels})
        with pytest.raises(
            DataError, match="`label`: expected text or whole numbers, found double"
        ):
            list(table_checks.checked([batch], task="tagging", where="t.csv"))

    def test_a_sequence_is_labelled_or_not(self) -> None:
        rows = {"sequence": list("aabb"), "x": [1.0] * 4, "label": [None, None, "p", None]}
        with pytest.raises(DataError, match="row 4, column `label`: expected 'p' on every row of"):
            list(table_checks.checked([pa.record_batch(rows)], task="classification", where="t"))
        rows["label"] = [None, None, "p", "p"]
        (found,) = table_checks.checked([pa.record_batch(rows)], task="classification", where="t")
        assert found["label"].to_pylist() == rows["label"]


class TestParts:
    @given(
        lengths=st.lists(st.integers(1, 9), min_size=1, max_size=30),
        part_steps=st.integers(1, 40),
        rows=st.integers(1, 20),
    )
    def test_each_is_full_and_no_sequence_is_cut(
        self, lengths: list[int], part_steps: int, rows: int
    ) -> None:
        ids = np.repeat([f"s{number}" for number in range(len(lengths))], lengths)
        whole = pa.table({"sequence": ids, "x": np.arange(len(ids)) * 0.5})
        chunks = tables.whole_sequences(tables.of_rows(whole.to_batches(), rows))
        expected: list[list[str]] = [[]]
        steps = 0
        for number, length in enumerate(lengths):
            if steps >= part_steps:
                expected, steps = [*expected, []], 0
            expected[-1].append(f"s{number}")
            steps += length
        with TemporaryDirectory() as place:
            path = Path(place, "t.parquet")
            with parts.writing(path) as folder:
                folder.finish([*tables.write_parts(chunks, folder, part_steps)])
            found = [tables.chunks_of(one, rows) for one in parts.of(path)]
            held = [[table for table, _ in part] for part in found]
        assert pa.concat_tables([table for part in held for table in part]).equals(whole)
        ids_of = [pa.concat_tables(part)["sequence"].unique().to_pylist() for part in held]
        assert ids_of == expected
