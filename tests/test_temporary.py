"""A run of tests has a temporary folder of its own, in which nothing may be left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LEAVES = """
import tempfile, os

def test():
    assert tempfile.gettempdir() == os.environ["TMPDIR"]
    tempfile.mkdtemp(prefix="forgotten")
"""


@pytest.mark.slow
def test_what_is_left_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(LEAVES)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "test_it.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout
    assert "left in the temporary folder" in ended.stdout
    assert "\nforgotten" in ended.stdout
    assert "1 passed" in ended.stdout
