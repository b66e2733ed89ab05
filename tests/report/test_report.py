"""The report: the right figures in words and tables, safe for any name, nothing from outside."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from rich.console import Console
from small_models import encoding_for

from birnn import params
from birnn.data.buckets import Packing
from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.evaluation import headlines, slices, verdict
from birnn.evaluation.checks import Check
from birnn.evaluation.comparison import Predicted, Rung
from birnn.evaluation.data_checks import Splits
from birnn.evaluation.expected_accuracy import Calibration, OnTest
from birnn.evaluation.headlines import Figure
from birnn.evaluation.intervals import Difference, over
from birnn.evaluation.outs import Around, Confusion, Ends, Example, Point, Reached
from birnn.evaluation.padding import Group, Padding, Slip
from birnn.evaluation.slices import Slice, Sliced
from birnn.evaluation.trace import Answer, Layer, Said, Trace
from birnn.evaluation.verdict import Basis
from birnn.evaluation.worst import Tag, Worst
from birnn.files import atomic, digests, records
from birnn.files.summary import ClassCount, Summary
from birnn.model import saved_model
from birnn.model.architecture import Architecture, Cell
from birnn.model.history import Epoch, marked
from birnn.model.operating_points import Wanted
from birnn.params import Knobs
from birnn.report import (
    batches,
    conclusions,
    drawings,
    pages,
    tested,
    wording,
)
from birnn.report.batches import Preparation
from birnn.report.conclusions import Conclusion, Evidence
from birnn.report.tested import Compared, Result
from birnn.tracking import runs

NAMES = ["<script>alert(1)</script>", "NA", 'a&"b"']
FIGURES = {"accuracy": 0.9, "log_loss": 0.25} | {
    f"{measure}_{average}": 0.9 - 0.01 * (average == "weighted")
    for measure in ("precision", "recall", "f1")
    for average in ("macro", "weighted")
}

SUMMARY = Summary(
    task="tagging",
    sequences=99,
    steps=321,
    lengths={"mean": 3.0, "min": 1.0, "max": 4.0},
    labels={name: ClassCount(107, 1 / 3) for name in NAMES},
    splits={},
    not_in_test=[],
    duplicates=2,
    conflicts=1,
    first_conflicts=[],
    left_out={},
    reading={},
)


SLICE = Slice(
    column="group",
    value=NAMES[0],
    sequences=12,
    rows=34,
    figures=[
        slices.Figure("accuracy", 0.5, 0.25, 0.75, p=0.0125),
        slices.Figure("f1_macro", 0.5, 0.25, 0.75),
        slices.Figure("recall_y", None),
    ],
    without=["y"],
)


METRICS = {"accuracy": 0.5, "validation": {"accuracy": 0.75}}
ENTRIES = {name: params.Entry(batch_size=64) for name in ("bidirectional", "forward")}


def result(name: str = "bidirectional", **figures: float) -> Result:
    point = Reached(0.125, 0.8125, 13, 104, 16, Ends(0.0625, 0.25), None)
    none = Reached(None, None, 0, 0, 0, None, None)
    operating_points = {
        NAMES[0]: Point(0.0625, Wanted(0.8), validation=point, test=point, test_argmax=none)
    }
    counts = [[8, 1, 1], [0, 4, 1], [0, 0, 0]]
    return Result(
        name=name,
        sha256="0123456789abcdef" * 4,
        architecture=Architecture(
            "tagging", "RNN", 8, 0, 10, 1, 0.0, bidirectional=name != "forward", classes=3
        ),
        params={"hidden_size": 8, "bidirectional": name != "forward"},
        slices=Sliced([SLICE], left_out=2),
        metrics=FIGURES | figures,
        validation={name: value + 0.01 for name, value in FIGURES.items()},
        intervals={"accuracy": (0.85, 0.95), "f1_macro": (0.8, 0.9375)},
        checks=[Check("calibration", "warn", {}, "Off.")],
        operating_points=operating_points if name == "bidirectional" else {},
        epochs=marked([Epoch(n, 1 / n, 1.5 / n, 0.5, 0.6, 0.01) for n in (1, 2, 3)]),
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
        by_position=pd.DataFrame(
            {
                "counted_from": ["beginning", "beginning", "end", "end"],
                "first": [1, 2] * 2,
                "last": [1, 4] * 2,
                "rows": [5, 10] * 2,
                "accuracy": [0.6, 0.9, 0.5, 0.95],
            }
        ),
        calibration=pd.DataFrame(
            {"confidence": [0.3, 0.6, 0.9], "accuracy": [0.0, 0.5, 0.95], "rows": [1, 99, 100]}
        ),
        precision_recall=pd.DataFrame(
            {"label": NAMES[:1] * 2, "precision": [1.0, 0.5], "recall": [0.5, 1.0]}
        ),
        confusions=[
            Confusion(
                NAMES[0],
                NAMES[1],
                count=7,
                share=0.25,
                examples=[
                    Example(
                        sequence="s<7>",
                        steps=4,
                        step=2,
                        probability=0.9375,
                        context=[Around(1, None, "a", "a"), Around(2, "<w>", "b", "c")],
                    )
                ],
            )
        ],
        trace=traced(),
        padding=padded(),
        worst=[FAILED],
        without_labels=OnTest(0.9125, 0.9, -0.0125, 0.0375, groups=15),
    )


def padded(*, beside_longer: bool = False) -> Padding:
    """What `evaluate` writes of the mistake, on sequences of two lengths."""
    slip = Slip(
        reading="every step",
        accuracy=0.775,
        change=-0.125,
        low=-0.1625,
        high=-0.0875,
        changed=0.1875,
        moved=0.0625,
        by_length=[Group(1, 3, 40, 0.8, 0.5), Group(4, 4, 80, 0.9, 0.85)],
        from_end=[Group(1, 1, 30, 0.9, 0.25), Group(2, 2, 30, 0.9, 0.75)],
    )
    return Padding(15, 64, beside_longer, share=0.375, accuracy=0.9, slips=[slip])


FAILED = Worst(
    sequence="s<8>",
    steps=2,
    accuracy=0.5,
    loss=1.75,
    tags=[Tag(NAMES[0], NAMES[1], 0.03125), Tag(NAMES[0], NAMES[0], 0.96875)],
    words=[],
    values=[[0.5, -1.0]],
)


def traced(task: str = "tagging", *, backward: bool = True) -> Trace:
    """What `evaluate` writes of a sequence of two steps, of which the second turns the first."""
    layers = {"input": 3, "forward states": 2, "backward states": 2, "both together": 4}
    flow: list[tuple[str, tuple[int, ...]]] = [(name, (2, width)) for name, width in layers.items()]
    if task == "classification":
        flow += [("last states", (4,)), ("logits", (3,)), ("probabilities", (3,))]
    right, wrong = (Said(name, 0.75) for name in NAMES[:2])
    first = Answer(
        step=1,
        word=None,
        actual=NAMES[0],
        both=right,
        forward=wrong,
        backward=right if backward else None,
        cut_off=wrong,
        turned_at=2,
        turned_by=0.625,
    )
    return Trace(
        sequence="s' 1",
        steps=2,
        task=task,
        flow=[
            Layer(name, shape, -1.0, 1.0, [[0.5] * shape[-1]] * (2 if len(shape) > 1 else 1))
            for name, shape in flow
        ],
        answers=[first, replace(first, step=2, turned_at=0, turned_by=0.0)],
        cuts=[1, 2],
        after_cut=[[0.125, 0.75], [None, 0.75]] if task == "tagging" else [[0.125, 0.75]],
    )


PACKING = Packing(
    sequences={"train": 70, "validation": 14, "test": 15},
    steps={"train": 210, "validation": 42, "test": 69},
    edges=[1, 2, 3, 4, 5],
    histogram={"train": [0, 0, 70, 0], "validation": [0, 0, 14, 0], "test": [1, 2, 4, 8]},
    padding_at_random=0.8125,
    padding_as_batched=0.0875,
    duplicates=2,
    conflicts=1,
)

GAINS = {
    "accuracy": Difference(-0.025, -0.05, 0.0125, 12),
    "f1_macro": Difference(0.125, 0.1, 0.15, 12),
    "f1_weighted": Difference(0.0, -0.25, 0.25, 12),
}


def conclude(of: Result) -> Conclusion:
    shift = Check("label_shift", "fail", {}, f"{NAMES[0]}!")
    checks = tested.worst_first([*of.checks, replace(shift, status="pass"), shift])
    basis = Basis(of.metrics, of.intervals, checks=checks)
    return conclusions.conclusion(of.name, [of], basis, verdict.aims(params.Evaluate()))


LENGTHS = [2, 4, 3, 1, 4, 2, 1, 3, 4, 1]


def prepare(lengths: Sequence[int]) -> Preparation:
    """What the report shows of training sequences of these lengths, in batches of four."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return batches.preparation(PACKING, offsets, batch_size=4, batch_steps=None, seed=1)


