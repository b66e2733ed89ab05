"""params.yaml: what it may hold, and how each mistake is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from birnn import params
from birnn.errors import ParamsError
from birnn.evaluation import verdict
from birnn.model import operating_points
from birnn.params import (
    ArraysData,
    ConllData,
    FastaData,
    HMMData,
    Params,
    Retrain,
    SktimeData,
    TableData,
    TextData,
)

ROOT = Path(__file__).parents[2]
TEXT = """\
problem: tagging
data:
  source: hmm
  task: tagging
  sequences: 10
  min_steps: 2
  max_steps: 5
  mean_steps: 3.5
  features: 3
  classes: 2
  stay: 0.5
  separation: 2
prepare:
  split:
    validation: 0.2
    test: 0.1
model:
  cell: GRU
  hidden_size: 8
models:
  bidirectional:
    bidirectional: true
  forward:
    bidirectional: false
    hidden_size: 16
train:
  batch_size: 4
  learning_rate: 0.01
"""


def load(folder: Path, *changes: tuple[str, str]) -> Params:
    """Read TEXT with some lines exchanged."""
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text)
    return params.load(folder / "params.yaml")


def complaint(folder: Path, *changes: tuple[str, str]) -> str:
    """What is said of TEXT with some lines exchanged, without the file's name."""
    with pytest.raises(ParamsError) as refused:
        load(folder, *changes)
    return str(refused.value).removeprefix(f"{folder / 'params.yaml'}: ")


