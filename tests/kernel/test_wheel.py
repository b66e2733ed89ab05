"""A wheel that brings the kernel: it computes where there is no compiler."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import wheels

from birnn.kernel import build, library

ASKED = "from birnn.kernel import library; print(library.name(), library.kernel()._shared._name)"


@pytest.mark.long
@pytest.mark.skipif(not build.compiler(), reason="no compiler here")
def test_brings_every_level(tmp_path: Path) -> None:
    source = tmp_path / "source"
    wheels.copy_sources(source)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path))
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    subprocess.run(command, env=os.environ | {"BIRNN_SHIP": "1"}, check=True)
    (wheel,) = tmp_path.glob("birnn-*-py3-none-*.whl")
    assert not wheel.name.endswith("-any.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    alone = {"PATH": "", "CC": "", "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path / "installed")}
    ended = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=tmp_path,
        env=alone,
        capture_output=True,
        text=True,
        check=True,
    )
    name, place = ended.stdout.rsplit(" ", 1)
    assert name == library.name()
    assert Path(place.strip()).parent == tmp_path / "installed/birnn/kernel/shipped"
