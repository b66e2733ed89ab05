"""What is read of MLflow's runs and of DVC's experiments, to be compared."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from birnn.errors import DataError, RegistryError
from birnn.files import scores
from birnn.files.scores import Scores
from birnn.tracking import runs, trials


def log(problem: str, seed: int, folder: Path, validation: dict[str, float]) -> str:
    """A finished run of a model that was tested."""
    folder.mkdir(exist_ok=True)
    scores.write(folder / "metrics.json", Scores({"accuracy": 0.5}, validation))
    (folder / "checks.json").write_text("[]")
    (folder / "encoding.json").write_text("{}")
    opened = runs.training_run(problem, "m", params={"seed": seed}, data=folder)
    with opened as training:
        assert training.run is not None
        training.run.log_evaluation(folder)
        return training.run.id


def test_metrics_of_runs_have_the_names_of_their_classes(runs_root: Path, tmp_path: Path) -> None:
    figures = {"recall_a/b": 0.25, "recall_a_b": 0.5, "recall_$": 0.75}
    log("p", 1, tmp_path / "e", figures)
    (trial,) = trials.of_runs("p")
    assert trial.scores.validation == figures


def test_runs_are_those_that_were_tested_each_training_once(
    runs_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(RegistryError, match="p: expected tested runs in MLflow, found none; run"):
        trials.of_runs("p")
    log("p", 1, tmp_path / "e", {"accuracy": 0.7})
    log("p", 9, tmp_path / "e", {})  # of an earlier version
    again = log("p", 1, tmp_path / "e", {"accuracy": 0.7})
    other = log("p", 2, tmp_path / "e", {"accuracy": 0.75})
    found = trials.of_runs("p")
    assert [trial.run for trial in found] == [other, again]
    assert found[0].params == {"seed": "2"}
    assert found[0].scores.validation == {"accuracy": 0.75}
    assert found[0].scores.test["accuracy"] == 0.5


class TestExperiments:
    @pytest.fixture
    def shown(self, small_params: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        """What DVC shows of a commit, one experiment that is done, and one that failed."""
        metrics = {"accuracy": 0.5, "validation": {"accuracy": 0.75}}

        def content(**model: Any) -> dict[str, Any]:
            tree = small_params()
            tree["model"] |= model
            return {
                "params": {"params.yaml": {"data": tree}},
                "metrics": {"evaluation/forward/metrics.json": {"data": metrics}},
            }

        done = {"rev": "ab12", "name": "keen-ruff", "data": content(cell="GRU")}
        failed = {"rev": "cd34", "name": "sad-ruff", "data": None, "error": {"msg": "x"}}
        experiments = [{"revs": [done]}, {"revs": [failed]}]
        return [{"rev": "ef56", "name": "main", "data": content(), "experiments": experiments}]

    def test_are_read_with_what_they_changed(
        self, shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subprocess, "run", answer(0, json.dumps(shown)))
        found = trials.of_experiments()
        assert [(one.name, one.model, one.params["cell"]) for one in found] == [
            ("main", "forward", "RNN"),
            ("keen-ruff", "forward", "GRU"),
        ]
        assert found[1].scores == Scores({"accuracy": 0.5}, {"accuracy": 0.75})

    @pytest.mark.parametrize(
        ("code", "output", "said"),
        [(1, "", "expected a list, found: ERROR: x"), (0, "[]", "found none; run `dvc exp run`")],
    )
    def test_none(self, monkeypatch: pytest.MonkeyPatch, code: int, output: str, said: str) -> None:
        monkeypatch.setattr(subprocess, "run", answer(code, output))
        with pytest.raises(DataError, match=said):
            trials.of_experiments()


def answer(code: int, output: str) -> Callable[..., Any]:
    def run(command: list[str], **_: Any) -> Any:
        return subprocess.CompletedProcess(command, code, output, "hint\nERROR: x\n")

    return run
