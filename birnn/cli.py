"""The command `birnn`.

    birnn summary                         # the models of the last `dvc repro`, in a table
    birnn verify                          # is this the result that the last commit recorded?
    birnn check data.csv                  # read and validate data, and say what is in them
    birnn init data.csv                   # a params.yaml for them, and the pipeline that reads it
    birnn objects                         # list the data in a bucket, so that DVC sees a change
    birnn params prepare                  # the keys of params.yaml: values, defaults, meanings
    birnn predict new.csv --output out.parquet
    birnn predict - --model champion < new.csv
    birnn export MODEL model.onnx         # for ONNX Runtime and others; model.pt2 for torch
    birnn serve                           # answer requests on localhost, by the model that serves
    birnn trace new.csv --sequence s1     # what the model makes of a sequence, step by step
    birnn trace new.csv --batch 4         # the shapes of a batch on its way through the model
    birnn score out.parquet --by city     # anybody's predictions beside the true labels
    birnn score --recorded labels.csv     # how good was what was answered, by week
    birnn report --pdf result.pdf         # the result on two pages, for others
    birnn compare --by hidden_size        # settings over seeds, the best by validation
    birnn sweep --apply                   # search settings by validation, and take the best
    birnn experiments                     # what DVC's experiments have changed, and reached
    birnn backfill                        # give MLflow the runs that it lacks, and take its record
    birnn retrain                         # train on what is new, and serve it if it is better
    birnn rollback                        # let the model serve again that served before
    birnn shadow recent.csv               # how the challenger would change the answers
    birnn status                          # what serves and why, what waits; 1 for what is wrong
    birnn schedule --cron "0 3 * * *"     # retrain every night, in the foreground

Exit status: 0 done, 1 a failure that the message explains, 2 wrong usage.
"""

from __future__ import annotations

import atexit
import gc
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birnn import errors
from birnn.errors import DataError, SweepError, Terminated
from birnn.files import atomic, console, named, paths, records
from birnn.files.paths import EVALUATION, MODELS, REPORT

if TYPE_CHECKING:  # they take a second to import
    from pyarrow import Table

    from birnn.files.reading import Skipped
    from birnn.files.summary import Summary
    from birnn.files.tables import Chunk
    from birnn.params import Data
    from birnn.serving.served import Served

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
    Console().print(pages.console_table(compared.ladder, compared.intervals))
    console.say(compared.second_direction)
    console.say(f"{verdict['model']} is {verdict['sentence']}")
    for check in verdict["checks"]:
        if check["status"] != "pass":
            console.say(f"{check['status']}: {check['name']}: {check['sentence']}")
    _tell_of_upgrade()
    console.say(_with_changes(_changes()))
    _compare_with_commit()


def _tell_of_upgrade() -> None:
    """Say that another birnn is installed than made what is here."""
    from birnn.files import installed

    if found := installed.upgraded():
        console.say(f"note: {installed.PATH}: expected {found}", error=True)


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
        console.say(f"not compared: {error}")
        return
    if found.status != "identical" or not provenance.restore():
        provenance.record(Path.cwd(), verification.here())
    console.say(found.sentence)


def _with_changes(rows: Sequence[Sequence[str]]) -> Path:
    """Print what changed and put it into a copy of the report; return the page to look at."""
    page, copy = REPORT / paths.PAGE, REPORT / paths.CHANGES
    copy.unlink(missing_ok=True)
    if not rows:
        return page
    from rich.console import Console
    from rich.table import Table

    from birnn.report import pages

    title = "What changed since the last commit"
    table = Table(*map(console.cell, rows[0]), title=title, title_justify="left")
    for row in rows[1:]:
        table.add_row(*(console.cell(one) for one in row))
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
    console.say(
        provenance.sentence(then, None if found.status == "identical" else provenance.machine())
    )
    console.say(found.sentence)
    if found.status == "different":
        raise typer.Exit(1)


