"""The report: the right figures in words and tables, safe for any name, nothing from outside."""

from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from jinja2 import UndefinedError
from rich.console import Console

from birnn import figures, files, report
from birnn.errors import DataError
from birnn.history import Epoch
from birnn.report import Result

NAMES = ["<script>alert(1)</script>", "NA", 'a&"b"']
FIGURES = {"accuracy": 0.9, "log_loss": 0.25} | {
    f"{measure}_{average}": 0.9 - 0.01 * (average == "weighted")
    for measure in ("precision", "recall", "f1")
    for average in ("macro", "weighted")
}


def result(name: str = "bidirectional", **figures: float) -> Result:
    counts = [[8, 1, 1], [0, 4, 1], [0, 0, 0]]
    return Result(
        name=name,
        sha256="0123456789abcdef" * 4,
        bidirectional=name != "forward",
        metrics=FIGURES | figures,
        epochs=[Epoch(n, 1 / n, 1.5 / n, 0.5, 0.6, 0.01) for n in (1, 2, 3)],
        confusion=pd.DataFrame(counts, index=NAMES, columns=NAMES),
        per_class=pd.DataFrame(
            {
                "label": NAMES,
                "precision": [1.0, 0.8, None],
                "recall": [0.8, 0.8, None],
                "f1": [0.8889, 0.8, None],
                "support": [10, 5, 0],
            }
        ),
        by_length=pd.DataFrame(
            {"shortest": [1, 4], "longest": [3, 4], "sequences": [2, 3], "f1_macro": [0.7, 0.9]}
        ),
    )


def render(template: str, **changes: Any) -> str:
    results = [result(), result("forward", accuracy=0.8, f1_macro=0.7)]
    lengths = {"mean": 3.0, "min": 1.0, "max": 4.0}
    content: dict[str, Any] = {
        "problem": "speech",
        "average": "macro",
        "results": results,
        "summary": {"sequences": 99, "steps": 321, "lengths": lengths, "labels": NAMES},
        "packing": {
            "sequences": {"train": 70, "validation": 14, "test": 15},
            "padding_at_random": 0.8125,
            "padding_as_batched": 0.0875,
            "duplicates": 2,
            "conflicts": 1,
        },
        "ladder": report.ladder(results, {"filtering": 0.85}, "macro"),
        "second_direction": report.second_direction(results, "macro"),
        "verdict": report.verdict(results[0], "macro"),
        "curves": figures.curves({result.name: result.epochs for result in results}),
        "by_length": "<svg></svg>",
    }
    return report.render(template, **(content | changes))


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags = list[str]()
        self.attributes = list[tuple[str, str | None]]()
        self.text = ""
        self.open = list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class TestHTML:
    def test_names_are_text(self) -> None:
        page = Page(render("report.html.j2"))
        assert "script" not in page.tags
        assert all(name in page.text for name in NAMES)
        assert page.open == []

    def test_nothing_runs_and_nothing_is_loaded(self) -> None:
        page = Page(render("report.html.j2"))
        assert {"script", "link", "img", "iframe", "object"}.isdisjoint(page.tags)
        assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
        links = [value or "" for name, value in page.attributes if name.endswith("href")]
        assert all(link.startswith("#") for link in links)
        assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes

    def test_the_figures_are_there(self) -> None:
        text = Page(render("report.html.j2")).text
        for figure in ("0.9000", "0.8000", "0.8500", "8.8 %", "81.2 %", "99 sequences"):
            assert figure in text
        assert "limit with the past" in text
        assert "nan" not in text

    def test_the_same_bytes(self) -> None:
        assert render("report.html.j2") == render("report.html.j2")

    def test_what_is_missing_is_a_bug(self) -> None:
        with pytest.raises(UndefinedError, match="verdict"):
            report.render("report.html.j2", problem="speech")


def test_markdown() -> None:
    lines = render("report.md.j2").splitlines()
    assert lines[0].startswith("# speech: good (")
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {len(report.MEASURES) + 2}
    assert "| bidirectional | 0.9000 | 0.9000 | 0.9000 | 0.9000 | 0.2500 |" in table
    assert "| limit with the past | 0.8500 |  |  |  |  |" in table


