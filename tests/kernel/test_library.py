"""Which kernel runs, and that its bits do not depend on it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from birnn.kernel import build, library

pytestmark = pytest.mark.skipif(library.found() is None, reason="no kernel on this machine")


@pytest.mark.slow
def test_every_level_and_number_of_threads_gives_the_same_bits() -> None:
    """With 0 threads of its own, the kernel works in those of torch."""
    *older, newest = build.levels()
    asked = [f"{one}:2" for one in older] + [f"{newest}:{threads}" for threads in range(4)]
    made = subprocess.run(
        [sys.executable, "-m", "tests.kernel.hashes", *asked],
        env=os.environ | {"OMP_NUM_THREADS": "3"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = made.stdout.splitlines()
    assert len(found) == len(older) + 4
    assert len({line.split()[-1] for line in found}) == 1, found


FORKS = """
import os, torch
from birnn import VariableLengthRNN
from birnn.kernel import library
torch.set_num_threads(3)
layer, values, lengths = VariableLengthRNN(4, 8), torch.ones(96, 5, 4), torch.full((96,), 5)
expected = layer(values, lengths)[0].sum().item()
child = os.fork()
if not child:
    library.set_threads(0)  # to use torch's again, as who has trained does
    os._exit(0 if layer(values, lengths)[0].sum().item() == expected else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    """As the workers of a DataLoader are: GNU's OpenMP would wait for ever."""
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=60)


def test_serves_float32_on_a_cpu() -> None:
    assert library.serves(torch.zeros(1)) is library.found()
    assert library.serves(torch.zeros(1, dtype=torch.float64)) is None
    assert library.serves(torch.zeros(1, device="meta")) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert library.serves(torch.zeros(1)) is None


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache, and a process that has not looked for a kernel yet."""
    looked = (library.found, library._tried, build._cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for function in looked:
        function.cache_clear()
    yield tmp_path / "birnn"
    for function in looked:
        function.cache_clear()


@pytest.mark.slow
def test_is_compiled_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library.found() is not None
    made = sorted(path.name for path in fresh.glob("*.so"))
    assert len(made) == 2
    assert made[0].startswith("birnn-processor-")
    for function in (library.found, library._tried):
        function.cache_clear()
    monkeypatch.setattr(build, "compile_into", lambda *_: pytest.fail("compiled again"))
    assert library.found() is not None
    assert fresh.stat().st_mode & 0o077 == 0  # what lies there is run


def test_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty library would be taken for one that this machine cannot load, ever after."""
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("synced"))
    monkeypatch.setattr(Path, "replace", lambda *_: done.append("renamed"))
    build.compile_into(tmp_path / "made.so", build.PROCESSOR, build.compiler())
    assert done == ["synced", "renamed"]


def test_no_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "compiler", list)
    assert library.found() is None
    assert library.name() == "torch"
    assert library.why_none() == "no C compiler; install one, or `pip install ziglang`"


def test_a_compiler_that_fails(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    assert library.found() is None
    assert library.why_none().startswith("false: ")
    assert not [*fresh.glob("*.so")]


def test_none_is_asked_for(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.ENVIRONMENT, "none")
    assert library.found() is None
    assert library.why_none() == "BIRNN_KERNEL is none"
