"""Put what was learned into a page that people read, and a verdict that programs read.

    python -m stages.report

Reads params.yaml, data/raw/summary.json, data/prepared/, models/, evaluation/ and sweep/.
Writes report/{report.html,report.md,verdict.json,comparison.json,learning.csv}, prints the verdict,
and hangs the files and the pictures on the runs in MLflow.
"""

from __future__ import annotations

from dataclasses import replace

from birnn import errors, params
from birnn.data.buckets import Packing
from birnn.evaluation import verdict
from birnn.files import atomic, console, installed, paths, records
from birnn.files.paths import REPORT
from birnn.report import batches, conclusions, drawings, pages, searched, side_by_side
from birnn.tracking import runs, store

SECTIONS = {"data", "evaluate", "prepare", "problem"}  # of params; models describe themselves


def main() -> None:
    """Run the stage."""
    chosen = params.load()
    judged, evidence = chosen.evaluate, conclusions.Evidence.read(chosen.candidate_first)
    results, train = evidence.results, evidence.splits.train
    rows = side_by_side.table(results, chosen.models, train.longest, judged.average)
    compared = conclusions.compare(evidence, judged.average, seed=judged.seed)
    compared = replace(compared, models=rows)
    concluded = conclusions.conclude(evidence, compared, verdict.aims(judged))
    search = searched.of(chosen.problem, paths.PREPARED)
    drawn = drawings.pictures(results, compared.ladder) | searched.pictures(search)
    prepared = batches.preparation(
        records.read(paths.PREPARED / paths.PACKING, Packing),
        train.offsets,
        batch_size=chosen.train.batch_size,
        batch_steps=chosen.train.batch_steps,
        seed=chosen.train.seed,
    )
    sections = chosen.model_dump(include=SECTIONS)
    content = pages.content(evidence, compared, concluded, prepared, drawn, sections)
    content["search"] = search
    records.write(REPORT / paths.COMPARISON, compared)
    records.write(REPORT / paths.VERDICT, concluded)
    atomic.write_text(REPORT / paths.PAGE, pages.render("report.html.j2", **content))
    atomic.write_text(REPORT / paths.TEXT, pages.render("report.md.j2", **content))
    atomic.write_text(REPORT / paths.LEARNING, side_by_side.learning(results))
    console.say(concluded.sentence)
    with store.mirrored():
        for result, row in zip(results, rows, strict=True):
            run = runs.in_checkout(chosen.problem, result.name, result.params)
            drawings.attach(run, REPORT, result, drawn)
            side_by_side.annotate(run, row, concluded)


if __name__ == "__main__":
    with errors.reported():
        installed.check()
        main()
