"""One retraining after the other in a checkout of its own: what serves, and what is left behind."""

import hashlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkout
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from checkout import SEQUENCES
from conftest import Once

from birnn import params
from birnn.data import sequences, splits
from birnn.data.splits import Splitting
from birnn.errors import RegistryError, RetrainingError
from birnn.files import atomic, locks, parts, records
from birnn.model import saved_model
from birnn.retraining import attempts, decisions, judging, service, steps, workspace
from birnn.retraining.attempts import Reproduce
from birnn.retraining.recovery import Outcome
from birnn.tracking import registry, runs
from birnn.tracking.registry import Registry

NOBODY = "http://127.0.0.1:9"  # a port at which nobody answers
DEPENDENT = ("dvc.lock", "data/raw", "data/prepared", "models", "evaluation", "report/report.html")


@pytest.fixture
def place(served: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working directory."""
    copy = checkout.copy(served, tmp_path / "checkout", finished)
    checkout.enter(copy, monkeypatch)
    return copy


def retrain(reproduce: Reproduce = checkout.repeat) -> Outcome:
    return steps.retrain(params.load(), reproduce=reproduce)


def aliases(problem: str = "small") -> tuple[int | None, int | None, int | None]:
    """The versions that serve, that served before, and that was judged last without serving."""
    found = registry.connect(problem).aliases()
    return found["champion"], found["previous"], found["challenger"]


def champion() -> Registry:
    """The registry, after making sure that what serves loads and predicts."""
    found = registry.connect("small")
    version = found.aliased("champion")
    assert version is not None
    folder = found.fetch(version.number, Path("fetched"))
    network, encoding, _ = saved_model.load(folder)
    assert network.architecture.classes == len(encoding.labels)
    return found


def snapshot(place: Path) -> dict[str, str]:
    """The content of all that the pipeline and people write."""
    paths = [place / "data/external", *(place / name for name in DEPENDENT)]
    found = [path for one in paths for path in ([one] if one.is_file() else one.rglob("*"))]
    return {
        str(path.relative_to(place)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in found
        if path.is_file()
    }


def grow(place: Path, number: int = SEQUENCES + 60, **how: Any) -> None:
    checkout.write_table(place, checkout.table(range(number), **how))


def scramble(place: Path) -> None:
    """Give every other sequence the labels of other classes."""
    checkout.write_table(place, checkout.flipped(checkout.table(range(SEQUENCES))))


@pytest.fixture(scope="session")
def grown(once: Once, served: Path, finished: Path) -> Path:
    """A checkout in which a second version serves, made of more data."""

    def make(folder: Path) -> None:
        place = checkout.copy(served, folder / "checkout", finished)
        with pytest.MonkeyPatch.context() as patch:
            checkout.enter(place, patch)
            grow(place)
            outcome = retrain(checkout.reproduce)
            assert outcome == Outcome("promoted", "Version 2 serves now: it passed all checks.", 2)

    return once("grown", make) / "checkout"


@pytest.fixture
def larger(grown: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working directory."""
    copy = checkout.copy(grown, tmp_path / "checkout", finished)
    checkout.enter(copy, monkeypatch)
    return copy


class TestDecision:
    def test_the_first_model_is_promoted(self, place: Path) -> None:
        assert aliases() == (1, None, None)
        (record,) = decisions.read("decisions.jsonl")
        assert record["decision"] == "promoted"
        assert (record["version"], record["champion"]) == (1, None)
        assert all(check["passed"] for check in record["checks"])
        version = champion().version(1)
        for name in ("data_sha256", "params_sha256", "code_sha256", "model_sha256"):
            assert len(version.tags[name]) == 64
        assert version.tags["decision"] == "promoted"
        assert version.tags["run"] == version.run_id == record["run"]

    def test_lies_with_the_run(self, place: Path, tmp_path: Path) -> None:
        found, (record,) = champion(), decisions.read("decisions.jsonl")
        name = f"decisions/{record['attempt']}.json"
        kept = found.attached(record["run"], name, tmp_path)
        assert atomic.read_json(kept) == record
        page = found.attached(record["run"], "retraining.html", tmp_path).read_text()
        assert "small: promoted" in page
        assert page == Path("report/retraining.html").read_text()

    def test_leaves_a_checkout_in_which_nothing_is_to_do(self, place: Path) -> None:
        assert not workspace.changed(place)
        assert not attempts.state().exists()

    def test_of_unchanged_data_trains_nothing(self, place: Path) -> None:
        before = snapshot(place)
        outcome = retrain(must_not_run)
        assert (outcome.decision, outcome.version) == ("unchanged", 1)
        assert "nothing to train" in outcome.sentence
        assert snapshot(place) == before
        assert len(decisions.read("decisions.jsonl")) == 1

    def test_a_model_that_is_no_worse_is_promoted(self, larger: Path) -> None:
        assert aliases() == (2, 1, None)
        assert not workspace.changed(larger)
        record = decisions.read("decisions.jsonl")[-1]
        names = [check["name"] for check in record["checks"]]
        assert {"headline", "classes", "lengths", "calibration", "latency", "reloaded"} <= {*names}
        assert {finding["name"] for finding in record["drift"]} >= {"labels", "feature x"}

    @pytest.mark.long
    def test_says_how_answers_change_for_recent_sequences(self, place: Path) -> None:
        before = judging.settings_sha256(params.load())
        checkout.write_params(place, shadow="recent.csv")
        assert judging.settings_sha256(params.load()) == before
        recent = checkout.table(range(900, 930)).drop(columns="label")
        recent.to_csv(place / "recent.csv", index=False)
        grow(place)
        assert retrain(checkout.reproduce).version == 2
        said = decisions.read("decisions.jsonl")[-1]["shadow"]
        assert said.startswith("version 2 of small answers ")
        assert "rows of recent.csv in another way than version 1 of small" in said
        assert registry.connect("small").version(2).tags["shadow"] == said
        assert said.split(";")[0] in Path("report/retraining.html").read_text()

    @pytest.mark.long
    def test_a_model_that_is_not_better_is_kept_out_until_less_is_asked(self, place: Path) -> None:
        checkout.write_params(place, aim="superior")
        grow(place)
        outcome = retrain()
        assert outcome.decision == "kept"
        assert "not shown to be better" in outcome.sentence
        assert aliases() == (1, None, 2)
        assert retrain().decision == "unchanged"
        checkout.write_params(place, aim="not_inferior")
        assert retrain() == Outcome("promoted", "Version 2 serves now: it passed all checks.", 2)

    @pytest.mark.long
    def test_is_made_anew_by_other_settings_without_training(self, place: Path) -> None:
        """By the command, with DVC's own cache of runs."""
        checkout.write_params(place, aim="superior")
        grow(place)
        first, _ = checkout.command(place, "retrain").communicate()
        assert "kept: Version 2" in first
        checkout.write_params(place, aim="not_inferior")
        second, _ = checkout.command(place, "retrain").communicate()
        assert "Stage 'train@bidirectional' is cached - skipping run" in second
        assert "promoted: Version 2 serves now" in second
        assert "left to do: git add" in second
        assert not workspace.changed(place)

    @pytest.mark.long
    def test_is_made_against_the_reference_as_well(self, place: Path) -> None:
        """The first model stays it, until another one is better and in nothing worse."""
        assert champion().version(1).tags["reference"] == "1"
        grow(place)
        retrain()
        assert champion().version(2).tags["reference"] in ("1", "2")
        champion().note(2, {"reference": "1"})
        grow(place, SEQUENCES + 120)
        retrain()
        record = decisions.read("decisions.jsonl")[-1]
        (check,) = (check for check in record["checks"] if check["name"] == "reference")
        assert check["sentence"].startswith("Against the reference: f1_macro ")
        assert record["reference"] in (1, 3)
        assert champion().version(3).tags["reference"] == str(record["reference"])

    def test_a_model_of_scrambled_labels_is_kept_out(self, place: Path) -> None:
        scramble(place)
        before = snapshot(place)
        outcome = retrain()
        assert outcome.decision == "kept"
        assert snapshot(place) == before
        assert "The verdict is bad" in outcome.sentence
        assert aliases() == (1, None, 2)

    @pytest.mark.slow
    def test_a_class_that_the_data_have_lost_keeps_the_model_out(self, place: Path) -> None:
        """No test sequence holds it, so no figure falls; but the champion knows it."""
        rows = checkout.table(range(SEQUENCES))
        lost = rows[rows["label"] == "c"]["sequence"].unique()
        checkout.write_table(place, rows[~rows["sequence"].isin(lost)])
        outcome = retrain()
        assert outcome.decision == "kept"
        assert "The data hold no 'c', which the champion knows" in outcome.sentence
        assert aliases()[0] == 1

    @pytest.mark.long
    def test_judges_on_what_a_champion_can_read_that_knows_no_gaps(
        self, place: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = checkout.table(range(SEQUENCES))
        rows.loc[rows["sequence"].str[1:].astype(int) % 3 == 0, "x"] = np.nan
        checkout.write_table(place, rows)
        tree = checkout.params()
        tree["prepare"]["missing"] = "mean"
        atomic.write_json("params.yaml", tree)
        outcome = retrain()
        assert outcome.decision in ("kept", "promoted")
        said = capsys.readouterr().out
        assert "test sequences lack numbers, and version 1 was trained with prepare.missing" in said
        headline = decisions.read("decisions.jsonl")[-1]["checks"][0]["figures"]
        names = rows["sequence"].unique()
        split = splits.assign(names, Splitting.of(params.load().prepare))
        tested = [name for name, of in zip(names, split, strict=True) if of == "test"]
        assert 0 < headline["sequences"] <= sum(int(one[1:]) % 3 > 0 for one in tested)

    def test_needs_the_alias_of_the_champion_where_one_has_served(self, place: Path) -> None:
        """Without it, a new model would be compared with none."""
        champion().client.delete_registered_model_alias("small", "champion")
        with pytest.raises(RegistryError, match="though version 1 has served"):
            retrain(must_not_run)
        assert not attempts.state().exists()

    @pytest.mark.long
    def test_counts_how_often_the_test_sequences_were_used(self, place: Path) -> None:
        tree = checkout.params()
        for rate in (0.02, 0.04):
            tree["train"]["learning_rate"] = rate
            atomic.write_json("params.yaml", tree)  # JSON is YAML
            retrain()
        uses = [record["test_uses"] for record in decisions.read("decisions.jsonl")]
        assert uses == [1, 2, 3]

    @pytest.mark.slow
    def test_leaves_out_what_champion_or_challenger_were_trained_on(self, place: Path) -> None:
        seen = {
            stem(one)
            for split in ("train", "validation")
            for one in sequences.read(place / f"data/prepared/{split}.arrow").ids.to_pylist()
        }
        rows = checkout.table(range(SEQUENCES))
        copies = rows.assign(sequence=rows["sequence"] + "x")  # a name of its own: any split
        checkout.write_table(place, table := pd.concat([rows, copies]))
        outcome = retrain()
        names = table["sequence"].unique()
        split = splits.assign(names, Splitting.of(params.load().prepare))
        test = {name for name, of in zip(names, split, strict=True) if of == "test"}
        trained_on = {stem(name) for name in names if name not in test}
        fresh = {name for name in test if stem(name) not in seen}
        unseen = {name for name in fresh if stem(name) not in trained_on}
        record = decisions.read("decisions.jsonl")[-1]
        assert record["checks"][0]["figures"]["sequences"] == len(unseen)
        assert len(unseen) < len(fresh) - 20 < len(test) - 50
        assert outcome.decision == "kept"
        failed = [check["name"] for check in record["checks"] if not check["passed"]]
        assert failed == ["leakage"]
        assert "test sequences are copies of training sequences" in outcome.sentence


def stem(name: str) -> str:
    return name.removesuffix("x")


def must_not_run(folder: Path, *targets: str) -> None:
    raise AssertionError("the pipeline ran")


@pytest.mark.slow
class TestWhen:
    def test_data_are_those_of_the_champion(self, place: Path) -> None:
        tree = checkout.params(when="data")
        tree["train"]["learning_rate"] = 0.02
        atomic.write_json("params.yaml", tree)
        assert retrain().decision == "skipped"
        grow(place)
        with pytest.raises(AssertionError, match="the pipeline ran"):
            retrain(must_not_run)

    def test_data_have_drifted(self, place: Path) -> None:
        checkout.write_params(place, when="drift")
        grow(place, SEQUENCES + 10)
        assert retrain().decision == "skipped"
        assert decisions.read("decisions.jsonl")[-1]["drift"]
        grow(place, shift=2.0)
        assert retrain().decision in ("promoted", "kept")
        assert any(one["drifted"] for one in decisions.read("decisions.jsonl")[-1]["drift"])

    @pytest.mark.long
    def test_few_new_data_have_drifted(self, place: Path) -> None:
        """Beside those that the champion knows they would hardly be seen."""
        checkout.write_params(place, when="drift")
        old, new = range(SEQUENCES), range(SEQUENCES, SEQUENCES + 45)
        checkout.write_table(
            place, pd.concat([checkout.table(old), checkout.table(new, shift=1.5)])
        )
        assert retrain().decision in ("promoted", "kept")
        record = decisions.read("decisions.jsonl")[-1]
        assert any(one["drifted"] for one in record["drift"])
        assert "sequences are new. With " in record["drift_compared"]


class TestFailure:
    @pytest.fixture(autouse=True)
    def leaves_all_as_it_was(self, place: Path) -> Any:
        """Checkout, registry and champion."""
        yield
        assert aliases() == (1, None, None)
        assert [version.number for version in champion().versions()] == [1]
        assert not attempts.state().exists()
        assert decisions.read("decisions.jsonl")[-1]["decision"] in ("failed", "interrupted")

    def test_of_a_broken_file(self, place: Path) -> None:
        (place / checkout.TABLE).write_text("sequence,x,y,label\ns1,1.0,oops,a\n")
        before = snapshot(place)
        with pytest.raises(RetrainingError, match=r"the pipeline failed: .*steps\.csv.*oops"):
            retrain()
        assert snapshot(place) == before

    def test_of_the_refreshing_puts_the_data_back(self, place: Path) -> None:
        before = snapshot(place)
        spoil = f"open({str(checkout.TABLE)!r}, 'w').write('x'); raise SystemExit(3)"
        checkout.write_params(place, refresh=[sys.executable, "-c", spoil])
        with pytest.raises(RetrainingError, match=r"retrain\.refresh: .* status 0, found 3"):
            retrain()
        assert snapshot(place) == before

    def test_of_a_refreshing_that_is_not_there(self, place: Path) -> None:
        checkout.write_params(place, refresh=["./absent"])
        with pytest.raises(RetrainingError, match=r"absent.*No such file"):
            retrain()

    def test_of_refreshed_data_puts_the_data_back(self, place: Path) -> None:
        before = snapshot(place)
        spoil = f"open({str(checkout.TABLE)!r}, 'w').write('x')"
        checkout.write_params(place, refresh=[sys.executable, "-c", spoil])
        with pytest.raises(RetrainingError, match="the pipeline failed"):
            retrain()
        assert snapshot(place) == before

    @pytest.mark.slow
    @pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
    def test_while_it_judges(
        self, place: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr("birnn.retraining.candidate.checks", fail)
        before = snapshot(place)
        grow(place)
        grown = snapshot(place)
        with pytest.raises(error):
            retrain()
        assert snapshot(place) == grown != before


@pytest.fixture(scope="session")
def one_waiting(once: Once, served: Path, finished: Path) -> Path:
    """A checkout in which a version waits for approval; beside it, what was there before."""

    def make(folder: Path) -> None:
        place = checkout.copy(served, folder / "checkout", finished)
        with pytest.MonkeyPatch.context() as patch:
            checkout.enter(place, patch)
            checkout.write_params(place, approval="manual")
            grow(place)
            atomic.write_json(folder / "before.json", snapshot(place))
            outcome = retrain()
            assert (outcome.decision, outcome.version) == ("waiting", 2)

    return once("waiting", make) / "checkout"


@pytest.fixture(scope="session")
def two_waiting(once: Once, one_waiting: Path, finished: Path) -> Path:
    """One in which a second version waits too, made of more data."""

    def make(folder: Path) -> None:
        place = checkout.copy(one_waiting, folder / "checkout", finished)
        with pytest.MonkeyPatch.context() as patch:
            checkout.enter(place, patch)
            grow(place, SEQUENCES + 120)
            assert retrain().decision == "waiting"

    return once("waiting twice", make) / "checkout"


class TestApproval:
    def test_promotes_what_waits(
        self, one_waiting: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only then do its files come into the checkout, those of DVC and those of git."""
        place = checkout.copy(one_waiting, tmp_path / "checkout", finished)
        checkout.enter(place, monkeypatch)
        assert aliases() == (1, None, 2)
        assert snapshot(place) == atomic.read_json(one_waiting.parent / "before.json")
        assert "waits" in retrain().sentence
        assert service.approve(params.load(), 2).decision == "promoted"
        assert aliases() == (2, 1, None)
        assert not workspace.changed(place)

    @pytest.fixture
    def waits(
        self, two_waiting: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Path:
        """A copy of it as the working directory."""
        copy = checkout.copy(two_waiting, tmp_path / "checkout", finished)
        checkout.enter(copy, monkeypatch)
        return copy

    @pytest.mark.slow
    def test_of_what_was_judged_with_another_champion_judges_again_without_training(
        self, waits: Path
    ) -> None:
        """When the newer one serves, the older one has to be no worse than that."""
        trained: list[tuple[str, ...]] = []

        def prepare(folder: Path, *targets: str) -> None:
            trained.append(targets)
            checkout.repeat(folder, *targets)

        service.approve(params.load(), 3, reproduce=must_not_run)
        checkout.write_params(waits, approval="manual", margin=0.2)  # other settings, so anew
        outcome = service.approve(params.load(), 2, comment="After all.", reproduce=prepare)
        assert trained == [("prepare",)]
        assert outcome.decision == "promoted", outcome.sentence
        assert "approved, and it passed all checks against version 3" in outcome.sentence
        assert aliases() == (2, 3, None)
        record = decisions.read("decisions.jsonl")[-1]
        assert (record["champion"], record["comment"]) == (3, "After all.")
        names = {check["name"] for check in record["checks"]}
        assert {"headline", "classes", "reloaded", "leakage", "known_classes"} <= names
        tags = champion().version(2).tags
        assert (tags["judged_with"], tags["predecessor"]) == ("3", "3")
        assert runs.model_sha256(waits / "models/bidirectional") == tags["model_sha256"]

    @pytest.mark.slow
    def test_of_what_is_worse_than_the_champion_of_now_keeps_it_out(self, waits: Path) -> None:
        service.approve(params.load(), 3)
        before = snapshot(waits)
        checkout.write_params(waits, approval="manual", aim="superior")
        outcome = service.approve(params.load(), 2, reproduce=checkout.repeat)
        assert outcome.decision == "kept"
        assert "judged again, with version 3. The challenger is not shown" in outcome.sentence
        assert aliases() == (3, 1, 2)
        assert snapshot(waits) == before
        assert champion().version(2).tags["decision"] == "kept"

    @pytest.mark.parametrize(
        ("number", "message"), [(1, "found one promoted"), (9, "found none with the number 9")]
    )
    def test_of_what_does_not_wait(self, place: Path, number: int, message: str) -> None:
        with pytest.raises(RegistryError, match=message):
            service.approve(params.load(), number)
        assert not attempts.state().exists()


class TestRollback:
    def test_brings_the_previous_version_and_its_files_back(
        self, larger: Path, served: Path
    ) -> None:
        table = {str(checkout.TABLE): snapshot(larger)[str(checkout.TABLE)]}
        assert service.rollback(params.load()).decision == "rolled back"
        assert aliases() == (1, None, None)
        assert snapshot(larger) == snapshot(served) | table
        record = decisions.read("decisions.jsonl")[-1]
        assert (record["decision"], record["version"]) == ("rolled back", 2)
        assert champion().version(2).tags["decision"] == "rolled back"
        assert retrain().sentence.endswith("Version 2 was rolled back.")

    def test_needs_a_previous_version(self, place: Path) -> None:
        with pytest.raises(RegistryError, match=r"expected a previous version .* found none"):
            service.rollback(params.load())

    @pytest.mark.long
    def test_lasts_when_the_next_data_come(self, place: Path) -> None:
        """A near-twin of the bad model passes all checks again; a person must let it serve."""
        grow(place)
        retrain()
        service.rollback(params.load())
        grow(place, SEQUENCES + 61)
        outcome = retrain()
        assert outcome.decision == "waiting"
        assert "as all do after a rollback" in outcome.sentence
        assert aliases() == (1, None, 3)
        service.approve(params.load(), 3)
        grow(place, SEQUENCES + 120)
        assert retrain().decision == "promoted"


@pytest.mark.slow
class TestOutOfReach:
    def test_trains_and_lets_promotion_wait(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grow(place)
        before = snapshot(place)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
        with pytest.raises(RegistryError, match=f"{NOBODY}: .*promotion waits"):
            retrain()
        assert snapshot(place) == before
        with pytest.raises(RegistryError, match="found none; promotion waits"):
            service.rollback(params.load())
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        assert aliases() == (1, None, None)
        assert retrain().decision == "promoted"
        assert aliases() == (2, 1, None)

    def test_while_it_trains_goes_on_without(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def cut_off(folder: Path, *targets: str) -> None:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
            checkout.reproduce(folder, *targets)

        grow(place)
        with pytest.raises(RegistryError, match="promotion waits"):
            retrain(cut_off)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        assert aliases() == (1, None, None)


class TestPlan:
    def test_says_what_would_be_done_and_does_nothing(self, place: Path) -> None:
        before = snapshot(place)
        assert "train: on schedule; `dvc repro` has nothing to do now" in steps.plan(params.load())
        checkout.write_params(place, refresh=["dvc", "update", "a b"], approval="manual")
        assert steps.plan(params.load()) == [
            "refresh: dvc",
            "train: on schedule; `dvc repro` has work to do now",  # the report names the candidate
            "judge: bidirectional against the champion, version 1",
            "promote: after approval",
        ]
        assert snapshot(place) == before

    def test_makes_no_store(self, place: Path) -> None:
        (place / "mlflow.db").unlink()
        assert "judge: bidirectional against no champion" in steps.plan(params.load())
        assert not (place / "mlflow.db").exists()


class TestLock:
    def test_names_its_holder(self, place: Path) -> None:
        with attempts.locked():
            who = atomic.read_json(".birnn/retraining.json")
            with pytest.raises(RetrainingError) as refused, attempts.locked():
                raise AssertionError("two hold it")
        for known in (str(who["pid"]), who["host"], who["start"]):
            assert known in str(refused.value)

    @pytest.mark.parametrize("pid", [2**22 + 1, os.getpid()], ids=["nobody", "this one"])
    def test_names_no_process_that_does_not_hold_it(self, place: Path, pid: int) -> None:
        """The note is of one that has ended, whose number another process may have now."""
        note = Path(".birnn/retraining.json")
        then = attempts.Holder(pid, socket.gethostname(), "2020-01-01T00:00:00+00:00")
        with locks.held(".birnn/retraining.lock"):
            records.write(note, then)
            with pytest.raises(RetrainingError) as refused, attempts.locked():
                raise AssertionError("two hold it")
        assert str(pid) not in str(refused.value)
        assert f"another process holds {place}/.birnn/retraining.lock" in str(refused.value)

    def test_needs_a_checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RetrainingError, match=r"expected dvc\.yaml, found none"):
            steps.retrain(params.Params.model_validate(checkout.params()))

    @pytest.mark.slow
    @pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.long)])
    def test_lets_one_of_two_work(self, place: Path, times: int) -> None:
        context = checkout.processes()
        for _ in range(times):
            begin = context.Barrier(2)
            both = [
                context.Process(target=checkout.retrain, args=(place, "", begin)) for _ in range(2)
            ]
            for process in both:
                process.start()
            for process in both:
                process.join()
            assert sorted(process.exitcode for process in both) == [0, 1]


OFTEN, NIGHTLY = (), (pytest.mark.long,)
POINTS = {  # from the start of a retraining to its end, and how often a kill there is tried
    "birnn.retraining.workspace.create": NIGHTLY,
    "birnn.retraining.workspace.dvc": NIGHTLY,
    "birnn.tracking.runs.run_of_model": NIGHTLY,
    "birnn.retraining.candidate.checks": NIGHTLY,
    "birnn.retraining.decisions.append": OFTEN,
    "birnn.retraining.workspace.pack": NIGHTLY,
    "birnn.tracking.registry.Registry.note": NIGHTLY,
    "birnn.tracking.registry.Registry.point": NIGHTLY,
    "mlflow.MlflowClient.set_registered_model_alias": NIGHTLY,
    "birnn.tracking.registry.Registry.log": NIGHTLY,
    "birnn.retraining.workspace.adopt": NIGHTLY,
    "birnn.retraining.attempts.end": NIGHTLY,
    "birnn.retraining.recovery.tell": NIGHTLY,
}


@pytest.mark.slow
class TestKill:
    @pytest.mark.parametrize(
        "point", [pytest.param(point, marks=often) for point, often in POINTS.items()]
    )
    def test_is_mended_by_the_next_one(self, place: Path, point: str) -> None:
        grow(place)
        checkout.killed(checkout.processes(), place, kill_at=point)
        assert aliases()[0] in (1, 2)
        champion()
        decided = len(decisions.read("decisions.jsonl"))
        outcome = retrain()
        assert outcome.decision == ("promoted" if decided == 1 else "unchanged")
        assert aliases()[1:] == (1, None)
        check_in_order(place)

    @pytest.mark.long
    def test_leaves_no_process_behind(self, place: Path) -> None:
        grow(place)
        started = checkout.command(place, "retrain")
        wait_for(lambda: any("stages.train" in line for line in family(started.pid)))
        orphans = psutil.Process(started.pid).children(recursive=True)
        started.kill()
        started.communicate()
        assert any(orphan.is_running() for orphan in orphans)
        assert retrain().decision == "promoted"
        assert not any(orphan.is_running() for orphan in orphans)
        check_in_order(place)

    def test_by_sigterm_leaves_all_as_it_was(self, place: Path) -> None:
        grow(place)
        before = snapshot(place)
        started = checkout.command(place, "retrain")
        wait_for(lambda: any("stages.train" in line for line in family(started.pid)))
        started.send_signal(signal.SIGTERM)
        started.communicate()
        assert started.returncode == 143
        assert snapshot(place) == before
        assert decisions.read("decisions.jsonl")[-1]["decision"] == "interrupted"
        last = attempts.last()
        assert last is not None
        assert (last.ended, last.failures) == ("interrupted", 0)
        check_in_order(place)


def check_in_order(place: Path) -> None:
    """One champion that loads, no version without a decision, no run under way, nothing to do."""
    found = champion()
    assert {version.tags["decision"] for version in found.versions()} <= {"promoted", "kept"}
    experiments = [one.experiment_id for one in found.client.search_experiments()]
    assert not found.client.search_runs(experiments, "attributes.status = 'RUNNING'")
    attempted = [record.get("attempt") for record in decisions.read("decisions.jsonl")]
    assert len({*attempted}) == len(attempted)
    assert not attempts.state().exists()


def family(pid: int) -> list[str]:
    """The command lines of a process and all that it has started."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [" ".join(child.cmdline()) for child in children]
    except psutil.NoSuchProcess:
        return []


def wait_for(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.long
def test_data_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout.make(tmp_path / "checkout", checkout.table(range(SEQUENCES)))
    tree = checkout.params() | {"run": {"part_steps": 1000, "store": None}}
    (place / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    checkout.enter(place, monkeypatch)
    assert retrain(checkout.reproduce).decision == "promoted"
    grow(place)
    assert retrain(checkout.reproduce).decision in ("promoted", "kept")
    assert parts.read("data/raw/sequences.parquet").sequences == SEQUENCES + 60
    assert {one.part.number for one in parts.of("data/prepared/test.arrow")} == {0, 1, 2, 3}
    assert not workspace.changed(place)
