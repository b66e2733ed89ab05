"""What the stages before training write has the same bytes in any number of threads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

TABLE = "data/external/table.parquet"
Tree = dict[str, Any]


def write_table() -> None:
    """Sequences of words and two numbers, one of which is missing here and there: three chunks."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 10_000)
    steps = int(lengths.sum())
    numbers = rng.normal(1e6, 3, (2, steps))
    numbers[0, rng.random(steps) < 0.01] = np.nan
    columns = {
        "sequence": np.repeat([f"s{n}" for n in range(len(lengths))], lengths),
        "group": np.repeat([f"g{n // 3}" for n in range(len(lengths))], lengths),
        "token": np.array([f"w{n}" for n in range(500)])[rng.integers(500, size=steps)],
        "x": numbers[0],
        "y": numbers[1],
        "label": rng.choice(["a", "b", "c"], steps),
    }
    Path(TABLE).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), TABLE)


@pytest.mark.parametrize("source", ["hmm", "table"])
def test_bytes_do_not_depend_on_threads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: Callable[..., None],
    small_params: Callable[[], Tree],
    source: str,
) -> None:
    tree = small_params()
    if source == "hmm":
        tree["data"]["sequences"] = 30_000  # which are drawn in 30 parts
    else:
        tree["data"] = {"source": "table", "task": "tagging", "path": TABLE}
        tree["prepare"] |= {"missing": "mask"}
    written: list[dict[str, bytes]] = []
    for threads in (1, 3):
        folder = tmp_path / str(threads)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setattr(pa, "cpu_count", lambda threads=threads: threads)
        if source == "table":
            write_table()
        Path("params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        stage("generate")
        stage("prepare")
        files = sorted(path for path in Path("data").rglob("*") if path.is_file())
        written.append({str(path): path.read_bytes() for path in files})
    one, many = written
    assert one.keys() == many.keys()
    assert [name for name in one if one[name] != many[name]] == []