def render(template: str, **changes: Any) -> str:
    results = changes.pop("results", [result(), result("forward", accuracy=0.8, f1_macro=0.7)])
    rows = tested.ladder([one.rung for one in results], {"filtering": 0.85}, "macro")
    prepared = changes.pop("prepared", None) or prepare(LENGTHS)
    drawn = drawings.pictures(results, rows) | changes.pop("drawn", {})
    content: dict[str, Any] = {
        "problem": "speech",
        "average": "macro",
        "results": results,
        "accents": {one.name: number for number, one in enumerate(results)},
        "summary": SUMMARY,
        "gaps": [f"not in train: labels {NAMES[0]!r}"],
        "frame": 1,
        "packing": PACKING,
        "prepared": prepared,
        "compared": Compared(
            rows,
            tested.second_direction(GAINS, "macro", "20 groups"),
            "In brackets: 95 % intervals over 20 groups.",
            Figure(0.1),
        ),
        "verdict": conclude(results[0]),
        "pictures": {**drawn, **prepared.pictures},
        "identity": [("data_sha256", "0123456789abcdef" * 4)],
        "knobs": [("train.learning_rate", "0.012")],
    }
    return pages.render(template, **(content | changes))


@pytest.mark.parametrize("frame", [1, 10])
def test_lengths_of_framed_sequences_are_called_so(frame: int) -> None:
    page = render("report.html.j2", frame=frame)
    assert ("Lengths are in frames of 10 steps." in page) == (frame == 10)


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
        if tag not in {"br", "meta"}:
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
        figures = ["0.900 (0.850 to 0.950)", "0.850", "99 sequences"]
        figures += [
            "-2.5 points of accuracy",
            "0.0625",
            "0.812 (13 of 16, no interval)",
            "7 times, 25 % of the class",
        ]
        figures += ["0123456789abcdef", "train.learning_rate", "torch"]
        for figure in figures:
            assert figure in text
        assert "limit: past" in text
        assert "nan" not in text

    def test_the_checks_are_there_and_failures_come_first(self) -> None:
        text = Page(render("report.html.j2")).text
        assert f"{NAMES[0]}!" in text
        assert text.index("label shift") < text.index("calibration")

    def test_the_headings_are_in_order(self) -> None:
        levels = [
            int(tag[1])
            for tag in Page(render("report.html.j2")).tags
            if tag[0] == "h" and tag[1:].isdigit()
        ]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))

    def test_every_picture_has_a_text_alternative(self) -> None:
        page = Page(render("report.html.j2"))
        labels = [value for name, value in page.attributes if name == "aria-label"]
        drawn = {**drawings.pictures([result()], []), **prepare(LENGTHS).pictures}
        assert page.tags.count("svg") == len(drawn) > 10
        assert "Accuracy with ever more context. " in " ".join(map(str, labels))

    @pytest.mark.parametrize("task", ["tagging", "classification"])
    def test_the_trace_is_there(self, task: str) -> None:
        results = [replace(result(), trace=traced(task)), result("forward")]
        text = Page(render("report.html.j2", results=results)).text
        shapes = ["99 x 4 x 3", "99 x 4 x 2", "99 x 4 x 4"]
        assert all(shape in text for shape in shapes)
        assert ("logits99 x 3" in "".join(text.split("\n"))) == (task == "classification")
        assert ("reading step 2 moved the answer at step 1." in text) == (task == "tagging")
        assert "--sequence 's'\"'\"' 1'" in text

    def test_a_model_that_reads_one_way_has_a_trace_too(self) -> None:
        alone = replace(result("forward"), trace=traced(backward=False))
        assert "backward alone" not in Page(render("report.html.j2", results=[alone])).text

    def test_many_classes_are_drawn(self) -> None:
        names = [f"c{number}" for number in range(40)]
        many = replace(result(), confusion=pd.DataFrame(1, index=names, columns=names))
        page = Page(render("report.html.j2", results=[many]))
        assert "Confusion matrix of bidirectional" in [value for _, value in page.attributes]
        assert "c39" not in page.text

    def test_what_padding_does_is_there_with_its_interval(self) -> None:
        page = Page(render("report.html.j2"))
        for figure in ("-12.5 (-16.2 to -8.8)", "18.8 %", "0.7750", "37.5 % of the steps"):
            assert figure in page.text
        assert "lengths from 3 to 40" not in page.text
        assert "twice the length" not in page.text

    def test_equal_lengths_are_said_to_have_no_padding(self) -> None:
        results = [replace(result(), padding=padded(beside_longer=True))]
        text = Page(render("report.html.j2", results=results, prepared=prepare([3] * 900))).text
        assert "All sequences of the training split have 3 steps, so there is no padding" in text
        assert "With lengths from 3 to 40 it would look like this" in text
        assert "one more sequence of twice the length" in text

    @pytest.mark.parametrize("words", [[], ["<v>", "x"]])
    def test_the_worst_sequences_are_there(self, words: list[str]) -> None:
        results = [replace(result(), worst=[replace(FAILED, words=words)])]
        page = Page(render("report.html.j2", results=results))
        assert "s<8>: 50 % right, loss 1.75, 2 steps" in page.text
        assert f"{NAMES[0]}→{NAMES[1]}" in page.text
        assert ("<v>/" in page.text) == bool(words)
        titles = [value for name, value in page.attributes if name == "aria-label"]
        assert ("Probability of the true class of each step" in titles) == (not words)

    def test_no_worst_sequence_where_all_is_right(self) -> None:
        text = Page(render("report.html.j2", results=[replace(result(), worst=[])])).text
        assert "None: all answers are right." in text

    def test_critical_classes_are_there_where_there_are_any(self) -> None:
        assert "Critical classes" in Page(render("report.html.j2")).text
        plain = [replace(result(), operating_points={})]
        assert "Critical classes" not in Page(render("report.html.j2", results=plain)).text

    def test_the_same_bytes(self) -> None:
        assert render("report.html.j2") == render("report.html.j2")

    def test_what_is_missing_is_a_bug(self) -> None:
        with pytest.raises(UndefinedError, match="results"):
            pages.render("report.html.j2", problem="speech")


