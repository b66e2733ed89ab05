"""Which version served before, and which one is the reference, from tags alone."""

from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest

from birnn.errors import RegistryError
from birnn.retraining import lineage
from birnn.tracking.registry import Version


def versions(*tags: Mapping[str, str]) -> dict[int, Version]:
    """Number them from 1; each served unless it says another decision."""
    return {
        number: Version(number, f"run-{number}", {"decision": "promoted", **each})
        for number, each in enumerate(tags, start=1)
    }


def reference(found: dict[int, Version], champion: int) -> int | None:
    version = lineage.reference(found, found[champion])
    return None if version is None else version.number


class TestReference:
    def test_is_the_one_that_the_champion_notes(self) -> None:
        found = versions({}, {"reference": "2"}, {"reference": "2"})
        assert reference(found, 3) == 2

    def test_is_not_the_champion_itself(self) -> None:
        assert reference(versions({"reference": "1"}), 1) is None
        assert lineage.reference({}, None) is None

    def test_passes_by_what_was_rolled_back(self) -> None:
        bad = {"reference": "1", "decision": "rolled back"}
        found = versions({"reference": "1"}, bad, {"reference": "2"})
        assert reference(found, 3) == 1

    def test_is_the_first_that_served_where_none_is_noted(self) -> None:
        """As in registries of earlier releases."""
        found = versions({"decision": "kept"}, {}, {}, {})
        assert reference(found, 4) == 2
        assert reference(found, 2) is None

    def test_of_tags_that_lead_in_a_circle_is_found(self) -> None:
        bad = {"decision": "rolled back"}
        found = versions({"reference": "2", **bad}, {"reference": "1", **bad}, {"reference": "2"})
        assert reference(found, 3) is None


class TestBefore:
    @pytest.mark.parametrize(
        ("tags", "number"),
        [
            ([{}, {"predecessor": "1"}], 1),
            ([{}, {"predecessor": "none"}], None),
            ([{}, {"predecessor": "1", "decision": "rolled back"}, {"predecessor": "2"}], 1),
        ],
    )
    def test_is_the_newest_that_was_not_rolled_back(
        self, tags: list[dict[str, str]], number: int | None
    ) -> None:
        found = versions(*tags)
        assert lineage.before(found, found[len(tags)], None) == number


class TestChampion:
    def registry(self, champion: Version | None, known: dict[int, Version]) -> Any:
        found = mock.Mock(problem="small")
        found.aliased.return_value = champion
        found.versions.return_value = [*known.values()]
        return found

    def test_is_the_one_with_the_alias(self) -> None:
        known = versions({}, {})
        assert lineage.champion(self.registry(known[1], known)) == known[1]
        assert lineage.champion(self.registry(None, {})) is None
        kept = versions({"decision": "kept"})
        assert lineage.champion(self.registry(None, kept)) is None

    def test_must_not_be_gone_where_one_has_served(self) -> None:
        """A new model would be compared with none, and serve."""
        with pytest.raises(RegistryError, match="the alias `champion`, found none, though vers"):
            lineage.champion(self.registry(None, versions({}, {})))


def test_promotions_are_held_after_a_rollback() -> None:
    found = versions({"restored": "yes"}, {})
    assert lineage.held(found[1])
    assert not lineage.held(found[2])
    assert not lineage.held(None)
