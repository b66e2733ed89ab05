"""What a Ray cluster makes on machines that share no disk has the bytes of one machine.

The command runs on the first, which does no work itself; the others have none of its files, and a
copy of the code in another place. One is lost in each step of the work, and another comes.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import machines
import pytest
import yaml
from machines import Machine, Machines

FOLDERS = ("data", "models", "evaluation")
CHECKOUT = Path("/tmp/checkout")
PORT = 6379
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_METRICS_ENABLED": "0"}
WORK = {"prepare": "ray::_worked", "train": "ray::RayTrainWorker", "predict": "ray::_worked"}
"""What a process is called that does the work of a step."""


class Cluster:
    """A first machine with the files, and some that work."""

    def __init__(self, network: Machines, workers: int) -> None:
        self.network, self.number = network, 1
        self.first = network.add("10.77.0.1")
        self._ray(self.first, "--head", "--port", str(PORT), "--num-cpus", "0",
                  "--include-dashboard", "false")  # fmt: skip
        machines.until(lambda: "Ray runtime started" in self.first.log(), "the head of the cluster")
        self.workers = [self.join() for _ in range(workers)]

    def join(self) -> Machine:
        """Add a machine that works."""
        self.number += 1
        machine = self.network.add(f"10.77.0.{self.number}")
        self._ray(machine, "--address", f"{self.first.address}:{PORT}", "--num-cpus", "1")
        machines.until(lambda: "Ray runtime started" in machine.log(), "a machine of the cluster")
        return machine

    def _ray(self, machine: Machine, *arguments: str) -> None:
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block"]
        command += ["--node-ip-address", machine.address, *arguments]
        machine.start([sys.executable, *command], Path("/tmp"), QUIET)


def write(checkout: Path, params: dict[str, Any], engine: str) -> None:
    params["data"]["sequences"] = 8000
    params["train"] |= {"workers": 2, "max_epochs": 4, "batch_size": 256}
    checkout.mkdir(parents=True)
    text = yaml.safe_dump(params | {"run": {"engine": engine}})
    (checkout / "params.yaml").write_text(text, encoding="utf-8")


def begin(cluster: Cluster, checkout: Path, device: str) -> Popen[bytes]:
    known = {"RAY_ADDRESS": f"{cluster.first.address}:{PORT}", "DVC_ROOT": str(checkout)}
    command = [sys.executable, "-m", "tests.on_machines", device]
    return cluster.first.start(command, checkout, QUIET | known)


def ended(cluster: Cluster, program: Popen[bytes]) -> None:
    machines.until(lambda: program.poll() is not None, "the pipeline", 900)
    assert program.returncode == 0, cluster.first.log()[-4000:]


def begun(cluster: Cluster, checkout: Path) -> str:
    noted = cluster.first.outside(checkout / "begun")
    return noted.read_text("ascii").split()[-1] if noted.exists() else ""


def lose_one(cluster: Cluster, checkout: Path, name: str) -> None:
    """Wait until a machine works on a step, kill it, and let another come."""

    def works() -> bool:
        machine = cluster.workers[0]
        state = [*cluster.first.outside(checkout / ".birnn/resume").glob("*")]
        return bool(machine.processes(WORK[name])) and (name != "train" or bool(state))

    machines.until(lambda: begun(cluster, checkout) == name, name)
    machines.until(works, f"work for {name}")
    assert begun(cluster, checkout) == name
    cluster.network.lose(cluster.workers.pop(0))
    cluster.workers.append(cluster.join())


def held(folder: Path) -> dict[str, bytes]:
    paths = [path for name in FOLDERS for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def network() -> Iterator[Machines]:
    pytest.importorskip("ray", reason="ray is not installed")
    with machines.network() as found:
        yield found


@pytest.mark.slow
@pytest.mark.long
def test_have_the_bytes_of_one_though_some_are_lost(
    network: Machines, small_params: Callable[[], dict[str, Any]]
) -> None:
    cluster = Cluster(network, workers=2)
    local, ray = CHECKOUT / "local", CHECKOUT / "ray"
    write(cluster.first.outside(local), small_params(), "local")
    ended(cluster, begin(cluster, local, "cpu"))
    write(cluster.first.outside(ray), small_params(), "ray")
    program = begin(cluster, ray, "ray")
    for name in WORK:
        lose_one(cluster, ray, name)
    ended(cluster, program)
    assert [one for one in cluster.workers if one.outside(CHECKOUT).exists()] == []
    expected, made = (held(cluster.first.outside(checkout)) for checkout in (local, ray))
    assert made.keys() == expected.keys() > {"data/answers.csv"}
    assert [name for name, found in made.items() if found != expected[name]] == []
