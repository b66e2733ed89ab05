"""The benchmarks run from end to end; what they measure is for people to see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import padding, picture

ROOT = Path(__file__).parents[1]


@pytest.mark.long
def test_quick_figures_and_their_picture(tmp_path: Path) -> None:
    found = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--device", "cpu", "--quick", "--threads", "1"]
    subprocess.run([*command, "--json", str(found)], cwd=ROOT, check=True, capture_output=True)
    cpu = json.loads(found.read_text())
    assert {"training", "calls", "padding", "prediction", "memory"} <= {*cpu[0], *cpu[-1]}
    pictures = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for path in pictures:
        picture.main(found, path)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


@pytest.mark.parametrize("share", padding.SHARES)
def test_lengths_make_the_share_of_padding(share: float) -> None:
    lengths = padding.lengths(share)
    assert lengths.max() == padding.STEPS
    assert lengths.min() >= 1
    assert 1 - lengths.double().mean() / padding.STEPS == pytest.approx(share, abs=0.01)
