"""What is said of data: counts beside a plain count, and the command `birnn check`."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birnn import cli
from birnn.errors import DataError
from birnn.files import table_checks, tables
from birnn.files.reading import Skipped
from birnn.files.summary import ClassCount, Groups, Summary
from birnn.sources import inspection

Chunk = tuple[pa.Table, npt.NDArray[np.int64]]
GOOD: dict[str, Any] = {
    "sequence": ["a", "a", "b", "c"],
    "x": [1.0, 2.0, 3.0, 4.0],
    "label": ["p", "q", "q", "p"],
}
COMMON: dict[str, Any] = {
    "sequence": sorted([*"abcdefgh"] * 2),
    "x": [float(number) for number in range(16)],
    "label": ["p", "q"] * 8,
}
"""Each class is in enough sequences for all splits."""


def chunks(columns: dict[str, Any], rows: int = 100) -> Iterator[Chunk]:
    """A table as it is after the checks, some rows at a time."""
    batch = pa.record_batch(columns)
    parts = [batch.slice(start, rows) for start in range(0, batch.num_rows, rows)]
    return tables.whole_sequences(table_checks.checked(parts, task="tagging", where="t.csv"))


def summary(columns: dict[str, Any], task: str = "tagging", rows: int = 100) -> Summary:
    def read() -> Iterator[Chunk]:
        return chunks(columns, rows)

    return inspection.summary(read(), read, task=task, where="t.csv")


class TestSummary:
    @pytest.mark.parametrize("rows", [1, 2, 100])
    def test_of_tags(self, rows: int) -> None:
        assert summary(GOOD | {"split": ["train", "train", "train", "test"]}, rows=rows) == Summary(
            task="tagging",
            sequences=3,
            steps=4,
            features=["x"],
            lengths={
                "mean": 4 / 3,
                "min": 1.0,
                "q25": 1.0,
                "median": 1.0,
                "q75": 1.5,
                "q95": 1.9,
                "max": 2.0,
            },
            labels={"p": ClassCount(2, 0.5), "q": ClassCount(2, 0.5)},
            splits={"train": 2, "test": 1},
            not_in_test=["q"],
            duplicates=0,
            conflicts=0,
            first_conflicts=[],
            left_out={},
            reading={},
        )

    def test_of_classes_with_tokens_and_features(self) -> None:
        found = summary(
            GOOD | {"token": ["s", "t", "u", "s"], "label": ["2", "2", "10", "2"]}, "classification"
        )
        assert (found.tokens, found.features) == (3, ["x"])
        assert list(found.labels) == ["2", "10"]
        assert [count.count for count in found.labels.values()] == [2, 1]
        assert found.splits == {}
        assert found.not_in_test == []

    def test_one_label_only(self) -> None:
        with pytest.raises(
            DataError, match="`label`: expected two classes or more, found only 'p'"
        ):
            summary(GOOD | {"label": ["p"] * 4})

    def test_classes_that_are_nearly_written_alike(self) -> None:
        found = summary(GOOD | {"label": ["Walk", "walk", " walk", "run"]})
        assert next(inspection.notes(found)) == (
            "classes that differ in capitals or blanks alone: ' walk' and 'Walk' and 'walk'; are "
            "they one? write it so"
        )

    def test_groups_that_are_nearly_written_alike(self) -> None:
        """One person whose name is typed in two ways is in train and in test."""
        columns = COMMON | {"group": sorted(["Anna", "anna ", "Bo", "Cy"] * 4)}
        assert next(inspection.notes(summary(columns))) == (
            "groups that differ in capitals or blanks alone: 'Anna' and 'anna '; are they one? "
            "write it so, or train and test may share it"
        )

    def test_classes_with_blanks_around_them(self) -> None:
        found = summary(GOOD | {"label": [" walk", " walk", "run", "run"]})
        expected = "classes with blanks around them: ' walk'; are they meant?"
        assert expected in inspection.notes(found)

    def test_classes_that_may_stand_for_none(self) -> None:
        """As R writes what is missing; it may be Namibia, or North America."""
        found = summary(GOOD | {"label": ["NA", "walk", "NA", "walk"]})
        expected = "classes that may stand for no label: 'NA'; if they do, name them in data."
        assert any(one.startswith(expected) for one in inspection.notes(found))

    def test_sequences_of_one_step(self) -> None:
        found = summary(GOOD | {"sequence": [*"abcd"], "split": ["train"] * 4})
        assert any(one.startswith("each sequence has a single") for one in inspection.notes(found))
        assert not any("a single" in one for one in inspection.notes(summary(GOOD)))

    @pytest.mark.parametrize("name", ["macro", "weighted"])
    def test_a_class_that_is_called_like_an_average(self, name: str) -> None:
        """Its F1 would have the name of the mean of all."""
        with pytest.raises(DataError, match=f"other names of classes than '{name}', after which"):
            summary(GOOD | {"label": [name, "p", name, "p"]})

    @pytest.mark.parametrize("split", ["validation", "test"])
    def test_a_label_that_is_never_trained(self, split: str) -> None:
        columns = GOOD | {"split": ["train", "train", "train", split], "label": list("ppqr")}
        found = summary(columns)
        assert found.not_in_train == {"r": 1}
        assert (
            "not in train: labels 'r' (1 steps); no model can learn them, so each of these steps "
            "counts as answered wrongly"
        ) in inspection.notes(found)

    def test_a_table_without_train_is_for_prepare_to_refuse(self) -> None:
        assert summary(GOOD | {"split": ["test"] * 4}).not_in_test == []

    @settings(deadline=None)
    @given(st.lists(st.integers(1, 9), min_size=2, max_size=30))
    def test_lengths_are_those_of_numpy(self, lengths: list[int]) -> None:
        ids = np.repeat(np.arange(len(lengths)), lengths)
        found = summary({"sequence": ids, "x": ids, "label": np.arange(len(ids)) % 2}, rows=7)
        assert found.lengths["mean"] == pytest.approx(np.mean(lengths))
        quantiles = np.quantile(lengths, [0, 0.25, 0.5, 0.75, 0.95, 1])
        assert [*found.lengths.values()][1:] == pytest.approx(quantiles)


def test_the_memory_of_what_was_seen_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = GOOD | {"sequence": list("abcd"), "x": [1.0, 1.0, 2.0, 2.0], "label": list("pqpq")}
    assert summary(columns, rows=1).duplicates == 2
    monkeypatch.setattr(inspection, "MOST_COMPARED", 1)
    found = summary(columns, rows=1)
    assert found.duplicates == 0
    assert ("duplicates", "0, among 1") in [*inspection._counts(found)]


Step = tuple[str, float, str]


@st.composite
def sequence(draw: st.DrawFn) -> list[Step]:
    """A token, a feature and a label for each of a few steps."""
    step = st.tuples(
        st.sampled_from(["a", "b", "ab"]), st.sampled_from([0.0, -0.0, 1.0]), st.sampled_from("pq")
    )
    return draw(st.lists(step, min_size=1, max_size=3))


@settings(deadline=None)
@given(
    st.lists(sequence(), min_size=1, max_size=12), st.sampled_from(["tagging", "classification"])
)
def test_repeated_sequences_are_those_of_a_plain_count(drawn: list[list[Step]], task: str) -> None:
    if task == "classification":
        drawn = [[(token, value, one[0][2]) for token, value, _ in one] for one in drawn]
    drawn = [*drawn, [("z", 9.0, "p")], [("y", 9.0, "q")]]  # two classes at least
    rows = [(f"s{number}", *step) for number, one in enumerate(drawn) for step in one]
    names = ("sequence", "token", "x", "label")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    first: dict[object, tuple[str, list[str]]] = {}
    pairs, again = [], Counter(duplicates=0, conflicts=0)
    for number, one in enumerate(drawn):
        labels = [label for *_, label in one]
        content = tuple((token, value) for token, value, _ in one)
        known, others = first.setdefault(content, (f"s{number}", labels))
        again["duplicates"] += known != f"s{number}"
        again["conflicts"] += others != labels
        pairs += [[known, f"s{number}"]] if others != labels else []
    found = summary(columns, task, rows=4)
    assert {name: getattr(found, name) for name in again} == again
    assert [pair.sequences for pair in found.first_conflicts] == pairs[: inspection.SHOWN]


class TestGaps:
    """What is missing in a table: labels, numbers, and classes in some splits."""

    def test_labels_that_are_not_there(self) -> None:
        found = summary(COMMON | {"label": ["p", None, "q", ""] * 4})
        assert (found.unlabelled, {n: c.count for n, c in found.labels.items()}) == (
            8,
            {"p": 4, "q": 4},
        )
        (note,) = inspection.notes(found)
        assert note.startswith("without a label: 8 steps; they go through the model, and count in")

    def test_no_label_at_all(self) -> None:
        with pytest.raises(DataError, match="expected two classes or more, found no label"):
            summary(COMMON | {"label": [None] * 16})

    def test_what_is_not_known_contradicts_nothing(self) -> None:
        same = {"sequence": list("abcd"), "x": [1.0] * 4}
        known = summary(same | {"label": ["p", "q", "p", "q"]}, "classification")
        partly = summary(same | {"label": ["p", None, "p", "q"]}, "classification")
        assert (known.duplicates, known.conflicts) == (3, 2)
        assert (partly.duplicates, partly.conflicts) == (3, 1)

    @pytest.mark.parametrize("rows", [1, 3, 100])
    def test_missing_numbers_are_counted_by_column(self, rows: int) -> None:
        x = [None if number % 5 == 0 else 1.0 * number for number in range(16)]
        columns = COMMON | {"x": x, "y": [float("nan"), *range(15)], "z": [1.0] * 16}
        batch = pa.record_batch(columns)
        parts = [batch.slice(start, rows) for start in range(0, 16, rows)]
        skipped = Skipped()
        checked = table_checks.checked(
            parts,
            task="tagging",
            where="t.csv",
            allowed=table_checks.Allowed(numbers=True),
            skipped=skipped,
        )
        held = [*tables.whole_sequences(checked)]
        found = inspection.summary(held, lambda: held, task="tagging", where="t.csv")
        assert found.missing == {"x": 4, "y": 1}
        assert skipped.first[table_checks.MISSING] == "t.csv, row 1, column `x`"
        assert "missing numbers: in x (4), y (1), of 16 steps" in next(inspection.notes(found))

    def test_a_class_that_cannot_be_in_each_split(self) -> None:
        labels = ["p", "q"] * 7 + ["rare", "p"]
        found = summary(COMMON | {"label": labels})
        assert found.rare == {"rare": 1}
        (note,) = inspection.notes(found)
        assert note.startswith("labels in fewer sequences than there are splits: 'rare' (1); of ")
        assert note.endswith("; prepare.stratify puts the first of each class into train")
        (note,) = inspection.notes(found, by_chance=False)
        assert "prepare.stratify" not in note
        grouped = summary(COMMON | {"group": [*"g" * 8, *"h" * 4, *"i" * 4]})
        assert grouped.rare == {}
        named = summary(COMMON | {"label": labels, "split": ["train"] * 14 + ["test"] * 2})
        assert (named.rare, named.not_in_train) == ({}, {"rare": 1})

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=2, max_size=40))
    def test_units_of_a_class_are_those_of_pandas(self, rows: list[tuple[int, int]]) -> None:
        rows = sorted(rows)
        frame = pd.DataFrame(rows, columns=["sequence", "label"]).assign(x=1.0)
        frame["label"] = frame["label"].astype(str)
        if frame["label"].nunique() < 2:
            return
        units = frame.groupby("label")["sequence"].nunique()
        found = summary({str(name): frame[name] for name in frame}, rows=7)
        assert found.rare == units[units < 3].to_dict()


class TestNotes:
    def test_name_pairs_and_labels(self) -> None:
        columns = GOOD | {"x": [1.0, 1.0, 2.0, 2.0], "label": list("ppqp")}
        found = summary(columns | {"split": ["train"] * 3 + ["test"]}, "classification")
        assert list(inspection.notes(found)) == [
            "in train but not in test: labels 'q'",
            "identical to an earlier sequence, but with other labels: 1, such as 'b' (q) and "
            "'c' (p)",
        ]

    def test_of_data_without_fault(self) -> None:
        assert list(inspection.notes(summary(COMMON))) == []

    @pytest.mark.parametrize(("last", "share"), [("g", 0.75), ("h", 0.5)])
    def test_of_a_group_that_is_most_of_the_data(self, last: str, share: float) -> None:
        groups = ["g", "g", last, "h"] * 4
        found = summary(COMMON | {"group": sorted(groups)})
        assert found.groups == Groups(2, "g", share)
        notes = list(inspection.notes(found))
        assert notes[0].startswith("labels in fewer groups than there are splits: ")
        assert len(notes) == 1 + (share > 0.5)
        assert all(note.startswith("group 'g' has 75 % of all labels") for note in notes[1:])

    def test_of_many_labels_names_a_few(self) -> None:
        rows = [f"l{number:02}" for number in range(80)]
        columns = {
            "sequence": [f"s{number}" for number in range(81)],
            "x": [float(number) for number in range(81)],
            "label": [*rows, "l00"],
            "split": [*["train"] * 80, "test"],
        }
        note = next(inspection.notes(summary(columns)))
        assert note.endswith("labels 'l01', 'l02', 'l03', 'l04', 'l05' and 74 more")


Check = Callable[..., tuple[object, str, str]]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Runs `birnn check` in an empty folder: its status, and what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["birnn", "check", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code, *capsys.readouterr())

    return run


FILES = {
    "t.csv": b"sequence,x,label\na,1,p\na,2,q\nb,3,p\n",
    "t.tsv": b"sequence\ttoken\tlabel\na\tv\tp\na\tw\tq\nb\tv\tp\n",
    "r.csv": b"text,label\nv w,p\nv,q\n",
    "r.jsonl": b'{"text": "v w", "label": "p"}\n{"text": "v", "label": "q"}\n',
    "c.conllu": b"1\tv\t_\tX\n2\tw\t_\tY\n\n1\tv\t_\tX\n",
    "c.conll": b"v X\nw Y\n\nv X\n",
    "f.fa": b">s|p\nAC\n>t|q\nA\n",
}


class TestCheck:
    @pytest.mark.parametrize("name", FILES)
    def test_any_kind_of_file(self, check: Check, name: str) -> None:
        Path(name).write_bytes(FILES[name])
        status, out, err = check(name)
        assert (status, err) == (0, "")
        shown = [" ".join(line.strip("│ ").split()) for line in out.splitlines()]
        assert {"sequences │ 2", "steps │ 3", "missing values │ 0", "duplicates │ 0"} <= set(shown)
        assert sorted(path.name for path in Path().iterdir()) == [name]

    def test_arrays_and_folders_and_params(
        self, check: Check, small_params: Callable[[], dict[str, Any]]
    ) -> None:
        import yaml

        np.savez("a.npz", values=np.ones((2, 2, 1)), labels=np.array(["p", "q"]))
        Path("parts").mkdir()
        Path("parts/1.csv").write_bytes(FILES["t.csv"])
        Path("p.yaml").write_text(yaml.safe_dump(small_params()))
        for name, sequences in (("a.npz", 2), ("parts", 2), ("p.yaml", 150)):
            status, out, err = check(name)
            assert (status, err) == (0, "")
            assert f"│ sequences                   │ {sequences} " in out

    def test_what_is_left_out_and_contradicts_itself(self, check: Check) -> None:
        Path("r.csv").write_text("text,label\nv,p\n,q\nv,q\n")
        status, out, _ = check("r.csv")
        assert status == 0
        assert {
            "left out: texts without a token, 1 in all, the first in r.csv, line 3",
            "identical to an earlier sequence, but with other labels: 1, such as '000001' (p) and "
            "'000003' (q)",
        } <= {*out.splitlines()}

    def test_windows_that_overlap(self, check: Check) -> None:
        long = np.random.default_rng(0).random(350)
        rows = [
            f"w{first},{value},{first % 2}"
            for first in range(60)
            for value in long[5 * first :][:20]
        ]
        Path("t.csv").write_text("\n".join(["sequence,x,label", *rows]))
        status, out, _ = check("t.csv")
        assert status == 0
        assert out.splitlines()[-1].startswith("copies of another sequence, overlaps with it")
        grouped = [f"{row},g" for row in rows]
        Path("t.csv").write_text("\n".join(["sequence,x,label,group", *grouped]))
        assert "copies of another" not in check("t.csv")[1]

    @pytest.mark.parametrize(
        ("arguments", "content", "message"),
        [
            (
                ["t.csv"],
                b"sequence,x,label\na,inf,p\n",
                "t.csv, row 1, column `x`: expected a finite",
            ),
            (["t.csv"], b"", "t.csv: expected a header and rows, found nothing"),
            (["t.csv", "--task", "classification"], FILES["t.csv"], "t.csv, row 2, column `label`"),
            (["f.fa", "--task", "tagging"], FILES["f.fa"], "data.task: expected 'classification'"),
            (["t.xlsx"], b"", "t.xlsx: expected a name that ends in .csv, .csv.gz, .tsv"),
            (["p.yaml"], b"data: 1", "p.yaml: problem: expected a value, found none"),
        ],
    )
    def test_a_mistake_is_one_line(
        self, check: Check, arguments: list[str], content: bytes, message: str
    ) -> None:
        Path(arguments[0]).write_bytes(content)
        status, out, err = check(*arguments)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert message in err

    @pytest.mark.parametrize("name", ["absent.csv", "absent.conllu", "absent.npz", "absent.yaml"])
    def test_a_missing_file(self, check: Check, name: str) -> None:
        status, out, err = check(name)
        assert (status, out) == (1, "")
        assert err.startswith(f"error: {name}: no such file")


class TestCounters:
    """Features that count seconds or rows, of which a model would learn the place in the file."""

    SEQUENCE = np.arange(300) // 10

    @pytest.mark.parametrize("rows", [7, 300])
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (1767225600 + np.arange(300) * 60, "a time in s"),
            (1767225600.5 + np.arange(300)[::-1] // 10 * 1000, "a time in s"),
            (1767225600000 + np.arange(300), "a time in ms"),
            (1767225600000000 + np.arange(300), "a time in us"),
            (np.arange(300) + 17, "the number of the row"),
            (1767225600 - np.arange(300), ""),
            (np.arange(300) % 10, ""),
            (np.append(5, 1767225600 + np.arange(299)), ""),
        ],
    )
    def test_are_said(self, values: npt.NDArray[Any], expected: str, rows: int) -> None:
        columns = {
            "sequence": self.SEQUENCE,
            "t": values,
            "label": np.array(["p", "q"])[self.SEQUENCE % 2],
        }
        said = [line for line in inspection.notes(summary(columns, rows=rows)) if "column" in line]
        assert len(said) == bool(expected)
        assert all(line.startswith(f"column `t` looks like {expected}, and is") for line in said)
