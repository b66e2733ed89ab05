"""The names of files: `dvc.yaml` and the library have the same."""

from pathlib import Path

import pytest

from birnn.files import paths

DVC_YAML = (Path(__file__).parents[2] / "dvc.yaml").read_text(encoding="utf-8")
NAMES = {
    value
    for name, value in vars(paths).items()
    if name.isupper() and isinstance(value, str) and name != "CHANGES"  # which is no out
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_is_in_dvc_yaml(name: str) -> None:
    assert f"/{name}" in DVC_YAML


@pytest.mark.parametrize(
    "folder", [paths.RAW, paths.PREPARED, paths.MODELS, paths.EVALUATION, paths.REPORT]
)
def test_folder_is_in_dvc_yaml(folder: Path) -> None:
    assert f"{folder.as_posix()}/" in DVC_YAML
