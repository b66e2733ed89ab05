"""What several test files share: one thread, sequences and a model by chance, a place for runs.

A run of tests has a temporary folder of its own, and fails if anything is left in it.
"""

import atexit
import copy
import gc
import importlib
import multiprocessing.util
import os
import runpy
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import services
import torch
import yaml
from filelock import FileLock
from hypothesis import settings

from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.kernel import library
from birnn.model import history, networks, saved_model
from birnn.model.architecture import Architecture
from birnn.model.history import Epoch, marked
from birnn.tracking import registry, store
from birnn.tracking.registry import Registry

torch.set_num_threads(1)
settings.register_profile("short", max_examples=50, deadline=None)  # a busy machine is no fault
settings.register_profile("long", max_examples=300, deadline=None)
settings.load_profile("short")  # `make test-long` asks for the other


def examples(short: int, long: int) -> int:
    """How many examples of hypothesis a test draws, daily and with `make test-long`."""
    chosen = settings.default
    return long if chosen is not None and chosen.max_examples > 50 else short


ROOT = Path(__file__).parents[1]
CLASSES = 3
Once = Callable[[str, Callable[[Path], object]], Path]

LEFT_BY_LIBRARIES = (
    "db_init_lock-",  # MLflow locks a store with it, and never removes it
    "torchinductor_",  # torch keeps what it compiled
    "sklearn_testing_",  # memory maps of its checks, which it removes when Python ends
)
LEFT = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a temporary folder, which workers and all other processes inherit.

    A worker imports as the stages do, and has thousands of tests in memory as well: as there,
    Python is to look for garbage less often, and not at all in what is there at the end.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:  # under nohup; children would inherit it
            signal.signal(number, signal.SIG_DFL)
    if hasattr(config, "workerinput"):
        return
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # of ONNX Runtime, which leaves a file too
    os.environ["DVC_NO_ANALYTICS"] = "1"  # a report is a file, and a process that sends it
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # for `tmp_path`
    tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="birnn-tests-")
    config.add_cleanup(lambda: shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True))