class TestPhases:
    def say(self, *losses: tuple[float, float]) -> list[str]:
        """Of pairs of training and validation loss."""
        epochs = enumerate(losses, start=1)
        return wording.phases(marked([Epoch(n, *loss, 0.5, 0.625, 0.01) for n, loss in epochs]))

    def test_from_the_first_epoch_to_overfitting(self) -> None:
        assert self.say((2.0, 2.0), (1.0, 1.0), (0.9, 0.995), (0.8, 0.998), (0.5, 1.5)) == [
            "Starts learning: 62 % are right.",
            "Loss falls by 50 %.",
            "Converges: the loss hardly changes. Kept.",
            "Converges: the loss hardly changes.",
            "Overfits: 51 % above its least, as training improves.",
        ]

    def test_when_both_losses_rise(self) -> None:
        assert self.say((1.0, 1.0), (2.0, 2.0))[1].startswith("Swings: 100 % above its least")

    def test_without_any_loss(self) -> None:
        assert self.say((0.0, 0.0), (0.0, 0.0))[1] == "Converges: the loss hardly changes."


def test_turning_points() -> None:
    turns = [(1, 3, 0.5), (2, 3, -0.25), (3, 4, 0.05), (4, 5, 0.125)]
    one = traced()
    answers = [
        replace(one.answers[0], step=step, turned_at=at, turned_by=by) for step, at, by in turns
    ]
    assert wording.turning_points(replace(one, answers=answers)) == {3: [1, 2], 5: [4]}


