"""A stage without room ends in one line and leaves nothing half-written; with room, it goes on.

A limit on the size of files stands for the full disk: what is written beyond it is refused.
"""

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Once, run_stage

from birnn.tracking import store

Stage = Callable[..., None]
STAGES = {
    "generate": "data/raw",
    "prepare": "data/prepared",
    "train forward": "models/forward",
    "evaluate forward": "evaluation/forward",
    "report": "report",
}


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file become larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def whole(once: Once, prepared: Path, empty_store: Path) -> Path:
    """A working directory with all results."""

    def make(folder: Path) -> None:
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        shutil.copy(empty_store, folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("DVC_ROOT", str(folder))
            patch.setenv("MLFLOW_TRACKING_URI", "")
            for name in ("bidirectional", "forward"):
                run_stage("train", name)
                run_stage("evaluate", name)
            run_stage("report")

    return once("whole", make)


@pytest.fixture
def place(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the working directory."""
    shutil.copytree(whole, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "place"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    return tmp_path / "place"


def outs(folder: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("command", STAGES)
@pytest.mark.parametrize(
    "share", [*(pytest.param(share, marks=pytest.mark.long) for share in (0.0, 0.5)), 0.99]
)
def test_of_a_stage(
    place: Path, stage: Stage, capsys: pytest.CaptureFixture[str], command: str, share: float
) -> None:
    """Whatever file it is for which there is no room."""
    folder = STAGES[command]
    before = outs(folder)
    shutil.rmtree(folder)
    sizes = sorted({*map(len, before.values())})
    limit = int(sizes[int(share * len(sizes))] * 0.9)
    shutil.rmtree(store.root() / ".birnn/resume", ignore_errors=True)
    with room(limit), pytest.raises(SystemExit) as ended:
        stage(*command.split())
    assert ended.value.code == 1
    *warnings, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(": File too large")
    assert [said for said in warnings if not said.startswith("warning: sqlite:///")] == []
    after = outs(folder)
    assert not [path for path in after if "partial" in path]
    assert after.items() <= before.items()
    stage(*command.split())
    assert outs(folder) == before


def test_of_the_artifacts_is_a_warning(
    place: Path, stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = outs("evaluation/forward")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlflow.MlflowClient.log_artifacts", full)
    stage("evaluate", "forward")
    said = capsys.readouterr().err
    assert "expected to keep files of a run, found: [Errno 28] No space left on device" in said
    assert said.endswith("run `birnn backfill`\n")
    assert said.count("\n") == 1
    assert outs("evaluation/forward") == before
