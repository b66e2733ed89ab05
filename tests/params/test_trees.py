"""Small files that stand for much are refused in one line, at once."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from birnn import params
from birnn.errors import ParamsError
from birnn.params import trees

LETTERS = "abcdefghij"


def bomb(first: str, rest: str) -> str:
    """Each line names the one before nine times."""
    lines = [f"a: &a {first}\n"]
    for before, name in pairwise(LETTERS):
        lines.append(f"{name}: &{name} {rest.replace('X', ', '.join([f'*{before}'] * 9))}\n")
    return "".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb("[1]", "[X]"), "with up to 20000 values, found more"),
        (bomb("{x: 1}", "{<<: [X]}"), "with up to 20000 values, found more"),
        ("train: &a\n  x: *a\n", "line 1: expected parts that do not hold themselves, found one"),
        ("train: " + "[" * 3000, "line 1: expected up to 20 levels, found more"),
        ("\n" + "{a: " * 3000 + "}" * 3000, "line 2: expected up to 20 levels, found more"),
        ("a: 1\nb: " + "9" * 5000, "line 2: expected values of up to 4000 letters, found more"),
        ("a: 1" + ":59" * 3000, "line 1: expected values of up to 4000 letters, found more"),
        ("a: 2001-13-45", "expected YAML, found month must be in 1..12"),
        ("x" * 1_100_000, "expected params of up to 1 MB, found more"),
        ("a: \xff".encode("latin-1").decode("utf-8", "surrogateescape"), "expected YAML, found"),
    ],
)
def test_what_stands_for_much(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    start = time.perf_counter()
    with pytest.raises(ParamsError) as raised:
        params.load(tmp_path / "p.yaml")
    assert str(raised.value).startswith(f"{tmp_path}/p.yaml")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert time.perf_counter() - start < 5


def test_names_for_parts_are_read() -> None:
    tree = trees.of_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: [*a]}\n", "p.yaml")
    assert tree == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": [{"x": 1}]}}


def test_an_empty_file_is_nothing() -> None:
    assert trees.of_text("# nothing\n", "p.yaml") is None
