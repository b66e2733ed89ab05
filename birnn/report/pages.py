"""The pages themselves: templates filled in, for a browser, for Markdown and for a terminal.

page = render("report.html.j2", ladder=rows, pictures=pictures(results, rows), ...)

The page is a function of the files of a run alone, so that a fresh clone writes the same bytes.
The comparison with the last commit goes into a copy of it, since what has changed depends on which
commit that is; see `with_section`.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table

from birnn.errors import visible
from birnn.evaluation import headlines
from birnn.evaluation.headlines import MEASURES, Figure
from birnn.files import console
from birnn.files.summary import gaps, treatment
from birnn.report.drawings import MOST_CLASSES
from birnn.report.figures import ACCENTS
from birnn.report.tested import Compared, Row
from birnn.report.wording import knobs, phases, turning_points, versions

if TYPE_CHECKING:  # a table on a terminal needs no torch
    from birnn.evaluation import slices
    from birnn.evaluation.outs import Reached
    from birnn.evaluation.trace import Layer
    from birnn.report.batches import Preparation
    from birnn.report.conclusions import Conclusion, Evidence

SPLITS = {
    "validation": "validation",
    "test": "test",
    "test_argmax": "test, most probable class",
}
SHOWN = ("accuracy", "f1", "log_loss")  # on a terminal
MOST_SLICES = 10  # of a model, on a page; the others are in slices.json
AFTER_VERDICT = "<!-- A section that depends on more than this run is put here. -->"
RUNGS = {
    "each step alone": "A logistic regression, or for words a count, that sees one step at a time.",
    "bag of steps": "Every step votes on its own; their order counts for nothing.",
    "limit: one step": "The best accuracy that is possible from one step alone.",
    "limit: bag of steps": "What the best vote of steps, taken as independent, can reach.",
    "limit: past": "The best accuracy that is possible from a step and all before it.",
    "limit: whole": "The best accuracy that is possible from the whole sequence.",
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


def console_table(rows: Sequence[Row], intervals: str) -> Table:
    """Draw the ladder for a terminal, in as few columns as will do.

    Args:
        rows: what `birnn.report.tested.ladder` gives.
        intervals: what the ends in brackets are.
    """
    table = Table(caption=intervals, caption_justify="left")
    table.add_column("model")
    for measure in SHOWN:
        table.add_column(measure.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(console.cell(row.name), *(with_interval(getattr(row, one)) for one in SHOWN))
    return table


def content(
    evidence: Evidence,
    compared: Compared,
    concluded: Conclusion,
    prepared: Preparation,
    drawn: Mapping[str, str],
    sections: Mapping[str, Any],
) -> dict[str, Any]:
    """Put together what the templates of a report show.

    Args:
        evidence: what the stages before have written.
        compared: how the models compare.
        concluded: how good the first of them is.
        prepared: how sequences became batches.
        drawn: pictures of the models.
        sections: of params.yaml, to be shown.
    """
    from birnn.params import Prepare
    from birnn.report import conclusions

    results, average = evidence.results, sections["evaluate"]["average"]
    by_chance = Prepare(**sections["prepare"]).by_chance
    return {
        "problem": sections["problem"],
        "average": headlines.averaged_over(results[0].metrics, average),
        "results": results,
        "summary": evidence.summary,
        "gaps": [
            *gaps(evidence.summary, evidence.encoding.missing, by_chance=by_chance),
            *treatment(evidence.summary),
        ],
        "frame": evidence.encoding.frame,
        "packing": prepared.packing,
        "prepared": prepared,
        "verdict": concluded,
        "accents": {result.name: number % ACCENTS for number, result in enumerate(results)},
        "pictures": {**drawn, **prepared.pictures},
        "identity": conclusions.identify(results),
        "knobs": knobs(
            sections, evidence.encoding, {result.name: result.params for result in results}
        ),
        "compared": compared,
    }


def render(template: str, **content: Any) -> str:
    """Fill in one of the templates; all text from the data is escaped, in Markdown as well."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    markdown = template.endswith(".md.j2")
    environment = Environment(
        loader=PackageLoader("birnn.report"),
        finalize=_for_markdown if markdown else _for_html,
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
    environment.filters["counted"] = _counted
    environment.filters["of_slice"] = of_slice
    environment.filters["with_interval"] = with_interval
    environment.globals |= {
        "after_verdict": AFTER_VERDICT,
        "layers": LAYERS,
        "measures": MEASURES,
        "most_classes": MOST_CLASSES,
        "most_slices": MOST_SLICES,
        "phases": phases,
        "rungs": RUNGS,
        "splits": SPLITS,
        "turning_points": turning_points,
        "versions": versions(),
    }
    return environment.get_template(template).render(content)


def with_section(page: str, title: str, table: Sequence[Sequence[str]]) -> str:
    """Put a section behind the verdict of a page: what changed, or how a challenger did.

    Args:
        page: what `render` gave.
        title: the section's heading.
        table: its rows, of which the first is the header.
    """
    section = render("section.html.j2", title=title, header=table[0], rows=table[1:])
    return page.replace(AFTER_VERDICT, section, 1)


def _for_html(value: Any) -> Any:
    """What is shown of a value: no character in it that changes the order of what stands around."""
    return visible(value) if type(value) is str else value  # not where it is markup already


def _for_markdown(value: Any) -> Any:
    """The same, and no HTML, no link and no picture."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"([\[\]])", r"\\\1", visible(value))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shape(layer: Layer, sequences: int, longest: int) -> str:
    """`1000 x 10 x 8`: what a layer gives for all sequences, padded to the longest."""
    *steps, width = layer.shape
    return " x ".join(map(str, [sequences, *[longest for _ in steps], width]))


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table, which a bar or a line break would end."""
    return " ".join(text.replace("|", r"\|").split())


def _figure(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def _counted(
    reached: Reached,
    figure: Literal["precision", "recall"],
    whole: Literal["predicted", "support"],
) -> str:
    """`0.667 (4 of 6, 22 to 96 %)`: a figure of an operating point, on what it rests, how sure."""
    share = getattr(reached, figure)
    if share is None:
        return ""
    said = f"{share:.3f} ({reached.right} of {getattr(reached, whole)}"
    ends = reached.recall_interval if figure == "recall" else reached.precision_interval
    if ends is None:
        return f"{said}, no interval)"
    return f"{said}, {100 * ends.low:.0f} to {100 * ends.high:.0f} %)"


def of_slice(figure: slices.Figure) -> str:
    """A figure of a slice with its interval, where the slice holds what it is about."""
    if figure.value is None:
        return "none there"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def with_interval(figure: Figure | None) -> str:
    """A figure as `ladder` gives it."""
    if figure is None:
        return ""
    if figure.low is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
