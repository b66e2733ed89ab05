"""Put what was learned into a page that people read, and a verdict that programs read.

    python -m stages.report

Reads `problem`, `models` and `evaluate` from params.yaml, data/raw/summary.json,
data/prepared/packing.json, models/ and evaluation/.
Writes report/report.html, report/report.md and report/verdict.json, and hangs them on the runs
in MLflow.
"""

from __future__ import annotations

from pathlib import Path

from birnn import errors, figures, files, params, report, tracking

RAW, PREPARED = Path("data/raw"), Path("data/prepared")
MODELS, EVALUATION, REPORT = Path("models"), Path("evaluation"), Path("report")


def main() -> None:
    """Run the stage."""
    chosen = params.load()
    results = [report.read(name, MODELS, EVALUATION) for name in chosen.models]
    summary = files.read_json(RAW / "summary.json")
    average = chosen.evaluate.average
    content = {
        "problem": chosen.problem,
        "average": average,
        "results": results,
        "summary": summary,
        "packing": files.read_json(PREPARED / "packing.json"),
        "ladder": report.ladder(results, summary.get("limits", {}), average),
        "second_direction": report.second_direction(results, average),
        "verdict": report.verdict(results[0], average),
        "curves": figures.curves({result.name: result.epochs for result in results}),
        "by_length": figures.bars_by_length(
            {result.name: result.by_length.to_dict("records") for result in results}, "f1_macro"
        ),
    }
    files.write_text(REPORT / "report.html", report.render("report.html.j2", **content))
    files.write_text(REPORT / "report.md", report.render("report.md.j2", **content))
    files.write_json(REPORT / "verdict.json", content["verdict"])
    for name in chosen.models:
        tracking.run_of_model(
            chosen.problem,
            name,
            MODELS / name,
            params=params.of_run(chosen, name),
            data=PREPARED,
        ).log_report(REPORT)


if __name__ == "__main__":
    with errors.reported():
        main()
