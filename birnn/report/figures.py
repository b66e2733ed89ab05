"""The pictures of the report, as SVG text that is the same for the same data.

line = Line("forward", [(1, 0.9), (2, 0.4)], accent=1)
picture = lines([line], title="Loss by epoch", x="epoch", y="nats")
picture = ladder([Rung("forward", 0.78, 0.75, 0.80, accent=1)], title="Accuracy")
picture = heat([[0.5, -1.0], [None, 0.25]], title="Forward states")
picture = blocks([Block("33 % padding", [4, 1, 3])], title="A batch")

They are written by hand: a plotting library would take longer to import than all of the report, and
give colours that do not follow a reader's choice of light or dark. How they look is said in
`templates/picture.css`, which a page includes and `standalone` adds. Every picture carries its
title and its figures in words, for readers who cannot see it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from birnn.errors import visible

if TYPE_CHECKING:
    from PIL.Image import Image

Point = tuple[float, float]
Grid = Sequence[Sequence[float | None]]

ACCENTS = 6  # colours in `picture.css`, after which they start again
WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, BOTTOM = 44, 12, 40
LEGEND_LINE, LETTER = 18, 6.4  # height of a line; width of a letter, as a guess that errs upwards
LONGEST_NAME = 28
CELL = 14
BATCH_HEIGHT, BATCH_NAME, BATCH_GAP = 96, 92, 10  # of the largest batch; beside it; below it


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a picture.

    Attributes:
        name: for the legend; curves of one name share an entry.
        points: in the order in which they are joined; those with a NaN are left out.
        accent: number of its colour, one a model.
        dashed: whether it is drawn dashed.
        mark: a point to mark with a dot.
        dots: whether to mark all points.
    """

    name: str
    points: Sequence[Point]
    accent: int
    dashed: bool = False
    mark: Point | None = None
    dots: bool = False

    @property
    def known(self) -> list[Point]:
        """The points that can be drawn."""
        return [(float(x), float(y)) for x, y in self.points if math.isfinite(x + y)]


@dataclass(frozen=True, slots=True)
class Rung:
    """A row of the ladder.

    Attributes:
        name: what to call it.
        value: a figure between 0 and 1.
        low: low end of its interval, if it has one.
        high: high end of it.
        accent: number of its colour; None for what is no model.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    accent: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A batch, drawn to scale.

    Attributes:
        name: what to write beside it.
        lengths: steps of its sequences, from the top; the rest of each row is padding.
    """

    name: str
    lengths: Sequence[int]


