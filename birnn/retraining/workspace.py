"""A copy of the checkout in which the pipeline runs, so that the checkout changes only at the end.

    copy = create(root, root / ".birnn/retraining/checkout")
    reproduce(copy)                  # `dvc repro`, with the cache of the checkout
    adopt(copy, root)                # dvc.lock and outs, of a model that serves from now on

Both share DVC's cache, so outs are links: a copy costs no more than the code, and what did not
change is not computed anew. `data/external` in the copy is a link to the checkout's own.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

from birnn.errors import RetrainingError
from birnn.files import atomic, console, digests, paths
from birnn.params import lock
from birnn.report import provenance
from birnn.tracking import store

MARK = "BIRNN_RETRAINING"
"""In the environment of all processes of a retraining: whose it is."""
PATIENCE = 30.0
"""Seconds for a process to end as it should, such as a training that closes its run."""


def create(root: Path, folder: Path) -> Path:
    """Copy what git knows of a checkout, and all that is new in it and not ignored.

    Raises:
        RetrainingError: it is not a git repository, or not one of DVC.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in _listed(root):
        if (root / name).is_file() and paths.EXTERNAL not in Path(name).parents:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    (folder / paths.EXTERNAL.parent).mkdir(parents=True, exist_ok=True)
    (folder / paths.EXTERNAL).symlink_to(root / paths.EXTERNAL, target_is_directory=True)
    _configure(root, folder)
    return folder


def _listed(root: Path) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RetrainingError(f"{root}: expected a git repository, found: {_last(done.stderr)}")
    return [name for name in done.stdout.split("\0") if name]


def _configure(root: Path, folder: Path) -> None:
    """Give the copy the settings and the cache of the checkout."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(root / ".dvc/config.local", encoding="utf-8")
    cache = {"dir": dvc(root, "cache", "dir").strip(), "type": "reflink,hardlink,copy"}
    for section, chosen in {"core": {"no_scm": "true"}, "cache": cache}.items():
        config.read_dict({section: chosen})
    with (folder / ".dvc/config.local").open("w", encoding="utf-8") as file:
        config.write(file)


def changed(root: Path) -> bool:
    """Say whether `dvc repro` would have something to do."""
    return bool(json.loads(dvc(root, "status", "--json", "dvc.yaml")))


def stages(root: Path) -> list[str]:
    """Name the stages in the order of the pipeline, as `dvc repro` takes them."""
    listed = dvc(root, "stage", "list", "--name-only")
    return listed.split()


def reproduce(folder: Path, *targets: str) -> None:
    """Run the pipeline of a copy, or what leads to some stages of it, and show what it prints.

    Args:
        folder: the copy.
        targets: stages; without any, all are run.

    Raises:
        RetrainingError: a stage failed; the message is the stage's own.
    """
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    printed: list[str] = []
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                console.say(line.removesuffix("\n"))
                printed.append(line)
        except BaseException:
            end([psutil.Process(process.pid)])
            raise
    if process.returncode:
        raise RetrainingError(f"the pipeline failed: {_reason(printed)}")


def _reason(printed: Iterable[str]) -> str:
    """The stage's own message; DVC speaks after it, and says only that a stage failed."""
    lines = [line.strip() for line in printed if line.strip()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return said[0] if said else lines[-1] if lines else "it printed nothing"


def environment() -> dict[str, str]:
    """The environment for processes of a retraining, which find this Python first.

    Runs and locks are kept in the repository, as for a queued experiment.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    root = str(store.root())
    return {**os.environ, "PATH": path, "DVC_ROOT": root, MARK: root}


def pack(root: Path, folder: Path, place: Path) -> Path:
    """Put together what DVC's cache does not hold of a copy's result.

    That is `dvc.lock`, which machine made it, and the small files that git keeps.

    With it, `adopt` brings the result back later, and in another checkout.
    """
    outs = _outs(folder)
    command = ["git", "check-ignore", "-z", "--stdin"]
    asked = "\0".join(outs)
    done = subprocess.run(
        command, cwd=root, input=asked, capture_output=True, text=True, check=False
    )
    for name in [lock.PATH, *(outs.keys() - set(done.stdout.split("\0")))]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, place / name)
    provenance.record(place, lock.read((place / lock.PATH).read_text(encoding="utf-8")))
    return place


def _outs(folder: Path) -> dict[str, str]:
    """The MD5 hash of each file that the stages wrote, by path."""
    recorded = lock.read((folder / lock.PATH).read_text(encoding="utf-8"))
    return {path: md5 for stage in recorded.values() for path, md5 in stage.outs.items()}


def adopt(folder: Path, root: Path) -> None:
    """Make the copy's result that of the checkout. To do it again changes nothing.

    A file that is neither in DVC's cache nor in the copy is left out, and that is said.
    """
    for name in (lock.PATH, provenance.PATH):
        if (folder / name).exists():
            with atomic.replacing(root / name) as partial:
                shutil.copyfile(folder / name, partial)
    dvc(root, "checkout", "--force", "--allow-missing", "dvc.yaml")
    differing = [path for path, md5 in _outs(root).items() if digests.md5(root / path) != md5]
    for path in differing:  # kept in git or in the registry, not in DVC's cache
        if (folder / path).is_file():
            with atomic.replacing(root / path) as partial:
                shutil.copyfile(folder / path, partial)
    if missing := [path for path in differing if not (folder / path).is_file()]:
        console.say(f"not in DVC's cache: {', '.join(missing)}; `dvc pull` brings them")
    provenance.record(root, lock.read((root / lock.PATH).read_text(encoding="utf-8")))


def adopt_model(folder: Path, root: Path) -> None:
    """Copy a model's files alone into the checkout: all that older versions have kept."""
    for path in sorted((folder / paths.MODELS).rglob("*.*")):
        with atomic.replacing(root / path.relative_to(folder)) as partial:
            shutil.copyfile(path, partial)


def uncommitted(root: Path) -> list[str]:
    """Name what a retraining has written in a checkout and git has not committed."""
    outs = _outs(root) if (root / lock.PATH).exists() else {}
    own = [lock.PATH, provenance.PATH, "decisions.jsonl", paths.EXTERNAL.as_posix(), *outs]
    command = ["git", "status", "--porcelain", "--no-renames", "-z", "--", *own]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return [line[3:] for line in done.stdout.split("\0") if line]


def end_orphans() -> None:
    """End the processes that a killed retraining has left at work."""
    root = str(store.root())
    running = psutil.process_iter(["environ"])
    end([one for one in running if (one.info["environ"] or {}).get(MARK) == root])


def end(processes: list[psutil.Process]) -> None:
    """End processes and all that they have started: first as asked, then by force."""
    family = set(processes)
    for process in processes:
        try:
            family.update(process.children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    for process in family:
        _signal(process, by_force=False)
    _, left = psutil.wait_procs(family, timeout=PATIENCE)
    for process in left:
        _signal(process, by_force=True)
    psutil.wait_procs(left)


def _signal(process: psutil.Process, *, by_force: bool) -> None:
    try:
        process.kill() if by_force else process.terminate()
    except psutil.NoSuchProcess:
        return


def dvc(root: Path, *arguments: str) -> str:
    """Run a short command of DVC and return what it prints.

    Raises:
        RetrainingError: it failed.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(
        command, cwd=root, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RetrainingError(f"`dvc {' '.join(arguments)}` failed: {_last(done.stderr)}")
    return done.stdout


def _last(text: str) -> str:
    """The line that says what is wrong; DVC ends with advice where to ask."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if line.startswith(("ERROR", "fatal"))]
    return (wrong or lines or ["it printed nothing"])[-1]
