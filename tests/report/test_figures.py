"""The report's pictures: the same bytes for the same data, in words too, and safe for any name."""

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.report import figures
from birnn.report.figures import Block, Line, Rung

NAMES = ["bidirectional", "<script>alert(1)</script>&\"'", "x" * 300]
CURVES = [
    Line(name, [(1, 0.25), (2, 0.75), (4, 0.5)], accent, mark=(2, 0.75))
    for accent, name in enumerate(NAMES)
]
DRAWN: dict[str, Callable[[], str]] = {
    "lines": lambda: figures.lines(CURVES, title='A & "b"', x="<epoch>", y="loss"),
    "named": lambda: figures.lines(CURVES, title="A", x="x", y="y", names=[*NAMES, "4", "5"]),
    "ladder": lambda: figures.ladder(
        [Rung(name, 0.5, 0.25, 0.75, accent=1) for name in NAMES] + [Rung("limit", 0.9)], title="A"
    ),
    "blocks": lambda: figures.blocks(
        [Block(name, [4, 1, 3]) for name in NAMES], title="A", longest=9, alive=[3, 2, 2, 1, 0]
    ),
    "heat": lambda: figures.heat([[0.5, -1.0], [None, 0.25]], title="<a>", rows=NAMES[:2]),
}


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter("text")]


def shapes(picture: str, kind: str) -> list[ET.Element]:
    """The elements of a class."""
    found = ET.fromstring(picture).iter()
    return [element for element in found if kind in element.get("class", "").split()]


def corners(path: ET.Element) -> list[tuple[float, float]]:
    pairs = path.attrib["d"].removeprefix("M").split("L")
    return [(float(x), float(y)) for x, y in (pair.split() for pair in pairs)]


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN.keys())
class TestAll:
    def test_are_the_same_bytes(self, draw: Callable[[], str]) -> None:
        assert draw() == draw()

    def test_are_elements_with_a_text_alternative(self, draw: Callable[[], str]) -> None:
        root = ET.fromstring(draw())
        assert (root.tag, root.get("role")) == ("svg", "img")
        assert root.attrib["aria-label"]

    def test_hold_no_more_than_shapes_and_text(self, draw: Callable[[], str]) -> None:
        tags = {element.tag for element in ET.fromstring(draw()).iter()}
        assert tags <= {"svg", "path", "circle", "rect", "text"}
        names = {name for element in ET.fromstring(draw()).iter() for name in element.attrib}
        assert not [name for name in names if "href" in name or name.startswith("on")]

    def test_stand_alone_with_their_style(self, draw: Callable[[], str]) -> None:
        root = ET.fromstring(figures.standalone(draw()))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "--accent" in (root[0].text or "")


def test_another_process_draws_the_same_bytes() -> None:
    program = (
        "from birnn.report import figures; from birnn.report.figures import Line\n"
        "line = Line('one', [(1, 0.5), (2, 0.75)], 0)\n"
        "print(figures.lines([line], title='A', x='x', y='y'), end='')"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    ).stdout
    line = Line("one", [(1, 0.5), (2, 0.75)], 0)
    assert found == figures.lines([line], title="A", x="x", y="y")


class TestLines:
    def draw(self, *drawn: Line, span: tuple[float, float] | None = (0, 1)) -> str:
        return figures.lines(drawn, title="Loss", x="epoch", y="nats", span=span)

    def test_higher_values_are_higher_up_and_later_ones_further_right(self) -> None:
        (path,) = shapes(self.draw(CURVES[0]), "curve")[:1]
        (x1, y1), (x2, y2), (x3, y3) = corners(path)
        assert x1 < x2 < x3
        assert x3 - x2 == pytest.approx(2 * (x2 - x1), abs=0.2)
        assert y2 < y3 < y1
        assert y1 - y3 == pytest.approx(y3 - y2, abs=0.2)

    def test_the_dot_is_on_the_mark(self) -> None:
        picture = self.draw(CURVES[0])
        (dot,) = shapes(picture, "dot")
        (path,) = shapes(picture, "curve")[:1]
        assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == corners(path)[1]

    def test_axes_and_curves_are_named_and_long_names_cut(self) -> None:
        found = texts(figures.lines(CURVES, title="A", x="epoch", y="nats"))
        assert {"epoch", "nats", "bidirectional", NAMES[1], f"{'x' * 27}…"} <= set(found)

    def test_says_in_words_what_it_draws(self) -> None:
        label = ET.fromstring(self.draw(CURVES[0])).attrib["aria-label"]
        assert label == "Loss. bidirectional: 0.25 at 1 to 0.5 at 4, marked at 2."

    def test_what_is_not_a_number_is_left_out(self) -> None:
        picture = self.draw(Line("one", [(1, 0.5), (2, math.nan), (3, 0.5)], 0))
        assert len(corners(shapes(picture, "curve")[0])) == 2
        assert "nan" not in picture

    @pytest.mark.parametrize("points", [[], [(1, 0.5)], [(1, 0.5), (2, 0.5)]])
    def test_few_points_are_no_trouble(self, points: list[tuple[float, float]]) -> None:
        assert "nan" not in self.draw(Line("one", points, 0, dots=True), span=None)


