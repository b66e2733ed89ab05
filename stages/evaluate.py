"""Test one model of the matrix on the sequences that were held out.

    python -m stages.evaluate bidirectional

Reads `critical`, `resamples` and `seed` of `evaluate` from params.yaml and what names the run,
models/MODEL/, data/prepared/test.arrow, and validation.arrow for how good the model is there.
Writes evaluation/MODEL/, and the test metrics to the model's run in MLflow.
"""

from __future__ import annotations

import sys

from birnn import errors, params
from birnn.data import sequences
from birnn.evaluation import outs
from birnn.files import paths
from birnn.model import devices, history, operating_points, saved_model
from birnn.tracking import runs, store


def main(name: str) -> None:
    """Run the stage for one model."""
    chosen = params.load()
    judged, model, folder = chosen.evaluate, paths.MODELS / name, paths.EVALUATION / name
    entry = params.entry(chosen, name)
    device = devices.choose(entry.device)
    devices.make_deterministic(entry.seed, device)
    test, validation = (
        outs.predict(model, sequences.read(paths.PREPARED / split), device)
        for split in (paths.TEST, paths.VALIDATION)
    )
    outs.write(
        folder,
        test,
        history.read(model / paths.HISTORY),
        resamples=judged.resamples,
        seed=judged.seed,
        validation=validation,
    )
    critical = operating_points.wanted(judged.critical)
    outs.write_operating_points(folder, validation, test, critical)
    outs.write_trace(folder, saved_model.load(model)[0], test)
    with store.mirrored():
        run = runs.in_checkout(chosen.problem, name, params.of_run(chosen, name))
        run.log_evaluation(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.evaluate MODEL")
    with errors.reported():
        main(sys.argv[1])