@pytest.hookimpl(trylast=True)  # when all workers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if a test has left something in the temporary folder."""
    multiprocessing.util._run_finalizers()  # type: ignore[attr-defined]  # its folder goes now
    if hasattr(session.config, "workerinput"):
        return
    found = sorted(path.name for path in Path(os.environ["TMPDIR"]).iterdir())
    left = [name for name in found if not name.startswith(LEFT_BY_LIBRARIES)]
    session.config.stash[LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if left := terminalreporter.config.stash.get(LEFT, None):
        terminalreporter.section("left in the temporary folder", red=True)
        terminalreporter.write_line("\n".join(left))


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: at most times a test waits for a process or a clock."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let slow tests start first, one of each file in turn, and the others fill what time is left.

    Slow tests of one file often wait for the same fixture, which one of them makes.
    """
    seen: Counter[Path] = Counter()
    turn: dict[pytest.Item, int] = {}
    for item in items:
        turn[item] = seen[item.path]
        seen[item.path] += item.get_closest_marker("slow") is not None
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, turn[item]))


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of every later look for garbage."""
    gc.freeze()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """The function that makes a folder once for all workers: `once(name, make)`."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(f"{folder}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


TOKENS = ["", "the", "NA", "é", "Zürich", "1", "a b", "null", "<i>", "x" * 70]


def draw(
    lengths: Sequence[int],
    *,
    features: int = 4,
    tokens: bool = False,
    tagging: bool = True,
    seed: int = 0,
) -> Sequences:
    """Random sequences of three classes; with tokens from 0 to 9 if asked, or without features."""
    rng = np.random.default_rng(seed)
    steps = sum(lengths)
    values = rng.standard_normal((steps, features))
    spelled = tokens or not features
    places = rng.integers(10, size=steps) if spelled else None
    labels = rng.integers(CLASSES, size=steps if tagging else len(lengths))
    return Sequences(
        values=values.astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=labels.astype(np.int32),
        ids=pa.array([f"s{number}" for number in range(len(lengths))]),
        groups=pa.array([f"g{number // 2}" for number in range(len(lengths))]),
        tagging=tagging,
        tokens=None if places is None else places.astype(np.int32),
        dictionary=pa.array(TOKENS) if spelled else None,
    )


@pytest.fixture(params=["kernel", "torch"])
def arithmetic(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let the kernel compute, and then torch."""
    with library.off() if request.param == "torch" else nullcontext():
        yield request.param


@pytest.fixture(scope="session")
def ragged() -> Callable[..., Sequences]:
    """The function that draws them."""
    return draw


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `train` leaves it: a tagger of two features with random weights."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    architecture = Architecture("tagging", "GRU", 2, 0, 4, 1, 0.0, bidirectional=True, classes=3)
    encoding = Encoding("tagging", ["a", "b", "c"], ["x", "y"], [1.0, 2.0], [0.5, 2.0])
    saved_model.save(networks.SequenceModel(architecture), encoding, {}, folder)
    losses = enumerate([1.25, 0.75, 0.875], start=1)
    history.write(
        marked([Epoch(n, loss, loss, 0.5, 0.625, 0.01) for n, loss in losses]),
        folder / "history.csv",
    )
    return folder


@pytest.fixture(scope="session")
def empty_store(once: Once) -> Path:
    """An MLflow database without runs; to make one takes a second, to copy it no time."""

    def make(root: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            _root_is(root, patch)
            store.connect()

    return once("store", make) / "mlflow.db"


@pytest.fixture
def runs_root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a test's own MLflow runs are kept."""
    shutil.copy(empty_store, tmp_path)
    _root_is(tmp_path, monkeypatch)
    return tmp_path


def _root_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow sets it; what is set here is unset again
    # By a run's id MLflow remembers where artifacts lie, and copies of a root have the same ids.
    remembered = importlib.import_module("mlflow.tracking._tracking_service.utils")
    remembered._artifact_repos_cache.clear()


@cache
def _shipped() -> Any:
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def shipped_params() -> dict[str, Any]:
    """The tree of the shipped params.yaml, to be changed."""
    tree: dict[str, Any] = copy.deepcopy(_shipped())
    return tree


def small_params() -> dict[str, Any]:
    """The shipped params.yaml with little to do."""
    tree = shipped_params()
    tree["problem"] = "small"
    tree["data"] = {
        "source": "hmm",
        "task": "tagging",
        "seed": 1,
        "sequences": 150,
        "min_steps": 3,
        "max_steps": 9,
        "mean_steps": 5,
        "features": 3,
        "classes": 3,
        "stay": 0.6,
        "separation": 3.0,
    }
    tree["train"] |= {"device": "cpu", "max_epochs": 3, "batch_size": 32}
    return tree


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server, one for all tests of a worker; see `services.keys`."""
    with services.s3() as address:
        yield address


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bucket `runs` on it, to which this process, and those that it starts, have the keys."""
    for name, value in services.keys(s3).items():
        monkeypatch.setenv(name, value)
    return services.bucket(s3)


@pytest.fixture(scope="session", name="small_params")
def small_params_fixture() -> Callable[[], dict[str, Any]]:
    """The function that gives a tree of params, for a test to change and write."""
    return small_params


def run_stage(name: str, *arguments: str) -> None:
    """Do what `python -m stages.NAME` does, in this process, which has torch and MLflow loaded."""
    terminate = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        try:
            runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name="__main__")
        finally:
            signal.signal(signal.SIGTERM, terminate)


@pytest.fixture(scope="session")
def stage() -> Callable[..., None]:
    """The function that runs a stage in the working directory."""
    return run_stage


@pytest.fixture(scope="session")
def prepared(once: Once) -> Path:
    """A working directory with params.yaml, data/raw/ and data/prepared/."""

    def make(folder: Path) -> None:
        (folder / "params.yaml").write_text(yaml.safe_dump(small_params()), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            run_stage("generate")
            run_stage("prepare")

    return once("prepared", make)


@pytest.fixture(scope="session")
def served(once: Once, empty_store: Path) -> Path:
    """A checkout whose first model serves."""
    import checkout  # which imports this file

    return once("served", lambda folder: checkout.first(folder, empty_store)) / "checkout"


@pytest.fixture(scope="session")
def registered(once: Once, empty_store: Path, trained: Path) -> Path:
    """A root with two versions of a model; see `two_versions.make`."""
    import two_versions  # which imports this file

    return once("registered", lambda root: two_versions.make(root, empty_store, trained))


@pytest.fixture
def known(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Their registry in a root of the test's own, `tmp_path`; version 1 is the champion."""
    import two_versions

    shutil.copytree(registered, tmp_path, dirs_exist_ok=True)
    _root_is(tmp_path, monkeypatch)
    found = registry.connect("problem")
    two_versions.serve(found, 1)
    return found


@pytest.fixture(scope="session")
def finished(once: Once, empty_store: Path) -> Path:
    """Where retrainings find results of the pipeline, so that each is made once."""
    return once("finished", lambda folder: shutil.copy(empty_store, folder))