MISTAKES = {
    "a misspelt key": (
        ("batch_size", "bach_size"),
        "train.bach_size: unknown key; did you mean batch_size?",
    ),
    "a misspelt section": (("train:", "trian:"), "trian: unknown key; did you mean train?"),
    "an unknown key": (("stay:", "wobble: 1\n  stay:"), "data.wobble: unknown key; remove it"),
    "a key in the wrong section": (
        ("batch_size: 4", "hidden_size: 4"),
        "train.hidden_size: unknown key here; remove it, or move it to its own section",
    ),
    "a fold of none": (
        ("    test: 0.1\n", "    test: 0.1\n  fold: 2\n"),
        "prepare: expected both `folds` and `fold`, or null for both, found",
    ),
    "a fold too many": (
        ("    test: 0.1\n", "    test: 0.1\n  folds: 2\n  fold: 3\n"),
        "prepare: expected `fold` from 1 up to `folds`, found",
    ),
    "a scaling that is none": (
        ("    test: 0.1\n", "    test: 0.1\n  scale: true\n"),
        "prepare.scale: expected 'none', 'global', 'per_sequence' or 'asinh', found True",
    ),
    "a missing key": (("  classes: 2\n", ""), "data.classes: expected a value, found none;"),
    "no source": (
        ("  source: hmm\n", ""),
        "data.source: expected a value, found none; add the key",
    ),
    "an unknown source": (
        ("source: hmm", "source: hm"),
        "'table', 'lists', 'text', 'conll', 'fasta', 'arrays', 'sktime', found 'hm'",
    ),
    "text for a number": (
        ("learning_rate: 0.01", "learning_rate: fast"),
        "train.learning_rate: expected a valid number, found 'fast'",
    ),
    "a number that YAML reads as text": (
        ("learning_rate: 0.01", "learning_rate: 1e-3"),
        "expected a valid number, found the text '1e-3' (YAML needs 0.001 here)",
    ),
    "a number for text": (("problem: tagging", "problem: 1"), "problem: expected a valid string"),
    "a fraction for a count": (
        ("sequences: 10", "sequences: 1.5"),
        "data.sequences: expected a valid integer, found 1.5",
    ),
    "a truth value for a count": (("hidden_size: 8", "hidden_size: true"), "found True"),
    "a number for a truth value": (
        ("bidirectional: true", "bidirectional: 1"),
        "models.bidirectional.bidirectional: expected a valid boolean, found 1",
    ),
    "nothing for a number": (("batch_size: 4", "batch_size:"), "found None"),
    "zero": (
        ("batch_size: 4", "batch_size: 0"),
        "train.batch_size: expected greater than or equal to 1, found 0",
    ),
    "a negative number": (("learning_rate: 0.01", "learning_rate: -1"), "greater than 0, found -1"),
    "NaN": (("learning_rate: 0.01", "learning_rate: .nan"), "a finite number, found nan"),
    "infinity": (("learning_rate: 0.01", "learning_rate: .inf"), "a finite number, found inf"),
    "a share of one": (("stay: 0.5", "stay: 1.0"), "data.stay: expected less than 1, found 1.0"),
    "one class": (("classes: 2", "classes: 1"), "data.classes: expected greater than or equal"),
    "an unknown cell": (
        ("cell: GRU", "cell: gru"),
        "model.cell: expected 'RNN', 'GRU' or 'LSTM', found 'gru'",
    ),
    "an unknown device": (
        ("batch_size: 4", "device: gpu"),
        "train.device: expected 'auto', 'cuda', 'mps' or 'cpu', found 'gpu'",
    ),
    "nothing left to train on": (
        ("test: 0.1", "test: 0.8"),
        "prepare.split: expected validation + test below 1; training needs a share",
    ),
    "the shortest above the longest": (
        ("min_steps: 2", "min_steps: 6"),
        "data: expected min_steps up to max_steps",
    ),
    "no mean for lengths that differ": (
        ("  mean_steps: 3.5\n", ""),
        "data: expected mean_steps where min_steps and max_steps differ",
    ),
    "states for tagging": (("stay:", "states: 3\n  stay:"), "data: expected `states` for classif"),
    "no states for classification": (
        ("task: tagging", "task: classification"),
        "data: expected `states` for classification, and for nothing else",
    ),
    "an empty model": (
        ("  forward:\n    bidirectional: false\n    hidden_size: 16", "  forward:"),
        "models.forward: expected a valid dictionary",
    ),
    "a section that is none": (("model:\n", "model: GRU\nrest:\n"), "model: expected a valid dict"),
    "a misspelt key of a critical class": (
        ("train:", "evaluate:\n  critical:\n    hmm:\n      min_recal: 0.8\ntrain:"),
        "evaluate.critical.hmm.min_recal: unknown key; did you mean min_recall?",
    ),
    "a critical class that must reach nothing": (
        ("train:", "evaluate:\n  critical:\n    a: {}\ntrain:"),
        "evaluate.critical.a: expected either `min_recall` or `min_precision`, found {}",
    ),
    "a critical class that must reach two things": (
        ("train:", "evaluate:\n  critical: {a: {min_recall: 1, min_precision: 1}}\ntrain:"),
        "evaluate.critical.a: expected either `min_recall` or `min_precision`",
    ),
    "a number for the name of a class": (
        ("train:", "evaluate:\n  critical:\n    1: {min_recall: 0.8}\ntrain:"),
        "evaluate.critical.1: expected a valid string, found 1 (put the name into quotes)",
    ),
    "a misspelt bar": (
        ("train:", "evaluate:\n  bars: {recal: {bad_below: 0.1, good_above: 0.2}}\ntrain:"),
        "evaluate.bars.recal: unknown key; did you mean recall?",
    ),
    "bars in the wrong order": (
        ("train:", "evaluate:\n  bars: {f1: {bad_below: 0.9, good_above: 0.8}}\ntrain:"),
        "evaluate.bars.f1: expected bad_below up to good_above, found",
    ),
    "vectors at an address that nobody reads": (
        ("train:", "prepare: {vectors: 'https://example.org/v.txt'}\ntrain:"),
        "prepare.vectors: expected a path, or an address such as s3://bucket/folder, without keys",
    ),
    "a shadow with keys": (
        ("train:", "retrain: {shadow: 's3://key:secret@bucket/new.csv'}\ntrain:"),
        "retrain.shadow: expected a path, or an address such as s3://bucket/folder, without keys",
    ),
    "a command in one piece": (
        ("train:", "retrain:\n  refresh: dvc update\ntrain:"),
        "retrain.refresh: expected a valid list, found 'dvc update'",
    ),
    "a command without words": (("train:", "retrain: {refresh: []}\ntrain:"), "retrain.refresh: "),
    "an unknown moment to train": (
        ("train:", "retrain: {when: nightly}\ntrain:"),
        "retrain.when: expected 'schedule', 'data' or 'drift', found 'nightly'",
    ),
    "an unknown aim": (
        ("train:", "retrain: {aim: better}\ntrain:"),
        "retrain.aim: expected 'superior' or 'not_inferior', found 'better'",
    ),
    "an unknown approval": (
        ("train:", "retrain: {approval: none}\ntrain:"),
        "retrain.approval: expected 'automatic' or 'manual', found 'none'",
    ),
    "a negative margin": (
        ("train:", "retrain: {class_margin: -0.1}\ntrain:"),
        "retrain.class_margin: expected greater than or equal to 0, found -0.1",
    ),
    "a misspelt margin": (
        ("train:", "retrain: {lenght_margin: 0.1}\ntrain:"),
        "retrain.lenght_margin: unknown key; did you mean length_margin?",
    ),
    "a misspelt key of a model with the name of a source": (
        ("  forward:\n", "  hmm:\n    hiden_size: 3\n  forward:\n"),
        "models.hmm.hiden_size: unknown key; did you mean hidden_size?",
    ),
    "a name that no folder can have": (
        ("problem: tagging", "problem: ../a b"),
        "problem: String should match pattern",
    ),
}


