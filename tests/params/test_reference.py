"""The reference of all keys: complete, current, and named where a key is unknown."""

import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from birnn import cli, params
from birnn.errors import ParamsError
from birnn.params import Data, Params, reference
from birnn.params.reference import Key

ROOT = Path(__file__).parents[2]


def keys() -> list[Key]:
    return [key for section in reference.sections() for key in section.keys]


def test_every_key_has_a_meaning() -> None:
    assert [key.name for key in keys() if not key.meaning] == []


def declared(section: type[BaseModel], path: str) -> set[str]:
    """All keys of a section and of those below it, by a walk of its fields."""
    found = set()
    for name, field in section.model_fields.items():
        found.add(f"{path}{name}")
        for one in (field.annotation, *get_args(field.annotation)):
            if isinstance(one, type) and issubclass(one, BaseModel):
                entry = "KEY." if name == "space" else "CLASS."
                below = entry if one is not field.annotation else ""
                found |= declared(one, f"{path}{name}.{below}")
    return found


def test_every_key_is_there() -> None:
    expected = set(Params.model_fields)
    for name in ("prepare", "model", "train", "evaluate", "retrain", "sweep", "run"):
        section = Params.model_fields[name].annotation
        assert isinstance(section, type)
        expected |= declared(section, f"{name}.")
    for kind in get_args(get_args(Data)[0]):
        expected |= declared(kind, "data.")
    assert {key.name for key in keys()} == expected


def test_the_page_is_current() -> None:
    written = (ROOT / "docs/params.md").read_text(encoding="utf-8")
    assert written == reference.markdown(), "run `birnn params --markdown > docs/params.md`"


def test_defaults_are_those_of_the_schema() -> None:
    tree = {"problem": "p", "models": {"m": {}}, "data": {"source": "conll", "path": "a.conllu"}}
    chosen = Params.model_validate(tree)
    for key in keys():
        section, _, rest = key.name.partition(".")
        if (
            section == "data"
            or {"CLASS", "KEY"} & {*rest.split(".")}
            or key.default in ("", "required")
        ):
            continue
        value: Any = chosen
        for part in key.name.split("."):
            value = getattr(value, part)
        given = yaml.safe_load(key.default.strip("`"))
        expected = TypeAdapter(Any).dump_python(value)
        assert (key.name, given) == (key.name, expected)


@pytest.mark.parametrize(
    ("section", "change", "known"),
    [
        ({}, {"retrian": 1}, "problem, data, prepare, model, models, train, evaluate, retrain"),
        ("prepare", {"mising": "mean"}, "split, folds, fold, stratify, split_by, scale, missing"),
        ("retrain", {"whn": "data"}, "model, when, refresh, aim, margin, class_margin"),
        ("data", {"pth": "a"}, "max_steps, longer, "),
        ("evaluate", {"critical": {"a": {"min_recal": 1}}}, "min_recall, min_precision, margin"),
        ("evaluate", {"bars": {"f1": {"bad": 1}}}, "bad_below, good_above"),
        ("models", {"m": {"hiden": 1}}, "device, seed, precision"),
    ],
)
def test_an_unknown_key_is_answered_with_those_that_are_known(
    tmp_path: Path, section: str, change: dict[str, Any], known: str
) -> None:
    tree: dict[str, Any] = {"problem": "p", "models": {"m": {}}}
    tree["data"] = {"source": "table", "task": "tagging", "path": "a.csv"}
    if section:
        tree[section] = {**tree.get(section, {}), **change}
    else:
        tree |= change
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(ParamsError) as refused:
        params.load(tmp_path / "p.yaml")
    assert f"; known here are {known}" in str(refused.value)


def show(*arguments: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["birnn", "params", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return ended.value.code


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert show("prepare.m") == 0
    out = capsys.readouterr().out
    assert "prepare.missing" in out
    assert "prepare.scale" not in out
    assert show("--markdown") == 0
    assert capsys.readouterr().out == reference.markdown()
    assert show("nothing") == 1
    assert "expected the beginning of a key, found 'nothing'" in capsys.readouterr().err
