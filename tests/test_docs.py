"""The documentation: links lead somewhere, the README stays short, the rooms are all described."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
MOST_WORDS = 1500  # of the README: more than this nobody reads at once


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    links = [(to, at) for to, at in LINK.findall(page.read_text()) if "://" not in to]
    paths = {(page.parent / to if to else page, at) for to, at in links}
    assert not [path for path, _ in paths if not path.exists()]
    assert not [at for path, at in paths if at and at not in anchors(path)]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) < MOST_WORDS


def test_every_room_is_described() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    folders = [path.parent.name for path in (ROOT / "birnn").glob("*/__init__.py")]
    assert not [name for name in folders if f"\n  {name}/ " not in text]


@pytest.mark.parametrize("name", ["dropin.md", "python.md"])
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(str(ROOT / "docs" / name), module_relative=False)
    assert found.attempted
    assert found.failed == 0