class TestMistakes:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_the_key_and_the_value_are_named(self, tmp_path: Path, mistake: str) -> None:
        change, expected = MISTAKES[mistake]
        found = complaint(tmp_path, change)
        assert expected in found
        assert "\n" not in found

    def test_every_mistake_is_named_once(self, tmp_path: Path) -> None:
        found = complaint(tmp_path, ("cell: GRU", "cell: 3"), ("batch_size: 4", "batch_size: 0"))
        assert found == (
            "model.cell: expected 'RNN', 'GRU' or 'LSTM', found 3; "
            "train.batch_size: expected greater than or equal to 1, found 0"
        )

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "the file: expected a valid dictionary"),
            (b"- 1", "the file: expected a valid dictionary"),
            (b"problem: [", "expected YAML, found"),
            (b"\tproblem: x", "expected YAML, found"),
            (b"problem: \xe9", "expected YAML, found"),
        ],
    )
    def test_not_a_params_file(self, tmp_path: Path, content: bytes, expected: str) -> None:
        (tmp_path / "params.yaml").write_bytes(content)
        with pytest.raises(ParamsError) as refused:
            params.load(tmp_path / "params.yaml")
        assert str(refused.value).startswith(f"{tmp_path / 'params.yaml'}: {expected}")
        assert "\n" not in str(refused.value)

    def test_a_missing_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ParamsError, match=r"^params\.yaml: no such file; copy one from"):
            params.load()


