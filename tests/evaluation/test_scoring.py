"""Anybody's predictions, scored as `evaluate` scores its own."""

import re
import tracemalloc
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console
from sklearn import metrics as sklearn_metrics

from birnn.data.encoding import Encoding
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.errors import DataError
from birnn.evaluation import outs, score_tables, scoring
from birnn.evaluation.outs import Predicted
from birnn.files import paths
from birnn.model.history import Epoch

Ragged = Callable[..., Sequences]
NAMES = ["1", "2", "10"]


def table(rows: int = 60) -> pd.DataFrame:
    """Sequences of four rows, with probabilities whose columns are in no order."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([1, 1, 1], rows)
    frame = pd.DataFrame(
        {
            "note": "x",
            "sequence": [f"{row // 4:03}" for row in range(rows)],
            "actual": rng.choice(NAMES, rows),
            "predicted": [NAMES[column] for column in shares.argmax(axis=1)],
        }
    )
    for column in (2, 0, 1):
        frame[f"probability_{NAMES[column]}"] = shares[:, column]
    return frame


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def test_holds_the_probabilities_of_a_parquet_file_once(tmp_path: Path) -> None:
    rows, classes = 200_000, 20
    shares = np.random.default_rng(0).dirichlet(np.ones(classes), rows).round(3)
    names = np.array([f"c{number:02}" for number in range(classes)])
    answers = names[shares.argmax(axis=1)]
    columns: dict[str, Any] = {"sequence": np.arange(rows) // 10}
    columns |= {"actual": answers, "predicted": answers}
    columns |= {f"probability_{name}": shares[:, at] for at, name in enumerate(names)}
    path = tmp_path / "t.parquet"
    pd.DataFrame(columns).to_parquet(path, row_group_size=20_000)
    del columns, answers
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        found = scoring.read(path)
        most = tracemalloc.get_traced_memory()[1] + pool.max_memory()  # NumPy's and Arrow's
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    assert found.probabilities is not None
    assert found.probabilities.shape == shares.shape
    assert most < 2.5 * shares.nbytes  # names and numbers of rows too; once it took 6.9


def test_two_columns_of_one_class(tmp_path: Path) -> None:
    columns = {f"probability_{name}": 0.5 for name in ("caf\u00e9", "cafe\u0301")}
    rows = pd.DataFrame(
        {"sequence": ["s"], "actual": "caf\u00e9", "predicted": "caf\u00e9", **columns}
    )
    with pytest.raises(DataError, match="expected one column of probabilities for a class"):
        scoring.read(write(rows, tmp_path / "t.parquet"))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
@pytest.mark.parametrize("actual", ["actual", "label"])
def test_every_kind_of_file(tmp_path: Path, name: str, actual: str) -> None:
    frame = table()
    found = scoring.read(write(frame.rename(columns={"actual": actual}), tmp_path / name))
    assert found.labels == NAMES
    assert [NAMES[column] for column in found.actual] == frame["actual"].tolist()
    assert [NAMES[column] for column in found.predicted] == frame["predicted"].tolist()
    assert found.offsets.tolist() == list(range(0, 61, 4))
    assert found.probabilities is not None
    shares = frame[[f"probability_{label}" for label in NAMES]].to_numpy()
    np.testing.assert_allclose(found.probabilities, shares, rtol=1e-12)
    loss = sklearn_metrics.log_loss(found.actual, shares, labels=[0, 1, 2])
    assert found.metrics()["log_loss"] == pytest.approx(loss)


@pytest.mark.parametrize("begin", ["", "sep=;\n"])
@pytest.mark.parametrize("decimal", [",", "."])
def test_semicolons_as_of_spreadsheets(tmp_path: Path, begin: str, decimal: str) -> None:
    frame = table()
    text = frame.to_csv(index=False, sep=";", decimal=decimal, float_format="%.4f")
    (tmp_path / "t.csv").write_text(begin + text, encoding="utf-8")
    found, expected = scoring.read(tmp_path / "t.csv"), write(frame, tmp_path / "u.csv")
    assert found.metrics()["accuracy"] == scoring.score(expected)["accuracy"]
    assert found.probabilities is not None
    shares = frame[[f"probability_{label}" for label in NAMES]].to_numpy()
    np.testing.assert_allclose(found.probabilities, shares, atol=1e-4)


def test_what_may_stand_for_no_label_is_said(tmp_path: Path) -> None:
    frame = table()
    frame.loc[:3, "actual"] = "NaN"
    (tmp_path / "t.csv").write_text(frame[["sequence", "actual", "predicted"]].to_csv(index=False))
    assert scoring.read(tmp_path / "t.csv").notes == (
        "taken for classes: 'NaN'; where they stand for no label, leave them empty",
    )


@pytest.mark.parametrize("tagging", [True, False])
def test_what_evaluate_wrote_scores_the_same(tmp_path: Path, ragged: Ragged, tagging: bool) -> None:
    test = ragged([5, 3, 8, 1, 9] * 5, tagging=tagging)
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], len(test.labels)).astype(np.float32)
    encoding = Encoding("tagging" if tagging else "classification", NAMES, [*"wxyz"], [], [])
    predicted = Predicted(test, encoding, {"10": 0.2}, shares)
    epochs = [Epoch(1, 1.0, 1.0, 0.5, 0.5, 0.01, kept=True)]
    expected = outs.write(tmp_path, predicted, epochs)
    found = scoring.read(tmp_path / paths.PREDICTIONS).metrics()
    assert found == pytest.approx(expected, rel=1e-6)


class TestWithoutALabel:
    """A row counts in nothing, as in `evaluate`, and that is said."""

    @pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
    @pytest.mark.parametrize("column", ["actual", "label"])
    def test_rows_are_left_out(self, tmp_path: Path, name: str, column: str) -> None:
        frame = table().rename(columns={"actual": column})
        absent = np.arange(60) % 5 == 2
        absent[8:12] = True  # a whole sequence
        frame["group"], frame["by"] = frame["sequence"].str[1:], np.arange(60) % 2
        expected = scoring.read(write(frame[~absent], tmp_path / name), by="by")
        frame.loc[absent, column] = None
        found = scoring.read(write(frame, tmp_path / name), by="by")
        assert found.metrics() == expected.metrics()
        for one in ("actual", "predicted", "offsets", "groups", "probabilities"):
            assert len(getattr(found, one)) == len(getattr(expected, one))
        assert found.offsets.tolist() == expected.offsets.tolist()
        assert found.columns["by"].tolist() == expected.columns["by"].tolist()
        pairs = {*zip(found.groups.tolist(), expected.groups.tolist(), strict=True)}
        assert len(pairs) == len({*found.groups.tolist()}) == len({*expected.groups.tolist()})
        note = "rows without a label are left out: 16 of 60, first row 3"
        assert (found.notes, expected.notes) == ((note,), ())

    def test_whole_numbers_stay_classes(self, tmp_path: Path) -> None:
        frame = table()[["sequence", "actual", "predicted"]]
        frame["actual"] = frame["actual"].astype(float)
        frame.loc[3, "actual"] = np.nan
        found = scoring.read(write(frame, tmp_path / "t.parquet"))
        assert (found.labels, len(found.actual)) == (NAMES, 59)

    @pytest.mark.parametrize("tagging", [True, False])
    def test_what_evaluate_wrote_scores_the_same(
        self, tmp_path: Path, ragged: Ragged, tagging: bool
    ) -> None:
        test = ragged([5, 3, 8, 1, 9] * 5, tagging=tagging)
        test.labels[::3] = UNLABELLED
        shares = np.random.default_rng(1).dirichlet([1, 1, 1], len(test.labels))
        encoding = Encoding("tagging" if tagging else "classification", NAMES, [*"wxyz"], [], [])
        predicted = Predicted(test, encoding, {}, shares.astype(np.float32))
        epochs = [Epoch(1, 1.0, 1.0, 0.5, 0.5, 0.01, kept=True)]
        expected = outs.write(tmp_path, predicted, epochs)
        found = scoring.read(tmp_path / paths.PREDICTIONS)
        assert found.metrics() == pytest.approx(expected, rel=1e-6)

    def test_none_is_left(self, tmp_path: Path) -> None:
        write(table().assign(actual=""), tmp_path / "t.csv")
        with pytest.raises(DataError, match="expected true labels, found none in 60 rows"):
            scoring.read(tmp_path / "t.csv")


def test_without_probabilities(tmp_path: Path) -> None:
    frame = table()[["predicted", "actual", "sequence"]]
    found = scoring.read(write(frame, tmp_path / "t.csv"))
    assert found.probabilities is None
    assert "log_loss" not in found.metrics()


def test_classes_are_all_that_occur_or_have_a_probability(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "sequence": ["a", "b"],
            "actual": ["x", "new"],
            "predicted": ["x", "other"],
        }
    )
    assert scoring.read(write(frame, tmp_path / "t.csv")).labels == ["new", "other", "x"]
    shares = {"x": [0.75, 0.5], "never": [0.25, 0.25], "other": [0, 0.25], "new": [0, 0]}
    for label, share in shares.items():
        frame[f"probability_{label}"] = np.array(share)
    found = scoring.read(write(frame, tmp_path / "t.csv"))
    assert found.labels == ["never", "new", "other", "x"]
    assert found.probabilities is not None
    assert found.probabilities.tolist() == [[0.25, 0, 0, 0.75], [0.25, 0, 0.25, 0.5]]
    assert found.metrics()["support_never"] == 0


class TestClassesOfTwoTypes:
    """Such as those of pandas, which makes floats of whole numbers beside a missing value."""

    @pytest.mark.parametrize(
        ("actual", "predicted"),
        [
            (["1", "0", "1", "0"], ["1.0", "0.0", "1.0", "1.0"]),
            (["1.0", "0.0", "1.0", "0.0"], ["1", "0", "1", "1"]),
            (["1", "0", "1", "0"], ["01", "00", "01", "01"]),
            (["-1", "2", "-1", "2"], ["-1.0", "2.", "-1.0", "-1.0"]),
            (["1.5", "0", "1.5", "0"], ["1.50", "0", "1.50", "1.50"]),
        ],
    )
    @pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
    def test_are_equal_as_numbers(
        self, tmp_path: Path, actual: list[str], predicted: list[str], name: str
    ) -> None:
        frame = pd.DataFrame({"sequence": [*"abcd"], "actual": actual, "predicted": predicted})
        found = scoring.read(write(frame, tmp_path / name))
        assert found.metrics()["accuracy"] == 0.75
        assert found.labels == sorted({*actual})
        assert found.notes[0].startswith("classes are equal as numbers: read ")

    @pytest.mark.parametrize("side", ["actual", "predicted"])
    def test_are_read_from_floats_of_parquet(self, tmp_path: Path, side: str) -> None:
        frame = pd.DataFrame({"sequence": [*"ab"], "actual": [1, 0], "predicted": [1, 1]})
        path = write(frame.astype({side: "float64"}), tmp_path / "t.parquet")
        found = scoring.read(path)
        assert (found.labels, found.metrics()["accuracy"]) == (["0", "1"], 0.5)

    def test_are_one_with_their_probabilities(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"sequence": [*"ab"], "actual": [1, 0], "predicted": [2, 0]})
        shares = [[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]]
        frame[[f"probability_{label}.0" for label in (0, 1, 2)]] = shares
        found = scoring.read(write(frame, tmp_path / "t.csv"))
        assert found.labels == ["0", "1", "2"]
        assert found.probabilities is not None
        assert found.probabilities.tolist() == shares

    def test_of_which_one_side_tells_two_apart_stay_as_they_are(self, tmp_path: Path) -> None:
        """Versions, say."""
        names = {"actual": ["1.1", "1.10", "1.2"], "predicted": ["1.10", "1.10", "1.20"]}
        frame = pd.DataFrame({"sequence": [*"abc"], **names})
        found = scoring.read(write(frame, tmp_path / "t.csv"))
        assert found.labels == ["1.1", "1.10", "1.2", "1.20"]
        assert found.metrics()["accuracy"] == pytest.approx(1 / 3)
        assert found.notes == ()

    @pytest.mark.parametrize("predicted", [["True", "False"], [" yes", " no"], ["1", "0"]])
    def test_that_have_nothing_in_common_are_refused(
        self, tmp_path: Path, predicted: list[str]
    ) -> None:
        frame = pd.DataFrame({"sequence": [*"ab"], "actual": ["yes", "no"], "predicted": predicted})
        message = "expected a predicted class that is an actual one, found actual 'no', 'yes' and"
        with pytest.raises(DataError, match=message):
            scoring.read(write(frame, tmp_path / "t.csv"))
        shares = {f"probability_{name}": 0.25 for name in ("yes", "no", *predicted)}
        path = write(frame.assign(**shares), tmp_path / "all wrong.csv")
        assert scoring.read(path).metrics()["accuracy"] == 0


class TestRoundedProbabilities:
    @pytest.mark.parametrize("digits", [1, 2, 3, 4])
    def test_are_scaled_to_a_sum_of_one(self, tmp_path: Path, digits: int) -> None:
        frame = table()
        shares = [f"probability_{name}" for name in NAMES]
        frame[shares] = frame[shares].round(digits)
        found = scoring.read(write(frame, tmp_path / "t.csv"))
        given = frame[shares].to_numpy()
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities, given / given.sum(axis=1, keepdims=True))
        changed = int((abs(given.sum(axis=1) - 1) > 1e-5).sum())
        assert f"{changed} of 60 rows were scaled to a sum of one" in found.notes[0]
        assert found.metrics()["log_loss"] > 0

    def test_that_sum_to_one_stay_as_they_are(self, tmp_path: Path) -> None:
        found = scoring.read(write(table(), tmp_path / "t.csv"))
        assert found.notes == ()

    @pytest.mark.parametrize(
        "row",
        [
            (0.5, 0.5, 0.5),
            (0.33, 0.33, 0.31),
            (0.3, 0.3, 0.3),  # beside others of many digits
            (33, 33, 34),
            (0.123456, 0.4, 0.46),
            (-0.01, 0.5, 0.5),
            (0, 0, 0),
        ],
    )
    def test_of_a_plainly_other_sum_are_refused(
        self, tmp_path: Path, row: tuple[float, float, float]
    ) -> None:
        frame = table()
        frame.loc[7, [f"probability_{name}" for name in NAMES]] = row
        with pytest.raises(
            DataError, match=r"t\.csv: expected probabilities of 0 or more that sum"
        ):
            scoring.read(write(frame, tmp_path / "t.csv"))


def test_a_class_is_one_however_its_accents_are_encoded(tmp_path: Path) -> None:
    one, apart = "n\u00e9", "ne\u0301"
    columns = {"sequence": list("ab"), "actual": [one, "x"], "predicted": [apart, "x"]}
    frame = pd.DataFrame(columns | {f"probability_{apart}": [0.75, 0.5], "probability_x": 0.25})
    frame.loc[1, "probability_x"] = 0.5
    found = scoring.read(write(frame, tmp_path / "t.csv"))
    assert found.labels == [one, "x"]
    assert found.metrics()["accuracy"] == 1


def test_spans_are_counted(tmp_path: Path) -> None:
    tags = ["B-P", "I-P", "O", "B-L"]
    frame = pd.DataFrame({"sequence": "a", "actual": tags, "predicted": [*tags[:3], "O"]})
    found = scoring.read(write(frame, tmp_path / "t.tsv")).metrics()
    assert (found["span_precision"], found["span_recall"]) == (1, 0.5)


def test_tables(tmp_path: Path) -> None:
    frame = table(400).rename(columns={"probability_2": "probability_[b]"})
    frame["actual"] = frame["actual"].replace("2", "[b]")
    frame["predicted"] = frame["predicted"].replace("2", "[b]")
    scored = scoring.read(write(frame, tmp_path / "t.csv"))
    console = Console(file=StringIO(), width=120)
    for drawn in score_tables.on_terminal(scored, scored.intervals()):
        console.print(drawn)
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    accuracy = scored.metrics()["accuracy"]
    assert "400 rows of 100 sequences" in shown
    assert re.search(rf"accuracy +│ +{accuracy:.4f} │ +\(0\.\d+ to 0\.\d+\)", shown)
    assert "[b]" in shown
    assert "log_loss" in shown
    assert shown.count(" precision_macro ") == 1
    assert "precision_10" not in shown  # it stands in the table of the classes


def test_groups_are_read(tmp_path: Path) -> None:
    frame = table(400).assign(group=lambda t: "g" + (t["sequence"].astype(int) // 5).astype(str))
    scored = scoring.read(write(frame, tmp_path / "t.csv"))
    assert scored.groups.tolist() == (np.arange(100) // 5).tolist()
    captions = [drawn.caption for drawn in score_tables.on_terminal(scored, scored.intervals())]
    assert captions[0] == "In brackets: 95 % intervals over 20 groups of sequences."


def test_what_evaluate_wrote_keeps_its_groups(tmp_path: Path, ragged: Ragged) -> None:
    test = ragged([5, 3, 8, 1])
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], len(test.labels)).astype(np.float32)
    encoding = Encoding("tagging", NAMES, [*"wxyz"], [], [])
    epochs = [Epoch(1, 1.0, 1.0, 0.5, 0.5, 0.01, kept=True)]
    outs.write(tmp_path, Predicted(test, encoding, {}, shares), epochs)
    assert scoring.read(tmp_path / paths.PREDICTIONS).groups.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_slices_by_a_column(tmp_path: Path, name: str) -> None:
    frame = table(400).assign(city=lambda t: np.where(t.index < 200, "[Bern]", ""))
    frame.loc[frame["city"] == "[Bern]", "predicted"] = "2"
    path = write(frame, tmp_path / name)
    found = scoring.read(path, "city").slices()
    assert [one.value for one in found.slices] == ["[Bern]", "(none)"]
    right = frame["actual"] == frame["predicted"]
    assert [one.figures[0].value for one in found.slices] == [
        right[frame["city"] == city].mean() for city in ("[Bern]", "")
    ]
    console = Console(file=StringIO(), width=120)
    scored = scoring.read(path, "city")
    *_, last = score_tables.on_terminal(scored, scored.intervals())
    console.print(last)
    assert isinstance(console.file, StringIO)
    assert "city [Bern]" in console.file.getvalue()
    with pytest.raises(DataError, match=r"expected a column `town` to slice by, found note, seq"):
        scoring.read(path, "town")


def changed(**columns: Any) -> pd.DataFrame:
    return table().assign(**columns)


MISTAKES: dict[str, tuple[pd.DataFrame, str]] = {
    "no sequence": (table().drop(columns="sequence"), "expected a column `sequence`, found note"),
    "no actual": (table().drop(columns="actual"), "expected a column `actual` or `label`, found"),
    "no predicted": (table().drop(columns="predicted"), "expected a column `predicted`, found"),
    "no rows": (table(0), "expected rows, found none"),
    "a value that is missing": (
        changed(predicted=["1"] * 30 + [None] + ["1"] * 29),
        "row 31, column `predicted`: value missing",
    ),
    "an interleaved sequence": (
        changed(sequence=[*"abcab" * 12]),
        "row 4: sequence 'a' goes on after another one began; keep its rows together",
    ),
    "a sequence of two groups": (
        changed(group=["g", "h"] * 30),
        "row 2, column `group`: expected 'g' as in the rows before it of this sequence, found 'h'",
    ),
    "a sum that is not one": (changed(probability_10=0.9), "expected probabilities of 0 or more"),
    "no probability": (changed(probability_10=np.nan), "expected probabilities of 0 or more"),
    "a class without a column": (
        table().drop(columns="probability_10"),
        "expected a column `probability_10`, as other classes have one, found `probability_1`, `pr",
    ),
}


def test_rounding_is_what_the_digits_allow(tmp_path: Path) -> None:
    """Three values of two digits are up to 0.015 away, of one digit up to 0.1."""
    frame = table(4).assign(actual="1", predicted="1")
    shares = [f"probability_{name}" for name in NAMES]
    for row, sound in [
        ((0.33, 0.33, 0.33), True),
        ((0.33, 0.34, 0.345), False),
        ((0.33, 0.33, 0.32), False),
        ((0.3, 0.3, 0.3), True),
        ((0.3, 0.3, 0.2), False),
    ]:
        frame[shares] = np.array([row] * 4)
        path = write(frame, tmp_path / "t.csv")
        if sound:
            assert scoring.read(path).notes
        else:
            with pytest.raises(DataError, match="expected probabilities"):
                scoring.read(path)


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    @pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
    def test_in_a_table(self, tmp_path: Path, mistake: str, name: str) -> None:
        frame, message = MISTAKES[mistake]
        path = write(frame, tmp_path / name)
        with pytest.raises(DataError) as refused:
            scoring.read(path).metrics()
        assert str(refused.value).startswith(str(path))
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.xls", b"", "expected a name that ends in .csv, .tsv, .parquet"),
            ("t.csv", b"", "expected csv, found: Empty CSV file"),
            ("t.parquet", b"no", "expected parquet, found: "),
            ("t.csv", b"sequence,actual,actual,predicted\na,b,c,d\n", "found `actual` twice"),
            ("t.csv", b"sequence,actual,predicted\na,b\n", "expected csv, found: CSV parse error"),
            ("t.csv", b"sequence,actual,predicted\na,\xff,b\n", "expected text in utf-8"),
            ("t.csv", b"sequence,actual,predicted,probability_b\na,b,b,x\n", "found: In CSV col"),
        ],
    )
    def test_in_a_file(self, tmp_path: Path, name: str, content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as refused:
            scoring.read(tmp_path / name)
        assert str(refused.value).startswith(f"{tmp_path / name}")
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"t\.csv: no such file"):
            scoring.read(tmp_path / "t.csv")

    def test_probabilities_that_are_text(self, tmp_path: Path) -> None:
        path = write(changed(probability_10="high"), tmp_path / "t.parquet")
        with pytest.raises(DataError, match="column `probability_10`: expected numbers, found"):
            scoring.read(path)
