"""What puts a retraining on a clock: the files parse, and call what is there."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import checkout
import pytest
import typer
import yaml
from conftest import ROOT

from birnn import cli, params
from birnn.retraining import decisions, steps

DEPLOY = ROOT / "deploy"


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read(DEPLOY / name)
    return found


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def commands() -> set[str]:
    """What `birnn` can be asked for."""
    return set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


class TestSystemd:
    def test_service_runs_the_command(self) -> None:
        service = unit("birnn-retrain.service")["Service"]
        program, command = shlex.split(service["ExecStart"])
        assert program.endswith("/.venv/bin/birnn")
        assert command in commands()
        assert (service["Type"], service["KillMode"]) == ("oneshot", "mixed")

    def test_timer_makes_up_for_what_was_missed(self) -> None:
        timer = unit("birnn-retrain.timer")
        assert timer["Timer"]["Persistent"] == "true"
        assert timer["Timer"]["OnCalendar"] == "*-*-* 03:00:00"
        assert timer["Install"]["WantedBy"] == "timers.target"

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
    def test_units_are_what_systemd_takes(self, tmp_path: Path) -> None:
        for path in DEPLOY.glob("birnn-retrain.*"):
            text = path.read_text().replace("%h/birnn/.venv/bin/birnn", sys.executable)
            (tmp_path / path.name).write_text(text)
        files = sorted(map(str, tmp_path.iterdir()))
        verify = ["systemd-analyze", "verify", "--user", *files]
        with tempfile.TemporaryDirectory() as short:  # the name of a socket has a limit
            place = {**os.environ, "XDG_RUNTIME_DIR": short}
            done = subprocess.run(verify, env=place, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


class TestGitHub:
    def test_workflow_runs_by_the_clock_and_by_hand(self) -> None:
        (flow,) = documents("github-retrain.yml")
        triggers = flow[True]  # YAML 1.1 takes `on` for a truth
        assert triggers["schedule"] == [{"cron": "0 3 * * *"}]
        assert "workflow_dispatch" in triggers
        assert flow["concurrency"] == {"group": "retrain", "cancel-in-progress": False}

    def test_workflow_calls_what_is_there(self) -> None:
        (flow,) = documents("github-retrain.yml")
        steps = flow["jobs"]["retrain"]["steps"]
        run = " ".join(step.get("run", "") for step in steps)
        assert ".venv/bin/birnn retrain" in run
        assert "make .venv/installed" in run
        assert ".venv/installed:" in (ROOT / "Makefile").read_text()


class TestKubernetes:
    def test_job_is_alone(self) -> None:
        claim, job = documents("cronjob.yaml")
        assert job["kind"] == "CronJob"
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["args"][0] in commands()
        assert container["workingDir"] == container["volumeMounts"][0]["mountPath"]
        volume = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
        assert volume == claim["metadata"]["name"]

    def test_image_has_what_the_job_needs(self) -> None:
        lines = (DEPLOY / "Dockerfile").read_text().splitlines()
        assert 'ENTRYPOINT ["birnn"]' in lines
        copied = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
        assert all((ROOT / name).exists() for names in copied for name in names)


@pytest.mark.parametrize(
    "line",
    [line for line in (DEPLOY / "README.md").read_text().splitlines() if line.startswith("birnn ")],
)
def test_readme_names_commands_that_are_there(line: str) -> None:
    assert line.split()[1] in commands()


FLOW = """
import sys
from prefect.testing.utilities import prefect_test_harness

with prefect_test_harness(server_startup_timeout=120):
    import prefect_flow

    print("ended:", prefect_flow.retrain(sys.argv[1]).decision)
"""


@pytest.mark.long
def test_prefect_flow_decides_as_the_command_does(
    served: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in a checkout of the same data, in which a first model serves.

    Prefect runs in processes of its own: it changes how SQLAlchemy works, which MLflow uses too.
    """
    pytest.importorskip("prefect")
    first = checkout.copy(served, tmp_path / "flow")
    second = checkout.copy(served, tmp_path / "plain", finished)
    for place in (first, second):
        checkout.write_table(place, checkout.table(range(checkout.SEQUENCES + 60)))
    by_flow = checkout.python(first, FLOW, str(first))
    checkout.enter(second, monkeypatch)
    steps.retrain(params.load(), reproduce=checkout.repeat)
    output, _ = by_flow.communicate()
    assert by_flow.returncode == 0, output
    one, other = (decisions.read(place / "decisions.jsonl")[1] for place in (first, second))
    assert one["champion"] == 1
    for name in ("decision", "data_sha256", "model_sha256", "aliases"):
        assert one[name] == other[name]