SOURCES: dict[str, tuple[dict[str, Any], type]] = {
    "table": ({"source": "table", "task": "tagging", "path": "x.csv"}, TableData),
    "official splits": (
        {
            "source": "table",
            "task": "classification",
            "train": "a.csv",
            "validation": "b.csv",
            "test": "c.csv",
            "max_steps": 100,
            "longer": "cut",
        },
        TableData,
    ),
    "texts": (
        {
            "source": "text",
            "path": "x.tsv",
            "text": "review",
            "quotes": False,
            "encoding": "cp1252",
        },
        TextData,
    ),
    "a file for each class": (
        {
            "source": "text",
            "classes": {"neg": "a", "pos": "b"},
            "tokens": "pattern",
            "pattern": r"\w+",
        },
        TextData,
    ),
    "sentences": (
        {"source": "conll", "train": "a", "test": "b", "token": 3, "separator": "tab"},
        ConllData,
    ),
    "letters": ({"source": "fasta", "path": "a.fa", "label_pattern": "(.)$", "kmer": 3}, FastaData),
    "arrays": ({"source": "arrays", "task": "tagging", "path": "a.npz"}, ArraysData),
    "sktime by name": ({"source": "sktime", "name": "JapaneseVowels"}, SktimeData),
    "sktime by file": ({"source": "sktime", "path": "a.ts"}, SktimeData),
    "sktime by split": ({"source": "sktime", "train": "a.ts", "test": "b.ts"}, SktimeData),
    "classes of chains": (
        {**yaml.safe_load(TEXT)["data"], "task": "classification", "states": 3},
        HMMData,
    ),
}
NO_SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "a table without a path": (
        {"source": "table", "task": "tagging"},
        "data: expected one of `path`, `train`",
    ),
    "two ways in": (
        {"source": "text", "path": "a", "classes": {"a": "b"}},
        "data: expected one of `path`, `train`, `classes`",
    ),
    "nothing to test on": (
        {"source": "conll", "train": "a"},
        "data: expected `train` and `test` together; one file alone is `path`",
    ),
    "validation alone": (
        {"source": "fasta", "path": "a", "validation": "b"},
        "data: expected `train` and `test` beside `validation`",
    ),
    "no class": (
        {"source": "text", "classes": {}},
        "data.classes: Dictionary should have at least",
    ),
    "an unknown encoding": (
        {"source": "text", "path": "a.csv", "encoding": "latin-99"},
        "data.encoding: expected an encoding that Python knows, such as latin-1, found 'latin-99'",
    ),
    "an encoding that is none": (
        {"source": "conll", "path": "a", "encoding": "base64"},
        "data.encoding: expected an encoding that Python knows",
    ),
    "a broken pattern": (
        {"source": "text", "path": "a.csv", "tokens": "pattern", "pattern": "("},
        "data.pattern: expected a regular expression (missing ), unterminated subpattern",
    ),
    "a pattern without its name": (
        {"source": "text", "path": "a.csv", "pattern": "a"},
        "data: expected `pattern` with `tokens: pattern`, and with nothing else",
    ),
    "a pattern without a group": (
        {"source": "fasta", "path": "a.fa", "label_pattern": "a"},
        "data: expected one group in `label_pattern`, around the class",
    ),
    "two places for labels": (
        {"source": "fasta", "path": "a.fa", "label_pattern": "(a)", "labels": "b.csv"},
        "data: expected `label_pattern` or `labels`, not both",
    ),
    "arrays without a task": ({"source": "arrays", "path": "a"}, "data.task: expected a value, f"),
    "texts that are tagged": ({"source": "text", "path": "a", "task": "tagging"}, "data.task"),
    "another way with long ones": (
        {"source": "conll", "path": "a", "longer": "drop"},
        "data.longer: expected 'refuse' or 'cut', found 'drop'",
    ),
    "nothing to open": ({"source": "sktime"}, "expected one of `name`, `path`, `train`"),
    "two to open": ({"source": "sktime", "name": "A", "train": "a.ts"}, "one of `name`, `path`"),
    "a test alone": ({"source": "sktime", "name": "A", "test": "b.ts"}, "`train` and `test` toge"),
    "a file for two splits": (
        {"source": "text", "train": "a.csv", "test": "a.csv"},
        "expected a file of its own for each split",
    ),
    "no name": ({"source": "text", "path": ""}, "data.path"),
    "series that are tagged": ({"source": "sktime", "task": "tagging", "name": "A"}, "data.task"),
}


class TestSources:
    @pytest.mark.parametrize("case", SOURCES)
    def test_good(self, tmp_path: Path, case: str) -> None:
        section, kind = SOURCES[case]
        (tmp_path / "params.yaml").write_text(
            yaml.safe_dump({**yaml.safe_load(TEXT), "data": section})
        )
        data = params.load(tmp_path / "params.yaml").data
        assert type(data) is kind
        assert section.items() <= data.model_dump().items()

    @pytest.mark.parametrize("case", NO_SOURCES)
    def test_bad(self, tmp_path: Path, case: str) -> None:
        section, expected = NO_SOURCES[case]
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(TEXT), "data": section}))
        with pytest.raises(ParamsError) as refused:
            params.load(path)
        assert expected in str(refused.value)


