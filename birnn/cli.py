"""The command `birnn`.

    birnn summary                         # the models of the last `dvc repro`, in a table
    birnn verify                          # is this the result that the last commit recorded?
    birnn check data.csv                  # read and validate data, and say what is in them
    birnn predict new.csv --output out.parquet
    birnn trace new.csv --sequence s1     # what the model makes of a sequence, step by step
    birnn score out.parquet               # anybody's predictions beside the true labels
    birnn compare --by hidden_size        # settings over seeds, the best by validation
    birnn experiments                     # what DVC's experiments have changed, and reached
    birnn backfill                        # give MLflow the runs that it lacks
    birnn retrain                         # train on what is new, and serve it if it is better
    birnn rollback                        # let the model serve again that served before
    birnn schedule --cron "0 3 * * *"     # retrain every night, in the foreground

Exit status: 0 done, 1 a failure that the message explains, 2 wrong usage.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from birnn import errors
from birnn.errors import DataError
from birnn.files import atomic, paths, records
from birnn.files.paths import EVALUATION, MODELS, REPORT

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def birnn() -> None:
    """Bidirectional RNNs on sequences of different lengths, as a reproducible pipeline."""


@app.command()
def summary() -> None:
    """Show the models of the last `dvc repro`, the verdict, and where the report is.

    What changed since the last commit is shown too, and put into a copy of the report.
    """
    from rich.console import Console

    from birnn.report import pages
    from birnn.report.tested import Compared

    compared = records.read(REPORT / paths.COMPARISON, Compared)
    verdict = atomic.read_json(REPORT / paths.VERDICT)
    Console().print(pages.console_table(compared.ladder))
    print(compared.second_direction)
    print(f"{verdict['model']} is {verdict['sentence']}")
    for check in verdict["checks"]:
        if check["status"] != "pass":
            print(f"{check['status']}: {check['name']}: {check['sentence']}")
    print(_with_changes(_changes()))
    _compare_with_commit()


def _changes() -> list[tuple[str, str, str]]:
    """What is different from the last commit; nothing where it holds no result, or this one."""
    from birnn.params import lock
    from birnn.report import wording

    text, path = lock.committed(lock.PATH), Path(lock.PATH)
    if text is None or not path.exists() or path.read_text(encoding="utf-8") == text:
        return []
    before, now = lock.read(text), lock.read(path.read_text(encoding="utf-8"))
    params = [
        {key: value for stage in one.values() for key, value in stage.params.items()}
        for one in (before, now)
    ]
    models = [name.partition("@")[2] for name in now if name.startswith("evaluate@")]
    metrics = {model: _metrics(EVALUATION / model / paths.METRICS) for model in models}
    return wording.changes((params[0], params[1]), metrics)


def _metrics(path: Path) -> tuple[dict[str, float], dict[str, float]]:
    """In the last commit, if it holds them, and now."""
    import json

    from birnn.params import lock

    text = lock.committed(path.as_posix())
    return json.loads(text) if text else {}, atomic.read_json(path)


def _compare_with_commit() -> None:
    """Say whether this is the result of the last commit; of another one, note who made it."""
    from birnn.params import lock
    from birnn.report import provenance, verification

    if not Path(lock.PATH).exists():
        return
    try:
        found = verification.verify()
    except DataError as error:  # of a first result, say
        provenance.record(Path.cwd(), verification.here())
        print(f"not compared: {error}")
        return
    if found.status != "identical" or not provenance.restore():
        provenance.record(Path.cwd(), verification.here())
    print(found.sentence)


def _with_changes(rows: Sequence[Sequence[str]]) -> Path:
    """Print what changed and put it into a copy of the report; return the page to look at."""
    page, copy = REPORT / paths.PAGE, REPORT / paths.CHANGES
    copy.unlink(missing_ok=True)
    if not rows:
        return page
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from birnn.report import pages

    title = "What changed since the last commit"
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows[1:]:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)
    text = page.read_text(encoding="utf-8")
    atomic.write_text(copy, pages.with_section(text, title, rows))
    return copy


@app.command()
def verify() -> None:
    """Say whether the result that is here is the one that the last commit recorded.

    The status is 1 where it is a different one. Run it after `make repro`.
    """
    from birnn.report import provenance, verification

    found = verification.verify()
    then = provenance.of_commit(verification.committed())
    print(provenance.sentence(then, None if found.status == "identical" else provenance.machine()))
    print(found.sentence)
    if found.status == "different":
        raise typer.Exit(1)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Data of any kind, or a params .yaml.")],
    task: Annotated[str | None, typer.Option(help="tagging or classification.")] = None,
) -> None:
    """Read and validate data, and show what is in them; nothing is written."""
    from rich.console import Console

    from birnn.files.reading import Skipped
    from birnn.files.tables import whole_sequences
    from birnn.sources import ingestion, inspection

    data, skipped = ingestion.of_file(file, task), Skipped()
    with skipped.told():
        found = inspection.summary(
            whole_sequences(ingestion.rows(data, skipped)),
            lambda: whole_sequences(ingestion.rows(data, Skipped())),
            task=data.task,
            where=ingestion.name(data),
        )
    for table in inspection.tables(found):
        Console().print(table)
    for line in (*skipped.sentences(), *inspection.notes(found)):
        print(line)


ToPredict = Annotated[Path, typer.Argument(help="A sequence table, or a file as in training.")]


@app.command()
def predict(
    file: ToPredict,
    output: Annotated[Path, typer.Option(help="Where to, .csv or .parquet.")] = Path("-"),
    model: Annotated[Path, typer.Option(help="The folder of a model.")] = MODELS / "bidirectional",
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
) -> None:
    """Predict the labels of sequences, one row a label; as CSV on standard output."""
    from birnn.files import tables
    from birnn.files.reading import Skipped
    from birnn.model import devices, prediction, saved_model
    from birnn.sources import ingestion

    network, encoding, thresholds = saved_model.load(model)
    devices.limit_threads(prediction.BATCH_SIZE * network.architecture.sums)
    skipped = Skipped()
    rows = ingestion.unlabelled(file, encoding.reading, encoding.features, skipped)
    predicted = prediction.of_table(
        network, encoding, thresholds, rows, where=str(file), device=devices.choose(device)
    )
    with skipped.told():
        tables.export(predicted, output)
    for line in skipped.sentences():
        print(line, file=sys.stderr)


@app.command()
def trace(
    file: ToPredict,
    sequence: Annotated[str | None, typer.Option(help="Its id; the first if not given.")] = None,
    model: Annotated[Path, typer.Option(help="The folder of a model.")] = MODELS / "bidirectional",
    steps: Annotated[int, typer.Option(min=1, help="At most; each costs those before it.")] = 40,
) -> None:
    """Show what goes through a model for one sequence, and which steps change its mind."""
    from rich.console import Console

    from birnn.evaluation import trace, trace_tables
    from birnn.files.reading import Skipped
    from birnn.model import saved_model
    from birnn.sources import ingestion

    network, encoding, thresholds = saved_model.load(model)
    rows = ingestion.unlabelled(file, encoding.reading, encoding.features, Skipped())
    one, labelled = trace.find(rows, encoding, sequence, where=str(file))
    found = trace.explain(network, encoding, thresholds, one, labelled=labelled, most_steps=steps)
    for shown in trace_tables.on_terminal(found):
        Console().print(shown)


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

    from birnn.evaluation import scoring

    scored = scoring.read(file)
    if as_json:
        print(json.dumps(scored.metrics(), indent=2, ensure_ascii=False))
        return
    console = Console()
    for table in scoring.tables(scored, resamples=resamples, seed=seed):
        console.print(table)


Metric = Annotated[str, typer.Option(help="A name in metrics.json.")]


@app.command()
def compare(
    by: Annotated[
        list[str] | None, typer.Option(help="A key of params; all that differ if not given.")
    ] = None,
    over: Annotated[list[str] | None, typer.Option(help="Keys that only repeat: seed.")] = None,
    metric: Metric = "f1_macro",
    experiments: Annotated[
        bool, typer.Option(help="Of DVC, in the place of MLflow's runs.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the table, .csv.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table, .tex.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw learning curves, .svg.")] = None,
) -> None:
    """Compare settings over seeds by the validation split; the best is tested, once."""
    from rich.console import Console

    from birnn import params
    from birnn.report import groups
    from birnn.tracking import trials

    if experiments and picture:
        raise DataError(
            "--picture: expected runs of MLflow, found experiments of DVC, without curves"
        )
    read = trials.of_experiments() if experiments else trials.of_runs(params.load().problem)
    found = groups.grouped(read, by or [], over or ["seed"], metric)
    Console().print(groups.on_terminal(found))
    if found.mixed:
        print(f"Mixed in a row: {', '.join(found.mixed)}; to tell them apart, give them to --by.")
    print(found.sentence)
    if csv:
        groups.write_csv(found, csv)
    if latex:
        groups.write_latex(found, latex)
    if picture:
        atomic.write_text(picture, groups.picture(found))


@app.command()
def experiments(metric: Metric = "f1_macro") -> None:
    """List the results of DVC's experiments: what differs, and how good they are."""
    from rich.console import Console

    from birnn.report import groups
    from birnn.tracking import trials

    Console().print(groups.listed(trials.of_experiments(), metric))


