"""Put what was learned into a page that people read, and a verdict that programs read.

    python -m stages.report

Reads params.yaml, data/raw/summary.json, data/prepared/, models/ and evaluation/.
Writes report/{report.html,report.md,verdict.json,comparison.json,learning.csv}, prints the verdict,
and hangs the files and the pictures on the runs in MLflow.
"""

from __future__ import annotations

from dataclasses import replace

from birnn import errors, params
from birnn.data.buckets import Packing
from birnn.evaluation import verdict
from birnn.files import atomic, paths, records
from birnn.files.paths import REPORT
from birnn.report import conclusions, drawings, figures, pages, side_by_side, wording
from birnn.tracking import runs, store

SECTIONS = {"data", "evaluate", "model", "models", "prepare", "problem", "train"}  # to be shown


def main() -> None:
    """Run the stage."""
    chosen = params.load()
    judged, knobs = chosen.evaluate, {name: params.of_run(chosen, name) for name in chosen.models}
    evidence = conclusions.Evidence.read(chosen.candidate_first)
    results = evidence.results
    compared = conclusions.compare(
        evidence, judged.average, resamples=judged.resamples, seed=judged.seed
    )
    longest = int(evidence.train.lengths.max())
    rows = side_by_side.table(results, chosen.models, longest, judged.average)
    compared = replace(compared, models=rows)
    concluded = conclusions.conclude(evidence, verdict.aims(judged))
    drawn = drawings.pictures(results, compared.ladder)
    content = {
        "problem": chosen.problem,
        "average": judged.average,
        "results": results,
        "summary": evidence.summary,
        "frame": evidence.encoding.frame,
        "packing": records.read(paths.PREPARED / paths.PACKING, Packing),
        "verdict": concluded,
        "accents": {result.name: number % figures.ACCENTS for number, result in enumerate(results)},
        "pictures": drawn,
        "identity": conclusions.identify(results, knobs),
        "knobs": wording.knobs(chosen.model_dump(include=SECTIONS)),
        "compared": compared,
    }
    records.write(REPORT / paths.COMPARISON, compared)
    records.write(REPORT / paths.VERDICT, concluded)
    atomic.write_text(REPORT / paths.PAGE, pages.render("report.html.j2", **content))
    atomic.write_text(REPORT / paths.TEXT, pages.render("report.md.j2", **content))
    atomic.write_text(REPORT / paths.LEARNING, side_by_side.learning(results))
    print(concluded.sentence)
    with store.mirrored():
        for result, row in zip(results, rows, strict=True):
            run = runs.in_checkout(chosen.problem, result.name, knobs[result.name])
            drawings.attach(run, REPORT, result, drawn)
            side_by_side.annotate(run, row, concluded)


if __name__ == "__main__":
    with errors.reported():
        main()
