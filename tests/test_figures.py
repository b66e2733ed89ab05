"""The report's pictures: the same bytes for the same data, and nothing from outside."""

import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from birnn import figures
from birnn.history import Epoch

SVG = "{http://www.w3.org/2000/svg}"
MODELS = ["bidirectional", "<b>&", *(f"model-{number}" for number in range(6))]


def epochs(number: int, kept: int = 3) -> list[Epoch]:
    return [
        Epoch(n, 1 / n, 1 + abs(n - kept), 1 - 1 / n, 0.5 + 0.01 * n, 0.01)
        for n in range(1, number + 1)
    ]


def buckets() -> list[dict[str, float]]:
    edges = [(1, 1), (2, 8), (9, 20)]
    return [{"shortest": a, "longest": b, "f1_macro": 0.8 - a / 100} for a, b in edges]


def draw(kind: str) -> str:
    if kind == "curves":
        return figures.curves({name: epochs(5) for name in MODELS})
    return figures.bars_by_length({name: buckets() for name in MODELS}, "f1_macro")


def texts(picture: str) -> set[str]:
    return {element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")}


@pytest.mark.parametrize("kind", ["curves", "bars"])
class TestBoth:
    def test_the_same_bytes(self, kind: str) -> None:
        assert draw(kind) == draw(kind)

    def test_fit_for_a_page(self, kind: str) -> None:
        picture = draw(kind)
        root = ET.fromstring(picture)
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert {"width", "height"}.isdisjoint(root.attrib)
        assert root.get("viewBox")

    def test_nothing_is_loaded_from_outside(self, kind: str) -> None:
        picture = re.sub(r'xmlns(:\w+)?="[^"]*"', "", draw(kind))
        links = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', picture)
        assert all((one or other).startswith("#") for one, other in links)
        assert "<script" not in picture
        assert "<image" not in picture

    def test_every_model_is_named(self, kind: str) -> None:
        found = " ".join(texts(draw(kind)))
        assert all(name in found for name in MODELS)


def test_another_process_draws_the_same_bytes() -> None:
    program = (
        "from birnn import figures; from birnn.history import Epoch\n"
        "epochs = [Epoch(n, 1 / n, 1 + abs(n - 3), 1 - 1 / n, 0.5 + 0.01 * n, 0.01)"
        " for n in range(1, 6)]\n"
        "print(figures.curves({'one': epochs}), end='')"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    ).stdout
    assert found == figures.curves({"one": epochs(5)})


def test_the_axes_are_named() -> None:
    assert {"epoch", "cross entropy", "accuracy"} <= texts(draw("curves"))
    assert {"steps in the sequence", "f1 macro", "1", "2 to 8", "9 to 20"} <= texts(draw("bars"))


@pytest.mark.parametrize("kept", [1, 3])
def test_the_dot_is_on_the_kept_epoch(kept: int) -> None:
    root = ET.fromstring(figures.curves({"one": epochs(4, kept)}))
    colour = figures.COLOURS[0]
    lines, dots = list[list[tuple[str, str]]](), list[tuple[str, str]]()
    for element in root.iter():
        if f"stroke: {colour}" not in element.get("style", ""):
            continue
        if element.tag == f"{SVG}use":
            dots.append((element.get("x", ""), element.get("y", "")))
        elif element.tag == f"{SVG}path" and len(points(element)) == 4:
            lines.append(points(element))
    assert [dot in line for dot, line in zip(dots, lines[1::2], strict=True)] == [True, True]
    assert [line.index(dot) + 1 for dot, line in zip(dots, lines[1::2], strict=True)] == [kept] * 2


def points(path: ET.Element) -> list[tuple[str, str]]:
    """The corners of a line."""
    return re.findall(r"[ML] (\S+) (\S+)", path.get("d", ""))
