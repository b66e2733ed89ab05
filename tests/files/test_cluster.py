"""A Ray cluster that is started for some work: what it does, and that it leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_cluster_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    variables = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "2"}
    finished = subprocess.run(
        [sys.executable, str(ROOT / "tests/on_ray.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert found["listening"] == ["127.0.0.1"]
    assert found["order"] == [*range(20)]
    assert found["right"]
    assert found["ahead"] == 4  # two for each CPU: memory does not grow with the number of items
    assert found["mistake"] == "DataError: row 3: expected a number, found 'x'"
    tries = (tmp_path / "tries").read_text(encoding="ascii").split()
    assert tries.count("3") == 1  # a mistake is not tried again
    assert found["versions"].startswith("EngineError: ray: expected birnn 0.0 on every machine")
    assert found["lost"].startswith(
        "EngineError: ray: expected the result of a task, found it lost"
    )
    assert "\n" not in found["versions"] + found["lost"]
    assert found["early"] == 0
    assert found["handler"]
    assert found["alive"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tries"]
