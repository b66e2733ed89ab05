"""A search for settings on a Ray cluster: some tasks take part in the same search until it is done.

    dvc repro prepare                                        # once, so that all tasks find the data
    export OPTUNA_STORAGE=postgresql://user:password@host/db # before `ray start`, on each machine
    export MLFLOW_TRACKING_URI=https://mlflow.example.org    # likewise
    RAY_ADDRESS=auto python examples/sweep_ray.py 8
    birnn sweep --apply                                      # when all are done

It is started in the checkout, which all machines must see at the same path. Without RAY_ADDRESS the
tasks run on this machine, and the search may be kept in sweep.db. A task whose machine is lost is
started again elsewhere, and costs no more than the epoch that it was in.
"""

import subprocess
import sys
from pathlib import Path

from birnn.files import cluster


def search(folder: str) -> None:
    """Take part until the search is done."""
    subprocess.run(["birnn", "sweep"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main(tasks: int) -> None:
    """Wait for all of them."""
    with cluster.connected(tasks) as ray:
        task = ray.remote(num_cpus=1, max_retries=cluster.RETRIES)(search)
        ray.get([task.remote(str(Path.cwd())) for _ in range(tasks)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
