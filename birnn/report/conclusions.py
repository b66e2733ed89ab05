"""What can be concluded of the models: how they compare, how good the first one is, and why.

evidence = Evidence.read(["bidirectional", "forward"])
compared = compare(evidence, "macro", seed=1)
concluded = conclude(evidence, aims)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from birnn.data import sequences
from birnn.data.encoding import Encoding
from birnn.evaluation import (
    baselines,
    comparison,
    data_checks,
    headlines,
    intervals,
    metrics,
    verdict,
)
from birnn.evaluation.checks import Check
from birnn.evaluation.comparison import Classes, Predicted
from birnn.evaluation.data_checks import Splits
from birnn.evaluation.headlines import Figure
from birnn.evaluation.intervals import Difference
from birnn.evaluation.verdict import Aims, Basis, Grade
from birnn.files import paths, records
from birnn.files.paths import EVALUATION, MODELS, PREPARED, RAW, REPORT
from birnn.files.summary import Summary
from birnn.model import saved_model
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
        reached: what critical classes reach, a sentence each.
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
    reached: tuple[str, ...]
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
        answers: what each model says of the test labels, by its name.
        encoding: names classes and features.
        splits: the prepared sequences.
        summary: what the table holds.
        folder: for temporary files that take what is long; memory does where None.
    """

    results: list[Result]
    answers: Mapping[str, Predicted]
    encoding: Encoding
    splits: Splits
    summary: Summary
    folder: Path | None = None

    @classmethod
    def read(cls, models: Iterable[str]) -> Evidence:
        """Read it for these models, in this order.

        Raises:
            DataError: a file is missing, or they do not belong together: a model or its predictions
                are of other data than those that are prepared now.
        """
        results = [tested.read(name, MODELS, EVALUATION) for name in models]
        encoding = records.read(PREPARED / paths.ENCODING, Encoding)
        test = sequences.read(PREPARED / paths.TEST)
        for one in results:
            encoding.check_same(saved_model.encoding_of(MODELS / one.name), str(MODELS / one.name))
        return cls(
            results=results,
            answers={
                one.name: comparison.predicted(
                    EVALUATION / one.name / paths.PREDICTIONS,
                    test,
                    encoding,
                    thresholds=bool(one.operating_points),
                    folder=REPORT,
                )
                for one in results
            },
            encoding=encoding,
            splits=Splits(
                train=sequences.read(PREPARED / paths.TRAIN),
                validation=sequences.read(PREPARED / paths.VALIDATION),
                test=test,
            ),
            summary=records.read(RAW / paths.SUMMARY, Summary),
            folder=REPORT,
        )


def identify(results: Iterable[Result]) -> list[tuple[str, str]]:
    """Name what a result rests on by the hashes that its MLflow runs are tagged with."""
    found = [("data_sha256", runs.data_sha256(PREPARED))]
    for result in results:
        sha256 = runs.params_sha256(result.params)
        found.append((f"params_sha256 of {result.name}", sha256))
        found.append((f"model_sha256 of {result.name}", result.sha256))
    return found


def compare(evidence: Evidence, average: str, *, seed: int) -> Compared:
    """Line up the models with the baselines, and say what the second direction is worth.

    All of them answer with the most probable class, the one rule by which they can be compared:
    a threshold was chosen to find more of one class, at a price that says nothing of the model.

    Args:
        evidence: what is known of them.
        average: which precision, recall and F1 to show.
        seed: of what a baseline learns from.
    """
    train, test, folder = evidence.splits.train, evidence.splits.test, evidence.folder
    labels, known = evidence.encoding.names, test.labelled(folder)
    floor = baselines.answers(train, test, labels=labels, seed=seed, folder=folder)
    rungs = [comparison.rung(name, test, said, labels, folder) for name, said in floor.items()]
    for result in sorted(evidence.results, key=lambda result: result.bidirectional):
        said = evidence.answers[result.name].most_probable
        again = result.operating_points
        rungs.append(
            comparison.rung(result.name, test, said, labels, folder) if again else result.rung
        )

    def gain(first: Classes, second: Classes) -> dict[str, Difference]:
        return intervals.difference(
            known.labels,
            known.of(first, folder),
            known.of(second, folder),
            labels=labels,
            offsets=known.offsets,
            groups=known.groups,
            folder=folder,
        )

    judged = evidence.answers[evidence.results[0].name].most_probable
    over = gain(judged, floor[baselines.without_context(train)])
    pair = [one.name for one in tested.to_compare(evidence.results) or ()]
    worth = gain(*(evidence.answers[one].most_probable for one in pair)) if pair else None
    named = pair if len(evidence.results) > len(pair) else ()
    sizes = len(np.unique(known.groups)), len(known.chosen)
    return Compared(
        tested.ladder(rungs, evidence.summary.limits, average),
        tested.second_direction(worth, average, intervals.over(*sizes), named),
        intervals.in_brackets(*sizes),
        _known(over.get(headlines.leading(over, average))),
    )


def _known(gain: Difference | None) -> Figure | None:
    """A gain, unless it rests on too little."""
    return None if gain is None or gain.too_few else Figure(gain.estimate, gain.low, gain.high)


def conclude(evidence: Evidence, compared: Compared, aims: Aims) -> Conclusion:
    """Say how good the first model is, and why."""
    result, splits = evidence.results[0], evidence.splits
    train, test = splits.train, splits.test
    labels, known = evidence.encoding.names, test.labelled(evidence.folder)
    leakage = data_checks.leakage(
        splits,
        evidence.answers[result.name].served,
        features=evidence.encoding.inputs,
        labels=labels,
        headline=headlines.leading(result.metrics, aims.average),
        folder=evidence.folder,
    )
    shift = data_checks.label_shift(train, test, labels=labels, folder=evidence.folder)
    checks = tested.worst_first([*result.checks, leakage, shift])
    basis = Basis(
        metrics=result.metrics,
        intervals=result.intervals,
        present=metrics.present(known.labels, labels, known.offsets, known.groups),
        checks=checks,
        gain=compared.over_baseline,
        baseline=baselines.without_context(train),
        unseen=evidence.encoding.unseen,
        costs={
            label: (point.test.cost, point.test_argmax.cost)
            for label, point in result.operating_points.items()
            if point.test.cost is not None and point.test_argmax.cost is not None
        },
    )
    return conclusion(result.name, evidence.results, basis, aims)


def conclusion(model: str, results: Sequence[Result], basis: Basis, aims: Aims) -> Conclusion:
    """Grade a model among others, whose headlines are listed too."""
    found = verdict.verdict(basis, aims)
    names = headlines.names(basis.metrics, aims.average)
    # Without any predicted span, their precision is not defined; nothing that is called is right.
    figures = {name: basis.metrics.get(names[name], 0.0) for name in FIGURES}
    return Conclusion(
        grade=found.grade,
        model=model,
        sentence=found.sentence,
        reached=found.reached,
        reasons=found.reasons,
        **figures,
        checks=[*basis.checks],
        headlines=tested.intervals(results, aims.average),
    )
