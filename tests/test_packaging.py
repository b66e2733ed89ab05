"""The wheel holds the whole library: every module, the templates, the types and the licence.

And the stages, and the pipeline's files: with it alone, a repository of one's own trains models.
"""

import email
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wheels
from conftest import Once

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(once: Once) -> Path:
    """Built without a network, in a copy, so that nothing is left in the checkout."""
    (built,) = (once("packaging", build) / "dist").glob("*.whl")
    return built


def build(folder: Path) -> None:
    wheels.copy_sources(folder)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "."]
    offline = ["--no-index", "--disable-pip-version-check", "--wheel-dir", "dist"]
    done = subprocess.run(
        [*command, *offline], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def files(name: str) -> set[str]:
    """All below a folder of this repository that is no cache."""
    found = ((ROOT / name).rglob("*")) if (ROOT / name).is_dir() else [ROOT / name]
    listed = {path for path in found if path.is_file() and path.suffix != ".pyc"}
    return {path.relative_to(ROOT).as_posix() for path in listed}


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_library(wheel: Path) -> None:
    shipped = set.union(*map(files, (*wheels.PIPELINE, ".dvc/plots", "sweep/README.md")))
    wanted = {
        *files("birnn"),
        *(f"birnn/{name}" for name in files("stages")),
        *(f"birnn/project/shipped/{name}" for name in shipped),
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


TABLE = "their.csv"
WHO = {
    f"GIT_{who}_{what}": "a@example.org"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


class Repository:
    """A folder with a Python of its own, where birnn is installed from the wheel."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder, self.python = folder / "theirs", folder / "env/bin/python"
        self.folder.mkdir()
        outside = ("DVC", "GIT", "MLFLOW", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
        within = str(self.python.parent), str(Path(sys.executable).parent), os.environ["PATH"]
        self.environment = kept | {
            **WHO,
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / "dvc"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "OMP_NUM_THREADS": "1",
            "PATH": os.pathsep.join(within),
        }
        self.run(sys.executable, "-m", "venv", "--without-pip", str(folder / "env"))
        (self.packages / "all.pth").write_text(sysconfig.get_path("purelib"))
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--no-deps"]
        self.run(*pip, "--no-index", "--no-compile", "--quiet", str(wheel))

    @property
    def packages(self) -> Path:
        """Where birnn is installed."""
        (found,) = self.python.parents[1].glob("lib/python*/site-packages")
        return found

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Run `birnn serve` within; gives where it answers."""
        with subprocess.Popen(
            [str(self.python.with_name("birnn")), "serve", "--port", "0"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as server:
            assert server.stdout is not None
            try:
                line = server.stdout.readline()
                assert "answers on http://" in line, line
                yield line.split()[-1]
            finally:
                server.kill()

    def to_do(self, *stages: str) -> list[str]:
        """The stages that `dvc repro` would run, of all or of some."""
        return [*json.loads(self.run("dvc", "status", "--json", *(stages or ["dvc.yaml"])))]


def table(path: Path) -> None:
    """Write a table with names of its own: machines whose state is seen in noise."""
    rng = np.random.default_rng(0)
    parts = []
    for number in range(40):
        state = rng.integers(2, size=rng.integers(4, 9))
        heat = state + rng.normal(0, 0.3, len(state))
        rows = {"machine": f"m{number:02}", "heat": heat, "state": np.take(["idle", "busy"], state)}
        parts.append(pd.DataFrame(rows))
    pd.concat(parts).to_csv(path, index=False)


@pytest.fixture
def repository(wheel: Path, tmp_path: Path) -> Repository:
    """After `git init`, `pip install birnn` and `birnn init`, with all committed that it names."""
    made = Repository(tmp_path, wheel)
    table(tmp_path / TABLE)
    made.run("git", "init", "--quiet")
    said = made.run("birnn", "init", f"../{TABLE}")
    (left,) = (line for line in said.splitlines() if line.startswith("left to do: "))
    made.run(*shlex.split(left.removeprefix("left to do: ").split(" && ")[0]))
    made.run("git", "commit", "--quiet", "--message", "x")
    return made


@pytest.mark.slow
def test_a_repository_of_ones_own_trains_and_predicts(repository: Repository) -> None:
    assert repository.run("git", "status", "--porcelain", "--untracked-files=all") == ""
    repository.run("dvc", "repro", "--quiet", "train@bidirectional")
    repository.run("birnn", "predict", f"../{TABLE}", "--output", "predicted.csv")
    predicted = pd.read_csv(repository.folder / "predicted.csv")
    true = pd.read_csv(repository.folder / f"../{TABLE}")
    assert (predicted["predicted"] == true["state"]).mean() > 0.8
    assert repository.to_do("train@bidirectional") == []
    with repository.serving() as address:
        asked = json.dumps({"sequences": [[[0.0], [1.0], [1.1]], [[0.9]]]}).encode()
        request = urllib.request.Request(address, asked, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = [one["predicted"] for one in json.load(answer)["predictions"]]
    assert found == [["idle", "busy", "busy"], ["busy"]]

    # Another birnn takes the place of the first; two rooms of it are others, of which `train` runs
    # one, and the stages before it none.
    for name in ("birnn/report/wording.py", "birnn/model/losses.py"):
        module = repository.packages / name
        module.write_text(module.read_text() + "\n# changed\n")
    assert "changed: model, report; `dvc repro`" in repository.run("birnn", "init")
    assert repository.to_do("train@bidirectional") == ["train@bidirectional"]


@pytest.mark.long
def test_a_repository_of_ones_own_has_every_result(repository: Repository) -> None:
    """Also that of an experiment in a queue, which starts with what git knows alone."""
    repository.run("dvc", "repro", "--quiet")
    assert (repository.folder / "report/report.html").exists()
    repository.run("git", "add", "--all")
    repository.run("git", "commit", "--quiet", "--message", "x")
    repository.run("birnn", "summary")
    assert repository.run("birnn", "verify").endswith("have the bytes of the last commit\n")
    assert repository.to_do() == []
    module = repository.packages / "birnn/report/wording.py"
    module.write_text(module.read_text() + "\n# changed\n")
    repository.run("birnn", "init")
    assert repository.to_do() == ["report"]
    repository.run("dvc", "repro", "--quiet")
    repository.run("git", "commit", "--quiet", "--all", "--message", "x")
    repository.run("dvc", "exp", "run", "--queue", "--name", "short", "-S", "train.max_epochs=2")
    repository.run("dvc", "exp", "run", "--run-all")
    repository.run("dvc", "exp", "apply", "short")
    history = pd.read_csv(repository.folder / "models/forward/history.csv")
    assert len(history) == 2
    repository.run("git", "checkout", "--quiet", ".")
    repository.run("dvc", "checkout", "--quiet")
    assert "kept: Version 1 does not serve" in repository.run("birnn", "retrain")
