"""Put the figures of a run into a page: `python -m benchmarks.quoted FILE.json docs/speed.md`.

A table stands between the lines `<!-- NAME -->` and `<!-- end -->`, with NAME as in the file; what
was between them goes. `<!-- machine -->` says where the figures are from.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks import epochs, lengths, memory, padding, prediction, throughput


class Quoted(NamedTuple):
    """How a page shows what was measured.

    Attributes:
        table: makes the table of the rows.
        left_out: headings of columns that are not shown.
        shown: whether a row is.
    """

    table: Callable[[Any], Table]
    left_out: tuple[str, ...] = ()
    shown: Callable[[Any], bool] = lambda _: True


def quoted(found: dict[str, Any]) -> dict[str, str]:
    """Write each table that was measured, and the machine, in Markdown."""
    ways = {
        "training": Quoted(partial(epochs.table, matmul=found["matmul"])),
        "calls": Quoted(lengths.table, shown=lambda row: row["gradients"]),
        "throughput": Quoted(throughput.table),
        "prediction": Quoted(prediction.table, left_out=(*prediction.PEERS, "torch / birnn")),
        "padding": Quoted(padding.table, left_out=padding.PEERS),
        "memory": Quoted(memory.table),
    }
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    speed = f"a float32 product of large matrices: {found['matmul'] / 1e9:,.0f} GFLOP/s"
    made = {"machine": f"{found['device']}; {versions}; {speed}."}
    for name, way in ways.items():
        if name in found:
            made[name] = markdown(way.table([*filter(way.shown, found[name])]), way.left_out)
    return made


def markdown(table: Table, left_out: tuple[str, ...] = ()) -> str:
    """Write a table without the columns that are left out, or that hold nothing."""
    columns = [
        [str(column.header), *map(str, column.cells)]
        for column in table.columns
        if column.header not in left_out and {*column.cells} != {"-"}
    ]
    heading, *rows = (f"| {' | '.join(row)} |" for row in zip(*columns, strict=True))
    return "\n".join([heading, "| --- |" + " ---: |" * (len(columns) - 1), *rows])


def into(page: str, made: dict[str, str]) -> str:
    """Replace what stands between the marks of each name; a name may be without marks."""
    for name, text in made.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        if mark:
            _, end, after = rest.partition("<!-- end -->")
            page = f"{before}{mark}\n{text}\n\n{end}{after}"
    return page


def main() -> None:
    """Change the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quoted", description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    found = json.loads(arguments.figures.read_text(encoding="utf-8"))
    page = arguments.page.read_text(encoding="utf-8")
    arguments.page.write_text(into(page, quoted(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
