"""The pipeline in a repository of one's own: what is written, left alone, and renewed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from birnn import cli
from birnn.errors import DataError
from birnn.files import atomic, installed, paths, records
from birnn.project import beginning, laying
from birnn.report.tested import Compared

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a git repository, where DVC is taken to be at work."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path(".dvc").mkdir()
    return tmp_path


@pytest.fixture
def birnn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its status, and what it prints."""

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setattr(sys, "argv", ["birnn", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def library(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is taken for the installed code: each room is one file."""
    folder = tmp_path_factory.mktemp("library")
    for name in ("birnn", "stages"):
        for path in sorted((ROOT / name).glob("[!_]*")):
            place = folder / name / path.name
            place.parent.mkdir(exist_ok=True)
            place.write_text("x") if path.is_file() else place.mkdir()
            if path.is_dir():
                (place / "a.py").write_text("x")
    monkeypatch.setattr(installed, "LIBRARY", folder / "birnn")
    return folder


class TestPipeline:
    def test_is_that_of_this_repository(self, repository: Path) -> None:
        laying.lay(force=False)
        own = yaml.safe_load(Path("dvc.yaml").read_text())
        this = yaml.safe_load((ROOT / "dvc.yaml").read_text())
        assert [*own["stages"]] == [*this["stages"]]
        assert own["plots"] == this["plots"]
        for name, stage in own["stages"].items():
            mine, its = stage.get("do", stage), this["stages"][name].get("do", this["stages"][name])
            assert mine["cmd"].split()[:3] == ["python", "-m", f"birnn.stages.{name}"]
            assert mine["cmd"].split()[3:] == its["cmd"].split()[3:]
            code = [dep for dep in its["deps"] if dep.startswith(("birnn/", "stages/"))]
            assert mine["deps"] == [dep for dep in its["deps"] if dep not in code]
            *params, hashes = mine["params"]
            assert params == its["params"]
            rooms = [Path(dep).stem for dep in code]
            assert sorted(key.split(".")[1] for key in hashes[installed.PATH]) == sorted(rooms)
            for key in ("outs", "metrics", "plots"):
                assert mine.get(key) == its.get(key)

    def test_asks_for_hashes_that_are_there(self, repository: Path) -> None:
        laying.lay(force=False)
        noted = atomic.read_json(installed.PATH)
        stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"].values()
        asked = [key for one in stages for key in one.get("do", one)["params"][-1][installed.PATH]]
        found = [noted[kind][name] for kind, name in (key.split(".") for key in asked)]
        assert all(len(digest) == 64 for digest in found)
        assert noted["birnn"] == installed.version()

    def test_brings_what_it_needs(self, repository: Path) -> None:
        laid = laying.lay(force=False)
        assert all(Path(name).exists() for name in laid.files)
        assert laid.changed == laid.kept == []
        templates = {path.name for path in (ROOT / ".dvc/plots").iterdir()}
        assert {path.name for path in Path(".dvc/plots").iterdir()} == templates
        ignored = Path(".gitignore").read_text()
        assert "!/models/*/history.csv" in ignored
        assert "/dist/" not in ignored
        workflow = yaml.safe_load(Path(laying.WORKFLOW).read_text())
        steps = [step.get("run", "") for step in workflow["jobs"]["repeat"]["steps"]]
        assert f'pip install "birnn=={installed.version()}"' in steps

    def test_once_more_changes_nothing(self, repository: Path) -> None:
        laying.lay(force=False)
        before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
        assert laying.lay(force=False).changed == []
        assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


class TestOwnFiles:
    def test_lines_are_added_to_lists(self, repository: Path) -> None:
        Path(".gitignore").write_text("mine\n/.venv/")
        laying.lay(force=False)
        lines = Path(".gitignore").read_text().splitlines()
        assert lines[:3] == ["mine", "/.venv/", "/.birnn/"]
        assert lines.count("/.venv/") == 1

    def test_another_pipeline_stays(self, repository: Path, birnn: Run) -> None:
        Path("dvc.yaml").write_text("stages: {}\n")
        status, _, err = birnn("init")
        assert (status, err.count("\n")) == (1, 1)
        assert "dvc.yaml: expected none, or one that `birnn init` wrote, found another" in err
        assert not Path(installed.PATH).exists()
        assert birnn("init", "--force")[0] == 0
        assert "birnn.stages.generate" in Path("dvc.yaml").read_text()

    def test_a_changed_workflow_stays(self, repository: Path, birnn: Run) -> None:
        assert birnn("init")[0] == 0
        Path(laying.WORKFLOW).write_text("name: mine\n")
        status, out, _ = birnn("init")
        assert status == 0
        assert f"{laying.WORKFLOW}: left as it is, since it was changed by hand" in out
        assert birnn("init")[0] == 0
        assert Path(laying.WORKFLOW).read_text() == "name: mine\n"

    def test_a_removed_workflow_stays_away(self, repository: Path) -> None:
        laying.lay(force=False)
        Path(laying.WORKFLOW).unlink()
        assert laying.WORKFLOW not in laying.lay(force=False).files
        assert not Path(laying.WORKFLOW).exists()


class TestPlace:
    def test_is_a_git_repository(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, birnn: Run
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        status, _, err = birnn("init", "x.csv")
        assert (status, err.count("\n")) == (1, 1)
        assert "expected a git repository, found none; run `git init`" in err

    def test_is_its_top_folder(
        self, repository: Path, monkeypatch: pytest.MonkeyPatch, birnn: Run
    ) -> None:
        Path("deep/er").mkdir(parents=True)
        monkeypatch.chdir("deep/er")
        status, _, err = birnn("init")
        assert (status, err.count("\n")) == (1, 1)
        assert "expected the top folder of a git repository" in err
        assert "`cd ../../`" in err

    def test_has_data_that_git_may_know(self, repository: Path, birnn: Run) -> None:
        Path(".gitignore").write_text("data/\n")
        status, _, err = birnn("init")
        assert (status, err.count("\n")) == (1, 1)
        assert "expected data/external/*.dvc in git" in err


class TestOtherCode:
    """Of birnn, than the repository notes."""

    def test_is_refused_by_stages(self, repository: Path, library: Path) -> None:
        installed.check()
        laying.lay(force=False)
        installed.check()
        (library / "birnn/model/a.py").write_text("y")
        with pytest.raises(DataError, match="with other model; run `birnn init` to take what is"):
            installed.check()

    def test_is_told_beside_an_older_result(
        self, repository: Path, library: Path, birnn: Run
    ) -> None:
        records.write(paths.REPORT / paths.COMPARISON, Compared([], "", "", None))
        verdict = {"model": "m", "sentence": "good", "checks": []}
        atomic.write_json(paths.REPORT / paths.VERDICT, verdict)
        laying.lay(force=False)
        assert "note:" not in birnn("summary")[2]
        (library / "birnn/model/a.py").write_text("y")
        said = birnn("summary")[2]
        assert said.startswith("note: birnn.lock.json: expected the code of birnn ")
        assert said.count("\n") == 1
        assert "with other model; run `birnn init`" in said

    def test_is_noted_room_by_room(self, repository: Path, library: Path, birnn: Run) -> None:
        laying.lay(force=False)
        before = atomic.read_json(installed.PATH)
        (library / "birnn/model/b.py").write_text("y")
        (library / "stages/report.py").write_text("y")
        status, out, _ = birnn("init")
        assert status == 0
        assert "changed: model, report; `dvc repro` runs the stages that use them" in out
        now = atomic.read_json(installed.PATH)
        rooms = {name for name in now["rooms"] if now["rooms"][name] != before["rooms"][name]}
        stages = {name for name in now["stages"] if now["stages"][name] != before["stages"][name]}
        assert (rooms, stages) == ({"model"}, {"report"})
        installed.check()

    @pytest.mark.parametrize("name", ["cli.py", "project/a.py", "model/__pycache__/a.pyc"])
    def test_that_no_stage_runs_matters_to_none(
        self, repository: Path, library: Path, name: str
    ) -> None:
        laying.lay(force=False)
        (library / "birnn" / name).parent.mkdir(exist_ok=True)
        (library / "birnn" / name).write_text("y")
        installed.check()

    def test_is_told_by_names_of_files_too(self, repository: Path, library: Path) -> None:
        laying.lay(force=False)
        (library / "birnn/model/a.py").rename(library / "birnn/model/b.py")
        with pytest.raises(DataError, match="with other model"):
            installed.check()


def test_what_dvc_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as raised:
        beginning.dvc("add", "x.csv")
    assert "expected `dvc add x.csv` to be done, found: you are not inside of a DVC" in str(
        raised.value
    )
