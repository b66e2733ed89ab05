"""The report: what was learned, how well, and what the second direction is worth.

results = [read(name, "models", "evaluation") for name in ("bidirectional", "forward")]
rows = ladder([result.rung for result in results], limits={}, average="macro")
page = render("report.html.j2", ladder=rows, pictures=pictures(results, rows), ...)

The page is a function of the files of a run alone, so that a fresh clone writes the same bytes.
What changed since the last commit is not: it depends on which commit that is, and once the result
is committed, nothing has changed. So it is no part of the page, but of a copy; see `with_section`.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from birnn import figures, files, history, lock, tracking
from birnn.errors import DataError
from birnn.history import Epoch

if TYPE_CHECKING:  # `birnn summary` draws a table, and should not wait for these
    import pandas as pd

    from birnn.comparison import Rung
    from birnn.metrics import Difference
    from birnn.verdict import Verdict

LIMITS = {
    "per_step": "limit: one step",
    "filtering": "limit: past",
    "smoothing": "limit: whole",
}
MEASURES = ("accuracy", "precision", "recall", "f1", "log_loss")
SPLITS = {
    "validation": "validation",
    "test": "test",
    "test_argmax": "test, most probable class",
}
SHOWN = ("accuracy", "f1", "log_loss")  # on a terminal
CHANGES = ("accuracy", "f1_macro", "f1_weighted", "log_loss", "calibration_error")
VERDICT_FIGURES = ("accuracy", "precision", "recall", "f1")
PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "torch")
BeforeAndNow = tuple[Mapping[str, Any], Mapping[str, Any]]
AFTER_VERDICT = "<!-- A section that depends on more than this run is put here. -->"

FLAT = 0.01  # a change of the loss by less than this share is none
TURN = 0.1  # a change of a probability from which on the model has changed its mind
MOST_CLASSES = 16  # of a confusion matrix in numbers; larger ones are drawn
LEAST_SHARE = 0.01  # of the answers, for a bin of the calibration curve
MOST_CURVES = 6  # precision-recall curves
RUNGS = {
    "each step alone": "A logistic regression, or for words a count, that sees one step at a time.",
    "limit: one step": "The best that can be had from one step alone.",
    "limit: past": "The best that can be had from a step and all before it.",
    "limit: whole": "The best that can be had from the whole sequence.",
}
LAYERS = {
    "input": "What the recurrent layers read: a row of numbers for each step.",
    "forward states": "Each rests on its own step and all before it.",
    "backward states": "Each rests on its own step and all after it.",
    "both together": "Forward and backward states of a step, side by side.",
    "last states": "The state in which each direction ends: what the label is read from.",
    "summary (mean)": "The mean of the states over all steps.",
    "summary (max)": "The largest value of each state over all steps.",
    "summary (all)": "Last states, mean and largest value, side by side.",
    "logits": "A score for each class: weights times states, plus a bias.",
    "probabilities": "The scores as shares that sum to one.",
}


@dataclass(frozen=True)
class Result:
    """All that the files say of one trained and tested model.

    Attributes:
        name: its name in the matrix.
        bidirectional: whether it reads in both directions.
        metrics: the tree of `metrics.json`.
        intervals: low and high end of the metrics that have an interval.
        checks: the tree of `checks.json`.
        operating_points: the tree of `operating_points.json`.
        epochs: the rows of `history.csv`.
        confusion: counts, a row for each true class.
        per_class: precision, recall, F1 and support of each class.
        by_length: the same measures for each bucket of sequence lengths.
        by_position: accuracy by the distance of a step from either end of its sequence.
        calibration: how probable answers were said to be, and how many were right.
        precision_recall: points of the curve of each class.
        confusions: the tree of `confusions.json`.
        trace: the tree of `trace.json`.
        sha256: the hash of weights and description.
    """

    name: str
    sha256: str
    bidirectional: bool
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    checks: list[dict[str, Any]]
    operating_points: dict[str, Any]
    epochs: list[Epoch]
    confusion: pd.DataFrame
    per_class: pd.DataFrame
    by_length: pd.DataFrame
    by_position: pd.DataFrame
    calibration: pd.DataFrame
    precision_recall: pd.DataFrame
    confusions: list[dict[str, Any]]
    trace: dict[str, Any]

    @property
    def rung(self) -> Rung:
        """Its place on the ladder."""
        from birnn.comparison import Rung

        return Rung(self.name, self.metrics, self.intervals)


def read(name: str, models: str | Path, evaluation: str | Path) -> Result:
    """Read what `train` and `evaluate` wrote about a model.

    Raises:
        DataError: a file is missing.
    """
    model, tested = Path(models) / name, Path(evaluation) / name
    try:
        return Result(
            name=name,
            sha256=files.sha256(model / "weights.safetensors", model / "model.json"),
            bidirectional=files.read_json(model / "model.json")["architecture"]["bidirectional"],
            metrics=files.read_json(tested / "metrics.json"),
            intervals=_intervals(tested / "intervals.json"),
            checks=files.read_json(tested / "checks.json"),
            operating_points=files.read_json(tested / "operating_points.json"),
            epochs=history.read(model / "history.csv"),
            confusion=_confusion(tested / "confusion.csv"),
            per_class=_csv(tested / "per_class.csv"),
            by_length=_csv(tested / "by_length.csv"),
            by_position=_csv(tested / "by_position.csv"),
            calibration=_csv(tested / "calibration.csv"),
            precision_recall=_csv(tested / "precision_recall.csv"),
            confusions=files.read_json(tested / "confusions.json"),
            trace=files.read_json(tested / "trace.json"),
        )
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run `dvc repro` first") from None


def _intervals(path: Path) -> dict[str, tuple[float, float]]:
    return {name: (ends["low"], ends["high"]) for name, ends in files.read_json(path).items()}


def _csv(path: Path) -> pd.DataFrame:
    """Read a table; names of classes stay text, be they `1`, `NA` or `null`."""
    import pandas as pd

    return pd.read_csv(
        path,
        dtype={"label": str},
        keep_default_na=False,
        na_values={"precision": "", "recall": "", "f1": ""},
    )


def _confusion(path: Path) -> pd.DataFrame:
    """Read counts whose rows and columns bear names of classes, be they `actual` or `label`."""
    import pandas as pd

    table = pd.read_csv(path, header=None, index_col=0, dtype=str, keep_default_na=False)
    return table[1:].astype(int).set_axis(table.iloc[0], axis="columns")


def ladder(
    rungs: Sequence[Rung], limits: Mapping[str, float], average: str
) -> list[dict[str, Any]]:
    """Line up what was measured with what no model can pass.

    Returns:
        A row each with `name` and, for each of `MEASURES`, None or a `value` with the ends of its
        interval, `low` and `high`, where it has one.
    """
    rows = [{"name": rung.name, **_figures(rung, average)} for rung in rungs]
    rows += [{"name": LIMITS[name], "accuracy": {"value": limit}} for name, limit in limits.items()]
    return [dict.fromkeys(MEASURES) | row for row in rows]


def _figures(rung: Rung, average: str) -> dict[str, dict[str, float]]:
    figures = {}
    for measure, name in _names(average).items():
        if name in rung.metrics:
            ends = rung.intervals.get(name)
            interval = {} if ends is None else {"low": ends[0], "high": ends[1]}
            figures[measure] = {"value": rung.metrics[name], **interval}
    return figures


def _names(average: str) -> dict[str, str]:
    """The flat name of each measure."""
    plain = ("accuracy", "log_loss")
    return {name: name if name in plain else f"{name}_{average}" for name in MEASURES}


def phases(epochs: Sequence[Epoch]) -> list[str]:
    """Say in a sentence what happened in each epoch to the validation loss, and in training."""
    kept = history.kept(epochs)
    said, least = [], math.inf
    for previous, epoch in pairwise([None, *epochs]):
        assert epoch is not None
        last = " Kept." if epoch == kept else ""
        said.append(_phase(previous, epoch, least) + last)
        least = min(least, epoch.validation_loss)
    return said


def _phase(previous: Epoch | None, epoch: Epoch, least: float) -> str:
    if previous is None:
        return f"Starts learning: {100 * epoch.validation_accuracy:.0f} % are right."
    change = (epoch.validation_loss - least) / least if least else 0.0
    if change < -FLAT:
        return f"Loss falls by {-100 * change:.0f} %."
    if change <= FLAT:
        return "Converges: the loss hardly changes."
    if epoch.train_loss < previous.train_loss:
        return f"Overfits: {100 * change:.0f} % above its least, as training improves."
    return f"Swings: {100 * change:.0f} % above its least, in training too."


def turning_points(trace: Mapping[str, Any]) -> dict[int, list[int]]:
    """Which steps changed the model's mind, and on the answers of which steps before them."""
    turned = defaultdict(list)
    for answer in trace["answers"]:
        if abs(answer["turned_by"]) >= TURN:
            turned[answer["turned_at"]].append(answer["step"])
    return dict(sorted(turned.items()))


