"""What `dvc.lock` records of a result, here and in the last commit.

then, now = read(committed("dvc.lock")), read(Path("dvc.lock").read_text())
then["train@forward"].params["train.seed"], then["generate"].outs["data/raw/summary.json"]
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

PATH = "dvc.lock"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is recorded of a stage.

    Attributes:
        params: that it ran with, `train.seed` and so on, as text.
        outs: the MD5 hash of each file that it wrote, by path.
    """

    params: Mapping[str, str]
    outs: Mapping[str, str]


def committed(path: str) -> str | None:
    """Read a text of the last commit, by a path from here; None where there is none."""
    command = ["git", "show", f"HEAD:./{path}"]
    done = subprocess.run(command, capture_output=True, check=False)
    return None if done.returncode else done.stdout.decode("utf-8")


def read(text: str) -> dict[str, Recorded]:
    """Give the stages in the order of the pipeline."""
    # LibYAML takes 15 ms for what Python's own loader takes a quarter of a second
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stages = yaml.load(text, Loader=loader)["stages"]  # noqa: S506, both are safe
    return {
        name: Recorded(
            params=dict(flat(stage.get("params", {}).get("params.yaml", {}))),
            outs={out["path"]: out["md5"] for out in stage.get("outs", [])},
        )
        for name, stage in stages.items()
    }


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Line up nested params as `train.learning_rate` and so on, with their values as text."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
