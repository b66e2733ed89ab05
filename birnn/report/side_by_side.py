"""The models side by side: what each one is, costs and reaches, and how each has learned.

rows = table(results, chosen.models, longest=250, average="macro")
text = learning(results)              # of report/learning.csv
annotate(run, rows[0], concluded)
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from birnn.evaluation import headlines
from birnn.model import sizes
from birnn.params import Entry
from birnn.report.conclusions import Conclusion
from birnn.report.tested import ModelRow, Result
from birnn.tracking import runs

MEGABYTE = 1_000_000
COURSE = ("model", "split", "epoch", "loss", "accuracy")


def table(
    results: Sequence[Result], entries: Mapping[str, Entry], longest: int, average: str
) -> list[ModelRow]:
    """Line up the models, the candidate first.

    Args:
        results: what is known of each.
        entries: how each is trained, by its name.
        longest: steps of the longest training sequence.
        average: which F1 to show.
    """
    return [_model(one, _largest_batch(entries[one.name], longest), average) for one in results]


def _largest_batch(entry: Entry, longest: int) -> int:
    """Steps of the largest batch that there can be."""
    steps = entry.batch_size * longest
    return steps if entry.batch_steps is None else max(longest, min(steps, entry.batch_steps))


def _model(result: Result, steps: int, average: str) -> ModelRow:
    built, size = result.architecture, sizes.size_of(result.architecture, steps)
    f1 = headlines.leading(result.metrics, average)
    return ModelRow(
        name=result.name,
        cell=built.cell,
        directions=1 + built.bidirectional,
        layers=built.num_layers,
        hidden_size=built.hidden_size,
        parameters=size.parameters,
        multiply_adds=size.multiply_adds,
        memory=size.memory,
        validation_f1=result.validation.get(f1),
        validation_accuracy=result.validation.get("accuracy"),
        accuracy=result.metrics["accuracy"],
    )


def learning(results: Sequence[Result]) -> str:
    """The curves of all models as one CSV table, a row for each model, split and epoch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COURSE)
    for result in results:
        for split in ("validation", "train"):
            writer.writerows(
                (result.name, split, one.epoch, *(getattr(one, f"{split}_{m}") for m in COURSE[3:]))
                for one in result.epochs
            )
    return text.getvalue()


def annotate(run: runs.Run, row: ModelRow, concluded: Conclusion) -> None:
    """Say on a model's run in MLflow what it costs, and on the candidate's how it is judged.

    Its tag `checks` then names those of the data too.
    """
    costs = {
        "parameters": row.parameters,
        "multiply_adds_a_step": row.multiply_adds,
        "peak_memory_megabytes": row.memory / MEGABYTE,
    }
    run.log_figures(costs)
    if row.name == concluded.model:
        run.set_tags({"candidate": "yes", "verdict": concluded.sentence})
        run.log_checks([(check.name, check.status) for check in concluded.checks])
    else:
        run.set_tags({"candidate": "no"})
