"""The wheel holds the whole library: every module, the templates, the types and the licence."""

import email
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without a network, in a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("packaging")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "birnn", folder / "birnn", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "."]
    offline = ["--no-index", "--disable-pip-version-check", "--wheel-dir", "dist"]
    done = subprocess.run(
        [*command, *offline], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_library(wheel: Path) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "birnn").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == wanted
    assert {"birnn/py.typed", "birnn/report/templates/report.html.j2"} <= found


@pytest.mark.slow
def test_wheel_says_its_licence_and_version(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = f"birnn-{project['version']}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        described = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
        commands = archive.read(f"{info}/entry_points.txt").decode()
    assert described["License-Expression"] == "Apache-2.0"
    assert described["Author"] == "the birnn developers"
    assert "Apache License" in licence
    assert "birnn = birnn.cli:main" in commands