@app.command()
def check(
    file: Annotated[
        Path, typer.Argument(help="Data of any kind, also in s3://, or a params .yaml.")
    ],
    task: Annotated[str | None, typer.Option(help="tagging or classification.")] = None,
) -> None:
    """Read and validate data, and show what is in them; nothing is written.

    For data files, the `data` section is printed that reads them, ready for params.yaml.
    """
    from birnn import params
    from birnn.data import outlook
    from birnn.files.reading import Skipped
    from birnn.params import writing
    from birnn.sources import ingestion, inspection

    skipped = Skipped()
    data = ingestion.of_file(file, task, skipped)
    chosen = params.load(file) if file.suffix in (".yaml", ".yml") else None
    found, again = _looked_at(data, skipped)
    _show(found)
    if chosen is None:
        console.say(f"For params.yaml:\n\n{writing.data_text(data)}")
    prepare = params.Prepare() if chosen is None else chosen.prepare
    reads = "" if chosen is None else prepare.missing
    noted = inspection.notes(found, reads, by_chance=prepare.by_chance)
    ahead = outlook.notes(chosen, found, again) if chosen else ()
    for line in (*skipped.sentences(), *noted, *ahead, *_origins(found, again)):
        console.say(line)


def _looked_at(data: Data, skipped: Skipped) -> tuple[Summary, Callable[[], Iterator[Chunk]]]:
    """Read data once: what is in them, and how to read them again."""
    from birnn.files.reading import Skipped
    from birnn.files.table_checks import MISSING
    from birnn.files.tables import whole_sequences
    from birnn.sources import ingestion, inspection

    def again() -> Iterator[Chunk]:
        return whole_sequences(ingestion.rows(data, Skipped()))

    with skipped.told():
        found = inspection.summary(
            whole_sequences(ingestion.rows(data, skipped)),
            again,
            task=data.task,
            where=ingestion.name(data),
            skipped=skipped,
        )
    return replace(found, first_missing=skipped.first.get(MISSING, "")), again


def _show(found: Summary) -> None:
    from rich.console import Console

    from birnn.sources import inspection

    for table in inspection.tables(found):
        Console().print(table)


@app.command()
def init(
    file: Annotated[
        Path | None,
        typer.Argument(help="Data of any kind: a file or folder, or s3://bucket/folder."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="tagging or classification.")] = None,
    problem: Annotated[str | None, typer.Option(help="Its name; by default the file's.")] = None,
    force: Annotated[bool, typer.Option(help="Replace files that were changed by hand.")] = False,
) -> None:
    """Write a params.yaml that trains on somebody's data, and the pipeline that does.

    The data go into data/external/, and DVC tracks them; what lies in a bucket
    (s3://bucket/folder) stays there, and is listed. In a git repository of one's own, the
    files of the pipeline are written too; without data, these are renewed for the birnn that is
    installed.
    """
    from birnn.project import laying

    own, left = laying.is_wanted(), list[str]()
    if own:
        laying.check(force=force)
    elif file is None:
        raise typer.BadParameter("expected a FILE with data")
    begin = _beginning(file, task, force=force) if file else None
    if own:
        laid = laying.lay(force=force)
        console.say(*laid.sentences())
        left += laid.files
    if begin:
        left += begin(problem, "dvc repro" if own else "make repro")
    if left:
        console.say(f"left to do: git add {shlex.join(left)} && git commit; dvc push")


