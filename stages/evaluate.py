"""Test one model of the matrix on the sequences that were held out.

    python -m stages.evaluate bidirectional

Reads `critical`, `resamples` and `seed` of `evaluate` from params.yaml and what names the run,
models/MODEL/, data/prepared/test.arrow, and validation.arrow for what thresholds give there.
Writes evaluation/MODEL/, and the test metrics to the model's run in MLflow.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from birnn import errors, params
from birnn.data import sequences
from birnn.evaluation import outs
from birnn.evaluation.outs import Predicted
from birnn.model import devices, history, prediction, saved_model
from birnn.model.recurrent import GATES
from birnn.tracking import runs, store

PREPARED, MODELS, EVALUATION = Path("data/prepared"), Path("models"), Path("evaluation")


def main(name: str) -> None:
    """Run the stage for one model."""
    chosen = params.load()
    device = devices.choose(chosen.train.device)
    devices.make_deterministic(chosen.train.seed, device)
    test = predict(MODELS / name, "test", device)
    epochs = history.read(MODELS / name / "history.csv")
    judged = chosen.evaluate
    outs.write(EVALUATION / name, test, epochs, resamples=judged.resamples, seed=judged.seed)
    validation = predict(MODELS / name, "validation", device) if judged.critical else test
    wanted = judged.model_dump()["critical"]
    outs.write_operating_points(EVALUATION / name, validation, test, wanted)
    outs.write_trace(EVALUATION / name, saved_model.load(MODELS / name)[0], test)
    knobs = params.of_run(chosen, name)
    with store.mirrored():
        run = runs.run_of_model(chosen.problem, name, MODELS / name, params=knobs, data=PREPARED)
        run.log_evaluation(EVALUATION / name)


def predict(folder: Path, split: str, device: torch.device) -> Predicted:
    """Ask a model for the probabilities of all labels of a split."""
    network, encoding, thresholds = saved_model.load(folder)
    described = network.architecture
    devices.limit_threads(prediction.BATCH_SIZE * described.hidden_size * GATES[described.cell])
    held_out = sequences.read(PREPARED / f"{split}.arrow")
    shares = prediction.probabilities(network, held_out, device=device)
    return Predicted(held_out, encoding, thresholds, shares)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.evaluate MODEL")
    with errors.reported():
        main(sys.argv[1])