class TestChanges:
    """Since the last commit, as a reader wants it."""

    PARAMS = ({"train.learning_rate": "1e-05", "train.seed": "1"}, {"train.learning_rate": "0.02"})
    METRICS: ClassVar[dict[str, wording.BeforeAndNow]] = {
        "forward": (
            {"accuracy": 0.5, "f1_<b>": 0.5, "f1_macro": 0.123451},
            {"accuracy": 0.512345, "f1_<b>": 0.6, "f1_macro": 0.123452, "log_loss": 0.6},
        )
    }

    def test_params_and_the_metrics_that_matter(self) -> None:
        assert wording.changes(self.PARAMS, self.METRICS) == [
            ("", "last commit", "now"),
            ("train.learning_rate", "1e-05", "0.02"),
            ("train.seed", "1", "not set"),
            ("forward: accuracy", "0.5", "0.5123"),
        ]

    def test_none(self) -> None:
        assert wording.changes(({}, {"a": "1"}), {}) == []
        assert wording.changes(({}, {}), {"forward": ({}, {"accuracy": 0.5})}) == []

    def test_are_a_section_behind_the_verdict(self) -> None:
        page = render("report.html.j2")
        changed = pages.with_section(page, "What <changed>", [("", "then"), ("<b>", "1")])
        text = Page(changed).text
        assert text.index("Fair") < text.index("What <changed>") < text.index("The ladder")
        assert "<b>" in text
        assert Page(changed).open == []
        assert len(changed) > len(page)


