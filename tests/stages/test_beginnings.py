"""From files as people have them to a report: `birnn init`, the stages, and no other edit."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from birnn import cli, params
from birnn.evaluation import scoring
from birnn.files import atomic

Stage = Callable[..., None]
Tagged = list[tuple[str, str, str]]
KINDS = {
    "café": ("NN", "B-LOC"),
    "10\xa0000": ("CD", "O"),
    "Ada": ("NN", "B-PER"),
}
MODEL = "bidirectional"
SPELLED = {
    "changed": "Changed: {}, {} in all",
    "noted": "Read: {}, {} in all",
    "not_in_train": "'{}' ({} steps)",
}
"""How the report says what stands under a key of the summary."""


def sentences(number: int, seed: int) -> Iterator[Tagged]:
    """Words with two tags each, as in benchmarks of named entities."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        words = rng.choice([*KINDS], size=rng.integers(1, 7))
        yield [(str(word), *KINDS[str(word)]) for word in words]


class Case(NamedTuple):
    """Files, and what is known of them.

    Attributes:
        write: writes them into a folder, and gives the argument of `birnn init`.
        section: some keys that `data` has then.
        said: what `data/raw/summary.json` and the report say of how they were read.
    """

    write: Callable[[Path], str]
    section: dict[str, Any]
    said: dict[str, dict[str, int]]


def benchmark(folder: Path) -> str:
    """CoNLL-2000: two files of columns, of which the official test has a class that train lacks."""
    for name, number in {"train.txt": 90, "test.txt": 30}.items():
        lines = [[" ".join(row) for row in one] for one in sentences(number, number)]
        if name == "test.txt":
            lines.append(["( ( B-LST", "1 CD I-LST"])
        text = "\n\n".join("\n".join(one) for one in lines) + "\n\n"
        (folder / name).write_text(text, encoding="utf-8")
    return folder.name


def export(folder: Path) -> str:
    """Hugging Face, saved as JSON Lines: a file for each split, classes by their numbers."""
    names = sorted({tag for _, tag in KINDS.values()})
    for name, number in {"train": 90, "validation": 20, "test": 30}.items():
        rows = [
            {
                "id": str(row),
                "tokens": [word for word, *_ in one],
                "pos_tags": [7] * len(one),
                "ner_tags": [names.index(tag) for *_, tag in one],
            }
            for row, one in enumerate(sentences(number, number))
        ]
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder.name


def dataset(folder: Path) -> str:
    """Kaggle: one table in Latin-1, where a sentence has its name on its first row alone."""
    rows = ["Sentence #,Word,POS,Tag"]
    for number, one in enumerate(sentences(120, 0), 1):
        for step, row in enumerate(one):
            rows.append(",".join(["" if step else f"Sentence: {number}", *row]))
    (folder / "ner_dataset.csv").write_bytes("\r\n".join(rows).encode("latin-1"))
    return f"{folder.name}/ner_dataset.csv"


CASES = {
    "CoNLL-2000": Case(
        benchmark,
        {"source": "conll", "format": "columns"},
        {"not_in_train": {"B-LST": 1, "I-LST": 1}},
    ),
    "Hugging Face": Case(
        export,
        {"source": "lists", "columns": {"sequence": "id", "token": "tokens", "label": "ner_tags"}},
        {"changed": {"ids that came by before, to the number of the row": 50}},
    ),
    "Kaggle": Case(
        dataset,
        {"source": "table", "fill_down": True, "keep": ["POS"]},
        {"noted": {"files in cp1252 (data.encoding can name another)": 1}},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (at > 0)) for at, name in enumerate(CASES)],
)
def test_from_files_to_a_report(
    runs_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: Stage,
    name: str,
) -> None:
    case = CASES[name]
    (runs_root / "theirs").mkdir()
    for place in ("checkout/stages/generate.py", "checkout/birnn/cli.py"):  # as of birnn itself
        (runs_root / place).parent.mkdir(parents=True)
        (runs_root / place).touch()
    monkeypatch.chdir(runs_root / "checkout")
    begin(f"../{case.write(runs_root / 'theirs')}", monkeypatch)
    tree = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    assert case.section.items() <= tree["data"].items()
    tree["train"] |= {"max_epochs": 8, "device": "cpu"}  # this and the next to save time
    del tree["models"]["forward"]
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    stage("generate")
    stage("prepare")
    stage("train", MODEL)
    stage("evaluate", MODEL)
    stage("report")

    summary = atomic.read_json("data/raw/summary.json")
    assert summary["sequences"] == (121 if name == "CoNLL-2000" else 140 if "H" in name else 120)
    page = Path("report/report.md").read_text(encoding="utf-8").replace("\\", "")
    for key, counts in case.said.items():
        assert summary[key] == counts
        for what, count in counts.items():
            assert SPELLED[key].format(what, count) in page
    found = scoring.score(f"evaluation/{MODEL}/predictions.parquet")
    written = atomic.read_json(f"evaluation/{MODEL}/metrics.json")
    assert found["accuracy"] == written["accuracy"] > 0.9
    assert params.load().problem in page


def begin(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["birnn", "init", path])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
