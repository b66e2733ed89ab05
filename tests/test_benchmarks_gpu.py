"""The benchmarks of a GPU, without one: what they run, in which order, and what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as tables
from benchmarks import epochs, gpu, gpu_checks, lengths, memory, padding, prediction
from birnn.model import batching, devices

ROOT = Path(__file__).parents[1]
WITHOUT = """
import runpy, sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"dvc", "mlflow", "pydantic", "pytest", "yaml"}:
            raise ImportError(f"no {name} here")

sys.meta_path.insert(0, Refused())
runpy.run_module("benchmarks.gpu", run_name="__main__")
"""


@pytest.mark.slow
def test_the_check_of_a_gpu_runs_on_a_cpu_and_needs_few_packages(tmp_path: Path) -> None:
    kept = tmp_path / "gpu.json"
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT, "--device", "cpu", "--quick", "--json", str(kept)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    rows = {row["name"]: row for row in json.loads(kept.read_text())}
    assert list(rows) == ["machine", *gpu_checks.CHECKS]
    assert not [name for name, row in rows.items() if "wrong" in row]
    assert rows["float64 as packed"]["largest difference"] < 1e-10
    assert rows["the same bytes"]["compared"] == ["stopped and resumed"]


class TestRows:
    def run(self, monkeypatch: pytest.MonkeyPatch, kept: Path, *options: str) -> tuple[int, Any]:
        threads = torch.get_num_threads()
        arguments = ["gpu", "--device", "cpu", "--quick", "--json", str(kept), *options]
        monkeypatch.setattr(sys, "argv", arguments)
        try:
            with pytest.raises(SystemExit) as ended:
                gpu.main()
        finally:
            torch.set_num_threads(threads)
        return int(ended.value.code or 0), json.loads(kept.read_text())

    def test_a_wrong_one_is_said_and_does_not_end_the_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def wrong(device: torch.device, quick: bool) -> dict[str, Any]:
            gpu_checks.expect(False, "expected 1, found 2")
            return {}

        def right(device: torch.device, quick: bool) -> dict[str, Any]:
            return {"quick": quick}

        monkeypatch.setattr(gpu_checks, "CHECKS", {"first": wrong, "second": right})
        status, rows = self.run(monkeypatch, tmp_path / "gpu.json")
        assert status == 1
        assert rows[1]["wrong"] == "WrongError: expected 1, found 2"
        assert rows[2]["quick"] is True
        assert "3 rows, 1 wrong; first" in capsys.readouterr().out

    def test_none_begins_too_late(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, rows = self.run(monkeypatch, tmp_path / "gpu.json", "--seconds", "-1")
        assert (status, {row["left out"] for row in rows}) == (0, {"no time"})

    @pytest.mark.parametrize(
        ("speeds", "wrong"),
        [
            ({"packed": 100, "dense": 140, "birnn": 100}, None),
            ({"packed": 200, "dense": 100, "birnn": 100}, "too slow: 0.50 times packed"),
            ({"packed": 50, "dense": 200, "birnn": 100}, "too slow: 0.50 times dense"),
        ],
    )
    def test_a_slow_one_is_wrong(
        self, monkeypatch: pytest.MonkeyPatch, speeds: dict[str, float], wrong: str | None
    ) -> None:
        monkeypatch.setattr(epochs, "draw", lambda _: None)
        monkeypatch.setattr(epochs, "measure_one", lambda *_, **__: {"speeds": speeds})
        call = gpu._speed("LSTM", (64, 32), torch.device("cpu"), tf32=True)
        assert call().get("wrong") == wrong


class TestOnAGPU:
    def test_the_cpu_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its tables take minutes, of which a GPU that is lent has few."""
        timed: list[str] = []
        monkeypatch.setattr(sys, "argv", ["benchmarks"])
        monkeypatch.setattr(devices, "choose", lambda _: torch.device("cuda"))
        monkeypatch.setattr(tables, "matmul_speed", lambda _: 1.0)
        monkeypatch.setattr(tables, "_name", str)
        for module in (epochs, lengths, memory, padding, prediction):

            def measure(*given: Any, module: Any = module, **_: Any) -> list[Any]:
                timed.append(f"{module.__name__}, {given[0].type if given else 'cpu'}")
                return []

            monkeypatch.setattr(module, "measure", measure)
        tables.main()
        assert timed == ["benchmarks.epochs, cuda", "benchmarks.lengths, cuda"]

    def test_peers_train_as_the_stage_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In deterministic mode, and all of them warmed up."""
        done: list[str] = []
        monkeypatch.setattr(devices, "make_deterministic", lambda *_: done.append("deterministic"))

        def peers(*_: Any) -> dict[str, Any]:
            return {"packed": lambda: done.append("packed")}

        monkeypatch.setattr(epochs, "peers", peers)
        epochs.measure_one(epochs.draw(2), "LSTM", (64, 32), torch.device("meta"), repetitions=1)
        assert done == ["deterministic", "packed", "packed"]

    def test_packed_calls_are_warmed_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[str] = []
        monkeypatch.setattr(lengths, "in_turn", lambda *_: {"birnn": 1.0, "dense": 1.0})
        monkeypatch.setattr(lengths, "packed", lambda *_: calls.append("packed"))
        lengths._measure("LSTM", 4, 10, False, torch.device("meta"))
        assert calls == ["packed"] * 2

    def test_packing_reads_lengths_from_memory(self) -> None:
        """From a GPU they would be copied at each batch, for which the host waits."""
        split, meta = epochs.draw(4), torch.device("meta")
        there = batching.resident(split, meta)
        for made in batching.epoch(there, batch_size=4, seed=0, number=1):
            assert made.values.device == meta
            assert made.lengths.device.type == "cpu"