class TestKnobs:
    def test_of_models_are_told_where_they_differ(self) -> None:
        shared: Knobs = {"cell": "GRU", "dropout": 0.0, "head": None}
        models = {"a": shared, "b": shared | {"cell": "RNN"}}
        encoding = Encoding("tagging", ["p", "q"], ["x"], [0.0], [1.0], scaling="asinh", frame=3)
        tree = {"prepare": {"scale": "none", "min_count": 2, "frame": None}}
        assert wording.knobs(tree, encoding, models) == [
            ("prepare.scale", "asinh"),  # by which the data were scaled, whatever params.yaml says
            ("prepare.min_count", "2"),
            ("prepare.frame", "3"),
            ("prepare.lowercase", "false"),
            ("all models.dropout", "0.0"),
            ("a.cell", "GRU"),
            ("b.cell", "RNN"),
        ]
        alone = wording.knobs(tree, encoding, {"a": shared})
        assert ("all models.cell", "GRU") in alone


class TestAttach:
    def test_the_report_its_pictures_and_one_image_of_the_confusions(
        self, runs_root: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "data").mkdir()
        atomic.write_text(tmp_path / "data/encoding.json", "{}")
        atomic.write_text(tmp_path / "report/report.html", "<html>")
        one, drawn = result(), drawings.pictures([result()], [])
        with runs.training_run("p", "m", params={}, data=tmp_path / "data") as training:
            run = training.run
            assert run is not None
            drawings.attach(run, tmp_path / "report", one, drawn)
            drawings.attach(run, tmp_path / "report", one, drawn)
            pictures = {info.path for info in run.client.list_artifacts(run.id, "pictures")}
            assert pictures == {f"pictures/{name}.svg" for name in drawn}
            assert run.client.list_artifacts(run.id, "report")[0].path == "report/report.html"

            def images() -> list[str]:
                paths = [info.path for info in run.client.list_artifacts(run.id, "images")]
                return [path for path in paths if path.endswith(".png")]

            assert len(images()) == 1
            changed = replace(one, confusion=one.confusion * 2)
            drawings.attach(run, tmp_path / "report", changed, drawn)
            assert len(images()) == 2


HOSTILE = "\u202eevil\x1b[2J [x](http://e.org) <img src=x> a|b"