class TestLadder:
    def test_from_the_floor_to_the_ceiling(self) -> None:
        limits = {"per_step": 0.5, "filtering": 0.7, "smoothing": 0.95}
        rows = report.ladder([result(), result("forward", accuracy=0.6)], limits, "macro")
        assert [(row["name"], row["accuracy"]) for row in rows] == [
            (f"always {NAMES[0]!r}", pytest.approx(10 / 15)),
            ("bidirectional", 0.9),
            ("forward", 0.6),
            ("limit without context", 0.5),
            ("limit with the past", 0.7),
            ("limit with past and future", 0.95),
        ]
        assert rows[0]["f1"] is None
        assert rows[1]["f1"] == FIGURES["f1_macro"]

    def test_the_average_is_the_users_choice(self) -> None:
        rows = report.ladder([result()], {}, "weighted")
        assert len(rows) == 2
        assert rows[1]["f1"] == FIGURES["f1_weighted"]

    def test_on_a_terminal(self) -> None:
        console = Console(file=StringIO(), width=100)
        console.print(report.console_table(report.ladder([result()], {"filtering": 0.7}, "macro")))
        assert isinstance(console.file, StringIO)
        shown = console.file.getvalue()
        assert "log loss" in shown
        assert "0.9000" in shown
        assert "limit with the past" in shown


class TestSecondDirection:
    def test_its_worth(self) -> None:
        results = [result(accuracy=0.875, f1_macro=0.8), result("forward", f1_macro=0.825)]
        assert report.second_direction(results, "macro") == (
            "The second direction is worth -2.5 points of accuracy and -2.5 points of F1 (macro)."
        )
        gains = report.second_direction(results[::-1], "weighted")
        assert "-2.5 points of accuracy and +0.0 points of F1 (weighted)" in gains

    def test_without_one_to_compare(self) -> None:
        assert "nothing to compare" in report.second_direction([result()], "macro")
        others = [result("forward"), replace(result("forward"), name="small")]
        assert "nothing to compare" in report.second_direction(others, "macro")


class TestVerdict:
    @pytest.mark.parametrize(
        ("figures", "grade"),
        [
            ({}, "good"),
            ({"accuracy": 0.85}, "fair"),
            ({"accuracy": 0.6}, "fair"),
            ({"accuracy": 0.599}, "bad"),
            ({"recall_macro": 0.8}, "fair"),
            ({"f1_macro": 0.499}, "bad"),
            ({"f1_weighted": 0.0}, "good"),
            ({"accuracy": 0.7, "precision_macro": 0.1}, "bad"),
        ],
    )
    def test_the_worst_figure_decides(self, figures: dict[str, float], grade: str) -> None:
        found = report.verdict(result("bidirectional", **figures), "macro")
        assert found["grade"] == grade
        assert found["model"] == "bidirectional"
        assert found["sentence"].startswith(f"{grade} (accuracy ")


class TestRead:
    def write(self, folder: Path) -> None:
        files.write_text(folder / "models/m/weights.safetensors", "weights")
        files.write_json(folder / "models/m/model.json", {"architecture": {"bidirectional": True}})
        files.write_text(folder / "models/m/history.csv", "epoch\n")
        files.write_json(folder / "evaluation/m/metrics.json", {"accuracy": 0.5})
        files.write_text(folder / "evaluation/m/confusion.csv", "actual,1,NA\n1,2,3\nNA,4,5\n")
        header = "label,precision,recall,f1,support\n"
        files.write_text(folder / "evaluation/m/per_class.csv", f"{header}1,,0.5,,5\nNA,1,1,1,9\n")
        files.write_text(folder / "evaluation/m/by_length.csv", "shortest,longest\n1,2\n")

    def test_whole(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        found = report.read("m", tmp_path / "models", tmp_path / "evaluation")
        assert found.bidirectional
        assert found.metrics == {"accuracy": 0.5}
        assert found.confusion.loc["NA"].to_dict() == {"1": 4, "NA": 5}
        assert found.per_class["label"].tolist() == ["1", "NA"]
        assert found.per_class["f1"].isna().tolist() == [True, False]
        assert found.per_class["recall"].tolist() == [0.5, 1.0]
        weights = tmp_path / "models/m/weights.safetensors"
        assert found.sha256 == files.sha256(weights, tmp_path / "models/m/model.json")

    @pytest.mark.parametrize(
        "name",
        [
            "models/m/weights.safetensors",
            "models/m/model.json",
            "models/m/history.csv",
            "evaluation/m/metrics.json",
            "evaluation/m/confusion.csv",
            "evaluation/m/per_class.csv",
            "evaluation/m/by_length.csv",
        ],
    )
    def test_a_missing_file(self, tmp_path: Path, name: str) -> None:
        self.write(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"{name}: no such file; run `dvc repro` first"):
            report.read("m", tmp_path / "models", tmp_path / "evaluation")
