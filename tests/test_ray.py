"""What a Ray cluster makes has the bytes of one machine, also where some of it dies meanwhile."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dying
import pytest
import yaml

from birnn import cli
from birnn.files import cluster
from birnn.model import ranks

ROOT = Path(__file__).parents[1]
FOLDERS = ("data", "models", "evaluation")
STAGES = ("generate", "prepare", "train", "evaluate")
EPOCHS = 4


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder for Ray, whose sockets lie below it, and what its processes inherit."""
    with tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        found = [str(ROOT), str(ROOT / "tests"), *sys.path]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(found))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        yield Path(folder)


@pytest.fixture
def nodes(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines of one CPU each, on this one; this process is connected with the first."""
    for name, value in (cluster.QUIET | cluster.ALONE).items():
        monkeypatch.setenv(name, value)
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    ending = signal.getsignal(signal.SIGTERM)  # in whose place the cluster puts its own
    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        found.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", found.address)
        with cluster.connected():
            yield found
    finally:
        ray.shutdown()
        found.shutdown()
        signal.signal(signal.SIGTERM, ending)


def params(small: dict[str, Any], engine: str, *, whole: bool) -> str:
    """Two processes train, and there is work for more machines than one, if that is wanted."""
    small["data"]["sequences"] = 30_000 if whole else 1100
    small["train"] |= {"workers": 2, "max_epochs": EPOCHS, "batch_size": 256}
    return yaml.safe_dump(small | {"run": {"engine": engine}})


def run(
    stage: Callable[..., None],
    folder: Path,
    begin: Callable[[str], None] = lambda _: None,
    asked: str = "data/raw/sequences.parquet",
) -> dict[str, bytes]:
    """Go through the stages and a prediction; all files that were made."""
    for name in STAGES:
        begin(name)
        stage(name, *(["bidirectional"] if name in ("train", "evaluate") else []))
    begin("predict")
    out, device = folder / "data/answers.csv", "ray" if folder.name == "ray" else "cpu"
    cli.app(["predict", asked, "--output", str(out), "--device", device], standalone_mode=False)
    return held(folder, FOLDERS)


def held(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """All files in some folders of a folder."""
    paths = [path for name in names for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def locally(stage: Callable[..., None], *arguments: str) -> None:
    """In this process, but for two that `torchrun` starts."""
    if arguments[0] != "train":
        stage(*arguments)
        return
    run = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--log-dir", "log"]
    command = [sys.executable, "-m", *run, "-m", "stages.train", *arguments[1:]]
    subprocess.run(command, check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "whole", [False, pytest.param(True, marks=pytest.mark.long)], ids=["process", "machine"]
)
def test_the_pipeline_has_the_same_bytes_though_some_die(
    whole: bool,
    nodes: Any,
    runs_root: Path,
    stage: Callable[..., None],
    small_params: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process, or a machine, in each stage and in a prediction."""
    import ray

    home = ray.get_runtime_context().get_node_id() if whole else ""
    deaths, paired = runs_root / "deaths", cluster.paired

    def begin(name: str) -> None:
        death = dying.Death(deaths / name, home)
        death.folder.mkdir(parents=True)
        if whole:
            nodes.add_node(num_cpus=1)
        monkeypatch.setattr(cluster, "paired", partial(dying.paired, paired, death))
        monkeypatch.setattr(ranks, "process", partial(dying.rank, death))

    made = {}
    for engine in ("local", "ray"):
        folder = runs_root / engine
        folder.mkdir()
        monkeypatch.chdir(folder)
        text = params(small_params(), engine, whole=whole)
        (folder / "params.yaml").write_text(text, encoding="utf-8")
        if engine == "local":
            made[engine] = run(partial(locally, stage), folder)
        else:
            made[engine] = run(stage, folder, begin)
    assert made["ray"].keys() == made["local"].keys()
    assert [name for name, held in made["ray"].items() if held != made["local"][name]] == []
    begun = deaths / "train/epochs"
    epochs = begun.read_text(encoding="ascii").split()
    begun.unlink()
    assert {path.parent.name for path in deaths.glob("*/*")} == {*STAGES, "predict"}
    assert [epochs.count(number) for number in ("1", "2")] == [1, 1]  # it went on from there


def in_parts(params: dict[str, Any], engine: str, store: str | None) -> None:
    """Write params.yaml, in the working directory."""
    run = {"engine": engine, "part_steps": 2000, "store": store}
    Path("params.yaml").write_text(yaml.safe_dump(params | {"run": run}), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "training", ["local", pytest.param("ray", marks=pytest.mark.long)], ids=["here", "there"]
)
def test_parts_are_made_where_there_is_room(
    training: str,
    bucket: Any,
    nodes: Any,
    runs_root: Path,
    stage: Callable[..., None],
    small_params: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By any process of the cluster, on a disk that all share, or into a store.

    At last the store and the data lie in a bucket, and all stages work on them; to begin a training
    on the cluster takes as long as all the rest.
    """

    def enter(engine: str, name: str) -> Path:
        folder = runs_root / name / engine
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        return folder

    def prepared(engine: str, name: str, store: str | None) -> dict[str, bytes]:
        folder = enter(engine, name)
        in_parts(small_params(), engine, store)
        stage("generate")
        stage("prepare")
        return held(folder, ["data"])

    def all_made(engine: str) -> dict[str, bytes]:
        folder, table = enter(engine, "bucket"), "s3://runs/table"
        params = small_params() | {"data": {"source": "table", "task": "tagging", "path": table}}

        def begin(step: str) -> None:
            on = training if (engine, step) == ("ray", "train") else engine
            in_parts(params, on, "s3://runs/store")

        begin("objects")
        bucket.objects.filter(Prefix="store/").delete()
        cli.app(["objects"], standalone_mode=False)
        return run(stage, folder, begin, asked=table)

    for name, store in (("none", None), ("disk", f"file://{runs_root}/store")):
        expected = prepared("local", name, store)
        assert len([name for name in expected if name.endswith("_index.json")]) == 4
        assert prepared("ray", name, store) == expected
    for path in (runs_root / "none/local/data/raw/sequences.parquet").glob("*.parquet"):
        bucket.upload_file(str(path), f"table/{path.name}")
    expected = all_made("local")
    assert expected.keys() > {"data/answers.csv", "models/bidirectional/weights.safetensors"}
    assert all_made("ray") == expected
