"""What pip may take: the pins of constraints.txt, and the hashes that `make lock` has noted."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

FOLDER = ROOT / "deploy" / "requirements"
NOT_ASKED_FOR = re.compile("nvidia-|cuda-|triton")  # what torch's wheel for GPUs needs in turn
MADE_OF = {"develop.txt": None, "retrain.txt": ("", "retrain"), "deploy.txt": ("deploy",)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    """The versions that a file of pins names."""
    lines = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), flags=re.MULTILINE)
    return {normal(name): version for name, version in lines}


def hashes(path: Path) -> dict[str, list[str]]:
    """The hashes of each package in a lock."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", path.read_text(), flags=re.MULTILINE)[1:]
    return {
        normal(re.split("==", block)[0]): re.findall(r"--hash=sha256:([0-9a-f]{64})\b", block)
        for block in blocks
    }


def wanted() -> dict[str, set[str]]:
    """What pyproject.toml names, by extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = {"": project["dependencies"], **project["optional-dependencies"]}
    names = {
        extra: [re.match(r"[A-Za-z0-9._-]+", line) for line in given[extra]] for extra in given
    }
    return {extra: {normal(found[0]) for found in names[extra] if found} for extra in names}


def test_lock_has_hashes_of_the_versions_that_are_pinned() -> None:
    """If this fails, `make lock` mends it."""
    lock, pins = pinned(ROOT / "requirements.lock"), pinned(ROOT / "constraints.txt")
    assert {name: lock[name] for name in lock if name in pins} == {
        name: pins[name] for name in lock if name in pins
    }
    text = (ROOT / "requirements.lock").read_text()
    free = {name for name in lock if name not in pins and not NOT_ASKED_FOR.match(name)}
    assert all(
        re.search(rf"^{name}==.*sys_platform == 'win32'", text, re.MULTILINE) for name in free
    )
    assert all(hashes(ROOT / "requirements.lock").values())


@pytest.mark.parametrize("name", MADE_OF)
def test_what_is_asked_for_is_what_pyproject_names(name: str) -> None:
    """If this fails, `make lock` mends it."""
    asked, names = pinned(FOLDER / name), wanted()
    extras = MADE_OF[name] or tuple(names)
    assert set(asked) == set().union(*(names[extra] for extra in extras))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.name)
def test_each_file_gives_hashes_or_names_the_lock(path: Path) -> None:
    lock = pinned(ROOT / "requirements.lock")
    assert {name: version.partition("+")[0] for name, version in pinned(path).items()} == {
        name: lock[name] for name in pinned(path)
    }
    if path.name in ("pip.txt", "cpu.txt"):
        assert all(hashes(path).values())
    else:
        assert "-c ../../requirements.lock" in path.read_text().splitlines()


def test_server_needs_no_torch() -> None:
    asked = pinned(FOLDER / "serve.txt")
    assert not {"torch", "scikit-learn", "dvc", "mlflow"} & set(asked)
    assert set(asked) - {"mlflow-skinny"} <= wanted()[""]  # of MLflow its client


def test_torch_may_be_the_wheel_for_cpus_or_that_of_the_index() -> None:
    both, small = hashes(ROOT / "requirements.lock")["torch"], hashes(FOLDER / "cpu.txt")["torch"]
    assert set(small) < set(both)
    files = (ROOT / "deploy" / "torch-cpu.txt").read_text()
    for python in ("cp311", "cp312", "cp313", "cp314"):
        for processor in ("x86_64", "aarch64"):
            (line,) = re.findall(
                rf"^(\w{{64}})  \S+-{python}-\S+_{processor}\.whl$", files, re.MULTILINE
            )
            assert line in small


def test_no_file_names_an_index() -> None:
    for path in (ROOT / "requirements.lock", ROOT / "constraints.txt", *FOLDER.iterdir()):
        assert not re.search(r"://|--(extra-)?index-url|--find-links", path.read_text())


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("cyclonedx-py") or not shutil.which("uv"), reason="needs both")
def test_a_release_says_of_what_it_is_made(tmp_path: Path) -> None:
    place = os.environ | {"TMPDIR": str(tmp_path)}  # where uv leaves a lock
    write = ["bash", "deploy/sbom", str(tmp_path / "made.json")]
    subprocess.run(write, cwd=ROOT, env=place, check=True)
    made = json.loads((tmp_path / "made.json").read_text())
    assert made["bomFormat"] == "CycloneDX"
    found = {normal(part["name"]): part["version"] for part in made["components"]}
    lock = pinned(ROOT / "requirements.lock")
    assert found == {name: lock[name] for name in found}
    assert set(pinned(FOLDER / "retrain.txt")) < set(found)
