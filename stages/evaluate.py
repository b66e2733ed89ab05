"""Test one model of the matrix on the sequences that were held out.

    python -m stages.evaluate bidirectional

Reads `critical`, `resamples` and `seed` of `evaluate` from params.yaml and what names the run,
models/MODEL/, data/prepared/test.arrow, and validation.arrow for what thresholds give there.
Writes evaluation/MODEL/, and the test metrics to the model's run in MLflow.
"""

from __future__ import annotations

import sys

from birnn import errors, params
from birnn.data import sequences
from birnn.evaluation import outs, padding, worst
from birnn.files import paths, records
from birnn.model import devices, history, operating_points, saved_model
from birnn.tracking import runs, store


def main(name: str) -> None:
    """Run the stage for one model."""
    chosen = params.load()
    judged, model, folder = chosen.evaluate, paths.MODELS / name, paths.EVALUATION / name
    device = devices.choose(chosen.train.device)
    devices.make_deterministic(chosen.train.seed, device)
    test = outs.predict(model, sequences.read(paths.PREPARED / paths.TEST), device)
    epochs = history.read(model / paths.HISTORY)
    outs.write(folder, test, epochs, resamples=judged.resamples, seed=judged.seed)
    validation = test
    if judged.critical:
        split = sequences.read(paths.PREPARED / paths.VALIDATION)
        validation = outs.predict(model, split, device)
    critical = operating_points.wanted(judged.critical)
    outs.write_operating_points(folder, validation, test, critical)
    network, encoding, thresholds = saved_model.load(model)
    outs.write_trace(folder, network, test)
    mistake = padding.measure(
        network,
        encoding,
        thresholds,
        test.split,
        resamples=judged.resamples,
        seed=judged.seed,
    )
    records.write(folder / paths.PADDING, mistake)
    failures = worst.worst(test.split, encoding, test.shares, test.classes)
    records.write(folder / paths.WORST, failures)
    with store.mirrored():
        run = runs.in_checkout(chosen.problem, name, params.of_run(chosen, name))
        run.log_evaluation(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.evaluate MODEL")
    with errors.reported():
        main(sys.argv[1])