def _beginning(
    file: Path, task: str | None, *, force: bool
) -> Callable[[str | None, str], list[str]]:
    """Look at data; what is returned then writes params.yaml, and names what is to be committed."""
    from birnn import params
    from birnn.files import addresses
    from birnn.files.reading import Skipped
    from birnn.project import beginning
    from birnn.sources import guesses, inspection

    target, file = Path(params.PATH), addresses.place(file)
    beginning.check_params(target, force=force)
    skipped = Skipped()
    looked = guesses.of(file, task, skipped)
    found, again = _looked_at(params.data(looked.section), skipped)

    def begin(problem: str | None, then: str) -> list[str]:
        place = beginning.placed(file)
        text = beginning.params_text(
            problem or beginning.problem_of(file),
            looked if place == file else guesses.of(place, looked.section.get("task")),
            found,
            heavy=beginning.has_heavy_tails(again()),
        )
        atomic.write_text(target, text)
        to_commit = beginning.tracked(place)  # by DVC, which reads params.yaml
        _show(found)
        written = params.load(target).prepare
        noted = inspection.notes(found, by_chance=written.by_chance)
        console.say(*skipped.sentences(), *noted)
        console.say(f"{target}: {found.task} of {place}; look at `data`, then run `{then}`")
        return [*to_commit, str(target)] if to_commit else []

    return begin


@app.command()
def objects() -> None:
    """List the data in a bucket, so that DVC sees when they have changed.

    Writes data/external/objects.csv for the files that params.yaml names, and
    data/external/dvc.yaml, by which `dvc repro` does it too.
    """
    from birnn import params
    from birnn.files import listing
    from birnn.project import beginning

    chosen = params.load()
    beginning.listed(chosen)
    many = len(listing.in_buckets(beginning.read(chosen)))
    console.say(f"{listing.PATH}: what lies at {many} address{'es' if many != 1 else ''}")


@app.command(name="params")
def show_params(
    key: Annotated[str, typer.Argument(help="With which names begin, such as prepare.")] = "",
    markdown: Annotated[bool, typer.Option(help="As the page docs/params.md.")] = False,
) -> None:
    """List the keys of params.yaml: what each may be, its default, and what it means."""
    from rich.console import Console

    from birnn.params import reference

    if markdown:
        console.say(reference.markdown().rstrip("\n"))
        return
    shown = list(reference.tables(key))
    if not shown:
        raise DataError(f"params: expected the beginning of a key, found {key!r}; see birnn params")
    for table in shown:
        Console().print(table)


def _origins(found: Summary, again: Callable[[], Iterator[Chunk]]) -> Iterator[str]:
    """Say which sequences belong together."""
    from birnn.data import origins

    if found.sequences >= origins.LEAST_SEQUENCES:
        yield from origins.notes(again())


ToPredict = Annotated[
    Path, typer.Argument(help="A sequence table, or a file as in training; also in s3://.")
]
Chosen = Annotated[str, typer.Option(help="A folder, `champion`, or models:/NAME/3 and the like.")]
Predicting = Annotated[
    str,
    typer.Option(help="A folder, a .onnx file, `champion`, or models:/NAME/3 and the like."),
]
PROMOTED = str(MODELS / "bidirectional")
Record = Annotated[
    bool, typer.Option("--record", help="Keep what is answered, until its labels come.")
]
LedgerFolder = Annotated[
    Path | None, typer.Option("--ledger", metavar="FOLDER", help="Of the record; ledger/.")
]


def _load(model: str, device: str = "cpu") -> Served:
    """Read a model from a folder, or from MLflow."""
    from birnn.serving import served

    return served.load(served.address(model), device)


