"""A retraining as a Prefect flow, with the stages of the pipeline as its tasks.

    python deploy/prefect_flow.py            # every night at three, here, one at a time

The flow is `birnn retrain`; Prefect runs each stage, repeats one that failed, and shows them. A
retraining runs the code of its checkout, and whoever may start a flow names the folder. So a worker
takes those alone that its BIRNN_CHECKOUTS lists, with colons between; without it, the folder that
it was started in.
"""

from __future__ import annotations

import os
from contextlib import chdir
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from birnn import params
from birnn.errors import RetrainingError
from birnn.retraining import steps, workspace
from birnn.retraining.recovery import Outcome

CHECKOUTS = "BIRNN_CHECKOUTS"


def listed(checkout: str) -> Path:
    """The folder of a checkout, if this worker's list has it.

    Raises:
        RetrainingError: it has not.
    """
    known = [Path(name).resolve() for name in os.environ.get(CHECKOUTS, ".").split(os.pathsep)]
    folder = Path(checkout).resolve()
    if folder not in known:
        raise RetrainingError(
            f"checkout {checkout!r}: expected one of {', '.join(map(str, known))}, found another; "
            f"list it in {CHECKOUTS} where the worker starts"
        )
    return folder


@task(retries=2, retry_delay_seconds=10, cache_policy=NO_CACHE)
def stage(folder: Path, name: str) -> None:
    """Run one stage in the copy of the checkout; a training goes on where it stopped."""
    workspace.reproduce(folder, name)


def stage_by_stage(folder: Path, *targets: str) -> None:
    """Do what `birnn.retraining.workspace.reproduce` does, each stage as a task."""
    for name in targets or workspace.stages(folder):
        stage.with_options(name=name)(folder, name)


@flow(name="birnn-retrain")
def retrain(checkout: str = ".") -> Outcome:
    """Retrain in a checkout on the machine of the worker, one that `listed` takes."""
    with chdir(listed(checkout)):
        return steps.retrain(params.load(), reproduce=stage_by_stage)


if __name__ == "__main__":
    retrain.serve(name="nightly", cron="0 3 * * *", limit=1)
