"""Models that an earlier version has saved load, and predict what they did then."""

import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from birnn import cli

HERE = Path(__file__).parent
MODELS = [
    pytest.param(path.parent, id=f"{path.parts[-3]}-{path.parts[-2]}")
    for path in sorted(HERE.glob("v*/*/model.json"))
]
SERVED = """
import sys
import mlflow
import pandas as pd

model = mlflow.pyfunc.load_model("registered")
model.predict(pd.read_csv(sys.argv[1])).to_csv("predicted.csv", index=False)
"""


def test_there_are_some() -> None:
    assert len(MODELS) >= 2


@pytest.mark.parametrize("folder", MODELS)
def test_predictions_are_those_of_the_version_that_saved_it(folder: Path, tmp_path: Path) -> None:
    predicted = tmp_path / "predicted.csv"
    command = ["predict", str(folder / "input.csv"), "--output", str(predicted), "--device", "cpu"]
    result = CliRunner().invoke(cli.app, [*command, "--model", str(folder)])
    assert result.exit_code == 0, result.output
    assert_same(predicted, folder / "predicted.csv")


@pytest.mark.slow
def test_a_registered_model_still_serves_with_the_code_that_it_brings(tmp_path: Path) -> None:
    """In a process of its own, as a server is: in one that has imported `birnn` it would not."""
    with tarfile.open(HERE / "v0_2_0/registered.tar.xz") as archive:
        members = archive.getmembers()  # Python 3.11.2 has no filter yet
        assert all(not {"..", "/"} & {*Path(one.name).parts} for one in members)
        archive.extractall(tmp_path / "registered", members)
    numbers = HERE / "v0_2_0/numbers"
    command = [sys.executable, "-c", SERVED, str(numbers / "input.csv")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "predicted.csv", numbers / "predicted.csv")


def assert_same(predicted: Path, expected: Path) -> None:
    """The same classes, and probabilities that differ by what another CPU rounds at most."""
    now, before = pd.read_csv(predicted), pd.read_csv(expected)
    words = ["sequence", "predicted"]
    pd.testing.assert_frame_equal(now[words], before[words])
    assert set(now) - set(before) <= {"step", "token"}  # which later versions add
    numbers = list(before.columns.difference(words))
    np.testing.assert_allclose(now[numbers], before[numbers], rtol=0, atol=1e-6)