def test_no_name_changes_what_stands_around_it() -> None:
    """Control characters are shown, names are isolated, and Markdown takes no HTML from them."""
    one = result()
    trace = replace(one.trace, sequence=HOSTILE)
    check = Check("label_shift", "fail", {}, f"In {HOSTILE}!")
    told = replace(conclude(one), sentence=f"bad: {HOSTILE}", checks=[check])
    changes = {"results": [replace(one, trace=trace)], "verdict": told, "problem": HOSTILE}
    shown = r"\u202eevil\x1b[2J"
    page = render("report.html.j2", **changes)
    text = render("report.md.j2", **changes)
    two = render("two_pages.html.j2", **changes)
    for rendered in (page, two, text):
        assert not {"\u202e", "\x1b"} & {*rendered}
    assert f"<bdi>{shown}" in page
    assert r"\u202eevil\x1b\[2J \[x\](http://e.org) &lt;img src=x&gt; a\|b" in text
    assert not {"<", ">"} & {*text}


def test_markdown() -> None:
    lines = render("report.md.j2").splitlines()
    assert lines[0].startswith("# speech: fair: the check for label shift failed, so do not")
    table = [line for line in lines if line.startswith("|")]
    ladder = [line for line in table if line.count("|") == len(headlines.MEASURES) + 2]
    assert "| limit: past | 0.850 |  |  |  |  |" in ladder
    both = "| bidirectional | 0.900 (0.850 to 0.950) | 0.900 | 0.900 | 0.900 (0.800 to 0.938) |"
    assert f"{both} 0.250 |" in ladder
    script = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert f"| label shift | fail | {script}! |" in table
    assert "| calibration | warn | Off. |" in table
    precision, recall = "0.125 (13 of 104, 6 to 25 %)", "0.812 (13 of 16, no interval)"
    assert f"| bidirectional | {script} | 0.0625 | test | {precision} | {recall} |" in table
    assert f"| bidirectional | {script} | 0.0625 | test, most probable class |  |  |" in table
    place = lines.index("| slice | sequences | rows | accuracy | p | f1 macro | recall y | p |")
    assert lines[place + 1 : place + 3] == [
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| group {script} | 12 | 34 | 0.500 (0.250 to 0.750) | 0.0125 | 0.500 (0.250 to 0.750) "
        "| none there |  |",
    ]
    assert "No row of 'y' in group" in lines[place - 2]


class TestLadder:
    def test_from_the_floor_to_the_ceiling(self) -> None:
        rungs = [Rung("always 'a'", {"accuracy": 0.5, "f1_macro": 0.25}, {}), result().rung]
        rows = tested.ladder(rungs, {"filtering": 0.7, "smoothing": 0.95}, "macro")
        assert [(row.name, row.accuracy) for row in rows] == [
            ("always 'a'", Figure(0.5)),
            ("bidirectional", Figure(0.9, 0.85, 0.95)),
            ("limit: past", Figure(0.7)),
            ("limit: whole", Figure(0.95)),
        ]
        assert rows[0].log_loss is None
        assert rows[1].log_loss == Figure(0.25)
        assert rows[1].f1 == Figure(0.9, 0.8, 0.9375)

    def test_the_average_is_the_users_choice(self) -> None:
        (row,) = tested.ladder([result().rung], {}, "weighted")
        assert row.f1 == Figure(FIGURES["f1_weighted"])

    def test_on_a_terminal(self) -> None:
        console = Console(file=StringIO(), width=100)
        rungs = [Rung("always '[b]'", {"accuracy": 0.5}, {}), result().rung]
        console.print(
            pages.console_table(tested.ladder(rungs, {"filtering": 0.7}, "macro"), "over 20 groups")
        )
        assert isinstance(console.file, StringIO)
        shown = console.file.getvalue()
        assert "log loss" in shown
        assert "always '[b]'" in shown
        assert "0.900 (0.850 to 0.950)" in shown
        assert "limit: past" in shown
        assert "over 20 groups" in shown


