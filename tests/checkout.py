"""A checkout of its own for tests that retrain: git, DVC, a small table and one model.

Stages can run in the process of the test, which has torch and MLflow loaded: what `dvc repro` does
in a quarter of a minute takes a few seconds then. `dvc commit` writes the same dvc.lock. What was
done once on the same data and params can be repeated by copying its results.
"""

import hashlib
import io
import itertools
import json
import multiprocessing
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, run_stage, shipped_params
from dvc import cli as dvc_command
from dvc.repo import Repo
from filelock import FileLock

from birnn import errors
from birnn.errors import RetrainingError
from birnn.params import Params, load
from birnn.retraining import service, steps, workspace
from birnn.tracking import store

SEQUENCES = 300  # in the table of a first model
TABLE = Path("data/external/steps.csv")
MODEL = "bidirectional"
CLASSES = ("a", "b", "c")
FINISHED = "finished"


def table(
    numbers: range, *, shift: float = 0.0, spread: float = 0.6, shares: tuple[float, ...] = ()
) -> pd.DataFrame:
    """Draw labelled sequences: classes that stay for some steps, and two noisy features of them.

    Args:
        numbers: of the sequences; each decides alone what is in it.
        shift: added to the features.
        spread: of the noise.
        shares: of the classes; equal ones without.
    """
    parts = [_sequence(number, shift, spread, shares) for number in numbers]
    return pd.concat(parts)[["sequence", "x", "y", "label"]]


@cache
def _sequence(number: int, shift: float, spread: float, shares: tuple[float, ...]) -> pd.DataFrame:
    """One of them; most tests of a process draw the same ones."""
    rng = np.random.default_rng(number)
    steps = int(rng.integers(6, 15))
    blocks = rng.choice(len(CLASSES), size=steps, p=shares or None)
    stays = rng.random(steps) < 0.75
    stays[0] = False
    label = blocks[np.maximum.accumulate(np.where(stays, 0, np.arange(steps)))]
    angle = 2 * np.pi * label / len(CLASSES)
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1) + shift
    features += spread * rng.standard_normal(features.shape)
    rows = pd.DataFrame(features.round(4), columns=["x", "y"])
    return rows.assign(sequence=f"s{number}", label=np.take(CLASSES, label))


def flipped(rows: pd.DataFrame) -> pd.DataFrame:
    """Give every other sequence the labels of other classes."""
    odd = rows["sequence"].str[1:].astype(int) % 2 == 1
    other = rows["label"].map(dict(zip("abc", "bca", strict=True)))
    return rows.assign(label=rows["label"].where(~odd, other))


def params(**retrain: Any) -> dict[str, Any]:
    """The shipped params.yaml with this table, one small model, and some of `retrain` changed."""
    tree = shipped_params()
    tree["problem"] = "small"
    tree["data"] = {"source": "table", "task": "tagging", "path": str(TABLE)}
    tree["prepare"]["split"] = {"validation": 0.15, "test": 0.3}
    tree["models"] = {MODEL: {"bidirectional": True}}
    tree["model"] |= {"cell": "GRU", "hidden_size": 8}
    small = {"device": "cpu", "batch_size": 32, "max_epochs": 6, "learning_rate": 0.03}
    tree["train"] |= small
    tree["evaluate"] |= {"critical": {}}
    tree["retrain"] = {"aim": "not_inferior", "margin": 0.05, "latency_ratio": 100.0, **retrain}
    return tree


def make(folder: Path, rows: pd.DataFrame, **retrain: Any) -> Path:
    """Copy what the pipeline needs of this checkout into a new git repository, with other data."""
    for name in ("birnn", "stages", "sweep", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml"):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, place)
    write_params(folder, **retrain)
    write_table(folder, rows)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "x")
    return folder


def write_params(folder: Path, **retrain: Any) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(params(**retrain)), encoding="utf-8")


def write_table(folder: Path, rows: pd.DataFrame) -> None:
    (folder / TABLE).parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / TABLE, index=False)


