"""Draw the speeds of training that `python -m benchmarks --json FILE` measured, for the README.

python -m benchmarks.picture benchmarks/results/cpu.json docs/speed.svg
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.epochs import PEERS, Row

LABELS = {
    "tutorial": "packed, batches at random",
    "packed": "packed, batches by length",
    "keras": "Keras on JAX",
    "flax": "Flax on JAX",
    "dense": "dense (wrong)",
    "torch": "birnn without its kernel",
    "birnn": "birnn",
}
MARKS = dict(zip(PEERS, ("o", "s", "^", "v", "x", "D", "o"), strict=True))
COLOURS = dict(
    zip(
        PEERS,
        ("#9a9a9a", "#6b6b6b", "#c58b00", "#b0562b", "#c9c9c9", "#6fa8dc", "#0b5394"),
        strict=True,
    )
)
OUT_OF_TIME = {"Date": None}  # the same picture has the same bytes


def draw(rows: list[Row], device: str) -> Figure:
    """One line for each cell and size, one mark for each peer, on a logarithmic axis."""
    figure = Figure(figsize=(8, 0.34 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots()
    for name in PEERS:
        found = [(row["speeds"].get(name), place) for place, row in enumerate(rows)]
        points = [(speed / 1e3, place) for speed, place in found if speed]
        if points:
            (line,) = axes.plot(*zip(*points, strict=True), linestyle="none", markersize=7)
            line.set(marker=MARKS[name], color=COLOURS[name], label=LABELS[name])
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [f"{row['cell']} {row['hidden']}" for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="both", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("thousand real steps a second (logarithmic)")
    axes.set_title(f"One training epoch, {device}", fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=8)
    return figure


def main(results: Path, picture: Path) -> None:
    """Read the figures and write the picture."""
    found = json.loads(results.read_text(encoding="utf-8"))
    with mpl.rc_context({"svg.hashsalt": "birnn", "font.family": "sans-serif"}):
        draw(found["training"], found["device"]).savefig(picture, metadata=OUT_OF_TIME)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
