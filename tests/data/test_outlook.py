"""What `birnn check params.yaml` says of what `prepare` will do."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from birnn import cli

ROWS = [f"s{n},{word},{n},{'ab'[n % 2]}" for n in range(40) for word in ("The", "cat", "sat")]
Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_params: Callable[[], dict[str, Any]],
) -> Check:
    """Checks params for a table; gives status, output and error."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("\n".join(["sequence,token,x,label", *ROWS]))

    def run(**prepare: Any) -> tuple[int, str, str]:
        tree = small_params()
        tree["data"] = {"source": "table", "task": "tagging", "path": "t.csv"}
        tree["prepare"] |= prepare
        Path("p.yaml").write_text(yaml.safe_dump(tree))
        monkeypatch.setattr(sys, "argv", ["birnn", "check", "p.yaml"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()  # type: ignore[return-value]

    return run


def test_vectors_that_are_not_there(check: Check) -> None:
    status, _, err = check(vectors="absent.txt")
    assert status == 1
    assert err.startswith("error: absent.txt: no such file; ")


@pytest.mark.parametrize("lowercase", [False, True])
def test_vectors_that_are(check: Check, lowercase: bool) -> None:
    Path("v.txt").write_text("the 1 2\ncat 3 4\n")
    status, out, err = check(vectors="v.txt", lowercase=lowercase)
    assert (status, err) == (0, "")
    said = [line for line in out.splitlines() if line.startswith("v.txt: ")]
    assert said[0].startswith(f"v.txt: {1 + lowercase} of 3 tokens have vectors, ")
    assert f"({'66.7' if lowercase else '33.3'} %)" in said[0]
    assert ("prepare.lowercase to true" in out) == (not lowercase)
    assert (
        said[-1]
        == "v.txt: its vectors have 2 numbers, to which model.embedding_size (64) gives way"
    )


def test_missing_numbers(check: Check) -> None:
    Path("t.csv").write_text("\n".join(["sequence,token,x,label", *ROWS, "z,cat,,a", "z,cat,NA,b"]))
    status, out, err = check()
    assert status == 1
    assert err.startswith(
        "error: t.csv, row 121, column `x`: expected a number, found nothing (mis"
    )
    assert "│ missing values " in out
    status, out, _ = check(missing="last")
    assert status == 0
    assert (
        "missing numbers: in x (2), of 122 steps; prepare.missing says what is read there: last"
        in out
    )


def test_an_order_by_a_column_that_is_not_there(check: Check) -> None:
    status, _, err = check(split_by="time")
    assert status == 1
    assert err.startswith("error: prepare.split_by: expected a column of the table (")


def test_a_split_without_sequences(check: Check) -> None:
    Path("t.csv").write_text("\n".join(["sequence,token,x,label", *ROWS[:6]]))
    status, _, err = check()
    assert status == 1
    assert err.startswith("error: prepare.split: expected sequences to ")
    assert "found none of 2 in the " in err