class TestSecondDirection:
    def test_its_worth(self) -> None:
        assert tested.second_direction(GAINS, "macro", "20 groups of sequences") == (
            "The second direction is worth -2.5 points of accuracy (95 % interval -5.0 to +1.2) "
            "and +12.5 points of F1, macro (95 % interval +10.0 to +15.0), "
            "over 20 groups of sequences."
        )
        weighted = tested.second_direction(GAINS, "weighted", "20 sequences")
        assert "+0.0 points of F1, weighted" in weighted

    def test_too_few_that_differ(self) -> None:
        few = {name: gain._replace(differing=9) for name, gain in GAINS.items()}
        assert tested.second_direction(few, "macro", "20 sequences") == (
            "The second direction is worth -2.5 points of accuracy and +12.5 points of F1, macro; "
            "the models differ in 9 of 20 sequences, too few for an interval."
        )

    def test_a_single_group(self) -> None:
        assert tested.second_direction({}, "macro", "1 sequence") == (
            "What the second direction is worth cannot be told from 1 sequence."
        )

    def test_what_is_compared(self) -> None:
        both, one = result(), result("forward")
        assert tested.to_compare([one, both]) == (both, one)
        assert tested.to_compare([one, replace(one, name="small")]) is None
        assert "nothing to compare" in tested.second_direction(None, "macro", "20 sequences")

    def test_of_many_models_it_is_that_of_a_like_pair(self) -> None:
        """Not what another cell is worth beside it."""
        both, one = result(), result("forward")
        gru, gru_one = (
            replace(model, name=f"gru {model.name}", architecture=cell(model, "GRU"))
            for model in (both, one)
        )
        assert tested.to_compare([gru, one, both, gru_one]) == (gru, gru_one)
        assert tested.to_compare([gru, one]) == (gru, one)
        sentence = tested.second_direction(GAINS, "macro", "20 groups", ["gru", "gru forward"])
        assert sentence.startswith("The second direction (gru beside gru forward) is worth -2.5")


@pytest.mark.parametrize("sequences", [1, 2])  # of one group: see `ragged`
def test_a_single_test_group_is_compared_without_intervals(
    ragged: Callable[..., Sequences], sequences: int
) -> None:
    train, test = ragged([5, 3, 8, 1] * 10), ragged([9] * sequences)
    models = [result(), result("forward")]
    evidence = Evidence(
        results=[replace(one, intervals={}) for one in models],
        answers={one.name: Predicted(test.labels, test.labels) for one in models},
        encoding=Encoding("tagging", list("abc"), list("wxyz"), [0.0] * 4, [1.0] * 4),
        splits=Splits(train=train, validation=train, test=test),
        summary=SUMMARY,
    )
    compared = conclusions.compare(evidence, "macro", seed=1)
    assert compared.second_direction.endswith("cannot be told from " + over(1, sequences) + ".")
    assert compared.intervals.startswith("There are no 95 % intervals")
    assert compared.ladder[0].accuracy is not None
    assert compared.ladder[0].accuracy.low is None


@pytest.mark.parametrize("stratify", [False, True])
def test_advises_to_stratify_where_that_is_not_done(
    stratify: bool, ragged: Callable[..., Sequences], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conclusions, "identify", lambda _: [])  # it hashes files
    splits = ragged([5, 3])
    evidence = Evidence(
        results=[result()],
        answers={},
        encoding=Encoding("tagging", list("abc"), list("wxyz"), [0.0] * 4, [1.0] * 4),
        splits=Splits(train=splits, validation=splits, test=splits),
        summary=replace(SUMMARY, rare={"c": 2}),
    )
    compared = Compared([], "", "", Figure(0.1))
    sections = {
        "problem": "speech",
        "evaluate": {"average": "macro"},
        "prepare": params.Prepare(stratify=stratify).model_dump(),
    }
    content = pages.content(evidence, compared, conclude(result()), prepare(LENGTHS), {}, sections)
    (rare,) = [gap for gap in content["gaps"] if gap.startswith("labels in fewer")]
    assert ("prepare.stratify puts" in rare) != stratify


def cell(model: Result, name: Cell) -> Architecture:
    return replace(model.architecture, cell=name)


class TestConclusion:
    def test_grade_reasons_figures_and_checks(self) -> None:
        found = conclude(result(accuracy=0.7, precision_macro=0.1))
        assert found.grade == "bad"
        assert found.sentence == "bad: precision 0.100 is below 0.50"
        assert found.reasons == ("precision 0.100 is below 0.50",)
        assert found.model == "bidirectional"
        figures = [getattr(found, name) for name in ("accuracy", "precision", "recall", "f1")]
        assert figures == [0.7, 0.1, 0.9, 0.9]
        assert [check.status for check in found.checks] == ["fail", "warn", "pass"]


