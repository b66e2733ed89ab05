"""What can be concluded of the models: how they compare, how good the first one is, and why.

evidence = Evidence.read(["bidirectional", "forward"])
compared = compare(evidence, "macro", resamples=1000, seed=1)
concluded = conclude(evidence, aims)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from birnn.data import sequences
from birnn.data.encoding import Encoding
from birnn.evaluation import comparison, data_checks, resampling, verdict
from birnn.evaluation.comparison import Classes
from birnn.evaluation.data_checks import Splits
from birnn.evaluation.verdict import Aims
from birnn.files import atomic, paths
from birnn.files.paths import EVALUATION, MODELS, PREPARED, RAW
from birnn.params import Knob
from birnn.report import tested
from birnn.report.tested import Result
from birnn.tracking import runs


class Compared(TypedDict):
    """The tree of `comparison.json`: the ladder, and what the second direction is worth."""

    ladder: list[dict[str, Any]]
    second_direction: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the stages before have written.

    Attributes:
        results: the models, of which the first is judged.
        answers: (labels,) class indices that each model gives the test labels, by its name.
        encoding: names classes and features.
        splits: the prepared sequences.
        summary: the tree of `summary.json`.
    """

    results: list[Result]
    answers: Mapping[str, Classes]
    encoding: Encoding
    splits: Splits
    summary: Mapping[str, Any]

    @classmethod
    def read(cls, models: Iterable[str]) -> Evidence:
        """Read it for these models, in this order.

        Raises:
            DataError: a file is missing.
        """
        results = [tested.read(name, MODELS, EVALUATION) for name in models]
        encoding = Encoding(**atomic.read_json(PREPARED / paths.ENCODING))
        folders = {one.name: EVALUATION / one.name for one in results}
        return cls(
            results=results,
            answers={
                name: comparison.predicted(folder / paths.PREDICTIONS, encoding.labels)
                for name, folder in folders.items()
            },
            encoding=encoding,
            splits=Splits(
                train=sequences.read(PREPARED / paths.TRAIN),
                validation=sequences.read(PREPARED / paths.VALIDATION),
                test=sequences.read(PREPARED / paths.TEST),
            ),
            summary=atomic.read_json(RAW / paths.SUMMARY),
        )


def identify(
    results: Iterable[Result], knobs: Mapping[str, Mapping[str, Knob]]
) -> list[tuple[str, str]]:
    """Name what a result rests on by the hashes that its MLflow runs are tagged with.

    Args:
        results: the models.
        knobs: the params of the run of each, by its name.
    """
    found = [("data_sha256", runs.data_sha256(PREPARED))]
    for result in results:
        sha256 = runs.params_sha256(knobs[result.name])
        found.append((f"params_sha256 of {result.name}", sha256))
        found.append((f"model_sha256 of {result.name}", result.sha256))
    return found


def compare(evidence: Evidence, average: str, *, resamples: int, seed: int) -> Compared:
    """Line up the models with the baselines, and say what the second direction is worth.

    Args:
        evidence: what is known of them.
        average: which precision, recall and F1 to show.
        resamples: how often sequences are drawn anew for the intervals.
        seed: of these draws, and of what a baseline learns from.
    """
    train, test = evidence.splits.train, evidence.splits.test
    labels = evidence.encoding.labels
    models = sorted(evidence.results, key=lambda result: result.bidirectional)
    floor = comparison.floor(train, test, labels=labels, resamples=resamples, seed=seed)
    gain = None
    if pair := tested.to_compare(evidence.results):
        both, one = (evidence.answers[result.name] for result in pair)
        gain = resampling.difference(
            test.labels,
            both,
            one,
            labels=labels,
            offsets=test.label_offsets,
            resamples=resamples,
            seed=seed,
        )
    rungs = [*floor, *(result.rung for result in models)]
    return {
        "ladder": tested.ladder(rungs, evidence.summary.get("limits", {}), average),
        "second_direction": tested.second_direction(gain, average),
    }


def conclude(evidence: Evidence, aims: Aims) -> dict[str, Any]:
    """Give the tree of `verdict.json`, on the first model."""
    result, splits = evidence.results[0], evidence.splits
    labels = evidence.encoding.labels
    leakage = data_checks.leakage(
        splits,
        evidence.answers[result.name],
        features=evidence.encoding.inputs,
        labels=labels,
        headline=f"f1_{aims.average}",
    )
    shift = data_checks.label_shift(splits.train, splits.test, labels=labels)
    checks = tested.worst_first([*result.checks, leakage, shift])
    found = verdict.verdict(result.metrics, aims)
    concluded = tested.conclusion(result, found, checks, aims.average)
    return concluded | {"headlines": tested.headlines(evidence.results, aims.average)}
