"""Models that an earlier version has saved load, and predict what they did then."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from birnn import cli

MODELS = [
    pytest.param(folder, id=f"{folder.parent.name}-{folder.name}")
    for folder in sorted(Path(__file__).parent.glob("v*/*/"))
    if (folder / "model.json").exists()
]


def test_there_are_some() -> None:
    assert len(MODELS) >= 2


@pytest.mark.parametrize("folder", MODELS)
def test_predictions_are_those_of_the_version_that_saved_it(folder: Path, tmp_path: Path) -> None:
    predicted = tmp_path / "predicted.csv"
    command = ["predict", str(folder / "input.csv"), "--output", str(predicted), "--device", "cpu"]
    result = CliRunner().invoke(cli.app, [*command, "--model", str(folder)])
    assert result.exit_code == 0, result.output
    before, now = (pd.read_csv(path) for path in (folder / "predicted.csv", predicted))
    words = ["sequence", "predicted"]
    pd.testing.assert_frame_equal(now[words], before[words])
    assert list(now) == list(before)
    numbers = list(before.columns.difference(words))
    np.testing.assert_allclose(now[numbers], before[numbers], rtol=0, atol=1e-6)
