"""The kernel in C alone: the same prints from every compiler and CPU, and nothing out of bounds.

What is not installed is skipped: `apt-get install clang qemu-user gcc-aarch64-linux-gnu`.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from birnn.kernel import build

DRIVER = Path(__file__).with_name("driver.c")
SANITIZED = ("-g", "-O1", "-fno-sanitize-recover=all")
BUILDS = {
    "any CPU": ("cc", "-O2", "-DLEVEL=any"),
    "not optimized": ("cc", "-O0", "-mavx2", "-mfma", "-DLEVEL=v3"),
    "clang": ("clang", "-O3", "-mavx2", "-mfma", "-DLEVEL=v3"),
    "address and undefined": ("cc", *SANITIZED, "-fsanitize=address,undefined", "-DLEVEL=any"),
    "threads": ("cc", *SANITIZED, "-fsanitize=thread", "-DLEVEL=any"),
    "aarch64": ("aarch64-linux-gnu-gcc", "-O3", "-static", "-DLEVEL=neon"),
}
SANITIZERS = ("address and undefined", "threads")  # take half a minute
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "x86_64" not in build.LEVELS or not shutil.which("cc"), reason="no compiler"
    ),
]


def printed(name: str, folder: Path, threads: int) -> str:
    """What the driver prints; built here for this CPU, or run by an emulator of another."""
    compiler, *flags = BUILDS[name]
    emulator = ["qemu-aarch64"] if name == "aarch64" else []
    for tool in (compiler, *emulator):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    if {"-mavx2"} & {*flags} and " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("no AVX2 here")
    made = folder / "driver"
    plain = [flag for flag in build.FLAGS if flag not in ("-O3", "-fPIC")]
    sources = [str(DRIVER), str(build.SOURCE / "threads.c"), "-lpthread", "-lm"]
    subprocess.run(
        [compiler, *plain, *flags, "-I", str(build.SOURCE), *sources, "-o", str(made)], check=True
    )
    run = subprocess.run(
        [*emulator, str(made), str(threads)], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    return run.stdout


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the plainest build, in one thread."""
    return printed("any CPU", tmp_path_factory.mktemp("driver"), 1)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (name in SANITIZERS)) for name in BUILDS],
)
def test_prints_the_same(name: str, tmp_path: Path, expected: str) -> None:
    assert "failed" not in expected
    assert len(expected.splitlines()) == 22
    assert printed(name, tmp_path, 3) == expected
