"""The command `birnn`.

    birnn summary                         # the models of the last `dvc repro`, in a table
    birnn predict new.csv --output out.parquet
    birnn score out.parquet               # anybody's predictions beside the true labels
    birnn backfill                        # give MLflow the runs that DVC took from its cache

Exit status: 0 done, 1 a failure that the message explains, 2 wrong usage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from birnn import errors, files
from birnn.errors import DataError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

MODELS, EVALUATION, PREPARED, REPORT = (
    Path(name) for name in ("models", "evaluation", "data/prepared", "report")
)


@app.callback()
def birnn() -> None:
    """Bidirectional RNNs on sequences of different lengths, as a reproducible pipeline."""


@app.command()
def summary() -> None:
    """Show the models of the last `dvc repro`, the verdict, and where the report is."""
    from rich.console import Console

    from birnn import report

    compared = files.read_json(REPORT / "comparison.json")
    verdict = files.read_json(REPORT / "verdict.json")
    Console().print(report.console_table(compared["ladder"]))
    print(compared["second_direction"])
    print(f"{verdict['model']} is {verdict['sentence']}")
    for check in verdict["checks"]:
        if check["status"] != "pass":
            print(f"{check['status']}: {check['name']}: {check['sentence']}")
    print(REPORT / "report.html")


@app.command()
def predict(
    file: Annotated[Path, typer.Argument(help="A sequence table, .csv or .parquet.")],
    output: Annotated[Path, typer.Option(help="Where to, .csv or .parquet.")] = Path("-"),
    model: Annotated[Path, typer.Option(help="The folder of a model.")] = MODELS / "bidirectional",
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
) -> None:
    """Predict the labels of a sequence table, one row a label; as CSV on standard output."""
    from birnn import devices, prediction, tables
    from birnn import model as models
    from birnn.sources import table

    network, encoding, thresholds = models.load(model)
    rows = table.read(file, encoding.features)
    predicted = prediction.of_table(
        network, encoding, thresholds, rows, where=str(file), device=devices.choose(device)
    )
    tables.export(predicted, output)


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="Predictions, .csv, .tsv or .parquet.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="For the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 1,
) -> None:
    """Score a table with `sequence`, `actual` or `label`, `predicted` and `probability_LABEL`."""
    import json

    from rich.console import Console

    from birnn import scoring

    scored = scoring.read(file)
    if as_json:
        print(json.dumps(scored.metrics(), indent=2, ensure_ascii=False))
        return
    console = Console()
    for table in scoring.tables(scored, resamples=resamples, seed=seed):
        console.print(table)


@app.command()
def backfill() -> None:
    """Give MLflow the runs, metrics and report of models that DVC took from its cache."""
    from birnn import params, tracking

    chosen = params.load()
    try:
        for name in chosen.models:
            knobs = params.of_run(chosen, name)
            run = tracking.run_of_model(
                chosen.problem, name, MODELS / name, params=knobs, data=PREPARED
            )
            run.log_evaluation(EVALUATION / name)
            run.log_report(REPORT)
            print(f"{name}: run {run.id}")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run `dvc repro` first") from None


def main() -> None:
    """Run the command; a user's mistake ends in one line, not in a traceback."""
    with errors.reported():
        app(prog_name="birnn")