def to_compare(results: Sequence[Result]) -> tuple[Result, Result] | None:
    """Find a model that reads in both directions, and one that reads in one."""
    both = next((result for result in results if result.bidirectional), None)
    one = next((result for result in results if not result.bidirectional), None)
    return None if both is None or one is None else (both, one)


def second_direction(differences: Mapping[str, Difference] | None, average: str) -> str:
    """Say in a sentence what reading in both directions is worth.

    Args:
        differences: between a model that does and one that does not; None without the two.
        average: which F1 to name.
    """
    if differences is None:
        return "The models all read in the same directions: nothing to compare."
    accuracy, f1 = differences["accuracy"], differences[f"f1_{average}"]
    return (
        f"The second direction is worth {_points(accuracy, 'accuracy')} and "
        f"{_points(f1, f'F1, {average}')}; it helps accuracy in "
        f"{100 * accuracy.share_better:.0f} % of resamples."
    )


def _points(gain: Difference, of: str) -> str:
    low, high = 100 * gain.low, 100 * gain.high
    return f"{100 * gain.estimate:+.1f} points of {of} (95 % interval {low:+.1f} to {high:+.1f})"


def worst_first(checks: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put the checks that failed before those that warn, and those that pass last."""
    return sorted(checks, key=lambda check: ("fail", "warn", "pass").index(check["status"]))


def headlines(results: Sequence[Result], average: str) -> list[dict[str, Any]]:
    """Line up the figures of all models that have an interval, with its ends."""
    return [
        {
            "model": result.name,
            "metric": name,
            "value": result.metrics[name],
            "low": low,
            "high": high,
        }
        for result in results
        for name, (low, high) in result.intervals.items()
        if name in _names(average).values()
    ]


def conclusion(
    result: Result, verdict: Verdict, checks: Sequence[Mapping[str, Any]], average: str
) -> dict[str, Any]:
    """Give the tree of `verdict.json`: the grade of a model, why, its figures and its checks."""
    figures = {name: result.metrics[_names(average)[name]] for name in VERDICT_FIGURES}
    return {
        "grade": verdict.grade,
        "model": result.name,
        "sentence": verdict.sentence,
        "reasons": verdict.reasons,
        **figures,
        "checks": checks,
    }


# --- pictures -------------------------------------------------------------------------------------


def pictures(results: Sequence[Result], rungs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Draw what the page shows, as SVG by name; each model has one colour in all of them.

    Args:
        results: the models, of which the first is judged.
        rungs: the rows of `ladder`.
    """
    accents = {result.name: number for number, result in enumerate(results)}
    named = [
        figures.Rung(row["name"], **row["accuracy"], accent=accents.get(row["name"]))
        for row in rungs
    ]
    return {
        "ladder": figures.ladder(named, title="Accuracy with ever more context"),
        "loss": _course(results, "loss", "cross entropy"),
        "accuracy": _course(results, "accuracy", "accuracy"),
        **_by_place(results),
        "calibration": figures.lines(
            _dotted((one.name, _calibration(one.calibration)) for one in results),
            title="How often answers are right, by how probable they were said to be",
            x="probability of the answer",
            y="share that is right",
            reach=(0, 1),
            span=(0, 1),
            diagonal=True,
        ),
        **_large_confusions(results),
        **_precision_recall(results),
        **_trace(results[0].trace),
    }


def _calibration(bins: pd.DataFrame) -> list[figures.Point]:
    """Bins that hold answers enough to say something."""
    return _columns(
        bins[bins["rows"] >= LEAST_SHARE * bins["rows"].sum()], "confidence", "accuracy"
    )


def _columns(table: pd.DataFrame, x: str, y: str) -> list[figures.Point]:
    return list(zip(table[x].astype(float), table[y].astype(float), strict=True))


def _dotted(curves: Iterable[tuple[str, Sequence[figures.Point]]]) -> list[figures.Line]:
    """A curve for each model, in its colour."""
    return [
        figures.Line(name, points, accent, dots=True)
        for accent, (name, points) in enumerate(curves)
    ]


def _course(results: Sequence[Result], measure: str, name: str) -> str:
    drawn = []
    for accent, result in enumerate(results):
        kept = history.kept(result.epochs)
        for split in ("train", "validation"):
            points = [
                (epoch.epoch, getattr(epoch, f"{split}_{measure}")) for epoch in result.epochs
            ]
            label, dashed = f"{result.name}, {split}", split == "train"
            mark = None if dashed else points[result.epochs.index(kept)]
            drawn.append(figures.Line(label, points, accent, dashed=dashed, mark=mark))
    return figures.lines(drawn, title=f"{name.capitalize()} by epoch", x="epoch", y=name)


def _by_place(results: Sequence[Result]) -> dict[str, str]:
    """How good the models are on short and long sequences, and along them."""
    buckets = results[0].by_length[["shortest", "longest"]].astype(int).itertuples(index=False)
    drawn = {
        "by_length": figures.lines(
            _dotted((one.name, list(enumerate(one.by_length["f1_macro"]))) for one in results),
            title="F1 (macro) by the length of the sequence",
            x="steps in the sequence",
            y="F1 (macro)",
            span=(0, 1),
            names=[_span(*bucket) for bucket in buckets],
        )
    }
    for end in results[0].by_position["counted_from"].unique():
        drawn[f"from_{end}"] = figures.lines(
            _dotted((one.name, _from(one.by_position, end)) for one in results),
            title=f"Accuracy by step, counted from the {end}",
            x=f"step, counted from the {end} of the sequence",
            y="accuracy",
        )
    return drawn


def _from(by_position: pd.DataFrame, end: str) -> list[figures.Point]:
    return _columns(by_position[by_position["counted_from"] == end], "first", "accuracy")


def _span(shortest: int, longest: int) -> str:
    return str(shortest) if shortest == longest else f"{shortest} to {longest}"


def _large_confusions(results: Sequence[Result]) -> dict[str, str]:
    """Confusion matrices that are too large for numbers, by the share of each row."""
    drawn = {}
    for accent, result in enumerate(results):
        counts = result.confusion
        if len(counts) > MOST_CLASSES:
            shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy().tolist()
            title = f"Confusion matrix of {result.name}"
            drawn[f"confusion_{accent + 1}"] = figures.heat(
                shares, title=title, top=1, accent=accent
            )
    return drawn


def _precision_recall(results: Sequence[Result]) -> dict[str, str]:
    """A picture a class: the critical ones, then those with the lowest F1."""
    worst = results[0].per_class.sort_values("f1", kind="stable")["label"]
    critical = [label for result in results for label in result.operating_points]
    drawn: dict[str, str] = {}
    for label in [*dict.fromkeys([*critical, *worst])][:MOST_CURVES]:
        curves = [_precision_recall_curve(result, label, n) for n, result in enumerate(results)]
        drawn[f"precision_recall_{len(drawn) + 1}"] = figures.lines(
            curves,
            title=f"Precision and recall of {figures.shortened(label)}",
            x=f"recall of {figures.shortened(label)}",
            y="precision",
            reach=(0, 1),
            span=(0, 1),
        )
    return drawn


def _precision_recall_curve(result: Result, label: str, accent: int) -> figures.Line:
    points = result.precision_recall[result.precision_recall["label"] == label]
    at = result.operating_points.get(label, {}).get("test", {"recall": None})
    mark = None if at["recall"] is None else (at["recall"], at["precision"])
    return figures.Line(result.name, _columns(points, "recall", "precision"), accent, mark=mark)


def _trace(trace: Mapping[str, Any]) -> dict[str, str]:
    """The values of each layer, and what the model thinks as it reads on."""
    drawn: dict[str, str] = {}
    for number, layer in enumerate(trace["flow"]):
        accent = 0 if layer["name"] == "probabilities" else None
        title = f"Values of {layer['name']}, from {layer['low']:g} to {layer['high']:g}"
        drawn[f"layer_{number + 1}"] = figures.heat(layer["values"], title=title, accent=accent)
    title = "Probability of the model's final answer after each step that it reads"
    if trace["task"] == "tagging":
        steps = [answer["step"] for answer in trace["answers"]]
        drawn["reading"] = figures.heat(
            trace["after_cut"], title=title, rows=steps, columns=trace["cuts"], top=1, accent=0
        )
    else:
        points = list(zip(trace["cuts"], *trace["after_cut"], strict=True))
        line = figures.Line("final answer", points, 0, dots=True)
        drawn["reading"] = figures.lines(
            [line], title=title, x="steps read", y="probability", span=(0, 1)
        )
    return drawn


def attach(run: tracking.Run, folder: str | Path, result: Result, drawn: Mapping[str, str]) -> None:
    """Hang the report on a run in MLflow: its files, its pictures, and the confusion matrix.

    Args:
        run: the one that trained the model.
        folder: where the report is.
        result: what is known of the model.
        drawn: from `pictures`.
    """
    run.log_report(folder, {name: figures.standalone(svg) for name, svg in drawn.items()})
    counts, labels = result.confusion.to_numpy().tolist(), list(result.confusion.columns)
    run.log_image("confusion", figures.confusion_image(counts, labels, result.name))


# --- rendering ------------------------------------------------------------------------------------


def console_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Draw the ladder for a terminal, in as few columns as will do."""
    table = Table()
    table.add_column("model")
    for measure in SHOWN:
        table.add_column(measure.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(escape(row["name"]), *(_with_interval(row[measure]) for measure in SHOWN))
    return table


def render(template: str, **content: Any) -> str:
    """Fill in one of the templates; all text from the data is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("birnn"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    environment.filters["shape"] = _shape
    environment.filters["quoted"] = shlex.quote
    environment.filters["signed"] = "{:+.2f}".format
    environment.filters["figure"] = _figure
    environment.filters["with_interval"] = _with_interval
    environment.globals |= {
        "after_verdict": AFTER_VERDICT,
        "layers": LAYERS,
        "measures": MEASURES,
        "most_classes": MOST_CLASSES,
        "phases": phases,
        "rungs": RUNGS,
        "splits": SPLITS,
        "turning_points": turning_points,
        "versions": versions(),
    }
    return environment.get_template(template).render(content)


def knobs(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Line up params for a reader: those of a model only where it differs from the shared ones."""
    shared = tree["model"]
    models = {
        name: {knob: value for knob, value in own.items() if value != shared[knob]}
        for name, own in tree["models"].items()
    }
    return [
        (name, value) for name, value in lock.flat({**tree, "models": models}) if value != "null"
    ]


def versions() -> list[tuple[str, str]]:
    """The Python and the packages that decide the bytes of a result."""
    python = ".".join(map(str, sys.version_info[:2]))
    installed = [(name, metadata.version(name).partition("+")[0]) for name in PACKAGES]
    return [("python", python), *installed]


def with_section(page: str, title: str, table: Sequence[Sequence[str]]) -> str:
    """Put a section behind the verdict of a page: what changed, or how a challenger did.

    Args:
        page: what `render` gave.
        title: the section's heading.
        table: its rows, of which the first is the header.
    """
    section = render("section.html.j2", title=title, header=table[0], rows=table[1:])
    return page.replace(AFTER_VERDICT, section, 1)


def changes(
    params: BeforeAndNow, metrics: Mapping[str, BeforeAndNow]
) -> list[tuple[str, str, str]]:
    """Line up what is different from the last committed result.

    Args:
        params: by name, as text.
        metrics: of each model.

    Returns:
        Rows of name, before and now, the first a header: params, then the metrics of `CHANGES`;
        none where nothing was committed before, or nothing is different.
    """
    rows = [(name, *pair) for name, pair in _different(*params)]
    for model, (before, now) in sorted(metrics.items()):
        # no difference beyond the digits that are shown
        shown = [
            {name: _plain(tree.get(name)) for name in CHANGES if name in before}
            for tree in (before, now)
        ]
        rows += [(f"{model}: {name}", *pair) for name, pair in _different(*shown)]
    return [("", "last commit", "now"), *rows] if rows else []


def _different(
    before: Mapping[str, str], now: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, str]]]:
    for name, value in before.items():
        if now.get(name) != value:
            yield name, (value, now.get(name, "not set"))


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) and value != round(value, 4) else str(value)


def _shape(layer: Mapping[str, Any], sequences: int, longest: int) -> str:
    """`1000 x 10 x 8`: what a layer gives for all sequences, padded to the longest."""
    *steps, width = layer["shape"]
    return " x ".join(map(str, [sequences, *[longest for _ in steps], width]))


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table, which a bar or a line break would end."""
    return " ".join(text.replace("|", r"\|").split())


def _figure(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def _with_interval(figure: Mapping[str, float] | None) -> str:
    """A figure as `ladder` gives it."""
    if figure is None:
        return ""
    if "low" not in figure:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
