"""The kernel in C alone: the same prints from every compiler and CPU, and nothing out of bounds.

What is not installed is skipped: `pip install ziglang` and `apt-get install clang qemu-user wine64
gcc-aarch64-linux-gnu`.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Once

from birnn.kernel import build

DRIVER = Path(__file__).with_name("driver.c")
SANITIZED = ("-g", "-O1", "-fno-sanitize-recover=all")
PLAINEST = "any CPU"
BUILDS = {
    PLAINEST: ("cc", "-O2", "-DLEVEL=any"),
    "not optimized": ("cc", "-O0", "-mavx2", "-mfma", "-DLEVEL=v3"),
    "clang": ("clang", "-O3", "-mavx2", "-mfma", "-DLEVEL=v3"),
    "address and undefined": ("cc", *SANITIZED, "-fsanitize=address,undefined", "-DLEVEL=any"),
    "threads": ("cc", *SANITIZED, "-fsanitize=thread", "-DLEVEL=any"),
    "aarch64": ("aarch64-linux-gnu-gcc", "-O3", "-static", "-DLEVEL=neon"),
    "Windows": ("zig", "-target", "x86_64-windows-gnu", "-O3", "-mavx2", "-mfma", "-DLEVEL=v3"),
}
EMULATORS = {"aarch64": "qemu-aarch64", "Windows": "wine"}
ZIG = [sys.executable, "-m", "ziglang", "cc"]
TAKES_LONG = ("address and undefined", "threads", "Windows")  # half a minute or more
OTHER_SYSTEMS = [  # zig's name, Python's two, the level, and what a library's name ends in
    ("x86_64-windows-gnu", "win32", "AMD64", "v3", ".dll"),
    ("aarch64-macos", "darwin", "arm64", "neon", ".dylib"),
    ("x86_64-macos", "darwin", "x86_64", "v4", ".dylib"),
    ("aarch64-linux-gnu", "linux", "aarch64", "neon", ".so"),
]
needs_zig = pytest.mark.skipif(not find_spec("ziglang"), reason="no ziglang here")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "x86_64" not in build.LEVELS or not shutil.which("cc"), reason="no compiler"
    ),
]


def build_driver(name: str, folder: Path) -> None:
    """Compile `driver.exe`, here for this CPU or for another."""
    compiler, *flags = BUILDS[name]
    command = ZIG if compiler == "zig" else [compiler]
    plain = [flag for flag in build.FLAGS if flag != "-O3"]
    libraries = ["-lpthread", "-lm"] if name != "Windows" else []
    sources = [str(DRIVER), str(build.SOURCE / "threads.c"), *libraries]
    made = str(folder / "driver.exe")
    subprocess.run(
        [*command, *plain, *flags, "-I", str(build.SOURCE), *sources, "-o", made], check=True
    )


def printed(name: str, folder: Path, threads: int) -> str:
    """What the driver in a folder prints; an emulator runs that of another CPU or system."""
    emulator = [EMULATORS[name]] if name in EMULATORS else []
    quiet = {"WINEPREFIX": str(folder / "wine"), "WINEDEBUG": "-all", "TMPDIR": str(folder)}
    run = subprocess.run(
        [*emulator, str(folder / "driver.exe"), str(threads)],
        env=os.environ | quiet,
        capture_output=True,
        text=True,
        check=True,
    )
    if name == "Windows":  # its server goes on for a while
        subprocess.run(["wineserver", "--wait"], env=os.environ | quiet, check=True)
    else:
        assert run.stderr == ""
    return run.stdout


def skip_without_tools(name: str) -> None:
    compiler, *flags = BUILDS[name]
    if compiler == "zig" and not find_spec("ziglang"):
        pytest.skip("no ziglang here")
    tools = [ZIG[0] if compiler == "zig" else compiler, EMULATORS.get(name)]
    for tool in filter(None, tools):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    if {"-mavx2"} & {*flags} and " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("no AVX2 here")


@pytest.fixture(scope="session")
def plainest(once: Once) -> Path:
    """A folder with the plainest build, and `printed`, what it prints in one thread."""

    def make(folder: Path) -> None:
        build_driver(PLAINEST, folder)
        (folder / "printed").write_text(printed(PLAINEST, folder, 1), encoding="utf-8")

    return once("driver", make)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (name in TAKES_LONG)) for name in BUILDS],
)
def test_prints_the_same(name: str, tmp_path: Path, plainest: Path) -> None:
    skip_without_tools(name)
    expected = (plainest / "printed").read_text(encoding="utf-8")
    assert "failed" not in expected
    assert len(expected.splitlines()) == 22
    folder = plainest if name == PLAINEST else tmp_path
    if name != PLAINEST:
        build_driver(name, folder)
    assert printed(name, folder, 3) == expected


@pytest.mark.long  # zig first compiles the system's own library
@needs_zig
@pytest.mark.parametrize(("target", "system", "machine", "level", "suffix"), OTHER_SYSTEMS)
def test_compiles_for_other_systems(
    target: str,
    system: str,
    machine: str,
    level: str,
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    build._digest.cache_clear()
    file = build.file_name(level)
    build._digest.cache_clear()
    assert level in build.levels()
    assert file.endswith(suffix)
    strict = [*ZIG, "-target", target, "-Wall", "-Wextra", "-Werror"]
    for name in (level, build.PROCESSOR):
        build.compile_into(tmp_path / name, name, strict)
    shown = set(re.findall(rf"birnn_\w+_{level}\b".encode(), (tmp_path / level).read_bytes()))
    assert shown == {f"birnn_{name}_{level}".encode() for name in exported()}
    assert b"birnn_level" in (tmp_path / build.PROCESSOR).read_bytes()


def exported() -> set[str]:
    """What kernel.c shows."""
    return set(re.findall(r"(?m)^\w.* EXPORT\((\w+)\)", (build.SOURCE / "kernel.c").read_text()))
