"""`dvc.yaml` for a repository of one's own, made from that of this one.

text, keys = of_own(Path("dvc.yaml").read_text(), lock="birnn.lock.json")
"""

from __future__ import annotations

from typing import Any

import yaml

PACKAGE = "birnn"
HEADER = """\
# Sequences -> splits and batches -> models -> tests -> report. Run it with `dvc repro`.
# `birnn init` has written this file, and writes it anew for another version of birnn; stages of
# your own are better kept in a dvc.yaml of another folder.
"""


def of_own(text: str, lock: str) -> tuple[str, list[str]]:
    """Let stages run from the installed package, and depend on its hashes, not on its files.

    Args:
        text: `dvc.yaml` of the repository of birnn.
        lock: the file with the hashes.

    Returns:
        `dvc.yaml`, and the names of all hashes that it asks for, such as `rooms.data`.
    """
    tree = yaml.safe_load(text)
    keys: set[str] = set()
    for stage in tree["stages"].values():
        body = stage.get("do", stage)
        body["cmd"] = body["cmd"].replace("python -m ", f"python -m {PACKAGE}.", 1)
        code = [dep for dep in body["deps"] if dep.startswith((f"{PACKAGE}/", "stages/"))]
        wanted = sorted(_key(dep) for dep in code)
        body["deps"] = [dep for dep in body["deps"] if dep not in code]
        body["params"] = [*body["params"], {lock: wanted}]
        keys.update(wanted)
    return HEADER + _dumped(tree), sorted(keys)


def _key(dep: str) -> str:
    """`birnn/errors.py` as `rooms.errors`, `stages/train.py` as `stages.train`."""
    folder, _, name = dep.partition("/")
    return f"{'rooms' if folder == PACKAGE else folder}.{name.removesuffix('.py')}"


def _dumped(tree: dict[str, Any]) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
