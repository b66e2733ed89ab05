"""The benchmarks run from end to end; what they measure is for people to see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from benchmarks import padding, quoted

ROOT = Path(__file__).parents[1]


@pytest.mark.long
def test_quick_figures_and_their_picture(tmp_path: Path) -> None:
    found = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--device", "cpu", "--quick", "--threads", "1"]
    subprocess.run([*command, "--json", str(found)], cwd=ROOT, check=True, capture_output=True)
    cpu = json.loads(found.read_text())
    tables = {"training", "calls", "throughput", "prediction", "padding", "memory"}
    assert tables <= cpu.keys()
    made = quoted.quoted(cpu)
    assert made.keys() == tables | {"machine"}
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert all(text in quoted.into(page, made) for text in made.values())
    from benchmarks import picture  # Matplotlib, which other tests do without

    pictures = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for path in pictures:
        picture.main(found, path)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_a_table_replaces_the_one_that_was_there() -> None:
    table = Table()
    for heading in ("cell", "ours", "theirs", "slow"):
        table.add_column(heading)
    table.add_row("LSTM", "1", "-", "9")
    text = quoted.markdown(table, left_out=("slow",))
    assert text == "| cell | ours |\n| --- | ---: |\n| LSTM | 1 |"
    page = "before\n<!-- some -->\n\nold\n\n<!-- end -->\nafter\n"
    changed = quoted.into(page, {"some": text, "another": "nowhere"})
    assert changed == f"before\n<!-- some -->\n\n{text}\n\n<!-- end -->\nafter\n"
    assert quoted.into(changed, {"some": "old"}) == page


@pytest.mark.parametrize("share", padding.SHARES)
def test_lengths_make_the_share_of_padding(share: float) -> None:
    lengths = padding.lengths(share)
    assert lengths.max() == padding.STEPS
    assert lengths.min() >= 1
    assert 1 - lengths.double().mean() / padding.STEPS == pytest.approx(share, abs=0.01)
