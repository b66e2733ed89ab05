"""How far the results of CPU settings are apart: `python -m benchmarks.processors`.

Runs the stages of examples in temporary folders as this CPU would and as older ones would, since
oneDNN, MKL, ATen and NumPy can be told to act as those, and prints what differs. The tolerance of
`birnn verify` comes from this table.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
EXAMPLES = ["tagging", "last-state", "variable-length", "japanese-vowels", "dna", "fraud"]
HEADLINES = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted")
WITHOUT_AVX512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"
SETTINGS = {
    "as it is": {},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": WITHOUT_AVX512,
    },
    "SSE4.1": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "NPY_DISABLE_CPU_FEATURES": f"{WITHOUT_AVX512} AVX2 FMA3 X86_V3",
    },
}


def main() -> None:
    """Compare every setting with the first, for each example and seed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processors", description=__doc__)
    parser.add_argument("examples", nargs="*", default=EXAMPLES, help="names in examples/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    table = Table("example", "seed", "setting", "model", "data", "verdict", "answers")
    table.add_column("largest difference", justify="right")
    table.add_column("of its interval", justify="right")
    for example in arguments.examples:
        for seed in arguments.seeds:
            for row in compared(example, seed):
                table.add_row(*row)
    console = Console()
    console = console if console.is_terminal else Console(width=130)
    console.print(table)


def compared(example: str, seed: int) -> Iterator[list[str]]:
    """Rows of the table for one example: each model under each setting beside the first."""
    with TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in SETTINGS}
        for name, folder in folders.items():
            run(folder, example, seed, SETTINGS[name])
        first, *others = folders.values()
        for other in others:
            data = "same" if _data(first) == _data(other) else "different"
            verdict = "same" if _verdict(first) == _verdict(other) else "different"
            for model in sorted(path.name for path in (first / "evaluation").iterdir()):
                found = difference(first / "evaluation" / model, other / "evaluation" / model)
                yield [example, str(seed), other.name, model, data, verdict, *found]


def run(folder: Path, example: str, seed: int, setting: Mapping[str, str]) -> None:
    """Run all stages in a folder, without MLflow."""
    tree = yaml.safe_load((ROOT / "examples" / f"{example}.yaml").read_text(encoding="utf-8"))
    tree["train"]["seed"] = seed
    external = folder / "data/external"
    external.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    if example == "dna":
        with (external / "dna.fasta").open("w") as file:
            subprocess.run([sys.executable, ROOT / "examples/dna.py"], stdout=file, check=True)
    nobody = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "DVC_ROOT": str(folder)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **nobody, **setting}
    each = [(stage, model) for stage in ("train", "evaluate") for model in tree["models"]]
    for stage in [("generate",), ("prepare",), *each, ("report",)]:
        command = [sys.executable, "-m", f"stages.{stage[0]}", *stage[1:]]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    shutil.rmtree(folder / "data/external")


def _data(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "data").rglob("*.*"))]


def _verdict(folder: Path) -> Any:
    found = json.loads((folder / "report/verdict.json").read_text())
    return found["grade"], [(check["name"], check["status"]) for check in found["checks"]]


def difference(first: Path, other: Path) -> list[str]:
    """Share of equal answers; the largest difference of a headline, plain and in widths."""
    answers, others = (pd.read_parquet(path / "predictions.parquet") for path in (first, other))
    equal = float(np.mean(answers["predicted"] == others["predicted"]))
    metrics, changed = (json.loads((path / "metrics.json").read_text()) for path in (first, other))
    ends = json.loads((first / "intervals.json").read_text())
    gaps = {name: abs(metrics[name] - changed[name]) for name in HEADLINES}
    widths = {name: ends[name]["high"] - ends[name]["low"] for name in HEADLINES}
    shares = [gaps[name] / width for name, width in widths.items() if width]
    return [f"{equal:.4f}", f"{max(gaps.values()):.4f}", f"{max(shares, default=0.0):.3f}"]


if __name__ == "__main__":
    main()
