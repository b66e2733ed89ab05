"""Put what was learned into a page that people read, and a verdict that programs read.

    python -m stages.report

Reads params.yaml, data/raw/summary.json, data/prepared/, models/ and evaluation/.
Writes report/{report.html,report.md,verdict.json,comparison.json}, prints the verdict, and hangs
the files and the pictures on the runs in MLflow.
"""

from __future__ import annotations

from birnn import errors, params
from birnn.data.buckets import Packing
from birnn.evaluation import verdict
from birnn.files import atomic, paths, records
from birnn.files.paths import REPORT
from birnn.report import batches, conclusions, drawings, pages
from birnn.tracking import runs, store

SECTIONS = {"data", "evaluate", "prepare", "problem"}  # of params; models describe themselves


def main() -> None:
    """Run the stage."""
    chosen = params.load()
    judged = chosen.evaluate
    evidence = conclusions.Evidence.read(chosen.models)
    results = evidence.results
    compared = conclusions.compare(evidence, judged.average, seed=judged.seed)
    concluded = conclusions.conclude(evidence, compared, verdict.aims(judged))
    drawn = drawings.pictures(results, compared.ladder)
    prepared = batches.preparation(
        records.read(paths.PREPARED / paths.PACKING, Packing),
        evidence.splits.train.lengths,
        batch_size=chosen.train.batch_size,
        batch_steps=chosen.train.batch_steps,
        seed=chosen.train.seed,
    )
    sections = chosen.model_dump(include=SECTIONS)
    content = pages.content(evidence, compared, concluded, prepared, drawn, sections)
    records.write(REPORT / paths.COMPARISON, compared)
    records.write(REPORT / paths.VERDICT, concluded)
    atomic.write_text(REPORT / paths.PAGE, pages.render("report.html.j2", **content))
    atomic.write_text(REPORT / paths.TEXT, pages.render("report.md.j2", **content))
    print(concluded.sentence)
    with store.mirrored():
        for result in results:
            run = runs.in_checkout(chosen.problem, result.name, result.params)
            drawings.attach(run, REPORT, result, drawn)


if __name__ == "__main__":
    with errors.reported():
        main()
