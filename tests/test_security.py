"""The table of threats: the tests that it names are there."""

import re

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs/security.md").read_text()
NAMED = sorted({*re.findall(r"`((?:tests|deploy|\.github)/[^`]+)`", PAGE)})


@pytest.mark.parametrize("named", NAMED)
def test_what_holds_a_promise_is_there(named: str) -> None:
    path, _, name = named.partition("::")
    assert (ROOT / path).exists()
    assert not name or re.search(
        rf"^ *(?:class|def) {name}\b", (ROOT / path).read_text(), re.MULTILINE
    )
