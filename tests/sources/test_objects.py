"""JSON that is read part by part, compared with what the json module reads as a whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birnn.errors import DataError
from birnn.sources import objects

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(
    max_examples=examples(60, 5000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=3), VALUES), max_size=9),
    indent=st.sampled_from([None, 0, 2]),
    array=st.booleans(),
    size=st.integers(1, 40),
)
def test_as_the_json_module_reads(
    tmp_path: Path, rows: list[dict[str, Any]], indent: int | None, array: bool, size: int
) -> None:
    texts = [json.dumps(row, indent=indent) for row in rows]
    whole = json.dumps(rows, indent=indent) if array else "\n".join(texts)
    (tmp_path / "t.json").write_text(f" {whole}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "PART_CHARACTERS", size)
        assert [*objects.of_file(tmp_path / "t.json")] == rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1}', ", character 10: expected ] after the last value, found: the end"),
        ('[{"a": 1', ", character 2: expected JSON, found: Expecting ',' delimiter"),
        ('[{"a": 1}{"a": 2}]', ", character 10: expected ] after the last value, found: {"),
        ('[{"a": 1},]', ", character 11: expected JSON, found: Expecting value"),
        ('[,{"a": 1}]', ", character 2: expected JSON, found: Expecting value"),
        ('[{"a": 1}] 2', ", character 12: expected nothing after the last value, found: 2"),
        ('[{"a": 1, "a": 2}]', ", character 2: expected JSON, found: the key 'a' twice"),
        ('{"a": 1},{"a": 1}', ", character 9: expected JSON, found: Expecting value"),
        ("[" * 100_000, ", character 2: expected JSON, found: maximum recursion depth exceeded"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(DataError) as refused:
        list(objects.of_file(tmp_path / "t.json"))
    assert str(refused.value).startswith(f"{tmp_path / 't.json'}{expected}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"a": "b', ": expected JSON, found: Unterminated string starting at character 7"),
        ('{"a": 1, "a": 2}', ": expected JSON, found: the key 'a' twice"),
        ("[1]", ": expected an object, found '[1]'; if the file is an array, let its name end in"),
        ("1", ": expected an object, found '1'"),
    ],
)
def test_mistakes_in_a_line(line: str, expected: str) -> None:
    with pytest.raises(DataError) as refused:
        objects.of_line(line, "t, line 1")
    assert str(refused.value).startswith(f"t, line 1{expected}")


def test_a_value_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PART_CHARACTERS", 10)
    monkeypatch.setattr(objects, "MOST_CHARACTERS", 100)
    (tmp_path / "t.json").write_text(json.dumps([{"a": "b" * 60}] * 9))
    assert len([*objects.of_file(tmp_path / "t.json")]) == 9
    (tmp_path / "t.json").write_text(json.dumps([{"a": "b" * 101}]))
    with pytest.raises(DataError, match="expected objects of up to 0 MB, found a larger one"):
        list(objects.of_file(tmp_path / "t.json"))