@app.command()
def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="Sequence tables, or files as in training, also in s3://; folders, patterns, - "
            "for stdin.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Where to: .csv, .jsonl or .parquet.")] = Path("-"),
    model: Predicting = PROMOTED,
    device: Annotated[
        str, typer.Option(help="auto, cuda, mps or cpu; ray for the CPUs of a cluster.")
    ] = "auto",
    explain: Annotated[
        bool, typer.Option("--explain", help="Add the steps that changed an answer the most.")
    ] = False,
    spans: Annotated[
        bool, typer.Option("--spans", help="A row a span, of labels such as B-X and I-X.")
    ] = False,
    record: Record = False,
    ledger: LedgerFolder = None,
) -> None:
    """Predict the labels of sequences, one row a label; as CSV on standard output."""
    from birnn.files import engines, tables
    from birnn.files.reading import Skipped
    from birnn.model import prediction, threads
    from birnn.serving import of_files
    from birnn.sources.asked import STDIN, asked

    folder = _ledger(record, ledger)
    if spans and (explain or folder is not None):
        raise typer.BadParameter("--spans goes with neither --explain nor --record")
    inputs = [Path(one) for one in files if one != STDIN]
    named.check_output(output, inputs)
    spread = device == "ray"
    loaded = _load(model, "cpu" if spread else device)
    threads.limit(prediction.BATCH_SIZE * loaded.network.architecture.sums)
    skipped, told = Skipped(), of_files.Told()
    options = of_files.Options(explain=explain, spans=spans)
    with asked(files, str(loaded.encoding.reading.get("source", "table"))) as found:
        predicted = of_files.answers(loaded, found, options, skipped, told)
        if folder is not None:
            from birnn.serving.ledger import recorded

            predicted = recorded(folder, loaded, predicted)
        with engines.chosen("ray" if spread else "local"), skipped.told():
            tables.export(_tracked(predicted, output), output, inputs)
    for line in (*skipped.sentences(), *told.sentences()):
        console.say(line, error=True)


def _tracked(tables: Iterator[Table], output: Path) -> Iterable[Table]:
    """Show that work goes on, where answers do not show it themselves."""
    return tables if str(output) == "-" else console.track(tables, "Predicting")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A folder, `champion`, or models:/NAME/3 etc.")],
    file: Annotated[
        Path, typer.Argument(help="Where to, .onnx or .pt2; a .json is written beside it.")
    ],
) -> None:
    """Write a model for other programs: an ONNX graph, or a program of torch.export."""
    from birnn.model import exported, exporting
    from birnn.serving import served

    saved = served.saved(served.address(model))
    exporting.write(saved, file, [model] if Path(model).exists() else [])
    console.say(f"{file}: written, and {exported.description_path(file)}, which says its input")


def _ledger(asked: bool, folder: Path | None, option: str = "--record") -> Path | None:
    """The folder of the ledger; None where the option that asks for it was not given."""
    if folder is not None and not asked:
        raise typer.BadParameter(f"--ledger goes with {option}")
    if folder is not None:
        named.check_output(folder)
    return (folder or paths.LEDGER) if asked else None


@app.command()
def serve(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A folder, `champion`, or models:/NAME/3 and the like; the champion if not given, "
            "and before there is one the model of the last `dvc repro`.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for a free one.", min=0, max=65535)] = 8000,
    every: Annotated[
        float, typer.Option(help="Seconds between two looks at who is champion.", min=0.1)
    ] = 60,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name by which clients call the server.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER", help="body, rows, steps, letters, waiting or seconds; see docs."
        ),
    ] = None,
    record: Record = False,
    ledger: LedgerFolder = None,
) -> None:
    """Answer requests over HTTP, by the model that serves now, until SIGTERM or Ctrl-C.

    BIRNN_SERVE_TOKEN names a token that clients must bring.
    """
    from birnn.serving import served, server
    from birnn.serving.requests import Limits

    options = server.Options(
        host=host,
        port=port,
        every=every,
        allowed=tuple(allow_host or ()),
        limits=Limits.of(limit or ()),
        ledger=_ledger(record, ledger),
    )
    server.serve(served.address(model) if model else _to_serve(), options)


def _to_serve() -> str:
    """The champion; where there is none yet, the candidate of the last `dvc repro`."""
    from birnn import params
    from birnn.serving import served
    from birnn.tracking import registry, store

    chosen = params.load()
    if store.has_store():
        with store.reached():
            champion = registry.connect(chosen.problem).aliases()[registry.CHAMPION]
        if champion is not None:
            return served.address("champion")
    return str(MODELS / chosen.candidate)


