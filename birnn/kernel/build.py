"""Compiling the kernel: once for each version of its source, with the compiler that is there.

path = built("v3")    # a shared library; None where nothing compiles C
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("source")
SHIPPED: Final = Path(__file__).with_name("shipped")  # where a wheel brings a library
PROCESSOR: Final = "processor"  # the library that tells which level a CPU is capable of

# -ffp-contract=off: a compiler may not fuse a product and a sum by itself, or the bits differ.
FLAGS: Final = (
    "-std=gnu11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
)
UNIX: Final = ("-fPIC", "-lpthread")  # what Windows has not

# What a level may use, from the oldest CPU to the newest.
LEVELS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "x86_64": {
        "v2": ("-msse4.2",),
        "v3": ("-mavx2", "-mfma"),
        "v4": ("-mavx2", "-mfma", "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"),
    },
    "aarch64": {"neon": ()},
}


class BuildError(Exception):
    """The compiler that is there does not compile the kernel."""


def levels() -> dict[str, tuple[str, ...]]:
    """What this kind of CPU may be capable of, the oldest first."""
    names = {"amd64": "x86_64", "arm64": "aarch64"}
    machine = platform.machine().lower()
    return LEVELS.get(names.get(machine, machine), {"any": ()})


def compiler() -> list[str]:
    """The command of a C compiler: `$CC`, the system's, or the one of the package ziglang."""
    # On Windows, gcc puts vectors on a stack that is not aligned for them (GCC bug 54412).
    names = [] if _on_windows() else ["cc", "gcc", "clang"]
    for name in (os.environ.get("CC", ""), *names):
        if name and shutil.which(name.split()[0]):
            return name.split()
    return [sys.executable, "-m", "ziglang", "cc"] if find_spec("ziglang") else []


def built(name: str) -> Path | None:
    """Give a library, compiled now if it is not there yet; None without a compiler.

    Args:
        name: a level, or `PROCESSOR`.

    Raises:
        BuildError: the compiler fails, with its own words.
    """
    from filelock import FileLock  # not there where wheels are made

    file = file_name(name)
    if (SHIPPED / file).exists():
        return SHIPPED / file
    made = _cache() / file
    if not made.exists():
        command = compiler()
        if not command:
            return None
        with FileLock(made.with_name(f"{file}.lock")):
            if not made.exists():
                compile_into(made, name, command)
    return made


def file_name(name: str) -> str:
    """What a library is called: of another source it has another name."""
    return f"birnn-{name}-{_digest()}{_suffix()}"


def compile_into(made: Path, name: str, command: list[str]) -> None:
    """Compile one library; whoever looks for it sees the whole of it or nothing.

    Raises:
        BuildError: the compiler fails.
    """
    if name == PROCESSOR:
        what = [str(SOURCE / "processor.c")]
    else:
        level = [*levels()[name], f"-DLEVEL={name}"]
        what = [*level, str(SOURCE / "kernel.c"), str(SOURCE / "threads.c")]
    what += () if _on_windows() else UNIX
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        library = Path(folder) / made.name
        done = subprocess.run(
            [*command, *FLAGS, "-shared", *what, "-o", str(library)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = [line for line in done.stdout.splitlines() if "error" in line]
            raise BuildError(f"{command[0]}: {lines[0] if lines else done.stdout.strip()}")
        with library.open("rb+") as file:  # or a power cut could leave an empty library here
            os.fsync(file.fileno())
        library.replace(made)


def _on_windows() -> bool:
    return sys.platform == "win32"


@cache
def _digest() -> str:
    """The hash of everything that decides what the libraries compute."""
    digest = hashlib.sha256(repr((FLAGS, levels(), platform.machine(), sys.platform)).encode())
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _suffix() -> str:
    return {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")


@cache
def _cache() -> Path:
    """A folder of the user's own, since what lies in it is run."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "birnn"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="birnn-"))
