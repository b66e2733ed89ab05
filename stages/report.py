"""Put what was learned into a page that people read, and a verdict that programs read.

    python -m stages.report

Reads params.yaml, data/raw/summary.json, data/prepared/, models/ and evaluation/.
Writes report/{report.html,report.md,verdict.json,comparison.json}, prints the verdict, and hangs
the files and the pictures on the runs in MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from birnn import errors, params
from birnn.data import sequences
from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.evaluation import comparison, data_checks, verdict
from birnn.evaluation.comparison import Classes
from birnn.files import atomic
from birnn.report import drawings, figures, pages, tested, wording
from birnn.report.tested import Result
from birnn.tracking import runs, store

RAW, PREPARED = Path("data/raw"), Path("data/prepared")
SECTIONS = {"data", "evaluate", "model", "models", "prepare", "problem", "train"}  # as in dvc.yaml
MODELS, EVALUATION, REPORT = Path("models"), Path("evaluation"), Path("report")


def main() -> None:
    """Run the stage."""
    chosen = params.load()
    results = [tested.read(name, MODELS, EVALUATION) for name in chosen.models]
    summary = atomic.read_json(RAW / "summary.json")
    encoding = Encoding(**atomic.read_json(PREPARED / "encoding.json"))
    train, test = (sequences.read(PREPARED / f"{split}.arrow") for split in ("train", "test"))
    answers = {
        name: comparison.predicted(EVALUATION / name / "predictions.parquet", encoding.labels)
        for name in chosen.models
    }
    limits = summary.get("limits", {})
    compared = compare(results, answers, train, test, encoding.labels, limits, chosen.evaluate)
    concluded = conclude(results[0], answers, train, test, encoding, chosen.evaluate)
    concluded["headlines"] = tested.headlines(results, chosen.evaluate.average)
    atomic.write_json(REPORT / "comparison.json", compared)
    atomic.write_json(REPORT / "verdict.json", concluded)
    content = {
        "problem": chosen.problem,
        "average": chosen.evaluate.average,
        "results": results,
        "summary": summary,
        "frame": encoding.frame,
        "packing": atomic.read_json(PREPARED / "packing.json"),
        "verdict": concluded,
        "accents": {result.name: number % figures.ACCENTS for number, result in enumerate(results)},
        "pictures": drawings.pictures(results, compared["ladder"]),
        "identity": identify(chosen, results),
        "knobs": wording.knobs(chosen.model_dump(include=SECTIONS)),
        **compared,
    }
    atomic.write_text(REPORT / "report.html", pages.render("report.html.j2", **content))
    atomic.write_text(REPORT / "report.md", pages.render("report.md.j2", **content))
    print(concluded["sentence"])
    with store.mirrored():
        for result in results:
            knobs = params.of_run(chosen, result.name)
            run = runs.run_of_model(
                chosen.problem, result.name, MODELS / result.name, params=knobs, data=PREPARED
            )
            drawings.attach(run, REPORT, result, content["pictures"])


def identify(chosen: params.Params, results: Sequence[Result]) -> list[tuple[str, str]]:
    """Name what a result rests on by the hashes that its MLflow runs are tagged with."""
    found = [("data_sha256", runs.data_sha256(PREPARED))]
    for result in results:
        knobs = runs.params_sha256(params.of_run(chosen, result.name))
        found.append((f"params_sha256 of {result.name}", knobs))
        found.append((f"model_sha256 of {result.name}", result.sha256))
    return found


def compare(
    results: Sequence[Result],
    answers: Mapping[str, Classes],
    train: Sequences,
    test: Sequences,
    labels: Sequence[str],
    limits: Mapping[str, float],
    judged: params.Evaluate,
) -> dict[str, Any]:
    """Give the tree of `comparison.json`: the ladder, and what the second direction is worth."""
    draws: dict[str, Any] = judged.model_dump(include={"resamples", "seed"})
    models = sorted(results, key=lambda result: result.bidirectional)
    floor = comparison.floor(train, test, labels=labels, **draws)
    rungs = [*floor, *(result.rung for result in models)]
    pair = tested.to_compare(results)
    gain = pair and comparison.difference(
        test, *(answers[result.name] for result in pair), labels=labels, **draws
    )
    return {
        "ladder": tested.ladder(rungs, limits, judged.average),
        "second_direction": tested.second_direction(gain, judged.average),
    }


def conclude(
    result: Result,
    answers: Mapping[str, Classes],
    train: Sequences,
    test: Sequences,
    encoding: Encoding,
    judged: params.Evaluate,
) -> dict[str, Any]:
    """Give the tree of `verdict.json`."""
    labels = encoding.labels
    leakage = data_checks.leakage(
        train,
        test,
        answers[result.name],
        features=encoding.inputs,
        labels=labels,
        headline=f"f1_{judged.average}",
    )
    shift = data_checks.label_shift(train, test, labels=labels)
    found = verdict.verdict(
        result.metrics,
        average=judged.average,
        bars={name: verdict.Bar(**bar) for name, bar in judged.model_dump()["bars"].items()},
        critical={
            label: verdict.Wanted(aim.min_recall, aim.min_precision)
            for label, aim in judged.critical.items()
        },
    )
    checks = tested.worst_first([*result.checks, asdict(leakage), asdict(shift)])
    return tested.conclusion(result, found, checks, judged.average)


if __name__ == "__main__":
    with errors.reported():
        main()
