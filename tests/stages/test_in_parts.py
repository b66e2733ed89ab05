"""Stages on data in parts: what is learned is that of one file, whoever reads which part when."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import Once, small_params

from birnn import cli, params
from birnn.data import kept, parted, sequences, splits
from birnn.data.parted import Parts
from birnn.data.splits import Splitting
from birnn.errors import DataError, ParamsError, without_secrets
from birnn.files import digests, engines, parts, processes, threads
from birnn.model import checkpoint, history

TABLE = "data/external/table.parquet"
FILES = [f"data/prepared/{split}.arrow" for split in ("train", "validation", "test")]
Stage = Callable[..., None]
Tree = dict[str, Any]

WAYS: dict[str, Tree] = {  # all that needs to know more than one part
    "by name": {"scale": "global", "missing": "mask"},
    "stratified": {"stratify": True, "scale": "per_sequence", "missing": "mean"},
    "in time": {"split_by": "y", "scale": "asinh", "missing": "last"},
    "in folds": {"folds": 4, "fold": 2, "scale": "none", "missing": "zero"},
    "named": {"scale": "global", "missing": "zero", "lowercase": True, "min_count": 5},
}


def table(way: str, task: str) -> pa.Table:
    """Words and two numbers; some repeat, some contradict, a few numbers and labels are missing."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 20, 300)
    sequence, steps = np.repeat(np.arange(300), lengths), int(lengths.sum())
    number = rng.normal(50, 3, steps)
    number[rng.random(steps) < 0.02] = np.nan
    labels = np.array(["a", "b", "c", None])[rng.choice(4, steps, p=[0.6, 0.3, 0.05, 0.05])]
    if task == "classification":
        labels = labels[np.cumsum(lengths) - 1][sequence]
    columns = {
        "sequence": [f"s{n}" for n in sequence],
        "group": [f"g{n // 3}" for n in sequence],
        "token": rng.choice(["Ein", "ein", "Wort", "é", "x"], steps),
        "x": number,
        "y": np.arange(300.0)[sequence],
        "label": labels,
        "note": [f"row {row}" for row in range(steps)],
    }
    if way == "named":
        columns["split"] = np.array(["train", "train", "validation", "test"])[sequence // 3 % 4]
    found = pa.table(columns)
    again = found.slice(0, int(lengths[:20].sum()))  # at the end, in another part
    ids = pa.array([f"copy of {name}" for name in again["sequence"].to_pylist()])
    groups = pa.array([f"copy of {name}" for name in again["group"].to_pylist()])
    again = again.set_column(0, "sequence", ids).set_column(1, "group", groups)
    return pa.concat_tables([found, again])


@pytest.fixture
def prepare(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: Stage,
    small_params: Callable[[], Tree],
) -> Callable[..., Path]:
    """The function that runs `generate` and `prepare` in a folder, and works there from then on."""

    def run(way: str, task: str, part_steps: int | None, threads: int = 1) -> Path:
        folder, tree = tmp_path / f"{part_steps} {threads}", small_params()
        tree["data"] = {"source": "table", "task": task, "path": TABLE, "keep": ["note"]}
        tree["prepare"] |= WAYS[way]
        tree["run"] = {"part_steps": part_steps}
        (folder / "data/external").mkdir(parents=True)
        pq.write_table(table(way, task), folder / TABLE)
        (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        monkeypatch.chdir(folder)
        monkeypatch.setattr(pa, "cpu_count", lambda: threads)
        stage("generate")
        stage("prepare")
        return folder

    return run


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def steps(path: str) -> pd.DataFrame:
    """All steps of a split, with what each is in words, in the order of ids."""
    split = sequences.read(path)
    number = np.repeat(np.arange(len(split)), split.lengths)
    frame = pd.DataFrame(split.values)
    frame["id"], frame["group"] = np.array(split.ids)[number], np.array(split.groups)[number]
    frame["label"] = split.labels if split.tagging else split.labels[number]
    assert split.dictionary is not None
    frame["token"] = np.array(split.dictionary)[split.tokens]
    frame["step"] = np.arange(len(frame)) - split.offsets[number]
    if "test" in path:
        notes = kept.read("data/prepared/kept.parquet")["note"].to_pylist()
        frame["note"] = notes if split.tagging else np.array(notes)[number]
    return frame.sort_values(["id", "step"], ignore_index=True)


def rows_of(split: str) -> list[str]:
    """The ids of a split, as whoever asks a model about its raw rows reads them."""
    how = Splitting.of(params.load().prepare)
    found = [table for table, _ in splits.read_one(Path("data/raw"), how, split)]
    ids: list[str] = pa.concat_tables(found)["sequence"].unique().to_pylist()
    return ids


def trees(folder: Path) -> tuple[Tree, Tree, Tree]:
    """The summary, the encoding and the packing."""
    names = ("raw/summary", "prepared/encoding", "prepared/packing")
    summary, encoding, packing = (
        json.loads((folder / f"data/{name}.json").read_text()) for name in names
    )
    return summary, encoding, packing


@pytest.mark.parametrize("task", ["tagging", "classification"])
@pytest.mark.parametrize("way", WAYS)
def test_parts_hold_what_one_file_does(prepare: Callable[..., Path], way: str, task: str) -> None:
    one = prepare(way, task, None)
    expected, known = {name: steps(name) for name in FILES}, trees(one)
    for part_steps in (100, 1000):
        folder = prepare(way, task, part_steps)
        summary, encoding, packing = trees(folder)
        assert summary == known[0]
        numbers = ("mean", "scale", "fills")
        for name in numbers:
            assert encoding.pop(name) == pytest.approx(known[1][name], rel=1e-12, abs=1e-12)
        assert encoding == {name: known[1][name] for name in encoding}
        for name in ("sequences", "steps", "edges", "histogram", "duplicates", "conflicts"):
            assert packing[name] == known[2][name]
        for name in FILES:
            split = parted.read(name)
            assert isinstance(split, Parts)
            for _, part in split.each():
                assert (np.diff(part.lengths) >= 0).all()
            pd.testing.assert_frame_equal(steps(name), expected[name], rtol=1e-6)
            assert sequences.read(name).ids.to_pylist() == rows_of(Path(name).stem)


@pytest.mark.parametrize("way", ["by name", "stratified"])
def test_bytes_do_not_depend_on_threads(prepare: Callable[..., Path], way: str) -> None:
    one, many = (files(prepare(way, "tagging", 150, threads)) for threads in (1, 4))
    assert len(one) > 40
    assert one.keys() == many.keys()
    assert [name for name in one if one[name] != many[name]] == []


@pytest.mark.parametrize("way", ["by name", "stratified"])
def test_nor_on_processes(
    prepare: Callable[..., Path], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = files(prepare(way, "tagging", 150))
    began, mapped = list[object](), processes.mapped

    def noted(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        began.append(function)
        return mapped(function, items)

    monkeypatch.setattr(engines, "LEAST_STEPS", 1)
    monkeypatch.setattr(processes, "mapped", noted)
    assert files(prepare(way, "tagging", 150, threads=2)) == one
    assert len(began) == 4  # to look at the table, at what is missing, to learn, and to write


@pytest.mark.slow
def test_any_process_can_be_given_a_part(
    prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = files(prepare("stratified", "tagging", 1000))

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

        def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            yield from pool.map(function, items)

        monkeypatch.setattr(threads, "mapped", mapped)
        elsewhere = files(prepare("stratified", "tagging", 1000, threads=2))
    assert elsewhere == here


def test_a_part_without_test_sequences(prepare: Callable[..., Path]) -> None:
    prepare("in time", "tagging", 150)  # so the test split is in the last parts alone
    numbers = [place.part.number for place in parts.of("data/prepared/test.arrow")]
    assert numbers[0] > 10
    assert numbers == [place.part.number for place in parts.of("data/prepared/kept.parquet")]


def test_files_take_the_place_of_parts_again(prepare: Callable[..., Path], stage: Stage) -> None:
    folder = prepare("by name", "tagging", 1000)
    tree = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(tree | {"run": {"part_steps": None}}))
    stage("generate")
    stage("prepare")
    again = files(folder)
    assert again == files(prepare("by name", "tagging", None))


@pytest.fixture(scope="session")
def once_drawn(once: Once, stage: Stage, small_params: Callable[[], Tree]) -> Path:
    """Data of a known process in three parts, prepared."""

    def make(folder: Path) -> None:
        tree = small_params()
        tree["data"] |= {"sequences": 3000}
        tree["run"] = {"part_steps": 5000}
        tree["evaluate"] |= {"critical": {"c1": {"min_recall": 0.5}}}
        (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            stage("generate")
            stage("prepare")

    return once("drawn", make)


@pytest.fixture
def drawn(once_drawn: Path, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them as the working directory."""
    shutil.copytree(once_drawn, runs_root, dirs_exist_ok=True)
    monkeypatch.chdir(runs_root)
    return runs_root


def test_processes_draw_the_same(
    drawn: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(drawn)
    monkeypatch.setattr(engines, "LEAST_STEPS", 1)
    monkeypatch.setattr(pa, "cpu_count", lambda: 2)
    stage("generate")
    stage("prepare")
    assert files(drawn) == before


def test_a_known_process_is_drawn_part_by_part(
    drawn: Path, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, rows = trees(drawn)[0], pq.read_table("data/raw/sequences.parquet")
    assert [one.part.sequences for one in parts.of("data/raw/sequences.parquet")] == [
        *(1024, 1024, 952)
    ]
    (tmp_path / "one").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    tree = yaml.safe_load((drawn / "params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(tree | {"run": {"part_steps": None}}))
    stage("generate")
    assert pq.read_table("data/raw/sequences.parquet").equals(rows)
    whole = json.loads(Path("data/raw/summary.json").read_text())
    for name in ("limits", "limits_by_length"):
        assert summary[name].keys() == whole[name].keys()
    assert summary.pop("limits") == pytest.approx(whole.pop("limits"), rel=1e-8)
    for view, limits in summary.pop("limits_by_length").items():
        assert limits == pytest.approx(whole["limits_by_length"][view], rel=1e-8)
    del whole["limits_by_length"]
    assert summary == whole


@pytest.mark.slow
def test_all_stages(drawn: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    save = checkpoint.save

    class KilledError(Exception):
        """In the place of a signal."""

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_stop)
        for _ in range(2):
            with pytest.raises(KilledError):
                stage("train", "bidirectional")
    stage("train", "bidirectional")
    resumed = Path("models/bidirectional/weights.safetensors").read_bytes()
    assert len(history.read("models/bidirectional/history.csv")) > 2
    stage("train", "bidirectional")
    assert Path("models/bidirectional/weights.safetensors").read_bytes() == resumed
    stage("train", "forward")
    for name in ("bidirectional", "forward"):
        stage("evaluate", name)
    stage("report")
    assert json.loads(Path("report/verdict.json").read_text())["accuracy"] > 0.5
    assert not list(Path("data").rglob(".*"))

    command = ["predict", "data/raw/sequences.parquet", "--output", "out.csv"]
    monkeypatch.setattr(sys, "argv", ["birnn", *command, "--model", "models/bidirectional"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert len(pd.read_csv("out.csv")) == parts.read("data/raw/sequences.parquet").steps


@pytest.mark.parametrize("name", ["data/raw/sequences.parquet", "data/prepared/train.arrow"])
def test_a_part_that_is_gone_is_one_line(
    drawn: Path, stage: Stage, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (lost,) = Path(name).glob("part-00001.*")
    lost.unlink()
    with pytest.raises(SystemExit) as ended:
        stage("prepare" if "raw" in name else "train", *([] if "raw" in name else ["forward"]))
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"error: {lost}: no such part of {name}/{digests.INDEX}; run `dvc repro`, or `dvc pull`\n"
    )


@pytest.mark.slow
def test_dvc_names_a_folder_as_we_do(drawn: Path) -> None:
    environment = os.environ | {"PATH": str(Path(sys.executable).parent)}
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "data/raw/sequences.parquet"]):
        subprocess.run(["dvc", *command], cwd=drawn, check=True, env=environment)
    (recorded,) = yaml.safe_load(Path("data/raw/sequences.parquet.dvc").read_text())["outs"]
    assert digests.md5("data/raw/sequences.parquet") == recorded["md5"]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"store": "s3://bucket/data"}, "run: expected part_steps beside store"),
        ({"part_steps": 9, "store": "bucket"}, "expected an address such as s3://bucket/prefix"),
        ({"part_steps": 9, "store": "s3://key:secret@bucket/x"}, "without keys"),
        ({"part_steps": 0}, "run.part_steps"),
    ],
)
def test_params_that_do_not_fit(tmp_path: Path, run: Tree, expected: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(small_params() | {"run": run}), encoding="utf-8")
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    assert expected in str(caught.value)
    assert "secret" not in without_secrets(str(caught.value))  # as commands print it


def test_a_store_holds_all_parts(
    drawn: Path, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = yaml.safe_load((drawn / "params.yaml").read_text())
    tree["run"]["store"] = (tmp_path / "store").as_uri()
    (tmp_path / "stored").mkdir()
    monkeypatch.chdir(tmp_path / "stored")
    Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    stage("generate")
    stage("prepare")
    assert {path.name for path in Path("data/prepared/train.arrow").iterdir()} == {digests.INDEX}
    for name in (*FILES, "data/raw/sequences.parquet"):
        assert parts.read(name).parts == parts.read(drawn / name).parts
    for folder in (tmp_path / "stored", drawn):
        monkeypatch.chdir(folder)
        stage("train", "forward")
    weights = "models/forward/weights.safetensors"
    assert (tmp_path / "stored" / weights).read_bytes() == (drawn / weights).read_bytes()
    for path in (tmp_path / "store").iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DataError, match="expected the bytes of its name"):
        list(parted.each(parted.read(tmp_path / "stored" / FILES[0])))
