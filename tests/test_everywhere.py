"""All stages, under the settings that make numeric libraries act as on older CPUs: the same bytes.

A process of its own runs each, since libraries read these settings when they are loaded; what is
expected is made in the process of the tests, which has loaded them as they are.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import all_stages
import conftest
import numpy as np
import pytest
import torch
import yaml

from birnn.kernel import build, library

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(library.found() is None, reason="no kernel on this machine"),
]
OUTS = ("data", "models", "evaluation", "report")
OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
OLD_BLAS = {"OPENBLAS_CORETYPE": "Nehalem"}


def old_numpy() -> dict[str, str]:
    """Take away all that NumPy lets itself be taken away on this CPU."""
    module = np._core._multiarray_umath  # type: ignore[attr-defined]
    names = [name for name in module.__cpu_dispatch__ if module.__cpu_features__.get(name)]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(names)}


OLDEST = {library.ENVIRONMENT: next(iter(build.levels()))}
ALL = {**OLD, **old_numpy(), **OLD_BLAS, **OLDEST, "OMP_NUM_THREADS": "1"}
ONE_BY_ONE: dict[str, dict[str, str]] = {
    "torch and MKL": OLD,
    "NumPy and OpenBLAS": old_numpy() | OLD_BLAS,
    **{f"kernel {level}": {library.ENVIRONMENT: level} for level in list(build.levels())[:-1]},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def outs(
    folder: Path, tree: dict[str, Any], settings: dict[str, str], empty_store: Path
) -> dict[str, str]:
    """Run all stages in a folder, and hash what they write."""
    begun(folder, tree, empty_store)
    environment = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    place = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "DVC_ROOT": str(folder)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.all_stages"],
        cwd=folder,
        env=environment | place | {"PYTHONPATH": str(Path(__file__).parents[1])} | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return hashes(folder)


def begun(folder: Path, tree: dict[str, Any], empty_store: Path) -> None:
    folder.mkdir()
    shutil.copy(empty_store, folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))


def hashes(folder: Path) -> dict[str, str]:
    """Of all that the stages have written in a folder."""
    with chdir(folder):
        written = sorted(path for root in OUTS for path in Path(root).rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in written}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, str]:
    """The outs of this machine as it is, in two threads."""
    folder = tmp_path_factory.mktemp("plain") / "0"
    begun(folder, tree(), empty_store)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", "")
        torch.set_num_threads(2)
        try:
            all_stages.main()
        finally:
            torch.set_num_threads(threads)
    return hashes(folder)


def tree() -> dict[str, Any]:
    """Params that use all of the kernel at once."""
    made = conftest.small_params()
    made["data"] |= {"sequences": 120, "max_steps": 30}
    made["model"] |= {"cell": "LSTM", "hidden_size": 20, "dropout": 0.2, "num_layers": 2}
    made["evaluate"] |= {"critical": {"c0": {"min_recall": 0.5}}}
    return made


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.long) for name in ONE_BY_ONE), "all at once"]
)
def test_settings_change_no_byte(
    name: str, tmp_path: Path, expected: dict[str, str], empty_store: Path
) -> None:
    settings = {**ONE_BY_ONE, "all at once": ALL}[name]
    found = outs(tmp_path / "1", tree(), settings, empty_store)
    assert len(expected) > 40
    assert [path for path in {**expected, **found} if found.get(path) != expected.get(path)] == []
