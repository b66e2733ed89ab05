"""Write requirements.lock, with the hashes of every file that pip may take, and who needs what.

    python deploy/lock.py    # `make lock`: after a change of constraints.txt or pyproject.toml

| file                              | what                                                        |
| --------------------------------- | ----------------------------------------------------------- |
| `requirements.lock`               | all packages, as constraints: it installs nothing by itself |
| `deploy/requirements/pip.txt`     | pip and setuptools, with hashes, for any older pip          |
| `deploy/requirements/develop.txt` | what birnn and all its extras name                          |
| `deploy/requirements/retrain.txt` | what `birnn[retrain]` names                                 |
| `deploy/requirements/deploy.txt`  | what makes releases and looks at this folder                |
| `deploy/requirements/serve.txt`   | what `birnn serve` needs                                    |
| `deploy/requirements/windows.txt` | what makes a wheel on Windows, its compiler too             |
| `deploy/requirements/cpu.txt`     | torch's wheels for CPUs alone, to be installed first        |

All but `pip.txt` and `cpu.txt` name `requirements.lock`, so that pip finds there what they need in
turn. torch's large wheels need packages for GPUs; these have hashes too, but nothing asks for them
where a wheel for CPUs is installed.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
FOLDER = ROOT / "deploy" / "requirements"
CPU_WHEELS = ROOT / "deploy" / "torch-cpu.txt"
OLDEST_PYTHON = "3.11"
INSTALLERS = ("pip", "setuptools")
COMPILER = "ziglang"  # `make` installs it where there is no C compiler
SERVE = (  # no torch, and of MLflow the client alone
    *("filelock", "mlflow-skinny", "numpy", "psutil", "pyarrow", "pydantic", "pyyaml", "rich"),
    *("safetensors", "starlette", "typer", "uvicorn"),
)
MADE = "# Made by `make lock`.\n"


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted() -> dict[str, list[str]]:
    """The names that pyproject.toml gives, by extra; those that birnn itself needs under ''."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    given = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [named(line) for line in lines] for extra, lines in given.items()}


def named(requirement: str) -> str:
    """The name in a requirement such as `dvc>=3.67`."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return normal(found[0])


def compiled() -> str:
    """What the index has of each package: `NAME==VERSION ; MARKER` and its hashes."""
    more = "\n".join((*INSTALLERS, COMPILER))
    command = [
        *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST_PYTHON),
        *("--generate-hashes", "--no-header", "--no-annotate", "--no-config"),
        *("--constraint", "constraints.txt", "--all-extras", "pyproject.toml", "-"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, input=more, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def pins(lock: str) -> dict[str, str]:
    """The lines of each package in a lock, by its name."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return {named(block): block for block in blocks[1:]}


def with_cpu_wheels(block: str) -> str:
    """Add the hashes of torch's wheels for CPUs to those that a pin has."""
    version = version_of(block).partition("+")[0]
    lines = CPU_WHEELS.read_text(encoding="utf-8").splitlines()
    files = [line.split() for line in lines if not line.startswith("#")]
    other = [name for _, name in files if not name.startswith(f"torch-{version}+cpu-")]
    if other:
        raise SystemExit(f"{CPU_WHEELS}: expected files of torch {version}, found {other[0]}")
    return (
        " \\\n    ".join([block.rstrip(), *(f"--hash=sha256:{sha256}" for sha256, _ in files)])
        + "\n"
    )


def version_of(block: str) -> str:
    """The version that a package is pinned to."""
    return block.split("==")[1].split()[0]


def roots(names: Iterable[str], found: dict[str, str]) -> str:
    """What somebody asks pip for; the lock has the rest."""
    lines = sorted(f"{name}=={version_of(found[name])}\n" for name in {*names})
    return "".join([MADE, "-c ../../requirements.lock\n", *lines])


def main() -> None:
    """Ask the index, and write all files."""
    found = pins(compiled())
    names = wanted()
    everything = chain.from_iterable(names.values())
    torch = with_cpu_wheels(found["torch"])
    files = {
        LOCK: MADE + "".join((found | {"torch": torch}).values()),
        FOLDER / "pip.txt": MADE + "".join(found[name] for name in INSTALLERS),
        FOLDER / "develop.txt": roots(everything, found),
        FOLDER / "deploy.txt": roots(names["deploy"], found),
        FOLDER / "retrain.txt": roots([*names[""], *names["retrain"]], found),
        FOLDER / "serve.txt": roots(SERVE, found),
        FOLDER / "windows.txt": roots(["setuptools", COMPILER], found),
        FOLDER / "cpu.txt": MADE + with_cpu_wheels(f"torch=={version_of(found['torch'])}+cpu"),
    }
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