@app.command()
def backfill() -> None:
    """Give MLflow the runs that it lacks: of models from DVC's cache, or trained without it."""
    from birnn import params
    from birnn.report import conclusions, drawings, side_by_side, tested
    from birnn.tracking import runs, store

    chosen = params.load()
    results = [tested.read(name, MODELS, EVALUATION) for name in chosen.candidate_first]
    compared = records.read(REPORT / paths.COMPARISON, tested.Compared)
    concluded = records.read(REPORT / paths.VERDICT, conclusions.Conclusion)
    rows = {row.name: row for row in compared.models}
    drawn = drawings.pictures(results, compared.ladder)
    try:
        for result in results:
            name = result.name
            knobs = params.of_run(chosen, name)
            with store.reached():
                run = runs.in_checkout(chosen.problem, name, knobs)
                run.log_evaluation(EVALUATION / name)
                drawings.attach(run, REPORT, result, drawn)
                side_by_side.annotate(run, rows[name], concluded)
            print(f"{name}: run {run.id}")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run `dvc repro` first") from None


@app.command()
def retrain(
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
    approve: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Promote a version that waits for it.")
    ] = None,
) -> None:
    """Train on what is new, and let the model serve if it is better than the one that does."""
    from birnn import params
    from birnn.retraining import steps

    _end_once()
    chosen = params.load()
    if dry_run:
        print("\n".join(steps.plan(chosen)))
        return
    outcome = steps.retrain(chosen) if approve is None else steps.approve(chosen, approve)
    print(f"{outcome.decision}: {outcome.sentence}")


@app.command()
def rollback() -> None:
    """Let the model serve again that served before."""
    from birnn import params
    from birnn.retraining import steps

    print(steps.rollback(params.load()).sentence)


@app.command()
def schedule(
    cron: Annotated[str, typer.Option(help="Minute, hour, day, month, day of the week.")],
) -> None:
    """Retrain by the clock, one at a time, until SIGTERM or Ctrl-C."""
    from birnn.retraining import schedule

    schedule.run(cron, [sys.executable, "-c", "from birnn.cli import main; main()", "retrain"])


def _end_once() -> None:
    """Let the first SIGTERM or SIGINT end what runs, and no other disturb how it ends."""

    def end(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def main() -> None:
    """Run the command; a user's mistake ends in one line, not in a traceback."""
    with errors.reported():
        app(prog_name="birnn")
