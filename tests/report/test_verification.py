"""The result that is here beside that of the last commit: the same bytes, as good, or another."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from birnn.errors import DataError
from birnn.files import atomic, digests, parts, tables
from birnn.params import lock
from birnn.report import provenance, verification

HEADLINES = {"accuracy": 0.8, "f1_macro": 0.8}


def verdict(
    grade: str = "good", half: float = 0.1, leakage: str = "pass", **headlines: float
) -> Any:
    """The tree of `verdict.json`."""
    rows = [
        {"model": "forward", "metric": name, "value": value, "low": 0.8 - half, "high": 0.8 + half}
        for name, value in (HEADLINES | headlines).items()
    ]
    checks = [{"name": "leakage", "status": leakage}, {"name": "calibration", "status": "warn"}]
    return {"grade": grade, "checks": checks, "headlines": rows}


OUTS: dict[str, dict[str, Any]] = {
    "generate": {"data/raw/sequences.parquet": "data"},
    "prepare": {"data/prepared/train.arrow": "train"},
    "train@forward": {"models/forward/weights.safetensors": "weights"},
    "evaluate@forward": {
        "evaluation/forward/answers.json": {"labels": 4, "sample": ["0 1", "1 0"]},
        "evaluation/forward/metrics.json": HEADLINES,
    },
    "report": {"report/verdict.json": verdict()},
}


def write(path: str, content: Any) -> None:
    if isinstance(content, str):
        atomic.write_text(path, content)
    else:
        atomic.write_json(path, content)


def write_lock(**params: Any) -> None:
    """Record what is here, as DVC does."""
    stages = {
        stage: {
            "params": {"params.yaml": {"train.seed": 2, **params}},
            "outs": [{"path": path, "md5": digests.md5(path)} for path in outs],
        }
        for stage, outs in OUTS.items()
    }
    text = yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False)
    atomic.write_text(lock.PATH, text)


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Commits all that is in the working directory, a git repository with a result."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)

    def done() -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        for command in (("add", "--all"), (*who, "commit", "-q", "-m", "x")):
            subprocess.run(["git", *command], check=True)

    for outs in OUTS.values():
        for path, content in outs.items():
            write(path, content)
    write_lock()
    return done


@pytest.fixture
def committed(commit: Callable[[], None]) -> None:
    commit()


def change(path: str, content: Any, **params: Any) -> None:
    """Let the pipeline have written something else."""
    write(path, content)
    write_lock(**params)


@pytest.mark.usefixtures("committed")
class TestVerify:
    def test_the_same_bytes(self) -> None:
        found = verification.verify()
        assert found.sentence == "identical: all 6 outs have the bytes of the last commit"

    def test_other_weights_and_as_good(self) -> None:
        write("models/forward/weights.safetensors", "others")
        write("evaluation/forward/answers.json", {"labels": 4, "sample": ["0 1", "0 0"]})
        change("report/verdict.json", verdict(f1_macro=0.79))
        found = verification.verify()
        assert found.status == "equivalent"
        for part in (
            "the f1_macro of forward, 0.8000 in the last commit, 0.7900 here",
            "(0.05 of the width of its interval, 0.25 allowed)",
            "75.0 % of the answers are equal",
        ):
            assert part in found.reason

    def test_a_result_made_by_other_code_is_as_good(self) -> None:
        text = Path(lock.PATH).read_text().replace("stages:", "code: x\nstages:")
        change("models/forward/weights.safetensors", "others")
        atomic.write_text(lock.PATH, text)
        assert verification.verify().status == "equivalent"

    @pytest.mark.parametrize(
        ("path", "content", "params", "reason"),
        [
            (
                "models/forward/weights.safetensors",
                "others",
                {"train.seed": 3},
                "generate: params.yaml: train.seed: 2 in the last commit, 3 here",
            ),
            (
                "models/forward/weights.safetensors",
                "others",
                {"train.new": True},
                "generate: params.yaml: train.new: not set in the last commit, true here",
            ),
            (
                "data/prepared/train.arrow",
                "others",
                {},
                "prepare: data/prepared/train.arrow: MD5 61b3a8faa9c1091806675c230a9abe64 in the",
            ),
            (
                "report/verdict.json",
                verdict(accuracy=0.86, f1_macro=0.1),
                {},
                "evaluate@forward: evaluation/forward/metrics.json: accuracy: 0.8000 in the last "
                "commit, 0.8600 here, 0.30 of the width of its interval and at most 0.25 allowed",
            ),
            (
                "report/verdict.json",
                verdict("fair"),
                {},
                "report: report/verdict.json: grade: good in the last commit, fair here",
            ),
            (
                "report/verdict.json",
                verdict(leakage="fail"),
                {},
                "report: report/verdict.json: leakage: pass in the last commit, fail here",
            ),
        ],
    )
    def test_another_result(
        self, path: str, content: Any, params: dict[str, Any], reason: str
    ) -> None:
        change(path, content, **params)
        found = verification.verify()
        assert found.status == "different"
        assert found.reason.startswith(reason)

    def test_a_metric_without_an_interval_must_be_the_same(self, commit: Any) -> None:
        change("report/verdict.json", verdict(half=0.0))
        commit()
        change("report/verdict.json", verdict(half=0.0, accuracy=0.8001))
        assert verification.verify().status == "different"

    def test_an_out_that_is_gone(self) -> None:
        Path("models/forward/weights.safetensors").unlink()
        found = verification.verify()
        assert found.status == "different"
        assert found.reason == (
            "train@forward: models/forward/weights.safetensors: no such file here; run `dvc repro`"
        )

    def test_another_model(self) -> None:
        text = Path(lock.PATH).read_text().replace("evaluate@forward", "evaluate@backward")
        atomic.write_text(lock.PATH, text)
        assert verification.verify().reason == (
            "evaluate@forward: a stage in the last commit, no stage here"
        )


class TestNothingToCompare:
    def test_no_commit(self, commit: Callable[[], None]) -> None:
        with pytest.raises(DataError, match=r"dvc\.lock: expected one in the last commit, found n"):
            verification.verify()

    @pytest.mark.usefixtures("committed")
    def test_no_result(self) -> None:
        Path(lock.PATH).unlink()
        with pytest.raises(DataError, match=r"dvc\.lock: no such file; run `dvc repro` first"):
            verification.verify()

    def test_small_outs_that_are_not_in_git(self, commit: Callable[[], None]) -> None:
        Path(".gitignore").write_text("/report/\n")
        commit()
        change("models/forward/weights.safetensors", "others")
        with pytest.raises(DataError, match=r"verdict\.json: expected it in the last commit"):
            verification.verify()


@pytest.mark.usefixtures("committed")
class TestProvenance:
    """Of the result: which machine made it."""

    def test_is_noted_once_a_result(self, monkeypatch: pytest.MonkeyPatch) -> None:
        change("models/forward/weights.safetensors", "others")
        provenance.record(Path(), verification.here())
        first = atomic.read_json(provenance.PATH)
        assert first["machine"]["processor"]
        assert first["machine"]["torch"].startswith("2.")
        monkeypatch.setattr(provenance, "machine", lambda: {"processor": "another"})
        provenance.record(Path(), verification.here())
        assert atomic.read_json(provenance.PATH) == first
        change("models/forward/weights.safetensors", "third")
        provenance.record(Path(), verification.here())
        assert atomic.read_json(provenance.PATH)["machine"] == {"processor": "another"}

    def test_of_the_commit_is_told_beside_this_machine(
        self, commit: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert provenance.of_commit(verification.committed()) is None
        assert "not recorded" in provenance.sentence(None, None)
        made = {"processor": "X", "instructions": "AVX2", "torch": "2.13.0"}
        monkeypatch.setattr(provenance, "machine", lambda: made)
        provenance.record(Path(), verification.here())
        commit()
        then = provenance.of_commit(verification.committed())
        assert then == made
        line = "The result of the last commit was made on processor X, instructions AVX2, torch 2.1"
        assert provenance.sentence(then, None).startswith(line)
        assert provenance.sentence(then, then).endswith("Here: the same.")
        others = made | {"instructions": "AVX512", "OMP_NUM_THREADS": "1"}
        found = provenance.sentence(then, others)
        assert found.endswith("Here: instructions AVX512, OMP_NUM_THREADS 1.")

    def test_comes_back_with_the_result_of_the_commit(self, commit: Callable[[], None]) -> None:
        assert not provenance.restore()
        atomic.write_json(provenance.PATH, {"machine": {}})
        commit()
        atomic.write_json(provenance.PATH, {"machine": {"processor": "another"}})
        assert provenance.restore()
        assert atomic.read_json(provenance.PATH) == {"machine": {}}

    def test_settings_that_change_numbers_are_part_of_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        assert provenance.machine()["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_parts_in_a_store_are_read(commit: Callable[[], None], tmp_path: Path) -> None:
    path = Path("data/raw/sequences.parquet")
    table = pa.table({"sequence": ["a", "a", "b"], "x": [1.0, 2.0, 3.0]})
    chunks = [(table, np.array([0, 2, 3]))]
    with parts.writing(path, (tmp_path / "store").as_uri()) as folder:
        folder.finish([*tables.write_parts(chunks, folder, part_steps=2)])
    write_lock()
    commit()
    assert verification.verify().status == "identical"
    for stored in Path("store").iterdir():
        stored.write_bytes(bytes(stored.stat().st_size))
    with pytest.raises(DataError, match="expected the bytes of its name"):
        verification.verify()


def test_other_parts_are_other_data(commit: Callable[[], None]) -> None:
    path = Path("data/raw/sequences.parquet")
    table = pa.table({"sequence": ["a", "a", "b"], "x": [1.0, 2.0, 3.0]})
    for part_steps in (2, 3):
        with parts.writing(path) as folder:
            chunks = [(table, np.array([0, 2, 3]))]
            folder.finish([*tables.write_parts(chunks, folder, part_steps=part_steps)])
        write_lock()
        if part_steps == 2:
            commit()
    assert "data/raw/sequences.parquet: MD5" in verification.verify().reason
