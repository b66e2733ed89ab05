"""Train one model of the matrix; a training that was killed goes on where it stopped.

    python -m stages.train bidirectional

Reads `problem`, `model`, `models`, `train`, `evaluate.critical` and `run.engine` from params.yaml,
and data/prepared/. With `train.workers`, several processes share each batch.
Writes models/MODEL/{weights.safetensors,model.json,history.csv}, and a run in MLflow.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

from birnn import errors, params
from birnn.data import vectors
from birnn.files import console, installed, paths
from birnn.model import devices, distributed, history, operating_points, ranks, train, training
from birnn.tracking import runs, store


def main(name: str) -> None:
    """Run the stage for one model."""
    chosen = params.load()
    entry = params.entry(chosen, name)
    distributed.check(entry.workers)
    options = training.options(entry)
    first, on_ray = distributed.started() is None, chosen.run.engine == "ray"
    if first and entry.workers > 1 and not on_ray:
        train.planned(entry, read(chosen), options)  # a mistake is told once, and nothing is kept
        module = __spec__.name if __spec__ else "stages.train"
        distributed.launch(entry.workers, ["-m", module, name])
        return
    data, critical = read(chosen), operating_points.wanted(chosen.evaluate.critical)
    model = train.network(entry, data, options)
    if distributed.leads():
        size = entry.embedding_size
        said = vectors.width_note(chosen.prepare.vectors, data.pretrained, size)
        console.say(*said, error=True)
    knobs = params.of_run(chosen, name) | {"precision": options.precision}
    states = store.root() / store.STATE / "resume"
    output = train.Output(paths.MODELS / name, params.of_training(knobs), states)
    opened = runs.training_run(
        chosen.problem,
        name,
        params=knobs,
        data=paths.PREPARED,
        base=params.of_last_commit(chosen.problem, name),
        device=devices.name(options.device),
    )
    fit = ranks.Ranks(entry.workers, paths.PREPARED).fit if first and on_ray else training.fit
    with (
        distributed.joined(options.device) as group,
        opened if group.leads else nullcontext(runs.TrainingRun()) as run,
    ):
        epochs = train.train(
            model, data, options, critical, output=output, log=run, group=group, fit=fit
        )
    if epochs:
        console.say(f"{output.folder}: {history.sentence(epochs)}")


def read(chosen: params.Params) -> train.Prepared:
    """Map the prepared data, and check that critical classes can be judged on them."""
    data = train.Prepared.read(paths.PREPARED)
    critical = operating_points.wanted(chosen.evaluate.critical)
    operating_points.check(critical, data.encoding.labels, data.validation)
    return data


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.train MODEL")
    with errors.reported():
        installed.check()
        main(sys.argv[1])
