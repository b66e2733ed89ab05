"""The newly trained model asks for the champion's place: it is registered, and judged.

version = register(attempt, registry)
found = checks(attempt, registry, version)
findings = drifted(attempt, registry, champion)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from birnn import params
from birnn.data import splits
from birnn.data.encoding import Encoding
from birnn.data.splits import Splitting
from birnn.evaluation import metrics, verdict
from birnn.files import atomic, digests, paths, records
from birnn.files.paths import EVALUATION, MODELS, PREPARED, RAW
from birnn.model import devices
from birnn.retraining import answering, attempts, drift, gate
from birnn.retraining.answering import Asked, Chunk, Mask
from birnn.retraining.attempts import Attempt
from birnn.retraining.drift import Finding, Reference
from birnn.retraining.judged import Answers, Check
from birnn.tracking import runs
from birnn.tracking.registry import Registry, Version

TRAINED_ON, REFERENCE = "trained_on.npy", "reference.json"  # attached to a version's run
DRIFT_LEVEL = 0.05  # the chance of calling out drift where there is none


def hashes(folder: Path, model: str) -> dict[str, str]:
    """Hash a trained model and all data of its training and its test."""
    return {
        "data_sha256": runs.data_sha256(folder / PREPARED),
        "model_sha256": runs.model_sha256(folder / MODELS / model),
    }


def register(attempt: Attempt, registry: Registry) -> Version:
    """Make a version of the trained model, with all that a later retraining asks of it."""
    chosen, copy = attempt.chosen, attempt.copy
    knobs = params.of_run(chosen, attempt.model)
    run = runs.in_checkout(chosen.problem, attempt.model, knobs, copy)
    _remember(attempt, registry, run.id)
    code = [*copy.glob("birnn/**/*.py"), *copy.glob("stages/*.py"), copy / "dvc.yaml"]
    tags = {
        "attempt": attempt.name,
        "model": attempt.model,
        **hashes(copy, attempt.model),
        "test_sha256": answering.sha256(_raw(attempt, "test")),
        "params_sha256": runs.params_sha256(knobs),
        "code_sha256": digests.sha256(*sorted(code)),
    }
    return registry.register(run.id, tags)


def _remember(attempt: Attempt, registry: Registry, run_id: str) -> None:
    """Attach to the run what the model has seen: its sequences' hashes, and what they are like."""
    seen = [answering.contents(_raw(attempt, split)) for split in ("train", "validation")]
    place = attempts.state() / TRAINED_ON
    np.save(place, np.concatenate(seen), allow_pickle=False)
    registry.log(run_id, place)
    atomic.write_json(attempts.state() / REFERENCE, _reference(attempt).to_json())
    registry.log(run_id, attempts.state() / REFERENCE)


def drifted(attempt: Attempt, registry: Registry, champion: Version) -> list[Finding]:
    """Compare the training data of now with those of the champion."""
    kept = registry.attached(champion.run_id, REFERENCE, attempts.state() / "champion")
    old = Reference.from_json(atomic.read_json(kept))
    limit = attempt.chosen.retrain.psi_limit
    return drift.compare(old, _reference(attempt), psi_limit=limit, level=DRIFT_LEVEL)


def _reference(attempt: Attempt) -> Reference:
    encoding = _encoding(attempt)
    place = attempts.state() / "plain.arrow"
    plain = answering.in_raw_units(_raw(attempt, "train"), encoding, place)
    seed = attempt.chosen.evaluate.seed
    return drift.reference(plain, encoding.labels, encoding.features, seed)


def checks(attempt: Attempt, registry: Registry, challenger: Version) -> list[Check]:
    """Let champion and challenger answer for the same sequences, and judge.

    The sequences are those of the test split that the champion was not trained on. What `evaluate`
    has written down is compared with what the model says as the registry gives it back.
    """
    encoding, device = (
        _encoding(attempt),
        devices.choose(attempt.chosen.models[attempt.model].device),
    )
    rows = list(_raw(attempt, "test"))
    place = registry.fetch(challenger.number, attempts.state() / "reloaded")
    reloaded = answering.ask(place, rows, encoding.labels, device, where="the challenger")
    champion, fresh = _champion(attempt, registry, rows, encoding, device)
    if not fresh.any():
        return [_nothing_fresh(len(fresh))]
    written = attempt.copy / EVALUATION / attempt.model / paths.PREDICTIONS
    tested = answering.tested(written, reloaded.answers, encoding.labels)
    return _judged(
        attempt,
        encoding,
        fresh,
        challenger=answering.take(tested, fresh),
        champion=answering.take(champion.answers, fresh) if champion else None,
        reloaded=answering.take(reloaded.answers, fresh),
        latency=answering.latency(reloaded, champion, device) if champion else None,
    )


def _champion(
    attempt: Attempt,
    registry: Registry,
    rows: list[Chunk],
    encoding: Encoding,
    device: torch.device,
) -> tuple[Asked | None, Mask]:
    """The champion's answers, and which of the sequences it was not trained on."""
    if attempt.champion is None:
        return None, np.ones(sum(len(offsets) - 1 for _, offsets in rows), dtype=bool)
    number, place = attempt.champion.number, attempts.state() / "champion"
    folder = registry.fetch(number, place)
    where = f"the champion, version {number}"
    asked = answering.ask(folder, rows, encoding.labels, device, where=where)
    seen = registry.attached(attempt.champion.run_id, TRAINED_ON, place)
    return asked, ~np.isin(answering.contents(rows), np.load(seen, allow_pickle=False))


def _judged(
    attempt: Attempt,
    encoding: Encoding,
    fresh: Mask,
    *,
    challenger: Answers,
    champion: Answers | None,
    reloaded: Answers,
    latency: tuple[float, float] | None,
) -> list[Check]:
    """Hand all that was gathered to the gate."""
    evaluate, labels = attempt.chosen.evaluate, encoding.labels
    scores = metrics.metrics(
        challenger.actual, challenger.predicted, None, labels=labels, offsets=challenger.offsets
    )
    prepared = attempt.copy / PREPARED
    return gate.checks(
        challenger,
        champion,
        gate.bounds(evaluate, attempt.chosen.retrain),
        labels=labels,
        baselines=answering.without_context(prepared, labels, fresh, seed=evaluate.seed),
        verdict=verdict.verdict(scores, verdict.aims(evaluate)).grade,
        latency=latency,
        reloaded=reloaded,
    )


def _nothing_fresh(number: int) -> Check:
    sentence = f"The champion was trained on all {number} test sequences: nothing to compare on."
    return Check("unseen", passed=False, figures={"sequences": number}, sentence=sentence)


def _raw(attempt: Attempt, split: str) -> Iterator[Chunk]:
    how = Splitting.of(attempt.chosen.prepare)
    return splits.read_one(attempt.copy / RAW, how, split)


def _encoding(attempt: Attempt) -> Encoding:
    return records.read(attempt.copy / PREPARED / paths.ENCODING, Encoding)