class Scale(NamedTuple):
    """Where values between `low` and `high` lie on the page."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / ((self.high - self.low) or 1)
        return self.start + share * (self.end - self.start)


def lines(
    drawn: Sequence[Line],
    *,
    title: str,
    x: str,
    y: str,
    reach: tuple[float, float] | None = None,
    span: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
    diagonal: bool = False,
) -> str:
    """Draw curves over a common axis.

    Args:
        drawn: the curves.
        title: what the picture shows.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        reach: left and right end of the horizontal axis; without it, those of the points.
        span: low and high end of the vertical axis; without it, what the points need.
        names: of the places 0, 1, ... on the horizontal axis, where it is not a number.
        diagonal: whether to draw the line on which both axes are equal.
    """
    points = [point for line in drawn for point in line.known]
    entries = _entries(drawn)
    top = 32 + LEGEND_LINE * (1 + max((row for _, row, _ in entries), default=0))
    height = HEIGHT + top - 50
    across = _across(reach or [px for px, _ in points], names)
    down = Scale(*(span or _around([py for _, py in points])), height - BOTTOM, top)
    body = [*_axes(across, down, x, y, names)]
    if diagonal:
        ends = [(down.low, down.low), (down.high, down.high)]
        body.append(f'<path class="diagonal" d="{_path(ends, across, down)}"/>')
    for line in drawn:
        body += _curve(line, across, down)
    body += _legend(entries)
    return _svg(body, WIDTH, height, f"{title}. {_in_words(drawn, names)}")


def ladder(rungs: Sequence[Rung], *, title: str) -> str:
    """Draw figures between 0 and 1 below one another, each with its interval as a bar."""
    across = Scale(0, 1, 10, WIDTH - 10)
    row = 34
    bottom = 8 + row * len(rungs)
    body = [_text(across(t), bottom + 16, f"{t:g}", "middle") for t in ticks(0, 1)]
    for number, rung in enumerate(rungs):
        body += _rung(rung, across, 8 + row * number)
    figures = "; ".join(f"{rung.name} {rung.value:.3f}" for rung in rungs)
    return _svg(body, WIDTH, bottom + 24, f"{title}. {figures}.")


def heat(
    values: Grid,
    *,
    title: str,
    rows: Sequence[object] = (),
    columns: Sequence[object] = (),
    top: float | None = None,
    accent: int | None = None,
) -> str:
    """Draw a table of numbers as cells that are the stronger, the further from zero they are.

    Args:
        values: a list for each row; None leaves a cell empty.
        title: what the picture shows.
        rows: names beside the rows.
        columns: names below the columns.
        top: the number of the strongest colour; without it, the largest of the values.
        accent: one colour for all; without it there is one above and one below zero.
    """
    left = 6 + LETTER * max((len(str(name)) for name in rows), default=-1)
    known = [abs(value) for row in values for value in row if value is not None]
    full = top or max(known, default=0) or 1
    body = [
        _cell(value / full, left + CELL * column, CELL * row, accent)
        for row, line in enumerate(values)
        for column, value in enumerate(line)
        if value is not None
    ]
    body += [_text(left - 5, CELL * row + 11, name, "end") for row, name in enumerate(rows)]
    foot = CELL * len(values)
    body += _column_names(columns, left, foot)
    width = left + CELL * max((len(line) for line in values), default=0)
    return _svg(body, width, foot + (18 if columns else 0), title, natural=True)


def blocks(
    drawn: Sequence[Block],
    *,
    title: str,
    longest: int,
    alive: Sequence[int] = (),
) -> str:
    """Draw batches below one another: real steps and padding, all to one scale.

    Args:
        drawn: the batches.
        title: what the picture shows.
        longest: steps that are as wide as the picture.
        alive: how many sequences go on after so many steps, to be written below some of them.
    """
    row = min(CELL, BATCH_HEIGHT / max(len(block.lengths) for block in drawn))
    across = Scale(0, longest, 1, WIDTH - BATCH_NAME)
    body, top = list[str](), 0.0
    for block in drawn:
        body += _block(block, across, top, row)
        top += row * len(block.lengths) + BATCH_GAP
    body += _below(across, top + 8, "steps", range(longest + 1))
    body += _below(across, top + 24, "go on", alive) if alive else []
    names = "; ".join(block.name for block in drawn)
    return _svg(body, WIDTH, top + (30 if alive else 14), f"{title}. {names}.")


def standalone(picture: str) -> str:
    """Give a picture of this module its own style, so that it can be a file."""
    style = (
        resources.files("birnn.report")
        .joinpath("templates/picture.css")
        .read_text(encoding="utf-8")
    )
    start, _, rest = picture.partition(">")
    return f'{start} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n'


def confusion_image(counts: Sequence[Sequence[int]], labels: Sequence[str], title: str) -> Image:
    """Draw a confusion matrix as an image for MLflow, which cannot put SVG side by side.

    Args:
        counts: a row for each true class, a column for each predicted one.
        labels: names of the classes.
        title: what to write above it.
    """
    from PIL import Image, ImageDraw, ImageFont

    size = 64 if len(labels) <= 12 else max(4, 768 // len(labels))
    left, top = 120, 64
    image = Image.new("RGB", (left + size * len(labels) + 8, top + size * len(labels) + 8), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=15)
    draw.text((8, 8), f"{shortened(title)}: rows true, columns predicted", "black", font)
    for row, (label, line) in enumerate(zip(labels, counts, strict=True)):
        y = top + size * row
        if size >= 16:
            draw.text((left - 8, y + size / 2), shortened(label, 13), "black", font, "rm")
        if size == 64:
            place = (left + size * row + 32, top - 14)
            draw.text(place, shortened(label, 7), "black", font, "mm")
        for column, count in enumerate(line):
            share = count / (sum(line) or 1)
            x = left + size * column
            draw.rectangle((x, y, x + size - 2, y + size - 2), _blue(share))
            if size == 64:
                ink = "white" if share > 0.5 else "black"
                draw.text((x + 31, y + 31), str(count), ink, font, "mm")
    return image


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """Cut a name that would not fit into a picture."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, `most` at most."""
    rough = (high - low) / (most - 1) or 1
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