def git(folder: Path, *arguments: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT")}
    subprocess.run(["git", *arguments], cwd=folder, env=clean, check=True)


def reproduce(folder: Path, *targets: str) -> None:
    """Do what `birnn.retraining.workspace.reproduce` does, in this process, and skip nothing."""
    stages = [("generate",), ("prepare",), ("train", MODEL), ("evaluate", MODEL), ("report",)]
    said = io.StringIO()
    try:
        with chdir(folder), redirect_stderr(said):
            for stage in stages[: 2 if targets else None]:
                run_stage(*stage)
    except SystemExit:
        raise RetrainingError(f"the pipeline failed: {said.getvalue()}") from None
    if not targets:
        dvc(folder, "commit", "--force", "dvc.yaml")


def repeat(folder: Path, *targets: str) -> None:
    """Do what `reproduce` does, and copy what another test has made of the same data and params.

    Results are kept in the folder FINISHED beside the checkout, where there is one. Their runs are
    not in the checkout's MLflow: a retraining makes up for the one that it needs.
    """
    kept = store.root().parent / FINISHED
    if not kept.exists():
        return reproduce(folder, *targets)
    asked = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    retrain = asked.pop("retrain")  # of which the report asks for the candidate alone
    given = json.dumps(asked, sort_keys=True).encode() + (folder / TABLE).read_bytes()
    done = kept / "-".join([hashlib.md5(given).hexdigest(), *targets])
    with FileLock(f"{done}.lock"):
        if not done.exists():
            with tempfile.TemporaryDirectory(dir=kept) as place:
                _apart(folder, kept, Path(place) / "checkout", *targets)
                (Path(place) / "checkout").rename(done)
    for name in ("data/raw", "data/prepared", "models", "evaluation", "report", "dvc.lock"):
        _replace(folder / name, done / name)
    _replace(Path(dvc(folder, "cache", "dir").strip()), done / ".dvc/cache")
    made = yaml.safe_load((done / "params.yaml").read_text(encoding="utf-8"))
    if made["retrain"] != retrain and not targets:
        dvc(folder, "commit", "--force", "report")  # which depends on all params
    return None


def _apart(folder: Path, kept: Path, place: Path, *targets: str) -> None:
    """Run the pipeline in a copy that shares neither cache nor MLflow store."""
    shutil.copytree(folder, place)
    (place / ".dvc/config.local").write_text("[core]\nno_scm = true\n")
    shutil.copy(kept / "mlflow.db", place)
    with mock.patch.dict(os.environ, environment(place)):
        reproduce(place, *targets)


def _replace(target: Path, source: Path) -> None:
    """Put copies of a file, or of all files in a folder, into the place of those that are there."""
    for path in [source] if source.is_file() else source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # it may be a link into the cache
            shutil.copy(path, place)


def dvc(root: Path, *arguments: str) -> str:
    """Do what `birnn.retraining.workspace.dvc` does, in this process, which has loaded DVC."""
    if arguments[:2] == ("status", "--json"):  # which DVC writes past `sys.stdout`
        with Repo(root) as repo:
            return json.dumps(repo.status(targets=[*arguments[2:]]))
    said = io.StringIO()
    with chdir(root), redirect_stdout(said):
        status = dvc_command.main([*arguments])
    if status:
        raise RetrainingError(f"`dvc {' '.join(arguments)}` failed")
    return said.getvalue()


def command(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start `birnn` in a checkout, with the checkout's code."""
    return python(folder, "from birnn.cli import main; main()", *arguments)


def python(folder: Path, program: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a program in a checkout, with the checkout's code."""
    outside = ("DVC", "GIT", "MLFLOW", "BIRNN", "PREFECT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
    own = {
        "TMPDIR": str(folder.parent),  # where a kill may leave something
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT / 'deploy'}",
        "OMP_NUM_THREADS": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder.parent / f"{folder.name}-dvc"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=kept | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def copy(folder: Path, place: Path, finished: Path | None = None) -> Path:
    """Copy a checkout with its MLflow store, whose places follow when it is connected to.

    Args:
        folder: the checkout.
        place: where to.
        finished: what `repeat` is to find beside it.
    """
    if finished:
        (place.parent / FINISHED).symlink_to(finished)
    shutil.copytree(folder, place)
    return place


def first(folder: Path, empty_store: Path) -> None:
    """Make a checkout in a folder, and let its first model serve."""
    place = make(folder / "checkout", table(range(SEQUENCES)))
    shutil.copy(empty_store, place)
    with pytest.MonkeyPatch.context() as patch:
        enter(place, patch)
        assert steps.retrain(load(), reproduce=reproduce).decision == "promoted"


def enter(place: Path, patch: pytest.MonkeyPatch) -> None:
    """Make a checkout the working directory and the place of runs."""
    patch.chdir(place)
    patch.setattr(workspace, "dvc", dvc)
    for name, value in environment(place).items():
        patch.setenv(name, value)


def environment(folder: Path) -> dict[str, str]:
    """What makes a checkout the place of runs, and keeps DVC's files beside it."""
    beside = folder.parent / f"{folder.name}-dvc"
    return {"DVC_ROOT": str(folder), "DVC_SITE_CACHE_DIR": str(beside), "MLFLOW_TRACKING_URI": ""}


def retrain(folder: Path, kill_at: str = "", begin: Any = None) -> None:
    """Retrain in a process of its own, which kills itself when it comes to a function.

    Args:
        folder: the checkout.
        kill_at: the function's dotted name, such as `birnn.retraining.workspace.adopt`.
        begin: a barrier to wait at.
    """
    _alone(folder, kill_at)
    if begin is not None:
        begin.wait()
    with errors.reported():
        steps.retrain(load(), reproduce=repeat)


def decide(folder: Path, chosen: Params, approved: int | None, kill_at: str, call: int) -> None:
    """Approve a version, or roll back, in a process of its own, and die there.

    Args:
        folder: the checkout.
        chosen: its params.
        approved: the version; None to roll back.
        kill_at: the dotted name of a function.
        call: which call of it is not done any more.
    """
    _alone(folder, kill_at, call)
    if approved is None:
        service.rollback(chosen)
    else:
        service.approve(chosen, approved, reproduce=repeat)


def _alone(folder: Path, kill_at: str, call: int = 1) -> None:
    """Make a checkout the place of this process, and let it die at a call of a function."""
    os.chdir(folder)
    os.environ.update(environment(folder))
    tempfile.tempdir = str(folder.parent)  # where a kill may leave something
    torch.set_num_threads(1)
    mock.patch.object(workspace, "dvc", dvc).start()
    if kill_at:
        done, calls = pkgutil.resolve_name(kill_at), itertools.count(1)

        def until_then(*arguments: Any, **named: Any) -> Any:
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return done(*arguments, **named)

        mock.patch(kill_at, until_then).start()


def processes() -> Any:
    """Where processes come from: a server that has loaded all, and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    late = ("dvc.lock", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "scmrepo.git")
    context.set_forkserver_preload(["checkout", "sklearn.linear_model", *late])
    return context


def killed(context: Any, folder: Path, **how: Any) -> None:
    """Retrain until a function is come to, or for some `seconds`, and die there."""
    seconds, begin = how.pop("seconds", None), context.Barrier(2)
    process = context.Process(target=retrain, args=(folder,), kwargs={**how, "begin": begin})
    process.start()
    begin.wait()
    process.join(seconds)
    process.kill()
    process.join()
