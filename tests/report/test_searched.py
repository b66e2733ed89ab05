"""A search for settings as the report shows it."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from test_report import Page, render

from birnn.report import searched
from birnn.sweep import outcome
from birnn.sweep.outcome import Outcome, Tried

TRIED = [
    Tried(0, {"cell": "RNN"}, 0.5, 9),
    Tried(1, {"cell": "<b>"}, 0.25, 9),
    Tried(2, {"cell": "GRU"}, 0.375, 2, pruned=True),
    Tried(3, {"cell": "GRU"}, None, 0, pruned=True),
]


def made(*tried: Tried, metric: Literal["loss", "accuracy"] = "loss", data: str = "") -> Outcome:
    return Outcome("speech", "forward", metric, data, [1], list(tried))


def test_shows_what_each_setting_reached() -> None:
    (picture,) = searched.pictures(made(*TRIED)).values()
    assert picture.count("<circle") == 3  # the fourth has reached nothing
    assert "best so far: 0.5 at 0 to 0.25 at 3" in picture
    assert "params.yaml as it was: 0.5 at 0 to 0.5 at 3" in picture


def test_a_high_accuracy_is_better() -> None:
    (picture,) = searched.pictures(made(*TRIED, metric="accuracy")).values()
    assert "best so far: 0.5 at 0 to 0.5 at 3" in picture


@pytest.mark.parametrize("tried", [[], TRIED[2:]])
def test_draws_nothing_where_nothing_was_found(tried: list[Tried]) -> None:
    assert searched.pictures(made(*tried)) == {}
    assert searched.pictures(None) == {}


@pytest.mark.parametrize("template", ["report.html.j2", "report.md.j2"])
def test_is_on_the_page_where_there_was_one(template: str) -> None:
    found = made(*TRIED)
    assert "settings tried" not in render(template)
    text = render(template, search=found, drawn=searched.pictures(found))
    assert "4 settings tried, 2 of them stopped early" in text
    assert "<b>" not in text
    if template.endswith("html.j2"):
        page = Page(text)
        assert page.open == []
        assert "How the settings were found" in page.text


def test_of_other_data_is_not_shown(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(prepared / "data/prepared", tmp_path / "prepared"))
    monkeypatch.chdir(tmp_path)
    assert searched.of("speech", folder) is None
    found = made(*TRIED, data=outcome.data_sha256(folder))
    outcome.write(found)
    assert searched.of("speech", folder) == found
    outcome.write(replace(found, data="other"))
    assert searched.of("speech", folder) is None
