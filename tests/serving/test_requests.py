"""What a client may send, and in which words the rest is refused."""

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from birnn.data.encoding import Encoding
from birnn.errors import DataError, ServingError
from birnn.serving import requests
from birnn.serving.requests import Asked, Limits, TooLargeError

NUMBERS = Encoding("tagging", ["a", "b"], ["x", "y"], [0.0, 0.0], [1.0, 1.0])
WORDS = Encoding("tagging", ["a", "b"], [], [], [], ["the", "dog"])
BOTH = Encoding("tagging", ["a", "b"], ["x"], [0.0], [1.0], ["the", "dog"])
ROWS = [("s", 1, 2.5), ("s", 3, -1.0), ("t", 0, 0.0)]


def read(tree: Any, encoding: Encoding = NUMBERS, limits: Limits | None = None) -> Asked:
    return requests.read(json.dumps(tree).encode(), encoding, limits or Limits())


def rows(asked: Asked) -> list[tuple[Any, ...]]:
    table = pa.Table.from_batches(asked.batches)
    names = sorted(table.schema.names, key=["sequence", "x", "y", "token"].index)
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


class TestForm:
    def test_split(self) -> None:
        data = [[x, "more", name, y] for name, x, y in ROWS]
        tree = {"columns": ["x", "note", "sequence", "y"], "index": [0, 1, 2], "data": data}
        asked = read({"dataframe_split": tree, "params": {}})
        assert (rows(asked), asked.ids) == (ROWS, None)

    def test_records(self) -> None:
        tree = [{"y": y, "sequence": name, "x": x, "label": None} for name, x, y in ROWS]
        assert rows(read({"dataframe_records": tree})) == ROWS

    def test_sequences_of_features(self) -> None:
        given: list[Any] = [[[1, 2.5], {"y": -1.0, "x": 3}], {"sequence": "t", "steps": [[0, 0.0]]}]
        asked = read({"sequences": given})
        assert rows(asked) == [(1, 1, 2.5), (1, 3, -1.0), (2, 0, 0.0)]
        assert asked.ids == [None, "t"]

    def test_sequences_of_one_thing_a_step(self) -> None:
        asked = read({"sequences": [["the", "dog"], ["the"]]}, WORDS)
        assert rows(asked) == [(1, "the"), (1, "dog"), (2, "the")]

    def test_sequences_of_features_and_tokens(self) -> None:
        asked = read({"sequences": [[[0.5, "the"], {"token": "dog", "x": 1}]]}, BOTH)
        assert rows(asked) == [(1, 0.5, "the"), (1, 1.0, "dog")]

    def test_takes_whole_numbers_for_ids(self) -> None:
        tree = [{"sequence": 7, "x": 1, "y": 2}]
        assert rows(read({"dataframe_records": tree})) == [("7", 1, 2)]

    def test_sequences_may_have_one_name(self) -> None:
        given = [{"sequence": "s", "steps": [[1, 2]]}] * 2
        asked = read({"sequences": given})
        assert [name for name, *_ in rows(asked)] == [1, 2]
        assert asked.ids == ["s", "s"]

    def test_large_ones_come_in_parts(self) -> None:
        asked = read({"sequences": [[[1, 2]] * 9000] * 5})
        assert [batch.num_rows for batch in asked.batches] == [16384, 16384, 12232]