class TestLadder:
    def test_bars_end_at_their_value_within_the_interval(self) -> None:
        rungs = [Rung("a", 0.5, 0.25, 0.75, accent=0), Rung("limit", 1.0)]
        picture = figures.ladder(rungs, title="Accuracy")
        ends = [float(bar.attrib["d"].split("H")[1]) for bar in shapes(picture, "bar")]
        assert ends == [figures.WIDTH / 2, figures.WIDTH - 10]
        (interval,) = shapes(picture, "interval")
        assert interval.attrib["d"].startswith("M105 ")
        assert "H295" in interval.attrib["d"]
        assert [shape.tag for shape in shapes(picture, "limit")] == ["path"]
        assert "Accuracy. a 0.500; limit 1.000." in picture


class TestHeat:
    def test_a_cell_a_number_that_is_the_stronger_the_larger(self) -> None:
        picture = figures.heat([[0.5, -1.0], [None, 0.25]], title="States")
        cells = [
            (cell.attrib["class"], cell.attrib["fill-opacity"]) for cell in shapes(picture, "cell")
        ]
        assert cells == [("cell up", "0.50"), ("cell down", "1.00"), ("cell up", "0.25")]

    def test_in_one_colour_up_to_a_top(self) -> None:
        picture = figures.heat([[0.5, 2.0]], title="Shares", top=1, accent=7)
        cells = [
            (cell.attrib["class"], cell.attrib["fill-opacity"]) for cell in shapes(picture, "cell")
        ]
        assert cells == [("cell a1", "0.50"), ("cell a1", "1.00")]

    def test_rows_and_as_many_columns_as_fit_are_named(self) -> None:
        found = texts(figures.heat([[1.0] * 30] * 2, title="A", rows=["a", "b"], columns=range(30)))
        assert found == ["a", "b", *map(str, range(0, 30, 2))]

    def test_of_zeros(self) -> None:
        assert 'fill-opacity="0.00"' in figures.heat([[0.0]], title="A")


class TestTicks:
    @given(
        st.floats(-1e6, 1e6),
        st.floats(1e-6, 1e6),
        st.integers(2, 12),
    )
    def test_are_round_few_and_within(self, low: float, width: float, most: int) -> None:
        high = low + width
        if high - low < 1e-9 * abs(low):
            return
        found = figures.ticks(low, high, most)
        slack = 1e-6 * width + 1e-9 * abs(low)
        assert len(found) <= most
        assert all(low - slack <= tick <= high + slack for tick in found)
        assert all(first < second for first, second in pairwise(found))

    def test_examples(self) -> None:
        assert figures.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
        assert figures.ticks(1, 28, 8) == [5, 10, 15, 20, 25]
        assert figures.ticks(0.07, 0.13) == [0.08, 0.1, 0.12]


def test_a_confusion_matrix_as_an_image() -> None:
    def pixel(counts: list[list[int]]) -> object:
        """Of the corner of the first cell."""
        return figures.confusion_image(counts, ["a", "b"], "m").getpixel((122, 66))

    assert pixel([[0, 9], [9, 0]]) == (255, 255, 255)
    assert pixel([[9, 0], [0, 9]]) == (0, 95, 163)
    assert pixel([[0, 0], [0, 9]]) == (255, 255, 255)
    many = figures.confusion_image([[1] * 200] * 200, NAMES[1:2] * 200, NAMES[2])
    assert max(many.size) < 2000
