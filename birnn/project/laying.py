"""The pipeline in a git repository of one's own: `dvc.yaml`, and the files that belong to it.

    laying.check(force=False)          # may it be laid here?
    laid = laying.lay(force=False)     # also renews it, where another version of birnn is installed

The files are made from those of the repository of birnn, which a wheel brings along.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from birnn.errors import DataError
from birnn.files import atomic, digests, installed, paths
from birnn.params import pipeline
from birnn.project import beginning

PIPELINE, WORKFLOW = "dvc.yaml", ".github/workflows/birnn.yml"
PLOTS = ".dvc/plots"
SEARCHES = "sweep/README.md"
"""Git keeps no empty folder, and the stage `report` reads this one."""
LISTS = (".gitattributes", ".gitignore", ".dvcignore")
"""Files that people have already, to which lines are added."""
HERE = Path(__file__).parent
SHIPPED = "shipped"  # beside this module, in a wheel
Noted = Mapping[str, Mapping[str, str]]
"""What stands in `birnn.lock.json`."""


@dataclass(frozen=True, slots=True)
class Laid:
    """What was done.

    Attributes:
        files: those that are to be committed.
        changed: rooms and stages of birnn that are others than before; nothing the first time.
        kept: files that were changed by hand, and left as they are.
    """

    files: list[str]
    changed: list[str]
    kept: list[str]

    def sentences(self) -> Iterator[str]:
        """Say it, a line each."""
        yield f"{PIPELINE}: the pipeline of birnn {installed.version()}, for `dvc repro`"
        if self.changed:
            rooms = ", ".join(self.changed)
            yield f"{installed.PATH}: changed: {rooms}; `dvc repro` runs the stages that use them"
        for name in self.kept:
            yield f"{name}: left as it is, since it was changed by hand; --force replaces it"


def is_wanted() -> bool:
    """Whether the working directory is a repository of one's own, and not that of birnn."""
    return not (Path("stages/generate.py").is_file() and Path("birnn/cli.py").is_file())


def check(*, force: bool) -> None:
    """See whether the pipeline may be laid here, before anything is changed.

    Args:
        force: whether a `dvc.yaml` that was changed may be replaced.

    Raises:
        DataError: it is no git repository, git ignores what DVC writes beside the data, or there is
            a pipeline of somebody else.
    """
    command = ["git", "rev-parse", "--show-cdup"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        raise DataError(f"{Path.cwd()}: expected a git repository, found none; run `git init`")
    if up := asked.stdout.strip():
        raise DataError(
            f"{Path.cwd()}: expected the top folder of a git repository, found one within; "
            f"`cd {up}`"
        )
    beside = f"{paths.EXTERNAL / 'x'}.dvc"
    if not subprocess.run(["git", "check-ignore", "--quiet", beside], check=False).returncode:
        raise DataError(
            f".gitignore: expected {paths.EXTERNAL}/*.dvc in git, which name the data, found "
            "them ignored; DVC lets git ignore each data file by itself"
        )
    if not force and PIPELINE in _by_hand(_noted().get("files", {})):
        raise DataError(
            f"{PIPELINE}: expected none, or one that `birnn init` wrote, found another; move its "
            "stages to a dvc.yaml in a folder of their own, or say --force to replace it"
        )


def lay(*, force: bool) -> Laid:
    """Write the pipeline, or renew it.

    Args:
        force: whether files that were changed by hand are replaced.

    Raises:
        DataError: DVC refuses to work here.
    """
    before = _noted()
    written = before.get("files", {})
    if not Path(".dvc").is_dir():
        beginning.dvc("init")
    kept = [] if force else _by_hand(written)
    text, keys = pipeline.of_own(_shipped(PIPELINE).read_text(encoding="utf-8"), installed.PATH)
    now = installed.hashes(keys)
    searches = _shipped(SEARCHES).read_text(encoding="utf-8")
    new = {PIPELINE: text, WORKFLOW: _workflow(), SEARCHES: searches, **_plots()}
    for name, content in new.items():
        removed = name in written and not Path(name).exists() and name != PIPELINE
        if name not in kept and not removed:
            atomic.write_text(name, content)
    for name in LISTS:
        _add_lines(Path(name))
    files = {
        name: written.get(name, "") if name in kept else _sha256(text) for name, text in new.items()
    }
    record = {installed.VERSION: installed.version(), **now, "files": files}
    atomic.write_json(installed.PATH, record)
    laid = [
        name
        for name in (installed.PATH, PIPELINE, WORKFLOW, SEARCHES, *LISTS)
        if Path(name).exists()
    ]
    return Laid(
        [".dvc", *laid],
        [*_changed(before, now)],
        [name for name in kept if name in new],
    )


def _noted() -> Noted:
    """What `birnn.lock.json` holds; nothing before the first time."""
    path = Path(installed.PATH)
    found: Noted = atomic.read_json(path) if path.exists() else {}
    return found


def _by_hand(written: Mapping[str, str]) -> list[str]:
    """The files that are others than `birnn init` wrote."""
    return [
        name
        for name in (PIPELINE, WORKFLOW, SEARCHES, *_plots())
        if Path(name).exists() and _sha256(_text(Path(name))) != written.get(name)
    ]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _sha256(text: str) -> str:
    return digests.sha256_of_text(text)


def _changed(before: Noted, now: Noted) -> Iterator[str]:
    for kind, names in now.items():
        for name, digest in names.items():
            if before and before.get(kind, {}).get(name) != digest:
                yield name


def _workflow() -> str:
    text = (HERE / "workflow.yml").read_text(encoding="utf-8")
    return text.replace("VERSION", installed.version())


def _plots() -> dict[str, str]:
    """How DVC draws the plots that the pipeline names."""
    found = sorted(_shipped(PLOTS).glob("*.json"))
    return {f"{PLOTS}/{path.name}": path.read_text(encoding="utf-8") for path in found}


def _shipped(name: str) -> Path:
    """A file or folder of the repository of birnn: a copy in a wheel, itself in a checkout."""
    within = HERE / SHIPPED
    return (within if within.is_dir() else HERE.parents[1]) / name


def _add_lines(path: Path) -> None:
    """Add the lines of birnn's own file, up to the first empty one, that are not there yet."""
    wanted = _shipped(path.name).read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    new = [line for line in wanted if line not in old.splitlines()]
    if any(not line.startswith("#") for line in new):
        end = "\n" if old and not old.endswith("\n") else ""
        atomic.write_text(path, f"{old}{end}" + "".join(f"{line}\n" for line in new))
