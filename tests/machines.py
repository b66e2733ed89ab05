"""Machines on this one: each has its own network, processes, temporary folder and copy of the code.

    with network() as machines:
        first = machines.add("10.77.0.1")
        first.start(["ray", "start", "--head", "--block"], Path("/tmp"), {})
        machines.lose(first)                       # all of it dies at once

They are namespaces of Linux. What lies in `/tmp` and `/dev/shm`, in the home folder and in the
checkout is each one's own: the checkout is empty, and a copy of the code lies in another folder on
each. The network between them has no other side. Only root may make them.
"""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
COPIED = ("birnn", "stages", "tests")
SECONDS = 300.0


@dataclass
class Machine:
    """A set of namespaces.

    Attributes:
        address: in the network of all machines.
        keeper: what holds them; with it, all processes of the machine die.
        pid: of the first process in them, as seen from outside.
        started: what was started there from outside.
    """

    address: str
    keeper: subprocess.Popen[bytes]
    pid: int
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Such as `machine-2`."""
        return f"machine-{self.address.rpartition('.')[2]}"

    @property
    def code(self) -> Path:
        """The folder in which birnn lies there, which no other machine has."""
        return Path("/tmp", self.name, "code")

    def outside(self, path: Path) -> Path:
        """How a file of the machine is called here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def start(
        self, command: list[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a program there, whose output goes to `/tmp/log` of the machine."""
        known = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        known |= {
            "HOME": "/tmp/home",
            "PYTHONPATH": f"{self.code}:{self.code / 'tests'}",
            "OMP_NUM_THREADS": "1",
        }
        program = f"cd {shlex.quote(str(folder))} && exec {shlex.join(command)}"
        with self.outside(Path("/tmp/log")).open("ab") as log:
            process = subprocess.Popen(
                [*_inside(self.pid), "sh", "-c", program],
                env=known | {**environment},
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process

    def processes(self, name: str) -> list[int]:
        """Those whose title has a word in it."""
        return [
            one.pid
            for one in psutil.process_iter(["cmdline"])
            if name in " ".join(one.info["cmdline"] or ())
            if _namespace(one.pid, "pid") == _namespace(self.pid, "pid")
        ]

    def log(self) -> str:
        """What its programs have said."""
        return self.outside(Path("/tmp/log")).read_text("utf-8", "replace")


class Machines:
    """Those of a network."""

    def __init__(self, switch: subprocess.Popen[bytes]) -> None:
        self.switch, self.all = switch, list[Machine]()

    def add(self, address: str) -> Machine:
        """Start one more."""
        name = f"machine-{address.rpartition('.')[2]}"
        code = f"/tmp/{name}/code"
        copies = " ".join(shlex.quote(str(ROOT / one)) for one in COPIED)
        hide = "; ".join(f"mount -t tmpfs tmpfs {shlex.quote(str(ROOT / one))}" for one in COPIED)
        keeper = subprocess.Popen(
            [
                *NAMESPACES,
                "--mount-proc",
                "sh",
                "-ec",
                f"hostname {name}; mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /dev/shm; "
                f"(cat /etc/hosts; echo {address} {name}) > /tmp/hosts; "
                "mount --bind /tmp/hosts /etc/hosts; "
                f"mkdir -p {code} /tmp/home; cp -r {copies} {code}; {hide}; "
                "ip link set lo up; touch /tmp/log; exec sleep infinity",
            ]
        )
        machine = Machine(address, keeper, _first_of(keeper))
        until(lambda: machine.outside(Path("/tmp/log")).exists(), "a machine")
        number = address.rpartition(".")[2]
        _run("ip", "link", "add", "uplink", "netns", str(machine.pid), "type", "veth", "peer",
             "name", f"port{number}", "netns", str(self.switch.pid))  # fmt: skip
        within = [*_inside(self.switch.pid, "-n"), "ip", "link", "set", f"port{number}"]
        _run(*within, "master", "switch")
        _run(*within, "up")
        _run(*_inside(machine.pid), "ip", "addr", "add", f"{address}/24", "dev", "uplink")
        _run(*_inside(machine.pid), "ip", "link", "set", "uplink", "up")
        _run(*_inside(machine.pid), "ip", "route", "add", "default", "dev", "uplink")
        self.all.append(machine)
        return machine

    def lose(self, machine: Machine) -> None:
        """Kill all processes of a machine, without a word to the others."""
        self.all.remove(machine)
        os.kill(machine.pid, signal.SIGKILL)
        for process in [*machine.started, machine.keeper]:
            process.wait(60)


@contextmanager
def network() -> Iterator[Machines]:
    """A network without machines, which end with it."""
    if os.geteuid() != 0 or not shutil.which("ip") or _failed(*NAMESPACES, "true"):
        pytest.skip("expected root, namespaces and `ip`")
    switch = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    machines = Machines(switch)
    try:
        within = _inside(switch.pid, "-n")
        here = _namespace(os.getpid(), "net")
        until(lambda: _namespace(switch.pid, "net") != here, "a network")
        if _failed(*within, "ip", "link", "add", "switch", "type", "bridge"):
            pytest.skip("expected a kernel with bridges between networks")
        _run(*within, "ip", "link", "set", "switch", "up")
        yield machines
    finally:
        for machine in [*machines.all]:
            machines.lose(machine)
        switch.kill()
        switch.wait()


def until(done: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited for {what} in vain"
        time.sleep(0.02)


def _first_of(keeper: subprocess.Popen[bytes]) -> int:
    found: list[int] = []

    def look() -> bool:
        found[:] = [one.pid for one in psutil.Process(keeper.pid).children()]
        return bool(found)

    until(look, "a process")
    return found[0]


def _inside(pid: int, *namespaces: str) -> list[str]:
    return ["nsenter", "-t", str(pid), *(namespaces or ("-m", "-n", "-p", "-u", "-i")), "--"]


def _namespace(pid: int, kind: str) -> str:
    """The name of a namespace that a process is in; nothing where it has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""


def _failed(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
