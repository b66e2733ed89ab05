"""Approvals and rollbacks in a registry of small versions: what serves, and what is refused."""

import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import checkout
import pytest
import torch

from birnn.errors import RegistryError
from birnn.files import atomic
from birnn.model import networks, saved_model
from birnn.params import Params
from birnn.retraining import attempts, decisions, judging, lineage, recovery, service, workspace
from birnn.retraining.judged import Check
from birnn.retraining.recovery import Outcome
from birnn.tracking import registry, runs
from birnn.tracking.registry import Registry

ARTIFACT_CACHE = "mlflow.tracking._tracking_service.utils._artifact_repos_cache"  # a process's
SERVED = Path("models/bidirectional/weights.safetensors")


@pytest.fixture
def chosen(small_params: Callable[[], dict[str, Any]]) -> Params:
    return Params.model_validate(small_params())


@pytest.fixture(scope="session")
def two_runs(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, trained: Path
) -> Iterator[Path]:
    """A checkout with nothing but the start of a pipeline, and the runs of two models."""
    folder = tmp_path_factory.mktemp("two_runs")
    shutil.copy(empty_store, folder)
    for name in ("dvc.yaml", "test.arrow", "encoding.json"):
        (folder / name).touch()
    network, encoding, _ = saved_model.load(trained)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", "")
        for number in (1, 2):
            torch.manual_seed(number)
            model = folder / f"trained-{number}"
            saved_model.save(networks.SequenceModel(network.architecture), encoding, {}, model)
            shutil.copy(trained / "history.csv", model)
            runs.run_of_model("small", "bidirectional", model, params={}, data=folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def place(two_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working directory."""
    copy = shutil.copytree(two_runs, tmp_path / "checkout")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(copy))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setattr(ARTIFACT_CACHE, OrderedDict())
    return copy


class Small:
    """The registry, and retrainings without a pipeline."""

    def __init__(self, place: Path, problem: str) -> None:
        self.place = place
        self.registry: Registry = registry.connect(problem)

    def judged(self, decision: str, **record: Any) -> Outcome:
        """Register a version, the first and the second model in turn, and decide about it."""
        turn = len(self.registry.versions()) % 2 + 1
        folder = self.place / f"trained-{turn}"
        run = runs.run_of_model(
            self.registry.problem, "bidirectional", folder, params={}, data=self.place
        )
        tags = {"model": "bidirectional", "model_sha256": runs.model_sha256(folder)}
        version = self.registry.register(run.id, tags)
        said = recovery.about(version, decision, f"It is {decision}.", self.registry.aliases())
        head = {"attempt": attempts.begin(), "problem": self.registry.problem, "checks": []}
        return recovery.settle({**head, **said, **record}, self.registry)

    def aliases(self) -> tuple[int | None, int | None, int | None]:
        found = self.registry.aliases()
        return found["champion"], found["previous"], found["challenger"]

    @property
    def decided(self) -> list[str]:
        """Of each version, the oldest first."""
        return [one.tags["decision"] for one in reversed(self.registry.versions())]

    def champion_is_held(self) -> bool:
        return lineage.held(self.registry.aliased("champion"))


@pytest.fixture
def small(place: Path, chosen: Params) -> Small:
    return Small(place, chosen.problem)


def must_not_run(folder: Path, *targets: str) -> None:
    raise AssertionError("the pipeline ran")


def empty_copy(_: Path, folder: Path) -> None:
    folder.mkdir(parents=True)


def kept_out(attempt: Any, found: Registry, version: Any, concluded: Any) -> dict[str, Any]:
    """Find in new checks that a version does not pass."""
    failed = [Check("headline", False, {}, "It is worse.")]
    decision, reason = concluded(version.number, failed, attempt)
    checks = [asdict(check) for check in failed]
    return {**recovery.about(version, decision, reason, found.aliases()), "checks": checks}


class TestApproval:
    def test_needs_no_new_checks_where_the_champion_is_that_of_the_old_ones(
        self, small: Small, chosen: Params
    ) -> None:
        """What is judged again is in test_steps.py, with data and a pipeline."""
        small.judged("waiting")
        assert service.approve(chosen, 1, reproduce=must_not_run).decision == "promoted"
        assert small.aliases() == (1, None, None)

    @pytest.mark.parametrize("stale", ["champion", "settings"])
    def test_judges_again_before_all_else_where_the_checks_are_stale(
        self, small: Small, chosen: Params, stale: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two wait; once one of them serves, nobody has compared the other with it."""
        settings = "others" if stale == "settings" else judging.settings_sha256(chosen)
        small.judged("waiting", gate_sha256=settings)
        if stale == "champion":
            small.judged("promoted")
        monkeypatch.setattr(workspace, "create", empty_copy)
        monkeypatch.setattr("birnn.retraining.service.judging.judged", kept_out)
        prepared: list[tuple[str, ...]] = []
        outcome = service.approve(chosen, 1, reproduce=lambda _, *stages: prepared.append(stages))
        assert prepared == [("prepare",)]
        assert outcome.decision == "kept"
        assert small.aliases()[0] == (2 if stale == "champion" else None)
        assert small.registry.version(1).tags["decision"] == "kept"
        assert not attempts.state().exists()

    def test_of_a_model_that_was_replaced_in_the_registry_is_refused(
        self, small: Small, chosen: Params
    ) -> None:
        small.judged("waiting")
        small.registry.note(1, {"model_sha256": "0" * 64})
        with pytest.raises(RegistryError, match="with the hash 000000000000, found one with"):
            service.approve(chosen, 1)
        assert small.aliases() == (None, None, 1)
        assert not attempts.state().exists()

    def test_that_cannot_prepare_the_data_changes_nothing_and_is_told(
        self, small: Small, chosen: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small.judged("waiting"), small.judged("promoted")
        monkeypatch.setattr(workspace, "create", empty_copy)
        with pytest.raises(AssertionError, match="the pipeline ran"):
            service.approve(chosen, 1, reproduce=must_not_run)
        assert small.aliases() == (2, None, 1)
        assert small.decided == ["waiting", "promoted"]
        assert not attempts.state().exists()
        assert decisions.read("decisions.jsonl")[-1]["decision"] == "failed"

    @pytest.mark.long
    def test_is_recorded_with_who_where_and_why(
        self, small: Small, chosen: Params, tmp_path: Path
    ) -> None:
        small.judged("waiting")
        service.approve(chosen, 1, comment="Seen by two of us.")
        version = small.registry.version(1)
        record = decisions.read("decisions.jsonl")[-1]
        assert record["comment"] == version.tags["comment"] == "Seen by two of us."
        assert version.tags["decided_by"] == f"{record['by']} on {record['host']}"
        assert (
            version.tags["serves_because"] == "Version 1 serves now: approved. Seen by two of us."
        )
        kept = small.registry.attached(
            version.run_id, f"decisions/{record['attempt']}.json", tmp_path / "kept"
        )
        assert atomic.read_json(kept) == record

    @pytest.mark.long
    def test_brings_the_model_into_the_checkout(self, small: Small, chosen: Params) -> None:
        small.judged("waiting")
        assert not SERVED.exists()
        service.approve(chosen, 1)
        assert SERVED.read_bytes() == Path("trained-1/weights.safetensors").read_bytes()

    @pytest.mark.long
    def test_may_take_a_rollback_back(self, small: Small, chosen: Params) -> None:
        small.judged("promoted"), small.judged("promoted")
        service.rollback(chosen)
        service.approve(chosen, 2)
        assert small.aliases() == (2, 1, None)
        assert not small.champion_is_held()


class TestRollback:
    def test_goes_further_back_and_never_to_a_bad_one(self, small: Small, chosen: Params) -> None:
        small.judged("promoted"), small.judged("promoted"), small.judged("promoted")
        assert small.aliases() == (3, 2, None)
        assert service.rollback(chosen).sentence == "Version 2 serves again, in the place of 3."
        assert small.aliases() == (2, 1, None)
        service.rollback(chosen)
        assert small.aliases() == (1, None, None)
        with pytest.raises(RegistryError, match="found none; version 1 serves on"):
            service.rollback(chosen)
        assert small.decided == ["promoted", "rolled back", "rolled back"]

    @pytest.mark.long
    def test_passes_by_those_that_were_rolled_back(self, small: Small, chosen: Params) -> None:
        small.judged("promoted"), small.judged("promoted")
        service.rollback(chosen)
        small.judged("promoted")
        assert small.aliases() == (3, 1, None)
        service.rollback(chosen)
        assert small.aliases() == (1, None, None)

    @pytest.mark.long
    def test_lets_promotions_wait_until_one_is_approved(self, small: Small, chosen: Params) -> None:
        small.judged("promoted"), small.judged("promoted")
        assert not small.champion_is_held()
        service.rollback(chosen)
        assert small.champion_is_held()
        small.judged("waiting")
        service.approve(chosen, 3)
        assert not small.champion_is_held()

    @pytest.mark.long
    def test_to_a_version(self, small: Small, chosen: Params) -> None:
        small.judged("promoted"), small.judged("promoted"), small.judged("promoted")
        service.rollback(chosen, 1, comment="The second is no better.")
        assert small.aliases() == (1, None, None)
        assert small.registry.version(3).tags["comment"] == "The second is no better."

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("number", "message"),
        [(1, "found one rolled back"), (2, "found one kept"), (9, "none with the number 9")],
    )
    def test_to_a_version_that_may_not_serve(
        self, small: Small, chosen: Params, number: int, message: str
    ) -> None:
        small.judged("promoted"), small.judged("kept"), small.judged("promoted")
        small.registry.note(1, {"decision": "rolled back"})
        with pytest.raises(RegistryError, match=message):
            service.rollback(chosen, number)
        assert small.aliases() == (3, 1, 2)
        assert not attempts.state().exists()

    @pytest.mark.long
    def test_brings_the_files_of_the_model_that_serves_again(
        self, small: Small, chosen: Params
    ) -> None:
        small.judged("promoted"), small.judged("waiting")
        service.approve(chosen, 2)
        assert SERVED.read_bytes() == Path("trained-2/weights.safetensors").read_bytes()
        service.rollback(chosen)
        assert SERVED.read_bytes() == Path("trained-1/weights.safetensors").read_bytes()

    @pytest.mark.long
    def test_of_which_the_plan_is_shown(self, small: Small, chosen: Params) -> None:
        small.judged("promoted"), small.judged("promoted")
        said = "would be done: Version 1 serves again, in the place of 2."
        assert service.rollback_plan(chosen) == said
        assert small.aliases() == (2, 1, None)


class TestOvertaken:
    """Another checkout lets a version serve between a decision and what follows from it."""

    @pytest.mark.long
    def test_decision_moves_no_champion(self, small: Small) -> None:
        small.judged("promoted")
        outcome = small.judged("promoted", champion=None)
        assert outcome.decision == "overtaken"
        assert "version 1 has come to serve meanwhile" in outcome.sentence
        assert small.aliases() == (1, None, 2)
        assert small.decided == ["promoted", "overtaken"]
        assert decisions.read("decisions.jsonl")[-1]["decision"] == "overtaken"


class TestRecord:
    @pytest.mark.long
    def test_is_rebuilt_from_mlflow(self, small: Small, chosen: Params) -> None:
        """As in another checkout, which knows some of it, and has a line of its own."""
        small.judged("promoted"), small.judged("waiting")
        service.approve(chosen, 2)
        service.rollback(chosen)
        whole = decisions.read("decisions.jsonl")
        assert len(whole) == 4
        Path("decisions.jsonl").unlink()
        own = decisions.append("decisions.jsonl", {"decision": "failed"})
        assert recovery.gather(small.registry) == 4
        assert decisions.read("decisions.jsonl") == [*whole, own]
        assert recovery.gather(small.registry) == 0

    @pytest.mark.long
    def test_is_brought_by_the_next_decision(self, small: Small, chosen: Params) -> None:
        small.judged("promoted"), small.judged("promoted")
        Path("decisions.jsonl").unlink()
        service.rollback(chosen)
        said = [record["decision"] for record in decisions.read("decisions.jsonl")]
        assert said == ["promoted", "promoted", "rolled back"]


OFTEN, NIGHTLY = (), (pytest.mark.long,)
POINTS = {  # from the start to the end; which call is not done any more; how often it is tried
    ("birnn.retraining.attempts.begin", 1): NIGHTLY,
    ("birnn.tracking.registry.Registry.fetch", 1): NIGHTLY,
    ("birnn.retraining.decisions.append", 1): NIGHTLY,
    ("birnn.report.pages.render", 1): NIGHTLY,
    ("birnn.tracking.registry.Registry.log", 1): NIGHTLY,
    ("birnn.tracking.registry.Registry.log", 2): NIGHTLY,
    ("birnn.tracking.registry.Registry.note", 1): NIGHTLY,
    ("birnn.tracking.registry.Registry.note", 2): NIGHTLY,
    ("mlflow.MlflowClient.set_model_version_tag", 3): NIGHTLY,
    ("birnn.tracking.registry.Registry.point", 1): NIGHTLY,
    ("mlflow.MlflowClient.set_registered_model_alias", 1): NIGHTLY,
    ("mlflow.MlflowClient.set_registered_model_alias", 2): OFTEN,
    ("mlflow.MlflowClient.delete_registered_model_alias", 1): NIGHTLY,
    ("birnn.retraining.workspace.adopt_model", 1): NIGHTLY,
    ("birnn.files.atomic.replacing", 2): NIGHTLY,
    ("birnn.retraining.attempts.end", 1): NIGHTLY,
    ("birnn.retraining.recovery.tell", 1): NIGHTLY,
}


@pytest.mark.slow
@pytest.mark.parametrize("act", ["approve", "roll back"])
@pytest.mark.parametrize(
    ("point", "call"),
    [pytest.param(*point, marks=often) for point, often in POINTS.items()],
)
def test_killed_the_next_run_completes_it_or_nothing_has_happened(
    small: Small, chosen: Params, act: str, point: str, call: int
) -> None:
    """Registry, record and checkout tell of the same decision, and doing it again works."""
    small.judged("promoted"), small.judged("promoted"), small.judged("waiting")
    before, after = (2, 1, 3), (3, 2, None) if act == "approve" else (1, None, 3)
    records = len(decisions.read("decisions.jsonl"))
    approved = 3 if act == "approve" else None
    process = checkout.processes().Process(
        target=checkout.decide, args=(small.place, chosen, approved, point, call)
    )
    process.start()
    process.join()
    assert small.aliases()[0] in (before[0], after[0])  # one serves at each moment
    decided = len(decisions.read("decisions.jsonl")) > records
    for _ in range(2):  # to mend what is in order changes nothing
        with attempts.locked():
            recovery.mended(chosen.problem)
        assert small.aliases() == (after if decided else before)
        assert len(decisions.read("decisions.jsonl")) == records + decided
        assert not attempts.state().exists()
    if not decided:
        outcome = service.approve(chosen, 3) if approved else service.rollback(chosen)
        assert outcome.decision == ("promoted" if approved else "rolled back")
        assert small.aliases() == after
    turn = 2 - after[0] % 2  # versions are the first and the second model in turn
    assert SERVED.read_bytes() == Path(f"trained-{turn}/weights.safetensors").read_bytes()
    assert small.champion_is_held() is (act == "roll back")
    said = small.registry.version(2).tags["decision"]
    assert said == ("promoted" if approved else "rolled back")
