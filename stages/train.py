"""Train one model of the matrix; a training that was killed goes on where it stopped.

    python -m stages.train bidirectional
    torchrun --nproc-per-node 2 -m stages.train bidirectional    # the same batches, shared out

Reads `problem`, `model`, `models`, `train` and `evaluate.critical` from params.yaml, and
data/prepared/.
Writes models/MODEL/{weights.safetensors,model.json,history.csv}, and a run in MLflow.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

from birnn import errors, params
from birnn.data import vectors
from birnn.files import console, paths
from birnn.model import devices, distributed, history, operating_points, train, training
from birnn.tracking import runs, store


def main(name: str) -> None:
    """Run the stage for one model."""
    chosen = params.load()
    entry = params.entry(chosen, name)
    options = training.options(entry)
    data = train.Prepared.read(paths.PREPARED)
    critical = operating_points.wanted(chosen.evaluate.critical)
    operating_points.check(critical, data.encoding.labels, data.validation)
    model, folder = train.network(entry, data, options), paths.MODELS / name
    said = vectors.width_note(chosen.prepare.vectors, data.pretrained, entry.embedding_size)
    console.say(*said, error=True)
    knobs = params.of_run(chosen, name) | {"precision": options.precision}
    output = train.Output(folder, params.of_training(knobs))
    opened = runs.training_run(
        chosen.problem,
        name,
        params=knobs,
        data=paths.PREPARED,
        base=params.of_last_commit(chosen.problem, name),
        device=devices.name(options.device),
    )
    states = store.root() / store.STATE / "resume"
    with (
        distributed.joined(options.device) as group,
        opened if group.leads else nullcontext(runs.TrainingRun()) as run,
    ):
        epochs = train.train(
            model, data, options, critical, output=output, states=states, log=run, group=group
        )
    if epochs:
        console.say(f"{folder}: {history.sentence(epochs)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.train MODEL")
    with errors.reported():
        main(sys.argv[1])