class TestOwnNames:
    """Those of the data that the model was trained on."""

    OWN = replace(
        BOTH, reading={"source": "table", "columns": {"sequence": "Seriennr", "token": "Wort"}}
    )

    @pytest.mark.parametrize(
        "names", [("Seriennr", "x", "Wort"), ("sequence", "x", "token"), ("Seriennr", "x", "token")]
    )
    def test_are_taken_and_those_of_a_sequence_table_too(self, names: tuple[str, ...]) -> None:
        values = [["s", 1, "the"], ["t", 2, "dog"]]
        split = {"dataframe_split": {"columns": names, "data": values}}
        records = {"dataframe_records": [dict(zip(names, row, strict=True)) for row in values]}
        steps = [dict(zip(names[1:], row[1:], strict=True)) for row in values]
        expected = [tuple(row) for row in values]
        assert rows(read(split, self.OWN)) == rows(read(records, self.OWN)) == expected
        asked = read({"sequences": [steps, [[3, "the"]]]}, self.OWN)
        assert rows(asked) == [(1, 1, "the"), (1, 2, "dog"), (2, 3, "the")]

    def test_come_first(self) -> None:
        """Where another column has a name of the sequence table."""
        row = {"sequence": "no", "Seriennr": "s", "token": "no", "Wort": "the", "x": 1}
        tree = {"columns": [*row], "data": [[*row.values()]]}
        assert rows(read({"dataframe_records": [row]}, self.OWN)) == [("s", 1, "the")]
        assert rows(read({"dataframe_split": tree}, self.OWN)) == [("s", 1, "the")]

    def test_stand_in_messages(self) -> None:
        with pytest.raises(DataError, match="expected a column `Seriennr` as in training, found"):
            read({"dataframe_split": {"columns": ["x"], "data": []}}, self.OWN)
        with pytest.raises(DataError, match="row 1: expected a value for `Seriennr`, found 'x'"):
            read({"dataframe_records": [{"x": 1}]}, self.OWN)


def sent(*values: object) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["sequence", "x", "y"], "data": [*values]}}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ([], "expected one of dataframe_split, dataframe_records, sequences, found a list"),
        ({}, "expected one of dataframe_split, .*, found nothing"),
        ({"inputs": 1}, "found 'inputs'"),
        ({"sequences": [], "dataframe_split": {}}, "found 'sequences', 'dataframe_split'"),
        ({"dataframe_split": []}, "to hold lists `columns` and `data`, found a list"),
        ({"dataframe_split": {"data": []}}, "lists `columns` and `data`, found 'data'"),
        ({"dataframe_split": {"columns": ["x", 1], "data": []}}, "texts as names of columns"),
        ({"dataframe_split": {"columns": ["x"], "data": []}}, "expected a column `sequence` as in"),
        ({"dataframe_split": {"columns": ["x", "x"], "data": []}}, "each once"),
        (sent(["s", 1]), "row 1: expected a list of 3 values, found 2"),
        (sent(["s", 1, 2], 5), "row 2: expected a list of 3 values, found 5"),
        (sent(["s", 1, None]), "row 1, column `y`: expected a number, found null"),
        (sent(["s", 1, "2"]), "row 1, column `y`: expected a number, found '2'"),
        (sent(["s", 1, [2]]), "row 1, column `y`: expected a number, found a list"),
        (sent([None, 1, 2]), "row 1, column `sequence`: expected text, found null"),
        (sent(["", 1, 2]), "row 1, column `sequence`: expected text, found ''"),
        (sent([True, 1, 2]), "row 1, column `sequence`: expected text, found True"),
        (sent([1.5, 1, 2]), "row 1, column `sequence`: expected text, found 1.5"),
        (sent(["a\nb", "\x1b[2J", 2]), r"expected a number, found '\\x1b\[2J'"),
        ({"dataframe_records": {}}, "to be a list of rows, found an object"),
        ({"dataframe_records": [1]}, "row 1: expected an object, found 1"),
        ({"dataframe_records": [{"x": 1}]}, "row 1: expected a value for `sequence`, found 'x'"),
        ({"sequences": {}}, "expected sequences to be a list, found an object"),
        ({"sequences": [[[1, 2]], []]}, "sequence 2: expected a list of steps, .* without steps"),
        ({"sequences": [{"steps": 1}]}, "sequence 1: expected a list of steps, or .* an object"),
        ({"sequences": [[[1]]]}, r"sequence 1, step 1: expected 2 values \(x, y\), found 1"),
        ({"sequences": [[[1, 2]], [[1, 2], [1, "a"]]]}, "sequence 2, step 2, column `y`: expected"),
        ({"sequences": [[[1, 2], {"x": 1}]]}, "sequence 1, step 2: expected a value for `y`"),
        ({"sequences": [{"sequence": [], "steps": [[1, 2]]}]}, "sequence 1, column `sequence`"),
    ],
)
def test_says_what_is_wrong(tree: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"^the request.*{said}") as refused:
        read(tree)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 5000, b"1" * 5000, b'{"a":"\\ud800"}'])
