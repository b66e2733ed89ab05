"""Weekly retraining on data whose truth is known: what comes to serve, by `benchmarks.gate`."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import gate
from benchmarks.gate import LIVES, Found, Life, Simulation, simulated
from birnn.retraining import lineage


def lived(life: Life, repetitions: int) -> Found:
    found = Found()
    for seed in range(repetitions):
        found = found.add(simulated(life, seed))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("aim superior", marks=pytest.mark.long),
        "aim not_inferior",
        "each model a little worse",
    ],
)
@pytest.mark.parametrize(
    ("repetitions", "weeks"), [(1, 20), pytest.param(20, gate.WEEKS, marks=pytest.mark.long)]
)
def test_what_serves_is_hardly_ever_worse(name: str, repetitions: int, weeks: int) -> None:
    found = lived(replace(LIVES[name], weeks=weeks), repetitions)
    assert found.weeks == repetitions * weeks
    assert found.decisions["promoted"] > 0
    assert max(found.worse, found.below_first, found.class_worse) <= 0.02 * found.weeks
    assert found.held_up <= 0.05 * found.as_good + (repetitions == 1)


@pytest.mark.slow
def test_a_gate_that_lets_all_pass_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above looks for does happen."""
    monkeypatch.setattr("birnn.retraining.gate.promotes", lambda _: True)
    found = lived(Life(weeks=20, mishap=0.5), 2)
    assert found.worse > 0.05 * found.weeks
    assert found.promoted_bad == found.bad > 0


class TestLife:
    def test_is_the_same_with_the_same_seed(self) -> None:
        life = Life(weeks=3)
        assert vars(simulated(life, 5)) == vars(simulated(life, 5))

    def test_exported_again_is_left_out_of_the_test(self) -> None:
        simulation = Simulation(Life(exported=0.0), 0)
        simulation.table.copied_until = 5
        rows = simulation.table.rows(0)
        held_out = gate.in_test(rows.groups)
        assert len(np.unique(rows.contents)) == len(rows.contents) / 2
        assert np.isin(rows.contents[held_out], rows.contents[~held_out]).mean() > 0.5

    def test_mistaken_labels_are_those_of_the_last_month(self) -> None:
        simulation = Simulation(Life(wrong=0.0), 0)
        before = simulation.table.rows(0)
        simulation.table.wrong_until = 4
        wrong = simulation.table.rows(0).labels != before.labels
        assert wrong.sum() == 4 * gate.GROUPS * gate.OF_A_GROUP
        assert wrong[-wrong.sum() :].all()
        assert (simulation.table.rows(4).labels == before.labels).all()

    def test_goes_back_only_to_what_has_served(self) -> None:
        """The tags are those of a retraining, so the rules for them hold here too."""
        simulation = Simulation(Life(weeks=25, rolled_back=0.3, aim="not_inferior"), 1)
        found = simulation.run()
        assert found.decisions["rolled back"] > 1
        registry = simulation.registry
        champion = registry.aliased("champion")
        assert champion is not None
        assert champion.tags["decision"] == "promoted"
        versions = {one.number: one for one in registry.versions()}
        reference = lineage.reference(versions, champion)
        assert reference is None or reference.tags["decision"] == "promoted"