class TestRead:
    def write(self, folder: Path) -> None:
        atomic.write_text(folder / "models/m/weights.safetensors", "weights")
        built = result().architecture
        described = saved_model.described(built, encoding_for(built), {})
        atomic.write_json(folder / "models/m/model.json", described)
        atomic.write_text(folder / "models/m/history.csv", "epoch\n")
        atomic.write_json(folder / "evaluation/m/metrics.json", METRICS)
        ends = {"accuracy": {"low": 0.25, "high": 0.75}}
        atomic.write_json(folder / "evaluation/m/intervals.json", ends)
        atomic.write_json(folder / "evaluation/m/checks.json", [])
        atomic.write_json(folder / "evaluation/m/operating_points.json", {})
        atomic.write_text(folder / "evaluation/m/confusion.csv", "actual,1,NA\n1,2,3\nNA,4,5\n")
        header = "label,precision,recall,f1,support\n"
        atomic.write_text(folder / "evaluation/m/per_class.csv", f"{header}1,,0.5,,5\nNA,1,1,1,9\n")
        atomic.write_text(folder / "evaluation/m/by_length.csv", "shortest,longest\n1,2\n")
        atomic.write_text(folder / "evaluation/m/by_position.csv", "counted_from,first\nend,1\n")
        atomic.write_text(folder / "evaluation/m/calibration.csv", "confidence\n0.5\n")
        atomic.write_text(folder / "evaluation/m/precision_recall.csv", "label\n1\nNA\n")
        atomic.write_json(folder / "evaluation/m/confusions.json", [])
        records.write(folder / "evaluation/m/trace.json", traced())
        records.write(folder / "evaluation/m/slices.json", Sliced([], 0))
        records.write(folder / "evaluation/m/padding.json", padded())
        records.write(folder / "evaluation/m/worst.json", [FAILED])
        known = Calibration(0, 1, [[0, 0], [0, 0]], 9, result().without_labels)
        records.write(folder / "evaluation/m/expected_accuracy.json", known)

    def test_whole(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        found: Any = tested.read("m", tmp_path / "models", tmp_path / "evaluation")
        assert found.bidirectional
        assert found.metrics == {"accuracy": 0.5}
        assert found.validation == {"accuracy": 0.75}
        assert found.intervals == {"accuracy": (0.25, 0.75)}
        assert (found.checks, found.operating_points) == ([], {})
        assert found.confusion.loc["NA"].to_dict() == {"1": 4, "NA": 5}
        assert found.per_class["label"].tolist() == ["1", "NA"]
        assert found.per_class["f1"].isna().tolist() == [True, False]
        assert found.per_class["recall"].tolist() == [0.5, 1.0]
        assert found.precision_recall["label"].tolist() == ["1", "NA"]
        assert (found.confusions, found.trace) == ([], traced())
        assert (found.padding, found.worst) == (padded(), [FAILED])
        weights = tmp_path / "models/m/weights.safetensors"
        assert found.sha256 == digests.sha256(weights, tmp_path / "models/m/model.json")

    @pytest.mark.parametrize(
        "name",
        [
            "models/m/weights.safetensors",
            "models/m/model.json",
            "models/m/history.csv",
            "evaluation/m/metrics.json",
            "evaluation/m/intervals.json",
            "evaluation/m/checks.json",
            "evaluation/m/operating_points.json",
            "evaluation/m/confusion.csv",
            "evaluation/m/per_class.csv",
            "evaluation/m/by_length.csv",
            "evaluation/m/by_position.csv",
            "evaluation/m/calibration.csv",
            "evaluation/m/confusions.json",
            "evaluation/m/precision_recall.csv",
            "evaluation/m/trace.json",
            "evaluation/m/slices.json",
            "evaluation/m/padding.json",
            "evaluation/m/worst.json",
        ],
    )
    def test_a_missing_file(self, tmp_path: Path, name: str) -> None:
        self.write(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"{name}: no such file; run `dvc repro` first"):
            tested.read("m", tmp_path / "models", tmp_path / "evaluation")