def test_of_what_is_no_json(body: bytes) -> None:
    with pytest.raises(DataError, match=r"^the request: expected JSON, found: "):
        requests.read(body, NUMBERS, Limits())


@pytest.mark.parametrize("number", [2**70, 10**400, 2**60])
def test_numbers_may_be_of_any_size(number: int) -> None:
    """Those that are too large for the model are refused by the checks of the table."""
    asked = read(sent(["s", number, 0.5], ["s", 0.5, 1]))
    assert pa.Table.from_batches(asked.batches)["x"].type == pa.float64()


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (sent(*[["s", 1, 2]] * 6), "expected up to 5 rows, found 6"),
        ({"dataframe_records": [{}] * 6}, "expected up to 5 rows, found 6"),
        ({"sequences": [[[1, 2]]] * 6}, "expected up to 5 rows, found 6"),
        (sent(["r", 1, 2], *[["s", 1, 2]] * 4), "sequence 2: expected up to 3 steps, found 4"),
        ({"sequences": [[[1, 2]], [[1, 2]] * 4]}, "sequence 2: expected up to 3 steps, found 4"),
        (sent(["s" * 9, 1, 2]), "row 1, column `sequence`: expected up to 8 letters, found 9"),
        (sent([10**9, 1, 2]), "row 1, column `sequence`: expected up to 8 letters, found 10"),
        ({"sequences": [{"sequence": "s" * 9, "steps": [[1, 2]]}]}, "up to 8 letters, found 9"),
    ],
)
def test_of_what_is_too_large(tree: Any, said: str) -> None:
    with pytest.raises(TooLargeError, match=f"^the request.*{said}"):
        read(tree, limits=Limits(rows=5, steps=3, letters=8))


@pytest.mark.parametrize("body", [b"[" + b"[]," * 59 + b"[]]", b"[" + b"{}," * 59 + b"{}]"])
def test_of_what_would_take_long_to_read(body: bytes) -> None:
    with pytest.raises(TooLargeError, match="expected up to 40 lists and objects, found 61"):
        requests.read(body, NUMBERS, Limits(rows=5))


def test_the_largest_is_not_refused() -> None:
    asked = read({"sequences": [[[1, 2]]] * 5}, limits=Limits(rows=5))
    assert asked.batches[0].num_rows == 5
    tree = [{"sequence": "[{", "token": "[]{}"}] * 5
    assert read({"dataframe_records": tree}, WORDS, Limits(rows=5)).ids is None


def test_of_a_token_that_is_too_long() -> None:
    with pytest.raises(TooLargeError, match="sequence 1, step 2, column `token`: expected up to 8"):
        read({"sequences": [["the", "d" * 9]]}, WORDS, Limits(letters=8))


class TestLimits:
    def test_are_named_on_the_command_line(self) -> None:
        assert Limits.of([]) == Limits()
        assert Limits.of(["steps=50000", "seconds=0.5"]) == Limits(steps=50000, seconds=0.5)

    @pytest.mark.parametrize(
        "said", ["steps", "steps=", "steps=0", "steps=1.5", "a=1", "seconds=nan"]
    )
    def test_are_numbers_above_zero(self, said: str) -> None:
        with pytest.raises(
            ServingError, match=f"--limit: expected body=, rows=, .* found '{said}'"
        ):
            Limits.of(["rows=1", said])
