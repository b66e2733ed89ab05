"""The images: what their Dockerfiles say, and what a server does that is installed by their steps.

The steps also run without Docker: a stage is a folder, and `/venv` a virtual environment.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from conftest import ROOT

DEPLOY = ROOT / "deploy"
FILES = ("Dockerfile", "Dockerfile.serve")
OF_THE_SYSTEM = re.compile("apt-get |useradd ")  # what a step does as root
BASE = 150e6  # bytes of `python:3.11-slim`, as `docker images` tells them, and some more
LIMIT = 500e6
REQUEST = {"sequences": [[[0.1, 2.0], [0.3, 1.5]], [[0.2, 0.4]]]}


class Step(NamedTuple):
    stage: str
    word: str
    rest: str


def steps(name: str) -> list[Step]:
    """The instructions of a Dockerfile, each on one line, with the name of their stage."""
    lines = (DEPLOY / name).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    found, stage = [], "before"
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.partition(" AS ")[2] or "last"
        if word:
            found.append(Step(stage, word, rest))
    return found


def only(name: str, word: str) -> str:
    (found,) = (step.rest for step in steps(name) if (step.stage, step.word) == ("last", word))
    return found


@pytest.mark.parametrize("name", FILES)
class TestWhatTheySay:
    def test_they_run_as_nobody_in_particular(self, name: str) -> None:
        assert only(name, "USER") == "10001:10001"
        assert only(name, "HEALTHCHECK")

    def test_the_base_may_be_a_digest(self, name: str) -> None:
        found = steps(name)
        assert found[0] == ("before", "ARG", "PYTHON=python:3.11-slim")
        assert all(step.rest.startswith("${PYTHON}") for step in found if step.word == "FROM")

    def test_pip_takes_known_files_alone(self, name: str) -> None:
        runs = " && ".join(step.rest for step in steps(name) if step.word == "RUN")
        asked = [part for part in runs.split("&&") if "install --no-cache-dir" in part]
        assert len(asked) == 3
        assert all("--require-hashes" in part or "--no-deps" in part for part in asked)

    def test_what_is_copied_is_there_and_let_through(self, name: str) -> None:
        copied = [step.rest.split()[:-1] for step in steps(name) if step.word == "COPY"]
        names = {name for names in copied if "--from=build" not in names for name in names}
        let = (ROOT / ".dockerignore").read_text().splitlines()
        assert all((ROOT / name).exists() and f"!{name}" in let for name in names)
        assert let[1] == "**"


class Build:
    """What the steps of Dockerfile.serve leave, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venv = folder / "venv"
        self.outside = folder / "pip"  # pip and setuptools, as a base image has them

    def local(self, text: str) -> str:
        return text.replace("/venv", str(self.venv))

    def run(self) -> "Build":
        subprocess.run([sys.executable, "-m", "venv", str(self.outside)], check=True)
        place = self.folder
        for step in steps("Dockerfile.serve"):
            if step.word == "WORKDIR":
                place = self.folder / step.rest.strip("/")
                place.mkdir(parents=True, exist_ok=True)
            elif step.word == "COPY" and "--from" not in step.rest:
                self._copy(place, *step.rest.split())
            elif step.word == "RUN" and not OF_THE_SYSTEM.search(step.rest):
                self._shell(place, self.local(step.rest))
        return self

    def _copy(self, place: Path, *names: str) -> None:
        for name in names[:-1]:
            target = place / names[-1] / (Path(name).name if names[-1].endswith("/") else "")
            if (ROOT / name).is_dir():
                skip = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, target, ignore=skip, dirs_exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)

    def _shell(self, place: Path, text: str) -> None:
        path = f"{self.outside / 'bin'}{os.pathsep}{os.environ['PATH']}"
        kept = {name: os.environ[name] for name in os.environ if not name.startswith("PYTHON")}
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=place,
            env=kept | {"PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    def bytes(self) -> int:
        files = (path for path in self.venv.rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_size for path in files)

    def command(self, instruction: str) -> list[str]:
        text = only("Dockerfile.serve", instruction)
        words: list[str] = json.loads(text[text.index("[") :])
        return [str(self.venv / "bin" / words[0]), *words[1:]]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(tmp_path_factory.mktemp("image")).run()


def answer(port: int, path: str, body: object = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        found: dict[str, object] = json.loads(response.read())
    return found


def when_ready(port: int) -> dict[str, object]:
    end = time.monotonic() + 120
    while True:
        try:
            return answer(port, "/health")
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.long
class TestServer:
    def test_image_is_small(self, built: Build) -> None:
        assert built.bytes() + BASE < LIMIT
        found = {path.name for path in (built.venv / "lib/python3.11/site-packages").glob("*")}
        assert not found & {"torch", "sklearn", "pip", "setuptools"}
        assert list((built.venv / "lib").rglob("birnn/kernel/shipped/*"))

    def test_it_answers_as_the_library_does(
        self, built: Build, trained: Path, tmp_path: Path
    ) -> None:
        port = free_port()
        model = {"/model": str(trained), "0.0.0.0": "127.0.0.1"}
        words = [*built.command("ENTRYPOINT"), *json.loads(only("Dockerfile.serve", "CMD"))]
        command = [model.get(word, word) for word in words]
        place = {"HOME": str(tmp_path), "PATH": f"{built.venv / 'bin'}"}
        with psutil.Popen(
            [*command, "--port", str(port)], cwd=tmp_path, env=place, stderr=subprocess.PIPE
        ) as server:
            try:
                assert when_ready(port)["status"] == "ok"
                said = answer(port, "/invocations", REQUEST)
                check = [word.replace("8000", str(port)) for word in built.command("HEALTHCHECK")]
                subprocess.run(check, env=place, check=True)
                assert server.memory_info().rss < 500e6
            finally:
                server.terminate()
                complaint = server.communicate()[1].decode()
        assert (server.returncode, complaint) == (143, "")
        assert said["predictions"] == expected(trained)
        assert not list(tmp_path.iterdir())  # the kernel came with the wheel


def has_docker() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@pytest.mark.long
def test_image_answers(trained: Path) -> None:
    """The same by Docker itself, as deploy/README.md starts it."""
    if not has_docker():
        pytest.skip("no Docker runs here")
    tag, port = "birnn-serve:tested", free_port()
    build = ["docker", "build", "--quiet", "--tag", tag, "--file", "deploy/Dockerfile.serve", "."]
    subprocess.run(build, cwd=ROOT, check=True)
    size = ["docker", "image", "inspect", "--format", "{{.Size}}", tag]
    assert int(subprocess.run(size, capture_output=True, check=True).stdout) < LIMIT
    safe = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "2g"]
    places = ["--publish", f"127.0.0.1:{port}:8000", "--volume", f"{trained}:/model:ro"]
    run = ["docker", "run", "--rm", "--detach", *safe, *places, tag]
    name = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    try:
        assert when_ready(port)["status"] == "ok"
        assert answer(port, "/invocations", REQUEST)["predictions"] == expected(trained)
    finally:
        subprocess.run(["docker", "stop", name], capture_output=True, check=True)


def expected(model: Path) -> list[dict[str, object]]:
    """What the library of this checkout answers, which may compute with torch."""
    from birnn.serving import answers
    from birnn.serving.requests import Limits
    from birnn.serving.served import load

    body = json.dumps(REQUEST).encode()
    reply = answers.answer(load(str(model)), body, Limits(), lambda: None)
    found: list[dict[str, object]] = json.loads(reply.content)["predictions"]
    return found
