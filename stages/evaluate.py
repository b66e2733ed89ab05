"""Test one model of the matrix on the sequences that were held out.

    python -m stages.evaluate bidirectional

Reads `critical`, `seed` and `slices` of `evaluate` and what is said of the model from params.yaml,
models/MODEL/, data/prepared/{encoding.json,kept.parquet,validation.arrow,test.arrow}, and the
limits of data/raw/summary.json.
Writes evaluation/MODEL/, and the test metrics to the model's run in MLflow.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from birnn import errors, params
from birnn.data import kept, sequences
from birnn.data.encoding import Encoding
from birnn.evaluation import outs
from birnn.files import engines, installed, paths, records
from birnn.files.summary import Summary
from birnn.model import devices, history, operating_points, saved_model
from birnn.tracking import runs, store


def main(name: str) -> None:
    """Run the stage for one model."""
    chosen = params.load()
    judged, model, folder = chosen.evaluate, paths.MODELS / name, paths.EVALUATION / name
    entry = params.entry(chosen, name)
    device = devices.choose(entry.device)
    devices.make_deterministic(entry.seed, device)
    encoded = records.read(paths.PREPARED / paths.ENCODING, Encoding)
    with engines.chosen(chosen.run.engine):
        test, validation = (
            outs.predict(model, sequences.read(paths.PREPARED / split), encoded, device, folder)
            for split in (paths.TEST, paths.VALIDATION)
        )
    test = replace(test, kept=kept.read(paths.PREPARED / paths.KEPT))
    summary = records.read(paths.RAW / paths.SUMMARY, Summary)
    limits = summary.limits_by_length.get("smoothing" if entry.bidirectional else "filtering")
    epochs = history.read(model / paths.HISTORY)
    outs.write(folder, test, epochs, validation=validation, limits=limits)
    outs.write_expected_accuracy(folder, validation, test)
    critical = operating_points.wanted(judged.critical)
    outs.write_operating_points(folder, validation, test, critical, judged.costs)
    outs.write_slices(folder, test, judged.slices, list(judged.critical))
    outs.write_examples(folder, saved_model.load(model)[0], test, seed=judged.seed)
    with store.mirrored():
        run = runs.in_checkout(chosen.problem, name, saved_model.params_of(model))
        run.log_evaluation(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.evaluate MODEL")
    with errors.reported():
        installed.check()
        main(sys.argv[1])