# --- the parts of a picture -----------------------------------------------------------------------


def _n(value: float) -> str:
    """A place on the page, to a tenth."""
    return f"{round(value, 1):g}"


def _shown(text: object) -> str:
    return html.escape(visible(text))


def _text(x: float, y: float, text: object, anchor: str = "start", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{named}>{_shown(text)}</text>'


def _svg(
    body: Iterable[str], width: float, height: float, title: str, *, natural: bool = False
) -> str:
    """Put the parts together; a natural picture has a size of its own, others fill their place."""
    size = f' width="{_n(width)}" height="{_n(height)}"' if natural else ""
    return (
        f'<svg role="img" aria-label="{_shown(title)}" viewBox="0 0 {_n(width)} {_n(height)}"'
        f"{size}>\n" + "\n".join(body) + "\n</svg>"
    )


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that are round, and hold all of the values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    first, second = ticks(low, high)[:2] or (0.0, 1.0)
    step = second - first
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _across(values: Sequence[float], names: Sequence[str] | None) -> Scale:
    if names is not None:
        return Scale(-0.5, len(names) - 0.5, LEFT, WIDTH - RIGHT)
    return Scale(min(values, default=0), max(values, default=1), LEFT + 8, WIDTH - RIGHT - 8)


def _axes(across: Scale, down: Scale, x: str, y: str, names: Sequence[str] | None) -> Iterator[str]:
    """Lines and numbers for both axes, and their names."""
    for tick in ticks(down.low, down.high):
        place = down(tick)
        yield f'<path class="grid" d="M{LEFT} {_n(place)}H{WIDTH - RIGHT}"/>'
        yield _text(LEFT - 6, place + 4, f"{tick:g}", "end")
    places = enumerate(names) if names is not None else _whole_ticks(across)
    for tick, name in places:
        yield _text(across(tick), down.start + 17, name, "middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, down.start + 34, x, "middle", "name")
    yield _text(2, 14, y, kind="name")


def _whole_ticks(across: Scale) -> Iterator[tuple[float, str]]:
    """Round numbers on the horizontal axis; of whole numbers alone where it is long enough."""
    for tick in ticks(across.low, across.high, 8):
        if across.high - across.low < 3 or tick == int(tick):
            yield tick, f"{tick:g}"


def _path(points: Iterable[Point], across: Scale, down: Scale) -> str:
    return "M" + "L".join(f"{_n(across(x))} {_n(down(y))}" for x, y in points)


def _curve(line: Line, across: Scale, down: Scale) -> Iterator[str]:
    kind = f"a{line.accent % ACCENTS}"
    if len(line.known) > 1:
        dashed = " dashed" if line.dashed else ""
        yield f'<path class="curve {kind}{dashed}" d="{_path(line.known, across, down)}"/>'
    marks = line.known if line.dots else [line.mark] if line.mark else []
    for x, y in marks:
        yield f'<circle class="dot {kind}" cx="{_n(across(x))}" cy="{_n(down(y))}" r="4"/>'


def _entries(drawn: Sequence[Line]) -> list[tuple[float, int, Line]]:
    """Where each entry of the legend begins, and in which line of it."""
    found: list[tuple[float, int, Line]] = []
    place, row = 0.0, 0
    for line in {line.name: line for line in drawn}.values():
        needed = 34 + LETTER * len(shortened(line.name))
        if place and place + needed > WIDTH:
            place, row = 0.0, row + 1
        found.append((place, row, line))
        place += needed
    return found


def _legend(entries: Iterable[tuple[float, int, Line]]) -> Iterator[str]:
    for place, row, line in entries:
        y = 33 + LEGEND_LINE * row
        dashed = " dashed" if line.dashed else ""
        kind = f"curve a{line.accent % ACCENTS}{dashed}"
        yield f'<path class="{kind}" d="M{_n(place + 2)} {y - 4}h18"/>'
        yield _text(place + 25, y, shortened(line.name))


def _in_words(drawn: Sequence[Line], names: Sequence[str] | None) -> str:
    """The ends of each curve, and its mark."""
    said = []
    for line in drawn:
        if not line.known:
            continue
        ends = [line.known[0], line.known[-1]]
        shown = [f"{y:.3g} at {names[int(x)] if names else f'{x:.3g}'}" for x, y in ends]
        text = f"{line.name}: " + " to ".join(dict.fromkeys(shown))
        said.append(text + (f", marked at {line.mark[0]:g}" if line.mark else ""))
    return "; ".join(said) + "."


def _rung(rung: Rung, across: Scale, y: float) -> Iterator[str]:
    plain = "limit" if rung.low is None else "floor"
    kind = plain if rung.accent is None else f"a{rung.accent % ACCENTS}"
    yield _text(across.start, y + 12, shortened(rung.name, 40))
    yield _text(across.end, y + 12, f"{rung.value:.3f}", "end", "figure")
    place = y + 23
    yield f'<path class="track" d="M{_n(across.start)} {_n(place)}H{_n(across.end)}"/>'
    yield f'<path class="bar {kind}" d="M{_n(across.start)} {_n(place)}H{_n(across(rung.value))}"/>'
    if rung.low is not None and rung.high is not None:
        low, high, above = _n(across(rung.low)), _n(across(rung.high)), _n(place - 4)
        whisker = f"M{low} {_n(place)}H{high}M{low} {above}v8M{high} {above}v8"
        yield f'<path class="interval" d="{whisker}"/>'


def _block(block: Block, across: Scale, top: float, row: float) -> Iterator[str]:
    width, height = _n(across(max(block.lengths)) - across.start), _n(row * len(block.lengths))
    place = f'x="{_n(across.start)}" y="{_n(top)}" width="{width}" height="{height}"'
    yield f'<rect class="padding" {place}/>'
    rows = (
        f"M{_n(across.start)} {_n(top + row * number)}H{_n(across(length))}v{_n(row)}"
        f"H{_n(across.start)}z"
        for number, length in enumerate(block.lengths)
    )
    yield f'<path class="real" d="{"".join(rows)}"/>'
    yield _text(WIDTH, top + min(row * len(block.lengths) / 2 + 4, 14), block.name, "end", "figure")


def _below(across: Scale, y: float, name: str, values: Sequence[int]) -> Iterator[str]:
    """A value for each whole step, written below some of them, and what they are."""
    for step in ticks(across.low, across.high):
        if step == int(step) < len(values):
            anchor = "start" if step == 0 else "middle"
            yield _text(across(step), y, values[int(step)], anchor)
    yield _text(WIDTH, y, name, "end", "name")


def _cell(share: float, x: float, y: float, accent: int | None) -> str:
    kind = ("up" if share >= 0 else "down") if accent is None else f"a{accent % ACCENTS}"
    strength = f"{min(abs(share), 1):.2f}"
    side = CELL - 1
    return (
        f'<rect class="cell {kind}" x="{_n(x)}" y="{_n(y)}" width="{side}" height="{side}"'
        f' fill-opacity="{strength}"/>'
    )


def _column_names(columns: Sequence[object], left: float, foot: float) -> Iterator[str]:
    """As many of them as fit."""
    longest = LETTER * max((len(str(name)) for name in columns), default=0)
    every = max(1, math.ceil((longest + 4) / CELL))
    for number in range(0, len(columns), every):
        yield _text(left + CELL * (number + 0.5), foot + 13, columns[number], "middle")


def _blue(share: float) -> tuple[int, int, int]:
    """From white to the first accent."""
    red, green, blue = (round(255 + share * (full - 255)) for full in (0, 95, 163))
    return red, green, blue
