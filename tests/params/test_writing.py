"""Values that are written into a params file: at their place, with all else as it was."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from birnn.errors import ParamsError
from birnn.params import Knob, Knobs, load, writing

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return path


def changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_changes_no_other_byte(shipped: Path) -> None:
    before = shipped.read_text(encoding="utf-8")
    values: Knobs = {"learning_rate": 1e-05, "cell": "GRU", "hidden_size": 31, "dropout": 0.0}
    assert writing.apply(shipped, "forward", values) == [
        "train.learning_rate",
        "model.cell",
        "model.hidden_size",
    ]
    found = load(shipped).models
    assert found["forward"].learning_rate == found["bidirectional"].learning_rate == 1e-05
    assert changed_lines(before, shipped.read_text(encoding="utf-8")) == [
        "-   cell: RNN",
        "+   cell: GRU",
        "-   hidden_size: 10",
        "+   hidden_size: 31",
        "-   learning_rate: 0.012",
        "+   learning_rate: 1.0e-05",
    ]


def test_changes_nothing_where_the_values_are_there(shipped: Path) -> None:
    before = shipped.read_bytes()
    assert writing.apply(shipped, "forward", {"learning_rate": 0.012, "cell": "RNN"}) == []
    assert shipped.read_bytes() == before


HEAD = "# mine\nproblem: p\ndata: {source: hmm, task: tagging, sequences: 9, min_steps: 2,\n"
HEAD += "  max_steps: 2, features: 1, classes: 2, stay: 0.5, separation: 1.0}\n"


@pytest.mark.parametrize(
    ("text", "place", "written"),
    [
        ("models: {a: {cell: GRU}}\n", "models.a.cell", "models: {a: {cell: LSTM}}\n"),
        ("models:\n  a: {}\nmodel: {}\n", "model.cell", "models:\n  a: {}\nmodel: {cell: LSTM}\n"),
        (
            "model: {hidden_size: 3}  # few\nmodels: {a: {}}\n",
            "model.cell",
            "model: {cell: LSTM, hidden_size: 3}  # few\nmodels: {a: {}}\n",
        ),
        (
            "model:\n  hidden_size: 3  # few\n\nmodels: {a: {}}\n",
            "model.cell",
            "model:\n  cell: LSTM\n  hidden_size: 3  # few\n\nmodels: {a: {}}\n",
        ),
        (
            "models:\n  a:\n    cell: 'GRU'  # why\n",
            "models.a.cell",
            "models:\n  a:\n    cell: LSTM  # why\n",
        ),
        ("models: {a: {}}", "model.cell", "models: {a: {}}\n\nmodel:\n  cell: LSTM\n"),
    ],
)
def test_goes_where_the_value_of_the_model_stands(
    text: str, place: str, written: str, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    text, written = (one.replace("cell: LSTM", "cell: RNN") for one in (text, written))
    path.write_text(HEAD + text, encoding="utf-8")
    assert writing.apply(path, "a", {"cell": "RNN"}) == [place]
    assert path.read_text(encoding="utf-8") == HEAD + written


def test_null_is_a_value_too(tmp_path: Path, small_params: Callable[[], dict[str, Any]]) -> None:
    path = tmp_path / "params.yaml"
    tree = small_params()
    tree["train"]["batch_steps"] = 100
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert writing.apply(path, "forward", {"batch_steps": None}) == ["train.batch_steps"]
    assert load(path).models["forward"].batch_steps is None


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]])
def test_a_value_that_others_share_is_left_to_a_person(tmp_path: Path, order: list[str]) -> None:
    path = tmp_path / "params.yaml"
    first, second = order
    text = f"{HEAD}models: {{{first}: {{hidden_size: &few 3}}, {second}: {{num_layers: *few}}}}\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=r"models.b.\w+ to be written by itself, found an alias"):
        writing.apply(path, "b", {"num_layers" if order[1] == "b" else "hidden_size": 2})
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("value", ["NO", 3])
def test_a_value_that_is_not_allowed_leaves_the_file(shipped: Path, value: Knob) -> None:
    before = shipped.read_bytes()
    with pytest.raises(ParamsError, match="cell: expected"):
        writing.apply(shipped, "forward", {"cell": value})
    assert shipped.read_bytes() == before
    assert [path.name for path in shipped.parent.iterdir()] == ["params.yaml"]
