"""What a wheel is built from, for the tests that build one."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIPELINE = (".dvcignore", ".gitattributes", ".gitignore", "dvc.yaml")
FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py", *PIPELINE)
FOLDERS = ("birnn", "stages", ".dvc/plots", "sweep")


def copy_sources(folder: Path) -> None:
    """Copy it, so that building leaves nothing in the checkout."""
    folder.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
