"""What can be concluded of the models: how they compare, how good the first one is, and why.

evidence = Evidence.read(["bidirectional", "forward"])
compared = compare(evidence, "macro", resamples=1000, seed=1)
concluded = conclude(evidence, aims)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from birnn.data import sequences
from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.evaluation import comparison, data_checks, resampling, verdict
from birnn.evaluation.checks import Check
from birnn.evaluation.comparison import Classes
from birnn.evaluation.verdict import Aims, Grade
from birnn.files import paths, records
from birnn.files.paths import EVALUATION, MODELS, PREPARED, RAW
from birnn.files.summary import Summary
from birnn.params import Knob
from birnn.report import tested
from birnn.report.tested import Compared, Headline, Result
from birnn.tracking import runs

FIGURES = ("accuracy", "precision", "recall", "f1")  # of the verdict


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What `verdict.json` says: how good the first model is, and why.

    Attributes:
        grade: `good`, `fair` or `bad`.
        model: the name of the model.
        sentence: the grade and its reasons in one line.
        reasons: the decisive ones.
        accuracy: on the test split, as all figures.
        precision: averaged over the classes, as `evaluate.average` says.
        recall: in the same way.
        f1: in the same way.
        checks: of all pitfalls, failures first.
        headlines: the figures of all models that have an interval.
    """

    grade: Grade
    model: str
    sentence: str
    reasons: tuple[str, ...]
    accuracy: float
    precision: float
    recall: float
    f1: float
    checks: list[Check]
    headlines: list[Headline]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the stages before have written.

    Attributes:
        results: the models, of which the first is the candidate and judged.
        answers: (labels,) class indices that each model gives the test labels, by its name.
        encoding: names classes and features.
        train: the training split.
        test: the test split.
        summary: what the table holds.
    """

    results: list[Result]
    answers: Mapping[str, Classes]
    encoding: Encoding
    train: Sequences
    test: Sequences
    summary: Summary

    @classmethod
    def read(cls, models: Iterable[str]) -> Evidence:
        """Read it for these models, in this order.

        Raises:
            DataError: a file is missing.
        """
        results = [tested.read(name, MODELS, EVALUATION) for name in models]
        encoding = records.read(PREPARED / paths.ENCODING, Encoding)
        folders = {one.name: EVALUATION / one.name for one in results}
        return cls(
            results=results,
            answers={
                name: comparison.predicted(folder / paths.PREDICTIONS, encoding.labels)
                for name, folder in folders.items()
            },
            encoding=encoding,
            train=sequences.read(PREPARED / paths.TRAIN),
            test=sequences.read(PREPARED / paths.TEST),
            summary=records.read(RAW / paths.SUMMARY, Summary),
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
    test, labels = evidence.test, evidence.encoding.labels
    models = sorted(evidence.results, key=lambda result: result.bidirectional)
    floor = comparison.floor(evidence.train, test, labels=labels, resamples=resamples, seed=seed)
    gain, names = None, list[str]()
    if pair := tested.to_compare(evidence.results):
        both, one = (evidence.answers[result.name] for result in pair)
        names = [result.name for result in pair] if len(evidence.results) > len(pair) else []
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
    return Compared(
        tested.ladder(rungs, evidence.summary.limits, average),
        tested.second_direction(gain, average, names),
    )


def conclude(evidence: Evidence, aims: Aims) -> Conclusion:
    """Say how good the first model is, and why."""
    result, train, test = evidence.results[0], evidence.train, evidence.test
    labels = evidence.encoding.labels
    leakage = data_checks.leakage(
        train,
        test,
        evidence.answers[result.name],
        features=evidence.encoding.inputs,
        labels=labels,
        headline=f"f1_{aims.average}",
    )
    shift = data_checks.label_shift(train, test, labels=labels)
    checks = tested.worst_first([*result.checks, leakage, shift])
    return conclusion(result, evidence.results, checks, aims)


def conclusion(
    result: Result, results: Sequence[Result], checks: list[Check], aims: Aims
) -> Conclusion:
    """Grade a model among others, whose headlines are listed too."""
    found = verdict.verdict(result.metrics, aims)
    figures = {name: result.metrics[tested.names(aims.average)[name]] for name in FIGURES}
    return Conclusion(
        grade=found.grade,
        model=result.name,
        sentence=found.sentence,
        reasons=found.reasons,
        **figures,
        checks=checks,
        headlines=tested.headlines(results, aims.average),
    )