class TestData:
    def test_has_a_file_for_each_split(self) -> None:
        splits = {"train": "a", "validation": "b", "test": "c"}
        given = {"source": "table", "task": "tagging"}
        tables = [params.data(given | files) for files in ({"path": "x"}, splits)]
        assert [table.files for table in tables if isinstance(table, TableData)] == [
            {"": "x"},
            splits,
        ]

    def test_of_no_file_is_checked_too(self) -> None:
        with pytest.raises(ParamsError) as refused:
            params.data({"source": "table", "path": 1, "task": "sorting"})
        assert str(refused.value) == (
            "data.path: expected a valid string, found 1; "
            "data.task: expected 'tagging' or 'classification', found 'sorting'"
        )


class TestModels:
    def test_each_says_what_sets_it_apart(self, tmp_path: Path) -> None:
        models = load(tmp_path).models
        assert list(models) == ["bidirectional", "forward"]
        assert models["bidirectional"].hidden_size == 8
        assert models["forward"].hidden_size == 16
        assert {model.cell for model in models.values()} == {"GRU"}

    def test_look_up(self, tmp_path: Path) -> None:
        chosen = load(tmp_path)
        assert params.entry(chosen, "forward") is chosen.models["forward"]
        with pytest.raises(ParamsError, match="one of bidirectional, forward, found 'backward'"):
            params.entry(chosen, "backward")

    def test_take_any_key_of_model_and_train(self, tmp_path: Path) -> None:
        own = "  small: {cell: RNN, learning_rate: 0.002, seed: 7}\n  same: {}\ntrain:"
        models = load(tmp_path, ("train:", own)).models
        small, same = models["small"], models["same"]
        assert (small.cell, small.learning_rate, small.seed) == ("RNN", 0.002, 7)
        assert (small.hidden_size, small.batch_size) == (8, 4)
        assert (same.cell, same.learning_rate) == ("GRU", 0.01)

    def test_may_do_without_sections_of_their_own(self, tmp_path: Path) -> None:
        alone = load(tmp_path, ("train:\n  batch_size: 4\n  learning_rate: 0.01\n", ""))
        assert alone.models["forward"].batch_size == params.Train().batch_size

    def test_first_is_the_candidate_unless_another_is_named(self, tmp_path: Path) -> None:
        assert load(tmp_path).candidate == "bidirectional"
        named = "retrain: {model: forward}\ntrain:"
        assert load(tmp_path, ("train:", named)).candidate == "forward"

    def test_candidate_must_be_one_of_them(self, tmp_path: Path) -> None:
        said = complaint(tmp_path, ("train:", "retrain: {model: gru}\ntrain:"))
        assert said == "retrain.model: expected one of bidirectional, forward, found 'gru'"

    @pytest.mark.parametrize("name", ["a b", "a.b", "a/b", "../a", "-a", "ä"])
    def test_names_are_those_of_folders_and_stages(self, tmp_path: Path, name: str) -> None:
        said = complaint(tmp_path, ("  forward:", f"  '{name}':"))
        assert said.startswith(f"models.{name}: expected a name of letters, digits, `_` and `-`")

    def test_a_run_has_flat_knobs(self, tmp_path: Path) -> None:
        knobs = params.of_run(load(tmp_path), "forward")
        expected = {"source": "hmm", "task": "tagging", "hidden_size": 16, "batch_size": 4}
        assert expected.items() <= knobs.items()
        assert all(isinstance(value, str | int | float | None) for value in knobs.values())


class TestEvaluate:
    def test_bars_are_those_of_the_verdict(self, tmp_path: Path) -> None:
        bars = load(tmp_path).evaluate.bars.model_dump()
        aims = verdict.aims(load(tmp_path).evaluate)
        assert {name: params.Bar(**bar) for name, bar in bars.items()} == aims.bars

    def test_critical_classes(self, tmp_path: Path) -> None:
        section = "evaluate:\n  critical: {a: {min_recall: 0.8}, '1': {min_precision: 0.9}}\ntrain:"
        critical = load(tmp_path, ("train:", section)).evaluate.critical
        assert {
            label: (aim.figure, aim.at_least, aim.margin)
            for label, aim in operating_points.wanted(critical).items()
        } == {
            "a": ("recall", 0.8, 0.0),
            "1": ("precision", 0.9, 0.0),
        }


