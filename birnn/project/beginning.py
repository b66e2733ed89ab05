"""From somebody's file to a params.yaml that trains on it, and to data that DVC knows.

place = beginning.placed(path)                  # in data/external/, where the pipeline looks
text = beginning.params_text(problem, guess, summary, heavy=False)
to_commit = beginning.tracked(place)
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from birnn import params
from birnn.errors import DataError, ParamsError
from birnn.files import atomic, listing, paths
from birnn.files.addresses import Address
from birnn.files.digests import md5
from birnn.files.summary import Summary
from birnn.files.tables import Chunk, feature_names
from birnn.params import Params, lock, writing
from birnn.sources import ingestion
from birnn.sources.guessed_tables import Guess

LISTING, OF_LISTING = paths.EXTERNAL / "dvc.yaml", "birnn objects"
LISTING_TEXT = f"""\
# Files in a bucket are listed whenever `dvc repro` runs, so that it notices that they have changed.
stages:
  objects:
    cmd: {OF_LISTING}
    wdir: ../..
    always_changed: true
    outs:
      - {listing.PATH.as_posix()}:
          cache: false
"""
FEW = 100  # sequences, or groups of them
SIZES = ((5_000, 16), (50_000, 32), (500_000, 64))
"""Steps up to which a hidden size is enough; beyond all, `LARGEST`."""
LARGEST = 128
HEAVY = 50  # times the interquartile range that a value may lie from the median


def problem_of(path: Path) -> str:
    """A name for the problem: that of the file, in letters and digits."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", path.name.split(".")[0]).strip("-")
    return name or "my-problem"


def check_params(path: Path, *, force: bool) -> None:
    """Refuse to replace params that nothing else holds.

    Raises:
        ParamsError: the file is there, and git does not have it as it is.
    """
    if not force and path.exists():
        text = lock.committed(path.as_posix())
        if text is None or text != path.read_text(encoding="utf-8"):
            raise ParamsError(
                f"{path}: expected none, or one that git has, found changes; commit it, or say "
                "--force"
            )


def placed(path: Path) -> Path:
    """Where the pipeline finds a file or folder: where it is in data/external/, or a copy there.

    What lies in a bucket stays there.

    Raises:
        DataError: something else lies there under its name.
    """
    if isinstance(path, Address):
        return path
    if not path.exists():
        raise DataError(f"{path}: no such file; put it there, or correct the path")
    here, root = path.resolve(), Path.cwd()
    if here.is_relative_to(root / paths.EXTERNAL):
        return here.relative_to(root)
    target = paths.EXTERNAL / path.name
    if target.exists():
        if here.is_file() and target.is_file() and md5(here) == md5(target):
            return target
        raise DataError(f"{target}: expected nothing, found another file; remove or rename it")
    atomic.copy(here, target)
    return target


def tracked(path: Path) -> list[str]:
    """Let DVC track data, where git and DVC are used; name the files that are to be committed.

    Files that neither knows do not travel into queued experiments and other clones. Of what lies in
    a bucket, a list is kept, which is made anew whenever `dvc repro` runs.

    Raises:
        DataError: DVC refuses.
    """
    if isinstance(path, Address):
        return listed(params.load())
    if not (Path(".git").exists() and Path(".dvc").is_dir()):
        return []
    known = subprocess.run(["git", "ls-files", "--", str(path)], capture_output=True, check=False)
    if known.stdout.strip():
        return []
    dvc("add", str(path))
    return [f"{path}.dvc", str(path.parent / ".gitignore")]


def read(chosen: Params) -> list[str]:
    """All files and folders that the stages read, but those of other stages."""
    return [*ingestion.paths_of(chosen.data), *filter(None, [chosen.prepare.vectors])]


def listed(chosen: Params) -> list[str]:
    """List what lies in buckets, now and whenever `dvc repro` runs; name what is to be committed.

    Raises:
        DataError: a file is not there, a bucket does not answer, or there is another pipeline.
    """
    if not LISTING.exists():
        atomic.write_text(LISTING, LISTING_TEXT)
    elif OF_LISTING not in LISTING.read_text(encoding="utf-8"):
        raise DataError(
            f"{LISTING}: expected a stage with `cmd: {OF_LISTING}`, found others; add it, with "
            f"`wdir: ../..`, `always_changed: true` and the out {listing.PATH} without cache"
        )
    listing.write(read(chosen))
    return [str(LISTING), str(listing.PATH)]


def dvc(*arguments: str) -> None:
    """Run a command of DVC.

    Raises:
        DataError: DVC refuses.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        found = (said or lines or [f"status {done.returncode}"])[0]
        raise DataError(f"expected `dvc {shlex.join(arguments)}` to be done, found: {found}")


def has_heavy_tails(chunks: Iterable[Chunk]) -> bool:
    """Whether the first chunk has features with values far beyond most others."""
    for table, _ in chunks:
        for name in feature_names(table.schema):
            low, middle, high = np.quantile(table[name].to_numpy(), [0.25, 0.5, 0.75])
            if high > low:
                furthest = np.abs(table[name].to_numpy() - middle).max()
                if furthest > HEAVY * (high - low):
                    return True
        break
    return False


def params_text(problem: str, guess: Guess, found: Summary, *, heavy: bool) -> str:
    """A complete params.yaml of a sensible size for the data.

    Args:
        problem: its name.
        guess: how the data are read.
        found: what is in them.
        heavy: whether features have heavy tails.
    """
    size = next((size for most, size in SIZES if found.steps <= most), LARGEST)
    words = found.tokens > 0 and found.task == "tagging"
    prepare: dict[str, Any] = {"scale": "asinh" if heavy else "global"}
    units = found.groups.count if found.groups else found.sequences
    if found.rare or (units < FEW and not found.splits):  # else chance may leave a split without
        prepare |= {"stratify": True}
    model: dict[str, Any] = {"hidden_size": size, "embedding_size": max(16, size)}
    if found.tokens:
        model |= {"dropout": 0.3, "word_dropout": 0.5}
    if words:
        model |= {"characters": True}
    if found.task == "classification":
        model |= {"head": "all"}
    train = {"learning_rate": 0.003, "max_epochs": 40, "patience": 6}
    evaluate = {"slices": ["group", "length", *guess.slices]}
    data = params.data(guess.section)
    return writing.whole_text(
        problem,
        data,
        prepare=prepare,
        model=model,
        train=train,
        evaluate=evaluate,
        refresh=OF_LISTING.split() if listing.in_buckets(ingestion.paths_of(data)) else None,
    )