@app.command()
def shadow(
    file: ToPredict,
    champion: Annotated[str, typer.Option(help="A folder, or an address.")] = "champion",
    challenger: Annotated[str, typer.Option(help="A folder, or an address.")] = "challenger",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Let two models answer for the same sequences without labels, and say how answers change.

    For two registered versions, the record is kept with the challenger.
    """
    from dataclasses import asdict

    from rich.console import Console

    from birnn.serving import served, shadow

    addresses = served.address(champion), served.address(challenger)
    found = shadow.of(*addresses, file)
    if as_json:
        console.say(console.json_text(asdict(found)))
        return
    Console().print(shadow.table(found))
    for name, estimate in found.expected.items():
        console.say(f"{name}: {estimate.sentence}")


@app.command()
def trace(
    file: ToPredict,
    sequence: Annotated[str | None, typer.Option(help="Its id; the first if not given.")] = None,
    model: Chosen = PROMOTED,
    steps: Annotated[int, typer.Option(min=1, help="At most; each costs those before it.")] = 40,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Shapes of the first sequences as a batch, instead.")
    ] = None,
) -> None:
    """Show what goes through a model for one sequence, and which steps change its mind."""
    from rich.console import Console

    from birnn.evaluation import batch_trace, trace, trace_tables
    from birnn.files import addresses
    from birnn.files.reading import Skipped
    from birnn.model import saved_model
    from birnn.sources import ingestion

    if batch is not None and sequence is not None:
        raise typer.BadParameter("expected --sequence or --batch, found both")
    loaded = _load(model)
    network = saved_model.network(loaded.network)
    encoding, thresholds = loaded.encoding, loaded.thresholds
    skipped = Skipped()
    with addresses.opened(addresses.place(file)) as path:
        rows = ingestion.unlabelled(
            path, encoding.reading, encoding.features, skipped, form=encoding.form
        )
        if batch is not None:
            some = trace.first(rows, encoding, batch, where=str(path))
            Console().print(trace_tables.of_batch(batch_trace.follow(network, some)))
            return
        one, labelled = trace.find(rows, encoding, sequence, where=str(path), skipped=skipped)
    found = trace.explain(network, encoding, thresholds, one, labelled=labelled, most_steps=steps)
    for shown in trace_tables.on_terminal(found):
        Console().print(shown)
    for line in skipped.sentences():
        console.say(line, error=True)


@app.command()
def score(
    file: Annotated[
        Path, typer.Argument(help="Predictions, .csv, .tsv or .parquet; also in s3://.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
    use_params: Annotated[
        bool, typer.Option("--params", help="Judge by `evaluate` of params.yaml.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="A column, for whose values to score too.")] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="FILE holds labels of what was recorded.")
    ] = False,
    ledger: LedgerFolder = None,
) -> None:
    """Score a table with `sequence`, `actual` or `label`, `predicted` and `probability_LABEL`.

    With --recorded, it needs `sequence` and `label` alone: what was predicted is in the ledger.
    """
    from dataclasses import asdict

    from rich.console import Console

    from birnn import params
    from birnn.evaluation import score_tables, scoring, verdict

    if (folder := _ledger(recorded, ledger, "--recorded")) is not None:
        _score_recorded(folder, file, as_json=as_json)
        return
    scored = scoring.read(file, by)
    for note in scored.notes:
        console.say(f"note: {note}", error=True)
    if as_json:
        found: dict[str, object] = dict(scored.metrics())
        if by is not None:
            found |= asdict(scored.slices())
        console.say(console.json_text(found))
        return
    sure = scored.intervals()
    for table in score_tables.on_terminal(scored, sure):
        Console().print(table)
    aims = verdict.aims(params.load().evaluate if use_params else params.Evaluate())
    console.say(scoring.judge(scored, sure, aims).sentence)


def _score_recorded(folder: Path, labels: Path, *, as_json: bool) -> None:
    """Say how good what was recorded is, by week and model."""
    from dataclasses import asdict

    from rich.console import Console

    from birnn.serving import recorded

    found = recorded.join(folder, labels)
    if as_json:
        console.say(console.json_text([asdict(one) for one in found.periods()]))
        return
    Console().print(recorded.table(found))
    for sentence in found.sentences:
        console.say(sentence)


@app.command()
def report(
    pdf: Annotated[Path, typer.Option(metavar="FILE", help="Where to, .pdf; needs Chromium.")],
) -> None:
    """Print the result of the last `dvc repro` on two pages, for others to read."""
    from birnn import params
    from birnn.report import pdf as printing

    chosen = params.load()
    page = printing.two_pages(chosen.problem, chosen.models, average=chosen.evaluate.average)
    printing.write(pdf, page)


Metric = Annotated[str, typer.Option(help="A name in metrics.json.")]


@app.command()
def compare(
    by: Annotated[
        list[str] | None, typer.Option(help="A key of params; all that differ if not given.")
    ] = None,
    over: Annotated[list[str] | None, typer.Option(help="Keys that only repeat: seed.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="A name in metrics.json, f1_macro; of a sweep loss.")
    ] = None,
    experiments: Annotated[
        bool, typer.Option(help="Of DVC, in the place of MLflow's runs.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="The trainings of the last sweep.")
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
    if experiments:
        read = trials.of_experiments()
    else:
        of = trials.of_sweep if sweep else trials.of_runs
        read = of(params.load().problem)
    found = groups.grouped(
        read, by or [], over or ["seed"], metric or ("loss" if sweep else "f1_macro")
    )
    Console().print(groups.on_terminal(found))
    if found.mixed:
        console.say(
            f"Mixed in a row: {', '.join(found.mixed)}; to tell them apart, give them to --by."
        )
    console.say(found.sentence)
    if csv:
        groups.write_csv(found, csv)
    if latex:
        groups.write_latex(found, latex)
    if picture:
        named.write_text(picture, groups.picture(found))


@app.command()
def sweep(
    trials: Annotated[
        int | None, typer.Option(help="Settings to try; sweep.trials if not given.", min=1)
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the best to params.yaml.")] = False,
    storage: Annotated[
        str, typer.Option(envvar="OPTUNA_STORAGE", help="A database; sweep.db if not given.")
    ] = "",
    lost_after: Annotated[
        int, typer.Option(help="Seconds without a word of a machine.", min=4)
    ] = 60,
) -> None:
    """Search settings by the validation split, as `sweep` in params.yaml says, or go on with it.

    Several processes with one storage share the work. The test split is not opened.
    """
    from rich.console import Console

    from birnn import params

    try:
        from birnn.sweep import outcome, search
    except ModuleNotFoundError as error:
        raise SweepError(
            f"birnn sweep: expected the package {error.name}; run `pip install 'birnn[sweep]'`"
        ) from None

    chosen = params.load()
    found = search.run(chosen, trials=trials, storage=storage, lost_after=lost_after)
    if found.best is not None:
        Console().print(outcome.table(found))
    console.say(found.sentence)
    if apply:
        console.say(outcome.applied(found))


@app.command()
def experiments(metric: Metric = "f1_macro") -> None:
    """List the results of DVC's experiments: what differs, and how good they are."""
    from rich.console import Console

    from birnn.report import groups
    from birnn.tracking import trials

    Console().print(groups.listed(trials.of_experiments(), metric))


@app.command()
def backfill() -> None:
    """Give MLflow the runs that it lacks: of models from DVC's cache, or trained without it.

    The other way round, decisions that were made in other checkouts come into `decisions.jsonl`.
    """
    from birnn import params
    from birnn.report import conclusions, drawings, side_by_side, tested
    from birnn.retraining import recovery
    from birnn.tracking import registry, runs, store

    chosen = params.load()
    results = [tested.read(name, MODELS, EVALUATION) for name in chosen.candidate_first]
    compared = records.read(REPORT / paths.COMPARISON, tested.Compared)
    concluded = records.read(REPORT / paths.VERDICT, conclusions.Conclusion)
    rows = {row.name: row for row in compared.models}
    drawn = drawings.pictures(results, compared.ladder)
    try:
        for result in results:
            name = result.name
            with store.reached():
                run = runs.in_checkout(chosen.problem, name, result.params)
                run.log_evaluation(EVALUATION / name)
                drawings.attach(run, REPORT, result, drawn)
                side_by_side.annotate(run, rows[name], concluded)
            console.say(f"{name}: run {run.id}")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; run `dvc repro` first") from None
    gathered = recovery.gather(registry.connect(chosen.problem))
    console.say(f"{recovery.RECORD}: {gathered} decisions of other checkouts added")


Comment = Annotated[str, typer.Option(help="Why, for those who read the record later.")]


@app.command()
def retrain(
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
    approve: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Promote a version that waits for it.")
    ] = None,
    comment: Comment = "",
) -> None:
    """Train on what is new, and let the model serve if it is better than the one that does."""
    from birnn import params
    from birnn.retraining import service, steps

    if comment and approve is None:
        raise typer.BadParameter("--comment goes with --approve")

    _end_once()
    chosen = params.load()
    if dry_run:
        console.say("\n".join(steps.plan(chosen)))
        return
    if approve is None:
        outcome = steps.retrain(chosen)
    else:
        outcome = service.approve(chosen, approve, comment=comment)
    console.say(f"{outcome.decision}: {outcome.sentence}")
    _say_who_answers(outcome.decision, chosen.problem)
    _say_what_is_left()


