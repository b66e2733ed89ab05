"""A program that goes through the stages and a prediction in the working directory.

    python -m tests.on_machines ray

`tests/test_machines.py` starts it on a machine of a cluster; it notes what it has begun in `begun`.
"""

import runpy
import sys
from pathlib import Path

from birnn import cli

MODEL = ("bidirectional",)
STAGES = {"generate": (), "prepare": (), "train": MODEL, "evaluate": MODEL}


def main(device: str) -> None:
    """Run them one after the other."""
    for name, arguments in STAGES.items():
        _note(name)
        sys.argv = [name, *arguments]
        runpy.run_module(f"stages.{name}", run_name="__main__")
    _note("predict")
    given, out = "data/raw/sequences.parquet", "data/answers.csv"
    cli.app(["predict", given, "--output", out, "--device", device], standalone_mode=False)


def _note(name: str) -> None:
    with Path("begun").open("a", encoding="ascii") as file:
        file.write(f"{name}\n")


if __name__ == "__main__":
    main(sys.argv[1])
