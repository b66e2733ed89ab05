"""Which machine made a result: `provenance.json`, kept in git beside `dvc.lock`.

It is no out of a stage, since it would make the same result of another machine a different one.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from birnn.files import atomic, digests
from birnn.params import lock
from birnn.params.lock import Recorded

PATH = "provenance.json"
LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
SETTINGS = (  # of the environment, by which numeric libraries take other paths
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
)


def outs_sha256(recorded: Mapping[str, Recorded]) -> str:
    """The hash that names a result: of all outs, whatever the code that made them."""
    outs = sorted(out for stage in recorded.values() for out in stage.outs.items())
    return digests.sha256_of_text(json.dumps(outs))


def machine() -> dict[str, str]:
    """Describe what computes here: processor, GPU, system, libraries and settings."""
    import torch  # takes a second, and most commands need no more than what is written

    from birnn.model import devices

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": devices.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
        **{name: value for name in SETTINGS if (value := os.environ.get(name))},
    }


def record(root: Path, recorded: Mapping[str, Recorded]) -> None:
    """Note this machine as the one that made a result, unless that is noted already."""
    path, name = root / PATH, outs_sha256(recorded)
    if not path.exists() or _read(path.read_text(encoding="utf-8"), name) is None:
        atomic.write_json(path, {"outs_sha256": name, "machine": machine()})


def restore() -> bool:
    """Put back what the last commit says, if it says anything, where its result is here."""
    text = lock.committed(PATH)
    if text is not None and (not Path(PATH).exists() or Path(PATH).read_text() != text):
        atomic.write_text(PATH, text)
    return text is not None


def of_commit(recorded: Mapping[str, Recorded]) -> dict[str, str] | None:
    """The machine that made the result of the last commit; None where that is not noted."""
    return _read(lock.committed(PATH), outs_sha256(recorded))


def _read(text: str | None, name: str) -> dict[str, str] | None:
    tree: dict[str, Any] = json.loads(text) if text else {}
    found: dict[str, str] | None = tree.get("machine") if tree.get("outs_sha256") == name else None
    return found


def sentence(then: Mapping[str, str] | None, now: Mapping[str, str] | None) -> str:
    """Say which machine made the result of the last commit, and how this one differs."""
    if then is None:
        return "Which machine made the result of the last commit is not recorded."
    made = f"The result of the last commit was made on {_line(then)}."
    if now is None:
        return made
    other = {
        name: now.get(name, "not set")
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    }
    return f"{made} Here: {_line(other) if other else 'the same'}."


def _line(machine: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())