class TestRetrain:
    def test_may_be_left_out(self, tmp_path: Path) -> None:
        assert load(tmp_path).retrain == Retrain()

    def test_is_read(self, tmp_path: Path) -> None:
        section = "retrain: {when: drift, refresh: [dvc, update], approval: manual, margin: 0}"
        found = load(tmp_path, ("train:", f"{section}\ntrain:")).retrain
        expected = {"when": "drift", "refresh": ["dvc", "update"], "approval": "manual"}
        assert found.model_dump() == {**Retrain().model_dump(), **expected, "margin": 0}


def test_resamples_of_older_files_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = load(tmp_path, ("train:", "evaluate:\n  resamples: 500\n  seed: 7\ntrain:"))
    assert old.evaluate.seed == 7
    said = "params.yaml: evaluate.resamples has no effect any more; remove it\n"
    assert capsys.readouterr().err.endswith(said)


def test_a_whole_number_is_a_number(tmp_path: Path) -> None:
    data = load(tmp_path).data
    assert isinstance(data, HMMData)
    assert data.separation == 2.0


def test_params_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(tmp_path).train.batch_size = 3


@pytest.mark.parametrize(
    "path",
    [ROOT / "params.yaml", *sorted((ROOT / "examples").glob("*.yaml"))],
    ids=lambda p: p.stem,
)
def test_shipped_files_are_right(path: Path) -> None:
    cells = [f"{cell}_{way}" for cell in ("rnn", "gru", "lstm") for way in ("both", "forward")]
    expected = cells if path.stem == "cells" else ["bidirectional", "forward"]
    assert sorted(params.load(path).models) == sorted(expected)


@pytest.mark.parametrize(
    ("written", "names"),
    [("-100", ["-100"]), ('[-100, "O?"]', ["-100", "O?"]), ("O", ["O"]), ("null", []), ("[]", [])],
)
def test_labels_that_stand_for_none(written: str, names: list[str]) -> None:
    section = yaml.safe_load(
        f"{{source: table, task: tagging, path: a.csv, unlabelled: {written}}}"
    )
    assert params.data(section).unlabelled == names  # type: ignore[union-attr]


@pytest.mark.parametrize("written", ["1.5", "true", "[[1]]"])
def test_labels_that_are_no_names(written: str) -> None:
    section = yaml.safe_load(
        f"{{source: table, task: tagging, path: a.csv, unlabelled: {written}}}"
    )
    with pytest.raises(ParamsError, match=r"data\.unlabelled\.0: expected a valid string"):
        params.data(section)


class TestManyFaults:
    """A complaint about a strange file is short, and worded at once."""

    def test_the_first_ones_are_said(self, tmp_path: Path) -> None:
        keys = "".join(f"  leraning_rate{n}: 1\n" for n in range(2000))
        said = complaint(tmp_path, ("train:\n", f"train:\n{keys}"))
        assert said.count("unknown key") == 10
        assert said.endswith("; and 1990 more")

    @pytest.mark.parametrize("value", ["'" + "y" * 3000 + "'", "[" + "7, " * 3000 + "]"])
    def test_of_a_long_value(self, tmp_path: Path, value: str) -> None:
        said = complaint(tmp_path, ("batch_size: 4", f"batch_size: {value}"))
        assert "train.batch_size: expected a valid integer, found" in said
        assert len(said) < len(str(tmp_path)) + 500

    def test_of_a_long_key(self, tmp_path: Path) -> None:
        said = complaint(tmp_path, ("train:\n", f"train:\n  {'x' * 1000}: 1\n"))
        assert f"train.{'x' * 300}...: unknown key; remove it" in said

    def test_of_a_number_that_nobody_can_write(self, tmp_path: Path) -> None:
        said = complaint(tmp_path, ("batch_size: 4", "batch_size: '1e999999999'"))
        assert said.endswith("found '1e999999999'")

    def test_of_a_number_of_many_digits(self, tmp_path: Path) -> None:
        said = complaint(tmp_path, ("batch_size: 4", f"batch_size: {'9' * 3900}"))
        assert "train.batch_size: expected" in said
        assert "found a number of 12956 bits" in said
