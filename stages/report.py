"""Put what was learned into a page that people read, and a verdict that programs read.

    python -m stages.report

Reads params.yaml, data/raw/summary.json, data/prepared/, models/ and evaluation/.
Writes report/{report.html,report.md,verdict.json,comparison.json}, prints the verdict, and hangs
the files and the pictures on the runs in MLflow.
"""

from __future__ import annotations

from birnn import errors, params
from birnn.evaluation import verdict
from birnn.files import atomic, paths
from birnn.files.paths import REPORT
from birnn.report import conclusions, drawings, figures, pages, wording
from birnn.tracking import runs, store

SECTIONS = {"data", "evaluate", "prepare", "problem"}  # of params; models describe themselves


def main() -> None:
    """Run the stage."""
    chosen = params.load()
    judged = chosen.evaluate
    evidence = conclusions.Evidence.read(chosen.models)
    results = evidence.results
    compared = conclusions.compare(
        evidence, judged.average, resamples=judged.resamples, seed=judged.seed
    )
    concluded = conclusions.conclude(evidence, verdict.aims(judged))
    content = {
        "problem": chosen.problem,
        "average": judged.average,
        "results": results,
        "summary": evidence.summary,
        "frame": evidence.encoding.frame,
        "packing": atomic.read_json(paths.PREPARED / paths.PACKING),
        "verdict": concluded,
        "accents": {result.name: number % figures.ACCENTS for number, result in enumerate(results)},
        "pictures": drawings.pictures(results, compared["ladder"]),
        "identity": conclusions.identify(results),
        "knobs": wording.knobs(
            chosen.model_dump(include=SECTIONS),
            evidence.encoding,
            {result.name: result.params for result in results},
        ),
        **compared,
    }
    atomic.write_json(REPORT / paths.COMPARISON, compared)
    atomic.write_json(REPORT / paths.VERDICT, concluded)
    atomic.write_text(REPORT / paths.PAGE, pages.render("report.html.j2", **content))
    atomic.write_text(REPORT / paths.TEXT, pages.render("report.md.j2", **content))
    print(concluded["sentence"])
    with store.mirrored():
        for result in results:
            run = runs.in_checkout(chosen.problem, result.name, result.params)
            drawings.attach(run, REPORT, result, content["pictures"])


if __name__ == "__main__":
    with errors.reported():
        main()