@app.command()
def rollback(
    to: Annotated[
        int | None, typer.Option(metavar="VERSION", help="One that served, not the one before.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
    comment: Comment = "",
) -> None:
    """Let the model serve again that served before; the next ones then wait for approval."""
    from birnn import params
    from birnn.retraining import service

    chosen = params.load()
    if dry_run:
        console.say(service.rollback_plan(chosen, to))
        return
    outcome = service.rollback(chosen, to, comment=comment)
    console.say(outcome.sentence)
    _say_who_answers(outcome.decision, chosen.problem)
    _say_what_is_left()


def _say_who_answers(decision: str, problem: str) -> None:
    """Say which servers answer by another model now, and which must be started again for that."""
    from birnn.retraining.recovery import SERVING

    if decision in SERVING:
        console.say(
            "servers: `birnn serve` answers by it within a minute; a running `mlflow models serve` "
            "answers by the model before until it is started again: end it, and run `mlflow models "
            f"serve -m models:/{problem}@champion --env-manager local`"
        )


def _say_what_is_left() -> None:
    """Say what has to be committed and pushed, so that other checkouts get the result."""
    from birnn.retraining import workspace

    if changed := workspace.uncommitted(Path.cwd()):
        console.say(
            f"left to do: git add {shlex.join(changed)} && git commit; dvc push --run-cache"
        )


@app.command()
def status(
    hours: Annotated[
        float | None, typer.Option(help="An attempt must have ended within them.", min=0)
    ] = None,
) -> None:
    """Say what serves, since when and why, what waits, and when the next attempt is due.

    The status is 1 where an attempt failed, was killed, or did not happen when it was due.
    """
    from birnn import params
    from birnn.retraining import status

    found = status.status(params.load(), hours=hours)
    console.say("\n".join(found.lines))
    _tell_of_upgrade()
    for alarm in found.alarms:
        console.say(f"alarm: {alarm}")
    if found.alarms:
        raise typer.Exit(1)


@app.command()
def schedule(
    cron: Annotated[str, typer.Option(help="Minute, hour, day, month, day of the week.")],
) -> None:
    """Retrain by the clock, one at a time, until SIGTERM or Ctrl-C."""
    from birnn.retraining import schedule

    schedule.run(cron, [sys.executable, "-c", "from birnn.cli import main; main()", "retrain"])


def _end_once() -> None:
    """Let the first SIGTERM or SIGINT end what runs, and no other disturb how it ends."""

    def end(number: int, _: object) -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def main() -> None:
    """Run the command; a user's mistake ends in one line, not in a traceback."""
    atexit.register(gc.freeze)  # to look for garbage in all that was imported takes a second
    with errors.reported():
        app(prog_name="birnn")
