"""Test one model of the matrix on the sequences that were held out.

    python -m stages.evaluate bidirectional

Reads models/MODEL/ and data/prepared/test.arrow; from params.yaml only what names the run.
Writes evaluation/MODEL/, and the test metrics to the model's run in MLflow.
"""

from __future__ import annotations

import sys
from pathlib import Path

from birnn import devices, errors, evaluation, model, params, prediction, sequences, tracking

PREPARED, MODELS, EVALUATION = Path("data/prepared"), Path("models"), Path("evaluation")


def main(name: str) -> None:
    """Run the stage for one model."""
    chosen = params.load()
    device = devices.choose(chosen.train.device)
    devices.make_deterministic(chosen.train.seed, device)
    network, encoding = model.load(MODELS / name)
    test = sequences.read(PREPARED / "test.arrow")
    shares = prediction.probabilities(network, test, device=device)
    evaluation.write(EVALUATION / name, test, encoding, shares)
    knobs = params.of_run(chosen, name)
    run = tracking.run_of_model(chosen.problem, name, MODELS / name, params=knobs, data=PREPARED)
    run.log_evaluation(EVALUATION / name)


if __name__ == "__main__":
    with errors.reported():
        main(*sys.argv[1:])
