"""The pictures of the report, from what is known of the models.

drawn = pictures(results, rows)       # SVG by name
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from birnn.model import history
from birnn.report import figures
from birnn.tracking import runs

if TYPE_CHECKING:  # `birnn summary` draws a table, and should not wait for these
    import pandas as pd

    from birnn.evaluation.padding import Group, Padding, Reading
    from birnn.evaluation.trace import Trace
    from birnn.evaluation.worst import Worst

from birnn.report.tested import Result, Row

MOST_CLASSES = 16  # of a confusion matrix in numbers; larger ones are drawn
LEAST_SHARE = 0.01  # of the answers, for a bin of the calibration curve
MOST_CURVES = 6  # precision-recall curves


def pictures(results: Sequence[Result], rungs: Sequence[Row]) -> dict[str, str]:
    """Draw what the page shows, as SVG by name; each model has one colour in all of them.

    Args:
        results: the models, of which the first is judged.
        rungs: the rows of `ladder`.
    """
    accents = {result.name: number for number, result in enumerate(results)}
    named = [
        figures.Rung(row.name, one.value, one.low, one.high, accent=accents.get(row.name))
        for row in rungs
        if (one := row.accuracy)
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
        **_padding(next((one for one in results if one.bidirectional), results[0]).padding),
        **_worst(results[0].worst),
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
    mark = None
    if point := result.operating_points.get(label):
        recall, precision = point.test.recall, point.test.precision
        mark = None if recall is None or precision is None else (recall, precision)
    return figures.Line(result.name, _columns(points, "recall", "precision"), accent, mark=mark)


def _trace(trace: Trace) -> dict[str, str]:
    """The values of each layer, and what the model thinks as it reads on."""
    drawn: dict[str, str] = {}
    for number, layer in enumerate(trace.flow):
        accent = 0 if layer.name == "probabilities" else None
        title = f"Values of {layer.name}, from {layer.low:g} to {layer.high:g}"
        drawn[f"layer_{number + 1}"] = figures.heat(layer.values, title=title, accent=accent)
    title = "Probability of the model's final answer after each step that it reads"
    if trace.task == "tagging":
        steps = [answer.step for answer in trace.answers]
        drawn["reading"] = figures.heat(
            trace.after_cut, title=title, rows=steps, columns=trace.cuts, top=1, accent=0
        )
    else:
        points = list(zip(trace.cuts, *trace.after_cut, strict=True))
        line = figures.Line("final answer", points, 0, dots=True)
        drawn["reading"] = figures.lines(
            [line], title=title, x="steps read", y="probability", span=(0, 1)
        )
    return drawn


def _padding(padding: Padding) -> dict[str, str]:
    """What a model loses where it reads the padding, by length and near the end of sequences."""
    axes = {
        "by_length": "steps in the sequence",
        "from_end": "step, counted from the end of the sequence",
    }
    found = {axis: [(one.reading, getattr(one, axis)) for one in padding.slips] for axis in axes}
    return {
        f"padding_{axis}": figures.lines(
            _with_and_without(slips),
            title=f"Accuracy with and without padding, {axis.replace('_', ' ')}",
            x=axes[axis],
            y="accuracy",
            names=[_span(group.first, group.last) for group in slips[0][1]],
        )
        for axis, slips in found.items()
        if len(slips[0][1]) > 1
    }


def _with_and_without(slips: Sequence[tuple[Reading, Sequence[Group]]]) -> list[figures.Line]:
    without = [group.exact for group in slips[0][1]]
    drawn = [figures.Line("as it is", list(enumerate(without)), 0, dots=True)]
    for accent, (reading, groups) in enumerate(slips, start=1):
        points = [(place, group.dense) for place, group in enumerate(groups)]
        name = f"reads padding, {reading}"
        drawn.append(figures.Line(name, points, accent, dashed=True, dots=True))
    return drawn


def _worst(worst: Sequence[Worst]) -> dict[str, str]:
    """A small picture of each of the worst sequences whose steps are no words."""
    drawn: dict[str, str] = {}
    for number, one in enumerate(worst, start=1):
        if one.words:
            continue
        if len(one.tags) > 1:
            values = [[tag.probability for tag in one.tags]]
            title = "Probability of the true class of each step"
            drawn[f"worst_{number}"] = figures.heat(values, title=title, top=1, accent=0)
        else:
            title = "Values of the first features, a row each, at each step"
            drawn[f"worst_{number}"] = figures.heat(one.values, title=title)
    return drawn


def attach(run: runs.Run, folder: str | Path, result: Result, drawn: Mapping[str, str]) -> None:
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
